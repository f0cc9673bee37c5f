/* vram.h - from a look at the machine to the VRAM ledger: what each card has, and who holds it. Any
 * thread. */
#ifndef VRAM_H
#define VRAM_H

#include "dgo_gpu.h"

/* Tells the manager's ledger what was seen.  `margin_bytes` of each card is never promised.  A card
 * that does not tell its memory is left out; one that does not tell its processes keeps what its
 * owners reported.  Fails with DGO_EINVAL for figures that cannot be. */
enum dgo_status vram_observe(const struct dgo_machine *machine, uint64_t margin_bytes,
                             struct dgo_error *err);

#endif
