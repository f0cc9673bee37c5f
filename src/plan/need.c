/* need.c - the smallest addition that would make it fit, found by asking with more and more. */
#include "dgo_plan.h"

#include <stdlib.h>
#include <string.h>

#include "choose.h"
#include "intent.h"

#define NEED_BYTES_MAX (8 * DGO_TIB)

/* Sizes that cards are sold with. */
static const uint32_t card_gib[] = {4,  6,  8,  10, 11,  12,  16,  20,  24,  32, 40,
                                    48, 64, 80, 96, 128, 141, 180, 192, 256, 288};

struct asking {
    const struct dgo_machine *machine; /* as it is */
    const struct dgo_model *model;
    struct dgo_intent intent;
    const struct dgo_engine_rules *rules;
    struct dgo_machine *other; /* with the addition */
    struct dgo_prediction predicted;
    struct dgo_error *err;
};

/* Whether the intent can be met on the other machine, and how fast. */
static enum dgo_status ask(struct asking *asking, bool *fits)
{
    struct planning planning;
    enum dgo_status status = choose_begin(asking->other, asking->model, &asking->intent,
                                          asking->rules, &planning, asking->err);

    *fits = false;
    if (status == DGO_OK)
        status = choose_placement(&planning, fits, asking->err);
    if (status == DGO_OK && !*fits) {
        struct search_request request;

        status = choose_nearest(&planning, &request, asking->err);
        *fits = status == DGO_OK && planning.answer.estimate.fits;
    }
    if (status == DGO_OK && *fits)
        asking->predicted = planning.answer.predicted;
    return status;
}

static void add_to_gpu(struct dgo_gpu *gpu, uint64_t bytes)
{
    gpu->free_bytes += bytes;
    if (dgo_gpu_knows(gpu, DGO_GPU_TOTAL_BYTES))
        gpu->total_bytes += bytes;
}

static bool known_gpu(const struct asking *asking, uint32_t g)
{
    const struct dgo_gpu *gpu = &asking->machine->gpu[g];

    return (asking->intent.gpu_mask == 0 || asking->intent.gpu_mask >> g & 1) &&
           gpu->problem[0] == '\0' && dgo_gpu_knows(gpu, DGO_GPU_FREE_BYTES);
}

/* The machine with `bytes` more where the kind says. */
static void make_other(struct asking *asking, enum dgo_need_kind kind, uint32_t gpu, uint64_t bytes)
{
    struct dgo_machine *other = asking->other;

    *other = *asking->machine;
    if (kind == DGO_NEED_ONE_GPU)
        add_to_gpu(&other->gpu[gpu], bytes);
    for (uint32_t g = 0; g < other->gpu_count && kind == DGO_NEED_EVERY_GPU; g++)
        if (known_gpu(asking, g))
            add_to_gpu(&other->gpu[g], bytes);
    if (kind == DGO_NEED_HOST) {
        other->host.free_bytes += bytes;
        other->host.total_bytes += bytes;
    }
}

static void append(struct asking *asking, struct dgo_needs *needs, enum dgo_need_kind kind,
                   uint32_t gpu, uint64_t bytes)
{
    if (needs->count == DGO_NEED_MAX)
        return;
    needs->need[needs->count++] =
        (struct dgo_need){.kind = kind,
                          .gpu_index = gpu,
                          .bytes = bytes,
                          .decode_tokens_per_second = asking->predicted.decode_tokens_per_second};
}

/* The fewest bytes, in MiB, of that kind; none where no amount would do.  More memory never makes
 * it fit less, so halving finds them. */
static enum dgo_status fewest(struct asking *asking, enum dgo_need_kind kind, uint32_t gpu,
                              struct dgo_needs *needs)
{
    uint64_t low = 0, high = 256; /* MiB; low does not fit */
    bool fits = false;
    enum dgo_status status = DGO_OK;

    for (; status == DGO_OK && !fits && high * DGO_MIB <= NEED_BYTES_MAX; high *= 2) {
        make_other(asking, kind, gpu, high * DGO_MIB);
        status = ask(asking, &fits);
        if (fits)
            break;
        low = high;
    }
    if (status != DGO_OK || !fits)
        return status;
    while (status == DGO_OK && high - low > 1) {
        const uint64_t middle = low + (high - low) / 2;

        make_other(asking, kind, gpu, middle * DGO_MIB);
        status = ask(asking, &fits);
        if (fits)
            high = middle;
        else
            low = middle;
    }
    make_other(asking, kind, gpu, high * DGO_MIB);
    if (status == DGO_OK)
        status = ask(asking, &fits);
    if (status == DGO_OK && fits)
        append(asking, needs, kind, gpu, high * DGO_MIB);
    return status;
}

