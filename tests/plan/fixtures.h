/* fixtures.h - the eight models of the truth tables: real shapes, written as GGUF headers in memory
 * and read by the model module.  The same as tools/make_fixtures.py of the reference material
 * makes; test_truth compares the two where that is at hand. */
#ifndef FIXTURES_H
#define FIXTURES_H

#include "dgo_model.h"

enum { FIXTURE_COUNT = 8 };
extern const char *const fixture_names[FIXTURE_COUNT]; /* "llama8b", ... */

/* NULL for an unknown name or when the model module refuses it (err says why). */
struct dgo_model *fixture_open(const char *name, struct dgo_error *err);

#endif
