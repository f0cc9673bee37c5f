/* ranked.c - a partition as a plan, and the environment of engines that run one process a card. */
#include "ranked.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "dgo_units.h"

/* ---- the question ---- */

static enum dgo_status choose_kv_type(const struct ranked_rules *rules,
                                      const struct dgo_engine_question *question,
                                      const struct ranked_kv_type **chosen, struct dgo_error *err)
{
    char known[256];
    struct dgo_text text = DGO_TEXT(known);

    *chosen = &rules->kv_types[0];
    if (!question->kv_type)
        return DGO_OK;
    for (const struct ranked_kv_type *type = rules->kv_types; type->name; type++) {
        if (strcasecmp(type->name, question->kv_type) == 0) {
            *chosen = type;
            return DGO_OK;
        }
        dgo_text_addf(&text, "%s%s", text.length ? ", " : "", type->name);
    }
    return dgo_fail(err, DGO_EUSAGE, "--kv-type: %s has no cache of type '%.20s'; it has %s",
                    rules->partition->engine, question->kv_type, known);
}

static bool is_doubled(uint32_t count)
{
    return (count & (count - 1)) == 0; /* 0: not said */
}

static enum dgo_status check(const struct ranked_rules *rules,
                             const struct dgo_engine_question *question, struct dgo_error *err)
{
    if (rules->no_stages && question->pipeline_parallel > 1)
        return dgo_fail(err, DGO_EUNSUPPORTED,
                        "%s cuts layers into shards only; it has no pipeline of stages (--pp)",
                        rules->partition->engine);
    if (rules->no_shards && question->tensor_parallel > 1)
        return dgo_fail(err, DGO_EUNSUPPORTED, "%s spreads whole layers only (--tp must be 1)",
                        rules->partition->engine);
    if (rules->doubled_shards && !is_doubled(question->tensor_parallel))
        return dgo_fail(err, DGO_EUNSUPPORTED,
                        "%s cuts layers into 1, 2, 4, 8, ... shards; --tp %" PRIu32 " is none",
                        rules->partition->engine, question->tensor_parallel);
    if (question->intent->flash_attention_off)
        return dgo_fail(err, DGO_EUNSUPPORTED,
                        "%s chooses its attention kernels itself; leave out --no-flash-attention",
                        rules->partition->engine);
    return DGO_OK;
}

static uint64_t free_bytes_of(const struct dgo_machine *machine, uint32_t mask)
{
    uint64_t bytes = 0;

    for (uint32_t g = 0; g < machine->gpu_count; g++)
        if (mask >> g & 1 && dgo_gpu_knows(&machine->gpu[g], DGO_GPU_FREE_BYTES))
            bytes += machine->gpu[g].free_bytes;
    return bytes;
}

/* Cards that the engine's kernels run on, of those that may be used: one maker's, the roomier. */
static enum dgo_status usable_cards(const struct ranked_rules *rules,
                                    const struct dgo_engine_question *question, uint32_t *mask,
                                    struct dgo_error *err)
{
    const struct dgo_machine *machine = question->machine;
    uint32_t old = machine->gpu_count, foreign = machine->gpu_count;
    uint32_t nvidia = 0, amd = 0;

    for (uint32_t g = 0; g < machine->gpu_count; g++) {
        const struct dgo_gpu *gpu = &machine->gpu[g];
        const bool told =
            dgo_gpu_knows(gpu, DGO_GPU_COMPUTE_MAJOR) && dgo_gpu_knows(gpu, DGO_GPU_COMPUTE_MINOR);

        if (question->intent->gpu_mask && !(question->intent->gpu_mask >> g & 1))
            continue;
        if (gpu->vendor == DGO_VENDOR_INTEL || (gpu->vendor == DGO_VENDOR_AMD && !rules->amd))
            foreign = g;
        else if (gpu->vendor == DGO_VENDOR_AMD)
            amd |= 1u << g;
        else if (told && gpu->compute_major * 10 + gpu->compute_minor < rules->least_compute)
            old = g;
        else
            nvidia |= 1u << g; /* unknown ones, too: their names are a machine file's */
    }
    *mask = free_bytes_of(machine, amd) > free_bytes_of(machine, nvidia) ? amd : nvidia;
    if (question->intent->every_gpu && amd && nvidia)
        return dgo_fail(
            err, DGO_EUNSUPPORTED,
            "%s has one build for NVIDIA's cards and one for AMD's, and no process uses "
            "both; choose one maker's with --use",
            rules->partition->engine);
    if (*mask == 0 && foreign < machine->gpu_count)
        return dgo_fail(err, DGO_EUNSUPPORTED,
                        "%s is planned for NVIDIA's%s cards, and gpu %" PRIu32
                        " (%s) is another maker's; plan for llama.cpp, which runs on it",
                        rules->partition->engine, rules->amd ? " and AMD's" : "", foreign,
                        machine->gpu[foreign].name);
    if (*mask == 0 && old < machine->gpu_count)
        return dgo_fail(err, DGO_EUNSUPPORTED,
                        "%s needs cards of compute capability %" PRIu32 ".%" PRIu32 "; gpu %" PRIu32
                        " (%s) has %" PRIu32 ".%" PRIu32
                        ": plan for llama.cpp, which runs on older ones",
                        rules->partition->engine, rules->least_compute / 10,
                        rules->least_compute % 10, old, machine->gpu[old].name,
                        machine->gpu[old].compute_major, machine->gpu[old].compute_minor);
    return DGO_OK;
}

