/* peers.h - published trend tests, for a table beside our verdicts. */
#ifndef PEERS_H
#define PEERS_H

#include "dgo_trend.h"

enum { PEER_COUNT = 4 };

struct peer {
    const char *name;
    bool (*flags)(const struct dgo_trace *trace);
};
extern const struct peer peers[PEER_COUNT];

#endif
