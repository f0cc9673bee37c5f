/* engine_load.c - reads what engines tell of their work, and makes rates of it. */
#include "engine_load.h"

#include "dgo_text.h"
#include "dgo_units.h"
#include "prometheus.h"

#include <jansson.h>
#include <math.h>
#include <string.h>

/* ---- metrics ------------------------------------------------------------------------------- */

/* How samples of one name with several labels (models, reasons) are one figure. */
enum combine { SUM, MOST };

static const struct metric {
    const char *name;
    enum dgo_engine_load_field field;
    enum combine combine;
    double scale;
} metrics[] = {
    /* llama.cpp, tools/server: server_metrics.  A request's tokens are counted when it ends. */
    {"llamacpp:requests_processing", DGO_LOAD_BUSY, SUM, 1},
    {"llamacpp:requests_deferred", DGO_LOAD_WAITING, SUM, 1},
    {"llamacpp:prompt_tokens_total", DGO_LOAD_PROMPT_TOKENS, SUM, 1},
    {"llamacpp:tokens_predicted_total", DGO_LOAD_GENERATED_TOKENS, SUM, 1},
    {"llamacpp:kv_cache_usage_ratio", DGO_LOAD_KV_PERMILLE, MOST, 1000}, /* of older builds */
    /* vLLM, vllm/v1/metrics/loggers.py; the last one has its name from version 0. */
    {"vllm:num_requests_running", DGO_LOAD_BUSY, SUM, 1},
    {"vllm:num_requests_waiting", DGO_LOAD_WAITING, SUM, 1},
    {"vllm:request_success_total", DGO_LOAD_REQUESTS, SUM, 1},
    {"vllm:prompt_tokens_total", DGO_LOAD_PROMPT_TOKENS, SUM, 1},
    {"vllm:generation_tokens_total", DGO_LOAD_GENERATED_TOKENS, SUM, 1},
    {"vllm:kv_cache_usage_perc", DGO_LOAD_KV_PERMILLE, MOST, 1000},
    {"vllm:gpu_cache_usage_perc", DGO_LOAD_KV_PERMILLE, MOST, 1000},
};

static void store(struct dgo_engine_load *load, enum dgo_engine_load_field field, double value)
{
    switch (field) {
#define X(id, type, name, title)                                                                   \
    case DGO_LOAD_##id:                                                                            \
        load->name = (type)value;                                                                  \
        break;
#include "engine_load.def"
#undef X
    case DGO_LOAD_FIELD_COUNT:
        return;
    }
    load->known |= UINT32_C(1) << field;
}

/* Where (type)value is defined for every type of the table. */
static bool fits(enum dgo_engine_load_field field, double value)
{
    const bool small = field == DGO_LOAD_BUSY || field == DGO_LOAD_WAITING ||
                       field == DGO_LOAD_SLOTS || field == DGO_LOAD_SLOT_TOKENS;

    if (field == DGO_LOAD_KV_PERMILLE)
        return value >= 0 && value <= 1000.5;
    return value >= 0 && value <= (small ? 1e6 : 9e15);
}

bool load_read_metrics(struct load_track *track, const char *text, size_t length)
{
    struct prometheus in = {.text = text, .length = length};
    struct prometheus_sample sample;
    double sum[sizeof metrics / sizeof metrics[0]] = {0};
    bool seen[sizeof metrics / sizeof metrics[0]] = {false};
    bool any = false;

    while (prometheus_next(&in, &sample)) {
        for (size_t i = 0; i < sizeof metrics / sizeof metrics[0]; i++) {
            const char *model = NULL;
            size_t model_length = 0;

            if (!prometheus_is(&sample, metrics[i].name))
                continue;
            sum[i] = metrics[i].combine == SUM ? sum[i] + sample.value : fmax(sum[i], sample.value);
            seen[i] = any = true;
            if (prometheus_label(&sample, "model_name", &model, &model_length))
                dgo_text_copy_escaped(track->load.model, sizeof track->load.model, model,
                                      model_length);
        }
    }
    for (size_t i = 0; i < sizeof metrics / sizeof metrics[0]; i++)
        if (seen[i] && fits(metrics[i].field, sum[i] * metrics[i].scale))
            store(&track->load, metrics[i].field, sum[i] * metrics[i].scale);
    return any;
}

/* ---- slots --------------------------------------------------------------------------------- */

static uint64_t count_of(const json_t *object, const char *key)
{
    const json_int_t value = json_integer_value(json_object_get(object, key));

    return value > 0 ? (uint64_t)value : 0;
}

/* A slot's request ended when it has another one, or none any more.  One that came and went between
 * two readings is not seen, so the count is what there was at least. */
