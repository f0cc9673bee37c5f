/* flow_estimate.c - what a command line of the engine would take: its flags, the files that they
 * name, and what is known from earlier launches. */
#include "flow_estimate.h"

#include "dgo_app.h"
#include "dgo_units.h"
#include "dry_run.h"
#include "measured.h"
#include "wish.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct work {
    struct flow *flow;
    const char *const *args;
    uint32_t arg_count;
    struct dgo_estimate *estimate;
    struct dgo_error *err;

    struct dgo_flags *flags;
    struct dgo_model *adapter[DGO_ADAPTER_MAX];
    struct dgo_model *draft;    /* a second one; NULL: none */
    struct dgo_feeding feeding; /* of such a draft, where it is fed */
    uint64_t margins_bytes[DGO_GPU_MAX];
};

/* "1,0": cards as the engine sees them, in its order. */
static enum dgo_status read_visible(const struct work *work, uint32_t visible[DGO_GPU_MAX],
                                    uint32_t *count)
{
    const char *list = option_text(work->flow->options, OPTION_USE);

    *count = 0;
    for (const char *at = list; at && *at;) {
        const size_t length = strcspn(at, ",");
        uint64_t index = 0;
        char word[24];

        snprintf(word, sizeof word, "%.*s", (int)length, at);
        if (length >= sizeof word || *count == DGO_GPU_MAX ||
            dgo_u64_parse(word, "--use", 0, DGO_GPU_MAX - 1, &index, NULL) != DGO_OK ||
            index >= work->flow->machine.gpu_count || work->flow->machine.gpu_node[index] > 0)
            return dgo_fail(work->err, DGO_EUSAGE,
                            "--use: '%.40s' is not a list of this machine's GPU indexes like 0,1",
                            list);
        visible[(*count)++] = (uint32_t)index;
        at += length + (at[length] == ',');
    }
    return DGO_OK;
}

static enum dgo_status read_flags(struct work *work)
{
    struct flow *flow = work->flow;
    uint32_t visible[DGO_GPU_MAX], count = 0;
    enum dgo_status status = read_visible(work, visible, &count);

    if (status != DGO_OK)
        return status;
    return flow->engine->read_flags(
        &(struct dgo_flag_source){
            .machine = &flow->machine,
            .model = flow->model,
            .rules = &flow->rules,
            .args = work->args,
            .arg_count = work->arg_count,
            .environment = flow->environment,
            .visible = count ? visible : NULL,
            .visible_count = count,
        },
        work->flags, work->err);
}

static enum dgo_status open_adapters(struct work *work)
{
    struct dgo_settings *settings = &work->flags->settings;

    for (uint32_t i = 0; i < work->flags->adapter_count; i++) {
        const enum dgo_status status =
            dgo_model_open_adapter(work->flags->adapter[i], &work->adapter[i], work->err);

        if (status != DGO_OK)
            return dgo_error_prefix(work->err, status, "--lora");
        settings->adapter_count = i + 1;
    }
    settings->adapter = (const struct dgo_model *const *)work->adapter;
    return DGO_OK;
}

/* A draft model with a next-token block is taken for one of those, unless something else is said:
 * common_speculative_types_from_gguf. */
static enum dgo_status open_draft(struct work *work)
{
    struct dgo_flags *flags = work->flags;
    struct dgo_settings *draft = &flags->draft;
    enum dgo_status status;

    flags->settings.states_out = flags->settings.own_draft;
    if (!flags->draft_model && flags->draft_fed)
        return dgo_fail(work->err, DGO_EUSAGE,
                        "--spec-type: a draft of this kind is a model of its own: -md FILE");
    if (!flags->draft_model)
        return DGO_OK;
    status = dgo_model_open(flags->draft_model, &work->draft, work->err);
    if (status != DGO_OK)
        return dgo_error_prefix(work->err, status, "-md");
    if (flags->draft_fed && !dgo_draft_is_fed(work->draft))
        return dgo_fail(work->err, DGO_EUSAGE,
                        "--spec-type: %.200s is no draft model of this kind: its key "
                        "\"%.48s.target_layers\" is missing",
                        flags->draft_model, work->draft->architecture);
    if (flags->draft_by_file && work->draft->mtp_layer_count > 0) {
        draft->own_draft = true;
        flags->settings.rollback_tokens = flags->draft_tokens;
    }
    if (flags->draft_by_file && (work->draft->mtp_layer_count > 0 || dgo_draft_is_fed(work->draft)))
        flags->settings.output_row_count =
            (uint32_t)dgo_min_u64(flags->settings.slot_count * (uint64_t)(1 + flags->draft_tokens),
                                  flags->settings.batch_tokens);
    /* EAGLE3 drafts nothing where only its file says what it is. */
    if (flags->draft_fed ||
        (flags->draft_by_file && strcmp(work->draft->architecture, "dflash") == 0))
        flags->settings.rollback_tokens = flags->draft_tokens;
    if (dgo_draft_is_fed(work->draft)) { /* hidden states come out of it: logits of every token */
        draft->output_row_count = draft->ubatch_tokens;
        work->feeding.guess_tokens = flags->draft_tokens;
    }
    if (flags->settings.rollback_tokens > 0 && dgo_draft_is_fed(work->draft))
        flags->settings.feeds = work->draft; /* else it is loaded, and drafts nothing */
    flags->settings.states_out = draft->own_draft_alone = draft->own_draft;
    draft->draft_key_type = draft->key_type;
    draft->draft_value_type = draft->value_type;
    return DGO_OK;
}

/* The machine as the draft finds it, which by itself is split by what is free then; heap memory. */
static struct dgo_machine *machine_with_model(const struct work *work)
{
    struct dgo_machine *machine = malloc(sizeof *machine);

