/* test_timelines.c - hours of series come back bit by bit, are replaced and trimmed; a process that
 * is killed at any moment loses nothing of what was flushed; a full disk is an error, not a loss.
 */
#include "dgo_store_timeline.h"
#include "folder_of_test.h"

#include <math.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>

static const uint64_t hour_ns = UINT64_C(3600000000000), minute_ns = UINT64_C(60000000000);

static struct dgo_store *open_store(const struct test_folder *folder)
{
    struct dgo_store *store = NULL;
    struct dgo_error err = {0};

    if (dgo_store_open(folder->path, &store, NULL, &err) != DGO_OK)
        fail_msg("%s", err.text);
    return store;
}

static void fill(struct dgo_stored_bucket *bucket, uint32_t count, float base)
{
    for (uint32_t i = 0; i < count; i++)
        bucket[i] = (struct dgo_stored_bucket){base, base + (float)i, base + 0.5f, base};
}

struct found {
    uint32_t rows, buckets;
    float last_max;
    bool gap;
};

static void find(const struct dgo_timeline_record *record, void *data)
{
    struct found *found = data;

    found->rows++;
    found->buckets += record->count;
    assert_int_equal(record->width_ns, minute_ns);
    for (uint32_t i = 0; i < record->count; i++)
        found->gap |= isnan(record->bucket[i].mean);
    if (record->count)
        found->last_max = record->bucket[record->count - 1].max;
}

static struct found each(struct dgo_store *store, const char *series, uint64_t from, uint64_t to)
{
    struct found found = {0};
    struct dgo_error err = {0};

    assert_int_equal(dgo_store_each_timeline(store, series, from, to, find, &found, &err), DGO_OK);
    return found;
}

static void count_event(const struct dgo_event_record *event, void *data)
{
    assert_string_equal(event->kind, "mark");
    assert_string_equal(event->text, "browser closed");
    assert_int_equal(event->gpu_index, UINT32_MAX);
    (*(uint32_t *)data)++;
}

static void test_round_trip(void **state)
{
    struct test_folder folder;
    struct dgo_stored_bucket bucket[60];
    struct dgo_timeline_record record = {"0/card/used", 5 * hour_ns, minute_ns, 60, bucket};
    const struct dgo_event_record mark = {5 * hour_ns + 1, "mark", "browser closed", UINT32_MAX, 0};
    struct dgo_store *store;
    struct dgo_error err = {0};
    uint32_t events = 0;
    struct found found;

    (void)state;
    folder_make(&folder);
    store = open_store(&folder);
    fill(bucket, 60, 1000);
    bucket[7].mean = NAN;
    assert_int_equal(dgo_store_put_timeline(store, &record, 1, &mark, 1, &err), DGO_OK);
    record.start_ns = 6 * hour_ns;
    record.count = 10; /* the hour that is not over, twice */
    assert_int_equal(dgo_store_put_timeline(store, &record, 1, NULL, 0, &err), DGO_OK);
    record.count = 20;
    assert_int_equal(dgo_store_put_timeline(store, &record, 1, NULL, 0, &err), DGO_OK);
    record.series = "1/42@7/used";
    assert_int_equal(dgo_store_put_timeline(store, &record, 1, NULL, 0, &err), DGO_OK);
    dgo_store_close(store);
    store = open_store(&folder);
    found = each(store, "0/card/used", 0, UINT64_MAX);
    assert_true(found.rows == 2 && found.buckets == 80 && found.last_max == 1019 && found.gap);
    assert_int_equal(each(store, NULL, 0, UINT64_MAX).rows, 3);
    assert_int_equal(each(store, NULL, 6 * hour_ns, 7 * hour_ns).rows, 2);
    assert_int_equal(dgo_store_each_event(store, 0, UINT64_MAX, count_event, &events, &err),
                     DGO_OK);
    assert_int_equal(events, 1);
    assert_int_equal(dgo_store_trim_timeline(store, 6 * hour_ns, &err), DGO_OK);
    assert_int_equal(each(store, NULL, 0, UINT64_MAX).rows, 2);
    record.count = DGO_STORE_BUCKET_MAX + 1;
    assert_int_equal(dgo_store_put_timeline(store, &record, 1, NULL, 0, &err), DGO_ELIMIT);
    dgo_store_close(store);
    folder_remove(&folder);
}

