/* place_work.c - the tables of one exact split: what they are filled from, and which states count.
 */
#include "place_work.h"

#include <stdlib.h>
#include <string.h>

/* Exactly the same, and at the same place among all others. */
static bool interchangeable(const struct place_problem *p, uint32_t a, uint32_t b)
{
    const struct place_device *x = &p->device[a], *y = &p->device[b];
    const size_t cost_bytes = p->item_count * sizeof x->cost[0];

    if (x->room_bytes != y->room_bytes || p->cpu_boundary[a] != p->cpu_boundary[b] ||
        memcmp(x->fixed_bytes, y->fixed_bytes, sizeof x->fixed_bytes) != 0 ||
        x->head_fixed_bytes != y->head_fixed_bytes ||
        memcmp(x->tail_fixed_bytes, y->tail_fixed_bytes, sizeof x->tail_fixed_bytes) != 0 ||
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

static void list_rows(struct work *work)
{
    for (uint32_t state = 0; state < work->state_count; state++)
        work->row[state] = WORK_NO_ROW;
    for (uint32_t pass = 0; pass < 2; pass++)
        for (uint32_t state = 0; state < work->state_count; state++)
            if (work_first(work, state) == (pass == 0) && state_possible(work, state)) {
                work->row[state] = (uint16_t)work->row_count;
                work->rows[work->row_count++].state = (uint16_t)state;
            }
}

void work_done(struct work *work)
{
    free(work->row);
    free(work->rows);
    free(work->after);
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

enum dgo_status work_init(struct work *work, const struct place_problem *p, struct dgo_error *err)
{
    const uint32_t devices = p->device_count;

    *work = (struct work){.problem = p, .ordered = devices > PLACE_EXACT_MAX};
    work->width = p->item_count + 1;
    find_same(work);
    work->state_count = work->ordered ? 2 * devices : devices << devices;
    work->row = malloc(work->state_count * sizeof *work->row);
    work->rows = calloc(work->state_count, sizeof *work->rows);
    if (!work->row || !work->rows)
        return dgo_fail(err, DGO_ENOMEM, "no memory to search for a placement");
    list_rows(work);
    work->value = malloc((size_t)work->row_count * work->width * sizeof *work->value);
    work->from = malloc((size_t)work->row_count * work->width * sizeof *work->from);
    work->bytes_sum = calloc(work->width, sizeof *work->bytes_sum);
    work->cpu_sum = calloc(work->width, sizeof *work->cpu_sum);
    work->cost_sum = calloc((size_t)devices * work->width, sizeof *work->cost_sum);
    work->stage_sum = calloc((size_t)devices * work->width, sizeof *work->stage_sum);
    work->start = calloc(work->width, sizeof *work->start);
    if (!work->value || !work->from || !work->bytes_sum || !work->cpu_sum || !work->cost_sum ||
        !work->stage_sum || !work->start) {
        return dgo_fail(err, DGO_ENOMEM, "no memory to search for a placement");
    }
    for (uint32_t i = 0; i < p->item_count; i++)
        work->bytes_sum[i + 1] = work->bytes_sum[i] + p->bytes[i];
    sum_up(p->cpu_cost, p->item_count, work->cpu_sum);
    for (uint32_t d = 0; d < devices; d++) {
        double *cost = work->cost_sum + (size_t)d * work->width;
        double *stage = work->stage_sum + (size_t)d * work->width;

        sum_up(p->device[d].cost, p->item_count, cost);
        sum_up(p->device[d].stage, p->item_count, stage);
        /* A device alone is its own slowest stage. */
        for (uint32_t i = 0; p->single && i < work->width; i++)
            cost[i] += p->stage_weight * stage[i];
    }
    return DGO_OK;
}
