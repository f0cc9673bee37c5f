/* engine_http.h - one request to an engine, by libcurl.  Private to app.
 *
 * Blocks, so it belongs on the BLOCKING lane; ends within a second or so when its job is cancelled
 * or the resource manager stops. */
#ifndef ENGINE_HTTP_H
#define ENGINE_HTTP_H

#include "dgo_base.h"

enum { ENGINE_ANSWER_MAX = 4 << 20 }; /* an answer larger than this is none of an engine's */

struct engine_request {
    const char *url;
    const char *json; /* to be sent; NULL: GET */
    const char *key;  /* of the engine's API; NULL or "": none */
    const char *what; /* "the chat message", for sentences */
    uint64_t timeout_ns;
};

struct engine_answer {
    long http_status;
    char *data; /* ended by a NUL; NULL when empty.  engine_answer_done frees it */
    size_t length;
};

/* DGO_OK with whatever status the engine gave.  DGO_EIO: nobody answers; DGO_ETIMEOUT,
 * DGO_ECANCELLED, DGO_EFORMAT (too long).  `answer` comes zeroed. */
DGO_MUST_CHECK
enum dgo_status engine_http(const struct engine_request *request, struct engine_answer *answer,
                            struct dgo_error *err);
void engine_answer_done(struct engine_answer *answer);

#endif
