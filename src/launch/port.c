/* port.c - a TCP port nobody listens on at this moment. */
#include "address.h"
#include "dgo_launch.h"

#include <errno.h>
#include <inttypes.h>
#include <unistd.h>

/* Binds and listens, as the engine will.  SO_REUSEADDR as the engine sets it too: a connection in
 * TIME_WAIT does not make a port taken, a listener does.  Returns 0 or errno. */
static int try_port(struct address *address)
{
    const int on = 1;
    const int fd = socket(address->socket.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int result = 0;

    if (fd < 0)
        return errno;
    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(fd, (const struct sockaddr *)&address->socket, address->length) < 0 ||
        listen(fd, 1) < 0 ||
        getsockname(fd, (struct sockaddr *)&address->socket, &address->length) < 0)
        result = errno;
    close(fd);
    return result;
}

enum dgo_status dgo_port_find(const char *host, uint16_t first, uint16_t *port,
                              struct dgo_error *err)
{
    const uint32_t last = first == 0 ? 0 : UINT16_MAX;

    for (uint32_t candidate = first; candidate <= last; candidate++) {
        struct address address;
        enum dgo_status status = address_parse(host, (uint16_t)candidate, &address, err);

        if (status != DGO_OK)
            return status;

        const int errno_value = try_port(&address);

        if (errno_value == 0) {
            *port = address_port(&address);
            return DGO_OK;
        }
        /* EACCES: below 1024 without the privilege; a higher one may do. */
        if (errno_value != EADDRINUSE && errno_value != EACCES)
            return dgo_fail_errno(err, errno_value == EADDRNOTAVAIL ? DGO_EINVAL : DGO_EIO,
                                  errno_value, "cannot listen on %s", host);
    }
    return dgo_fail(err, DGO_EBUSY, "no free port on %s from %" PRIu16 " on; give a lower one",
                    host, first);
}
