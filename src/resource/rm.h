/* rm.h - what the files of the resource manager share: jobs, lanes, workers, the one manager.
 *
 * Four ideas carry everything (docs/decisions/0003-executor.md):
 *  - A job lives in a slot that is never unmapped.  A reference is {index, generation}; it is weak:
 *    whoever wants to run, cancel or expire the job claims it by one compare-and-swap on the slot's
 *    state word, and a stale or second reference simply fails.  Queues hold references.
 *    A job that nobody can name has no slot: its entry in the queue is all there is of it.
 *  - Each lane has rings behind one lock, and in front of them a shard for each of the first
 *    threads and an inbox for all others, which are pushed to without it: nobody waits for a thread
 *    that the scheduler has put aside, and producers do not meet.
 *  - At most one wake of a lane is on its way; a woken worker that sees more wakes the next.
 *  - Idle threads sleep without a timeout.  Only while something runs does the keeper tick.
 *
 * Lock order: start_lock, component lock, policy lock; group lock -> nothing; lane lock -> nothing.
 * No two lane locks at a time, and no callback under any lock. */
#ifndef RM_H
#define RM_H

#include "dgo_resource.h"
#include "rm_budget.h"
#include "dgo_lock.h"
#include "rm_sys.h"

#include <sched.h>
#include <stdalign.h>

enum {
    RM_MAGAZINE = 64,   /* free slots that a thread keeps */
    RM_BLOCK = 16,      /* free slots that travel together */
    RM_REFILL_AT = 8,   /* left in the magazine when a block is fetched */
    RM_CHUNK = 1 << 14, /* slots mapped at a time */
    RM_CHUNK_MAX = 512,
    RM_BATCH_MAX = 64,
    RM_BATCH_NS = 20000,  /* work taken at once, by the running average */
    RM_FRONT_NS = 50000,  /* work in the rings beside which shards need not be looked at */
    RM_RING_SLACK = 4096, /* strands, returned batches: never refused */
    RM_SHARDS = 16,       /* threads with a way of their own into each lane */
    RM_NO_SHARD = 255,
    RM_SHARD_SIZE = 1 << 12, /* entries: few enough to stay near the core */
    RM_SHARD_LONG = 1 << 15, /* of BACKGROUND, where no push waits for the rings' lock */
    RM_SHARD_REWIND = 4096,  /* an empty one that came so far begins anew */
    RM_PLACES_AT_ONCE = 64,  /* of a lane's bound, kept by a thread for pushes to come */
    RM_KEY_BUCKETS = 256,
    RM_TICK_MS = 10,     /* of the keeper, while anything runs */
    RM_STARVE_POPS = 61, /* every so many, a lower level is served */
    RM_STARVE_MS = 100,  /* and after this long, as soon as a worker looks */
    RM_IDLE_S = 5,       /* spare threads go after it */
    RM_INLINE_DEPTH_MAX = 64,
    RM_EXPRESS_JOB_US = 1000,
    RM_DEMOTE_AFTER = 8, /* EXPRESS jobs above RM_EXPRESS_JOB_US */
    RM_TIMED_OF = 64,    /* one job of so many is timed: a clock read costs as much as a job */
    RM_HISTOGRAM = 40,
};
#define RM_PATIENCE_NS UINT64_C(50000000) /* of the UI thread, before it runs what it waits for */

/* ---- jobs ---- */

enum { /* low half of rm_job.state; the high half is the generation, never 0 */
       RM_FREE = 0,
       RM_PENDING = 1,
       RM_RUNNING = 2,
       RM_ENDED = 3,
       RM_PHASE = 7,
       RM_HELD = 1 << 3,    /* a future is out: the slot stays */
       RM_LINKED = 1 << 4,  /* in an inbox, a key table: the slot stays */
       RM_BUSY = 1 << 5,    /* ended, its callback still to come: the slot stays */
       RM_WAITER = 1 << 6,  /* somebody sleeps on `ended` */
       RM_CANCEL = 1 << 7,  /* asked to stop */
       RM_DELAYED = 1 << 8, /* pending, not before its time */
       RM_POST = 1 << 9,    /* ended, waiting on the lane of its callback */
       RM_TAKEN = 1 << 10,  /* one waiter reads the result; RM_HELD goes next */
};

