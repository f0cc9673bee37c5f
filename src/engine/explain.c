/* explain.c - why a plan for an engine is as it is, and why each flag and variable is there. */
#include "dgo_engine.h"

#include <inttypes.h>
#include <stdio.h>

#include "dgo_units.h"

struct out {
    dgo_explain_fn line;
    void *data;
};

static void say(const struct out *out, const char *fmt, ...) DGO_PRINTF(2, 3);
static void say(const struct out *out, const char *fmt, ...)
{
    char line[1024];
    struct dgo_text text = DGO_TEXT(line);
    va_list args;
    char formatted[900];

    va_start(args, fmt);
    (void)vsnprintf(formatted, sizeof formatted, fmt, args);
    va_end(args);
    dgo_text_add(&text, formatted);
    out->line(line, out->data);
}

static void explain_rank(const struct dgo_machine *machine, const struct dgo_partition *partition,
                         uint32_t r, const struct out *out)
{
    const struct dgo_partition_rank *rank = &partition->rank[r];
    char weights[DGO_UNIT_TEXT_MAX], budget[DGO_UNIT_TEXT_MAX], activation[DGO_UNIT_TEXT_MAX];
    char token[DGO_UNIT_TEXT_MAX];

    say(out,
        "rank %" PRIu32 " (stage %" PRIu32 ", shard %" PRIu32 ") on gpu %" PRIu32
        " (%s): %s may be used, %s weights, about %s activations, graphs and libraries; %s of "
        "cache a token: room for %" PRIu64 " tokens%s",
        r, rank->stage, rank->shard, rank->gpu_index, machine->gpu[rank->gpu_index].name,
        dgo_bytes_text(rank->budget_bytes, budget), dgo_bytes_text(rank->weights_bytes, weights),
        dgo_bytes_text(rank->activation_bytes, activation),
        dgo_bytes_text(rank->kv_bytes_per_token, token), rank->kv_tokens,
        r == partition->limiting_rank ? "; the least of all, which the engine takes" : "");
}

static void explain_partition(const struct dgo_machine *machine, const struct dgo_plan *plan,
                              const struct out *out)
{
    const struct dgo_partition *partition = &plan->partition;

    say(out,
        "shape: %" PRIu32 " shards x %" PRIu32
        " stages; every shape that divides heads, cache heads and feed-forward was tried, the %s",
        partition->tensor_parallel, partition->pipeline_parallel,
        partition->fits ? "fastest that serves the requests was taken"
                        : "nearest is shown: none fits");
    for (uint32_t r = 0; r < partition->rank_count; r++)
        explain_rank(machine, partition, r, out);
    if (partition->pipeline_parallel > 1 && partition->even_kv_tokens)
        say(out,
            "runs of layers: %" PRIu64 " tokens of cache; the engine's own equal runs would leave "
            "%" PRIu64,
            partition->kv_tokens, partition->even_kv_tokens);
    else if (partition->pipeline_parallel > 1 && !partition->even)
        say(out, "runs of layers: the engine's own equal runs do not fit");
    say(out,
        "activations are an estimate (docs/FORMULAS.md, \"Other engines\"); the engine measures "
        "them when it starts, and the comparison shows both");
}

/* The words from one flag to the next. */
static void explain_flag(const struct dgo_command *command, uint32_t i, const struct out *out)
{
    char words[512];
    struct dgo_text text = DGO_TEXT(words);
    uint32_t end = i + 1;

    dgo_word_quote(&text, command->arg[i]);
    for (; end < command->arg_count && !command->why[end]; end++) {
        dgo_text_add(&text, " ");
        dgo_word_quote(&text, command->arg[end]);
    }
    say(out, "%s: %s%s%s%s", words, command->why[i], command->source[i] ? " [" : "",
        command->source[i] ? command->source[i] : "", command->source[i] ? "]" : "");
}

void dgo_command_explain(const struct dgo_command *command, dgo_explain_fn line, void *data)
{
    const struct out out = {line, data};

    for (uint32_t i = 0; i < command->env_count; i++) {
        const struct dgo_env_change *change = &command->env[i];
        const char *source = command->env_source[i];

        if (change->value)
            say(&out, "%s=%s: %s%s%s%s", change->name, change->value, change->why,
                source ? " [" : "", source ? source : "", source ? "]" : "");
    }
    for (uint32_t i = 0; i < command->arg_count; i++)
        if (command->why[i])
            explain_flag(command, i, &out);
}

void dgo_engine_explain(const struct dgo_machine *machine, const struct dgo_model *model,
                        const struct dgo_plan *plan, dgo_explain_fn line, void *data)
{
    const struct out out = {line, data};

    if (plan->partitioned)
        explain_partition(machine, plan, &out);
    else
        dgo_plan_explain(machine, model, plan, line, data);
}
