/* dgo_plan.h - from a machine, a model and an intent to a launch plan; and from exact settings to
 * an estimate per device.
 *
 * Pure arithmetic: no I/O, no clock, no threads, no allocation that outlives the call.  What goes
 * in or comes out is a value.  docs/FORMULAS.md derives every number.  Any thread. */
#ifndef DGO_PLAN_H
#define DGO_PLAN_H

#include "dgo_base.h"
#include "dgo_gpu.h"
#include "dgo_model.h"
#include "dgo_partition.h"

enum dgo_kv_type {
    DGO_KV_F16,
    DGO_KV_F32,
    DGO_KV_BF16,
    DGO_KV_Q8_0,
    DGO_KV_Q4_0,
    DGO_KV_Q4_1,
    DGO_KV_IQ4_NL,
    DGO_KV_Q5_0,
    DGO_KV_Q5_1,
    DGO_KV_TYPE_COUNT
};
const char *dgo_kv_type_name(enum dgo_kv_type type); /* "f16", as the engine's flag takes it */
enum dgo_status dgo_kv_type_parse(const char *name, enum dgo_kv_type *type,
                                  struct dgo_error *err) DGO_MUST_CHECK;

enum dgo_split_mode {
    DGO_SPLIT_LAYER,
    DGO_SPLIT_NONE,  /* the first device only */
    DGO_SPLIT_TENSOR /* every layer cut over all devices, by tensor_split's shares */
};
enum dgo_flash_attention {
    DGO_FA_ON,
    DGO_FA_OFF,
    DGO_FA_WITHDRAWN /* found not to suit: plain attention over a cache that lies as for ON */
};

/* Where single tensors go, whatever their layer says (-ot): the first row whose pattern is found in
 * a tensor's name counts. */
enum {
    DGO_OVERRIDE_MAX = 512,
    DGO_OVERRIDE_HOST = -1,
    /* A card that is none of the settings' devices: the engine ends as soon as a tensor goes there.
     */
    DGO_OVERRIDE_UNUSED = -3,
};
struct dgo_override {
    const char *pattern; /* regular expression of ECMAScript, as the engine takes it */
    int32_t device;      /* in settings->device_gpu, or one of those above */
};

/* What an embedding server makes of the hidden states of a slot's tokens. */
enum dgo_pooling {
    DGO_POOLING_UNSAID, /* as the model's file says, else none */
    DGO_POOLING_NONE,   /* each token keeps its own */
    DGO_POOLING_MEAN,
    DGO_POOLING_PICKED, /* that of the first token or of the last */
    DGO_POOLING_RANK,   /* a grade of one that was picked */
};

