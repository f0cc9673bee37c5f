/* pattern.h - the engine's regular expressions.  Private to the plan module. */
#ifndef PLAN_PATTERN_H
#define PLAN_PATTERN_H

#include "dgo_base.h"

/* std::regex's default grammar (ECMAScript), as -ot takes it. */
struct pattern;
DGO_MUST_CHECK
enum dgo_status pattern_make(const char *text, struct pattern **made, struct dgo_error *err);
void pattern_free(struct pattern *pattern); /* accepts NULL */
/* Whether it is found anywhere in `name`. */
bool pattern_finds(const struct pattern *pattern, const char *name);

#endif
