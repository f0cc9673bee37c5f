/* intent.h - what a client may wish, as options: an allow-list of words, each checked like the
 * flag of the same name.  Private to the folder.  Any thread. */
#ifndef INTENT_H
#define INTENT_H

#include "dgo_arena.h"
#include "dgo_text.h"
#include "options.h"

#include <jansson.h>

enum intent_use { INTENT_PLAN, INTENT_LAUNCH };

/* Sets the options that `intent` (an object, or NULL: none) names; texts are copied to `arena`,
 * which outlives `options`.  DGO_EUSAGE for a word that is not allowed or a bad value; *param then
 * points at the word (in `intent`). */
DGO_MUST_CHECK
enum dgo_status intent_apply(const json_t *intent, enum intent_use use, struct options *options,
                             struct dgo_arena *arena, const char **param, struct dgo_error *err);

/* Whether a word of an intent stands for this option. */
bool intent_allows(enum option_id id, enum intent_use use);

/* "modle is not known here; did you mean model?"; `keys` are those that are known, NULL ends them.
 */
void intent_say_unknown(struct dgo_text *text, const char *key, const char *const *keys);

#endif
