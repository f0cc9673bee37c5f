/* compute.c - the compute buffer of a device in its role: repeated where its graph is known, else a
 * bound.
 *
 * FORMULAS "Compute buffer"; the terms come from terms.c, the builds' rules from builds.c. */
#include "graph.h"

#include "dgo_units.h"

/* --- one device ------------------------------------------------------------------------------ */

bool memory_pipeline(const struct plan_memory *memory, uint32_t device_count,
                     uint32_t cpu_layer_count, bool output_on_cpu)
{
    return device_count > 1 && cpu_layer_count == 0 && !output_on_cpu && !memory->kv_on_host &&
           !memory->overrides && !memory->no_events;
}

static bool has_part_on_host(const struct plan_memory *memory, uint32_t cpu_layer_count,
                             bool output_on_cpu)
{
    return memory->kv_on_host || memory->overrides || cpu_layer_count > 0 || output_on_cpu;
}

/* How many tensors of host memory are on the first device at once.  A dense graph takes one at a
 * time; where states and attention alternate, a split of the graph takes several. */
static uint32_t visitors(const struct plan_memory *memory, const struct memory_role *role)
{
    enum { SCAN_VISITORS = 4, DELTA_VISITORS = 2 };
    const struct memory_terms *t = &memory->terms;

    if (t->scan > 0)
        return SCAN_VISITORS;
    if (t->family == MEMORY_DELTA)
        return DELTA_VISITORS;
    return role->device_count > 1 && memory->overrides ? t->rule->shared_visitors : 1;
}

/* What is copied from host memory to the first device, to be used there. */
static uint64_t visiting_bytes(const struct plan_memory *memory, const struct memory_role *role)
{
    const struct memory_terms *t = &memory->terms;
    uint64_t weight = memory->overrides ? t->kept_weight_max : 0;

    if (!memory->op_offload)
        return 0;
    if (role->cpu_layer_count > 0)
        weight = dgo_max_u64(weight, t->weight_max);
    if (role->output_on_cpu)
        weight = dgo_max_u64(weight, t->output_weight);
    return weight * visitors(memory, role);
}

/* Unfused attention over a cache in host memory (-nkvo -fa off): on the CPU, except where it has
 * operands of its own on the device (sinks, latent heads). */
static bool attends_on_host(const struct memory_terms *t)
{
    return t->family != MEMORY_MLA && t->family != MEMORY_MOE_FUSED;
}

/* With a cache in host memory: what of it, and of the masks, is on a device at once. */
static uint64_t visiting_cache_bytes(const struct plan_memory *memory)
{
    const struct memory_terms *t = &memory->terms;
    const uint64_t copies = t->family == MEMORY_MLA ? 3 : 1;

    return memory->kv_on_host ? copies * t->layer_context_max + 2 * t->inputs + 4 * t->embedding
                              : 0;
}

/* The first device computes for the CPU's layers too: their weights and caches visit it. */
static uint64_t first_bound_bytes(const struct plan_memory *memory, const struct memory_role *role,
                                  uint64_t peak)
{
    const struct memory_terms *t = &memory->terms;
    const uint64_t weight = visiting_bytes(memory, role);
    uint64_t cache = (t->family == MEMORY_MLA ? 2 : 1) * t->layer_context_max;

    /* The keys of the next layer find no hole where those of the one before were. */
    if (role->cpu_layer_count > 1)
        cache += t->layer_context_max / 2;

    peak += 2 * t->embedding;
    if (memory->kv_on_host)
        return peak + visiting_cache_bytes(memory) + weight;
    if (role->cpu_layer_count == 0)
        return peak + weight;
    if (t->sliding_window || t->family == MEMORY_MLA || t->family == MEMORY_DELTA || t->scan > 0)
        return peak + weight + cache;
    /* In the feed-forward a weight or a cache is left, in attention both are there. */
    return dgo_max_u64(peak + dgo_max_u64(weight, cache),
                       t->inputs + cache + weight + 3 * t->embedding + 2 * t->queries);
}

/* Caches that lie elsewhere and are lent to layers here: without a pipeline, too, each of them has
 * a copy, which is made when the first layer here runs.  Where it is not known which layers lie
 * here, all that borrow. */
static uint64_t borrowed_bytes(const struct plan_memory *memory, const struct memory_role *role)
{
    const struct memory_graph *g = &memory->graph;
    const bool known = role->layer_count > 0 && (role->position > 0 || role->cpu_layer_count == 0);
    const uint32_t first = known ? role->layer_first : 0;
    const uint32_t end = known ? first + role->layer_count : g->layer_count;
    uint64_t bytes = 0;

    for (uint32_t l = first; memory->replayed && l < end; l++) {
        const struct graph_layer *kind = &g->kind[g->layer[l]];

        if (!known || memory->kv_on_host || g->lender[kind->window] < first)
            bytes += kind->borrowed_bytes;
    }
    return bytes;
}

