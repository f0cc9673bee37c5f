/* clock.c - the machine's clock and the one of tests. */
#include "dgo_clock.h"

#include "dgo_units.h"

#include <time.h>

static uint64_t read_clock(clockid_t id)
{
    struct timespec now = {0};

    clock_gettime(id, &now);
    return (uint64_t)now.tv_sec * DGO_NS_PER_S + (uint64_t)now.tv_nsec;
}

static uint64_t system_monotonic(void *data)
{
    (void)data;
    return read_clock(CLOCK_MONOTONIC);
}

static uint64_t system_wall(void *data)
{
    (void)data;
    return read_clock(CLOCK_REALTIME);
}

const struct dgo_clock *dgo_clock_system(void)
{
    static const struct dgo_clock system = {system_monotonic, system_wall, NULL};

    return &system;
}

static uint64_t fake_monotonic(void *data)
{
    return ((const struct dgo_clock_fake *)data)->monotonic_ns;
}

static uint64_t fake_wall(void *data)
{
    return ((const struct dgo_clock_fake *)data)->wall_ns;
}

void dgo_clock_fake_init(struct dgo_clock_fake *fake, uint64_t monotonic_ns, uint64_t wall_ns)
{
    *fake = (struct dgo_clock_fake){{fake_monotonic, fake_wall, fake}, monotonic_ns, wall_ns};
}

void dgo_clock_fake_advance(struct dgo_clock_fake *fake, uint64_t ns)
{
    fake->monotonic_ns += ns;
    fake->wall_ns += ns;
}
