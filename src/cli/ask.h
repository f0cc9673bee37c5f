/* ask.h - what ps, logs and stop share: the daemon's launches, and one of them by number or name.
 */
#ifndef ASK_H
#define ASK_H

#include "cmd.h"

#include <jansson.h>

/* {"launches": [...]}; NULL: it was said why, and *exit_status is set. */
json_t *ask_launches(const struct cmd_call *call, int *exit_status);

/* The launch that `word` names: its number, its name or its model's, running ones first.  A
 * borrowed reference; NULL: it was said that there is none. */
const json_t *ask_find(const json_t *launches, const char *word, int *exit_status);

#endif
