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

enum { MEMORY_COPIES = 4 }; /* GGML_SCHED_MAX_COPIES: inputs under pipeline parallelism */

/* How the graph of one micro-batch is built, as far as its peak depends on it. */
enum memory_family {
    MEMORY_DENSE,     /* also every architecture whose graph was not studied */
    MEMORY_MOE,       /* routed experts, results added up (qwen3moe) */
    MEMORY_MOE_FUSED, /* routed experts without the separate sum (gpt-oss) */
    MEMORY_MLA,       /* multi-head latent attention (deepseek2) */
    MEMORY_DELTA,     /* gated delta net and gated attention (qwen35) */
};

/* The terms of the compute buffer in bytes; names as in docs/FORMULAS.md. */
struct memory_terms {
    enum memory_family family;
    uint64_t embedding;         /* E: one row of n_embd floats for each token */
    uint64_t base;              /* the widest moment of an ordinary layer */
    uint64_t base_first;        /* the same on the first of several devices, when it differs */
    uint64_t extra;             /* X: unfused attention or a cache that is unpacked; 0 none */
    uint64_t inputs;            /* M: masks and indices, held during the whole graph */
    uint64_t logits;            /* L: on the device of the output layer */
    uint64_t host_inputs;       /* M and the other inputs as the host holds them, one copy */
    uint64_t weight_max;        /* the largest tensor of a repeating layer: see op_offload */
    uint64_t kept_weight_max;   /* the largest among tensors kept on the host (-ncmoe) */
    uint64_t layer_context_max; /* the largest cache of one layer, if it lay in host memory */
    uint64_t safety_permille, safety_bytes, safety_partial_bytes;
};

struct plan_memory {
    const struct dgo_model *model;
    uint32_t build;       /* of the formulas in use */
    uint32_t layer_count; /* repeating; index layer_count below is the output layer */

    /* After the engine's own rounding: FORMULAS "Context". */
    uint32_t ctx_tokens, ctx_tokens_per_slot, stream_count;
    uint32_t batch_tokens, ubatch_tokens, output_row_count;
    bool kv_on_host, op_offload, overrides; /* overrides: tensors were sent elsewhere (-ncmoe) */

    /* Of a layer that lies on a GPU: there, and what it leaves in host memory (-ncmoe, -nkvo). */
    uint64_t weights_bytes[DGO_LAYER_MAX + 1], context_bytes[DGO_LAYER_MAX + 1];
    uint64_t kept_weights_bytes[DGO_LAYER_MAX + 1], kept_context_bytes[DGO_LAYER_MAX + 1];
    /* Of a layer computed on the CPU. */
    uint64_t host_weights_bytes[DGO_LAYER_MAX + 1], host_context_bytes[DGO_LAYER_MAX + 1];
    uint64_t table_bytes;       /* rope factors: once for each device that holds a layer */
    uint64_t host_table_bytes;  /* when the CPU holds one */
    uint64_t host_input_bytes;  /* token embedding and the like: always host memory */
    uint64_t host_output_bytes; /* logits that are handed out */

    struct memory_terms terms;
};

/* Where a device stands in the row of devices that the engine uses. */
struct memory_role {
    uint32_t position;        /* 0: the first device shown to the engine */
    uint32_t device_count;    /* shown to the engine */
    bool holds_layers;        /* false: it holds nothing, and computes nothing */
    bool holds_output;        /* the output layer lies here */
    bool pipeline;            /* memory_pipeline's answer */
    uint32_t cpu_layer_count; /* repeating layers left to the CPU, on all of the machine */
    bool output_on_cpu;       /* -ngl 0 */
};

/* All that does not depend on the placement.  Uses the settings' context, slots, batches, types,
 * -fa, -nkvo, --swa-full, -ncmoe, output rows; not -ngl, -ts, -dev.  The settings must have passed
 * memory_check.  Fails with DGO_EUNSUPPORTED where the model's rules are not known. */
DGO_MUST_CHECK
enum dgo_status memory_make(const struct dgo_model *model, const struct dgo_settings *settings,
                            const struct dgo_engine_rules *rules, struct plan_memory *memory,
                            struct dgo_error *err);

/* A sentence for each setting that the engine would refuse (DGO_EINVAL). */
DGO_MUST_CHECK
enum dgo_status memory_check(const struct dgo_machine *machine, const struct dgo_model *model,
                             const struct dgo_settings *settings, struct dgo_error *err);

/* Whether the engine turns pipeline parallelism on: several devices, every layer on them, cache on
 * them, no overrides. */
bool memory_pipeline(const struct plan_memory *memory, uint32_t device_count,
                     uint32_t cpu_layer_count, bool output_on_cpu);

/* The compute buffer of a device; `source` (may be NULL) says formula or bound. */
uint64_t memory_compute_bytes(const struct plan_memory *memory, const struct memory_role *role,
                              enum dgo_figure_source *source);

/* The host's compute buffer. */
uint64_t memory_host_compute_bytes(const struct plan_memory *memory, uint32_t device_count,
                                   bool pipeline, uint32_t cpu_layer_count, bool output_on_cpu);

/* What a bound or formula may be short of; a plan adds it to its margin. */
uint64_t memory_safety_bytes(uint64_t compute_bytes, enum dgo_figure_source source);

/* Outside the engine's books: driver context, libraries, scratch pools. */
uint64_t memory_overhead_bytes(const struct dgo_gpu *gpu);

/* The engine's own split (assign.c): layer_device[l] for l in 0..layer_count (the output layer
 * last) is an index in settings->device_gpu, or ASSIGN_CPU. */
enum { ASSIGN_CPU = -1 };
void assign_layers(const struct dgo_machine *machine, const struct dgo_model *model,
                   const struct dgo_settings *settings, int32_t layer_device[DGO_LAYER_MAX + 1]);

/* "CUDA0": the engine's backend for the card's vendor, and the card's rank among that vendor's
 * cards in the machine. */
void assign_device_name(const struct dgo_machine *machine, uint32_t gpu_index, char name[16]);

#endif
