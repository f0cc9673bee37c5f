/* test_engine_load.c - what engines say of their work becomes figures and rates. */
#include "check.h"
#include "dgo_units.h"
#include "engine_load.h"

#include <netinet/in.h>
#include <pthread.h>
#include <sys/socket.h>
#include <unistd.h>

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

/* ---- asking ---- */

/* An engine of three pages: each is answered with its status; asked[] counts. */
static const char *const pages[] = {"/metrics", "/slots", "/props"};
struct engine {
    int fd;
    uint16_t port;
    pthread_t thread;
    int status[3];
    uint32_t asked[3];
    bool with_key; /* the last request had it */
};

static void *serve(void *data)
{
    static const char *const body[] = {"llamacpp:requests_processing 1\n", "[]", "{}"};
    struct engine *engine = data;
    int peer;

    while ((peer = accept(engine->fd, NULL, NULL)) >= 0) {
        char request[4096] = "", answer[512];
        const ssize_t got = read(peer, request, sizeof request - 1);

        engine->with_key = got > 0 && strstr(request, "Authorization: Bearer secret") != NULL;
        for (size_t i = 0; i < 3; i++)
            if (strncmp(request + 4, pages[i], strlen(pages[i])) == 0) {
                engine->asked[i]++;
                snprintf(answer, sizeof answer,
                         "HTTP/1.1 %d X\r\nContent-Length: %zu\r\nConnection: close\r\n\r\n%s",
                         engine->status[i], strlen(body[i]), body[i]);
                (void)!write(peer, answer, strlen(answer));
            }
        close(peer);
    }
    return NULL;
}

static void start_engine(struct engine *engine, struct load_source *source)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    char url[64];

    engine->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(engine->fd, (struct sockaddr *)&address, length), 0);
    assert_int_equal(listen(engine->fd, 4), 0);
    assert_int_equal(getsockname(engine->fd, (struct sockaddr *)&address, &length), 0);
    engine->port = ntohs(address.sin_port);
    assert_int_equal(pthread_create(&engine->thread, NULL, serve, engine), 0);
    snprintf(url, sizeof url, "127.0.0.1:%u/", (unsigned)engine->port);
    assert_int_equal(load_source_init(source, url, "secret", 5, NULL), DGO_OK);
}

static void stop_engine(struct engine *engine)
{
    shutdown(engine->fd, SHUT_RDWR);
    pthread_join(engine->thread, NULL);
    close(engine->fd);
}

/* A page that the engine has not is not asked for again; one that is busy loading is. */
static void test_asking(void **state)
{
    struct engine engine = {.status = {200, 404, 200}};
    struct load_source source;
    struct dgo_error err = {0};

    (void)state;
    start_engine(&engine, &source);
    assert_int_equal(load_ask(&source, 1 * S, &err), DGO_OK);
    assert_int_equal(load_ask(&source, 2 * S, &err), DGO_OK);
    assert_true(engine.with_key);
    assert_int_equal(engine.asked[0], 2);
    assert_int_equal(engine.asked[1], 1);
    assert_int_equal(engine.asked[2], 0); /* only beside slots */
    engine.status[0] = 503;
    assert_int_equal(load_ask(&source, 3 * S, &err), DGO_EUNSUPPORTED);
    assert_non_null(strstr(err.text, "tells nothing of its work"));
    engine.status[0] = engine.status[1] = 200; /* asked for both anew, and for what slots mean */
    assert_int_equal(load_ask(&source, 4 * S, &err), DGO_OK);
    assert_int_equal(load_ask(&source, 5 * S, &err), DGO_OK);
    assert_int_equal(engine.asked[1], 3);
    assert_int_equal(engine.asked[2], 1);
    stop_engine(&engine);
    assert_int_equal(load_ask(&source, 6 * S, &err), DGO_EIO);
    assert_non_null(strstr(err.text, "got no answer"));
}

static void test_long_words(void **state)
{
    struct load_source source;
    struct dgo_error err = {0};
    char words[LOAD_URL_MAX + LOAD_KEY_MAX];

    (void)state;
    memset(words, 'a', sizeof words);
    words[sizeof words - 1] = '\0';
    assert_int_equal(load_source_init(&source, words, NULL, 0, &err), DGO_EUSAGE);
    assert_non_null(strstr(err.text, "no address of an engine"));
    assert_int_equal(load_source_init(&source, "h:1", words, 0, &err), DGO_EUSAGE);
    assert_non_null(strstr(err.text, "API key is too long"));
    assert_int_equal(load_source_init(&source, "https://h:1", NULL, 0, &err), DGO_EUSAGE);
    assert_non_null(strstr(err.text, "is not an http:// address"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_llama_server, fresh),
        cmocka_unit_test_setup(test_requests_by_slot, fresh),
        cmocka_unit_test_setup(test_vllm, fresh),
        cmocka_unit_test_setup(test_nonsense, fresh),
        cmocka_unit_test(test_addresses),
        cmocka_unit_test(test_long_words),
        cmocka_unit_test(test_asking),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
