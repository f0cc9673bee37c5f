/* dgo_clock.h - time as a parameter: whoever needs the time is given a clock, so tests own it. */
#ifndef DGO_CLOCK_H
#define DGO_CLOCK_H

#include "dgo_base.h"

struct dgo_clock {
    uint64_t (*monotonic_ns)(void *data); /* never goes back; its zero means nothing */
    uint64_t (*wall_ns)(void *data);      /* since 1970, UTC; may jump */
    void *data;
};

/* The machine's clocks; any thread. */
const struct dgo_clock *dgo_clock_system(void);

/* A clock that stands still until told: set the fields, pass &fake.clock. */
struct dgo_clock_fake {
    struct dgo_clock clock;
    uint64_t monotonic_ns, wall_ns;
};
void dgo_clock_fake_init(struct dgo_clock_fake *fake, uint64_t monotonic_ns, uint64_t wall_ns);
void dgo_clock_fake_advance(struct dgo_clock_fake *fake, uint64_t ns);

static inline uint64_t dgo_clock_monotonic_ns(const struct dgo_clock *clock)
{
    return clock->monotonic_ns(clock->data);
}
static inline uint64_t dgo_clock_wall_ns(const struct dgo_clock *clock)
{
    return clock->wall_ns(clock->data);
}

#endif
