/* variants.c - the split problem of one search, from memory (bytes) and cost (seconds).
 *
 * Compute buffers follow from whether one card or several are used, whether layers stay on the
 * CPU, and a card's place in the row.  Within one variant they are constants, which is what makes
 * the split exact. */
#include "variants.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* A stage weight where the pipeline never repeats (short prompts): too small to move a layer for
 * speed, enough that among equal placements the more even one is taken. */
#define EVEN_WEIGHT 0.05

uint32_t search_usable(const struct dgo_machine *machine, uint32_t gpu_mask,
                       uint32_t gpus[DGO_GPU_MAX])
{
    uint32_t count = 0;

    for (uint32_t g = 0; g < machine->gpu_count && g < DGO_GPU_MAX; g++) {
        const struct dgo_gpu *gpu = &machine->gpu[g];

        if ((gpu_mask == 0 || gpu_mask >> g & 1) && gpu->problem[0] == '\0' &&
            assign_free_bytes(gpu) > 0)
            gpus[count++] = g;
    }
    return count;
}

/* Past the exact search the caller's order counts: fastest first. */
static void order_gpus(struct search *search)
{
    if (search->gpu_count <= PLACE_EXACT_MAX)
        return;
    for (uint32_t i = 1; i < search->gpu_count; i++) {
        const uint32_t gpu = search->gpu[i];
        uint32_t at = i;

        for (; at > 0 &&
               search->cost.rates.gpu_rate[search->gpu[at - 1]] < search->cost.rates.gpu_rate[gpu];
             at--)
            search->gpu[at] = search->gpu[at - 1];
        search->gpu[at] = gpu;
    }
}

void variants_cost(struct search *search, uint32_t concurrent)
{
    const struct search_request *request = search->request;

    cost_make(request->machine, &search->memory,
              &(struct cost_request){.slot_count = search->settings.slot_count,
                                     .concurrent = concurrent,
                                     .gpu_mask = request->gpu_mask,
                                     .prompt_tokens = request->prompt_tokens,
                                     .generated_tokens = request->generated_tokens},
              &search->cost);
}

/* Memory and cost of the settings with `cpu_moe` layers' experts in host memory. */
enum dgo_status variants_load(struct search *search, uint32_t cpu_moe, struct dgo_error *err)
{
    const struct search_request *request = search->request;
    enum dgo_status status = DGO_OK;

    search->settings = request->settings;
    search->settings.cpu_moe_layer_count = cpu_moe;
    search->settings.remote = request->machine->node_count > 1;
    status = memory_make(request->model, &search->settings, request->rules, &search->memory, err);
    if (status != DGO_OK)
        return status;
    variants_cost(search, request->concurrent_requests);
    search->gpu_count = search_usable(request->machine, request->gpu_mask, search->gpu);
    order_gpus(search);
    return DGO_OK;
}

enum dgo_status variants_new(const struct search_request *request, struct search **search,
                             struct dgo_error *err)
{
    struct search *fresh = calloc(1, sizeof *fresh);

    if (!fresh)
        return dgo_fail(err, DGO_ENOMEM, "no memory to search for a placement");
    fresh->request = request;
    const enum dgo_status status = variants_load(fresh, request->settings.cpu_moe_layer_count, err);

    if (status != DGO_OK) {
        free(fresh);
        return status;
    }
    *search = fresh;
    return DGO_OK;
}

static uint64_t minus(uint64_t a, uint64_t b)
{
    return a > b ? a - b : 0;
}

/* Taken by a device for being used at all: compute buffer, its safety, one copy of the tables. */
static uint64_t fixed_bytes(const struct search *search, uint32_t place_role, bool single,
                            uint32_t cpu_layers, const struct memory_role *run)
{
    const struct memory_role role = {
        .position = place_role & PLACE_FIRST ? 0 : 1,
        .device_count = single ? 1 : 2,
        .holds_layers = !run || run->holds_layers,
        .holds_output = place_role & PLACE_LAST,
        .holds_block = search->memory.draft.used && place_role & PLACE_LAST,
        .first_layer_only = run && run->first_layer_only,
        .last_layer_only = run && run->last_layer_only,
        .pipeline = memory_pipeline(&search->memory, single ? 1 : 2, cpu_layers, false),
        .cpu_layer_count = cpu_layers,
    };
    enum dgo_figure_source source = DGO_FIGURE_FORMULA;
    const uint64_t compute = memory_role_bytes(&search->memory, &role, &source);

    return compute + (role.holds_layers ? search->memory.table_bytes : 0) +
           (search->request->safety ? memory_safety_bytes(compute, source) : 0);
}

