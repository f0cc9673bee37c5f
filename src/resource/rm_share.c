/* rm_share.c - the part of the time that a lane may use while an engine needs every CPU.
 *
 * BACKGROUND: each worker pays back what it ran, by sleeping.  NORMAL: somebody may wait for it, so
 * it has a purse that fills by its share and holds a burst; what a user asks for now and then runs
 * at once, and only a lane that is busy all the time is held back. */
#include "rm.h"

#include "dgo_units.h"

/* What somebody asks for with a few moves of a slider; full again after 50 seconds.  The slices are
 * there to notice that the engine has stopped. */
#define BURST_NS            (250 * DGO_NS_PER_MS)
#define SLICE_NS            (20 * DGO_NS_PER_MS)
#define BACKGROUND_SLICE_NS (100 * DGO_NS_PER_MS)

static _Atomic uint32_t normal_duty = 1000, background_duty = 1000;
static _Atomic int64_t purse_ns = BURST_NS;
static _Atomic uint64_t filled_ns; /* up to when; real time */

void rm_share_set(uint32_t normal_permille, uint32_t background_permille)
{
    if (atomic_load(&normal_duty) >= 1000 && normal_permille < 1000) {
        /* Who has work waiting has had his burst. */
        atomic_store(&purse_ns, rm_lane_has_work(&rm.lane[DGO_LANE_NORMAL]) ? 0 : BURST_NS);
        atomic_store(&filled_ns, dgo_monotonic_ns());
    }
    atomic_store(&normal_duty, normal_permille);
    atomic_store(&background_duty, background_permille);
}

static uint32_t duty_of(enum dgo_lane lane)
{
    if (lane == DGO_LANE_NORMAL)
        return atomic_load_explicit(&normal_duty, memory_order_relaxed);
    if (lane == DGO_LANE_BACKGROUND)
        return atomic_load_explicit(&background_duty, memory_order_relaxed);
    return 1000;
}

bool rm_share_is_limited(enum dgo_lane lane)
{
    return duty_of(lane) < 1000;
}

static void fill_purse(uint64_t now_ns)
{
    uint64_t from_ns = atomic_load(&filled_ns);
    int64_t had;

    if (now_ns <= from_ns || !atomic_compare_exchange_strong(&filled_ns, &from_ns, now_ns))
        return; /* another worker does it */
    had = atomic_fetch_add(&purse_ns,
                           (int64_t)((now_ns - from_ns) * duty_of(DGO_LANE_NORMAL) / 1000));
    if (had > (int64_t)BURST_NS)
        atomic_fetch_sub(&purse_ns, had - (int64_t)BURST_NS);
}

/* While stopping nobody is held back: what was accepted is to end. */
static bool may_go_on(enum dgo_lane lane)
{
    return atomic_load(&rm.phase) != RM_ON || duty_of(lane) >= 1000;
}

static void sleep_slice(struct rm_worker *worker, uint64_t until_ns)
{
    atomic_store(&worker->park, 0); /* only the end of the manager wakes it sooner */
    if (atomic_load(&rm.phase) == RM_ON)
        dgo_sleep_on(&worker->park, 0, until_ns);
}

static void wait_for_purse(struct rm_worker *worker)
{
    while (!may_go_on(DGO_LANE_NORMAL)) {
        const uint64_t now_ns = dgo_monotonic_ns();
        int64_t left_ns;

        fill_purse(now_ns);
        left_ns = atomic_load(&purse_ns);
        if (left_ns > 0)
            return;
        sleep_slice(worker, now_ns + dgo_min_u64(SLICE_NS, (uint64_t)(1 - left_ns) * 1000 /
                                                               duty_of(DGO_LANE_NORMAL)));
    }
}

static void sleep_it_off(struct rm_worker *worker, uint64_t used_ns)
{
    const uint32_t duty = duty_of(DGO_LANE_BACKGROUND);
    uint64_t now_ns = dgo_monotonic_ns();
    const uint64_t until_ns =
        now_ns + dgo_min_u64(used_ns, 10 * DGO_NS_PER_S) * (1000 - duty) / duty;

    for (; now_ns < until_ns && !may_go_on(DGO_LANE_BACKGROUND); now_ns = dgo_monotonic_ns())
        sleep_slice(worker, dgo_min_u64(until_ns, now_ns + BACKGROUND_SLICE_NS));
}

/* The worker has used so much CPU time for its lane: it waits until that is the lane's share. */
void rm_share_pay(struct rm_worker *worker, uint64_t used_ns)
{
    if (may_go_on(worker->lane->id))
        return;
    if (worker->lane->id == DGO_LANE_BACKGROUND) {
        sleep_it_off(worker, used_ns);
        return;
    }
    atomic_fetch_sub(&purse_ns, (int64_t)used_ns);
    wait_for_purse(worker);
}
