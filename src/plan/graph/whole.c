/* whole.c - the graph of a whole model, layer by layer, in the order of the engine's nodes.
 *
 * FORMULAS "Parts in host memory".  Only models whose every tensor is known here are built: stacks
 * of attention and a feed-forward, dense or routed, of architectures that recipes.c marks. */
#include "whole_parts.h"

#include <stdlib.h>
#include <string.h>

/* --- layer after layer ------------------------------------------------------------------------ */

int32_t whole_picked(struct builder *b, int32_t of, uint64_t width)
{
    return whole_made(b, of, whole_input(b, &b->inputs.out_rows, b->rows * sizeof(int32_t)),
                      b->rows * width * sizeof(float));
}

/* The layer that picks rows: none does where hidden states of all tokens are handed out. */
bool whole_is_last(const struct builder *b, uint32_t l)
{
    return l + 1 == b->memory->layer_count && b->sort != WHOLE_DFLASH &&
           !graph_picks_late(b->shape) && !b->to->settings->states_out;
}

/* From the last attention on only the wanted rows go on. */
static int32_t wanted(struct builder *b, uint32_t l, int32_t of)
{
    return whole_is_last(b, l) ? whole_picked(b, of, b->model->embedding_length) : of;
}

static int32_t feed_normed(struct builder *b, uint32_t l, int32_t in, uint64_t bytes, uint64_t rows)
{
    const struct weight *w = b->part[l];

    if (!whole_kind(b, l)->feed_normed_before)
        return in;
    in = whole_normed(b, &w[w[FFN_NORM].tensor ? FFN_NORM : POST_ATTN_NORM], in, bytes, rows, l);
    return whole_changed(b, &w[FFN_NORM_BIAS], in, bytes, rows);
}

/* Attention and feed-forward are made of one norm, or each of one of the same; the feed-forward is
 * put down first. */
static int32_t parallel(struct builder *b, uint32_t l, int32_t in)
{
    const struct graph_layer *kind = whole_kind(b, l);
    const uint64_t rows = whole_is_last(b, l) ? b->rows : b->tokens;
    const uint64_t bytes = rows * b->model->embedding_length * sizeof(float);
    int32_t normed, heads, made;

    if (kind->mixer_normed) {
        heads = whole_mixed(b, l, in, whole_normed_by(b, l, MIXER_NORM, MIXER_NORM_BIAS, in));
        normed = whole_normed_by(b, l, ATTN_NORM, ATTN_NORM_BIAS, in);
    } else {
        normed = whole_normed_by(b, l, ATTN_NORM, ATTN_NORM_BIAS, in);
        heads = whole_mixed(b, l, in, normed);
    }
    if (kind->feed_normed_before) {
        in = wanted(b, l, in);
        normed = feed_normed(b, l, in, bytes, rows);
    } else if (b->shape->halves == HALVES_ATTENTION_FIRST) {
        heads = wanted(b, l, whole_mixed_out(b, l, heads));
        made = whole_feed(b, l, wanted(b, l, normed), rows);
        made = whole_sum(b, heads, made, bytes, rows);
        return whole_sum(b, made, wanted(b, l, in), bytes, rows);
    } else {
        normed = wanted(b, l, normed);
    }
    made = whole_feed(b, l, normed, rows);
    if (b->shape->halves == HALVES_JOINED) {
        made = whole_sum(b, made, wanted(b, l, whole_mixed_out(b, l, heads)), bytes, rows);
        return whole_sum(b, made, wanted(b, l, in), bytes, rows);
    }
    if (b->shape->halves == HALVES_APART) {
        heads = wanted(b, l, whole_mixed_out(b, l, heads));
        return whole_sum(b, made, whole_sum(b, heads, wanted(b, l, in), bytes, rows), bytes, rows);
    }
    made = whole_sum(b, made, kind->feed_normed_before ? in : wanted(b, l, in), bytes, rows);
    return whole_sum(b, made, wanted(b, l, whole_mixed_out(b, l, heads)), bytes, rows);
}

/* Attention and a dense feed-forward; beside both the experts, of what came into the layer. */
static int32_t aside(struct builder *b, uint32_t l, int32_t in)
{
    const struct weight *w = b->part[l];
    const uint64_t rows = whole_is_last(b, l) ? b->rows : b->tokens;
    const uint64_t bytes = rows * b->model->embedding_length * sizeof(float);
    const int32_t heads =
        whole_mixed(b, l, in, whole_normed_by(b, l, ATTN_NORM, ATTN_NORM_BIAS, in));
    int32_t experts, made;

    in = wanted(b, l, in);
    experts = whole_feed(b, l, whole_normed(b, &w[ASIDE_NORM], in, bytes, rows, l), rows);
    in = whole_sum(b, wanted(b, l, whole_mixed_out(b, l, heads)), in, bytes, rows);
    made = whole_dense(b, l, feed_normed(b, l, in, bytes, rows), rows);
    return whole_sum(b, experts, whole_sum(b, made, in, bytes, rows), bytes, rows);
}

