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
    struct dgo_intent intent;
    dgo_need_fn fits;
    void *data;
    struct dgo_machine *other; /* with the addition */
    double decode_tokens_per_second;
    struct dgo_error *err;
};

/* Whether the intent can be met on the other machine, and how fast. */
static enum dgo_status ask(struct asking *asking, bool *fits)
{
    double speed = 0;
    enum dgo_status status;

    *fits = false;
    status = asking->fits(asking->other, &asking->intent, fits, &speed, asking->data, asking->err);
    if (status == DGO_OK && *fits)
        asking->decode_tokens_per_second = speed;
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
                          .decode_tokens_per_second = asking->decode_tokens_per_second};
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
    uint32_t usable = 0;

    for (uint32_t g = 0; status == DGO_OK && g < asking->machine->gpu_count; g++)
        if (known_gpu(asking, g)) {
            usable++;
            status = fewest(asking, DGO_NEED_ONE_GPU, g, needs);
        }
    if (status == DGO_OK && usable > 1) /* equal shards want it on each, not on one */
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

/* `host`: whether the planner can leave layers in host memory. */
static enum dgo_status find_needs(const struct dgo_machine *machine,
                                  const struct dgo_intent *intent, dgo_need_fn can, void *data,
                                  bool host, struct dgo_needs *needs, struct dgo_error *err)
{
    struct asking asking = {
        .machine = machine, .intent = *intent, .fits = can, .data = data, .err = err};
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
    if (status == DGO_OK && !fits && host && !intent->cpu_layers_refused)
        status = ask_host(&asking, needs);
    sort_needs(needs);
    free(asking.other);
    return status;
}

enum dgo_status dgo_plan_need_by(const struct dgo_machine *machine, const struct dgo_intent *intent,
                                 dgo_need_fn can, void *data, struct dgo_needs *needs,
                                 struct dgo_error *err)
{
    return find_needs(machine, intent, can, data, false, needs, err);
}

struct own_planner {
    const struct dgo_model *model;
    const struct dgo_engine_rules *rules;
};

static enum dgo_status fits_by_own(const struct dgo_machine *machine,
                                   const struct dgo_intent *intent, bool *fits, double *speed,
                                   void *data, struct dgo_error *err)
{
    const struct own_planner *own = data;
    struct planning planning;
    enum dgo_status status = choose_begin(machine, own->model, intent, own->rules, &planning, err);

    if (status == DGO_OK)
        status = choose_placement(&planning, fits, err);
    if (status == DGO_OK && !*fits) {
        struct search_request request;

        status = choose_nearest(&planning, &request, err);
        *fits = status == DGO_OK && planning.answer.estimate.fits;
    }
    if (status == DGO_OK && *fits)
        *speed = planning.answer.predicted.decode_tokens_per_second;
    return status;
}

enum dgo_status dgo_plan_need(const struct dgo_machine *machine, const struct dgo_model *model,
                              const struct dgo_intent *intent, const struct dgo_engine_rules *rules,
                              struct dgo_needs *needs, struct dgo_error *err)
{
    struct own_planner own = {model, rules};

    return find_needs(machine, intent, fits_by_own, &own, true, needs, err);
}
