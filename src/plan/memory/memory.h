/* memory.h - private to the plan module: what each layer, table and graph costs, wherever it is
 * put.
 *
 * Everything about memory that does not depend on the placement is computed once (memory_make).  A
 * device that holds the repeating layers [first, end), and the output layer when it is the one,
 * then takes
 *
 *     sum of weights_bytes[l] + sum of context_bytes[l]      (additive: prefix sums serve a DP)
 *     + table_bytes                                          (once, when it holds a layer)
 *     + memory_compute_bytes(memory, role)                   (depends on its role alone)
 *
 * and what stays in host memory is additive in the same way.  docs/FORMULAS.md derives it all. */
#ifndef PLAN_MEMORY_H
#define PLAN_MEMORY_H

#include "dgo_plan.h"
#include "dgo_text.h"

/* How an allocation is rounded up; FORMULAS "Allocation". */
enum {
    MEMORY_DEVICE_ALIGN = 128,
    MEMORY_DEVICE_ROW = 512, /* values: MATRIX_ROW_PADDING of quantised rows */
    MEMORY_HOST_ALIGN = 32,
};

/* Of one block: on a GPU, what it then leaves in host memory, and all of it on the CPU. */
struct memory_block {
    uint64_t weights_bytes, context_bytes;
    uint64_t kept_weights_bytes, kept_context_bytes;
    uint64_t host_weights_bytes, host_context_bytes;
};

/* The context in which the model's own next-token block drafts; FORMULAS "Drafts". */
enum memory_draft_place {
    DRAFT_ALONE, /* one device */
    DRAFT_IN_PIPELINE,
    DRAFT_BESIDE_HOST, /* parts in host memory: bounds */
    DRAFT_PLACES
};

struct memory_draft {
    bool used;
    bool exact;                /* its compute figures are; else bounds */
    struct memory_block block; /* the block itself and its cache; also where another one drafts */
    /* Buffers by enum memory_draft_place: on the block's device, on that of the output where it is
     * another, in host memory. */
    uint64_t compute_bytes[DRAFT_PLACES], output_bytes[DRAFT_PLACES], host_bytes[DRAFT_PLACES];
    uint64_t weight_max, kept_weight_max; /* the block's largest tensor, and of those it leaves */
};

/* How the graph of one micro-batch is built, as far as its peak depends on it. */
enum memory_family {
    MEMORY_DENSE,
    MEMORY_MOE,       /* routed experts, their results added up (qwen3moe) */
    MEMORY_MOE_FUSED, /* routed experts without the separate sum (gpt-oss) */
    MEMORY_MLA,       /* multi-head latent attention (deepseek2) */
    MEMORY_DELTA,     /* gated delta net beside gated attention (qwen35) */
};

#define MEMORY_COPIES UINT64_C(4) /* GGML_SCHED_MAX_COPIES: inputs under pipeline parallelism */

enum { LATE_NONE, LATE_FEW, LATE_MANY };

/* Which of recipes.c's architectures were compared with a build: those of the first table, without
 * parts in host memory where it says so; all but state spaces; all. */
enum graphs_known { GRAPHS_SOME, GRAPHS_MOST, GRAPHS_ALL };

/* One row for each range of builds whose compute buffers follow the same form (builds.c). */
struct memory_build {
    uint32_t first_build;    /* the row holds from here to the next row */
    uint32_t measured_build; /* the one it was compared with */
    bool exact;              /* false: between two measured builds; the greater of both forms */
    uint8_t graphs;          /* enum graphs_known */
    bool row_for_each_slot;  /* logits are reserved for a row a slot, else for a micro-batch */
    uint8_t first_inputs;    /* tensors of width E that the first device of a pipeline keeps ... */
    uint8_t other_inputs;    /* ... and each later one: hidden state, residual */
    uint8_t first_extra;     /* times E at the first device's peak */
    bool others_read;        /* states of all slots but one are read once more in each layer */
    bool norms_told;         /* a layer's norms are told to run with it */
    uint8_t rows_late;       /* which architectures pick rows late: recipes.c */
    bool cache_types_free;   /* cards fuse attention for any pair of types that they read */
    uint8_t shared_visitors; /* tensors of -ncmoe on the first device at once, of several devices */
    bool pool_only;          /* what is pooled is all that comes out: no logits beside it */
    bool attention_place_known; /* where unfused attention runs over a cache in host memory */
    uint8_t host_inputs, host_extra, host_extra_alone; /* times E in host memory */
};
/* 0: the newest known. */
const struct memory_build *memory_build_find(uint32_t build);
/* The rows one after the other; NULL behind the last. */
const struct memory_build *memory_build_at(size_t row);

