/* chat.c - one chat message to an OpenAI-compatible engine, by libcurl and jansson. */
#include "chat.h"

#include "dgo_resource.h"
#include "dgo_text.h"
#include "dgo_units.h"

#include <curl/curl.h>
#include <jansson.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BODY_MAX = 4 << 20 }; /* an answer larger than this is no chat answer */

struct body {
    char *data;
    size_t length;
    bool too_long;
};

static size_t collect(char *data, size_t size, size_t count, void *user)
{
    struct body *body = user;
    const size_t more = size * count;
    char *grown;

    body->too_long = more > BODY_MAX - body->length;
    if (body->too_long)
        return 0; /* ends the transfer with CURLE_WRITE_ERROR */
    grown = realloc(body->data, body->length + more + 1);
    if (!grown)
        return 0;
    memcpy(grown + body->length, data, more);
    body->data = grown;
    body->length += more;
    body->data[body->length] = '\0';
    return more;
}

/* libcurl asks about once a second: whoever waits for the job must not wait for the engine. */
static int on_progress(void *user, curl_off_t to_load, curl_off_t loaded, curl_off_t to_send,
                       curl_off_t sent)
{
    (void)user, (void)to_load, (void)loaded, (void)to_send, (void)sent;
    return dgo_job_should_stop() ? 1 : 0;
}

static char *make_request(const char *message, uint32_t tokens_max)
{
    json_t *request =
        json_pack("{s:[{s:s, s:s}], s:i, s:b, s:b}", "messages", "role", "user", "content", message,
                  "max_tokens", (int)tokens_max, "stream", 0, "ignore_eos", 0);
    char *text = request ? json_dumps(request, JSON_COMPACT) : NULL;

    json_decref(request);
    return text;
}

static enum dgo_status post(const char *url, const char *request, uint64_t timeout_ns,
                            struct body *body, long *http_status, struct dgo_error *err)
{
    struct curl_slist *headers = curl_slist_append(NULL, "Content-Type: application/json");
    CURL *curl = curl_easy_init();
    /* 0 would be for ever, and libcurl refuses more than an int holds. */
    const long timeout_ms = (long)dgo_min_u64(timeout_ns / DGO_NS_PER_MS + 1, INT_MAX);
    CURLcode code = CURLE_OUT_OF_MEMORY;

    if (curl && headers) {
        curl_easy_setopt(curl, CURLOPT_URL, url);
        curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http");
        curl_easy_setopt(curl, CURLOPT_NOPROXY, "*"); /* the engine is here, not behind a proxy */
        curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
        curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
        curl_easy_setopt(curl, CURLOPT_POSTFIELDS, request);
        curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, timeout_ms);
        curl_easy_setopt(curl, CURLOPT_NOPROGRESS, 0L);
        curl_easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, on_progress);
        curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, collect);
        curl_easy_setopt(curl, CURLOPT_WRITEDATA, body);
        code = curl_easy_perform(curl);
        curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, http_status);
    }
    curl_slist_free_all(headers);
    curl_easy_cleanup(curl);
    if (code == CURLE_OPERATION_TIMEDOUT)
        return dgo_fail(err, DGO_ETIMEOUT, "the engine did not answer the chat message in time");
    if (code == CURLE_ABORTED_BY_CALLBACK)
        return dgo_fail(err, DGO_ECANCELLED, "the chat message was called off");
    if (body->too_long)
        return dgo_fail(err, DGO_EFORMAT, "the engine's answer is too long for a chat completion");
    if (code != CURLE_OK)
        return dgo_fail(err, DGO_EIO, "the chat message got no answer: %s",
                        curl_easy_strerror(code));
    return DGO_OK;
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

static enum dgo_status read_answer(const struct body *body, long http_status,
                                   struct chat_answer *answer, struct dgo_error *err)
{
    json_t *root = json_loadb(body->data ? body->data : "", body->length, 0, NULL);
    const char *text = said(root);
    enum dgo_status status = DGO_OK;

    if (http_status != 200) {
        status = fail_http(root, http_status, err);
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
    char *request = make_request(message, tokens_max);
    struct body body = {0};
    long http_status = 0;
    enum dgo_status status;

    if (!request)
        return dgo_fail(err, DGO_EINVAL, "the chat message is no valid UTF-8");
    snprintf(url, sizeof url,
             strchr(host, ':') ? "http://[%.200s]:%u/v1/chat/completions"
                               : "http://%.200s:%u/v1/chat/completions",
             host, port);
    status = post(url, request, timeout_ns, &body, &http_status, err);
    if (status == DGO_OK)
        status = read_answer(&body, http_status, answer, err);
    free(body.data);
    free(request);
    return status;
}