/* Exactly what the engine is told; no field means "choose for me". */
struct dgo_settings {
    uint32_t ctx_tokens;    /* -c: of all slots together; padded as the engine does */
    uint32_t slot_count;    /* -np, 1.. */
    bool kv_unified;        /* -kvu */
    uint32_t batch_tokens;  /* -b */
    uint32_t ubatch_tokens; /* -ub */
    enum dgo_kv_type key_type, value_type; /* -ctk, -ctv */
    enum dgo_flash_attention flash_attention;
    bool flash_attention_auto; /* -fa auto: the engine withdraws it where it does not suit */
    uint32_t gpu_layer_count;  /* -ngl, output layer counted; layer_count + 1 is all */
    enum dgo_split_mode split_mode;
    uint32_t device_count;            /* devices shown to the engine, in its order (-dev) */
    uint32_t device_gpu[DGO_GPU_MAX]; /* device -> index in machine.gpu */
    bool tensor_split_given;
    float tensor_split[DGO_GPU_MAX]; /* -ts; all zero or not given: by free memory */
    bool kv_on_host;                 /* -nkvo */
    bool swa_full;                   /* --swa-full */
    bool op_offload;                 /* default on */
    bool host_plain;                 /* --no-host: not in pinned memory of the cards */
    bool repack_off;                 /* --no-repack */
    uint32_t cpu_moe_layer_count;    /* -ncmoe; layer_count for -cmoe */
    bool remote;                     /* a device is on another machine (--rpc) */
    /* Compute buffers as the search for placements takes them: by each device's role, a little
     * more than the engine's graph of this very placement needs.  No flag of the engine. */
    bool sized_by_role;
    uint32_t output_row_count; /* logits rows; 0: as a server of that build reserves */
    bool embeds;               /* --embedding: hidden states are handed out, pooled for each slot */
    enum dgo_pooling pooling;  /* --pooling */
    bool samples_on_device;    /* -bs: answers' tokens are chosen where the logits are */
    /* Drafts: each slot keeps so many states beside its own, to go back to when they are refused.
     */
    uint32_t rollback_tokens;
    /* The model's own next-token block drafts (--spec-type draft-mtp): it is loaded with the model,
     * and runs in a context of its own, with its own micro-batch (0: the model's) and cache. */
    bool own_draft;
    bool own_draft_alone; /* and nothing else of it runs: it is loaded beside the model it drafts
                             for */
    bool states_out;      /* hidden states of all tokens are handed on, to such a draft; the engine
                           * then loads the model's block whether or not it is the one that drafts */
    /* A draft model that some layers of this one feed (EAGLE3, DFlash, DSpark): what comes into
     * them is kept.  Of such a draft: what feeds it.  Both outlive the settings; NULL: none. */
    const struct dgo_model *feeds;
    const struct dgo_feeding *feeding;
    uint32_t draft_ubatch_tokens;
    enum dgo_kv_type draft_key_type, draft_value_type;
    /* Outlive the settings; NULL: none. */
    const struct dgo_override *override;
    uint32_t override_count;
    const struct dgo_model *const *adapter; /* LoRA files, loaded beside what they change */
    uint32_t adapter_count;
};

/* With op-offload a product of so many rows over a weight in host memory runs on the first device;
 * fewer stay on the CPU (GGML_OP_OFFLOAD_MIN_BATCH). */
#define DGO_OFFLOAD_ROWS_MIN 32

/* What stays the same when the engine changes; see docs/FORMULAS.md for each build's figures. */
struct dgo_engine_rules {
    uint32_t build;            /* llama.cpp's build number, 10256 for b10256; 0: the newest known */
#define DGO_BUILD_UNSURE 11400 /* between measured ones: figures are bounds */
};

/* Where a compute figure comes from: an exact formula of that build, a bound that is never under,
 * or the engine itself. */
enum dgo_figure_source {
    DGO_FIGURE_FORMULA,
    DGO_FIGURE_BOUND,
    DGO_FIGURE_MEASURED, /* what the same binary allocated for the same settings before */
    DGO_FIGURE_DRY_RUN,  /* what the binary itself says it would */
};
const char *dgo_figure_source_name(enum dgo_figure_source source);

/* Where the overhead of a card comes from, from worst to best known. */
enum dgo_overhead_source {
    DGO_OVERHEAD_ASSUMED,    /* by its multiprocessors, or what a launch took, whichever is more */
    DGO_OVERHEAD_CALIBRATED, /* `calibrate` measured it once */
    DGO_OVERHEAD_LEARNT,     /* DGO_OVERHEAD_LAUNCHES_MIN launches or more measured it */
};
enum { DGO_OVERHEAD_LAUNCHES_MIN = 3 };
enum dgo_overhead_source dgo_overhead_source(const struct dgo_gpu *gpu);
const char *dgo_overhead_source_name(enum dgo_overhead_source source);

struct dgo_device_estimate {
    char name[16];        /* as the engine calls it: CUDA0 */
    uint32_t gpu_index;   /* in the machine */
    uint32_t layer_first; /* when layer_count > 0 */
    uint32_t layer_count; /* repeating layers */
    bool holds_output;
    uint64_t weights_bytes, context_bytes, compute_bytes; /* the engine's own books */
    uint64_t overhead_bytes; /* outside them: driver context, libraries */
    uint64_t margin_bytes;   /* never planned for */
    uint64_t free_bytes;     /* what the machine says is free before the launch */
    enum dgo_figure_source compute_source;
};

