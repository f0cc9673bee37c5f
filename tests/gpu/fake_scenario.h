/* fake_scenario.h - what the fake driver library pretends, read from a file; see fake_nvml.c. */
#ifndef FAKE_SCENARIO_H
#define FAKE_SCENARIO_H

#include "usage.h"

#include <stdbool.h>
#include <stdint.h>

enum {
    FAKE_CARD_MAX = 32,
    FAKE_RULE_MAX = 64,
    FAKE_VALUE_MAX = 32,
    FAKE_PROCESS_MAX = 512,
    FAKE_NAME_MAX = 64,
};

enum fake_list { FAKE_COMPUTE, FAKE_GRAPHICS, FAKE_MPS };

struct fake_process {
    enum fake_list list;
    uint32_t pid;
    uint64_t used; /* all ones: hidden */
};

/* A function and a number: a return code or a delay. */
struct fake_rule {
    char name[FAKE_NAME_MAX];
    int number;
};

struct fake_rules {
    uint32_t count;
    struct fake_rule rule[FAKE_RULE_MAX];
};

/* A field of nvmlDeviceGetFieldValues. */
struct fake_field {
    unsigned id;
    int type; /* as the driver numbers them */
    uint64_t value;
};

struct fake_sample {
    unsigned pid, sm;
    uint64_t time_us;
};

struct fake_slice {
    char name[96], uuid[96];
    uint64_t total, used;
    bool empty; /* a place without a slice */
};

enum { FAKE_FIELD_MAX = 32, FAKE_SAMPLE_MAX = 32, FAKE_SLICE_MAX = 16, FAKE_XID_MAX = 128 };

struct fake_card {
    char name[96], uuid[96], pci[32];
    bool lost;
    int compute_major, compute_minor; /* 0: not supported */
    uint64_t total, reserved, free, used;
    struct fake_rules fail;
    struct fake_rules value; /* "busy" and so on */
    uint32_t process_count;
    struct fake_process process[FAKE_PROCESS_MAX];
    uint32_t field_count;
    struct fake_field field[FAKE_FIELD_MAX];
    uint32_t sample_count;
    struct fake_sample sample[FAKE_SAMPLE_MAX];
    uint32_t slice_count;
    struct fake_slice slice[FAKE_SLICE_MAX];
    uint32_t xid_count;
    unsigned xid[FAKE_XID_MAX];
};

struct fake_pair {
    bool has_topology;
    int topology;
    bool has_p2p[5];
    int p2p[5];
    unsigned nvlinks;
};

struct fake_scenario {
    bool loaded;
    char driver[80];
    char trace[256];
    unsigned stride, written, hide;
    bool backend_processes; /* whoever holds memory of the pretend backend is listed, too */
    struct fake_rules fail, missing, delay;
    uint32_t card_count;
    struct fake_card card[FAKE_CARD_MAX];
    struct fake_pair pair[FAKE_CARD_MAX][FAKE_CARD_MAX];
};

/* The scenario of DUALGPUOPT_FAKE_NVML, read again when the file has changed.  Without a file, or
 * with one that is not understood (told on stderr), `loaded` is false. */
const struct fake_scenario *fake_scenario(void);

/* NULL when the function has no rule there. */
const struct fake_rule *fake_find(const struct fake_rules *rules, const char *name);

/* Bytes that living processes hold of that card of the pretend GPU backend (PRETEND_GPU_USAGE), 0
 * without; and who they are. */
uint64_t fake_backend_bytes(uint32_t index);
uint32_t fake_backend_uses(uint32_t index, struct pretend_use uses[PRETEND_PROCESSES_MAX]);

#endif
