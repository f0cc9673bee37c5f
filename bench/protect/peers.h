/* peers.h - thread pools of others, as they come: each keeps `in_flight` jobs going until more()
 * says no, and returns when the last has ended. */
#ifndef PEERS_H
#define PEERS_H

#include <stdbool.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef void (*peer_job_fn)(void);
typedef bool (*peer_more_fn)(void);

void peer_load_glib(int in_flight, peer_job_fn job, peer_more_fn more); /* a thread a CPU */
void peer_load_uv(int in_flight, peer_job_fn job, peer_more_fn more);   /* four threads */
void peer_load_tbb(int in_flight, peer_job_fn job, peer_more_fn more);  /* a thread a CPU */

#ifdef __cplusplus
}
#endif

#endif
