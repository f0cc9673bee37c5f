/* flag_look.c - the table of flags, asked for what a flag is about. */
#include "flag_look.h"

#include "dgo_text.h"
#include "llama_cpp_flags.h"

#include <string.h>

/* Of flags that move memory. */
static enum dgo_flag_about about_action(enum flag_action action)
{
    switch (action) {
    case ACTION_CTX:
        return DGO_FLAG_CTX;
    case ACTION_SLOTS:
        return DGO_FLAG_SLOTS;
    case ACTION_BATCH:
        return DGO_FLAG_BATCH;
    case ACTION_UBATCH:
        return DGO_FLAG_UBATCH;
    case ACTION_FLASH_ATTENTION:
        return DGO_FLAG_FLASH_ATTENTION;
    case ACTION_KEY_TYPE:
        return DGO_FLAG_KEY_TYPE;
    case ACTION_VALUE_TYPE:
        return DGO_FLAG_VALUE_TYPE;
    case ACTION_DEVICE:
        return DGO_FLAG_DEVICE;
    case ACTION_TENSOR_SPLIT:
        return DGO_FLAG_SHARES;
    case ACTION_OTHER_MODEL:
        return DGO_FLAG_ELSEWHERE;
    case ACTION_GPU_LAYERS:
    case ACTION_SPLIT_MODE:
    case ACTION_MAIN_GPU:
    case ACTION_KV_OFFLOAD:
    case ACTION_NO_KV_OFFLOAD:
    case ACTION_KV_UNIFIED:
    case ACTION_NO_KV_UNIFIED:
    case ACTION_OP_OFFLOAD:
    case ACTION_NO_OP_OFFLOAD:
    case ACTION_CPU_MOE:
    case ACTION_N_CPU_MOE:
    case ACTION_CPU_FFN:
    case ACTION_OVERRIDE:
    case ACTION_FIT:
    case ACTION_FIT_TARGET:
    case ACTION_MOE_CACHE:
    case ACTION_REMOTE:
        return DGO_FLAG_PLACES;
    default:
        return DGO_FLAG_OWN;
    }
}

/* Of flags that do not; by their first spelling in the table. */
static const struct {
    const char *first;
    enum dgo_flag_about about;
} others[] = {
    {"-m", DGO_FLAG_MODEL},           {"--host", DGO_FLAG_HOST},
    {"--port", DGO_FLAG_PORT},        {"-t", DGO_FLAG_THREADS},
    {"--cors-origins", DGO_FLAG_SET}, {"-lv", DGO_FLAG_SET},
    {"--log-prefix", DGO_FLAG_SET},   {"--log-timestamps", DGO_FLAG_SET},
    {"--log-colors", DGO_FLAG_SET},
};

bool dgo_flag_look(const char *word, enum dgo_flag_about *about, uint32_t *values)
{
    char flag[DGO_FLAG_TEXT_MAX * 2];
    const struct flag_row *row;

    llama_cpp_flag_normalise(flag, word);
    row = llama_cpp_flag_row(flag);
    if (!row)
        return false;
    *values = row->value_count;
    *about = about_action(row->action);
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        const size_t length = strlen(others[i].first);

        if (strncmp(row->spellings, others[i].first, length) == 0 &&
            (row->spellings[length] == ' ' || !row->spellings[length]))
            *about = others[i].about;
    }
    return true;
}
