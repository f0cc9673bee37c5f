/* dgo_resource.h - the resource manager: where work runs, who may take VRAM, and how it went.
 *
 * There is one manager for the process and it is always there: before dgo_resource_start, after
 * dgo_resource_stop and in a child after fork it is the inline one, which runs every job in its
 * caller.  So no call site needs a second path.  Work is described by components (registered
 * once, static) and runs on lanes that own their threads:
 *     EXPRESS     what a face waits for; one reserved thread; jobs of at most 1 ms
 *     NORMAL      everything else that a user will see; as many threads as the budget gives
 *     BACKGROUND  what can wait; SCHED_IDLE, so a busy engine does not notice it
 *     BLOCKING    files, drivers, children; grows to 16 threads, shrinks after 5 s
 *     UI          run by the face's own thread in dgo_resource_ui_drain
 *
 * The law of jobs: an accepted job ends exactly once, as done, failed, cancelled or expired, and
 * its `done` callback, where given, is called exactly once.  A waiter runs at most the job it
 * waits for, never another one, so nested submits and waits cannot deadlock.  Order: jobs of one
 * thread to one lane and level start in the order of submission on a lane with one thread; use a
 * strand where order matters on several.
 *
 * What waits or runs at the moment of fork is the parent's.  A child that was forked inside a job
 * ends by exec or _exit; where it returns from the job, it goes on with nothing of the parent's,
 * and on a worker that was its only thread, and the process ends.
 *
 * Every function may be called from any thread unless it says otherwise; none is async-signal-safe
 * but dgo_resource_request_stop.  Nothing allocates once a thread has made its first call. */
#ifndef DGO_RESOURCE_H
#define DGO_RESOURCE_H

#include "dgo_base.h"
#include "dgo_clock.h"
#include "dgo_ledger.h"

enum {
    DGO_COMPONENT_MAX = 64,
    DGO_COMPONENT_NAME_MAX = 32,
    DGO_WORKER_MAX = 64, /* of one lane */
    DGO_BLOCKING_MAX = 16,
    DGO_QUEUE_LIMIT_DEFAULT = 4096, /* jobs waiting in one lane */
    DGO_QUEUE_LIMIT_MAX = 1 << 20,
    DGO_GROUP_MAX = 256,
    DGO_STRAND_MAX = 256,
    DGO_DELAYED_MAX = 1024, /* jobs and strands waiting for their time */
    DGO_DECISION_MAX = 64,  /* remembered */
    DGO_REASON_MAX = 160,
    DGO_COMPONENT_ORIGIN_MAX = 64,
    DGO_PROTECTED_MAX = 16, /* engines */
};

#define DGO_FOREVER UINT64_MAX /* a timeout */

/* ---- components ------------------------------------------------------------------------- */

enum dgo_lane {
    DGO_LANE_OWN, /* in a job: the lane of its component */
    DGO_LANE_EXPRESS,
    DGO_LANE_NORMAL,
    DGO_LANE_BACKGROUND,
    DGO_LANE_BLOCKING,
    DGO_LANE_UI,
    DGO_LANE_COUNT
};
const char *dgo_lane_name(enum dgo_lane lane); /* "express" ... */

enum dgo_hint { DGO_HINT_CPU, DGO_HINT_GPU, DGO_HINT_AUTO, DGO_HINT_COUNT };
const char *dgo_hint_name(enum dgo_hint hint); /* "cpu", "gpu", "auto" */
enum dgo_status dgo_hint_parse(const char *text, enum dgo_hint *hint,
                               struct dgo_error *err) DGO_MUST_CHECK;

/* One component; lives as long as the program.  `name` is lower_case, its environment variable is
 * DUALGPUOPT_COMPONENT_<NAME>. */
struct dgo_component {
    const char *name;
    enum dgo_lane lane;
    enum dgo_hint hint;
    uint64_t vram_bytes; /* its GPU implementation needs this much; 0: it has none */
    const char *what;    /* one sentence for people */
};

/* Identity of a registered component: 1, 2, 3 ... in order of registration.  0 is "other", which
 * always exists (NORMAL, cpu), and every unknown id is treated as 0. */