/* The terms of the compute buffer in bytes; names as in FORMULAS "Compute buffer". */
struct memory_terms {
    const struct memory_build *rule;
    enum memory_family family;
    bool crossing;       /* single tensors on other devices: operands go to and fro */
    bool fed;            /* a draft model that is fed hidden states */
    bool adapted;        /* LoRA adapters add their own products */
    bool studied;        /* this architecture's graphs were compared with the engine's */
    bool sliding_window; /* some layer has a window, and so a mask of its own */
    bool attention_fused, values_transposed;
    uint64_t embedding;       /* E: n_embd floats for each token of a micro-batch */
    uint64_t queries;         /* Q: the queries of one layer */
    uint64_t base;            /* the widest moment of an ordinary layer */
    uint64_t base_first;      /* the same on the first of several devices */
    uint64_t base_later;      /* the same on the others */
    uint64_t base_alone;      /* the same on the only device */
    uint64_t extra;           /* X: unfused attention or an unpacked cache; 0 none */
    uint64_t extra_alone;     /* the same on the only device */
    uint64_t extra_first;     /* and on the first of several, where it is more */
    uint64_t scan;            /* of a state-space layer's scan; 0: none */
    uint64_t host_more;       /* in host memory: embeddings for single layers and what reads them */
    uint64_t inputs;          /* M: masks and indices, held during the whole graph */
    uint64_t full_inputs;     /* the part of layers that attend to everything */
    uint64_t window_inputs;   /* the part of layers with a window */
    uint64_t logits;          /* L: on the device of the output layer */
    uint64_t output_alone;    /* of a device that holds the output layer and no other */
    uint64_t weight_max;      /* the largest tensor of a repeating layer */
    uint64_t kept_weight_max; /* the largest tensor that stays in host memory (-ncmoe) */
    uint64_t output_weight;   /* the output matrix, when a micro-batch of rows goes through it */
    uint64_t layer_context_max; /* the largest cache of one layer, wherever it lies */
};

/* One kind of layer, as far as its graph goes; widths in values for each token. */
struct graph_layer {
    uint8_t mixer; /* enum graph_mixer */
    bool routed, dense;
    bool window;
    bool rotated;       /* positions are rotated into queries and keys */
    bool heads_remade;  /* queries and keys are normed or rotated head by head */
    bool queries_gated; /* twice as wide: a gate beside each */
    bool fused_product; /* queries, keys and values are one product */
    bool normed_before, feed_normed_before;
    bool gated, gate_fused; /* feed-forward: a gate; in one product with what it gates */
    bool experts_fused, experts_scaled, choice_biased;
    bool shared, shared_gated; /* an expert for all */
    bool experts_ungated, shared_ungated;
    bool borrows;         /* no cache of its own: attends to that of a layer before */
    bool values_are_keys; /* one product for both */
    bool values_normed;
    bool twin; /* a dense feed-forward and experts beside each other, each with norms of its own */
    bool mixer_normed;  /* beside a feed-forward of another norm of the same */
    bool experts_aside; /* made of what came into the layer, beside mixer and dense feed-forward */
    bool dense_too;     /* a dense feed-forward of the experts' norm is added to them */
    bool thinned;       /* gemma3n: the feed-forward's gate is cut off below a height */
    bool embedded; /* an embedding of the token for this layer comes in behind the feed-forward */
    bool grouped;  /* experts of groups of experts come behind those */
    bool indexed;  /* picks the cells that it and the layers behind it attend to */
    uint32_t heads, queries, keys, values, mixed, inner;
    uint32_t gate;           /* values of attention's own gate; 0: none */
    uint64_t borrowed_bytes; /* the cache that it attends to, as a copy on another device */
};

