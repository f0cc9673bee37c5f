/* llama_cpp_probe.c - what a llama-server says of itself: version, flags, devices. */
#include "llama_cpp.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Both streams of the engine are captured together, so the version may follow lines about loaded
 * backends. */
static const char *version_line(const char *output)
{
    const char *found = strstr(output, "version: ");

    while (found && found != output && found[-1] != '\n')
        found = strstr(found + 1, "version: ");
    return found;
}

static uint32_t number_at(const char *at)
{
    unsigned long value;
    char *end;

    if (*at < '0' || *at > '9')
        return 0;
    value = strtoul(at, &end, 10);
    /* A part of a dotted version is no build number. */
    if (*end == '.' || value < LLAMA_BUILD_LEAST || value > UINT32_MAX)
        return 0;
    return (uint32_t)value;
}

/* Releases as their packages number them; what a shallow clone of a release says instead of a build
 * number (always 1) still names the release. */
static uint32_t release_build(const char *at)
{
    static const struct {
        const char *release;
        uint32_t build;
    } releases[] = {
        {"0.3.", 10621},
        {"0.5.", 11146},
        {"0.6.", 11429},
        {"0.7.", 11669},
    };

    for (size_t i = 0; i < sizeof releases / sizeof releases[0]; i++)
        if (strncmp(at, releases[i].release, strlen(releases[i].release)) == 0)
            return releases[i].build;
    return 0;
}

uint32_t dgo_engine_build_parse(const char *text)
{
    uint32_t build;

    if (*text == 'b' || *text == 'v')
        text++;
    build = release_build(text);
    if (build || *text < '0' || *text > '9' || text[strspn(text, "0123456789")])
        return build;
    return number_at(text);
}

/* "version: 6325 (b7f1f4a2)" until 2026, then "version: 0.7.0 (build 11669, commit ...)". */
static uint32_t build_of(const char *line, size_t length)
{
    static const char marker[] = "(build ";
    const char *build = memmem(line, length, marker, sizeof marker - 1);

    const char *version = line + strlen("version: ");
    const uint32_t number = number_at(build ? build + sizeof marker - 1 : version);

    return number ? number : release_build(version);
}

static int by_text(const void *a, const void *b)
{
    return strcmp(a, b);
}

static void add_flag(struct dgo_probe *probe, const char *flag, size_t length)
{
    if (length < 2 || length >= DGO_FLAG_TEXT_MAX || probe->flag_count == DGO_FLAG_MAX)
        return;
    memcpy(probe->flag[probe->flag_count], flag, length);
    probe->flag[probe->flag_count++][length] = '\0';
}

/* "-c,    --ctx-size N       size of ...": spellings in front, each but the last with a comma.
 * Continued text is indented and "----- common params -----" is a heading. */
static void read_help_line(struct dgo_probe *probe, const char *line, size_t length)
{
    size_t at = 0;

    if (length > 4 && memcmp(line, "-----", 5) == 0)
        return;
    while (at < length && line[at] == '-') {
        size_t end = at;

        while (end < length && line[end] != ' ' && line[end] != ',' && line[end] != '\r')
            end++;
        add_flag(probe, line + at, end - at);
        if (end == length || line[end] != ',')
            return;
        at = end + 1;
        while (at < length && line[at] == ' ')
            at++;
    }
}

static void sort_flags(struct dgo_probe *probe)
{
    uint32_t kept = 0;

    qsort(probe->flag, probe->flag_count, sizeof probe->flag[0], by_text);
    for (uint32_t i = 0; i < probe->flag_count; i++)
        if (kept == 0 || strcmp(probe->flag[kept - 1], probe->flag[i]) != 0)
            memmove(probe->flag[kept++], probe->flag[i], sizeof probe->flag[0]);
    memset(probe->flag[kept], 0, (probe->flag_count - kept) * sizeof probe->flag[0]);
    probe->flag_count = kept;
}

void llama_cpp_read_probe(struct dgo_probe *probe, const char *version_output,
                          const char *help_output)
{
    const char *version = version_line(version_output);

    memset(probe, 0, sizeof *probe);
    if (version) {
        const size_t length = strcspn(version, "\r\n");

        probe->build = build_of(version, length);
        dgo_text_copy_escaped(probe->version, sizeof probe->version, version, length);
    }
    for (const char *line = help_output; *line;) {
        const size_t length = strcspn(line, "\n");

        read_help_line(probe, line, length);
        line += length + (line[length] == '\n');
    }
    sort_flags(probe);
}

/* "  CUDA0: NVIDIA GeForce RTX 3090 (24576 MiB, 24100 MiB free)"; descriptions hold parentheses of
 * their own, so the figures are looked for from the end. */
static bool read_device(struct dgo_engine_device *device, const char *line, size_t length)
{
    static const char unit[] = " MiB free)";
    const char *end = line + length, *name = line, *colon, *open;
    unsigned long long total_mib, free_mib;
    int used = 0;

    while (name < end && *name == ' ')
        name++;
    colon = memchr(name, ':', (size_t)(end - name));
    open = colon ? memrchr(colon, '(', (size_t)(end - colon)) : NULL;
    if (name == line || name == colon || !open || colon + 2 > open)
        return false;
    if (open[1] < '0' || open[1] > '9')
        return false;
    if (sscanf(open, "(%12llu MiB, %12llu MiB free)%n", &total_mib, &free_mib, &used) != 2 ||
        used == 0 || memmem(open, (size_t)(end - open), unit, sizeof unit - 1) == NULL)
        return false;
    memset(device, 0, sizeof *device);
    dgo_text_copy_escaped(device->name, sizeof device->name, name, (size_t)(colon - name));
    colon += colon[1] == ' ' ? 2 : 1;
    while (open > colon && open[-1] == ' ')
        open--;
    dgo_text_copy_escaped(device->description, sizeof device->description, colon,
                          (size_t)(open - colon));
    device->total_bytes = (uint64_t)total_mib << 20;
    device->free_bytes = (uint64_t)free_mib << 20;
    return true;
}

uint32_t llama_cpp_read_devices(struct dgo_engine_device *devices, uint32_t devices_max,
                                const char *output)
{
    uint32_t count = 0;

    for (const char *line = output; *line && count < devices_max;) {
        const size_t length = strcspn(line, "\n");

        count += read_device(&devices[count], line, length);
        line += length + (line[length] == '\n');
    }
    return count;
}