/* Rows of a group that shares a scale, where a shard must be a multiple of it. */
static uint32_t quant_group(const struct dgo_model *model)
{
    static const char *const methods[] = {"awq", "gptq", "compressed-tensors", "auto-round"};

    for (size_t i = 0; i < sizeof methods / sizeof methods[0]; i++)
        if (strcmp(model->quantization.method, methods[i]) == 0)
            return model->quantization.group_size;
    return 0;
}

/* ---- the search ---- */

static bool is_better(const struct dgo_partition *a, const struct dgo_partition *b, bool by_tokens)
{
    if (a->fits != b->fits)
        return a->fits;
    if (!a->fits)
        return a->missing_bytes < b->missing_bytes;
    return by_tokens ? a->kv_tokens > b->kv_tokens
                     : a->decode_tokens_per_second > b->decode_tokens_per_second;
}

static uint32_t usable_count(const struct dgo_partition_request *request)
{
    uint32_t count = 0;

    for (uint32_t g = 0; g < request->machine->gpu_count; g++)
        count += (!request->gpu_mask || request->gpu_mask >> g & 1) &&
                 !request->machine->gpu[g].problem[0];
    return count;
}

/* Whether a stage's shards lie on several machines: every layer would wait for the network twice.
 */
static bool crosses_machines(const struct dgo_machine *machine,
                             const struct dgo_partition *partition)
{
    for (uint32_t r = 1; r < partition->rank_count; r++)
        if (partition->rank[r].stage == partition->rank[r - 1].stage &&
            machine->gpu_node[partition->rank[r].gpu_index] !=
                machine->gpu_node[partition->rank[r - 1].gpu_index])
            return true;
    return false;
}

/* Whether the ranks begin on this machine and never come back to one that they left. */
static bool is_in_order(const struct dgo_machine *machine, const struct dgo_partition *partition)
{
    uint32_t left = 0, node = 0;

    for (uint32_t r = 0; r < partition->rank_count; r++) {
        const uint32_t next = machine->gpu_node[partition->rank[r].gpu_index];

        if (next != node && (r == 0 || left >> next & 1))
            return false;
        left |= 1u << node;
        node = next;
    }
    return true;
}

/* Among cuts alike the partition takes any order of the cards.  Engines over several machines want
 * their first rank here: where it is not, the cards are shown the other way round, and what comes
 * of it is taken if it is no worse. */
static enum dgo_status make_on_machines(const struct dgo_partition_rules *rules,
                                        const struct dgo_partition_request *request,
                                        struct dgo_partition *made, struct dgo_error *err)
{
    const struct dgo_machine *machine = request->machine;
    const uint32_t last = machine->gpu_count - 1;
    enum dgo_status status = dgo_partition_make(rules, request, made, err);
    struct dgo_partition_request turned = *request;
    struct dgo_partition other = {0};
    struct dgo_machine *copy;

    if (status != DGO_OK || machine->node_count < 2 || is_in_order(machine, made))
        return status;
    copy = malloc(sizeof *copy);
    if (!copy)
        return dgo_fail(err, DGO_ENOMEM, "out of memory for a plan");
    *copy = *machine;
    turned.machine = copy;
    turned.gpu_mask = 0;
    for (uint32_t g = 0; g <= last; g++) {
        copy->gpu[g] = machine->gpu[last - g];
        copy->gpu_node[g] = machine->gpu_node[last - g];
        turned.gpu_mask |= (request->gpu_mask >> (last - g) & 1) << g;
        for (uint32_t b = 0; b <= last; b++)
            copy->link[g][b] = machine->link[last - g][last - b];
    }
    if (dgo_partition_make(rules, &turned, &other, NULL) == DGO_OK &&
        other.kv_tokens >= made->kv_tokens) {
        for (uint32_t r = 0; r < other.rank_count; r++)
            other.rank[r].gpu_index = last - other.rank[r].gpu_index;
        if (is_in_order(machine, &other))
            *made = other;
    }
    free(copy);
    return status;
}

