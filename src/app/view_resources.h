/* view_resources.h - what runs where, who may take VRAM, and how it went, as JSON: `resources
 * --json` and later the page and the metrics.  Private to app and the faces.
 *
 * Each function returns a new reference, or NULL without memory.  Loop thread. */
#ifndef VIEW_RESOURCES_H
#define VIEW_RESOURCES_H

#include "dgo_app.h"
#include "dgo_gpu.h"
#include "proof.h"
#include "self_check.h"
#include "watch.h"

#include <jansson.h>

/* The live figures of the process.  `machine` names the GPUs of the ledger; `pace`, `check` and
 * `proof` may be NULL: left out. */
json_t *view_resources(const struct dgo_app *app, const struct dgo_machine *machine,
                       const struct watch_pace *pace, const struct self_check *check,
                       const struct proof *proof);

/* Its parts, by the key they stand under. */
json_t *view_components(void);                   /* .components */
json_t *view_bus(struct dgo_bus *bus);           /* .bus */
json_t *view_ledger(const struct dgo_machine *); /* .vram */
json_t *view_caches(void);                       /* .caches */
json_t *view_self_check(const struct self_check *check);
json_t *view_proof(const struct proof *proof);

#endif
