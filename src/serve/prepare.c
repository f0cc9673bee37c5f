/* prepare.c - from a wish to a plan beside what already runs, on a worker.
 *
 * A plan is made for the memory that is free now, less what others were promised.  Where the model
 * would have its layers on the cards if it were alone, a plan that leaves some of them to the CPU
 * because of its neighbours is no fit: it would be slower by far, and nobody asked for that.  Then
 * others would have to go, and which is found by planning again without the first of them, the
 * first two, and so on, and then sparing each that is not needed after all. */
#include "launch.h"

#include "dgo_log.h"
#include "dgo_text.h"
#include "dgo_units.h"
#include "keep.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* A plan with this memory; the flow's machine was looked at with free_change_bytes already. */
static enum dgo_status plan_with(struct flow *flow, const struct dgo_machine *seen,
                                 const int64_t change[DGO_GPU_MAX], struct dgo_error *err)
{
    memcpy(&flow->machine, seen, sizeof *seen);
    memcpy(flow->free_change_bytes, change, sizeof flow->free_change_bytes);
    flow_change_free(flow);
    return flow_plan(flow, err);
}

static void sum_changes(const struct preparation *work, const int64_t base[DGO_GPU_MAX],
                        const bool gone[FLEET_MAX], int64_t sum[DGO_GPU_MAX])
{
    memcpy(sum, base, sizeof(int64_t) * DGO_GPU_MAX);
    for (uint32_t i = 0; i < work->other_count; i++)
        for (uint32_t g = 0; gone[i] && g < DGO_GPU_MAX; g++)
            sum[g] += work->other[i].gives_bytes[g];
}

struct room {
    struct preparation *work;
    struct dgo_machine *seen;
    int64_t base[DGO_GPU_MAX];
    uint32_t host_layers; /* that it would have in any case */
};

static bool fits_without(const struct room *room, const bool gone[FLEET_MAX])
{
    struct flow *flow = room->work->flow;
    int64_t change[DGO_GPU_MAX];

    sum_changes(room->work, room->base, gone, change);
    return plan_with(flow, room->seen, change, NULL) == DGO_OK &&
           flow->plan.estimate.host.layer_count <= room->host_layers;
}

/* Which of the others would have to go; false when even all of them would not do. */
static bool find_in_the_way(const struct room *room)
{
    struct preparation *work = room->work;
    uint32_t count = 0; /* of those that were looked at */

    for (uint32_t i = 0; i < work->other_count; i++)
        work->in_the_way[i] = work->other[i].must_go;
    while (!fits_without(room, work->in_the_way)) {
        while (count < work->other_count && work->in_the_way[count])
            count++;
        if (count == work->other_count)
            return false;
        work->in_the_way[count++] = true;
    }
    for (uint32_t i = 0; i + 1 < count; i++) { /* the last one was needed */
        if (work->other[i].must_go)
            continue;
        work->in_the_way[i] = false;
        if (!fits_without(room, work->in_the_way))
            work->in_the_way[i] = true;
    }
    return true;
}

/* After a plan beside the others was made (`planned`), judges it against the one alone. */
static enum dgo_status judge(struct preparation *work, enum dgo_status planned,
                             struct dgo_error *err)
{
    static const bool nobody[FLEET_MAX];
    struct flow *flow = work->flow;
    struct room room = {.work = work};
    int64_t alone[DGO_GPU_MAX];
    bool everybody[FLEET_MAX];
    struct dgo_error beside = *err;
    enum dgo_status status = DGO_OK;

    if (planned != DGO_OK && planned != DGO_ENOFIT)
        return planned;
    if (work->other_count == 0 ||
        (planned == DGO_OK && !work->group_rule[0] && flow->plan.estimate.host.layer_count == 0))
        return planned;
    room.seen = malloc(sizeof *room.seen);
    if (!room.seen)
        return dgo_fail(err, DGO_ENOMEM, "out of memory");
    memcpy(room.base, flow->free_change_bytes, sizeof room.base);
    /* The look itself, without the change that flow_look applied. */
    memset(flow->free_change_bytes, 0, sizeof flow->free_change_bytes);
    status = flow_look(flow, err);
    if (status != DGO_OK)
        goto out;
    memcpy(room.seen, &flow->machine, sizeof *room.seen);
    memset(everybody, 1, sizeof everybody);
    sum_changes(work, room.base, everybody, alone);
    status = plan_with(flow, room.seen, alone, err);
    if (status != DGO_OK)
        goto out; /* it fits nowhere, and says so */
    room.host_layers = flow->plan.estimate.host.layer_count;
    if (!work->group_rule[0] && fits_without(&room, nobody))
        goto out;
    work->fits_without = find_in_the_way(&room);
    status = DGO_ENOFIT;
    *err = beside; /* the sentence about the memory that is there now */
    if (work->group_rule[0])
        dgo_fail(err, DGO_ENOFIT, "%s", work->group_rule);
    else if (planned == DGO_OK)
        dgo_fail(err, DGO_ENOFIT,
                 "beside the launches that run, %" PRIu32 " of its layers would be left to the CPU",
                 flow->plan.estimate.host.layer_count);
out:
    free(room.seen);
    return status;
}

