/* arena.c - blocks of doubling size, freed together. */
#include "dgo_arena.h"

#include <stdalign.h>
#include <stdlib.h>
#include <string.h>

enum { BLOCK_BYTES_MIN = 4096, BLOCK_BYTES_MAX = 1 << 20 };

struct dgo_arena_block {
    struct dgo_arena_block *older;
    size_t size, used;
    alignas(max_align_t) unsigned char data[];
};

static struct dgo_arena_block *add_block(struct dgo_arena *arena, size_t need)
{
    size_t size = arena->blocks ? arena->blocks->size * 2 : BLOCK_BYTES_MIN;

    if (size > BLOCK_BYTES_MAX)
        size = BLOCK_BYTES_MAX;
    if (size < need)
        size = need;

    /* calloc, not malloc: fresh pages from the kernel are zero already and stay untouched. */
    struct dgo_arena_block *block = calloc(1, sizeof *block + size);

    if (!block)
        return NULL;
    block->size = size;
    block->older = arena->blocks;
    arena->blocks = block;
    return block;
}

void *dgo_arena_take(struct dgo_arena *arena, size_t size)
{
    const size_t align = alignof(max_align_t);

    if (arena->fail_after && --arena->fail_after == 0)
        return NULL;
    if (size > SIZE_MAX / 2)
        return NULL;
    size = (size + align - 1) / align * align;
    if (arena->limit_bytes && size > arena->limit_bytes - arena->used_bytes)
        return NULL;

    struct dgo_arena_block *block = arena->blocks;

    if (!block || block->size - block->used < size)
        block = add_block(arena, size);
    if (!block)
        return NULL;

    void *taken = block->data + block->used;

    block->used += size;
    arena->used_bytes += size;
    return taken;
}

void *dgo_arena_take_array(struct dgo_arena *arena, size_t count, size_t size)
{
    size_t bytes;

    if (__builtin_mul_overflow(count, size, &bytes))
        return NULL;
    return dgo_arena_take(arena, bytes);
}

char *dgo_arena_take_text(struct dgo_arena *arena, const char *text, size_t length)
{
    char *copy = length < SIZE_MAX ? dgo_arena_take(arena, length + 1) : NULL;

    if (copy && length)
        memcpy(copy, text, length); /* the arena's memory is zero, so the end is there */
    return copy;
}

void dgo_arena_done(struct dgo_arena *arena)
{
    while (arena->blocks) {
        struct dgo_arena_block *older = arena->blocks->older;

        free(arena->blocks);
        arena->blocks = older;
    }
    arena->used_bytes = 0;
}
