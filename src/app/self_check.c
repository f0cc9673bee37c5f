/* self_check.c - looks, plans, formats and publishes for some milliseconds, and says what it saw.
 */
#include "self_check.h"

#include "dgo_clock.h"
#include "dgo_units.h"
#include "view.h"
#include "vram.h"

#include <inttypes.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define WAIT_NS (10 * DGO_NS_PER_S) /* for what takes milliseconds */

/* What a step works on and where it writes its words. */
struct check {
    struct dgo_app *app;
    struct flow *flow;
    const char *model_path;
    char *text;
    size_t text_size;
};

const char *check_verdict_name(enum check_verdict verdict)
{
    static const char *const names[] = {"passed", "failed", "skipped"};

    return (unsigned)verdict < sizeof names / sizeof names[0] ? names[verdict] : "unknown";
}

static enum check_verdict say(struct check *check, enum check_verdict verdict, const char *fmt, ...)
    DGO_PRINTF(3, 4);

static enum check_verdict say(struct check *check, enum check_verdict verdict, const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    vsnprintf(check->text, check->text_size, fmt, args);
    va_end(args);
    return verdict;
}

static uint64_t now_ns(void)
{
    return dgo_clock_monotonic_ns(dgo_clock_system());
}

/* ---- machine and ledger ---- */

static enum check_verdict check_machine(struct check *check)
{
    struct dgo_error err = {0};
    const enum dgo_status status = flow_look(check->flow, &err);

    if (status == DGO_ENOGPU)
        return say(check, CHECK_SKIPPED, "%.200s", err.text);
    if (status != DGO_OK)
        return say(check, CHECK_FAILED, "%.200s", err.text);
    return say(check, CHECK_PASSED, "%" PRIu32 " GPUs by %s", check->flow->machine.gpu_count,
               check->flow->machine.source);
}

static enum check_verdict check_ledger(struct check *check)
{
    struct dgo_error err = {0};

    if (check->flow->machine.gpu_count == 0)
        return say(check, CHECK_SKIPPED, "no GPU, nothing to book");
    if (vram_observe(&check->flow->machine, option_number(check->flow->options, OPTION_MARGIN),
                     &err) != DGO_OK)
        return say(check, CHECK_FAILED, "%.200s", err.text);
    return say(check, CHECK_PASSED, "the ledger knows what the driver said");
}

/* ---- options: a job of the EXPRESS lane for each round ---- */

static enum check_verdict check_options(struct check *check)
{
    const uint64_t begun_ns = now_ns();
    char each[DGO_UNIT_TEXT_MAX];

    for (int i = 0; i < CHECK_ROUNDS; i++) {
        struct dgo_error err = {0};

        if (flow_intend(check->flow, &err) != DGO_OK)
            return say(check, CHECK_FAILED, "%.200s", err.text);
    }
    return say(check, CHECK_PASSED, "%d times there and back, %s each", CHECK_ROUNDS,
               dgo_duration_text((now_ns() - begun_ns) / CHECK_ROUNDS, each));
}

/* ---- plan: made, then found ---- */

static enum check_verdict check_plan(struct check *check)
{
    struct flow *flow = check->flow;
    char first[DGO_UNIT_TEXT_MAX], second[DGO_UNIT_TEXT_MAX];
    struct dgo_error err = {0};
    uint64_t begun_ns, made_ns;
    enum dgo_status status;

    if (!check->model_path)
        return say(check, CHECK_SKIPPED, "no MODEL was given");
    if (flow->machine.gpu_count == 0)
        return say(check, CHECK_SKIPPED, "no GPU to plan for; --gpus FILE describes some");
    status = flow_read(flow, check->model_path, &err);
    if (status == DGO_OK)
        status = flow_find_engine(flow, false, &err);
    begun_ns = now_ns();
    if (status == DGO_OK)
        status = flow_plan(flow, &err);
    made_ns = now_ns();
    if (status != DGO_OK && status != DGO_ENOFIT)
        return say(check, CHECK_FAILED, "%.200s", err.text);
    if (flow_plan(flow, &err) != status || flow->plan_source != CONTEXT_HIT)
        return say(check, CHECK_FAILED, "the same question was not answered from the cache");
    return say(check, CHECK_PASSED, "%smade in %s, then found in %s",
               status == DGO_ENOFIT ? "does not fit, " : "",
               dgo_duration_text(made_ns - begun_ns, first),
               dgo_duration_text(now_ns() - made_ns, second));
}