typedef uint16_t dgo_component_id;

/* Registers `count` rows; a row whose name is there already keeps its id and takes the new
 * descriptor.  Survives stop and start.  ids may be NULL. */
enum dgo_status dgo_component_register(const struct dgo_component *rows, size_t count,
                                       dgo_component_id *ids, struct dgo_error *err) DGO_MUST_CHECK;
uint32_t dgo_component_count(void); /* ids are below it */
const struct dgo_component *dgo_component_get(dgo_component_id id);
dgo_component_id dgo_component_find(const char *name); /* 0: unknown */

/* ---- life ------------------------------------------------------------------------------- */

#define DGO_WORKERS_NONE UINT32_MAX /* no threads at all: every job runs in order in its caller */

/* Zero-initialised it is right for a daemon. */
struct dgo_resource_config {
    uint32_t workers;              /* NORMAL; 0: the budget; DGO_WORKERS_NONE */
    uint32_t express_workers;      /* 0: 1, above 8 CPUs 2 */
    uint32_t background_workers;   /* 0: one a CPU of the budget */
    uint32_t blocking_max;         /* 0: DGO_BLOCKING_MAX */
    uint32_t queue_limit;          /* of each lane; 0: DGO_QUEUE_LIMIT_DEFAULT */
    const char *root;              /* in front of /proc and /sys; NULL: none.  For tests */
    const struct dgo_clock *clock; /* NULL: the machine's.  Its time must pass where threads run */
    /* How environment variables are read; NULL: getenv. */
    const char *(*getenv)(const char *name, void *data);
    void *getenv_data;
};

/* The manager as it is now; never NULL. */
struct dgo_resource {
    bool is_inline;      /* no threads: jobs run in their callers */
    bool is_started;     /* false: before start, after stop, after fork */
    uint32_t generation; /* counts starts */
    const char *why;     /* one sentence: why it is what it is */
};
const struct dgo_resource *dgo_resource_get(void);

/* DGO_ESTATE when started already, DGO_EINVAL for a bad variable or value.  Where some threads
 * cannot be created it starts with fewer and says so in the decisions; where none can, it is
 * started without threads. */
enum dgo_status dgo_resource_start(const struct dgo_resource_config *config,
                                   struct dgo_error *err) DGO_MUST_CHECK;

/* Stops taking jobs, lets what is queued run for up to `drain_ns`, cancels the rest, joins the
 * threads.  After it returned nothing runs any more.  Callbacks due on the UI lane run in the
 * caller, so call it on the UI thread.  DGO_ESTATE from inside a job. */
enum dgo_status dgo_resource_stop(uint64_t drain_ns, struct dgo_error *err);

/* For a signal handler: wakes the UI thread, whose next drain answers DGO_ECANCELLED. */
void dgo_resource_request_stop(void);

/* Waits until every lane but UI is idle (on the UI thread, that one too).  DGO_ETIMEOUT. */
enum dgo_status dgo_resource_drain(uint64_t timeout_ns, struct dgo_error *err);

/* Without threads: starts what was delayed and is due by the clock; returns how many ran. */
uint32_t dgo_resource_run_due(void);

/* ---- policy ----------------------------------------------------------------------------- */

/* Whether the component's CPU implementation is to be used now: one load, ever. */
bool dgo_should_use_cpu(dgo_component_id id);
/* The same with the reason in a sentence. */
bool dgo_should_use_cpu_why(dgo_component_id id, char why[DGO_REASON_MAX]);

/* The user's choice for a component, above its declaration; from DUALGPUOPT_COMPONENT_<NAME> (read
 * at start and at registration) or the configuration.  `origin` is remembered for people. */
enum dgo_status dgo_component_override(const char *name, enum dgo_hint hint, const char *origin,
                                       struct dgo_error *err);
void dgo_component_override_clear(const char *name);
/* Whether somebody's word is above the declaration; then which, and whose. */
bool dgo_component_overridden(dgo_component_id id, enum dgo_hint *hint,
                              char origin[DGO_COMPONENT_ORIGIN_MAX]);

