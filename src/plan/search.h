/* search.h - private to the plan module: the best placement for settings whose context, batches
 * and types are decided.
 *
 * Joins memory (bytes), cost (seconds) and place (exact split).  Every answer has been through
 * dgo_estimate_make with the very settings it carries, so what a plan says and what an estimate of
 * its flags says cannot differ. */
#ifndef PLAN_SEARCH_H
#define PLAN_SEARCH_H

#include "cost.h"
#include "memory.h"
#include "place.h"

/* Who computes what. */
enum search_room {
    SEARCH_GPUS,    /* every layer on GPUs */
    SEARCH_EXPERTS, /* all on GPUs but routed experts of the first layers (-ncmoe), as few as can */
    SEARCH_CPU,     /* the first layers on the CPU (-ngl) */
};

struct search_request {
    const struct dgo_machine *machine;
    const struct dgo_model *model;
    const struct dgo_engine_rules *rules;
    struct dgo_settings settings; /* context, slots, batches, types; the placement is the answer */
    uint64_t margin_bytes[DGO_GPU_MAX];
    bool safety;       /* add what a compute figure may be short of to the margins */
    uint32_t gpu_mask; /* 0: all */
    bool one_gpu;      /* exactly one */
    bool every_gpu;    /* all that may be used, even where fewer would be faster */
    bool most_spare;   /* the greatest spare on the fullest card, before speed */
    enum search_room room;
    double prompt_tokens, generated_tokens; /* 0: a chat */
    uint32_t concurrent_requests;           /* 1.. */
};

struct search_answer {
    struct dgo_settings settings;
    struct dgo_estimate estimate; /* margins hold the safety term */
    struct dgo_prediction predicted;
};

/* GPUs of the machine that can be planned for: allowed by the mask, readable, free memory known. */
uint32_t search_usable(const struct dgo_machine *machine, uint32_t gpu_mask,
                       uint32_t gpus[DGO_GPU_MAX]);

/* The best placement; `*found` false when none fits. */
DGO_MUST_CHECK
enum dgo_status search_best(const struct search_request *request, bool *found,
                            struct search_answer *answer, struct dgo_error *err);

/* Whether there is one: much cheaper. */
DGO_MUST_CHECK
enum dgo_status search_fits(const struct search_request *request, bool *fits,
                            struct dgo_error *err);

/* The placement on GPUs that would fit if every card had the fewest bytes more: it does not fit,
 * and its estimate says what is missing where. */
DGO_MUST_CHECK
enum dgo_status search_nearest(const struct search_request *request, struct search_answer *answer,
                               struct dgo_error *err);

/* Estimate and prediction for settings that were not searched for. */
DGO_MUST_CHECK
enum dgo_status search_judge(const struct search_request *request,
                             const struct dgo_settings *settings, struct search_answer *answer,
                             struct dgo_error *err);

#endif
