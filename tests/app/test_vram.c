/* test_vram.c - what a look at the machine tells the ledger. */
#include "check.h"
#include "dgo_resource.h"
#include "dgo_units.h"
#include "vram.h"

static struct dgo_machine machine;

static int setup(void **state)
{
    (void)state;
    memset(&machine, 0, sizeof machine);
    machine.gpu_count = 2;
    for (int g = 0; g < 2; g++) {
        machine.gpu[g].known = UINT64_C(1) << DGO_GPU_TOTAL_BYTES |
                               UINT64_C(1) << DGO_GPU_RESERVED_BYTES |
                               UINT64_C(1) << DGO_GPU_FREE_BYTES;
        machine.gpu[g].total_bytes = 1000 * DGO_MIB;
        machine.gpu[g].reserved_bytes = 50 * DGO_MIB;
        machine.gpu[g].free_bytes = 700 * DGO_MIB;
        machine.gpu[g].processes_known = true;
        machine.gpu[g].process_count = 2;
        machine.gpu[g].process[0] =
            (struct dgo_gpu_process){.pid = 11, .used_known = true, .used_bytes = 100 * DGO_MIB};
        machine.gpu[g].process[1] =
            (struct dgo_gpu_process){.pid = 22, .used_known = true, .used_bytes = 150 * DGO_MIB};
    }
    return 0;
}

static void balance_of(uint32_t gpu_index, struct dgo_ledger_balance *balance, bool *others_known)
{
    static struct dgo_ledger ledger;

    dgo_vram_snapshot(&ledger);
    *others_known = ledger.gpu[gpu_index].others_known;
    assert_int_equal(dgo_ledger_balance_of(&ledger, gpu_index, balance, NULL), DGO_OK);
}

static void test_ours_and_others(void **state)
{
    struct dgo_ledger_request request = {.what = "engine", .owner = 22};
    struct dgo_ledger_balance balance;
    uint64_t id;
    bool known;

    (void)state;
    assert_int_equal(vram_observe(&machine, 20 * DGO_MIB, NULL), DGO_OK);
    balance_of(1, &balance, &known);
    assert_true(known);
    assert_int_equal(balance.driver_bytes, 50 * DGO_MIB);
    assert_int_equal(balance.others_bytes, 250 * DGO_MIB);
    assert_int_equal(balance.promisable_bytes, 680 * DGO_MIB);
    request.bytes[1] = 200 * DGO_MIB;
    assert_int_equal(dgo_vram_reserve(&request, &id, NULL), DGO_OK);
    assert_int_equal(vram_observe(&machine, 20 * DGO_MIB, NULL), DGO_OK);
    balance_of(1, &balance, &known);
    assert_int_equal(balance.ours_bytes, 150 * DGO_MIB);
    assert_int_equal(balance.others_bytes, 100 * DGO_MIB);
    assert_int_equal(balance.outstanding_bytes, 50 * DGO_MIB); /* planned, not taken yet */
    assert_int_equal(balance.unexplained_bytes, 0);
    assert_int_equal(dgo_vram_release(id, NULL), DGO_OK);
}

/* A list with a hidden figure or a cut end would make our owners look empty-handed. */
static void test_an_incomplete_list_changes_nothing(void **state)
{
    struct dgo_ledger_balance before, after;
    bool known;

    (void)state;
    assert_int_equal(vram_observe(&machine, 0, NULL), DGO_OK);
    balance_of(0, &before, &known);
    machine.gpu[0].process[0].used_known = false;
    assert_int_equal(vram_observe(&machine, 0, NULL), DGO_OK);
    balance_of(0, &after, &known);
    assert_int_equal(before.others_bytes, after.others_bytes);
    machine.gpu[0].process[0].used_known = true;
    machine.gpu[0].process_more = 3;
    machine.gpu[0].process[0].used_bytes = 1;
    assert_int_equal(vram_observe(&machine, 0, NULL), DGO_OK);
    balance_of(0, &after, &known);
    assert_int_equal(before.others_bytes, after.others_bytes);
}

static void test_unknown_memory_is_left_out(void **state)
{
    static struct dgo_ledger ledger;

    (void)state;
    machine.gpu_count = 3;
    machine.gpu[2].known = UINT64_C(1) << DGO_GPU_TOTAL_BYTES;
    machine.gpu[2].total_bytes = DGO_GIB;
    assert_int_equal(vram_observe(&machine, 0, NULL), DGO_OK);
    dgo_vram_snapshot(&ledger);
    assert_true(ledger.gpu[1].known);
    assert_false(ledger.gpu[2].known);
}

static void test_impossible_figures(void **state)
{
    struct dgo_error err = {0};

    (void)state;
    machine.gpu[1].free_bytes = 2000 * DGO_MIB;
    assert_int_equal(vram_observe(&machine, 0, &err), DGO_EINVAL);
    assert_non_null(strstr(err.text, "GPU 1"));
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test_setup(test_ours_and_others, setup),
    cmocka_unit_test_setup(test_an_incomplete_list_changes_nothing, setup),
    cmocka_unit_test_setup(test_unknown_memory_is_left_out, setup),
    cmocka_unit_test_setup(test_impossible_figures, setup),
};

CHECK_MAIN(tests)
