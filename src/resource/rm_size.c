/* rm_size.c - how many threads of each lane may run: applies the budget and remembers why. */
#include "rm.h"

#include "dgo_text.h"
#include "dgo_units.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { LOOK_MS = 20, LIMITS_S = 5 };

static struct dgo_lock lock; /* all below; never a callback inside */
static struct rm_budget budget;
static struct rm_budget_limits limits;
static struct rm_budget_engine engine[DGO_PROTECTED_MAX]; /* pid 0: free */
static struct rm_budget_feel worst;
static bool blind_told, unread_told, class_told; /* said once, until it is over */
static uint64_t next_look_ns, limits_ns;
static struct dgo_decision decisions[DGO_DECISION_MAX];
static uint32_t decision_count; /* ever */
static _Atomic bool may_spin;
static _Atomic uint32_t protected_count;

bool rm_size_may_spin(void)
{
    return atomic_load_explicit(&may_spin, memory_order_relaxed);
}

static void note(enum dgo_lane lane, uint32_t before, uint32_t after, const char *why)
{
    struct dgo_decision *decision = &decisions[decision_count++ % DGO_DECISION_MAX];

    decision->at_ns = rm_now_ns();
    decision->lane = lane;
    decision->before = before;
    decision->after = after;
    dgo_text_copy(decision->why, sizeof decision->why, why);
}

void rm_size_note(enum dgo_lane lane, uint32_t before, uint32_t after, const char *why, ...)
{
    char text[DGO_REASON_MAX];
    va_list args;

    va_start(args, why);
    vsnprintf(text, sizeof text, why, args);
    va_end(args);
    dgo_lock(&lock);
    note(lane, before, after, text);
    dgo_unlock(&lock);
}

/* With the lock; returns whether more may run than before. */
static bool apply(enum dgo_lane id, uint32_t after, const char *why)
{
    struct rm_lane *lane = &rm.lane[id];
    const uint32_t before = (uint32_t)atomic_exchange(&lane->allowed, (int32_t)after);

    if (before != after)
        note(id, before, after, why);
    return after > before;
}

void rm_size_start(uint32_t workers, uint32_t background)
{
    char why[DGO_REASON_MAX];

    dgo_lock(&lock);
    rm_budget_read(rm.root, &limits);
    rm_budget_init(&budget, &limits, workers, background);
    next_look_ns = limits_ns = 0;
    blind_told = unread_told = class_told = false;
    rm_share_set(1000, 1000);
    atomic_store(&may_spin, limits.cpus > 1 && !limits.quota_known);
    if (limits.quota_known)
        snprintf(why, sizeof why,
                 "%" PRIu32 " CPUs, a cgroup quota of %" PRIu32 ".%02" PRIu32 " CPUs", limits.cpus,
                 limits.quota_permille / 1000, limits.quota_permille % 1000 / 10);
    else
        snprintf(why, sizeof why, "%" PRIu32 " CPUs, no cgroup quota", limits.cpus);
    apply(DGO_LANE_NORMAL, budget.normal, why);
    apply(DGO_LANE_BACKGROUND, budget.background, why);
    dgo_unlock(&lock);
}

/* How the protected engines do; engines that are gone are forgotten. */
static void look_at_engines(uint64_t now_ns)
{
    worst = (struct rm_budget_feel){0};
    for (uint32_t i = 0; i < DGO_PROTECTED_MAX; i++) {
        struct rm_budget_feel feel;

        if (engine[i].pid == 0)
            continue;
        rm_budget_feel(rm.root, &engine[i], now_ns, &feel);
        if (!feel.alive) {
            engine[i].pid = 0;
            atomic_fetch_sub(&protected_count, 1);
            continue;
        }
        worst.alive = true;
        worst.is_blind |= feel.is_blind;
        worst.runnable += feel.runnable;
        if (feel.delay_permille > worst.delay_permille)
            worst.delay_permille = feel.delay_permille;
    }
}

static uint64_t normal_wait_ns(void)
{
    const struct rm_lane *lane = &rm.lane[DGO_LANE_NORMAL];
    const uint32_t now_ms = atomic_load_explicit(&rm.coarse_ms, memory_order_relaxed);
    uint32_t served_ms;

    if (!rm_lane_has_work(lane))
        return 0;
    served_ms = atomic_load_explicit(&lane->served_ms, memory_order_relaxed);
    return (uint64_t)(now_ms - served_ms) * DGO_NS_PER_MS;
}

/* A quota that cannot be read any more has not gone: what was read before holds. */
static void read_limits(void)
{
    const struct rm_budget_limits before = limits;

    rm_budget_read(rm.root, &limits);
    if (limits.cgroup_unread && before.quota_known) {
        limits.quota_known = true;
        limits.quota_permille = before.quota_permille;
        limits.throttled = before.throttled;
    }
}

static void say_once(bool *told, bool is_so, enum dgo_lane id, const char *why)
{
    const uint32_t allowed = (uint32_t)atomic_load(&rm.lane[id].allowed);

    if (is_so && !*told)
        note(id, allowed, allowed, why);
    *told = is_so;
}

