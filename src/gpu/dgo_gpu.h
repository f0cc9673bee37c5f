/* dgo_gpu.h - the machine as a value: its GPUs, their memory, how they are linked, who uses them.
 *
 * A source is a door to the world (a driver or a machine file); a machine is what one look through
 * it gave.  Unknown is not zero: every reading has a bit in `known`.  No source ever creates a
 * compute context, so looking costs no VRAM.  A source belongs to one thread at a time; a machine
 * is a plain value. */
#ifndef DGO_GPU_H
#define DGO_GPU_H

#include "dgo_base.h"

enum {
    DGO_GPU_MAX = 16,         /* llama.cpp's own limit of devices */
    DGO_GPU_PROCESS_MAX = 64, /* listed for each GPU; more are counted, not listed */
    DGO_GPU_TEXT_MAX = 96,    /* NVML's own limit for names and UUIDs */
};

enum dgo_gpu_vendor { DGO_VENDOR_UNKNOWN, DGO_VENDOR_NVIDIA, DGO_VENDOR_AMD, DGO_VENDOR_INTEL };

enum dgo_gpu_field {
#define X(id, type, name, title) DGO_GPU_##id,
#include "fields.def"
#undef X
    DGO_GPU_FIELD_COUNT
};

/* A process that holds memory of one GPU. */
struct dgo_gpu_process {
    uint32_t pid;
    bool used_known;     /* drivers may hide the figure (WSL, permissions) */
    uint64_t used_bytes; /* when used_known */
    bool compute, graphics;
    char name[64]; /* of the executable, escaped; "" when it cannot be read */
};

struct dgo_gpu {
    enum dgo_gpu_vendor vendor;
    char name[DGO_GPU_TEXT_MAX]; /* escaped; "" unknown */
    char uuid[DGO_GPU_TEXT_MAX]; /* "GPU-..."; "" unknown */
    char pci_id[24];             /* "0000:01:00.0", lower case; "" unknown.  Joins with engines */
    char problem[160];           /* why the card cannot be read (lost, asleep); "" when it can */
    uint64_t known;              /* bit 1 << enum dgo_gpu_field for each reading below */
#define X(id, type, name, title) type name;
#include "fields.def"
#undef X
    bool processes_known;
    uint32_t process_count; /* in `process` */
    uint32_t process_more;  /* found, not listed */
    struct dgo_gpu_process process[DGO_GPU_PROCESS_MAX];
};

static inline bool dgo_gpu_knows(const struct dgo_gpu *gpu, enum dgo_gpu_field field)
{
    return gpu->known >> field & 1;
}

/* The nearest thing two GPUs share, nearest first. */
enum dgo_link_kind {
    DGO_LINK_UNKNOWN,
    DGO_LINK_NVLINK,
    DGO_LINK_PIX,  /* one PCIe switch */
    DGO_LINK_PXB,  /* several switches */
    DGO_LINK_PHB,  /* the host bridge */
    DGO_LINK_NODE, /* one NUMA node */
    DGO_LINK_SYS   /* the link between sockets */
};
const char *dgo_link_kind_name(enum dgo_link_kind kind); /* "nvlink", "pix", ... "unknown" */

struct dgo_link {
    enum dgo_link_kind kind;
    bool p2p_known, p2p;          /* direct reads and writes between the two */
    double bandwidth_bytes_per_s; /* peak, each way; over PCIe that of the narrower of the two
                                   * cards' own links.  0 unknown */
};

struct dgo_host {
    bool memory_known;
    uint64_t total_bytes, free_bytes; /* free: what can be had without swapping */
    double bandwidth_bytes_per_s;     /* 0 unknown */
    double decode_bytes_per_s;        /* that an engine reached, from calibration; 0 unknown */
    uint32_t core_count;              /* 0 unknown */
};

struct dgo_machine {
    bool simulated;     /* from a machine file: everything shown from it says SIMULATED */
    char source[32];    /* "nvml", "machine file" */
    char driver[96];    /* driver version, "" unknown */
    uint32_t gpu_count; /* in the driver's order, which is PCI bus order */
    struct dgo_gpu gpu[DGO_GPU_MAX];
    struct dgo_link link[DGO_GPU_MAX][DGO_GPU_MAX]; /* symmetric; the diagonal means nothing */
    struct dgo_host host;
};

struct dgo_gpu_source;

struct dgo_gpu_options {
    const char *machine_file; /* YAML; examples/machines; NULL: the real machine */
    const char *nvml_library; /* tried instead of the usual names; NULL: DUALGPUOPT_NVML, if set */
    const char *system_root;  /* in front of /proc and /sys, for tests; NULL:
                               * DUALGPUOPT_SYSTEM_ROOT, else nothing */
    bool wake;                /* read cards in runtime suspend too, which wakes them */
};

/* Opens the machine file, or the first driver that answers.  Fails with DGO_ENOGPU and a sentence
 * that says what was tried and what to do; with DGO_EDRIVER when a driver is there but broken; with
 * DGO_EFORMAT and "line L, column C" for a bad machine file. */
DGO_MUST_CHECK
enum dgo_status dgo_gpu_open(const struct dgo_gpu_options *options, struct dgo_gpu_source **source,
                             struct dgo_error *err);

/* One look.  A card that cannot be read is listed with its `problem`, and is no failure; a driver
 * that went away is DGO_EDRIVER, and the next take tries to load it again. */
DGO_MUST_CHECK
enum dgo_status dgo_gpu_take(struct dgo_gpu_source *source, struct dgo_machine *machine,
                             struct dgo_error *err);

/* Readings by what they cost and how fast they change. */
enum dgo_tier {
    DGO_TIER_FAST,      /* memory, load, clocks, temperature, power: microseconds */
    DGO_TIER_PROCESSES, /* who uses the cards */
    DGO_TIER_SLOW,      /* limits, the bus link, memory errors */
    DGO_TIER_RARE,      /* names, topology, slices */
    DGO_TIER_COUNT
};
#define DGO_TIER_BIT(tier) (1u << (tier))
#define DGO_TIERS_ALL      ((1u << DGO_TIER_COUNT) - 1)

/* dgo_gpu_take of some tiers (DGO_TIER_BIT ored); the readings of the others are those of the last
 * take, and are taken too where there was none. */
DGO_MUST_CHECK
enum dgo_status dgo_gpu_take_tiers(struct dgo_gpu_source *source, unsigned tiers,
                                   struct dgo_machine *machine, struct dgo_error *err);

void dgo_gpu_close(struct dgo_gpu_source *source); /* accepts NULL */

/* Published peak figures of a card by its driver name ("NVIDIA GeForce RTX 3090"); false for
 * unknown cards, and a figure that is not published is 0.  dgo_gpu_take has already filled them in
 * where the machine did not know better. */
bool dgo_gpu_facts(const char *name, double *bandwidth_bytes_per_s, double *fp16_flops);

#endif
