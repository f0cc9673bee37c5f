/* test_hand.c - a batch that is shared while its worker goes on with it: each entry is begun once,
 * by the worker or by who took it over, with the kernel's barrier and without. */
#include "check.h"

#include "rm_hand.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

enum { BATCHES = 30000, SIZE = 48 };

static struct rm_worker worker;
static _Atomic uint8_t begun[BATCHES][SIZE];
static _Atomic bool is_over;
static _Atomic uint32_t given;

/* Stores to lines that the other thread has: a worker's word that follows them is late, and without
 * a barrier the other would not see it yet. */
static struct {
    alignas(64) _Atomic uint32_t word;
} contended[8];

static void scribble(void)
{
    for (uint32_t i = 0; i < 8; i++)
        atomic_store_explicit(&contended[i].word, i, memory_order_relaxed);
}

static void begin(const struct rm_entry *entry)
{
    atomic_fetch_add((_Atomic uint8_t *)entry->arg, 1);
}

/* What rm_worker_share does, with a lane that refuses now and then. */
static void *share(void *data)
{
    struct rm_entry rest[SIZE];
    uint32_t turn = 0, first, count;

    (void)data;
    while (!atomic_load(&is_over)) {
        const bool is_given = ++turn % 3 != 0;

        scribble();
        if (!rm_hand_close(&worker, &first, &count))
            continue;
        if (is_given)
            memcpy(rest, worker.batch + first, count * sizeof *rest);
        rm_hand_open(&worker, first, is_given && count != 0);
        for (uint32_t i = 0; is_given && i < count; i++)
            begin(&rest[i]);
        atomic_fetch_add(&given, is_given ? count : 0);
    }
    return NULL;
}

static void run_batches(void)
{
    for (uint32_t batch = 0; batch < BATCHES; batch++) {
        uint32_t i;

        for (i = 0; i < SIZE; i++)
            worker.batch[i] = (struct rm_entry){.ref = 1, .arg = (void *)&begun[batch][i]};
        rm_hand_fill(&worker, SIZE);
        for (scribble(); rm_hand_next(&worker, &i); scribble())
            begin(&worker.batch[i]);
    }
}

/* Returns how many entries went over. */
static uint32_t storm_once(bool has_membarrier)
{
    pthread_t thread;

    rm.has_membarrier = has_membarrier;
    memset((void *)begun, 0, sizeof begun);
    memset(&worker, 0, sizeof worker);
    atomic_store(&is_over, false);
    atomic_store(&given, 0);
    assert_int_equal(pthread_create(&thread, NULL, share, NULL), 0);
    run_batches();
    atomic_store(&is_over, true);
    assert_int_equal(pthread_join(thread, NULL), 0);
    for (uint32_t batch = 0; batch < BATCHES; batch++)
        for (uint32_t i = 0; i < SIZE; i++)
            assert_int_equal(begun[batch][i], 1);
    return atomic_load(&given);
}

/* On a busy machine the other thread may get no CPU until all is done: then once more. */
static void storm(bool has_membarrier)
{
    enum { TRIES = 100 };
    uint32_t went_over = 0;

    for (int i = 0; i < TRIES && went_over == 0; i++)
        went_over = storm_once(has_membarrier);
    assert_true(went_over > 0);
}

static void test_with_the_kernels_barrier(void **state)
{
    (void)state;
    if (rm_sys_membarrier_register())
        storm(true);
    else
        printf("# skipped: this kernel has no membarrier\n");
}

static void test_with_the_workers_barrier(void **state)
{
    (void)state;
    storm(false);
}

/* From inside its own job: what it has not begun goes, it keeps the rest. */
static void test_a_worker_gives_its_own(void **state)
{
    uint32_t i, first, count;

    (void)state;
    memset(&worker, 0, sizeof worker);
    rm_me.worker = &worker;
    rm_hand_fill(&worker, 3);
    assert_true(rm_hand_next(&worker, &i));
    assert_true(rm_hand_close(&worker, &first, &count));
    assert_int_equal(first, 1);
    assert_int_equal(count, 2);
    rm_hand_open(&worker, first, false);
    assert_true(rm_hand_next(&worker, &i)); /* the lane had no room: it goes on */
    assert_int_equal(i, 1);
    assert_true(rm_hand_close(&worker, &first, &count));
    rm_hand_open(&worker, first, true);
    assert_false(rm_hand_close(&worker, &first, &count)); /* not yet seen by the worker */
    assert_false(rm_hand_next(&worker, &i));
    assert_int_equal(rm_hand_left(worker.hand), 0);
    rm_hand_fill(&worker, 1);
    assert_true(rm_hand_next(&worker, &i));
    assert_int_equal(i, 0);
    rm_me.worker = NULL;
}

/* Who closed a hand and was put aside may still look at it when the worker has ended and another
 * has its place: that one must wait for the verdict, too. */
static void test_a_successor_does_not_open(void **state)
{
    const struct dgo_resource_config config = {.workers = 1};
    struct rm_worker *place = &rm.lane[DGO_LANE_NORMAL].worker[1];

    (void)state;
    assert_int_equal(dgo_resource_start(&config, NULL), DGO_OK);
    assert_false(atomic_load(&place->alive));
    atomic_store(&place->closed, HAND_CLOSED);
    assert_true(rm_lane_spawn(&rm.lane[DGO_LANE_NORMAL]));
    assert_int_equal(atomic_load(&place->closed), HAND_CLOSED);
    rm_hand_open(place, 0, false);
    assert_int_equal(dgo_resource_stop(0, NULL), DGO_OK);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_with_the_kernels_barrier),
    cmocka_unit_test(test_with_the_workers_barrier),
    cmocka_unit_test(test_a_worker_gives_its_own),
    cmocka_unit_test(test_a_successor_does_not_open),
};

CHECK_MAIN(tests)
