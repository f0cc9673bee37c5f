/* place.c - dynamic programming over (which devices are used, which was last, items placed). */
#include "place.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* The objective of a mixed (sum and slowest stage) search is settled to this part of itself. */
#define SETTLED 1e-6
/* Costs that differ by less are equal: the earlier found wins, so that ties do not follow noise. */
#define TIE 1e-12

/* A state is a set of devices in use and the last of them; value[state][k] is the least cost of
 * having the first k items placed in it, from[state][k] where its last segment starts. */
struct work {
    const struct place_problem *problem;
    bool ordered;
    uint32_t state_count, width; /* width: item_count + 1 */
    /* Devices that are the same in everything: earlier and later ones, as bits.  They may stand in
     * for each other, so only one order of them is weighed: the machine's. */
    uint32_t same_before[PLACE_DEVICE_MAX], same_after[PLACE_DEVICE_MAX];
    double *value;
    uint16_t *from;
    uint64_t *bytes_sum; /* prefix sums, `width` values */
    double *cpu_sum;
    double *cost_sum, *stage_sum; /* the same for each device */
    double *start;
};

static uint32_t bits(uint32_t set)
{
    return (uint32_t)__builtin_popcount(set);
}

/* Exact: state = set * devices + last.  Ordered: `last` as the first device, then as a later one.
 */
static uint32_t state_device(const struct work *work, uint32_t state)
{
    return state % work->problem->device_count;
}

static bool state_possible(const struct work *work, uint32_t state)
{
    const uint32_t devices = work->problem->device_count;

    if (work->ordered)
        return !(work->problem->single && state >= devices);
    const uint32_t set = state / devices, last = state % devices;

    if (!(set >> last & 1) || (work->problem->single && bits(set) > 1))
        return false;
    for (uint32_t d = 0; d < devices; d++)
        if (set >> d & 1 && (work->same_before[d] & ~set))
            return false;
    return !(work->same_after[last] & set);
}

static bool state_first(const struct work *work, uint32_t state)
{
    const uint32_t devices = work->problem->device_count;

    return work->ordered ? state < devices : bits(state / devices) == 1;
}

/* States that `state` may follow; at most 2 * PLACE_DEVICE_MAX.  Later devices come first, so that
 * ties keep the machine's order. */
