/* test_settle.c - still is still on every card, and who moves is named. */
#include "check.h"
#include "dgo_settle.h"
#include "dgo_units.h"

#include <math.h>
#include <string.h>

static struct dgo_settle settle;
static struct dgo_machine machine;

static void set_up_machine(uint32_t gpu_count)
{
    memset(&machine, 0, sizeof machine);
    machine.gpu_count = gpu_count;
    for (uint32_t g = 0; g < gpu_count; g++) {
        machine.gpu[g].known = UINT64_C(1) << DGO_GPU_USED_BYTES;
        machine.gpu[g].used_bytes = 1000 * DGO_MIB;
    }
    dgo_settle_init(&settle, 10);
}

static void set_process(uint32_t gpu, uint32_t at, uint32_t pid, uint64_t mib)
{
    struct dgo_gpu_process *process = &machine.gpu[gpu].process[at];

    *process = (struct dgo_gpu_process){
        .pid = pid, .start_ticks = 7, .used_known = true, .used_bytes = mib * DGO_MIB};
    (void)strcpy(process->name, "firefox");
    machine.gpu[gpu].process_count = at + 1;
}

static void test_still_after_so_long(void **state)
{
    (void)state;
    set_up_machine(2);
    assert_false(dgo_settle_is_still(&settle));
    for (int s = 0; s < 10; s++) {
        machine.gpu[0].used_bytes += s % 2 ? DGO_MIB : -DGO_MIB; /* less than 2 MiB is still */
        dgo_settle_look(&settle, &machine, s);
        assert_false(dgo_settle_is_still(&settle));
    }
    dgo_settle_look(&settle, &machine, 10);
    assert_true(dgo_settle_is_still(&settle));
}

static void test_slow_creep_is_no_stillness(void **state)
{
    (void)state;
    set_up_machine(1);
    for (int s = 0; s < 60; s++) { /* 0.25 MiB a second: 2 MiB in each 8 s */
        machine.gpu[0].used_bytes += DGO_MIB / 4;
        dgo_settle_look(&settle, &machine, s);
        assert_false(dgo_settle_is_still(&settle));
    }
}

static void test_who_moves_is_named(void **state)
{
    struct dgo_settle_entry mover[DGO_SETTLE_MOVER_MAX];

    (void)state;
    set_up_machine(2);
    set_process(1, 0, 50, 300);
    set_process(1, 1, 40, 100);
    for (int s = 0; s < 20; s++)
        dgo_settle_look(&settle, &machine, s);
    assert_true(dgo_settle_is_still(&settle));
    assert_int_equal(dgo_settle_movers(&settle, mover), 0);
    set_process(1, 1, 40, 140);
    machine.gpu[1].used_bytes += 40 * DGO_MIB;
    dgo_settle_look(&settle, &machine, 20);
    assert_false(dgo_settle_is_still(&settle));
    assert_int_equal(dgo_settle_movers(&settle, mover), 2);
    assert_true(mover[0].gpu_index == 1 && mover[0].pid == 0 &&
                fabs(mover[0].moved_mib - 40) < 0.1);
    assert_true(mover[1].pid == 40 && fabs(mover[1].moved_mib - 40) < 0.1);
    assert_string_equal(mover[1].name, "firefox");
    for (int s = 21; s <= 30; s++)
        dgo_settle_look(&settle, &machine, s);
    assert_true(dgo_settle_is_still(&settle));
    assert_int_equal(dgo_settle_movers(&settle, mover), 0);
}

static void test_who_comes_is_named(void **state)
{
    struct dgo_settle_entry mover[DGO_SETTLE_MOVER_MAX];

    (void)state;
    set_up_machine(1);
    dgo_settle_look(&settle, &machine, 0);
    set_process(0, 0, 60, 500);
    machine.gpu[0].used_bytes += 500 * DGO_MIB;
    dgo_settle_look(&settle, &machine, 1);
    assert_int_equal(dgo_settle_movers(&settle, mover), 2);
    assert_true(mover[1].pid == 60 && fabs(mover[1].moved_mib - 500) < 0.1);
}

static void test_a_card_without_reading(void **state)
{
    (void)state;
    set_up_machine(2);
    machine.gpu[1].known = 0;
    for (int s = 0; s <= 10; s++)
        dgo_settle_look(&settle, &machine, s);
    assert_true(dgo_settle_is_still(&settle)); /* of the one that can be read */
    machine.gpu[0].known = 0;
    dgo_settle_look(&settle, &machine, 11);
    assert_false(dgo_settle_is_still(&settle)); /* nothing is known */
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_still_after_so_long),
    cmocka_unit_test(test_slow_creep_is_no_stillness),
    cmocka_unit_test(test_who_moves_is_named),
    cmocka_unit_test(test_who_comes_is_named),
    cmocka_unit_test(test_a_card_without_reading),
};
CHECK_MAIN(tests)