/* A layer that is a feed-forward; rows are picked behind it. */
static int32_t feed_alone(struct builder *b, uint32_t l, int32_t in)
{
    const uint64_t rows = whole_is_last(b, l) ? b->rows : b->tokens;
    int32_t made = whole_normed_by(b, l, ATTN_NORM, ATTN_NORM_BIAS, in);

    made = wanted(b, l, whole_feed(b, l, made, b->tokens));
    return whole_sum(b, made, wanted(b, l, in), rows * b->model->embedding_length * sizeof(float),
                     rows);
}

/* What comes behind the feed-forward. */
static int32_t closed(struct builder *b, uint32_t l, int32_t made, uint64_t rows)
{
    const uint64_t bytes = rows * b->model->embedding_length * sizeof(float);

    if (whole_kind(b, l)->embedded)
        made = whole_sum(b, made, whole_embedded(b, l, made, rows), bytes, rows);
    return whole_changed(b, &b->part[l][LAYER_SCALE], made, bytes, rows);
}

static int32_t layer(struct builder *b, uint32_t l, int32_t in)
{
    const struct weight *w = b->part[l];
    const bool last = whole_is_last(b, l);
    const bool norms_after =
        w[POST_ATTN_NORM].tensor && (w[FFN_NORM].tensor || w[POST_FFN_NORM].tensor);
    const struct graph_layer *kind = whole_kind(b, l);
    const uint32_t recipe = b->shape->recipe;
    const bool own_first = recipe & (RECIPE_MIXER_OWN_FIRST | RECIPE_OWN_FIRST);
    const uint64_t rows = last ? b->rows : b->tokens;
    const uint64_t bytes = rows * b->model->embedding_length * sizeof(float);
    const bool told = recipe & RECIPE_LAST_NORM_TOLD;
    int32_t made = in;

    if (b->shape->halves != HALVES_IN_TURN)
        return parallel(b, l, in);
    if (kind->experts_aside)
        return aside(b, l, in);
    if (kind->mixer == GRAPH_NO_MIXER)
        return feed_alone(b, l, in);
    if (whole_reads_first(b, l))
        whole_read_ahead(b, l);
    if (kind->normed_before)
        made = whole_normed_by(b, l, ATTN_NORM, ATTN_NORM_BIAS, in);
    made = whole_mixed(b, l, in, made);
    whole_choose_first(b, l, in);
    if (!kind->routed)
        whole_look_ahead(b, l);
    if (own_first)
        in = wanted(b, l, in);
    made = wanted(b, l, whole_mixed_out(b, l, made));
    if (norms_after)
        made = whole_normed(b, &w[POST_ATTN_NORM], made, bytes, rows, l);
    if (!own_first)
        in = wanted(b, l, in);
    in = own_first ? whole_sum(b, in, made, bytes, rows) : whole_sum(b, made, in, bytes, rows);
    if (!kind->routed && !kind->dense)
        return in;
    made = kind->twin ? whole_twins(b, l, in, rows)
                      : whole_feed(b, l, feed_normed(b, l, in, bytes, rows), rows);
    if (w[POST_FFN_NORM].tensor)
        made = whole_normed(b, &w[POST_FFN_NORM], made, bytes, rows,
                            told ? l : b->memory->layer_count);
    if (recipe & (RECIPE_FEED_OWN_FIRST | RECIPE_OWN_FIRST))
        return whole_sum(b, in, made, bytes, rows);
    return closed(b, l, whole_sum(b, made, in, bytes, rows), rows);
}

/* A second way in, for embeddings that come from outside among tokens: reserved though nothing uses
 * it.  `table`: the token's embeddings. */
