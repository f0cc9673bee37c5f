/* near.h - where a card sits among the CPUs: NUMA node and near CPUs of its PCI device, as the
 * kernel tells them below `root` ("" the machine's own /sys).  False when it does not. */
#ifndef NEAR_H
#define NEAR_H

#include "dgo_gpu.h"

#include <sched.h>

bool gpu_near_node(const char *root, const char *pci_id, uint32_t *node);
bool gpu_near_cpus(const char *root, const char *pci_id, cpu_set_t *cpus);

/* Keeps the calling thread on those CPUs it may use that are near the cards; false, and nothing
 * changed, where that is all of them, none, or not known of every card. */
bool gpu_stay_near(const char *root, const struct dgo_machine *machine);
bool gpu_source_stay_near(const struct dgo_gpu_source *source, const struct dgo_machine *machine);

#endif
