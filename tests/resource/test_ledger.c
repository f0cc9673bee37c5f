/* test_ledger.c - promises of VRAM: never twice, gone with their owner, compared with the truth. */
#include "check.h"

#include "dgo_ledger.h"
#include "dgo_resource.h"
#include "dgo_units.h"

#include <pthread.h>
#include <stdatomic.h>

#define GIB DGO_GIB

static void see(struct dgo_ledger *ledger, uint32_t gpu, uint64_t total, uint64_t driver,
                uint64_t free_bytes, uint64_t margin)
{
    const struct dgo_ledger_gpu seen = {.known = true,
                                        .total_bytes = total,
                                        .driver_bytes = driver,
                                        .free_bytes = free_bytes,
                                        .margin_bytes = margin};
    struct dgo_error err = {0};

    if (dgo_ledger_observe(ledger, gpu, &seen, &err) != DGO_OK)
        fail_msg("%s", err.text);
}

static uint64_t reserve(struct dgo_ledger *ledger, uint32_t gpu, uint64_t bytes, uint64_t owner)
{
    struct dgo_ledger_request request = {.what = "test", .owner = owner};
    uint64_t id = 0;

    request.bytes[gpu] = bytes;
    return dgo_ledger_reserve(ledger, &request, 1, &id, NULL) == DGO_OK ? id : 0;
}

/* ---- what may be promised, from promise to measurement ---- */

static void test_life_of_a_reservation(void **state)
{
    static struct dgo_ledger ledger;
    struct dgo_ledger_balance balance;
    uint64_t id;

    (void)state;
    dgo_ledger_init(&ledger);
    see(&ledger, 0, 24 * GIB, GIB / 2, 20 * GIB, GIB);
    assert_int_equal(dgo_ledger_promisable_bytes(&ledger, 0), 19 * GIB);
    id = reserve(&ledger, 0, 10 * GIB, 0);
    assert_true(id != 0);
    assert_int_equal(dgo_ledger_promisable_bytes(&ledger, 0), 9 * GIB);
    /* It loads: half is there, the driver sees it, the other half is still promised. */
    assert_int_equal(dgo_ledger_adopt(&ledger, id, 77, NULL), DGO_OK);
    see(&ledger, 0, 24 * GIB, GIB / 2, 15 * GIB, GIB);
    const struct dgo_ledger_usage half[] = {{77, 5 * GIB}, {99, GIB}};
    assert_int_equal(dgo_ledger_reconcile(&ledger, 0, half, 2, NULL), DGO_OK);
    assert_int_equal(dgo_ledger_promisable_bytes(&ledger, 0), 9 * GIB);
    /* It has loaded, and took a little more than it said. */
    see(&ledger, 0, 24 * GIB, GIB / 2, 9 * GIB, GIB);
    const struct dgo_ledger_usage whole[] = {{99, GIB}, {77, 11 * GIB}};
    assert_int_equal(dgo_ledger_reconcile(&ledger, 0, whole, 2, NULL), DGO_OK);
    assert_int_equal(dgo_ledger_settle(&ledger, id, NULL), DGO_OK);
    assert_int_equal(dgo_ledger_balance_of(&ledger, 0, &balance, NULL), DGO_OK);
    assert_int_equal(balance.ours_bytes, 11 * GIB);
    assert_int_equal(balance.others_bytes, GIB);
    assert_int_equal(balance.outstanding_bytes, 0);
    assert_int_equal(balance.drift_bytes, GIB);
    assert_int_equal(balance.promisable_bytes, 8 * GIB);
    assert_int_equal(balance.unexplained_bytes, (int64_t)(24 * GIB - GIB / 2 - 9 * GIB - 12 * GIB));
    /* Its owner is gone. */
    assert_int_equal(dgo_ledger_release_owner(&ledger, 77), 1);
    assert_null(dgo_ledger_find(&ledger, id));
    assert_int_equal(dgo_ledger_release(&ledger, id, NULL), DGO_ENOTFOUND);
}

