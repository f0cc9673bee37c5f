/* peer_zmq.c - ZeroMQ as a peer: one PUB socket, a SUB socket for each handler, inproc. */
#include "peers.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <zmq.h>

enum { BYTES = 48, HANDLERS_MAX = 8 };

static void *sub[HANDLERS_MAX];
static const struct peer_run *run;

static void *dispatch(void *unused)
{
    char event[BYTES];
    uint64_t number = 0;

    (void)unused;
    do
        for (uint32_t i = 0; i < run->handlers; i++) {
            if (zmq_recv(sub[i], event, sizeof event, 0) != BYTES)
                abort();
            memcpy(&number, event, sizeof number);
            if (number != UINT64_MAX)
                run->handle(i, event);
        }
    while (number != UINT64_MAX);
    return NULL;
}

void peer_zmq(const struct peer_run *what)
{
    void *context = zmq_ctx_new(), *pub = zmq_socket(context, ZMQ_PUB);
    uint64_t event[BYTES / 8] = {0, 2, 3, 4, 5, 6};
    const int no_limit = 0;
    pthread_t thread;

    run = what;
    zmq_setsockopt(pub, ZMQ_SNDHWM, &no_limit, sizeof no_limit);
    if (zmq_bind(pub, "inproc://bench") != 0)
        abort();
    for (uint32_t i = 0; i < run->handlers; i++) {
        sub[i] = zmq_socket(context, ZMQ_SUB);
        zmq_setsockopt(sub[i], ZMQ_RCVHWM, &no_limit, sizeof no_limit);
        if (zmq_connect(sub[i], "inproc://bench") != 0 ||
            zmq_setsockopt(sub[i], ZMQ_SUBSCRIBE, "", 0) != 0)
            abort();
    }
    pthread_create(&thread, NULL, dispatch, NULL);
    for (uint32_t i = 0; i < run->events; i++) {
        event[0] = i;
        zmq_send(pub, event, sizeof event, 0);
        run->keep(i + 1);
    }
    run->await(run->handlers, run->events);
    event[0] = UINT64_MAX;
    zmq_send(pub, event, sizeof event, 0);
    pthread_join(thread, NULL);
    for (uint32_t i = 0; i < run->handlers; i++)
        zmq_close(sub[i]);
    zmq_close(pub);
    zmq_ctx_term(context);
}
