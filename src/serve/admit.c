/* admit.c - who gets memory: what follows a preparation, who waits, who has to go (docs/decisions/
 * 0032-admission.md). */
#include "launch.h"

#include "dgo_log.h"
#include "dgo_text.h"
#include "vram.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The ledger's books, where no look of the watch does it. */
static void observe(const struct flow *flow)
{
    static struct dgo_machine machine; /* 300 KiB; loop thread only */
    struct dgo_error err = {0};

    memcpy(&machine, &flow->machine, sizeof machine);
    for (uint32_t g = 0; g < machine.gpu_count; g++) {
        const int64_t change = flow->free_change_bytes[g];

        if (change < 0) /* what flow_look took off is counted by the ledger itself */
            machine.gpu[g].free_bytes += (uint64_t)-change;
    }
    if (vram_observe(&machine, 0, &err) != DGO_OK)
        dgo_log(DGO_LOG_DEBUG, "ledger: %s", err.text);
}

/* One that somebody waits for is about to be used; it would go before it served anybody. */
static bool is_needed(const struct launch *launch)
{
    return launch->pinned || launch->active_requests > 0 || launch->waits;
}

bool admit_may_evict(const struct launch *launch, const struct launch *other)
{
    const struct config_group *group = fleet_group_of(other);

    if (group && group->persistent && group != fleet_group_of(launch))
        return false;
    return !is_needed(other);
}

bool admit_must_go(const struct launch *launch, const struct launch *other, char rule[200])
{
    const struct config_group *own = fleet_group_of(launch), *its = fleet_group_of(other);

    if (own && own == its && own->swap) {
        snprintf(rule, 200, "of the group \"%.100s\" one member runs at a time", own->name);
        return true;
    }
    if (own && own != its && own->exclusive && !(its && its->persistent)) {
        snprintf(rule, 200, "members of the group \"%.100s\" run without others", own->name);
        return true;
    }
    return false;
}

/* "CUDA1 lacks ...; stopping "a" and "b" would make room" */
static void say_in_the_way(struct launch *launch, const struct preparation *work,
                           struct dgo_error *err)
{
    char names[256];
    struct dgo_text text = DGO_TEXT(names);

    for (uint32_t i = 0; i < launch->in_the_way_count; i++) {
        const struct launch *other = fleet_find(launch->fleet, launch->in_the_way[i]);

        dgo_text_addf(&text, "%s\"%s\"", i ? " and " : "", other ? other->name : "?");
    }
    dgo_fail(err, DGO_ENOFIT, "%.400s; stopping %s would make room", work->err.text, names);
}

static void list_in_the_way(struct launch *launch, const struct preparation *work)
{
    launch->in_the_way_count = 0;
    for (uint32_t i = 0; i < work->other_count; i++)
        if (work->in_the_way[i])
            launch->in_the_way[launch->in_the_way_count++] = work->other[i].id;
}

static void wait_for_memory(struct launch *launch, const char *text)
{
    const bool told = launch->phase == PHASE_WAITING && strcmp(launch->text, text) == 0;

    launch->phase = PHASE_WAITING;
    if (told)
        return;
    launch_tell(launch, text);
    fleet_keep(launch);
    launch_settle_waits(launch);
}

void admit_idle(const struct launch *launch)
{
    for (struct launch *other = fleet_next(launch->fleet, NULL); other;
         other = fleet_next(launch->fleet, other)) {
        if (other->phase != PHASE_WAITING || other->admission != ADMIT_EVICT)
            continue;
        for (uint32_t i = 0; i < other->in_the_way_count; i++)
            other->freed |= other->in_the_way[i] == launch->id;
        if (other->freed)
            fleet_look_again(launch->fleet);
    }
}

/* Stops those in the way; false when one of them must not be. */
static bool evict(struct launch *launch)
{
    char why[200];

    for (uint32_t i = 0; i < launch->in_the_way_count; i++) {
        const struct launch *other = fleet_find(launch->fleet, launch->in_the_way[i]);

        if (other && !other->stop_asked && !admit_may_evict(launch, other))
            return false;
    }
    snprintf(why, sizeof why, "makes room for \"%s\"", launch->name);
    for (uint32_t i = 0; i < launch->in_the_way_count; i++) {
        struct launch *other = fleet_find(launch->fleet, launch->in_the_way[i]);

        if (other && other->phase != PHASE_ENDED && !other->stop_asked)
            launch_stop(other, false, why);
    }
    return true;
}

/* Whether all those in the way were told to stop already. */
static bool are_going(const struct launch *launch)
{
    for (uint32_t i = 0; i < launch->in_the_way_count; i++) {
        const struct launch *other = fleet_find(launch->fleet, launch->in_the_way[i]);

        if (other && !other->stop_asked)
            return false;
    }
    return true;
}

