/* measured.c - compute buffers that the same binary was seen to allocate: measured beats
 * calculated. */
#include "measured.h"

#include "dgo_store.h"
#include "dgo_units.h"
#include "view.h"

#include <stdlib.h>
#include <string.h>

/* The log rounds each buffer to hundredths of a MiB. */
#define ROUNDED_BYTES (DGO_MIB / 10)

struct search {
    struct dgo_estimate measured;
    struct dgo_estimate named; /* the same devices, as the launch called them */
    bool used;
    bool other_model; /* lay under that path then */
};

/* Whether these are the weights that are planned now. */
static bool same_weights(uint64_t planned_bytes, const struct dgo_launch_figure *figure)
{
    const uint64_t measured = figure->measured_bytes;
    const uint64_t apart =
        measured > planned_bytes ? measured - planned_bytes : planned_bytes - measured;

    return figure->planned_bytes == planned_bytes ||
           (figure->measured_known && apart <= ROUNDED_BYTES);
}

static void take_figure(struct search *search, const struct dgo_launch_figure *figure)
{
    for (uint32_t d = 0; d < search->named.device_count; d++) {
        if (strcmp(search->named.device[d].name, figure->device) != 0)
            continue;
        if (figure->kind == DGO_BUFFER_MODEL)
            search->other_model |= !same_weights(search->named.device[d].weights_bytes, figure);
        if (figure->kind != DGO_BUFFER_COMPUTE || !figure->measured_known)
            continue;
        search->measured.device[d].compute_bytes = figure->measured_bytes;
        search->measured.device[d].compute_source = DGO_FIGURE_MEASURED;
        search->used = true;
    }
}

static void found(const struct dgo_launch_record *record, void *data)
{
    for (uint32_t i = 0; i < record->figure_count; i++)
        take_figure(data, &record->figure[i]);
}

void measured_use(struct flow *flow, const struct dgo_settings *settings,
                  struct dgo_estimate *estimate)
{
    struct search search = {.measured = *estimate, .named = *estimate};
    json_t *object;
    char *text;

    /* A build that is asked for by number is not the binary that was measured. */
    if (!flow->store || !flow->binary_hash[0] || option_text(flow->options, OPTION_ENGINE_BUILD))
        return;
    object = view_settings(settings);
    text = object ? json_dumps(object, JSON_COMPACT | JSON_SORT_KEYS) : NULL;
    json_decref(object);
    if (!text)
        return;
    flow->engine->name_devices(&flow->machine, settings, &search.named);
    (void)!dgo_store_find_launch(flow->store,
                                 &(struct dgo_launch_query){
                                     .binary_hash = flow->binary_hash,
                                     .model_key = flow->model->path,
                                     .settings_json = text,
                                     .simulated = !dgo_machine_is_live(&flow->machine),
                                 },
                                 found, &search, NULL);
    free(text);
    if (!search.used || search.other_model)
        return;
    dgo_estimate_judge(&search.measured);
    /* It ran with that: what a margin may now be short of is no reason to refuse it. */
    if (search.measured.fits || !estimate->fits)
        *estimate = search.measured;
}
