/* bench_place.c - time of the exact split alone, in process: one JSON line a size.
 *
 * 100 layers that differ by up to half, cards that differ in memory and speed, the pipelined
 * prompt in the objective: the hardest kind of problem that a plan poses.  No peer splits for
 * speed, so there is none beside it; the goal stands in its place. */
#include "place.h"

#include "dgo_clock.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LAYERS = 100, REPEATS = 11 };

static uint64_t random_below(uint64_t *state, uint64_t bound)
{
    *state = *state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (*state >> 33) % bound;
}

static void make_problem(struct place_problem *p, uint32_t devices)
{
    uint64_t random = 1, total = 0;

    memset(p, 0, sizeof *p);
    p->item_count = LAYERS + 1;
    p->device_count = devices;
    p->stage_weight = 0.25;
    for (uint32_t i = 0; i < p->item_count; i++) {
        p->bytes[i] = 1000 + random_below(&random, 500);
        total += p->bytes[i];
    }
    for (uint32_t d = 0; d < devices; d++) {
        struct place_device *device = &p->device[d];

        device->room_bytes = total / devices + total * d / (devices * 4) + total / 10;
        for (uint32_t role = 0; role < PLACE_ROLE_COUNT; role++)
            device->fixed_bytes[role] = 100 + 50 * role;
        device->head_fixed_bytes = device->fixed_bytes[PLACE_FIRST];
        for (int i = 0; i < 2; i++)
            device->tail_fixed_bytes[i] = device->fixed_bytes[PLACE_LAST];
        for (uint32_t i = 0; i < p->item_count; i++) {
            device->cost[i] = (double)p->bytes[i] * (1 + 0.1 * d);
            device->stage[i] = (double)p->bytes[i] * (1 + 0.07 * (d * 3 % 7));
        }
        for (uint32_t e = 0; e < devices; e++)
            p->boundary[d][e] = 20;
    }
}

static int by_value(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

static int measure(uint32_t devices, double goal_ms)
{
    static struct place_problem problem;
    double times[REPEATS];

    make_problem(&problem, devices);
    for (int i = 0; i < REPEATS; i++) {
        const uint64_t start = dgo_clock_monotonic_ns(dgo_clock_system());
        struct place_answer answer;
        bool found = false;

        if (place_solve(&problem, &found, &answer, NULL) != DGO_OK || !found) {
            fprintf(stderr, "bench_place: no placement on %u devices\n", devices);
            return 1;
        }
        times[i] = (double)(dgo_clock_monotonic_ns(dgo_clock_system()) - start) / 1e6;
    }
    qsort(times, REPEATS, sizeof times[0], by_value);
    printf("{\"name\": \"exact split of %d layers over %u GPUs, in process\", \"unit\": \"ms\", "
           "\"ours\": %.3f, \"peer\": %.0f, \"peer_name\": \"goal\", \"ratio\": %.1f}\n",
           LAYERS, devices, times[REPEATS / 2], goal_ms, goal_ms / times[REPEATS / 2]);
    return 0;
}

int main(void)
{
    return measure(4, 10) | measure(8, 200);
}
