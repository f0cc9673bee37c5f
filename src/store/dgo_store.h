/* dgo_store.h - what outlives the program: probes of engines and the history of launches, in SQLite.
 *
 * A convenience, never a condition: without a store everything works, only less is remembered.  A
 * handle may be used by one thread at a time; several processes may share the file (WAL). */
#ifndef DGO_STORE_H
#define DGO_STORE_H

#include "dgo_base.h"
#include "dgo_engine.h"

struct dgo_store;

/* Opens or makes the database in the folder `directory` (made too, 0700, as far as one level is
 * missing).  A damaged file is moved aside to "<name>.damaged" and a new one is made; `notice` (may
 * be NULL) then says so, else it is "".  DGO_EIO when nothing can be written there, DGO_EUNSUPPORTED
 * when a newer version of this program made the file. */
DGO_MUST_CHECK
enum dgo_status dgo_store_open(const char *directory, struct dgo_store **store, char notice[256],
                               struct dgo_error *err);
void dgo_store_close(struct dgo_store *store); /* accepts NULL */

/* The probe of the binary with this SHA-256.  DGO_ENOTFOUND when there is none. */
DGO_MUST_CHECK
enum dgo_status dgo_store_get_probe(struct dgo_store *store, const char *binary_hash,
                                    struct dgo_probe *probe, struct dgo_error *err);
DGO_MUST_CHECK
enum dgo_status dgo_store_put_probe(struct dgo_store *store, const char *binary_hash,
                                    const struct dgo_probe *probe, struct dgo_error *err);

/* One launch that became ready: what was planned and what the engine allocated. */
struct dgo_launch_record {
    uint64_t started_ns; /* wall time */
    const char *model_path, *model_name, *binary_hash;
    uint32_t build;
    const char *settings_json; /* as --json shows them */
    const char *devices_json;  /* planned and measured, as --json shows them */
    bool simulated;
};
DGO_MUST_CHECK
enum dgo_status dgo_store_put_launch(struct dgo_store *store,
                                     const struct dgo_launch_record *record, struct dgo_error *err);

/* The newest `count_max` launches, newest first, one call of `each` per launch; its strings live
 * during the call.  Returns how many through *count (may be NULL). */
typedef void (*dgo_launch_record_fn)(const struct dgo_launch_record *record, void *data);
DGO_MUST_CHECK
enum dgo_status dgo_store_each_launch(struct dgo_store *store, uint32_t count_max,
                                      dgo_launch_record_fn each, void *data, uint32_t *count,
                                      struct dgo_error *err);

#endif
