/* search.c - settings to placement: solves the variants and has the answer confirmed by the
 * estimate. */
#include "search.h"

#include <stdlib.h>
#include <string.h>

#include "dgo_units.h"
#include "variants.h"

/* The estimate may not agree at once where a role's bytes follow the placement itself. */
#define REPAIR_MAX 4

/* Of a step, and no more than sums in another order differ by. */
#define GAP_NONE 1e-9

/* The -ngl, -dev and -ts that make the engine place layers like `answer`.  Integer counts are
 * exact: the engine compares float(i)/n with float(sum)/n, and both roundings are monotone. */
static void write_settings(const struct search *search, const struct place_answer *answer,
                           struct dgo_settings *settings)
{
    *settings = search->settings;
    settings->gpu_layer_count = assign_all_layers(search->request->model) - answer->cpu_items;
    settings->split_mode = DGO_SPLIT_LAYER;
    settings->device_count = answer->segment_count;
    settings->tensor_split_given = answer->segment_count > 1;
    memset(settings->device_gpu, 0, sizeof settings->device_gpu);
    memset(settings->tensor_split, 0, sizeof settings->tensor_split);
    for (uint32_t s = 0; s < answer->segment_count; s++) {
        settings->device_gpu[s] = search->gpu[answer->segment[s].device];
        settings->tensor_split[s] = (float)answer->segment[s].count;
    }
    /* Next-token blocks are counted between the last layer and the output. */
    if (settings->tensor_split_given)
        settings->tensor_split[answer->segment_count - 1] +=
            (float)search->request->model->mtp_layer_count;
    else
        memset(settings->tensor_split, 0, sizeof settings->tensor_split);
}

/* Estimate with the margins, and the safety of each device's own compute figure on top. */
static enum dgo_status estimate_with_safety(const struct search_request *request,
                                            const struct dgo_settings *settings,
                                            struct dgo_estimate *estimate, struct dgo_error *err)
{
    uint64_t margins[DGO_GPU_MAX];
    enum dgo_status status =
        dgo_estimate_make(request->machine, request->model, settings, request->rules,
                          request->margin_bytes, estimate, err);

    if (status != DGO_OK || !request->safety)
        return status;
    memcpy(margins, request->margin_bytes, sizeof margins);
    for (uint32_t d = 0; d < estimate->device_count; d++) {
        const struct dgo_device_estimate *device = &estimate->device[d];

        margins[device->gpu_index] +=
            memory_safety_bytes(device->compute_bytes, device->compute_source);
    }
    return dgo_estimate_make(request->machine, request->model, settings, request->rules, margins,
                             estimate, err);
}

/* The search may have been for several requests at once, and so is the bound; what is told beside
 * it is one request alone, and what all get together. */
static void predict(struct search *search, const struct dgo_estimate *estimate,
                    struct dgo_prediction *predicted)
{
    const struct search_request *request = search->request;
    const struct cost_model *cost = &search->cost;
    const double together = cost_decode_step_s(cost, estimate);
    uint64_t rooms[DGO_GPU_MAX];

    search->problem.device_count = search->gpu_count;
    memset(search->withheld_bytes, 0, sizeof search->withheld_bytes);
    variants_widest_rooms(search, rooms);
    const double bound = cost_lower_bound_s(cost, &search->memory, rooms);

    *predicted = (struct dgo_prediction){
        .lower_bound_gap =
            bound > 0 && together > bound * (1 + GAP_NONE) ? (together - bound) / bound : 0,
        .bandwidth_assumed = cost->rates.host_assumed && estimate->host.layer_count > 0,
        .prompt_tokens = cost->prompt_tokens,
        .generated_tokens = cost->generated_tokens,
        .concurrent_requests = request->concurrent_requests,
        .throughput_tokens_per_second = together > 0 ? cost->concurrent / together : 0,
    };
    for (uint32_t d = 0; d < search->gpu_count; d++)
        predicted->bandwidth_assumed |= cost->rates.assumed[search->gpu[d]];
    if (cost->concurrent > 1)
        variants_cost(search, 1);
    const double step = cost_decode_step_s(cost, estimate), prompt = cost_prompt_s(cost, estimate);

    predicted->decode_tokens_per_second = step > 0 ? 1 / step : 0;
    predicted->prefill_tokens_per_second = prompt > 0 ? cost->prompt_tokens / prompt : 0;
}

