/* drm.h - graphics cards as the kernel shows them, for the drivers that need no library; private to
 * gpu.  Reading creates no context and opens no device. */
#ifndef GPU_DRM_H
#define GPU_DRM_H

#include "driver.h"

enum { DRM_PATH_MAX = 96 };

struct drm_card {
    char path[DRM_PATH_MAX];  /* "/sys/class/drm/card0/device", below the root */
    char hwmon[DRM_PATH_MAX]; /* ".../hwmon/hwmon3"; "" none */
    char pci_id[GPU_PCI_ID_MAX];
    uint32_t device_id;
    struct dgo_gpu fixed; /* what does not change */
};

/* The cards of one PCI vendor in bus order, with their names and links at most.  Slow: reads the
 * system's list of PCI names. */
uint32_t drm_list(const char *root, uint32_t vendor_id, enum dgo_gpu_vendor vendor,
                  struct drm_card *cards, uint32_t most);

/* A file with one number below the card's folder ("gpu_busy_percent"); false when unreadable. */
bool drm_number(const char *root, const char *folder, const char *file, uint64_t *value);

/* PCIe link now and at most, and the sensors that all cards name alike. */
void drm_read_link(const char *root, const struct drm_card *card, struct dgo_gpu *gpu);

/* A card in runtime suspend, described; reading it would wake it. */
bool drm_left_asleep(const char *root, const struct drm_card *card, bool wake, struct dgo_gpu *gpu);

/* ---- who uses them ------------------------------------------------------------------------- */

/* What the kernel accounts to one client (an open card) of a process. */
struct drm_client {
    uint32_t pid;
    char pci_id[GPU_PCI_ID_MAX];
    uint64_t id;
    uint64_t bytes;                /* in the card's own memory */
    uint64_t engine_ns;            /* of its engines, together */
    uint64_t cycles, total_cycles; /* the same in cycles, where the driver counts so */
};

enum { DRM_CLIENT_MAX = 1024, DRM_PID_MAX = 16384 };

/* One sweep over /proc for all cards; processes without a card are asked again some sweeps later.
 */
struct drm_sweep {
    uint32_t count;
    struct drm_client client[DRM_CLIENT_MAX];
    uint64_t at_ns;
    uint32_t last_count;
    struct drm_client last[DRM_CLIENT_MAX];
    uint64_t last_at_ns;
    uint32_t sweeps, without_count;
    uint32_t without[DRM_PID_MAX]; /* processes that had no card, in order */
};

void drm_sweep(struct drm_sweep *sweep, const char *root, uint64_t now_ns);

/* The processes of one card out of the sweep, into gpu->process with their sum. */
void drm_take_processes(const struct drm_sweep *sweep, const char *pci_id, struct dgo_gpu *gpu);

/* A process of the card, or an update of it: the greater use counts. */
void drm_add_process(struct dgo_gpu *gpu, uint32_t pid, uint64_t bytes, bool compute);
/* Sorts and sums up after the last one was added. */
void drm_end_processes(struct dgo_gpu *gpu);

/* Pure, for tests: one fdinfo file's text. */
bool drm_parse_fdinfo(const char *text, struct drm_client *client);

#endif
