/* whole_draft.c - the graph in which a model's own next-token block drafts.
 *
 * FORMULAS "Drafts".  The block is a layer like the model's; before it stand the embedding of a
 * token and the hidden state before that, behind it the output and what picks the guesses. */
#include "whole_parts.h"

#include <string.h>

int32_t whole_next_token_opened(struct builder *b)
{
    const uint64_t wide = whole_floats(b, b->model->embedding_length);
    const struct weight *w = b->part[0];
    const int32_t tokens = net_input(&b->graph, b->tokens * sizeof(int32_t));
    const int32_t states = net_input(&b->graph, wide);
    int32_t token = whole_node(
        b, (struct net_op){
               .bytes = wide, .source = SOURCES(whole_stored(b, &b->embedding), tokens), PLAIN});
    int32_t state, both;

    token = whole_normed(b, &w[NEXT_TOKEN_NORM], token, wide, b->tokens, 0);
    state = whole_normed(b, &w[NEXT_STATE_NORM], states, wide, b->tokens, 0);
    both =
        whole_node(b, (struct net_op){.bytes = 2 * wide, .source = SOURCES(token, state), PLAIN});
    return whole_product(b, &w[NEXT_JOINT], both, wide, b->tokens);
}

/* DFlash's guesses are all made at once. */
static uint64_t picked_count(const struct builder *b)
{
    const uint64_t slots = b->to->settings->slot_count;

    return b->sort == WHOLE_DFLASH ? slots * (1 + b->to->settings->feeding->guess_tokens) : slots;
}

/* A row is added to the logits; of each slot's the best are found and picked. */
void whole_picked_on_device(struct builder *b, int32_t logits)
{
    enum { BEST = 10 };
    const uint64_t row = b->model->vocab_size * sizeof(float);
    const int32_t all = whole_node(
        b, (struct net_op){.bytes = (b->rows + 1) * row, .source = SOURCES(logits), PLAIN});

    for (uint64_t i = 0; i < picked_count(b); i++) {
        const int32_t one = net_view(&b->graph, all, row);
        const int32_t best = whole_node(
            b, (struct net_op){
                   .bytes = BEST * sizeof(int32_t), .source = SOURCES(one), .kept = true, PLAIN});

        whole_node(b, (struct net_op){.bytes = BEST * sizeof(float),
                                      .source = SOURCES(net_view(&b->graph, all, row), best),
                                      .kept = true,
                                      PLAIN});
    }
}

/* Behind the block's attention; the others pick the wanted rows behind its norm. */
static bool picks_early(const struct dgo_model *model)
{
    return strcmp(model->architecture, "qwen3next") == 0;
}

/* The engine decides anew about flash attention, for the block alone. */
static bool make_block(const struct whole_placement *placement, const struct dgo_model *model,
                       const struct dgo_engine_rules *rules, struct dgo_settings *settings,
                       struct draft_block *block)
{
    if (settings->flash_attention == DGO_FA_WITHDRAWN)
        settings->flash_attention = DGO_FA_ON;
    if (draft_block_make(model, settings, rules, block, NULL) != DGO_OK ||
        withdrawn_settle(block->model, placement->memory->terms.rule, settings,
                         placement->layer_device, NULL) != DGO_OK)
        return false;
    if (settings->flash_attention != DGO_FA_WITHDRAWN)
        return true;
    draft_block_free(block);
    return draft_block_make(model, settings, rules, block, NULL) == DGO_OK;
}

bool whole_draft_bytes(const struct whole_placement *placement,
                       const struct dgo_engine_rules *rules, uint64_t device_bytes[DGO_GPU_MAX],
                       uint64_t *host_bytes)
{
    const struct dgo_model *model = placement->memory->model;
    struct whole_placement of_block = *placement;
    struct dgo_settings settings;
    struct draft_block block;
    bool made = false;

    draft_settings(placement->memory, placement->settings, &settings);
    settings.own_draft_alone = false;
    settings.states_out = !picks_early(model);
    if (make_block(placement, model, rules, &settings, &block)) {
        of_block.settings = &settings;
        of_block.memory = block.memory;
        made = whole_graph_bytes(&of_block, WHOLE_BLOCK, device_bytes, host_bytes);
    }
    draft_block_free(&block);
    return made;
}
