/* flow_wishes.c - what is asked beside a plan, by engines that plan under rules of their own, too.
 */
#include "flow_wishes.h"

#include "dgo_app.h"
#include "wish.h"

#include <stdlib.h>

/* Equal shards and stages of whole layers. */
static bool cuts_equally(const struct dgo_engine *engine)
{
    return engine->plan != NULL;
}

/* Its own default split and its own fit are known. */
static bool is_known(const struct dgo_engine *engine)
{
    return engine->read_flags != NULL;
}

static bool drafts(const struct dgo_engine *engine)
{
    return engine->own_draft;
}

enum dgo_status flow_check_wishes(const struct flow *flow, struct dgo_error *err)
{
    static const struct {
        enum option_id option;
        bool (*has_answer)(const struct dgo_engine *engine);
        const char *sentence; /* before the engine's name */
        const char *next;
    } rows[] = {
        {OPTION_DRAFT, drafts,
         "drafts of the model's own block are planned for llama.cpp's server, not for", ""},
        {OPTION_COMPARE, is_known,
         "what the engine would do by itself is known of llama.cpp, not of", "; leave it out"},
        {OPTION_TENSOR_PARALLEL, cuts_equally, "equal shards of a layer are none of the words of",
         "; plan for an engine that cuts so: --engine vllm"},
        {OPTION_PIPELINE_PARALLEL, cuts_equally, "a number of stages is none of the words of",
         "; choose cards with --use, or plan for an engine that cuts so: --engine vllm"},
        {OPTION_MEMORY_SHARE, cuts_equally, "a share of each card is none of the words of",
         "; what is left alone of a card is said with --margin"},
    };

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const enum option_id id = rows[i].option;

        /* What a configuration file says for all engines is no wish for this one. */
        if (option_given(flow->options, id) && !rows[i].has_answer(flow->engine) &&
            (flow->options->value[id].origin == ORIGIN_FLAG || id == OPTION_DRAFT))
            return dgo_fail(err, DGO_EUSAGE, "--%s: %s %s%s", option_specs[id].name,
                            rows[i].sentence, flow->engine->name, rows[i].next);
    }
    return DGO_OK;
}

/* ---- need ---- */

struct asking {
    struct flow *flow;
    struct dgo_needs *needs;
    struct dgo_error *err;
    struct dgo_plan *plan; /* an answer of the engine's planner */
};

/* What it refuses with the machine as it is, more memory may allow. */
static enum dgo_status fits_by_engine(const struct dgo_machine *machine,
                                      const struct dgo_intent *intent, bool *fits, double *speed,
                                      void *data, struct dgo_error *err)
{
    const struct asking *asking = data;
    struct dgo_engine_question question = {
        .machine = machine, .model = asking->flow->model, .intent = intent};
    enum dgo_status status = wish_question(asking->flow->options, &question, err);

    if (status != DGO_OK)
        return status;
    *asking->plan = (struct dgo_plan){0};
    status = asking->flow->engine->plan(&question, asking->plan, err);
    *fits = status == DGO_OK;
    *speed = asking->plan->predicted.decode_tokens_per_second;
    return status == DGO_ENOFIT || status == DGO_EINVAL ? DGO_OK : status;
}

static enum dgo_status job_need(void *data)
{
    struct asking *asking = data;
    struct flow *flow = asking->flow;
    enum dgo_status status;

    if (!flow->engine->plan)
        return dgo_plan_need(&flow->machine, flow->model, &flow->intent, &flow->rules,
                             asking->needs, asking->err);
    asking->plan = malloc(sizeof *asking->plan);
    if (!asking->plan)
        return dgo_fail(asking->err, DGO_ENOMEM, "no memory to find out what is needed");
    status = dgo_plan_need_by(&flow->machine, &flow->intent, fits_by_engine, asking, asking->needs,
                              asking->err);
    free(asking->plan);
    return status;
}

enum dgo_status flow_need(struct flow *flow, struct dgo_needs *needs, struct dgo_error *err)
{
    struct asking asking = {.flow = flow, .needs = needs, .err = err};

    return app_run(COMPONENT_CONTEXT_CALCULATION, job_need, &asking);
}