static void follow_slot(struct load_track *track, size_t index, const json_t *slot)
{
    const json_t *task = json_object_get(slot, "id_task");
    const bool busy = json_is_true(json_object_get(slot, "is_processing"));
    const bool has_task = json_is_integer(task) && json_integer_value(task) >= 0;
    const uint64_t number = has_task ? (uint64_t)json_integer_value(task) : 0;
    const bool other =
        has_task && (!track->slot[index].has_task || track->slot[index].task != number);
    const bool first_look = track->at_ns == 0;

    if (track->slot[index].busy && (other || !busy))
        track->requests++;
    if (other && !busy && !first_look)
        track->requests++;
    track->slot[index].busy = busy;
    track->slot[index].has_task = has_task;
    track->slot[index].task = number;
}

bool load_read_slots(struct load_track *track, const char *text, size_t length)
{
    json_t *slots = json_loadb(text, length, 0, NULL);
    uint64_t used = 0, room = 0, busy = 0;
    const size_t count = json_array_size(slots);

    if (!json_is_array(slots) || count > LOAD_SLOT_MAX) {
        json_decref(slots);
        return false;
    }
    track->running_tokens = 0;
    for (size_t i = 0; i < count; i++) {
        const json_t *slot = json_array_get(slots, i);
        const json_t *next = json_array_get(json_object_get(slot, "next_token"), 0);
        const uint64_t tokens = count_of(slot, "n_ctx");

        follow_slot(track, i, slot);
        busy += track->slot[i].busy;
        if (track->slot[i].busy)
            track->running_tokens += dgo_min_u64(count_of(next, "n_decoded"), UINT32_MAX);
        room += dgo_min_u64(tokens, UINT32_MAX);
        used += dgo_min_u64(dgo_min_u64(count_of(slot, "n_prompt_tokens"), tokens), UINT32_MAX);
        if (tokens > 0 && tokens <= UINT32_MAX)
            store(&track->load, DGO_LOAD_SLOT_TOKENS, (double)tokens);
    }
    json_decref(slots);
    store(&track->load, DGO_LOAD_SLOTS, (double)count);
    store(&track->load, DGO_LOAD_BUSY, (double)busy);
    store(&track->load, DGO_LOAD_REQUESTS, (double)track->requests);
    if (room > 0 && !dgo_load_knows(&track->load, DGO_LOAD_KV_PERMILLE))
        store(&track->load, DGO_LOAD_KV_PERMILLE, 1000.0 * (double)used / (double)room);
    return true;
}

bool load_read_props(struct load_track *track, const char *text, size_t length)
{
    json_t *props = json_loadb(text, length, 0, NULL);
    const json_t *alias = json_object_get(props, "model_alias");
    const char *name = json_string_value(alias ? alias : json_object_get(props, "model_path"));
    const char *slash = name ? strrchr(name, '/') : NULL;
    const bool is_object = json_is_object(props);

    if (name) {
        name = slash && slash[1] ? slash + 1 : name;
        dgo_text_copy_escaped(track->load.model, sizeof track->load.model, name, strlen(name));
    }
    json_decref(props);
    return is_object;
}

/* ---- a reading ----------------------------------------------------------------------------- */

void load_begin(struct load_track *track)
{
    const struct dgo_engine_load before = track->load;

    track->load = (struct dgo_engine_load){.pid = before.pid};
    memcpy(track->load.model, before.model, sizeof track->load.model);
    track->running_tokens = 0;
}

static void set_rate(struct load_track *track, enum dgo_engine_load_field field, uint64_t now,
                     uint64_t before, uint64_t elapsed_ns)
{
    if (now >= before) /* else the engine was started anew */
        store(&track->load, field, (double)(now - before) * 1e9 / (double)elapsed_ns);
}

void load_end(struct load_track *track, uint64_t now_ns)
{
    struct dgo_engine_load *load = &track->load;
    /* llama-server counts tokens when a request ends; with those of the running ones the sum grows
     * evenly. */
    const uint64_t generated = load->generated_tokens + track->running_tokens;
    const bool again = track->at_ns != 0 && now_ns > track->at_ns;

    if (dgo_load_knows(load, DGO_LOAD_GENERATED_TOKENS) && again)
        set_rate(track, DGO_LOAD_GENERATED_TOKENS_PER_S, generated, track->last_generated_tokens,
                 now_ns - track->at_ns);
    if (dgo_load_knows(load, DGO_LOAD_PROMPT_TOKENS) && again)
        set_rate(track, DGO_LOAD_PROMPT_TOKENS_PER_S, load->prompt_tokens,
                 track->last_prompt_tokens, now_ns - track->at_ns);
    track->last_generated_tokens = generated;
    track->last_prompt_tokens = load->prompt_tokens;
    track->at_ns = now_ns;
}
