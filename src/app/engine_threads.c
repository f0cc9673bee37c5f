/* engine_threads.c - CPU threads of an engine from what this machine gives it. */
#include "engine_threads.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CPU_LIST_MAX = 1024 };

/* "0-15,32-47": how many; 0 when it is no such list. */
static uint32_t count_list(const char *list)
{
    uint32_t count = 0;

    for (const char *at = list; isdigit((unsigned char)*at);) {
        char *end;
        const unsigned long first = strtoul(at, &end, 10);
        const unsigned long last = *end == '-' ? strtoul(end + 1, &end, 10) : first;

        if (last < first || last > 1u << 20)
            return 0;
        count += (uint32_t)(last - first + 1);
        at = *end == ',' ? end + 1 : end;
    }
    return count;
}

static bool read_list(const char *root, const char *pci_id, char list[CPU_LIST_MAX])
{
    char path[512];
    FILE *file;
    bool good;

    if (strspn(pci_id, "0123456789abcdef:.") != strlen(pci_id) || !pci_id[0])
        return false;
    snprintf(path, sizeof path, "%.400s/sys/bus/pci/devices/%s/local_cpulist", root, pci_id);
    file = fopen(path, "re");
    if (!file)
        return false;
    good = fgets(list, CPU_LIST_MAX, file) != NULL;
    fclose(file);
    if (good)
        list[strcspn(list, "\n")] = '\0';
    return good && list[0];
}

uint32_t engine_threads_near(const char *root, const struct dgo_machine *machine,
                             const struct dgo_plan *plan)
{
    char list[CPU_LIST_MAX] = "", other[CPU_LIST_MAX];

    for (uint32_t d = 0; d < plan->settings.device_count; d++) {
        const uint32_t gpu = plan->settings.device_gpu[d];

        if (machine->gpu_node[gpu] > 0)
            continue; /* another machine's */
        if (!read_list(root, machine->gpu[gpu].pci_id, other))
            return 0;
        if (list[0] && strcmp(list, other) != 0)
            return 0;
        memcpy(list, other, sizeof list);
    }
    return count_list(list);
}

static void limit(struct engine_threads *threads, uint32_t count, const char *why)
{
    if (threads->count != 0 && count >= threads->count)
        return;
    threads->count = count > 0 ? count : 1;
    snprintf(threads->why, sizeof threads->why, "%s", why);
}

void engine_threads_decide(const struct dgo_budget_facts *facts, uint32_t core_count,
                           uint32_t near_cpus, const struct dgo_plan *plan,
                           struct engine_threads *threads)
{
    const bool on_cards = plan->settings.device_count > 0 && plan->estimate.host.layer_count == 0 &&
                          plan->settings.cpu_moe_layer_count == 0 && !plan->settings.kv_on_host;
    char why[128];

    *threads = (struct engine_threads){0};
    if (core_count > 0)
        limit(threads, core_count, "one for each core of this machine");
    if (facts->cpus > 0)
        limit(threads, facts->cpus, "one for each CPU that this process may run on");
    if (facts->quota_known) {
        snprintf(why, sizeof why, "the CPU quota here is of %u.%02u CPUs; more would be throttled",
                 (unsigned)(facts->quota_permille / 1000),
                 (unsigned)(facts->quota_permille % 1000 / 10));
        limit(threads, facts->quota_permille / 1000, why);
    }
    if (near_cpus > 0 && on_cards)
        limit(threads, near_cpus, "one for each CPU on the NUMA node of the cards");
}