static void mixed_embeddings(struct builder *b, int32_t table)
{
    const uint64_t wide = whole_floats(b, b->model->embedding_length);
    const int32_t mixed_tokens = net_input(&b->graph, b->tokens * sizeof(int32_t));
    const int32_t mixed_in = net_input(&b->graph, wide);
    const int32_t slots = net_input(&b->graph, b->tokens * sizeof(int64_t));
    const int32_t second = whole_node(
        b, (struct net_op){.bytes = wide, .source = SOURCES(table, mixed_tokens), PLAIN});
    const int32_t mixed = whole_node(
        b, (struct net_op){
               .bytes = wide, .rows = b->tokens, .source = SOURCES(mixed_in), .kept = true, PLAIN});

    whole_node(b, (struct net_op){.rows = b->tokens,
                                  .source = SOURCES(second, slots, mixed),
                                  .written = mixed,
                                  .on = NET_NONE});
}

static int32_t embeddings(struct builder *b)
{
    const uint64_t wide = whole_floats(b, b->model->embedding_length);
    const int32_t tokens = net_input(&b->graph, b->tokens * sizeof(int32_t));
    const bool mixes = graph_mixes_embeddings(b->shape);
    /* In place of tokens: no node uses it. */
    const int32_t outside = mixes ? net_input(&b->graph, wide) : net_unused_input(&b->graph, wide);
    const int32_t table = whole_stored(b, &b->embedding);
    int32_t made =
        whole_node(b, (struct net_op){.bytes = wide, .source = SOURCES(table, tokens), PLAIN});

    (void)outside;
    if (mixes)
        mixed_embeddings(b, table);
    else if (b->shape->streams)
        whole_streams_look_up(b);
    else if (b->layer_embedding.tensor)
        whole_look_up(b);
    if (b->shape->recipe & RECIPE_SCALED)
        made = whole_node(
            b, (struct net_op){
                   .bytes = wide,
                   .rows = b->tokens,
                   .source = SOURCES(made, b->shape->recipe & RECIPE_SCALED_ROWS
                                               ? net_input(&b->graph, b->tokens * sizeof(float))
                                               : NET_NONE),
                   .reusable = 1,
                   PLAIN});
    return made;
}

/* What the first layer gets: embeddings with those of their positions, or normed. */
static int32_t opened(struct builder *b)
{
    const uint64_t wide = whole_floats(b, b->model->embedding_length);
    int32_t made;

    if (b->layer_embedding.tensor && !b->shape->streams && graph_mixes_embeddings(b->shape))
        whole_look_up(b);
    made = embeddings(b);
    b->layer_embeddings.stream = made;
    if (b->shape->streams)
        return whole_streams_open(b, made);
    if (b->positions.tensor) {
        const int32_t where = whole_input(b, &b->inputs.positions, b->tokens * sizeof(int32_t));
        const int32_t rows = whole_node(
            b, (struct net_op){
                   .bytes = wide, .source = SOURCES(whole_stored(b, &b->positions), where), PLAIN});

        made = whole_sum(b, made, rows, wide, b->tokens);
    }
    if (b->embedding_norm.tensor && !whole_mixes(b)) {
        made = whole_normed(b, &b->embedding_norm, made, wide, b->tokens, 0);
        made = whole_changed(b, &b->embedding_norm_bias, made, wide, b->tokens);
    }
    return made;
}

static bool keeps_last(const struct memory_graph *shape)
{
    return (graph_picks_late(shape) && !shape->late_normed) ||
           (graph_mixes_embeddings(shape) && shape->recipe & RECIPE_RESULT_KEPT);
}

/* What may be asked for later is not written over, nor given back. */
static void keep_to_the_end(struct builder *b, int32_t tensor, bool kept)
{
    if (!b->graph.failed && kept)
        b->graph.tensor[tensor].kept = true;
}

/* What comes into the first layer, or of EAGLE3's out of its only one. */
static int32_t stream_opened(struct builder *b)
{
    switch (b->sort) {
    case WHOLE_BLOCK:
        return whole_next_token_opened(b);
    case WHOLE_EAGLE:
        return whole_eagle_stream(b);
    case WHOLE_DFLASH:
        return whole_dflash_opened(b);
    default:
        return opened(b);
    }
}

static int32_t logits_of(struct builder *b, int32_t stream)
{
    const uint64_t rows = b->rows;
    const uint64_t width = b->words.tensor ? b->output.tensor->dim[1] : b->model->vocab_size;
    const bool changed = b->output_bias.tensor || b->words.tensor || whole_corrects(b);
    int32_t made =
        whole_node(b, (struct net_op){.bytes = rows * width * sizeof(float),
                                      .rows = rows,
                                      .source = SOURCES(whole_stored(b, &b->output), stream),
                                      .kept = !changed,
                                      PLAIN});

    if (b->output_bias.tensor)
        made =
            whole_node(b, (struct net_op){.bytes = rows * width * sizeof(float),
                                          .source = SOURCES(made, whole_stored(b, &b->output_bias)),
                                          .reusable = 1,
                                          .kept = true,
                                          PLAIN});
    made = whole_scattered(b, made, rows);
    return whole_corrects(b) ? whole_markov(b, made) : made;
}

