/* test_store.c - opening files in any state: new, damaged, foreign, newer, on a full disk. */
#include "dgo_store.h"
#include "folder.h"
#include "folder_of_test.h"
#include "schema.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sqlite3.h>
#include <sys/resource.h>
#include <sys/stat.h>

static struct test_folder folder;

static void count_one(const struct dgo_launch_record *record, void *data)
{
    (void)record;
    ++*(uint32_t *)data;
}

/* A store with `count` launches, closed. */
static void make_history(uint32_t count)
{
    struct dgo_store *store = NULL;

    assert_int_equal(dgo_store_open(folder.path, &store, NULL, NULL), DGO_OK);
    for (uint32_t i = 0; i < count; i++)
        assert_int_equal(dgo_store_put_launch(
                             store,
                             &(struct dgo_launch_record){.started_ns = i,
                                                         .model_path = "/models/some.gguf",
                                                         .settings_json = "{\"ctx_tokens\": 8192}"},
                             NULL),
                         DGO_OK);
    dgo_store_close(store);
}

static void run_sql(const char *sql)
{
    sqlite3 *db = NULL;

    assert_int_equal(sqlite3_open(folder.database, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
}

static size_t read_file(const char *path, unsigned char *bytes, size_t size)
{
    FILE *file = fopen(path, "rb");
    size_t got;

    assert_non_null(file);
    got = fread(bytes, 1, size, file);
    fclose(file);
    return got;
}

static void write_file(const char *path, const void *bytes, size_t length)
{
    FILE *file = fopen(path, "wb");

    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, length, file), length);
    assert_int_equal(fclose(file), 0);
}

static void test_a_new_one_is_private(void **state)
{
    char nested[128];
    char notice[DGO_STORE_NOTICE_MAX] = "old";
    struct dgo_store *store = NULL;
    struct dgo_error err = {0};
    struct stat info;

    (void)state;
    snprintf(nested, sizeof nested, "%s/a/b/c", folder.path);
    assert_int_equal(dgo_store_open(nested, &store, notice, &err), DGO_OK);
    assert_string_equal(notice, "");
    assert_int_equal(stat(nested, &info), 0);
    assert_int_equal(info.st_mode & 0777, 0700);
    dgo_store_close(store);
    snprintf(nested, sizeof nested, "%s/a/b/c/history.db", folder.path);
    assert_int_equal(stat(nested, &info), 0);
    assert_int_equal(info.st_mode & 0777, 0600);
    assert_int_equal(unlink(nested), 0);
    for (const char *part = "/a/b/c"; part; part = strcmp(part, "/a/b/c") == 0 ? "/a/b"
                                                   : strcmp(part, "/a/b") == 0 ? "/a"
                                                                               : NULL) {
        snprintf(nested, sizeof nested, "%s%s", folder.path, part);
        assert_int_equal(rmdir(nested), 0);
    }
    dgo_store_close(NULL);
}

/* Ways to spoil a file of a few launches. */
static void spoil_garbage(void)
{
    write_file(folder.database, "this is no database at all, however long you look at it", 55);
}
static void spoil_head(void)
{
    assert_int_equal(truncate(folder.database, 100), 0);
}
static void spoil_tail(void)
{
    assert_int_equal(truncate(folder.database, 4096 + 17), 0);
}
static void spoil_pages(void)
{
    static unsigned char bytes[1 << 20];
    const size_t length = read_file(folder.database, bytes, sizeof bytes);

    memset(bytes + 4096, 0x5a, length - 4096);
    write_file(folder.database, bytes, length);
}
static void spoil_table(void)
{
    run_sql("DROP TABLE figure");
}
static void spoil_column(void)
{
    run_sql("ALTER TABLE launch DROP COLUMN simulated");
}
static void spoil_version(void)
{
    run_sql("PRAGMA user_version = 0");
}

static const struct {
    const char *name;
    void (*spoil)(void);
} spoilt[] = {
    {"not a database", spoil_garbage},
    {"only the header left", spoil_head},
    {"cut in the middle", spoil_tail},
    {"pages overwritten", spoil_pages},
    {"a table is missing", spoil_table},
    {"a column is missing", spoil_column},
    {"its version was forgotten", spoil_version},
};

