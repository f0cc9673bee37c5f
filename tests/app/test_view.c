/* test_view.c - values of every module as JSON: keys, unknown readings left out, any text. */
#include "check.h"
#include "view.h"

#include <math.h>

/* ---- helpers: a value by its path, "gpus.0.name" ---- */

static json_t *at(json_t *root, const char *path)
{
    char word[64];

    while (root && *path) {
        const size_t length = strcspn(path, ".");

        snprintf(word, sizeof word, "%.*s", (int)length, path);
        root = json_is_array(root) ? json_array_get(root, strtoul(word, NULL, 10))
                                   : json_object_get(root, word);
        path += length + (path[length] == '.');
    }
    return root;
}

/* Also shows that the whole can be written: one bad value would make dumps fail. */
static void check_dumps(json_t *root)
{
    char *text = json_dumps(root, JSON_COMPACT);

    assert_non_null(text);
    free(text);
}

static struct dgo_machine *make_machine(void)
{
    struct dgo_machine *machine = calloc(1, sizeof *machine);

    assert_non_null(machine);
    strcpy(machine->source, "nvml");
    machine->gpu_count = 2;
    strcpy(machine->gpu[0].name, "NVIDIA GeForce RTX 3090");
    strcpy(machine->gpu[1].name, "NVIDIA GeForce RTX 3060");
    machine->gpu[0].vendor = DGO_VENDOR_NVIDIA;
    return machine;
}

/* ---- text ---- */

