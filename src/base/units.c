/* units.c - bytes, durations and rates to text and back. */
#include "dgo_units.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

struct unit {
    const char *name;
    double factor;
};

const char *dgo_bytes_text(uint64_t bytes, char text[DGO_UNIT_TEXT_MAX])
{
    static const char *const names[] = {"KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    double value = (double)bytes;
    size_t unit = 0;

    if (bytes < DGO_KIB) {
        snprintf(text, DGO_UNIT_TEXT_MAX, "%" PRIu64 " B", bytes);
        return text;
    }
    value /= 1024;
    while (value >= 1024 && unit + 1 < sizeof names / sizeof names[0]) {
        value /= 1024;
        unit++;
    }
    snprintf(text, DGO_UNIT_TEXT_MAX, "%.2f %s", value, names[unit]);
    return text;
}

const char *dgo_mib_text(uint64_t bytes, char text[DGO_UNIT_TEXT_MAX])
{
    snprintf(text, DGO_UNIT_TEXT_MAX, "%.2f MiB", (double)bytes / (double)DGO_MIB);
    return text;
}

/* Splits "<number><blanks><unit>"; false when there is no finite number of at least 0 in front. */
static bool split_number(const char *text, double *value, const char **unit)
{
    char *end = NULL;

    if ((text[0] < '0' || text[0] > '9') && text[0] != '.')
        return false; /* strtod would take blanks, signs, "inf" and "nan" */
    if (text[0] == '0' && (text[1] == 'x' || text[1] == 'X'))
        return false;
    *value = strtod(text, &end);
    if (end == text || !isfinite(*value))
        return false;
    while (*end == ' ')
        end++;
    *unit = end;
    return true;
}

static const struct unit *find_unit(const struct unit *units, size_t count, const char *name)
{
    for (size_t i = 0; i < count; i++)
        if (strcasecmp(units[i].name, name) == 0)
            return &units[i];
    return NULL;
}

#define FIND_UNIT(units, name) find_unit(units, sizeof(units) / sizeof((units)[0]), name)

enum dgo_status dgo_bytes_parse(const char *text, uint64_t *bytes, struct dgo_error *err)
{
    static const struct unit units[] = {
        {"", 1},         {"b", 1},      {"k", 0x1p10},   {"kib", 0x1p10}, {"m", 0x1p20},
        {"mib", 0x1p20}, {"g", 0x1p30}, {"gib", 0x1p30}, {"t", 0x1p40},   {"tib", 0x1p40},
        {"kb", 1e3},     {"mb", 1e6},   {"gb", 1e9},     {"tb", 1e12},
    };
    const char *name = NULL;
    double value = 0;
    const struct unit *unit = split_number(text, &value, &name) ? FIND_UNIT(units, name) : NULL;

    if (!unit || value * unit->factor > 0x1p63)
        return dgo_fail(err, DGO_EINVAL, "'%.40s' is not a size (try 512MiB, 24GiB or 1.5g)", text);
    *bytes = (uint64_t)(value * unit->factor + 0.5);
    return DGO_OK;
}

const char *dgo_duration_text(uint64_t ns, char text[DGO_UNIT_TEXT_MAX])
{
    const uint64_t s = ns / DGO_NS_PER_S;

    if (ns < DGO_NS_PER_US)
        snprintf(text, DGO_UNIT_TEXT_MAX, "%" PRIu64 " ns", ns);
    else if (ns < DGO_NS_PER_MS)
        snprintf(text, DGO_UNIT_TEXT_MAX, "%.1f us", (double)ns / 1e3);
    else if (ns < DGO_NS_PER_S)
        snprintf(text, DGO_UNIT_TEXT_MAX, "%.1f ms", (double)ns / 1e6);
    else if (s < 60)
        snprintf(text, DGO_UNIT_TEXT_MAX, "%.2f s", (double)ns / 1e9);
    else if (s < 3600)
        snprintf(text, DGO_UNIT_TEXT_MAX, "%" PRIu64 "m%02" PRIu64 "s", s / 60, s % 60);
    else if (s < 86400)
        snprintf(text, DGO_UNIT_TEXT_MAX, "%" PRIu64 "h%02" PRIu64 "m", s / 3600, s / 60 % 60);
    else
        snprintf(text, DGO_UNIT_TEXT_MAX, "%" PRIu64 "d%02" PRIu64 "h", s / 86400, s / 3600 % 24);
    return text;
}

enum dgo_status dgo_duration_parse(const char *text, uint64_t *ns, struct dgo_error *err)
{
    static const struct unit units[] = {
        {"", 1e9},   {"ns", 1},     {"us", 1e3},   {"ms", 1e6},    {"s", 1e9},
        {"m", 60e9}, {"min", 60e9}, {"h", 3600e9}, {"d", 86400e9},
    };
    const char *name = NULL;
    double value = 0;
    const struct unit *unit = split_number(text, &value, &name) ? FIND_UNIT(units, name) : NULL;

    if (!unit || value * unit->factor > 0x1p63)
        return dgo_fail(err, DGO_EINVAL, "'%.40s' is not a duration (try 250ms, 30s, 5m or 2h)",
                        text);
    *ns = (uint64_t)(value * unit->factor + 0.5);
    return DGO_OK;
}

const char *dgo_rate_text(double bytes_per_second, char text[DGO_UNIT_TEXT_MAX])
{
    const double gbs = bytes_per_second / 1e9;

    if (gbs >= 100)
        snprintf(text, DGO_UNIT_TEXT_MAX, "%.0f GB/s", gbs);
    else if (gbs >= 1)
        snprintf(text, DGO_UNIT_TEXT_MAX, "%.1f GB/s", gbs);
    else
        snprintf(text, DGO_UNIT_TEXT_MAX, "%.1f MB/s", gbs * 1e3);
    return text;
}

enum dgo_status dgo_rate_parse(const char *text, double *bytes_per_second, struct dgo_error *err)
{
    static const struct unit units[] = {
        {"", 1e9}, {"gb/s", 1e9}, {"gbs", 1e9}, {"mb/s", 1e6}, {"tb/s", 1e12}, {"gib/s", 0x1p30},
    };
    const char *name = NULL;
    double value = 0;
    const struct unit *unit = split_number(text, &value, &name) ? FIND_UNIT(units, name) : NULL;

    if (!unit || value * unit->factor > 1e18)
        return dgo_fail(err, DGO_EINVAL, "'%.40s' is not a rate (try 936GB/s)", text);
    *bytes_per_second = value * unit->factor;
    return DGO_OK;
}

enum dgo_status dgo_u64_parse(const char *text, const char *what, uint64_t least, uint64_t most,
                              uint64_t *value, struct dgo_error *err)
{
    char *end = NULL;
    unsigned long long parsed = 0;
    bool good = text[0] >= '0' && text[0] <= '9';

    if (good) {
        errno = 0;
        parsed = strtoull(text, &end, 10);
        good = errno == 0 && *end == '\0' && parsed >= least && parsed <= most;
    }
    if (!good)
        return dgo_fail(err, DGO_EINVAL,
                        "%s: '%.40s' is not a whole number from %" PRIu64 " to %" PRIu64, what,
                        text, least, most);
    *value = parsed;
    return DGO_OK;
}
