/* client.c - one request over the daemon's Unix socket, by libcurl. */
#include "client.h"

#include "dgo_serve.h"
#include "dgo_text.h"
#include "dgo_units.h"
#include "policy.h"

#include <curl/curl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ANSWER_MAX = 64 << 20 };

struct answer {
    char *text;
    size_t length, size;
};

static size_t take(char *bytes, size_t size, size_t count, void *data)
{
    struct answer *answer = data;
    const size_t length = size * count;

    if (answer->length + length > ANSWER_MAX)
        return 0;
    if (answer->length + length + 1 > answer->size) {
        const size_t wanted = dgo_max_u64(answer->length + length + 1, 2 * answer->size);
        char *grown = realloc(answer->text, wanted);

        if (!grown)
            return 0;
        answer->text = grown;
        answer->size = wanted;
    }
    memcpy(answer->text + answer->length, bytes, length);
    answer->length += length;
    return length;
}

static enum dgo_status status_of(const char *code)
{
    for (unsigned i = 1; code && i < DGO_STATUS_COUNT; i++)
        if (strcmp(policy_code((enum dgo_status)i), code) == 0)
            return (enum dgo_status)i;
    return DGO_EIO;
}

/* {"error": {"message": ..., "code": ...}} as ours. */
static enum dgo_status read_failure(const json_t *object, long http, struct dgo_error *err)
{
    const json_t *error = json_object_get(object, "error");
    const char *message = json_string_value(json_object_get(error, "message"));

    if (!message)
        return dgo_fail(err, DGO_EIO, "the daemon answered with status %ld and no reason", http);
    return dgo_fail(err, status_of(json_string_value(json_object_get(error, "code"))), "%s",
                    message);
}

static bool set_up(CURL *curl, const char *socket_path, const char *method, const char *url,
                   struct curl_slist *headers, const char *body, struct answer *answer)
{
    return curl_easy_setopt(curl, CURLOPT_UNIX_SOCKET_PATH, socket_path) == CURLE_OK &&
           curl_easy_setopt(curl, CURLOPT_URL, url) == CURLE_OK &&
           curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http") == CURLE_OK &&
           curl_easy_setopt(curl, CURLOPT_NOPROXY, "*") == CURLE_OK &&
           curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L) == CURLE_OK &&
           curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, method) == CURLE_OK &&
           curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers) == CURLE_OK &&
           (!body || curl_easy_setopt(curl, CURLOPT_POSTFIELDS, body) == CURLE_OK) &&
           curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, take) == CURLE_OK &&
           curl_easy_setopt(curl, CURLOPT_WRITEDATA, answer) == CURLE_OK;
}

enum dgo_status client_ask(const struct options *options, const char *method, const char *path,
                           const json_t *body, json_t **answer, struct dgo_error *err)
{
    struct curl_slist *headers = curl_slist_append(NULL, "Content-Type: application/json");
    char *text = body ? json_dumps(body, JSON_COMPACT) : NULL;
    char socket_path[PATH_MAX], url[512];
    CURL *curl = curl_easy_init();
    struct answer got = {0};
    enum dgo_status status = DGO_OK;
    json_t *object = NULL;
    long http = 0;
    CURLcode result;

    snprintf(url, sizeof url, "http://localhost%s", path);
    if (!serve_socket_path(options, socket_path, sizeof socket_path)) {
        status = dgo_fail(err, DGO_ENOTFOUND,
                          "no daemon can be found: there is no XDG_RUNTIME_DIR; name --socket");
        goto out;
    }
    if (!curl || !headers || (body && !text) ||
        !set_up(curl, socket_path, method, url, headers, text, &got)) {
        status = dgo_fail(err, DGO_ENOMEM, "out of memory");
        goto out;
    }
    result = curl_easy_perform(curl);
    (void)curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &http);
    if (result == CURLE_COULDNT_CONNECT || result == CURLE_COULDNT_RESOLVE_PROXY) {
        status = dgo_fail(err, DGO_ENOTFOUND,
                          "no daemon runs (nobody answers on %.300s); start one: dualgpuopt serve",
                          socket_path);
    } else if (result != CURLE_OK) {
        status =
            dgo_fail(err, DGO_EIO, "the daemon did not answer: %s", curl_easy_strerror(result));
    } else {
        object = json_loadb(got.text ? got.text : "", got.length, 0, NULL);
        if (!object)
            status = dgo_fail(err, DGO_EFORMAT, "the daemon answered something that is no JSON");
        else if (http < 200 || http > 299)
            status = read_failure(object, http, err);
    }
out:
    if (status == DGO_OK)
        *answer = object;
    else
        json_decref(object);
    if (curl)
        curl_easy_cleanup(curl);
    curl_slist_free_all(headers);
    free(text);
    free(got.text);
    return status;
}
