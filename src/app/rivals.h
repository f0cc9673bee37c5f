/* rivals.h - what the engine would do by itself, beside the plan.  Private to app and the faces. */
#ifndef RIVALS_H
#define RIVALS_H

#include "flow.h"

enum { RIVAL_MAX = 3 };

struct rival {
    char what[96];
    bool judged;       /* `as` holds its settings, estimate and prediction */
    char problem[256]; /* when it could not be */
    char words[512];   /* the engine's own flags, where it gave some */
    struct dgo_alternative as;
};

/* The plan, the engine's default split, and what its own fit says: llama-fit-params, where it lies
 * beside the engine, is run on the same cards for the same context.  After flow_plan.  About 15 KB
 * a row; returns how many. */
uint32_t rivals_find(struct flow *flow, struct rival rivals[RIVAL_MAX]);

#endif
