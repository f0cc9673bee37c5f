/* rivals.c - the engine's own choices, judged by the same arithmetic as the plan. */
#include "rivals.h"

#include "dgo_app.h"
#include "dgo_launch.h"
#include "dgo_text.h"
#include "dgo_units.h"
#include "flow_engine.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { WORDS_MAX = 64 };

/* Words of a command line, in storage of their own. */
struct flags {
    uint32_t count;
    const char *word[WORDS_MAX];
    char text[1024];
    struct dgo_text builder;
};

DGO_PRINTF(2, 3)
static void add(struct flags *flags, const char *fmt, ...)
{
    const size_t start = flags->builder.length;
    char word[128];
    va_list args;

    va_start(args, fmt);
    (void)vsnprintf(word, sizeof word, fmt, args);
    va_end(args);
    if (flags->count + 1 >= WORDS_MAX)
        return;
    dgo_text_add(&flags->builder, word);
    if (flags->builder.length + 1 >= flags->builder.size)
        return;
    flags->builder.data[flags->builder.length++] = '\0'; /* the next word starts behind it */
    flags->word[flags->count++] = flags->text + start;
}

/* The plan's context, slots, batches and cache: what a person would have to say anyway. */
static void add_wish(struct flags *flags, const struct dgo_settings *settings)
{
    memset(flags, 0, sizeof *flags);
    flags->builder = DGO_TEXT(flags->text);
    add(flags, "-c");
    add(flags, "%" PRIu32, settings->ctx_tokens);
    add(flags, "-np");
    add(flags, "%" PRIu32, settings->slot_count);
    add(flags, "-b");
    add(flags, "%" PRIu32, settings->batch_tokens);
    add(flags, "-ub");
    add(flags, "%" PRIu32, settings->ubatch_tokens);
    add(flags, "-ctk");
    add(flags, "%s", dgo_kv_type_name(settings->key_type));
    add(flags, "-ctv");
    add(flags, "%s", dgo_kv_type_name(settings->value_type));
    add(flags, "-fa");
    add(flags, "%s", settings->flash_attention == DGO_FA_ON ? "on" : "off");
}

/* Cards that the wish allows, in the machine's order, as the engine would take them. */
static void show_allowed(const struct flow *flow, struct dgo_settings *settings)
{
    settings->device_count = 0;
    for (uint32_t g = 0; g < flow->machine.gpu_count; g++)
        if ((flow->intent.gpu_mask == 0 || flow->intent.gpu_mask >> g & 1) &&
            flow->machine.gpu[g].problem[0] == '\0')
            settings->device_gpu[settings->device_count++] = g;
}

static void judge(struct flow *flow, const struct flags *flags, struct rival *rival)
{
    const struct dgo_flag_source source = {.machine = &flow->machine,
                                           .model = flow->model,
                                           .rules = &flow->rules,
                                           .args = flags->word,
                                           .arg_count = flags->count};
    struct dgo_flags *read = calloc(1, sizeof *read);
    struct dgo_error err = {0};
    enum dgo_status status = read ? flow->engine->read_flags(&source, read, &err)
                                  : dgo_fail(&err, DGO_ENOMEM, "out of memory");

    if (status == DGO_OK) {
        show_allowed(flow, &read->settings);
        status = dgo_plan_judge(&flow->machine, flow->model, &flow->intent, &flow->rules,
                                &read->settings, &rival->as, &err);
        rival->as.settings.override = NULL; /* such flags are none of a rival's */
    }
    free(read);
    rival->judged = status == DGO_OK;
    if (!rival->judged)
        (void)dgo_text_copy(rival->problem, sizeof rival->problem, err.text);
    else
        flow->engine->name_devices(&flow->machine, &rival->as.settings, &rival->as.estimate);
}

static void add_plan(const struct flow *flow, struct rival *rival)
{
    memset(rival, 0, sizeof *rival);
    (void)dgo_text_copy(rival->what, sizeof rival->what, "this plan");
    rival->judged = true;
    rival->as.settings = flow->plan.settings;
    rival->as.estimate = flow->plan.estimate;
    rival->as.predicted = flow->plan.predicted;
}

static void add_default(struct flow *flow, struct rival *rival)
{
    struct flags flags;

    memset(rival, 0, sizeof *rival);
    (void)dgo_text_copy(rival->what, sizeof rival->what, "the engine's default split");
    add_wish(&flags, &flow->plan.settings);
    judge(flow, &flags, rival);
}

/* ---- the engine's own fit ---- */

static bool find_fit(const struct flow *flow, char *path, size_t size)
{
    const char *slash = strrchr(flow->binary, '/');

    return flow->binary_found && slash &&
           snprintf(path, size, "%.*s/llama-fit-params", (int)(slash - flow->binary),
                    flow->binary) < (int)size &&
           access(path, X_OK) == 0;
}

/* The environment in which the engine sees every allowed card, from the command of a plan that
 * takes them all. */
