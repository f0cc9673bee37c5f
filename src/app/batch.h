/* batch.h - everything that `batch` says about a workload, as one value.  Private to app and the
 * faces. */
#ifndef APP_BATCH_H
#define APP_BATCH_H

#include "dgo_arena.h"
#include "dgo_advice.h"
#include "dgo_grouping.h"
#include "requests.h"

#include <jansson.h>

enum { BATCH_PADDING_ROWS = 4 };

struct flow;

struct batch_question {
    uint32_t capacity_tokens; /* of a bin; 0: dgo_pack_capacity_default */
    double generated_tokens;  /* of an answer where the file does not say; 0: the planner's 400 */
    double flush_after_s;     /* a request waits so long for company; 0: half a second */
    double token_latency_s;   /* the most between two tokens; 0: no target */
};

/* batch_done frees what it owns; `requests` stays the caller's and must outlive it. */
struct batch_report {
    const struct requests *requests;
    const char *tokenizer; /* that counted texts; NULL: none did */
    struct dgo_arena arena;
    struct dgo_lengths prompt, generated, total; /* generated, total: where known */
    struct dgo_histogram prompt_histogram, generated_histogram;
    struct dgo_buckets bucket[DGO_BUCKET_MAX];
    struct dgo_padding padding[BATCH_PADDING_ROWS];
    struct dgo_packing packing;
    bool arrivals_known;
    struct dgo_arrivals arrivals;
    struct dgo_grouping_policy policy; /* what the simulation below followed */
    struct dgo_simulation engine;
    bool engine_assumed; /* not the planner's speed: one that the requests keep busy to four fifths
                          */
    struct dgo_simulated grouped, queued; /* in buckets; in one row, as they come */
    struct dgo_mix mix;
    bool advised; /* `planned` holds advice */
    struct dgo_planned_advice planned;
    char model_name[128];
    char no_advice[DGO_ERROR_TEXT_MAX]; /* why there is none although a model was named */
};

/* Runs under COMPONENT_BATCH. */
DGO_MUST_CHECK
enum dgo_status batch_analyse(const struct requests *requests,
                              const struct batch_question *question, struct batch_report *report,
                              struct dgo_error *err);

/* Adds what a model on a machine makes of it.  `flow` holds the model, the machine, the user's
 * intent and the engine's rules (flow_read, flow_look, flow_intend, flow_find_engine). */
DGO_MUST_CHECK
enum dgo_status batch_advise(struct batch_report *report, const struct flow *flow,
                             struct dgo_error *err);

/* Replays the workload through the grouping policy: with the planner's prefill speed where there is
 * advice.  Runs under COMPONENT_GROUPING. */
DGO_MUST_CHECK
enum dgo_status batch_group(struct batch_report *report, const struct batch_question *question,
                            struct dgo_error *err);

/* --workload: reads and analyses the file, and puts into flow->intent what the user left open:
 * slots, context, batches, the mean request.  flow as for batch_advise. */
DGO_MUST_CHECK
enum dgo_status batch_intend(struct flow *flow, const char *path, struct dgo_error *err);

void batch_done(struct batch_report *report);

/* The report as JSON (view.h): .count, .prompt_tokens, .buckets[], .packing, ... */
json_t *view_batch(const struct batch_report *report);

/* Histogram, bucket bounds and what more buckets gain, as SVG; false: it did not fit into `out`. */
struct dgo_text;
enum { PICTURE_BATCH_MAX = 65536 };
bool picture_batch(const struct batch_report *report, struct dgo_text *out);

#endif