static void test_a_damaged_file_is_moved_aside(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof spoilt / sizeof spoilt[0]; i++) {
        const char *name = spoilt[i].name;
        char notice[DGO_STORE_NOTICE_MAX] = "";
        struct dgo_store *store = NULL;
        struct dgo_error err = {0};
        uint32_t count = 0;

        make_history(20);
        spoilt[i].spoil();
        CHECK_ROW_U64(dgo_store_open(folder.path, &store, notice, &err), DGO_OK, name);
        CHECK_ROW(strstr(notice, "damaged") && strstr(notice, folder.path), name);
        CHECK_ROW(access(folder.damaged, F_OK) == 0, name);
        CHECK_ROW_U64(
            dgo_store_put_launch(store, &(struct dgo_launch_record){.started_ns = 1}, &err), DGO_OK,
            name);
        CHECK_ROW_U64(dgo_store_each_launch(store, 99, count_one, &count, NULL, &err), DGO_OK,
                      name);
        CHECK_ROW_U64(count, 1, name);
        dgo_store_close(store);
        CHECK_ROW_U64(dgo_store_open(folder.path, &store, notice, &err), DGO_OK, name);
        CHECK_ROW(!notice[0], name); /* told once */
        dgo_store_close(store);
        folder_empty(&folder);
    }
}

static bool exists(const char *suffix)
{
    char path[160];

    snprintf(path, sizeof path, "%s%s", folder.database, suffix);
    return access(path, F_OK) == 0;
}

/* What SQLite had not yet brought into the file goes with it, for whoever wants to rescue it. */
static void test_the_log_is_moved_along(void **state)
{
    char path[160];
    struct dgo_error err = {0};

    (void)state;
    for (int round = 0; round < 2; round++) { /* the second in the place of the first */
        static const char *const suffixes[] = {"", "-wal", "-shm"};

        for (size_t i = 0; i < sizeof suffixes / sizeof suffixes[0]; i++) {
            snprintf(path, sizeof path, "%s%s", folder.database, suffixes[i]);
            write_file(path, "x", 1);
        }
        assert_int_equal(folder_move_aside(folder.database, &err), DGO_OK);
        assert_true(exists(".damaged") && exists(".damaged-wal"));
        assert_false(exists("") || exists("-wal") || exists("-shm"));
    }
}

/* Any truncation, any flipped bytes: an answer, never a crash, and a store or a sentence. */
static void test_property_spoilt_bytes_do_no_harm(void **state)
{
    static unsigned char whole[1 << 20], bytes[1 << 20];
    uint64_t seed = check_seed();

    (void)state;
    make_history(40);

    const size_t length = read_file(folder.database, whole, sizeof whole);

    assert_true(length > 8192 && length < sizeof whole);
    for (int round = 0; round < 60; round++) {
        const size_t cut = round % 3 == 0 ? check_below(&seed, length) : length;
        struct dgo_store *store = NULL;
        struct dgo_error err = {0};
        uint32_t count = 0;

        memcpy(bytes, whole, length);
        for (uint64_t flips = round % 3 ? 1 + check_below(&seed, 40) : 0; flips > 0; flips--)
            bytes[check_below(&seed, round % 3 == 1 ? 4096 : length)] =
                (unsigned char)check_random(&seed);
        folder_empty(&folder);
        write_file(folder.database, bytes, cut);
        if (dgo_store_open(folder.path, &store, NULL, &err) != DGO_OK) {
            assert_true(err.text[0] != '\0');
            continue;
        }
        (void)!dgo_store_each_launch(store, 1000, count_one, &count, NULL, &err);
        (void)!dgo_store_put_launch(store, &(struct dgo_launch_record){.started_ns = 1}, &err);
        dgo_store_close(store);
    }
}

static const struct {
    const char *name;
    const char *sql;
    const char *sentence;
} left_alone[] = {
    {"a newer version", "PRAGMA user_version = 1000", "newer version"},
    {"another program's", "PRAGMA application_id = 12345", "another program"},
    {"another program's without an id", "PRAGMA application_id = 0", "another program"},
};