/* Host memory with the first `cpu_layers` layers there. */
static uint64_t host_bytes(const struct search *search, uint32_t cpu_layers, bool single)
{
    const struct plan_memory *m = &search->memory;
    const bool pipeline = memory_pipeline(m, single ? 1 : 2, cpu_layers, false);
    uint64_t bytes = m->host_input_bytes + m->host_output_bytes +
                     (cpu_layers > 0 ? m->host_table_bytes : 0) +
                     memory_host_role_bytes(m, single ? 1 : 2, pipeline, cpu_layers, false) +
                     m->draft.block.kept_weights_bytes + m->draft.block.kept_context_bytes;

    for (uint32_t l = 0; l < m->layer_count; l++)
        bytes += l < cpu_layers ? m->host_weights_bytes[l] + m->host_context_bytes[l]
                                : m->kept_weights_bytes[l] + m->kept_context_bytes[l];
    return bytes;
}

static bool host_holds(const struct search *search, uint32_t cpu_layers, bool single)
{
    const struct dgo_host *host = &search->request->machine->host;

    return search->host_endless || !host->memory_known ||
           host_bytes(search, cpu_layers, single) <= host->free_bytes;
}

uint32_t variants_experts_held(const struct search *search)
{
    const struct dgo_host *host = &search->request->machine->host;
    uint32_t count = search->memory.layer_count;
    uint64_t bytes = dgo_min_u64(host_bytes(search, 0, true), host_bytes(search, 0, false));

    while (host->memory_known && count > 0 && bytes > host->free_bytes)
        bytes -= search->memory.kept_weights_bytes[--count];
    return count;
}

/* How many first layers may go to the CPU; false when host memory is too small for any variant. */
static bool fill_cpu(struct search *search, bool single)
{
    struct place_problem *p = &search->problem;
    const bool wanted = search->request->room == SEARCH_CPU;
    uint32_t most = wanted ? search->memory.layer_count : 0;

    while (most > 0 && !host_holds(search, most, single))
        most--;
    p->cpu_items_min = wanted ? 1 : 0;
    p->cpu_items_max = most;
    return most >= p->cpu_items_min && host_holds(search, most, single);
}

/* The price of a card more than one: of the time a request would take if every layer ran where it
 * runs best. */
static double card_price(const struct place_problem *p)
{
    double best = 0;

    for (uint32_t l = 0; l < p->item_count && p->device_count > 0; l++) {
        double least = p->device[0].cost[l];

        for (uint32_t d = 1; d < p->device_count; d++)
            least = fmin(least, p->device[d].cost[l]);
        best += least;
    }
    return VARIANTS_CARD_PRICE * best;
}

static void fill_times(struct search *search, bool pipeline)
{
    const struct cost_model *cost = &search->cost;
    struct place_problem *p = &search->problem;
    const double tokens = cost->generated_tokens;
    /* A step serves every request; their prompts come one after the other. */
    const double passes = cost->concurrent * (pipeline ? cost->batch_count : cost->ubatch_count);

    for (uint32_t d = 0; d < p->device_count; d++) {
        const int32_t gpu = (int32_t)search->gpu[d];

        for (uint32_t l = 0; l < p->item_count; l++) {
            p->device[d].stage[l] = cost_prefill_s(cost, gpu, l);
            p->device[d].cost[l] =
                tokens * cost_decode_s(cost, gpu, l) + passes * p->device[d].stage[l];
        }
        p->cpu_boundary[d] = tokens * cost_hop_decode_s(cost, COST_CPU, gpu) +
                             passes * cost_hop_prefill_s(cost, COST_CPU, gpu);
    }
    const double price = card_price(p);

    for (uint32_t from = 0; from < p->device_count; from++)
        for (uint32_t to = 0; to < p->device_count; to++) {
            const int32_t a = (int32_t)search->gpu[from], b = (int32_t)search->gpu[to];

            p->boundary[from][to] = price + tokens * cost_hop_decode_s(cost, a, b) +
                                    passes * cost_hop_prefill_s(cost, a, b);
        }
    for (uint32_t l = 0; l < p->item_count; l++)
        p->cpu_cost[l] =
            tokens * cost_decode_s(cost, COST_CPU, l) + passes * cost_prefill_s(cost, COST_CPU, l);
    p->stage_weight =
        pipeline ? fmax(cost->concurrent * cost_pipeline_repeats(cost), EVEN_WEIGHT) : 0;
}

static void fill_rooms(struct search *search, bool single, uint64_t extra, uint64_t spare)
{
    const struct search_request *request = search->request;
    const uint32_t cpu_layers = request->room == SEARCH_CPU ? 1 : 0;
    struct place_problem *p = &search->problem;
    /* Short runs at the ends have smaller buffers: compute.c. */
    static const struct memory_role first_alone = {.holds_layers = true, .first_layer_only = true};
    static const struct memory_role last_alone = {.holds_layers = true, .last_layer_only = true};
    static const struct memory_role output_alone = {0};
    uint64_t fixed[PLACE_ROLE_COUNT];

    for (uint32_t role = 0; role < PLACE_ROLE_COUNT; role++)
        fixed[role] = fixed_bytes(search, role, single, cpu_layers, NULL);
    const uint64_t head = fixed_bytes(search, PLACE_FIRST, single, cpu_layers, &first_alone);
    const uint64_t output = fixed_bytes(search, PLACE_LAST, single, cpu_layers, &output_alone);
    const uint64_t last = fixed_bytes(search, PLACE_LAST, single, cpu_layers, &last_alone);

    for (uint32_t d = 0; d < p->device_count; d++) {
        const uint32_t g = search->gpu[d];
        const struct dgo_gpu *gpu = &request->machine->gpu[g];

        p->device[d].room_bytes = minus(assign_free_bytes(gpu) + extra,
                                        request->margin_bytes[g] + memory_overhead_bytes(gpu) +
                                            search->withheld_bytes[g] + spare);
        memcpy(p->device[d].fixed_bytes, fixed, sizeof fixed);
        p->device[d].head_fixed_bytes = dgo_min_u64(head, fixed[PLACE_FIRST]);
        p->device[d].tail_fixed_bytes[0] = dgo_min_u64(output, fixed[PLACE_LAST]);
        p->device[d].tail_fixed_bytes[1] = dgo_min_u64(last, fixed[PLACE_LAST]);
    }
}