struct dgo_estimate {
    uint32_t build;       /* the formulas' build that was used */
    uint32_t newer_build; /* the engine's, where it is newer than any that was measured; else 0 */
    uint32_t device_count;
    struct dgo_device_estimate device[DGO_GPU_MAX];
    struct {
        uint32_t layer_count; /* repeating layers computed on the CPU */
        bool holds_output;
        uint64_t weights_bytes, context_bytes, compute_bytes, output_bytes;
        uint64_t free_bytes; /* 0 unknown */
        bool free_known;
    } host;
    uint32_t ctx_tokens, ctx_tokens_per_slot; /* after the engine's padding */
    uint32_t batch_tokens, ubatch_tokens;
    bool engine_refits; /* llama-server's own --fit would change the flags: too little would be free
                         */
    bool pipeline;      /* pipeline parallelism on: several copies of the inputs */
    bool flash_attention_withdrawn; /* the engine switches it off by itself, as -fa auto lets it */
    bool attention_kernel_missing;  /* cards cannot compute it with such heads or cache types: it is
                                     * withdrawn, or runs on the CPU where -fa on insists */
    bool fits;                      /* every device and the host */
    int32_t limiting_device;        /* index in device, -1 host, -2 none: only when !fits */
    uint64_t missing_bytes;         /* on the limiting device */
};

/* What each device would hold under exactly these settings.  A model too big for it is no failure:
 * `fits` says so.  Fails with DGO_EINVAL for settings the engine would refuse (a sentence each),
 * with DGO_EUNSUPPORTED for an architecture whose rules are not known yet. `margins_bytes` is one
 * value for each GPU of the machine, NULL for none. */
DGO_MUST_CHECK
enum dgo_status dgo_estimate_make(const struct dgo_machine *machine, const struct dgo_model *model,
                                  const struct dgo_settings *settings,
                                  const struct dgo_engine_rules *rules,
                                  const uint64_t *margins_bytes, struct dgo_estimate *estimate,
                                  struct dgo_error *err);

/* Why the model's own next-token block cannot draft, as the end of a sentence; NULL: it can. */
const char *dgo_own_draft_refusal(const struct dgo_model *model);

enum dgo_objective { DGO_OBJECTIVE_SPEED, DGO_OBJECTIVE_CONTEXT, DGO_OBJECTIVE_SAFE };
const char *dgo_objective_name(enum dgo_objective objective);

#define DGO_CTX_MAX UINT32_MAX /* intent.ctx_tokens: the most that fits, up to training */

/* What the user asked for.  Zero always means "choose for me". */
struct dgo_intent {
    enum dgo_objective objective;
    uint32_t ctx_tokens; /* per slot; 0: a sane default; DGO_CTX_MAX: the most that fits */
    uint32_t slot_count; /* requests served side by side; 0: 1 */
    uint32_t batch_tokens, ubatch_tokens;
    bool kv_type_given;
    enum dgo_kv_type key_type, value_type;
    bool flash_attention_off;
    bool swa_full;            /* the engine keeps the whole context where a window would do */
    bool cpu_layers_refused;  /* never leave layers in host memory; plan fails instead */
    uint64_t margin_bytes;    /* of each GPU; 0: the default, UINT64_MAX: none at all */
    uint32_t gpu_margin_mask; /* bit per GPU with a margin of its own, which may be 0 */
    uint64_t gpu_margin_bytes[DGO_GPU_MAX];
    bool every_gpu;    /* use each GPU that may be used, even where fewer would be faster */
    bool alone;        /* no alternatives are wanted beside the plan: much faster */
    uint32_t gpu_mask; /* bit per GPU that may be used; 0: all */
    double prompt_tokens, generated_tokens; /* a typical request; 0: 1500 and 400 */
    /* Requests answered at the same time, which the speed is weighed for; 0: 1.  At most as many
     * as slots. */
    uint32_t concurrent_requests;
    uint32_t draft_tokens; /* guessed ahead at once by the model's own next-token block; 0: none */
};

