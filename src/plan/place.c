/* place.c - dynamic programming over (which devices are used, which was last, items placed). */
#include "place.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "place_work.h"

/* The objective of a mixed (sum and slowest stage) search is settled to this part of itself. */
#define SETTLED 1e-6
/* Costs that differ by less are equal: the earlier found wins, so that ties do not follow noise. */
#define TIE 1e-12
/* What is cut off by the bound has at least this part of it more: above what adding up rounds. */
#define SLACK 1e-9

static uint32_t state_device(const struct work *work, uint32_t state)
{
    return state % work->problem->device_count;
}

/* States that `state` may follow; at most 2 * PLACE_DEVICE_MAX.  Later devices come first, so that
 * ties keep the machine's order. */
static uint32_t states_before(const struct work *work, uint32_t state,
                              uint32_t before[2 * PLACE_DEVICE_MAX])
{
    const uint32_t devices = work->problem->device_count;
    const uint32_t last = state % devices;
    uint32_t count = 0;

    if (work_first(work, state))
        return 0;
    if (work->ordered) {
        for (uint32_t d = last; d-- > 0;) {
            before[count++] = d;
            before[count++] = devices + d;
        }
        return count;
    }
    const uint32_t rest = state / devices & ~(UINT32_C(1) << last);

    for (uint32_t d = devices; d-- > 0;)
        if (rest >> d & 1)
            before[count++] = rest * devices + d;
    return count;
}

bool place_room(const struct place_problem *problem, uint32_t device, uint32_t role, uint32_t first,
                uint32_t count, uint64_t *room)
{
    const struct place_device *d = &problem->device[device];
    uint64_t fixed = d->fixed_bytes[role];

    if (role == PLACE_FIRST && first == 0 && count == 1)
        fixed = d->head_fixed_bytes;
    else if (role == PLACE_LAST && count <= 2)
        fixed = d->tail_fixed_bytes[count - 1];
    if (fixed > d->room_bytes)
        return false;
    *room = d->room_bytes - fixed;
    return true;
}

static bool better(double candidate, double than)
{
    return candidate < than - TIE * fabs(than) || (isinf(than) && !isinf(candidate));
}

static double *value_of(const struct work *work, uint32_t row)
{
    return work->value + (size_t)row * work->width;
}

/* NULL for a state that cannot be. */
static const struct work_row *row_of(const struct work *work, uint32_t state)
{
    return work->row[state] == WORK_NO_ROW ? NULL : &work->rows[work->row[state]];
}

/* Item counts from which a run may start. */
struct starts {
    uint32_t low, high; /* low > high: none */
};

/* start[i]: cost of having i items placed and going on with the state's device. */
static struct starts fill_start(struct work *work, uint32_t state)
{
    const struct place_problem *p = work->problem;
    const uint32_t device = state_device(work, state);
    struct starts starts = {p->item_count, 0};
    uint32_t before[2 * PLACE_DEVICE_MAX];
    const uint32_t count = states_before(work, state, before);

    if (work_first(work, state)) {
        starts.low = p->cpu_items_min;
        starts.high = p->cpu_items_max < p->item_count ? p->cpu_items_max : p->item_count - 1;
        for (uint32_t i = starts.low; i <= starts.high; i++)
            work->start[i] = work->cpu_sum[i] + (i > 0 ? p->cpu_boundary[device] : 0);
        return starts;
    }
    for (uint32_t b = 0; b < count; b++) {
        const struct work_row *of = row_of(work, before[b]);

        if (of && of->low <= of->high) {
            starts.low = of->low < starts.low ? of->low : starts.low;
            starts.high = of->high > starts.high ? of->high : starts.high;
        }
    }
    for (uint32_t i = starts.low; i <= starts.high; i++)
        work->start[i] = INFINITY;
    for (uint32_t b = 0; b < count; b++) {
        const struct work_row *of = row_of(work, before[b]);
        const double step = p->boundary[state_device(work, before[b])][device];

        if (!of || of->low > of->high)
            continue;
        const double *value = value_of(work, work->row[before[b]]);

        for (uint32_t i = of->low; i <= of->high; i++) /* no branch: the compiler makes vectors */
            work->start[i] = value[i] + step < work->start[i] ? value[i] + step : work->start[i];
    }
    return starts;
}

