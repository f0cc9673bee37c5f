/* restart.c - how long to wait before an engine that failed is started again. */
#include "dgo_launch.h"

#include "dgo_units.h"

uint64_t dgo_restart_delay_ns(uint32_t attempt)
{
    enum { DOUBLINGS = 6 }; /* 64 s would pass the ceiling */

    return attempt < DOUBLINGS ? DGO_NS_PER_S << attempt : 60 * DGO_NS_PER_S;
}
