/* learn.c - the look before and the look after a start, and what earlier launches left. */
#include "learn.h"

#include "dgo_clock.h"
#include "dgo_log.h"
#include "dgo_text.h"
#include "dgo_units.h"

#include <stdlib.h>
#include <string.h>

#define LOOK_PATIENCE_NS (3 * DGO_NS_PER_S)
#define LOOK_SLICE_NS    (100 * DGO_NS_PER_MS)

/* ---- what earlier launches taught ---- */

static bool name_card(const struct flow *flow, uint32_t gpu, struct dgo_overhead_record *record)
{
    const struct dgo_machine *machine = &flow->machine;
    const struct dgo_gpu *card = &machine->gpu[gpu];

    *record = (struct dgo_overhead_record){.launch_ns = 0};
    (void)dgo_text_copy(record->device_name, sizeof record->device_name, card->name);
    (void)dgo_text_copy(record->device_key, sizeof record->device_key,
                        card->uuid[0] ? card->uuid : card->name);
    (void)dgo_text_copy(record->driver, sizeof record->driver, machine->driver);
    (void)dgo_text_copy(record->binary_hash, sizeof record->binary_hash, flow->binary_hash);
    return card->name[0] && machine->gpu_node[gpu] == 0 && dgo_machine_is_live(machine);
}

static void apply(struct dgo_gpu *card, const struct dgo_overhead_lesson *lesson)
{
    const bool calibrated = dgo_overhead_source(card) == DGO_OVERHEAD_CALIBRATED;
    const bool enough = lesson->launch_count >= DGO_OVERHEAD_LAUNCHES_MIN;

    if (calibrated && !enough) {
        card->engine_overhead_bytes = dgo_max_u64(card->engine_overhead_bytes, lesson->bytes);
        return;
    }
    card->engine_overhead_bytes = lesson->bytes;
    card->engine_overhead_launches = lesson->launch_count;
    card->engine_overhead_drifts = lesson->drifted_count;
    card->engine_overhead_spread_bytes = lesson->spread_bytes;
    card->known |= UINT64_C(1) << DGO_GPU_ENGINE_OVERHEAD_BYTES |
                   UINT64_C(1) << DGO_GPU_ENGINE_OVERHEAD_LAUNCHES |
                   UINT64_C(1) << DGO_GPU_ENGINE_OVERHEAD_DRIFTS |
                   UINT64_C(1) << DGO_GPU_ENGINE_OVERHEAD_SPREAD_BYTES;
}

static void recall_card(struct flow *flow, uint32_t gpu)
{
    struct dgo_overhead_record like, found[DGO_OVERHEAD_SAMPLE_MAX];
    struct dgo_overhead_sample sample[DGO_OVERHEAD_SAMPLE_MAX];
    struct dgo_overhead_lesson lesson;
    struct dgo_error err = {0};
    uint32_t count = 0;

    if (!name_card(flow, gpu, &like))
        return;
    if (dgo_store_find_overheads(flow->store, &like, found, DGO_OVERHEAD_SAMPLE_MAX, &count,
                                 &err) != DGO_OK) {
        dgo_log(DGO_LOG_INFO, "what launches taught is not known: %s", err.text);
        return;
    }
    for (uint32_t i = 0; i < count; i++)
        sample[i] = (struct dgo_overhead_sample){
            .launch_ns = found[i].launch_ns,
            .same_card = strcmp(found[i].device_key, like.device_key) == 0,
            .drifted = found[i].bytes != found[i].ready_bytes,
            .bytes = found[i].bytes};
    if (dgo_overhead_learn(sample, count, &lesson))
        apply(&flow->machine.gpu[gpu], &lesson);
}

void learn_recall(struct flow *flow)
{
    /* A build that is asked for by number is not the binary that was measured. */
    if (!flow->store || !flow->binary_hash[0] || option_text(flow->options, OPTION_ENGINE_BUILD))
        return;
    for (uint32_t g = 0; g < flow->machine.gpu_count; g++)
        recall_card(flow, g);
}

/* ---- one launch ---- */

/* A look under way: the job's until its end came back to the loop, which frees it. */
struct look {
    struct learn *learn; /* NULL: nobody waits for it any more */
    struct dgo_sampler *sampler;
    struct dgo_sample *sample;
    uint64_t since_ns; /* what is older is of another moment */
    enum dgo_status status;
    struct dgo_error err;
};

/* A card of the ready engine. */
struct card {
    uint32_t gpu_index;
    uint64_t books_bytes;
    struct dgo_overhead_record record;
    struct dgo_overhead_drift drift;
};

