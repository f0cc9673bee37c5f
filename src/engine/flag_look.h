/* flag_look.h - what a flag of llama.cpp's server is about, for readers of other tools' files: the
 * same table that an estimate reads.
 *
 * Pure; any thread. */
#ifndef ENGINE_FLAG_LOOK_H
#define ENGINE_FLAG_LOOK_H

#include "dgo_base.h"

enum dgo_flag_about {
    DGO_FLAG_OWN,       /* the engine's own affair: sampling, templates, adapters */
    DGO_FLAG_PLACES,    /* what lies where: a plan decides it */
    DGO_FLAG_SET,       /* this program gives it with every launch: log, pages of other sites */
    DGO_FLAG_ELSEWHERE, /* a model that is still to be fetched */
    DGO_FLAG_MODEL,
    DGO_FLAG_CTX, /* of all slots together */
    DGO_FLAG_SLOTS,
    DGO_FLAG_BATCH,
    DGO_FLAG_UBATCH,
    DGO_FLAG_FLASH_ATTENTION,
    DGO_FLAG_KEY_TYPE,
    DGO_FLAG_VALUE_TYPE,
    DGO_FLAG_DEVICE,
    DGO_FLAG_SHARES,
    DGO_FLAG_HOST,
    DGO_FLAG_PORT,
    DGO_FLAG_THREADS,
};

/* False: no flag of that spelling is known ("--ctx_size" is "--ctx-size").  `values` is how many
 * words follow it. */
bool dgo_flag_look(const char *word, enum dgo_flag_about *about, uint32_t *values);

#endif
