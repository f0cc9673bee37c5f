/* engine_http.c - one request to an engine. */
#include "engine_http.h"

#include "dgo_resource.h"
#include "dgo_units.h"

#include <curl/curl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct body {
    struct engine_answer *answer;
    bool too_long;
};

static size_t collect(char *data, size_t size, size_t count, void *user)
{
    struct body *body = user;
    struct engine_answer *answer = body->answer;
    const size_t more = size * count;
    char *grown;

    body->too_long = more > ENGINE_ANSWER_MAX - answer->length;
    if (body->too_long)
        return 0; /* ends the transfer with CURLE_WRITE_ERROR */
    grown = realloc(answer->data, answer->length + more + 1);
    if (!grown)
        return 0;
    memcpy(grown + answer->length, data, more);
    answer->data = grown;
    answer->length += more;
    answer->data[answer->length] = '\0';
    return more;
}

/* libcurl asks about once a second: whoever waits for the job must not wait for the engine. */
static int on_progress(void *user, curl_off_t to_load, curl_off_t loaded, curl_off_t to_send,
                       curl_off_t sent)
{
    (void)user, (void)to_load, (void)loaded, (void)to_send, (void)sent;
    return dgo_job_should_stop() ? 1 : 0;
}

static struct curl_slist *make_headers(const struct engine_request *request)
{
    struct curl_slist *headers = curl_slist_append(NULL, "Content-Type: application/json");
    char line[512];

    if (headers && request->key && request->key[0]) {
        snprintf(line, sizeof line, "Authorization: Bearer %.400s", request->key);
        if (!curl_slist_append(headers, line)) {
            curl_slist_free_all(headers);
            return NULL;
        }
    }
    return headers;
}

static CURLcode transfer(const struct engine_request *request, struct curl_slist *headers,
                         struct body *body)
{
    CURL *curl = curl_easy_init();
    /* 0 would be for ever, and libcurl refuses more than an int holds. */
    const long timeout_ms = (long)dgo_min_u64(request->timeout_ns / DGO_NS_PER_MS + 1, INT_MAX);
    CURLcode code = CURLE_OUT_OF_MEMORY;

    if (curl && headers) {
        curl_easy_setopt(curl, CURLOPT_URL, request->url);
        curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http");
        curl_easy_setopt(curl, CURLOPT_NOPROXY, "*"); /* the engine is here, not behind a proxy */
        curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
        curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
        if (request->json)
            curl_easy_setopt(curl, CURLOPT_POSTFIELDS, request->json);
        curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, timeout_ms);
        curl_easy_setopt(curl, CURLOPT_NOPROGRESS, 0L);
        curl_easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, on_progress);
        curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, collect);
        curl_easy_setopt(curl, CURLOPT_WRITEDATA, body);
        code = curl_easy_perform(curl);
        curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &body->answer->http_status);
    }
    curl_easy_cleanup(curl);
    return code;
}

enum dgo_status engine_http(const struct engine_request *request, struct engine_answer *answer,
                            struct dgo_error *err)
{
    struct curl_slist *headers = make_headers(request);
    struct body body = {.answer = answer};
    const CURLcode code = transfer(request, headers, &body);

    curl_slist_free_all(headers);
    if (code == CURLE_OPERATION_TIMEDOUT)
        return dgo_fail(err, DGO_ETIMEOUT, "the engine did not answer %s in time", request->what);
    if (code == CURLE_ABORTED_BY_CALLBACK)
        return dgo_fail(err, DGO_ECANCELLED, "%s was called off", request->what);
    if (body.too_long)
        return dgo_fail(err, DGO_EFORMAT, "the engine's answer to %s is too long", request->what);
    if (code != CURLE_OK)
        return dgo_fail(err, DGO_EIO, "%s got no answer: %s", request->what,
                        curl_easy_strerror(code));
    return DGO_OK;
}

void engine_answer_done(struct engine_answer *answer)
{
    free(answer->data);
    *answer = (struct engine_answer){0};
}
