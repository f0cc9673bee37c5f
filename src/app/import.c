/* import.c - one launch of another tool as a preset: its name, its environment, what is settled
 * when all has been read. */
#include "import_entry.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

bool import_kind_of(const char *path, enum import_kind *kind)
{
    const char *dot = strrchr(path, '.');

    *kind = dot && strcasecmp(dot, ".ini") == 0 ? IMPORT_LLAMA_PRESET : IMPORT_LLAMA_SWAP;
    return dot && (*kind == IMPORT_LLAMA_PRESET || strcasecmp(dot, ".yaml") == 0 ||
                   strcasecmp(dot, ".yml") == 0);
}

enum dgo_status import_read(const struct import_call *call, struct dgo_error *err)
{
    return call->kind == IMPORT_LLAMA_PRESET ? import_llama_preset(call, err)
                                             : import_llama_swap(call, err);
}

/* ---- telling ---- */

static void tell(struct import_entry *entry, uint32_t line, bool lost, const char *fmt,
                 va_list args)
{
    char sentence[DGO_ERROR_TEXT_MAX], shown[DGO_ERROR_TEXT_MAX];

    (void)vsnprintf(sentence, sizeof sentence, fmt, args);
    dgo_text_copy_escaped(shown, sizeof shown, sentence, strlen(sentence));
    entry->call->note(entry->name, line, lost, shown, entry->call->data);
}

void import_note(struct import_entry *entry, uint32_t line, const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    tell(entry, line, false, fmt, args);
    va_end(args);
}

void import_lost(struct import_entry *entry, uint32_t line, const char *fmt, ...)
{
    va_list args;

    if (entry->lost)
        return; /* the first reason is enough */
    va_start(args, fmt);
    tell(entry, line, true, fmt, args);
    va_end(args);
    entry->lost = true;
}

/* ---- names and paths ---- */

void import_name(const char *name, char to[PRESET_NAME_MAX])
{
    size_t length = 0;

    for (const char *at = name; *at && length + 1 < PRESET_NAME_MAX; at++) {
        const bool good = isalnum((unsigned char)*at) || strchr("._-", *at);

        if (length || isalnum((unsigned char)*at))
            to[length++] = good ? *at : '-';
    }
    to[length] = '\0';
}

static void take_name(struct import_entry *entry, const char *name)
{
    const char *to = entry->preset->name;

    import_name(name, entry->preset->name);
    if (!to[0])
        import_lost(entry, entry->line, "its name has no letter or digit that a file's name takes");
    else if (strcmp(to, name) != 0 && preset_add_alias(entry->preset, name, NULL) == DGO_OK)
        import_note(entry, entry->line,
                    "the preset is called %s; clients may go on asking by the name it had", to);
    else if (strcmp(to, name) != 0)
        import_note(entry, entry->line, "the preset is called %s", to);
}

struct import_entry *import_begin(const struct import_call *call, const char *name, uint32_t line)
{
    struct import_entry *entry = calloc(1, sizeof *entry);

    if (entry)
        entry->preset = calloc(1, sizeof *entry->preset);
    if (!entry || !entry->preset) {
        free(entry);
        return NULL;
    }
    entry->call = call;
    entry->line = line;
    entry->engine = dgo_engines[0];
    entry->planned_text = DGO_TEXT(entry->planned);
    dgo_text_copy_escaped(entry->name, sizeof entry->name, name, strlen(name));
    take_name(entry, name);
    return entry;
}

/* ---- shared with the commands ---- */

void import_set(struct import_entry *entry, uint32_t line, enum option_id id, const char *text)
{
    struct dgo_error err = {0};

    if (preset_set(entry->preset, id, text, &err) != DGO_OK)
        import_note(entry, line, "not kept: %s", err.text);
}

bool import_numbers(const char *list, bool named, uint32_t numbers[DGO_GPU_MAX], uint32_t *count)
{
    *count = 0;
    for (const char *at = list; *at;) {
        const size_t letters = named ? strspn(at, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrs"
                                                  "tuvwxyz")
                                     : 0;
        char *end;
        const unsigned long number = strtoul(at + letters, &end, 10);

        if (*count == DGO_GPU_MAX || !isdigit((unsigned char)at[letters]) || number > 255 ||
            (*end && *end != ',') || (named && (!letters || strncmp(at, "RPC", 3) == 0)))
            return false;
        numbers[(*count)++] = (uint32_t)number;
        at = end + (*end == ',');
    }
    return *count > 0;
}

/* ---- environment ---- */

