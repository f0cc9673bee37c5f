/* wish.h - what the user wished for, in the planner's words.  Private to app and the faces. */
#ifndef WISH_H
#define WISH_H

#include "dgo_engine.h"
#include "options.h"

/* The options of a plan as an intent; DGO_EUSAGE names the flag and what would be accepted.
 * `ggml_types`: --kv-type is one of ours; else it is the engine's own word, which its plan reads.
 */
DGO_MUST_CHECK
enum dgo_status wish_intent(const struct options *options, const struct dgo_machine *machine,
                            bool ggml_types, struct dgo_intent *intent, struct dgo_error *err);

/* What an engine with rules of its own is asked beside the intent. */
DGO_MUST_CHECK
enum dgo_status wish_question(const struct options *options, struct dgo_engine_question *question,
                              struct dgo_error *err);

/* --margin for an estimate: none where nothing is asked for. */
DGO_MUST_CHECK
enum dgo_status wish_margins(const struct options *options, const struct dgo_machine *machine,
                             uint64_t margins_bytes[DGO_GPU_MAX], struct dgo_error *err);

#endif