/* The last segment takes its own role's bytes: tried one start at a time. */
static void end_row(struct work *work, uint32_t row, const struct starts *starts, double cap)
{
    const struct place_problem *p = work->problem;
    struct work_row *of = &work->rows[row];
    const uint32_t device = state_device(work, of->state), end = p->item_count;
    const uint32_t role = PLACE_LAST | (work_first(work, of->state) ? PLACE_FIRST : PLACE_MIDDLE);
    const double *cost = work->cost_sum + (size_t)device * work->width;
    const double *stage = work->stage_sum + (size_t)device * work->width;

    for (uint32_t i = starts->high + 1; i-- > starts->low;) {
        const double candidate = work->start[i] + cost[end] - cost[i];
        const bool longer = end - i > 2; /* than the runs that may take less: room only shrinks */
        uint64_t room = 0;

        if (!place_room(p, device, role, i, end - i, &room) ||
            work->bytes_sum[end] - work->bytes_sum[i] > room || stage[end] - stage[i] > cap) {
            if (longer)
                break;
            continue;
        }
        if (better(candidate, of->whole)) {
            of->whole = candidate;
            of->whole_from = (uint16_t)i;
        }
    }
}

/* value[k] = cost_sum[k] + min (start[i] - cost_sum[i]) over the starts i from which the device
 * can hold up to k.  Those form a window that only moves right: a queue of candidates gives each
 * minimum in constant time on average. */
static void fill_row(struct work *work, uint32_t row, const struct starts *starts, double cap)
{
    const struct place_problem *p = work->problem;
    const uint32_t state = work->rows[row].state, device = state_device(work, state);
    const double *cost = work->cost_sum + (size_t)device * work->width;
    const double *stage = work->stage_sum + (size_t)device * work->width;
    double *value = value_of(work, row);
    uint16_t *from = work->from + (size_t)row * work->width;
    const uint32_t role = work_first(work, state) ? PLACE_FIRST : PLACE_MIDDLE;
    uint16_t queue[PLACE_ITEM_MAX + 1];
    uint32_t head = 0, tail = 0, low = starts->low;
    uint64_t room = 0;
    const bool any = place_room(p, device, role, 0, 2, &room);

    for (uint32_t k = starts->low + 1; k < p->item_count && any; k++) {
        if (k - 1 <= starts->high && !isinf(work->start[k - 1])) {
            const double candidate = work->start[k - 1] - cost[k - 1];

            while (tail > head &&
                   better(candidate, work->start[queue[tail - 1]] - cost[queue[tail - 1]]))
                tail--;
            queue[tail++] = (uint16_t)(k - 1);
        }
        while (low < k &&
               (work->bytes_sum[k] - work->bytes_sum[low] > room || stage[k] - stage[low] > cap))
            low++;
        while (head < tail && queue[head] < low)
            head++;
        if (head == tail && k > starts->high)
            break;
        work->rows[row].high = (uint16_t)k;
        value[k] = INFINITY;
        if (head < tail) {
            value[k] = work->start[queue[head]] - cost[queue[head]] + cost[k];
            from[k] = queue[head];
        }
    }
}

/* The first item alone on the first device, which may take less than longer runs. */
static void head_alone(struct work *work, uint32_t row, double cap)
{
    const struct place_problem *p = work->problem;
    struct work_row *of = &work->rows[row];
    const uint32_t device = state_device(work, of->state);
    double *value = value_of(work, row);
    uint64_t room = 0;

    if (p->item_count < 2 || !work_first(work, of->state) || p->cpu_items_min > 0 ||
        work->stage_sum[(size_t)device * work->width + 1] > cap ||
        !place_room(p, device, PLACE_FIRST, 0, 1, &room) || p->bytes[0] > room)
        return;
    const double alone = work->start[0] + work->cost_sum[(size_t)device * work->width + 1];

    if (of->high == 0)
        of->high = 1;
    else if (!better(alone, value[1]))
        return;
    value[1] = alone;
    work->from[(size_t)row * work->width + 1] = 0;
}

