/* peers.h - peers of the executor that come from libraries which may be missing: each gives one
 * call that pushes `count` tiny jobs from the calling thread, and adds to *completed as they end.
 */
#ifndef PEERS_H
#define PEERS_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef void (*peer_tiny_fn)(void);

/* oneTBB: an arena of `workers`, jobs enqueued. */
void peer_tbb_start(int workers, peer_tiny_fn tiny);
void peer_tbb_push(uint32_t count);
void peer_tbb_stop(void);

/* Concurrency Kit: its lock-free ring of many producers and consumers with its event count. */
void peer_ck_start(int workers, peer_tiny_fn tiny);
void peer_ck_push(uint32_t count);
void peer_ck_stop(void);

#ifdef __cplusplus
}
#endif

#endif
