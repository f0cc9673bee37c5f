/* adopt.c - finds an engine again that outlived one of us. */
#include "adopt.h"

#include "dgo_text.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <unistd.h>

/* A guard answers at once, unless another one of us holds its lifeline. */
enum { ANSWER_WAIT_MS = 1000 };

static bool name_socket(const char *path, struct sockaddr_un *name)
{
    *name = (struct sockaddr_un){.sun_family = AF_UNIX};
    return dgo_text_copy(name->sun_path, sizeof name->sun_path, path);
}

static enum dgo_status open_socket(const char *path, int *fd, struct sockaddr_un *name,
                                   struct dgo_error *err)
{
    if (!name_socket(path, name))
        return dgo_fail(err, DGO_EINVAL, "\"%s\" is too long for a socket's name (%zu bytes)", path,
                        sizeof name->sun_path - 1);
    *fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    return *fd < 0 ? dgo_fail_errno(err, DGO_EIO, errno, "no socket can be had") : DGO_OK;
}

enum dgo_status adopt_listen(const char *path, int *fd, struct dgo_error *err)
{
    struct sockaddr_un name;
    enum dgo_status status = open_socket(path, fd, &name, err);
    mode_t mask;
    bool bound;

    if (status != DGO_OK)
        return status;
    (void)unlink(path);
    mask = umask(0177); /* at bind: there is no moment at which others could open it */
    bound = bind(*fd, (const struct sockaddr *)&name, sizeof name) == 0;
    (void)umask(mask);
    if (!bound || listen(*fd, 4) < 0) {
        status = dgo_fail_errno(err, DGO_EIO, errno, "the engine cannot be kept at \"%s\"", path);
        close(*fd);
        *fd = -1;
    }
    return status;
}

/* The descriptors that came, all of them or none. */
static bool take_fds(struct msghdr *message, int fds[GUARD_FDS])
{
    struct cmsghdr *head = CMSG_FIRSTHDR(message);
    const size_t wanted = CMSG_LEN(sizeof(int) * GUARD_FDS);

    if (!head || head->cmsg_level != SOL_SOCKET || head->cmsg_type != SCM_RIGHTS ||
        head->cmsg_len != wanted)
        return false; /* a guard sends exactly these; what else came is closed with the process */
    memcpy(fds, CMSG_DATA(head), sizeof(int) * GUARD_FDS);
    return true;
}

static enum dgo_status receive(int fd, const char *path, struct guard_hello *hello,
                               int fds[GUARD_FDS], struct dgo_error *err)
{
    union {
        struct cmsghdr head;
        char space[CMSG_SPACE(sizeof(int) * GUARD_FDS)];
    } control;
    struct iovec data = {hello, sizeof *hello};
    struct msghdr message = {.msg_iov = &data,
                             .msg_iovlen = 1,
                             .msg_control = &control,
                             .msg_controllen = sizeof control};
    const ssize_t got = recvmsg(fd, &message, MSG_CMSG_CLOEXEC);

    if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
        return dgo_fail(err, DGO_EBUSY, "the engine at \"%s\" is held by another daemon", path);
    if (got != (ssize_t)sizeof *hello || hello->magic != GUARD_HELLO_MAGIC || hello->guard <= 1 ||
        hello->engine <= 1 || !take_fds(&message, fds))
        return dgo_fail(err, DGO_ENOTFOUND, "no engine answers at \"%s\"", path);
    return DGO_OK;
}

enum dgo_status spawn_adopt(const char *path, struct spawned *child, struct dgo_error *err)
{
    const struct timeval wait = {.tv_sec = ANSWER_WAIT_MS / 1000};
    struct guard_hello hello = {0};
    struct sockaddr_un name;
    int fds[GUARD_FDS], fd = -1;
    enum dgo_status status = open_socket(path, &fd, &name, err);

    if (status != DGO_OK)
        return status;
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof wait);
    if (connect(fd, (const struct sockaddr *)&name, sizeof name) < 0)
        status = dgo_fail(err, DGO_ENOTFOUND, "no engine is kept at \"%s\"", path);
    else
        status = receive(fd, path, &hello, fds, err);
    close(fd);
    if (status != DGO_OK)
        return status;
    *child = (struct spawned){.guard = hello.guard,
                              .pid = hello.engine,
                              .out_fd = fds[0],
                              .err_fd = fds[1],
                              .lifeline_fd = fds[2],
                              .report_fd = fds[3],
                              .adopted = true};
    for (int i = 0; i < GUARD_FDS; i++)
        if (i != 2) /* the lifeline takes one byte */
            (void)fcntl(fds[i], F_SETFL, O_NONBLOCK);
    return DGO_OK;
}