struct learn {
    struct learn_options options;
    struct dgo_sample *before; /* sequence 0: nobody looked */
    struct dgo_sample *after;  /* NULL: none yet; while it runs the newest */
    uint32_t pid;
    uint32_t card_count;
    struct card card[DGO_GPU_MAX];
    sd_event_source *timer; /* while it runs */
    struct look *look;      /* NULL: none is under way */
    struct dgo_future looking;
};

struct learn *learn_new(const struct learn_options *options)
{
    struct learn *made = NULL;

    if (options->sampler && dgo_machine_is_live(&options->flow->machine))
        made = calloc(1, sizeof *made);
    if (!made)
        return NULL;
    made->options = *options;
    made->before = calloc(1, sizeof *made->before);
    if (!made->before) {
        free(made);
        return NULL;
    }
    return made;
}

void learn_before(struct learn *learn)
{
    if (!learn)
        return;
    learn_cancel(learn);
    dgo_sampler_latest(learn->options.sampler, learn->before);
    if (learn->before->stale)
        learn->before->sequence = 0;
}

static bool is_fresh(const struct look *look)
{
    const struct dgo_sample *sample = look->sample;

    return sample->sequence > 0 && sample->tier_ns[DGO_TIER_FAST] >= look->since_ns &&
           sample->tier_ns[DGO_TIER_PROCESSES] >= look->since_ns;
}

static enum dgo_status job_look(void *data)
{
    struct look *look = data;
    uint64_t waited_ns = 0;

    look->status = DGO_ETIMEOUT;
    dgo_blocking_begin();
    while (waited_ns < LOOK_PATIENCE_NS && !dgo_job_should_stop()) {
        dgo_sampler_latest(look->sampler, look->sample);
        if (is_fresh(look)) {
            look->status = DGO_OK;
            break;
        }
        dgo_sampler_look_now(look->sampler);
        if (dgo_sampler_wait(look->sampler, look->sample->sequence, LOOK_SLICE_NS, &look->err) !=
            DGO_OK)
            waited_ns += LOOK_SLICE_NS;
    }
    dgo_blocking_end();
    return look->status;
}

static void free_look(struct look *look)
{
    free(look->sample);
    free(look);
}

static void on_look(const struct dgo_result *result, void *data)
{
    struct look *look = data;
    struct learn *learn = look->learn;

    if (learn) {
        learn->look = NULL;
        if (result->outcome == DGO_OUTCOME_DONE) {
            free(learn->after);
            learn->after = look->sample;
            look->sample = NULL;
        } else {
            dgo_log(DGO_LOG_INFO, "the launch teaches nothing: %s", look->err.text);
        }
        learn->options.looked(learn->options.data);
    }
    free_look(look);
}

bool learn_look(struct learn *learn, uint32_t pid)
{
    struct look *look;

    if (!learn || learn->look)
        return false;
    look = calloc(1, sizeof *look);
    if (look)
        look->sample = calloc(1, sizeof *look->sample);
    if (!look || !look->sample) {
        free(look);
        return false;
    }
    look->learn = learn;
    look->sampler = learn->options.sampler;
    look->since_ns = dgo_clock_monotonic_ns(dgo_clock_system());
    learn->pid = pid;
    learn->look = look;
    if (dgo_submit(&(struct dgo_job){.component = app_component(COMPONENT_HISTORY),
                                     .fn = job_look,
                                     .arg = look,
                                     .done = on_look,
                                     .done_lane = DGO_LANE_UI},
                   &learn->looking, NULL) == DGO_OK)
        return true;
    learn->look = NULL;
    free_look(look);
    return false;
}

void learn_cancel(struct learn *learn)
{
    if (learn)
        learn->timer = sd_event_source_disable_unref(learn->timer);
    if (!learn || !learn->look)
        return;
    learn->look->learn = NULL;
    learn->look = NULL;
    (void)dgo_cancel(learn->looking, NULL);
    (void)dgo_wait(learn->looking, DGO_FOREVER, NULL, NULL); /* a slice; it uses the sampler */
}

/* What the log counts on the card; false where it is silent about a part. */
static bool books(const struct dgo_comparison_row *row, uint64_t *bytes)
{
    const struct dgo_compared *const parts[] = {&row->weights, &row->context, &row->compute};

    *bytes = 0;
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
        if (!parts[i]->known && parts[i]->planned_bytes > 0)
            return false;
        *bytes += parts[i]->known ? parts[i]->measured_bytes : 0;
    }
    return true;
}

