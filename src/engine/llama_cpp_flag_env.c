/* llama_cpp_flag_env.c - flags that are given as variables: LLAMA_ARG_CTX_SIZE=8192 llama-server
 * ... */
#include "llama_cpp_flags.h"

#include "dgo_units.h"

#include <stdio.h>
#include <string.h>

static const char prefix[] = "LLAMA_ARG_";

/* The name behind LLAMA_ARG_, and the spellings for a value or yes, and for no; from the --help of
 * build 11669.  A variable that is not here changes no memory that is computed. */
static const struct {
    const char *name, *flag, *no;
} variables[] = {
    {"CTX_SIZE", "-c", NULL},
    {"BATCH", "-b", NULL},
    {"UBATCH", "-ub", NULL},
    {"SWA_FULL", "--swa-full", ""},
    {"FLASH_ATTN", "-fa", NULL},
    {"KV_OFFLOAD", "-kvo", "-nkvo"},
    {"REPACK", "--repack", "-nr"},
    {"NO_HOST", "--no-host", ""},
    {"CACHE_TYPE_K", "-ctk", NULL},
    {"CACHE_TYPE_V", "-ctv", NULL},
    {"RPC", "--rpc", NULL},
    {"DEVICE", "-dev", NULL},
    {"OVERRIDE_TENSOR", "-ot", NULL},
    {"CPU_MOE", "-cmoe", ""},
    {"N_CPU_MOE", "-ncmoe", NULL},
    {"MOE_CACHE_MIB", "--moe-cache-mib", NULL},
    {"N_CPU_FFN", "-ncffn", NULL},
    {"N_GPU_LAYERS", "-ngl", NULL},
    {"SPLIT_MODE", "-sm", NULL},
    {"TENSOR_SPLIT", "-ts", NULL},
    {"MAIN_GPU", "-mg", NULL},
    {"FIT", "-fit", NULL},
    {"FIT_TARGET", "-fitt", NULL},
    {"KV_UNIFIED", "-kvu", "-no-kvu"},
    {"N_PARALLEL", "-np", NULL},
    {"KV_UNIFIED_PER_SLOT", "--kv-unified-per-slot", NULL},
    {"MMPROJ", "-mm", NULL},
    {"MMPROJ_OFFLOAD", "--mmproj-offload", "--no-mmproj-offload"},
    {"EMBEDDINGS", "--embedding", ""},
    {"SPEC_TYPE", "--spec-type", NULL},
    {"SPEC_DRAFT_MODEL", "-md", NULL},
    {"SPEC_DRAFT_CACHE_TYPE_K", "-ctkd", NULL},
    {"SPEC_DRAFT_CACHE_TYPE_V", "-ctvd", NULL},
    {"SPEC_DRAFT_N_MAX", "--spec-draft-n-max", NULL},
    {"SPEC_DRAFT_N_UBATCH", "--spec-draft-n-ubatch", NULL},
    {"SPEC_DRAFT_CPU_MOE", "-cmoed", ""},
    {"SPEC_DRAFT_N_CPU_MOE", "-ncmoed", NULL},
    {"SPEC_DRAFT_HF_REPO", "-hfd", NULL},
    {"DRAFT_MAX", "--draft-max", NULL},
    {"DRAFT_MIN", "--draft-min", NULL},
    {"MMPROJ_URL", "-mmu", NULL},
    {"IMAGE_MAX_TOKENS", "--image-max-tokens", NULL},
    {"POOLING", "--pooling", NULL},
    {"RERANKING", "--rerank", ""},
    {"BACKEND_SAMPLING", "-bs", ""},
    {"N_GPU_LAYERS_DRAFT", "-ngld", NULL},
};

static enum dgo_status apply(struct flag_reader *reader, const char *flag, const char *value)
{
    const struct flag_row *row = llama_cpp_flag_row(flag);

