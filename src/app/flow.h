/* flow.h - everything that is decided before a process exists: one struct, filled from left to
 * right by the arrows of docs/ARCHITECTURE.md.  Private to app and the faces. */
#ifndef FLOW_H
#define FLOW_H

#include "dgo_engine.h"
#include "dgo_gpu.h"
#include "dgo_model.h"
#include "dgo_plan.h"
#include "dgo_profile.h"
#include "dgo_sampler.h"
#include "options.h"
#include "plan_cache.h"

#include <limits.h>

struct dgo_store;

/* About 400 KiB: static or heap.  flow_done releases whatever has been filled. */
struct flow {
    const struct options *options; /* the user's; outlives the flow */
    char *const *environment;

    /* Added to what each GPU of a look has free: memory that is promised to others is taken off,
     * memory that will be given back is put on.  Zero: as the driver says. */
    int64_t free_change_bytes[DGO_GPU_MAX];

    struct dgo_sampler *sampler; /* holds the driver open between looks */
    uint64_t look_count;
    struct dgo_machine machine; /* flow_look */
    struct dgo_model *model;    /* flow_read */
    struct dgo_intent intent;   /* flow_intend */

    const struct dgo_engine *engine; /* flow_find_engine */
    bool binary_found;
    char binary[PATH_MAX];
    bool probed;
    struct dgo_probe probe;
    char binary_hash[65];
    struct dgo_engine_rules rules;

    char calibrated[160]; /* "2 cards calibrated on 2026-11-27 (Q4_K, build 11669)"; "": none is */

    bool planned;         /* plan holds a placement, fitting or the nearest */
    struct dgo_plan plan; /* flow_plan */
    enum context_source plan_source;
    bool command_made;
    struct dgo_command command; /* flow_command */

    struct dgo_store *store; /* NULL: none can be had; nothing depends on it */
};

void flow_init(struct flow *flow, const struct options *options, char *const *environment);

/* Each arrow needs those above it.  All fail with a sentence that names the next step.  Each runs
 * as the job of its component. */
DGO_MUST_CHECK enum dgo_status flow_look(struct flow *flow, struct dgo_error *err);
DGO_MUST_CHECK enum dgo_status flow_read(struct flow *flow, const char *model_path,
                                         struct dgo_error *err);
DGO_MUST_CHECK enum dgo_status flow_intend(struct flow *flow, struct dgo_error *err);

/* Finds and probes the engine.  `needed`: not having one is a failure (run), else it is not (plan:
 * the newest known build is taken). */
DGO_MUST_CHECK enum dgo_status flow_find_engine(struct flow *flow, bool needed,
                                                struct dgo_error *err);

/* DGO_ENOFIT leaves the nearest placement in flow->plan (dgo_plan_make).  A plan made before for
 * the same question is taken from the cache.  Its devices have the names that an engine started by
 * flow_command will use: it sees the plan's cards only, in the plan's order. */
DGO_MUST_CHECK enum dgo_status flow_plan(struct flow *flow, struct dgo_error *err);

/* A sentence when the engine cannot read the model's format.  After flow_find_engine. */
DGO_MUST_CHECK enum dgo_status flow_check_format(const struct flow *flow, struct dgo_error *err);

/* The smallest additions with which the GPUs would carry the model, under the engine's own rules.
 * After flow_plan. */
DGO_MUST_CHECK enum dgo_status flow_need(struct flow *flow, struct dgo_needs *needs,
                                         struct dgo_error *err);

/* Takes flow->plan to the next smaller one after it ran out of memory on `device`
 * (dgo_plan_shrink). A failure leaves it alone. */
DGO_MUST_CHECK enum dgo_status flow_shrink(struct flow *flow, int32_t device, char change[160],
                                           struct dgo_error *err);

/* The port in a command that is shown and not started: the user's, else the engine's own. */
enum { FLOW_PORT_DEFAULT = 8080 };
uint16_t flow_shown_port(const struct flow *flow);

/* From plan to argv and environment; replaces an earlier command.  `port` is where the engine will
 * listen. */
DGO_MUST_CHECK enum dgo_status flow_command(struct flow *flow, uint16_t port,
                                            const char *const *extra_args, uint32_t extra_count,
                                            struct dgo_error *err);

/* The environment of that command, in `arena`. */
DGO_MUST_CHECK enum dgo_status flow_environment(struct flow *flow, struct dgo_arena *arena,
                                                const char ***made, struct dgo_error *err);

/* The plan and its command in the words of another tool, into `text`, and into the file `path`
 * unless NULL.  `flow` may be NULL for a format that needs no plan. */
struct dgo_export;
DGO_MUST_CHECK enum dgo_status flow_export(const struct flow *flow, const struct dgo_export *format,
                                           const char *name, const char *program, const char *path,
                                           struct dgo_text *text, struct dgo_error *err);

/* A command as a line for a shell (dgo_command_text). */
void flow_preview(const struct dgo_command *shown, char *const *parent, struct dgo_text *text);

/* One line of the engine's log into its report.  Loop thread, in place. */
void flow_read_line(struct flow *flow, struct dgo_report *report, const char *line, size_t length);

/* Plan against what the report says. */
void flow_compare(struct flow *flow, struct dgo_report *report, struct dgo_comparison *comparison);

/* Asks the engine for its devices, in the environment of the launch: one that the plan needs and
 * the engine does not see is DGO_EUNSUPPORTED.  After flow_plan; needs a binary. */
DGO_MUST_CHECK enum dgo_status flow_check_devices(struct flow *flow, struct dgo_error *err);

/* Where state is kept: --state-dir, else $XDG_STATE_HOME/dualgpuopt, else
 * ~/.local/state/dualgpuopt; false: nowhere.  The folder need not exist. */
bool flow_state_folder(const struct options *options, char *directory, size_t size);

/* Applies free_change_bytes to the machine, for a flow that looked without them. */
void flow_change_free(struct flow *flow);

/* All arrows up to flow_plan, in order. `engine_needed` as in flow_find_engine. */
DGO_MUST_CHECK enum dgo_status flow_prepare(struct flow *flow, const char *model_path,
                                            bool engine_needed, struct dgo_error *err);

/* Machine, model and the engine's rules, then what the engine's flags in `args` would take. */
DGO_MUST_CHECK enum dgo_status flow_estimate(struct flow *flow, const char *model_path,
                                             const char *const *args, uint32_t arg_count,
                                             struct dgo_estimate *estimate, struct dgo_error *err);

/* The first executable of that name on the PATH (absolute entries only). */
bool flow_on_path(const char *name, char *found, size_t size);

void flow_done(struct flow *flow);

#endif
