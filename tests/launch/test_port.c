/* test_port.c - free ports against listeners that are really there. */
#include "check.h"
#include "dgo_launch.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

/* Listens on host:port (0: any); returns the socket and the port. */
static int listen_on(const char *host, uint16_t port, uint16_t *got)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    socklen_t length = sizeof address;
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_true(fd >= 0);
    assert_int_equal(inet_pton(AF_INET, host, &address.sin_addr), 1);
    if (bind(fd, (struct sockaddr *)&address, sizeof address) < 0 || listen(fd, 8) < 0) {
        close(fd);
        return -1;
    }
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &length), 0);
    *got = ntohs(address.sin_port);
    return fd;
}

static void test_any_port_can_be_had(void **state)
{
    static const char *const hosts[] = {"127.0.0.1", "localhost", "0.0.0.0", "127.0.0.2"};

    (void)state;
    for (size_t i = 0; i < sizeof hosts / sizeof hosts[0]; i++) {
        uint16_t port = 0, got = 0;

        CHECK_ROW_U64(dgo_port_find(hosts[i], 0, &port, NULL), DGO_OK, hosts[i]);
        CHECK_ROW(port != 0, hosts[i]);

        const int fd = listen_on(i == 1 ? "127.0.0.1" : hosts[i], port, &got);

        CHECK_ROW(fd >= 0 && got == port, hosts[i]);
        close(fd);
    }
}

static const struct {
    const char *name;
    const char *taken_on;
    const char *host;
    bool avoided;
} taken[] = {
    {"same address", "127.0.0.1", "127.0.0.1", true},
    {"listener on all addresses", "0.0.0.0", "127.0.0.1", true},
    {"we want all addresses", "127.0.0.1", "0.0.0.0", true},
    {"another address", "127.0.0.2", "127.0.0.1", false},
};

/* A port that is free on one address may be taken on another by whoever runs beside the tests. */
enum { PORT_TRIES = 20 };

static bool is_passed_over(size_t row)
{
    uint16_t first = 0, port = 0;
    const int fd = listen_on(taken[row].taken_on, 0, &first);

    CHECK_ROW(fd >= 0, taken[row].name);
    CHECK_ROW_U64(dgo_port_find(taken[row].host, first, &port, NULL), DGO_OK, taken[row].name);
    CHECK_ROW(port >= first, taken[row].name);
    close(fd);
    return port > first;
}

static void test_a_taken_port_is_passed_over(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof taken / sizeof taken[0]; i++) {
        bool passed = is_passed_over(i);

        for (int n = 0; n < PORT_TRIES && passed && !taken[i].avoided; n++)
            passed = is_passed_over(i);
        CHECK_ROW(passed == taken[i].avoided, taken[i].name);
    }
}

static void test_the_last_port_taken_is_busy(void **state)
{
    struct dgo_error err = {0};
    uint16_t got = 0, port = 77;
    const int fd = listen_on("127.0.0.1", UINT16_MAX, &got);

    (void)state;
    assert_true(fd >= 0 || errno == EADDRINUSE); /* taken by somebody else serves as well */
    assert_int_equal(dgo_port_find("127.0.0.1", UINT16_MAX, &port, &err), DGO_EBUSY);
    assert_int_equal(port, 77);
    assert_non_null(strstr(err.text, "65535"));
    if (fd >= 0)
        close(fd);
}

static void test_hosts_that_are_none(void **state)
{
    static const struct {
        const char *host;
        enum dgo_status want;
    } cases[] = {
        {"example.com", DGO_EINVAL}, {"", DGO_EINVAL},      {"127.0.0.1:80", DGO_EINVAL},
        {"127.1", DGO_EINVAL},       {"[::1]", DGO_EINVAL}, {"192.0.2.1", DGO_EINVAL},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct dgo_error err = {0};
        uint16_t port = 0;

        CHECK_ROW_U64(dgo_port_find(cases[i].host, 0, &port, &err), cases[i].want, cases[i].host);
        CHECK_ROW(err.text[0] && port == 0, cases[i].host);
    }
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_any_port_can_be_had),
    cmocka_unit_test(test_a_taken_port_is_passed_over),
    cmocka_unit_test(test_the_last_port_taken_is_busy),
    cmocka_unit_test(test_hosts_that_are_none),
};

CHECK_MAIN(tests)