enum graph_mixer {
    GRAPH_NO_MIXER,
    GRAPH_ATTENTION,
    GRAPH_EXPANDED, /* its keys and values are made of latent ones before they are kept */
    GRAPH_LATENT,
    GRAPH_DELTA,
    GRAPH_KIMI_DELTA,
    GRAPH_STATE_SPACE,
    GRAPH_STATE_AND_ATTENTION, /* side by side */
    GRAPH_CONVOLUTION,
    GRAPH_MIXING, /* over time, and the feed-forward over channels: RWKV 7 */
};

enum { GRAPH_KINDS_MAX = 8 };

/* What a graph is drawn from: graph.h. */
struct memory_graph {
    uint32_t recipe; /* enum recipe_flag */
    const struct memory_build *rule;
    uint8_t halves; /* enum graph_halves */
    bool fused;
    bool turns_values; /* attention is not fused, though the cache was laid out for it */
    enum dgo_kv_type key_type, value_type;
    bool states_out; /* hidden states of all tokens are handed out */
    uint64_t token_count, row_count, slot_count, stream_count; /* of the micro-batch */
    uint64_t cells, window_cells;                              /* of a stream */
    /* The matrices of packed caches, of layers without windows and with them; 0: none. */
    uint64_t key_turn_bytes[2], value_turn_bytes[2];
    uint64_t scattered_values; /* of a row: transposed ones are scattered one by one; else 1 */
    uint32_t embedding, vocabulary;
    bool positions_added;     /* a table's rows are added to the embeddings */
    bool scores_biased;       /* ALiBi: by how far away a token is */
    bool embeddings_normed;   /* before the first layer */
    bool router_first;        /* it is asked with what comes into the layer */
    bool norms_bare;          /* they have no weights, which the file does not show */
    bool rows_scaled;         /* behind the output norm, whose rows are kept */
    bool streams;             /* several go from layer to layer, made where the output lies */
    uint32_t layer_embedding; /* width of a token's embedding for one layer; 0: none */
    uint32_t lender[2];       /* the layers whose caches are borrowed, without a window and with */
    uint32_t expert_count, expert_used_count, expert_inner, shared_inner;
    uint32_t expert_groups,
        expert_groups_used; /* experts are chosen of the best groups; 0: of all */
    bool shares_scaled;
    uint32_t query_rank, latent, rotated, head_key, head_value; /* latent attention */
    uint32_t index_heads, index_width, index_best;              /* sparse attention; 0: none */
    uint64_t shift_bytes, state_bytes;                          /* of a slot's state */
    uint64_t
        state_count; /* of a slot that come out of a layer: more where a draft may be refused */
    uint32_t convolution, state_inner, state_groups, state_size, state_heads;
    bool selective, parts_normed; /* Mamba 1: steps of low rank; steps and both parts are normed */
    uint8_t late_since;   /* rows are picked late with rules from this rows_late on; 0: never */
    bool late_normed;     /* and the hidden states that are kept are normed */
    bool states_unsure;   /* several slots beside attention: seen by 2E off, so a bound */
    bool has_state_space; /* a part of a layer may be computed on the next device: see replay.c */
    uint32_t kind_count, layer_count;
    uint32_t leading_count; /* first layers of kinds that do not come again */
    struct graph_layer kind[GRAPH_KINDS_MAX];
    uint8_t layer[DGO_LAYER_MAX]; /* the kind of each */
};

struct plan_memory {
    const struct dgo_model *model;
    uint32_t build;       /* of the formulas in use */
    uint32_t newer_build; /* the engine's, where none so new was measured; else 0 */
    uint32_t layer_count; /* repeating; index layer_count below is the output layer */

    /* After the engine's own rounding: FORMULAS "Context". */
    uint32_t slot_count, ctx_tokens, ctx_tokens_per_slot, stream_count, window_cells;
    uint32_t batch_tokens, ubatch_tokens, output_row_count;
    uint32_t graph_tokens; /* of the graph that is reserved: a micro-batch, as many for each slot */
    bool kv_on_host, op_offload;
    bool no_events;  /* of a device of another machine: nothing is pipelined */
    bool overrides;  /* tensors are sent elsewhere than their layer (-ncmoe) */
    bool states_out; /* hidden states of all tokens come out of the graph */
    bool block_only; /* of the model only its next-token block runs */
    bool embeds;     /* hidden states are handed out, pooled as is said here */
    enum dgo_pooling pooling;
    bool attention_on_cpu; /* fused, and cards lack a kernel for a layer's */