static void does_not_fit(struct launch *launch, const struct preparation *work)
{
    struct dgo_error err = work->err;

    if (!work->fits_without) {
        launch_end(launch, &err);
        return;
    }
    list_in_the_way(launch, work);
    say_in_the_way(launch, work, &err);
    if (are_going(launch) || (launch->admission == ADMIT_EVICT && evict(launch)))
        wait_for_memory(launch, "waits for others to stop");
    else if (launch->admission == ADMIT_REFUSE)
        launch_end(launch, &err);
    else
        wait_for_memory(launch, err.text);
}

/* Engines tell their work only when asked to; ours are, for the page and for /metrics. */
static void tell_metrics(struct launch *launch)
{
    static const char flag[] = "--metrics";

    for (uint32_t i = 0; i < launch->extra_count; i++)
        if (strcmp(launch->extra[i], flag) == 0)
            return;
    if (launch->flow->probed && dgo_probe_has(&launch->flow->probe, flag))
        launch->extra[launch->extra_count++] = flag;
}

static void start_prepared(struct launch *launch)
{
    struct dgo_error err = {0};

    observe(launch->flow);
    tell_metrics(launch);
    if (launch_start(launch, &err) != DGO_OK) {
        launch_end(launch, &err);
        return;
    }
    launch_tell(launch, "starting");
    fleet_keep(launch);
    launch_settle_waits(launch);
}

/* Its flow is there again: takes the engine over, or ends it, and then starts it anew. */
static void adoption_prepared(struct launch *launch, const struct preparation *work)
{
    struct dgo_error err = work->err;
    enum dgo_status status = work->status;

    if (status == DGO_OK) {
        observe(launch->flow);
        status = launch_adopt(launch, &err);
    }
    launch->adopt = false;
    if (status == DGO_OK) {
        launch_tell(launch, "found again");
        fleet_keep(launch);
        if (launch->stop_asked)
            launch_stop(launch, false, NULL);
        return;
    }
    restore_end_kept(launch); /* whatever is there: it is not understood any more */
    if (launch->stop_asked || strcmp(launch->origin, "request") == 0) {
        launch_end(launch, launch->stop_asked ? NULL : &err);
        return;
    }
    launch_act(launch, "start", err.text, "its engine was not found again, so it is started anew");
    launch->port = 0;
    memset(launch->reserved_bytes, 0, sizeof launch->reserved_bytes);
    launch->phase = PHASE_PREPARING;
    launch_tell(launch, "looks for a plan");
}

void prepare_done(struct launch *launch)
{
    struct fleet *fleet = launch->fleet;
    struct preparation *work = launch->preparation;

    launch->preparation = NULL;
    launch->flow = work->flow;
    if (launch->adopt)
        adoption_prepared(launch, work);
    else if (launch->stop_asked)
        launch_end(launch, NULL);
    else if (work->status == DGO_OK)
        start_prepared(launch);
    else if (work->status == DGO_ENOFIT)
        does_not_fit(launch, work);
    else
        launch_end(launch, &work->err);
    if (launch->phase == PHASE_WAITING || launch->phase == PHASE_PREPARING) { /* anew, later */
        flow_done(launch->flow);
        free(launch->flow);
        launch->flow = NULL;
    }
    dgo_future_forget(launch->preparing);
    free(work);
    fleet_look_again(fleet); /* the next in line */
}

/* Whether those that were told to make room are gone. */
static bool others_are_gone(const struct launch *launch)
{
    for (uint32_t i = 0; i < launch->in_the_way_count; i++) {
        const struct launch *other = fleet_find(launch->fleet, launch->in_the_way[i]);

        if (other && other->phase == PHASE_RUNNING && other->stop_asked)
            return false;
    }
    return true;
}

/* The next one to prepare, oldest first: new, or waiting and something has changed. */
void admit_next(struct fleet *fleet)
{
    for (struct launch *launch = fleet_next(fleet, NULL); launch;
         launch = fleet_next(fleet, launch))
        if (launch->preparation)
            return; /* one at a time */
    for (struct launch *launch = fleet_next(fleet, NULL); launch;
         launch = fleet_next(fleet, launch)) {
        struct dgo_error err = {0};

        if (launch->phase != PHASE_PREPARING &&
            !(launch->phase == PHASE_WAITING && launch->freed && others_are_gone(launch)))
            continue;
        launch->freed = false;
        if (prepare_start(launch, &err) == DGO_OK)
            return;
        launch_end(launch, &err);
        return; /* which comes back here */
    }
}
