/* cmd_resources.c - `dualgpuopt resources`: what runs where, who may take VRAM, and the proof that
 * we take none. */
#include "cmd.h"
#include "client.h"
#include "dgo_app.h"
#include "flow.h"
#include "print.h"
#include "proof.h"
#include "self_check.h"
#include "view_resources.h"

#include <stdlib.h>

/* The real cards, whatever `--gpus` says: a machine file proves nothing about this process.  The
 * driver's library stays loaded until `source` is closed, so the proof sees what it brings along.
 */
static void look_at_driver(const struct cmd_call *call, struct dgo_gpu_source **source,
                           struct dgo_machine *machine, struct proof_question *question,
                           struct dgo_error *err)
{
    const struct dgo_gpu_options options = {.nvml_library =
                                                option_text(&call->options, OPTION_NVML)};
    enum dgo_status status = dgo_gpu_open(&options, source, err);

    if (status == DGO_OK)
        status = dgo_gpu_take(*source, machine, err);
    if (status == DGO_OK)
        question->machine = machine;
    else if (status != DGO_ENOGPU)
        question->driver_problem = err->text;
}

static struct proof *prove(const struct cmd_call *call, const struct flow *flow)
{
    static struct dgo_machine machine;
    struct proof *proof = malloc(sizeof *proof);
    struct proof_question question = {0};
    struct dgo_gpu_source *source = NULL;
    struct dgo_error err = {0};

    if (!proof)
        return NULL;
    if (flow->machine.gpu_count > 0 && dgo_machine_is_live(&flow->machine))
        question.machine = &flow->machine;
    else
        look_at_driver(call, &source, &machine, &question, &err);
    proof_take(&question, proof);
    dgo_gpu_close(source);
    return proof;
}

/* This command looks once; the one that looks on and on is the daemon, where one runs. */
static void add_daemon_sampler(const struct cmd_call *call, json_t *resources)
{
    json_t *answer = NULL;

    if (client_ask(&call->options, "GET", "/api/v1/resources", NULL, &answer, NULL) != DGO_OK)
        return;
    json_object_set(resources, "sampler", json_object_get(answer, "sampler"));
    json_decref(answer);
}

static int show(const struct cmd_call *call, const struct dgo_app *app, const struct flow *flow,
                const struct self_check *check, const struct proof *proof)
{
    json_t *resources = view_resources(app, &flow->machine, NULL, check, proof);
    int status = 0;

    if (resources && !option_given(&call->options, OPTION_GPUS))
        add_daemon_sampler(call, resources);
    if (option_given(&call->options, OPTION_JSON) || !resources) {
        status = print_json(resources);
    } else {
        print_machine_origin(&flow->machine);
        print_resources(resources);
        json_decref(resources);
    }
    if (proof && !proof->proven) {
        print_message("%s", proof->sentence);
        status = 1;
    }
    for (uint32_t i = 0; i < check->step_count; i++)
        if (check->step[i].verdict == CHECK_FAILED) {
            print_message("self-check, %s: %s", check->step[i].name, check->step[i].text);
            status = 1;
        }
    return status;
}

static int run(const struct cmd_call *call)
{
    static struct flow flow;
    static struct self_check check;
    struct dgo_app app = {0};
    struct proof *proof = NULL;
    struct dgo_error err = {0};
    int status;

    if (dgo_app_open(&app, &err) != DGO_OK)
        return print_failure(&err);
    flow_init(&flow, &call->options, call->environment);
    self_check_run(&app, &flow, call->arg_count ? call->args[0] : NULL, &check);
    if (option_given(&call->options, OPTION_PROVE))
        proof = prove(call, &flow);
    if (option_given(&call->options, OPTION_PROVE) && !proof) {
        print_message("out of memory");
        status = 1;
    } else {
        status = show(call, &app, &flow, &check, proof);
    }
    free(proof);
    flow_done(&flow);
    dgo_app_close(&app);
    return status;
}

const struct cmd cmd_resources = {
    .name = "resources",
    .does = "show what runs where: components, lanes, event bus, VRAM ledger",
    .usage = "[MODEL.gguf] [--prove] [options]",
    .examples = "dualgpuopt resources\n"
                "dualgpuopt resources --prove\n"
                "dualgpuopt resources model.gguf --gpus examples/machines/two-unequal.yaml --json\n"
                "DUALGPUOPT_COMPONENT_OPTIMIZER=auto dualgpuopt resources",
    .details =
        "The figures are live: the resource manager and the event bus are started in this "
        "process,\n"
        "real components work for some milliseconds (machine, ledger, options, views, events, and\n"
        "with MODEL a plan made twice, the second time from the cache), and what was counted is\n"
        "shown. DUALGPUOPT_COMPONENT_<NAME>=cpu|gpu|auto places a component by hand.\n\n"
        "--prove looks, while the driver's library is loaded, at the GPUs' process lists (this\n"
        "process and its children must not be there), at the mapped libraries (none for compute "
        "or\n"
        "graphics) and at the open devices (none but those that reading needs). It exits with 1 "
        "if\n"
        "one of them speaks against us or cannot be read.\n\n"
        "Where a daemon runs, its looks at the cards are counted too: those that failed, that "
        "began\n"
        "late, that fell out, and those during which readings were stale.",
    .arg_max = 1,
    .options = {OPTION_PROVE, OPTION_GPUS, OPTION_MARGIN, OPTION_CTX, OPTION_PARALLEL,
                OPTION_OBJECTIVE, OPTION_ENGINE, OPTION_ENGINE_BUILD, OPTION_JSON, OPTION_SOCKET,
                OPTION_STATE_DIR, OPTION_NVML, OPTION_VERBOSE, OPTION_HELP},
    .run = run,
};
