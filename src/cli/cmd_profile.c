/* cmd_profile.c - `dualgpuopt profile`: the commands of the memory profiler. */
#include "cmd_profile.h"

#include "dgo_plan.h"

/* A token of a cache in blocks of another type than f16. */
static enum dgo_status set_cache_type(const struct options *options, struct dgo_worth *worth,
                                      struct dgo_error *err)
{
    enum { F16_BYTES = 2 };
    enum dgo_kv_type type = DGO_KV_F16;
    const struct dgo_ggml_type *block;
    enum dgo_status status;

    if (!option_given(options, OPTION_KV_TYPE))
        return DGO_OK;
    status = dgo_kv_type_parse(option_text(options, OPTION_KV_TYPE), &type, err);
    block = status == DGO_OK ? dgo_ggml_type_by_name(dgo_kv_type_name(type)) : NULL;
    if (block)
        worth->token_bytes =
            worth->token_bytes * block->block_bytes / (F16_BYTES * block->block_values);
    return status;
}

enum dgo_status profile_read_worth(const struct cmd_call *call, struct dgo_worth *worth,
                                   struct dgo_error *err)
{
    struct dgo_model *model = NULL;
    enum dgo_status status;

    *worth = (struct dgo_worth){0};
    if (!option_given(&call->options, OPTION_MODEL))
        return DGO_OK;
    status = dgo_model_open(option_text(&call->options, OPTION_MODEL), &model, err);
    if (status == DGO_OK)
        *worth = dgo_worth_of(model);
    dgo_model_close(model);
    return status == DGO_OK ? set_cache_type(&call->options, worth, err) : status;
}

static const struct cmd *const profile_commands[] = {&cmd_profile_record, &cmd_profile_replay,
                                                     &cmd_profile_report, &cmd_profile_compare,
                                                     &cmd_profile_mark,   NULL};

const struct cmd cmd_profile = {
    .name = "profile",
    .does = "record, replay and judge the use of memory over time",
    .examples = "dualgpuopt profile record --seconds 60 -o machine.jsonl\n"
                "dualgpuopt profile report machine.jsonl\n"
                "dualgpuopt profile replay machine.jsonl",
    .options = {OPTION_HELP},
    .sub = profile_commands,
};
