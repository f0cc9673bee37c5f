/* leak.h - from the shapes of a trace's windows to a verdict.  Private to profile. */
#ifndef LEAK_H
#define LEAK_H

#include "window.h"

/* Fills everything of `trend` but the pattern and the time to full. */
void leak_judge(const struct dgo_trace *trace, const struct dgo_trend_question *question,
                struct dgo_trend *trend);

/* The stretches between restarts or unloads, warm-up left out, oldest first; the newest
 * LEAK_LIFE_MAX. */
enum { LEAK_LIFE_MAX = 32 };
uint32_t leak_lives(const struct dgo_trace *trace, struct window_span lives[LEAK_LIFE_MAX]);

#endif
