/* detach.h - `run --detach`: the daemon runs it. */
#ifndef DETACH_H
#define DETACH_H

#include "cmd.h"

int run_detached(const struct cmd_call *call);

#endif
