/* Trouble told to a person: what happened, and the next step. */
#include "engine_check.h"

#include "dgo_units.h"

static void test_explain(void **state)
{
    static const struct {
        const char *name;
        enum dgo_trouble trouble;
        const char *device;
        uint64_t bytes;
        const char *line;
        const char *says[3];
    } rows[] = {
        {"weights",
         DGO_TROUBLE_OOM_WEIGHTS,
         "CUDA1",
         2 * DGO_GIB,
         "x: failed",
         {"CUDA1 ran out of memory while loading the weights: 2.00 GiB more could not be had; "
          "4.00 GiB were free before the launch.",
          "--margin", "The engine said: x: failed"}},
        {"context",
         DGO_TROUBLE_OOM_CONTEXT,
         "CUDA1",
         0,
         "",
         {"CUDA1 ran out of memory while reserving the context; 4.00 GiB were free", "--ctx",
          "--kv-type q8_0"}},
        {"compute", DGO_TROUBLE_OOM_COMPUTE, "CUDA1", 0, "", {"compute buffers", "--ubatch 256"}},
        {"serving",
         DGO_TROUBLE_OOM_RUNTIME,
         "",
         0,
         "",
         {"A device ran out of memory while serving.", "--retry-smaller"}},
        {"host",
         DGO_TROUBLE_OOM_WEIGHTS,
         "CPU",
         DGO_GIB,
         "",
         {"The host ran out of memory while loading the weights: 1.00 GiB more could not be had."}},
        {"old binary",
         DGO_TROUBLE_MODEL,
         "",
         0,
         "x: unknown model architecture: 'y'",
         {"Install a newer llama.cpp", "'y'"}},
        {"no file", DGO_TROUBLE_MODEL, "", 0, "x: (No such file or directory)", {"Check the path"}},
        {"damaged file", DGO_TROUBLE_MODEL, "", 0, "x: corrupted", {"dualgpuopt inspect"}},
        {"flag",
         DGO_TROUBLE_ARGUMENT,
         "",
         0,
         "error: invalid argument: --x",
         {"refused a flag", "--x"}},
        {"port", DGO_TROUBLE_PORT, "", 0, "", {"--port"}},
        {"other", DGO_TROUBLE_OTHER, "", 0, "", {"--log"}},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        static struct dgo_report report;
        char out[1024];
        struct dgo_text text = DGO_TEXT(out);

        memset(&report, 0, sizeof report);
        report.device_count = 2;
        dgo_text_copy(report.device[0].name, sizeof report.device[0].name, "CUDA1");
        report.device[0].memory_known = true;
        report.device[0].free_bytes = 4 * DGO_GIB;
        dgo_text_copy(report.device[1].name, sizeof report.device[1].name, "CPU");
        report.device[1].is_host = true;
        report.trouble = rows[i].trouble;
        report.trouble_bytes = rows[i].bytes;
        dgo_text_copy(report.trouble_device, sizeof report.trouble_device, rows[i].device);
        dgo_text_copy(report.trouble_line, sizeof report.trouble_line, rows[i].line);
        dgo_report_explain(&report, NULL, &text);
        for (int s = 0; s < 3 && rows[i].says[s]; s++)
            if (!strstr(out, rows[i].says[s]))
                fail_msg("row \"%s\": \"%s\" lacks \"%s\"", rows[i].name, out, rows[i].says[s]);
    }
}

static void test_nothing_wrong(void **state)
{
    static struct dgo_report report;
    char out[64];
    struct dgo_text text = DGO_TEXT(out);

    (void)state;
    dgo_report_explain(&report, NULL, &text);
    assert_string_equal(out, "");
}

/* The card had less at the launch than when the plan was made. */
static void test_taken_since(void **state)
{
    static struct dgo_report report;
    static struct dgo_plan plan;
    char out[1024];
    struct dgo_text text = DGO_TEXT(out);

    (void)state;
    plan.estimate.device_count = 1;
    dgo_text_copy(plan.estimate.device[0].name, sizeof plan.estimate.device[0].name, "CUDA0");
    plan.estimate.device[0].free_bytes = 8 * DGO_GIB;
    plan.estimate.device[0].margin_bytes = DGO_GIB;
    report.device_count = 1;
    dgo_text_copy(report.device[0].name, sizeof report.device[0].name, "CUDA0");
    report.device[0].memory_known = true;
    report.device[0].free_bytes = 6 * DGO_GIB;
    report.trouble = DGO_TROUBLE_OOM_WEIGHTS;
    dgo_text_copy(report.trouble_device, sizeof report.trouble_device, "CUDA0");
    dgo_report_explain(&report, &plan, &text);
    assert_non_null(strstr(out, "another program has taken memory since"));
    assert_non_null(strstr(out, "it was 8.00 GiB"));
    dgo_text_clear(&text);
    report.device[0].free_bytes = 7 * DGO_GIB + 1;
    dgo_report_explain(&report, &plan, &text);
    assert_null(strstr(out, "another program"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_explain),
        cmocka_unit_test(test_nothing_wrong),
        cmocka_unit_test(test_taken_since),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
