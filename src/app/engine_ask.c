/* engine_ask.c - asks a running engine what it does. */
#include "engine_http.h"
#include "engine_load.h"

#include "dgo_text.h"
#include "dgo_units.h"

#include <stdio.h>
#include <string.h>

static const uint64_t patience_ns = 2 * DGO_NS_PER_S;

enum dgo_status load_source_init(struct load_source *source, const char *url, const char *key,
                                 uint32_t pid, struct dgo_error *err)
{
    const char *scheme = strstr(url, "://");
    struct dgo_text text = {.data = source->url, .size = sizeof source->url};

    *source = (struct load_source){.pid = pid};
    dgo_text_clear(&text);
    if (scheme && strncmp(url, "http://", 7) != 0)
        return dgo_fail(err, DGO_EUSAGE, "'%.100s' is not an http:// address", url);
    if (!scheme)
        dgo_text_add(&text, "http://");
    dgo_text_add(&text, url);
    if (text.truncated || text.length <= 7)
        return dgo_fail(err, DGO_EUSAGE,
                        "'%.100s' is no address of an engine; "
                        "use one like http://127.0.0.1:8080",
                        url);
    while (text.length > 7 && source->url[text.length - 1] == '/')
        source->url[--text.length] = '\0';
    if (!dgo_text_copy(source->key, sizeof source->key, key ? key : ""))
        return dgo_fail(err, DGO_EUSAGE, "the engine's API key is too long");
    source->track.load.pid = pid;
    return DGO_OK;
}

/* One page into the track.  *refused: the engine has no such page, and is not to be asked again. */
static enum dgo_status ask(struct load_source *source, const char *path,
                           bool (*read)(struct load_track *, const char *, size_t), bool *done,
                           bool *refused, struct dgo_error *err)
{
    char url[LOAD_URL_MAX + 16];
    const struct engine_request request = {
        .url = url, .key = source->key, .what = path, .timeout_ns = patience_ns};
    struct engine_answer answer = {0};
    enum dgo_status status;

    snprintf(url, sizeof url, "%s%s", source->url, path);
    status = engine_http(&request, &answer, err);
    if (status == DGO_OK && answer.http_status == 200)
        *done = read(&source->track, answer.data ? answer.data : "", answer.length);
    else if (status == DGO_OK && answer.http_status >= 400 && answer.http_status != 503)
        *refused = true; /* 503: it loads its model */
    engine_answer_done(&answer);
    return status;
}

enum dgo_status load_ask(struct load_source *source, uint64_t now_ns, struct dgo_error *err)
{
    bool metrics = false, slots = false;
    enum dgo_status status = DGO_OK;

    load_begin(&source->track);
    if (!source->no_metrics)
        status = ask(source, "/metrics", load_read_metrics, &metrics, &source->no_metrics, err);
    if (status == DGO_OK && !source->no_slots)
        status = ask(source, "/slots", load_read_slots, &slots, &source->no_slots, err);
    if (status == DGO_OK && slots && !source->props_known) {
        bool refused = false;

        status = ask(source, "/props", load_read_props, &source->props_known, &refused, err);
        source->props_known |= refused;
    }
    if (status != DGO_OK)
        return status;
    if (!metrics && !slots) {
        source->no_metrics = source->no_slots = false; /* another one may answer there next time */
        return dgo_fail(err, DGO_EUNSUPPORTED,
                        "%s tells nothing of its work; llama-server does with --metrics and "
                        "--slots",
                        source->url);
    }
    load_end(&source->track, now_ns);
    return DGO_OK;
}