/* The child says after each flush what it holds; then it is killed in the middle of the next. */
static void write_until_killed(const struct test_folder *folder, int said)
{
    struct dgo_stored_bucket bucket[60];
    struct dgo_timeline_record record[8];
    struct dgo_store *store = open_store(folder);
    struct dgo_error err = {0};

    fill(bucket, 60, 1);
    for (uint32_t flush = 1;; flush++) {
        for (uint32_t s = 0; s < 8; s++) {
            static char name[8][16];

            snprintf(name[s], sizeof name[s], "series %u", s);
            record[s] =
                (struct dgo_timeline_record){name[s], flush * hour_ns, minute_ns, 60, bucket};
        }
        if (dgo_store_put_timeline(store, record, 8, NULL, 0, &err) != DGO_OK)
            _exit(3);
        if (write(said, &flush, sizeof flush) != (ssize_t)sizeof flush)
            _exit(4);
    }
}

static void test_killed_at_any_moment(void **state)
{
    uint64_t seed = check_seed();

    (void)state;
    for (uint32_t round = 0; round < 8; round++) {
        struct test_folder folder;
        uint32_t flushed = 0, next;
        int pipe_fd[2], status;
        struct dgo_store *store;
        struct found found;
        pid_t child;

        folder_make(&folder);
        assert_int_equal(pipe(pipe_fd), 0);
        child = fork();
        if (child == 0)
            write_until_killed(&folder, pipe_fd[1]);
        close(pipe_fd[1]);
        for (uint64_t left = 1 + check_below(&seed, 30); left > 0; left--)
            if (read(pipe_fd[0], &next, sizeof next) == (ssize_t)sizeof next)
                flushed = next;
        kill(child, SIGKILL);
        assert_int_equal(waitpid(child, &status, 0), child);
        while (read(pipe_fd[0], &next, sizeof next) == (ssize_t)sizeof next)
            flushed = next; /* said before it died */
        close(pipe_fd[0]);
        store = open_store(&folder);
        found = each(store, NULL, 0, UINT64_MAX);
        assert_true(found.rows == flushed * 8 || found.rows == (flushed + 1) * 8); /* whole ones */
        assert_int_equal(found.buckets, found.rows * 60);
        dgo_store_close(store);
        folder_remove(&folder);
    }
}

/* A limit on the size of files is what a full disk is to SQLite: in a child, which has no other. */
static void test_disk_full(void **state)
{
    struct test_folder folder;
    struct dgo_store *store;
    struct found found;
    int status;
    pid_t child;

    (void)state;
    folder_make(&folder);
    store = open_store(&folder);
    dgo_store_close(store);
    child = fork();
    if (child == 0) {
        const struct rlimit limit = {300 * 1024, 300 * 1024};
        struct dgo_stored_bucket bucket[60];
        struct dgo_error err = {0};
        uint32_t flush = 0;

        fill(bucket, 60, 1);
        signal(SIGXFSZ, SIG_IGN);
        store = open_store(&folder);
        setrlimit(RLIMIT_FSIZE, &limit);
        for (; flush < 10000; flush++) {
            const struct dgo_timeline_record record = {"a", (flush + 1) * hour_ns, minute_ns, 60,
                                                       bucket};

            if (dgo_store_put_timeline(store, &record, 1, NULL, 0, &err) != DGO_OK)
                break;
        }
        found = each(store, NULL, 0, UINT64_MAX); /* what was put is still read */
        _exit(flush > 10 && flush < 10000 && err.text[0] && found.rows == flush ? 0 : 1);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    store = open_store(&folder);
    assert_true(each(store, NULL, 0, UINT64_MAX).rows > 10);
    dgo_store_close(store);
    folder_remove(&folder);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_round_trip),
    cmocka_unit_test(test_killed_at_any_moment),
    cmocka_unit_test(test_disk_full),
};
CHECK_MAIN(tests)
