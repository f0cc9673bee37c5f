/* cmd_profile.c - `dualgpuopt profile`: the commands of the memory profiler. */
#include "cmd_profile.h"

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
