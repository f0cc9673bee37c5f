/* test_lives.c - what a thread began in one life of the manager and goes on with when that has come
 * to its end, or in the next one: a wake, a turn of the face's thread, a kick. */
#include "jobs.h"

#include <pthread.h>
#include <signal.h>
#include <ucontext.h>

enum { DRAIN_S = 10, ROUNDS_MAX = 100 };

static void assert_nothing_is_counted(void)
{
    assert_int_equal(dgo_resource_drain(DRAIN_S * DGO_NS_PER_S, NULL), DGO_OK);
    for (uint32_t id = DGO_LANE_EXPRESS; id < DGO_LANE_UI; id++) {
        struct rm_lane *lane = &rm.lane[id];
        /* Who has just begun to sleep is not counted any more in a moment. */
        for (int i = 0; i < 2000 && atomic_load(&lane->active) != 0; i++) {
            struct timespec pause = {.tv_nsec = 1000000};

            nanosleep(&pause, NULL);
        }
        assert_int_equal(atomic_load(&lane->active), 0);
        assert_int_equal(atomic_load(&lane->blocked), 0);
    }
}

/* What the scheduler does now and then: a thread stands still where it should not.  Here it walks,
 * one instruction at a time (the trap flag), and a handler looks after each whether it is there. */
#if defined(__x86_64__) && !defined(__SANITIZE_THREAD__)
#define CAN_WALK 1
#else
#define CAN_WALK 0
#endif

enum { STILL_MS = 50, TRAP_FLAG = 0x100 };

static struct {
    bool (*is_there)(void);
    uint32_t skip; /* so many instructions of those that are there */
    _Atomic uint32_t walks, stands_still, may_go_on;
    bool has_stood;
} walker;

static void stand_still(void)
{
    const uint64_t until_ns = dgo_monotonic_ns() + STILL_MS * DGO_NS_PER_MS;

    walker.has_stood = true;
    atomic_store(&walker.may_go_on, 0);
    atomic_store(&walker.stands_still, 1);
    while (!atomic_load(&walker.may_go_on) && dgo_monotonic_ns() < until_ns)
        dgo_pause();
    atomic_store(&walker.walks, 0); /* and then it runs */
    atomic_store(&walker.stands_still, 0);
}

#if CAN_WALK
static void on_step(int number, siginfo_t *info, void *data)
{
    greg_t *flags = &((ucontext_t *)data)->uc_mcontext.gregs[REG_EFL];

    (void)number;
    (void)info;
    if (!atomic_load(&walker.walks)) {
        *flags &= ~TRAP_FLAG;
        return;
    }
    *flags |= TRAP_FLAG;
    if (!walker.has_stood && walker.is_there() && walker.skip-- == 0)
        stand_still();
}

static void walk_from_here(bool (*is_there)(void), uint32_t skip)
{
    const struct sigaction action = {.sa_sigaction = on_step, .sa_flags = SA_SIGINFO};

    assert_int_equal(sigaction(SIGTRAP, &action, NULL), 0);
    walker.is_there = is_there;
    walker.skip = skip;
    walker.has_stood = false;
    atomic_store(&walker.walks, 1);
    raise(SIGTRAP);
}
#else
static void walk_from_here(bool (*is_there)(void), uint32_t skip)
{
    (void)is_there;
    (void)skip;
    (void)stand_still;
    walker.has_stood = false;
}
#endif

static void walk_no_more(void)
{
    atomic_store(&walker.walks, 0);
}

/* ---- a waker that is put aside ---- */

/* In the middle of a wake: the sleeper is not announced any more, and not told yet. */
static bool is_in_a_wake(void)
{
    const struct rm_lane *lane = &rm.lane[DGO_LANE_NORMAL];

    return atomic_load(&lane->waking) != 0 && atomic_load(&lane->idle_mask) == 0 &&
           atomic_load(&lane->worker[0].park) == 0;
}

struct push {
    uint32_t skip;
    _Atomic uint32_t is_over;
};

static void *push_at_a_walk(void *data)
{
    struct push *push = data;
    static _Atomic uint32_t ran;
    const struct dgo_job job = {.fn = count_up, .arg = &ran};

    submit(&job, NULL); /* so that the thread is known */
    while (atomic_load(&rm.lane[DGO_LANE_NORMAL].idle_mask) == 0)
        sched_yield();
    walk_from_here(is_in_a_wake, push->skip);
    if (dgo_submit(&job, NULL, NULL) != DGO_OK)
        push = NULL;
    walk_no_more();
    if (push)
        atomic_store(&push->is_over, 1);
    return push;
}

