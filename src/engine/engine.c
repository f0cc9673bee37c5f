/* engine.c - the list of the engines, and look-ups in probes and reports. */
#include "dgo_engine.h"

#include "engines.h"

#include <string.h>
#include <strings.h>

#define ROW(name) &dgo_##name,
const struct dgo_engine *const dgo_engines[] = {ENGINES(ROW) NULL};

const struct dgo_engine *dgo_engine_find(const char *name)
{
    for (const struct dgo_engine *const *engine = dgo_engines; *engine; engine++)
        if (strcasecmp((*engine)->name, name) == 0)
            return *engine;
    for (const struct dgo_engine *const *engine = dgo_engines; *engine; engine++)
        if (!(*engine)->binary_shared && strcasecmp((*engine)->binary, name) == 0)
            return *engine;
    return NULL;
}

bool dgo_probe_has(const struct dgo_probe *probe, const char *flag)
{
    uint32_t low = 0, high = probe->flag_count;

    while (low < high) {
        const uint32_t middle = low + (high - low) / 2;
        const int order = strcmp(flag, probe->flag[middle]);

        if (order == 0)
            return true;
        if (order < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return false;
}

const struct dgo_report_device *dgo_report_find(const struct dgo_report *report, const char *name)
{
    for (uint32_t d = 0; d < report->device_count; d++)
        if (strcasecmp(report->device[d].name, name) == 0)
            return &report->device[d];
    return NULL;
}