struct dgo_prediction {
    double decode_tokens_per_second; /* one request alone, at half of its context */
    double prefill_tokens_per_second;
    double
        lower_bound_gap; /* (time - lower bound) / lower bound of the decode step; 0 is optimal */
    bool bandwidth_assumed; /* a card's bandwidth was not known: speed ranks, it does not promise */
    double prompt_tokens, generated_tokens; /* the request it was made for */
    uint32_t concurrent_requests;           /* so many of them at once */
    double throughput_tokens_per_second;    /* decoded for all of them together */
};

enum { DGO_ALTERNATIVE_MAX = 5 }; /* the last is kept for -sm tensor */

struct dgo_alternative {
    char why[96]; /* "longest context", "the engine's default split", ... */
    struct dgo_settings settings;
    struct dgo_estimate estimate;
    struct dgo_prediction predicted;
};

struct dgo_plan {
    struct dgo_settings settings;
    struct dgo_estimate estimate;
    struct dgo_prediction predicted;
    bool every_gpu;    /* as the intent wished */
    uint32_t gpu_mask; /* the same: bit per GPU that may be used; 0: all */
    /* Of each GPU of the machine, in use or not; what dgo_plan_shrink lets grow. */
    uint64_t margin_bytes[DGO_GPU_MAX];
    uint32_t alternative_count;
    struct dgo_alternative alternative[DGO_ALTERNATIVE_MAX];
    /* Engines that cut a model into equal shards and runs of layers: `partition` says how, the
     * settings hold tokens, requests and cards in the order of the ranks only. */
    bool partitioned;
    struct dgo_partition partition;
    char kv_type[24]; /* of the cache, as that engine's flag takes it: "auto", "fp8" */
};

/* Whether CUDA has kernels for fused attention with the model's heads; without, plans do without
 * flash attention, and so without quantised values.  Source: FORMULAS "Flash attention".  Pure. */
bool dgo_model_fuses_attention(const struct dgo_model *model);

/* Makes the plan.  What cannot fit is DGO_ENOFIT: err names the limiting GPU and the missing bytes,
 * and *plan holds the nearest placement with estimate.fits false (the one exception to "outputs on
 * success only": faces show it).  DGO_EINVAL: no machine could satisfy the intent. */
DGO_MUST_CHECK
enum dgo_status dgo_plan_make(const struct dgo_machine *machine, const struct dgo_model *model,
                              const struct dgo_intent *intent, const struct dgo_engine_rules *rules,
                              struct dgo_plan *plan, struct dgo_error *err);

/* The next smaller plan after one that ran out of memory on `device` (index in plan's estimate; -1
 * unknown): margins grow on that device, then the micro-batch, then the context shrink, then layers
 * move.  DGO_ENOFIT when nothing smaller is left. `change` (may be NULL) is told in words. */
DGO_MUST_CHECK
enum dgo_status dgo_plan_shrink(const struct dgo_machine *machine, const struct dgo_model *model,
                                const struct dgo_intent *intent,
                                const struct dgo_engine_rules *rules, const struct dgo_plan *plan,
                                int32_t device, struct dgo_plan *smaller, char change[160],
                                struct dgo_error *err);

/* Exactly these settings, judged as a plan for this intent would be: estimate under the same
 * margins, prediction for the same request.  `why` is left alone.  Fails as dgo_estimate_make. */
DGO_MUST_CHECK
enum dgo_status dgo_plan_judge(const struct dgo_machine *machine, const struct dgo_model *model,
                               const struct dgo_intent *intent,
                               const struct dgo_engine_rules *rules,
                               const struct dgo_settings *settings, struct dgo_alternative *judged,
                               struct dgo_error *err);

/* The smallest additions each of which, alone, would let the GPUs carry the whole model for this
 * intent; and, where it does not fit at all, what host memory would do. */
