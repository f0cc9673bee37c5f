/* cmd_calibrate.c - `dualgpuopt calibrate [MODEL]`: what each card reaches with the real engine. */
#include "calibrate.h"
#include "cmd.h"
#include "dgo_text.h"
#include "dgo_units.h"
#include "flow.h"
#include "print.h"
#include "view.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { RESULT_MAX = DGO_GPU_MAX + 1 };

static json_t *view_result(const struct calibrate_result *result)
{
    json_t *object =
        json_pack("{s:o, s:o, s:b}", "device", view_text(result->device_name), "gpu_index",
                  result->gpu >= 0 ? json_integer(result->gpu) : json_null(), "measured",
                  (int)(result->status == DGO_OK));
    const struct dgo_calibration_record *record = &result->record;

    if (result->status != DGO_OK) {
        json_object_set_new(object, "problem", view_text(result->problem.text));
        return object;
    }
    json_object_set_new(object, "quantisation", view_text(record->quantisation));
    json_object_set_new(object, "probe", json_boolean(result->probe));
    json_object_set_new(object, "model_bytes", json_integer((json_int_t)result->model_bytes));
    json_object_set_new(object, "prompt_tokens", json_integer(result->timing.prompt_tokens));
    json_object_set_new(object, "prompt_s", json_real(result->timing.prompt_s));
    json_object_set_new(object, "generated_tokens", json_integer(result->timing.generated_tokens));
    json_object_set_new(object, "token_s", json_real(result->timing.token_s));
    json_object_set_new(object, "decode_bytes_per_s", json_real(record->decode_bytes_per_s));
    if (record->prompt_flops > 0)
        json_object_set_new(object, "prompt_flops", json_real(record->prompt_flops));
    json_object_set_new(object, "layer_launch_s", json_real(record->layer_launch_s));
    if (record->overhead_known)
        json_object_set_new(object, "overhead_bytes",
                            json_integer((json_int_t)record->overhead_bytes));
    json_object_set_new(object, "kept", json_boolean(result->kept));
    return object;
}

static json_t *view_results(const struct flow *flow, const struct calibrate_result *results,
                            uint32_t count)
{
    json_t *list = json_array(), *object;

    for (uint32_t i = 0; i < count; i++)
        json_array_append_new(list, view_result(&results[i]));
    object =
        json_pack("{s:s, s:b, s:s, s:I, s:o}", "schema", "dualgpuopt.calibration/1", "simulated",
                  (int)flow->machine.origin.simulated, "binary_hash", flow->binary_hash,
                  "engine_build", (json_int_t)flow->rules.build, "devices", list);
    view_add_recorded(object, &flow->machine.origin);
    return object;
}

static void print_results(const struct flow *flow, const struct calibrate_result *results,
                          uint32_t count)
{
    struct table *table = table_new();
    char text[DGO_UNIT_TEXT_MAX];

    print_machine_origin(&flow->machine);
    table_column(table, "device", false);
    table_column(table, "weights", false);
    table_column(table, "decode", true);
    table_column(table, "reads", true);
    table_column(table, "prompt", true);
    table_column(table, "launch", true);
    table_column(table, "overhead", true);
    for (uint32_t i = 0; i < count; i++) {
        const struct calibrate_result *result = &results[i];
        const struct dgo_calibration_record *record = &result->record;

        if (result->status != DGO_OK)
            continue;
        table_cell(table, "%s", result->device_name);
        table_cell(table, "%s %s%s", dgo_bytes_text(result->model_bytes, text),
                   record->quantisation, result->probe ? " (probe)" : "");
        table_cell(table, "%.1f tokens/s", 1 / result->timing.token_s);
        table_cell(table, "%s", dgo_rate_text(record->decode_bytes_per_s, text));
        table_cell(table, "%.2f TFLOPS", record->prompt_flops / 1e12);
        table_cell(table, "%.1f us", record->layer_launch_s * 1e6);
        table_cell(table, "%s",
                   record->overhead_known ? dgo_mib_text(record->overhead_bytes, text) : "?");
    }
    table_print(table);
    printf("\n%s\n", flow->store ? "later plans use these figures"
                                 : "there is no place to keep them; later plans will not know");
}

