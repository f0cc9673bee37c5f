/* graph.h - private to the plan module: what a model's graph is made of, and its tensors on a tape.
 *
 * graph_fill.c and graph_kinds.c read the kinds of layers and the rest from the model; graph.c and
 * graph_mixers.c put them down in the engine's order; recipes.c says what an architecture does that
 * its tensors do not show. Source: the graphs of llama.cpp build 11669 as its allocator gets them;
 * FORMULAS "Replay". */
#ifndef PLAN_GRAPH_H
#define PLAN_GRAPH_H

#include "memory.h"
#include "tape.h"

/* What an architecture does, by name. */
enum recipe_flag {
    RECIPE_LAYER_NORM = 1 << 0,    /* norms are not written over what they norm */
    RECIPE_NO_BIASES = 1 << 1,     /* those of queries, keys and values are not added */
    RECIPE_SCALED = 1 << 2,        /* embeddings are multiplied first */
    RECIPE_SCALED_ROWS = 1 << 3,   /* by a factor for each row, an input; where they are mixed */
    RECIPE_OWN_FIRST = 1 << 4,     /* the residual is the first operand of its sums */
    RECIPE_SHARES_NORMED = 1 << 5, /* the shares of the chosen experts are divided by their sum */
    RECIPE_SHARES_LATE = 1 << 7,   /* the softmax runs over the chosen experts */
    RECIPE_SHARES_FIRST = 1 << 8,  /* the input of the experts is multiplied, not their results */
    RECIPE_NO_ROPE = 1 << 9,       /* positions are not rotated in */
    RECIPE_ROPE_IN_WINDOWS = 1 << 10,   /* only where there is a window, if any layer has one */
    RECIPE_ROPE_NOT_FOURTH = 1 << 11,   /* in three of four layers */
    RECIPE_POSITIONS_4 = 1 << 12,       /* four numbers for each position */
    RECIPE_POSITIONS_BY_FILE = 1 << 18, /* where the file has sections for them */
    RECIPE_QUERIES_SCALED = 1 << 19,    /* where positions are not rotated in, by an input */
    RECIPE_KEYS_FIRST = 1 << 13,        /* keys before values, also without windows */
    RECIPE_FEED_OWN_FIRST = 1 << 14,    /* the same behind the feed-forward only */
    RECIPE_ROUTER_RAW =
        1 << 15, /* experts are chosen by what the router says, before its sigmoid */
    RECIPE_GATE_PROPORTION = 1 << 16, /* the shared expert's gate is silu(x) / x */
    RECIPE_KEYS_REPEATED = 1 << 20,   /* delta nets: keys for each value head */
    RECIPE_BORROWS = 1 << 26, /* values are normed; last layers attend to caches of layers before */
    RECIPE_STREAMS = 1 << 27, /* four streams: graph_streams.c */
    RECIPE_NO_EXPERTS = 1 << 25,      /* none are used, whatever the file has */
    RECIPE_MIXER_OWN_FIRST = 1 << 28, /* the residual is the first operand behind the mixer only */
    RECIPE_ROPE_IN_7B = 1 << 29,      /* positions are rotated in only where 32 layers are */
    RECIPE_RESULT_KEPT = 1 << 30,     /* newer builds keep the last layer's rows */
    RECIPE_NORM_LAST = 1 << 6,        /* heads are rotated, then normed */
    RECIPE_LAST_NORM_TOLD = 1 << 22,  /* the norm behind the feed-forward is told where to run */
    RECIPE_WHOLE = 1 << 17,           /* whole.c knows where all of it runs */
    RECIPE_WHOLE_NEWEST = 1 << 21,    /* compared so with the newest build alone */
};

/* How a layer's halves follow each other; beside each other: what is added to what. */
enum graph_halves {
    HALVES_IN_TURN,
    HALVES_FEED_FIRST,      /* (feed-forward + residual) + attention */
    HALVES_ATTENTION_FIRST, /* (attention + feed-forward) + residual */
    HALVES_JOINED,          /* (feed-forward + attention) + residual */
    HALVES_APART,           /* feed-forward + (attention + residual) */
};

/* Experts of each token that a tape has room for; the models there are have 32 at most. */
enum { GRAPH_USED_MAX = 64 };

struct recipe {
    const char *architecture;
    uint32_t flags;
};
/* NULL: its graph was not compared with the engine's. */
const struct recipe *recipe_find(const char *architecture);
/* Whether it was compared with builds of these rules, too. */
bool recipe_holds(const struct recipe *recipe, const struct memory_build *rule);
/* Whether it is drawn device by device, too; else only as a whole. */
bool recipe_has_roles(const struct recipe *recipe);
enum graph_halves recipe_halves(const struct dgo_model *model);
/* Whether norms are plain ones because the file has no epsilon for others. */
bool recipe_norms_plainly(const struct dgo_model *model);
/* Whether the output norm's rows are multiplied before the logits: those that are kept are not. */
bool recipe_scales_rows(const struct dgo_model *model);
/* Whether the router is asked with what comes into a layer. */
bool recipe_asks_first(const struct dgo_model *model);
/* Whether norms have no weights. */
bool recipe_norms_barely(const struct dgo_model *model);
/* How many first layers are rotated without a window, where only windows are. */
uint32_t recipe_rotated_first(const struct dgo_model *model);

/* graph_kinds.c: which kinds of layers there are, and in which order.  False: too many. */
bool graph_fill_layers(const struct dgo_model *model, struct memory_graph *graph);
/* Where the first layers have caches and the rest none: how many have; and whether the last layers
 * attend to the caches of the last two that have one. */
