/* import_command.c - the words of a command, and single flags, as options of a preset. */
#include "import_entry.h"

#include "dgo_units.h"
#include "flag_look.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool take_path(struct import_entry *entry, const char *path, char *to, size_t size)
{
    if (path[0] == '/')
        return dgo_text_copy(to, size, path);
    while (path[0] == '.' && path[1] == '/')
        path += 2;
    return snprintf(to, size, "%s/%s", entry->call->folder, path) < (int)size;
}

static void take_model(struct import_entry *entry, uint32_t line, const char *path)
{
    if (!take_path(entry, path, entry->preset->model, sizeof entry->preset->model))
        import_lost(entry, line, "the model's path is too long");
    else if (path[0] != '/')
        import_note(entry, line,
                    "the model's path is relative and taken from the file's folder: %s",
                    entry->preset->model);
}

/* ---- options ---- */

static void keep_word(struct import_entry *entry, uint32_t line, const char *word)
{
    struct preset *preset = entry->preset;

    if (preset->arg_count == PRESET_ARG_MAX ||
        !dgo_text_copy(preset->arg[preset->arg_count], PRESET_TEXT_MAX, word))
        import_lost(entry, line, "more than %d words for the engine, or one of more than %d bytes",
                    PRESET_ARG_MAX, PRESET_TEXT_MAX - 1);
    else
        preset->arg_count++;
}

static uint64_t read_count(struct import_entry *entry, uint32_t line, const char *flag,
                           const char *value)
{
    uint64_t number = 0;

    if (strcmp(value, "-1") != 0 && /* the engine's own choice */
        dgo_u64_parse(value, flag, 0, UINT32_MAX, &number, NULL) != DGO_OK)
        import_note(entry, line, "not kept: %s '%.40s' is no count", flag, value);
    return number;
}

/* A count that is an option by itself; 0 stands for the engine's default. */
static void set_count(struct import_entry *entry, uint32_t line, enum option_id id,
                      const char *flag, const char *value)
{
    if (read_count(entry, line, flag, value))
        import_set(entry, line, id, value);
}

static uint32_t count_shares(const char *list)
{
    uint32_t count = 0;

    for (const char *at = list; *at; at += strcspn(at, ",/"), at += *at != '\0')
        count += strtod(at, NULL) > 0;
    return count;
}

static void take_devices(struct import_entry *entry, uint32_t line, const char *flag,
                         const char *value)
{
    if (strcmp(value, "none") != 0 &&
        !import_numbers(value, true, entry->device, &entry->device_count))
        import_note(entry, line, "not kept: %s %s; name the cards with --use", flag, value);
}

/* `value` is not NULL where the flag takes one. */
static void take_flag(struct import_entry *entry, uint32_t line, enum dgo_flag_about about,
                      const char *flag, const char *value)
{
    const bool off = value && (strcmp(value, "off") == 0 || strcmp(value, "0") == 0 ||
                               strcmp(value, "false") == 0);

    switch (about) {
    case DGO_FLAG_MODEL:
        take_model(entry, line, value);
        break;
    case DGO_FLAG_CTX:
        entry->ctx_tokens = read_count(entry, line, flag, value);
        break;
    case DGO_FLAG_SLOTS:
        entry->slots = read_count(entry, line, flag, value);
        break;
    case DGO_FLAG_BATCH:
        set_count(entry, line, OPTION_BATCH, flag, value);
        break;
    case DGO_FLAG_UBATCH:
        set_count(entry, line, OPTION_UBATCH, flag, value);
        break;
    case DGO_FLAG_THREADS:
        set_count(entry, line, OPTION_THREADS, flag, value);
        break;
    case DGO_FLAG_PORT:
        set_count(entry, line, OPTION_PORT, flag, value);
        break;
    case DGO_FLAG_HOST:
        if (strcmp(value, "127.0.0.1") != 0)
            import_set(entry, line, OPTION_HOST, value);
        break;
    case DGO_FLAG_FLASH_ATTENTION:
        if (off)
            import_set(entry, line, OPTION_NO_FLASH_ATTENTION, "true");
        break;
    case DGO_FLAG_KEY_TYPE:
        (void)dgo_text_copy(entry->key_type, sizeof entry->key_type, value);
        break;
    case DGO_FLAG_VALUE_TYPE:
        (void)dgo_text_copy(entry->value_type, sizeof entry->value_type, value);
        break;
    case DGO_FLAG_DEVICE:
        take_devices(entry, line, flag, value);
        break;
    case DGO_FLAG_ELSEWHERE:
        import_lost(entry, line,
                    "%s %s: the engine would fetch the model; fetch it once and give its path "
                    "with -m",
                    flag, value ? value : "");
        break;
    case DGO_FLAG_SHARES:
        entry->share_count = count_shares(value);
        __attribute__((fallthrough));
    case DGO_FLAG_PLACES:
        dgo_text_addf(&entry->planned_text, "%s%s%s%.40s", entry->planned_text.length ? ", " : "",
                      flag, value ? " " : "", value ? value : "");
        break;
    case DGO_FLAG_SET:
        break;
    case DGO_FLAG_OWN:
        keep_word(entry, line, flag);
        if (value)
            keep_word(entry, line, value);
        break;
    }
}

bool import_flag(struct import_entry *entry, uint32_t line, const char *flag, const char *value)
{
    enum dgo_flag_about about;
    uint32_t values;

    if (!dgo_flag_look(flag, &about, &values)) {
        if (flag[0] == '-')
            import_note(entry, line,
                        "%s is no flag of llama-server that is known here; kept as it "
                        "stands",
                        flag);
        keep_word(entry, line, flag);
        return false;
    }
    /* -fa took no value once, and stands before another flag then. */
    if (about == DGO_FLAG_FLASH_ATTENTION && (!value || value[0] == '-'))
        return false;
    if (values && !value) {
        import_lost(entry, line, "%s needs a value", flag);
        return false;
    }
    take_flag(entry, line, about, flag, values ? value : NULL);
    return values > 0;
}

