/* dgo_tensor.h - every layer on every card (llama.cpp's -sm tensor): what it would hold, what it
 * would do for speed, and whether the link pays for it.
 *
 * Matrices are cut by heads and rows over the cards and read at the same time; in exchange each
 * layer adds up its results over all cards twice.  docs/FORMULAS.md, "Tensor split", has the
 * arithmetic and what a real engine showed.  Pure; any thread. */
#ifndef DGO_TENSOR_H
#define DGO_TENSOR_H

#include "dgo_plan.h"

/* So much faster must a request be before it is recommended: the mode is marked experimental. */
#define DGO_TENSOR_WORTH 1.05

struct dgo_tensor_split {
    bool possible;
    char why_not[192]; /* the engine would refuse it, or there is one card only */
    uint32_t device_count;
    struct {
        uint32_t gpu_index;
        uint32_t part; /* of `parts`: -ts */
        uint64_t weights_bytes, context_bytes, compute_bytes;
        uint64_t overhead_bytes, margin_bytes, free_bytes;
    } device[DGO_GPU_MAX];
    uint32_t parts; /* cache heads, which are what is dealt out */
    bool fits;
    uint32_t limiting; /* index in device, when it does not fit */
    uint64_t missing_bytes;
    bool direct; /* the cards reach each other without the host */
    /* One token: the slowest card's reading, launches, and the sums over the link. */
    double reading_s, launches_s, sums_s;
    double sum_s; /* one of the 2 x layer_count */
    double decode_tokens_per_second, prefill_tokens_per_second;
    double request_s, plan_request_s; /* a typical request, so and as planned */
    bool faster; /* fits, and a request is DGO_TENSOR_WORTH faster than planned */
    bool pays;   /* and the cards reach each other directly: then it is recommended */
};

/* For the plan's context, slots and cache, over the cards of the intent.  What the engine refuses
 * is not a failure: `possible` says so.  Fails as dgo_plan_judge. */
DGO_MUST_CHECK
enum dgo_status dgo_tensor_split_make(const struct dgo_machine *machine,
                                      const struct dgo_model *model,
                                      const struct dgo_intent *intent,
                                      const struct dgo_engine_rules *rules,
                                      const struct dgo_plan *plan, struct dgo_tensor_split *split,
                                      struct dgo_error *err);

/* The same over exactly so many of the fastest cards, 2 at least. */
DGO_MUST_CHECK
enum dgo_status dgo_tensor_split_over(const struct dgo_machine *machine,
                                      const struct dgo_model *model,
                                      const struct dgo_intent *intent,
                                      const struct dgo_engine_rules *rules,
                                      const struct dgo_plan *plan, uint32_t card_count,
                                      struct dgo_tensor_split *split, struct dgo_error *err);

/* Adds it to a plan that fits as an alternative, with its own sizes and speed, where it pays; else
 * leaves the plan as it is.  Fails as dgo_tensor_split_make. */
DGO_MUST_CHECK
enum dgo_status dgo_tensor_split_offer(const struct dgo_machine *machine,
                                       const struct dgo_model *model,
                                       const struct dgo_intent *intent,
                                       const struct dgo_engine_rules *rules, struct dgo_plan *plan,
                                       struct dgo_error *err);

/* The sentence of it: "-sm tensor over 2 cards would decode 41.2 tokens/s instead of 28.0: ..." */
void dgo_tensor_split_text(const struct dgo_model *model, const struct dgo_plan *plan,
                           const struct dgo_tensor_split *split, char text[512]);

#endif
