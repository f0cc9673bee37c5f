/* whole_parts.h - private to the plan module: the graph of a whole model while it is built.
 *
 * whole_tensors.c finds the file's tensors, whole.c builds layer after layer, whole_attention.c,
 * whole_latent.c, whole_cache.c, whole_states.c, whole_convolution.c, whole_mixer.c and
 * whole_feed.c the halves of a layer, whole_parts.c the nodes that all are made of.  FORMULAS
 * "Parts in host memory".  Numbers of tensors are net.h's; a graph that ran out of memory goes on
 * and is thrown away at its end. */
#ifndef PLAN_WHOLE_PARTS_H
#define PLAN_WHOLE_PARTS_H

#include "graph.h"
#include "net.h"
#include "whole.h"

/* The tensors of a layer, as the names end. */
enum part {
    ATTN_NORM,
    ATTN_NORM_BIAS,
    MIXER_NORM,
    MIXER_NORM_BIAS,
    ATTN_QKV,
    ATTN_QKV_BIAS,
    ATTN_Q,
    ATTN_Q_BIAS,
    ATTN_K,
    ATTN_K_BIAS,
    ATTN_V,
    ATTN_V_BIAS,
    ATTN_Q_NORM,
    ATTN_K_NORM,
    ATTN_SINKS,
    LATENT_Q,
    LATENT_Q_NORM,
    LATENT_Q_HEADS,
    LATENT_KV,
    LATENT_KV_NORM,
    LATENT_K_HEADS,
    LATENT_V_HEADS,
    LATENT_KV_HEADS,
    INDEX_KEY, /* sparse attention: what picks its cells */
    INDEX_KEY_NORM,
    INDEX_KEY_NORM_BIAS,
    INDEX_QUERIES,
    INDEX_SHARES,
    DELTA_GATE,
    SSM_IN,
    SSM_CONV,
    SSM_CONV_BIAS,
    SSM_DT,
    SSM_A,
    SSM_D,
    SSM_X,
    SSM_STEPS,
    SSM_STEPS_NORM,
    SSM_B_NORM,
    SSM_C_NORM,
    SSM_ALPHA,
    SSM_BETA,
    SSM_BETA_ALPHA,
    SSM_NORM,
    SSM_OUT,
    SHORT_IN, /* a short convolution */
    SHORT_CONV,
    SHORT_OUT,
    KIMI_CONV_Q,
    KIMI_CONV_K,
    KIMI_CONV_V,
    KIMI_DECAY_IN, /* by way of a low rank, as the gate */
    KIMI_DECAY_OUT,
    KIMI_GATE_IN,
    KIMI_GATE_OUT,
    ATTN_OUT,
    ATTN_OUT_BIAS,
    POST_ATTN_NORM,
    ATTN_OUT_NORM, /* either of the norms around it, by what else there is */
    FFN_NORM,
    FFN_NORM_BIAS,
    FFN_GATE,
    FFN_GATE_BIAS,
    FFN_UP,
    FFN_UP_BIAS,
    FFN_ACT_SCALES,
    FFN_DOWN,
    FFN_DOWN_BIAS,
    POST_FFN_NORM,
    TWIN_NORM,         /* of experts beside a dense feed-forward */
    POST_DENSE_NORM,   /* behind the dense one */
    POST_EXPERTS_NORM, /* behind the experts */
    ROUTER_IN_SCALE,   /* what the router is asked with is multiplied by it */
    LAYER_OUT_NORM,    /* another name of it */
    ASIDE_NORM,
    ROUTER,
    ROUTER_BIAS,
    CHOICE_BIAS,
    EXP_GATE_UP,
    EXP_GATE_UP_BIAS,
    EXP_GATE,
    EXP_GATE_BIAS,
    EXP_UP,
    EXP_UP_BIAS,
    EXP_DOWN,
    EXP_DOWN_BIAS,
    GROUP_GATE, /* an expert for each group of them */
    GROUP_UP,
    GROUP_DOWN,
    SHARED_ROUTER,
    SHARED_GATE,
    SHARED_UP,
    SHARED_DOWN,
    NEXT_JOINT, /* of a next-token block: what goes into it, and its own ends */
    NEXT_TOKEN_NORM,
    NEXT_STATE_NORM,
    NEXT_TABLE,
    NEXT_NORM,
    NEXT_HEAD,
    LAYER_GATE, /* of the token's embedding for this layer */
    LAYER_PROJ,
    LAYER_POST_NORM,
    LAYER_SCALE,   /* what comes out of the layer is multiplied by it */
    STREAM_ROUTER, /* of several streams: graph_streams.c */
    STREAM_ROUTER_NORM,
    STREAM_PREDICT,
    STREAM_CORRECT,
    STREAM_SCALE,
    LOW_IN, /* a product of low rank beside attention */
    LOW_OUT,
    LOW_NORM,
    MIX_LERP, /* RWKV 7 */
    MIX_RECEPTANCES,
    MIX_W0,
    MIX_W1,
    MIX_W2,
    MIX_A0,
    MIX_A1,
    MIX_A2,
    MIX_V0,
    MIX_V1,
    MIX_V2,
    MIX_KEYS,
    MIX_VALUES,
    MIX_K_K,
    MIX_K_A,
    MIX_R_K,
    MIX_NORM,
    MIX_NORM_BIAS,
    MIX_G1,
    MIX_G2,
    MIX_OUT,
    CHANNEL_LERP,
    CHANNEL_KEY,
    CHANNEL_VALUE,
    PART_COUNT,
};

