/* llama_cpp_flag_values.c - one value of a flag each: numbers, words, shares, devices. */
#include "llama_cpp_flags.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum dgo_status flag_bad_value(const struct flag_reader *reader, const char *flag,
                               const char *value, const char *wanted)
{
    char text[64];

    dgo_text_copy_escaped(text, sizeof text, value, strlen(value));
    return dgo_fail(reader->err, DGO_EUSAGE, "%s takes %s, not '%s'", flag, wanted, text);
}

/* A whole number within [least, most].  The engine would take "12k" for 12, which nobody means. */
enum dgo_status flag_number(const struct flag_reader *reader, const char *flag, const char *value,
                            int64_t least, int64_t most, int64_t *result)
{
    long long parsed;
    char *end;

    errno = 0;
    parsed = strtoll(value, &end, 10);
    if (end != value && *end && !errno)
        return dgo_fail(reader->err, DGO_EUSAGE,
                        "%s takes a whole number, not '%.40s': the engine would read %lld; write "
                        "all of its digits",
                        flag, value, parsed);
    if (end == value || errno || parsed < least || parsed > most)
        return dgo_fail(reader->err, DGO_EUSAGE, "%s takes a number from %lld to %lld, not '%.40s'",
                        flag, (long long)least, (long long)most, value);
    *result = parsed;
    return DGO_OK;
}

enum dgo_status flag_number_u32(const struct flag_reader *reader, const char *flag,
                                const char *value, uint32_t *result)
{
    int64_t parsed = 0;
    const enum dgo_status status = flag_number(reader, flag, value, 0, INT32_MAX, &parsed);

    if (status == DGO_OK)
        *result = (uint32_t)parsed;
    return status;
}

/* The words of the engine's is_truthy and is_falsey. */
int flag_truth(const char *value)
{
    static const char *const words[2][4] = {{"off", "disabled", "false", "0"},
                                            {"on", "enabled", "true", "1"}};

    for (int truth = 0; truth < 2; truth++)
        for (int i = 0; i < 4; i++)
            if (strcmp(value, words[truth][i]) == 0)
                return truth;
    return -1;
}

enum dgo_status flag_fused(struct flag_reader *reader, const char *flag, const char *value)
{
    const int truth = flag_truth(value);

    /* auto means on wherever it suits; dgo_estimate_make finds out. */
    if (truth < 0 && strcmp(value, "auto") != 0 && strcmp(value, "-1") != 0)
        return flag_bad_value(reader, flag, value, "on, off or auto");
    reader->flags->settings.flash_attention = truth == 0 ? DGO_FA_OFF : DGO_FA_ON;
    reader->flags->settings.flash_attention_auto = truth < 0;
    return DGO_OK;
}

enum dgo_status flag_layers(struct flag_reader *reader, const char *flag, const char *value,
                            int64_t *layers)
{
    enum dgo_status status = DGO_OK;

    if (strcmp(value, "auto") == 0)
        *layers = FLAG_LAYERS_AUTO;
    else if (strcmp(value, "all") == 0)
        *layers = FLAG_LAYERS_ALL;
    else
        status = flag_number(reader, flag, value, INT32_MIN, INT32_MAX, layers);
    if (*layers < FLAG_LAYERS_ALL)
        *layers = FLAG_LAYERS_ALL;
    return status;
}

/* The CUDA and ROCm backends lost their split buffers with #24216; a model is then not loaded:
 * "device CUDA0 does not support split buffers". */
static enum dgo_status refuse_rows(const struct flag_reader *reader, const char *flag)
{
    if (reader->build == 0 || reader->build >= LLAMA_NO_ROWS_BUILD)
        return dgo_fail(reader->err, DGO_EINVAL,
                        "%s row: the engine refuses it on CUDA and ROCm cards since build %d; "
                        "-sm tensor has taken its place",
                        flag, LLAMA_NO_ROWS_BUILD);
    return dgo_fail(reader->err, DGO_EUNSUPPORTED,
                    "%s row is not computed: it was removed with build %d; use -sm layer", flag,
                    LLAMA_NO_ROWS_BUILD);
}