static void test_text(void **state)
{
    static const struct {
        const char *name, *text, *want;
    } rows[] = {
        {"plain", "plan", "plan"},
        {"empty", "", ""},
        {"umlaut", "gr\xc3\xbc\xc3\x9f", "gr\xc3\xbc\xc3\x9f"},
        {"no UTF-8", "/m/\xff\xfe.gguf", "/m/\\xff\\xfe.gguf"},
        {"cut in a character", "caf\xc3", "caf\\xc3"},
        {"overlong", "\xc0\x80", "\\xc0\\x80"},
        {"a surrogate", "\xed\xa0\x80", "\\xed\\xa0\\x80"},
        {"a control character is JSON's to escape", "a\x1b[2J", "a\x1b[2J"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        json_t *value = view_text(rows[i].text);

        CHECK_ROW(json_is_string(value), rows[i].name);
        CHECK_ROW(strcmp(json_string_value(value), rows[i].want) == 0, rows[i].name);
        json_decref(value);
    }
}

static void test_text_of_any_length(void **state)
{
    enum { LENGTH = 70000 };
    char *bad = malloc(LENGTH + 1);
    json_t *value;

    (void)state;
    assert_non_null(bad);
    memset(bad, 0xff, LENGTH);
    bad[LENGTH] = '\0';
    value = view_text(bad);
    assert_int_equal(json_string_length(value), 4 * LENGTH);
    json_decref(value);
    free(bad);
}

/* ---- the machine ---- */

static void test_unknown_readings_are_left_out(void **state)
{
    struct dgo_machine *machine = make_machine();
    struct dgo_gpu *gpu = &machine->gpu[0];
    json_t *root;

    (void)state;
    gpu->free_bytes = 7; /* not known, so it must not show */
    gpu->total_bytes = UINT64_C(24) << 30;
    gpu->temperature_c = -5;
    gpu->known = UINT64_C(1) << DGO_GPU_TOTAL_BYTES | UINT64_C(1) << DGO_GPU_TEMPERATURE_C;
    root = view_machine(machine);
    assert_int_equal(json_integer_value(at(root, "gpus.0.total_bytes")), INT64_C(24) << 30);
    assert_int_equal(json_integer_value(at(root, "gpus.0.temperature_c")), -5);
    assert_null(at(root, "gpus.0.free_bytes"));
    assert_null(at(root, "gpus.0.bandwidth_bytes_per_s"));
    assert_null(at(root, "gpus.0.processes"));
    assert_null(at(root, "gpus.0.problem"));
    assert_null(at(root, "host.total_bytes"));
    assert_null(at(root, "links.0.p2p"));
    assert_true(json_is_null(at(root, "gpus.0.uuid")));
    assert_true(json_is_null(at(root, "driver")));
    assert_string_equal(json_string_value(at(root, "gpus.0.vendor")), "nvidia");
    assert_string_equal(json_string_value(at(root, "gpus.1.vendor")), "unknown");
    assert_true(json_is_false(at(root, "simulated")));
    check_dumps(root);
    json_decref(root);
    free(machine);
}

static void test_known_readings_are_there(void **state)
{
    struct dgo_machine *machine = make_machine();
    struct dgo_gpu *gpu = &machine->gpu[1];
    json_t *root;

    (void)state;
    machine->origin.simulated = true;
    machine->host.memory_known = true;
    machine->host.total_bytes = 64;
    machine->link[0][1].kind = machine->link[1][0].kind = DGO_LINK_PHB;
    machine->link[0][1].p2p_known = true;
    gpu->processes_known = true;
    gpu->process_count = 2;
    gpu->process_more = 3;
    gpu->process[0] = (struct dgo_gpu_process){.pid = 42, .used_known = true, .used_bytes = 0};
    gpu->process[1] = (struct dgo_gpu_process){.pid = 43};
    strcpy(gpu->problem, "it is lost");
    root = view_machine(machine);
    assert_true(json_is_true(at(root, "simulated")));
    assert_int_equal(json_integer_value(at(root, "host.total_bytes")), 64);
    assert_int_equal(json_integer_value(at(root, "host.free_bytes")), 0);
    assert_non_null(at(root, "host.free_bytes"));
    assert_string_equal(json_string_value(at(root, "links.0.kind")), "phb");
    assert_true(json_is_false(at(root, "links.0.p2p")));
    assert_int_equal(json_array_size(at(root, "gpus.1.processes")), 2);
    assert_non_null(at(root, "gpus.1.processes.0.used_bytes"));
    assert_null(at(root, "gpus.1.processes.1.used_bytes"));
    assert_int_equal(json_integer_value(at(root, "gpus.1.processes_not_listed")), 3);
    assert_string_equal(json_string_value(at(root, "gpus.1.problem")), "it is lost");
    json_decref(root);
    free(machine);
}

static void test_a_bad_name_costs_nothing_else(void **state)
{
    struct dgo_machine *machine = make_machine();
    json_t *root;

    (void)state;
    strcpy(machine->source, "\xff");
    strcpy(machine->driver, "\xfe");
    strcpy(machine->gpu[0].name, "card\xff");
    strcpy(machine->gpu[0].problem, "\x80");
    root = view_machine(machine);
    assert_string_equal(json_string_value(at(root, "source")), "\\xff");
    assert_string_equal(json_string_value(at(root, "driver")), "\\xfe");
    assert_string_equal(json_string_value(at(root, "gpus.0.name")), "card\\xff");
    assert_string_equal(json_string_value(at(root, "gpus.0.problem")), "\\x80");
    assert_string_equal(json_string_value(at(root, "gpus.1.name")), "NVIDIA GeForce RTX 3060");
    json_decref(root);
    free(machine);
}

/* ---- the model ---- */

static void test_model(void **state)
{
    static struct dgo_tensor tensors[] = {
        {.type = 0, .size_bytes = 10},   {.type = 8, .size_bytes = 500},
        {.type = 0, .size_bytes = 20},   {.type = 4711, .size_bytes = 7},
        {.type = 4711, .size_bytes = 8},
    };
    struct dgo_model *model = calloc(1, sizeof *model);
    json_t *root;

    (void)state;
    assert_non_null(model);
    strcpy(model->architecture, "llama");
    strcpy(model->name, "a \xff model");
    strcpy(model->tokenizer, "\xff");
    model->file_type = UINT32_MAX;
    model->layer_count = 2;
    model->tensor = tensors;
    model->tensor_count = sizeof tensors / sizeof tensors[0];
    root = view_model(model);
    assert_string_equal(json_string_value(at(root, "name")), "a \\xff model");
    assert_string_equal(json_string_value(at(root, "tokenizer.model")), "\\xff");
    assert_true(json_is_null(at(root, "tokenizer.pre")));
    assert_true(json_is_null(at(root, "file_type")));
    assert_null(at(root, "context_length"));
    assert_null(at(root, "expert_count"));
    assert_int_equal(json_array_size(at(root, "layers")), 2);
    /* Largest first, ids that nobody knows among them. */
    assert_int_equal(json_array_size(at(root, "types")), 3);
    assert_string_equal(json_string_value(at(root, "types.0.type")), "Q8_0");
    assert_string_equal(json_string_value(at(root, "types.1.type")), "F32");
    assert_int_equal(json_integer_value(at(root, "types.1.tensor_count")), 2);
    assert_int_equal(json_integer_value(at(root, "types.1.bytes")), 30);
    assert_string_equal(json_string_value(at(root, "types.2.type")), "type 4711");
    assert_int_equal(json_integer_value(at(root, "types.2.bytes")), 15);
    check_dumps(root);
    json_decref(root);
    free(model);
}

/* A broken file may name a new type with every tensor. */
static void test_model_of_many_types(void **state)
{
    enum { COUNT = 5000 };
    struct dgo_tensor *tensors = calloc(COUNT, sizeof *tensors);
    struct dgo_model *model = calloc(1, sizeof *model);
    json_t *root;

    (void)state;
    assert_non_null(tensors);
    assert_non_null(model);
    for (uint32_t i = 0; i < COUNT; i++)
        tensors[i] = (struct dgo_tensor){.type = 1000 + i, .size_bytes = i};
    model->tensor = tensors;
    model->tensor_count = COUNT;
    root = view_model(model);
    assert_in_range(json_array_size(at(root, "types")), 40, 100);
    json_decref(root);
    free(model);
    free(tensors);
}

/* ---- estimate, plan ---- */

static void test_estimate(void **state)
{
    static const struct {
        const char *name;
        int32_t limiting;
        const char *want; /* NULL: null */
    } rows[] = {{"a device", 1, "CUDA1"}, {"the host", -1, "host"}, {"none", -2, NULL}};
    struct dgo_machine *machine = make_machine();
    struct dgo_estimate estimate = {.device_count = 2, .missing_bytes = 5};

    (void)state;
    strcpy(estimate.device[0].name, "CUDA0");
    strcpy(estimate.device[1].name, "CUDA1");
    estimate.device[1].gpu_index = 1;
    estimate.device[0].layer_count = 3;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        json_t *root, *limiting;

        estimate.limiting_device = rows[i].limiting;
        root = view_estimate(machine, &estimate);
        limiting = at(root, "limiting_device");
        CHECK_ROW(rows[i].want ? json_is_string(limiting) &&
                                     strcmp(json_string_value(limiting), rows[i].want) == 0
                               : json_is_null(limiting),
                  rows[i].name);
        CHECK_ROW(json_integer_value(at(root, "missing_bytes")) == 5, rows[i].name);
        CHECK_ROW(at(root, "devices.0.layer_first") && !at(root, "devices.1.layer_first"),
                  rows[i].name);
        CHECK_ROW(!at(root, "host.free_bytes"), rows[i].name);
        json_decref(root);
    }
    free(machine);
}

