/* tape.c - the allocator of the engine's graphs, run over a tape.
 *
 * A tensor is taken before those that it is made of are given back.  Where it is laid out like one
 * that is used for the last time, and that one is no view, it is written over it. */
#include "tape.h"

#include "heap.h"

#include <string.h>

static uint64_t padded(uint64_t bytes)
{
    return dgo_pad_u64(bytes, MEMORY_DEVICE_ALIGN);
}

/* --- writing a tape -------------------------------------------------------------------------- */

void tape_init(struct tape *tape, bool pipelined)
{
    tape->pipelined = pipelined;
    tape->overflown = false;
    tape->held_bytes = 0;
    tape->count = tape->ordered_count = 0;
}

tape_ref tape_put(struct tape *tape, uint64_t bytes, uint8_t over, const tape_ref *source,
                  uint32_t source_count)
{
    if (tape->count == TAPE_TENSORS_MAX) {
        tape->overflown = true;
        return TAPE_OUTSIDE;
    }
    struct tape_tensor *tensor = &tape->tensor[tape->count];

    *tensor = (struct tape_tensor){.bytes = bytes, .over = over, .root = TAPE_OUTSIDE};
    tensor->source_count = (uint8_t)source_count;
    if (source_count > 0) /* an input has none, and no list of them */
        memcpy(tensor->source, source, source_count * sizeof *source);
    return (tape_ref)tape->count++;
}

tape_ref tape_input(struct tape *tape, uint64_t bytes)
{
    const tape_ref ref = tape_put(tape, bytes, 0, NULL, 0);

    if (ref != TAPE_OUTSIDE)
        tape->tensor[ref].is_input = true;
    return ref;
}

tape_ref tape_view(struct tape *tape, tape_ref source)
{
    if (source == TAPE_OUTSIDE)
        return source;
    const tape_ref ref = TAPE_PUT(tape, 0, 0, source);

    if (ref != TAPE_OUTSIDE) {
        const struct tape_tensor *of = &tape->tensor[source];

        tape->tensor[ref].is_view = true;
        tape->tensor[ref].root = of->is_view ? of->root : source;
    }
    return ref;
}

void tape_expand(struct tape *tape, tape_ref ref)
{
    if (ref == TAPE_OUTSIDE || tape->tensor[ref].is_ordered)
        return;
    struct tape_tensor *tensor = &tape->tensor[ref];

    tensor->is_ordered = true;
    for (uint32_t s = 0; s < tensor->source_count; s++)
        tape_expand(tape, tensor->source[s]);
    if (!tensor->is_input)
        tape->order[tape->ordered_count++] = ref;
}

/* --- reading it ------------------------------------------------------------------------------ */

/* Inputs are taken first, in the order of their first use.  Held ones are nobody's to give back. */
static void take_input(struct tape *tape, struct heap *heap, struct tape_tensor *input)
{
    if (input->is_taken)
        return;
    input->is_taken = true;
    if (tape->pipelined)
        tape->held_bytes += MEMORY_COPIES * padded(input->bytes);
    else
        input->at = heap_take(heap, padded(input->bytes)).at;
}

static void count_uses(struct tape *tape, struct heap *heap)
{
    for (uint32_t i = 0; i < tape->ordered_count; i++) {
        const struct tape_tensor *tensor = &tape->tensor[tape->order[i]];

        if (tensor->is_view)
            tape->tensor[tensor->root].view_count++;
        for (uint32_t s = 0; s < tensor->source_count; s++) {
            if (tensor->source[s] == TAPE_OUTSIDE)
                continue;
            struct tape_tensor *source = &tape->tensor[tensor->source[s]];

            source->user_count++;
            if (source->is_input)
                take_input(tape, heap, source);
        }
    }
    if (!tape->pipelined)
        return;
    for (uint32_t i = 0; i < tape->count; i++)
        if (tape->tensor[i].is_input)
            tape->tensor[i].is_taken = false;
}

static void place(struct tape *tape, struct heap *heap, struct tape_tensor *tensor)
{
    if (tensor->is_view)
        return;
    tensor->is_taken = true;
    for (uint32_t s = 0; s < tensor->source_count; s++) {
        if (!(tensor->over >> s & 1) || tensor->source[s] == TAPE_OUTSIDE)
            continue;
        struct tape_tensor *source = &tape->tensor[tensor->source[s]];

        if (source->is_taken && source->user_count == 1 && source->view_count == 0) {
            tensor->at = source->at;
            source->is_taken = false;
            return;
        }
    }
    tensor->at = heap_take(heap, padded(tensor->bytes)).at;
}

static void let_go(struct heap *heap, struct tape_tensor *tensor)
{
    if (!tensor->is_taken || tensor->user_count > 0 || tensor->view_count > 0)
        return;
    tensor->is_taken = false;
    if (tensor->bytes > 0) /* what stands for nothing leaves no hole */
        heap_give(heap, &(struct block){tensor->at, padded(tensor->bytes), true});
}

uint64_t tape_peak(struct tape *tape)
{
    struct heap heap = {0};

    count_uses(tape, &heap);
    for (uint32_t i = 0; i < tape->ordered_count; i++) {
        struct tape_tensor *tensor = &tape->tensor[tape->order[i]];

        place(tape, &heap, tensor);
        for (uint32_t s = 0; s < tensor->source_count; s++) {
            if (tensor->source[s] == TAPE_OUTSIDE)
                continue;
            struct tape_tensor *source = &tape->tensor[tensor->source[s]];

            source->user_count--;
            if (!source->is_view) {
                let_go(&heap, source);
            } else if (source->user_count == 0) {
                tape->tensor[source->root].view_count--;
                let_go(&heap, &tape->tensor[source->root]);
            }
        }
    }
    return heap.peak + tape->held_bytes;
}