struct rm_job {
    alignas(64) _Atomic uint64_t state;
    dgo_job_fn fn;
    void *arg;
    dgo_done_fn done;
    uint64_t deadline_ns;      /* 0: none */
    uint64_t queued_ns;        /* 0: not sampled */
    uint16_t component, group; /* group: index + 1 */
    uint8_t lane, level, done_lane, on_full;
    _Atomic uint32_t ended; /* futex: generation of the last job that ended here */
    _Atomic uint32_t block_next;
    union {
        struct {
            uint64_t key;
            uint32_t key_next, ring_pos;
            uint32_t next, post_next; /* in the inbox of `lane`, of `done_lane` */
            uint32_t group_prev, group_next;
            struct dgo_result result;
        };
        struct { /* the first of a block of free slots lists the others */
            uint32_t block_count;
            uint32_t block[RM_BLOCK - 1];
        };
    };
};
_Static_assert(sizeof(struct rm_job) == 128, "two cache lines a job");

/* A reference in a queue: generation << 32 | tags | index.  0 is none. */
enum {
    RM_INDEX_MASK = (1 << 25) - 1,
    RM_TAG_PLAIN = 1 << 26, /* no slot: the entry carries the job; for index its component */
    RM_TAG_KEPT = 1 << 27,  /* RM_LINKED is set: others may end the job before it is queued */
    RM_TAG_DROPPABLE = 1 << 28,
    RM_TAG_DONE = 1 << 29, /* not the job but its callback */
    RM_TAG_KEYED = 1 << 30,
};
#define RM_TAG_STRAND (UINT32_C(1) << 31)

/* What waits in a queue.  A job that nobody can name (no future, group, key, callback, delay or
 * deadline) is all here: it needs no slot, and half as many lines go from core to core. */
struct rm_entry {
    uint64_t ref;
    dgo_job_fn fn; /* RM_TAG_PLAIN */
    void *arg;
    uint8_t level, lane;
    uint32_t queued_at; /* RM_TAG_PLAIN, one of RM_TIMED_OF: rm_entry_time; 0: not timed */
};
_Static_assert(sizeof(struct rm_entry) == 32, "two entries a cache line");

static inline uint64_t rm_ref(uint32_t generation, uint32_t tagged_index)
{
    return (uint64_t)generation << 32 | tagged_index;
}
static inline uint32_t rm_generation(uint64_t ref_or_state)
{
    return (uint32_t)(ref_or_state >> 32);
}

/* Generation 0 is never used, so that a zero future is no future. */
static inline uint32_t rm_next_generation(uint32_t generation)
{
    return generation + 1 ? generation + 1 : 1;
}

struct rm_slots {
    struct rm_job *chunk[RM_CHUNK_MAX];
    _Atomic uint32_t capacity;         /* slots mapped */
    _Atomic uint32_t fresh;            /* below it: used at least once */
    alignas(64) _Atomic uint64_t free; /* tag << 32 | first slot of the first block + 1 */
};
extern struct rm_slots rm_slots;

static inline struct rm_job *rm_job_at(uint32_t index)
{
    return &rm_slots.chunk[index / RM_CHUNK][index % RM_CHUNK];
}

/* ---- threads ---- */

enum rm_counter {
    RM_ACCEPTED,
    RM_DONE,
    RM_FAILED,
    RM_CANCELLED,
    RM_EXPIRED,
    RM_REJECTED,
    RM_RAN_INLINE,
    RM_COALESCED,
    RM_DROPPED,
    RM_UI_WAITS,
    RM_OVER_BUDGET,
    RM_GPU_RUNS,
    RM_GPU_FALLBACKS,
    RM_RUN_MAX,
    RM_COUNTERS
};

struct rm_counters {
    _Atomic uint64_t n[RM_COUNTERS];
    _Atomic uint32_t queue[RM_HISTOGRAM], run[RM_HISTOGRAM];
};

/* One a thread; outlives it and is taken over by the next, so that sums stay. */
struct rm_counter_set {
    struct rm_counter_set *next;
    _Atomic bool owned;
    struct rm_counters component[DGO_COMPONENT_MAX];
};

struct rm_worker;
struct rm_strand;

/* A job that this thread is in the middle of: the one it runs, or one of those around it. */
struct rm_frame {
    const struct rm_frame *outer;
    uint32_t index, generation; /* generation 0: it has no slot */
    uint32_t group;             /* index + 1 */
};

