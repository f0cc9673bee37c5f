/* requests_recording.c - requests out of a recording of a running engine: what its counters rose by
 * between two readings. */
#include "requests.h"
#include "requests_recording.h"

#include "dgo_recording.h"
#include "dgo_units.h"

#include <inttypes.h>
#include <string.h>

enum { ENGINES_MAX = 16 };

/* The last whole reading of each engine at which a request had ended. */
struct seen {
    uint32_t count;
    struct dgo_engine_load last[ENGINES_MAX];
};

static bool is_whole(const struct dgo_engine_load *load)
{
    return dgo_load_knows(load, DGO_LOAD_REQUESTS) &&
           dgo_load_knows(load, DGO_LOAD_PROMPT_TOKENS) &&
           dgo_load_knows(load, DGO_LOAD_GENERATED_TOKENS);
}

static struct dgo_engine_load *last_of(struct seen *seen, uint32_t pid)
{
    for (uint32_t i = 0; i < seen->count; i++)
        if (seen->last[i].pid == pid)
            return &seen->last[i];
    return NULL;
}

/* Those that ended since the last reading share its tokens evenly: an estimate, and said to be one.
 * A counter that fell belongs to an engine that was started anew. */
static enum dgo_status add_ended(struct requests *requests, const struct dgo_engine_load *before,
                                 const struct dgo_engine_load *now, double at_s,
                                 struct dgo_error *err)
{
    const uint64_t ended = now->requests - before->requests;
    enum dgo_status status = DGO_OK;

    if (now->requests <= before->requests || now->prompt_tokens < before->prompt_tokens ||
        now->generated_tokens < before->generated_tokens)
        return DGO_OK;
    const uint64_t prompt = (now->prompt_tokens - before->prompt_tokens) / ended;
    const uint64_t generated = (now->generated_tokens - before->generated_tokens) / ended;

    if (prompt > DGO_REQUEST_TOKENS_MAX || generated > DGO_REQUEST_TOKENS_MAX) {
        requests->bad_lines++;
        return DGO_OK;
    }
    for (uint64_t i = 0; i < ended && status == DGO_OK; i++)
        status = dgo_workload_add(&requests->workload,
                                  &(struct dgo_request){.prompt_tokens = (uint32_t)prompt,
                                                        .generated_tokens = (uint32_t)generated,
                                                        .arrival_s = at_s},
                                  err);
    requests->workload.estimated = true;
    return status;
}

static enum dgo_status add_load(struct requests *requests, struct seen *seen,
                                const struct dgo_engine_load *load, double at_s,
                                struct dgo_error *err)
{
    struct dgo_engine_load *before = last_of(seen, load->pid);
    enum dgo_status status = DGO_OK;

    if (!is_whole(load))
        return DGO_OK;
    if (before)
        status = add_ended(requests, before, load, at_s, err);
    else if (seen->count < ENGINES_MAX)
        seen->last[seen->count++] = *load;
    /* Tokens of one that is still being answered belong to the one that ends. */
    if (before &&
        (load->requests != before->requests || load->prompt_tokens < before->prompt_tokens))
        *before = *load;
    return status;
}

enum dgo_status requests_read_recording(const char *path, struct requests *requests,
                                        struct dgo_error *err)
{
    struct dgo_recording *recording = NULL;
    struct dgo_recording_item item;
    struct seen seen = {0};
    enum dgo_status status = dgo_recording_open(path, &recording, err);

    if (status != DGO_OK)
        return status;
    requests->format.kind = DGO_TRACE_RECORDING;
    while ((status = dgo_recording_next(recording, &item, err)) == DGO_OK) {
        requests->lines++;
        if (item.kind == DGO_RECORDED_LOAD)
            status = add_load(requests, &seen, &item.load,
                              (double)item.at_ns / (double)DGO_NS_PER_S, err);
        if (status != DGO_OK)
            break;
    }
    dgo_recording_close(recording);
    return status == DGO_ENOTFOUND ? DGO_OK : status; /* the end of it */
}
