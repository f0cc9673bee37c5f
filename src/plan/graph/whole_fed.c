/* whole_fed.c - graphs of draft models that are fed what layers of another model made.
 *
 * FORMULAS "Drafts that are fed".  EAGLE3: one layer, made of a token's embedding and what it was
 * fed.  DFlash: several layers over a block of tokens, all of which get logits; DSpark: two
 * matrices more, which correct them token by token. */
#include "whole_parts.h"

#include <string.h>

static int32_t looked_up(struct builder *b, int32_t tokens)
{
    return whole_node(b, (struct net_op){.bytes = whole_floats(b, b->model->embedding_length),
                                         .source = SOURCES(whole_stored(b, &b->embedding), tokens),
                                         PLAIN});
}

int32_t whole_dflash_opened(struct builder *b)
{
    return looked_up(b, whole_input(b, &b->inputs.tokens, b->tokens * sizeof(int32_t)));
}

int32_t whole_eagle_stream(struct builder *b)
{
    const uint64_t wide = whole_floats(b, b->model->embedding_length);
    const struct weight *w = b->part[0];
    const int32_t tokens = whole_input(b, &b->inputs.tokens, b->tokens * sizeof(int32_t));
    const int32_t fed = net_input(&b->graph, wide);
    int32_t token = looked_up(b, tokens), state, made;

    token = whole_normed(b, &w[ATTN_NORM], token, wide, b->tokens, 0);
    state = whole_normed(b, &w[MIXER_NORM], fed, wide, b->tokens, b->memory->layer_count);
    made =
        whole_node(b, (struct net_op){.bytes = 2 * wide, .source = SOURCES(token, state), PLAIN});
    made = whole_mixed_out(b, 0, whole_attention(b, 0, made));
    if (!memory_key_number(b->model, "norm_before_residual"))
        state = fed;
    state = whole_sum(b, made, state, wide, b->tokens);
    made = whole_normed(b, &w[FFN_NORM], state, wide, b->tokens, 0);
    return whole_sum(b, whole_feed(b, 0, made, b->tokens), state, wide, b->tokens);
}

/* Logits of fewer words go to their places among the model's, which are filled before. */
int32_t whole_scattered(struct builder *b, int32_t logits, uint64_t rows)
{
    const uint64_t all = rows * b->model->vocab_size * sizeof(float);
    int32_t places, filled;

    if (!b->words.tensor)
        return logits;
    logits = net_view(&b->graph, logits, rows * b->output.tensor->dim[1] * sizeof(float));
    places = net_stored(&b->graph, b->words.tensor->size_bytes,
                        memory_tensor_device_bytes(b->words.tensor), b->words.home, false);
    filled = whole_node(
        b, (struct net_op){
               .bytes = all, .source = SOURCES(net_leaf(&b->graph, all)), .reusable = 1, PLAIN});
    whole_node(b, (struct net_op){.bytes = all,
                                  .source = SOURCES(logits, places, filled),
                                  .written = filled,
                                  .on = NET_NONE});
    return net_view(&b->graph, filled, all);
}

/* Blocks longer than those that it was trained with are not corrected. */
bool whole_corrects(const struct builder *b)
{
    return b->sort == WHOLE_DFLASH && b->markov[0].tensor && b->markov[1].tensor &&
           b->tokens / b->to->settings->slot_count <= memory_key_number(b->model, "block_size");
}

/* Position after position, each of what the one before it picked, for all blocks at once. */
int32_t whole_markov(struct builder *b, int32_t logits)
{
    const uint64_t slots = b->to->settings->slot_count, drafts = b->tokens / slots;
    const uint64_t row = b->model->vocab_size * sizeof(float), rank = b->markov[0].tensor->dim[0];
    int32_t before, all = NET_NONE, made;

    before = whole_node(b, (struct net_op){.bytes = slots * sizeof(int32_t),
                                           .source = SOURCES(net_view(&b->graph, b->inputs.tokens,
                                                                      b->tokens * sizeof(int32_t))),
                                           PLAIN});
    for (uint64_t i = 0; i < drafts; i++) {
        made =
            whole_node(b, (struct net_op){.bytes = slots * rank * sizeof(float),
                                          .source = SOURCES(whole_stored(b, &b->markov[0]), before),
                                          PLAIN});
        made = whole_product(b, &b->markov[1], made,
                             slots * b->markov[1].tensor->dim[1] * sizeof(float), slots);
        made = whole_scattered(b, made, slots);
        made = whole_node(
            b, (struct net_op){.bytes = slots * row,
                               .source = SOURCES(net_view(&b->graph, logits, slots * row), made),
                               .reusable = 2,
                               PLAIN});
        before = made;
        all = all == NET_NONE ? made
                              : whole_node(b, (struct net_op){.bytes = (i + 1) * slots * row,
                                                              .source = SOURCES(all, made),
                                                              PLAIN});
        if (i + 1 < drafts)
            before = whole_node(b, (struct net_op){.bytes = slots * sizeof(int32_t),
                                                   .source = SOURCES(before),
                                                   PLAIN});
    }
    all = net_view(&b->graph, all, b->tokens * row);
    return whole_node(
        b, (struct net_op){.bytes = b->tokens * row, .source = SOURCES(all), .kept = true, PLAIN});
}

uint64_t whole_fed_unsure_bytes(const struct plan_memory *memory)
{
    enum { LOGITS = 3 };
    const struct dgo_model *model = memory->model;
    const uint64_t block = memory_key_number(model, "block_size");

    if (strcmp(model->architecture, "eagle3") == 0)
        return memory->terms.embedding;
    if (!graph_has_tensor(model, "markov_w1.weight") ||
        memory->graph_tokens / memory->slot_count > block)
        return 0;
    return LOGITS * memory->graph_tokens * model->vocab_size * sizeof(float);
}
