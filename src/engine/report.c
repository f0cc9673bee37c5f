/* report.c - trouble of an engine as sentences: what happened, and the next step. */
#include "dgo_engine.h"
#include "dgo_units.h"

#include <string.h>

/* What happened and what helps, most effective first. */
static const struct {
    const char *during; /* "... ran out of memory while <during>" */
    const char *advice;
} oom[] = {
    [DGO_TROUBLE_OOM_WEIGHTS] =
        {"loading the weights",
         "Stop what else uses that card (`dualgpuopt gpus` lists it), give a larger --margin, or "
         "choose a smaller quantisation of the model."},
    [DGO_TROUBLE_OOM_CONTEXT] =
        {"reserving the context",
         "Ask for less context (--ctx) or fewer slots (--parallel), or store it in fewer bits "
         "(--kv-type q8_0)."},
    [DGO_TROUBLE_OOM_COMPUTE] =
        {"reserving its compute buffers",
         "Use a smaller micro-batch (--ubatch 256), keep flash attention on, or give a larger "
         "--margin."},
    [DGO_TROUBLE_OOM_RUNTIME] =
        {"serving",
         "The plan left too little for what the driver allocates on demand: give a larger "
         "--margin, or run with --retry-smaller."},
};

/* The plan's idea of the same device, for comparison. */
static const struct dgo_device_estimate *planned(const struct dgo_plan *plan, const char *name)
{
    for (uint32_t d = 0; plan && d < plan->estimate.device_count; d++)
        if (strcmp(plan->estimate.device[d].name, name) == 0)
            return &plan->estimate.device[d];
    return NULL;
}

static void explain_oom(const struct dgo_report *report, const struct dgo_plan *plan,
                        struct dgo_text *text)
{
    const char *name = report->trouble_device;
    const struct dgo_report_device *device = dgo_report_find(report, name);
    const struct dgo_device_estimate *estimate = planned(plan, name);
    char bytes[DGO_UNIT_TEXT_MAX], free_bytes[DGO_UNIT_TEXT_MAX];

    dgo_text_addf(text, "%s ran out of memory while %s",
                  device && device->is_host ? "The host"
                  : name[0]                 ? name
                                            : "A device",
                  oom[report->trouble].during);
    if (report->trouble_bytes)
        dgo_text_addf(text, ": %s more could not be had",
                      dgo_bytes_text(report->trouble_bytes, bytes));
    if (device && device->memory_known)
        dgo_text_addf(text, "; %s were free before the launch",
                      dgo_bytes_text(device->free_bytes, free_bytes));
    dgo_text_add(text, ".");
    /* Someone else took it between the plan and the launch: no plan of ours was wrong. */
    if (device && estimate && device->memory_known && device->free_bytes < estimate->free_bytes &&
        estimate->free_bytes - device->free_bytes > estimate->margin_bytes)
        dgo_text_addf(text,
                      " When the plan was made it was %s: another program has taken memory "
                      "since.",
                      dgo_bytes_text(estimate->free_bytes, bytes));
    dgo_text_addf(text, " %s", oom[report->trouble].advice);
}

static void explain_model(const struct dgo_report *report, struct dgo_text *text)
{
    if (strstr(report->trouble_line, "unknown model architecture"))
        dgo_text_add(text, "The engine does not know this model's architecture: it is older than "
                           "the model. Install a newer llama.cpp.");
    else if (strstr(report->trouble_line, "No such file"))
        dgo_text_add(text, "The engine did not find the model file. Check the path.");
    else
        dgo_text_add(text, "The engine could not read the model file: it is damaged, incomplete or "
                           "too new for this build. Check it with `dualgpuopt inspect`, and load "
                           "it again if bytes are missing.");
}

void dgo_report_explain(const struct dgo_report *report, const struct dgo_plan *plan,
                        struct dgo_text *text)
{
    switch (report->trouble) {
    case DGO_TROUBLE_NONE:
        return;
    case DGO_TROUBLE_OOM_WEIGHTS:
    case DGO_TROUBLE_OOM_CONTEXT:
    case DGO_TROUBLE_OOM_COMPUTE:
    case DGO_TROUBLE_OOM_RUNTIME:
        explain_oom(report, plan, text);
        break;
    case DGO_TROUBLE_MODEL:
        explain_model(report, text);
        break;
    case DGO_TROUBLE_ARGUMENT:
        dgo_text_add(text, "The engine refused a flag. Check the flags after `--`, and that the "
                           "engine is new enough for them.");
        break;
    case DGO_TROUBLE_PORT:
        dgo_text_add(text, "The engine could not listen: another program uses the port, or the "
                           "address is not of this machine. Choose another --port, or 0 for a free "
                           "one.");
        break;
    case DGO_TROUBLE_OTHER:
        dgo_text_add(text, "The engine failed. Its own log (--log) tells more.");
        break;
    }
    if (report->trouble_line[0])
        dgo_text_addf(text, " The engine said: %s", report->trouble_line);
}
