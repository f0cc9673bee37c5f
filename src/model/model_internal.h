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
    WINDOW_PERIOD, /* the file's flags or period; without either, the table's period */
    WINDOW_ARRAY,  /* the file's flags, one a layer, or one for all */
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

/* Which layers have an indexer, and so a second cache. */
enum index_layers {
    INDEX_NONE,
    INDEX_ALL,
    INDEX_FLAGS,       /* the file's flags, one a layer; without them all */
    INDEX_AFTER_DENSE, /* all behind the leading dense ones */
    INDEX_ATTENTION,   /* all that are not recurrent */
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
    uint8_t recurrent_interval; /* RECURRENT_INTERVAL: where the file names none; 0: 4 */
    enum index_layers index_layers;
    bool index_values; /* the indexer's cache holds values too */
    bool keys_only;    /* values are a view of the keys */
    bool cache_for_each_slot;
    uint8_t kv_layer_count; /* only the first N layers own a KV cache; 0: all */
    bool no_kv;             /* attends without a cache */
    bool no_output;         /* an encoder: without output.weight nothing is loaded in its place */
    bool unverified;        /* has caches or tensors that these rules do not describe */
};

/* NULL: the architecture is not in the table. */
const struct arch_rule *arch_find(const char *architecture);

/* --- layers.c and rules.c -------------------------------------------------------------------- */

/* What the tensors of one block say; 0: no such tensor. */
struct shape {
    uint64_t key_rows, value_rows, qkv_rows, latent_rows;
    uint64_t feed_forward, expert_feed_forward, expert_count;
    uint64_t index_gate; /* gates that an indexer keeps beside its keys */
    bool attention, recurrent;
};

/* The keys that are not kept in the model itself. */
struct numbers {
    uint32_t block_count, vocab_size;
    uint32_t key_length, value_length, key_length_swa, value_length_swa;
    uint32_t key_length_mla, value_length_mla;
    uint32_t sliding_window, shared_kv_layers, full_attention_interval;
    uint32_t leading_dense, index_key_length, index_pool, index_top_k;
};

struct derive {
    struct dgo_model *model;
    const struct arch_rule *rule; /* NULL: unknown architecture */
    struct shape *shape;          /* DGO_LAYER_MAX of them */
    struct numbers n;
    const struct dgo_model_key *head_count, *head_count_kv, *feed_forward;
    const struct dgo_model_key *window_pattern, *recurrent_layers;
    const struct dgo_model_key *index_types, *compress_ratios;
    struct dgo_error *err;
};

/* The key "ARCHITECTURE.suffix"; NULL: the file has none. */
const struct dgo_model_key *arch_key(const struct dgo_model *model, const char *suffix);

/* The layer's number in a checked key that is one number for all or an array; 0 for no key. */
uint32_t layer_number(const struct dgo_model_key *key, uint32_t layer);

uint32_t rule_window_tokens(const struct derive *d); /* 0: no layer has a window */
bool rule_has_window(const struct derive *d, uint32_t l);
bool rule_is_recurrent(const struct derive *d, uint32_t l, uint32_t head_count_kv);

/* Whether this layer keeps keys and values of its own. */
bool rule_has_cache(const struct derive *d, uint32_t l, bool recurrent);

/* The widths of its second cache, and how the third is compressed. */
void rule_set_index(const struct derive *d, uint32_t l, struct dgo_layer *layer);

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
