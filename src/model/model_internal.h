/* model_internal.h - private to model: the steps between a file taken apart and a dgo_model. */
#ifndef MODEL_INTERNAL_H
#define MODEL_INTERNAL_H

#include "gguf.h"

/* --- classify.c ------------------------------------------------------------------------------ */

/* Sets class and layer by the tensor's name; false: the name is not known and the class a guess. */
bool classify_tensor(const char *architecture, struct dgo_tensor *tensor);

/* What follows "blk.N." in a tensor's name; NULL: it belongs to no block. */
const char *block_part(const char *name, uint32_t *layer);

/* Routed experts, as the engine's -cmoe matches them: ffn_{up,down,gate,gate_up}_{ch,}exps. */
bool is_expert_tensor(const char *name);

/* --- arch.c ---------------------------------------------------------------------------------- */

enum window_layers {
    WINDOW_NONE,
    WINDOW_PERIOD,          /* scalar key or the table's period; an array is ignored */
    WINDOW_PERIOD_OR_ARRAY, /* scalar key, array key, or the table's period */
    WINDOW_ARRAY,           /* one flag a layer in the file, or one for all */
    WINDOW_ALL,
    WINDOW_ATTENTION, /* every layer that is not recurrent */
};

enum window_size {
    WINDOW_KEY,         /* the file says; without it, none */
    WINDOW_DEFAULT,     /* the file says; without it, the table's */
    WINDOW_FIXED,       /* the table's, unless the file says 0 */
    WINDOW_FIXED_IF_KEY /* the table's when the file names one above 0 */
};

enum recurrent_layers {
    RECURRENT_NONE,
    RECURRENT_ALL,
    RECURRENT_NO_KV_HEADS, /* where head_count_kv is 0 */
    RECURRENT_NO_KV_NO_FF, /* where head_count_kv and feed_forward_length are 0; attention where
                              feed_forward_length is 0 */
    RECURRENT_INTERVAL,    /* all but each full_attention_interval-th, or the file's flags */
    RECURRENT_BESIDE,      /* every layer has a state and a KV cache */
};

struct arch_rule {
    const char *name;
    enum window_layers window_layers;
    enum window_size window_size;
    uint8_t window_period;
    bool window_dense_first; /* the full layer opens its period instead of closing it */
    uint16_t window_tokens;
    uint16_t window_only_layer_count; /* the window is only in the model of that many layers */
    enum recurrent_layers recurrent;
    uint8_t kv_layer_count; /* only the first N layers own a KV cache; 0: all */
    bool no_kv;             /* attends without a cache */
    bool no_output;         /* an encoder: without output.weight nothing is loaded in its place */
    bool unverified;        /* has caches or tensors that these rules do not describe */
};

/* NULL: the architecture is not in the table. */
const struct arch_rule *arch_find(const char *architecture);

/* --- layers.c -------------------------------------------------------------------------------- */

/* Fills everything of the model that comes from keys and shapes; the path, the tensors with their
 * classes and the pairs are there. */
enum dgo_status layers_derive(struct dgo_model *model, struct dgo_error *err) DGO_MUST_CHECK;

/* --- shards.c -------------------------------------------------------------------------------- */

struct shard_set {
    uint32_t count;
    struct gguf_file *file; /* in order; in the arena */
};

/* Opens the file and, when it is one of several, all the others. */
enum dgo_status shards_open(const char *path, struct dgo_arena *arena, struct shard_set *set,
                            struct dgo_error *err) DGO_MUST_CHECK;

#endif
