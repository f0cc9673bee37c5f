/* nodes.h - other machines named by --node: their files read, their cards joined to this machine's.
 * Private to app. */
#ifndef APP_NODES_H
#define APP_NODES_H

#include "dgo_gpu.h"
#include "options.h"

enum { NODE_PORT_DEFAULT = 50052 }; /* of rpc-server */

/* Joins every machine of --node; without the option nothing happens. */
DGO_MUST_CHECK
enum dgo_status nodes_join(const struct options *options, struct dgo_machine *machine,
                           struct dgo_error *err);

/* Bit per card of this machine itself. */
uint32_t nodes_local_mask(const struct dgo_machine *machine);

#endif
