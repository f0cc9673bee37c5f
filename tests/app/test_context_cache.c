/* test_context_cache.c - hits, the least recently used goes first, one flight for all who ask,
 * failures that stay and failures that pass. */
#include "check.h"
#include "context_cache.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>

static struct context_key key_of(uint64_t value)
{
    struct context_key key = {{0}};

    context_key_add(&key, value);
    return key;
}

/* What the next computations answer, and how many there were. */
struct source {
    uint64_t value;
    enum dgo_status status;
    _Atomic unsigned computed;
};

static enum dgo_status compute(void *value, void *arg, struct dgo_error *err)
{
    struct source *source = arg;

    atomic_fetch_add(&source->computed, 1);
    *(uint64_t *)value = source->value;
    if (source->status != DGO_OK)
        return dgo_fail(err, source->status, "no %llu", (unsigned long long)source->value);
    return DGO_OK;
}

static struct context_cache *cache_of(uint32_t capacity)
{
    struct context_cache *cache = NULL;

    assert_int_equal(context_cache_new(capacity, sizeof(uint64_t), &cache, NULL), DGO_OK);
    return cache;
}

static struct context_cache_stats stats_of(struct context_cache *cache)
{
    struct context_cache_stats stats;

    context_cache_read_stats(cache, &stats);
    return stats;
}

static uint64_t ask(struct context_cache *cache, uint64_t key, struct source *source,
                    enum context_source *how)
{
    const struct context_key name = key_of(key);
    uint64_t value = 0;

    source->value = key * 10;
    assert_int_equal(context_cache_get(cache, &name, &value, compute, source, how, NULL), DGO_OK);
    return value;
}

static void test_second_question_is_a_hit(void **state)
{
    struct context_cache *cache = cache_of(4);
    struct source source = {0};
    enum context_source how;

    (void)state;
    assert_int_equal(ask(cache, 1, &source, &how), 10);
    assert_int_equal(how, CONTEXT_COMPUTED);
    assert_int_equal(ask(cache, 1, &source, &how), 10);
    assert_int_equal(how, CONTEXT_HIT);
    assert_int_equal(ask(cache, 2, &source, &how), 20);
    assert_int_equal(how, CONTEXT_COMPUTED);
    assert_int_equal(source.computed, 2);
    assert_int_equal(stats_of(cache).hits, 1);
    assert_int_equal(stats_of(cache).misses, 2);
    assert_int_equal(stats_of(cache).entries, 2);
    assert_int_equal(stats_of(cache).bytes, 2 * sizeof(uint64_t));
    context_cache_free(cache);
}

static void test_least_recently_used_goes(void **state)
{
    struct context_cache *cache = cache_of(2);
    struct source source = {0};
    enum context_source how;

    (void)state;
    ask(cache, 1, &source, &how);
    ask(cache, 2, &source, &how);
    ask(cache, 1, &source, &how); /* now 2 is the older one */
    ask(cache, 3, &source, &how);
    assert_int_equal(stats_of(cache).evicted, 1);
    assert_int_equal(stats_of(cache).entries, 2);
    ask(cache, 1, &source, &how);
    assert_int_equal(how, CONTEXT_HIT);
    ask(cache, 2, &source, &how);
    assert_int_equal(how, CONTEXT_COMPUTED);
    context_cache_free(cache);
}

static void test_failures(void **state)
{
    static const struct {
        const char *name;
        enum dgo_status status;
        bool kept, has_value;
    } cases[] = {
        {"does not fit: with the nearest", DGO_ENOFIT, true, true},
        {"never possible", DGO_EINVAL, true, false},
        {"not known", DGO_EUNSUPPORTED, true, false},
        {"no memory now", DGO_ENOMEM, false, false},
        {"cancelled", DGO_ECANCELLED, false, false},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct context_cache *cache = cache_of(2);
        struct source source = {.value = 7, .status = cases[i].status};
        const struct context_key key = key_of(1);

        for (unsigned turn = 0; turn < 2; turn++) {
            uint64_t value = 99;
            struct dgo_error err = {0};

            CHECK_ROW(context_cache_get(cache, &key, &value, compute, &source, NULL, &err) ==
                          cases[i].status,
                      cases[i].name);
            CHECK_ROW(strcmp(err.text, "no 7") == 0, cases[i].name);
            if (turn == 1 && cases[i].kept)
                CHECK_ROW_U64(value, cases[i].has_value ? 7 : 99, cases[i].name);
        }
        CHECK_ROW_U64(source.computed, cases[i].kept ? 1 : 2, cases[i].name);
        CHECK_ROW_U64(stats_of(cache).entries, cases[i].kept, cases[i].name);
        CHECK_ROW_U64(stats_of(cache).dropped, cases[i].kept ? 0 : 2, cases[i].name);
        context_cache_free(cache);
    }
}

