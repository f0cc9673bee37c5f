/* dgo_advice.h - from a workload to the engine's settings: slots, context, batches, and what to
 * expect of them.
 *
 * The arithmetic is pure; how fast a machine is comes from whoever answers a probe: the planner
 * (dgo_advise_plan), or a test.  Seconds, tokens, bytes.  Any thread. */
#ifndef DGO_ADVICE_H
#define DGO_ADVICE_H

#include "dgo_batch.h"
#include "dgo_plan.h"

enum { DGO_ADVICE_SLOTS_MAX = 256, DGO_ADVICE_STEP = 256 };

/* Of the requests, the part that must fit a slot, and what is kept beside. */
#define DGO_ADVICE_PERCENTILE 0.99
#define DGO_ADVICE_MARGIN     0.1
/* Slots beyond the mean number of requests at once; above this utilisation queues grow fast (at 0.8
 * the mean wait of M/M/1 is four service times). */
#define DGO_ADVICE_HEADROOM    1.2
#define DGO_ADVICE_UTILISATION 0.8

/* What the advice is made for. */
struct dgo_mix {
    double prompt_tokens, generated_tokens; /* means */
    bool generated_assumed;                 /* not in the workload: the planner's default */
    bool rate_known;
    double mean_per_s, peak_per_s; /* requests arriving */
    double token_latency_s;        /* the most between two tokens of one answer; 0: no target */
    uint32_t context_per_slot;     /* dgo_advice_context */
};

/* The percentile of `lengths` (prompt and answer together) plus the margin, a multiple of 256. */
uint32_t dgo_advice_context(const struct dgo_lengths *lengths);

/* Means, rate and context of a workload.  `total` is the lengths of prompt and answer together (of
 * prompts where answers are not known: then `generated_assumed` tokens are added). */
void dgo_mix_make(const struct dgo_lengths *prompt, const struct dgo_lengths *generated,
                  const struct dgo_lengths *total, const struct dgo_arrivals *arrivals,
                  double generated_assumed, double token_latency_s, struct dgo_mix *mix);

/* A machine at `slots` busy slots. */
struct dgo_probe_answer {
    bool fits;         /* in memory, without giving up speed (layers pushed to the host) */
    double step_s;     /* one token for each of the slots */
    double prompt_s;   /* the mean prompt, alone */
    uint64_t kv_bytes; /* reserved for all slots */
};
typedef enum dgo_status (*dgo_probe_fn)(uint32_t slots, void *data, struct dgo_probe_answer *answer,
                                        struct dgo_error *err);

enum dgo_limit { DGO_LIMIT_ARRIVALS, DGO_LIMIT_MEMORY, DGO_LIMIT_LATENCY, DGO_LIMIT_GAIN };
const char *dgo_limit_name(enum dgo_limit limit); /* "arrivals", "memory", "latency", "gain" */

struct dgo_advice {
    uint32_t slots;
    enum dgo_limit limit;   /* why not more of them */
    uint32_t slots_memory;  /* the most that fit */
    uint32_t slots_latency; /* the most within the target; 0: no target */
    bool latency_missed;    /* even one slot is slower than the target */
    uint32_t context_per_slot, context_tokens;
    uint64_t kv_reserved_bytes, kv_used_bytes; /* used: by the mean requests at once */

    double concurrency; /* Little's law: requests at once at the mean rate; all slots if it is too
                           much */
    double utilisation, peak_utilisation;     /* of what `slots` can serve; 0: rate not known */
    bool overloaded;                          /* peak utilisation above DGO_ADVICE_UTILISATION */
    double served_per_s;                      /* requests, with every slot busy */
    double tokens_per_s;                      /* generated, with every slot busy */
    double first_token_s, token_s, request_s; /* of a mean request, once it has a slot */
};

/* Probes ever more slots until memory, latency or gain ends; then Little's law over what was
 * learned.  DGO_ENOFIT: not even one slot fits; other errors are the probe's. */
enum dgo_status dgo_advise(const struct dgo_mix *mix, dgo_probe_fn probe, void *data,
                           struct dgo_advice *advice, struct dgo_error *err) DGO_MUST_CHECK;

/* The planner as the one who answers. */
struct dgo_planned_advice {
    struct dgo_advice advice;
    struct dgo_plan plan; /* for the advised slots, context and micro-batch */
    uint32_t batch_tokens, ubatch_tokens;
    uint32_t max_num_seqs, max_num_batched_tokens; /* the same for engines with a paged cache */
};

/* `intent` holds the user's own wishes; what is 0 in it is advised.  DGO_ENOFIT leaves the nearest
 * plan in *made. */
enum dgo_status dgo_advise_plan(const struct dgo_machine *machine, const struct dgo_model *model,
                                const struct dgo_intent *intent,
                                const struct dgo_engine_rules *rules, const struct dgo_mix *mix,
                                const struct dgo_lengths *prompt, struct dgo_planned_advice *made,
                                struct dgo_error *err) DGO_MUST_CHECK;

#endif
