/* listen.c - sockets and the token. */
#include "listen.h"

#include "dgo_text.h"
#include "dgo_units.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

enum { BACKLOG = 512 };

struct bound {
    struct sockaddr_storage socket;
    socklen_t length;
    char host[INET6_ADDRSTRLEN + 3];
    bool is_loopback, is_any;
};

static bool parse_host(const char *host, uint16_t port, struct bound *bound)
{
    struct sockaddr_in *v4 = (struct sockaddr_in *)&bound->socket;
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)&bound->socket;

    if (strcmp(host, "localhost") == 0 || host[0] == '\0')
        host = "127.0.0.1";
    if (inet_pton(AF_INET, host, &v4->sin_addr) == 1) {
        v4->sin_family = AF_INET;
        v4->sin_port = htons(port);
        bound->length = sizeof *v4;
        bound->is_loopback = (ntohl(v4->sin_addr.s_addr) >> 24) == 127;
        bound->is_any = v4->sin_addr.s_addr == 0;
        (void)dgo_text_copy(bound->host, sizeof bound->host, host);
        return true;
    }
    if (inet_pton(AF_INET6, host, &v6->sin6_addr) == 1) {
        v6->sin6_family = AF_INET6;
        v6->sin6_port = htons(port);
        bound->length = sizeof *v6;
        bound->is_loopback = IN6_IS_ADDR_LOOPBACK(&v6->sin6_addr);
        bound->is_any = IN6_IS_ADDR_UNSPECIFIED(&v6->sin6_addr);
        snprintf(bound->host, sizeof bound->host, "[%.*s]", INET6_ADDRSTRLEN, host);
        return true;
    }
    return false;
}

/* "HOST:PORT" */
static enum dgo_status parse(const char *address, struct bound *bound, struct dgo_error *err)
{
    const char *colon = strrchr(address, ':');
    char host[64];
    size_t length = colon ? (size_t)(colon - address) : 0;
    uint64_t port;

    *bound = (struct bound){0};
    if (length >= 2 && address[0] == '[' && address[length - 1] == ']') {
        address++;
        length -= 2;
    }
    snprintf(host, sizeof host, "%.*s", (int)length, address);
    if (!colon || length >= sizeof host ||
        dgo_u64_parse(colon + 1, "port", 0, 65535, &port, NULL) != DGO_OK ||
        !parse_host(host, (uint16_t)port, bound))
        return dgo_fail(err, DGO_EUSAGE,
                        "--listen: '%.80s' is no address like 127.0.0.1:4585 or [::1]:0", address);
    return DGO_OK;
}

enum dgo_status listen_check(const char *address, struct dgo_error *err)
{
    struct bound bound;

    return parse(address, &bound, err);
}

static uint16_t port_of(const struct bound *bound)
{
    return ntohs(bound->socket.ss_family == AF_INET6
                     ? ((const struct sockaddr_in6 *)&bound->socket)->sin6_port
                     : ((const struct sockaddr_in *)&bound->socket)->sin_port);
}

static void allow_hosts(const struct bound *bound, struct policy *policy)
{
    const uint16_t port = port_of(bound);

    policy_allow(policy, "127.0.0.1", port);
    policy_allow(policy, "localhost", port);
    policy_allow(policy, "[::1]", port);
    if (!bound->is_any)
        policy_allow(policy, bound->host, port);
}

