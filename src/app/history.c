/* history.c - a launch that became ready, into the store. */
#include "history.h"

#include "dgo_app.h"
#include "dgo_clock.h"
#include "dgo_log.h"
#include "dgo_store.h"
#include "view.h"

#include <pthread.h>
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

/* What one write needs, apart from the flow's own model and binary, which do not change.  The plan
 * and the comparison do, when the engine starts again meanwhile. */
struct entry {
    struct dgo_store *store;
    struct dgo_comparison comparison; /* figures point at its names */
    struct dgo_launch_figure figure[FIGURE_MAX];
    char *settings, *devices; /* NULL: only the overheads are written */
    struct dgo_launch_record record;
    uint32_t overhead_count;
    struct dgo_overhead_record overhead[DGO_GPU_MAX];
};

/* Entries on their way: a store is closed when there is none. */
static struct {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    uint32_t count;
} pending = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, 0};

static void count_pending(int32_t change)
{
    pthread_mutex_lock(&pending.lock);
    pending.count = (uint32_t)((int32_t)pending.count + change);
    pthread_cond_broadcast(&pending.changed);
    pthread_mutex_unlock(&pending.lock);
}

void history_settle(void)
{
    pthread_mutex_lock(&pending.lock);
    while (pending.count > 0)
        pthread_cond_wait(&pending.changed, &pending.lock);
    pthread_mutex_unlock(&pending.lock);
}

static void free_entry(struct entry *entry)
{
    free(entry->settings);
    free(entry->devices);
    free(entry);
}

static struct entry *make_entry(struct flow *flow, const struct dgo_comparison *comparison,
                                const struct dgo_report *report)
{
    struct entry *entry = calloc(1, sizeof *entry);

    if (!entry)
        return NULL;
    entry->store = flow->store;
    entry->comparison = *comparison;
    entry->settings = text_of(view_settings(&flow->plan.settings));
    entry->devices = text_of(view_comparison(&flow->machine, comparison, report));
    if (!entry->settings || !entry->devices) {
        free_entry(entry);
        return NULL;
    }
    entry->record = (struct dgo_launch_record){
        .started_ns = dgo_clock_wall_ns(dgo_clock_system()),
        .model_path = flow->model->path,
        .model_name = flow->model->name,
        .binary_hash = flow->binary_hash,
        .build = flow->plan.estimate.build,
        .settings_json = entry->settings,
        .devices_json = entry->devices,
        .simulated = !dgo_machine_is_live(&flow->machine),
        .figure_count = list_figures(&entry->comparison, entry->figure),
        .figure = entry->figure,
    };
    return entry;
}

static enum dgo_status job_put(void *data)
{
    /* A store is for one thread at a time, and an engine that crashes at once is ready twice. */
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    struct entry *entry = data;
    struct dgo_error err = {0};
    enum dgo_status status;

    pthread_mutex_lock(&lock);
    status = entry->devices ? dgo_store_put_launch(entry->store, &entry->record, &err) : DGO_OK;
    for (uint32_t i = 0; status == DGO_OK && i < entry->overhead_count; i++)
        status = dgo_store_put_overhead(entry->store, &entry->overhead[i], &err);
    pthread_mutex_unlock(&lock);
    if (status != DGO_OK)
        dgo_log(DGO_LOG_INFO, "the launch was not kept: %s", err.text);
    return status;
}

static void on_put(const struct dgo_result *result, void *data)
{
    (void)result; /* told by the job */
    free_entry(data);
    count_pending(-1);
}

static void submit(struct entry *entry)
{
    struct dgo_error err = {0};

    count_pending(1);
    if (dgo_submit(&(struct dgo_job){.component = app_component(COMPONENT_HISTORY),
                                     .fn = job_put,
                                     .arg = entry,
                                     .done = on_put},
                   NULL, &err) == DGO_OK)
        return;
    dgo_log(DGO_LOG_INFO, "the launch was not kept: %s", err.text);
    free_entry(entry);
    count_pending(-1);
}

void history_start(struct flow *flow, const struct dgo_comparison *comparison,
                   const struct dgo_report *report, const struct dgo_overhead_record *overhead,
                   uint32_t overhead_count)
{
    struct entry *entry;

    if (!flow->store)
        return;
    entry = make_entry(flow, comparison, report);
    if (!entry) {
        dgo_log(DGO_LOG_INFO, "the launch was not kept: out of memory");
        return;
    }
    for (uint32_t i = 0; i < overhead_count; i++)
        entry->overhead[entry->overhead_count++] = overhead[i];
    submit(entry);
}

void history_drift(struct flow *flow, const struct dgo_overhead_record *overhead)
{
    struct entry *entry = flow->store ? calloc(1, sizeof *entry) : NULL;

    if (!entry)
        return;
    entry->store = flow->store;
    entry->overhead[entry->overhead_count++] = *overhead;
    submit(entry);
}
