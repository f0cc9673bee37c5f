/* supervise_engine.c - the process of a launch: its port and environment, started or taken over,
 * watched for health. */
#include "supervise_internal.h"

#include "dgo_launch.h"
#include "dgo_log.h"
#include "dgo_units.h"
#include "learn.h"

#include <string.h>

/* What a start and a take-over have in common. */
static struct dgo_process_options process_options(struct supervise *launch)
{
    return (struct dgo_process_options){
        .keep = launch->options.keep,
        .term_wait_ns = dgo_max_u64(launch->options.stop_timeout_ns, 1), /* there 0 is 10 s */
        .line = supervise_on_line,
        .exited = supervise_on_exit,
        .data = launch,
    };
}

static enum dgo_status start_process(struct supervise *launch, struct dgo_error *err)
{
    struct dgo_arena arena = {0};
    struct dgo_process_options options = process_options(launch);
    const char **environment = NULL;
    enum dgo_status status;

    status = flow_environment(launch->flow, &arena, &environment, err);
    options.argv = launch->flow->command.arg;
    options.environment = environment;
    if (status == DGO_OK)
        status = dgo_process_start(launch->app->loop, &options, &launch->process, err);
    dgo_arena_done(&arena);
    return status;
}

static enum dgo_status start_health(struct supervise *launch, struct dgo_error *err)
{
    const struct dgo_health_options options = {
        .host = option_text(launch->flow->options, OPTION_HOST),
        .port = launch->port,
        .path = launch->flow->engine->health_path,
        .timeout_ns = launch->options.ready_timeout_ns,
        .ready = supervise_on_healthy,
        .timed_out = supervise_on_ready_timeout,
        .data = launch,
    };

    return dgo_health_start(launch->app->loop, &options, &launch->health, err);
}

/* A port that is taken is told now: the engine would find out only after it has loaded the model.
 */
static enum dgo_status choose_port(struct supervise *launch, struct dgo_error *err)
{
    const char *host = option_text(launch->flow->options, OPTION_HOST);
    const uint16_t wanted = launch->options.port;
    const uint16_t first = launch->port ? launch->port : FLOW_PORT_DEFAULT;
    uint16_t found = 0;
    const enum dgo_status status = dgo_port_find(host, wanted ? wanted : first, &found, err);

    if (status != DGO_OK)
        return status;
    if (wanted && found != wanted)
        return dgo_fail(err, DGO_EBUSY,
                        "port %u of %.64s cannot be had: another program uses it%s; choose another "
                        "--port, or 0 for a free one",
                        wanted, host,
                        wanted < 1024 ? ", or a port below 1024 is not allowed to you" : "");
    launch->port = found;
    return DGO_OK;
}

/* From now on our own threads give way to the engine's. */
static void protect(const struct supervise *launch)
{
    struct dgo_error err = {0};

    if (dgo_resource_protect((uint32_t)dgo_process_pid(launch->process), 0, &err) != DGO_OK)
        dgo_log(DGO_LOG_INFO, "the engine is not protected from our own threads: %s", err.text);
}

enum dgo_status supervise_start_engine(struct supervise *launch, struct dgo_error *err)
{
    enum dgo_status status = DGO_OK;

    if (launch->options.admit)
        status = launch->options.admit(launch->options.data, err);
    if (status == DGO_OK)
        status = choose_port(launch, err);
    if (status == DGO_OK)
        status = flow_command(launch->flow, launch->port, launch->options.extra_args,
                              launch->options.extra_count, err);
    if (status != DGO_OK)
        return status;
    dgo_process_free(launch->process);
    launch->process = NULL;
    memset(&launch->report, 0, sizeof launch->report);
    memset(&launch->comparison, 0, sizeof launch->comparison);
    launch->healthy = launch->in_grace = launch->adopted = false;
    launch->starts++;
    engine_witness_start(&launch->witness);
    learn_before(launch->learn);
    supervise_enter(launch, LAUNCH_STARTING, "starting %s", launch->flow->engine->binary);
    status = start_process(launch, err);
    if (status == DGO_OK)
        protect(launch);
    if (status == DGO_OK)
        status = start_health(launch, err);
    if (status == DGO_OK)
        supervise_enter(launch, LAUNCH_LOADING, "loading the model");
    return status;
}

enum dgo_status supervise_adopt_engine(struct supervise *launch, struct dgo_error *err)
{
    const struct dgo_process_options options = process_options(launch);
    enum dgo_status status = dgo_process_adopt(launch->app->loop, &options, &launch->process, err);

    if (status != DGO_OK)
        return status;
    protect(launch);
    status = start_health(launch, err);
    if (status == DGO_OK)
        supervise_enter(launch, LAUNCH_LOADING, "found again");
    return status;
}
