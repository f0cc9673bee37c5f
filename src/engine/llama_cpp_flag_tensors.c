/* llama_cpp_flag_tensors.c - -ot and its relatives: patterns of tensor names with where they go;
 * files of adapters, which come in lists, too. */
#include "llama_cpp_flags.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The rows that a flag adds to. */
struct flag_overrides {
    struct dgo_override *row;
    uint32_t *count;
};

/* Room for a text in the flags, terminator included; NULL: full. */
static char *take_text(struct flag_reader *reader, size_t size)
{
    struct dgo_flags *flags = reader->flags;
    char *text = flags->text + flags->text_length;

    if (size > sizeof flags->text - flags->text_length)
        return NULL;
    flags->text_length += (uint32_t)size;
    return text;
}

static enum dgo_status too_much(const struct flag_reader *reader, const char *flag)
{
    return dgo_fail(reader->err, DGO_ELIMIT,
                    "%s: more patterns than %d, or more text than %d bytes; join patterns by |",
                    flag, DGO_OVERRIDE_MAX, DGO_PATTERN_TEXT_MAX);
}

static enum dgo_status add_override(struct flag_reader *reader, const char *flag,
                                    struct flag_overrides *list, const char *pattern,
                                    int32_t device)
{
    if (!pattern || *list->count == DGO_OVERRIDE_MAX)
        return too_much(reader, flag);
    list->row[(*list->count)++] = (struct dgo_override){.pattern = pattern, .device = device};
    return DGO_OK;
}

/* The model's, or the draft's. */
static struct flag_overrides overrides_of(struct flag_reader *reader, bool of_draft)
{
    struct dgo_flags *flags = reader->flags;
    struct dgo_settings *settings = of_draft ? &flags->draft : &flags->settings;
    struct dgo_override *row = of_draft ? flags->draft_override : flags->override;

    settings->override = row;
    return (struct flag_overrides){.row = row, .count = &settings->override_count};
}

static const char *keep_text(struct flag_reader *reader, const char *text, size_t length)
{
    char *kept = take_text(reader, length + 1);

    if (kept) {
        memcpy(kept, text, length);
        kept[length] = '\0';
    }
    return kept;
}

static enum dgo_status no_such_buffer(const struct flag_reader *reader, const char *flag,
                                      const char *type, size_t length)
{
    char names[DGO_GPU_MAX * LLAMA_BUFFER_NAME_MAX];
    struct dgo_text text = DGO_TEXT(names);
    char shown[64];

    for (uint32_t i = 0; i < reader->visible_count; i++) {
        char name[LLAMA_BUFFER_NAME_MAX];

        flag_buffer_name(reader, i, name);
        dgo_text_addf(&text, ", %s", name);
    }
    dgo_text_copy_escaped(shown, sizeof shown, type, length);
    return dgo_fail(reader->err, DGO_EUSAGE,
                    "%s names the buffer type '%s'; the engine has CPU%s here, spelt like this",
                    flag, shown, names);
}

/* The device's place is settled later: until then the card's index stands for it. */
static enum dgo_status one_override(struct flag_reader *reader, const char *flag,
                                    struct flag_overrides *list, const char *text, size_t length)
{
    const char *equals = memchr(text, '=', length);
    const size_t pattern_length = equals ? (size_t)(equals - text) : 0;
    const char *type = text + pattern_length + 1;
    const size_t type_length = equals ? length - pattern_length - 1 : 0;
    int32_t device = DGO_OVERRIDE_HOST;
    uint32_t gpu = 0;

    if (type_length == 0)
        return flag_bad_value(reader, flag, text, "PATTERN=BUFFER, like \\.ffn_.*_exps=CPU");
    if (flag_buffer_named(reader, type, type_length, &gpu))
        device = (int32_t)gpu;
    else if (type_length != 3 || memcmp(type, "CPU", 3) != 0)
        return no_such_buffer(reader, flag, type, type_length);
    return add_override(reader, flag, list, keep_text(reader, text, pattern_length), device);
}

