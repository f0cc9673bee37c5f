/* prop_place.c - the split equals brute force on random machines and models, seed printed. */
#include "check.h"

#include "place.h"

#include <math.h>
#include <stdbool.h>

enum { INSTANCE_COUNT = 12000 };

struct brute {
    const struct place_problem *p;
    bool found;
    double cost;
};

/* What a run of `count` items from `first` on takes beside them. */
static uint64_t fixed_of(const struct place_problem *p, uint32_t d, uint32_t role, uint32_t first,
                         uint32_t count)
{
    if (role == PLACE_FIRST && first == 0 && count == 1)
        return p->device[d].head_fixed_bytes;
    if (role == PLACE_LAST && count <= 2)
        return p->device[d].tail_fixed_bytes[count - 1];
    return p->device[d].fixed_bytes[role];
}

/* Places item `first` and all that follow, in every way. */
static void brute_step(struct brute *b, uint32_t first, uint32_t used, uint32_t last,
                       uint32_t count, double cost, double slowest)
{
    const struct place_problem *p = b->p;

    for (uint32_t d = 0; d < p->device_count; d++) {
        uint64_t bytes = 0;
        double sum = cost, stage = 0;

        if (used >> d & 1 || (p->single && count > 0))
            continue;
        if (count > 0)
            sum += p->boundary[last][d];
        else if (first > 0)
            sum += p->cpu_boundary[d];
        for (uint32_t end = first + 1; end <= p->item_count; end++) {
            const uint32_t role = (count == 0 ? PLACE_FIRST : PLACE_MIDDLE) |
                                  (end == p->item_count ? PLACE_LAST : PLACE_MIDDLE);

            bytes += p->bytes[end - 1];
            sum += p->device[d].cost[end - 1];
            stage += p->device[d].stage[end - 1];
            if (bytes + fixed_of(p, d, role, first, end - first) > p->device[d].room_bytes)
                continue;
            if (end < p->item_count)
                brute_step(b, end, used | 1U << d, d, count + 1, sum, fmax(slowest, stage));
            else if ((count == 0) == p->single && count + 1 >= p->device_min) {
                const double total = sum + p->stage_weight * fmax(slowest, stage);

                if (!b->found || total < b->cost)
                    b->cost = total;
                b->found = true;
            }
        }
    }
}

static struct brute brute_solve(const struct place_problem *p)
{
    struct brute b = {.p = p};
    double cpu = 0;

    for (uint32_t i = 0; i <= p->cpu_items_max && i < p->item_count; i++) {
        if (i >= p->cpu_items_min)
            brute_step(&b, i, 0, 0, 0, cpu, 0);
        cpu += p->cpu_cost[i];
    }
    return b;
}

static double uniform(uint64_t *state)
{
    return (double)(check_random(state) >> 11) * 0x1p-53;
}

static void random_devices(struct place_problem *p, uint64_t *state, uint64_t total, bool equal)
{
    for (uint32_t d = 0; d < p->device_count; d++) {
        struct place_device *device = &p->device[d];
        const double speed = 0.2 + uniform(state), flops = 0.2 + uniform(state);

        if (equal && d > 0) {
            *device = p->device[0];
            continue;
        }
        device->room_bytes = total / 8 + check_below(state, total);
        for (uint32_t role = 0; role < PLACE_ROLE_COUNT; role++)
            device->fixed_bytes[role] = check_below(state, total / 6 + 1);
        device->head_fixed_bytes = check_below(state, device->fixed_bytes[PLACE_FIRST] + 1);
        for (uint32_t i = 0; i < 2; i++)
            device->tail_fixed_bytes[i] = check_below(state, device->fixed_bytes[PLACE_LAST] + 1);
        for (uint32_t i = 0; i < p->item_count; i++) {
            device->cost[i] = (double)p->bytes[i] * speed + 0.1;
            device->stage[i] = (double)p->bytes[i] * flops + uniform(state);
        }
    }
}

/* Decode is a sum, a pipelined prompt a sum and its slowest stage, throughput the slowest stage
 * alone. */
static void random_objective(struct place_problem *p, uint64_t *state)
{
    const uint64_t objective = check_below(state, 4);

    p->stage_weight = objective < 2 ? 0 : uniform(state) * 3 + 0.01;
    if (objective != 3)
        return;
    memset(p->boundary, 0, sizeof p->boundary);
    memset(p->cpu_boundary, 0, sizeof p->cpu_boundary);
    memset(p->cpu_cost, 0, sizeof p->cpu_cost);
    for (uint32_t d = 0; d < p->device_count; d++)
        memset(p->device[d].cost, 0, sizeof p->device[d].cost);
}

