/* test_launches.c - the history comes back whole, newest first, bounded, and is found again. */
#include "dgo_store.h"
#include "folder_of_test.h"

static struct test_folder folder;
static struct dgo_store *store;

/* What a callback saw, copied. */
struct seen {
    uint32_t count;
    uint64_t started_ns[8];
    char model_name[8][64];
    struct dgo_launch_record last; /* its texts are not valid any more; figures copied */
    char last_device[8][32];
    struct dgo_launch_figure last_figure[8];
};

static void see(const struct dgo_launch_record *record, void *data)
{
    struct seen *seen = data;

    if (seen->count < 8) {
        seen->started_ns[seen->count] = record->started_ns;
        snprintf(seen->model_name[seen->count], sizeof seen->model_name[0], "%s",
                 record->model_name);
    }
    seen->last = *record;
    for (uint32_t i = 0; i < record->figure_count && i < 8; i++) {
        seen->last_figure[i] = record->figure[i];
        snprintf(seen->last_device[i], sizeof seen->last_device[0], "%s", record->figure[i].device);
    }
    seen->count++;
}

/* Everything that can be put, with text that SQL or a terminal might trip over. */
static const struct dgo_launch_figure figures[] = {
    {"CUDA0", DGO_BUFFER_MODEL, 4536295680, true, 4536295424},
    {"CUDA0", DGO_BUFFER_CONTEXT, 0, true, 0},
    {"CUDA0", DGO_BUFFER_COMPUTE, 121645184, false, 0},
    {"host", DGO_BUFFER_OUTPUT, INT64_MAX, true, INT64_MAX},
};
static const struct dgo_launch_record full = {
    .started_ns = 1700000000123456789,
    .model_path = "/models/a 'b' \"c\"; DROP TABLE launch;--.gguf",
    .model_name = "Name \xc3\xa4 \x1b[31m",
    .binary_hash = "abc123",
    .build = 11669,
    .settings_json = "{\"ctx_tokens\": 8192}",
    .devices_json = "[]",
    .simulated = true,
    .model_key = "key",
    .figure_count = 4,
    .figure = figures,
};

static void check_full(const struct dgo_launch_record *record, void *data)
{
    ++*(int *)data;
    assert_int_equal(record->started_ns, full.started_ns);
    assert_string_equal(record->model_path, full.model_path);
    assert_string_equal(record->model_name, full.model_name);
    assert_string_equal(record->binary_hash, full.binary_hash);
    assert_string_equal(record->settings_json, full.settings_json);
    assert_string_equal(record->devices_json, full.devices_json);
    assert_string_equal(record->model_key, full.model_key);
    assert_int_equal(record->build, full.build);
    assert_true(record->simulated);
    assert_int_equal(record->figure_count, 4);
    for (uint32_t i = 0; i < 4; i++) {
        const struct dgo_launch_figure *got = &record->figure[i];

        assert_string_equal(got->device, figures[i].device);
        assert_int_equal(got->kind, figures[i].kind);
        assert_int_equal(got->planned_bytes, figures[i].planned_bytes);
        assert_int_equal(got->measured_known, figures[i].measured_known);
        assert_int_equal(got->measured_bytes, figures[i].measured_bytes);
    }
}

static void test_a_launch_comes_back_whole(void **state)
{
    struct dgo_error err = {0};
    uint32_t count = 0;
    int calls = 0;

    (void)state;
    assert_int_equal(dgo_store_put_launch(store, &full, &err), DGO_OK);
    /* Also after the file was closed and opened again. */
    dgo_store_close(store);
    assert_int_equal(dgo_store_open(folder.path, &store, NULL, &err), DGO_OK);
    assert_int_equal(dgo_store_each_launch(store, 10, check_full, &calls, &count, &err), DGO_OK);
    assert_int_equal(calls, 1);
    assert_int_equal(count, 1);
}

static void test_an_empty_one_too(void **state)
{
    const struct dgo_launch_record empty = {.started_ns = 1};
    struct seen seen = {0};

    (void)state;
    assert_int_equal(dgo_store_put_launch(store, &empty, NULL), DGO_OK);
    assert_int_equal(dgo_store_each_launch(store, 10, see, &seen, NULL, NULL), DGO_OK);
    assert_int_equal(seen.count, 1);
    assert_string_equal(seen.model_name[0], "");
    assert_int_equal(seen.last.figure_count, 0);
}

static void test_newest_first_and_so_many(void **state)
{
    char name[16];

    (void)state;
    for (uint32_t i = 0; i < 5; i++) {
        snprintf(name, sizeof name, "model %u", i);
        assert_int_equal(dgo_store_put_launch(
                             store,
                             &(struct dgo_launch_record){.started_ns = 100 - i, .model_name = name},
                             NULL),
                         DGO_OK);
    }
    for (uint32_t want = 0; want <= 6; want++) {
        struct seen seen = {0};
        uint32_t count = 99;

        assert_int_equal(dgo_store_each_launch(store, want, see, &seen, &count, NULL), DGO_OK);
        assert_int_equal(count, want < 5 ? want : 5);
        assert_int_equal(seen.count, count);
        for (uint32_t i = 0; i < count; i++) {
            snprintf(name, sizeof name, "model %u", 4 - i); /* as put, whatever the wall clock */
            assert_string_equal(seen.model_name[i], name);
        }
    }
}

