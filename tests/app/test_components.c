/* test_components.c - the table names every component of the document, and the arrows of the flow
 * pass through the resource manager under their names. */
#include "batch.h"
#include "check.h"
#include "dgo_app.h"
#include "dgo_text.h"
#include "export_formats.h"
#include "flow.h"
#include "gguf_writer.h"
#include "view.h"

#include <unistd.h>

/* "Resource Management System Integration Plan", in its order. */
static const char *const wanted[] = {
    "configuration",
    "command_generation",
    "view_formatting",
    "optimizer",
    "validation",
    "command_preview",
    "output_parsing",
    "environment",
    "timeline",
    "leak_analysis",
    "pattern_analysis",
    "layer_distribution",
    "profiling",
    "context_calculation",
    "batch",
    "token_lengths",
    "grouping",
    "event_handlers",
    "export",
};

static void test_every_name_of_the_document(void **state)
{
    (void)state;
    app_component(COMPONENT_CONFIGURATION); /* registers all */
    for (size_t i = 0; i < sizeof wanted / sizeof wanted[0]; i++)
        CHECK_ROW(dgo_component_find(wanted[i]) != 0, wanted[i]);
}

static void test_every_row_is_whole(void **state)
{
    (void)state;
    for (unsigned i = 0; i < COMPONENT_COUNT; i++) {
        const dgo_component_id id = app_component((enum component)i);
        const struct dgo_component *row = dgo_component_get(id);

        assert_int_not_equal(id, 0);
        CHECK_ROW(strlen(row->what) > 10, row->name);
        CHECK_ROW(row->lane > DGO_LANE_OWN && row->lane < DGO_LANE_COUNT, row->name);
        CHECK_ROW(row->hint == DGO_HINT_CPU || row->vram_bytes > 0, row->name);
        for (unsigned j = 0; j < i; j++)
            CHECK_ROW(id != app_component((enum component)j), row->name);
    }
}

/* ---- a flow, run in the caller ---- */

static char folder[] = "/tmp/dgo-app-XXXXXX";
static char machine_path[64], model_path[64], requests_path[64];

static void write_model(void)
{
    static const char *const parts[] = {"attn_q", "attn_k",   "attn_v",  "attn_output",
                                        "ffn_up", "ffn_gate", "ffn_down"};
    static struct writer writer;
    FILE *file = fopen(model_path, "w");

    writer_init(&writer);
    writer_arch(&writer, "llama", 4, 256, 4, 2);
    writer_tensor(&writer, "token_embd.weight", W_F16, 256, 1000, 0);
    for (unsigned layer = 0; layer < 4; layer++) {
        char name[64];

        snprintf(name, sizeof name, "blk.%u.attn_norm.weight", layer);
        writer_tensor(&writer, name, W_F32, 256, 0, 0);
        snprintf(name, sizeof name, "blk.%u.ffn_norm.weight", layer);
        writer_tensor(&writer, name, W_F32, 256, 0, 0);
        for (size_t part = 0; part < sizeof parts / sizeof parts[0]; part++) {
            snprintf(name, sizeof name, "blk.%u.%s.weight", layer, parts[part]);
            writer_tensor(&writer, name, W_F16, part == 6 ? 512 : 256,
                          part == 1 || part == 2   ? 128
                          : part == 4 || part == 5 ? 512
                                                   : 256,
                          0);
        }
    }
    writer_tensor(&writer, "output_norm.weight", W_F32, 256, 0, 0);
    writer_tensor(&writer, "output.weight", W_F16, 256, 1000, 0);
    writer_finish(&writer);
    assert_non_null(file);
    assert_int_equal(fwrite(writer.file, 1, writer.length, file), writer.length);
    assert_int_equal(fflush(file), 0);
    assert_int_equal(ftruncate(fileno(file), (off_t)writer.file_bytes), 0);
    fclose(file);
    writer_done(&writer);
}

