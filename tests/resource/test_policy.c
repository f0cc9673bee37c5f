/* test_policy.c - CPU or GPU: declarations, the user's word, facts, leases and falling back. */
#include "jobs.h"

enum { PLAIN_CPU, WANTS_GPU, CHOOSES, COMPONENTS };

static const struct dgo_component components[COMPONENTS] = {
    {"plain_cpu", DGO_LANE_EXPRESS, DGO_HINT_CPU, 0, "has no GPU implementation"},
    {"wants_gpu", DGO_LANE_BACKGROUND, DGO_HINT_GPU, 100, "has one and prefers it"},
    {"chooses", DGO_LANE_OWN, DGO_HINT_AUTO, 100, "has one for when there is room"},
};
static dgo_component_id ids[COMPONENTS];

static void set_vram(uint64_t free_bytes, uint64_t margin)
{
    const struct dgo_ledger_gpu seen = {
        .known = true, .total_bytes = 1000, .free_bytes = free_bytes, .margin_bytes = margin};

    assert_int_equal(dgo_resource_set_vram(0, &seen, NULL), DGO_OK);
}

static void test_register(void **state)
{
    static const struct {
        const char *name;
        struct dgo_component row;
    } bad[] = {
        {"no name", {.name = NULL}},
        {"capitals", {.name = "Telemetry"}},
        {"too long", {.name = "a_name_of_more_than_thirty_two_letters"}},
        {"gpu without bytes", {.name = "x", .hint = DGO_HINT_GPU}},
        {"lane out of range", {.name = "x", .lane = (enum dgo_lane)55}},
    };
    dgo_component_id again[COMPONENTS];

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct dgo_error err = {0};

        CHECK_ROW(dgo_component_register(&bad[i].row, 1, NULL, &err) == DGO_EINVAL, bad[i].name);
        CHECK_ROW(err.text[0] != '\0', bad[i].name);
    }
    assert_int_equal(dgo_component_register(components, COMPONENTS, ids, NULL), DGO_OK);
    assert_int_equal(dgo_component_register(components, COMPONENTS, again, NULL), DGO_OK);
    assert_memory_equal(ids, again, sizeof ids);
    assert_int_equal(dgo_component_find("chooses"), ids[CHOOSES]);
    assert_int_equal(dgo_component_find("nobody"), 0);
    assert_string_equal(dgo_component_get(ids[WANTS_GPU])->what, "has one and prefers it");
    assert_string_equal(dgo_component_get(9999)->name, "other");
}

