/* test_advice.c - slots, context and expectations against a machine made of two numbers. */
#include "check.h"
#include "dgo_advice.h"

#include <math.h>

#define NEAR(got, want) (fabs((got) - (want)) <= 1e-6 * fabs(want))

/* A step costs `weights_s` and `slot_s` for each slot; up to `fitting` slots fit. */
struct machine {
    double weights_s, slot_s, prompt_s;
    uint32_t fitting;
    uint32_t probes;
};

static enum dgo_status probe(uint32_t slots, void *data, struct dgo_probe_answer *answer,
                             struct dgo_error *err)
{
    struct machine *machine = data;

    machine->probes++;
    if (slots > 4 * machine->fitting)
        return dgo_fail(err, DGO_ENOFIT, "too much");
    *answer = (struct dgo_probe_answer){
        .fits = slots <= machine->fitting,
        .step_s = machine->weights_s + machine->slot_s * slots,
        .prompt_s = machine->prompt_s,
        .kv_bytes = UINT64_C(1000000) * slots,
    };
    return DGO_OK;
}

static struct dgo_mix mix_of(double rate, double latency_s)
{
    return (struct dgo_mix){.prompt_tokens = 1000,
                            .generated_tokens = 100,
                            .rate_known = rate > 0,
                            .mean_per_s = rate,
                            .peak_per_s = rate,
                            .token_latency_s = latency_s,
                            .context_per_slot = 2048};
}

static void test_limits(void **state)
{
    static const struct {
        const char *name;
        struct machine machine;
        double rate, latency_s;
        enum dgo_limit limit;
        uint32_t slots, slots_memory;
    } cases[] = {
        {"memory ends it", {0.02, 0.0001, 0.001, 24, 0}, 0, 0, DGO_LIMIT_MEMORY, 24, 24},
        {"no gain: every slot costs a whole step",
         {0, 0.02, 0.1, 300, 0},
         0,
         0,
         DGO_LIMIT_GAIN,
         1,
         256},
        {"latency ends it", {0.02, 0.001, 0.001, 300, 0}, 0, 0.030, DGO_LIMIT_LATENCY, 10, 256},
        {"arrivals need few", {0.02, 0.001, 0.01, 300, 0}, 0.5, 0, DGO_LIMIT_ARRIVALS, 2, 256},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct machine machine = cases[i].machine;
        const struct dgo_mix mix = mix_of(cases[i].rate, cases[i].latency_s);
        struct dgo_advice advice;

        CHECK_ROW(dgo_advise(&mix, probe, &machine, &advice, NULL) == DGO_OK, cases[i].name);
        CHECK_ROW_U64(advice.limit, cases[i].limit, cases[i].name);
        CHECK_ROW_U64(advice.slots, cases[i].slots, cases[i].name);
        CHECK_ROW_U64(advice.slots_memory, cases[i].slots_memory, cases[i].name);
        CHECK_ROW(machine.probes <= 20, cases[i].name);
    }
}

/* L = lambda W, at the fixed point, and a request takes its prompt and its share of the steps. */
static void test_littles_law(void **state)
{
    struct machine machine = {0.02, 0.001, 0.05, 300, 0};

    (void)state;
    for (double rate = 0.1; rate < 3; rate += 0.3) {
        const struct dgo_mix mix = mix_of(rate, 0);
        struct dgo_advice advice;

        assert_int_equal(dgo_advise(&mix, probe, &machine, &advice, NULL), DGO_OK);
        assert_true(NEAR(advice.concurrency, rate * advice.request_s));
        assert_true(NEAR(advice.request_s, 0.05 + 100 * advice.token_s));
        assert_true(advice.utilisation < DGO_ADVICE_UTILISATION);
        assert_true(advice.slots >= advice.concurrency);
        /* Decoding shares the machine with prompts: never faster than a free step. */
        assert_true(advice.token_s >= 0.02 + 0.001 * fmax(1, advice.concurrency) - 1e-6);
        assert_true(advice.kv_used_bytes <= advice.kv_reserved_bytes);
    }
}

static void test_too_much(void **state)
{
    struct machine machine = {0.02, 0.001, 0.05, 8, 0};
    const struct dgo_mix mix = mix_of(100, 0);
    struct dgo_advice advice;
    struct dgo_error err = {0};

    (void)state;
    assert_int_equal(dgo_advise(&mix, probe, &machine, &advice, NULL), DGO_OK);
    assert_true(advice.overloaded);
    assert_true(advice.utilisation > 1);
    assert_int_equal(advice.slots, 8);
    assert_true(NEAR(advice.concurrency, 8.0));
    machine.fitting = 0;
    assert_int_equal(dgo_advise(&mix, probe, &machine, &advice, &err), DGO_ENOFIT);
    assert_true(strlen(err.text) > 0);
}

static void test_context(void **state)
{
    static const struct {
        const char *name;
        uint32_t tokens, context;
    } cases[] = {{"short", 1, 256},
                 {"with its margin", 1000, 1280},
                 {"exactly", 2560, 2816},
                 {"none", 0, 256}};

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const uint64_t count[2] = {0, 1}, sum[2] = {0, cases[i].tokens};
        const struct dgo_lengths lengths = {1, &cases[i].tokens, count, sum};

        CHECK_ROW_U64(dgo_advice_context(&lengths), cases[i].context, cases[i].name);
    }
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_limits),
    cmocka_unit_test(test_littles_law),
    cmocka_unit_test(test_too_much),
    cmocka_unit_test(test_context),
};
CHECK_MAIN(tests)
