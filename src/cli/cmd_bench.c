/* cmd_bench.c - `dualgpuopt bench`: what this program costs and gives on this machine. */
#include "cmd_bench.h"

static const struct cmd *const bench_commands[] = {&cmd_bench_resources, NULL};

const struct cmd cmd_bench = {
    .name = "bench",
    .does = "measure what the resource manager is worth on this machine",
    .examples = "dualgpuopt bench resources model.gguf\n"
                "dualgpuopt bench resources model.gguf -o report.md",
    .options = {OPTION_HELP},
    .sub = bench_commands,
};
