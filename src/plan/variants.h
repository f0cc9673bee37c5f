/* variants.h - private to the plan module: one search in progress, and the variants of its split.
 */
#ifndef PLAN_VARIANTS_H
#define PLAN_VARIANTS_H

#include "search.h"

/* A card more costs a driver context, a compute buffer and whatever else it could do: it must save
 * this part of a request, or hold what would not fit without it. */
#define VARIANTS_CARD_PRICE 0.05

/* About 300 KB: on the heap, for the length of one search. */
struct search {
    const struct search_request *request;
    struct dgo_settings settings;
    struct plan_memory memory;
    struct cost_model cost;
    struct place_problem problem;
    uint32_t gpu_count, gpu[DGO_GPU_MAX]; /* device of the problem -> GPU of the machine */
    uint64_t withheld_bytes[DGO_GPU_MAX]; /* by repair, by GPU of the machine */
    bool host_endless;                    /* host memory is not asked for now */
};

/* Heap memory: free() it. */
DGO_MUST_CHECK
enum dgo_status variants_new(const struct search_request *request, struct search **search,
                             struct dgo_error *err);

/* Memory and cost of the settings with the experts of `cpu_moe` layers in host memory. */
DGO_MUST_CHECK
enum dgo_status variants_load(struct search *search, uint32_t cpu_moe, struct dgo_error *err);

/* Of how many first layers host memory can hold what they leave there, all loaded so. */
uint32_t variants_experts_held(const struct search *search);

/* The speed model anew, for so many requests at once. */
void variants_cost(struct search *search, uint32_t concurrent);

/* Whether any variant has a placement with `extra` bytes more on each card than there are, and
 * `spare` bytes left beyond the margin. */
DGO_MUST_CHECK
enum dgo_status variants_fit(struct search *search, uint64_t extra, uint64_t spare, bool *fits,
                             struct dgo_error *err);

/* The fastest placement of all variants. */
DGO_MUST_CHECK
enum dgo_status variants_solve(struct search *search, uint64_t extra, uint64_t spare, bool *found,
                               struct place_answer *best, struct dgo_error *err);

/* What each card has for weights and cache in its most favourable role: for the lower bound. */
void variants_widest_rooms(struct search *search, uint64_t rooms[DGO_GPU_MAX]);

#endif