/* No shape was even tried: more cards are asked for than there are, or another number. */
static enum dgo_status fail_shapes(const struct ranked_rules *rules,
                                   const struct dgo_partition_request *request, uint32_t shards,
                                   uint32_t stages, struct dgo_error *err)
{
    const uint32_t cards = usable_count(request);
    const uint32_t asked = (shards ? shards : 1) * (stages ? stages : 1);
    const uint32_t left_out = request->machine->gpu_count - cards;
    char others[96] = "";

    if (left_out > 0)
        snprintf(others, sizeof others,
                 " of the machine's %" PRIu32 " (the others are too old, "
                 "another maker's or not allowed)",
                 request->machine->gpu_count);
    if (asked > cards)
        return dgo_fail(err, DGO_EINVAL,
                        "--tp %" PRIu32 " and --pp %" PRIu32 " need %" PRIu32
                        " cards, and %s can use %" PRIu32 "%s",
                        shards ? shards : 1, stages ? stages : 1, asked, rules->partition->engine,
                        cards, others);
    return dgo_fail(err, DGO_EINVAL,
                    "no shape of %s takes exactly its %" PRIu32
                    " cards%s as asked for (--tp, --pp, --spread); leave one of these out",
                    rules->partition->engine, cards, others);
}

/* All shapes that the engine can run; the best by speed or by room.  `every_gpu`: only shapes that
 * take all cards. */
static enum dgo_status search_shapes(const struct ranked_rules *rules,
                                     struct dgo_partition_request request, bool by_tokens,
                                     bool every_gpu, struct dgo_partition *best,
                                     struct dgo_error *err)
{
    const uint32_t cards = usable_count(&request);
    const uint32_t tp_only = request.tensor_parallel, pp_only = request.pipeline_parallel;
    enum dgo_status status = DGO_ENOFIT;
    bool found = false;

    for (uint32_t tp = 1; tp <= (rules->no_shards ? 1 : cards); tp++) {
        for (uint32_t pp = 1; pp * tp <= cards && (pp == 1 || !rules->no_stages); pp++) {
            struct dgo_partition made = {0};
            struct dgo_error refused = {0};
            enum dgo_status one;

            if ((tp_only && tp != tp_only) || (pp_only && pp != pp_only) ||
                (every_gpu && tp * pp != cards) || (rules->doubled_shards && !is_doubled(tp)))
                continue;
            request.tensor_parallel = tp;
            request.pipeline_parallel = pp;
            one = make_on_machines(rules->partition, &request, &made, &refused);
            if ((one != DGO_OK && one != DGO_ENOFIT) || made.rank_count == 0) {
                if (!found && err)
                    *err = refused; /* a sentence, should no shape do */
                status = found ? status : one;
                continue;
            }
            if (tp > 1 && crosses_machines(request.machine, &made))
                continue;
            if (rules->even_only && pp > 1 && !made.even)
                continue;
            if (found && !is_better(&made, best, by_tokens))
                continue;
            found = true;
            *best = made;
            status = one;
            if (err)
                *err = refused;
        }
    }
    return !found && status == DGO_ENOFIT ? fail_shapes(rules, &request, tp_only, pp_only, err)
                                          : status;
}

/* ---- the plan ---- */

static void fill_device(const struct dgo_machine *machine, const struct dgo_partition *partition,
                        const struct dgo_partition_rules *rules, uint32_t r,
                        struct dgo_device_estimate *device)
{
    const struct dgo_partition_rank *rank = &partition->rank[r];
    const struct dgo_gpu *gpu = &machine->gpu[rank->gpu_index];
    uint64_t used;

