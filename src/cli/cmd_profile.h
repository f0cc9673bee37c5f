/* cmd_profile.h - the commands below `profile`: one row and one file each. */
#ifndef CMD_PROFILE_H
#define CMD_PROFILE_H

#include "cmd.h"
#include "dgo_worth.h"

extern const struct cmd cmd_profile_record, cmd_profile_replay, cmd_profile_report;
extern const struct cmd cmd_profile_compare, cmd_profile_mark;

/* What memory is worth to the model of --model with a cache of --kv-type; all unknown without one.
 */
enum dgo_status profile_read_worth(const struct cmd_call *call, struct dgo_worth *worth,
                                   struct dgo_error *err);

#endif
