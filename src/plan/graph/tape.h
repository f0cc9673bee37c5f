/* tape.h - private to the plan module: the tensors of a graph, in the order in which the engine
 * computes them, and the bytes that its allocator takes for them.
 *
 * A tensor is put down with what it is made of; tape_expand brings it into the order, everything
 * that it needs before it (ggml_build_forward_expand).  Sizes are bytes.  No allocation, no errors:
 * more than TAPE_TENSORS_MAX tensors set `overflown`, and the peak is then not to be used. */
#ifndef PLAN_TAPE_H
#define PLAN_TAPE_H

#include <stdbool.h>
#include <stdint.h>

enum { TAPE_TENSORS_MAX = 2560, TAPE_SOURCES_MAX = 6 };

/* A tensor's number; TAPE_OUTSIDE is one that has memory of its own: a weight, a cache. */
typedef int16_t tape_ref;
enum { TAPE_OUTSIDE = -1 };

struct tape_tensor {
    uint64_t bytes, at;
    tape_ref source[TAPE_SOURCES_MAX];
    tape_ref root;       /* of a view: whose memory it shows; else TAPE_OUTSIDE */
    uint16_t user_count; /* tensors that are still to be made of it */
    uint16_t view_count; /* views of it that are still in use */
    uint8_t source_count;
    uint8_t over; /* bit i: source i is laid out like it, so it may be written over it */
    bool is_view, is_input, is_ordered, is_taken;
};

struct tape {
    bool pipelined; /* inputs are held outside, as often as the engine copies them */
    bool overflown;
    uint64_t held_bytes; /* of those inputs */
    uint32_t count, ordered_count;
    struct tape_tensor tensor[TAPE_TENSORS_MAX];
    tape_ref order[TAPE_TENSORS_MAX];
};

void tape_init(struct tape *tape, bool pipelined);

/* What comes from host memory or another device. */
tape_ref tape_input(struct tape *tape, uint64_t bytes);

/* `over`: which sources have the same layout.  Sources may be TAPE_OUTSIDE. */
tape_ref tape_put(struct tape *tape, uint64_t bytes, uint8_t over, const tape_ref *source,
                  uint32_t source_count);
/* Part of `source`, or the same values in another shape. */
tape_ref tape_view(struct tape *tape, tape_ref source);

#define TAPE_PUT(tape, bytes, over, ...)                                                           \
    tape_put(tape, bytes, over, (const tape_ref[]){__VA_ARGS__},                                   \
             sizeof(const tape_ref[]){__VA_ARGS__} / sizeof(tape_ref))

/* Written into memory outside, a cache: takes nothing, but needs its sources. */
#define TAPE_WRITE(tape, ...) tape_expand(tape, TAPE_PUT(tape, 0, 0, __VA_ARGS__))

void tape_expand(struct tape *tape, tape_ref ref);

/* The buffer that the ordered tensors need, held inputs included.  Once for each tape. */
uint64_t tape_peak(struct tape *tape);

#endif
