/* test_arena.c - alignment, the ceiling, overflow and failing on purpose. */
#include "check.h"
#include "dgo_arena.h"

#include <stdalign.h>

static void test_memory_is_zero_aligned_and_apart(void **state)
{
    struct dgo_arena arena = {0};
    unsigned char *before = NULL;

    (void)state;
    for (size_t size = 0; size < 9000; size += 97) {
        unsigned char *taken = dgo_arena_take(&arena, size);

        assert_non_null(taken);
        assert_int_equal((uintptr_t)taken % alignof(max_align_t), 0);
        for (size_t i = 0; i < size; i++)
            assert_int_equal(taken[i], 0);
        memset(taken, 0xee, size);
        assert_true(taken >= before || taken + size <= before); /* no overlap with the last one */
        before = taken + size;
    }
    dgo_arena_done(&arena);
    assert_int_equal(arena.used_bytes, 0);
    assert_null(arena.blocks);
}

static void test_the_ceiling_holds(void **state)
{
    struct dgo_arena arena = {.limit_bytes = 1024};

    (void)state;
    assert_non_null(dgo_arena_take(&arena, 1000));
    assert_null(dgo_arena_take(&arena, 100));
    assert_non_null(dgo_arena_take(&arena, 16));
    assert_true(arena.used_bytes <= 1024);
    dgo_arena_done(&arena);
    assert_non_null(dgo_arena_take(&arena, 1024));
    dgo_arena_done(&arena);
}

static void test_impossible_sizes_are_refused(void **state)
{
    struct dgo_arena arena = {0};

    (void)state;
    assert_null(dgo_arena_take(&arena, SIZE_MAX));
    assert_null(dgo_arena_take_array(&arena, SIZE_MAX / 2, 3));
    assert_null(dgo_arena_take_text(&arena, "x", SIZE_MAX));
    assert_null(arena.blocks);
    dgo_arena_done(&arena);
}

static void test_fails_when_told(void **state)
{
    struct dgo_arena arena = {.fail_after = 3};

    (void)state;
    assert_non_null(dgo_arena_take(&arena, 8));
    assert_non_null(dgo_arena_take(&arena, 8));
    assert_null(dgo_arena_take(&arena, 8));
    assert_non_null(dgo_arena_take(&arena, 8));
    dgo_arena_done(&arena);
}

static void test_text_is_terminated(void **state)
{
    struct dgo_arena arena = {0};

    (void)state;
    assert_string_equal(dgo_arena_take_text(&arena, "hello world", 5), "hello");
    assert_string_equal(dgo_arena_take_text(&arena, NULL, 0), "");
    dgo_arena_done(&arena);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_memory_is_zero_aligned_and_apart),
    cmocka_unit_test(test_the_ceiling_holds),
    cmocka_unit_test(test_impossible_sizes_are_refused),
    cmocka_unit_test(test_fails_when_told),
    cmocka_unit_test(test_text_is_terminated),
};

CHECK_MAIN(tests)
