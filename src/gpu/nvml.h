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

struct nvml_card {
    struct nvml_device *handle; /* kept: fetching it again costs milliseconds */
    struct dgo_gpu fixed;       /* what cannot change while the handle lives */
    bool integrated;            /* shares the host's memory */
};

/* One look at one card.  Codes that concern more than the call that gave them are kept here. */
struct nvml_look {
    const struct nvml_api *api;
    struct nvml_device *device;
    int gone; /* the driver went away: nothing of this library can be used any more */
    int lost; /* this card went away */
};

/* True for success; otherwise files the code away. */
bool nvml_ok(struct nvml_look *look, int code);

/* A sentence for a code, for people: what it means and what to do. */
const char *nvml_explain(const struct nvml_api *api, int code);

/* nvml_card.c */
void nvml_read_fixed(struct nvml_look *look, struct nvml_card *card);
void nvml_read_now(struct nvml_look *look, const struct nvml_card *card, const char *root,
                   struct dgo_gpu *gpu);

/* nvml_process.c: fills the process list, total_bytes must be set before; returns the sum of the
 * known uses. */
uint64_t nvml_read_processes(struct nvml_look *look, const char *root, struct dgo_gpu *gpu);

/* nvml_link.c: fills the links between cards that have a handle. */
void nvml_read_links(const struct nvml_api *api, const struct nvml_card *cards,
                     struct dgo_machine *machine);

#endif
