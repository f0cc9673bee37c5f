/* test_grouping.c - the policy's promises, one by one, and on random traffic. */
#include "dgo_grouping.h"
#include "workloads.h"

#include "check.h"

#include <math.h>

static const struct dgo_grouping_policy plain = {
    .bucket_count = 2,
    .bound = {100, 1000},
    .budget_tokens = 2000,
    .batch_most = 8,
    .flush_after_s = 1,
    .queue_most = 20,
};

static struct dgo_grouping *start(const struct dgo_grouping_policy *policy)
{
    struct dgo_grouping *grouping = NULL;
    struct dgo_error err = {0};

    assert_int_equal(dgo_grouping_new(policy, &grouping, &err), DGO_OK);
    return grouping;
}

static void push(struct dgo_grouping *grouping, uint64_t id, uint32_t tokens, double now_s)
{
    assert_int_equal(dgo_grouping_push(grouping, id, tokens, now_s, NULL), DGO_OK);
}

static void test_full_and_overdue(void **state)
{
    struct dgo_grouping *grouping = start(&plain);
    struct dgo_grouping_batch batch;

    (void)state;
    push(grouping, 1, 900, 0);
    push(grouping, 2, 50, 0.1);
    assert_false(dgo_grouping_next(grouping, 0.2, false, &batch));
    assert_true(dgo_grouping_due_s(grouping) == 1);
    push(grouping, 3, 101, 0.3); /* two of 1000 fill the budget */
    assert_true(dgo_grouping_next(grouping, 0.3, false, &batch));
    assert_int_equal(batch.count, 2);
    assert_int_equal(batch.id[0], 1);
    assert_int_equal(batch.id[1], 3);
    assert_int_equal(batch.padded_tokens, 2000);
    assert_false(batch.overdue);
    assert_false(dgo_grouping_next(grouping, 1.0, false, &batch));
    assert_true(dgo_grouping_next(grouping, dgo_grouping_due_s(grouping), false, &batch));
    assert_int_equal(batch.id[0], 2);
    assert_true(batch.overdue);
    assert_true(isinf(dgo_grouping_due_s(grouping)));
    dgo_grouping_free(grouping);
}

/* An overdue request goes before full buckets, however many there are. */
static void test_fairness(void **state)
{
    struct dgo_grouping *grouping = start(&plain);
    struct dgo_grouping_batch batch;

    (void)state;
    push(grouping, 99, 1000, 0);
    for (uint64_t i = 0; i < 16; i++)
        push(grouping, i, 10, 0.5);
    assert_true(dgo_grouping_next(grouping, 0.9, false, &batch));
    assert_int_equal(batch.id[0], 0); /* full, and nobody is overdue yet */
    assert_true(dgo_grouping_next(grouping, 1.1, false, &batch));
    assert_int_equal(batch.id[0], 99);
    dgo_grouping_free(grouping);
}

static void test_back_pressure(void **state)
{
    struct dgo_grouping *grouping = start(&plain);
    struct dgo_grouping_batch batch;
    struct dgo_grouping_stats stats;
    struct dgo_error err = {0};

    (void)state;
    for (uint64_t i = 0; i < plain.queue_most; i++)
        push(grouping, i, 10, 0);
    assert_int_equal(dgo_grouping_push(grouping, 50, 10, 0, &err), DGO_EBUSY);
    assert_true(strlen(err.text) > 0);
    assert_int_equal(dgo_grouping_push(grouping, 51, 1001, 0, &err), DGO_ELIMIT);
    assert_true(dgo_grouping_next(grouping, 0, false, &batch));
    assert_int_equal(batch.count, 8);
    push(grouping, 52, 10, 0);
    dgo_grouping_read_stats(grouping, &stats);
    assert_int_equal(stats.waiting, 13);
    assert_int_equal(stats.refused, 1);
    assert_int_equal(stats.too_long, 1);
    dgo_grouping_free(grouping);
}

static void test_out_of_memory(void **state)
{
    struct dgo_grouping *grouping = start(&plain);
    struct dgo_grouping_batch batch;
    struct dgo_grouping_stats stats;

    (void)state;
    for (uint64_t i = 0; i < 4; i++)
        push(grouping, i, 1000, 0);
    assert_true(dgo_grouping_next(grouping, 0, false, &batch));
    assert_int_equal(batch.count, 2);
    assert_true(dgo_grouping_ended(grouping, &batch, true));
    assert_true(dgo_grouping_next(grouping, 0, false, &batch)); /* the same, half as many */
    assert_int_equal(batch.count, 1);
    assert_int_equal(batch.id[0], 0);
    assert_true(batch.arrival_s[0] == 0);
    assert_false(dgo_grouping_ended(grouping, &batch, true)); /* alone, and still too much */
    for (unsigned i = 0; i < 200; i++) {
        struct dgo_grouping_batch none = {.count = 1, .padded_tokens = 1};

        assert_true(dgo_grouping_ended(grouping, &none, false));
    }
    dgo_grouping_read_stats(grouping, &stats);
    assert_int_equal(stats.budget_tokens, plain.budget_tokens); /* grown back, and no further */
    assert_int_equal(stats.out_of_memory, 2);
    dgo_grouping_free(grouping);
}