static void test_what_is_not_ours_is_left_alone(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof left_alone / sizeof left_alone[0]; i++) {
        static unsigned char before[1 << 20], after[1 << 20];
        struct dgo_store *store = NULL;
        struct dgo_error err = {0};

        make_history(3);
        run_sql(left_alone[i].sql);

        const size_t length = read_file(folder.database, before, sizeof before);

        CHECK_ROW_U64(dgo_store_open(folder.path, &store, NULL, &err), DGO_EUNSUPPORTED,
                      left_alone[i].name);
        CHECK_ROW(strstr(err.text, left_alone[i].sentence), left_alone[i].name);
        CHECK_ROW_U64(read_file(folder.database, after, sizeof after), length, left_alone[i].name);
        CHECK_ROW(!memcmp(before, after, length), left_alone[i].name);
        CHECK_ROW(access(folder.damaged, F_OK) < 0, left_alone[i].name);
        folder_empty(&folder);
    }
}

static void test_where_nothing_can_be_written(void **state)
{
    char taken[128], below[160];
    const char *const folders[] = {"/proc/dualgpuopt", "/dev/null", taken, below, ""};

    (void)state;
    snprintf(taken, sizeof taken, "%s/file", folder.path);
    snprintf(below, sizeof below, "%s/file/below", folder.path);
    write_file(taken, "x", 1);
    for (size_t i = 0; i < sizeof folders / sizeof folders[0]; i++) {
        struct dgo_store *store = NULL;
        struct dgo_error err = {0};
        const enum dgo_status status = dgo_store_open(folders[i], &store, NULL, &err);

        CHECK_ROW(status == DGO_EIO || status == DGO_EINVAL, folders[i]);
        CHECK_ROW(err.text[0] && !store, folders[i]);
    }
}

static void test_a_folder_in_the_place_of_the_file(void **state)
{
    struct dgo_store *store = NULL;
    struct dgo_error err = {0};

    (void)state;
    assert_int_equal(mkdir(folder.database, 0700), 0);
    assert_int_equal(dgo_store_open(folder.path, &store, NULL, &err), DGO_EIO);
    assert_int_equal(rmdir(folder.database), 0);
}

