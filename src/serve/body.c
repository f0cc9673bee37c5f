/* body.c - the body of a request: an object with the keys that its route knows. */
#include "daemon.h"

#include "dgo_text.h"
#include "intent.h"

#include <string.h>

static void refuse(struct http_request *request, const char *sentence, const char *param,
                   const char *code)
{
    http_answer_verdict(request, &(struct verdict){400, "invalid_request", sentence}, param, code);
}

static json_t *read_object(struct http_request *request)
{
    size_t length;
    const char *text = http_body(request, &length);
    json_error_t error;
    json_t *body = json_loadb(text, length, JSON_REJECT_DUPLICATES, &error);
    char sentence[200];
    struct dgo_text said = DGO_TEXT(sentence);

    if (body && json_is_object(body))
        return body;
    if (body)
        dgo_text_add(&said, "the body is no JSON object");
    else
        dgo_text_addf(&said, "the body is no JSON: line %d, column %d: %.100s", error.line,
                      error.column, error.text);
    json_decref(body);
    refuse(request, sentence, NULL, "EFORMAT");
    return NULL;
}

static bool is_one_of(const char *key, const char *const *keys)
{
    while (*keys && strcmp(*keys, key) != 0)
        keys++;
    return *keys != NULL;
}

json_t *api_body(struct http_request *request, const char *const *keys)
{
    json_t *body = read_object(request);
    const char *key;
    json_t *value;

    json_object_foreach(body, key, value)
    {
        char sentence[400];
        struct dgo_text text = DGO_TEXT(sentence);

        if (is_one_of(key, keys))
            continue;
        intent_say_unknown(&text, key, keys);
        refuse(request, sentence, key, "EUSAGE");
        json_decref(body);
        return NULL;
    }
    return body;
}