enum { STREAMS = 4 }; /* of gemma3n, from layer to layer */

/* With something in host memory the order of the graph's allocations decides.  This adds up every
 * moment's widest parts, whether or not they meet. */
static uint64_t bound_bytes(const struct plan_memory *memory, const struct memory_role *role)
{
    /* Small tensors of a graph each begin at a multiple of 128 B, which no term counts; the most
     * that was ever seen are 8 KiB, and 0.6 MiB of delta nets' states. */
    enum { SCAN_PARTS = 18, ALIGNMENT_BYTES = 64 * 1024, DELTA_BYTES = 1024 * 1024 };
    enum { CHOICE_BYTES = 256 * 1024, LATENT_MORE = 5 };
    const struct memory_terms *t = &memory->terms;
    const bool elsewhere = !t->attention_fused && memory->kv_on_host &&
                           t->rule->attention_place_known && attends_on_host(t);
    uint64_t peak = dgo_max_u64(t->base, t->base_later);

    if (role->position == 0)
        peak = dgo_max_u64(peak, dgo_max_u64(t->base_first, t->base_alone));
    if (!elsewhere)
        peak = dgo_max_u64(peak, dgo_max_u64(t->extra, t->extra_alone));
    /* An output in host memory visits, where many rows go through it, and its logits are made here.
     */
    const bool output_visits = role->output_on_cpu && role->position == 0 && memory->op_offload &&
                               memory->output_row_count >= DGO_OFFLOAD_ROWS_MIN;

    if (role->holds_output || output_visits)
        peak = dgo_max_u64(peak, t->logits);
    if (t->crossing)
        peak += t->base / 2;
    if (t->family == MEMORY_DELTA)
        peak += DELTA_BYTES +
                (t->attention_fused && !(memory->graph.recipe & RECIPE_KEYS_REPEATED)
                     ? 0
                     : t->embedding); /* keys that were repeated: 2.1 MiB of 6 were seen */
    /* Where experts are elsewhere, what a split begins with finds no hole: hidden states, of which
     * four were seen to be missing, and the numbers of the experts that are used. */
    if (memory->overrides && (t->family == MEMORY_MLA || t->family == MEMORY_DELTA))
        peak += (t->family == MEMORY_MLA ? LATENT_MORE : 1) * t->embedding + CHOICE_BYTES;
    peak += t->inputs + SCAN_PARTS * t->scan + borrowed_bytes(memory, role) + ALIGNMENT_BYTES;
    if (memory->graph.streams)
        peak += STREAMS * t->embedding;
    if (role->position == 0)
        return first_bound_bytes(memory, role, peak);
    return peak + visiting_cache_bytes(memory);
}

/* M on a device: the masks of the kinds of layers that it holds. */
static uint64_t device_inputs(const struct memory_terms *t, const struct memory_role *role)
{
    return t->inputs - (role->no_full_layer ? t->full_inputs : 0) -
           (role->no_window_layer ? t->window_inputs : 0);
}

/* Devices with nothing in host memory, by the form of the build: a bound. */
static uint64_t closed_form_bytes(const struct plan_memory *memory, const struct memory_role *role)
{
    const struct memory_terms *t = &memory->terms;
    const bool first = role->position == 0;
    const uint64_t inputs = device_inputs(t, role);
    uint64_t peak;

    if (!role->pipeline)
        return dgo_max_u64(t->inputs + dgo_max_u64(t->base_alone, t->extra_alone), t->logits);
    peak = first ? t->base_first : t->base_later;
    peak = dgo_max_u64(peak, first ? dgo_max_u64(t->extra, t->extra_first) : t->extra);
    if (role->holds_output)
        peak = dgo_max_u64(peak, t->logits);
    if (first)
        return MEMORY_COPIES * (inputs + t->rule->first_inputs * t->embedding + t->scan) + peak +
               t->rule->first_extra * t->embedding;
    return MEMORY_COPIES * (inputs + t->rule->other_inputs * t->embedding + 3 * t->scan) + peak;
}