/* Files of this process may not grow past `bytes`: what a full disk does, without one. */
static void limit_files(rlim_t bytes)
{
    struct rlimit limit;

    assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
    limit.rlim_cur = bytes;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

static void test_a_full_disk_is_told_and_survived(void **state)
{
    struct dgo_store *store = NULL;
    struct dgo_error err = {0};
    enum dgo_status status = DGO_OK;
    struct rlimit before;
    uint32_t put = 0, count = 0;

    (void)state;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    signal(SIGXFSZ, SIG_IGN);
    limit_files(20000);
    status = dgo_store_open(folder.path, &store, NULL, &err);
    assert_int_equal(status, DGO_EIO); /* not even the tables fit */
    limit_files(before.rlim_cur);
    assert_int_equal(dgo_store_open(folder.path, &store, NULL, &err), DGO_OK);
    limit_files(200000);
    status = DGO_OK;
    while (status == DGO_OK && put < 1000) {
        status = dgo_store_put_launch(
            store, &(struct dgo_launch_record){.started_ns = put, .model_path = "/a/model.gguf"},
            &err);
        put += status == DGO_OK;
    }
    assert_int_equal(status, DGO_EIO);
    assert_non_null(strstr(err.text, folder.database));
    /* What was put before is there; and when there is room again, it goes on. */
    assert_int_equal(dgo_store_each_launch(store, 9999, count_one, &count, NULL, &err), DGO_OK);
    assert_int_equal(count, put);
    limit_files(before.rlim_cur);
    assert_int_equal(
        dgo_store_put_launch(store, &(struct dgo_launch_record){.started_ns = 1}, &err), DGO_OK);
    dgo_store_close(store);
    signal(SIGXFSZ, SIG_DFL);
}

/* More than SQLite keeps in memory, so that it must read again. */
static void make_large_history(void)
{
    static char text[20000];
    struct dgo_store *store = NULL;

    memset(text, 'x', sizeof text - 1);
    assert_int_equal(dgo_store_open(folder.path, &store, NULL, NULL), DGO_OK);
    for (uint32_t i = 0; i < 300; i++)
        assert_int_equal(
            dgo_store_put_launch(
                store, &(struct dgo_launch_record){.started_ns = i, .devices_json = text}, NULL),
            DGO_OK);
    dgo_store_close(store);
}

static void overwrite_in_place(void)
{
    static unsigned char bytes[16 << 20];
    FILE *file = fopen(folder.database, "rb+");
    size_t length;

    assert_non_null(file);
    length = fread(bytes, 1, sizeof bytes, file);
    assert_true(length > 4096 && length < sizeof bytes);
    memset(bytes, 0x5a, length - 4096);
    assert_int_equal(fseek(file, 4096, SEEK_SET), 0);
    assert_int_equal(fwrite(bytes, 1, length - 4096, file), length - 4096);
    assert_int_equal(fclose(file), 0);
}

/* The file goes bad while it is open. */
static void test_damage_while_open(void **state)
{
    struct dgo_store *store = NULL;
    char notice[DGO_STORE_NOTICE_MAX];
    struct dgo_error err = {0};
    uint32_t count = 0;
    enum dgo_status status;

    (void)state;
    make_large_history();
    assert_int_equal(dgo_store_open(folder.path, &store, NULL, &err), DGO_OK);
    overwrite_in_place();
    status = dgo_store_each_launch(store, 1000, count_one, &count, NULL, &err);
    assert_int_equal(status, DGO_EFORMAT);
    assert_non_null(strstr(err.text, "damaged"));
    dgo_store_close(store);
    assert_int_equal(dgo_store_open(folder.path, &store, notice, &err), DGO_OK);
    assert_true(notice[0] != '\0');
    dgo_store_close(store);
}

/* Steps run once each, in order, and a file that has the first gets the second only. */
static void test_migration(void **state)
{
    static const char *const steps[] = {
        "CREATE TABLE t(a INTEGER) STRICT; INSERT INTO t VALUES(1)",
        "ALTER TABLE t ADD COLUMN b INTEGER DEFAULT 2",
        "INSERT INTO t VALUES(3, 4); INSERT INTO missing VALUES(1)"};
    sqlite3 *db = NULL;
    int value = 0;

    (void)state;
    assert_int_equal(sqlite3_open(folder.database, &db), SQLITE_OK);
    assert_int_equal(schema_migrate(db, steps, 1), SQLITE_OK);
    assert_int_equal(schema_migrate(db, steps, 1), SQLITE_OK);
    assert_int_equal(schema_pragma(db, "SELECT count(*) FROM t", &value), SQLITE_OK);
    assert_int_equal(value, 1);
    assert_int_equal(schema_migrate(db, steps, 2), SQLITE_OK);
    assert_int_equal(schema_pragma(db, "SELECT a + b FROM t", &value), SQLITE_OK);
    assert_int_equal(value, 3);
    assert_int_equal(schema_pragma(db, "PRAGMA user_version", &value), SQLITE_OK);
    assert_int_equal(value, 2);
    /* A step that fails leaves the file as it was. */
    assert_int_not_equal(schema_migrate(db, steps, 3), SQLITE_OK);
    assert_int_equal(schema_pragma(db, "SELECT count(*) FROM t", &value), SQLITE_OK);
    assert_int_equal(value, 1);
    assert_int_equal(schema_pragma(db, "PRAGMA user_version", &value), SQLITE_OK);
    assert_int_equal(value, 2);
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
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
    TEST(test_a_new_one_is_private),
    TEST(test_a_damaged_file_is_moved_aside),
    TEST(test_the_log_is_moved_along),
    TEST(test_property_spoilt_bytes_do_no_harm),
    TEST(test_what_is_not_ours_is_left_alone),
    TEST(test_where_nothing_can_be_written),
    TEST(test_a_folder_in_the_place_of_the_file),
    TEST(test_a_full_disk_is_told_and_survived),
    TEST(test_damage_while_open),
    TEST(test_migration),
};

CHECK_MAIN(tests)