/* What a thread keeps to itself; nothing here needs memory from elsewhere but the counters. */
struct rm_thread {
    uint32_t magazine[RM_MAGAZINE];
    uint32_t magazine_count;
    uint32_t epoch;  /* of rm.fork_epoch: another one means the magazine is the parent's */
    uint32_t sample; /* counts jobs, to pick those that are timed */
    uint32_t depth;  /* jobs run inside each other */
    uint32_t ends;   /* jobs ended inside each other, for others took their places */
    uint8_t shard;   /* its number + 1; 0: not asked for yet; RM_NO_SHARD: all have their owner */
    bool known, is_ui, is_idle_class, is_draining;
    struct rm_counter_set *counters; /* NULL: the shared ones */
    struct rm_worker *worker;
    struct rm_job *job; /* what it is running */
    const struct rm_frame *frame;
    struct rm_strand *strand;
};
extern _Thread_local struct rm_thread rm_me;
void rm_get_to_know(struct rm_thread *self);

static inline struct rm_thread *rm_thread(void)
{
    if (__builtin_expect(!rm_me.known, 0))
        rm_get_to_know(&rm_me);
    return &rm_me;
}

/* Of threads for which there was no memory. */
extern struct rm_counter_set rm_shared_counters;

static inline void rm_count(struct rm_thread *self, uint32_t component, enum rm_counter counter)
{
    _Atomic uint64_t *n;

    if (__builtin_expect(!self->counters, 0)) {
        atomic_fetch_add(&rm_shared_counters.component[component].n[counter], 1);
        return;
    }
    n = &self->counters->component[component].n[counter];
    atomic_store_explicit(n, atomic_load_explicit(n, memory_order_relaxed) + 1,
                          memory_order_relaxed);
}

struct rm_worker {
    alignas(64) _Atomic uint64_t hand; /* rm_hand.h: what of the batch has begun, what has not */
    _Atomic uint32_t closed, kept;
    _Atomic bool in_job;
    _Atomic bool lent; /* counted in lane->blocked */
    alignas(64) struct rm_entry batch[RM_BATCH_MAX];
    alignas(64) _Atomic uint32_t park; /* futex: 0 sleep, 1 go */
    struct rm_lane *lane;
    uint32_t number;
    pthread_t thread;
    bool joinable; /* start_lock of the lane */
    _Atomic bool alive;
    _Atomic int32_t thread_id;
    uint64_t seen_hand; /* the keeper's, like stuck_ticks */
    uint32_t stuck_ticks;
    uint32_t spin_won_permille; /* running average; the worker's own */
    uint32_t batches, small_batches;
    uint32_t dozes;      /* in a row */
    uint64_t slept_ns;   /* before it was woken last */
    uint64_t seen_taken; /* of its lane, when it dozed last */
};

/* ---- lanes ---- */

struct rm_ring {
    struct rm_entry *entry;
    uint32_t head, tail; /* head == tail: empty; free-running */
    uint32_t served_ms;  /* coarse: last taken from, or when it began to wait */
};

/* Written by its owner alone: rm_shard.c.  `word`: entries put in so far << 32 | RM_SHARD_CLOSED |
 * places kept for pushes to come. */
#define RM_SHARD_PLACES   UINT64_C(0x7fffffff)
#define RM_SHARD_CLOSED   (UINT64_C(1) << 31)
#define RM_SHARD_ONE_MORE (UINT64_C(1) << 32)
struct rm_shard {
    alignas(64) _Atomic uint64_t word;
    _Atomic uint32_t seen_head; /* how far it was emptied when the owner last looked */
};

enum { RM_INBOX_EMPTY = 0, RM_INBOX_CLOSED = 1, RM_INBOX_FIRST = 2 /* tagged index + 2 */ };

/* What pushes and takes touch lies together, apart from what only sleepers and wakers touch. */
struct rm_lane {
    alignas(64) struct dgo_lock lock;
    bool closed;
    bool takes_late; /* closed, but for callbacks and strands */
    bool eager;      /* one job, one wake: jobs are expected to block */
    enum dgo_lane id;
    _Atomic uint32_t limit;
    uint32_t ring_mask, pops;
    _Atomic uint32_t ring_count, inbox_count, stale;
    _Atomic uint64_t inbox;
    _Atomic uint64_t taken;

    /* Places taken of `limit`: by what waits, by callbacks to come, by threads for their next
     * pushes.  Strands and returned batches take theirs beyond it. */
    alignas(64) _Atomic uint32_t places;

    alignas(64) _Atomic uint32_t shard_head[RM_SHARDS]; /* entries taken out; with the lock */
    struct rm_shard shard[RM_SHARDS];
    struct rm_entry *shard_entry; /* of all of them; NULL: this lane has no shards */
    uint32_t shard_mask;

