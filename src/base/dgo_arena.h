/* dgo_arena.h - memory that is freed at once, with a ceiling, and that can be told to fail.
 *
 * One arena belongs to one operation (a model file, a request).  Not thread-safe: one owner. */
#ifndef DGO_ARENA_H
#define DGO_ARENA_H

#include "dgo_base.h"

struct dgo_arena_block;

/* Zero-initialised it is empty and has no ceiling. */
struct dgo_arena {
    struct dgo_arena_block *blocks; /* newest first */
    size_t used_bytes;              /* handed out, padding included */
    size_t limit_bytes;             /* 0: none; an allocation that would pass it returns NULL */
    uint32_t fail_after;            /* tests: N > 0 makes the N-th allocation from now fail */
};

/* `size` zeroed bytes aligned for any type; NULL when memory or the ceiling is reached.  They live
 * until dgo_arena_done.  size 0 gives a valid pointer to nothing. */
void *dgo_arena_take(struct dgo_arena *arena, size_t size) DGO_MUST_CHECK;

/* count * size with the multiplication checked. */
void *dgo_arena_take_array(struct dgo_arena *arena, size_t count, size_t size) DGO_MUST_CHECK;

/* A NUL-terminated copy of the first `length` bytes. */
char *dgo_arena_take_text(struct dgo_arena *arena, const char *text, size_t length) DGO_MUST_CHECK;

/* Frees all; the arena is empty and usable again, its ceiling kept. */
void dgo_arena_done(struct dgo_arena *arena);

#endif
