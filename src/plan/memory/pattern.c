/* pattern.c - the engine's regular expressions, found by PCRE2.
 *
 * The engine hands -ot to std::regex.  PCRE2 reads that grammar and more; what only PCRE2 knows is
 * refused, as the engine refuses it, and what both know under other words is written anew. */
#include "pattern.h"

#include "dgo_text.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#include <stdlib.h>
#include <string.h>

/* A hostile pattern may try for ever; nobody's needs more than a few hundred steps on a name. */
enum { STEP_MAX = 100000 };

struct pattern {
    pcre2_code *code;
    pcre2_match_data *found;
    pcre2_match_context *limits;
};

static bool is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

/* The escape at `at`: how many bytes of it are taken.  std::regex takes a letter that stands for
 * nothing as itself. */
static size_t add_escape(struct dgo_text *made, const char *at)
{
    static const char known[] = "dDsSwWbBfnrtvxc";

    if (!at[1]) {
        dgo_text_addf(made, "\\"); /* PCRE2 says what is wrong with it */
        return 1;
    }
    if (is_letter(at[1]) && !strchr(known, at[1]))
        dgo_text_addf(made, "%c", at[1]);
    else
        dgo_text_addf(made, "\\%c", at[1]);
    return 2;
}

/* {2}, {2,}, {2,3}. */
static bool is_count(const char *at)
{
    static const char digits[] = "0123456789";
    const size_t least = strspn(at + 1, digits);
    const char *end = at + 1 + least;

    if (*end == ',')
        end += 1 + strspn(end + 1, digits);
    return least > 0 && *end == '}';
}

/* What PCRE2 would read as something of its own: (*VERB), (?<name>, a++, a{ as two letters.  Of
 * these std::regex has a++ too, as (a+)+, which nobody writes. */
static bool is_foreign(const char *at)
{
    if (at[0] == '{')
        return !is_count(at);
    if (at[0] == '(' && at[1] == '?')
        return at[2] != ':' && at[2] != '=' && at[2] != '!';
    return (at[0] == '(' && at[1] == '*') || (strchr("*+?}", at[0]) && at[1] == '+');
}

/* A list from its opening bracket on: how many bytes. */
static size_t add_list(struct dgo_text *made, const char *at)
{
    size_t length = 1;

    dgo_text_addf(made, "[");
    while (at[length] && at[length] != ']') {
        const char *named =
            at[length] == '[' && at[length + 1] == ':' ? strstr(at + length, ":]") : NULL;

        if (named) {
            const size_t whole = (size_t)(named + 2 - (at + length));

            dgo_text_addf(made, "%.*s", (int)whole, at + length);
            length += whole;
        } else if (at[length] == '\\') {
            length += add_escape(made, at + length);
        } else {
            dgo_text_addf(made, "%c", at[length++]);
        }
    }
    if (at[length])
        dgo_text_addf(made, "%c", at[length++]);
    return length;
}

static enum dgo_status refuse(const char *text, const char *why, struct dgo_error *err)
{
    char shown[80];

    dgo_text_copy_escaped(shown, sizeof shown, text, strlen(text));
    return dgo_fail(err, DGO_EINVAL,
                    "the tensor pattern '%s' cannot be read: %s; the engine takes regular "
                    "expressions of ECMAScript, like blk\\.[0-9]+\\.ffn_.*",
                    shown, why);
}

static enum dgo_status compile(struct pattern *pattern, const char *text, const char *made,
                               struct dgo_error *err)
{
    PCRE2_UCHAR why[120] = "";
    PCRE2_SIZE offset;
    int error;

    pattern->code = pcre2_compile((PCRE2_SPTR)made, PCRE2_ZERO_TERMINATED,
                                  PCRE2_NEVER_UTF | PCRE2_NEVER_UCP | PCRE2_DOLLAR_ENDONLY |
                                      PCRE2_ALLOW_EMPTY_CLASS,
                                  &error, &offset, NULL);
    if (!pattern->code) {
        pcre2_get_error_message(error, why, sizeof why);
        return refuse(text, (const char *)why, err);
    }
    pattern->found = pcre2_match_data_create(1, NULL);
    pattern->limits = pcre2_match_context_create(NULL);
    if (!pattern->found || !pattern->limits)
        return dgo_fail(err, DGO_ENOMEM, "out of memory for the tensor overrides");
    pcre2_set_match_limit(pattern->limits, STEP_MAX);
    pcre2_jit_compile(pattern->code, PCRE2_JIT_COMPLETE); /* where there is none, it interprets */
    return DGO_OK;
}

enum dgo_status pattern_make(const char *text, struct pattern **result, struct dgo_error *err)
{
    enum { TEXT_MAX = 2048 };
    char made[TEXT_MAX * 2]; /* nothing becomes longer than what it was */
    struct dgo_text words = DGO_TEXT(made);
    struct pattern *pattern;
    enum dgo_status status;

    if (strlen(text) >= TEXT_MAX)
        return dgo_fail(err, DGO_ELIMIT, "a tensor pattern of %zu bytes, at most %d", strlen(text),
                        TEXT_MAX - 1);
    for (const char *at = text; *at;) {
        if (is_foreign(at))
            return refuse(text, "it holds what std::regex does not read, or reads otherwise", err);
        if (*at == '\\')
            at += add_escape(&words, at);
        else if (*at == '[')
            at += add_list(&words, at);
        else
            dgo_text_addf(&words, "%c", *at++);
    }
    pattern = calloc(1, sizeof *pattern);
    if (!pattern)
        return dgo_fail(err, DGO_ENOMEM, "out of memory for the tensor overrides");
    status = compile(pattern, text, made, err);
    if (status == DGO_OK)
        *result = pattern;
    else
        pattern_free(pattern);
    return status;
}

void pattern_free(struct pattern *pattern)
{
    if (!pattern)
        return;
    pcre2_code_free(pattern->code);
    pcre2_match_data_free(pattern->found);
    pcre2_match_context_free(pattern->limits);
    free(pattern);
}

bool pattern_finds(const struct pattern *pattern, const char *name)
{
    return pcre2_match(pattern->code, (PCRE2_SPTR)name, strlen(name), 0, 0, pattern->found,
                       pattern->limits) >= 0;
}
