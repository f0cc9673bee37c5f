/* ranked_read.c - reading what Python engines print: versions, options, numbers in log lines. */
#include "ranked.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dgo_units.h"

uint32_t dgo_engine_version(const char *text)
{
    for (const char *at = text; *at; at++) {
        uint32_t part[3] = {0};
        int count = 0;
        const char *digit = at;

        if (!isdigit((unsigned char)*at) ||
            (at > text && (isalnum((unsigned char)at[-1]) || at[-1] == '.') && at[-1] != 'v'))
            continue;
        while (count < 3 && isdigit((unsigned char)*digit)) {
            while (isdigit((unsigned char)*digit) && part[count] < 1000)
                part[count] = part[count] * 10 + (uint32_t)(*digit++ - '0');
            count++;
            if (*digit != '.' || !isdigit((unsigned char)digit[1]))
                break;
            digit++;
        }
        if (count >= 2 && part[0] < 1000 && part[1] < 1000 && part[2] < 1000)
            return DGO_ENGINE_VERSION(part[0], part[1], part[2]);
    }
    return 0;
}

static int by_text(const void *a, const void *b)
{
    return strcmp(a, b);
}

static bool is_flag_character(char c)
{
    return isalnum((unsigned char)c) || c == '-' || c == '_';
}

/* "[--host HOST]", "  -tp, --tensor-parallel-size N": a dash at the start of a word. */
static void read_help(struct dgo_probe *probe, const char *help)
{
    for (const char *at = help; *at && probe->flag_count < DGO_FLAG_MAX; at++) {
        size_t length = 0;

        if (*at != '-' || (at > help && !strchr(" \t\n[(,|{\"'`", at[-1])))
            continue;
        while (is_flag_character(at[length]))
            length++;
        if (length > 1 && length < DGO_FLAG_TEXT_MAX && at[1] != '\0' &&
            (isalpha((unsigned char)at[1]) || (at[1] == '-' && isalpha((unsigned char)at[2])))) {
            memcpy(probe->flag[probe->flag_count], at, length);
            probe->flag[probe->flag_count++][length] = '\0';
        }
        at += length ? length - 1 : 0;
    }
}

void ranked_read_probe(struct dgo_probe *probe, const char *version_output, const char *help_output)
{
    uint32_t kept = 0;

    memset(probe, 0, sizeof *probe);
    /* Warnings of libraries come first; the version stands on a line of its own. */
    for (const char *line = version_output; *line && !probe->build;) {
        const size_t length = strcspn(line, "\r\n");
        char copy[128];

        snprintf(copy, sizeof copy, "%.*s", (int)(length < 120 ? length : 120), line);
        if (length < 64 && !strstr(copy, "WARN") && !strstr(copy, "INFO")) {
            probe->build = dgo_engine_version(copy);
            if (probe->build)
                dgo_text_copy_escaped(probe->version, sizeof probe->version, line, length);
        }
        line += length + (line[length] != '\0');
    }
    read_help(probe, help_output);
    qsort(probe->flag, probe->flag_count, sizeof probe->flag[0], by_text);
    for (uint32_t i = 0; i < probe->flag_count; i++)
        if (kept == 0 || strcmp(probe->flag[kept - 1], probe->flag[i]) != 0)
            memmove(probe->flag[kept++], probe->flag[i], sizeof probe->flag[0]);
    memset(probe->flag[kept], 0, (probe->flag_count - kept) * sizeof probe->flag[0]);
    probe->flag_count = kept;
}

void ranked_extra(struct command_builder *builder, const struct dgo_launch_options *options,
                  const char *const *decided)
{
    for (uint32_t i = 0; i < options->extra_count && builder->status == DGO_OK; i++) {
        const char *arg = options->extra_args[i];

        for (const char *const *flag = decided; *flag; flag++) {
            const size_t length = strlen(*flag);

            if (strncmp(arg, *flag, length) == 0 && (arg[length] == '\0' || arg[length] == '=')) {
                builder->status = dgo_fail(
                    builder->err, DGO_EUSAGE,
                    "%s after -- is decided by the plan and would make it untrue; use this "
                    "program's own option",
                    *flag);
                return;
            }
        }
        build_word(builder, arg, i == 0 ? "given by the user" : NULL);
    }
}

struct dgo_report_device *ranked_device(struct dgo_report *report, uint32_t number)
{
    char name[32];

    snprintf(name, sizeof name, "CUDA%u", (unsigned)number);
    for (uint32_t d = 0; d < report->device_count; d++)
        if (strcmp(report->device[d].name, name) == 0)
            return &report->device[d];
    if (report->device_count == sizeof report->device / sizeof report->device[0] ||
        number >= DGO_GPU_MAX)
        return NULL;
    memcpy(report->device[report->device_count].name, name, sizeof name);
    return &report->device[report->device_count++];
}

void ranked_set(struct dgo_report_device *device, enum dgo_buffer_kind kind, double gib)
{
    if (!device || !(gib >= 0) || gib > 1e6)
        return;
    device->known |= UINT64_C(1) << kind;
    device->bytes[kind] = (uint64_t)(gib * (double)DGO_GIB);
}

void ranked_line(char *copy, size_t size, const char *line, size_t length)
{
    snprintf(copy, size, "%.*s", (int)(length < size ? length : size - 1), line);
}

void ranked_trouble(struct dgo_report *report, enum dgo_trouble trouble, const char *line)
{
    if (report->trouble != DGO_TROUBLE_NONE)
        return;
    report->trouble = trouble;
    dgo_text_copy_escaped(report->trouble_line, sizeof report->trouble_line, line, strlen(line));
}

enum dgo_trouble ranked_oom(const struct dgo_report *report)
{
    return report->listening      ? DGO_TROUBLE_OOM_RUNTIME
           : report->model_loaded ? DGO_TROUBLE_OOM_COMPUTE
                                  : DGO_TROUBLE_OOM_WEIGHTS;
}

bool ranked_number(const char *line, const char *after, double *number)
{
    const char *at = strstr(line, after);
    char digits[32];
    size_t used = 0;

    if (!at)
        return false;
    at += strlen(after);
    at += strspn(at, " =:");
    for (; used + 1 < sizeof digits && (isdigit((unsigned char)*at) || *at == '.' || *at == ',');
         at++)
        if (*at != ',')
            digits[used++] = *at;
        else if (!isdigit((unsigned char)at[1]))
            break;
    digits[used] = '\0';
    if (used == 0 || digits[0] == '.')
        return false;
    *number = strtod(digits, NULL);
    return true;
}
