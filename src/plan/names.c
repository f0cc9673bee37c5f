/* names.c - the words for objectives and for where a figure comes from. */
#include "dgo_plan.h"

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
    };

    return (unsigned)source < sizeof names / sizeof names[0] ? names[source] : "unknown";
}