    /* Of a layer that lies on a GPU: there, and what it leaves in host memory (-ncmoe, -nkvo). */
    uint64_t weights_bytes[DGO_LAYER_MAX + 1], context_bytes[DGO_LAYER_MAX + 1];
    uint64_t kept_weights_bytes[DGO_LAYER_MAX + 1], kept_context_bytes[DGO_LAYER_MAX + 1];
    /* Of a layer computed on the CPU. */
    uint64_t host_weights_bytes[DGO_LAYER_MAX + 1], host_context_bytes[DGO_LAYER_MAX + 1];
    uint64_t moved_bytes[DGO_GPU_MAX]; /* sent to a device by an override */
    uint64_t table_bytes;              /* rope factors: once for each device that holds a layer */
    uint64_t host_table_bytes;         /* once when the CPU holds a layer */
    uint64_t host_input_bytes;         /* token embedding and the like: always host memory */
    uint64_t host_output_bytes;        /* logits that are handed out */

    struct memory_terms terms;
    struct memory_graph graph; /* filled where the family has one */
    bool graph_known;          /* it is */
    bool replayed;             /* and device by device, too: not of drafts that are fed */
    struct memory_draft draft;
};

/* Where a device stands in the row of devices that the engine uses. */
struct memory_role {
    uint32_t position;        /* among the devices that hold layers: 0 is the first */
    uint32_t device_count;    /* shown to the engine; one with -sm none */
    bool holds_layers;        /* false: it holds no layer, not even the output */
    bool holds_output;        /* the output layer lies here */
    bool holds_block;         /* the next-token block does */
    bool no_full_layer;       /* none that attends to everything is here: no mask for it */
    bool no_window_layer;     /* none with a window is here */
    bool first_layer_only;    /* of the repeating ones */
    bool last_layer_only;     /* of the repeating ones: only the wanted rows go on behind it */
    uint32_t layer_first;     /* where it is known which layers lie here: from this one on ... */
    uint32_t layer_count;     /* ... so many; 0: not known */
    bool drawn_if_few;        /* however few they are: asked for one placement, not by a search */
    bool pipeline;            /* memory_pipeline's answer */
    uint32_t cpu_layer_count; /* repeating layers left to the CPU, on all of the machine */
    bool output_on_cpu;       /* -ngl 0 */
    bool block_on_cpu;        /* of the next-token block */
};

/* feature_draft.c: how many of the model's layers feed this draft model; 0: it is none of those. */
uint32_t memory_fed_layer_count(const struct dgo_model *model);
/* Whether layer `l` feeds the draft that the settings name. */
bool memory_feeds(const struct dgo_settings *settings, uint32_t l);
/* What a draft that is fed takes where its graph, or that of the model that feeds it, is not known:
 * added to what the model, or the draft, would take by itself. */
void memory_add_fed(struct dgo_estimate *estimate, const struct dgo_model *model,
                    const struct dgo_settings *settings);

/* All that does not depend on the placement.  Uses the settings' context, slots, batches, types,
 * -fa, -nkvo, --swa-full, -ncmoe, output rows; not -ngl, -ts, -dev.  The settings must have passed
 * memory_check.  Fails with DGO_EUNSUPPORTED where the model's rules are not known. */
DGO_MUST_CHECK
enum dgo_status memory_make(const struct dgo_model *model, const struct dgo_settings *settings,
                            const struct dgo_engine_rules *rules, struct plan_memory *memory,
                            struct dgo_error *err);

/* What a tensor of the file takes on a device. */
uint64_t memory_tensor_device_bytes(const struct dgo_tensor *tensor);

/* Whether host memory holds the matrix anew, laid out for the CPU's own products (CPU_REPACK): it
 * then visits no device, and a table that is also looked up is there twice. */