/* A tensor of the file, and where it lies. */
struct weight {
    const struct dgo_tensor *tensor; /* NULL: the model has none */
    int32_t home;
    const struct dgo_tensor *scale; /* what its product is multiplied by; NULL: nothing */
    int32_t scale_home;
};

/* Of a state space: its product, what a convolution made of that, and the scan's result; of a short
 * convolution: its product, and what it runs over. */
struct scanned {
    int32_t all, values, scan;
};

/* Of experts, for each row: their numbers and their shares of the result. */
struct choice {
    int32_t experts, shares;
    uint32_t used;
};

/* The state of the last tokens that layer `layer` is read for before the rest of a layer before it
 * is put down, for the engine asks for it at once. */
struct ahead {
    uint32_t layer; /* UINT32_MAX: none */
    int32_t cache, kept;
};

/* What is built. */
enum whole_sort {
    WHOLE_MODEL,
    WHOLE_BLOCK, /* a next-token block, as the only layer */
    WHOLE_EAGLE, /* drafts that are fed */
    WHOLE_DFLASH,
};

struct builder {
    const struct whole_placement *to;
    const struct dgo_model *model;
    const struct plan_memory *memory;
    const struct memory_graph *shape; /* what an architecture does, and of which kind a layer is */
    struct override_set *overrides;
    struct weight (*part)[PART_COUNT]; /* of each layer */
    struct weight embedding, output, output_norm, output_norm_bias;
    struct weight positions, embedding_norm, embedding_norm_bias, output_bias;
    /* Embeddings for single layers: as they are looked up, and what is added to them. */
    struct weight layer_embedding, layer_embedding_product, layer_embedding_norm;
    struct weight split_up, joined_again; /* one stream and several */
    const struct dgo_tensor *rope;        /* its factors; on every device */
    enum whole_sort sort;
    struct weight words, markov[2]; /* of drafts that are fed */

