/* check.h - what every test program starts with: cmocka and its four prerequisites, TAP output, and
 * seeds that are printed so that a failing property can be run again (DGO_TEST_SEED=N). */
#ifndef CHECK_H
#define CHECK_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

/* A failing row of a table is named, not only numbered. */
#define CHECK_ROW(condition, name)                                                                 \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            print_error("%s:%d: row \"%s\": %s\n", __FILE__, __LINE__, (name), #condition);        \
            fail();                                                                                \
        }                                                                                          \
    } while (0)

#define CHECK_ROW_U64(got, want, name)                                                             \
    do {                                                                                           \
        const unsigned long long check_got = (unsigned long long)(got);                            \
        const unsigned long long check_want = (unsigned long long)(want);                          \
        if (check_got != check_want) {                                                             \
            print_error("%s:%d: row \"%s\": %s is %llu, want %llu\n", __FILE__, __LINE__, (name),  \
                        #got, check_got, check_want);                                              \
            fail();                                                                                \
        }                                                                                          \
    } while (0)

/* splitmix64: small, fast, and the same everywhere. */
static inline uint64_t check_random(uint64_t *state)
{
    uint64_t z = (*state += UINT64_C(0x9e3779b97f4a7c15));

    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

static inline uint64_t check_below(uint64_t *state, uint64_t bound)
{
    return check_random(state) % bound;
}

/* The seed of this run: DGO_TEST_SEED, else the time; printed either way. */
static inline uint64_t check_seed(void)
{
    const char *given = getenv("DGO_TEST_SEED");
    const uint64_t seed = given ? strtoull(given, NULL, 10) : (uint64_t)time(NULL);

    fprintf(stderr, "# seed %llu (DGO_TEST_SEED=%llu runs it again)\n", (unsigned long long)seed,
            (unsigned long long)seed);
    return seed;
}

#define CHECK_MAIN(tests)                                                                          \
    int main(void)                                                                                 \
    {                                                                                              \
        cmocka_set_message_output(CM_OUTPUT_TAP);                                                  \
        return cmocka_run_group_tests(tests, NULL, NULL);                                          \
    }

#endif