static uint32_t states_before(const struct work *work, uint32_t state,
                              uint32_t before[2 * PLACE_DEVICE_MAX])
{
    const uint32_t devices = work->problem->device_count;
    const uint32_t last = state % devices;
    uint32_t count = 0;

    if (state_first(work, state))
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

/* Cost of having i items placed and going on with `device` next. */
static void fill_start(struct work *work, uint32_t state)
{
    const struct place_problem *p = work->problem;
    const uint32_t device = state_device(work, state);
    uint32_t before[2 * PLACE_DEVICE_MAX];
    const uint32_t count = states_before(work, state, before);

    for (uint32_t i = 0; i < work->width; i++)
        work->start[i] = INFINITY;
    if (state_first(work, state))
        for (uint32_t i = p->cpu_items_min; i <= p->cpu_items_max && i < p->item_count; i++)
            work->start[i] = work->cpu_sum[i] + (i > 0 ? p->cpu_boundary[device] : 0);
    for (uint32_t b = 0; b < count; b++) {
        const double *value = work->value + (size_t)before[b] * work->width;
        const double step = p->boundary[state_device(work, before[b])][device];

        for (uint32_t i = 1; i < p->item_count; i++)
            if (better(value[i] + step, work->start[i]))
                work->start[i] = value[i] + step;
    }
}

/* The last segment takes its own role's bytes: tried one start at a time. */
static void end_row(struct work *work, uint32_t state, double cap)
{
    const struct place_problem *p = work->problem;
    const uint32_t device = state_device(work, state), end = p->item_count;
    const uint32_t role = PLACE_LAST | (state_first(work, state) ? PLACE_FIRST : PLACE_MIDDLE);
    const double *cost = work->cost_sum + (size_t)device * work->width;
    const double *stage = work->stage_sum + (size_t)device * work->width;
    double *value = work->value + (size_t)state * work->width;

    for (uint32_t i = end; i-- > 0;) {
        const double candidate = work->start[i] + cost[end] - cost[i];
        const bool longer = end - i > 2; /* than the runs that may take less: room only shrinks */
        uint64_t room = 0;

        if (!place_room(p, device, role, i, end - i, &room) ||
            work->bytes_sum[end] - work->bytes_sum[i] > room || stage[end] - stage[i] > cap) {
            if (longer)
                break;
            continue;
        }
        if (better(candidate, value[end])) {
            value[end] = candidate;
            work->from[(size_t)state * work->width + end] = (uint16_t)i;
        }
    }
}

/* The first item alone on the first device, which may take less than longer runs. */
static void head_alone(struct work *work, uint32_t state, double cap)
{
    const struct place_problem *p = work->problem;
    const uint32_t device = state_device(work, state);
    const double stage = work->stage_sum[(size_t)device * work->width + 1];
    uint64_t room = 0;

    if (p->item_count < 2 || !state_first(work, state) || isinf(work->start[0]) || stage > cap ||
        !place_room(p, device, PLACE_FIRST, 0, 1, &room) || p->bytes[0] > room)
        return;
    work->value[(size_t)state * work->width + 1] =
        work->start[0] + work->cost_sum[(size_t)device * work->width + 1];
    work->from[(size_t)state * work->width + 1] = 0;
}

/* value[k] = cost_sum[k] + min (start[i] - cost_sum[i]) over the starts i from which the device
 * can hold up to k.  Those form a window that only moves right: a queue of candidates gives each
 * minimum in constant time on average. */
static void fill_row(struct work *work, uint32_t state, double cap)
{
    const struct place_problem *p = work->problem;
    const uint32_t device = state_device(work, state);
    const double *cost = work->cost_sum + (size_t)device * work->width;
    const double *stage = work->stage_sum + (size_t)device * work->width;
    double *value = work->value + (size_t)state * work->width;
    uint16_t *from = work->from + (size_t)state * work->width;
    const uint32_t role = state_first(work, state) ? PLACE_FIRST : PLACE_MIDDLE;
    uint16_t queue[PLACE_ITEM_MAX + 1];
    uint32_t head = 0, tail = 0, low = 0;
    uint64_t room = 0;

    head_alone(work, state, cap);
    if (!place_room(p, device, role, 0, 2, &room))
        return;
    for (uint32_t k = 1; k < p->item_count; k++) {
        const double candidate = work->start[k - 1] - cost[k - 1];

        if (!isinf(candidate)) {
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
        if (head < tail &&
            better(work->start[queue[head]] - cost[queue[head]] + cost[k], value[k])) {
            value[k] = work->start[queue[head]] - cost[queue[head]] + cost[k];
            from[k] = queue[head];
        }
    }
}

/* Whether a state may be the end: the number of devices is what the problem wants. */
static bool state_final(const struct work *work, uint32_t state)
{
    const struct place_problem *p = work->problem;

    return state_possible(work, state) && state_first(work, state) == p->single &&
           (work->ordered || bits(state / p->device_count) >= p->device_min);
}

static uint32_t best_final(const struct work *work, double *cost)
{
    const uint32_t devices = work->problem->device_count;
    uint32_t best = UINT32_MAX;

    *cost = INFINITY;
    /* What is weighed first wins a tie: few devices, and those in the caller's order. */
    for (uint32_t set = 0; set < work->state_count; set += devices)
        for (uint32_t last = devices; last-- > 0;) {
            const uint32_t state = set + last;
            const double value =
                work->value[(size_t)state * work->width + work->problem->item_count];

            if (state_final(work, state) && better(value, *cost)) {
                *cost = value;
                best = state;
            }
        }
    return best;
}

/* The state that `state` followed when its last segment starts at item i. */
static uint32_t state_before_at(const struct work *work, uint32_t state, uint32_t i)
{
    uint32_t before[2 * PLACE_DEVICE_MAX], best = UINT32_MAX;
    const uint32_t count = states_before(work, state, before);
    double least = INFINITY;

    for (uint32_t b = 0; b < count; b++) {
        const double value =
            work->value[(size_t)before[b] * work->width + i] +
            work->problem->boundary[state_device(work, before[b])][state_device(work, state)];

        if (better(value, least)) {
            least = value;
            best = before[b];
        }
    }
    return best;
}

static void walk_back(const struct work *work, uint32_t state, struct place_answer *answer)
{
    struct place_segment found[PLACE_DEVICE_MAX];
    uint32_t count = 0, end = work->problem->item_count;

    while (state != UINT32_MAX && count < PLACE_DEVICE_MAX) {
        const uint32_t first = work->from[(size_t)state * work->width + end];

        found[count++] = (struct place_segment){state_device(work, state), first, end - first};
        end = first;
        state = state_before_at(work, state, first);
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

/* The least sum of costs with no stage above `cap`. */
static bool solve_sum(struct work *work, double cap, struct place_answer *answer)
{
    const size_t cells = (size_t)work->state_count * work->width;

    for (size_t i = 0; i < cells; i++)
        work->value[i] = INFINITY;
    for (uint32_t state = 0; state < work->state_count; state++) {
        if (!state_possible(work, state))
            continue;
        fill_start(work, state);
        fill_row(work, state, cap);
        if (state_final(work, state))
            end_row(work, state, cap);
    }
    const uint32_t best = best_final(work, &answer->cost);

    if (best == UINT32_MAX)
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

    if (!solve_sum(work, INFINITY, best))
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
        if (!solve_sum(work, middle, &answer))
            continue;
        list[count++] = (struct interval){open.low, answer.slowest_stage, answer.cost};
        answer.cost += weight * answer.slowest_stage;
        if (better(answer.cost, best->cost))
            *best = answer;
    }
    return true;
}

/* Exactly the same, and at the same place among all others. */
static bool interchangeable(const struct place_problem *p, uint32_t a, uint32_t b)
{
    const struct place_device *x = &p->device[a], *y = &p->device[b];
    const size_t cost_bytes = p->item_count * sizeof x->cost[0];

    if (x->room_bytes != y->room_bytes || p->cpu_boundary[a] != p->cpu_boundary[b] ||
        memcmp(x->fixed_bytes, y->fixed_bytes, sizeof x->fixed_bytes) != 0 ||
        memcmp(x->cost, y->cost, cost_bytes) != 0 || memcmp(x->stage, y->stage, cost_bytes) != 0 ||
        p->boundary[a][b] != p->boundary[b][a])
        return false;
    for (uint32_t d = 0; d < p->device_count; d++)
        if (d != a && d != b &&
            (p->boundary[a][d] != p->boundary[b][d] || p->boundary[d][a] != p->boundary[d][b]))
            return false;
    return true;
}

static void find_same(struct work *work)
{
    for (uint32_t a = 0; a < work->problem->device_count; a++)
        for (uint32_t b = a + 1; b < work->problem->device_count; b++)
            if (interchangeable(work->problem, a, b)) {
                work->same_after[a] |= UINT32_C(1) << b;
                work->same_before[b] |= UINT32_C(1) << a;
            }
}

static void work_done(struct work *work)
{
    free(work->value);
    free(work->from);
    free(work->bytes_sum);
    free(work->cpu_sum);
    free(work->cost_sum);
    free(work->stage_sum);
    free(work->start);
}

static void sum_up(const double *items, uint32_t count, double *sums)
{
    sums[0] = 0;
    for (uint32_t i = 0; i < count; i++)
        sums[i + 1] = sums[i] + items[i];
}

static enum dgo_status work_init(struct work *work, const struct place_problem *p,
                                 struct dgo_error *err)
{
    const uint32_t devices = p->device_count;

    *work = (struct work){.problem = p, .ordered = devices > PLACE_EXACT_MAX};
    work->width = p->item_count + 1;
    find_same(work);
    work->state_count = work->ordered ? 2 * devices : devices << devices;
    const size_t cells = (size_t)work->state_count * work->width;

    work->value = malloc(cells * sizeof *work->value);
    work->from = calloc(cells, sizeof *work->from);
    work->bytes_sum = calloc(work->width, sizeof *work->bytes_sum);
    work->cpu_sum = calloc(work->width, sizeof *work->cpu_sum);
    work->cost_sum = calloc((size_t)devices * work->width, sizeof *work->cost_sum);
    work->stage_sum = calloc((size_t)devices * work->width, sizeof *work->stage_sum);
    work->start = calloc(work->width, sizeof *work->start);
    if (!work->value || !work->from || !work->bytes_sum || !work->cpu_sum || !work->cost_sum ||
        !work->stage_sum || !work->start) {
        work_done(work);
        return dgo_fail(err, DGO_ENOMEM, "no memory to search for a placement");
    }
    for (uint32_t i = 0; i < p->item_count; i++)
        work->bytes_sum[i + 1] = work->bytes_sum[i] + p->bytes[i];
    sum_up(p->cpu_cost, p->item_count, work->cpu_sum);
    for (uint32_t d = 0; d < devices; d++) {
        sum_up(p->device[d].cost, p->item_count, work->cost_sum + (size_t)d * work->width);
        sum_up(p->device[d].stage, p->item_count, work->stage_sum + (size_t)d * work->width);
    }
    return DGO_OK;
}

enum dgo_status place_solve(const struct place_problem *problem, bool *found,
                            struct place_answer *answer, struct dgo_error *err)
{
    struct work work;
    enum dgo_status status = DGO_OK;

    *found = false;
    if (problem->device_count == 0 || problem->item_count == 0)
        return DGO_OK;
    status = work_init(&work, problem, err);
    if (status != DGO_OK)
        return status;
    *answer = (struct place_answer){0};
    *found =
        problem->stage_weight > 0 ? solve_mixed(&work, answer) : solve_sum(&work, INFINITY, answer);
    work_done(&work);
    return DGO_OK;
}