/* With the lock: what could not be had is no silent matter. */
static void say_what_is_missing(void)
{
    const char *policy = atomic_load(&rm.lane[DGO_LANE_BACKGROUND].policy);

    say_once(&unread_told, limits.cgroup_unread, DGO_LANE_NORMAL,
             limits.quota_known
                 ? "/proc/self/cgroup cannot be read: the quota read before is taken to hold"
                 : "/proc/self/cgroup cannot be read: whether there is a quota is not known");
    say_once(&blind_told, worst.is_blind, DGO_LANE_NORMAL,
             "an engine's threads cannot be read in /proc: as many as it was told to have are "
             "taken to run");
    say_once(&class_told, policy && strcmp(policy, "SCHED_IDLE") != 0, DGO_LANE_BACKGROUND,
             "the system refused SCHED_IDLE: BACKGROUND competes with engines for the CPUs");
}

/* From the keeper, every tick. */
void rm_size_tick(uint64_t now_ns)
{
    const uint64_t used_ns = rm_sys_thread_cpu_ns();
    struct rm_budget_output output;
    struct rm_budget_input input;
    bool grew;

    if (now_ns < next_look_ns)
        return;
    dgo_lock(&lock);
    if (now_ns - limits_ns >= LIMITS_S * DGO_NS_PER_S) {
        read_limits();
        limits_ns = now_ns;
    }
    look_at_engines(now_ns);
    say_what_is_missing();
    /* Engines may have many threads: looking must not cost more than a four-hundredth of a CPU.  Of
     * CPU time: a look that was held up on a busy machine must not put the next one off. */
    next_look_ns =
        now_ns + dgo_max_u64(LOOK_MS * DGO_NS_PER_MS, 400 * (rm_sys_thread_cpu_ns() - used_ns));
    input = (struct rm_budget_input){
        .now_ns = now_ns,
        .limits = limits,
        .protecting = worst.alive,
        .engine_threads = worst.runnable,
        .delay_permille = worst.delay_permille,
        .queue_wait_ns = normal_wait_ns(),
    };
    rm_budget_step(&budget, &input, &output);
    grew = apply(DGO_LANE_NORMAL, budget.normal, output.why);
    grew |= apply(DGO_LANE_BACKGROUND, budget.background, output.why);
    rm_share_set(budget.normal_duty_permille, budget.background_duty_permille);
    atomic_store(&may_spin, limits.cpus > 1 && !limits.quota_known && !worst.alive);
    dgo_unlock(&lock);
    if (grew) {
        rm_lane_wake(&rm.lane[DGO_LANE_NORMAL]);
        rm_lane_wake(&rm.lane[DGO_LANE_BACKGROUND]);
    }
}

/* ---- public ---- */

enum dgo_status dgo_resource_protect(uint32_t pid, uint32_t threads, struct dgo_error *err)
{
    struct rm_budget_engine *place = NULL;

    if (pid == 0)
        return dgo_fail(err, DGO_EINVAL, "0 is no process");
    dgo_lock(&lock);
    for (uint32_t i = 0; i < DGO_PROTECTED_MAX; i++) {
        if (engine[i].pid == pid) {
            place = &engine[i];
            break;
        }
        if (engine[i].pid == 0 && !place)
            place = &engine[i];
    }
    if (!place) {
        dgo_unlock(&lock);
        return dgo_fail(err, DGO_ELIMIT, "%d engines are protected already", DGO_PROTECTED_MAX);
    }
    if (place->pid != pid) {
        memset(place, 0, sizeof *place);
        place->pid = pid;
        atomic_fetch_add(&protected_count, 1);
    }
    place->threads_told = threads;
    dgo_unlock(&lock);
    return DGO_OK;
}

void dgo_resource_unprotect(uint32_t pid)
{
    dgo_lock(&lock);
    for (uint32_t i = 0; i < DGO_PROTECTED_MAX; i++)
        if (pid != 0 && engine[i].pid == pid) {
            engine[i].pid = 0;
            atomic_fetch_sub(&protected_count, 1);
        }
    dgo_unlock(&lock);
}

uint32_t dgo_resource_decisions(struct dgo_decision *out, uint32_t max)
{
    uint32_t count;

    dgo_lock(&lock);
    count = decision_count < DGO_DECISION_MAX ? decision_count : DGO_DECISION_MAX;
    if (count > max)
        count = max;
    for (uint32_t i = 0; i < count; i++)
        out[i] = decisions[(decision_count - count + i) % DGO_DECISION_MAX];
    dgo_unlock(&lock);
    return count;
}

void dgo_resource_budget(struct dgo_budget_facts *facts)
{
    dgo_lock(&lock);
    if (limits.cpus == 0)
        rm_budget_read(rm.root, &limits); /* not started yet */
    *facts = (struct dgo_budget_facts){
        .cpus = limits.cpus,
        .quota_known = limits.quota_known,
        .quota_permille = limits.quota_permille,
        .engine_threads = worst.runnable,
        .budget = budget.normal ? budget.normal : 1,
        .background = budget.background,
        .normal_duty_permille = budget.normal ? budget.normal_duty_permille : 1000,
        .background_duty_permille = budget.normal ? budget.background_duty_permille : 1000,
        .run_delay_permille = worst.delay_permille,
        .tight = worst.alive && budget.normal && budget.normal_duty_permille < 1000,
    };
    dgo_unlock(&lock);
}

void rm_size_forget(void)
{
    atomic_store(&lock.word, 0);
}