static const char **fit_environment(struct flow *flow, const struct dgo_settings *settings,
                                    struct dgo_command *command, struct dgo_arena *arena,
                                    struct dgo_error *err)
{
    struct dgo_plan *plan = calloc(1, sizeof *plan);
    const struct dgo_launch_options options = {.binary = flow->binary,
                                               .model_path = flow->model->path,
                                               .host = "127.0.0.1",
                                               .thread_count = -1};
    const char **environment = NULL;

    if (!plan)
        return NULL;
    plan->settings = *settings;
    if (dgo_estimate_make(&flow->machine, flow->model, settings, &flow->rules, NULL,
                          &plan->estimate, err) == DGO_OK) {
        flow->engine->name_devices(&flow->machine, &plan->settings, &plan->estimate);
        if (flow->engine->command(&flow->machine, flow->model, plan, &options,
                                  flow->probed ? &flow->probe : NULL, command, err) == DGO_OK)
            environment = dgo_command_environment(command, flow->environment, arena);
        /* Its fit would be for whatever it sees instead. */
        if (environment && flow_engine_sees(flow, command, (const char *const *)environment,
                                            &plan->estimate, err) != DGO_OK)
            environment = NULL;
    }
    free(plan);
    return environment;
}

/* Its answer is one line of flags: "-c 8192 -ngl 63 -ts 44,19". */
static bool answer_line(const char *output, char *line, size_t size)
{
    bool found = false;

    for (const char *at = output; *at;) {
        const size_t length = strcspn(at, "\n");

        if (strncmp(at, "-c ", 3) == 0 && length < size) {
            memcpy(line, at, length);
            line[length] = '\0';
            found = true;
        }
        at += length + (at[length] == '\n');
    }
    return found;
}

static enum dgo_status run_fit(const char *path, const struct flow *flow, const struct flags *wish,
                               const char **environment, char *line, size_t size,
                               struct dgo_error *err)
{
    const char *argv[WORDS_MAX + 8] = {path, "-m", flow->model->path};
    uint32_t count = 3;
    char output[4096], log[1];
    const struct dgo_capture_options options = {.argv = argv,
                                                .environment = (const char *const *)environment,
                                                .timeout_ns = 60 * DGO_NS_PER_S,
                                                .errors = log,
                                                .errors_size = sizeof log};
    int exit_code = -1;
    enum dgo_status status;

    for (uint32_t i = 0; i < wish->count; i++)
        argv[count++] = wish->word[i];
    status = dgo_process_capture_limited(&options, output, sizeof output, &exit_code, err);
    if (status == DGO_OK && !answer_line(output, line, size))
        status = dgo_fail(err, DGO_ECHILD,
                          "llama-fit-params gave no flags (exit status %d): it found no way to fit "
                          "the model",
                          exit_code);
    return status;
}

static void add_fit(struct flow *flow, const char *path, struct rival *rival)
{
    struct dgo_alternative every = {.settings = flow->plan.settings};
    struct dgo_command command = {0};
    struct dgo_arena arena = {0}, words_arena = {0};
    struct dgo_error err = {0};
    struct flags flags;
    const char *words[WORDS_MAX], **environment;
    uint32_t count = 0;
    enum dgo_status status = DGO_OK;

    memset(rival, 0, sizeof *rival);
    (void)dgo_text_copy(rival->what, sizeof rival->what, "the engine's own fit");
    show_allowed(flow, &every.settings);
    every.settings.tensor_split_given = false;
    add_wish(&flags, &flow->plan.settings);
    environment = fit_environment(flow, &every.settings, &command, &arena, &err);
    if (environment)
        status = run_fit(path, flow, &flags, environment, rival->words, sizeof rival->words, &err);
    if (environment && status == DGO_OK)
        status = dgo_words_split(rival->words, &words_arena, &count, words, WORDS_MAX, &err);
    /* It tells what it would change; -ngl -1 is all of them. */
    for (uint32_t i = 0; environment && status == DGO_OK && i < count; i++)
        if (i + 1 < count && strcmp(words[i], "-ngl") == 0 && strcmp(words[i + 1], "-1") == 0)
            i++;
        else
            add(&flags, "%s", words[i]);
    if (environment && status == DGO_OK)
        judge(flow, &flags, rival);
    else
        (void)dgo_text_copy(rival->problem, sizeof rival->problem, err.text);
    dgo_command_done(&command);
    dgo_arena_done(&arena);
    dgo_arena_done(&words_arena);
}

/* ---- all ---- */

struct finding {
    struct flow *flow;
    struct rival *rivals;
    uint32_t count;
};

static enum dgo_status job_find(void *data)
{
    struct finding *finding = data;
    struct flow *flow = finding->flow;
    char path[PATH_MAX];

    add_plan(flow, &finding->rivals[finding->count++]);
    add_default(flow, &finding->rivals[finding->count++]);
    if (find_fit(flow, path, sizeof path)) {
        dgo_blocking_begin();
        add_fit(flow, path, &finding->rivals[finding->count++]);
        dgo_blocking_end();
    }
    return DGO_OK;
}

uint32_t rivals_find(struct flow *flow, struct rival rivals[RIVAL_MAX])
{
    struct finding finding = {.flow = flow, .rivals = rivals};

    (void)app_run(COMPONENT_ENGINE_PROBE, job_find, &finding);
    return finding.count;
}
