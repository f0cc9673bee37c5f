/* nvml.h - what the files of the NVML driver share; private to them. */
#ifndef GPU_NVML_H
#define GPU_NVML_H

#include "driver.h"
#include "nvml_abi.h"

/* The library's functions, NULL where an optional one is missing. */
struct nvml_api {
#define REQUIRED(type, name, arguments) type(*name) arguments;
#define OPTIONAL(name, arguments)       int(*name) arguments;
#include "nvml_symbols.def"
};

enum { NVML_SYMBOL_COUNT = sizeof(struct nvml_api) / sizeof(void (*)(void)) };

/* A counter of the driver that starts anywhere and may wrap. */
struct nvml_counter {
    bool known;
    uint64_t last;    /* as the driver had it */
    uint64_t total;   /* since the first look */
    uint64_t time_us; /* of `last` */
};

enum {
    NVML_COUNTER_PCIE_TX,
    NVML_COUNTER_PCIE_RX,
    NVML_COUNTER_NVLINK_TX,
    NVML_COUNTER_NVLINK_RX,
    NVML_COUNTER_NVLINK5_TX,
    NVML_COUNTER_NVLINK5_RX,
    NVML_COUNTER_COUNT
};

enum { NVML_THROTTLE_COUNT = 5 };

struct nvml_card {
    struct nvml_device *handle;         /* kept: fetching it again costs milliseconds */
    struct dgo_gpu fixed;               /* what cannot change while the handle lives */
    bool integrated;                    /* shares the host's memory */
    bool looked;                        /* `last` holds readings of every tier */
    struct dgo_gpu last;                /* of the last look */
    uint64_t listed_used_bytes;         /* that were used when the processes were listed */
    uint8_t refused[NVML_SYMBOL_COUNT]; /* how often in a row a function was not supported */
    bool told[NVML_SYMBOL_COUNT];       /* why it is not permitted */
    struct nvml_counter counter[NVML_COUNTER_COUNT];
    uint64_t throttle_time[NVML_THROTTLE_COUNT]; /* at the last slow look */
    uint8_t throttle_known;                      /* a bit for each */
    uint32_t throttle_recent;                    /* 1 << enum dgo_throttle of those that grew */
    uint64_t utilization_us;                     /* newest sample of a process seen */
    bool watched;                                /* for Xid events */
    uint64_t xid_count;
    uint32_t xid_last;
};

/* One look at one card.  Codes that concern more than the call that gave them are kept here. */
struct nvml_look {
    const struct nvml_api *api;
    struct nvml_device *device;
    struct nvml_card *card; /* NULL: nothing is remembered about functions */
    unsigned tiers;
    uint64_t now_us; /* monotonic */
    int gone;        /* the driver went away: nothing of this library can be used any more */
    int lost;        /* this card went away */
};

/* True for success; otherwise files the code away. */
bool nvml_ok(struct nvml_look *look, int code);

/* The same for the function at that offset of the api: one that was not supported three times in a
 * row is not called until the next look of the rare tier, and one that is not permitted is told
 * once. */
bool nvml_wanted(const struct nvml_look *look, size_t call_at);
bool nvml_answered(struct nvml_look *look, size_t call_at, const char *name, int code);

/* A call may be made when its function exists; a missing one is answered as unsupported. */
#define NVML_CALL(look, name, ...)                                                                 \
    (nvml_wanted(look, offsetof(struct nvml_api, name)) &&                                         \
     nvml_answered(look, offsetof(struct nvml_api, name), #name,                                   \
                   (look)->api->name((look)->device, __VA_ARGS__)))

/* A sentence for a code, for people: what it means and what to do. */
const char *nvml_explain(const struct nvml_api *api, int code);

/* nvml_card.c */
/* Of a card or a slice, escaped; left alone where the driver does not tell. */
void nvml_read_names(struct nvml_look *look, char name[DGO_GPU_TEXT_MAX],
                     char uuid[DGO_GPU_TEXT_MAX]);
void nvml_read_fixed(struct nvml_look *look, struct nvml_card *card);
/* Fills `gpu`, which holds the last look, with the readings of the look's tiers. */
void nvml_read_now(struct nvml_look *look, struct nvml_card *card, const char *root,
                   struct dgo_gpu *gpu);

/* nvml_readings.c: all but memory and processes; one function a tier. */
void nvml_read_fast(struct nvml_look *look, struct nvml_card *card, struct dgo_gpu *gpu);
void nvml_read_slow(struct nvml_look *look, struct nvml_card *card, struct dgo_gpu *gpu);
void nvml_read_rare(struct nvml_look *look, struct dgo_gpu *gpu);
void nvml_read_unchanging(struct nvml_look *look, struct dgo_gpu *gpu);
/* A counter that is at `now`, `bits` wide, at `now_us`: adds to its total and tells the rate; false
 * when none can be told.  More than `most_per_s` is a counter that began anew. */
bool nvml_count(struct nvml_counter *counter, uint64_t now, unsigned bits, uint64_t now_us,
                double most_per_s, double *per_s);

/* nvml_process.c: fills the process list, total_bytes must be set before; returns the sum of the
 * known uses. */
uint64_t nvml_read_processes(struct nvml_look *look, struct nvml_card *card, struct dgo_gpu *gpu);

/* nvml_slice.c: the parts of a card in slices. */
void nvml_read_slices(struct nvml_look *look, struct dgo_gpu *gpu);

/* nvml_event.c: errors that the driver reports by itself. */
struct nvml_watch {
    struct nvml_events *set; /* NULL: there is none */
};
void nvml_watch_card(struct nvml_watch *watch, struct nvml_look *look, struct nvml_card *card);
void nvml_watch_look(struct nvml_watch *watch, const struct nvml_api *api, struct nvml_card *cards,
                     uint32_t count);
void nvml_watch_end(struct nvml_watch *watch, const struct nvml_api *api);

/* nvml_rest.c: idle cards that the kernel may put to sleep.  Zeroed it is new. */
struct nvml_rest {
    struct dgo_machine *before; /* resting: what was seen last; NULL: not */
    uint32_t idle_looks, rest_looks;
    uint32_t awake_looks; /* before the next try */
    bool slept;
};
/* After a look: whether the driver is to be closed now. */
bool nvml_rest_due(struct nvml_rest *rest, const char *root, const struct dgo_machine *machine);
/* Instead of a look: fills `machine` without the driver; false: look. */
bool nvml_rest_goes_on(struct nvml_rest *rest, const char *root, struct dgo_machine *machine);
void nvml_rest_end(struct nvml_rest *rest);

/* nvml_link.c: fills the links between cards that have a handle. */
void nvml_read_links(const struct nvml_api *api, const struct nvml_card *cards,
                     struct dgo_machine *machine);

#endif