bool memory_is_repacked(const struct dgo_tensor *tensor, const struct dgo_settings *settings);

/* Routed experts of the first layers, which -ncmoe keeps in host memory. */
bool memory_expert_on_host(const struct dgo_tensor *tensor, const struct dgo_settings *settings);

/* overrides.c: compiled overrides; NULL matches nothing.  DGO_EINVAL names a pattern that cannot be
 * read. */
struct override_set;
DGO_MUST_CHECK
enum dgo_status override_set_make(const struct dgo_settings *settings, struct override_set **set,
                                  struct dgo_error *err);
void override_set_free(struct override_set *set); /* accepts NULL */
enum { OVERRIDE_NONE = -2 };                      /* no pattern matches */
int32_t override_device(const struct override_set *set, const char *tensor_name);

/* A sentence for each setting that the engine would refuse (DGO_EINVAL). */
DGO_MUST_CHECK
enum dgo_status memory_check(const struct dgo_machine *machine, const struct dgo_model *model,
                             const struct dgo_settings *settings, struct dgo_error *err);

/* The part of it about the cache's types. */
DGO_MUST_CHECK
enum dgo_status memory_check_cache(const struct dgo_model *model,
                                   const struct dgo_settings *settings, struct dgo_error *err);

/* kv.c: rounds the context as the engine does, then sizes every layer's cache and state. */
void memory_context_sizes(const struct dgo_model *model, const struct dgo_settings *settings,
                          struct plan_memory *memory);
DGO_MUST_CHECK
enum dgo_status memory_context_fill(const struct dgo_model *model,
                                    const struct dgo_settings *settings, struct plan_memory *memory,
                                    struct dgo_error *err);
const struct dgo_ggml_type *memory_kv_type(enum dgo_kv_type type);
uint64_t memory_key_number(const struct dgo_model *model, const char *suffix); /* 0: absent */
/* Bytes of a sequence's state in one recurrent layer: convolution part and memory part. */
void memory_state_bytes(const struct dgo_model *model, uint64_t *shift, uint64_t *state);
/* Whether a draft that is refused leaves states behind, one a token: settings.rollback_tokens. */
bool memory_rolls_back(const struct dgo_model *model);
/* Whether attention runs fused: asked for, and known to this architecture. */
bool memory_attention_fused(const struct dgo_model *model, const struct dgo_settings *settings);
/* Whether values lie transposed in their cache: as its layout was chosen before anything was
 * withdrawn. */
bool memory_values_transposed(const struct dgo_model *model, const struct dgo_settings *settings);

/* kernels.c: whether cards can compute fused attention of heads so wide, of one layer, and of all.
 */
bool memory_heads_have_kernel(uint64_t key, uint64_t value, uint64_t heads, uint64_t heads_kv);
bool memory_layer_has_kernel(const struct dgo_model *model, const struct dgo_settings *settings,
                             const struct memory_build *rule, uint32_t l);
bool memory_has_kernels(const struct dgo_model *model, const struct dgo_settings *settings,
                        const struct memory_build *rule);

/* withdrawn.c: whether the graph touches the next state before the product behind attention, which
 * so runs on the CPU where the state lies there. */
bool memory_states_come_first(const struct dgo_model *model);
/* Where the engine may withdraw flash attention and would, for it finds a layer's attention
 * elsewhere than the layer, the settings become what is left. */
DGO_MUST_CHECK
enum dgo_status withdrawn_settle(const struct dgo_model *model, const struct memory_build *rule,
                                 struct dgo_settings *settings, const int32_t *layer_device,
                                 struct dgo_error *err);

/* terms.c */
void memory_terms_fill(const struct dgo_model *model, const struct dgo_settings *settings,
                       const struct dgo_engine_rules *rules, struct plan_memory *memory);

/* Whether the engine turns pipeline parallelism on: several devices, every layer on them, cache on
 * them, no overrides. */
bool memory_pipeline(const struct plan_memory *memory, uint32_t device_count,
                     uint32_t cpu_layer_count, bool output_on_cpu);

/* replay.c: the buffer that the graph needs in that role.  A bound where a pipeline cuts a model
 * with state spaces.  False, with nothing written: there was no room for so many tensors. */
