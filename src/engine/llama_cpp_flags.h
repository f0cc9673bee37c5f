/* llama_cpp_flags.h - the table of llama-server's flags.  Private to src/engine. */
#ifndef ENGINE_LLAMA_CPP_FLAGS_H
#define ENGINE_LLAMA_CPP_FLAGS_H

#include "llama_cpp.h"

/* What a flag means for memory. */
enum flag_action {
    ACTION_SKIPPED,
    ACTION_CTX,
    ACTION_SLOTS,
    ACTION_BATCH,
    ACTION_UBATCH,
    ACTION_FLASH_ATTENTION,
    ACTION_KEY_TYPE,
    ACTION_VALUE_TYPE,
    ACTION_GPU_LAYERS,
    ACTION_SPLIT_MODE,
    ACTION_TENSOR_SPLIT,
    ACTION_MAIN_GPU,
    ACTION_DEVICE,
    ACTION_REMOTE,
    ACTION_KV_OFFLOAD,
    ACTION_NO_KV_OFFLOAD,
    ACTION_KV_UNIFIED,
    ACTION_NO_KV_UNIFIED,
    ACTION_SWA_FULL,
    ACTION_NO_HOST,
    ACTION_REPACK,
    ACTION_NO_REPACK,
    ACTION_OP_OFFLOAD,
    ACTION_NO_OP_OFFLOAD,
    ACTION_CPU_MOE,
    ACTION_N_CPU_MOE,
    ACTION_CPU_FFN,
    ACTION_OVERRIDE,
    ACTION_SLOT_CONTEXT,
    ACTION_EMBEDDING,
    ACTION_RERANKING,
    ACTION_POOLING,
    ACTION_DEVICE_SAMPLING,
    ACTION_LORA,
    ACTION_LORA_SCALED,
    ACTION_PROJECTOR,
    ACTION_PROJECTOR_OFFLOAD,
    ACTION_NO_PROJECTOR_OFFLOAD,
    ACTION_PROJECTOR_DEVICE,
    ACTION_PICTURE_TOKENS,
    ACTION_DRAFT_MODEL,
    ACTION_DRAFT_KEY_TYPE,
    ACTION_DRAFT_VALUE_TYPE,
    ACTION_DRAFT_TOKENS,
    ACTION_DRAFT_UBATCH,
    ACTION_DRAFT_DEVICE,
    ACTION_DRAFT_LAYERS,
    ACTION_DRAFT_CPU_MOE,
    ACTION_DRAFT_N_CPU_MOE,
    ACTION_SPECULATION,
    ACTION_SPECULATION_DEFAULT,
    ACTION_NGRAM_SIMPLE,
    ACTION_NGRAM_MAP_K,
    ACTION_NGRAM_MAP_K4V,
    ACTION_NGRAM_MOD,
    ACTION_FIT,
    ACTION_FIT_TARGET,
    ACTION_DRAFT_OVERRIDE,
    ACTION_MOE_CACHE,
    ACTION_GONE_DRAFT_TOKENS, /* from here on: refused by builds that have it no more */
    ACTION_GONE_DRAFT_LEAST,
    ACTION_GONE_NGRAM,
    ACTION_GONE_LOADING,
    ACTION_GONE,
    ACTION_VISION, /* from here on: refused */
    ACTION_ADAPTER,
    ACTION_METADATA,
    ACTION_DRAFT,
    ACTION_OTHER_MODEL,
    ACTION_COUNT
};

/* Kinds of guesses (--spec-type); several may be on. */
enum flag_guess {
    GUESS_DRAFT_SIMPLE, /* a draft model */
    GUESS_DRAFT_MTP,    /* next-token blocks */
    GUESS_DRAFT_EAGLE3, /* draft models that are fed hidden states */
    GUESS_DRAFT_DFLASH,
    GUESS_DRAFT_DSPARK,
    GUESS_NGRAM_SIMPLE, /* from what was said before */
    GUESS_NGRAM_MAP_K,
    GUESS_NGRAM_MAP_K4V,
    GUESS_NGRAM_MOD,
    GUESS_NGRAM_CACHE,
    GUESS_COUNT
};

struct flag_row {
    enum flag_action action;
    uint32_t value_count;
    const char *spellings; /* apart by one space */
};

