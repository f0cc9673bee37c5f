/* quote.c - words to shell text and back, so that a command can be shown, pasted and read. */
#include "dgo_engine.h"

#include <string.h>

/* Characters that mean themselves to every shell, wherever they stand.  '=' is none: a first word
 * that holds one would be an assignment. */
static bool is_plain(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           (c != '\0' && strchr("_@%+:,./-", c));
}

void dgo_word_quote(struct dgo_text *text, const char *word)
{
    const char *c = word;

    while (is_plain(*c))
        c++;
    if (*word && !*c) {
        dgo_text_add(text, word);
        return;
    }
    dgo_text_add(text, "'");
    for (c = word; *c; c++) {
        if (*c == '\'')
            dgo_text_add(text, "'\\''");
        else
            dgo_text_add_bytes(text, c, 1);
    }
    dgo_text_add(text, "'");
}

/* Where the reading of a text stands.  `out` has room for the whole text: words only get shorter.
 */
struct splitter {
    const char *start, *at;
    char *out;
    bool in_word; /* quotes make a word even of nothing */
    struct dgo_error *err;
};

static enum dgo_status refuse(const struct splitter *in, const char *at, const char *what)
{
    return dgo_fail(in->err, DGO_EINVAL, "character %zu: %s", (size_t)(at - in->start) + 1, what);
}

static enum dgo_status single_quoted(struct splitter *in)
{
    const char *open = in->at++;
    const char *close = strchr(in->at, '\'');

    if (!close)
        return refuse(in, open, "this single quote is never closed");
    memcpy(in->out, in->at, (size_t)(close - in->at));
    in->out += close - in->at;
    in->at = close + 1;
    return DGO_OK;
}

static enum dgo_status double_quoted(struct splitter *in)
{
    const char *open = in->at++;

    for (; *in->at != '"'; in->at++) {
        if (!*in->at)
            return refuse(in, open, "this double quote is never closed");
        if (*in->at == '$' || *in->at == '`')
            return refuse(in, in->at, "a shell would expand this; put it in single quotes");
        if (*in->at == '\\' && in->at[1] && strchr("$`\"\\\n", in->at[1])) {
            in->at++;
            if (*in->at == '\n')
                continue;
        }
        *in->out++ = *in->at;
    }
    in->at++;
    return DGO_OK;
}

/* One character, or one quoted stretch, of a word. */
static enum dgo_status word_part(struct splitter *in)
{
    const char c = *in->at;

    if (c == '\\' && in->at[1] == '\n') {
        in->at += 2;
        return DGO_OK;
    }
    if (strchr("$`*?[;|&<>()", c))
        return refuse(in, in->at, "a shell gives this character a meaning; quote it");
    if (!in->in_word && (c == '#' || c == '~'))
        return refuse(in, in->at, "a shell gives this character a meaning at the start of a word");
    in->in_word = true;
    if (c == '\'')
        return single_quoted(in);
    if (c == '"')
        return double_quoted(in);
    if (c == '\\') {
        in->at++;
        if (!*in->at)
            return refuse(in, in->at - 1, "nothing follows this backslash");
    }
    *in->out++ = *in->at++;
    return DGO_OK;
}

/* Blanks end a word; a line break ends the command, so nothing may follow it. */
static enum dgo_status skip_blanks(struct splitter *in)
{
    while (*in->at == ' ' || *in->at == '\t')
        in->at++;
    if (*in->at != '\n')
        return DGO_OK;
    if (in->at[strspn(in->at, " \t\r\n")])
        return refuse(in, in->at, "only one command is read, and this line break ends it");
    in->at += strlen(in->at);
    return DGO_OK;
}

static bool at_word(const struct splitter *in)
{
    return *in->at && !strchr(" \t\n", *in->at);
}

enum dgo_status dgo_words_split(const char *text, struct dgo_arena *arena, uint32_t *count,
                                const char **words, uint32_t words_max, struct dgo_error *err)
{
    const size_t room = strlen(text);
    struct splitter in = {.start = text, .at = text, .err = err};
    enum dgo_status status;
    uint32_t found = 0;

    /* Every word is shorter than its text, and words are a blank apart: one byte more is enough. */
    in.out = dgo_arena_take(arena, room + 1);
    if (!in.out)
        return dgo_fail(err, DGO_ENOMEM, "no memory for a command of %zu bytes", room);
    while ((status = skip_blanks(&in)) == DGO_OK && *in.at) {
        const char *word = in.out;

        in.in_word = false;
        while (status == DGO_OK && at_word(&in))
            status = word_part(&in);
        if (status != DGO_OK)
            break;
        if (!in.in_word)
            continue;
        if (found == words_max)
            return dgo_fail(err, DGO_ELIMIT, "the command has more than %u words",
                            (unsigned)words_max);
        *in.out++ = '\0';
        words[found++] = word;
    }
    if (status == DGO_OK)
        *count = found;
    return status;
}
