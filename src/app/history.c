/* history.c - a launch that became ready, into the store. */
#include "history.h"

#include "dgo_clock.h"
#include "dgo_log.h"
#include "dgo_store.h"
#include "view.h"

#include <stdlib.h>

enum { FIGURE_MAX = DGO_COMPARISON_MAX * DGO_BUFFER_KIND_COUNT };

static uint32_t list_figures(const struct dgo_comparison *comparison,
                             struct dgo_launch_figure figures[FIGURE_MAX])
{
    uint32_t count = 0;

    for (uint32_t i = 0; i < comparison->row_count; i++) {
        const struct dgo_comparison_row *row = &comparison->row[i];
        const struct dgo_compared *const kinds[DGO_BUFFER_KIND_COUNT] = {
            [DGO_BUFFER_MODEL] = &row->weights,
            [DGO_BUFFER_CONTEXT] = &row->context,
            [DGO_BUFFER_COMPUTE] = &row->compute,
            [DGO_BUFFER_OUTPUT] = &row->output,
        };

        for (unsigned kind = 0; kind < DGO_BUFFER_KIND_COUNT; kind++)
            figures[count++] = (struct dgo_launch_figure){
                .device = row->name,
                .kind = (enum dgo_buffer_kind)kind,
                .planned_bytes = kinds[kind]->planned_bytes,
                .measured_known = kinds[kind]->known,
                .measured_bytes = kinds[kind]->measured_bytes,
            };
    }
    return count;
}

/* JSON text of a new reference, which is released; NULL without memory. */
static char *text_of(json_t *object)
{
    char *text = object ? json_dumps(object, JSON_COMPACT | JSON_SORT_KEYS) : NULL;

    json_decref(object);
    return text;
}

enum dgo_status history_add(struct flow *flow, const struct dgo_comparison *comparison,
                            const struct dgo_report *report)
{
    struct dgo_launch_figure figures[FIGURE_MAX];
    struct dgo_error err = {0};
    char *settings, *devices;
    enum dgo_status status = DGO_ENOMEM;

    if (!flow->store)
        return DGO_OK;
    settings = text_of(view_settings(&flow->plan.settings));
    devices = text_of(view_comparison(&flow->machine, comparison, report));
    if (settings && devices) {
        const struct dgo_launch_record record = {
            .started_ns = dgo_clock_wall_ns(dgo_clock_system()),
            .model_path = flow->model->path,
            .model_name = flow->model->name,
            .binary_hash = flow->binary_hash,
            .build = flow->plan.estimate.build,
            .settings_json = settings,
            .devices_json = devices,
            .simulated = flow->machine.simulated,
            .figure_count = list_figures(comparison, figures),
            .figure = figures,
        };

        status = dgo_store_put_launch(flow->store, &record, &err);
    }
    if (status != DGO_OK)
        dgo_log(DGO_LOG_INFO, "the launch was not kept: %s",
                err.text[0] ? err.text : dgo_status_sentence(status));
    free(settings);
    free(devices);
    return status;
}
