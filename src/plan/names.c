/* names.c - the words for cache types, objectives and where a figure comes from. */
#include "dgo_plan.h"

#include <strings.h>

static const char *const kv_names[DGO_KV_TYPE_COUNT] = {
    [DGO_KV_F16] = "f16",       [DGO_KV_F32] = "f32",   [DGO_KV_BF16] = "bf16",
    [DGO_KV_Q8_0] = "q8_0",     [DGO_KV_Q4_0] = "q4_0", [DGO_KV_Q4_1] = "q4_1",
    [DGO_KV_IQ4_NL] = "iq4_nl", [DGO_KV_Q5_0] = "q5_0", [DGO_KV_Q5_1] = "q5_1",
};

const char *dgo_kv_type_name(enum dgo_kv_type type)
{
    return (unsigned)type < DGO_KV_TYPE_COUNT ? kv_names[type] : "unknown";
}

enum dgo_status dgo_kv_type_parse(const char *name, enum dgo_kv_type *type, struct dgo_error *err)
{
    for (int i = 0; i < DGO_KV_TYPE_COUNT; i++)
        if (strcasecmp(kv_names[i], name) == 0) {
            *type = (enum dgo_kv_type)i;
            return DGO_OK;
        }
    return dgo_fail(err, DGO_EINVAL,
                    "'%.40s' is no cache type; there are f16, f32, bf16, q8_0, q4_0, q4_1, iq4_nl, "
                    "q5_0 and q5_1",
                    name);
}

const char *dgo_objective_name(enum dgo_objective objective)
{
    static const char *const names[] = {
        [DGO_OBJECTIVE_SPEED] = "speed",
        [DGO_OBJECTIVE_CONTEXT] = "context",
        [DGO_OBJECTIVE_SAFE] = "safe",
    };

    return (unsigned)objective < sizeof names / sizeof names[0] ? names[objective] : "unknown";
}

const char *dgo_figure_source_name(enum dgo_figure_source source)
{
    static const char *const names[] = {
        [DGO_FIGURE_FORMULA] = "formula",
        [DGO_FIGURE_BOUND] = "bound",
        [DGO_FIGURE_MEASURED] = "measured",
        [DGO_FIGURE_DRY_RUN] = "dry_run",
    };

    return (unsigned)source < sizeof names / sizeof names[0] ? names[source] : "unknown";
}
