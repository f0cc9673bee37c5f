/* engine_threads.h - how many CPUs an engine may keep busy, and why: from the resource manager's
 * look at this machine (affinity, CPU quota), the cores, and the CPUs next to the plan's cards. */
#ifndef ENGINE_THREADS_H
#define ENGINE_THREADS_H

#include "dgo_plan.h"
#include "dgo_resource.h"

struct engine_threads {
    uint32_t count; /* 0 unknown: the engine decides */
    char why[128];  /* one clause, for --explain */
};

/* CPUs that share a NUMA node with the plan's cards, under `root` ("" the machine's own /sys); 0:
 * unknown, or the cards hang on different nodes. */
uint32_t engine_threads_near(const char *root, const struct dgo_machine *machine,
                             const struct dgo_plan *plan);

/* The least of what limits.  `near_cpus` (0 unknown) counts only where the plan computes nothing in
 * host memory: layers there want the memory of every node. */
void engine_threads_decide(const struct dgo_budget_facts *facts, uint32_t core_count,
                           uint32_t near_cpus, const struct dgo_plan *plan,
                           struct engine_threads *threads);

#endif
