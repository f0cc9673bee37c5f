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
    ACTION_KV_OFFLOAD,
    ACTION_NO_KV_OFFLOAD,
    ACTION_KV_UNIFIED,
    ACTION_NO_KV_UNIFIED,
    ACTION_SWA_FULL,
    ACTION_OP_OFFLOAD,
    ACTION_NO_OP_OFFLOAD,
    ACTION_CPU_MOE,
    ACTION_N_CPU_MOE,
    ACTION_CPU_FFN,
    ACTION_MOE_CACHE,
    ACTION_SPECULATION,
    ACTION_OVERRIDE, /* from here on: refused */
    ACTION_VISION,
    ACTION_REMOTE,
    ACTION_ADAPTER,
    ACTION_EMBEDDING,
    ACTION_METADATA,
    ACTION_SLOT_CONTEXT,
    ACTION_DRAFT,
    ACTION_DEVICE_SAMPLING,
    ACTION_OTHER_MODEL,
    ACTION_COUNT
};

struct flag_row {
    enum flag_action action;
    uint32_t value_count;
    const char *spellings; /* apart by one space */
};

/* The row of that exact spelling; NULL none. */
const struct flag_row *llama_cpp_flag_row(const char *flag);

/* The spelling that differs least, by two letters at most, up to the next space; NULL none. */
const char *llama_cpp_flag_nearest(const char *flag);

#endif
