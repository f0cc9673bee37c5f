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

_Static_assert(DGO_GPU_FIELD_COUNT <= 64, "dgo_gpu.known has a bit for each reading");

/* What a process is to the person who asks who took the memory. */
enum dgo_process_role {
    DGO_ROLE_OTHER,
    DGO_ROLE_ENGINE,  /* serves or trains models */
    DGO_ROLE_DESKTOP, /* draws the desktop */
    DGO_ROLE_BROWSER, /* a browser, or an application made of one */
    DGO_ROLE_OURS,    /* this program, or an engine that it started */
};
const char *dgo_process_role_name(enum dgo_process_role role); /* "other", "engine", ... */

/* By the names of known programs, and words of their command lines ("" unknown); never OURS, which
 * names do not tell.  Without a command line OTHER may be an engine that an interpreter runs. */
enum dgo_process_role dgo_process_role_of(const char *name, const char *command);

/* A process that holds memory of one GPU.  A pid is used again; with start_ticks it is one
 * process. */
struct dgo_gpu_process {
    uint32_t pid;
    bool used_known;     /* drivers may hide the figure (WSL, permissions) */
    uint64_t used_bytes; /* when used_known */
    bool compute, graphics;
    bool busy_known;
    uint32_t busy_permille; /* of the card's time, over the last seconds */
    enum dgo_process_role role;
    uint64_t start_ticks; /* when it started, in the kernel's ticks since boot; 0 unknown */
    char name[64];        /* of the executable, escaped; "" when it cannot be read */
    char owner[32];       /* the user's name or number; "" unknown */
    char container[48];   /* "docker 0123456789ab"; "" none */
    char command[160];    /* escaped, secrets masked, cut; "" unknown */
};

/* Why a card runs slower than it could; bits of throttle_mask. */
enum dgo_throttle {
    DGO_THROTTLE_IDLE,          /* nothing to do */
    DGO_THROTTLE_CLOCK_SETTING, /* somebody set the clocks */
    DGO_THROTTLE_POWER_CAP,     /* its power limit: usual while a prompt is read */
    DGO_THROTTLE_HARDWARE,      /* the board asks for it */
    DGO_THROTTLE_SYNC_BOOST,
    DGO_THROTTLE_HEAT,          /* the driver cools it */
    DGO_THROTTLE_HARDWARE_HEAT, /* the board cools it */
    DGO_THROTTLE_POWER_BRAKE,   /* the power supply asks for it */
    DGO_THROTTLE_DISPLAY,
    DGO_THROTTLE_COUNT
};
const char *dgo_throttle_name(enum dgo_throttle why); /* "power_cap" ... */

/* What the driver wants to be done with a card. */
enum dgo_recovery {
    DGO_RECOVERY_NONE,
    DGO_RECOVERY_RESET,
    DGO_RECOVERY_REBOOT,
    DGO_RECOVERY_DRAIN,
    DGO_RECOVERY_DRAIN_AND_RESET,
};
const char *dgo_recovery_name(uint32_t action); /* "none", "reset", ... */

enum { DGO_GPU_SLICE_MAX = 8 };

