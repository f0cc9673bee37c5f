/* cmd_presets.h - what the commands about presets share. */
#ifndef CMD_PRESETS_H
#define CMD_PRESETS_H

#include "cmd.h"
#include "presets.h"

#include <jansson.h>

extern const struct cmd cmd_presets_import;

/* One preset as `presets --json` shows it; the caller's. */
json_t *presets_view(const struct preset *preset);

#endif