/* Whether a state may be the end: the number of devices is what the problem wants. */
static bool state_final(const struct work *work, uint32_t state)
{
    const struct place_problem *p = work->problem;

    return work_first(work, state) == p->single &&
           (work->ordered || bits(state / p->device_count) >= p->device_min);
}

/* The row that is the best end. */
static uint32_t best_final(const struct work *work, double *cost)
{
    const uint32_t devices = work->problem->device_count;
    uint32_t best = WORK_NO_ROW;

    *cost = INFINITY;
    /* What is weighed first wins a tie: few devices, and those in the caller's order. */
    for (uint32_t set = 0; set < work->state_count; set += devices)
        for (uint32_t last = devices; last-- > 0;) {
            const uint32_t row = work->row[set + last];

            if (row != WORK_NO_ROW && better(work->rows[row].whole, *cost)) {
                *cost = work->rows[row].whole;
                best = row;
            }
        }
    return best;
}

/* The row that `row` followed when its last segment starts at item i. */
static uint32_t row_before_at(const struct work *work, uint32_t row, uint32_t i)
{
    const uint32_t state = work->rows[row].state;
    uint32_t before[2 * PLACE_DEVICE_MAX], best = WORK_NO_ROW;
    const uint32_t count = states_before(work, state, before);
    double least = INFINITY;

    for (uint32_t b = 0; b < count; b++) {
        const uint32_t other = work->row[before[b]];

        if (other == WORK_NO_ROW || i < work->rows[other].low || i > work->rows[other].high)
            continue;
        const double value =
            value_of(work, other)[i] +
            work->problem->boundary[state_device(work, before[b])][state_device(work, state)];

        if (better(value, least)) {
            least = value;
            best = other;
        }
    }
    return best;
}

static void walk_back(const struct work *work, uint32_t row, struct place_answer *answer)
{
    struct place_segment found[PLACE_DEVICE_MAX];
    uint32_t count = 0, end = work->problem->item_count, first = work->rows[row].whole_from;

    while (row != WORK_NO_ROW && count < PLACE_DEVICE_MAX) {
        found[count++] =
            (struct place_segment){state_device(work, work->rows[row].state), first, end - first};
        end = first;
        row = row_before_at(work, row, end);
        if (row != WORK_NO_ROW)
            first = work->from[(size_t)row * work->width + end];
    }
    answer->cpu_items = end;
    answer->segment_count = count;
    answer->slowest_stage = 0;
    for (uint32_t s = 0; s < count; s++) {
        const struct place_segment *segment = &found[count - 1 - s];
        const double *stage = work->stage_sum + (size_t)segment->device * work->width;
        const double time = stage[segment->first + segment->count] - stage[segment->first];

        answer->segment[s] = *segment;
        answer->slowest_stage = fmax(answer->slowest_stage, time);
    }
}

/* Takes out what cannot end at `limit` or below. */
static void cut_row(const struct work *work, uint32_t row, double limit)
{
    struct work_row *of = &work->rows[row];
    double *value = value_of(work, row);
    const double *after = work->after ? work->after + (size_t)row * work->width : NULL;
    uint32_t low = 1, high = 0;

    for (uint32_t k = of->low; k <= of->high; k++) {
        if (after && value[k] + after[k] > limit)
            value[k] = INFINITY;
        if (isinf(value[k]))
            continue;
        low = low > high ? k : low;
        high = k;
    }
    of->low = (uint16_t)low;
    of->high = (uint16_t)high;
}

/* Where no stage is limited, what is placed and what is left to pay make a whole: no more than the
 * cheapest of those is wanted. */
static double tighten(const struct work *work, uint32_t row, double limit)
{
    const struct work_row *of = &work->rows[row];
    const double *value = value_of(work, row);
    const double *after = work->after + (size_t)row * work->width;
    double least = INFINITY;

    for (uint32_t k = of->low; k <= of->high; k++)
        least = fmin(least, value[k] + after[k]);
    return fmin(limit, least + SLACK * fabs(least));
}