/* The next life has a sleeper of its own by then, or not yet. */
static void live_again(bool sleeps)
{
    assert_int_equal(dgo_resource_stop(0, NULL), DGO_OK);
    start_with(1, 0);
    while (sleeps && atomic_load(&rm.lane[DGO_LANE_NORMAL].idle_mask) == 0)
        sched_yield();
    atomic_store(&walker.may_go_on, 1);
}

static void test_a_waker_stands_still_across_a_stop(void **state)
{
    uint32_t round = 0;
    bool has_stood;

    (void)state;
    start_with(1, 0);
    do {
        struct push push = {.skip = round / 2};
        pthread_t pusher;
        void *went_well;

        assert_int_equal(pthread_create(&pusher, NULL, push_at_a_walk, &push), 0);
        while (!atomic_load(&push.is_over) && !atomic_load(&walker.stands_still))
            sched_yield();
        if (atomic_load(&walker.stands_still))
            live_again(round % 2);
        assert_int_equal(pthread_join(pusher, &went_well), 0);
        assert_non_null(went_well);
        has_stood = walker.has_stood;
        assert_nothing_is_counted();
    } while (has_stood && ++round < ROUNDS_MAX);
    print_message("# stood still at %u places in a wake\n", round / 2);
    stop_now();
}

/* ---- a strand of the UI lane, kicked while stop comes to its end ---- */

/* Instructions from one place to the next, and how many places: from the last look at who works
 * outside to the seal. */
enum { STRIDE = 3, PLACES = 16 };

static _Atomic uint32_t has_stopped, late_runs;
static pthread_t face_thread;

/* Stop has joined its threads and waits for those who work outside; the face is none of them yet.
 */
static bool is_at_the_end(void)
{
    static bool has_begun;

    if (atomic_load(&rm.phase) != RM_CLOSING || atomic_load(&rm.outside) != 0)
        has_begun = false;
    else if (atomic_load(&rm.drainers) > 0)
        has_begun = true;
    return has_begun && rm.lane[DGO_LANE_UI].takes_late;
}

static enum dgo_status draw(void *data)
{
    const struct timespec pause = {.tv_nsec = 1000000};

    (void)data;
    if (!pthread_equal(pthread_self(), face_thread))
        return DGO_OK;
    atomic_store(&walker.may_go_on, 1); /* stop does, while the face draws */
    for (int i = 0; i < 5; i++) {
        nanosleep(&pause, NULL);
        if (atomic_load(&has_stopped))
            atomic_fetch_add(&late_runs, 1);
    }
    return DGO_OK;
}

struct kicks {
    struct dgo_strand strand;
    _Atomic uint32_t is_over, face_is_there;
};
static void *kick_at_the_end(void *data)
{
    struct kicks *kicks = data;

    while (!atomic_load(&kicks->is_over) && !atomic_load(&walker.stands_still))
        sched_yield();
    if (!atomic_load(&kicks->is_over))
        dgo_strand_kick(kicks->strand, DGO_LEVEL_MIDDLE);
    return NULL;
}
static void *draw_for_ever(void *data)
{
    struct kicks *kicks = data;
    int fd;

    if (dgo_resource_ui_attach(&fd, NULL) != DGO_OK)
        return NULL;
    face_thread = pthread_self();
    atomic_store(&kicks->face_is_there, 1);
    while (!atomic_load(&kicks->is_over))
        if (rm_lane_has_work(&rm.lane[DGO_LANE_UI]))
            dgo_resource_ui_drain(DGO_NS_PER_MS, NULL, NULL);
        else
            sched_yield();
    return NULL;
}

/* False: stop has no such place. */
static bool stop_at_a_walk(uint32_t place)
{
    struct kicks kicks = {.is_over = 0};
    pthread_t kicker, face;

    atomic_store(&has_stopped, 0);
    start_with(1, 0);
    assert_int_equal(dgo_strand_new(0, DGO_LANE_UI, draw, NULL, &kicks.strand, NULL), DGO_OK);
    assert_int_equal(pthread_create(&face, NULL, draw_for_ever, &kicks), 0);
    while (!atomic_load(&kicks.face_is_there))
        sched_yield();
    assert_int_equal(pthread_create(&kicker, NULL, kick_at_the_end, &kicks), 0);
    walk_from_here(is_at_the_end, place * STRIDE);
    assert_int_equal(dgo_resource_stop(0, NULL), DGO_OK);
    atomic_store(&has_stopped, 1);
    walk_no_more();
    if (walker.has_stood)
        assert_int_equal(pthread_join(kicker, NULL), 0);
    atomic_store(&kicks.is_over, 1);
    if (!walker.has_stood)
        assert_int_equal(pthread_join(kicker, NULL), 0);
    assert_int_equal(pthread_join(face, NULL), 0);
    dgo_strand_free(kicks.strand);
    return walker.has_stood;
}

