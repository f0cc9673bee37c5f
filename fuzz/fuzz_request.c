/* fuzz_request.c - what ours reads of a request: the model's name in a body or form, an intent,
 * headers, and the metrics of an engine. */
#include "form.h"
#include "intent.h"
#include "pass.h"
#include "peek.h"
#include "policy.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Lines "Name: value" into a head, then judged. */
static void judge(const char *text, size_t size)
{
    struct policy policy = {.token = "00112233445566778899aabbccddeeff"
                                     "00112233445566778899aabbccddeeff"};
    const struct policy_route route = {.body = true, .body_max = 100};
    struct policy_head head = {0};
    char *copy = strndup(text, size), *rest = copy;

    policy_allow(&policy, "127.0.0.1", 4585);
    for (char *line; copy && (line = strsep(&rest, "\n"));) {
        char *value = strchr(line, ':');

        if (value)
            *value++ = '\0';
        policy_take(&head, line, value);
    }
    if (policy_judge_head(&policy, "GET", "/", &head).status == 0 ||
        policy_judge_route(&policy, &route, &head).status == 0)
        abort();
    free(copy);
}

/* The first line is a Content-Type, what follows the form. */
static void fill_in(const char *text, size_t size)
{
    const char *end = memchr(text, '\n', size);
    char *type = end ? strndup(text, (size_t)(end - text)) : NULL, name[64];
    char boundary[FORM_BOUNDARY_MAX + 1], again[FORM_BOUNDARY_MAX + 1], told[FORM_TYPE_MAX];

    if (type && form_boundary(type, boundary, NULL) == DGO_OK) {
        form_type_text(boundary, told);
        if (strpbrk(told, "\r\n") || form_boundary(told, again, NULL) != DGO_OK ||
            strcmp(again, boundary) != 0)
            abort(); /* the engine would split it otherwise than we did */
        if (form_text(end + 1, (size_t)(text + size - end - 1), boundary, "model", name,
                      sizeof name, NULL) == DGO_OK &&
            strlen(name) >= sizeof name)
            abort();
    }
    free(type);
}

static void wish(const char *text, size_t size)
{
    json_t *intent = json_loadb(text, size, JSON_REJECT_DUPLICATES, NULL);
    struct options options = {0};
    struct dgo_arena arena = {0};
    struct dgo_error err = {0};
    const char *param = NULL;

    if (intent && intent_apply(intent, INTENT_LAUNCH, &options, &arena, &param, &err) != DGO_OK &&
        !err.text[0])
        abort(); /* a refusal has a sentence */
    dgo_arena_done(&arena);
    json_decref(intent);
}

static void pass_on(const char *text, size_t size)
{
    static const struct om_label labels[] = {{"launch", "1"}, {NULL, NULL}};
    struct pass *pass = pass_new();
    size_t length = 0;
    struct om om;

    if (pass && om_open(&om, true, NULL) == DGO_OK) {
        pass_add(pass, text, size, labels);
        pass_write(pass, &om);
        free(om_close(&om, &length));
    }
    pass_free(pass);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = malloc(size ? size : 1), name[64]; /* of its size: a step beyond is found */

    if (!text)
        return 0;
    memcpy(text, data, size);
    if (peek_text(text, size, "model", name, sizeof name, NULL) == DGO_OK &&
        strlen(name) >= sizeof name)
        abort();
    fill_in(text, size);
    wish(text, size);
    pass_on(text, size);
    judge(text, size);
    free(text);
    return 0;
}