static int setup(void **state)
{
    FILE *file;

    (void)state;
    if (!mkdtemp(folder))
        return -1;
    setenv("PATH", "/nowhere", 1); /* no engine, and no store: the same on every machine */
    unsetenv("XDG_STATE_HOME");
    unsetenv("HOME");
    snprintf(machine_path, sizeof machine_path, "%s/machine.yaml", folder);
    snprintf(model_path, sizeof model_path, "%s/model.gguf", folder);
    file = fopen(machine_path, "w");
    if (!file)
        return -1;
    fprintf(file, "gpus:\n"
                  "  - {name: NVIDIA GeForce RTX 3090, total_mib: 24576, free_mib: 24100}\n"
                  "  - {name: NVIDIA GeForce RTX 3060, total_mib: 12288, free_mib: 11900}\n"
                  "host: {total_mib: 65536, free_mib: 60000}\n");
    fclose(file);
    snprintf(requests_path, sizeof requests_path, "%s/requests.txt", folder);
    file = fopen(requests_path, "w");
    if (!file)
        return -1;
    fprintf(file, "Why do two cards\n\nmake a happy machine?\n");
    fclose(file);
    write_model();
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    unlink(machine_path);
    unlink(model_path);
    unlink(requests_path);
    return rmdir(folder);
}

static uint64_t runs_of(enum component component)
{
    struct dgo_component_stats stats;

    dgo_component_read_stats(app_component(component), &stats);
    return stats.accepted + stats.ran_inline;
}

/* A workload, from its file to its view. */
static void run_batch(void)
{
    static struct requests requests;
    static struct batch_report report;
    const char *const paths[] = {requests_path};
    json_t *view;

    assert_int_equal(requests_read(&(struct requests_question){.paths = paths, .path_count = 1},
                                   &requests, NULL),
                     DGO_OK);
    assert_int_equal(batch_analyse(&requests, &(struct batch_question){0}, &report, NULL), DGO_OK);
    assert_int_equal(batch_group(&report, &(struct batch_question){0}, NULL), DGO_OK);
    view = view_batch(&report);
    assert_int_equal(json_integer_value(json_object_get(view, "count")), 2);
    json_decref(view);
    batch_done(&report);
    requests_done(&requests);
}

/* Every arrow that needs no process. */
static void run_flow(struct options *options)
{
    static struct flow flow;
    static struct dgo_report report;
    static struct dgo_comparison comparison;
    static struct dgo_estimate estimate;
    static const char line_of_log[] = "load_tensors:        CUDA0 model buffer size =     1.00 MiB";
    char *environment[] = {(char *)"PATH=/nowhere", NULL};
    const char *const flags[] = {"-c", "4096"};
    char change[160] = "", text[4096];
    struct dgo_text preview = DGO_TEXT(text);
    struct dgo_arena arena = {0};
    const char **made = NULL;
    struct dgo_error err = {0};
    json_t *view;

    flow_init(&flow, options, environment);
    assert_int_equal(flow_prepare(&flow, model_path, false, &err), DGO_OK);
    assert_int_equal(flow_command(&flow, 8080, NULL, 0, &err), DGO_OK);
    flow_preview(&flow.command, environment, &preview);
    {
        static char exported[65536];
        struct dgo_text file = DGO_TEXT(exported);

        assert_int_equal(flow_export(&flow, dgo_export_find("sh"), "tiny", "", NULL, &file, NULL),
                         DGO_OK);
        assert_non_null(strstr(exported, "exec "));
    }
    assert_non_null(strstr(text, "llama-server"));
    assert_int_equal(flow_environment(&flow, &arena, &made, &err), DGO_OK);
    dgo_arena_done(&arena);
    flow_read_line(&flow, &report, line_of_log, sizeof line_of_log - 1);
    flow_compare(&flow, &report, &comparison);
    view = view_plan(&flow.machine, flow.model, &flow.plan, &flow.command);
    assert_non_null(view);
    json_decref(view);
    assert_int_equal(flow_shrink(&flow, 0, change, &err), DGO_OK);
    assert_true(change[0] != '\0');
    flow_done(&flow);

    flow_init(&flow, options, environment);
    assert_int_equal(flow_estimate(&flow, model_path, flags, 2, &estimate, &err), DGO_OK);
    flow_done(&flow);
    run_batch();
}

static void read_options(struct options *options)
{
    char *environment[] = {NULL};

    assert_int_equal(options_init(options, environment, NULL), DGO_OK);
    assert_int_equal(options_set(options, OPTION_GPUS, machine_path, ORIGIN_FLAG, NULL), DGO_OK);
}

/* The present components that a flow without a launch does not touch; tests/e2e, tests/serve,
 * test_watch and test_history run those. */