    *device = (struct dgo_device_estimate){
        .gpu_index = rank->gpu_index,
        .layer_count = partition->layer_count[rank->stage],
        .holds_output = rank->stage + 1 == partition->pipeline_parallel,
        .weights_bytes = rank->weights_bytes,
        .context_bytes = rank->kv_bytes_per_token * partition->kv_tokens,
        .compute_bytes = rank->activation_bytes,
        .free_bytes = dgo_gpu_knows(gpu, DGO_GPU_FREE_BYTES) ? gpu->free_bytes : 0,
        .compute_source = DGO_FIGURE_BOUND,
    };
    for (uint32_t s = 0; s < rank->stage; s++)
        device->layer_first += partition->layer_count[s];
    used = device->weights_bytes + device->context_bytes + device->compute_bytes;
    /* What the engine is told to leave alone. */
    if (rules->memory_rule == DGO_PARTITION_OF_TOTAL && device->free_bytes > rank->budget_bytes)
        device->margin_bytes = device->free_bytes - rank->budget_bytes;
    else if (rules->memory_rule == DGO_PARTITION_OF_FREE && device->free_bytes > used)
        device->margin_bytes =
            dgo_min_u64(device->free_bytes - used,
                        device->free_bytes - dgo_min_u64(rank->budget_bytes, device->free_bytes));
}

static void fill_plan(const struct ranked_rules *rules, const struct dgo_engine_question *question,
                      const struct dgo_partition_request *request,
                      const struct ranked_kv_type *kv_type, struct dgo_plan *plan)
{
    const struct dgo_partition *partition = &plan->partition;
    struct dgo_estimate *estimate = &plan->estimate;
    struct dgo_settings *settings = &plan->settings;

    plan->partitioned = true;
    plan->every_gpu = question->intent->every_gpu;
    (void)dgo_text_copy(plan->kv_type, sizeof plan->kv_type, kv_type->flag);
    settings->ctx_tokens = request->ctx_tokens;
    settings->slot_count = request->request_count;
    settings->batch_tokens = settings->ubatch_tokens = request->batch_tokens;
    settings->gpu_layer_count = question->model->layer_count + 1;
    settings->device_count = estimate->device_count = partition->rank_count;
    if (rules->pool_as_asked && partition->fits)
        plan->partition.kv_tokens =
            dgo_min_u64(partition->kv_tokens,
                        dgo_pad_u64((uint64_t)request->ctx_tokens * request->request_count,
                                    rules->partition->block_tokens));
    for (uint32_t r = 0; r < partition->rank_count; r++) {
        settings->device_gpu[r] = partition->rank[r].gpu_index;
        fill_device(question->machine, partition, rules->partition, r, &estimate->device[r]);
    }
    estimate->build = 1; /* there is a placement; whose figures they are, the engine's name says */
    estimate->ctx_tokens_per_slot = settings->ctx_tokens;
    estimate->ctx_tokens =
        (uint32_t)dgo_min_u64(UINT32_MAX, (uint64_t)settings->ctx_tokens * settings->slot_count);
    estimate->batch_tokens = estimate->ubatch_tokens = request->batch_tokens;
    estimate->pipeline = partition->pipeline_parallel > 1;
    estimate->fits = partition->fits;
    estimate->limiting_device = partition->fits ? -2 : (int32_t)partition->limiting_rank;
    estimate->missing_bytes = partition->missing_bytes;
    estimate->host.free_known = question->machine->host.memory_known;
    estimate->host.free_bytes = question->machine->host.free_bytes;
    plan->predicted.decode_tokens_per_second = partition->decode_tokens_per_second;
    ranked_name_devices(question->machine, settings, estimate);
}

static uint32_t default_ctx(const struct dgo_model *model)
{
    enum { SANE_CTX = 8192 };

    return model->context_length && model->context_length < SANE_CTX ? model->context_length
                                                                     : SANE_CTX;
}

/* The longest context that the pool of the roomiest shape serves for every request. */
static uint32_t longest_ctx(const struct dgo_model *model, const struct dgo_partition *partition,
                            uint32_t request_count, uint32_t block_tokens)
{
    uint64_t most = partition->kv_tokens / request_count / block_tokens * block_tokens;

    if (model->context_length)
        most = dgo_min_u64(most, model->context_length);
    return (uint32_t)dgo_min_u64(most, UINT32_MAX - 1);
}

/* Requests of full length that the pool serves side by side. */
static uint32_t served(const struct ranked_rules *rules, const struct dgo_partition *partition,
                       uint32_t ctx_tokens)
{
    const uint64_t count = partition->kv_tokens / (ctx_tokens ? ctx_tokens : 1);

    return (uint32_t)dgo_max_u64(1, dgo_min_u64(count, rules->requests_most));
}

