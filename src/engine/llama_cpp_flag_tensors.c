/* llama_cpp_flag_tensors.c - -ot and its relatives: patterns of tensor names with where they go. */
#include "llama_cpp_flags.h"

#include <stdio.h>
#include <string.h>

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
                    "%s: more patterns than %d, or more text than %d bytes", flag, DGO_OVERRIDE_MAX,
                    DGO_PATTERN_TEXT_MAX);
}

static enum dgo_status add_override(struct flag_reader *reader, const char *flag,
                                    const char *pattern, int32_t device)
{
    struct dgo_settings *settings = &reader->flags->settings;

    if (!pattern || settings->override_count == DGO_OVERRIDE_MAX)
        return too_much(reader, flag);
    reader->flags->override[settings->override_count++] =
        (struct dgo_override){.pattern = pattern, .device = device};
    settings->override = reader->flags->override;
    return DGO_OK;
}

/* The engine's patterns are ECMAScript's.  What POSIX has in other words is written in those; what
 * it has not got is refused rather than read wrongly. */
static const char *posix_pattern(struct flag_reader *reader, const char *flag, const char *from,
                                 size_t length)
{
    enum { WIDEST = 16 }; /* bytes that one escape becomes */
    char made[1024];
    struct dgo_text text = DGO_TEXT(made);
    char *kept;

    if (length >= sizeof made / WIDEST) {
        (void)!dgo_fail(reader->err, DGO_ELIMIT, "%s: a pattern of %zu bytes", flag, length);
        return NULL;
    }
    for (size_t i = 0; i < length; i++) {
        const char next = i + 1 < length ? from[i + 1] : '\0';
        const char *as = NULL;

        if (from[i] == '\\') {
            as = next == 'd' ? "[0-9]" : next == 'w' ? "[A-Za-z0-9_]" : next == 's' ? "[ ]" : NULL;
            if (!as && ((next >= 'a' && next <= 'z') || (next >= 'A' && next <= 'Z') ||
                        (next >= '1' && next <= '9')))
                goto refused;
            if (as)
                dgo_text_addf(&text, "%s", as);
            else
                dgo_text_addf(&text, "\\%c", next);
            i++;
        } else if (from[i] == '(' && next == '?') {
            if (i + 2 >= length || from[i + 2] != ':')
                goto refused;
            dgo_text_addf(&text, "(");
            i += 2;
        } else if (next == '?' && (from[i] == '*' || from[i] == '+' || from[i] == '?')) {
            dgo_text_addf(&text, "%c", from[i]); /* lazy or greedy: found is found */
            i++;
        } else {
            dgo_text_addf(&text, "%c", from[i]);
        }
    }
    kept = take_text(reader, strlen(made) + 1);
    if (!kept)
        (void)!too_much(reader, flag);
    else
        memcpy(kept, made, strlen(made) + 1);
    return kept;
refused:
    dgo_text_copy_escaped(made, 64, from, length);
    (void)!dgo_fail(reader->err, DGO_EUNSUPPORTED,
                    "%s: the pattern '%s' uses what is not read here; write it with letters, dots, "
                    "lists and groups",
                    flag, made);
    return NULL;
}

/* Whether a buffer type is host memory: CPU, CUDA_Host, CPU_REPACK. */
static bool is_host(const char *type, size_t length)
{
    static const char ending[] = "_Host";

    return (length >= 3 && memcmp(type, "CPU", 3) == 0) ||
           (length > sizeof ending - 1 &&
            memcmp(type + length - (sizeof ending - 1), ending, sizeof ending - 1) == 0);
}

/* The device's place is settled later: until then the card's index stands for it. */
static enum dgo_status one_override(struct flag_reader *reader, const char *flag, const char *text,
                                    size_t length)
{
    const char *equals = memrchr(text, '=', length);
    const size_t pattern_length = equals ? (size_t)(equals - text) : 0;
    const char *type = text + pattern_length + 1;
    const size_t type_length = equals ? length - pattern_length - 1 : 0;
    int32_t device = DGO_OVERRIDE_HOST;
    const char *pattern;
    uint32_t gpu = 0;
    char shown[64];

    if (pattern_length == 0 || type_length == 0)
        return flag_bad_value(reader, flag, text, "PATTERN=BUFFER, like \\.ffn_.*_exps=CPU");
    if (flag_gpu_named(reader, type, type_length, &gpu)) {
        device = (int32_t)gpu;
    } else if (!is_host(type, type_length)) {
        dgo_text_copy_escaped(shown, sizeof shown, type, type_length);
        return dgo_fail(reader->err, DGO_EUSAGE,
                        "%s names the buffer type '%s'; there are CPU and the devices' names", flag,
                        shown);
    }
    pattern = posix_pattern(reader, flag, text, pattern_length);
    return pattern ? add_override(reader, flag, pattern, device)
                   : (reader->err ? reader->err->status : DGO_EUSAGE);
}

/* "PATTERN=BUFFER,PATTERN=BUFFER": the engine, too, splits at every comma. */
enum dgo_status flag_override(struct flag_reader *reader, const char *flag, const char *value)
{
    for (const char *at = value;;) {
        const size_t length = strcspn(at, ",");
        const enum dgo_status status = one_override(reader, flag, at, length);

        if (status != DGO_OK || !at[length])
            return status;
        at += length + 1;
    }
}

enum dgo_status flag_cpu_ffn(struct flag_reader *reader, const char *flag, const char *value)
{
    int64_t count = 0;
    enum dgo_status status =
        flag_number(reader, flag, value, 0, reader->source->model->layer_count, &count);

    for (int64_t l = 0; l < count && status == DGO_OK; l++) {
        enum { SIZE = 64 };
        char *pattern = take_text(reader, SIZE);

        if (pattern)
            snprintf(pattern, SIZE, "blk\\.%d\\.ffn_(up|down|gate)\\.", (int)l);
        status = add_override(reader, flag, pattern, DGO_OVERRIDE_HOST);
    }
    return status;
}
