/* bench_whole.c - time of a whole plan with its alternatives, in process: one JSON line a machine.
 *
 * Eight cards of eight kinds, and models that fill a few of them, most, all, or more than all.  No
 * peer weighs speed, so the goal stands in its place. */
#include "dgo_plan.h"
#include "makers.h"

#include "dgo_clock.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { CARDS = 8, REPEATS = 11 };
#define GOAL_MS 200.0

static const struct make_card unequal[CARDS] = {
    {24576, 24100, 936}, {12288, 11900, 360}, {16380, 15900, 288}, {24564, 24000, 1008},
    {8192, 7900, 448},   {11264, 10900, 616}, {10240, 9900, 760},  {16384, 16000, 256},
};

static const struct make_shape experts94 = {.architecture = "qwen3moe",
                                            .layer_count = 94,
                                            .embedding = 4096,
                                            .head_count = 64,
                                            .head_count_kv = 4,
                                            .head_length = 128,
                                            .feed_forward = 1536,
                                            .vocab = 151936,
                                            .trained_ctx = 40960,
                                            .type = 12,
                                            .expert_count = 128,
                                            .expert_used_count = 8};

static int by_value(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

/* Of this thread alone: what the plan would take on a machine that does nothing else. */
static double cpu_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (double)now.tv_sec * 1e3 + (double)now.tv_nsec / 1e6;
}

static int measure(const char *what, const struct make_shape *shape,
                   const struct dgo_intent *intent)
{
    static const struct dgo_engine_rules rules = {0};
    static struct dgo_machine machine;
    static struct dgo_plan plan;
    struct dgo_model *model = make_model(shape);
    double times[REPEATS], cpu[REPEATS];
    enum dgo_status status = DGO_OK;

    make_machine(&machine, unequal, CARDS);
    machine.host.total_bytes = machine.host.free_bytes = 256 * DGO_GIB;
    for (int i = 0; i < REPEATS && status == DGO_OK; i++) {
        const uint64_t start = dgo_clock_monotonic_ns(dgo_clock_system());
        const double cpu_start = cpu_ms();

        status = dgo_plan_make(&machine, model, intent, &rules, &plan, NULL);
        times[i] = (double)(dgo_clock_monotonic_ns(dgo_clock_system()) - start) / 1e6;
        cpu[i] = cpu_ms() - cpu_start;
    }
    make_model_done(model);
    if (status != DGO_OK) {
        fprintf(stderr, "bench_whole: no plan for %s\n", what);
        return 1;
    }
    qsort(times, REPEATS, sizeof times[0], by_value);
    qsort(cpu, REPEATS, sizeof cpu[0], by_value);
    printf("{\"name\": \"whole plan, %d unequal GPUs, %s, %u alternatives, %u GPUs used\", "
           "\"unit\": \"ms\", \"ours\": %.3f, \"peer\": %.0f, \"peer_name\": \"goal\", "
           "\"ratio\": %.1f, "
           "\"cpu_ms\": %.3f}\n",
           CARDS, what, plan.alternative_count, plan.estimate.device_count, times[REPEATS / 2],
           GOAL_MS, GOAL_MS / times[REPEATS / 2], cpu[REPEATS / 2]);
    fflush(stdout);
    return 0;
}

int main(void)
{
    const struct dgo_intent chat = {0}, safe = {.objective = DGO_OBJECTIVE_SAFE},
                            longest = {.objective = DGO_OBJECTIVE_CONTEXT},
                            many = {.slot_count = 8, .concurrent_requests = 8},
                            every = {.every_gpu = true};
    struct make_shape dense100 = make_70b, half100 = make_8b; /* more of the same layers */

    dense100.layer_count = half100.layer_count = 100;
    half100.type = 8;
    return measure("8 B", &make_8b, &chat) | measure("32 B", &make_32b, &chat) |
           measure("70 B", &make_70b, &chat) | measure("half 100", &half100, &chat) |
           measure("dense 100", &dense100, &chat) | measure("235 B experts", &experts94, &chat) |
           measure("dense 100, safe", &dense100, &safe) |
           measure("dense 100, longest", &dense100, &longest) |
           measure("70 B, 8 requests at once", &make_70b, &many) |
           measure("70 B, every card", &make_70b, &every);
}
