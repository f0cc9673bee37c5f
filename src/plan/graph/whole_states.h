/* whole_states.h - private to the plan module: what mixers of a whole graph that keep a state for
 * each slot share. */
#ifndef PLAN_WHOLE_STATES_H
#define PLAN_WHOLE_STATES_H

#include "whole_parts.h"

/* A cache of states; it lies as the cache of keys does. */
int32_t whole_state_cache(struct builder *b, uint32_t l, uint64_t slot_bytes);
void whole_write_state(struct builder *b, int32_t cache, int32_t from);
/* A state is cleared in place, those of the batch are read, and the others moved: none, in the
 * graph that is reserved. */
int32_t whole_read_state(struct builder *b, int32_t cache, uint64_t slot_bytes);

#endif