/* Where nothing is in host memory.  Older builds were not asked for hidden states. */
static bool is_exact(const struct plan_memory *memory, bool pipeline)
{
    if (!memory->replayed || (memory->states_out && !graph_mixes_embeddings(&memory->graph)))
        return false;
    if (memory->graph.has_state_space && memory->terms.rule->graphs != GRAPHS_ALL)
        return false;
    return memory->terms.rule->exact && !memory->graph.states_unsure &&
           !(pipeline && memory->graph.has_state_space);
}

/* Where hidden states come out, all tokens go through the last layer and its norm, and the wanted
 * rows are picked behind it.  The engine reserves for that when the first request comes.  What that
 * is more than output_alone, and than a closed form or a bound; a replayed graph knows it. */
static uint64_t states_bytes(const struct plan_memory *memory, const struct memory_role *role)
{
    const struct memory_terms *t = &memory->terms;
    const uint64_t copies = role->pipeline ? MEMORY_COPIES * t->rule->other_inputs : 0;
    const uint64_t rows =
        memory->model->embedding_length * memory->output_row_count * sizeof(float);

    if (!memory->states_out || !role->holds_output)
        return 0;
    if (role->holds_layers)
        return 3 * t->embedding; /* seen: 2; 3 beside a packed cache */
    return t->embedding + copies * (t->embedding - rows);
}

/* By its role a device's buffer is known to 0.3 MiB: small tensors begin at multiples of 128 B, and
 * which masks and packed caches' matrices are where is not counted. */
enum { ROLE_SLACK_BYTES = 512 * 1024 };

/* Of a build between two measured ones, the greatest of all. */
static bool replay_bytes(const struct plan_memory *memory, const struct memory_role *role,
                         uint64_t *bytes)
{
    const struct memory_build *rule;
    uint64_t each;

    if (memory->terms.rule->exact)
        return memory_replay_bytes(&memory->graph, role, bytes);
    *bytes = 0;
    for (size_t i = 0; (rule = memory_build_at(i)) != NULL; i++) {
        struct memory_graph graph = memory->graph;

        graph.rule = rule;
        if (rule->exact && !memory_replay_bytes(&graph, role, &each))
            return false;
        if (rule->exact)
            *bytes = dgo_max_u64(*bytes, each + ROLE_SLACK_BYTES);
    }
    return true;
}

/* Graphs that are not drawn: seen over and above the bounds below were 9 E on a card with the
 * output alone, one layer's cache in F32 (latent ones), and in host memory a second set of masks
 * and a layer's cache in each copy of a pipeline; 1.3 to 4 times that is counted. */
enum { UNDRAWN_ROWS = 12, UNDRAWN_CACHES = 4, UNDRAWN_MASKS = 2, UNDRAWN_LEAST = DGO_MIB };

static bool is_drawn(const struct plan_memory *memory)
{
    return memory->graph_known || memory->terms.adapted;
}

/* Of an indexer, where there is one: each of its heads judges every cell. */
static uint64_t index_bytes(const struct plan_memory *memory)
{
    enum { HEADS_MAX = 1 << 10, TIMES = 2 };
    const uint64_t heads =
        dgo_min_u64(memory_key_number(memory->model, "attention.indexer.head_count"), HEADS_MAX);

    return TIMES * heads * memory->graph_tokens * memory->ctx_tokens_per_slot * sizeof(float);
}

static uint64_t undrawn_bytes(const struct plan_memory *memory)
{
    const struct memory_terms *t = &memory->terms;

    return is_drawn(memory) ? 0
                            : UNDRAWN_LEAST + index_bytes(memory) + UNDRAWN_ROWS * t->embedding +
                                  UNDRAWN_CACHES * t->layer_context_max;
}

static uint64_t undrawn_host_bytes(const struct plan_memory *memory, bool pipeline)
{
    const struct memory_terms *t = &memory->terms;
    const uint64_t copies = pipeline ? MEMORY_COPIES : 1;

    return is_drawn(memory)
               ? 0
               : UNDRAWN_LEAST + UNDRAWN_ROWS * t->embedding +
                     copies * (UNDRAWN_MASKS * t->inputs + UNDRAWN_CACHES * t->layer_context_max);
}

static uint64_t model_bytes(const struct plan_memory *memory, const struct memory_role *role,
                            enum dgo_figure_source *source)
{
    const struct memory_terms *t = &memory->terms;
    const bool first = role->position == 0;
    const bool partial = has_part_on_host(memory, role->cpu_layer_count, role->output_on_cpu);
    const uint64_t states = states_bytes(memory, role);
    const bool exact = !partial && !memory->attention_on_cpu && is_exact(memory, role->pipeline);
    const bool replayed =
        memory->replayed && !memory->attention_on_cpu && (role->pipeline || first);
    uint64_t bytes = 0;

