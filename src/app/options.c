/* options.c - one table of options, read from flags and the environment; the file is config.c's. */
#include "options.h"

#include "dgo_app.h"
#include "dgo_units.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

const struct option_spec option_specs[OPTION_COUNT] = {
#define X(id, name, kind, least, most, metavar, value, help)                                       \
    [OPTION_##id] = {name, KIND_##kind, least, most, metavar, value, help},
#include "options.def"
#undef X
};

void option_variable(const struct option_spec *spec, char name[OPTION_VARIABLE_MAX])
{
    static const char prefix[] = "DUALGPUOPT_";
    size_t length = 0;

    for (const char *p = prefix; *p; p++)
        name[length++] = *p;
    for (const char *p = spec->name; *p && length + 1 < OPTION_VARIABLE_MAX; p++)
        name[length++] = *p == '-' || *p == '.' ? '_' : (char)toupper((unsigned char)*p);
    name[length] = '\0';
}

/* Index of `word` in "a|b|c", or -1. */
static int choice_index(const char *choices, const char *word)
{
    const size_t length = strlen(word);
    int index = 0;

    for (const char *at = choices;; index++) {
        const size_t here = strcspn(at, "|");

        if (here == length && memcmp(at, word, length) == 0)
            return index;
        if (at[here] == '\0')
            return -1;
        at += here + 1;
    }
}

/* One "SIZE" or "N=SIZE" of a list. */
static enum dgo_status parse_sized(const char *word, struct option_sizes *sizes,
                                   struct dgo_error *err)
{
    const char *equals = strchr(word, '=');
    char index_text[8];
    uint64_t index = 0, bytes = 0;
    enum dgo_status status = dgo_bytes_parse(equals ? equals + 1 : word, &bytes, err);

    if (status != DGO_OK)
        return status;
    if (!equals) {
        sizes->all_given = true;
        sizes->all_bytes = bytes;
        return DGO_OK;
    }
    if ((size_t)(equals - word) >= sizeof index_text)
        return dgo_fail(err, DGO_EINVAL, "'%.40s' does not start with an index", word);
    memcpy(index_text, word, (size_t)(equals - word));
    index_text[equals - word] = '\0';
    if (dgo_u64_parse(index_text, "index", 0, OPTION_SIZES_MAX - 1, &index, NULL) != DGO_OK)
        return dgo_fail(err, DGO_EINVAL, "'%.40s' is no index from 0 to %d", index_text,
                        OPTION_SIZES_MAX - 1);
    if (sizes->mask >> index & 1)
        return dgo_fail(err, DGO_EINVAL, "index %s is given twice", index_text);
    sizes->mask |= UINT32_C(1) << index;
    sizes->bytes[index] = bytes;
    return DGO_OK;
}

static enum dgo_status parse_sizes(const char *text, struct option_sizes *sizes,
                                   struct dgo_error *err)
{
    *sizes = (struct option_sizes){0};
    for (const char *at = text;; at++) {
        const size_t length = strcspn(at, ",");
        char word[64];
        enum dgo_status status;

        if (length >= sizeof word)
            return dgo_fail(err, DGO_EINVAL, "'%.40s' is too long for a size", at);
        memcpy(word, at, length);
        word[length] = '\0';
        status = parse_sized(word, sizes, err);
        if (status != DGO_OK)
            return status;
        at += length;
        if (*at == '\0')
            return DGO_OK;
    }
}

void option_sizes(const struct options *options, enum option_id id, struct option_sizes *sizes)
{
    const char *text = option_text(options, id);

    /* It was parsed when it was set, so it cannot fail. */
    if (!text || parse_sizes(text, sizes, NULL) != DGO_OK)
        *sizes = (struct option_sizes){0};
}

enum dgo_status option_parse(const struct option_spec *spec, const char *shown, const char *text,
                             uint64_t *number, struct dgo_error *err)
{
    enum dgo_status status = DGO_OK;
    struct option_sizes sizes;
    int choice;

    *number = 0;
    switch (spec->kind) {
    case KIND_FLAG:
        *number = 1;
        break;
    case KIND_TEXT:
        if (text[0] == '\0')
            return dgo_fail(err, DGO_EUSAGE, "%s: a value is needed (%s)", shown, spec->metavar);
        break;
    case KIND_CHOICE:
        choice = choice_index(spec->metavar, text);
        if (choice < 0)
            return dgo_fail(err, DGO_EUSAGE, "%s: '%.40s' is none of %s", shown, text,
                            spec->metavar);
        *number = (uint64_t)choice;
        break;
    case KIND_TOKENS:
        if (strcmp(text, "max") == 0) {
            *number = OPTION_TOKENS_MAX;
            break;
        }
        /* fall through */
    case KIND_COUNT:
        status = dgo_u64_parse(text, shown, spec->least, spec->most, number, err);
        if (status != DGO_OK && spec->kind == KIND_TOKENS && err)
            dgo_fail(err, status, "%s: '%.40s' is neither a number of tokens nor max", shown, text);
        break;
    case KIND_SIZE:
        status = dgo_bytes_parse(text, number, err);
        if (status != DGO_OK)
            dgo_error_prefix(err, status, "%s", shown);
        break;
    case KIND_SIZES:
        status = parse_sizes(text, &sizes, err);
        *number = sizes.all_bytes;
        if (status != DGO_OK)
            dgo_error_prefix(err, status, "%s", shown);
        break;
    case KIND_DURATION:
        status = dgo_duration_parse(text, number, err);
        if (status != DGO_OK)
            dgo_error_prefix(err, status, "%s", shown);
        break;
    }
    if (status != DGO_OK && err)
        err->status = DGO_EUSAGE; /* a bad value on the command line is a usage error */
    return status == DGO_OK ? DGO_OK : DGO_EUSAGE;
}

enum dgo_status options_set(struct options *options, enum option_id id, const char *text,
                            enum option_origin origin, struct dgo_error *err)
{
    char shown[OPTION_VARIABLE_MAX];
    uint64_t number;
    enum dgo_status status;

    if (origin == ORIGIN_ENVIRONMENT)
        option_variable(&option_specs[id], shown);
    else
        (void)snprintf(shown, sizeof shown, "--%s", option_specs[id].name);
    status = option_parse(&option_specs[id], shown, text, &number, err);
    if (status == DGO_OK)
        options->value[id] =
            (struct option_value){.given = true, .origin = origin, .text = text, .number = number};
    return status;
}

const char *option_find_variable(char *const *environment, const char *name)
{
    const size_t length = strlen(name);

    for (; *environment; environment++)
        if (strncmp(*environment, name, length) == 0 && (*environment)[length] == '=')
            return (*environment)[length + 1] ? *environment + length + 1 : NULL;
    return NULL;
}

/* Whether a flag's variable says yes; an unreadable word is an error, not a guess. */
static enum dgo_status read_flag_variable(const char *name, const char *text, bool *set,
                                          struct dgo_error *err)
{
    static const char *const yes[] = {"1", "true", "yes"}, *const no[] = {"0", "false", "no"};

    for (size_t i = 0; i < sizeof yes / sizeof yes[0]; i++)
        if (strcmp(text, yes[i]) == 0) {
            *set = true;
            return DGO_OK;
        }
    for (size_t i = 0; i < sizeof no / sizeof no[0]; i++)
        if (strcmp(text, no[i]) == 0) {
            *set = false;
            return DGO_OK;
        }
    return dgo_fail(err, DGO_EUSAGE, "%s: '%.40s' is neither 1 nor 0", name, text);
}

enum dgo_status option_read_variable(const struct option_spec *spec, char *const *environment,
                                     struct option_value *value, struct dgo_error *err)
{
    char name[OPTION_VARIABLE_MAX];
    const char *text;
    bool set = true;
    uint64_t number = 0;
    enum dgo_status status;

    option_variable(spec, name);
    text = option_find_variable(environment, name);
    if (!text)
        return DGO_OK;
    status = spec->kind == KIND_FLAG ? read_flag_variable(name, text, &set, err)
                                     : option_parse(spec, name, text, &number, err);
    if (status == DGO_OK) /* "no" of a flag is an answer too: it beats the file */
        *value = (struct option_value){.given = set,
                                       .origin = ORIGIN_ENVIRONMENT,
                                       .text = spec->kind == KIND_FLAG ? NULL : text,
                                       .number = spec->kind == KIND_FLAG ? set : number};
    return status;
}

static enum dgo_status read_all(struct options *options, char *const *environment,
                                struct dgo_error *err)
{
    *options = (struct options){0};
    for (unsigned i = 0; i < OPTION_COUNT; i++) {
        const enum option_id id = (enum option_id)i;
        enum dgo_status status = DGO_OK;

        if (option_specs[id].value)
            status = options_set(options, id, option_specs[id].value, ORIGIN_DEFAULT, err);
        if (status == DGO_OK && id != OPTION_HELP)
            status = option_read_variable(&option_specs[id], environment, &options->value[id], err);
        if (status != DGO_OK)
            return status;
    }
    return DGO_OK;
}

struct reading {
    struct options *options;
    char *const *environment;
    struct dgo_error *err;
};

static enum dgo_status job_read(void *data)
{
    const struct reading *reading = data;

    return read_all(reading->options, reading->environment, reading->err);
}

enum dgo_status options_init(struct options *options, char *const *environment,
                             struct dgo_error *err)
{
    return app_run(COMPONENT_CONFIGURATION, job_read, &(struct reading){options, environment, err});
}

/* Edit distance with adjacent swaps counted once, cut at 3: typos, not essays. */
static unsigned typo_distance(const char *a, const char *b)
{
    enum { WORD_MAX = 32 };
    const size_t la = strlen(a), lb = strlen(b);
    unsigned row[3][WORD_MAX + 1];

    if (la > WORD_MAX || lb > WORD_MAX)
        return 3;
    for (size_t j = 0; j <= lb; j++)
        row[0][j] = (unsigned)j;
    for (size_t i = 1; i <= la; i++) {
        unsigned *now = row[i % 3], *last = row[(i + 2) % 3], *older = row[(i + 1) % 3];

        now[0] = (unsigned)i;
        for (size_t j = 1; j <= lb; j++) {
            unsigned best = last[j - 1] + (a[i - 1] != b[j - 1]);

            if (last[j] + 1 < best)
                best = last[j] + 1;
            if (now[j - 1] + 1 < best)
                best = now[j - 1] + 1;
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] &&
                older[j - 2] + 1 < best)
                best = older[j - 2] + 1;
            now[j] = best;
        }
    }
    return row[la % 3][lb];
}

const char *nearest_word(const char *word, const char *const *words)
{
    const char *nearest = NULL;
    unsigned least = 3;

    for (; *words; words++) {
        const unsigned distance = typo_distance(word, *words);

        if (distance < least && distance < strlen(*words)) {
            least = distance;
            nearest = *words;
        }
    }
    return nearest;
}
