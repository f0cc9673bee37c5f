/* place_rest.c - the split from its end: what the items from k on cost at least, for each set of
 * devices that is still free.
 *
 * It is the search of place.c run backwards, once, without a limit on the stages.  A limit only
 * adds cost, so the sums stay a lower bound for every later search, and cut off what cannot win. */
#include <math.h>
#include <stdlib.h>

#include "place_work.h"

static bool uses_all(const struct place_problem *p)
{
    return p->device_min >= p->device_count;
}

/* Of `set`, only devices that no same one in `set` comes before: the first of those to be used. */
static bool leads(const struct work *work, uint32_t set, uint32_t device)
{
    return !(work->same_before[device] & set);
}

/* Of devices that are the same the machine's first are used first, so the last are left. */
static bool can_be_left(const struct work *work, uint32_t set)
{
    for (uint32_t d = 0; d < work->problem->device_count; d++)
        if (set >> d & 1 && (work->same_after[d] & ~set))
            return false;
    return true;
}

/* Coming from `device` with the devices of `set` still free: the row of the state in which all
 * others are used. */
static double *row_of(const struct work *work, uint32_t set, uint32_t device)
{
    const uint32_t devices = work->problem->device_count;
    const uint32_t used = ((UINT32_C(1) << devices) - 1) & ~set;

    return work->after + (size_t)work->row[used * devices + device] * work->width;
}

static bool may_come_from(const struct work *work, uint32_t set, uint32_t device)
{
    const uint32_t devices = work->problem->device_count;
    const uint32_t used = ((UINT32_C(1) << devices) - 1) & ~set;

    return !(set >> device & 1) && work->row[used * devices + device] != WORK_NO_ROW;
}

/* The device takes all that is left: tried one start at a time. */
static void last_run(const struct work *work, uint32_t d, double *row)
{
    const struct place_problem *p = work->problem;
    const uint32_t end = p->item_count;
    const double *cost = work->cost_sum + (size_t)d * work->width;

    for (uint32_t k = end; k-- > 0;) {
        uint64_t room = 0;

        if (place_room(p, d, PLACE_LAST, k, end - k, &room) &&
            work->bytes_sum[end] - work->bytes_sum[k] <= room)
            row[k] = fmin(row[k], cost[end] - cost[k]);
    }
}

/* row[k] = min (cost of items k..e-1 on `d` + next[e]) over the e that the device can hold.  As in
 * place.c those form a window, which here moves left. */
static void middle_run(const struct work *work, uint32_t d, const double *next, double *row)
{
    const struct place_problem *p = work->problem;
    const double *cost = work->cost_sum + (size_t)d * work->width;
    uint16_t queue[PLACE_ITEM_MAX + 1];
    uint32_t head = 0, tail = 0, high = p->item_count - 1;
    uint64_t room = 0;
    const bool any = place_room(p, d, PLACE_MIDDLE, 0, 3, &room);

    for (uint32_t k = p->item_count; k-- > 0;) {
        const uint32_t e = k + 1;

        if (!any || e >= p->item_count)
            continue;
        if (!isinf(next[e])) {
            while (tail > head && next[e] + cost[e] < next[queue[tail - 1]] + cost[queue[tail - 1]])
                tail--;
            queue[tail++] = (uint16_t)e;
        }
        while (high > k && work->bytes_sum[high] - work->bytes_sum[k] > room)
            high--;
        while (head < tail && queue[head] > high)
            head++;
        if (head < tail)
            row[k] = next[queue[head]] + cost[queue[head]] - cost[k];
    }
}

/* run[k]: least cost of items k.. when `device` takes the first of them and any others of `set` the
 * rest; where all devices must be used, all others of `set`. */
static void fill_run(const struct work *work, uint32_t set, uint32_t device, double *run)
{
    const uint32_t others = set & ~(UINT32_C(1) << device);

    for (uint32_t k = 0; k < work->width; k++)
        run[k] = INFINITY;
    if (others)
        middle_run(work, device, row_of(work, others, device), run);
    if (!others || !uses_all(work->problem))
        last_run(work, device, run);
}

static void begin_rows(const struct work *work, uint32_t set)
{
    for (uint32_t d = 0; d < work->problem->device_count; d++)
        for (uint32_t k = 0; k < work->width && may_come_from(work, set, d); k++)
            row_of(work, set, d)[k] = INFINITY;
}

/* What `run` on `device` means to those that come before it. */
static void offer_run(const struct work *work, uint32_t set, uint32_t device, const double *run)
{
    const struct place_problem *p = work->problem;

    for (uint32_t d = 0; d < p->device_count; d++) {
        const double step = p->boundary[d][device];

        if (!may_come_from(work, set, d))
            continue;
        double *row = row_of(work, set, d);

        for (uint32_t k = 0; k < p->item_count; k++) /* no branch: the compiler makes vectors */
            row[k] = run[k] + step < row[k] ? run[k] + step : row[k];
    }
}

enum dgo_status work_rest(struct work *work, struct dgo_error *err)
{
    const struct place_problem *p = work->problem;
    const uint32_t devices = p->device_count, all = (UINT32_C(1) << devices) - 1;
    double run[PLACE_ITEM_MAX + 1];

    work->after = malloc((size_t)work->row_count * work->width * sizeof *work->after);
    if (!work->after)
        return dgo_fail(err, DGO_ENOMEM, "no memory to search for a placement");
    /* One device went before, so two are used at least. */
    work->after_exact = p->device_min <= 2 || uses_all(p);
    for (uint32_t set = 1; set < all; set++) {
        if (!can_be_left(work, set))
            continue;
        begin_rows(work, set);
        for (uint32_t d = 0; d < devices; d++)
            if (set >> d & 1 && leads(work, set, d)) {
                fill_run(work, set, d, run);
                offer_run(work, set, d, run);
            }
    }
    return DGO_OK;
}