enum dgo_status flag_split_mode(struct flag_reader *reader, const char *flag, const char *value)
{
    if (strcmp(value, "none") == 0)
        reader->flags->settings.split_mode = DGO_SPLIT_NONE;
    else if (strcmp(value, "layer") == 0)
        reader->flags->settings.split_mode = DGO_SPLIT_LAYER;
    else if (strcmp(value, "tensor") == 0)
        reader->flags->settings.split_mode = DGO_SPLIT_TENSOR;
    else if (strcmp(value, "row") == 0)
        return refuse_rows(reader, flag);
    else
        return flag_bad_value(reader, flag, value, "none, layer, row or tensor");
    return DGO_OK;
}

/* "3,1", "3/1", "3,,1": shares apart by any run of commas and slashes. */
enum dgo_status flag_shares(struct flag_reader *reader, const char *flag, const char *value)
{
    static const char wanted[] = "shares like 3,1 (at most 15)";
    float shares[DGO_GPU_MAX] = {0};
    uint32_t count = 0;

    for (const char *at = value; *at; at += strspn(at, ",/")) {
        char *end;
        const float share = strtof(at, &end);

        if (end == at || (*end && *end != ',' && *end != '/') || !isfinite(share) || share < 0 ||
            count == LLAMA_SHARE_MAX)
            return flag_bad_value(reader, flag, value, wanted);
        shares[count++] = share;
        at = end;
    }
    if (count == 0)
        return flag_bad_value(reader, flag, value, wanted);
    memcpy(reader->flags->settings.tensor_split, shares, sizeof shares);
    reader->flags->settings.tensor_split_given = true;
    return DGO_OK;
}

bool flag_is_remote(const struct flag_reader *reader, uint32_t gpu)
{
    return reader->source->machine->gpu_node[gpu] > 0;
}

/* Remote ones are numbered over all servers. */
void flag_device_name(const struct flag_reader *reader, uint32_t place,
                      char name[LLAMA_DEVICE_NAME_MAX])
{
    uint32_t number = 0;

    if (!flag_is_remote(reader, reader->visible[place])) {
        llama_cpp_device_name(reader->source->machine, reader->visible, reader->visible_count,
                              place, name);
        return;
    }
    for (uint32_t i = 0; i < place; i++)
        number += flag_is_remote(reader, reader->visible[i]);
    snprintf(name, LLAMA_DEVICE_NAME_MAX, "RPC%u", (unsigned)number);
}

void flag_buffer_name(const struct flag_reader *reader, uint32_t place,
                      char name[LLAMA_BUFFER_NAME_MAX])
{
    const struct dgo_machine *machine = reader->source->machine;
    const uint32_t node = machine->gpu_node[reader->visible[place]];
    uint32_t number = 0;

    if (node == 0) {
        flag_device_name(reader, place, name);
        return;
    }
    for (uint32_t i = 0; i < place; i++) /* each server counts its own */
        number += machine->gpu_node[reader->visible[i]] == node;
    snprintf(name, LLAMA_BUFFER_NAME_MAX, "RPC%u[%s:%u]", (unsigned)number,
             machine->node[node].host, (unsigned)machine->node[node].port);
}

bool flag_buffer_named(const struct flag_reader *reader, const char *name, size_t length,
                       uint32_t *gpu)
{
    for (uint32_t i = 0; i < reader->visible_count; i++) {
        char candidate[LLAMA_BUFFER_NAME_MAX];

        flag_buffer_name(reader, i, candidate);
        if (strlen(candidate) == length && memcmp(candidate, name, length) == 0) {
            *gpu = reader->visible[i];
            return true;
        }
    }
    return false;
}

/* The machine that --node describes under that address; 0: none. */
static uint32_t node_at(const struct dgo_machine *machine, const char *address, size_t length)
{
    for (uint32_t n = 1; n < machine->node_count; n++) {
        char known[DGO_HOST_TEXT_MAX + 8];

        snprintf(known, sizeof known, "%s:%u", machine->node[n].host,
                 (unsigned)machine->node[n].port);
        if (strlen(known) == length && strncasecmp(known, address, length) == 0)
            return n;
    }
    return 0;
}

