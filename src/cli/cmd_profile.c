/* cmd_profile.c - `dualgpuopt profile`: the commands of the memory profiler. */
#include "cmd_profile.h"

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
    return status;
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
