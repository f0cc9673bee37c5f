/* whole_parts.c - the nodes that layers are made of, and where they are told to run. */
#include "whole_parts.h"

int32_t whole_cpu(const struct builder *b)
{
    return (int32_t)b->to->device_count;
}

int32_t whole_home(const struct builder *b, uint32_t l)
{
    return b->to->layer_device[l] == ASSIGN_CPU ? whole_cpu(b) : b->to->layer_device[l];
}

const struct graph_layer *whole_kind(const struct builder *b, uint32_t l)
{
    return &b->shape->kind[b->shape->layer[l]];
}

uint64_t whole_floats(const struct builder *b, uint64_t width)
{
    return width * b->tokens * sizeof(float);
}

uint64_t whole_span(const struct builder *b, uint64_t row, uint64_t width)
{
    return ((b->tokens - 1) * row + width) * sizeof(float);
}

int32_t whole_stored(struct builder *b, const struct weight *w)
{
    const int32_t made = net_stored(&b->graph, w->tensor->size_bytes,
                                    memory_tensor_device_bytes(w->tensor), w->home, true);

    if (!b->graph.failed)
        b->graph.tensor[made].stays = memory_is_repacked(w->tensor, b->to->settings);
    return made;
}

int32_t whole_input(struct builder *b, int32_t *made, uint64_t bytes)
{
    if (*made == NET_NONE)
        *made = net_input(&b->graph, bytes);
    return *made;
}

int32_t whole_node(struct builder *b, struct net_op op)
{
    bool ended = false;

    for (int i = 0; i < NET_SOURCES_MAX; i++) {
        ended = ended || op.source[i] == NET_NONE;
        if (ended)
            op.source[i] = NET_NONE;
    }
    return net_add(&b->graph, &op);
}

int32_t whole_product(struct builder *b, const struct weight *w, int32_t of, uint64_t bytes,
                      uint64_t rows)
{
    const struct weight scale = {.tensor = w->scale, .home = w->scale_home};
    const int32_t made = whole_node(
        b, (struct net_op){
               .bytes = bytes, .rows = rows, .source = SOURCES(whole_stored(b, w), of), PLAIN});

    return whole_changed(b, &scale, made, bytes, rows);
}

int32_t whole_changed(struct builder *b, const struct weight *w, int32_t of, uint64_t bytes,
                      uint64_t rows)
{
    if (!w->tensor)
        return of;
    return whole_node(b, (struct net_op){.bytes = bytes,
                                         .rows = rows,
                                         .source = SOURCES(of, whole_stored(b, w)),
                                         .reusable = 1,
                                         PLAIN});
}

int32_t whole_sum(struct builder *b, int32_t first, int32_t second, uint64_t bytes, uint64_t rows)
{
    return whole_node(
        b,
        (struct net_op){
            .bytes = bytes, .rows = rows, .source = SOURCES(first, second), .reusable = 3, PLAIN});
}

int32_t whole_over(struct builder *b, int32_t first, int32_t second, uint64_t bytes)
{
    return whole_node(
        b, (struct net_op){.bytes = bytes, .source = SOURCES(first, second), .reusable = 1, PLAIN});
}

int32_t whole_made(struct builder *b, int32_t first, int32_t second, uint64_t bytes)
{
    return whole_node(b, (struct net_op){.bytes = bytes, .source = SOURCES(first, second), PLAIN});
}

/* A norm with a weight is told to run with its layer where all layers are on devices, or few tokens
 * come. */
static int8_t norm_place(const struct builder *b, uint32_t l)
{
    enum { FEW_TOKENS = 32 };

    if (l >= b->memory->layer_count || !b->shape->rule->norms_told || b->shape->norms_bare)
        return NET_NONE;
    return b->to->all_on_devices || b->tokens < FEW_TOKENS ? (int8_t)whole_home(b, l)
                                                           : (int8_t)NET_NONE;
}

static int32_t normed(struct builder *b, const struct weight *w, int32_t of, uint64_t bytes,
                      uint64_t rows, uint32_t l, bool in_place)
{
    const int32_t norm = whole_node(b, (struct net_op){.bytes = bytes,
                                                       .rows = rows,
                                                       .source = SOURCES(of),
                                                       .reusable = in_place,
                                                       .written = NET_NONE,
                                                       .on = norm_place(b, l)});

    return whole_changed(b, w, norm, bytes, rows);
}

int32_t whole_normed(struct builder *b, const struct weight *w, int32_t of, uint64_t bytes,
                     uint64_t rows, uint32_t l)
{
    return normed(b, w, of, bytes, rows, l, !(b->shape->recipe & RECIPE_LAYER_NORM));
}

int32_t whole_layer_normed(struct builder *b, const struct weight *w, int32_t of, uint64_t bytes,
                           uint64_t rows, uint32_t l)
{
    return normed(b, w, of, bytes, rows, l, false);
}