    struct net graph;
    uint64_t tokens, rows, slots; /* of the graph that is being built */
    struct layer_embeddings {
        int32_t looked_up; /* as read, for all layers */
        int32_t stream;    /* what went into the first layer */
        int32_t all;       /* as layers get them; made when the first one asks */
    } layer_embeddings;
    struct norm_made {
        const struct weight *weight; /* NULL: none yet */
        int32_t stored;
    } norm_made;            /* the last layer norm's weight: what is used twice is copied once */
    struct scanned scanned; /* what the rest of a state space's layer is made of */
    struct ahead ahead;
    struct choice choice; /* that was made first */
    int32_t latent_in;    /* what a gate behind latent attention is made of */
    /* What comes in from outside, made when first used: that is the order of the engine, too. */
    struct inputs {
        int32_t tokens; /* of drafts that are fed */
        int32_t positions, out_rows;
        int32_t query_scales;              /* of layers that positions are not rotated into */
        int32_t slots;                     /* whose states are read */
        int32_t slots_scanned, slots_kept; /* parts of it: of the batch, of the others */
        int32_t rope[NET_BACKENDS_MAX]; /* no input, but one tensor for all layers of a backend */
        /* Of the cache with every cell and of the one with a window. */
        struct cache_inputs {
            int32_t key_rows, value_rows, mask, key_turn, value_turn;
        } cache[2];
        int32_t index_rows, index_mask, index_turn; /* of the cache that an indexer has */
    } inputs;
    int32_t best_cells; /* that the last layer with an indexer picked; NET_NONE: none yet */
};

/* whole_draft.c: what a next-token block is fed with, and how its guesses are picked. */
int32_t whole_next_token_opened(struct builder *b);
void whole_picked_on_device(struct builder *b, int32_t logits);

/* whole_fed.c: what the layers of DFlash get, what comes out of EAGLE3's layer; behind the output
 * logits of all the model's words, and those that DSpark corrects. */
int32_t whole_dflash_opened(struct builder *b);
int32_t whole_eagle_stream(struct builder *b);
int32_t whole_scattered(struct builder *b, int32_t logits, uint64_t rows);
bool whole_corrects(const struct builder *b);
int32_t whole_markov(struct builder *b, int32_t logits);

/* whole.c */
DGO_MUST_CHECK
bool whole_graph_bytes(const struct whole_placement *placement, enum whole_sort sort,
                       uint64_t device_bytes[DGO_GPU_MAX], uint64_t *host_bytes);

/* whole_tensors.c.  False: the model has a tensor that is not known, or lacks one. */
bool whole_note_tensors(struct builder *b);

/* The backend of the CPU, and of a layer (behind the last: the output). */
int32_t whole_cpu(const struct builder *b);
int32_t whole_home(const struct builder *b, uint32_t l);

#define SOURCES(...)                                                                               \
    {                                                                                              \
        __VA_ARGS__, NET_NONE                                                                      \
    }

/* Most nodes: what lies nowhere yet and goes where its operands are. */
#define PLAIN .written = NET_NONE, .on = NET_NONE

uint64_t whole_floats(const struct builder *b, uint64_t width); /* bytes, of all tokens */
/* Of a view of `width` values in each row of `row`: what is between the first and the last. */
uint64_t whole_span(const struct builder *b, uint64_t row, uint64_t width);
int32_t whole_stored(struct builder *b, const struct weight *w);
/* `made` keeps its number, so that it is made once. */
int32_t whole_input(struct builder *b, int32_t *made, uint64_t bytes);
int32_t whole_node(struct builder *b, struct net_op op);

int32_t whole_product(struct builder *b, const struct weight *w, int32_t of, uint64_t bytes,
                      uint64_t rows);
/* Added, or multiplied with: written over what it changes.  `of` itself where there is no weight.
 */
int32_t whole_changed(struct builder *b, const struct weight *w, int32_t of, uint64_t bytes,
                      uint64_t rows);
int32_t whole_sum(struct builder *b, int32_t first, int32_t second, uint64_t bytes, uint64_t rows);
/* Written over what it is made of, where that lies as it does. */
int32_t whole_over(struct builder *b, int32_t first, int32_t second, uint64_t bytes);
/* In memory of its own; `second` may be none. */
int32_t whole_made(struct builder *b, int32_t first, int32_t second, uint64_t bytes);
/* Of layer `l`, which may say where it runs. */
int32_t whole_normed(struct builder *b, const struct weight *w, int32_t of, uint64_t bytes,
                     uint64_t rows, uint32_t l);

/* A layer norm, whatever the model's others are. */
int32_t whole_layer_normed(struct builder *b, const struct weight *w, int32_t of, uint64_t bytes,
                           uint64_t rows, uint32_t l);

