/* test_tape.c - the rules of the engine's allocator, each by the smallest graph that shows it. */
#include "check.h"
#include "tape.h"

enum { A = 1280, B = 2560 }; /* bytes; multiples of the alignment */

static struct tape tape; /* large for a stack under a sanitizer */

static tape_ref fresh(uint64_t bytes, tape_ref source)
{
    return TAPE_PUT(&tape, bytes, 0, source);
}

static tape_ref over(uint64_t bytes, tape_ref source)
{
    return TAPE_PUT(&tape, bytes, 1, source);
}

static uint64_t peak_of(tape_ref last)
{
    tape_expand(&tape, last);
    return tape_peak(&tape);
}

static void test_written_over(void **state)
{
    tape_ref a, b;

    (void)state;
    tape_init(&tape, false);
    a = fresh(A, TAPE_OUTSIDE);
    assert_int_equal(peak_of(over(A, a)), A);

    tape_init(&tape, false); /* used once more later: not written over */
    a = fresh(A, TAPE_OUTSIDE);
    b = over(A, a);
    assert_int_equal(peak_of(TAPE_PUT(&tape, 0, 0, b, a)), 2 * A);

    tape_init(&tape, false); /* of two that could be, the first */
    a = fresh(A, TAPE_OUTSIDE);
    b = fresh(A, TAPE_OUTSIDE);
    assert_int_equal(peak_of(TAPE_PUT(&tape, A, 3, a, b)), 2 * A);

    tape_init(&tape, false); /* a view is not */
    a = fresh(A, TAPE_OUTSIDE);
    assert_int_equal(peak_of(over(A, tape_view(&tape, a))), 2 * A);
}

static void test_views(void **state)
{
    tape_ref a, view;

    (void)state;
    tape_init(&tape, false); /* holds what it shows until it was used */
    a = fresh(A, TAPE_OUTSIDE);
    view = tape_view(&tape, tape_view(&tape, a));
    a = fresh(A, fresh(A, view));
    assert_int_equal(peak_of(a), 2 * A);

    tape_init(&tape, false); /* and for good where nobody uses it */
    a = fresh(A, TAPE_OUTSIDE);
    tape_expand(&tape, tape_view(&tape, a));
    assert_int_equal(peak_of(fresh(B, TAPE_OUTSIDE)), A + B);
}

static void test_holes(void **state)
{
    tape_ref a, b, c, keep;

    (void)state;
    tape_init(&tape, false); /* the smallest hole that is large enough, not the end */
    a = fresh(B, TAPE_OUTSIDE);
    keep = fresh(A, TAPE_OUTSIDE);
    tape_expand(&tape, a);
    tape_expand(&tape, keep);
    b = fresh(A, a); /* behind both; a is free then */
    c = fresh(B, b); /* where a was */
    assert_int_equal(peak_of(TAPE_PUT(&tape, 0, 0, c, keep)), B + A + A);

    tape_init(&tape, false); /* what is freed joins what is free beside it */
    a = fresh(A, TAPE_OUTSIDE);
    b = fresh(A, TAPE_OUTSIDE);
    keep = fresh(A, TAPE_OUTSIDE);
    tape_expand(&tape, a);
    tape_expand(&tape, b);
    tape_expand(&tape, keep);
    TAPE_WRITE(&tape, a, b);
    c = fresh(B, TAPE_OUTSIDE);
    assert_int_equal(peak_of(TAPE_PUT(&tape, 0, 0, c, keep)), 3 * A);
}

static void test_order(void **state)
{
    tape_ref a, b, far;

    (void)state;
    tape_init(&tape, false); /* what is not brought in comes when it is needed */
    a = fresh(A, TAPE_OUTSIDE);
    far = fresh(B, TAPE_OUTSIDE);
    b = fresh(A, a);
    tape_expand(&tape, fresh(A, b));
    assert_int_equal(peak_of(far), A + B); /* not A + B + A */
}

static void test_inputs(void **state)
{
    tape_ref early, late;

    (void)state;
    tape_init(&tape, false); /* all at once, first; free after their last use */
    late = tape_input(&tape, A);
    early = tape_input(&tape, B);
    tape_expand(&tape, fresh(A, early));
    assert_int_equal(peak_of(fresh(B, fresh(A, late))), A + B + A);

    tape_init(&tape, true); /* held four times, and never written over */
    early = tape_input(&tape, A);
    tape_input(&tape, B); /* nobody uses it */
    assert_int_equal(peak_of(over(A, early)), 4 * A + A);
}

static void test_alignment(void **state)
{
    (void)state;
    tape_init(&tape, false);
    assert_int_equal(peak_of(fresh(1, fresh(129, TAPE_OUTSIDE))), 256 + 128);
}

static void test_overflow(void **state)
{
    (void)state;
    tape_init(&tape, false);
    for (int i = 0; i < TAPE_TENSORS_MAX; i++)
        fresh(A, TAPE_OUTSIDE);
    assert_false(tape.overflown);
    assert_int_equal(fresh(A, TAPE_OUTSIDE), TAPE_OUTSIDE);
    assert_true(tape.overflown);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_written_over), cmocka_unit_test(test_views),
        cmocka_unit_test(test_holes),        cmocka_unit_test(test_order),
        cmocka_unit_test(test_inputs),       cmocka_unit_test(test_alignment),
        cmocka_unit_test(test_overflow),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