static void test_what_fits_misses_nothing(void **state)
{
    struct dgo_machine *machine = make_machine();
    const struct dgo_estimate estimate = {.fits = true, .host.free_known = true};
    json_t *root = view_estimate(machine, &estimate);

    (void)state;
    assert_true(json_is_true(at(root, "fits")));
    assert_null(at(root, "limiting_device"));
    assert_null(at(root, "missing_bytes"));
    assert_non_null(at(root, "host.free_bytes"));
    json_decref(root);
    free(machine);
}

/* --margin takes up to 2^63. */
static void test_counts_beyond_int64_stay_positive(void **state)
{
    struct dgo_machine *machine = make_machine();
    struct dgo_estimate estimate = {.device_count = 1};
    json_t *root;

    (void)state;
    estimate.device[0].margin_bytes = UINT64_C(1) << 63;
    root = view_estimate(machine, &estimate);
    assert_true(json_number_value(at(root, "devices.0.margin_bytes")) == 0x1p63);
    check_dumps(root);
    json_decref(root);
    free(machine);
}

static void test_plan(void **state)
{
    struct dgo_machine *machine = make_machine();
    struct dgo_model *model = calloc(1, sizeof *model);
    struct dgo_plan *plan = calloc(1, sizeof *plan);
    struct dgo_command *command = calloc(1, sizeof *command);
    json_t *root;

    (void)state;
    assert_true(model && plan && command);
    strcpy(model->architecture, "lla\xffma");
    plan->predicted.decode_tokens_per_second = INFINITY;
    plan->predicted.prefill_tokens_per_second = 1000;
    plan->predicted.lower_bound_gap = 0;
    plan->alternative_count = 1;
    strcpy(plan->alternative[0].why, "longest context");
    command->arg[command->arg_count++] = "llama-server";
    command->arg[command->arg_count++] = "/m/\xff.gguf";
    command->env[command->env_count++] = (struct dgo_env_change){"A", "\xff", "why"};
    command->env[command->env_count++] = (struct dgo_env_change){"B", NULL, "why"};
    root = view_plan(machine, model, plan, command);
    assert_string_equal(json_string_value(at(root, "architecture")), "lla\\xffma");
    assert_string_equal(json_string_value(at(root, "command.1")), "/m/\\xff.gguf");
    assert_string_equal(json_string_value(at(root, "environment.A")), "\\xff");
    assert_true(json_is_null(at(root, "environment.B")));
    assert_null(at(root, "predicted.decode_tokens_per_second")); /* JSON cannot say infinite */
    assert_true(json_real_value(at(root, "predicted.prefill_tokens_per_second")) == 1000);
    assert_non_null(at(root, "predicted.lower_bound_gap"));
    assert_string_equal(json_string_value(at(root, "alternatives.0.why")), "longest context");
    check_dumps(root);
    json_decref(root);
    root = view_plan(machine, model, plan, NULL);
    assert_null(at(root, "command"));
    assert_null(at(root, "environment"));
    json_decref(root);
    free(command);
    free(plan);
    free(model);
    free(machine);
}