/* Whether the estimate places the layers as `answer` does. */
static bool agrees(const struct search *search, const struct place_answer *answer,
                   const struct dgo_estimate *estimate)
{
    const uint32_t output = search->memory.layer_count;

    if (estimate->host.layer_count != answer->cpu_items ||
        estimate->device_count != answer->segment_count)
        return false;
    for (uint32_t s = 0; s < answer->segment_count; s++) {
        const struct place_segment *segment = &answer->segment[s];
        const struct dgo_device_estimate *device = &estimate->device[s];
        const bool last = segment->first + segment->count > output;

        if (device->gpu_index != search->gpu[segment->device] || device->holds_output != last ||
            device->layer_count != segment->count - last)
            return false;
        if (device->layer_count > 0 && device->layer_first != segment->first)
            return false;
    }
    return true;
}

/* Settings and estimate of a placement; DGO_ESTATE is our mistake, told instead of launched. */
static enum dgo_status confirm(struct search *search, const struct place_answer *place,
                               struct search_answer *answer, struct dgo_error *err)
{
    enum dgo_status status = DGO_OK;

    write_settings(search, place, &answer->settings);
    status = estimate_with_safety(search->request, &answer->settings, &answer->estimate, err);
    if (status != DGO_OK)
        return status;
    if (!agrees(search, place, &answer->estimate))
        return dgo_fail(err, DGO_ESTATE,
                        "the engine's own split does not follow the planned layer counts; please "
                        "report this with the model's name and the machine file");
    return DGO_OK;
}

/* The most bytes, in MiB steps, that can be left on every card beyond its margin. */
static enum dgo_status most_spare(struct search *search, uint64_t *spare, struct dgo_error *err)
{
    uint64_t low = 0, high = 0; /* low fits */

    for (uint32_t d = 0; d < search->gpu_count; d++)
        high = dgo_max_u64(
            high, assign_free_bytes(&search->request->machine->gpu[search->gpu[d]]) / DGO_MIB + 1);
    while (high - low > 1) {
        const uint64_t middle = low + (high - low) / 2;
        bool fits = false;
        const enum dgo_status status = variants_fit(search, 0, middle * DGO_MIB, &fits, err);

        if (status != DGO_OK)
            return status;
        if (fits)
            low = middle;
        else
            high = middle;
    }
    *spare = low * DGO_MIB;
    return DGO_OK;
}

/* Solves, and where the estimate finds a device too full withholds what is missing and solves
 * again. */
static enum dgo_status solve_confirmed(struct search *search, uint64_t spare, bool *found,
                                       struct search_answer *answer, struct dgo_error *err)
{
    *found = false;
    for (uint32_t attempt = 0; attempt < REPAIR_MAX; attempt++) {
        struct place_answer place;
        bool placed = false;
        enum dgo_status status = variants_solve(search, 0, spare, &placed, &place, err);

        if (status == DGO_OK && placed)
            status = confirm(search, &place, answer, err);
        if (status != DGO_OK || !placed)
            return status;
        if (answer->estimate.fits) {
            *found = true;
            return DGO_OK;
        }
        if (answer->estimate.limiting_device < 0)
            return DGO_OK; /* the host: no other placement takes less of it */
        search
            ->withheld_bytes[answer->estimate.device[answer->estimate.limiting_device].gpu_index] +=
            answer->estimate.missing_bytes;
    }
    return DGO_OK;
}

/* The fewest layers whose experts must leave, by halving: each that leaves only makes room on the
 * cards. */
static enum dgo_status halve_experts(struct search *search, bool *found, uint32_t *fewest,
                                     struct dgo_error *err)
{
    uint32_t low = 0, high = search->request->model->layer_count;
    enum dgo_status status = variants_load(search, high, err);

    if (status == DGO_OK)
        status = variants_fit(search, 0, 0, found, err);
    while (status == DGO_OK && *found && high - low > 1) {
        const uint32_t middle = low + (high - low) / 2;
        bool fits = false;

        status = variants_load(search, middle, err);
        if (status == DGO_OK)
            status = variants_fit(search, 0, 0, &fits, err);
        if (fits)
            high = middle;
        else
            low = middle;
    }
    *fewest = high;
    return status;
}

/* Host memory is asked for the fewest alone: it may hold them where it could not hold all. */
static enum dgo_status load_fewest_experts(struct search *search, bool *found,
                                           struct dgo_error *err)
{
    uint32_t fewest = 0;
    enum dgo_status status;