enum dgo_status flag_servers(struct flag_reader *reader, const char *flag, const char *value)
{
    const struct dgo_machine *machine = reader->source->machine;

    for (const char *at = value;;) {
        const size_t length = strcspn(at, ",");
        const uint32_t node = node_at(machine, at, length);
        char shown[64];

        dgo_text_copy_escaped(shown, sizeof shown, at, length);
        if (length == 0 || !memchr(at, ':', length))
            return dgo_fail(reader->err, DGO_EUSAGE, "%s takes HOST:PORT,..., not '%s'", flag,
                            shown);
        if (node == 0)
            return dgo_fail(reader->err, DGO_EUSAGE,
                            "%s names %s, whose cards are not known; describe them with "
                            "--node %s=FILE before the --",
                            flag, shown, shown);
        for (uint32_t g = 0; g < machine->gpu_count; g++) {
            if (machine->gpu_node[g] != node)
                continue;
            for (uint32_t i = 0; i < reader->visible_count; i++)
                if (reader->visible[i] == g)
                    return dgo_fail(reader->err, DGO_EUSAGE, "%s names %s twice", flag, shown);
            reader->visible[reader->visible_count++] = g;
        }
        if (!at[length])
            return DGO_OK;
        at += length + 1;
    }
}

bool flag_gpu_named(const struct flag_reader *reader, const char *name, size_t length,
                    uint32_t *gpu)
{
    for (uint32_t i = 0; i < reader->visible_count; i++) {
        char candidate[LLAMA_DEVICE_NAME_MAX];

        flag_device_name(reader, i, candidate);
        if (strlen(candidate) == length && strncasecmp(candidate, name, length) == 0) {
            *gpu = reader->visible[i];
            return true;
        }
    }
    return false;
}

static enum dgo_status no_such_device(const struct flag_reader *reader, const char *flag,
                                      const char *name, size_t length)
{
    char names[DGO_GPU_MAX * LLAMA_DEVICE_NAME_MAX + 16];
    struct dgo_text text = DGO_TEXT(names);
    char shown[LLAMA_DEVICE_NAME_MAX * 2];

    for (uint32_t i = 0; i < reader->visible_count; i++) {
        char device[LLAMA_DEVICE_NAME_MAX];

        flag_device_name(reader, i, device);
        dgo_text_addf(&text, "%s%s", i ? ", " : "", device);
    }
    dgo_text_copy_escaped(shown, sizeof shown, name, length);
    return dgo_fail(reader->err, DGO_EUSAGE, "%s names '%s'; this machine has %s, or say none",
                    flag, shown, names[0] ? names : "no GPU");
}

enum dgo_status flag_devices(struct flag_reader *reader, const char *flag, const char *value,
                             struct dgo_settings *settings)
{
    settings->device_count = 0;
    if (strcmp(value, "none") == 0)
        return DGO_OK;
    for (const char *at = value;;) {
        const size_t length = strcspn(at, ",");
        uint32_t gpu = 0;

        if (!flag_gpu_named(reader, at, length, &gpu))
            return no_such_device(reader, flag, at, length);
        for (uint32_t d = 0; d < settings->device_count; d++)
            if (settings->device_gpu[d] == gpu)
                return dgo_fail(reader->err, DGO_EUSAGE,
                                "%s names '%.*s' twice; name each card once, and give it the "
                                "greater share with -ts",
                                flag, (int)length, at);
        settings->device_gpu[settings->device_count++] = gpu;
        if (!at[length])
            return DGO_OK;
        at += length + 1;
    }
}

enum dgo_status flag_kv_type(struct flag_reader *reader, const char *flag, const char *value,
                             enum dgo_kv_type *type)
{
    struct dgo_error err = {0};

    /* The engine knows them in small letters only. */
    if (dgo_kv_type_parse(value, type, &err) != DGO_OK || strcmp(dgo_kv_type_name(*type), value))
        return flag_bad_value(reader, flag, value,
                              "f32, f16, bf16, q8_0, q4_0, q4_1, iq4_nl, q5_0 or q5_1");
    return DGO_OK;
}