/* Experts that were sent to the host before are patterns, too, and the first that fits wins. */
static enum dgo_status list_experts(struct flag_reader *reader, const char *flag,
                                    struct flag_overrides *list, bool of_draft)
{
    static const char part[] = "\\.ffn_(up|down|gate|gate_up)_(ch|)exps";
    enum { NUMBER_SIZE = 4, FRAME_SIZE = 16 }; /* "511|", "blk\\.()" */
    const uint32_t count = of_draft ? reader->flags->draft.cpu_moe_layer_count
                                    : reader->flags->settings.cpu_moe_layer_count;
    const bool all = count >= DGO_LAYER_MAX;
    const size_t size = (all ? 0 : count * NUMBER_SIZE) + FRAME_SIZE + sizeof part;
    char *pattern;

    if (count <= reader->experts_listed[of_draft])
        return DGO_OK;
    reader->experts_listed[of_draft] = count;
    pattern = take_text(reader, size);
    if (pattern) {
        struct dgo_text text = {.data = pattern, .size = size};

        for (uint32_t l = 0; l < count && !all; l++)
            dgo_text_addf(&text, "%s%u", l == 0 ? "blk\\.(" : "|", (unsigned)l);
        dgo_text_addf(&text, "%s%s", all ? "" : ")", part);
    }
    return add_override(reader, flag, list, pattern, DGO_OVERRIDE_HOST);
}

/* "PATTERN=BUFFER,PATTERN=BUFFER": the engine, too, splits at every comma. */
enum dgo_status flag_override(struct flag_reader *reader, const char *flag, const char *value,
                              bool of_draft)
{
    struct flag_overrides list = overrides_of(reader, of_draft);
    enum dgo_status status = list_experts(reader, flag, &list, of_draft);

    for (const char *at = value; status == DGO_OK;) {
        const size_t length = strcspn(at, ",");

        status = one_override(reader, flag, &list, at, length);
        if (!at[length])
            break;
        at += length + 1;
    }
    return status;
}

/* Given again, the layers of both. */
enum dgo_status flag_cpu_experts(struct flag_reader *reader, const char *flag, const char *value,
                                 bool of_draft)
{
    struct dgo_settings *settings = of_draft ? &reader->flags->draft : &reader->flags->settings;
    int64_t count = 0;
    const enum dgo_status status = flag_number(reader, flag, value, 0, INT32_MAX, &count);

    count = count < DGO_LAYER_MAX ? count : DGO_LAYER_MAX;
    if (status == DGO_OK && count > settings->cpu_moe_layer_count)
        settings->cpu_moe_layer_count = (uint32_t)count;
    return status;
}

/* As the engine does, a pattern for each layer; more than the model has find nothing. */
enum dgo_status flag_cpu_ffn(struct flag_reader *reader, const char *flag, const char *value)
{
    struct flag_overrides list = overrides_of(reader, false);
    int64_t count = 0;
    enum dgo_status status = flag_number(reader, flag, value, 0, INT32_MAX, &count);

    for (int64_t l = 0; l < count && l < (int64_t)reader->source->model->layer_count && !status;
         l++) {
        enum { SIZE = 64 };
        char *pattern = take_text(reader, SIZE);

        if (pattern)
            snprintf(pattern, SIZE, "blk\\.%d\\.ffn_(up|down|gate)\\.", (int)l);
        status = add_override(reader, flag, &list, pattern, DGO_OVERRIDE_HOST);
    }
    return status;
}

/* "FILE,FILE", or with a scale behind each, "FILE:0.5,FILE:1", which changes no memory. */
enum dgo_status flag_adapters(struct flag_reader *reader, const char *flag, const char *value,
                              bool scaled)
{
    struct dgo_flags *flags = reader->flags;

    for (const char *at = value;;) {
        const size_t length = strcspn(at, ","), name = scaled ? strcspn(at, ":,") : length;
        char *end = NULL;

        if (scaled && name < length)
            (void)strtof(at + name + 1, &end);
        if (name == 0 || (scaled && (name == length || end == at + name + 1 ||
                                     memchr(at + name + 1, ':', length - name - 1))))
            return flag_bad_value(reader, flag, value,
                                  scaled ? "FILE:SCALE,FILE:SCALE" : "FILE,FILE");
        if (flags->adapter_count == DGO_ADAPTER_MAX)
            return dgo_fail(reader->err, DGO_ELIMIT,
                            "%s: more than %d adapters; give the largest ones", flag,
                            DGO_ADAPTER_MAX);
        flags->adapter[flags->adapter_count] = keep_text(reader, at, name);
        if (!flags->adapter[flags->adapter_count++])
            return too_much(reader, flag);
        if (!at[length])
            return DGO_OK;
        at += length + 1;
    }
}