static void random_problem(struct place_problem *p, uint64_t *state)
{
    const bool uniform_layers = check_below(state, 2) == 0;
    uint64_t total = 1;

    memset(p, 0, sizeof *p);
    p->item_count = 1 + (uint32_t)check_below(state, check_below(state, 8) ? 9 : 13);
    p->device_count = 1 + (uint32_t)check_below(state, 4);
    p->single = p->device_count == 1 || check_below(state, 4) == 0;
    if (!p->single && check_below(state, 4) == 0)
        p->device_min = 1 + (uint32_t)check_below(state, p->device_count);
    for (uint32_t i = 0; i < p->item_count; i++) {
        p->bytes[i] = uniform_layers && i > 0 ? p->bytes[0] : check_below(state, 100);
        p->cpu_cost[i] = (double)p->bytes[i] * 3;
        total += p->bytes[i];
    }
    random_devices(p, state, total, check_below(state, 4) == 0);
    const bool one_link = check_below(state, 2) == 0; /* then equal cards are interchangeable */
    const double link = uniform(state) * 20;

    for (uint32_t a = 0; a < p->device_count; a++) {
        p->cpu_boundary[a] = one_link ? link : uniform(state) * 5;
        for (uint32_t b = 0; b < p->device_count; b++)
            p->boundary[a][b] = one_link ? link : uniform(state) * 20;
    }
    if (check_below(state, 3) == 0) {
        p->cpu_items_max = (uint32_t)check_below(state, p->item_count + 1);
        p->cpu_items_min = (uint32_t)check_below(state, p->cpu_items_max + 1);
    }
    random_objective(p, state);
}

/* The answer is what it says: contiguous, within room, no device twice, of the cost it names. */
static void check_answer(const struct place_problem *p, const struct place_answer *answer)
{
    uint32_t next = answer->cpu_items, used = 0;
    double cost = 0, slowest = 0;

    for (uint32_t i = 0; i < answer->cpu_items; i++)
        cost += p->cpu_cost[i];
    for (uint32_t s = 0; s < answer->segment_count; s++) {
        const struct place_segment *segment = &answer->segment[s];
        const struct place_device *device = &p->device[segment->device];
        const uint32_t role = (s == 0 ? PLACE_FIRST : PLACE_MIDDLE) |
                              (s + 1 == answer->segment_count ? PLACE_LAST : PLACE_MIDDLE);
        uint64_t bytes = fixed_of(p, segment->device, role, segment->first, segment->count);
        double stage = 0;

        assert_int_equal(segment->first, next);
        assert_true(segment->count > 0);
        assert_false(used >> segment->device & 1);
        used |= 1U << segment->device;
        if (s > 0)
            cost += p->boundary[answer->segment[s - 1].device][segment->device];
        else if (answer->cpu_items > 0)
            cost += p->cpu_boundary[segment->device];
        for (uint32_t i = next; i < next + segment->count; i++) {
            bytes += p->bytes[i];
            cost += device->cost[i];
            stage += device->stage[i];
        }
        assert_true(bytes <= device->room_bytes);
        slowest = fmax(slowest, stage);
        next += segment->count;
    }
    assert_int_equal(next, p->item_count);
    assert_true(fabs(cost + p->stage_weight * slowest - answer->cost) <= 1e-9 * fabs(cost) + 1e-9);
}

static void equals_brute_force(void **unused)
{
    static struct place_problem p;
    uint64_t state = check_seed();
    uint32_t feasible = 0;

    (void)unused;
    for (uint32_t n = 0; n < INSTANCE_COUNT; n++) {
        struct place_answer answer;
        bool found = false, fits = false;

        random_problem(&p, &state);
        const struct brute want = brute_solve(&p);

        assert_int_equal(place_solve(&p, &found, &answer, NULL), DGO_OK);
        assert_int_equal(place_fits(&p, &fits, NULL), DGO_OK);
        if (found != want.found || fits != want.found)
            fail_msg("instance %u: brute force %d, solved %d, fits %d", n, want.found, found, fits);
        if (!found)
            continue;
        feasible++;
        check_answer(&p, &answer);
        if (fabs(answer.cost - want.cost) > (p.stage_weight > 0 ? 2e-6 : 1e-9) * fabs(want.cost))
            fail_msg("instance %u: cost %.12g, brute force %.12g", n, answer.cost, want.cost);
    }
    fprintf(stderr, "# %u of %d instances had a placement\n", feasible, INSTANCE_COUNT);
    assert_true(feasible > INSTANCE_COUNT / 4);
    assert_true(feasible < INSTANCE_COUNT);
}

/* Many equal devices, past the exact search: order does not matter, so neither may the answer. */
static void many_equal_devices(void **unused)
{
    static struct place_problem p;
    uint64_t state = check_seed();

    (void)unused;
    for (uint32_t n = 0; n < 200; n++) {
        struct place_answer few, many;
        bool found_few = false, found_many = false, fits = false;

        random_problem(&p, &state);
        for (uint32_t d = 1; d < PLACE_DEVICE_MAX; d++)
            p.device[d] = p.device[0];
        for (uint32_t a = 0; a < PLACE_DEVICE_MAX; a++) {
            p.cpu_boundary[a] = 1;
            for (uint32_t b = 0; b < PLACE_DEVICE_MAX; b++)
                p.boundary[a][b] = 2;
        }
        p.device_count = 8;
        p.item_count = p.item_count < 8 ? p.item_count : 8; /* more than 8 can then not help */
        p.cpu_items_max = p.cpu_items_min = 0;
        p.device_min = 0; /* is not for more than 8 */
        assert_int_equal(place_solve(&p, &found_few, &few, NULL), DGO_OK);
        p.device_count = PLACE_DEVICE_MAX;
        assert_int_equal(place_solve(&p, &found_many, &many, NULL), DGO_OK);
        assert_int_equal(found_few, found_many);
        assert_int_equal(place_fits(&p, &fits, NULL), DGO_OK);
        assert_int_equal(found_many, fits);
        if (found_few)
            assert_true(fabs(few.cost - many.cost) <= 2e-6 * few.cost);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(equals_brute_force),
        cmocka_unit_test(many_equal_devices),
    };
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