/* ---- views: a batch of jobs of one group ---- */

static enum dgo_status job_view(void *data)
{
    const struct dgo_machine *machine = data;
    json_t *view = view_machine(machine);
    char *text = view ? json_dumps(view, JSON_COMPACT) : NULL;
    const enum dgo_status status = text ? DGO_OK : DGO_ENOMEM;

    free(text);
    json_decref(view);
    return status;
}

static enum check_verdict check_views(struct check *check)
{
    struct dgo_job jobs[CHECK_ROUNDS];
    struct dgo_component_stats before, after;
    const dgo_component_id id = app_component(COMPONENT_VIEW_FORMATTING);
    struct dgo_group group = {0};
    struct dgo_error err = {0};
    enum dgo_status status;

    dgo_component_read_stats(id, &before);
    status = dgo_group_new(&group, &err);
    for (int i = 0; i < CHECK_ROUNDS; i++)
        jobs[i] = (struct dgo_job){
            .component = id, .fn = job_view, .arg = &check->flow->machine, .group = group};
    if (status == DGO_OK)
        status = dgo_submit_many(jobs, CHECK_ROUNDS, NULL, NULL, &err);
    if (status == DGO_OK)
        status = dgo_group_wait(group, WAIT_NS, &err);
    if (status != DGO_OK) /* whatever was taken still reads the machine: not before it ended */
        dgo_group_wait(group, DGO_FOREVER, NULL);
    dgo_group_free(group);
    if (status != DGO_OK)
        return say(check, CHECK_FAILED, "%.200s", err.text);
    dgo_component_read_stats(id, &after);
    if (after.done - before.done < CHECK_ROUNDS)
        return say(check, CHECK_FAILED, "of %d jobs %" PRIu64 " are counted as done", CHECK_ROUNDS,
                   after.done - before.done);
    return say(check, CHECK_PASSED, "%d views made as one batch", CHECK_ROUNDS);
}

/* ---- bus: to a worker and to the loop, in order ---- */

struct listener {
    _Atomic uint64_t seen; /* the number of the last event; events must count 1, 2, 3 ... */
    _Atomic bool out_of_order;
};

static enum dgo_status on_check(const struct dgo_event *event, void *data)
{
    struct listener *listener = data;
    const struct check_event *check = event->payload;

    if (check->number != atomic_load(&listener->seen) + 1)
        atomic_store(&listener->out_of_order, true);
    atomic_store(&listener->seen, check->number);
    return DGO_OK;
}

static enum dgo_status publish_round(struct dgo_bus *bus, struct dgo_error *err)
{
    for (uint64_t number = 1; number <= CHECK_ROUNDS; number++) {
        const enum dgo_status status =
            dgo_bus_publish(bus, TOPIC_SELF_CHECK, 0, &(struct check_event){number});

        if (status != DGO_OK)
            return dgo_fail(err, status, "event %" PRIu64 " was refused", number);
    }
    return dgo_bus_drain(bus, WAIT_NS, err);
}

static enum check_verdict check_bus(struct check *check)
{
    static struct listener listeners[2]; /* outlives a handler that is late; read by the figures */
    static const char *const names[] = {"self check, worker", "self check, loop"};
    const uint64_t begun_ns = now_ns();
    struct dgo_error err = {0};
    char each[DGO_UNIT_TEXT_MAX];
    enum dgo_status status = DGO_OK;

