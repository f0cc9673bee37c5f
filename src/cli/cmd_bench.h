/* cmd_bench.h - the commands of the group `bench`. */
#ifndef CMD_BENCH_H
#define CMD_BENCH_H

#include "cmd.h"

extern const struct cmd cmd_bench_resources;

#endif
