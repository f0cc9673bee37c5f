/* whole_attention.h - private to the plan module: what the kinds of attention of a whole graph
 * share. */
#ifndef PLAN_WHOLE_ATTENTION_H
#define PLAN_WHOLE_ATTENTION_H

#include "whole_parts.h"

/* whole_attention.c */
int32_t whole_rotated(struct builder *b, uint32_t l, int32_t of, uint64_t bytes);
/* The layer whose cache layer `l` attends to. */
const struct dgo_layer *whole_lender(const struct builder *b, uint32_t l);
bool whole_is_rotated(const struct builder *b, uint32_t l);

/* whole_cache.c */

/* What the cache of a layer is for the graph: a tensor that is written, and the views read. */
struct kept_rows {
    int32_t cache, read;
};
struct kept_rows whole_cache(struct builder *b, uint32_t l, enum dgo_kv_type type, uint64_t width,
                             uint64_t head);
struct cache_inputs *whole_cache_inputs(struct builder *b, uint32_t l);
uint64_t whole_cells(const struct builder *b, uint32_t l);
int32_t whole_mask(struct builder *b, uint32_t l);
/* What is cut out of a wider product is copied before it is seen in another way. */
int32_t whole_in_one_piece(struct builder *b, int32_t of, uint64_t bytes);
/* A packed cache takes keys, values and gives results that a matrix turned. */
int32_t whole_turned_key(struct builder *b, uint32_t l, int32_t of, uint64_t bytes);
int32_t whole_turned_value(struct builder *b, uint32_t l, int32_t of, uint64_t bytes);
/* Rows go to the cache as they lie. */
void whole_write_rows(struct builder *b, int32_t cache, int32_t rows, int32_t where);
/* An f32 cache is copied to f16: of layer `l`, `width` values in each cell. */
int32_t whole_as_f16(struct builder *b, uint32_t l, int32_t read, enum dgo_kv_type type,
                     uint64_t width);
/* Fused, and cards have no kernel for this layer's. */
bool whole_attends_on_cpu(const struct builder *b, uint32_t l);
/* whole_index.c: the keys of an indexer go to its cache; the mask of what it picked, made of the
 * norm and of the queries of low rank. */
void whole_index_keys(struct builder *b, uint32_t l, int32_t in);
int32_t whole_index_mask(struct builder *b, uint32_t l, int32_t in, int32_t ranked);

/* Keys and values go to the cache; what queries make of it. */
int32_t whole_attended(struct builder *b, uint32_t l, int32_t queries, int32_t keys,
                       int32_t values);

#endif