/* ---- commands ---- */

/* Flags of the engines that name their model and cards by words of their own. */
static const struct {
    const char *engine, *spellings;
    int option; /* -1: the model */
} engine_flags[] = {
    {"vllm", "--model", -1},
    {"vllm", "--max-model-len", OPTION_CTX},
    {"vllm", "--max-num-seqs", OPTION_PARALLEL},
    {"vllm", "--tensor-parallel-size -tp", OPTION_TENSOR_PARALLEL},
    {"vllm", "--pipeline-parallel-size -pp", OPTION_PIPELINE_PARALLEL},
    {"vllm", "--gpu-memory-utilization", OPTION_MEMORY_SHARE},
    {"vllm", "--max-num-batched-tokens", OPTION_BATCH},
    {"vllm", "--kv-cache-dtype", OPTION_KV_TYPE},
    {"vllm", "--host", OPTION_HOST},
    {"vllm", "--port", OPTION_PORT},
    {"sglang", "--model-path --model", -1},
    {"sglang", "--context-length", OPTION_CTX},
    {"sglang", "--max-running-requests", OPTION_PARALLEL},
    {"sglang", "--tp --tp-size --tensor-parallel-size", OPTION_TENSOR_PARALLEL},
    {"sglang", "--pp --pp-size --pipeline-parallel-size", OPTION_PIPELINE_PARALLEL},
    {"sglang", "--mem-fraction-static", OPTION_MEMORY_SHARE},
    {"sglang", "--chunked-prefill-size", OPTION_BATCH},
    {"sglang", "--kv-cache-dtype", OPTION_KV_TYPE},
    {"sglang", "--host", OPTION_HOST},
    {"sglang", "--port", OPTION_PORT},
};

static bool is_among(const char *word, const char *spellings)
{
    const size_t length = strlen(word);

    for (const char *at = spellings; *at; at += strspn(at, " ")) {
        const size_t one = strcspn(at, " ");

        if (one == length && memcmp(at, word, length) == 0)
            return true;
        at += one;
    }
    return false;
}

/* Takes words[*at] with its value where the engine's table knows it. */
static bool take_engine_flag(struct import_entry *entry, uint32_t line, const char *const *words,
                             uint32_t count, uint32_t *at)
{
    for (size_t i = 0; i < sizeof engine_flags / sizeof engine_flags[0]; i++) {
        const char *value = *at + 1 < count ? words[*at + 1] : NULL;

        if (strcmp(engine_flags[i].engine, entry->engine->name) != 0 ||
            !is_among(words[*at], engine_flags[i].spellings) || !value)
            continue;
        if (engine_flags[i].option < 0)
            take_model(entry, line, value);
        else if (strcmp(value, "0") != 0)
            import_set(entry, line, (enum option_id)engine_flags[i].option, value);
        *at += 2;
        return true;
    }
    return false;
}

static void other_command(struct import_entry *entry, uint32_t line, const char *const *words,
                          uint32_t count)
{
    uint32_t at = 0;

    if (strcmp(entry->engine->name, "vllm") != 0 && strcmp(entry->engine->name, "sglang") != 0) {
        import_lost(entry, line,
                    "the flags of %s are not read; keep it with `presets save NAME MODEL --engine "
                    "%s`",
                    entry->engine->name, entry->engine->name);
        return;
    }
    if (at < count && strcmp(words[at], "serve") == 0)
        at++;
    if (at < count && words[at][0] != '-')
        take_model(entry, line, words[at++]);
    while (at < count)
        if (!take_engine_flag(entry, line, words, count, &at))
            keep_word(entry, line, words[at++]);
}

/* A program that is no engine may do anything: it is not guessed at. */
static bool take_program(struct import_entry *entry, uint32_t line, const char *program)
{
    const char *slash = strrchr(program, '/');
    const char *base = slash ? slash + 1 : program;
    const struct dgo_engine *engine = dgo_engine_find(base);
    char path[PATH_MAX];

    if (!engine && strncmp(base, "llama-server", 12) == 0)
        engine = dgo_engines[0];
    if (!engine) {
        import_lost(entry, line,
                    "its command starts %.60s, which is no engine known here (containers and "
                    "scripts are not looked into)",
                    program);
        return false;
    }
    entry->engine = engine;
    if (slash && take_path(entry, program, path, sizeof path))
        import_set(entry, line, OPTION_ENGINE, path);
    else if (engine != dgo_engines[0])
        import_set(entry, line, OPTION_ENGINE, engine->name);
    return true;
}

void import_command(struct import_entry *entry, uint32_t line, const char *const *words,
                    uint32_t count)
{
    uint32_t at = 0;

    if (count && strcmp(words[0], "env") == 0)
        at++;
    while (at < count && words[at][0] != '-' && words[at][0] != '/' && strchr(words[at], '='))
        import_variable(entry, line, words[at++]);
    if (at == count) {
        import_lost(entry, line, "its command is empty");
        return;
    }
    if (!take_program(entry, line, words[at++]))
        return;
    if (!entry->engine->read_flags) {
        other_command(entry, line, words + at, count - at);
        return;
    }
    while (at < count && !entry->lost) {
        const char *value = at + 1 < count ? words[at + 1] : NULL;

        at += import_flag(entry, line, words[at], value) ? 2 : 1;
    }
}
