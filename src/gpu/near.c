/* near.c - which CPUs are near a card: what the kernel says of its PCI device. */
#include "near.h"

#include "cpu_list.h"
#include "driver.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CPU_LIST_MAX = 1024 };

bool gpu_near_node(const char *root, const char *pci_id, uint32_t *node)
{
    char path[96], text[16], *end;
    long number;

    if (pci_id[0] == '\0')
        return false;
    snprintf(path, sizeof path, "/sys/bus/pci/devices/%.20s/numa_node", pci_id);
    if (!gpu_read_text(root, path, text, sizeof text))
        return false;
    number = strtol(text, &end, 10);
    if (end == text || *end != '\0' || number < 0 || number > UINT16_MAX)
        return false; /* -1: the firmware does not say, or there is one node */
    *node = (uint32_t)number;
    return true;
}

bool gpu_near_cpus(const char *root, const char *pci_id, cpu_set_t *cpus)
{
    char path[96], text[CPU_LIST_MAX];

    CPU_ZERO(cpus);
    if (pci_id[0] == '\0')
        return false;
    snprintf(path, sizeof path, "/sys/bus/pci/devices/%.20s/local_cpulist", pci_id);
    return gpu_read_text(root, path, text, sizeof text) && strlen(text) + 1 < sizeof text &&
           cpu_list_read(text, cpus) != 0 && CPU_COUNT(cpus) != 0;
}

bool gpu_stay_near(const char *root, const struct dgo_machine *machine)
{
    cpu_set_t near, own, both;

    CPU_ZERO(&near);
    if (!dgo_machine_is_live(machine) || machine->gpu_count == 0 ||
        sched_getaffinity(0, sizeof own, &own) != 0)
        return false;
    for (uint32_t i = 0; i < machine->gpu_count; i++) {
        cpu_set_t of_card;

        if (!gpu_near_cpus(root, machine->gpu[i].pci_id, &of_card))
            return false; /* any may be the near ones */
        CPU_OR(&near, &near, &of_card);
    }
    CPU_AND(&both, &near, &own);
    if (CPU_COUNT(&both) == 0 || CPU_EQUAL(&both, &own))
        return false;
    return sched_setaffinity(0, sizeof both, &both) == 0;
}
