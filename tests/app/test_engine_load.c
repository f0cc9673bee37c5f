/* test_engine_load.c - what engines say of their work becomes figures and rates. */
#include "check.h"
#include "dgo_units.h"
#include "engine_load.h"

static struct load_track track;

#define S DGO_NS_PER_S

static bool knows(enum dgo_engine_load_field field)
{
    return dgo_load_knows(&track.load, field);
}

/* One reading of whatever is given. */
static void read_all(const char *metrics, const char *slots, const char *props, uint64_t at_ns)
{
    load_begin(&track);
    if (metrics)
        assert_true(load_read_metrics(&track, metrics, strlen(metrics)));
    if (slots)
        assert_true(load_read_slots(&track, slots, strlen(slots)));
    if (props)
        assert_true(load_read_props(&track, props, strlen(props)));
    load_end(&track, at_ns);
}

static int fresh(void **state)
{
    (void)state;
    memset(&track, 0, sizeof track);
    return 0;
}

static void test_llama_server(void **state)
{
    (void)state;
    read_all(
        "llamacpp:prompt_tokens_total 100\nllamacpp:tokens_predicted_total 50\n"
        "llamacpp:requests_processing 1\nllamacpp:requests_deferred 3\n",
        "[{\"id\":0,\"n_ctx\":256,\"is_processing\":true,\"id_task\":7,\"n_prompt_tokens\":64,"
        "\"next_token\":[{\"n_decoded\":10}]},{\"id\":1,\"n_ctx\":256,\"is_processing\":false}]",
        "{\"model_alias\":\"/models/tiny.gguf\",\"total_slots\":2}", 10 * S);
    assert_string_equal(track.load.model, "tiny.gguf");
    assert_int_equal(track.load.busy, 1);
    assert_int_equal(track.load.waiting, 3);
    assert_int_equal(track.load.slots, 2);
    assert_int_equal(track.load.slot_tokens, 256);
    assert_int_equal(track.load.kv_permille, 125);
    assert_int_equal(track.load.requests, 0);
    assert_false(knows(DGO_LOAD_GENERATED_TOKENS_PER_S)); /* one reading is no rate */
    /* While it generates, its tokens are in the slot; when it ends they are in the counter. */
    read_all("llamacpp:tokens_predicted_total 50\n",
             "[{\"id\":0,\"n_ctx\":256,\"is_processing\":true,\"id_task\":7,"
             "\"next_token\":[{\"n_decoded\":40}]}]",
             NULL, 12 * S);
    assert_true(track.load.generated_tokens_per_s == 15);
    read_all("llamacpp:tokens_predicted_total 110\n",
             "[{\"id\":0,\"n_ctx\":256,\"is_processing\":false,\"id_task\":7,"
             "\"next_token\":[{\"n_decoded\":0}]}]",
             NULL, 14 * S);
    assert_true(track.load.generated_tokens_per_s == 10);
    assert_int_equal(track.load.requests, 1);
    assert_string_equal(track.load.model, "tiny.gguf");
    /* Started anew: no rate, and no negative one. */
    read_all("llamacpp:tokens_predicted_total 5\n", "[]", NULL, 15 * S);
    assert_false(knows(DGO_LOAD_GENERATED_TOKENS_PER_S));
}

static void test_requests_by_slot(void **state)
{
    static const struct {
        const char *name, *slot;
        uint64_t requests;
    } steps[] = {
        {"an old one at first", "\"is_processing\":false,\"id_task\":3", 0},
        {"nothing new", "\"is_processing\":false,\"id_task\":3", 0},
        {"a new one runs", "\"is_processing\":true,\"id_task\":4", 0},
        {"still", "\"is_processing\":true,\"id_task\":4", 0},
        {"it ended", "\"is_processing\":false,\"id_task\":4", 1},
        {"one came and went between", "\"is_processing\":false,\"id_task\":9", 2},
        {"the next runs", "\"is_processing\":true,\"id_task\":10", 2},
        {"another took its place", "\"is_processing\":true,\"id_task\":12", 3},
        {"that ended and one more", "\"is_processing\":false,\"id_task\":15", 5},
        {"an engine without numbers", "\"is_processing\":true", 5},
        {"ends", "\"is_processing\":false", 6},
    };

    (void)state;
    for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++) {
        char slots[160];

        snprintf(slots, sizeof slots, "[{\"n_ctx\":8,%s}]", steps[i].slot);
        read_all(NULL, slots, NULL, (i + 1) * S);
        CHECK_ROW_U64(track.load.requests, steps[i].requests, steps[i].name);
    }
}

