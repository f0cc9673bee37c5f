/* place_work.h - private to place*.c: the tables of one exact split. */
#ifndef PLAN_PLACE_WORK_H
#define PLAN_PLACE_WORK_H

#include "place.h"

/* A state is a set of devices in use and the last of them: set * devices + last.  Ordered: `last`
 * as the first device, then as a later one.  Only states that can be have rows; those of one device
 * come first, then ascending. */
struct work {
    const struct place_problem *problem;
    bool ordered;
    uint32_t state_count, width; /* width: item_count + 1 */
    /* Devices that are the same in everything: earlier and later ones, as bits.  They may stand in
     * for each other, so only one order of them is weighed: the machine's. */
    uint32_t same_before[PLACE_DEVICE_MAX], same_after[PLACE_DEVICE_MAX];
    uint16_t *row; /* of a state; WORK_NO_ROW */
    struct work_row {
        uint16_t state;
        uint16_t low, high; /* item counts with a cost; low > high: none */
        double whole;       /* cost with all items placed */
        uint16_t whole_from;
    } * rows;
    uint32_t row_count;
    double *value;  /* [row][k]: least cost of having the first k items placed; from low to high */
    uint16_t *from; /* where its last segment starts */
    /* [row][k]: with k items placed at least this is still to be paid, exactly this where no stage
     * is limited; place_rest.c.  NULL: not known. */
    double *after;
    bool after_exact;    /* else no part of it says that too few devices are used */
    uint64_t *bytes_sum; /* prefix sums, `width` values */
    double *cpu_sum;
    double *cost_sum, *stage_sum; /* the same for each device */
    double *start;
};
enum { WORK_NO_ROW = UINT16_MAX };

static inline uint32_t bits(uint32_t set)
{
    return (uint32_t)__builtin_popcount(set);
}

/* Zero it first; work_done frees, also after an error. */
DGO_MUST_CHECK
enum dgo_status work_init(struct work *work, const struct place_problem *problem,
                          struct dgo_error *err);
void work_done(struct work *work);

/* A state whose device is the first of the row. */
static inline bool work_first(const struct work *work, uint32_t state)
{
    const uint32_t devices = work->problem->device_count;

    return work->ordered ? state < devices : bits(state / devices) == 1;
}

/* Fills `after`.  For several devices that are not ordered. */
DGO_MUST_CHECK
enum dgo_status work_rest(struct work *work, struct dgo_error *err);

#endif
