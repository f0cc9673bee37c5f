/* pattern.h - the shape of a trace in one word.  Private to profile. */
#ifndef PATTERN_H
#define PATTERN_H

#include "trace.h"

/* `trend` has its verdict and slope already; sets pattern and period. */
void pattern_judge(const struct dgo_trace *trace, double capacity_mib, struct dgo_trend *trend);

#endif