    if (source)
        *source = exact ? DGO_FIGURE_FORMULA : DGO_FIGURE_BOUND;
    if (!role->holds_layers && !role->holds_output && !(partial && first))
        return 0;
    const bool output_alone = !role->holds_layers && role->holds_output && !(partial && first);

    /* What the streams are made of is not known to be all: as if it held layers. */
    if (output_alone && memory->graph.streams && source)
        *source = DGO_FIGURE_BOUND;
    if (output_alone && !memory->graph.streams)
        return t->output_alone + states + undrawn_bytes(memory);
    if (partial)
        return bound_bytes(memory, role) + states + undrawn_bytes(memory);
    if (replayed && replay_bytes(memory, role, &bytes))
        return bytes;
    if (source)
        *source = DGO_FIGURE_BOUND;
    bytes = closed_form_bytes(memory, role) + states + undrawn_bytes(memory);
    return memory->attention_on_cpu ? bytes + MEMORY_COPIES * 2 * t->queries : bytes;
}

/* Hidden states of all tokens stay beside the logits, turned over where a mean is made of them, and
 * a row for each slot comes out. */
static uint64_t pooled_bytes(const struct plan_memory *memory)
{
    enum { ROWS_MADE = 4 }; /* a grade passes through some products */
    const uint64_t slots = memory->slot_count;

    return 2 * memory->terms.embedding +
           slots * sizeof(float) *
               (ROWS_MADE * (uint64_t)memory->model->embedding_length + memory->graph_tokens);
}

uint64_t memory_compute_bytes(const struct plan_memory *memory, const struct memory_role *role,
                              enum dgo_figure_source *source)
{
    uint64_t bytes;

    if (source)
        *source = DGO_FIGURE_FORMULA;
    if (memory->block_only)
        return 0;
    bytes = model_bytes(memory, role, source);
    if (!memory->embeds || !role->holds_output)
        return bytes;
    if (source)
        *source = DGO_FIGURE_BOUND;
    return bytes + pooled_bytes(memory);
}

uint64_t memory_draft_bytes(const struct plan_memory *memory, const struct memory_role *role,
                            enum dgo_figure_source *source)
{
    const bool partial = has_part_on_host(memory, role->cpu_layer_count, role->output_on_cpu);

    return draft_compute_bytes(memory, role, partial, source);
}

/* --- the host -------------------------------------------------------------------------------- */

/* A delta net whose guesses may be refused keeps the states after each; where its layers are the
 * CPU's, the convolution's input comes over once for each of them. */
static uint64_t guesses_bytes(const struct plan_memory *memory)
{
    const struct memory_graph *g = &memory->graph;
    const uint64_t channels = g->state_inner + 2 * (uint64_t)g->state_groups * g->state_size;

    if (g->state_count <= 1)
        return 0;
    return (g->state_count - 1) *
           (channels * sizeof(float) * (g->token_count + g->convolution * g->slot_count) +
            g->slot_count * g->state_bytes);
}

/* What all slots' states take where they are the CPU's: as they are read, and as they come out. */
static uint64_t states_here_bytes(const struct plan_memory *memory)
{
    uint64_t shift, state;

    memory_state_bytes(memory->model, &shift, &state);
    return (uint64_t)memory->slot_count * (shift + 2 * state);
}

/* A state space's scan runs where its states lie, and takes what reaches over three parts of one
 * product: each comes with all that lies between. */
static uint64_t scan_bytes(const struct plan_memory *memory)
{
    enum { PARTS = 3 };
    const struct memory_terms *t = &memory->terms;

    return t->scan == 0 ? 0 : (PARTS + 1) * t->scan + 2 * t->embedding + states_here_bytes(memory);
}

/* Fused attention that no card computes: what it reads and makes crosses, one layer's at a time. */
static uint64_t crossing_attention_bytes(const struct plan_memory *memory, bool pipeline)
{
    const struct memory_terms *t = &memory->terms;
    const uint64_t copies = pipeline ? MEMORY_COPIES : 1;

    return memory->attention_on_cpu
               ? copies * (t->layer_context_max + t->inputs + 2 * t->queries) + 2 * t->queries
               : 0;
}

