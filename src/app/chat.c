/* chat.c - one chat message to an OpenAI-compatible engine, by jansson. */
#include "chat.h"

#include "dgo_text.h"
#include "engine_http.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static char *make_request(const char *message, uint32_t tokens_max)
{
    json_t *request =
        json_pack("{s:[{s:s, s:s}], s:i, s:b, s:b}", "messages", "role", "user", "content", message,
                  "max_tokens", (int)tokens_max, "stream", 0, "ignore_eos", 0);
    char *text = request ? json_dumps(request, JSON_COMPACT) : NULL;

    json_decref(request);
    return text;
}

/* Keeps newlines, escapes every line. */
static void copy_answer(struct chat_answer *answer, const char *content)
{
    struct dgo_text text = DGO_TEXT(answer->text);

    while (*content) {
        const size_t length = strcspn(content, "\n");

        dgo_text_add_escaped(&text, content, length);
        content += length;
        if (*content == '\n') {
            dgo_text_add(&text, "\n");
            content++;
        }
    }
}

static uint32_t token_count(json_t *usage, const char *key)
{
    const json_int_t count = json_integer_value(json_object_get(usage, key));

    return count > 0 && count < INT32_MAX ? (uint32_t)count : 0;
}

/* A model that thinks first may be cut before it says anything: then its thoughts are what there
 * is.  NULL: no chat completion. */
static const char *said(json_t *root)
{
    json_t *message =
        json_object_get(json_array_get(json_object_get(root, "choices"), 0), "message");
    const char *content = json_string_value(json_object_get(message, "content"));
    const char *thoughts = json_string_value(json_object_get(message, "reasoning_content"));

    return thoughts && (!content || !content[0]) ? thoughts : content;
}

static enum dgo_status fail_http(json_t *root, long http_status, struct dgo_error *err)
{
    const char *problem =
        json_string_value(json_object_get(json_object_get(root, "error"), "message"));

    return dgo_fail(err, DGO_ECHILD, "the engine answered the chat message with %ld: %.300s",
                    http_status, problem ? problem : "no reason given");
}

static enum dgo_status read_answer(const struct engine_answer *given, struct chat_answer *answer,
                                   struct dgo_error *err)
{
    json_t *root = json_loadb(given->data ? given->data : "", given->length, 0, NULL);
    const char *text = said(root);
    enum dgo_status status = DGO_OK;

    if (given->http_status != 200) {
        status = fail_http(root, given->http_status, err);
    } else if (!text) {
        status = dgo_fail(err, DGO_EFORMAT, "the engine's answer is no chat completion");
    } else {
        json_t *usage = json_object_get(root, "usage");

        copy_answer(answer, text);
        answer->prompt_tokens = token_count(usage, "prompt_tokens");
        answer->generated_tokens = token_count(usage, "completion_tokens");
    }
    json_decref(root);
    return status;
}

enum dgo_status chat_ask(const char *host, uint16_t port, const char *message, uint32_t tokens_max,
                         uint64_t timeout_ns, struct chat_answer *answer, struct dgo_error *err)
{
    char url[256];
    char *json = make_request(message, tokens_max);
    const struct engine_request request = {
        .url = url, .json = json, .what = "the chat message", .timeout_ns = timeout_ns};
    struct engine_answer given = {0};
    enum dgo_status status;

    if (!json)
        return dgo_fail(err, DGO_EINVAL, "the chat message is no valid UTF-8");
    snprintf(url, sizeof url,
             strchr(host, ':') ? "http://[%.200s]:%u/v1/chat/completions"
                               : "http://%.200s:%u/v1/chat/completions",
             host, port);
    status = engine_http(&request, &given, err);
    if (status == DGO_OK)
        status = read_answer(&given, answer, err);
    engine_answer_done(&given);
    free(json);
    return status;
}
