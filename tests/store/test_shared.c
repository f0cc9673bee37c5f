/* test_shared.c - several processes on one file: writers side by side, a writer killed in the
 * middle, openers that meet a damaged file together. */
#include "dgo_store.h"
#include "folder_of_test.h"

#include <signal.h>
#include <sys/wait.h>

enum { WRITERS = 4, PUTS = 25, KILLS = 6, DAMAGES = 10 };

static struct test_folder folder;

static const struct dgo_launch_figure figures[] = {
    {"CUDA0", DGO_BUFFER_MODEL, 1000, true, 1000},
    {"CUDA1", DGO_BUFFER_MODEL, 2000, true, 2000},
};

static enum dgo_status put_one(struct dgo_store *store, uint64_t number, struct dgo_error *err)
{
    return dgo_store_put_launch(store,
                                &(struct dgo_launch_record){.started_ns = number,
                                                            .model_path = "/models/a.gguf",
                                                            .settings_json = "{}",
                                                            .figure_count = 2,
                                                            .figure = figures},
                                err);
}

struct tally {
    uint32_t count, broken; /* broken: without its figures */
};

static void count_whole(const struct dgo_launch_record *record, void *data)
{
    struct tally *tally = data;

    tally->count++;
    tally->broken += record->figure_count != 2 || strcmp(record->model_path, "/models/a.gguf") != 0;
}

static struct tally tally_of(struct dgo_store *store)
{
    struct tally tally = {0};
    struct dgo_error err = {0};

    if (dgo_store_each_launch(store, 100000, count_whole, &tally, NULL, &err) != DGO_OK)
        fail_msg("%s", err.text);
    return tally;
}

/* In a child: opens, puts `count` launches, exits 0; a failure's sentence goes to stderr. */
static _Noreturn void write_and_exit(uint32_t count)
{
    struct dgo_store *store = NULL;
    struct dgo_error err = {0};
    enum dgo_status status = dgo_store_open(folder.path, &store, NULL, &err);

    for (uint32_t i = 0; status == DGO_OK && i < count; i++)
        status = put_one(store, i, &err);
    if (status != DGO_OK)
        fprintf(stderr, "# %s\n", err.text);
    dgo_store_close(store);
    _exit(status == DGO_OK ? 0 : 1);
}

/* They start together, when the pipe is closed. */
static void run_writers(uint32_t count)
{
    pid_t pids[WRITERS];
    int start[2], result;
    char byte;

    assert_int_equal(pipe(start), 0);
    for (int i = 0; i < WRITERS; i++) {
        pids[i] = fork();
        assert_true(pids[i] >= 0);
        if (pids[i] == 0) {
            close(start[1]);
            (void)!read(start[0], &byte, 1);
            write_and_exit(count);
        }
    }
    close(start[1]);
    close(start[0]);
    for (int i = 0; i < WRITERS; i++) {
        assert_int_equal(waitpid(pids[i], &result, 0), pids[i]);
        assert_int_equal(result, 0);
    }
}

/* They also make the file together. */
static void test_writers_side_by_side(void **state)
{
    struct dgo_store *store = NULL;

    (void)state;
    run_writers(PUTS);
    assert_int_equal(dgo_store_open(folder.path, &store, NULL, NULL), DGO_OK);

    const struct tally tally = tally_of(store);

    assert_int_equal(tally.count, WRITERS * PUTS);
    assert_int_equal(tally.broken, 0);
    dgo_store_close(store);
}

static void write_garbage(void)
{
    FILE *file = fopen(folder.database, "wb");

    assert_non_null(file);
    fputs("nothing that SQLite would know", file);
    assert_int_equal(fclose(file), 0);
}

/* One of them moves it aside; nobody moves the new one. */
static void test_openers_of_a_damaged_file(void **state)
{
    (void)state;
    for (int round = 0; round < DAMAGES; round++) {
        struct dgo_store *store = NULL;

        write_garbage();
        run_writers(3);
        assert_int_equal(dgo_store_open(folder.path, &store, NULL, NULL), DGO_OK);
        assert_int_equal(tally_of(store).count, WRITERS * 3);
        assert_int_equal(access(folder.damaged, F_OK), 0);
        dgo_store_close(store);
        folder_empty(&folder);
    }
}

/* The log of a damaged file must not be played into the new one. */
static void test_a_damaged_files_log_is_not_played(void **state)
{
    char notice[DGO_STORE_NOTICE_MAX], log[128];
    struct dgo_store *store = NULL;
    pid_t pid;

    (void)state;
    run_writers(1); /* the tables are in the file itself now, and the log is gone */
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        const bool open = dgo_store_open(folder.path, &store, NULL, NULL) == DGO_OK;

        _exit(open && put_one(store, 1, NULL) == DGO_OK ? 0 : 1); /* closes nothing */
    }
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    snprintf(log, sizeof log, "%s-wal", folder.database);
    assert_int_equal(access(log, F_OK), 0);
    write_garbage();
    assert_int_equal(dgo_store_open(folder.path, &store, notice, NULL), DGO_OK);
    assert_true(notice[0] != '\0');
    assert_int_equal(tally_of(store).count, 0);
    dgo_store_close(store);
}

/* In a child: puts launches for ever, a byte into the pipe for each that is kept. */
static _Noreturn void write_for_ever(int fd)
{
    struct dgo_store *store = NULL;
    struct dgo_error err = {0};
    enum dgo_status status = dgo_store_open(folder.path, &store, NULL, &err);

    for (uint64_t i = 0; status == DGO_OK; i++) {
        status = put_one(store, i, &err);
        if (status == DGO_OK && write(fd, "", 1) != 1)
            break;
    }
    fprintf(stderr, "# %s\n", err.text);
    _exit(1);
}

static void test_killed_in_the_middle_of_writing(void **state)
{
    uint32_t kept = 0;

    (void)state;
    for (int round = 0; round < KILLS; round++) {
        char notice[DGO_STORE_NOTICE_MAX];
        struct dgo_store *store = NULL;
        struct dgo_error err = {0};
        char byte;
        int told[2];

        assert_int_equal(pipe(told), 0);

        const pid_t pid = fork();

        assert_true(pid >= 0);
        if (pid == 0)
            write_for_ever(told[1]);
        close(told[1]);
        for (int i = 0; i < 5 + 3 * round; i++, kept++)
            assert_int_equal(read(told[0], &byte, 1), 1);
        assert_int_equal(kill(pid, SIGKILL), 0);
        assert_int_equal(waitpid(pid, NULL, 0), pid);
        while (read(told[0], &byte, 1) == 1)
            kept++;
        close(told[0]);
        assert_int_equal(dgo_store_open(folder.path, &store, notice, &err), DGO_OK);
        assert_string_equal(notice, "");

        const struct tally tally = tally_of(store);

        assert_int_equal(tally.broken, 0); /* all of a launch or nothing */
        assert_true(tally.count >= kept);  /* the last may have been kept and not told */
        assert_true(tally.count <= kept + (uint32_t)round + 1);
        assert_int_equal(put_one(store, 1, &err), DGO_OK);
        kept++;
        dgo_store_close(store);
    }
}

static int make(void **state)
{
    (void)state;
    folder_make(&folder);
    return 0;
}

static int clean(void **state)
{
    (void)state;
    folder_remove(&folder);
    return 0;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, make, clean)

static const struct CMUnitTest tests[] = {
    TEST(test_writers_side_by_side),
    TEST(test_openers_of_a_damaged_file),
    TEST(test_a_damaged_files_log_is_not_played),
    TEST(test_killed_in_the_middle_of_writing),
};

CHECK_MAIN(tests)