/* Facts that the application knows. */
void dgo_resource_set_streaming(bool is_streaming); /* an engine is answering somebody now */
enum dgo_status dgo_resource_set_vram(uint32_t gpu_index, const struct dgo_ledger_gpu *seen,
                                      struct dgo_error *err);

/* Engines whose run delay decides how much of the CPUs is ours.  Their runnable threads are
 * counted; `threads`, where not 0, is the most that can be (its --threads). */
enum dgo_status dgo_resource_protect(uint32_t pid, uint32_t threads, struct dgo_error *err);
void dgo_resource_unprotect(uint32_t pid);

/* ---- running ---------------------------------------------------------------------------- */

/* DGO_OK is done, DGO_ECANCELLED cancelled, anything else failed. */
typedef enum dgo_status (*dgo_job_fn)(void *arg);

/* Runs fn and returns its status; DGO_EINVAL without one.  Off the UI thread that is a call in the
 * caller; on the UI thread it goes through the component's lane and the UI thread waits (counted as
 * ui_waits). */
enum dgo_status dgo_run_on_cpu(dgo_component_id id, dgo_job_fn fn, void *arg);

/* A component with two implementations.  The GPU one runs when the policy says so and the ledger
 * grants a lease for its bytes; when the lease is refused or the run fails, the CPU one runs.
 * The lease ends with the call. */
struct dgo_placed {
    dgo_component_id component;
    dgo_job_fn cpu, gpu;
    void *arg;
    uint32_t gpu_index;
    uint64_t vram_bytes; /* 0: the component's declaration */
};
enum dgo_place { DGO_PLACE_CPU, DGO_PLACE_GPU };
enum dgo_status dgo_run_placed(const struct dgo_placed *placed, enum dgo_place *ran_on);

enum dgo_level { DGO_LEVEL_MIDDLE, DGO_LEVEL_HIGH, DGO_LEVEL_LOW, DGO_LEVEL_COUNT };

/* What to do with a job for which the queue has no room. */
enum dgo_full {
    DGO_FULL_REJECT,      /* DGO_EBUSY */
    DGO_FULL_INLINE,      /* the caller runs it now */
    DGO_FULL_COALESCE,    /* at all times: takes the place of the waiting job with its key */
    DGO_FULL_DROP_OLDEST, /* the oldest waiting job that said the same ends as cancelled */
};

enum dgo_outcome {
    DGO_OUTCOME_DONE,
    DGO_OUTCOME_FAILED,
    DGO_OUTCOME_CANCELLED, /* before it ran, or it ran and returned DGO_ECANCELLED */
    DGO_OUTCOME_EXPIRED,
    DGO_OUTCOME_COUNT
};
const char *dgo_outcome_name(enum dgo_outcome outcome);

struct dgo_result {
    enum dgo_outcome outcome;
    enum dgo_status status; /* what fn returned; DGO_ECANCELLED, DGO_ETIMEOUT when it never ran */
};
typedef void (*dgo_done_fn)(const struct dgo_result *result, void *arg);

/* A job's or a group's name; zero is none.  A stale one is an error, never a crash. */
struct dgo_future {
    uint32_t index, generation;
};
struct dgo_group {
    uint32_t index, generation;
};

struct dgo_job {
    dgo_component_id component;
    enum dgo_lane lane; /* DGO_LANE_OWN: the component's */
    enum dgo_level level;
    enum dgo_full on_full;
    dgo_job_fn fn;
    void *arg; /* handed over until `done` was called or the job was waited for */
    dgo_done_fn done;
    enum dgo_lane done_lane; /* DGO_LANE_OWN: called by whoever ended the job */
    uint64_t key;            /* for COALESCE, within the component; not 0 */
    uint64_t within_ns;      /* not started by then: expired.  0: no deadline */
    uint64_t delay_ns;       /* not before then; "full" where the system gives no thread to wait */
    struct dgo_group group;
};

/* Accepts a job or says why not: DGO_EBUSY (no room), DGO_ESTATE (stopping), DGO_EINVAL, DGO_ELIMIT
 * (inline jobs, or callbacks that submit, nested too deeply).  A refused job was not and will not
 * be run.  With `future` somebody must wait for it or forget it; with NULL the job looks after
 * itself. */