/* In place of logits, or behind them: what an embedding server makes of the hidden states that came
 * out. */
static void pooled(struct builder *b, int32_t states)
{
    const uint64_t slots = b->to->settings->slot_count, width = b->model->embedding_length;
    const uint64_t row_bytes = slots * width * sizeof(float);
    int32_t by = NET_NONE, made;

    switch (b->memory->pooling) {
    case DGO_POOLING_UNSAID:
    case DGO_POOLING_NONE:
        return;
    case DGO_POOLING_MEAN: /* a product of all, turned over, and of each slot's shares */
        by = net_input(&b->graph, b->tokens * slots * sizeof(float));
        states = whole_made(b, states, NET_NONE, b->rows * width * sizeof(float));
        break;
    case DGO_POOLING_PICKED:
    case DGO_POOLING_RANK:
        by = net_input(&b->graph, slots * sizeof(int32_t));
        break;
    }
    made = whole_made(b, states, by, row_bytes);
    if (b->memory->pooling == DGO_POOLING_RANK && strncmp(b->model->architecture, "qwen3", 5) == 0)
        made = whole_over(b, made, NET_NONE, row_bytes);
    keep_to_the_end(b, made, true);
}

/* Their hidden states are asked for, or their logits. */
static bool embeds_only(const struct builder *b)
{
    return b->memory->embeds && strncmp(b->model->architecture, "lfm2", 4) == 0;
}

static void build(struct builder *b)
{
    const bool late = graph_picks_late(b->shape);
    const bool all_normed = b->to->settings->states_out || (late && b->shape->late_normed);
    const bool early = b->sort == WHOLE_EAGLE || (late && !all_normed);
    const uint64_t rows = all_normed ? b->tokens : b->rows;
    const uint64_t bytes = rows * b->model->embedding_length * sizeof(float);
    int32_t stream, normed;

    memset(&b->inputs, 0xff, sizeof b->inputs); /* NET_NONE, all of them */
    b->ahead.layer = UINT32_MAX;
    b->layer_embeddings.all = NET_NONE;
    b->norm_made.weight = NULL;
    b->best_cells = NET_NONE;
    stream = stream_opened(b);
    if (whole_mixes(b))
        stream = whole_mixing(b, stream);
    for (uint32_t l = 0; l < b->memory->layer_count && b->sort != WHOLE_EAGLE && !whole_mixes(b);
         l++) {
        keep_to_the_end(b, stream, memory_feeds(b->to->settings, l));
        stream = (b->shape->streams ? whole_streams_layer : layer)(b, l, stream);
    }
    if (b->shape->streams)
        stream = whole_streams_close(b, stream);
    keep_to_the_end(b, stream, b->sort == WHOLE_EAGLE || keeps_last(b->shape));
    if (early)
        stream = whole_picked(b, stream, b->model->embedding_length);
    stream = whole_normed(b, &b->output_norm, stream, bytes, rows, b->memory->layer_count);
    stream = whole_changed(b, &b->output_norm_bias, stream, bytes, rows);
    keep_to_the_end(b, stream, b->sort != WHOLE_EAGLE);
    normed = stream;
    if (b->shape->rows_scaled)
        stream = whole_over(b, stream, NET_NONE, bytes);
    if (all_normed)
        stream = whole_picked(b, stream, b->model->embedding_length);
    const bool pools =
        b->sort == WHOLE_MODEL && b->memory->embeds && b->memory->pooling != DGO_POOLING_NONE;

    if (!(pools && b->memory->terms.rule->pool_only) && !embeds_only(b))
        stream = logits_of(b, stream);
    if (pools)
        pooled(b, normed);
    if (b->sort != WHOLE_MODEL)
        whole_picked_on_device(b, stream);
}

static bool convolves_queries(const struct builder *b)
{
    for (uint32_t k = 0; k < b->shape->kind_count; k++)
        if (b->shape->kind[k].mixer == GRAPH_KIMI_DELTA)
            return true;
    return false;
}

/* The graph of a micro-batch and that of a token for each slot are both reserved; of Kimi's delta
 * nets also that of a micro-batch of one slot, which is not rounded up. */
