/* builds.c - which builds of the engine reserve compute buffers by which rules.
 *
 * A new build that changes them is one row, and at most one flag in struct memory_build. */
#include "memory.h"

/* b9430 (ggml-org/llama.cpp#23861) stopped reserving logits for a whole micro-batch in the server.
 * FORM_10256 is what that build's dry runs reserve, the reference table; its servers take one E
 * less on later devices, as those of b10068, b10361, 0.4.0 and 0.5.0 (b11146), which were measured:
 * FORM_11146.  Until b11669 (0.7.0) a second embedding input appeared; which build brought it was
 * not measured.  0.5.0 unpacks caches of types that it has no kernel for; 0.4.0 gives their
 * attention to the CPU. */
#define FORM_10256                                                                                 \
    .measured_build = 10256, .first_inputs = 1, .other_inputs = 2, .others_read = true,            \
    .shared_visitors = 2, .host_extra = 2, .host_extra_alone = 2
#define FORM_11146                                                                                 \
    .measured_build = 11146, .first_inputs = 1, .other_inputs = 1, .rows_late = LATE_MANY,         \
    .norms_told = true, .shared_visitors = 2, .host_extra = 2, .host_extra_alone = 2
#define FORM_11669                                                                                 \
    .measured_build = 11669, .first_inputs = 3, .first_extra = 1, .norms_told = true,              \
    .others_read = true, .host_inputs = 2, .host_extra = 2, .host_extra_alone = 4

static const struct memory_build builds[] = {
    {.first_build = 0, FORM_10256, .exact = true, .rows_late = LATE_FEW},
    {.first_build = 9430,
     FORM_10256,
     .exact = true,
     .row_for_each_slot = true,
     .rows_late = LATE_FEW},
    {.first_build = 10069,
     FORM_10256,
     .exact = true,
     .row_for_each_slot = true,
     .rows_late = LATE_MANY},
    {.first_build = 10257,
     FORM_11146,
     .exact = true,
     .graphs = GRAPHS_MOST,
     .others_read = true,
     .row_for_each_slot = true},
    {.first_build = 11146,
     FORM_11146,
     .exact = true,
     .graphs = GRAPHS_ALL,
     .row_for_each_slot = true,
     .cache_types_free = true},
    {.first_build = 11147,
     FORM_11669,
     .cache_types_free = true,
     .row_for_each_slot = true,
     .other_inputs = 2,
     .shared_visitors = 2},
    {.first_build = 11669,
     FORM_11669,
     .cache_types_free = true,
     .exact = true,
     .graphs = GRAPHS_ALL,
     .row_for_each_slot = true,
     .other_inputs = 1,
     .shared_visitors = 1,
     .pool_only = true,
     .attention_place_known = true},
};

const struct memory_build *memory_build_at(size_t row)
{
    return row < sizeof builds / sizeof builds[0] ? &builds[row] : NULL;
}

const struct memory_build *memory_build_find(uint32_t build)
{
    const size_t count = sizeof builds / sizeof builds[0];
    const struct memory_build *found = &builds[count - 1];

    if (build == 0)
        return found;
    for (size_t i = 0; i < count; i++) {
        if (builds[i].first_build <= build)
            found = &builds[i];
    }
    return found;
}