    if (!row || row->action == ACTION_SKIPPED)
        return DGO_OK;
    return flag_apply(reader, row->action, flag, row->value_count ? value : NULL);
}

/* "CTX_SIZE=8192", or "NO_KV_OFFLOAD=1" as older builds had it. */
static enum dgo_status read_variable(struct flag_reader *reader, const char *text)
{
    const size_t length = strcspn(text, "=");
    const char *value = text + length + 1;
    const bool negated = strncmp(text, "NO_", 3) == 0;

    for (size_t i = 0; i < sizeof variables / sizeof variables[0]; i++) {
        const char *name = variables[i].name, *no = variables[i].no;

        if (negated && no && *no && strlen(name) == length - 3 &&
            memcmp(text + 3, name, length - 3) == 0)
            return apply(reader, no, NULL);
        if (strlen(name) != length || memcmp(text, name, length) != 0)
            continue;
        if (!no)
            return apply(reader, variables[i].flag, value);
        if (flag_truth(value) == 1)
            return apply(reader, variables[i].flag, NULL);
        if (*no && flag_truth(value) < 0)
            return dgo_fail(reader->err, DGO_EUSAGE,
                            "LLAMA_ARG_%s takes on or off, or 1 or 0, not '%.40s'", name, value);
        return *no ? apply(reader, no, NULL) : DGO_OK;
    }
    return DGO_OK;
}

/* "0,2": which cards the engine sees, and in which order. */
static enum dgo_status see(struct flag_reader *reader, const char *value)
{
    reader->visible_count = 0;
    for (const char *at = value; *at;) {
        const size_t length = strcspn(at, ",");
        uint64_t index = UINT64_MAX;
        char word[24];

        snprintf(word, sizeof word, "%.*s", (int)length, at);
        if (length >= sizeof word ||
            dgo_u64_parse(word, "card", 0, DGO_GPU_MAX - 1, &index, NULL) != DGO_OK ||
            index >= reader->source->machine->gpu_count ||
            flag_is_remote(reader, (uint32_t)index) || reader->visible_count == DGO_GPU_MAX)
            return dgo_fail(
                reader->err, DGO_EUSAGE,
                "CUDA_VISIBLE_DEVICES='%.40s': only indexes of this machine's cards are "
                "read here, like 0,2",
                value);
        reader->visible[reader->visible_count++] = (uint32_t)index;
        at += length + (at[length] == ',');
    }
    return DGO_OK;
}

/* NAME of "NAME=value" as a shell knows it; 0: no such word. */
static size_t name_length(const char *word)
{
    size_t length = 0;

    while ((word[length] >= 'A' && word[length] <= 'Z') || word[length] == '_' ||
           (length && word[length] >= '0' && word[length] <= '9'))
        length++;
    return word[length] == '=' ? length : 0;
}

enum dgo_status flag_environment(struct flag_reader *reader, uint32_t *first)
{
    const struct dgo_flag_source *source = reader->source;
    static const char cards[] = "CUDA_VISIBLE_DEVICES=";
    enum dgo_status status = DGO_OK;
    uint32_t words = 0;

    while (words < source->arg_count && name_length(source->args[words]) > 0)
        words++;
    for (uint32_t i = 0; i < words && status == DGO_OK; i++)
        if (strncmp(source->args[i], cards, sizeof cards - 1) == 0)
            status = see(reader, source->args[i] + sizeof cards - 1);
    for (char *const *at = source->environment; at && *at && status == DGO_OK; at++)
        if (strncmp(*at, prefix, sizeof prefix - 1) == 0 && strchr(*at, '='))
            status = read_variable(reader, *at + sizeof prefix - 1);
    for (uint32_t i = 0; i < words && status == DGO_OK; i++)
        if (strncmp(source->args[i], prefix, sizeof prefix - 1) == 0)
            status = read_variable(reader, source->args[i] + sizeof prefix - 1);
    *first = words;
    return status;
}
