/* cmd_context.c - `dualgpuopt context MODEL`: how much context fits, and what it costs. */
#include "cmd.h"
#include "context_table.h"
#include "flow.h"
#include "print.h"
#include "view_choices.h"

#include <inttypes.h>
#include <stdio.h>

static void type_columns(struct table *printed, const struct context_table *table)
{
    for (uint32_t t = 0; t < table->type_count; t++)
        table_column(printed, dgo_kv_type_name(table->type[t]), true);
}

static void print_longest(const struct context_table *table)
{
    struct table *printed = table_new();

    printf("longest context of each slot on the GPUs alone, in tokens:\n");
    table_column(printed, "slots", true);
    type_columns(printed, table);
    for (uint32_t s = 0; s < table->slots_count; s++) {
        table_cell(printed, "%" PRIu32, table->slots[s]);
        for (uint32_t t = 0; t < table->type_count; t++)
            if (table->longest[s][t].fits)
                table_cell(printed, "%" PRIu32, table->longest[s][t].ctx_tokens);
            else
                table_cell(printed, "-");
    }
    table_print(printed);
}

static void print_sizes(const struct context_table *table, uint32_t slots)
{
    struct table *printed = table_new();
    bool host = false;

    printf("\ntokens/s of one request at half of a context of that length, with %" PRIu32
           " slot%s:\n",
           slots, slots == 1 ? "" : "s");
    table_column(printed, "context", true);
    type_columns(printed, table);
    for (uint32_t c = 0; c < table->size_count; c++) {
        table_cell(printed, "%" PRIu32, table->size[c]);
        for (uint32_t t = 0; t < table->type_count; t++) {
            const struct context_cell *cell = &table->at[c][t];

            host = host || (cell->fits && cell->host);
            if (cell->fits)
                table_cell(printed, "%.1f%s", cell->decode_tokens_per_second,
                           cell->host ? " host" : "");
            else
                table_cell(printed, "-");
        }
    }
    table_print(printed);
    if (host)
        printf("host: layers or experts stay in host memory\n");
    printf("-: does not fit\n");
}

static int show(const struct cmd_call *call, const struct flow *flow, struct dgo_error *err)
{
    static struct context_table table;

    if (context_table_make(&flow->machine, flow->model, &flow->intent, &flow->rules, &table, err) !=
        DGO_OK)
        return print_failure(err);
    if (option_given(&call->options, OPTION_JSON))
        return print_json(view_context_table(&flow->machine, &table));
    print_machine_origin(&flow->machine);
    if (flow->model->context_length > 0)
        printf("the model was trained for %" PRIu32 " tokens\n\n", flow->model->context_length);
    print_longest(&table);
    print_sizes(&table, flow->intent.slot_count > 0 ? flow->intent.slot_count : 1);
    if (flow->calibrated[0])
        printf("%s\n", flow->calibrated);
    return 0;
}

static int run(const struct cmd_call *call)
{
    static struct flow flow;
    struct dgo_error err = {0};
    enum dgo_status status;
    int exit_status;

    flow_init(&flow, &call->options, call->environment);
    status = flow_read(&flow, call->args[0], &err);
    if (status == DGO_OK)
        status = flow_look(&flow, &err);
    if (status == DGO_OK)
        status = flow_intend(&flow, &err);
    if (status == DGO_OK)
        status = flow_find_engine(&flow, false, &err);
    if (status == DGO_OK)
        status = flow_check_format(&flow, &err);
    if (status == DGO_OK && flow.engine->plan)
        status =
            dgo_fail(&err, DGO_EUNSUPPORTED,
                     "the table is of llama.cpp's cache; %s keeps a pool of its own, and `plan "
                     "--engine %s` says how many tokens it holds",
                     flow.engine->name, flow.engine->name);
    exit_status = status == DGO_OK ? show(call, &flow, &err) : print_failure(&err);
    flow_done(&flow);
    return exit_status;
}

const struct cmd cmd_context = {
    .name = "context",
    .does = "how much context fits, by cache type and slots, and how fast it is",
    .usage = "MODEL.gguf [options]",
    .examples =
        "dualgpuopt context model.gguf\n"
        "dualgpuopt context model.gguf --margin 1GiB --parallel 3\n"
        "dualgpuopt context model.gguf --ctx 40000 --gpus examples/machines/three.yaml --json",
    .details =
        "Every figure is a plan of its own, under the margins. Longest contexts are multiples of\n"
        "256, up to what the model was trained for.",
    .arg_min = 1,
    .arg_max = 1,
    .options = {OPTION_GPUS,          OPTION_USE,
                OPTION_SPREAD,        OPTION_CTX,
                OPTION_PARALLEL,      OPTION_OBJECTIVE,
                OPTION_KV_TYPE,       OPTION_MARGIN,
                OPTION_NO_CPU_LAYERS, OPTION_BATCH,
                OPTION_UBATCH,        OPTION_NO_FLASH_ATTENTION,
                OPTION_PROMPT_TOKENS, OPTION_GENERATED_TOKENS,
                OPTION_CONCURRENT,    OPTION_JSON,
                OPTION_ENGINE,        OPTION_ENGINE_BUILD,
                OPTION_STATE_DIR,     OPTION_VERBOSE,
                OPTION_NVML,          OPTION_DRAFT,
                OPTION_HELP},
    .run = run,
};
