/* dgo_store.h - what outlives the program: probes of engines and the history of launches, in
 * SQLite.
 *
 * A convenience, never a condition: without a store everything works, only less is remembered.  A
 * handle may be used by one thread at a time; several processes may share the file (WAL).  What was
 * put is there after a crash of this program; a loss of power may take the last moments. */
#ifndef DGO_STORE_H
#define DGO_STORE_H

#include "dgo_base.h"
#include "dgo_engine.h"

enum {
    DGO_STORE_NOTICE_MAX = 256,
    DGO_STORE_LAUNCH_MAX = 1000, /* kept; the oldest go */
    DGO_STORE_PROBE_MAX = 64,    /* likewise */
    DGO_STORE_CALIBRATION_MAX = 256,
    DGO_STORE_OVERHEAD_MAX = 1024,
    DGO_STORE_FIGURE_MAX = 128,   /* of one launch */
    DGO_STORE_TEXT_MAX = 1 << 20, /* bytes of any one text; more is DGO_ELIMIT */
};

struct dgo_store;

/* Opens or makes the database history.db in the folder `directory` (made too, with its parents,
 * 0700).  A damaged file is moved aside to "history.db.damaged", in the place of an earlier one,
 * and a new one is made; `notice` (may be NULL) then says so, else it is "".  DGO_EIO when nothing
 * can be written there, DGO_EUNSUPPORTED when a newer version of this program made the file or it
 * is somebody else's database (it is left alone), DGO_EBUSY when others hold it for too long. */
DGO_MUST_CHECK
enum dgo_status dgo_store_open(const char *directory, struct dgo_store **store,
                               char notice[DGO_STORE_NOTICE_MAX], struct dgo_error *err);
void dgo_store_close(struct dgo_store *store); /* accepts NULL */

/* Of every call below: DGO_EIO (disk full, read-only, ...), DGO_EBUSY (another process writes for
 * too long), DGO_EFORMAT (damaged; the next open moves it aside). */

/* The probe of the binary with this SHA-256.  DGO_ENOTFOUND when there is none. */
DGO_MUST_CHECK
enum dgo_status dgo_store_get_probe(struct dgo_store *store, const char *binary_hash,
                                    struct dgo_probe *probe, struct dgo_error *err);
/* Takes the place of an earlier probe of that binary. */
DGO_MUST_CHECK
enum dgo_status dgo_store_put_probe(struct dgo_store *store, const char *binary_hash,
                                    const struct dgo_probe *probe, struct dgo_error *err);

/* What one device was to hold of one kind, and what it held. */
struct dgo_launch_figure {
    const char *device; /* "CUDA0", "host" */
    enum dgo_buffer_kind kind;
    uint64_t planned_bytes;
    bool measured_known;
    uint64_t measured_bytes;
};

/* One launch that became ready: what was planned and what the engine allocated.  A text that is
 * NULL is kept as "". */
struct dgo_launch_record {
    uint64_t started_ns; /* wall time */
    const char *model_path, *model_name, *binary_hash;
    uint32_t build;
    const char *settings_json; /* as --json shows them */
    const char *devices_json;  /* planned and measured, as --json shows them */
    bool simulated;
    const char *model_key; /* what makes two model files the same; NULL: model_path */
    uint32_t figure_count;
    const struct dgo_launch_figure *figure; /* the same as devices_json, to calculate with */
};
DGO_MUST_CHECK
enum dgo_status dgo_store_put_launch(struct dgo_store *store,
                                     const struct dgo_launch_record *record, struct dgo_error *err);

/* The newest `count_max` launches, newest first, one call of `each` per launch; its strings and
 * figures live during the call, in which the store must not be used.  Returns how many through
 * *count (may be NULL). */
typedef void (*dgo_launch_record_fn)(const struct dgo_launch_record *record, void *data);
DGO_MUST_CHECK
enum dgo_status dgo_store_each_launch(struct dgo_store *store, uint32_t count_max,
                                      dgo_launch_record_fn each, void *data, uint32_t *count,
                                      struct dgo_error *err);

/* The newest launch with a measured figure of the same binary, model (model_key) and settings
 * (byte for byte), simulated or not as told: measured beats calculated.  One call of `found`;
 * DGO_ENOTFOUND without one. */
struct dgo_launch_query {
    const char *binary_hash, *model_key, *settings_json;
    bool simulated;
};
DGO_MUST_CHECK
enum dgo_status dgo_store_find_launch(struct dgo_store *store, const struct dgo_launch_query *query,
                                      dgo_launch_record_fn found, void *data,
                                      struct dgo_error *err);

/* What one device reaches with one quantisation under one binary, as `calibrate` measured it.  A
 * figure of 0 is not known. */
struct dgo_calibration_record {
    uint64_t made_ns;      /* wall time */
    char device_key[96];   /* UUID of a card, else its name; "cpu" */
    char device_name[96];  /* "NVIDIA GeForce RTX 3090" */
    char quantisation[32]; /* "Q4_K" */
    char binary_hash[65];
    uint32_t build;
    double decode_bytes_per_s, prompt_flops, layer_launch_s;
    bool overhead_known;
    uint64_t overhead_bytes; /* of the driver and the libraries, outside the engine's books */
    bool simulated;          /* on a pretend card */
};

/* Takes the place of an earlier one of the same device, quantisation, binary and kind. */
DGO_MUST_CHECK
enum dgo_status dgo_store_put_calibration(struct dgo_store *store,
                                          const struct dgo_calibration_record *record,
                                          struct dgo_error *err);

/* The nearest to device_key, device_name, quantisation and binary_hash of `like`, in this order: a
 * card of the same name stands in for one that was not measured.  What was measured on pretend
 * cards is for simulated machines only (like->simulated).  DGO_ENOTFOUND without one. */
DGO_MUST_CHECK
enum dgo_status dgo_store_find_calibration(struct dgo_store *store,
                                           const struct dgo_calibration_record *like,
                                           struct dgo_calibration_record *found,
                                           struct dgo_error *err);

/* What one launch took of one card outside the engine's books: real cards only. */
struct dgo_overhead_record {
    uint64_t launch_ns;   /* wall time at which it was ready: the same for all its cards */
    char device_key[96];  /* UUID of the card, else its name */
    char device_name[96]; /* "NVIDIA GeForce RTX 3090" */
    char driver[96];      /* its version */
    char binary_hash[65];
    uint64_t ready_bytes; /* as it became ready */
    uint64_t bytes;       /* as it was last seen to hold */
    bool by_process;      /* the driver told it of the engine's process */
};

/* Takes the place of what was put for that launch, card and binary. */
DGO_MUST_CHECK
enum dgo_status dgo_store_put_overhead(struct dgo_store *store,
                                       const struct dgo_overhead_record *record,
                                       struct dgo_error *err);

/* Those of the same device_name, driver and binary_hash as `like`, newest launch first, at most
 * `max`; none is DGO_OK with *count 0. */
DGO_MUST_CHECK
enum dgo_status dgo_store_find_overheads(struct dgo_store *store,
                                         const struct dgo_overhead_record *like,
                                         struct dgo_overhead_record *found, uint32_t max,
                                         uint32_t *count, struct dgo_error *err);

#endif