    alignas(64) struct rm_ring ring[DGO_LEVEL_COUNT];
    _Atomic uint32_t queued_max;
    _Atomic uint32_t served_ms; /* coarse: something was taken, or the queue was empty */

    alignas(64) _Atomic uint64_t idle_mask;
    _Atomic uint32_t waking;
    _Atomic int32_t active, allowed, blocked, threads;
    _Atomic int32_t dozing;  /* of the active ones: asleep for a moment, with nothing in hand */
    _Atomic int32_t wakers;  /* in the middle of a wake: counting a sleeper, and telling it */
    _Atomic uint32_t est_ns; /* a job, running average */
    _Atomic bool is_orphan;  /* no thread could be made: NORMAL does its work */
    _Atomic uint32_t thread_base, thread_max;

    alignas(64) _Atomic uint64_t wakes;
    _Atomic uint64_t replacements;
    const char *_Atomic policy;
    struct dgo_lock spawn_lock;
    _Atomic uint32_t queue_hist[RM_HISTOGRAM];
    uint32_t key_bucket[RM_KEY_BUCKETS]; /* index + 1 */
    struct rm_worker worker[DGO_WORKER_MAX];
};

/* Few pushes need the lock of a lane: those with a key, and those that find no room. */
static inline void rm_lane_lock(struct rm_lane *lane)
{
    dgo_spin_lock(&lane->lock);
}
static inline void rm_lane_unlock(struct rm_lane *lane)
{
    dgo_spin_unlock(&lane->lock);
}

enum rm_push { RM_PUSHED, RM_FULL, RM_CLOSED_LANE };

/* The place of what is pushed: asked for; taken whether there is one or not; there already. */
enum rm_place { RM_PLACE_ASK, RM_PLACE_ADD, RM_PLACE_HAS };

/* Jobs that ended under a lock and are finished after it. */
struct rm_dead {
    uint32_t coalesced, dropped; /* index + 1 of the first, linked through `next`; 0 none */
};

enum rm_phase { RM_OFF, RM_ON, RM_DRAINING, RM_CLOSING };

struct rm {
    _Atomic uint32_t phase;
    _Atomic bool threaded;
    bool has_membarrier; /* before any thread */
    _Atomic bool stop_requested;
    _Atomic uint32_t fork_epoch;
    _Atomic uint32_t coarse_ms;
    _Atomic int32_t outside;          /* threads that take jobs and are no workers */
    _Atomic uint32_t drainers, quiet; /* quiet: futex */
    uint32_t generation;
    struct dgo_lock start_lock;
    const struct dgo_clock *_Atomic clock; /* NULL: the machine's */
    char root[256];
    struct rm_lane lane[DGO_LANE_COUNT];
    _Atomic int ui_fd;
    _Atomic uint32_t ui_signalled;
};
extern struct rm rm;

static inline uint64_t rm_now_ns(void)
{
    return rm.clock ? dgo_clock_monotonic_ns(rm.clock) : dgo_monotonic_ns();
}
/* Steps of 16 ns in 32 bits: what lies less than a minute back can be told from it. */
static inline uint32_t rm_entry_time(uint64_t now_ns)
{
    return (uint32_t)(now_ns >> 4) | 1;
}
static inline uint64_t rm_since_entry_time(uint32_t then, uint64_t now_ns)
{
    const uint32_t steps = (uint32_t)(now_ns >> 4) - then;

    return steps > INT32_MAX ? 0 : (uint64_t)steps << 4;
}
static inline uint64_t rm_time_after(uint64_t now_ns, uint64_t wait_ns)
{
    return wait_ns > UINT64_MAX - now_ns ? UINT64_MAX : now_ns + wait_ns;
}

/* rm_slot.c */
bool rm_slots_reserve(uint32_t slot_count); /* false: memory for not even one chunk */
void rm_slots_forget(void);                 /* after fork: every slot is free again */
struct rm_job *rm_slot_take(struct rm_thread *self, uint32_t *index);
void rm_slot_give(struct rm_thread *self, struct rm_job *job, uint32_t index);
void rm_slots_leave(struct rm_thread *self);                           /* the thread ends */
struct rm_job *rm_job_find(struct dgo_future future, uint64_t *state); /* NULL: stale */