static bool run_graphs(struct builder *b, uint64_t peak_bytes[NET_BACKENDS_MAX])
{
    const uint64_t slots = b->to->settings->slot_count;
    const uint64_t micro_batch = b->memory->ubatch_tokens;
    /* Rows: of a micro-batch before it is rounded up to as many for each slot. */
    const struct {
        uint64_t tokens, slots, rows_most;
    } graphs[] = {{b->memory->graph_tokens, slots, micro_batch},
                  {slots, slots, slots},
                  {micro_batch, 1, micro_batch}};
    const size_t count = slots > 1 && convolves_queries(b) ? 3 : 2;
    bool made = true;

    for (size_t i = 0; i < count && made; i++) {
        uint64_t peak[NET_BACKENDS_MAX] = {0};

        b->tokens = graphs[i].tokens;
        b->slots = graphs[i].slots;
        b->rows = b->memory->terms.fed
                      ? b->tokens /* all of them, rounded up */
                      : dgo_min_u64(b->memory->output_row_count, graphs[i].rows_most);
        net_init(&b->graph, b->to->device_count);
        build(b);
        made = net_schedule(&b->graph, b->memory->op_offload, b->to->pipeline ? MEMORY_COPIES : 1,
                            peak);
        net_done(&b->graph);
        for (uint32_t k = 0; k <= b->to->device_count; k++)
            peak_bytes[k] = dgo_max_u64(peak_bytes[k], peak[k]);
    }
    return made;
}

/* Only delta nets are drawn with the states that a refused guess goes back to. */
static bool states_are_deltas(const struct builder *b)
{
    for (uint32_t k = 0; k < b->shape->kind_count; k++)
        if (b->shape->kind[k].mixer > GRAPH_DELTA)
            return false;
    return true;
}

/* With the engine: whole layers on devices of this machine, and one state of each slot. */
static bool is_compared(const struct builder *b)
{
    const struct dgo_settings *settings = b->to->settings;
    const struct memory_build *rule = b->memory->terms.rule;

    if (b->shape->has_state_space &&
        (rule->graphs != GRAPHS_ALL || (settings->kv_on_host && !rule->others_read)))
        return false; /* 0.5.0 took 22 MiB more than was drawn */
    if (!b->memory->graph_known || !rule->exact || b->memory->terms.adapted ||
        !(b->shape->recipe & RECIPE_WHOLE))
        return false;
    if (settings->split_mode == DGO_SPLIT_TENSOR || settings->remote)
        return false;
    if (settings->embeds && settings->own_draft)
        return false; /* beside a next-token block an embedding server took 10 MiB more, once */
    /* A block's attention is not sparse; bailingmoe3's was not compared. */
    if (b->sort != WHOLE_MODEL &&
        (b->shape->index_heads > 0 || memory_key_number(b->model, "kda.head_dim") > 0))
        return false;
    if (settings->states_out &&
        (graph_picks_late(b->shape) || b->shape->has_state_space || b->shape->streams))
        return false;
    return !settings->own_draft_alone && (b->shape->state_count == 1 || states_are_deltas(b));
}

bool whole_graph_bytes(const struct whole_placement *placement, enum whole_sort sort,
                       uint64_t device_bytes[DGO_GPU_MAX], uint64_t *host_bytes)
{
    uint64_t peak_bytes[NET_BACKENDS_MAX] = {0};
    struct builder b = {.to = placement,
                        .memory = placement->memory,
                        .model = placement->memory->model,
                        .shape = &placement->memory->graph,
                        .sort = sort};
    bool made = false;

    if (!is_compared(&b) || override_set_make(placement->settings, &b.overrides, NULL) != DGO_OK)
        return false;
    b.part = calloc(b.memory->layer_count, sizeof *b.part);
    made = b.part && whole_note_tensors(&b) && run_graphs(&b, peak_bytes);
    free(b.part);
    override_set_free(b.overrides);
    if (!made)
        return false;
    memcpy(device_bytes, peak_bytes, placement->device_count * sizeof *device_bytes);
    *host_bytes = peak_bytes[placement->device_count];
    return true;
}

bool whole_compute_bytes(const struct whole_placement *placement,
                         uint64_t device_bytes[DGO_GPU_MAX], uint64_t *host_bytes)
{
    enum whole_sort sort = WHOLE_MODEL;

    if (placement->memory->terms.fed && !placement->settings->feeding)
        return false;
    if (placement->memory->terms.fed)
        sort = strcmp(placement->memory->model->architecture, "eagle3") == 0 ? WHOLE_EAGLE
                                                                             : WHOLE_DFLASH;
    return whole_graph_bytes(placement, sort, device_bytes, host_bytes);
}
