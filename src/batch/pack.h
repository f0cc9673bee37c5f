/* pack.h - private to batch: the exact search behind dgo_pack. */
#ifndef PACK_H
#define PACK_H

#include "dgo_batch.h"

/* For the shortest `n` distinct lengths, at most DGO_PACK_SEARCH_MAX items: tries the bound, then
 * one bin more, and so on.  A packing found lowers packing->bins; a search that ended without one
 * raises packing->lower_bound.  Gives up after a fixed number of steps, leaving both as proven. */
void pack_search(const struct dgo_lengths *lengths, uint32_t n, struct dgo_packing *packing);

#endif
