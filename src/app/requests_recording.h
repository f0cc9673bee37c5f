/* requests_recording.h - private to app: recordings as request files (requests.h). */
#ifndef REQUESTS_RECORDING_H
#define REQUESTS_RECORDING_H

#include "requests.h"

/* Adds the requests that a recorded engine answered (dgo_recording_is_one said that it is one). */
DGO_MUST_CHECK
enum dgo_status requests_read_recording(const char *path, struct requests *requests,
                                        struct dgo_error *err);

#endif