/* What was read so far; -1 stands for "the engine chooses". */
struct flag_reader {
    const struct dgo_flag_source *source;
    uint32_t build; /* 0: the newest */
    struct dgo_error *err;
    struct dgo_flags *flags;
    /* Cards that the engine sees: this machine's, then those of --rpc in its order. */
    uint32_t visible[DGO_GPU_MAX], visible_count;
    int64_t slots, main_gpu, unified, draft_ubatch;
    int64_t gpu_layers, draft_layers;  /* or one of FLAG_LAYERS_... */
    int64_t guess_tokens[GUESS_COUNT]; /* the most that each kind proposes at once */
    uint32_t guesses;                  /* a bit for each kind that is on */
    int64_t projector_gpu;             /* -1: the first device; PROJECTOR_HOST */
    int64_t batch, ubatch;             /* negative ones mean all that can be */
    int64_t slot_context;              /* -c where that is not given, for each slot; 0: none */
    /* Of the model and of a draft: so many layers' experts are patterns of -ot already. */
    uint32_t experts_listed[2];
    bool ctx_given, devices_given, shares_given, layers_given, draft_devices_given, guesses_given;
};
enum { FLAG_PROJECTOR_HOST = -2, FLAG_LAYERS_AUTO = -1, FLAG_LAYERS_ALL = -2 };

/* llama_cpp_flag_values.c: one value each; all fail with a sentence that names the flag. */
enum dgo_status flag_bad_value(const struct flag_reader *reader, const char *flag,
                               const char *value, const char *wanted);
enum dgo_status flag_number(const struct flag_reader *reader, const char *flag, const char *value,
                            int64_t least, int64_t most, int64_t *result);
enum dgo_status flag_number_u32(const struct flag_reader *reader, const char *flag,
                                const char *value, uint32_t *result);
enum dgo_status flag_fused(struct flag_reader *reader, const char *flag, const char *value);
enum dgo_status flag_layers(struct flag_reader *reader, const char *flag, const char *value,
                            int64_t *layers);
enum dgo_status flag_split_mode(struct flag_reader *reader, const char *flag, const char *value);
enum dgo_status flag_shares(struct flag_reader *reader, const char *flag, const char *value);
enum dgo_status flag_kv_type(struct flag_reader *reader, const char *flag, const char *value,
                             enum dgo_kv_type *type);
/* "CUDA1,CUDA0", or "none". */
enum dgo_status flag_devices(struct flag_reader *reader, const char *flag, const char *value,
                             struct dgo_settings *settings);
/* The machine's card of that name among those that the engine sees. */
bool flag_gpu_named(const struct flag_reader *reader, const char *name, size_t length,
                    uint32_t *gpu);
/* "host:port,host:port": their cards become visible from here on, as in the engine. */
enum dgo_status flag_servers(struct flag_reader *reader, const char *flag, const char *value);
bool flag_is_remote(const struct flag_reader *reader, uint32_t gpu);
/* What the engine calls the buffers of the card at that place of `visible`: its name, and behind
 * that of a server's card the server's address.  Its patterns take no other spelling. */
enum { LLAMA_BUFFER_NAME_MAX = LLAMA_DEVICE_NAME_MAX + DGO_HOST_TEXT_MAX + 10 };
void flag_buffer_name(const struct flag_reader *reader, uint32_t place,
                      char name[LLAMA_BUFFER_NAME_MAX]);
bool flag_buffer_named(const struct flag_reader *reader, const char *name, size_t length,
                       uint32_t *gpu);
/* What the engine calls the card at that place of `visible`. */
void flag_device_name(const struct flag_reader *reader, uint32_t place,
                      char name[LLAMA_DEVICE_NAME_MAX]);
/* The engine's words for yes and no: 1, 0; -1 neither. */
int flag_truth(const char *value);

/* llama_cpp_flag_tensors.c: patterns with buffer types, experts and feed-forward of first layers,
 * lists of adapters. */
enum dgo_status flag_override(struct flag_reader *reader, const char *flag, const char *value,
                              bool of_draft);
enum dgo_status flag_cpu_experts(struct flag_reader *reader, const char *flag, const char *value,
                                 bool of_draft);
enum dgo_status flag_cpu_ffn(struct flag_reader *reader, const char *flag, const char *value);
enum dgo_status flag_adapters(struct flag_reader *reader, const char *flag, const char *value,
                              bool scaled);

/* llama_cpp_flag_env.c: LLAMA_ARG_... of the source's environment, then of NAME=value words that
 * open its arguments; *first is set to the first word behind them. */
enum dgo_status flag_environment(struct flag_reader *reader, uint32_t *first);

/* llama_cpp_flag_settle.c: when all have been read. */
enum dgo_status flag_settle(struct flag_reader *reader);

/* llama_cpp_flags.c: what one flag with its value means; `value` NULL for a flag without. */
enum dgo_status flag_apply(struct flag_reader *reader, enum flag_action action, const char *flag,
                           const char *value);

/* The engine takes "--ctx_size" for "--ctx-size". */
void llama_cpp_flag_normalise(char flag[DGO_FLAG_TEXT_MAX * 2], const char *arg);

/* The row of that exact spelling; NULL none. */
const struct flag_row *llama_cpp_flag_row(const char *flag);

/* The spelling that differs least, by two letters at most, up to the next space; NULL none. */
const char *llama_cpp_flag_nearest(const char *flag);

#endif