const struct graph_layer *whole_kind(const struct builder *b, uint32_t l);

/* whole_mixer.c: a norm and its bias; the first half of a layer, as far as the engine asks for it
 * at once, and the rest, put down where it is added to the residual. */
int32_t whole_normed_by(struct builder *b, uint32_t l, enum part weight, enum part bias,
                        int32_t of);
int32_t whole_mixed(struct builder *b, uint32_t l, int32_t stream, int32_t in);
int32_t whole_mixed_out(struct builder *b, uint32_t l, int32_t made);
/* Queries, keys and values of what came in, and what they make of the cache. */
int32_t whole_attention(struct builder *b, uint32_t l, int32_t in);
int32_t whole_expanded(struct builder *b, uint32_t l, int32_t in);
int32_t whole_latent(struct builder *b, uint32_t l, int32_t in);
/* By a gate for each head, of what came in. */
int32_t whole_latent_gated(struct builder *b, uint32_t l, int32_t made);
/* Results as they were before a packed cache turned the values; a gate's are already. */
int32_t whole_turned_back(struct builder *b, uint32_t l, int32_t results);
/* whole_embedded.c: embeddings of tokens for single layers.  Looks those of all layers up. */
void whole_look_up(struct builder *b);
/* What the one for layer `l` adds, gated by `by`; of `rows` rows. */
int32_t whole_embedded(struct builder *b, uint32_t l, int32_t by, uint64_t rows);
/* whole_streams.c: several streams in place of one, and one again before the output norm. */
void whole_streams_look_up(struct builder *b);
int32_t whole_streams_open(struct builder *b, int32_t embeddings);
int32_t whole_streams_layer(struct builder *b, uint32_t l, int32_t streams);
int32_t whole_streams_close(struct builder *b, int32_t streams);
/* Rows whose logits are wanted. */
int32_t whole_picked(struct builder *b, int32_t of, uint64_t width);
/* From the last attention on only the wanted rows go on. */
bool whole_is_last(const struct builder *b, uint32_t l);
/* whole_states.c: the mixer's whole part of the residual. */
int32_t whole_delta(struct builder *b, uint32_t l, int32_t normed);
/* What a layer with a state space asks for first, and its mixer in two halves: of the norm, and
 * what is put down where it is added to the residual. */
void whole_read_ahead(struct builder *b, uint32_t l);
void whole_scan(struct builder *b, uint32_t l, int32_t normed);
int32_t whole_scan_out(struct builder *b, uint32_t l);
/* Whether it asks for its state before its norm is put down. */
bool whole_reads_first(const struct builder *b, uint32_t l);
/* whole_convolution.c: a short convolution in two halves, too; Kimi's delta attention whole. */
void whole_convolution(struct builder *b, uint32_t l, int32_t normed);
int32_t whole_convolution_out(struct builder *b, uint32_t l);
int32_t whole_kimi(struct builder *b, uint32_t l, int32_t normed);
/* In two halves where the state is asked for first: the first then gives NET_NONE. */
int32_t whole_kimi_out(struct builder *b, uint32_t l);
/* whole_mixing.c: all layers that mix over time, of the embeddings. */
bool whole_mixes(const struct builder *b);
int32_t whole_mixing(struct builder *b, int32_t embeddings);
/* Where all is put down that layer `l` is asked for at once: the next layer may ask for its state.
 */
void whole_look_ahead(struct builder *b, uint32_t l);
/* Where the router is asked with what comes into the layer: before attention's product. */
void whole_choose_first(struct builder *b, uint32_t l, int32_t in);
/* Dense, or routed over experts; of `rows` rows. */
int32_t whole_feed(struct builder *b, uint32_t l, int32_t in, uint64_t rows);
int32_t whole_dense(struct builder *b, uint32_t l, int32_t in, uint64_t rows);
/* Both beside each other, made of the residual. */
int32_t whole_twins(struct builder *b, uint32_t l, int32_t residual, uint64_t rows);

#endif