enum dgo_status dgo_submit(const struct dgo_job *job, struct dgo_future *future,
                           struct dgo_error *err) DGO_MUST_CHECK;
/* `count` jobs with one wake; futures NULL or an array.  Returns after the first refusal;
 * *accepted (may be NULL) says how many were taken. */
enum dgo_status dgo_submit_many(const struct dgo_job *jobs, size_t count,
                                struct dgo_future *futures, size_t *accepted,
                                struct dgo_error *err) DGO_MUST_CHECK;

/* Waits for the end of a job; when it has not started yet the waiter runs it (UI jobs excepted,
 * off the UI thread).  DGO_OK: *result (may be NULL) is its end and the future is used up.
 * DGO_ETIMEOUT: not ended yet, the future stays.  DGO_ENOTFOUND: stale.  DGO_ESTATE: it belongs
 * to the process before fork, or the caller is in the middle of it.  Without threads the waiter
 * lets the time of delayed jobs pass. */
enum dgo_status dgo_wait(struct dgo_future future, uint64_t timeout_ns, struct dgo_result *result,
                         struct dgo_error *err);
/* Whether it has ended; false for a stale one. */
bool dgo_future_ended(struct dgo_future future);
/* Nobody will wait; the job goes on. */
void dgo_future_forget(struct dgo_future future);

/* Before it runs: ends as cancelled now, DGO_OK.  While it runs: it is asked to stop, DGO_EBUSY.
 * After: DGO_ESTATE; stale: DGO_ENOTFOUND.  The future still has to be waited for or forgotten. */
enum dgo_status dgo_cancel(struct dgo_future future, struct dgo_error *err);
/* In a job: its future or group was cancelled, its deadline passed, or the manager is stopping. */
bool dgo_job_should_stop(void);

/* Jobs that end together.  free waits for nothing: jobs go on, the name becomes stale.  To wait in
 * a job of the group is DGO_ESTATE. */
enum dgo_status dgo_group_new(struct dgo_group *group, struct dgo_error *err) DGO_MUST_CHECK;
enum dgo_status dgo_group_wait(struct dgo_group group, uint64_t timeout_ns, struct dgo_error *err);
enum dgo_status dgo_group_cancel(struct dgo_group group, struct dgo_error *err);
uint32_t dgo_group_pending(struct dgo_group group);
void dgo_group_free(struct dgo_group group);

/* A strand: one function that never runs twice at a time.  A kick makes it run once more after
 * now; kicks while it waits are one.  A kick never fails, blocks or allocates. */
struct dgo_strand {
    uint32_t index, generation;
};
enum dgo_status dgo_strand_new(dgo_component_id id, enum dgo_lane lane, dgo_job_fn fn, void *arg,
                               struct dgo_strand *strand, struct dgo_error *err) DGO_MUST_CHECK;
void dgo_strand_kick(struct dgo_strand strand, enum dgo_level level);
/* The same after a while, unless it is kicked before; an earlier time wins. */
void dgo_strand_kick_after(struct dgo_strand strand, uint64_t delay_ns);
/* After it returned fn does not run any more (inside fn: after this run). */
void dgo_strand_free(struct dgo_strand strand);

/* Around a call that blocks inside a job: another worker takes the place at once. */
void dgo_blocking_begin(void);
void dgo_blocking_end(void);

/* ---- UI thread -------------------------------------------------------------------------- */

/* Makes the caller the UI thread (again, after a start) and gives the descriptor that is readable
 * while UI jobs wait: poll it for reading, never read or close it.  -1 and DGO_EIO when the kernel
 * has none to give. */
enum dgo_status dgo_resource_ui_attach(int *fd, struct dgo_error *err) DGO_MUST_CHECK;
int dgo_resource_ui_fd(void); /* -1 before attach */
/* Runs UI jobs until there are none or the budget is used up (then the descriptor stays
 * readable).  DGO_ECANCELLED after dgo_resource_request_stop.  UI thread. */
