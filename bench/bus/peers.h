/* peers.h - peers of the bus that come from libraries which may be missing: each publishes `events`
 * numbered events of 48 bytes to `handlers` handlers, each of which is called with its number and
 * the event. `keep` is called after each, so that nobody is more than a window ahead. */
#ifndef PEERS_H
#define PEERS_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef void (*peer_handle_fn)(uint32_t handler, const void *event);
typedef void (*peer_keep_fn)(uint32_t published);

struct peer_run {
    uint32_t handlers, events;
    peer_handle_fn handle;
    peer_keep_fn keep;
    void (*await)(uint32_t handlers, uint64_t events);
};

void peer_zmq(const struct peer_run *run); /* ZeroMQ: PUB and SUB sockets, inproc */
void peer_qt(const struct peer_run *run);  /* Qt: queued calls to objects of another thread */

#ifdef __cplusplus
}
#endif

#endif
