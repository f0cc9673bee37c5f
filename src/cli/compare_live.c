/* compare_live.c - before, change, after, and again: each time the memory stands still first.
 *
 * The protocol: wait until no card moves by 2 MiB for still_s (given up after wait_s, and who moves
 * is named); then six parts, the last of which is the snapshot and the other five tell the noise,
 * before against before. */
#include "compare.h"

#include "dgo_clock.h"
#include "dgo_text.h"
#include "dgo_units.h"
#include "print.h"
#include "profile_feed.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

enum { PARTS = 6 };
static const double tell_every_s = 15;

struct session {
    struct compare_live *live;
    struct compare_looks looks;
    struct dgo_machine machine;
    struct dgo_settle settle;
    uint32_t repeat;
    bool after;
    double told_s; /* who moves; in the time of now_s */
};

static double now_s(void)
{
    return (double)dgo_clock_monotonic_ns(dgo_clock_system()) / 1e9;
}

static void pause_between(const struct compare_live *live)
{
    const struct timespec rest = {.tv_sec = (time_t)(live->interval_ns / DGO_NS_PER_S),
                                  .tv_nsec = (long)(live->interval_ns % DGO_NS_PER_S)};

    (void)nanosleep(&rest, NULL);
}

/* A failed command ends the comparison; it is asked for at each look. */
static enum dgo_status look(struct session *session, bool slow_too, struct dgo_error *err)
{
    enum dgo_status status = compare_change_check(&session->live->change, err);

    if (status == DGO_OK)
        status = compare_look(&session->looks, slow_too, &session->machine, err);
    if (status == DGO_OK)
        session->live->origin = session->machine.origin;
    return status;
}

/* ---- who moves --------------------------------------------------------------------------- */

static void add_mover(struct dgo_text *text, const struct dgo_settle_entry *who)
{
    dgo_text_addf(text, "%s", text->length ? ", " : "");
    if (who->pid)
        dgo_text_addf(text, "%s%sprocess %u", who->name, who->name[0] ? ", " : "", who->pid);
    else
        dgo_text_addf(text, "GPU %u", who->gpu_index);
    dgo_text_addf(text, " by %+.0f MiB", who->moved_mib);
}

static uint32_t tell_movers(const struct session *session, const char *what,
                            struct dgo_settle_entry movers[DGO_SETTLE_MOVER_MAX])
{
    const uint32_t count = dgo_settle_movers(&session->settle, movers);
    char line[1024];
    struct dgo_text text = DGO_TEXT(line);

    for (uint32_t i = 0; i < count; i++)
        add_mover(&text, &movers[i]);
    print_message("%s: %s", what, count ? line : "the cards were looked at too shortly");
    return count;
}

static void give_up(struct session *session)
{
    struct dgo_settle_entry movers[DGO_SETTLE_MOVER_MAX];
    struct compare_live *live = session->live;
    const uint32_t count = tell_movers(
        session, "the memory does not stand still; going on with the noise there is", movers);

    for (uint32_t i = 0; i < count && live->unsteady_count < COMPARE_UNSTEADY_MAX; i++)
        live->unsteady[live->unsteady_count++] = (struct compare_unsteady){
            .repeat = session->repeat, .after = session->after, .who = movers[i]};
}

static enum dgo_status wait_until_still(struct session *session, struct dgo_error *err)
{
    const double began_s = now_s();
    struct dgo_settle_entry movers[DGO_SETTLE_MOVER_MAX];
    enum dgo_status status = DGO_OK;

    dgo_settle_init(&session->settle, session->live->still_s);
    session->told_s = began_s;
    while ((status = look(session, false, err)) == DGO_OK) {
        const double at_s = now_s();

        dgo_settle_look(&session->settle, &session->machine, at_s);
        if (dgo_settle_is_still(&session->settle))
            return DGO_OK;
        if (at_s - began_s >= session->live->wait_s) {
            if (session->settle.count == 0)
                return dgo_fail(err, DGO_EDRIVER, "no card tells how much of it is used");
            give_up(session);
            return DGO_OK;
        }
        if (at_s - session->told_s >= tell_every_s) {
            session->told_s = at_s;
            (void)tell_movers(session, "waiting, the memory still moves", movers);
        }
        pause_between(session->live);
    }
    return status;
}

/* ---- a snapshot -------------------------------------------------------------------------- */

static enum dgo_status measure(struct session *session, struct dgo_snapshot *snapshot,
                               struct dgo_error *err)
{
    const struct compare_live *live = session->live;
    const double interval_s = (double)live->interval_ns / 1e9;
    const double part_s = fmax(live->daemon ? 1 : 2 * interval_s, live->still_s / (PARTS - 1));
    /* A profiler's second is the shortest part it can tell from the next. */
    const double stretch = part_s < 1 ? 1 / part_s : 1;
    const double began_s = now_s();
    struct dgo_profiler *profiler = NULL;
    enum dgo_status status = dgo_profiler_new(NULL, &profiler, err);
    double at_s = began_s;

    while (status == DGO_OK && at_s - began_s < PARTS * part_s) {
        status = look(session, at_s == began_s, err);
        at_s = now_s();
        if (status == DGO_OK)
            status = profile_feed(profiler, &session->machine, NULL, at_s * stretch, err);
        if (status == DGO_OK)
            pause_between(session->live);
    }
    if (status == DGO_OK) {
        dgo_profiler_judge(profiler);
        dgo_snapshot_take(profiler, part_s * stretch, snapshot);
    }
    dgo_profiler_free(profiler);
    return status;
}

static enum dgo_status take(struct session *session, uint32_t repeat, bool after,
                            struct dgo_snapshot *snapshot, struct dgo_error *err)
{
    char text[64];
    enum dgo_status status;

    session->repeat = repeat;
    session->after = after;
    (void)snprintf(text, sizeof text, "%s %u of %u", after ? "after" : "before", repeat + 1,
                   session->live->repeat_count);
    print_message("%s: waiting until the memory stands still for %.0f s, then measuring", text,
                  session->live->still_s);
    status = wait_until_still(session, err);
    if (status == DGO_OK)
        status = measure(session, snapshot, err);
    if (status == DGO_OK)
        compare_mark(&session->looks, text);
    return status;
}

/* A change that stays is compared once; that is said, and is no failure. */
static enum dgo_status make_pairs(struct session *session, struct dgo_error *err)
{
    struct compare_live *live = session->live;
    enum dgo_status status = DGO_OK;

    while (status == DGO_OK && live->pair_count < live->repeat_count) {
        const uint32_t at = live->pair_count;

        if (at > 0) {
            status = compare_change_undo(&live->change, err);
            if (status == DGO_ECHILD) {
                print_message("%s", err->text);
                return DGO_OK;
            }
        }
        if (status == DGO_OK)
            status = take(session, at, false, &live->before[at], err);
        if (status == DGO_OK)
            status = compare_change_make(&live->change, err);
        if (status == DGO_OK)
            status = take(session, at, true, &live->after[at], err);
        live->pair_count += status == DGO_OK;
    }
    return status;
}

enum dgo_status compare_live_run(struct compare_live *live, struct dgo_error *err)
{
    static struct session session;
    enum dgo_status status;

    memset(&session, 0, sizeof session);
    session.live = live;
    status = compare_looks_open(live->options, &session.looks, err);
    live->daemon = session.looks.daemon;
    if (live->daemon)
        live->still_s = fmax(live->still_s, 3); /* its list of processes is up to 2 s old */
    if (status == DGO_OK)
        status = make_pairs(&session, err);
    compare_change_end(&live->change);
    compare_looks_close(&session.looks);
    return status;
}