/* The face's thread takes nothing more once stop has returned; nor is it in the middle of it. */
static void test_the_face_draws_nothing_after_stop(void **state)
{
    uint32_t place = 0;

    (void)state;
    while (place < PLACES && stop_at_a_walk(place++))
        assert_int_equal(atomic_load(&late_runs), 0);
    print_message("# stood still at %u places at the end of stop\n", place);
    assert_int_equal(atomic_load(&late_runs), 0);
}

/* ---- a strand that its kicker runs, for the lane is closed already ---- */

static _Atomic uint32_t runs_late, is_kicked;

static enum dgo_status outlast_stop(void *data)
{
    (void)data;
    atomic_store(&is_kicked, 1);
    for (int i = 0; i < 20; i++) {
        struct timespec pause = {.tv_nsec = 1000000};

        nanosleep(&pause, NULL);
        if (atomic_load(&has_stopped))
            atomic_fetch_add(&runs_late, 1);
    }
    return DGO_OK;
}

static void *kick_once_closed(void *data)
{
    while (atomic_load(&rm.lane[DGO_LANE_NORMAL].inbox) != RM_INBOX_CLOSED)
        sched_yield();
    dgo_strand_kick(*(struct dgo_strand *)data, DGO_LEVEL_MIDDLE);
    return NULL;
}

static enum dgo_status until_kicked(void *data)
{
    (void)data;
    while (!atomic_load(&is_kicked))
        sched_yield();
    return DGO_OK;
}

static void test_stop_waits_for_a_strand_in_its_kicker(void **state)
{
    const struct dgo_job holds_stop_up = {.fn = until_kicked};
    struct dgo_strand strand;
    pthread_t kicker;

    (void)state;
    atomic_store(&has_stopped, 0);
    start_with(1, 0);
    assert_int_equal(dgo_strand_new(0, DGO_LANE_NORMAL, outlast_stop, NULL, &strand, NULL), DGO_OK);
    submit(&holds_stop_up, NULL);
    while (rm_lane_has_work(&rm.lane[DGO_LANE_NORMAL])) /* it has been taken */
        sched_yield();
    assert_int_equal(pthread_create(&kicker, NULL, kick_once_closed, &strand), 0);
    assert_int_equal(dgo_resource_stop(0, NULL), DGO_OK);
    atomic_store(&has_stopped, 1);
    assert_int_equal(pthread_join(kicker, NULL), 0);
    assert_int_equal(atomic_load(&runs_late), 0);
    dgo_strand_free(strand);
}

/* ---- a thread that goes ---- */

/* The keeper took it for blocked when it slept already: that count goes with it. */
static void test_a_thread_that_goes_leaves_no_count(void **state)
{
    struct rm_lane *lane = &rm.lane[DGO_LANE_BLOCKING];
    const struct timespec moment = {.tv_nsec = 10000000};
    _Atomic uint32_t ran = 0;
    const struct dgo_job job = {.fn = count_up, .arg = &ran, .lane = DGO_LANE_BLOCKING};
    struct dgo_future future;

    (void)state;
    start_with(1, 0);
    submit(&job, NULL);
    while (atomic_load(&lane->idle_mask) == 0)
        sched_yield();
    rm_worker_block(&lane->worker[0]); /* as the keeper does, late */
    for (uint32_t i = 0; atomic_load(&lane->threads) != 0; i++) {
        assert_true(i < 100 * (RM_IDLE_S + DRAIN_S));
        nanosleep(&moment, NULL);
    }
    submit(&job, &future);
    assert_int_equal(wait_for(future).outcome, DGO_OUTCOME_DONE);
    assert_nothing_is_counted();
    stop_now();
}

/* So that a test that failed is the only one. */
static int stop_if_started(void **state)
{
    (void)state;
    walk_no_more();
    (void)dgo_resource_stop(0, NULL);
    return 0;
}

#define TEST(name) cmocka_unit_test_teardown(name, stop_if_started)

static const struct CMUnitTest tests[] = {
    TEST(test_a_waker_stands_still_across_a_stop),
    TEST(test_the_face_draws_nothing_after_stop),
    TEST(test_stop_waits_for_a_strand_in_its_kicker),
    TEST(test_a_thread_that_goes_leaves_no_count),
};

CHECK_MAIN(tests)
