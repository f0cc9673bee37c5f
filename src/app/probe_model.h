/* probe_model.h - models without a meaning, to time an engine with.  Private to app.
 *
 * A llama-shaped GGUF file of chosen size and type without tokenizer, all of its weights zero: the
 * file is sparse and takes a few KB of disk, whatever its size.  Zeros take as long to read and to
 * multiply as anything else. */
#ifndef PROBE_MODEL_H
#define PROBE_MODEL_H

#include "dgo_base.h"

struct probe_shape {
    uint32_t type; /* ggml type of the matrices */
    uint32_t layer_count, embedding, head_count, head_count_kv, feed_forward, vocab;
};

/* So small that launches take all the time. */
extern const struct probe_shape probe_tiny;

/* Matrices of an ordinary 8B model's proportions in `type`, `bytes` of them at most; fewer than two
 * layers never. */
void probe_shape_of(uint32_t type, uint64_t bytes, struct probe_shape *shape);

/* Writes the file anew.  DGO_EINVAL for a type whose blocks do not divide the rows. */
DGO_MUST_CHECK
enum dgo_status probe_model_write(const char *path, const struct probe_shape *shape,
                                  struct dgo_error *err);

#endif
