/* place_fits.c - whether there is any placement: the longest prefix of items for each set of
 * devices. */
#include "place.h"

#include <stdlib.h>

/* How far a device reaches that starts at item `first`; `first` itself when it can take none. */
static uint32_t reach(const struct place_problem *p, uint32_t device, uint32_t role, uint32_t first)
{
    uint64_t room = 0, bytes = 0;
    uint32_t end = first;

    /* The first item alone may take less than a longer run: then the run is looked at too. */
    if (first < p->item_count && place_room(p, device, role, first, 1, &room) &&
        p->bytes[first] <= room)
        end = first + 1;
    if (!place_room(p, device, role, first, 3, &room))
        return end;
    for (uint32_t i = first; i < p->item_count; i++) {
        bytes += p->bytes[i];
        if (bytes > room)
            break;
        end = i + 1 > end ? i + 1 : end;
    }
    return end;
}

/* Whether a device can take everything from `first` on, the output layer with it. */
static bool reaches_end(const struct place_problem *p, uint32_t device, uint32_t role,
                        uint32_t first)
{
    uint64_t room = 0, bytes = 0;

    for (uint32_t i = first; i < p->item_count; i++)
        bytes += p->bytes[i];
    return place_room(p, device, role, first, p->item_count - first, &room) && bytes <= room;
}

/* farthest[set]: the most items that the set can hold in any order.  A longer prefix is never
 * worse for those that follow, so one number a set is enough.  The output layer is the last item
 * and takes its device's last role: others stop before it. */
static bool fits_from(const struct place_problem *p, uint32_t start)
{
    uint16_t farthest[1 << PLACE_EXACT_MAX];
    const uint32_t devices = p->device_count, end = p->item_count;

    farthest[0] = (uint16_t)start;
    for (uint32_t set = 1; set < UINT32_C(1) << devices; set++) {
        const uint32_t first = (uint32_t)__builtin_popcount(set) == 1 ? PLACE_FIRST : PLACE_MIDDLE;

        farthest[set] = (uint16_t)start;
        for (uint32_t d = 0; d < devices; d++) {
            const uint32_t before = farthest[set & ~(UINT32_C(1) << d)];

            if (!(set >> d & 1) || ((uint32_t)__builtin_popcount(set) > 1 && before == start))
                continue;
            const uint32_t stop = reach(p, d, first, before);

            if (((uint32_t)__builtin_popcount(set) == 1) == p->single &&
                reaches_end(p, d, first | PLACE_LAST, before))
                return true;
            if (stop > farthest[set])
                farthest[set] = (uint16_t)(stop < end ? stop : end - 1);
        }
    }
    return false;
}

/* Long CPU prefixes leave the least to place, so they are tried first; they are not always the
 * easiest, for which device is then the first changes its fixed bytes. */
static bool fits_exact(const struct place_problem *p)
{
    uint32_t start = p->cpu_items_max < p->item_count ? p->cpu_items_max : p->item_count - 1;

    for (; start > p->cpu_items_min; start--)
        if (fits_from(p, start))
            return true;
    return start == p->cpu_items_min && fits_from(p, start);
}

/* Whether fewer items at an end never take more beside them: what the above rests on. */
static bool shrinks_with_runs(const struct place_problem *p)
{
    for (uint32_t d = 0; d < p->device_count; d++) {
        const struct place_device *device = &p->device[d];

        if (device->head_fixed_bytes > device->fixed_bytes[PLACE_FIRST] ||
            device->tail_fixed_bytes[0] > device->tail_fixed_bytes[1] ||
            device->tail_fixed_bytes[1] > device->fixed_bytes[PLACE_LAST])
            return false;
    }
    return true;
}

enum dgo_status place_fits(const struct place_problem *problem, bool *fits, struct dgo_error *err)
{
    struct place_answer answer;

    *fits = false;
    if (problem->device_count == 0 || problem->item_count == 0)
        return DGO_OK;
    /* Taking as much as one can, which fits_exact does, may leave nothing for a device that must
     * be used. */
    if (problem->device_count > PLACE_EXACT_MAX || problem->device_min > 1 ||
        !shrinks_with_runs(problem)) {
        struct place_problem *copy = malloc(sizeof *copy);

        if (!copy)
            return dgo_fail(err, DGO_ENOMEM, "no memory to search for a placement");
        *copy = *problem;
        copy->stage_weight = 0;
        const enum dgo_status status = place_solve(copy, fits, &answer, err);

        free(copy);
        return status;
    }
    *fits = fits_exact(problem);
    return DGO_OK;
}