uint32_t graph_cache_count(const struct dgo_model *model);
bool graph_borrows(const struct dgo_model *model, uint32_t recipe);
/* Without flash attention values lie transposed, in streams as long as the widest layer's: a copy
 * reaches over the rest of all streams but the last. */
void graph_widen_borrowed(struct memory_graph *graph);

/* graph_fill.c.  False: this model's graph is not known; `graph` is then of no use. */
bool graph_fill(const struct dgo_model *model, const struct dgo_settings *settings,
                const struct plan_memory *memory, struct memory_graph *graph);

/* What fused attention of such a layer takes beside its result on a card: CUDA's kernels unpack
 * caches there. */
uint64_t graph_unpacked_bytes(const struct memory_graph *graph, const struct graph_layer *layer);

/* Whether a tensor's name in its layer is `part`; some leave out ".weight", or the only ".bias". */
bool graph_is_named(const char *name, const char *part);

/* Whether any layer picks the cells that are attended to. */
bool graph_is_sparse(const struct dgo_model *model);

bool graph_has_tensor(const struct dgo_model *model, const char *name);

/* Builds since 11147 take embeddings among tokens: a second way in that is always reserved. */
bool graph_mixes_embeddings(const struct memory_graph *graph);
/* Whether the wanted rows are picked behind the last layer, and what it gives for all tokens is
 * kept: graph->late_normed says whether as it is or normed. */
bool graph_picks_late(const struct memory_graph *graph);
void recipe_fill_late(const struct dgo_model *model, struct memory_graph *graph);
/* Whether the hidden states of all tokens come to the output layer for that. */
bool recipe_norms_all(const struct dgo_model *model, const struct memory_build *rule);

/* A graph while it is put down. */
struct drawing {
    const struct memory_graph *graph;
    struct tape *tape;
    uint64_t row_count; /* that go through: the micro-batch, behind the last attention fewer */
    bool picks_rows;    /* the last layer does, unless hidden states of all tokens are handed out */
    tape_ref stream;    /* what goes from layer to layer */
    tape_ref looked_up,
        embedded; /* embeddings for single layers: as read, and as layers get them */
    tape_ref stream_turned, stream_active; /* where there are four: graph_streams.c */
    tape_ref embeddings;                   /* the stream before the first layer */
    tape_ref last_kept; /* what the last layer gives for all tokens; TAPE_OUTSIDE: it is not kept */
    tape_ref positions, rows_wanted, states, states_again, query_scales;
    /* For layers that attend to everything, and for those with windows. */
    tape_ref key_rows[2], value_rows[2], mask[2], key_turn[2], value_turn[2];
};

/* Blocks; `width` is in values for each row. */
tape_ref draw_product(struct drawing *d, uint64_t width, tape_ref input);
tape_ref draw_norm(struct drawing *d, uint64_t width, tape_ref input);
/* As wide as `input`, a view of which is written anew: what runs over heads is not done in place.
 */
tape_ref draw_heads(struct drawing *d, uint64_t width, tape_ref input);
/* What `values` bring to the rows `where` of `into`: the same memory. */
tape_ref draw_written(struct drawing *d, tape_ref into, tape_ref values, tape_ref where);
tape_ref draw_sum(struct drawing *d, tape_ref a, tape_ref b);
uint64_t draw_bytes(const struct drawing *d, uint64_t width);
/* From the last attention on only the wanted rows go on. */
void draw_wanted_rows(struct drawing *d, tape_ref *out, tape_ref *residual);

/* Attention over heads that were put down already: results as wide as draw_product's input. */
tape_ref draw_attend(struct drawing *d, const struct graph_layer *layer, tape_ref queries,
                     tape_ref keys, tape_ref values);

/* graph_mixers.c: each gives the mixer's part of the residual. */
tape_ref draw_attention(struct drawing *d, const struct graph_layer *layer, tape_ref normed);
tape_ref draw_latent(struct drawing *d, const struct graph_layer *layer, tape_ref normed);
tape_ref draw_expanded(struct drawing *d, const struct graph_layer *layer, tape_ref normed);

/* graph_states.c: the same of mixers that keep a state for each slot. */
tape_ref draw_delta(struct drawing *d, tape_ref normed);
tape_ref draw_kimi_delta(struct drawing *d, tape_ref normed);
tape_ref draw_state_space(struct drawing *d, tape_ref normed);
tape_ref draw_convolution(struct drawing *d, tape_ref normed);

/* graph_experts.c */
tape_ref draw_dense(struct drawing *d, const struct graph_layer *layer, tape_ref normed);
tape_ref draw_experts(struct drawing *d, const struct graph_layer *layer, tape_ref normed);
/* Both beside each other, made of the residual. */
tape_ref draw_twins(struct drawing *d, const struct graph_layer *layer, tape_ref residual);

/* graph_embedded.c: the width of a token's embedding for one layer, as the file says; 0: none. */
uint32_t graph_layer_embedding(const struct dgo_model *model);
/* What such a model takes in host memory besides, for tokens of so many bytes a value. */
uint64_t graph_host_bytes(const struct dgo_model *model, uint64_t token_bytes);
/* The embeddings of a micro-batch's tokens for one layer. */
uint64_t graph_embedded_bytes(const struct memory_graph *graph);
/* What the embedding of the token for this layer adds, gated by `by`. */
tape_ref draw_embedded(struct drawing *d, tape_ref by);

/* graph_streams.c: several streams in place of one; the one before the output norm is d->stream. */
void draw_open_streams(struct drawing *d, const struct memory_role *role);
void draw_streams_layer(struct drawing *d, const struct graph_layer *layer);
void draw_close_streams(struct drawing *d, const struct memory_role *role);

/* graph.c: the whole of what a device in that role computes. */
void graph_draw(const struct memory_graph *graph, const struct memory_role *role,
                struct tape *tape);

#endif