static void test_the_oldest_go_with_their_figures(void **state)
{
    struct seen seen = {0};
    uint32_t count = 0;

    (void)state;
    for (uint32_t i = 0; i < DGO_STORE_LAUNCH_MAX + 3; i++)
        assert_int_equal(
            dgo_store_put_launch(
                store,
                &(struct dgo_launch_record){.started_ns = i, .figure_count = 1, .figure = figures},
                NULL),
            DGO_OK);
    assert_int_equal(dgo_store_each_launch(store, UINT32_MAX, see, &seen, &count, NULL), DGO_OK);
    assert_int_equal(count, DGO_STORE_LAUNCH_MAX);
    assert_int_equal(seen.last.started_ns, 3);
}

static const struct {
    const char *name;
    struct dgo_launch_query query;
    uint64_t want_started; /* 0: none */
} queries[] = {
    {"the newest of the same", {"bin", "model", "{}", false}, 2},
    {"another binary", {"other", "model", "{}", false}, 3},
    {"simulated is another world", {"bin", "model", "{}", true}, 4},
    {"other settings", {"bin", "model", "{\"x\":1}", false}, 0},
    {"another model", {"bin", "models", "{}", false}, 0},
    {"found by its path", {"bin", "/path", "{}", false}, 5},
    {"nothing measured", {"bin", "unmeasured", "{}", false}, 0},
};

static void put(uint64_t started, const char *binary, const char *key, const char *path,
                bool simulated, const struct dgo_launch_figure *figure)
{
    assert_int_equal(dgo_store_put_launch(store,
                                          &(struct dgo_launch_record){.started_ns = started,
                                                                      .binary_hash = binary,
                                                                      .model_key = key,
                                                                      .model_path = path,
                                                                      .settings_json = "{}",
                                                                      .simulated = simulated,
                                                                      .figure_count = 1,
                                                                      .figure = figure},
                                          NULL),
                     DGO_OK);
}

static void test_the_last_measured_is_found(void **state)
{
    (void)state;
    put(1, "bin", "model", "/a", false, &figures[0]);
    put(2, "bin", "model", "/b", false, &figures[0]);
    put(3, "other", "model", "/b", false, &figures[0]);
    put(4, "bin", "model", "/b", true, &figures[0]);
    put(5, "bin", NULL, "/path", false, &figures[0]);
    put(6, "bin", "model", "/b", false, &figures[2]); /* newer, but not measured */
    put(7, "bin", "unmeasured", "/c", false, &figures[2]);
    for (size_t i = 0; i < sizeof queries / sizeof queries[0]; i++) {
        struct seen seen = {0};
        struct dgo_error err = {0};
        const enum dgo_status want = queries[i].want_started ? DGO_OK : DGO_ENOTFOUND;

        CHECK_ROW_U64(dgo_store_find_launch(store, &queries[i].query, see, &seen, &err), want,
                      queries[i].name);
        CHECK_ROW_U64(seen.count, want == DGO_OK, queries[i].name);
        CHECK_ROW_U64(seen.last.started_ns, queries[i].want_started, queries[i].name);
        if (want == DGO_OK)
            CHECK_ROW(!strcmp(seen.last_device[0], "CUDA0") &&
                          seen.last_figure[0].measured_bytes == figures[0].measured_bytes,
                      queries[i].name);
    }
}

static void test_what_does_not_fit_is_refused_whole(void **state)
{
    static char large[DGO_STORE_TEXT_MAX + 2];
    static struct dgo_launch_figure many[DGO_STORE_FIGURE_MAX + 1];
    struct dgo_launch_figure beyond[] = {figures[0],
                                         {.device = "CUDA1", .planned_bytes = UINT64_MAX}};
    struct dgo_launch_figure no_kind = {.device = "CUDA0", .kind = DGO_BUFFER_KIND_COUNT};
    uint32_t count = 99;

    (void)state;
    memset(large, 'x', sizeof large - 1);

    const struct {
        const char *name;
        struct dgo_launch_record record;
        enum dgo_status want;
    } refused[] = {
        {"a text too long", {.devices_json = large}, DGO_ELIMIT},
        {"too many figures",
         {.figure_count = DGO_STORE_FIGURE_MAX + 1, .figure = many},
         DGO_ELIMIT},
        {"bytes beyond the type", {.figure_count = 2, .figure = beyond}, DGO_ELIMIT},
        {"no such kind", {.figure_count = 1, .figure = &no_kind}, DGO_EINVAL},
    };

    for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++) {
        struct dgo_error err = {0};

        CHECK_ROW_U64(dgo_store_put_launch(store, &refused[i].record, &err), refused[i].want,
                      refused[i].name);
        CHECK_ROW(err.text[0], refused[i].name);
    }
    /* Nothing of them stayed, and the store still works. */
    assert_int_equal(dgo_store_put_launch(store, &full, NULL), DGO_OK);
    int calls = 0;
    assert_int_equal(dgo_store_each_launch(store, 9, check_full, &calls, &count, NULL), DGO_OK);
    assert_int_equal(count, 1);
}

static int open_store(void **state)
{
    (void)state;
    folder_make(&folder);
    return dgo_store_open(folder.path, &store, NULL, NULL) == DGO_OK ? 0 : -1;
}

static int close_store(void **state)
{
    (void)state;
    dgo_store_close(store);
    store = NULL;
    folder_remove(&folder);
    return 0;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, open_store, close_store)

static const struct CMUnitTest tests[] = {
    TEST(test_a_launch_comes_back_whole),  TEST(test_an_empty_one_too),
    TEST(test_newest_first_and_so_many),   TEST(test_the_oldest_go_with_their_figures),
    TEST(test_the_last_measured_is_found), TEST(test_what_does_not_fit_is_refused_whole),
};

CHECK_MAIN(tests)
