/* engine_threads.c - CPU threads of an engine from what this machine gives it. */
#include "engine_threads.h"

#include "near.h"

#include <stdio.h>

uint32_t engine_threads_near(const char *root, const struct dgo_machine *machine,
                             const struct dgo_plan *plan)
{
    cpu_set_t near, other;

    CPU_ZERO(&near);
    for (uint32_t d = 0; d < plan->settings.device_count; d++) {
        const uint32_t gpu = plan->settings.device_gpu[d];

        if (machine->gpu_node[gpu] > 0)
            continue; /* another machine's */
        if (!gpu_near_cpus(root, machine->gpu[gpu].pci_id, &other))
            return 0;
        if (CPU_COUNT(&near) > 0 && !CPU_EQUAL(&near, &other))
            return 0;
        near = other;
    }
    return (uint32_t)CPU_COUNT(&near);
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
