/* rm_keeper.c - the thread that looks after the others: due jobs, stuck workers, sizes.
 *
 * It ticks only while somebody works or waits; when all is quiet it sleeps without a timeout (or
 * until the next delayed job), so an idle manager wakes nobody. */
#include "rm_hand.h"

#include "dgo_units.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { QUIET_TICKS = 5, SURELY_STUCK_TICKS = 5, RETRY_MS = 10 };

static struct dgo_lock keeper_lock; /* the two below; never a lane's lock inside */
static pthread_t keeper;
static bool keeper_runs;
static _Atomic uint64_t next_try_ns;
static _Atomic bool keeper_is_there;
static _Atomic uint32_t poke;  /* futex */
static _Atomic uint32_t asked; /* lanes to be woken, a bit each */
static _Atomic bool armed;
static _Atomic bool stopping;

static bool make_keeper(void);

/* The system refused its thread before: again, now and then. */
static bool try_again(void)
{
    const uint64_t now_ns = dgo_monotonic_ns();
    bool made = false;

    if (now_ns < atomic_load(&next_try_ns) || !dgo_try_lock(&keeper_lock))
        return false;
    atomic_store(&next_try_ns, now_ns + RETRY_MS * DGO_NS_PER_MS);
    if (atomic_load(&rm.phase) == RM_ON && atomic_load(&rm.threaded) && !keeper_runs)
        made = make_keeper();
    dgo_unlock(&keeper_lock);
    if (made)
        rm_size_note(DGO_LANE_NORMAL, 0, 0, "the keeper's thread could be made at last");
    return made;
}

/* Whether somebody keeps the time; without threads that is the program itself. */
bool rm_keeper_ensure(void)
{
    return atomic_load(&keeper_is_there) || !atomic_load(&rm.threaded) || try_again();
}

void rm_keeper_poke(void)
{
    if (!atomic_load(&keeper_is_there) && !try_again())
        return;
    atomic_fetch_add(&poke, 1);
    dgo_wake_up(&poke, 1);
}

/* Wakes the lane in the place of a thread that must not; false: there is no keeper. */
bool rm_keeper_ask(enum dgo_lane lane)
{
    const uint32_t bit = UINT32_C(1) << lane;

    if (!atomic_load(&keeper_is_there))
        return false;
    if (!(atomic_fetch_or(&asked, bit) & bit))
        rm_keeper_poke();
    return true;
}

static void wake_asked(void)
{
    uint32_t lanes = atomic_load(&asked) ? atomic_exchange(&asked, 0) : 0;

    for (; lanes; lanes &= lanes - 1)
        rm_lane_wake(&rm.lane[__builtin_ctz(lanes)]);
}

void rm_keeper_arm(void)
{
    if (atomic_load_explicit(&armed, memory_order_relaxed) || atomic_exchange(&armed, true))
        return;
    rm_keeper_poke();
    if (!atomic_load(&keeper_is_there))
        atomic_store(&armed, false); /* nobody ticks: the next one tries again */
}

/* 'R', 'S', 'D' ...; 0 where it cannot be read. */
static char thread_state(int32_t thread_id)
{
    char path[64], text[512];
    const char *after;

    snprintf(path, sizeof path, "/proc/self/task/%" PRId32 "/stat", thread_id);
    if (rm_sys_read_file(path, text, sizeof text) <= 0)
        return 0;
    after = strrchr(text, ')'); /* the name may hold anything */
    return after && after[1] == ' ' ? after[2] : 0;
}

static bool is_blocked(const struct rm_worker *worker)
{
    const char state = thread_state(atomic_load(&worker->thread_id));

    if (worker->lane->id == DGO_LANE_EXPRESS)
        return true; /* too long for this lane, whatever it does */
    if (state == 0)
        return worker->stuck_ticks >= SURELY_STUCK_TICKS;
    return state == 'S' || state == 'D' || state == 'T';
}

static void watch_worker(struct rm_worker *worker)
{
    const uint64_t hand = atomic_load_explicit(&worker->hand, memory_order_relaxed);
    struct rm_lane *lane = worker->lane;
    bool others_wait;

    if (!atomic_load(&worker->in_job) || hand != worker->seen_hand) {
        worker->seen_hand = hand;
        worker->stuck_ticks = 0;
        return;
    }
    worker->stuck_ticks++;
    others_wait = rm_lane_has_work(lane) || rm_hand_left(hand) != 0;
    if (others_wait && !atomic_load(&worker->lent) && is_blocked(worker))
        rm_worker_block(worker);
    else if (rm_hand_left(hand) != 0)
        rm_worker_share(worker); /* only what it has not begun; again, where it was refused */
}