static void test_admission(void **state)
{
    static const struct {
        const char *name;
        uint64_t ask[2];
        enum dgo_status want;
        const char *says;
    } cases[] = {
        {"fits one", {5 * GIB, 0}, DGO_OK, NULL},
        {"fits both", {5 * GIB, 5 * GIB}, DGO_OK, NULL},
        {"to the byte", {10 * GIB, 6 * GIB}, DGO_OK, NULL},
        {"one byte too much", {10 * GIB + 1, 0}, DGO_ENOFIT, "GPU 0"},
        {"the second is short", {GIB, 7 * GIB}, DGO_ENOFIT, "GPU 1"},
        {"nothing at all", {0, 0}, DGO_OK, NULL},
        {"more than there is", {UINT64_MAX, 0}, DGO_ENOFIT, "GPU 0"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        static struct dgo_ledger ledger;
        struct dgo_ledger_request request = {.what = "test"};
        struct dgo_error err = {0};
        uint64_t id = 0, before[2];

        dgo_ledger_init(&ledger);
        see(&ledger, 0, 12 * GIB, 0, 11 * GIB, GIB);
        see(&ledger, 1, 8 * GIB, 0, 7 * GIB, GIB);
        for (uint32_t g = 0; g < 2; g++) {
            request.bytes[g] = cases[i].ask[g];
            before[g] = dgo_ledger_promisable_bytes(&ledger, g);
        }
        CHECK_ROW(dgo_ledger_reserve(&ledger, &request, 1, &id, &err) == cases[i].want,
                  cases[i].name);
        CHECK_ROW((id != 0) == (cases[i].want == DGO_OK), cases[i].name);
        if (cases[i].says)
            CHECK_ROW(strstr(err.text, cases[i].says) != NULL, cases[i].name);
        for (uint32_t g = 0; g < 2; g++) /* refused: nothing is taken anywhere */
            CHECK_ROW_U64(dgo_ledger_promisable_bytes(&ledger, g),
                          cases[i].want == DGO_OK ? before[g] - cases[i].ask[g] : before[g],
                          cases[i].name);
    }
}

static void test_limits(void **state)
{
    static struct dgo_ledger ledger;
    struct dgo_ledger_request request = {.what = "test"};
    const struct dgo_ledger_gpu absurd = {.known = true, .total_bytes = GIB, .free_bytes = 2 * GIB};
    struct dgo_error err = {0};
    uint64_t id;

    (void)state;
    dgo_ledger_init(&ledger);
    request.bytes[3] = 1;
    assert_int_equal(dgo_ledger_reserve(&ledger, &request, 1, &id, &err), DGO_ENOGPU);
    assert_int_equal(dgo_ledger_observe(&ledger, 0, &absurd, NULL), DGO_EINVAL);
    assert_int_equal(dgo_ledger_observe(&ledger, DGO_LEDGER_GPU_MAX, &absurd, NULL), DGO_EINVAL);
    see(&ledger, 0, 24 * GIB, 0, 24 * GIB, 0);
    for (int i = 0; i < DGO_LEDGER_ENTRY_MAX; i++)
        assert_true(reserve(&ledger, 0, 1, 0) != 0);
    assert_int_equal(reserve(&ledger, 0, 1, 0), 0);
    assert_int_equal(ledger.refused, 2);
}

static void test_expiry(void **state)
{
    static struct dgo_ledger ledger;
    struct dgo_ledger_request request = {.what = "test", .expires_ns = 100};
    uint64_t kept, gone;

    (void)state;
    dgo_ledger_init(&ledger);
    see(&ledger, 0, 10 * GIB, 0, 10 * GIB, 0);
    request.bytes[0] = 4 * GIB;
    assert_int_equal(dgo_ledger_reserve(&ledger, &request, 1, &gone, NULL), DGO_OK);
    assert_int_equal(dgo_ledger_reserve(&ledger, &request, 1, &kept, NULL), DGO_OK);
    assert_int_equal(dgo_ledger_reserve(&ledger, &request, 100, &kept, NULL), DGO_EINVAL);
    assert_int_equal(ledger.entry_count, 0); /* at 100 both were over, even when refused */
    request.expires_ns = 200;
    assert_int_equal(dgo_ledger_reserve(&ledger, &request, 100, &kept, NULL), DGO_OK);
    /* Started in time: from then on the process decides. */
    assert_int_equal(dgo_ledger_adopt(&ledger, kept, 5, NULL), DGO_OK);
    assert_int_equal(dgo_ledger_expire(&ledger, 1000), 0);
    assert_int_equal(ledger.expired, 2);
}

static void test_drivers_that_list_twice(void **state)
{
    static struct dgo_ledger ledger;
    const struct dgo_ledger_usage usage[] = {{5, GIB}, {6, GIB}, {5, 2 * GIB}};
    uint64_t first, second;

    (void)state;
    dgo_ledger_init(&ledger);
    see(&ledger, 0, 24 * GIB, 0, 24 * GIB, 0);
    first = reserve(&ledger, 0, 2 * GIB, 5);
    second = reserve(&ledger, 0, 4 * GIB, 5);
    assert_int_equal(dgo_ledger_reconcile(&ledger, 0, usage, 3, NULL), DGO_OK);
    assert_int_equal(dgo_ledger_find(&ledger, first)->measured_bytes[0], 2 * GIB);
    assert_int_equal(dgo_ledger_find(&ledger, second)->measured_bytes[0], GIB);
    assert_int_equal(ledger.gpu[0].others_bytes, GIB);
}

/* ---- the store ---- */

static void test_store_and_load(void **state)
{
    static struct dgo_ledger ledger, other;
    struct dgo_ledger_entry entries[2];
    uint64_t id;

    (void)state;
    dgo_ledger_init(&ledger);
    dgo_ledger_init(&other);
    see(&ledger, 0, 24 * GIB, 0, 24 * GIB, 0);
    see(&other, 0, 24 * GIB, 0, 24 * GIB, 0);
    reserve(&ledger, 0, 5 * GIB, 7);
    id = reserve(&ledger, 0, 6 * GIB, 8);
    memcpy(entries, ledger.entry, sizeof entries);
    assert_int_equal(dgo_ledger_load(&other, entries, 2, NULL), DGO_OK);
    assert_int_equal(dgo_ledger_promisable_bytes(&other, 0), 13 * GIB);
    assert_true(reserve(&other, 0, 1, 0) > id); /* ids go on, they are never used twice */
    entries[1].id = entries[0].id;
    assert_int_equal(dgo_ledger_load(&other, entries, 2, NULL), DGO_EFORMAT);
    entries[1].id = 9;
    memset(entries[1].what, 'x', sizeof entries[1].what);
    assert_int_equal(dgo_ledger_load(&other, entries, 2, NULL), DGO_EFORMAT);
    assert_int_equal(other.entry_count, 3);
}

/* What a store may hold that was written by somebody else. */
static void test_hostile_entries(void **state)
{
    static struct dgo_ledger ledger;
    static struct dgo_ledger_entry entries[3];
    struct dgo_ledger_balance balance;

    (void)state;
    dgo_ledger_init(&ledger);
    see(&ledger, 0, 24 * GIB, 0, 24 * GIB, 0);
    entries[0].id = UINT64_MAX; /* the next one would be 0 */
    assert_int_equal(dgo_ledger_load(&ledger, entries, 1, NULL), DGO_EFORMAT);
    for (uint32_t i = 0; i < 3; i++) {
        entries[i] = (struct dgo_ledger_entry){.id = i + 1, .state = DGO_LEDGER_SETTLED};
        entries[i].measured_bytes[0] = UINT64_MAX;
    }
    assert_int_equal(dgo_ledger_load(&ledger, entries, 3, NULL), DGO_OK);
    assert_int_equal(dgo_ledger_balance_of(&ledger, 0, &balance, NULL), DGO_OK);
    assert_int_equal(balance.drift_bytes, INT64_MAX);
    assert_int_equal(balance.ours_bytes, UINT64_MAX);
}

/* An engine that outlived its daemon: what it holds is a fact, and no other entry is lost by it. */
static void test_hold(void **state)
{
    static struct dgo_ledger ledger;
    struct dgo_ledger_request request = {.what = "held", .owner = 7};
    uint64_t id, before;

    (void)state;
    dgo_ledger_init(&ledger);
    see(&ledger, 0, 24 * GIB, 0, 4 * GIB, 0);
    before = reserve(&ledger, 0, GIB, 0);
    request.bytes[0] = 20 * GIB; /* more than is free: it is used already */
    assert_int_equal(dgo_ledger_hold(&ledger, &request, true, 1, &id, NULL), DGO_OK);
    assert_true(id > before);
    assert_non_null(dgo_ledger_find(&ledger, before));
    assert_int_equal(dgo_ledger_promisable_bytes(&ledger, 0), 3 * GIB);
    request.bytes[0] = 2 * GIB; /* said, not seen: still promised */
    assert_int_equal(dgo_ledger_hold(&ledger, &request, false, 1, &id, NULL), DGO_OK);
    assert_int_equal(dgo_ledger_promisable_bytes(&ledger, 0), GIB);
    assert_int_equal(dgo_ledger_release_owner(&ledger, 7), 2);
    while (ledger.entry_count < DGO_LEDGER_ENTRY_MAX)
        assert_int_equal(dgo_ledger_hold(&ledger, &request, true, 1, &id, NULL), DGO_OK);
    assert_int_equal(dgo_ledger_hold(&ledger, &request, true, 1, &id, NULL), DGO_ELIMIT);
}

/* A reservation that no process holds would stay for ever. */
static void test_nobody_adopts(void **state)
{
    static struct dgo_ledger ledger;
    struct dgo_ledger_request request = {.what = "test", .expires_ns = 10};
    uint64_t id;

    (void)state;
    dgo_ledger_init(&ledger);
    see(&ledger, 0, 24 * GIB, 0, 24 * GIB, 0);
    request.bytes[0] = GIB;
    assert_int_equal(dgo_ledger_reserve(&ledger, &request, 1, &id, NULL), DGO_OK);
    assert_int_equal(dgo_ledger_adopt(&ledger, id, 0, NULL), DGO_EINVAL);
    assert_int_equal(dgo_ledger_expire(&ledger, 10), 1);
}

/* ---- random histories: no byte is ever promised twice ---- */

static void test_never_twice(void **state)
{
    static struct dgo_ledger ledger;
    uint64_t seed = check_seed();

    (void)state;
    for (int round = 0; round < 50; round++) {
        dgo_ledger_init(&ledger);
        see(&ledger, 0, 1000, 0, 1000, check_below(&seed, 100));
        see(&ledger, 1, 2000, 0, 2000, check_below(&seed, 100));
        for (int step = 0; step < 200; step++) {
            struct dgo_ledger_request request = {.what = "x", .owner = 1 + check_below(&seed, 9)};
            uint64_t id;

            request.bytes[0] = check_below(&seed, 300);
            request.bytes[1] = check_below(&seed, 600);
            (void)!dgo_ledger_reserve(&ledger, &request, 1, &id, NULL);
            if (check_below(&seed, 4) == 0)
                dgo_ledger_release_owner(&ledger, 1 + check_below(&seed, 9));
            for (uint32_t g = 0; g < 2; g++) {
                uint64_t promised = 0;

                for (uint32_t i = 0; i < ledger.entry_count; i++)
                    promised += ledger.entry[i].planned_bytes[g];
                assert_true(promised + ledger.gpu[g].margin_bytes <= ledger.gpu[g].free_bytes);
            }
        }
    }
}

/* ---- two launches at the same time, through the manager ---- */

static _Atomic uint32_t granted;

static void *race(void *data)
{
    struct dgo_ledger_request request = {.what = "racer"};
    uint64_t id;

    (void)data;
    request.bytes[0] = 600;
    for (int i = 0; i < 100; i++)
        if (dgo_vram_reserve(&request, &id, NULL) == DGO_OK)
            atomic_fetch_add(&granted, 1);
    return NULL;
}

static void test_two_launches(void **state)
{
    const struct dgo_ledger_gpu seen = {.known = true, .total_bytes = 1000, .free_bytes = 1000};
    static struct dgo_ledger ledger;
    pthread_t threads[4];

    (void)state;
    assert_int_equal(dgo_resource_set_vram(0, &seen, NULL), DGO_OK);
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, race, NULL), 0);
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    assert_int_equal(atomic_load(&granted), 1);
    dgo_vram_snapshot(&ledger);
    assert_int_equal(ledger.entry_count, 1);
    assert_int_equal(dgo_vram_release(ledger.entry[0].id, NULL), DGO_OK);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_life_of_a_reservation),
    cmocka_unit_test(test_admission),
    cmocka_unit_test(test_limits),
    cmocka_unit_test(test_expiry),
    cmocka_unit_test(test_drivers_that_list_twice),
    cmocka_unit_test(test_store_and_load),
    cmocka_unit_test(test_hostile_entries),
    cmocka_unit_test(test_hold),
    cmocka_unit_test(test_nobody_adopts),
    cmocka_unit_test(test_never_twice),
    cmocka_unit_test(test_two_launches),
};

CHECK_MAIN(tests)
