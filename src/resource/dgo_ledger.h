/* dgo_ledger.h - the VRAM ledger as a value: who holds or was promised which bytes of which GPU.
 *
 * A reservation is planned when it is granted and measured when its owner is seen holding memory.
 * What may still be promised is what the driver reports free, less what was promised and has not
 * been taken yet, less the margin, so two launches are never both promised the same bytes.  Every
 * function is arithmetic on the struct: no lock, no clock, no I/O; the resource manager keeps one
 * behind a lock (dgo_resource.h, dgo_vram_...).  Times are wall time, so entries can be stored. */
#ifndef DGO_LEDGER_H
#define DGO_LEDGER_H

#include "dgo_base.h"

enum {
    DGO_LEDGER_GPU_MAX = 16,   /* as DGO_GPU_MAX */
    DGO_LEDGER_ENTRY_MAX = 64, /* reservations at a time */
    DGO_LEDGER_WHAT_MAX = 64,
};

enum dgo_ledger_state {
    DGO_LEDGER_PLANNED, /* promised; the owner may not have taken it yet */
    DGO_LEDGER_SETTLED, /* the owner has taken what it wants: the measured bytes are the truth */
};

/* One reservation; a plain value that the store may keep and give back. */
struct dgo_ledger_entry {
    uint64_t id;    /* never 0, never used twice by a ledger */
    uint64_t owner; /* pid of the process that holds the memory; 0 until it exists */
    uint64_t created_ns, expires_ns; /* expires 0: never by itself */
    enum dgo_ledger_state state;
    char what[DGO_LEDGER_WHAT_MAX]; /* for people: "llama-server qwen3-32b" */
    uint64_t planned_bytes[DGO_LEDGER_GPU_MAX];
    uint64_t measured_bytes[DGO_LEDGER_GPU_MAX];
};

/* What the driver said about one GPU, last. */
struct dgo_ledger_gpu {
    bool known;
    uint64_t total_bytes, driver_bytes; /* driver: reserved by it, never anybody's */
    uint64_t free_bytes;
    uint64_t margin_bytes; /* kept free by the user's wish */
    uint64_t others_bytes; /* processes that are no owner here, at the last reconcile */
    bool others_known;
};

struct dgo_ledger {
    struct dgo_ledger_gpu gpu[DGO_LEDGER_GPU_MAX];
    struct dgo_ledger_entry entry[DGO_LEDGER_ENTRY_MAX]; /* the first entry_count, oldest first */
    uint32_t entry_count;
    uint64_t last_id;
    uint64_t granted, refused, expired; /* counters */
};

/* A wish; granted on all its GPUs or on none. */
struct dgo_ledger_request {
    const char *what;
    uint64_t owner;      /* 0: not started yet, see dgo_ledger_adopt */
    uint64_t expires_ns; /* 0: never */
    uint64_t bytes[DGO_LEDGER_GPU_MAX];
};

/* One GPU's bytes, adding up: total = driver + ours + others + unexplained + free. */
struct dgo_ledger_balance {
    uint64_t total_bytes, driver_bytes, free_bytes, margin_bytes;
    uint64_t ours_bytes;        /* measured of our entries */
    uint64_t outstanding_bytes; /* promised, not yet taken */
    uint64_t others_bytes;
    int64_t unexplained_bytes; /* used by nobody that is known; negative: counted twice */
    int64_t drift_bytes;       /* of settled entries: measured - planned */
    uint64_t promisable_bytes;
};

struct dgo_ledger_usage {
    uint64_t pid;
    uint64_t bytes;
};

void dgo_ledger_init(struct dgo_ledger *ledger);

/* The driver's figures of one GPU.  A figure that cannot be (free above total) is DGO_EINVAL. */
enum dgo_status dgo_ledger_observe(struct dgo_ledger *ledger, uint32_t gpu_index,
                                   const struct dgo_ledger_gpu *seen,
                                   struct dgo_error *err) DGO_MUST_CHECK;

/* Who uses a GPU: updates what our owners hold, the rest is `others`.  Owners that are not listed
 * hold nothing there. */
enum dgo_status dgo_ledger_reconcile(struct dgo_ledger *ledger, uint32_t gpu_index,
                                     const struct dgo_ledger_usage *usage, size_t usage_count,
                                     struct dgo_error *err) DGO_MUST_CHECK;

/* DGO_ENOFIT names the GPU and the missing bytes; DGO_ENOGPU when a GPU was never observed;
 * DGO_ELIMIT when the ledger is full. */
enum dgo_status dgo_ledger_reserve(struct dgo_ledger *ledger,
                                   const struct dgo_ledger_request *request, uint64_t now_ns,
                                   uint64_t *id, struct dgo_error *err) DGO_MUST_CHECK;

/* The same for what its owner holds already, whether it fits or not.  `is_measured`: the driver
 * counts it as used; else it stays promised.  DGO_ELIMIT. */
enum dgo_status dgo_ledger_hold(struct dgo_ledger *ledger, const struct dgo_ledger_request *request,
                                bool is_measured, uint64_t now_ns, uint64_t *id,
                                struct dgo_error *err) DGO_MUST_CHECK;

/* The process that holds reservation `id` is `pid`; measured bytes from an engine's own report
 * where the driver lists no processes; "it has loaded".  DGO_ENOTFOUND for an unknown id,
 * DGO_EINVAL for process 0. */
enum dgo_status dgo_ledger_adopt(struct dgo_ledger *ledger, uint64_t id, uint64_t pid,
                                 struct dgo_error *err);
enum dgo_status dgo_ledger_measure(struct dgo_ledger *ledger, uint64_t id, uint32_t gpu_index,
                                   uint64_t bytes, struct dgo_error *err);
enum dgo_status dgo_ledger_settle(struct dgo_ledger *ledger, uint64_t id, struct dgo_error *err);

/* Ends one reservation, all of an owner, all that expired; the last two return how many. */
enum dgo_status dgo_ledger_release(struct dgo_ledger *ledger, uint64_t id, struct dgo_error *err);
uint32_t dgo_ledger_release_owner(struct dgo_ledger *ledger, uint64_t pid);
uint32_t dgo_ledger_expire(struct dgo_ledger *ledger, uint64_t now_ns);

const struct dgo_ledger_entry *dgo_ledger_find(const struct dgo_ledger *ledger, uint64_t id);
uint64_t dgo_ledger_promisable_bytes(const struct dgo_ledger *ledger, uint32_t gpu_index);
enum dgo_status dgo_ledger_balance_of(const struct dgo_ledger *ledger, uint32_t gpu_index,
                                      struct dgo_ledger_balance *balance,
                                      struct dgo_error *err) DGO_MUST_CHECK;

/* Takes stored entries over (replacing what is there).  An entry that makes no sense (id 0 or
 * twice, no text terminator) is DGO_EFORMAT and leaves the ledger alone. */
enum dgo_status dgo_ledger_load(struct dgo_ledger *ledger, const struct dgo_ledger_entry *entry,
                                size_t entry_count, struct dgo_error *err) DGO_MUST_CHECK;

#endif