enum dgo_status ranked_plan(const struct ranked_rules *rules,
                            const struct dgo_engine_question *question, struct dgo_plan *plan,
                            struct dgo_error *err)
{
    const struct dgo_intent *intent = question->intent;
    const bool longest = intent->ctx_tokens == DGO_CTX_MAX;
    const bool by_tokens = longest || intent->objective != DGO_OBJECTIVE_SPEED;
    const struct ranked_kv_type *kv_type;
    struct dgo_partition_request request = {
        .machine = question->machine,
        .model = question->model,
        .tensor_parallel = question->tensor_parallel,
        .pipeline_parallel = question->pipeline_parallel,
        .memory_share = question->memory_share,
        .request_count = question->requests_given && intent->slot_count ? intent->slot_count : 1,
        .batch_tokens = intent->batch_tokens ? intent->batch_tokens : rules->batch_tokens,
        .quant_group = quant_group(question->model),
    };
    struct dgo_plan made = {0};
    enum dgo_status status = check(rules, question, err);

    if (status == DGO_OK)
        status = usable_cards(rules, question, &request.gpu_mask, err);
    if (status == DGO_OK)
        status = choose_kv_type(rules, question, &kv_type, err);
    if (status != DGO_OK)
        return status;
    request.kv_value_bytes = kv_type->value_bytes;
    request.ctx_tokens = longest              ? rules->partition->block_tokens
                         : intent->ctx_tokens ? intent->ctx_tokens
                                              : default_ctx(question->model);
    status = search_shapes(rules, request, by_tokens, intent->every_gpu, &made.partition, err);
    if (status != DGO_OK && (status != DGO_ENOFIT || made.partition.rank_count == 0))
        return status;
    if (longest && status == DGO_OK)
        request.ctx_tokens = longest_ctx(question->model, &made.partition, request.request_count,
                                         rules->partition->block_tokens);
    if (status == DGO_OK && !question->requests_given)
        request.request_count = served(rules, &made.partition, request.ctx_tokens);
    fill_plan(rules, question, &request, kv_type, &made);
    *plan = made;
    return status;
}

void ranked_name_devices(const struct dgo_machine *machine, const struct dgo_settings *settings,
                         struct dgo_estimate *estimate)
{
    (void)machine;
    (void)settings;
    for (uint32_t d = 0; d < estimate->device_count; d++)
        snprintf(estimate->device[d].name, sizeof estimate->device[d].name, "CUDA%u", (unsigned)d);
}

bool ranked_partition_text(const struct dgo_plan *plan, char *text, size_t size)
{
    const struct dgo_partition *partition = &plan->partition;
    struct dgo_text list = {.data = text, .size = size};

    text[0] = '\0';
    for (uint32_t s = 0; s < partition->pipeline_parallel; s++)
        dgo_text_addf(&list, "%s%" PRIu32, s ? "," : "", partition->layer_count[s]);
    return partition->pipeline_parallel > 1 && !partition->even;
}

void ranked_share_text(double share, char text[16])
{
    snprintf(text, 16, "%.2f", (double)(int)(share * 100 + 1e-6) / 100);
}

uint32_t ranked_machines(const struct dgo_machine *machine, const struct dgo_plan *plan,
                         bool *alike)
{
    const struct dgo_settings *settings = &plan->settings;
    uint32_t count[DGO_NODE_MAX] = {0}, used = 0, changes = 0;

    for (uint32_t d = 0; d < settings->device_count; d++) {
        const uint32_t node = machine->gpu_node[settings->device_gpu[d]];

        used += count[node]++ == 0;
        changes += d > 0 && node != machine->gpu_node[settings->device_gpu[d - 1]];
    }
    *alike = settings->device_count > 0 && machine->gpu_node[settings->device_gpu[0]] == 0 &&
             changes + 1 == used;
    for (uint32_t n = 1; n < machine->node_count; n++)
        *alike = *alike && (count[n] == 0 || count[n] == count[0]);
    return used;
}

enum dgo_status ranked_address(const struct dgo_launch_options *options, struct dgo_error *err)
{
    if (strncmp(options->host, "127.", 4) != 0 && strcmp(options->host, "localhost") != 0 &&
        strcmp(options->host, "::1") != 0 && strcmp(options->host, "0.0.0.0") != 0)
        return DGO_OK;
    return dgo_fail(err, DGO_EUSAGE,
                    "the plan uses other machines, which must reach this one: give its address on "
                    "your own network with --host (it is %s now)",
                    options->host);
}

double ranked_cache_fraction(const struct dgo_plan *plan, bool buffers_first, double most)
{
    double fraction = 0.01;

    for (uint32_t d = 0; d < plan->estimate.device_count; d++) {
        const struct dgo_device_estimate *device = &plan->estimate.device[d];
        const uint64_t taken = device->weights_bytes + (buffers_first ? device->compute_bytes : 0);

        if (device->free_bytes > taken)
            fraction = fmax(fraction,
                            (double)device->context_bytes / (double)(device->free_bytes - taken));
    }
    return fmin(fraction, most);
}