/* ---- several threads ---- */

enum { THREADS = 8 };

/* A computation that does not end before the others have joined it. */
struct flight {
    struct context_cache *cache;
    enum dgo_status status;
    uint64_t joined_wanted;
    _Atomic bool begun, go;
    _Atomic unsigned computed, answered[3], wrong;
};

static enum dgo_status compute_slowly(void *value, void *arg, struct dgo_error *err)
{
    struct flight *flight = arg;

    atomic_fetch_add(&flight->computed, 1);
    atomic_store(&flight->begun, true);
    while (stats_of(flight->cache).joined < flight->joined_wanted || !atomic_load(&flight->go))
        sched_yield();
    *(uint64_t *)value = 42;
    return flight->status == DGO_OK ? DGO_OK : dgo_fail(err, flight->status, "later");
}

static void *ask_once(void *data)
{
    struct flight *flight = data;
    const struct context_key key = key_of(1);
    enum context_source how;
    struct dgo_error err = {0};
    uint64_t value = 0;
    const enum dgo_status status =
        context_cache_get(flight->cache, &key, &value, compute_slowly, flight, &how, &err);

    if (status != flight->status || (status == DGO_OK && value != 42) ||
        (status != DGO_OK && strcmp(err.text, "later") != 0))
        atomic_fetch_add(&flight->wrong, 1);
    atomic_fetch_add(&flight->answered[how], 1);
    return NULL;
}

static void test_one_flight_for_all(void **state)
{
    static const struct {
        const char *name;
        enum dgo_status status;
        uint32_t entries;
    } cases[] = {{"a value", DGO_OK, 1}, {"a failure that passes", DGO_ENOMEM, 0}};

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct flight flight = {.cache = cache_of(2),
                                .status = cases[i].status,
                                .joined_wanted = THREADS - 1,
                                .go = true};
        pthread_t threads[THREADS];

        for (int t = 0; t < THREADS; t++)
            assert_int_equal(pthread_create(&threads[t], NULL, ask_once, &flight), 0);
        for (int t = 0; t < THREADS; t++)
            pthread_join(threads[t], NULL);
        CHECK_ROW_U64(flight.computed, 1, cases[i].name);
        CHECK_ROW_U64(flight.wrong, 0, cases[i].name);
        CHECK_ROW_U64(flight.answered[CONTEXT_COMPUTED], 1, cases[i].name);
        CHECK_ROW_U64(flight.answered[CONTEXT_JOINED], THREADS - 1, cases[i].name);
        CHECK_ROW_U64(stats_of(flight.cache).entries, cases[i].entries, cases[i].name);
        context_cache_free(flight.cache);
    }
}

static void test_full_of_flights_is_no_deadlock(void **state)
{
    struct flight flight = {.cache = cache_of(1), .status = DGO_OK};
    struct source source = {0};
    enum context_source how;
    pthread_t thread;

    (void)state;
    assert_int_equal(pthread_create(&thread, NULL, ask_once, &flight), 0);
    while (!atomic_load(&flight.begun))
        sched_yield();
    assert_int_equal(ask(flight.cache, 2, &source, &how), 20); /* no room, so not kept */
    assert_int_equal(how, CONTEXT_COMPUTED);
    assert_int_equal(stats_of(flight.cache).bypassed, 1);
    atomic_store(&flight.go, true);
    pthread_join(thread, NULL);
    assert_int_equal(flight.wrong, 0);
    assert_int_equal(stats_of(flight.cache).entries, 1);
    context_cache_free(flight.cache);
}

struct storm {
    struct context_cache *cache;
    uint64_t seed;
    _Atomic unsigned *wrong;
};

enum { STORM_KEYS = 12, STORM_ASKS = 4000 };

