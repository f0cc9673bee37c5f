/* dry_run.h - the engine's own word about its compute buffers: llama-fit-params beside the binary
 * builds the graphs without loading anything.  Private to app. */
#ifndef DRY_RUN_H
#define DRY_RUN_H

#include "flow.h"

/* Asks for exactly these settings (a tenth of a second to two; the program opens the cards
 * meanwhile) and replaces the compute figures of `estimate`, whose devices have the names that the
 * engine uses when it sees all cards.  Nothing is replaced when the program is not there, sees
 * other cards, or sizes the weights otherwise: then a line of the log says why.  Blocks. */
void dry_run_use(const struct flow *flow, const struct dgo_settings *settings,
                 struct dgo_estimate *estimate);

#endif
