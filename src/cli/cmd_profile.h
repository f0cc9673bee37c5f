/* cmd_profile.h - the commands below `profile`: one row and one file each. */
#ifndef CMD_PROFILE_H
#define CMD_PROFILE_H

#include "cmd.h"

extern const struct cmd cmd_profile_record, cmd_profile_replay, cmd_profile_report;
extern const struct cmd cmd_profile_compare, cmd_profile_mark;

#endif