/* Nothing is lost without this; it repairs what a wrong guess of job times left undone. */
static void watch_lane(struct rm_lane *lane)
{
    const bool has_threads = atomic_load(&lane->threads) > 0;

    if (!lane->eager)
        for (uint32_t i = 0; i < lane->thread_max && i < DGO_WORKER_MAX; i++)
            if (atomic_load(&lane->worker[i].alive))
                watch_worker(&lane->worker[i]);
    if (!rm_lane_has_work(lane))
        return;
    if (!has_threads || atomic_load(&lane->idle_mask) == 0) {
        const bool is_short = lane->eager || !has_threads || atomic_load(&lane->blocked) > 0;

        if (is_short && (uint32_t)atomic_load(&lane->threads) < lane->thread_max)
            rm_lane_spawn(lane);
    }
    rm_lane_wake(lane);
}

/* A worker is blocked, and its lane would not take the rest of its batch back yet. */
static bool is_anything_held_back(const struct rm_lane *lane)
{
    for (uint32_t i = 0; i < lane->thread_max && i < DGO_WORKER_MAX; i++) {
        const struct rm_worker *worker = &lane->worker[i];

        if (atomic_load(&worker->lent) && atomic_load(&worker->closed) != HAND_SETTLED &&
            rm_hand_left(atomic_load_explicit(&worker->hand, memory_order_relaxed)) != 0)
            return true;
    }
    return false;
}

static bool is_anything_on(void)
{
    for (uint32_t id = DGO_LANE_EXPRESS; id < DGO_LANE_UI; id++) {
        const struct rm_lane *lane = &rm.lane[id];

        if (rm_lane_has_work(lane))
            return true;
        if (!lane->eager && (atomic_load(&lane->active) > atomic_load(&lane->blocked) ||
                             is_anything_held_back(lane)))
            return true;
    }
    return false;
}

static void tick(uint64_t now_ns)
{
    static uint32_t quiet_ticks;

    for (uint32_t id = DGO_LANE_EXPRESS; id < DGO_LANE_UI; id++)
        watch_lane(&rm.lane[id]);
    rm_size_tick(now_ns);
    quiet_ticks = is_anything_on() ? 0 : quiet_ticks + 1;
    if (quiet_ticks < QUIET_TICKS)
        return;
    quiet_ticks = 0;
    atomic_store(&armed, false);
    if (is_anything_on())
        atomic_store(&armed, true);
}

static void *keeper_main(void *unused)
{
    uint64_t next_tick_ns = 0;

    (void)unused;
    rm_sys_thread_name("dgo-keeper");
    while (!atomic_load(&stopping)) {
        const uint32_t seen = atomic_load(&poke);
        const uint64_t real_ns = dgo_monotonic_ns();
        uint64_t until_ns = rm_delay_next_ns();

        atomic_store_explicit(&rm.coarse_ms, (uint32_t)(real_ns / DGO_NS_PER_MS),
                              memory_order_relaxed);
        rm_delay_run(rm_thread(), rm_now_ns());
        wake_asked();
        if (rm.clock && until_ns != UINT64_MAX)
            until_ns = real_ns + RM_TICK_MS * DGO_NS_PER_MS; /* another clock: look often */
        if (atomic_load(&armed)) {
            if (real_ns >= next_tick_ns) {
                tick(real_ns);
                next_tick_ns = real_ns + RM_TICK_MS * DGO_NS_PER_MS;
            }
            until_ns = dgo_min_u64(until_ns, next_tick_ns);
        }
        if (atomic_load(&stopping))
            break;
        dgo_sleep_on(&poke, seen, dgo_min_u64(until_ns, rm_delay_next_ns()));
    }
    return NULL;
}

/* With the lock. */
static bool make_keeper(void)
{
    keeper_runs = rm_sys_thread(&keeper, keeper_main, NULL) == 0;
    atomic_store(&keeper_is_there, keeper_runs);
    return keeper_runs;
}

bool rm_keeper_start(void)
{
    bool made;

    atomic_store(&stopping, false);
    atomic_store(&armed, false);
    atomic_store(&asked, 0);
    atomic_store(&next_try_ns, 0);
    dgo_lock(&keeper_lock);
    made = keeper_runs || make_keeper(); /* a submitter may have been faster */
    dgo_unlock(&keeper_lock);
    return made;
}

/* The phase is past RM_ON, or there are no threads: nobody makes it again. */
void rm_keeper_stop(void)
{
    dgo_lock(&keeper_lock);
    if (keeper_runs) {
        atomic_store(&stopping, true);
        atomic_fetch_add(&poke, 1);
        dgo_wake_up(&poke, 1);
        pthread_join(keeper, NULL);
        keeper_runs = false;
        atomic_store(&keeper_is_there, false);
    }
    dgo_unlock(&keeper_lock);
}

void rm_keeper_forget(void)
{
    atomic_store(&keeper_lock.word, 0);
    keeper_runs = false;
    atomic_store(&keeper_is_there, false);
    atomic_store(&armed, false);
}

bool rm_keeper_is_armed(void)
{
    return atomic_load(&armed);
}