    for (int i = 0; i < 2 && status == DGO_OK; i++) {
        struct dgo_subscription subscription;

        atomic_store(&listeners[i].seen, 0);
        atomic_store(&listeners[i].out_of_order, false);
        status = dgo_bus_subscribe(check->app->bus,
                                   &(struct dgo_subscriber){
                                       .name = names[i],
                                       .topics = DGO_TOPIC_BIT(TOPIC_SELF_CHECK),
                                       .fn = on_check,
                                       .data = &listeners[i],
                                       .lane = i == 0 ? DGO_LANE_NORMAL : DGO_LANE_UI,
                                   },
                                   &subscription, &err);
    }
    if (status == DGO_OK)
        status = publish_round(check->app->bus, &err);
    if (status != DGO_OK)
        return say(check, CHECK_FAILED, "%.200s", err.text);
    for (int i = 0; i < 2; i++)
        if (atomic_load(&listeners[i].out_of_order) ||
            atomic_load(&listeners[i].seen) != CHECK_ROUNDS)
            return say(check, CHECK_FAILED, "%s: events were lost or came in another order",
                       names[i]);
    return say(check, CHECK_PASSED, "%d events to a worker and to the loop, in order, %s each",
               CHECK_ROUNDS, dgo_duration_text((now_ns() - begun_ns) / CHECK_ROUNDS, each));
}

/* ---- lanes: background work must not disturb an engine ---- */

struct policy {
    int policy;
    pid_t thread;
};

static enum dgo_status job_policy(void *data)
{
    struct policy *seen = data;

    seen->policy = sched_getscheduler(0) & ~SCHED_RESET_ON_FORK;
    seen->thread = gettid();
    return DGO_OK;
}

static enum check_verdict check_background(struct check *check)
{
    struct policy seen = {-1, 0};
    const struct dgo_job job = {.lane = DGO_LANE_BACKGROUND, .fn = job_policy, .arg = &seen};
    struct dgo_lane_stats lane;
    struct dgo_future future;
    struct dgo_error err = {0};
    enum dgo_status status = dgo_submit(&job, &future, &err);

    /* However long it takes: a waiter on a busy machine runs the job itself in the end. */
    if (status == DGO_OK)
        status = dgo_wait(future, DGO_FOREVER, NULL, &err);
    if (status != DGO_OK)
        return say(check, CHECK_FAILED, "%.200s", err.text);
    dgo_lane_read_stats(DGO_LANE_BACKGROUND, &lane);
    if (dgo_resource_get()->is_inline)
        return say(check, CHECK_SKIPPED, "no threads, so no lanes: %s", dgo_resource_get()->why);
    if (seen.thread == gettid())
        return say(check, CHECK_SKIPPED, "the CPUs had no time left over, so the waiter ran it");
    if (seen.policy != SCHED_IDLE)
        return say(check, CHECK_SKIPPED, "the kernel did not give SCHED_IDLE but %s", lane.policy);
    return say(check, CHECK_PASSED, "a background job ran under %s", lane.policy);
}

static const struct {
    const char *name;
    enum check_verdict (*fn)(struct check *check);
} steps[] = {
    {"machine", check_machine},       {"ledger", check_ledger},
    {"options", check_options},       {"plan", check_plan},
    {"views", check_views},           {"bus", check_bus},
    {"background", check_background},
};
_Static_assert(sizeof steps / sizeof steps[0] <= CHECK_STEP_MAX, "a row for each step");

void self_check_run(struct dgo_app *app, struct flow *flow, const char *model_path,
                    struct self_check *all)
{
    struct check check = {.app = app, .flow = flow, .model_path = model_path};

    *all = (struct self_check){.passed = true};
    for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++) {
        struct check_step *step = &all->step[all->step_count++];
        const uint64_t begun_ns = now_ns();

        step->name = steps[i].name;
        check.text = step->text;
        check.text_size = sizeof step->text;
        step->verdict = steps[i].fn(&check);
        step->took_ns = now_ns() - begun_ns;
        all->passed &= step->verdict != CHECK_FAILED;
    }
}
