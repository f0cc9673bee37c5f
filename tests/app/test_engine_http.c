/* test_engine_http.c - a request to an engine ends, whatever answers at its port. */
#include "check.h"
#include "dgo_units.h"
#include "engine_http.h"

#include <netinet/in.h>
#include <pthread.h>
#include <sys/socket.h>
#include <unistd.h>

#define HEAD       "HTTP/1.1 200 OK\r\n"
#define FOUR(text) text text text text
#define LONG       FOUR(FOUR(FOUR(FOUR("0123456789abcdef")))) /* 4 KiB: 1024 of them are too many */

struct manner {
    const char *name;
    const char *first; /* said at once */
    const char *then;  /* said again and again until nobody listens; NULL: hangs up after `first` */
    uint32_t pause_ms; /* before each time */
    bool waits;        /* says no more and does not hang up */
    enum dgo_status want;
    long http_status;
    const char *text; /* the answer's, or in the sentence */
};

static const struct manner manners[] = {
    {"well", HEAD "Content-Length: 2\r\n\r\n{}", NULL, 0, false, DGO_OK, 200, "{}"},
    {"more than it says", HEAD "Content-Length: 2\r\n\r\n{}{}", NULL, 0, false, DGO_OK, 200, "{}"},
    {"an error", "HTTP/1.1 503 Loading\r\nContent-Length: 4\r\n\r\nwait", NULL, 0, false, DGO_OK,
     503, "wait"},
    {"elsewhere: nobody goes there",
     "HTTP/1.1 302 X\r\nLocation: file:///etc/passwd\r\n"
     "Content-Length: 0\r\n\r\n",
     NULL, 0, false, DGO_OK, 302, ""},
    {"nothing", "", NULL, 0, false, DGO_EIO, 0, "the page got no answer"},
    {"no HTTP", "SSH-2.0-OpenSSH_9.2\r\n", NULL, 0, false, DGO_EIO, 0, "the page got no answer"},
    {"half an answer", HEAD "Content-Length: 100\r\n\r\n[1,2", NULL, 0, false, DGO_EIO, 0,
     "the page got no answer"},
    {"half a chunk", HEAD "Transfer-Encoding: chunked\r\n\r\n5\r\nhe", NULL, 0, false, DGO_EIO, 0,
     "the page got no answer"},
    {"a length that is none", HEAD "Content-Length: -5\r\n\r\n{}", NULL, 0, false, DGO_EIO, 0,
     "the page got no answer"},
    {"headers without end", HEAD, "X-Filler: " LONG "\r\n", 0, false, DGO_EIO, 0,
     "the page got no answer"},
    {"a body without end", HEAD "\r\n", LONG, 0, false, DGO_EFORMAT, 0,
     "the engine's answer to the page is too long"},
    {"a byte now and then", HEAD "Content-Length: 9999\r\n\r\n", "x", 20, false, DGO_ETIMEOUT, 0,
     "the engine did not answer the page in time"},
    {"silence", "", NULL, 0, true, DGO_ETIMEOUT, 0, "the engine did not answer the page in time"},
};

struct engine {
    const struct manner *manner;
    int fd;
    uint16_t port;
    pthread_t thread;
};

static bool say(int peer, const char *text)
{
    const ssize_t length = (ssize_t)strlen(text);

    return send(peer, text, (size_t)length, MSG_NOSIGNAL) == length;
}

/* Answers one request in its manner. */
static void *answer(void *data)
{
    const struct engine *engine = data;
    const struct manner *manner = engine->manner;
    const int peer = accept(engine->fd, NULL, NULL);
    char request[4096];

    if (peer < 0)
        return NULL;
    (void)!read(peer, request, sizeof request);
    if (say(peer, manner->first) && manner->then)
        do
            usleep(manner->pause_ms * 1000);
        while (say(peer, manner->then));
    while (manner->waits && read(peer, request, sizeof request) > 0)
        ;
    close(peer);
    return NULL;
}

static void start(struct engine *engine)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_addr = {.s_addr = htonl(INADDR_LOOPBACK)}};
    socklen_t length = sizeof address;

    engine->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(engine->fd, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(listen(engine->fd, 1), 0);
    assert_int_equal(getsockname(engine->fd, (struct sockaddr *)&address, &length), 0);
    engine->port = ntohs(address.sin_port);
    assert_int_equal(pthread_create(&engine->thread, NULL, answer, engine), 0);
}

static void test_manners(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof manners / sizeof manners[0]; i++) {
        const struct manner *manner = &manners[i];
        const bool hangs = manner->want == DGO_ETIMEOUT;
        struct engine engine = {.manner = manner};
        struct engine_answer got = {0};
        struct dgo_error err = {0};
        char url[64];
        struct engine_request request = {.url = url, .what = "the page"};

        start(&engine);
        snprintf(url, sizeof url, "http://127.0.0.1:%u/page", (unsigned)engine.port);
        request.timeout_ns = hangs ? DGO_NS_PER_S / 5 : 60 * DGO_NS_PER_S;
        CHECK_ROW_U64(engine_http(&request, &got, &err), manner->want, manner->name);
        if (manner->want == DGO_OK) {
            CHECK_ROW(got.http_status == manner->http_status, manner->name);
            CHECK_ROW(strcmp(got.data ? got.data : "", manner->text) == 0, manner->name);
        } else {
            CHECK_ROW(strstr(err.text, manner->text) != NULL, err.text);
        }
        CHECK_ROW(got.length <= ENGINE_ANSWER_MAX, manner->name);
        engine_answer_done(&got);
        CHECK_ROW(got.data == NULL && got.length == 0, manner->name);
        pthread_join(engine.thread, NULL);
        close(engine.fd);
    }
}

static void test_nobody_there(void **state)
{
    static const char *const urls[] = {"http://127.0.0.1:1/", "file:///etc/passwd", "gopher://x/",
                                       "http://", ""};

    (void)state;
    for (size_t i = 0; i < sizeof urls / sizeof urls[0]; i++) {
        const struct engine_request request = {
            .url = urls[i], .what = "the page", .timeout_ns = 5 * DGO_NS_PER_S};
        struct engine_answer got = {0};
        struct dgo_error err = {0};

        CHECK_ROW_U64(engine_http(&request, &got, &err), DGO_EIO, urls[i]);
        CHECK_ROW(got.length == 0, urls[i]);
        engine_answer_done(&got);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_manners),
        cmocka_unit_test(test_nobody_there),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