enum dgo_need_kind {
    DGO_NEED_ONE_GPU,   /* more memory on one card */
    DGO_NEED_EVERY_GPU, /* so much more on each of them */
    DGO_NEED_CARD,      /* one more card of a size that is sold, as fast as the fastest here */
    DGO_NEED_HOST,      /* more host memory: the CPU computes the rest */
};
enum { DGO_NEED_MAX = DGO_GPU_MAX + 3 };
struct dgo_need {
    enum dgo_need_kind kind;
    uint32_t gpu_index;              /* ONE_GPU */
    uint64_t bytes;                  /* to add; of a CARD its memory */
    double decode_tokens_per_second; /* with it */
};
struct dgo_needs {
    bool nothing; /* the GPUs carry it already */
    uint32_t count;
    struct dgo_need need[DGO_NEED_MAX]; /* fewest bytes first within a kind */
};
DGO_MUST_CHECK
enum dgo_status dgo_plan_need(const struct dgo_machine *machine, const struct dgo_model *model,
                              const struct dgo_intent *intent, const struct dgo_engine_rules *rules,
                              struct dgo_needs *needs, struct dgo_error *err);

/* The same by another planner, which keeps nothing in host memory: whether the cards of the machine
 * that the intent allows carry the model, and how fast one request is then. */
typedef enum dgo_status (*dgo_need_fn)(const struct dgo_machine *machine,
                                       const struct dgo_intent *intent, bool *fits,
                                       double *decode_tokens_per_second, void *data,
                                       struct dgo_error *err);
DGO_MUST_CHECK
enum dgo_status dgo_plan_need_by(const struct dgo_machine *machine, const struct dgo_intent *intent,
                                 dgo_need_fn can, void *data, struct dgo_needs *needs,
                                 struct dgo_error *err);

/* The derivation of every number, as lines of text, one call of `line` each. */
typedef void (*dgo_explain_fn)(const char *line, void *data);
void dgo_plan_explain(const struct dgo_machine *machine, const struct dgo_model *model,
                      const struct dgo_plan *plan, dgo_explain_fn line, void *data);

/* Judges again, after figures were replaced: fits, limiting_device, missing_bytes. */
void dgo_estimate_judge(struct dgo_estimate *estimate);

/* Adds what a second model beside the first takes on the same cards (a draft model): bytes of both,
 * a bound where either is one.  Cards that only the second uses are appended. */
void dgo_estimate_add(struct dgo_estimate *estimate, const struct dgo_estimate *beside);

/* Whether a draft model is fed what some layers of the model made (EAGLE3, DFlash, DSpark), as its
 * key `target_layers` says. */
bool dgo_draft_is_fed(const struct dgo_model *draft);

/* The model that feeds a draft, whose embeddings and output serve where the draft has none: on
 * which of the draft's devices they lie, DGO_OVERRIDE_HOST, or DGO_FEEDING_ELSEWHERE. */
struct dgo_feeding {
    const struct dgo_model *model;
    int32_t embedding_device, output_device;
    uint32_t guess_tokens; /* that the draft makes at once, at most */
};
enum { DGO_FEEDING_ELSEWHERE = -3 };
/* Of a model whose estimate is made; `guess_tokens` stays. */
DGO_MUST_CHECK
enum dgo_status dgo_feeding_find(const struct dgo_model *model, const struct dgo_settings *settings,
                                 const struct dgo_estimate *estimate,
                                 const struct dgo_settings *draft, struct dgo_feeding *feeding,
                                 struct dgo_error *err);

/* How a projector of pictures or sounds is used. */
struct dgo_projector_use {
    int32_t gpu; /* of the machine, among the estimate's devices or not; -1: host */
    enum dgo_flash_attention flash_attention;
    uint32_t picture_tokens; /* of one picture at most; 0: what the projector says */
};

/* Adds its file's tensors and its graph, a bound where its type is not known.  `margins_bytes` as
 * for dgo_estimate_make.  DGO_EUNSUPPORTED when it is no projector. */
DGO_MUST_CHECK
enum dgo_status dgo_estimate_add_projector(struct dgo_estimate *estimate,
                                           const struct dgo_machine *machine,
                                           const struct dgo_model *projector,
                                           const struct dgo_projector_use *use,
                                           const uint64_t *margins_bytes, struct dgo_error *err);

#endif