DGO_MUST_CHECK
bool memory_replay_bytes(const struct memory_graph *graph, const struct memory_role *role,
                         uint64_t *bytes);

/* The compute buffer of a device, without the draft's; `source` (may be NULL) says formula or
 * bound. */
uint64_t memory_compute_bytes(const struct plan_memory *memory, const struct memory_role *role,
                              enum dgo_figure_source *source);

/* draft.c: the settings of the context in which the block drafts, and the block as a model of one
 * layer with its memory.  Freed also where it could not be made; `err` may be NULL. */
struct draft_block {
    struct dgo_model *model;
    struct plan_memory *memory;
};
void draft_settings(const struct plan_memory *memory, const struct dgo_settings *settings,
                    struct dgo_settings *draft);
DGO_MUST_CHECK
enum dgo_status draft_block_make(const struct dgo_model *model, const struct dgo_settings *settings,
                                 const struct dgo_engine_rules *rules, struct draft_block *block,
                                 struct dgo_error *err);
void draft_block_free(struct draft_block *block);

/* draft.c: when all else of `memory` is filled.  DGO_EUNSUPPORTED names what the engine would end
 * with, or what is not computed. */
DGO_MUST_CHECK
enum dgo_status draft_make(const struct dgo_model *model, const struct dgo_settings *settings,
                           const struct dgo_engine_rules *rules, struct plan_memory *memory,
                           struct dgo_error *err);
/* What the draft's context adds to a device in that role; `source` is lowered to a bound. */
uint64_t draft_compute_bytes(const struct plan_memory *memory, const struct memory_role *role,
                             bool partial, enum dgo_figure_source *source);

/* The draft's part of a device's compute buffer, and of the host's; 0: there is none. */
uint64_t memory_draft_bytes(const struct plan_memory *memory, const struct memory_role *role,
                            enum dgo_figure_source *source);
uint64_t memory_draft_host_bytes(const struct plan_memory *memory, bool pipeline,
                                 uint32_t cpu_layer_count, bool output_on_cpu);

/* The host's compute buffer, without the draft's. */
uint64_t memory_host_compute_bytes(const struct plan_memory *memory, uint32_t device_count,
                                   bool pipeline, uint32_t cpu_layer_count, bool output_on_cpu);

/* Both together as a search takes them, which knows the roles of devices and not yet their layers:
 * not under what whole.c finds for the placement. */
uint64_t memory_role_bytes(const struct plan_memory *memory, const struct memory_role *role,
                           enum dgo_figure_source *source);
uint64_t memory_host_role_bytes(const struct plan_memory *memory, uint32_t device_count,
                                bool pipeline, uint32_t cpu_layer_count, bool output_on_cpu);

/* What a figure may be short of; a plan adds it to its margin. */
uint64_t memory_safety_bytes(uint64_t compute_bytes, enum dgo_figure_source source);

/* Outside the engine's books: driver context, libraries, scratch pools. */
uint64_t memory_overhead_bytes(const struct dgo_gpu *gpu);

/* assign.c: the engine's own split.  layer_device[l] for l in 0..layer_count (the output layer
 * last) is an index in settings->device_gpu, or ASSIGN_CPU.  Next-token blocks stand between the
 * last layer and the output, and count whether they are loaded or not; *block_device (may be NULL)
 * is that of the first. */
enum { ASSIGN_CPU = -1 };
void assign_layers(const struct dgo_machine *machine, const struct dgo_model *model,
                   const struct dgo_settings *settings, int32_t layer_device[DGO_LAYER_MAX + 1],
                   int32_t *block_device);

/* -ngl for everything: next-token blocks are counted. */
static inline uint32_t assign_all_layers(const struct dgo_model *model)
{
    return model->layer_count + model->mtp_layer_count + 1;
}

/* "CUDA0": the engine's backend for the card's vendor, and the card's rank among that vendor's
 * cards in the machine. */
void assign_device_name(const struct dgo_machine *machine, uint32_t gpu_index, char name[16]);

/* What the machine says is free on a card before the launch; 0 unknown. */
uint64_t assign_free_bytes(const struct dgo_gpu *gpu);

#endif
