/* listen.h - the sockets that the daemon listens on, and its token.  Private to the folder. */
#ifndef LISTEN_H
#define LISTEN_H

#include "policy.h"

/* "127.0.0.1:4585", "[::1]:0", ":4585" (loopback): a socket that listens; `policy` gets the names
 * that a Host may have, `shown` the address as it is (a port of 0 is the one that was found).
 * Numeric addresses and localhost only.  DGO_EBUSY when the port is taken. */
DGO_MUST_CHECK
enum dgo_status listen_tcp(const char *address, int *fd, struct policy *policy, char shown[80],
                           bool *is_loopback, struct dgo_error *err);

/* Whether it is such an address at all: DGO_EUSAGE. */
DGO_MUST_CHECK
enum dgo_status listen_check(const char *address, struct dgo_error *err);

/* 0600 in a folder of ours, 0700.  A socket that nobody answers on is left from a crash and is
 * replaced; one that is answered is DGO_EBUSY. */
DGO_MUST_CHECK
enum dgo_status listen_unix(const char *path, int *fd, struct dgo_error *err);

/* "$XDG_RUNTIME_DIR/dualgpuopt/daemon.sock", else below the state folder `state`; false: none can
 * be had, or the name is too long for a socket. */
bool listen_default_path(const char *state, char *path, size_t size);

/* From the file, which is made (0600) when it is not there; `path` NULL: a new one. */
DGO_MUST_CHECK
enum dgo_status token_load(const char *path, char token[TOKEN_TEXT + 1], struct dgo_error *err);

#endif
