/* launch_wait.c - who waits for a launch to be ready, or to be admitted or not. */
#include "launch.h"

#include <stdlib.h>

static struct launch_wait *add_wait(struct launch *launch, bool until_ready, launch_settled_fn fn,
                                    void *data)
{
    struct launch_wait *wait = calloc(1, sizeof *wait);

    if (!wait)
        return NULL;
    *wait = (struct launch_wait){.next = launch->waits,
                                 .launch = launch,
                                 .fn = fn,
                                 .data = data,
                                 .until_ready = until_ready};
    if (wait->next)
        wait->next->previous = wait;
    launch->waits = wait;
    return wait;
}

struct launch_wait *launch_wait_ready(struct launch *launch, launch_settled_fn fn, void *data)
{
    return add_wait(launch, true, fn, data);
}

struct launch_wait *launch_wait_admitted(struct launch *launch, launch_settled_fn fn, void *data)
{
    return add_wait(launch, false, fn, data);
}

void launch_wait_cancel(struct launch_wait *wait)
{
    if (!wait)
        return;
    if (wait->previous)
        wait->previous->next = wait->next;
    else
        wait->launch->waits = wait->next;
    if (wait->next)
        wait->next->previous = wait->previous;
    free(wait);
}

void launch_settle_waits(struct launch *launch)
{
    const bool ended = launch->phase == PHASE_ENDED;
    const bool ready = launch_is_ready(launch);
    const bool admitted = launch->phase != PHASE_PREPARING;
    struct launch_wait *next;

    for (struct launch_wait *wait = launch->waits; wait; wait = next) {
        const launch_settled_fn fn = wait->fn;
        void *data = wait->data;

        next = wait->next;
        if (!(ended || (wait->until_ready ? ready : admitted)))
            continue;
        launch_wait_cancel(wait);
        fn(launch, data);
        next = launch->waits; /* the list may be another one now; those called are gone */
        if (!ended && !ready && !admitted)
            break;
    }
}
