/* workloads.h - workloads for tests: random ones, and the traces where they are present. */
#ifndef WORKLOADS_H
#define WORKLOADS_H

#include "dgo_batch.h"

/* Lengths of 1 to `most`, most of them short; the same for the same seed. */
void workload_random(struct dgo_workload *workload, uint64_t *seed, uint32_t count, uint32_t most);

/* From ../shared/data, or the folder that DGO_TEST_SHARED names; false: not there. */
bool workload_trace(struct dgo_workload *workload, const char *name);

/* 500 requests in three kinds with arrivals, of our own making: the seeded trace. */
void workload_seeded(struct dgo_workload *workload);

void workload_lengths(const struct dgo_workload *workload, struct dgo_arena *arena,
                      struct dgo_lengths *lengths);

#endif
