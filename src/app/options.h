/* options.h - options as values: one table (options.def), three sources (flags, environment,
 * configuration file), and for each value who set it.  Private to app and the faces.  One owner at
 * a time. */
#ifndef OPTIONS_H
#define OPTIONS_H

#include "dgo_base.h"

enum option_id {
#define X(id, name, kind, least, most, metavar, value, help) OPTION_##id,
#include "options.def"
#undef X
    OPTION_COUNT
};

/* What shapes the launch of a model: of every command that plans one, and of a preset. */
#define OPTIONS_OF_PLAN                                                                            \
    OPTION_USE, OPTION_SPREAD, OPTION_CTX, OPTION_PARALLEL, OPTION_OBJECTIVE, OPTION_KV_TYPE,      \
        OPTION_MARGIN, OPTION_NO_CPU_LAYERS, OPTION_BATCH, OPTION_UBATCH,                          \
        OPTION_NO_FLASH_ATTENTION, OPTION_PROMPT_TOKENS, OPTION_GENERATED_TOKENS,                  \
        OPTION_CONCURRENT, OPTION_DRAFT, OPTION_ENGINE, OPTION_FOR, OPTION_ENGINE_BUILD,           \
        OPTION_TENSOR_PARALLEL, OPTION_PIPELINE_PARALLEL, OPTION_MEMORY_SHARE, OPTION_HOST,        \
        OPTION_PORT, OPTION_THREADS

enum option_kind {
    KIND_FLAG,
    KIND_TEXT,
    KIND_COUNT,
    KIND_SIZE,
    KIND_DURATION,
    KIND_CHOICE,
    KIND_TOKENS,
    KIND_SIZES
};

struct option_spec {
    const char *name; /* without the dashes */
    enum option_kind kind;
    uint64_t least, most;
    const char *metavar;
    const char *value; /* default, or NULL */
    const char *help;
};
extern const struct option_spec option_specs[OPTION_COUNT];

/* The later one wins. */
enum option_origin { ORIGIN_DEFAULT, ORIGIN_FILE, ORIGIN_ENVIRONMENT, ORIGIN_FLAG };

#define OPTION_TOKENS_MAX UINT64_MAX /* number of a TOKENS option given as "max" */

struct option_value {
    bool given; /* by someone, or has a default; of a FLAG: it is set */
    enum option_origin origin;
    const char *text; /* as written; lives as long as argv, the environment or the configuration */
    /* COUNT, TOKENS; bytes of a SIZE; ns of a DURATION; index of a CHOICE; SIZES: the one for all,
     * 0 when there is none */
    uint64_t number;
    uint32_t line; /* of the file; 0: not from there */
};

struct options {
    struct option_value value[OPTION_COUNT];
};

/* Defaults, then DUALGPUOPT_<NAME> of the environment (flags: 1, true or yes; 0, false, no or
 * empty for not).  A bad value is DGO_EUSAGE and names the variable. */
DGO_MUST_CHECK
enum dgo_status options_init(struct options *options, char *const *environment,
                             struct dgo_error *err);

/* One option as a flag gave it; `text` is NULL for FLAG.  DGO_EUSAGE names the flag. */
DGO_MUST_CHECK
enum dgo_status options_set(struct options *options, enum option_id id, const char *text,
                            enum option_origin origin, struct dgo_error *err);

/* Reads `text` as the row wants it.  `shown` names it in the sentence ("--ctx", "line 3, column 6:
 * ctx"); DGO_EUSAGE. */
DGO_MUST_CHECK
enum dgo_status option_parse(const struct option_spec *spec, const char *shown, const char *text,
                             uint64_t *number, struct dgo_error *err);

/* The value of an environment variable, NULL where it is not set or empty. */
const char *option_find_variable(char *const *environment, const char *name);
/* A row's value from its variable; one that is not set leaves *value alone. */
DGO_MUST_CHECK
enum dgo_status option_read_variable(const struct option_spec *spec, char *const *environment,
                                     struct option_value *value, struct dgo_error *err);

static inline bool option_given(const struct options *options, enum option_id id)
{
    return options->value[id].given;
}
static inline const char *option_text(const struct options *options, enum option_id id)
{
    return options->value[id].given ? options->value[id].text : NULL;
}
static inline uint64_t option_number(const struct options *options, enum option_id id)
{
    return options->value[id].given ? options->value[id].number : 0;
}

/* What a SIZES option says: "512MiB", "0=1GiB,2=0" or "512MiB,0=1GiB". */
enum { OPTION_SIZES_MAX = 16 };
struct option_sizes {
    bool all_given; /* a size without an index */
    uint64_t all_bytes;
    uint32_t mask; /* bit per index given */
    uint64_t bytes[OPTION_SIZES_MAX];
};
/* Empty when the option was not given. */
void option_sizes(const struct options *options, enum option_id id, struct option_sizes *sizes);

/* The variable's name of a row, "DUALGPUOPT_KV_TYPE". */
enum { OPTION_VARIABLE_MAX = 64 };
void option_variable(const struct option_spec *spec, char name[OPTION_VARIABLE_MAX]);

/* The nearest known word within an edit distance of 2, for "did you mean"; NULL: none.  `words` is
 * NULL-terminated. */
const char *nearest_word(const char *word, const char *const *words);

#endif
