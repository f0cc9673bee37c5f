/* driver.h - what each driver of this folder provides, and what they share; private to gpu.
 *
 * A new vendor is one file with a struct gpu_driver and one row in source.c. */
#ifndef GPU_DRIVER_H
#define GPU_DRIVER_H

#include "dgo_gpu.h"

/* Options reach a driver with system_root filled in (never NULL). */
struct gpu_driver {
    const char *name; /* becomes dgo_machine.source */
    /* DGO_ENOGPU with half a sentence ("libx.so is not installed") when this vendor is not here,
     * DGO_EDRIVER with a whole one when it is here but does not work. */
    enum dgo_status (*open)(const struct dgo_gpu_options *options, void **state,
                            struct dgo_error *err);
    /* `machine` comes zeroed but for `source`; it is thrown away after a failure.  A driver whose
     * looks are dear keeps the readings of the tiers that are not asked for. */
    enum dgo_status (*take)(void *state, unsigned tiers, struct dgo_machine *machine,
                            struct dgo_error *err);
    void (*close)(void *state);
};

extern const struct gpu_driver gpu_driver_nvml;
extern const struct gpu_driver gpu_driver_amd;
extern const struct gpu_driver gpu_driver_intel;
extern const struct gpu_driver gpu_driver_machine_file;

/* Sets a reading together with its bit. */
#define GPU_SET(gpu, ID, member, value)                                                            \
    ((gpu)->member = (value), (void)((gpu)->known |= UINT64_C(1) << DGO_GPU_##ID))

enum { GPU_PCI_LIST_MAX = 64, GPU_PCI_ID_MAX = 24 };

/* system.c: what the kernel tells, below `root` (""  for the real one). */

/* Reads a small file below root, cut to fit, the last newline dropped; false when unreadable. */
bool gpu_read_text(const char *root, const char *path, char *text, size_t size);
/* The same as bytes, without an end. */
bool gpu_read_bytes(const char *root, const char *path, char *bytes, size_t size, size_t *length);
void gpu_host_memory(const char *root, struct dgo_host *host); /* leaves the rest alone */
uint32_t gpu_host_cores(const char *root);                     /* slow: a file for each core */
void gpu_process_name(const char *root, uint32_t pid, char *name, size_t size);

/* The display controllers of one PCI vendor ("0x10de") in bus order. */
uint32_t gpu_pci_list(const char *root, const char *vendor, char (*ids)[GPU_PCI_ID_MAX],
                      uint32_t most);
bool gpu_pci_asleep(const char *root, const char *pci_id);

/* "00000000:0A:00.0", "0a:00.0" and the like to "0000:0a:00.0"; false (and "") for other text. */
bool gpu_pci_normalise(const char *text, char pci_id[GPU_PCI_ID_MAX]);

/* The problem of a card in runtime suspend. */
extern const char gpu_asleep_sentence[];

/* facts.c */
enum dgo_gpu_vendor gpu_vendor_of(const char *name);

/* link.c: one direction of a PCIe link at its raw rate less line coding; 0 for an unknown
 * generation. */
double gpu_pcie_bytes_per_s(uint32_t generation, uint32_t lanes);

/* Gives the links that have no bandwidth that of the narrower PCIe link of their two cards. */
void gpu_fill_link_bandwidth(struct dgo_machine *machine);

/* Sets both directions. */
void gpu_set_link(struct dgo_machine *machine, uint32_t a, uint32_t b, const struct dgo_link *link);

#endif