/* The split problem of one variant: a single device or several, `extra` bytes more on each card
 * than there are (nearest), `spare` bytes less (most spare).  False: the host cannot hold its
 * part. */
static bool fill_problem(struct search *search, bool single, uint64_t extra, uint64_t spare)
{
    const struct plan_memory *m = &search->memory;
    struct place_problem *p = &search->problem;
    const uint32_t cpu_layers = search->request->room == SEARCH_CPU ? 1 : 0;

    p->item_count = m->layer_count + 1;
    p->device_count = search->gpu_count;
    p->single = single;
    p->device_min = search->request->every_gpu ? search->gpu_count : 0;
    for (uint32_t l = 0; l < p->item_count; l++)
        p->bytes[l] = m->weights_bytes[l] + m->context_bytes[l];
    /* Shares count the next-token block with the output: write_settings. */
    p->bytes[m->layer_count] += m->draft.block.weights_bytes + m->draft.block.context_bytes;
    fill_rooms(search, single, extra, spare);
    fill_times(search, memory_pipeline(m, single ? 1 : 2, cpu_layers, false));
    return fill_cpu(search, single) || extra > 0;
}

/* Variants in the order in which a tie is settled: one card before several. */
static bool variant_possible(const struct search *search, uint32_t variant, bool *single)
{
    *single = variant == 0;
    if (*single)
        return search->gpu_count == 1 || !search->request->every_gpu;
    return search->gpu_count > 1 && !search->request->one_gpu;
}

enum dgo_status variants_fit(struct search *search, uint64_t extra, uint64_t spare, bool *fits,
                             struct dgo_error *err)
{
    bool single = false;

    *fits = false;
    for (uint32_t variant = 0; variant < 2 && !*fits; variant++) {
        enum dgo_status status = DGO_OK;

        if (!variant_possible(search, variant, &single) ||
            !fill_problem(search, single, extra, spare))
            continue;
        status = place_fits(&search->problem, fits, err);
        if (status != DGO_OK)
            return status;
    }
    return DGO_OK;
}

enum dgo_status variants_solve(struct search *search, uint64_t extra, uint64_t spare, bool *found,
                               struct place_answer *best, struct dgo_error *err)
{
    bool single = false;

    *found = false;
    for (uint32_t variant = 0; variant < 2; variant++) {
        struct place_answer answer;
        enum dgo_status status = DGO_OK;
        bool here = false;

        if (!variant_possible(search, variant, &single) ||
            !fill_problem(search, single, extra, spare))
            continue;
        status = place_solve(&search->problem, &here, &answer, err);
        if (status != DGO_OK)
            return status;
        if (here && (!*found || answer.cost < best->cost)) {
            *best = answer;
            *found = true;
        }
    }
    return DGO_OK;
}

/* Of a row of cards; short runs at its ends take less (fill_rooms). */
static uint64_t least_of_several(const struct place_device *device)
{
    uint64_t least =
        dgo_min_u64(device->head_fixed_bytes,
                    dgo_min_u64(device->tail_fixed_bytes[0], device->tail_fixed_bytes[1]));

    for (uint32_t role = 0; role < PLACE_ROLE_COUNT; role++)
        least = dgo_min_u64(least, device->fixed_bytes[role]);
    return least;
}

/* What each card has for weights and cache in its most favourable role: for the lower bound. */
void variants_widest_rooms(struct search *search, uint64_t rooms[DGO_GPU_MAX])
{
    bool single = false;

    memset(rooms, 0, sizeof(uint64_t[DGO_GPU_MAX]));
    for (uint32_t variant = 0; variant < 2; variant++) {
        if (!variant_possible(search, variant, &single))
            continue;
        fill_rooms(search, single, 0, 0);
        for (uint32_t d = 0; d < search->problem.device_count; d++) {
            const struct place_device *device = &search->problem.device[d];

            const uint64_t least =
                single ? device->fixed_bytes[PLACE_FIRST | PLACE_LAST] : least_of_several(device);

            rooms[search->gpu[d]] =
                dgo_max_u64(rooms[search->gpu[d]], minus(device->room_bytes, least));
        }
    }
}
