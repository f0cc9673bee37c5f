/* self_check.h - a short run of real components through the manager and the bus, so that their
 * figures can be looked at and their promises be seen kept.  Private to app and the faces.  Loop
 * thread only. */
#ifndef SELF_CHECK_H
#define SELF_CHECK_H

#include "dgo_app.h"
#include "flow.h"

enum { CHECK_STEP_MAX = 8, CHECK_ROUNDS = 64 };

enum check_verdict { CHECK_PASSED, CHECK_FAILED, CHECK_SKIPPED };
const char *check_verdict_name(enum check_verdict verdict); /* "passed", ... */

struct check_step {
    const char *name;
    enum check_verdict verdict;
    uint64_t took_ns;
    char text[240]; /* what was seen, or why not */
};

struct self_check {
    bool passed; /* no step failed */
    uint32_t step_count;
    struct check_step step[CHECK_STEP_MAX];
};

/* Looks at the machine into `flow`, tells the ledger, and works for some milliseconds.  With a
 * model it is read and planned for twice, the second time from the cache. */
void self_check_run(struct dgo_app *app, struct flow *flow, const char *model_path,
                    struct self_check *check);

#endif