static void test_settings(void **state)
{
    struct dgo_settings settings = {.slot_count = 2,
                                    .device_count = 2,
                                    .device_gpu = {1, 0},
                                    .tensor_split = {3, 1},
                                    .key_type = DGO_KV_Q8_0,
                                    .flash_attention = DGO_FA_OFF};
    json_t *root = view_settings(&settings);

    (void)state;
    assert_int_equal(json_integer_value(at(root, "gpus.0")), 1);
    assert_int_equal(json_array_size(at(root, "tensor_split")), 0); /* not given */
    assert_string_equal(json_string_value(at(root, "key_type")), "q8_0");
    assert_string_equal(json_string_value(at(root, "value_type")), "f16");
    assert_true(json_is_false(at(root, "flash_attention")));
    json_decref(root);
    settings.tensor_split_given = true;
    root = view_settings(&settings);
    assert_true(json_real_value(at(root, "tensor_split.0")) == 3);
    json_decref(root);
}

/* ---- plan against measured ---- */

static void test_comparison(void **state)
{
    struct dgo_machine *machine = make_machine();
    struct dgo_comparison comparison = {.row_count = 2, .weights_equal = true};
    struct dgo_report *report = calloc(1, sizeof *report);
    json_t *root;

    (void)state;
    assert_non_null(report);
    strcpy(comparison.sentence, "Not as planned: \xff");
    comparison.row[0] =
        (struct dgo_comparison_row){.name = "CUDA0",
                                    .weights = {true, true, 100, 101},
                                    .context = {.known = false, .planned_bytes = 50}};
    comparison.row[1] =
        (struct dgo_comparison_row){.name = "host", .is_host = true, .output = {true, true, 1, 1}};
    root = view_comparison(machine, &comparison, report);
    assert_true(json_is_false(at(root, "equal")));
    assert_true(json_is_true(at(root, "weights_equal")));
    assert_string_equal(json_string_value(at(root, "sentence")), "Not as planned: \\xff");
    assert_int_equal(json_array_size(at(root, "devices")), 1);
    assert_int_equal(json_integer_value(at(root, "devices.0.measured.weights_bytes")), 101);
    assert_int_equal(json_integer_value(at(root, "devices.0.planned.context_bytes")), 50);
    assert_null(at(root, "devices.0.measured.context_bytes"));
    assert_null(at(root, "devices.0.measured.output_bytes"));
    assert_int_equal(json_integer_value(at(root, "host.measured.output_bytes")), 1);
    assert_null(at(root, "compute_worst_bytes"));
    assert_null(at(root, "pipeline"));
    assert_null(at(root, "pool"));
    json_decref(root);
    comparison.as_planned = comparison.compute_known = true;
    comparison.pool = (struct dgo_compared_pool){true, 4096, 4000, 2, 0};
    report->pipeline_known = true;
    root = view_comparison(machine, &comparison, report);
    assert_true(json_is_true(at(root, "equal")));
    assert_non_null(at(root, "compute_worst_bytes"));
    assert_int_equal(json_integer_value(at(root, "pool.planned.kv_tokens")), 4096);
    assert_int_equal(json_integer_value(at(root, "pool.measured.kv_tokens")), 4000);
    assert_null(at(root, "pool.measured.concurrency"));
    assert_true(json_is_false(at(root, "pipeline")));
    json_decref(root);
    free(report);
    free(machine);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_text),
    cmocka_unit_test(test_text_of_any_length),
    cmocka_unit_test(test_unknown_readings_are_left_out),
    cmocka_unit_test(test_known_readings_are_there),
    cmocka_unit_test(test_a_bad_name_costs_nothing_else),
    cmocka_unit_test(test_model),
    cmocka_unit_test(test_model_of_many_types),
    cmocka_unit_test(test_estimate),
    cmocka_unit_test(test_what_fits_misses_nothing),
    cmocka_unit_test(test_counts_beyond_int64_stay_positive),
    cmocka_unit_test(test_plan),
    cmocka_unit_test(test_settings),
    cmocka_unit_test(test_comparison),
};

CHECK_MAIN(tests)