/* rm_lane.c */
bool rm_lane_open(struct rm_lane *lane, enum dgo_lane id, uint32_t limit);
void rm_lane_close(struct rm_lane *lane);
bool rm_lane_push_late(struct rm_lane *lane, uint64_t ref);
bool rm_lane_seal(struct rm_lane *lane); /* false: something is left, or somebody is at it */
enum rm_push rm_lane_push(struct rm_lane *lane, struct rm_thread *self, uint64_t ref,
                          enum dgo_level level, enum rm_place place, struct rm_dead *dead);
void rm_lane_admit_keyed(struct rm_lane *lane, uint64_t ref, struct rm_dead *dead);
void rm_lane_raise(struct rm_lane *lane, struct rm_thread *self, uint64_t ref,
                   enum dgo_level level);
uint32_t rm_lane_queued(const struct rm_lane *lane);

/* rm_take.c */
uint32_t rm_lane_take(struct rm_lane *lane, struct rm_entry *entries, uint32_t most);
bool rm_lane_return(struct rm_lane *lane, const struct rm_entry *entries, uint32_t count);

/* rm_shard.c */
uint32_t rm_shard_of(struct rm_thread *self, const struct rm_lane *lane);
void rm_shard_leave(struct rm_thread *self); /* the thread ends */
void rm_shards_forget(struct rm_thread *self);
bool rm_place_take(struct rm_lane *lane);
void rm_places_leave(struct rm_lane *lane, uint32_t count);
enum rm_push rm_shard_push(struct rm_lane *lane, uint32_t number, const struct rm_entry *entry,
                           bool has_place);
bool rm_shard_push_plain(struct rm_lane *lane, uint32_t number, const struct dgo_job *spec,
                         uint32_t component, uint32_t queued_at);
static inline struct rm_entry rm_plain_entry(const struct rm_lane *lane, const struct dgo_job *spec,
                                             uint32_t component, uint32_t queued_at)
{
    return (struct rm_entry){
        .ref = RM_TAG_PLAIN | component,
        .fn = spec->fn,
        .arg = spec->arg,
        .level = (uint8_t)spec->level,
        .lane = (uint8_t)(lane - rm.lane),
        .queued_at = queued_at,
    };
}
bool rm_shards_have_work(const struct rm_lane *lane);
uint32_t rm_shards_queued(const struct rm_lane *lane);
void rm_shards_move(struct rm_lane *lane, struct rm_dead *dead); /* with the lane's lock */
void rm_shards_open(struct rm_lane *lane);
void rm_shards_close(struct rm_lane *lane);

/* rm_worker.c, rm_threads.c */
void *rm_worker_main(void *worker);
void rm_lane_wake(struct rm_lane *lane);
bool rm_lane_has_work(const struct rm_lane *lane);
/* In this order: who wakes up takes itself off before it takes work. */
static inline int32_t rm_lane_busy(const struct rm_lane *lane)
{
    const int32_t active = atomic_load(&lane->active);

    return active - atomic_load(&lane->dozing);
}
/* Whether rm_submitted has anything to do for NORMAL after a push; else nobody sleeps or is stuck.
 */
static inline bool rm_lane_wants_wake(const struct rm_lane *lane)
{
    return atomic_load(&lane->idle_mask) != 0 || atomic_load(&lane->blocked) > 0 ||
           !atomic_load_explicit(&rm.threaded, memory_order_relaxed);
}
bool rm_lane_has_work_surely(struct rm_lane *lane);
bool rm_lane_spawn(struct rm_lane *lane);
void rm_lane_join(struct rm_lane *lane); /* closed before */
void rm_worker_block(struct rm_worker *worker);
void rm_worker_unblock(struct rm_worker *worker);
void rm_worker_share(struct rm_worker *worker);
void rm_run_here(struct rm_thread *self); /* without threads: all that waits, in order */

/* rm_job.c */
bool rm_job_claim(struct rm_job *job, uint32_t generation, uint64_t *state);
void rm_job_run(struct rm_thread *self, struct rm_job *job, uint32_t index);
void rm_job_end(struct rm_thread *self, struct rm_job *job, uint32_t index,
                struct dgo_result result);
void rm_job_release(struct rm_thread *self, struct rm_job *job, uint32_t index, uint32_t flag);
bool rm_run_entry(struct rm_thread *self, const struct rm_entry *entry); /* false: it was stale */
void rm_cancel_ref(struct rm_thread *self, uint64_t ref);
void rm_end_dead(struct rm_thread *self, struct rm_dead *dead);

