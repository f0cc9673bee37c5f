/* place.h - private to the plan module: the exact split of a row of items over devices.
 *
 * Items are the model's layers and, last, its output layer.  Each device used takes one contiguous
 * run of them; the order of the devices is free and devices may be left out; the first items may
 * stay with the CPU.  It knows bytes and seconds, and nothing of models or engines.
 * docs/FORMULAS.md, "Placement", has the recursion and why it is exact. */
#ifndef PLAN_PLACE_H
#define PLAN_PLACE_H

#include "dgo_model.h"
#include "dgo_gpu.h"

enum {
    PLACE_ITEM_MAX = DGO_LAYER_MAX + 1,
    PLACE_DEVICE_MAX = DGO_GPU_MAX,
    /* Up to here every order and subset is weighed.  Beyond, devices keep the caller's order (and
     * any may still be left out): machines with more are of equal cards, where order is nothing. */
    PLACE_EXACT_MAX = 8,
};

/* Where a device stands; a device alone is first and last. */
enum { PLACE_MIDDLE = 0, PLACE_FIRST = 1, PLACE_LAST = 2, PLACE_ROLE_COUNT = 4 };

struct place_device {
    uint64_t room_bytes;                    /* for items and fixed bytes together */
    uint64_t fixed_bytes[PLACE_ROLE_COUNT]; /* taken as soon as the device is used */
    /* The same, at most, of short runs at the ends: the first item alone on the first of several;
     * on the last of several the last item alone [0], or with the one before it [1]. */
    uint64_t head_fixed_bytes, tail_fixed_bytes[2];
    double cost[PLACE_ITEM_MAX];  /* of an item here, added up in the objective */
    double stage[PLACE_ITEM_MAX]; /* time of an item within its pipeline stage */
};

struct place_problem {
    uint32_t item_count;
    uint32_t device_count;
    bool single;         /* exactly one device; else two or more */
    uint32_t device_min; /* at least so many are used; counts up to PLACE_EXACT_MAX devices only */
    uint64_t bytes[PLACE_ITEM_MAX];
    struct place_device device[PLACE_DEVICE_MAX];
    double boundary[PLACE_DEVICE_MAX][PLACE_DEVICE_MAX]; /* cost of going from one to the next */

    uint32_t cpu_items_min, cpu_items_max; /* first items that stay with the CPU; both 0: none */
    double cpu_cost[PLACE_ITEM_MAX];
    double cpu_boundary[PLACE_DEVICE_MAX];

    double stage_weight; /* objective: sum of costs + this times the slowest stage */
};

struct place_answer {
    double cost; /* the objective */
    double slowest_stage;
    uint32_t cpu_items;
    uint32_t segment_count;
    struct place_segment {
        uint32_t device, first, count;
    } segment[PLACE_DEVICE_MAX];
};

/* The cheapest placement; `*found` false when there is none.  With a stage weight the objective is
 * within one part in a million of the least, else it is the least.  Only memory can fail. */
DGO_MUST_CHECK
enum dgo_status place_solve(const struct place_problem *problem, bool *found,
                            struct place_answer *answer, struct dgo_error *err);

/* Whether there is any placement; much cheaper than the best one. */
DGO_MUST_CHECK
enum dgo_status place_fits(const struct place_problem *problem, bool *fits, struct dgo_error *err);

/* Bytes that `count` items from `first` on may take on a device in this role; false when its fixed
 * bytes alone are too many. */
bool place_room(const struct place_problem *problem, uint32_t device, uint32_t role, uint32_t first,
                uint32_t count, uint64_t *room);

#endif