static void test_answers(void **state)
{
    static const struct {
        const char *name;
        int component;
        int override; /* -1: none */
        bool streaming;
        uint64_t free_bytes, margin;
        bool want_cpu;
        const char *why;
    } cases[] = {
        {"cpu by declaration", PLAIN_CPU, -1, false, 1000, 0, true, "its declaration"},
        {"nothing to override", PLAIN_CPU, DGO_HINT_GPU, false, 1000, 0, true, "no GPU impl"},
        {"gpu by declaration", WANTS_GPU, -1, true, 0, 0, false, "its declaration"},
        {"the user says cpu", WANTS_GPU, DGO_HINT_CPU, false, 1000, 0, true, "the test"},
        {"room enough", CHOOSES, -1, false, 100, 0, false, "to promise"},
        {"one byte short", CHOOSES, -1, false, 99, 0, true, "to promise"},
        {"the margin counts", CHOOSES, -1, false, 150, 51, true, "to promise"},
        {"an engine is answering", CHOOSES, -1, true, 1000, 0, true, "answering"},
        {"the user says gpu", CHOOSES, DGO_HINT_GPU, true, 0, 0, false, "the test"},
        {"the user says auto", WANTS_GPU, DGO_HINT_AUTO, true, 1000, 0, true, "answering"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const char *name = components[cases[i].component].name;
        const dgo_component_id id = ids[cases[i].component];
        char why[DGO_REASON_MAX];

        set_vram(cases[i].free_bytes, cases[i].margin);
        dgo_resource_set_streaming(cases[i].streaming);
        if (cases[i].override >= 0)
            assert_int_equal(
                dgo_component_override(name, (enum dgo_hint)cases[i].override, "the test", NULL),
                DGO_OK);
        CHECK_ROW(dgo_should_use_cpu(id) == cases[i].want_cpu, cases[i].name);
        CHECK_ROW(dgo_should_use_cpu_why(id, why) == cases[i].want_cpu, cases[i].name);
        CHECK_ROW(strstr(why, cases[i].why) != NULL, cases[i].name);
        dgo_component_override_clear(name);
    }
    dgo_resource_set_streaming(false);
    assert_true(dgo_should_use_cpu(9999)); /* unknown: as "other" */
}

static const char *fake_env(const char *name, void *data)
{
    const char *const *pairs = data;

    for (; pairs[0]; pairs += 2)
        if (strcmp(pairs[0], name) == 0)
            return pairs[1];
    return NULL;
}

static void test_environment(void **state)
{
    static const struct {
        const char *name;
        const char *pairs[5];
        enum dgo_status want;
        bool want_cpu;
        const char *says;
    } cases[] = {
        {"none", {NULL}, DGO_OK, false, NULL},
        {"cpu", {"DUALGPUOPT_COMPONENT_WANTS_GPU", "cpu", NULL}, DGO_OK, true, NULL},
        {"empty is none", {"DUALGPUOPT_COMPONENT_WANTS_GPU", "", NULL}, DGO_OK, false, NULL},
        {"a bad word",
         {"DUALGPUOPT_COMPONENT_WANTS_GPU", "fast", NULL},
         DGO_EINVAL,
         false,
         "DUALGPUOPT_COMPONENT_WANTS_GPU"},
        {"bad workers",
         {"DUALGPUOPT_CPU_WORKERS", "many", NULL},
         DGO_EINVAL,
         false,
         "DUALGPUOPT_CPU_WORKERS"},
        {"workers", {"DUALGPUOPT_CPU_WORKERS", "3", NULL}, DGO_OK, false, NULL},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const struct dgo_resource_config config = {
            .getenv = fake_env, .getenv_data = (void *)(uintptr_t)cases[i].pairs};
        struct dgo_lane_stats stats;
        struct dgo_error err = {0};

        dgo_component_override_clear("wants_gpu");
        CHECK_ROW(dgo_resource_start(&config, &err) == cases[i].want, cases[i].name);
        if (cases[i].says)
            CHECK_ROW(strstr(err.text, cases[i].says) != NULL, cases[i].name);
        CHECK_ROW(dgo_should_use_cpu(ids[WANTS_GPU]) == cases[i].want_cpu, cases[i].name);
        if (cases[i].want != DGO_OK)
            continue;
        dgo_lane_read_stats(DGO_LANE_NORMAL, &stats);
        if (i == 5)
            CHECK_ROW_U64(stats.workers, 3, cases[i].name);
        stop_now();
    }
    dgo_component_override_clear("wants_gpu");
}

/* ---- leases ---- */

struct ran {
    uint32_t cpu, gpu;
    enum dgo_status gpu_says;
    uint64_t promisable_meanwhile;
};
static enum dgo_status on_cpu(void *data)
{
    ((struct ran *)data)->cpu++;
    return DGO_OK;
}
static enum dgo_status on_gpu(void *data)
{
    static struct dgo_ledger ledger;
    struct ran *ran = data;

    dgo_vram_snapshot(&ledger);
    ran->promisable_meanwhile = dgo_ledger_promisable_bytes(&ledger, 0);
    ran->gpu++;
    return ran->gpu_says;
}

static void test_leases(void **state)
{
    static const struct {
        const char *name;
        uint64_t free_bytes;
        enum dgo_status gpu_says;
        enum dgo_place want;
        uint32_t cpu_runs, gpu_runs;
    } cases[] = {
        {"a lease is granted", 500, DGO_OK, DGO_PLACE_GPU, 0, 1},
        {"the lease is refused", 99, DGO_OK, DGO_PLACE_CPU, 1, 0},
        {"the run fails", 500, DGO_EDRIVER, DGO_PLACE_CPU, 1, 1},
        {"cancelled is no failure", 500, DGO_ECANCELLED, DGO_PLACE_GPU, 0, 1},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        static struct dgo_ledger ledger;
        struct ran ran = {.gpu_says = cases[i].gpu_says};
        const struct dgo_placed placed = {
            .component = ids[WANTS_GPU], .cpu = on_cpu, .gpu = on_gpu, .arg = &ran};
        enum dgo_place ran_on = DGO_PLACE_CPU;

        set_vram(cases[i].free_bytes, 0);
        dgo_run_placed(&placed, &ran_on);
        CHECK_ROW(ran_on == cases[i].want, cases[i].name);
        CHECK_ROW_U64(ran.cpu, cases[i].cpu_runs, cases[i].name);
        CHECK_ROW_U64(ran.gpu, cases[i].gpu_runs, cases[i].name);
        if (ran.gpu)
            CHECK_ROW_U64(ran.promisable_meanwhile, cases[i].free_bytes - 100, cases[i].name);
        dgo_vram_snapshot(&ledger);
        CHECK_ROW_U64(ledger.entry_count, 0, cases[i].name); /* given back */
    }
}

/* ---- EXPRESS is for short jobs ---- */

static enum dgo_status takes_long(void *data)
{
    dgo_clock_fake_advance(data, 2 * DGO_NS_PER_MS);
    return DGO_OK;
}

static void test_long_express_jobs_are_moved(void **state)
{
    struct dgo_clock_fake fake;
    const struct dgo_resource_config config = {.workers = DGO_WORKERS_NONE, .clock = &fake.clock};
    const struct dgo_job job = {.component = ids[PLAIN_CPU], .fn = takes_long, .arg = &fake};
    struct dgo_component_stats stats;
    struct dgo_decision decisions[DGO_DECISION_MAX];
    uint32_t count;

    (void)state;
    dgo_clock_fake_init(&fake, 1, 1);
    assert_int_equal(dgo_resource_start(&config, NULL), DGO_OK);
    for (int i = 0; i < RM_DEMOTE_AFTER; i++) {
        assert_int_equal(rm_component_lane(ids[PLAIN_CPU]), DGO_LANE_EXPRESS);
        submit(&job, NULL);
    }
    assert_int_equal(rm_component_lane(ids[PLAIN_CPU]), DGO_LANE_NORMAL);
    dgo_component_read_stats(ids[PLAIN_CPU], &stats);
    assert_int_equal(stats.over_budget, RM_DEMOTE_AFTER);
    count = dgo_resource_decisions(decisions, DGO_DECISION_MAX);
    assert_non_null(strstr(decisions[count - 1].why, "plain_cpu"));
    stop_now();
}

static void test_quantiles(void **state)
{
    static const struct {
        const char *name;
        uint64_t ns[4];
        uint32_t times[4];
        uint64_t p50, p99;
    } cases[] = {
        {"none", {0}, {0}, 0, 0},
        {"one", {1000}, {1}, 768, 768},
        {"nearly all short", {1000, 1000000}, {989, 11}, 768, 786432},
        {"a percent long", {1000, 1000000}, {991, 9}, 768, 768},
        {"zero", {0}, {5}, 0, 0},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        uint64_t bin[RM_HISTOGRAM] = {0};

        for (size_t k = 0; k < 4; k++)
            bin[rm_histogram_slot(cases[i].ns[k])] += cases[i].times[k];
        CHECK_ROW_U64(rm_histogram_quantile(bin, 500), cases[i].p50, cases[i].name);
        CHECK_ROW_U64(rm_histogram_quantile(bin, 990), cases[i].p99, cases[i].name);
    }
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_register),
    cmocka_unit_test(test_answers),
    cmocka_unit_test(test_environment),
    cmocka_unit_test(test_leases),
    cmocka_unit_test(test_long_express_jobs_are_moved),
    cmocka_unit_test(test_quantiles),
};

CHECK_MAIN(tests)