/* rm_submit.c */
bool rm_future_inline(struct dgo_future future, struct dgo_result *result);
void rm_submitted(struct rm_thread *self, enum dgo_lane lane);

/* rm_wait.c */
bool rm_may_claim(const struct rm_thread *self, const struct rm_job *job, bool has_waited);
void rm_note_stale(const struct rm_job *job); /* claimed elsewhere: its reference stays behind */
void rm_quiet_changed(void);                  /* somebody may wait for all to be idle */
bool rm_waiter_keeps_time(uint64_t *wake_ns); /* without threads; true: something was due */
uint32_t rm_outside_begin(void);              /* gives what rm_outside_end takes */
void rm_outside_end(uint32_t epoch);

/* rm_group.c */
enum dgo_status rm_group_join(struct dgo_group group, uint32_t index, struct rm_job *job,
                              struct dgo_error *err);
void rm_group_leave(uint32_t index, struct rm_job *job);
/* A job without a slot, that its caller runs. */
enum dgo_status rm_group_enter(struct dgo_group group, struct dgo_error *err);
void rm_group_exit(struct dgo_group group);
bool rm_group_cancelled(const struct rm_job *job);
void rm_groups_forget(void);

/* rm_strand.c */
bool rm_strand_run_ref(struct rm_thread *self, uint64_t ref);
uint32_t *rm_strand_link(uint32_t tagged_index);
bool rm_strand_linked(uint32_t tagged_index, bool is_linked); /* returns what it was */
uint64_t rm_strand_ref(uint32_t tagged_index);
enum dgo_level rm_strand_level(uint32_t tagged_index);
bool rm_strand_is_of(uint32_t tagged_index, enum dgo_lane lane);
void rm_strand_due(uint32_t index, uint64_t due_ns);
bool rm_strand_is_due_at(uint32_t index, uint64_t due_ns);
void rm_strands_forget(void);

/* rm_delay.c */
enum rm_push rm_delay_add(uint64_t ref, uint64_t due_ns);
uint64_t rm_delay_next_ns(void); /* UINT64_MAX: nothing waits */
uint32_t rm_delay_run(struct rm_thread *self, uint64_t now_ns);
void rm_delay_open(void);
void rm_delay_close(struct rm_thread *self);
void rm_delay_forget(void);

/* rm_keeper.c */
bool rm_keeper_start(void);
bool rm_keeper_ensure(void); /* false: nobody keeps the time */
void rm_keeper_stop(void);
bool rm_keeper_ask(enum dgo_lane lane);
void rm_keeper_arm(void);
bool rm_keeper_is_armed(void);
void rm_keeper_poke(void); /* look at the delayed ones again */
void rm_keeper_forget(void);

/* rm_size.c */
void rm_size_start(uint32_t workers, uint32_t background);
void rm_size_tick(uint64_t now_ns);
void rm_size_forget(void);
void rm_size_note(enum dgo_lane lane, uint32_t before, uint32_t after, const char *why, ...)
    DGO_PRINTF(4, 5);
bool rm_size_may_spin(void);

/* rm_share.c */
void rm_share_set(uint32_t normal_permille, uint32_t background_permille);
bool rm_share_is_limited(enum dgo_lane lane);
void rm_share_pay(struct rm_worker *worker, uint64_t used_ns);

/* rm_ui.c */
void rm_ui_signal(void);

/* rm_stats.c */
void rm_count_run(struct rm_thread *self, uint32_t component, uint64_t ns);
void rm_count_queue(struct rm_thread *self, uint32_t component, struct rm_lane *lane, uint64_t ns);
uint32_t rm_histogram_slot(uint64_t ns);
uint64_t rm_histogram_quantile(const uint64_t bin[RM_HISTOGRAM], uint32_t permille);
uint64_t rm_count_of(uint32_t component, enum rm_counter counter);

/* rm_manager.c */
void rm_after_fork(void);

/* rm_component.c */
enum dgo_lane rm_component_lane(uint32_t component);
void rm_component_demote(uint32_t component);
void rm_components_forget(void);
enum dgo_status rm_component_read_env(const struct dgo_resource_config *config,
                                      struct dgo_error *err);

/* rm_policy.c */
struct rm_choice {
    enum dgo_hint hint;
    char origin[DGO_COMPONENT_ORIGIN_MAX]; /* "its declaration", "DUALGPUOPT_COMPONENT_..." */
};
void rm_component_choice(uint32_t component, struct rm_choice *choice);
void rm_policy_refresh(void);
void rm_policy_forget(void);

#endif
