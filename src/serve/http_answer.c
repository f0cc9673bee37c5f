/* http_answer.c - answers: JSON, text, files, streams, errors; and the headers that all have. */
#include "http_internal.h"

#include "dgo_text.h"

#include <stdlib.h>
#include <string.h>

enum { STREAM_BLOCK = 16 * 1024 };

static void add_header(struct MHD_Response *response, const char *name, const char *value)
{
    (void)MHD_add_response_header(response, name, value);
}

/* Nothing of ours is framed, sniffed, cached by strangers or named to them; the page loads only
 * what we serve. */
static void add_common_headers(struct MHD_Response *response)
{
    static const char *const headers[][2] = {
        {"Content-Security-Policy",
         "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
         "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"},
        {"X-Content-Type-Options", "nosniff"},
        {"Referrer-Policy", "no-referrer"},
        {"Cross-Origin-Opener-Policy", "same-origin"},
        {"Cross-Origin-Resource-Policy", "same-origin"},
    };

    for (size_t i = 0; i < sizeof headers / sizeof headers[0]; i++)
        add_header(response, headers[i][0], headers[i][1]);
}

/* The request has its answer; a waiting one goes back to its connection. */
static void finish(struct http_request *request, unsigned status, struct MHD_Response *response)
{
    if (request->response || !response) {
        if (response)
            MHD_destroy_response(response); /* answered before: the first one stands */
        else
            request->no_memory = true;
        if (request->response)
            return;
    }
    request->status = status;
    request->response = response;
    if (response) {
        add_common_headers(response);
        for (uint32_t i = 0; i < request->header_count; i++)
            add_header(response, request->header[i].name, request->header[i].value);
    }
    http_stream_wake(request);
}

static void finish_text(struct http_request *request, unsigned status, const char *type, char *text,
                        size_t length)
{
    struct MHD_Response *response =
        text ? MHD_create_response_from_buffer(length, text, MHD_RESPMEM_MUST_FREE) : NULL;

    if (!response)
        free(text);
    if (response) {
        add_header(response, "Content-Type", type);
        add_header(response, "Cache-Control", "no-store");
    }
    finish(request, status, response);
}

void http_answer_json(struct http_request *request, unsigned status, json_t *object)
{
    char *text = object ? json_dumps(object, JSON_COMPACT) : NULL;

    json_decref(object);
    finish_text(request, status, "application/json", text, text ? strlen(text) : 0);
}

void http_answer_text(struct http_request *request, unsigned status, const char *type,
                      const char *text, size_t length)
{
    char *copy = malloc(length + 1);

    if (copy)
        memcpy(copy, text, length);
    finish_text(request, status, type, copy, length);
}

/* A client's own word comes back as words of others do: escaped, and not endless. */
static json_t *text_value(const char *text)
{
    char shown[160];

    if (!text)
        return json_null();
    dgo_text_copy_escaped(shown, sizeof shown, text, strlen(text));
    return json_string(shown);
}

void http_answer_verdict(struct http_request *request, const struct verdict *verdict,
                         const char *param, const char *code)
{
    char message[DGO_ERROR_TEXT_MAX + 64];

    dgo_text_copy_escaped(message, sizeof message, verdict->sentence, strlen(verdict->sentence));
    if (verdict->status == 401)
        http_set_header(request, "WWW-Authenticate", "Bearer");
    http_answer_json(request, verdict->status,
                     json_pack("{s:{s:s, s:s, s:o, s:o}}", "error", "message", message, "type",
                               verdict->type, "param", text_value(param), "code",
                               text_value(code)));
}

void http_answer_error(struct http_request *request, const struct dgo_error *err, const char *param)
{
    const struct verdict verdict = policy_of_error(err);

    http_answer_verdict(request, &verdict, param, policy_code(err->status));
}

void http_answer_file(struct http_request *request, const char *type, const char *etag,
                      bool gzipped, const void *bytes, size_t length)
{
    const char *known = http_header(request, "If-None-Match");
    const bool same = known && strcmp(known, etag) == 0;
    struct MHD_Response *response = MHD_create_response_from_buffer(
        same ? 0 : length, (void *)(uintptr_t)bytes, MHD_RESPMEM_PERSISTENT);

    if (response) {
        add_header(response, "Content-Type", type);
        add_header(response, "Cache-Control", "no-cache"); /* ask again, by the tag */
        add_header(response, "ETag", etag);
        if (gzipped && !same)
            add_header(response, "Content-Encoding", "gzip");
    }
    finish(request, same ? 304 : 200, response);
}

void http_set_header(struct http_request *request, const char *name, const char *value)
{
    if (request->header_count == HEADERS_MAX)
        return;
    (void)dgo_text_copy(request->header[request->header_count].name, 48, name);
    (void)dgo_text_copy(request->header[request->header_count].value, 256, value);
    request->header_count++;
}

/* libmicrohttpd wants more of a stream: nothing there means that the connection sleeps. */
static ssize_t on_take(void *data, uint64_t at, char *to, size_t size)
{
    struct http_request *request = data;
    ptrdiff_t taken;

    (void)at;
    if (request->http->closing)
        return MHD_CONTENT_READER_END_OF_STREAM;
    if (request->left)
        return MHD_CONTENT_READER_END_WITH_ERROR;
    taken = request->take(request, to, size, request->take_data);
    if (taken == -1)
        return MHD_CONTENT_READER_END_OF_STREAM;
    if (taken < 0)
        return MHD_CONTENT_READER_END_WITH_ERROR;
    if (taken == 0) {
        request->suspended = true;
        MHD_suspend_connection(request->mhd);
    }
    return taken;
}

void http_answer_stream(struct http_request *request, unsigned status, const char *type,
                        http_take_fn take, void *data)
{
    struct MHD_Response *response;

    request->take = take;
    request->take_data = data;
    response =
        MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, STREAM_BLOCK, on_take, request, NULL);
    if (response) {
        add_header(response, "Content-Type", type);
        add_header(response, "Cache-Control", "no-store");
    }
    finish(request, status, response);
}

void http_stream_wake(struct http_request *request)
{
    if (!request->suspended)
        return;
    request->suspended = false;
    MHD_resume_connection(request->mhd);
    http_kick(request->http);
}
