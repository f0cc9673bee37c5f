/* test_history.c - a ready launch goes into the store, whatever happens around it. */
#include "check.h"
#include "dgo_resource.h"
#include "dgo_store.h"
#include "dgo_units.h"
#include "history.h"

#include <jansson.h>
#include <sqlite3.h>
#include <unistd.h>

static char directory[64];
static struct flow flow;
static struct dgo_model model;
static struct dgo_report report;
static struct dgo_comparison comparison;

static void open_store(struct dgo_store **store)
{
    char notice[DGO_STORE_NOTICE_MAX];

    assert_int_equal(dgo_store_open(directory, store, notice, NULL), DGO_OK);
}

static int set_up(void **state)
{
    (void)state;
    strcpy(directory, "/tmp/dgo-history-XXXXXX");
    assert_non_null(mkdtemp(directory));
    memset(&flow, 0, sizeof flow);
    memset(&comparison, 0, sizeof comparison);
    open_store(&flow.store);
    flow.model = &model;
    strcpy(model.name, "a model");
    strcpy(model.path, "/m/\xff.gguf");
    strcpy(flow.binary_hash, "abc");
    flow.machine.origin.simulated = true;
    flow.plan.estimate.build = 11669;
    flow.plan.settings.ctx_tokens = 4096;
    comparison.row_count = 2;
    comparison.row[0] = (struct dgo_comparison_row){
        .name = "CUDA0", .weights = {true, true, 100, 101}, .context = {.planned_bytes = 50}};
    comparison.row[1] = (struct dgo_comparison_row){.name = "host", .is_host = true};
    return 0;
}

static int tear_down(void **state)
{
    static const char *const files[] = {"history.db", "history.db-wal", "history.db-shm"};
    char path[128];

    (void)state;
    dgo_store_close(flow.store);
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        snprintf(path, sizeof path, "%s/%s", directory, files[i]);
        unlink(path);
    }
    return rmdir(directory);
}

struct seen {
    uint32_t count;
    uint64_t planned, measured;
    json_int_t ctx_tokens;
};

static void see(const struct dgo_launch_record *record, void *data)
{
    struct seen *seen = data;
    json_t *settings = json_loads(record->settings_json, 0, NULL);
    json_t *devices = json_loads(record->devices_json, 0, NULL);

    assert_string_equal(record->model_name, "a model");
    assert_string_equal(record->model_path, "/m/\xff.gguf");
    assert_string_equal(record->binary_hash, "abc");
    assert_int_equal(record->build, 11669);
    assert_true(record->simulated);
    assert_int_equal(record->figure_count, 2 * DGO_BUFFER_KIND_COUNT);
    assert_string_equal(record->figure[0].device, "CUDA0");
    assert_int_equal(record->figure[0].kind, DGO_BUFFER_MODEL);
    assert_true(record->figure[0].measured_known);
    assert_false(record->figure[DGO_BUFFER_CONTEXT].measured_known);
    assert_non_null(json_object_get(devices, "devices"));
    seen->count++;
    seen->planned = record->figure[0].planned_bytes;
    seen->measured = record->figure[0].measured_bytes;
    seen->ctx_tokens = json_integer_value(json_object_get(settings, "ctx_tokens"));
    json_decref(devices);
    json_decref(settings);
}

static struct seen look(void)
{
    struct seen seen = {0};

    assert_int_equal(dgo_store_each_launch(flow.store, 10, see, &seen, NULL, NULL), DGO_OK);
    return seen;
}

static void test_inline(void **state)
{
    struct seen seen;

    (void)state;
    history_start(&flow, &comparison, &report, NULL, 0); /* no resource manager: at once */
    seen = look();
    assert_int_equal(seen.count, 1);
    assert_int_equal(seen.planned, 100);
    assert_int_equal(seen.measured, 101);
    assert_int_equal(seen.ctx_tokens, 4096);
}

static void test_without_a_store(void **state)
{
    struct dgo_store *store = flow.store;

    (void)state;
    flow.store = NULL;
    history_start(&flow, &comparison, &report, NULL, 0);
    flow.store = store;
    assert_int_equal(look().count, 0);
}

/* Another process writes: the caller, who has an engine to look after, does not wait for it.  What
 * changes meanwhile does not change what is written. */
static void test_the_caller_does_not_wait(void **state)
{
    const struct dgo_resource_config config = {0};
    char path[128];
    sqlite3 *other;
    struct seen seen;

    (void)state;
    snprintf(path, sizeof path, "%s/history.db", directory);
    assert_int_equal(sqlite3_open(path, &other), SQLITE_OK);
    assert_int_equal(sqlite3_exec(other, "BEGIN IMMEDIATE", NULL, NULL, NULL), SQLITE_OK);
    assert_int_equal(dgo_resource_start(&config, NULL), DGO_OK);
    history_start(&flow, &comparison, &report, NULL, 0);
    history_start(&flow, &comparison, &report, NULL, 0);
    memset(&comparison, 0xff, sizeof comparison);
    memset(&flow.plan, 0xff, sizeof flow.plan);
    assert_int_equal(sqlite3_exec(other, "COMMIT", NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(other);
    assert_int_equal(dgo_resource_stop(60 * DGO_NS_PER_S, NULL), DGO_OK);
    seen = look();
    assert_int_equal(seen.count, 2);
    assert_int_equal(seen.measured, 101);
    assert_int_equal(seen.ctx_tokens, 4096);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test_setup_teardown(test_inline, set_up, tear_down),
    cmocka_unit_test_setup_teardown(test_without_a_store, set_up, tear_down),
    cmocka_unit_test_setup_teardown(test_the_caller_does_not_wait, set_up, tear_down),
};

CHECK_MAIN(tests)
