/* counting.c - tokens of texts, by a vocabulary or by asking an engine. */
#include "counting.h"

#include "dgo_text.h"
#include "dgo_units.h"
#include "engine_http.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static enum dgo_status count_by_vocabulary(const char *text, size_t length, void *data,
                                           uint64_t *tokens)
{
    static const struct dgo_tokenize_options inside = {.parse_special = true};
    const struct counting_slot *slot = data;
    const uint32_t *made;
    size_t count;
    const enum dgo_status status =
        dgo_tokenize(slot->tokenizer, text, length, &inside, &made, &count, NULL);

    if (status == DGO_OK)
        *tokens = count;
    return status;
}

/* What begins and ends a prompt. */
static enum dgo_status count_special(struct counting *counting, uint32_t *tokens,
                                     struct dgo_error *err)
{
    const struct dgo_tokenize_options whole = {.add_special = true};
    const uint32_t *made;
    size_t count = 0;
    const enum dgo_status status =
        dgo_tokenize(counting->slot[0].tokenizer, "", 0, &whole, &made, &count, err);

    *tokens = (uint32_t)count;
    return status;
}

enum dgo_status counting_open_model(const char *path, uint32_t slots, struct counting *counting,
                                    struct dgo_error *err)
{
    uint32_t special = 0;
    enum dgo_status status;

    memset(counting, 0, sizeof *counting);
    status = dgo_vocab_open(path, &counting->vocab, err);
    for (uint32_t i = 0; i < slots && i < REQUESTS_BLOCKS_MAX && status == DGO_OK; i++) {
        counting->slot[i].counting = counting;
        status = dgo_tokenizer_new(counting->vocab, &counting->slot[i].tokenizer, err);
        counting->slot_count++;
    }
    if (status == DGO_OK)
        status = count_special(counting, &special, err);
    if (status != DGO_OK) {
        counting_close(counting);
        return status;
    }
    counting->exact = dgo_vocab_exact(counting->vocab);
    dgo_text_copy(counting->name, sizeof counting->name, dgo_vocab_name(counting->vocab));
    for (uint32_t i = 0; i < counting->slot_count; i++)
        counting->counter[i] = (struct dgo_trace_counter){.count = count_by_vocabulary,
                                                          .data = &counting->slot[i],
                                                          .prompt_tokens = special,
                                                          .inexact = !counting->exact};
    return DGO_OK;
}

/* ---- an engine ---- */

enum { ENGINE_TIMEOUT_S = 60 };

/* JSON is UTF-8: what is none becomes U+FFFD, as the engine's own tokenizer reads it. */
static char *utf8_of(const char *text, size_t length, size_t *made_length)
{
    char *made = malloc(3 * length + 1), *to = made;

    for (size_t at = 0; made && at < length;) {
        uint32_t point;
        const uint32_t taken = dgo_utf8_decode(text + at, length - at, &point);

        memcpy(to, taken ? text + at : "\xef\xbf\xbd", taken ? taken : 3);
        to += taken ? taken : 3;
        at += taken ? taken : 1;
    }
    *made_length = made ? (size_t)(to - made) : 0;
    return made;
}

static enum dgo_status ask(const struct counting *counting, const char *text, size_t length,
                           bool special, uint64_t *tokens, struct dgo_error *err)
{
    size_t utf8_length;
    char *utf8 = utf8_of(text, length, &utf8_length);
    json_t *body = utf8 ? json_pack("{s:o, s:b, s:b}", "content", json_stringn(utf8, utf8_length),
                                    "add_special", special, "parse_special", 1)
                        : NULL;
    char *json = body ? json_dumps(body, JSON_COMPACT) : NULL;
    const struct engine_request request = {.url = counting->url,
                                           .json = json,
                                           .what = "the text to be counted",
                                           .timeout_ns = ENGINE_TIMEOUT_S * DGO_NS_PER_S};
    struct engine_answer answer = {0};
    enum dgo_status status =
        json ? engine_http(&request, &answer, err) : dgo_fail(err, DGO_ENOMEM, "out of memory");

    if (status == DGO_OK) {
        json_t *root = json_loadb(answer.data ? answer.data : "", answer.length, 0, NULL);
        const json_t *made = json_object_get(root, "tokens");

        if (answer.http_status == 200 && json_is_array(made))
            *tokens = json_array_size(made);
        else
            status = dgo_fail(err, DGO_ECHILD,
                              "%s answered with %ld and no tokens; is it a "
                              "llama-server?",
                              counting->url, answer.http_status);
        json_decref(root);
    }
    engine_answer_done(&answer);
    json_decref(body);
    free(json);
    free(utf8);
    return status;
}

static enum dgo_status count_by_engine(const char *text, size_t length, void *data,
                                       uint64_t *tokens)
{
    const struct counting_slot *slot = data;

    return ask(slot->counting, text, length, false, tokens, NULL);
}

enum dgo_status counting_open_engine(const char *url, struct counting *counting,
                                     struct dgo_error *err)
{
    uint64_t special = 0;
    size_t length = strlen(url);
    enum dgo_status status;

    memset(counting, 0, sizeof *counting);
    while (length > 0 && url[length - 1] == '/')
        length--;
    if (length + sizeof "/tokenize" > sizeof counting->url ||
        (strncmp(url, "http://", 7) != 0 && strncmp(url, "https://", 8) != 0))
        return dgo_fail(err, DGO_EUSAGE,
                        "--engine-url: '%.60s' is no address like http://127.0.0.1:8080", url);
    snprintf(counting->url, sizeof counting->url, "%.*s/tokenize", (int)length, url);
    status = ask(counting, "", 0, true, &special, err);
    if (status != DGO_OK)
        return status;
    counting->exact = true;
    snprintf(counting->name, sizeof counting->name, "the engine at %.*s",
             (int)(length < 70 ? length : 70), url);
    counting->slot_count = 1; /* one question at a time: it has other work */
    counting->slot[0].counting = counting;
    counting->counter[0] = (struct dgo_trace_counter){
        .count = count_by_engine, .data = &counting->slot[0], .prompt_tokens = (uint32_t)special};
    return DGO_OK;
}

void counting_close(struct counting *counting)
{
    for (uint32_t i = 0; i < counting->slot_count; i++)
        dgo_tokenizer_free(counting->slot[i].tokenizer);
    dgo_vocab_close(counting->vocab);
    memset(counting, 0, sizeof *counting);
}