static bool needs_a_launch(enum component component)
{
    return component == COMPONENT_CHAT_REQUEST || component == COMPONENT_HISTORY ||
           component == COMPONENT_EVENT_HANDLERS || component == COMPONENT_LAUNCH_PREPARATION ||
           component == COMPONENT_API_REQUEST || component == COMPONENT_PROFILING ||
           component == COMPONENT_ENGINE_METRICS;
}

/* Those that judge a recording; tests/profile runs them. */
static bool needs_a_recording(enum component component)
{
    return component == COMPONENT_LEAK_ANALYSIS || component == COMPONENT_PATTERN_ANALYSIS ||
           component == COMPONENT_TIMELINE || component == COMPONENT_ALERT_DELIVERY;
}

static void check_counts(const uint64_t before[COMPONENT_COUNT])
{
    for (unsigned i = 0; i < COMPONENT_COUNT; i++) {
        const enum component component = (enum component)i;
        const char *name = dgo_component_get(app_component(component))->name;
        const uint64_t runs = runs_of(component) - before[i];

        if (!app_component_present(component))
            CHECK_ROW_U64(runs, 0, name);
        else if (!needs_a_launch(component) && !needs_a_recording(component))
            CHECK_ROW(runs > 0, name);
    }
}

static void test_the_flow_is_counted_in_the_caller(void **state)
{
    uint64_t before[COMPONENT_COUNT];
    struct options options;

    (void)state;
    for (unsigned i = 0; i < COMPONENT_COUNT; i++)
        before[i] = runs_of((enum component)i);
    assert_true(dgo_resource_get()->is_inline);
    read_options(&options);
    run_flow(&options);
    check_counts(before);
}

static enum dgo_status on_event(const struct dgo_event *event, void *data)
{
    (void)event;
    ++*(unsigned *)data;
    return DGO_OK;
}

/* On the UI thread each arrow is a job of its lane, and the output is still parsed in place. */
static void test_the_flow_is_counted_in_workers(void **state)
{
    uint64_t before[COMPONENT_COUNT];
    struct dgo_component_stats parsing[2], optimizer;
    struct dgo_app app = {0};
    struct options options;
    struct dgo_subscription subscription;
    unsigned heard = 0;

    (void)state;
    assert_int_equal(dgo_app_open(&app, NULL), DGO_OK);
    for (unsigned i = 0; i < COMPONENT_COUNT; i++)
        before[i] = runs_of((enum component)i);
    dgo_component_read_stats(app_component(COMPONENT_OUTPUT_PARSING), &parsing[0]);
    read_options(&options);
    /* another question than the last test's, which would be answered from the cache */
    assert_int_equal(options_set(&options, OPTION_CTX, "2048", ORIGIN_FLAG, NULL), DGO_OK);
    run_flow(&options);
    assert_int_equal(
        dgo_bus_subscribe(app.bus,
                          &(struct dgo_subscriber){.name = "test",
                                                   .topics = DGO_TOPIC_BIT(TOPIC_SELF_CHECK),
                                                   .fn = on_event,
                                                   .data = &heard},
                          &subscription, NULL),
        DGO_OK);
    assert_int_equal(
        dgo_bus_publish(app.bus, TOPIC_SELF_CHECK, 0, &(struct check_event){.number = 1}), DGO_OK);
    assert_int_equal(dgo_bus_drain(app.bus, DGO_FOREVER, NULL), DGO_OK);
    assert_int_equal(heard, 1);
    check_counts(before);
    dgo_component_read_stats(app_component(COMPONENT_OUTPUT_PARSING), &parsing[1]);
    assert_int_equal(parsing[1].accepted, parsing[0].accepted);
    assert_int_equal(parsing[1].ui_waits, 0);
    dgo_component_read_stats(app_component(COMPONENT_CONTEXT_CALCULATION), &optimizer);
    assert_true(optimizer.ui_waits > 0 && optimizer.accepted > 0);
    dgo_app_close(&app); /* a strand counts its run after the last handler: joined by now */
    assert_true(runs_of(COMPONENT_EVENT_HANDLERS) > before[COMPONENT_EVENT_HANDLERS]);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_every_name_of_the_document),
    cmocka_unit_test(test_every_row_is_whole),
    cmocka_unit_test(test_the_flow_is_counted_in_the_caller),
    cmocka_unit_test(test_the_flow_is_counted_in_workers),
};

int main(void)
{
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, setup, teardown);
}
