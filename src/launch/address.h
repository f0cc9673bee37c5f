/* address.h - where an engine listens, as a number; private to the folder. */
#ifndef ADDRESS_H
#define ADDRESS_H

#include "dgo_base.h"

#include <sys/socket.h>

struct address {
    struct sockaddr_storage socket;
    socklen_t length;
};

/* A numeric IPv4 or IPv6 address, or "localhost", which is 127.0.0.1.  No name is ever looked up:
 * an engine listens on this machine, and a look-up would leave it. */
enum dgo_status address_parse(const char *host, uint16_t port, struct address *address,
                              struct dgo_error *err) DGO_MUST_CHECK;

uint16_t address_port(const struct address *address);

/* "127.0.0.1:8080", "[::1]:8080", as a URL takes it; a wildcard address becomes loopback. */
enum { ADDRESS_TEXT_MAX = 64 };
void address_to_reach(const struct address *address, char text[ADDRESS_TEXT_MAX]);

#endif
