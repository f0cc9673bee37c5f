/* test_chat.c - a chat message to a server of ours: what is sent, and every kind of answer. */
#include "chat.h"
#include "check.h"
#include "dgo_resource.h"
#include "dgo_units.h"

#include <arpa/inet.h>
#include <jansson.h>
#include <netinet/in.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#define PATIENCE_NS (60 * DGO_NS_PER_S) /* never waited for when all is well */

/* Takes one connection, reads one request, writes `answer`, and goes. */
struct server {
    int fd;
    uint16_t port;
    pthread_t thread;
    const char *answer; /* NULL: none, the connection is held until `let_go` */
    size_t answer_length;
    sem_t asked, let_go;
    char request[8192];
};

static const char *body_of(const char *request)
{
    const char *end = strstr(request, "\r\n\r\n");

    return end ? end + 4 : NULL;
}

static bool whole(const char *request)
{
    const char *length = strcasestr(request, "content-length:"), *body = body_of(request);

    return length && body && strlen(body) >= strtoul(length + strlen("content-length:"), NULL, 10);
}

static void *serve(void *data)
{
    struct server *server = data;
    const int peer = accept(server->fd, NULL, NULL);
    size_t got = 0;

    while (peer >= 0 && !whole(server->request) && got + 1 < sizeof server->request) {
        const ssize_t more = read(peer, server->request + got, sizeof server->request - got - 1);

        if (more <= 0)
            break;
        got += (size_t)more;
    }
    sem_post(&server->asked);
    for (size_t sent = 0; server->answer && sent < server->answer_length;) {
        const ssize_t more =
            send(peer, server->answer + sent, server->answer_length - sent, MSG_NOSIGNAL);

        if (more <= 0)
            break;
        sent += (size_t)more;
    }
    if (!server->answer)
        sem_wait(&server->let_go);
    close(peer);
    return NULL;
}