/* Everything but the plan, which is the one the engine was started with. */
static enum dgo_status prepare_adoption(struct preparation *work, struct dgo_error *err)
{
    struct flow *flow = work->flow;
    const struct launch *launch = work->launch;
    json_t *cards = NULL;
    enum dgo_status status = flow_read(flow, work->path, err);

    if (status == DGO_OK)
        status = flow_look(flow, err);
    if (status == DGO_OK)
        status = flow_intend(flow, err);
    if (status == DGO_OK)
        status = flow_find_engine(flow, true, err);
    if (status == DGO_OK)
        status = keep_load_plan(work->directory, work->id, &flow->plan, err);
    if (status != DGO_OK)
        return status;
    cards = restore_cards(&flow->machine);
    if (!json_equal(cards, launch->cards))
        status = dgo_fail(err, DGO_ESTATE, "the machine has other cards than when it was started");
    json_decref(cards);
    flow->planned = status == DGO_OK;
    if (status == DGO_OK)
        status = flow_command(flow, work->port, launch->extra, launch->extra_count, err);
    return status;
}

static enum dgo_status job_prepare(void *data)
{
    struct preparation *work = data;
    struct flow *flow = work->flow;
    enum dgo_status status;

    if (work->adopt)
        return work->status = prepare_adoption(work, &work->err);
    status = flow_prepare(flow, work->path, true, &work->err);
    status = judge(work, status, &work->err);
    if (status == DGO_OK && work->check_devices)
        status = flow_check_devices(flow, &work->err);
    work->status = status;
    return status;
}

static void on_prepared(const struct dgo_result *result, void *data)
{
    struct preparation *work = data;
    struct launch *launch = work->launch;

    if (!launch) { /* the daemon ends */
        flow_done(work->flow);
        free(work->flow);
        free(work);
        return;
    }
    if (result->outcome != DGO_OUTCOME_DONE && work->status == DGO_OK)
        work->status = dgo_fail(&work->err, DGO_ECANCELLED, "the launch was not prepared");
    prepare_done(launch);
}

static int rank(const struct launch *launch)
{
    const struct config_group *group = fleet_group_of(launch);

    return (launch->pinned || (group && group->persistent)) * 2 + (launch->active_requests > 0);
}

/* Who has to go first: nobody waits for it, not pinned, not used for the longest time. */
static int by_use(const void *a, const void *b)
{
    const struct launch *one = *(struct launch *const *)a, *other = *(struct launch *const *)b;
    const int rank_one = rank(one), rank_other = rank(other);

    if (rank_one != rank_other)
        return rank_one - rank_other;
    return (one->last_request_ns > other->last_request_ns) -
           (one->last_request_ns < other->last_request_ns);
}

static void list_others(struct launch *launch, struct preparation *work)
{
    static struct dgo_ledger ledger; /* 70 KiB; loop thread only */
    struct launch *others[FLEET_MAX] = {NULL};
    uint32_t count = 0;

    for (struct launch *other = fleet_next(launch->fleet, NULL); other && count < FLEET_MAX;
         other = fleet_next(launch->fleet, other))
        if (other != launch && other->phase == PHASE_RUNNING)
            others[count++] = other;
    qsort(others, count, sizeof others[0], by_use);
    dgo_vram_snapshot(&ledger);
    for (uint32_t i = 0; i < count; i++) {
        const struct dgo_ledger_entry *entry = dgo_ledger_find(&ledger, others[i]->ledger_id);
        const bool must_go = !launch->adopt && admit_must_go(launch, others[i], work->group_rule);

        if (!entry && !must_go)
            continue;
        work->other[work->other_count].id = others[i]->id;
        work->other[work->other_count].must_go = must_go;
        for (uint32_t g = 0; entry && g < DGO_GPU_MAX; g++) /* held or promised: it is given back */
            work->other[work->other_count].gives_bytes[g] = (int64_t)dgo_max_u64(
                entry->measured_bytes[g],
                entry->state == DGO_LEDGER_SETTLED ? 0 : entry->planned_bytes[g]);
        work->other_count++;
    }
}

enum dgo_status prepare_start(struct launch *launch, struct dgo_error *err)
{
    struct preparation *work = calloc(1, sizeof *work);
    enum dgo_status status;

    if (work)
        work->flow = calloc(1, sizeof *work->flow);
    if (!work || !work->flow) {
        free(work);
        return dgo_fail(err, DGO_ENOMEM, "out of memory for another launch");
    }
    flow_init(work->flow, &launch->options, fleet_options(launch->fleet)->environment);
    fleet_free_change(launch->fleet, false, work->flow->free_change_bytes);
    list_others(launch, work);
    work->launch = launch;
    work->path = launch->model_path;
    work->check_devices = true;
    work->adopt = launch->adopt;
    work->id = launch->id;
    work->port = launch->port;
    work->directory = fleet_options(launch->fleet)->directory;
    launch->preparation = work;
    status = dgo_submit(&(struct dgo_job){.component = app_component(COMPONENT_LAUNCH_PREPARATION),
                                          .fn = job_prepare,
                                          .arg = work,
                                          .done = on_prepared,
                                          .done_lane = DGO_LANE_UI},
                        &launch->preparing, err);
    if (status != DGO_OK) {
        launch->preparation = NULL;
        free(work->flow);
        free(work);
    }
    return status;
}