/* The least sum of costs with no stage above `cap`, where one of `limit` or less is wanted. */
static bool solve_sum(struct work *work, double cap, double limit, struct place_answer *answer)
{
    const uint32_t all = (UINT32_C(1) << work->problem->device_count) - 1;

    for (uint32_t row = 0; row < work->row_count; row++) {
        struct work_row *of = &work->rows[row];
        const struct starts starts = fill_start(work, of->state);
        const bool full = !work->ordered && of->state / work->problem->device_count == all;

        of->whole = INFINITY;
        of->low = 1;
        of->high = 0;
        if (starts.low > starts.high)
            continue;
        if (state_final(work, of->state))
            end_row(work, row, &starts, cap);
        if (full)
            continue;
        of->low = (uint16_t)(starts.low + 1);
        fill_row(work, row, &starts, cap);
        head_alone(work, row, cap);
        if (isinf(cap) && work->after && work->after_exact)
            limit = tighten(work, row, limit);
        cut_row(work, row, limit);
    }
    const uint32_t best = best_final(work, &answer->cost);

    if (best == WORK_NO_ROW)
        return false;
    walk_back(work, best, answer);
    return true;
}

/* Stage limits in (low, high) that may still hide a better answer: every placement there costs at
 * least `sum` and has a stage above `low`. */
struct interval {
    double low, high, sum;
};
enum { INTERVAL_MAX = 256 };

static uint32_t most_promising(const struct interval *list, uint32_t count, double weight,
                               double *bound)
{
    uint32_t best = 0;

    *bound = INFINITY;
    for (uint32_t i = 0; i < count; i++)
        if (list[i].sum + weight * list[i].low < *bound) {
            *bound = list[i].sum + weight * list[i].low;
            best = i;
        }
    return best;
}

/* Least of sum + weight * slowest stage, by branch and bound on a limit for the slowest stage:
 * tightening the limit can only raise the sum. */
static bool solve_mixed(struct work *work, struct place_answer *best)
{
    const double weight = work->problem->stage_weight;
    struct interval list[INTERVAL_MAX];
    uint32_t count = 0;
    double bound = 0;

    if (!solve_sum(work, INFINITY, INFINITY, best))
        return false;
    list[count++] = (struct interval){0, best->slowest_stage, best->cost};
    best->cost += weight * best->slowest_stage;
    while (count > 0 && count + 2 < INTERVAL_MAX) {
        struct place_answer answer;
        const uint32_t at = most_promising(list, count, weight, &bound);
        const struct interval open = list[at];
        const double middle = (open.low + open.high) / 2;

        if (bound >= best->cost * (1 - SETTLED) || middle <= open.low || middle >= open.high)
            break;
        list[at] = (struct interval){middle, open.high, open.sum};
        if (!solve_sum(work, middle, best->cost - weight * open.low, &answer))
            continue;
        list[count++] = (struct interval){open.low, answer.slowest_stage, answer.cost};
        answer.cost += weight * answer.slowest_stage;
        if (better(answer.cost, best->cost))
            *best = answer;
    }
    return true;
}

enum dgo_status place_solve(const struct place_problem *problem, bool *found,
                            struct place_answer *answer, struct dgo_error *err)
{
    struct work work;
    enum dgo_status status = DGO_OK;

    *found = false;
    if (problem->device_count == 0 || problem->item_count == 0)
        return DGO_OK;
    *answer = (struct place_answer){0};
    status = work_init(&work, problem, err);
    if (status == DGO_OK && !problem->single && !work.ordered)
        status = work_rest(&work, err);
    if (status == DGO_OK && problem->stage_weight > 0 && !problem->single)
        *found = solve_mixed(&work, answer);
    else if (status == DGO_OK)
        *found = solve_sum(&work, INFINITY, INFINITY, answer);
    work_done(&work);
    return status;
}