enum dgo_status listen_tcp(const char *address, int *fd, struct policy *policy, char shown[80],
                           bool *is_loopback, struct dgo_error *err)
{
    struct bound bound;
    const enum dgo_status status = parse(address, &bound, err);
    const int on = 1;

    if (status != DGO_OK)
        return status;

    const int made = socket(bound.socket.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    if (made < 0)
        return dgo_fail_errno(err, DGO_EIO, errno, "no socket for --listen can be had");
    (void)setsockopt(made, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(made, (const struct sockaddr *)&bound.socket, bound.length) < 0 ||
        listen(made, BACKLOG) < 0 ||
        getsockname(made, (struct sockaddr *)&bound.socket, &bound.length) < 0) {
        const int errno_value = errno;

        close(made);
        if (errno_value == EADDRINUSE)
            return dgo_fail(err, DGO_EBUSY,
                            "%s is taken by another program; choose another --listen", address);
        return dgo_fail_errno(err, DGO_EIO, errno_value, "cannot listen on %s", address);
    }
    allow_hosts(&bound, policy);
    snprintf(shown, 80, "%s:%u", bound.host, port_of(&bound));
    *is_loopback = bound.is_loopback;
    *fd = made;
    return DGO_OK;
}

/* ---- Unix socket ---- */

static bool name_socket(const char *path, struct sockaddr_un *name)
{
    *name = (struct sockaddr_un){.sun_family = AF_UNIX};
    return dgo_text_copy(name->sun_path, sizeof name->sun_path, path);
}

static bool is_answered(const struct sockaddr_un *name)
{
    const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    bool answered;

    if (fd < 0)
        return false;
    answered = connect(fd, (const struct sockaddr *)name, sizeof *name) == 0 || errno == EAGAIN;
    close(fd);
    return answered;
}

/* The last folder only: where it lies must exist. */
static void make_folder(const char *path)
{
    char folder[sizeof((struct sockaddr_un *)0)->sun_path];
    char *slash;

    if (!dgo_text_copy(folder, sizeof folder, path))
        return;
    slash = strrchr(folder, '/');
    if (!slash || slash == folder)
        return;
    *slash = '\0';
    (void)mkdir(folder, 0700); /* what fails here makes bind fail */
}

enum dgo_status listen_unix(const char *path, int *fd, struct dgo_error *err)
{
    struct sockaddr_un name;
    int made;
    mode_t mask;
    bool bound;

    if (!name_socket(path, &name))
        return dgo_fail(err, DGO_EINVAL,
                        "--socket: a socket's name has less than %zu bytes; choose a shorter one",
                        sizeof name.sun_path);
    make_folder(path);
    if (is_answered(&name))
        return dgo_fail(err, DGO_EBUSY,
                        "a daemon answers on \"%s\" already; stop it, or choose another --socket",
                        path);
    (void)unlink(path);
    made = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (made < 0)
        return dgo_fail_errno(err, DGO_EIO, errno, "no Unix socket can be had");
    mask = umask(0177); /* at bind: there is no moment at which others could open it */
    bound = bind(made, (const struct sockaddr *)&name, sizeof name) == 0;
    (void)umask(mask);
    if (!bound || listen(made, BACKLOG) < 0) {
        const int errno_value = errno;

        close(made);
        return dgo_fail_errno(err, DGO_EIO, errno_value, "cannot listen on \"%s\"", path);
    }
    *fd = made;
    return DGO_OK;
}

bool listen_default_path(const char *state, char *path, size_t size)
{
    const char *runtime = getenv("XDG_RUNTIME_DIR");
    const size_t most = sizeof((struct sockaddr_un *)0)->sun_path;
    int length = -1;

    if (runtime && runtime[0] == '/')
        length = snprintf(path, size, "%s/dualgpuopt/daemon.sock", runtime);
    else if (state)
        length = snprintf(path, size, "%s/daemon.sock", state);
    return length > 0 && (size_t)length < size && (size_t)length < most;
}

/* ---- token ---- */

static enum dgo_status make_token(char token[TOKEN_TEXT + 1], struct dgo_error *err)
{
    static const char digits[] = "0123456789abcdef";
    unsigned char random[TOKEN_BYTES];

    if (getrandom(random, sizeof random, 0) != (ssize_t)sizeof random)
        return dgo_fail_errno(err, DGO_EIO, errno, "no random bytes for a token");
    for (size_t i = 0; i < sizeof random; i++) {
        token[2 * i] = digits[random[i] >> 4];
        token[2 * i + 1] = digits[random[i] & 15];
    }
    token[TOKEN_TEXT] = '\0';
    return DGO_OK;
}

static enum dgo_status write_token(const char *path, char token[TOKEN_TEXT + 1],
                                   struct dgo_error *err)
{
    const enum dgo_status status = make_token(token, err);
    const int fd =
        status == DGO_OK ? open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600) : -1;
    bool written;

    if (status != DGO_OK)
        return status;
    if (fd < 0)
        return dgo_fail_errno(err, DGO_EIO, errno, "--token-file: cannot write \"%s\"", path);
    written = dprintf(fd, "%s\n", token) == TOKEN_TEXT + 1;
    if (close(fd) < 0 || !written) {
        (void)unlink(path);
        return dgo_fail(err, DGO_EIO, "--token-file: \"%s\" could not be written whole", path);
    }
    return DGO_OK;
}

enum dgo_status token_load(const char *path, char token[TOKEN_TEXT + 1], struct dgo_error *err)
{
    char text[TOKEN_TEXT + 2] = "";
    struct stat info;
    ssize_t got;
    int fd;

    if (!path)
        return make_token(token, err);
    fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0 && errno == ENOENT)
        return write_token(path, token, err);
    if (fd < 0)
        return dgo_fail_errno(err, DGO_EIO, errno, "--token-file: cannot read \"%s\"", path);
    if (fstat(fd, &info) < 0 || !S_ISREG(info.st_mode) || (info.st_mode & 077)) {
        close(fd);
        return dgo_fail(err, DGO_EINVAL,
                        "--token-file: others may read \"%s\", or it is no file; chmod 600 it",
                        path);
    }
    got = read(fd, text, sizeof text - 1);
    close(fd);
    if (got > 0)
        text[strcspn(text, "\r\n")] = '\0';
    if (got < TOKEN_TEXT || strlen(text) != TOKEN_TEXT ||
        strspn(text, "0123456789abcdef") != TOKEN_TEXT)
        return dgo_fail(err, DGO_EFORMAT,
                        "--token-file: \"%s\" does not hold %d hexadecimal digits; remove it, and "
                        "a new token is made",
                        path, TOKEN_TEXT);
    memcpy(token, text, TOKEN_TEXT + 1);
    return DGO_OK;
}