void import_variable(struct import_entry *entry, uint32_t line, const char *variable)
{
    static const char *const ours[] = {"GGML_NO_BACKTRACE", "PYTORCH_CUDA_ALLOC_CONF"};
    const char *equals = strchr(variable, '=');
    const size_t length = equals ? (size_t)(equals - variable) : 0;
    char name[64];

    if (!equals || length == 0 || length >= sizeof name) {
        import_note(entry, line, "not kept: '%.60s' is not NAME=value", variable);
        return;
    }
    snprintf(name, sizeof name, "%.*s", (int)length, variable);
    if (strcmp(name, "CUDA_DEVICE_ORDER") == 0) {
        entry->bus_order = strcmp(equals + 1, "PCI_BUS_ID") == 0;
        return;
    }
    if (strcmp(name, "CUDA_VISIBLE_DEVICES") == 0 || strcmp(name, "HIP_VISIBLE_DEVICES") == 0) {
        entry->visible_given =
            import_numbers(equals + 1, false, entry->visible, &entry->visible_count);
        if (!entry->visible_given)
            import_note(entry, line, "not kept: %s names no indexes; give the cards with --use",
                        variable);
        entry->bus_order |= name[0] == 'H';
        return;
    }
    for (size_t i = 0; i < sizeof ours / sizeof ours[0]; i++)
        if (strcmp(name, ours[i]) == 0)
            return;
    /* Its value may be a secret. */
    import_note(entry, line, "not kept: the variable %s; set it where dualgpuopt is started", name);
}

/* ---- settling ---- */

static void settle_cards(struct import_entry *entry)
{
    char list[DGO_GPU_MAX * 4];
    struct dgo_text text = DGO_TEXT(list);
    const uint32_t count = entry->device_count ? entry->device_count : entry->visible_count;

    for (uint32_t i = 0; i < count; i++) {
        uint32_t gpu = entry->device_count ? entry->device[i] : entry->visible[i];

        if (entry->device_count && entry->visible_given) {
            if (gpu >= entry->visible_count) {
                import_note(entry, entry->line,
                            "not kept: the cards, of which -dev names one that "
                            "the environment hides");
                return;
            }
            gpu = entry->visible[gpu];
        }
        dgo_text_addf(&text, "%s%" PRIu32, i ? "," : "", gpu);
    }
    if (!count)
        return;
    import_set(entry, entry->line, OPTION_USE, list);
    if (!entry->bus_order)
        import_note(entry, entry->line,
                    "--use %s counts cards by bus, CUDA by speed unless CUDA_DEVICE_ORDER says "
                    "otherwise: compare with `dualgpuopt gpus`",
                    list);
}

static void settle_context(struct import_entry *entry)
{
    const uint64_t slots = entry->slots ? entry->slots : 1;
    char number[24];

    if (entry->slots) {
        snprintf(number, sizeof number, "%" PRIu64, entry->slots);
        import_set(entry, entry->line, OPTION_PARALLEL, number);
    }
    if (entry->ctx_tokens) { /* theirs is of all slots together */
        snprintf(number, sizeof number, "%" PRIu64, entry->ctx_tokens / slots);
        import_set(entry, entry->line, OPTION_CTX, number);
    }
}

static void settle_cache(struct import_entry *entry)
{
    const char *key = entry->key_type[0] ? entry->key_type : entry->value_type[0] ? "f16" : NULL;
    const char *value = entry->value_type[0] ? entry->value_type : "f16";

    if (!key)
        return;
    if (strcmp(key, value) != 0)
        import_note(entry, entry->line,
                    "keys are %s and values %s there; a plan has one type: %s for both", key, value,
                    key);
    import_set(entry, entry->line, OPTION_KV_TYPE, key);
}

void import_end(struct import_entry *entry)
{
    struct preset *preset = entry->preset;

    if (!entry->lost && !preset->model[0])
        import_lost(entry, entry->line, "it names no model file");
    if (!entry->lost) {
        settle_cards(entry);
        settle_context(entry);
        settle_cache(entry);
        if (entry->share_count > 1)
            import_set(entry, entry->line, OPTION_SPREAD, "true");
        if (entry->planned_text.length)
            import_note(entry, entry->line, "planned anew: %s", entry->planned);
        if (access(preset->model, R_OK) != 0)
            import_note(entry, entry->line, "the model %s cannot be read here", preset->model);
    }
    if (!entry->lost)
        entry->call->preset(preset, entry->line, entry->call->data);
    free(preset);
    free(entry);
}