    if (!machine)
        return NULL;
    *machine = work->flow->machine;
    for (uint32_t d = 0; d < work->estimate->device_count; d++) {
        const struct dgo_device_estimate *device = &work->estimate->device[d];
        uint64_t *free_bytes = &machine->gpu[device->gpu_index].free_bytes;
        const uint64_t taken = device->weights_bytes + device->context_bytes +
                               device->compute_bytes + device->overhead_bytes;

        *free_bytes -= dgo_min_u64(*free_bytes, taken);
    }
    return machine;
}

static enum dgo_status add_draft(struct work *work)
{
    struct dgo_settings draft = work->flags->draft;
    struct dgo_machine *machine;
    struct dgo_estimate beside;
    enum dgo_status status = DGO_OK;

    if (!work->draft)
        return DGO_OK;
    if (dgo_draft_is_fed(work->draft)) {
        status = dgo_feeding_find(work->flow->model, &work->flags->settings, work->estimate, &draft,
                                  &work->feeding, work->err);
        draft.feeding = &work->feeding;
    }
    if (status != DGO_OK)
        return status;
    machine = machine_with_model(work);
    if (!machine)
        return dgo_fail(work->err, DGO_ENOMEM, "out of memory for the draft model");
    draft.ctx_tokens = work->estimate->ctx_tokens;
    draft.adapter_count = 0;
    if (draft.cpu_moe_layer_count > work->draft->layer_count + work->draft->mtp_layer_count)
        draft.cpu_moe_layer_count = work->draft->layer_count + work->draft->mtp_layer_count;
    status = dgo_estimate_make(machine, work->draft, &draft, &work->flow->rules,
                               work->margins_bytes, &beside, work->err);
    free(machine);
    if (status != DGO_OK)
        return dgo_error_prefix(work->err, status, "the draft model");
    dgo_estimate_add(work->estimate, &beside);
    return DGO_OK;
}

static enum dgo_status add_projector(struct work *work)
{
    struct dgo_model *projector = NULL;
    enum dgo_status status;

    if (!work->flags->projector)
        return DGO_OK;
    status = dgo_model_open(work->flags->projector, &projector, work->err);
    if (status == DGO_OK)
        status = dgo_estimate_add_projector(
            work->estimate, &work->flow->machine, projector,
            &(struct dgo_projector_use){work->flags->projector_gpu,
                                        work->flags->settings.flash_attention,
                                        work->flags->picture_tokens},
            work->margins_bytes, work->err);
    dgo_model_close(projector);
    return status == DGO_OK ? status : dgo_error_prefix(work->err, status, "--mmproj");
}

/* The engine looks at what it has booked itself (model, context, compute), not at what a driver's
 * context takes besides. */
static void judge_refit(struct work *work)
{
    struct dgo_estimate *estimate = work->estimate;

    for (uint32_t d = 0; d < estimate->device_count && work->flags->fit; d++) {
        const struct dgo_device_estimate *device = &estimate->device[d];
        const uint64_t booked =
            device->weights_bytes + device->context_bytes + device->compute_bytes;

        if (booked + work->flags->fit_margin_bytes > device->free_bytes)
            estimate->engine_refits = true;
    }
}

static void name_devices(struct work *work)
{
    for (uint32_t d = 0; d < work->flags->settings.device_count; d++)
        memcpy(work->estimate->device[d].name, work->flags->device_name[d],
               sizeof work->estimate->device[d].name);
}

static enum dgo_status make(void *data)
{
    struct work *work = data;
    struct flow *flow = work->flow;
    enum dgo_status status = read_flags(work);

    if (status == DGO_OK)
        status = wish_margins(flow->options, &flow->machine, work->margins_bytes, work->err);
    if (status == DGO_OK)
        status = open_adapters(work);
    if (status == DGO_OK)
        status = open_draft(work);
    if (status == DGO_OK)
        status = dgo_estimate_make(&flow->machine, flow->model, &work->flags->settings,
                                   &flow->rules, work->margins_bytes, work->estimate, work->err);
    if (status != DGO_OK)
        return status;
    name_devices(work);
    if (!work->flags->adapter_count && !work->flags->settings.override_count) {
        /* The dry run knows of no drafts. */
        if (option_given(flow->options, OPTION_ASK_ENGINE) && !work->flags->settings.own_draft &&
            !work->flags->settings.feeds)
            dry_run_use(flow, &work->flags->settings, work->estimate);
        if (!work->flags->draft_model && !work->flags->projector)
            measured_use(flow, &work->flags->settings, work->estimate); /* beats all others */
    }
    status = add_draft(work);
    if (status == DGO_OK)
        status = add_projector(work);
    if (status == DGO_OK)
        judge_refit(work);
    return status;
}

enum dgo_status flow_estimate_flags(struct flow *flow, const char *const *args, uint32_t arg_count,
                                    struct dgo_estimate *estimate, struct dgo_error *err)
{
    struct work work = {.flow = flow,
                        .args = args,
                        .arg_count = arg_count,
                        .estimate = estimate,
                        .err = err,
                        .flags = calloc(1, sizeof *work.flags)};
    enum dgo_status status;

    if (!flow->engine->read_flags)
        status = dgo_fail(err, DGO_EUNSUPPORTED,
                          "flags of %s cannot be sized yet; `plan --engine %s` makes a plan for it",
                          flow->engine->name, flow->engine->name);
    else if (!work.flags)
        status = dgo_fail(err, DGO_ENOMEM, "out of memory for the engine's flags");
    else
        status = app_run(COMPONENT_ESTIMATE, make, &work);
    for (uint32_t i = 0; i < DGO_ADAPTER_MAX; i++)
        dgo_model_close(work.adapter[i]);
    dgo_model_close(work.draft);
    free(work.flags);
    return status;
}