/* Nobody is lost, doubled, over budget, in the wrong bucket, or overtaken inside a bucket. */
static void test_random_traffic(void **state)
{
    enum { REQUESTS = 3000 };
    static uint8_t seen[REQUESTS];
    uint64_t seed = check_seed();
    struct dgo_grouping_policy policy = {.bucket_count = 4,
                                         .bound = {64, 256, 1024, 4096},
                                         .budget_tokens = 8192,
                                         .batch_most = 32,
                                         .flush_after_s = 0.5,
                                         .queue_most = 200};
    struct dgo_grouping *grouping = start(&policy);
    struct dgo_grouping_batch batch;
    uint64_t pushed = 0, done = 0, refused = 0, last[4] = {0};
    double now = 0;

    (void)state;
    memset(seen, 0, sizeof seen);
    while (pushed + refused < REQUESTS || done < pushed) {
        const bool drain = pushed + refused == REQUESTS;

        now += 0.01 * (double)check_below(&seed, 5);
        for (uint64_t burst = check_below(&seed, 8); burst > 0 && !drain; burst--) {
            if (pushed + refused == REQUESTS)
                break;
            if (dgo_grouping_push(grouping, pushed + refused,
                                  1 + (uint32_t)check_below(&seed, 4096), now, NULL) == DGO_OK)
                pushed++;
            else
                refused++;
        }
        if (!dgo_grouping_next(grouping, now, drain, &batch))
            continue;
        assert_true(batch.count > 0 && batch.padded_tokens <= batch.budget_tokens + 4096);
        if (batch.count > 1 && check_below(&seed, 10) == 0) {
            assert_true(dgo_grouping_ended(grouping, &batch, true));
            continue;
        }
        for (uint32_t i = 0; i < batch.count; i++) {
            assert_true(batch.tokens[i] <= policy.bound[batch.bucket]);
            assert_true(batch.bucket == 0 || batch.tokens[i] > policy.bound[batch.bucket - 1]);
            assert_true(batch.id[i] + 1 > last[batch.bucket]);
            last[batch.bucket] = batch.id[i] + 1;
            assert_int_equal(seen[batch.id[i]]++, 0);
        }
        done += batch.count;
        assert_true(dgo_grouping_ended(grouping, &batch, false));
    }
    dgo_grouping_free(grouping);
}

static void test_bad_policies(void **state)
{
    static const struct {
        const char *name;
        struct dgo_grouping_policy policy;
    } cases[] = {
        {"no bucket", {0}},
        {"bounds that fall", {2, {10, 5}, 100, 1, 1, 1}},
        {"a budget below a request", {1, {10}, 9, 1, 1, 1}},
        {"no request in a batch", {1, {10}, 10, 0, 1, 1}},
        {"no queue", {1, {10}, 10, 1, 1, 0}},
        {"never sent", {1, {10}, 10, 1, INFINITY, 1}},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct dgo_grouping *grouping = NULL;
        struct dgo_error err = {0};

        CHECK_ROW(dgo_grouping_new(&cases[i].policy, &grouping, &err) == DGO_EINVAL, cases[i].name);
        CHECK_ROW(strlen(err.text) > 10, cases[i].name);
    }
}

/* The replayed trace: everybody is served, nobody waits beyond the deadline and what was ahead, and
 * buckets waste less than one of all. */
static void test_simulation(void **state)
{
    struct dgo_workload workload;
    struct dgo_grouping_policy policy = {.bucket_count = 1,
                                         .bound = {10000},
                                         .budget_tokens = 20000,
                                         .batch_most = 16,
                                         .flush_after_s = 0.5,
                                         .queue_most = 1000};
    const struct dgo_simulation engine = {.tokens_per_s = 100000, .batch_s = 0.01};
    struct dgo_simulation small = engine;
    struct dgo_simulated one, several, failing;

    (void)state;
    workload_seeded(&workload);
    assert_int_equal(dgo_grouping_simulate(&workload, &policy, &engine, &one, NULL), DGO_OK);
    policy.bucket_count = 3;
    policy.bound[0] = 300;
    policy.bound[1] = 1800;
    policy.bound[2] = 10000;
    assert_int_equal(dgo_grouping_simulate(&workload, &policy, &engine, &several, NULL), DGO_OK);
    assert_int_equal(one.requests, workload.count);
    assert_int_equal(several.requests, workload.count);
    assert_int_equal(one.tokens, several.tokens);
    assert_true(several.padded_tokens < one.padded_tokens);
    assert_true(several.padded_tokens >= several.tokens);
    /* At worst: the deadline, and a whole batch of each bucket ahead. */
    assert_true(several.most_wait_s <= 0.5 + 3 * (0.01 + 0.2) + 1e-9);
    small.memory_tokens = 12000;
    assert_int_equal(dgo_grouping_simulate(&workload, &policy, &small, &failing, NULL), DGO_OK);
    assert_int_equal(failing.requests, workload.count);
    assert_true(failing.out_of_memory > 0 && failing.given_up == 0);
    small.tokens_per_s = 0;
    assert_int_equal(dgo_grouping_simulate(&workload, &policy, &small, &failing, NULL), DGO_EINVAL);
    dgo_workload_done(&workload);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_full_and_overdue), cmocka_unit_test(test_fairness),
    cmocka_unit_test(test_back_pressure),    cmocka_unit_test(test_out_of_memory),
    cmocka_unit_test(test_random_traffic),   cmocka_unit_test(test_bad_policies),
    cmocka_unit_test(test_simulation),
};
CHECK_MAIN(tests)