/* Devices that --use allows, the CPU last. */
static uint32_t list_devices(const struct flow *flow, int32_t devices[RESULT_MAX])
{
    uint32_t count = 0;

    for (uint32_t g = 0; g < flow->machine.gpu_count; g++)
        if ((flow->intent.gpu_mask == 0 || flow->intent.gpu_mask >> g & 1) &&
            flow->machine.gpu[g].problem[0] == '\0')
            devices[count++] = (int32_t)g;
    if (flow->intent.gpu_mask == 0)
        devices[count++] = DGO_CALIBRATE_CPU;
    return count;
}

static uint32_t measure_all(struct calibrate_session *session, struct calibrate_result *results)
{
    int32_t devices[RESULT_MAX];
    const uint32_t count = list_devices(session->flow, devices);

    for (uint32_t i = 0; i < count; i++) {
        calibrate_device(session, devices[i], 1.0 / (count - i), &results[i]);
        if (results[i].status != DGO_OK)
            print_message("%s: %s", results[i].device_name, results[i].problem.text);
        else if (!results[i].kept && session->flow->store)
            print_message("%s: not kept: %s", results[i].device_name, results[i].problem.text);
    }
    return count;
}

static int measure_and_show(const struct cmd_call *call, struct flow *flow, struct dgo_error *err)
{
    static struct calibrate_result results[RESULT_MAX];
    static struct calibrate_session session;
    const struct options *options = &call->options;
    const struct calibrate_limits limits = {
        .time_ns = option_number(options, OPTION_TIME_LIMIT),
        .vram_bytes = option_number(options, OPTION_VRAM_LIMIT),
        .core_count = (uint32_t)option_number(options, OPTION_CORES),
        .nice = (int)option_number(options, OPTION_NICE),
    };
    uint32_t count, good = 0;
    int status = 0;

    if (calibrate_start(flow, &limits, option_text(options, OPTION_TYPE), &session, err) != DGO_OK)
        return print_failure(err);
    count = measure_all(&session, results);
    calibrate_done(&session);
    for (uint32_t i = 0; i < count; i++)
        good += results[i].status == DGO_OK;
    if (option_given(options, OPTION_JSON))
        status = print_json(view_results(flow, results, count));
    else if (good > 0)
        print_results(flow, results, count);
    return good > 0 ? status : 1;
}

static int run(const struct cmd_call *call)
{
    static struct flow flow;
    struct dgo_error err = {0};
    enum dgo_status status = DGO_OK;
    int exit_status;

    flow_init(&flow, &call->options, call->environment);
    if (call->arg_count > 0)
        status = flow_read(&flow, call->args[0], &err);
    if (status == DGO_OK)
        status = flow_look(&flow, &err);
    if (status == DGO_OK)
        status = flow_intend(&flow, &err);
    if (status == DGO_OK)
        status = flow_find_engine(&flow, true, &err);
    exit_status = status == DGO_OK ? measure_and_show(call, &flow, &err) : print_failure(&err);
    flow_done(&flow);
    return exit_status;
}

const struct cmd cmd_calibrate = {
    .name = "calibrate",
    .does = "measure what each card reaches with the engine; later plans use it",
    .usage = "[MODEL.gguf] [options]",
    .examples = "dualgpuopt calibrate\n"
                "dualgpuopt calibrate model.gguf --time-limit 5m --vram-limit 8GiB\n"
                "dualgpuopt calibrate --use 1 --type Q8_0 --cores 4 --nice 10",
    .details =
        "llama-bench runs on each card alone, and on the CPU: the model, where it fits there\n"
        "under the limits, else a probe of the same type. Bandwidth, launch time, prompt\n"
        "throughput and overhead are kept for this card, type and engine.",
    .arg_min = 0,
    .arg_max = 1,
    .options = {OPTION_GPUS, OPTION_USE, OPTION_TYPE, OPTION_TIME_LIMIT, OPTION_VRAM_LIMIT,
                OPTION_CORES, OPTION_NICE, OPTION_JSON, OPTION_ENGINE, OPTION_ENGINE_BUILD,
                OPTION_STATE_DIR, OPTION_VERBOSE, OPTION_NVML, OPTION_HELP},
    .run = run,
};