static uint64_t model_host_bytes(const struct plan_memory *memory, uint32_t device_count,
                                 bool pipeline, uint32_t cpu_layer_count, bool output_on_cpu)
{
    const struct memory_terms *t = &memory->terms;
    const uint64_t e = t->embedding;
    uint64_t bytes;

    if (pipeline)
        return MEMORY_COPIES * (t->inputs + t->rule->host_inputs * e) + t->rule->host_extra * e +
               t->host_more + crossing_attention_bytes(memory, true);
    bytes = t->inputs + t->rule->host_extra_alone * e + t->host_more +
            crossing_attention_bytes(memory, false);
    if (!has_part_on_host(memory, cpu_layer_count, output_on_cpu))
        return bytes;
    if (cpu_layer_count > 0 || memory->overrides)
        bytes += scan_bytes(memory);
    if (cpu_layer_count > 0 && memory_states_come_first(memory->model))
        bytes += t->extra + 2 * t->queries + 2 * e;
    if (t->fed)
        bytes += e;
    /* What of a graph that is not known stays on the CPU (indexers, for one) may be its widest. */
    if (!memory->replayed)
        bytes += dgo_max_u64(t->base, t->extra);
    if (memory->graph.recipe & RECIPE_BORROWS)
        bytes += 2 * e;                         /* gemma3n, gemma4: 1.5 were seen */
    if (t->family == MEMORY_DELTA)              /* the states' gather stays with the host */
        bytes += 4 * e + guesses_bytes(memory); /* 3.5 were seen */
    /* A token for each slot is computed there. */
    if (t->family == MEMORY_DELTA && (cpu_layer_count > 0 || memory->overrides) &&
        memory->slot_count < DGO_OFFLOAD_ROWS_MIN)
        bytes += states_here_bytes(memory);
    /* Few rows are not worth a weight's way to a device: its layers are computed where it is.  So
     * are states. */
    if (!memory->op_offload || device_count == 0 || memory->graph_tokens < DGO_OFFLOAD_ROWS_MIN ||
        (memory->kv_on_host && (t->family == MEMORY_DELTA || t->scan > 0)))
        return bytes + dgo_max_u64(t->base_alone, t->extra_alone) +
               (output_on_cpu ? t->logits : 0) + (memory->graph.streams ? STREAMS * e : 0);
    if (!t->attention_fused && memory->kv_on_host &&
        !(t->rule->attention_place_known && !attends_on_host(t)))
        bytes += t->extra;
    if (!t->attention_fused && memory->kv_on_host)
        bytes += 4 * e;
    return bytes;
}

uint64_t memory_host_compute_bytes(const struct plan_memory *memory, uint32_t device_count,
                                   bool pipeline, uint32_t cpu_layer_count, bool output_on_cpu)
{
    if (memory->block_only)
        return 0;
    return model_host_bytes(memory, device_count, pipeline, cpu_layer_count, output_on_cpu) +
           undrawn_host_bytes(memory, pipeline);
}

uint64_t memory_draft_host_bytes(const struct plan_memory *memory, bool pipeline,
                                 uint32_t cpu_layer_count, bool output_on_cpu)
{
    const enum memory_draft_place place = pipeline ? DRAFT_IN_PIPELINE
                                          : has_part_on_host(memory, cpu_layer_count, output_on_cpu)
                                              ? DRAFT_BESIDE_HOST
                                              : DRAFT_ALONE;

    return memory->draft.host_bytes[place];
}

/* --- what a search reckons with --------------------------------------------------------------- */

enum { HOST_SLACK_BYTES = 2 * 1024 * 1024 };

uint64_t memory_role_bytes(const struct plan_memory *memory, const struct memory_role *role,
                           enum dgo_figure_source *source)
{
    enum dgo_figure_source found;
    const uint64_t model = memory_compute_bytes(memory, role, &found);
    const uint64_t bytes = model + memory_draft_bytes(memory, role, &found);

    if (source)
        *source = found;
    return bytes > 0 && memory->replayed && found == DGO_FIGURE_FORMULA ? bytes + ROLE_SLACK_BYTES
                                                                        : bytes;
}

uint64_t memory_host_role_bytes(const struct plan_memory *memory, uint32_t device_count,
                                bool pipeline, uint32_t cpu_layer_count, bool output_on_cpu)
{
    return memory_host_compute_bytes(memory, device_count, pipeline, cpu_layer_count,
                                     output_on_cpu) +
           memory_draft_host_bytes(memory, pipeline, cpu_layer_count, output_on_cpu) +
           (memory->replayed ? HOST_SLACK_BYTES : 0);
}

/* --- around the figures ---------------------------------------------------------------------- */

uint64_t memory_safety_bytes(uint64_t compute_bytes, enum dgo_figure_source source)
{
    if (source == DGO_FIGURE_BOUND)
        return 16 * DGO_MIB;
    return dgo_max_u64(4 * DGO_MIB, compute_bytes / 200);
}
