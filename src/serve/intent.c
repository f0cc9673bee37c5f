/* intent.c - JSON words to options, by a list of what is allowed. */
#include "intent.h"

#include "dgo_text.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { VALUE_MAX = 64 };

/* Nothing here names a file, a program, a host or a variable. */
static const struct {
    enum option_id id;
    enum intent_use use; /* INTENT_PLAN: of both */
} allowed[] = {
    {OPTION_CTX, INTENT_PLAN},
    {OPTION_PARALLEL, INTENT_PLAN},
    {OPTION_OBJECTIVE, INTENT_PLAN},
    {OPTION_KV_TYPE, INTENT_PLAN},
    {OPTION_MARGIN, INTENT_PLAN},
    {OPTION_NO_CPU_LAYERS, INTENT_PLAN},
    {OPTION_BATCH, INTENT_PLAN},
    {OPTION_UBATCH, INTENT_PLAN},
    {OPTION_NO_FLASH_ATTENTION, INTENT_PLAN},
    {OPTION_PROMPT_TOKENS, INTENT_PLAN},
    {OPTION_GENERATED_TOKENS, INTENT_PLAN},
    {OPTION_USE, INTENT_PLAN},
    {OPTION_SPREAD, INTENT_PLAN},
    {OPTION_DRAFT, INTENT_PLAN},
    {OPTION_THREADS, INTENT_PLAN},
    {OPTION_RESTART, INTENT_LAUNCH},
    {OPTION_READY_TIMEOUT, INTENT_LAUNCH},
    {OPTION_STOP_TIMEOUT, INTENT_LAUNCH},
};

/* "kv_type" is --kv-type. */
static bool is_name(const char *word, enum option_id id)
{
    const char *name = option_specs[id].name;

    for (; *word && *name; word++, name++)
        if (*word != *name && !(*word == '_' && *name == '-'))
            return false;
    return *word == *name;
}

static bool find(const char *word, enum intent_use use, enum option_id *id)
{
    for (size_t i = 0; i < sizeof allowed / sizeof allowed[0]; i++)
        if (is_name(word, allowed[i].id) &&
            (allowed[i].use == INTENT_PLAN || use == INTENT_LAUNCH)) {
            *id = allowed[i].id;
            return true;
        }
    return false;
}

bool intent_allows(enum option_id id, enum intent_use use)
{
    for (size_t i = 0; i < sizeof allowed / sizeof allowed[0]; i++)
        if (allowed[i].id == id)
            return allowed[i].use == INTENT_PLAN || use == INTENT_LAUNCH;
    return false;
}

void intent_say_unknown(struct dgo_text *text, const char *key, const char *const *keys)
{
    const char *nearest = nearest_word(key, keys);
    char shown[80];

    dgo_text_copy_escaped(shown, sizeof shown, key, strlen(key));
    dgo_text_addf(text, "%s is not known here; ", shown);
    if (nearest) {
        dgo_text_addf(text, "did you mean %s?", nearest);
        return;
    }
    dgo_text_add(text, "there is ");
    for (; *keys; keys++)
        dgo_text_addf(text, "%s%s", *keys, !keys[1] ? "" : keys[2] ? ", " : " and ");
}

/* The words of a body have '_' where the command line has '-'. */
static enum dgo_status fail_unknown(const char *word, enum intent_use use, struct dgo_error *err)
{
    enum { COUNT = sizeof allowed / sizeof allowed[0] };
    char names[COUNT][32], sentence[400];
    const char *words[COUNT + 1] = {NULL};
    struct dgo_text text = DGO_TEXT(sentence);
    size_t count = 0;

    for (size_t i = 0; i < COUNT; i++) {
        if (allowed[i].use == INTENT_LAUNCH && use != INTENT_LAUNCH)
            continue;
        (void)dgo_text_copy(names[count], sizeof names[count], option_specs[allowed[i].id].name);
        for (char *c = names[count]; *c; c++)
            *c = *c == '-' ? '_' : *c;
        words[count] = names[count];
        count++;
    }
    intent_say_unknown(&text, word, words);
    return dgo_fail(err, DGO_EUSAGE, "intent.%s", sentence);
}

static bool is_plain(const char *text, size_t length)
{
    for (size_t i = 0; i < length; i++)
        if (text[i] <= ' ' || text[i] > '~')
            return false;
    return length > 0 && length < VALUE_MAX;
}

/* A JSON value as the text that the command line would have. */
static enum dgo_status as_text(const char *word, const json_t *value, enum option_kind kind,
                               char text[VALUE_MAX], struct dgo_error *err)
{
    if (json_is_integer(value) && json_integer_value(value) >= 0 && kind != KIND_CHOICE) {
        snprintf(text, VALUE_MAX, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
        return DGO_OK;
    }
    if (json_is_string(value) && kind != KIND_COUNT &&
        is_plain(json_string_value(value), json_string_length(value))) {
        (void)dgo_text_copy(text, VALUE_MAX, json_string_value(value));
        return DGO_OK;
    }
    return dgo_fail(err, DGO_EUSAGE, "intent.%s: a value like %s is needed", word,
                    kind == KIND_COUNT    ? "8"
                    : kind == KIND_TOKENS ? "8192 or \"max\""
                                          : "\"text\"");
}

static enum dgo_status apply_one(const char *word, const json_t *value, enum option_id id,
                                 struct options *options, struct dgo_arena *arena,
                                 struct dgo_error *err)
{
    const enum option_kind kind = option_specs[id].kind;
    char text[VALUE_MAX];
    char *kept;
    enum dgo_status status;

    if (kind == KIND_FLAG) {
        if (!json_is_boolean(value))
            return dgo_fail(err, DGO_EUSAGE, "intent.%s: true or false is needed", word);
        options->value[id].given = false;
        return json_is_true(value) ? options_set(options, id, NULL, ORIGIN_FLAG, err) : DGO_OK;
    }
    status = as_text(word, value, kind, text, err);
    if (status != DGO_OK)
        return status;
    kept = dgo_arena_take_text(arena, text, strlen(text));
    if (!kept)
        return dgo_fail(err, DGO_ENOMEM, "out of memory");
    return options_set(options, id, kept, ORIGIN_FLAG, err);
}

enum dgo_status intent_apply(const json_t *intent, enum intent_use use, struct options *options,
                             struct dgo_arena *arena, const char **param, struct dgo_error *err)
{
    const char *word;
    json_t *value;

    if (!intent)
        return DGO_OK;
    if (!json_is_object(intent)) {
        *param = "intent";
        return dgo_fail(err, DGO_EUSAGE, "intent is an object like {\"ctx\": 8192}");
    }
    json_object_foreach((json_t *)(uintptr_t)intent, word, value)
    {
        enum option_id id;
        enum dgo_status status;

        *param = word;
        if (!find(word, use, &id)) {
            return fail_unknown(word, use, err);
        }
        status = apply_one(word, value, id, options, arena, err);
        if (status != DGO_OK)
            return status;
    }
    *param = NULL;
    return DGO_OK;
}