static enum dgo_status measure_row(const struct learn *learn, const struct dgo_comparison_row *row,
                                   struct card *card, struct dgo_overhead *found,
                                   struct dgo_error *err)
{
    struct dgo_overhead_question question = {
        .before = learn->before->sequence ? &learn->before->machine : NULL,
        .after = &learn->after->machine,
        .gpu_index = row->gpu_index,
        .pid = learn->pid,
    };

    if (!books(row, &question.books_bytes))
        return dgo_fail(err, DGO_ENOTFOUND, "the engine's log does not count all that it holds");
    card->gpu_index = row->gpu_index;
    card->books_bytes = question.books_bytes;
    return dgo_overhead_measure(&question, found, err);
}

static void measure_card(struct learn *learn, struct dgo_comparison_row *row, uint64_t now_ns)
{
    struct card *card = &learn->card[learn->card_count];
    struct dgo_overhead found;
    struct dgo_error err = {0};

    if (row->is_host || row->unplanned || learn->card_count == DGO_GPU_MAX ||
        !name_card(learn->options.flow, row->gpu_index, &card->record))
        return;
    if (measure_row(learn, row, card, &found, &err) != DGO_OK) {
        dgo_log(DGO_LOG_INFO, "the launch teaches nothing of %s: %s", row->name, err.text);
        return;
    }
    row->overhead.known = true;
    row->overhead.measured_bytes = found.bytes;
    card->record.launch_ns = now_ns;
    card->record.ready_bytes = card->record.bytes = found.bytes;
    card->record.by_process = found.way == DGO_OVERHEAD_BY_PROCESS;
    card->drift = (struct dgo_overhead_drift){.bytes = found.bytes};
    learn->card_count++;
}

uint32_t learn_measure(struct learn *learn, struct dgo_comparison *comparison,
                       struct dgo_overhead_record records[DGO_GPU_MAX])
{
    const uint64_t now_ns = dgo_clock_wall_ns(dgo_clock_system());

    if (!learn || !learn->after)
        return 0;
    learn->card_count = 0;
    for (uint32_t i = 0; i < comparison->row_count; i++)
        measure_card(learn, &comparison->row[i], now_ns);
    for (uint32_t i = 0; i < learn->card_count; i++)
        records[i] = learn->card[i].record;
    return learn->card_count;
}

/* ---- while it runs ---- */

#define DRIFT_LOOK_US  (UINT64_C(5000) * 1000)
#define DRIFT_OLD_NS   (10 * DGO_NS_PER_S) /* nobody else looks: look now */
#define DRIFT_SLACK_US (UINT64_C(1000) * 1000)

/* Other processes come and go: only the engine's own figure counts. */
static void follow_card(struct learn *learn, struct card *card)
{
    const struct dgo_gpu *gpu = &learn->after->machine.gpu[card->gpu_index];

    for (uint32_t i = 0; gpu->processes_known && i < gpu->process_count; i++) {
        const struct dgo_gpu_process *process = &gpu->process[i];

        if (process->pid != learn->pid || !process->used_known ||
            process->used_bytes < card->books_bytes)
            continue;
        if (dgo_overhead_follow(&card->drift, process->used_bytes - card->books_bytes,
                                learn->after->monotonic_ns)) {
            card->record.bytes = card->drift.bytes;
            card->record.by_process = true;
            learn->options.drifted(&card->record, card->gpu_index, learn->options.data);
        }
    }
}

static int on_drift_timer(sd_event_source *source, uint64_t usec, void *data)
{
    struct learn *learn = data;
    const uint64_t before = learn->after->sequence;

    (void)sd_event_source_set_time(source, usec + DRIFT_LOOK_US);
    dgo_sampler_latest(learn->options.sampler, learn->after);
    if (learn->after->age_ns > DRIFT_OLD_NS)
        dgo_sampler_look_now(learn->options.sampler);
    if (learn->after->sequence == before || learn->after->stale)
        return 0;
    for (uint32_t i = 0; i < learn->card_count; i++)
        if (learn->card[i].record.by_process)
            follow_card(learn, &learn->card[i]);
    return 0;
}

void learn_watch(struct learn *learn)
{
    if (!learn || !learn->after || learn->card_count == 0 || !learn->options.drifted)
        return;
    learn->timer = sd_event_source_disable_unref(learn->timer);
    if (sd_event_add_time_relative(learn->options.app->loop, &learn->timer, CLOCK_MONOTONIC,
                                   DRIFT_LOOK_US, DRIFT_SLACK_US, on_drift_timer, learn) >= 0)
        (void)sd_event_source_set_enabled(learn->timer, SD_EVENT_ON);
}

void learn_free(struct learn *learn)
{
    if (!learn)
        return;
    learn_cancel(learn);
    free(learn->before);
    free(learn->after);
    free(learn);
}
