/* guard_keep.c - keeps an engine while nobody holds its lifeline, and hands it over. */
#include "guard_keep.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

static uint64_t now_ms(void)
{
    struct timespec now = {0};

    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

void guard_keep_begin(struct guard_keep *keep)
{
    keep->deadline_ms = now_ms() + keep->wait_ms;
}

/* An engine that blocks on its log does not compute; what it writes is for the log's reader. */
static void drain(int *fd, int log_fd)
{
    char bytes[16384];
    const ssize_t got = read(*fd, bytes, sizeof bytes);

    if (got > 0 && log_fd >= 0)
        (void)!write(log_fd, bytes, (size_t)got);
    if (got == 0)
        *fd = -1; /* its end; poll leaves negative ones out.  The descriptor stays for the next */
}

static bool is_ours(int fd)
{
    struct ucred peer = {0};
    socklen_t size = sizeof peer;

    return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0 &&
           (peer.uid == geteuid() || peer.uid == 0);
}

/* One message with the hello and the descriptors. */
static bool send_hello(int fd, const struct guard_hello *hello, const int fds[GUARD_FDS])
{
    union {
        struct cmsghdr head;
        char space[CMSG_SPACE(sizeof(int) * GUARD_FDS)];
    } control;
    struct iovec data = {(void *)(uintptr_t)hello, sizeof *hello};
    struct msghdr message = {.msg_iov = &data,
                             .msg_iovlen = 1,
                             .msg_control = &control,
                             .msg_controllen = sizeof control};
    struct cmsghdr *head;

    memset(&control, 0, sizeof control);
    head = CMSG_FIRSTHDR(&message);
    head->cmsg_level = SOL_SOCKET;
    head->cmsg_type = SCM_RIGHTS;
    head->cmsg_len = CMSG_LEN(sizeof(int) * GUARD_FDS);
    memcpy(CMSG_DATA(head), fds, sizeof(int) * GUARD_FDS);
    return sendmsg(fd, &message, MSG_NOSIGNAL) == (ssize_t)sizeof *hello;
}

static void replace(int *old, int fd)
{
    close(*old);
    *old = fd;
}

/* Somebody connected: gives all to one of us; false when it was none, or is gone again. */
static bool hand_over(const struct guard_keep *keep, pid_t engine, int *lifeline_fd, int *report_fd)
{
    const struct guard_hello hello = {GUARD_HELLO_MAGIC, getpid(), engine};
    const int fd = accept4(keep->listen_fd, NULL, NULL, SOCK_CLOEXEC);
    int lifeline[2] = {-1, -1}, report[2] = {-1, -1};
    bool given = false;

    if (fd < 0)
        return false;
    if (is_ours(fd) && socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, lifeline) == 0 &&
        pipe2(report, O_CLOEXEC) == 0) {
        const int fds[GUARD_FDS] = {keep->out_fd, keep->err_fd, lifeline[1], report[0]};

        given = send_hello(fd, &hello, fds);
    }
    close(fd);
    if (given) {
        replace(lifeline_fd, lifeline[0]);
        replace(report_fd, report[1]);
        lifeline[0] = report[1] = -1;
    }
    for (int i = 0; i < 2; i++) { /* theirs, when given; all, when not */
        if (lifeline[i] >= 0)
            close(lifeline[i]);
        if (report[i] >= 0)
            close(report[i]);
    }
    return given;
}

enum keep_event guard_keep_wait(struct guard_keep *keep, pid_t engine, int child_fd,
                                int *lifeline_fd, int *report_fd)
{
    int out_fd = keep->out_fd, err_fd = keep->err_fd;

    for (;;) {
        const uint64_t now = now_ms();
        struct pollfd wait[4] = {{.fd = keep->listen_fd, .events = POLLIN},
                                 {.fd = child_fd, .events = POLLIN},
                                 {.fd = out_fd, .events = POLLIN},
                                 {.fd = err_fd, .events = POLLIN}};

        if (now >= keep->deadline_ms)
            return KEEP_OVER;

        const uint64_t left = keep->deadline_ms - now;

        if (poll(wait, 4, left > 3600000 ? 3600000 : (int)left) < 0 && errno != EINTR)
            return KEEP_OVER;
        if (wait[0].revents && hand_over(keep, engine, lifeline_fd, report_fd))
            return KEEP_TAKEN;
        if (wait[1].revents)
            return KEEP_CHILD;
        if (wait[2].revents)
            drain(&out_fd, keep->log_fd);
        if (wait[3].revents)
            drain(&err_fd, keep->log_fd);
    }
}

void guard_keep_end(const struct guard_keep *keep)
{
    if (keep->listen_fd >= 0)
        (void)unlink(keep->path);
}