enum dgo_status dgo_resource_ui_drain(uint64_t budget_ns, uint32_t *ran, struct dgo_error *err);

/* ---- VRAM ------------------------------------------------------------------------------- */

/* The manager's ledger behind its lock; as the functions of dgo_ledger.h. */
enum dgo_status dgo_vram_reserve(const struct dgo_ledger_request *request, uint64_t *id,
                                 struct dgo_error *err) DGO_MUST_CHECK;
enum dgo_status dgo_vram_hold(const struct dgo_ledger_request *request, bool is_measured,
                              uint64_t *id, struct dgo_error *err) DGO_MUST_CHECK;
enum dgo_status dgo_vram_adopt(uint64_t id, uint64_t pid, struct dgo_error *err);
enum dgo_status dgo_vram_measure(uint64_t id, uint32_t gpu_index, uint64_t bytes,
                                 struct dgo_error *err);
enum dgo_status dgo_vram_settle(uint64_t id, struct dgo_error *err);
enum dgo_status dgo_vram_release(uint64_t id, struct dgo_error *err);
uint32_t dgo_vram_release_owner(uint64_t pid);
uint32_t dgo_vram_expire(void);
enum dgo_status dgo_vram_reconcile(uint32_t gpu_index, const struct dgo_ledger_usage *usage,
                                   size_t usage_count, struct dgo_error *err);
void dgo_vram_snapshot(struct dgo_ledger *ledger); /* 70 KiB: not on a small stack */
enum dgo_status dgo_vram_load(const struct dgo_ledger_entry *entry, size_t entry_count,
                              struct dgo_error *err) DGO_MUST_CHECK;

/* ---- figures ---------------------------------------------------------------------------- */

/* Queue and run times are sampled (1 job of 64, every EXPRESS job); the rest is exact.
 * accepted = done + failed + cancelled + expired + those still on their way. */
struct dgo_component_stats {
    uint64_t accepted, done, failed, cancelled, expired;
    uint64_t rejected, ran_inline; /* not in accepted: refused; run in the caller */
    uint64_t coalesced, dropped;   /* of the cancelled ones: replaced, displaced */
    uint64_t ui_waits, over_budget, gpu_runs, gpu_fallbacks;
    uint64_t queue_p50_ns, queue_p99_ns, run_p50_ns, run_p99_ns, run_max_ns; /* 0: no sample */
};
struct dgo_lane_stats {
    uint32_t workers, allowed, running, blocked; /* threads; allowed to run now */
    uint32_t queued, queued_max, limit;
    uint64_t taken, wakes, replacements;
    uint64_t queue_p99_ns;
    const char *policy; /* "SCHED_OTHER, slice 100 us", "SCHED_IDLE" ... as the kernel took it */
};
void dgo_component_read_stats(dgo_component_id id, struct dgo_component_stats *stats);
void dgo_lane_read_stats(enum dgo_lane lane, struct dgo_lane_stats *stats);

/* A change of the sizes, with its reason. */
struct dgo_decision {
    uint64_t at_ns; /* monotonic */
    enum dgo_lane lane;
    uint32_t before, after; /* threads allowed to run */
    char why[DGO_REASON_MAX];
};
/* The last ones, oldest first; returns how many. */
uint32_t dgo_resource_decisions(struct dgo_decision *decision, uint32_t max);

/* What the CPUs give us. */
struct dgo_budget_facts {
    uint32_t cpus;                     /* online and in our affinity mask */
    bool quota_known;                  /* a cgroup limits us */
    uint32_t quota_permille;           /* of one CPU: 1500 is one and a half */
    uint32_t engine_threads;           /* runnable, of protected engines */
    uint32_t budget;                   /* NORMAL threads, at least 1 */
    uint32_t background;               /* BACKGROUND threads */
    uint32_t normal_duty_permille;     /* of NORMAL's time; 1000: all of it */
    uint32_t background_duty_permille; /* of BACKGROUND's */
    uint32_t run_delay_permille;       /* worst engine thread, of wall time, last look */
    bool tight; /* engines are protected and need every CPU: our own work gives way */
};
void dgo_resource_budget(struct dgo_budget_facts *facts);

#endif