static void test_vllm(void **state)
{
    static const char text[] =
        "vllm:num_requests_running{model_name=\"org/m\"} 3.0\n"
        "vllm:num_requests_waiting{model_name=\"org/m\"} 1.0\n"
        "vllm:kv_cache_usage_perc{model_name=\"org/m\"} 0.25\n"
        "vllm:request_success_total{finished_reason=\"stop\",model_name=\"org/m\"} 10.0\n"
        "vllm:request_success_total{finished_reason=\"length\",model_name=\"org/m\"} 5.0\n"
        "vllm:prompt_tokens_total{model_name=\"org/m\"} 1000.0\n"
        "vllm:generation_tokens_total{model_name=\"org/m\"} 2000.0\n";

    (void)state;
    read_all(text, NULL, NULL, S);
    assert_string_equal(track.load.model, "org/m");
    assert_int_equal(track.load.busy, 3);
    assert_int_equal(track.load.waiting, 1);
    assert_int_equal(track.load.kv_permille, 250);
    assert_int_equal(track.load.requests, 15);
    assert_int_equal(track.load.generated_tokens, 2000);
    assert_false(knows(DGO_LOAD_SLOTS));
    read_all("vllm:generation_tokens_total 2100\nvllm:prompt_tokens_total 1500\n", NULL, NULL,
             2 * S);
    assert_true(track.load.generated_tokens_per_s == 100);
    assert_true(track.load.prompt_tokens_per_s == 500);
}

static void test_nonsense(void **state)
{
    static const struct {
        const char *name, *metrics, *slots, *props;
    } cases[] = {
        {"no metrics", "<html>no</html>", NULL, NULL},
        {"metrics of something else", "go_goroutines 5\n", NULL, NULL},
        {"no JSON", NULL, "Not Found", NULL},
        {"an error", NULL, "{\"error\":{\"code\":501}}", NULL},
        {"props of a list", NULL, NULL, "[]"},
    };
    char many[8192] = "[";

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        if (cases[i].metrics)
            CHECK_ROW(!load_read_metrics(&track, cases[i].metrics, strlen(cases[i].metrics)),
                      cases[i].name);
        if (cases[i].slots)
            CHECK_ROW(!load_read_slots(&track, cases[i].slots, strlen(cases[i].slots)),
                      cases[i].name);
        if (cases[i].props)
            CHECK_ROW(!load_read_props(&track, cases[i].props, strlen(cases[i].props)),
                      cases[i].name);
    }
    for (int i = 0; i <= LOAD_SLOT_MAX; i++)
        strcat(many, i ? ",{}" : "{}");
    strcat(many, "]");
    assert_false(load_read_slots(&track, many, strlen(many)));
    /* Figures that cannot be are no figures. */
    fresh(NULL);
    read_all("llamacpp:requests_processing -1\nllamacpp:requests_deferred 1e300\n"
             "llamacpp:tokens_predicted_total -5\nvllm:kv_cache_usage_perc 7\n",
             "[{\"n_ctx\":-4,\"n_prompt_tokens\":99999999999999,\"is_processing\":\"yes\","
             "\"id_task\":-1},3,null]",
             NULL, S);
    assert_false(knows(DGO_LOAD_WAITING));
    assert_false(knows(DGO_LOAD_GENERATED_TOKENS));
    assert_false(knows(DGO_LOAD_KV_PERMILLE));
    assert_int_equal(track.load.busy, 0);
    assert_int_equal(track.load.slots, 3);
}

static void test_addresses(void **state)
{
    static const struct {
        const char *url, *want; /* NULL: refused */
    } cases[] = {
        {"http://127.0.0.1:8080", "http://127.0.0.1:8080"},
        {"127.0.0.1:8080/", "http://127.0.0.1:8080"},
        {"http://[::1]:1//", "http://[::1]:1"},
        {"file:///etc/passwd", NULL},
        {"https://x", NULL},
        {"", NULL},
        {"http://", NULL},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct load_source source;
        struct dgo_error err = {0};
        const enum dgo_status status = load_source_init(&source, cases[i].url, NULL, 5, &err);

        CHECK_ROW_U64(status, cases[i].want ? DGO_OK : DGO_EUSAGE, cases[i].url);
        if (cases[i].want)
            CHECK_ROW(strcmp(source.url, cases[i].want) == 0, cases[i].url);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_llama_server, fresh),
        cmocka_unit_test_setup(test_requests_by_slot, fresh),
        cmocka_unit_test_setup(test_vllm, fresh),
        cmocka_unit_test_setup(test_nonsense, fresh),
        cmocka_unit_test(test_addresses),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