static enum dgo_status compute_key(void *value, void *arg, struct dgo_error *err)
{
    const uint64_t key = *(const uint64_t *)arg;

    sched_yield(); /* others join meanwhile */
    *(uint64_t *)value = key * key;
    if (key % 5 == 0) /* some fail in passing, so entries come and go */
        return dgo_fail(err, DGO_EBUSY, "busy");
    return DGO_OK;
}

static void *ask_often(void *data)
{
    struct storm *storm = data;

    for (int i = 0; i < STORM_ASKS; i++) {
        uint64_t key = check_below(&storm->seed, STORM_KEYS), value = 0;
        const struct context_key name = key_of(key);
        const enum dgo_status status =
            context_cache_get(storm->cache, &name, &value, compute_key, &key, NULL, NULL);

        if (status != (key % 5 == 0 ? DGO_EBUSY : DGO_OK) ||
            (status == DGO_OK && value != key * key))
            atomic_fetch_add(storm->wrong, 1);
    }
    return NULL;
}

static void test_storm(void **state)
{
    const uint64_t seed = check_seed();
    struct context_cache *cache = cache_of(3);
    struct storm storms[THREADS];
    struct context_cache_stats stats;
    _Atomic unsigned wrong = 0;
    pthread_t threads[THREADS];

    (void)state;
    for (unsigned t = 0; t < THREADS; t++) {
        storms[t] = (struct storm){cache, seed + t, &wrong};
        assert_int_equal(pthread_create(&threads[t], NULL, ask_often, &storms[t]), 0);
    }
    for (int t = 0; t < THREADS; t++)
        pthread_join(threads[t], NULL);
    stats = stats_of(cache);
    assert_int_equal(wrong, 0);
    assert_int_equal(stats.hits + stats.misses + stats.joined, THREADS * STORM_ASKS);
    assert_true(stats.entries <= stats.capacity);
    assert_true(stats.hits > 0 && stats.evicted > 0 && stats.dropped > 0);
    context_cache_free(cache);
}

static void test_keys(void **state)
{
    static const char *const texts[] = {"", "a", "aa", "abcdefgh", "abcdefghi", "bcdefgh"};
    struct context_key a = {{0}}, b = {{0}};

    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
        for (size_t j = 0; j < sizeof texts / sizeof texts[0]; j++) {
            a = b = (struct context_key){{0}};
            context_key_add_text(&a, texts[i]);
            context_key_add_text(&b, texts[j]);
            CHECK_ROW((memcmp(&a, &b, sizeof a) == 0) == (i == j), texts[i]);
        }
    a = b = (struct context_key){{0}}; /* where one text ends and the next begins counts */
    context_key_add_text(&a, "ab");
    context_key_add_text(&a, "c");
    context_key_add_text(&b, "a");
    context_key_add_text(&b, "bc");
    assert_memory_not_equal(&a, &b, sizeof a);
    a = b = (struct context_key){{0}};
    context_key_add_text(&a, "abcdefgh");
    context_key_add_text(&a, "i");
    context_key_add_text(&b, "abcdefghi");
    assert_memory_not_equal(&a, &b, sizeof a);
    a = b = (struct context_key){{0}}; /* so does the order */
    context_key_add(&a, 1);
    context_key_add(&a, 2);
    context_key_add(&b, 2);
    context_key_add(&b, 1);
    assert_memory_not_equal(&a, &b, sizeof a);
}

static void test_refused_sizes(void **state)
{
    struct context_cache *cache = NULL;
    struct dgo_error err = {0};

    (void)state;
    assert_int_equal(context_cache_new(0, 8, &cache, &err), DGO_EINVAL);
    assert_int_equal(context_cache_new(CONTEXT_CACHE_MAX + 1, 8, &cache, &err), DGO_EINVAL);
    assert_int_equal(context_cache_new(1, 0, &cache, &err), DGO_EINVAL);
    assert_null(cache);
    context_cache_free(NULL);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_second_question_is_a_hit),
    cmocka_unit_test(test_least_recently_used_goes),
    cmocka_unit_test(test_failures),
    cmocka_unit_test(test_one_flight_for_all),
    cmocka_unit_test(test_full_of_flights_is_no_deadlock),
    cmocka_unit_test(test_storm),
    cmocka_unit_test(test_keys),
    cmocka_unit_test(test_refused_sizes),
};

CHECK_MAIN(tests)
