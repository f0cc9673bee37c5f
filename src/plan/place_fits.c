/* place_fits.c - whether items fit at all: much cheaper than where they go best, and asked far more
 * often (the longest context, the most to spare, what is missing).
 *
 * Costs play no part, so neither does which device was last: it is enough to know, for each set of
 * devices, which numbers of items it can hold. */
#include "place.h"

#include <stdlib.h>
#include <string.h>

/* Where a run on a device may end. */
struct reach {
    uint16_t end[PLACE_ITEM_MAX]; /* from each first item at most here, before the last item */
    bool to_end[PLACE_ITEM_MAX];  /* or it takes all of them, the last one with it */
    bool head;                    /* the first item alone, which may take less */
};

struct fits {
    const struct place_problem *problem;
    struct reach first[PLACE_DEVICE_MAX], later[PLACE_DEVICE_MAX];
    bool start[PLACE_ITEM_MAX]; /* numbers of items that may stay with the CPU */
    /* Numbers of items that a set can hold; ordered devices: [d] that those before d can. */
    bool held[1 << PLACE_EXACT_MAX][PLACE_ITEM_MAX];
};

static void fill_reach(const struct place_problem *p, uint32_t device, uint32_t role,
                       struct reach *reach)
{
    const uint32_t count = p->item_count;
    uint64_t room = 0, bytes = 0;
    const bool any = place_room(p, device, role, 0, 2, &room);
    uint32_t end = 0;

    for (uint32_t k = 0; k < count; k++) {
        if (end < k) {
            end = k;
            bytes = 0;
        }
        while (any && end + 1 < count && bytes + p->bytes[end] <= room)
            bytes += p->bytes[end++];
        reach->end[k] = (uint16_t)end;
        if (end > k)
            bytes -= p->bytes[k];
    }
    bytes = 0;
    for (uint32_t k = count; k-- > 0;) {
        bytes += p->bytes[k];
        reach->to_end[k] =
            place_room(p, device, role | PLACE_LAST, k, count - k, &room) && bytes <= room;
    }
    reach->head = role == PLACE_FIRST && count > 1 && place_room(p, device, role, 0, 1, &room) &&
                  p->bytes[0] <= room;
}

/* Adds what a run on a device makes of the numbers in `before`. */
static void extend(const struct place_problem *p, const struct reach *reach, const bool *before,
                   bool *held)
{
    uint32_t marked = 0;

    for (uint32_t k = 0; k < p->item_count; k++) {
        if (!before[k])
            continue;
        for (uint32_t e = k + 1 > marked + 1 ? k + 1 : marked + 1; e <= reach->end[k]; e++)
            held[e] = true;
        marked = reach->end[k] > marked ? reach->end[k] : marked;
    }
    if (before[0] && reach->head)
        held[1] = true;
}

static bool ends(const struct place_problem *p, const struct reach *reach, const bool *before)
{
    for (uint32_t k = 0; k < p->item_count; k++)
        if (before[k] && reach->to_end[k])
            return true;
    return false;
}

static bool fits_alone(const struct fits *f)
{
    for (uint32_t d = 0; d < f->problem->device_count; d++)
        if (ends(f->problem, &f->first[d], f->start))
            return true;
    return false;
}

static bool fits_sets(struct fits *f)
{
    const struct place_problem *p = f->problem;

    for (uint32_t set = 1; set < UINT32_C(1) << p->device_count; set++)
        for (uint32_t d = 0; d < p->device_count; d++) {
            const uint32_t others = set & ~(UINT32_C(1) << d);
            const uint32_t used = (uint32_t)__builtin_popcount(set);

            if (!(set >> d & 1))
                continue;
            if (used == 1)
                extend(p, &f->first[d], f->start, f->held[set]);
            else
                extend(p, &f->later[d], f->held[others], f->held[set]);
            if (used > 1 && used >= p->device_min && ends(p, &f->later[d], f->held[others]))
                return true;
        }
    return false;
}

/* More devices than sets are weighed of keep the caller's order; any may be left out. */
static bool fits_ordered(struct fits *f)
{
    const struct place_problem *p = f->problem;

    for (uint32_t d = 0; d < p->device_count; d++) {
        if (ends(p, &f->later[d], f->held[d]))
            return true;
        memcpy(f->held[d + 1], f->held[d], sizeof f->held[d]);
        extend(p, &f->later[d], f->held[d], f->held[d + 1]);
        extend(p, &f->first[d], f->start, f->held[d + 1]);
    }
    return false;
}

enum dgo_status place_fits(const struct place_problem *problem, bool *fits, struct dgo_error *err)
{
    *fits = false;
    if (problem->device_count == 0 || problem->item_count == 0)
        return DGO_OK;
    struct fits *f = calloc(1, sizeof *f);

    if (!f)
        return dgo_fail(err, DGO_ENOMEM, "no memory to search for a placement");
    f->problem = problem;
    for (uint32_t d = 0; d < problem->device_count; d++) {
        fill_reach(problem, d, PLACE_FIRST, &f->first[d]);
        fill_reach(problem, d, PLACE_MIDDLE, &f->later[d]);
    }
    for (uint32_t i = problem->cpu_items_min; i <= problem->cpu_items_max; i++)
        if (i < problem->item_count)
            f->start[i] = true;
    if (problem->single)
        *fits = fits_alone(f);
    else if (problem->device_count > PLACE_EXACT_MAX)
        *fits = fits_ordered(f);
    else
        *fits = fits_sets(f);
    free(f);
    return DGO_OK;
}
