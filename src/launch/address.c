/* address.c - numeric addresses only. */
#include "address.h"

#include <arpa/inet.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

enum dgo_status address_parse(const char *host, uint16_t port, struct address *address,
                              struct dgo_error *err)
{
    struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = htons(port)};
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_port = htons(port)};

    *address = (struct address){.length = 0};
    if (!strcmp(host, "localhost"))
        host = "127.0.0.1";
    if (inet_pton(AF_INET, host, &v4.sin_addr) == 1) {
        memcpy(&address->socket, &v4, sizeof v4);
        address->length = sizeof v4;
    } else if (inet_pton(AF_INET6, host, &v6.sin6_addr) == 1) {
        memcpy(&address->socket, &v6, sizeof v6);
        address->length = sizeof v6;
    } else {
        return dgo_fail(err, DGO_EINVAL,
                        "\"%s\" is not an address; give a number such as 127.0.0.1 or ::1", host);
    }
    return DGO_OK;
}

uint16_t address_port(const struct address *address)
{
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;

    if (address->socket.ss_family == AF_INET) {
        memcpy(&v4, &address->socket, sizeof v4);
        return ntohs(v4.sin_port);
    }
    memcpy(&v6, &address->socket, sizeof v6);
    return ntohs(v6.sin6_port);
}

static void v4_to_reach(const struct address *address, char text[ADDRESS_TEXT_MAX])
{
    char host[INET_ADDRSTRLEN];
    struct sockaddr_in v4;

    memcpy(&v4, &address->socket, sizeof v4);
    if (v4.sin_addr.s_addr == htonl(INADDR_ANY))
        v4.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    (void)inet_ntop(AF_INET, &v4.sin_addr, host, sizeof host);
    (void)snprintf(text, ADDRESS_TEXT_MAX, "%s:%" PRIu16, host, ntohs(v4.sin_port));
}

static void v6_to_reach(const struct address *address, char text[ADDRESS_TEXT_MAX])
{
    char host[INET6_ADDRSTRLEN];
    struct sockaddr_in6 v6;

    memcpy(&v6, &address->socket, sizeof v6);
    if (IN6_IS_ADDR_UNSPECIFIED(&v6.sin6_addr))
        v6.sin6_addr = in6addr_loopback;
    (void)inet_ntop(AF_INET6, &v6.sin6_addr, host, sizeof host);
    (void)snprintf(text, ADDRESS_TEXT_MAX, "[%s]:%" PRIu16, host, ntohs(v6.sin6_port));
}

void address_to_reach(const struct address *address, char text[ADDRESS_TEXT_MAX])
{
    if (address->socket.ss_family == AF_INET)
        v4_to_reach(address, text);
    else
        v6_to_reach(address, text);
}