/* A part of a card in slices (MIG), which programs see as a GPU. */
struct dgo_gpu_slice {
    char name[DGO_GPU_TEXT_MAX]; /* "NVIDIA H100 80GB HBM3 MIG 1g.10gb" */
    char uuid[DGO_GPU_TEXT_MAX]; /* "MIG-..." */
    bool memory_known;
    uint64_t total_bytes, used_bytes, free_bytes;
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
    bool sliced;          /* MIG is on: it cannot be used as one GPU */
    uint32_t slice_count; /* in `slice` */
    struct dgo_gpu_slice slice[DGO_GPU_SLICE_MAX];
    bool processes_known;
    uint32_t process_count;     /* in `process`, the greatest first */
    uint32_t process_more;      /* found, not listed */
    bool process_sum_known;     /* no process hides its use */
    uint64_t process_sum_bytes; /* of all that were found */
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
    DGO_LINK_SYS,  /* the link between sockets */
    DGO_LINK_NET   /* a network between machines */
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

enum { DGO_NODE_MAX = 8, DGO_HOST_TEXT_MAX = 64 };

/* A machine among several that serve one model. */
struct dgo_node {
    char host[DGO_HOST_TEXT_MAX]; /* name or address; "" of this machine */
    uint16_t port;                /* where its rpc-server listens, or is to */
    struct dgo_host memory;
};

/* Where readings come from.  All zero: from this machine, now. */
struct dgo_origin {
    bool simulated;       /* described in a file, or recorded from such: what is shown says so */
    bool recorded;        /* played from a recording of a real machine: what is shown says so */
    uint64_t recorded_ns; /* wall time at which that recording began; 0 unknown */
};

enum { DGO_ORIGIN_TEXT_MAX = 48 };
/* "SIMULATED", "recorded 2026-11-27 11:05 UTC", "recorded"; "" of this machine, now. */
const char *dgo_origin_text(const struct dgo_origin *origin, char text[DGO_ORIGIN_TEXT_MAX]);

struct dgo_machine {
    struct dgo_origin origin;
    char source[32];    /* "nvml", "nvml, amd", "machine file", "recording" */
    char driver[96];    /* driver version, "" unknown */
    uint32_t gpu_count; /* by driver, each in its order, which is PCI bus order */
    struct dgo_gpu gpu[DGO_GPU_MAX];
    struct dgo_link link[DGO_GPU_MAX][DGO_GPU_MAX]; /* symmetric; the diagonal means nothing */
    struct dgo_host host;
    /* Several machines (dgo_machine_join): node 0 is this one.  0 or 1: there is only this one. */
    uint32_t node_count;
    struct dgo_node node[DGO_NODE_MAX];
    uint8_t gpu_node[DGO_GPU_MAX]; /* which one a card is in */
};

/* False of what is simulated or recorded: its memory cannot be promised, its UUIDs belong to no
 * driver, and nothing of it is kept. */
static inline bool dgo_machine_is_live(const struct dgo_machine *machine)
{
    return !machine->origin.simulated && !machine->origin.recorded;
}

struct dgo_gpu_source;

struct dgo_gpu_options {
    const char *machine_file; /* YAML (examples/machines), or a recording; NULL: the real machine */
    const char *nvml_library; /* tried instead of the usual names; NULL: DUALGPUOPT_NVML, if set */
    const char *system_root;  /* in front of /proc and /sys, for tests; NULL:
                               * DUALGPUOPT_SYSTEM_ROOT, else nothing */
    bool wake;                /* read cards in runtime suspend too, which wakes them */
};

/* Opens the machine file, or all drivers that answer: NVIDIA's cards come first, then AMD's, then
 * Intel's, each in bus order, and a card keeps its number while the source is open.  Fails with
 * DGO_ENOGPU and a sentence that says what was tried and what to do; with DGO_EDRIVER when a driver
 * is there but broken; with DGO_EFORMAT and "line L, column C" for a bad machine file. */
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
    DGO_TIER_SLOW,      /* limits, the bus link, memory errors, the display */
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

/* Adds another machine's cards to `machine`, behind those that are there.  Links to them are the
 * network's, each way `network_bytes_per_s`.  DGO_ELIMIT: too many cards or machines; DGO_EINVAL: a
 * host that cannot be one. */
DGO_MUST_CHECK
enum dgo_status dgo_machine_join(struct dgo_machine *machine, const struct dgo_machine *other,
                                 const char *host, uint16_t port, double network_bytes_per_s,
                                 struct dgo_error *err);

/* Published peak figures of a card by its driver name ("NVIDIA GeForce RTX 3090"); false for
 * unknown cards, and a figure that is not published is 0.  dgo_gpu_take has already filled them in
 * where the machine did not know better. */
struct dgo_gpu_facts {
    double bandwidth_bytes_per_s, fp16_flops;
    uint32_t pcie_gen, pcie_width; /* what the card can do */
};
bool dgo_gpu_facts(const char *name, struct dgo_gpu_facts *facts);

/* What the card's PCIe link carries in one direction, less line coding; 0: not known.  The
 * generation drops while a card idles and the width does not, so the highest generation and the
 * narrower width tell what it gives under load; of a generation later than 6, what 6 gives. */
double dgo_gpu_pcie_bytes_per_s(const struct dgo_gpu *gpu);

#endif
