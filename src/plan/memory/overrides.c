/* overrides.c - tensors that go elsewhere than their layer (-ot): patterns against names.
 *
 * llama.cpp takes the first pattern that std::regex_search finds in the name. */
#include "memory.h"
#include "pattern.h"

#include <stdlib.h>

struct override_set {
    uint32_t count;
    struct {
        struct pattern *pattern;
        int32_t device;
    } row[];
};

void override_set_free(struct override_set *set)
{
    if (!set)
        return;
    for (uint32_t i = 0; i < set->count; i++)
        pattern_free(set->row[i].pattern);
    free(set);
}

static enum dgo_status add_row(struct override_set *set, const struct dgo_override *row,
                               struct dgo_error *err)
{
    const enum dgo_status status = pattern_make(row->pattern, &set->row[set->count].pattern, err);

    if (status == DGO_OK)
        set->row[set->count++].device = row->device;
    return status;
}

enum dgo_status override_set_make(const struct dgo_settings *settings, struct override_set **made,
                                  struct dgo_error *err)
{
    const uint32_t count = settings->override_count;
    enum dgo_status status = DGO_OK;
    struct override_set *set;

    *made = NULL;
    if (count == 0)
        return DGO_OK;
    if (count > DGO_OVERRIDE_MAX)
        return dgo_fail(err, DGO_EINVAL, "%u tensor overrides, at most %d", (unsigned)count,
                        DGO_OVERRIDE_MAX);
    set = calloc(1, sizeof *set + count * sizeof set->row[0]);
    if (!set)
        return dgo_fail(err, DGO_ENOMEM, "out of memory for the tensor overrides");
    for (uint32_t i = 0; i < count && status == DGO_OK; i++)
        if (settings->override[i].device >= (int32_t)settings->device_count)
            status = dgo_fail(err, DGO_EINVAL, "a tensor override names device %d of %u",
                              (int)settings->override[i].device, (unsigned)settings->device_count);
        else
            status = add_row(set, &settings->override[i], err);
    if (status != DGO_OK) {
        override_set_free(set);
        return status;
    }
    *made = set;
    return DGO_OK;
}

int32_t override_device(const struct override_set *set, const char *tensor_name)
{
    for (uint32_t i = 0; set && i < set->count; i++)
        if (pattern_finds(set->row[i].pattern, tensor_name))
            return set->row[i].device;
    return OVERRIDE_NONE;
}