    *found = false;
    search->host_endless = true;
    status = halve_experts(search, found, &fewest, err);
    search->host_endless = false;
    if (status == DGO_OK && *found)
        status = variants_load(search, fewest, err);
    if (status == DGO_OK && *found)
        status = variants_fit(search, 0, 0, found, err);
    return status;
}

enum dgo_status search_fits(const struct search_request *request, bool *fits, struct dgo_error *err)
{
    struct search *search = NULL;
    enum dgo_status status = variants_new(request, &search, err);

    *fits = false;
    if (status != DGO_OK)
        return status;
    if (request->room == SEARCH_EXPERTS)
        status = variants_load(search, request->model->layer_count, err);
    if (status == DGO_OK)
        status = variants_fit(search, 0, 0, fits, err);
    /* As many as host memory holds, where it cannot hold all. */
    const uint32_t held = variants_experts_held(search);

    if (status == DGO_OK && !*fits && request->room == SEARCH_EXPERTS && held > 0 &&
        held < request->model->layer_count) {
        status = variants_load(search, held, err);
        if (status == DGO_OK)
            status = variants_fit(search, 0, 0, fits, err);
    }
    free(search);
    return status;
}

enum dgo_status search_best(const struct search_request *request, bool *found,
                            struct search_answer *answer, struct dgo_error *err)
{
    struct search *search = NULL;
    enum dgo_status status = variants_new(request, &search, err);
    uint64_t spare = 0;

    *found = false;
    if (status != DGO_OK)
        return status;
    if (request->room == SEARCH_EXPERTS)
        status = load_fewest_experts(search, found, err);
    else
        status = variants_fit(search, 0, 0, found, err);
    /* With host memory in use, more spare would only mean fewer layers on GPUs. */
    if (status == DGO_OK && *found && request->most_spare && request->room == SEARCH_GPUS)
        status = most_spare(search, &spare, err);
    if (status == DGO_OK && *found)
        status = solve_confirmed(search, spare, found, answer, err);
    if (status == DGO_OK && *found)
        predict(search, &answer->estimate, &answer->predicted);
    free(search);
    return status;
}

/* The fewest MiB more on every card with which the model would fit. */
static enum dgo_status least_extra(struct search *search, uint64_t *extra, struct dgo_error *err)
{
    uint64_t low = 0, high = 1;
    bool fits = false;
    enum dgo_status status = DGO_OK;

    while (!fits && status == DGO_OK && high < UINT64_C(1) << 24) {
        high *= 2;
        status = variants_fit(search, high * DGO_MIB, 0, &fits, err);
    }
    while (status == DGO_OK && high - low > 1) {
        const uint64_t middle = low + (high - low) / 2;

        status = variants_fit(search, middle * DGO_MIB, 0, &fits, err);
        if (fits)
            high = middle;
        else
            low = middle;
    }
    *extra = high * DGO_MIB;
    return status;
}

enum dgo_status search_nearest(const struct search_request *request, struct search_answer *answer,
                               struct dgo_error *err)
{
    struct search *search = NULL;
    struct place_answer place;
    uint64_t extra = 0;
    bool found = false;
    enum dgo_status status = variants_new(request, &search, err);

    if (status != DGO_OK)
        return status;
    status = least_extra(search, &extra, err);
    if (status == DGO_OK)
        status = variants_solve(search, extra, 0, &found, &place, err);
    if (status == DGO_OK && !found)
        status = dgo_fail(err, DGO_ENOFIT,
                          "the model fits on no machine with so much context; ask for less");
    if (status == DGO_OK)
        status = confirm(search, &place, answer, err);
    if (status == DGO_OK)
        predict(search, &answer->estimate, &answer->predicted);
    free(search);
    return status;
}

enum dgo_status search_judge(const struct search_request *request,
                             const struct dgo_settings *settings, struct search_answer *answer,
                             struct dgo_error *err)
{
    struct search_request asked = *request;
    struct search *search = NULL;
    enum dgo_status status = DGO_OK;

    asked.settings = *settings;
    status = variants_new(&asked, &search, err);
    if (status != DGO_OK)
        return status;
    answer->settings = *settings;
    status = estimate_with_safety(&asked, settings, &answer->estimate, err);
    if (status == DGO_OK)
        predict(search, &answer->estimate, &answer->predicted);
    free(search);
    return status;
}