static bool listen_on(struct server *server, const char *host)
{
    const bool six = strchr(host, ':') != NULL;
    struct sockaddr_in6 address6 = {.sin6_family = AF_INET6, .sin6_addr = in6addr_loopback};
    struct sockaddr_in address4 = {.sin_family = AF_INET,
                                   .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct sockaddr *address = six ? (struct sockaddr *)&address6 : (struct sockaddr *)&address4;
    socklen_t length = six ? sizeof address6 : sizeof address4;

    server->fd = socket(six ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (server->fd < 0 || bind(server->fd, address, length) < 0 || listen(server->fd, 4) < 0 ||
        getsockname(server->fd, address, &length) < 0)
        return false;
    server->port = ntohs(six ? address6.sin6_port : address4.sin_port);
    return true;
}

static void start(struct server *server, const char *host, const char *answer, size_t length)
{
    memset(server, 0, sizeof *server);
    server->answer = answer;
    server->answer_length = length;
    sem_init(&server->asked, 0, 0);
    sem_init(&server->let_go, 0, 0);
    assert_true(listen_on(server, host));
    assert_int_equal(pthread_create(&server->thread, NULL, serve, server), 0);
}

static void stop(struct server *server)
{
    sem_post(&server->let_go);
    pthread_join(server->thread, NULL);
    close(server->fd);
    sem_destroy(&server->asked);
    sem_destroy(&server->let_go);
}

/* ---- answers ---- */

#define CONTENT(text) "{\"choices\":[{\"message\":{\"content\":" text "}}]}"

static const struct {
    const char *name;
    const char *head; /* status line without "HTTP/1.1 "; NULL: `body` is the whole answer */
    const char *body;
    enum dgo_status status;
    const char *want; /* the answer, or part of the sentence */
    uint32_t prompt_tokens, generated_tokens;
} rows[] = {
    {"an answer", "200 OK",
     "{\"choices\":[{\"message\":{\"role\":\"assistant\",\"content\":\"Yes.\"}}],"
     "\"usage\":{\"prompt_tokens\":9,\"completion_tokens\":3}}",
     DGO_OK, "Yes.", 9, 3},
    {"no usage", "200 OK", CONTENT("\"Yes.\""), DGO_OK, "Yes.", 0, 0},
    {"strange usage", "200 OK",
     "{\"choices\":[{\"message\":{\"content\":\"x\"}}],\"usage\":{\"prompt_tokens\":-4,"
     "\"completion_tokens\":\"many\"}}",
     DGO_OK, "x", 0, 0},
    {"lines stay, controls do not", "200 OK", CONTENT("\"a\\n\\u001b[2Jb\\n\""), DGO_OK,
     "a\n\\x1b[2Jb\n", 0, 0},
    {"nothing said", "200 OK", CONTENT("\"\""), DGO_OK, "", 0, 0},
    {"thoughts, cut before the answer", "200 OK",
     "{\"choices\":[{\"message\":{\"content\":\"\",\"reasoning_content\":\"Hmm\"}}]}", DGO_OK,
     "Hmm", 0, 0},
    {"thoughts, no content at all", "200 OK",
     "{\"choices\":[{\"message\":{\"content\":null,\"reasoning_content\":\"Hmm\"}}]}", DGO_OK,
     "Hmm", 0, 0},
    {"thoughts and an answer", "200 OK",
     "{\"choices\":[{\"message\":{\"content\":\"Yes\",\"reasoning_content\":\"Hmm\"}}]}", DGO_OK,
     "Yes", 0, 0},
    {"refused, with a reason", "503 Busy", "{\"error\":{\"message\":\"Loading model\"}}",
     DGO_ECHILD, "503: Loading model", 0, 0},
    {"refused, without", "401 No", "", DGO_ECHILD, "401: no reason given", 0, 0},
    {"a reason that is no text", "500 No", "{\"error\":{\"message\":[1]}}", DGO_ECHILD,
     "500: no reason given", 0, 0},
    {"moved", "302 Found\r\nLocation: http://192.0.2.1/", "", DGO_ECHILD, "302", 0, 0},
    {"no JSON", "200 OK", "<html>", DGO_EFORMAT, "no chat completion", 0, 0},
    {"JSON of another kind", "200 OK", "[1,2]", DGO_EFORMAT, "no chat completion", 0, 0},
    {"no choice", "200 OK", "{\"choices\":[]}", DGO_EFORMAT, "no chat completion", 0, 0},
    {"content of another kind", "200 OK", CONTENT("{}"), DGO_EFORMAT, "no chat completion", 0, 0},
    {"nothing", NULL, "", DGO_EIO, "no answer", 0, 0},
    {"no HTTP", NULL, "SSH-2.0-OpenSSH_9.2\r\n", DGO_EIO, "no answer", 0, 0},
    {"cut short", NULL, "HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n{\"cho", DGO_EIO,
     "no answer", 0, 0},
};

static void test_answers(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        static struct chat_answer answer;
        struct dgo_error err = {0};
        struct server server;
        char text[2048];
        enum dgo_status status;

        memset(&answer, 0, sizeof answer);
        if (rows[i].head)
            snprintf(text, sizeof text, "HTTP/1.1 %s\r\nContent-Length: %zu\r\n\r\n%s",
                     rows[i].head, strlen(rows[i].body), rows[i].body);
        else
            snprintf(text, sizeof text, "%s", rows[i].body);
        start(&server, "127.0.0.1", text, strlen(text));
        status = chat_ask("127.0.0.1", server.port, "hello", 8, PATIENCE_NS, &answer, &err);
        stop(&server);
        CHECK_ROW_U64(status, rows[i].status, rows[i].name);
        if (status == DGO_OK) {
            CHECK_ROW(strcmp(answer.text, rows[i].want) == 0, rows[i].name);
            CHECK_ROW_U64(answer.prompt_tokens, rows[i].prompt_tokens, rows[i].name);
            CHECK_ROW_U64(answer.generated_tokens, rows[i].generated_tokens, rows[i].name);
        } else {
            CHECK_ROW(strstr(err.text, rows[i].want), rows[i].name);
            CHECK_ROW(!answer.text[0], rows[i].name);
        }
    }
}

static void test_what_is_sent(void **state)
{
    static const char good[] = "HTTP/1.1 200 OK\r\nContent-Length: 42\r\n\r\n" CONTENT("\"\"");
    static struct chat_answer answer;
    struct server server;
    json_t *request, *message;

    (void)state;
    start(&server, "127.0.0.1", good, sizeof good - 1);
    (void)!chat_ask("127.0.0.1", server.port, "\"a\"\n\xc3\xbc", 17, PATIENCE_NS, &answer, NULL);
    stop(&server);
    assert_true(strncmp(server.request, "POST /v1/chat/completions HTTP/1.1\r\n", 36) == 0);
    assert_non_null(strstr(server.request, "Content-Type: application/json\r\n"));
    request = json_loads(body_of(server.request), 0, NULL);
    assert_int_equal(json_integer_value(json_object_get(request, "max_tokens")), 17);
    assert_true(json_is_false(json_object_get(request, "stream")));
    message = json_array_get(json_object_get(request, "messages"), 0);
    assert_string_equal(json_string_value(json_object_get(message, "role")), "user");
    assert_string_equal(json_string_value(json_object_get(message, "content")), "\"a\"\n\xc3\xbc");
    json_decref(request);
}

static void test_answers_of_any_length(void **state)
{
    enum { LONG = 40000, TOO_LONG = 5 << 20 };
    static struct chat_answer answer;
    static char text[TOO_LONG + 256];
    struct dgo_error err = {0};
    struct server server;
    int head;

    (void)state;
    /* Longer than we keep: cut. */
    head = sprintf(text, "HTTP/1.1 200 OK\r\n\r\n{\"choices\":[{\"message\":{\"content\":\"");
    memset(text + head, 'x', LONG);
    strcpy(text + head + LONG, "\"}}]}");
    start(&server, "127.0.0.1", text, strlen(text));
    assert_int_equal(chat_ask("127.0.0.1", server.port, "?", 8, PATIENCE_NS, &answer, &err),
                     DGO_OK);
    stop(&server);
    assert_int_equal(strlen(answer.text), CHAT_ANSWER_MAX - 1);
    /* Longer than an answer can be: refused, while it comes. */
    memset(text + head, 'x', TOO_LONG);
    start(&server, "127.0.0.1", text, (size_t)head + TOO_LONG);
    assert_int_equal(chat_ask("127.0.0.1", server.port, "?", 8, PATIENCE_NS, &answer, &err),
                     DGO_EFORMAT);
    stop(&server);
    assert_non_null(strstr(err.text, "too long"));
}

static void test_nobody_there(void **state)
{
    static struct chat_answer answer;
    struct dgo_error err = {0};
    struct server server = {0};

    (void)state;
    assert_true(listen_on(&server, "127.0.0.1"));
    close(server.fd); /* so that nobody listens there */
    assert_int_equal(chat_ask("127.0.0.1", server.port, "?", 8, PATIENCE_NS, &answer, &err),
                     DGO_EIO);
    assert_non_null(strstr(err.text, "no answer"));
}

static void test_no_answer_in_time(void **state)
{
    static const uint64_t times_ns[] = {0, 1, 20 * DGO_NS_PER_MS};
    static struct chat_answer answer;

    (void)state;
    for (size_t i = 0; i < sizeof times_ns / sizeof times_ns[0]; i++) {
        struct server server;

        start(&server, "127.0.0.1", NULL, 0);
        assert_int_equal(chat_ask("127.0.0.1", server.port, "?", 8, times_ns[i], &answer, NULL),
                         DGO_ETIMEOUT);
        shutdown(server.fd, SHUT_RDWR); /* the connection may not have come about */
        stop(&server);
    }
}

static void test_a_message_that_is_no_text(void **state)
{
    static struct chat_answer answer;
    struct dgo_error err = {0};

    (void)state;
    assert_int_equal(chat_ask("127.0.0.1", 1, "\xff", 8, PATIENCE_NS, &answer, &err), DGO_EINVAL);
    assert_non_null(strstr(err.text, "UTF-8"));
}

static void test_ipv6(void **state)
{
    static const char good[] = "HTTP/1.1 200 OK\r\n\r\n" CONTENT("\"six\"");
    static struct chat_answer answer;
    struct server server = {0};

    (void)state;
    if (!listen_on(&server, "::1")) {
        print_message("# skipped: no IPv6 loopback here\n");
        return; /* cmocka's skip() is a failure to readers of TAP */
    }
    close(server.fd);
    start(&server, "::1", good, sizeof good - 1);
    assert_int_equal(chat_ask("::1", server.port, "?", 8, PATIENCE_NS, &answer, NULL), DGO_OK);
    stop(&server);
    assert_string_equal(answer.text, "six");
}

/* ---- called off ---- */

static uint16_t held_port;

static enum dgo_status job_ask(void *data)
{
    return chat_ask("127.0.0.1", held_port, "?", 8, PATIENCE_NS, data, NULL);
}

/* An engine that does not answer must not hold up the end of the program. */
static void test_a_cancelled_job_ends(void **state)
{
    static struct chat_answer answer;
    struct dgo_resource_config config = {0};
    struct dgo_future future;
    struct dgo_result result;
    struct server server;

    (void)state;
    start(&server, "127.0.0.1", NULL, 0);
    held_port = server.port;
    assert_int_equal(dgo_resource_start(&config, NULL), DGO_OK);
    assert_int_equal(
        dgo_submit(&(struct dgo_job){.lane = DGO_LANE_BLOCKING, .fn = job_ask, .arg = &answer},
                   &future, NULL),
        DGO_OK);
    sem_wait(&server.asked);
    dgo_cancel(future, NULL);
    assert_int_equal(dgo_wait(future, PATIENCE_NS, &result, NULL), DGO_OK);
    assert_int_equal(result.status, DGO_ECANCELLED);
    assert_int_equal(dgo_resource_stop(0, NULL), DGO_OK);
    stop(&server);
}

static void test_a_stop_ends_it_too(void **state)
{
    static struct chat_answer answer;
    struct dgo_resource_config config = {0};
    struct server server;

    (void)state;
    start(&server, "127.0.0.1", NULL, 0);
    held_port = server.port;
    assert_int_equal(dgo_resource_start(&config, NULL), DGO_OK);
    assert_int_equal(
        dgo_submit(&(struct dgo_job){.lane = DGO_LANE_BLOCKING, .fn = job_ask, .arg = &answer},
                   NULL, NULL),
        DGO_OK);
    sem_wait(&server.asked);
    assert_int_equal(dgo_resource_stop(0, NULL), DGO_OK); /* joins the thread */
    stop(&server);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_answers),
    cmocka_unit_test(test_what_is_sent),
    cmocka_unit_test(test_answers_of_any_length),
    cmocka_unit_test(test_nobody_there),
    cmocka_unit_test(test_no_answer_in_time),
    cmocka_unit_test(test_a_message_that_is_no_text),
    cmocka_unit_test(test_ipv6),
    cmocka_unit_test(test_a_cancelled_job_ends),
    cmocka_unit_test(test_a_stop_ends_it_too),
};

CHECK_MAIN(tests)