/* The card with the highest known bandwidth, else the first that may be used. */
static uint32_t fastest(const struct asking *asking)
{
    uint32_t best = 0;
    double rate = -1;

    for (uint32_t g = 0; g < asking->machine->gpu_count; g++) {
        const struct dgo_gpu *gpu = &asking->machine->gpu[g];
        const double own =
            dgo_gpu_knows(gpu, DGO_GPU_BANDWIDTH_BYTES_PER_S) ? gpu->bandwidth_bytes_per_s : 0;

        if (known_gpu(asking, g) && own > rate) {
            best = g;
            rate = own;
        }
    }
    return best;
}

static enum dgo_status one_more_card(struct asking *asking, struct dgo_needs *needs)
{
    struct dgo_machine *other = asking->other;
    const uint32_t like = fastest(asking), at = asking->machine->gpu_count;
    const uint32_t mask = asking->intent.gpu_mask;
    enum dgo_status status = DGO_OK;
    bool fits = false;

    if (at == DGO_GPU_MAX || at == 0)
        return DGO_OK;
    if (mask)
        asking->intent.gpu_mask |= UINT32_C(1) << at;
    for (size_t i = 0; status == DGO_OK && !fits && i < sizeof card_gib / sizeof card_gib[0]; i++) {
        struct dgo_gpu *card = &other->gpu[at];

        *other = *asking->machine;
        *card = other->gpu[like];
        card->total_bytes = card_gib[i] * DGO_GIB;
        card->free_bytes = card->total_bytes / 100 * 98; /* the driver keeps some */
        card->known |= UINT64_C(1) << DGO_GPU_TOTAL_BYTES | UINT64_C(1) << DGO_GPU_FREE_BYTES;
        for (uint32_t g = 0; g < at; g++)
            other->link[g][at] = other->link[at][g] = (struct dgo_link){0};
        other->gpu_count = at + 1;
        status = ask(asking, &fits);
        if (status == DGO_OK && fits)
            append(asking, needs, DGO_NEED_CARD, 0, card_gib[i] * DGO_GIB);
    }
    asking->intent.gpu_mask = mask;
    return status;
}

/* Fewest bytes first, by insertion: few rows. */
static void sort_needs(struct dgo_needs *needs)
{
    for (uint32_t i = 1; i < needs->count; i++) {
        const struct dgo_need need = needs->need[i];
        uint32_t at = i;

        for (; at > 0 && needs->need[at - 1].kind == need.kind &&
               needs->need[at - 1].bytes > need.bytes;
             at--)
            needs->need[at] = needs->need[at - 1];
        needs->need[at] = need;
    }
}

static enum dgo_status ask_gpus(struct asking *asking, struct dgo_needs *needs)
{
    enum dgo_status status = DGO_OK;

    for (uint32_t g = 0; status == DGO_OK && g < asking->machine->gpu_count; g++)
        if (known_gpu(asking, g))
            status = fewest(asking, DGO_NEED_ONE_GPU, g, needs);
    if (status == DGO_OK && needs->count > 1)
        status = fewest(asking, DGO_NEED_EVERY_GPU, 0, needs);
    return status == DGO_OK ? one_more_card(asking, needs) : status;
}

/* Host memory is asked for only where what there is does not do. */
static enum dgo_status ask_host(struct asking *asking, struct dgo_needs *needs)
{
    enum dgo_status status;
    bool fits = false;

    asking->intent.cpu_layers_refused = false;
    *asking->other = *asking->machine;
    status = ask(asking, &fits);
    if (status == DGO_OK && !fits && asking->machine->host.memory_known)
        status = fewest(asking, DGO_NEED_HOST, 0, needs);
    return status;
}

enum dgo_status dgo_plan_need(const struct dgo_machine *machine, const struct dgo_model *model,
                              const struct dgo_intent *intent, const struct dgo_engine_rules *rules,
                              struct dgo_needs *needs, struct dgo_error *err)
{
    struct asking asking = {
        .machine = machine, .model = model, .intent = *intent, .rules = rules, .err = err};
    const bool host_refused = intent->cpu_layers_refused;
    enum dgo_status status;
    bool fits = false;

    *needs = (struct dgo_needs){0};
    asking.other = malloc(sizeof *asking.other);
    if (!asking.other)
        return dgo_fail(err, DGO_ENOMEM, "no memory to find out what is needed");
    asking.intent.cpu_layers_refused = true;
    *asking.other = *machine;
    status = ask(&asking, &fits);
    needs->nothing = fits;
    if (status == DGO_OK && !fits)
        status = ask_gpus(&asking, needs);
    if (status == DGO_OK && !fits && !host_refused)
        status = ask_host(&asking, needs);
    sort_needs(needs);
    free(asking.other);
    return status;
}
