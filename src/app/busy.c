/* busy.c - one real piece of work for each component that works on the CPU. */
#include "busy.h"

#include "dgo_arena.h"
#include "dgo_batch.h"
#include "dgo_text.h"
#include "dgo_timeline.h"
#include "dgo_trend.h"
#include "dgo_units.h"
#include "view.h"

#include <math.h>
#include <pthread.h>
#include <stdlib.h>

enum {
    TRACE_SAMPLES = 6 * 3600, /* six hours of a leak, a sample a second */
    TIMELINE_SAMPLES = 256,
    REQUESTS = 4000,
    BUCKETS = 8,
    LINE_BYTES = 65536,
};

struct busy {
    const struct flow *flow;
    struct dgo_trace *trace;
    struct dgo_workload workload;
    struct dgo_timeline *timeline;
    pthread_mutex_t lock; /* timeline, time_ns */
    uint64_t time_ns;
};

static uint64_t next_random(uint64_t *state)
{
    uint64_t z = (*state += UINT64_C(0x9e3779b97f4a7c15)); /* splitmix64 */

    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

/* In (0, 1]. */
static double next_share(uint64_t *state)
{
    return (double)((next_random(state) >> 11) + 1) / 9007199254740992.0;
}

enum component busy_component(enum busy_kind kind)
{
    static const enum component components[] = {
#define X(id, component, weight) COMPONENT_##component,
        BUSY_TABLE(X)
#undef X
    };

    return components[kind];
}

/* ---- the work ---- */

static enum dgo_status plan(struct busy *busy)
{
    const struct flow *flow = busy->flow;
    struct dgo_plan *made = malloc(sizeof *made);
    enum dgo_status status = DGO_ENOMEM;

    if (made)
        status =
            dgo_plan_make(&flow->machine, flow->model, &flow->intent, &flow->rules, made, NULL);
    free(made);
    return status;
}

static enum dgo_status estimate(struct busy *busy)
{
    const struct flow *flow = busy->flow;
    struct dgo_estimate *made = malloc(sizeof *made);
    enum dgo_status status = DGO_ENOMEM;

    if (made)
        status = dgo_estimate_make(&flow->machine, flow->model, &flow->plan.settings, &flow->rules,
                                   NULL, made, NULL);
    free(made);
    return status;
}

static enum dgo_status view(struct busy *busy)
{
    const struct flow *flow = busy->flow;
    json_t *object = view_plan(&flow->machine, flow->model, &flow->plan, &flow->command);
    char *text = object ? json_dumps(object, JSON_COMPACT) : NULL;
    const enum dgo_status status = text ? DGO_OK : DGO_ENOMEM;

    free(text);
    json_decref(object);
    return status;
}

static enum dgo_status preview(struct busy *busy)
{
    char *line = malloc(LINE_BYTES);
    struct dgo_text text = {.data = line, .size = LINE_BYTES};
    enum dgo_status status = DGO_ENOMEM;

    if (line) {
        dgo_command_text(&busy->flow->command, busy->flow->environment, &text);
        status = text.truncated ? DGO_ELIMIT : DGO_OK;
    }
    free(line);
    return status;
}

static enum dgo_status read_model(struct busy *busy)
{
    struct dgo_model *model = NULL;
    const enum dgo_status status = dgo_model_open(busy->flow->model->path, &model, NULL);

    dgo_model_close(model);
    return status;
}

static enum dgo_status add_samples(struct busy *busy)
{
    enum dgo_status status = DGO_OK;

    pthread_mutex_lock(&busy->lock);
    for (uint32_t i = 0; i < TIMELINE_SAMPLES && status == DGO_OK; i++) {
        const struct dgo_series_key key = {.kind = DGO_SERIES_USED, .gpu_index = i % 2};

        busy->time_ns += DGO_NS_PER_S / 2;
        status = dgo_timeline_add(busy->timeline, &key, busy->time_ns, 1e9 + i, NULL);
    }
    pthread_mutex_unlock(&busy->lock);
    return status;
}

static enum dgo_status judge(struct busy *busy)
{
    const struct dgo_trend_question question = {
        .capacity_mib = 24576, .card_free_mib = NAN, .planned_mib = NAN};
    struct dgo_trend trend;

    dgo_trace_judge(busy->trace, &question, &trend);
    return trend.evidence[0] ? DGO_OK : DGO_EFORMAT;
}

static enum dgo_status group(struct busy *busy)
{
    struct dgo_buckets buckets[BUCKETS];
    struct dgo_arena arena = {0};
    struct dgo_lengths lengths;
    enum dgo_status status;

    status = dgo_lengths_make(&busy->workload, DGO_LENGTH_PROMPT, &arena, &lengths, NULL);
    if (status == DGO_OK)
        status = dgo_buckets_make(&lengths, BUCKETS, buckets, NULL);
    dgo_arena_done(&arena);
    return status;
}

enum dgo_status busy_do(struct busy *busy, enum busy_kind kind)
{
    static enum dgo_status (*const work[])(struct busy *) = {
        [BUSY_OPTIMIZER] = plan,  [BUSY_ESTIMATE] = estimate, [BUSY_VIEW] = view,
        [BUSY_PREVIEW] = preview, [BUSY_MODEL] = read_model,  [BUSY_TIMELINE] = add_samples,
        [BUSY_LEAK] = judge,      [BUSY_BATCH] = group,
    };

    return work[kind](busy);
}

/* ---- its input ---- */

/* A server that loads, answers in bursts and loses 8 MiB with each. */
static enum dgo_status make_trace(struct busy *busy, struct dgo_error *err)
{
    uint64_t seed = 1;
    double used_mib = 12000;
    enum dgo_status status = dgo_trace_new(&busy->trace, err);

    for (uint32_t i = 0; i < TRACE_SAMPLES && status == DGO_OK; i++) {
        const bool is_busy = i % 120 < 20;
        const struct dgo_trace_sample sample = {
            .seconds = i, .used_mib = used_mib + (is_busy ? 200 * next_share(&seed) : 0)};

        used_mib += i % 120 == 20 ? 8 : 0;
        status = dgo_trace_add(busy->trace, &sample, err);
    }
    return status;
}

static enum dgo_status make_requests(struct busy *busy, struct dgo_error *err)
{
    enum dgo_status status = DGO_OK;
    uint64_t seed = 2;

    for (uint32_t i = 0; i < REQUESTS && status == DGO_OK; i++) {
        const struct dgo_request request = {.prompt_tokens =
                                                1 + (uint32_t)(-800 * log(next_share(&seed)))};

        status = dgo_workload_add(&busy->workload, &request, err);
    }
    return status;
}

enum dgo_status busy_open(struct flow *flow, struct busy **out, struct dgo_error *err)
{
    struct busy *busy = calloc(1, sizeof *busy);
    enum dgo_status status;

    if (!busy)
        return dgo_fail(err, DGO_ENOMEM, "out of memory for the workload");
    busy->flow = flow;
    pthread_mutex_init(&busy->lock, NULL);
    status = dgo_timeline_new(NULL, &busy->timeline, err);
    if (status == DGO_OK)
        status = make_trace(busy, err);
    if (status == DGO_OK)
        status = make_requests(busy, err);
    if (status != DGO_OK) {
        busy_close(busy);
        return status;
    }
    *out = busy;
    return DGO_OK;
}

void busy_close(struct busy *busy)
{
    if (!busy)
        return;
    dgo_trace_free(busy->trace);
    dgo_workload_done(&busy->workload);
    dgo_timeline_free(busy->timeline);
    pthread_mutex_destroy(&busy->lock);
    free(busy);
}

/* ---- its times ---- */

static enum busy_kind pick(uint64_t *seed)
{
    static const uint32_t weights[] = {
#define X(id, component, weight) weight,
        BUSY_TABLE(X)
#undef X
    };
    uint32_t all = 0, at;

    for (size_t i = 0; i < BUSY_KIND_COUNT; i++)
        all += weights[i];
    at = (uint32_t)(next_random(seed) % all);
    for (uint32_t i = 0; i < BUSY_KIND_COUNT; at -= weights[i], i++)
        if (at < weights[i])
            return (enum busy_kind)i;
    return BUSY_VIEW;
}

uint32_t busy_schedule(uint64_t seed, double per_second, uint64_t length_ns,
                       struct busy_event *event, uint32_t max)
{
    double at_s = 0;
    uint32_t count = 0;

    for (;;) {
        at_s += -log(next_share(&seed)) / per_second;
        if (count == max || at_s * 1e9 >= (double)length_ns)
            return count;
        event[count++] = (struct busy_event){(uint64_t)(at_s * 1e9), pick(&seed)};
    }
}
