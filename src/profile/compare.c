/* compare.c - plan against what the engine allocated, by device and kind. */
#include "dgo_profile.h"

#include "dgo_text.h"
#include "dgo_units.h"

#include <inttypes.h>
#include <string.h>

/* Hundredths of a MiB as "%.2f" prints them: to nearest, an exact half to the even one. */
static uint64_t printed_hundredths(uint64_t bytes)
{
    const uint64_t scaled = bytes % DGO_MIB * 100;
    const uint64_t whole = bytes / DGO_MIB * 100 + scaled / DGO_MIB;
    const uint64_t rest = scaled % DGO_MIB;

    return whole + (rest > DGO_MIB / 2 || (rest == DGO_MIB / 2 && whole % 2 == 1));
}

static uint64_t difference(uint64_t a, uint64_t b)
{
    return a > b ? a - b : b - a;
}

/* What the engine logged of one kind, over one device or several names of the host. */
struct measured {
    uint64_t bytes;
    uint32_t summand_count; /* devices that logged it */
};

static void add_measured(struct measured *sum, const struct dgo_report_device *device,
                         enum dgo_buffer_kind kind)
{
    if (!(device->known >> kind & 1))
        return;
    sum->bytes += device->bytes[kind];
    sum->summand_count++;
}

static struct dgo_compared compare_one(uint64_t planned_bytes, const struct measured *measured,
                                       enum dgo_buffer_kind kind)
{
    const uint64_t figures = measured->summand_count * (kind == DGO_BUFFER_CONTEXT ? 2 : 1);
    struct dgo_compared compared = {.known = measured->summand_count > 0,
                                    .planned_bytes = planned_bytes,
                                    .measured_bytes = measured->bytes};

    compared.equal = compared.known ? difference(printed_hundredths(planned_bytes),
                                                 printed_hundredths(measured->bytes)) <= figures - 1
                                    : planned_bytes == 0;
    return compared;
}

static void compare_row(struct dgo_comparison_row *row,
                        const uint64_t planned_bytes[DGO_BUFFER_KIND_COUNT],
                        const struct measured measured[DGO_BUFFER_KIND_COUNT])
{
    struct dgo_compared *const column[DGO_BUFFER_KIND_COUNT] = {
        [DGO_BUFFER_MODEL] = &row->weights,
        [DGO_BUFFER_CONTEXT] = &row->context,
        [DGO_BUFFER_COMPUTE] = &row->compute,
        [DGO_BUFFER_OUTPUT] = &row->output,
    };

    for (uint32_t kind = 0; kind < DGO_BUFFER_KIND_COUNT; kind++)
        *column[kind] = compare_one(planned_bytes[kind], &measured[kind], kind);
}

static void measure_device(const struct dgo_report_device *device,
                           struct measured measured[DGO_BUFFER_KIND_COUNT])
{
    for (uint32_t kind = 0; device && kind < DGO_BUFFER_KIND_COUNT; kind++)
        add_measured(&measured[kind], device, kind);
}

static void add_planned_device(struct dgo_comparison *comparison,
                               const struct dgo_device_estimate *planned,
                               const struct dgo_report *report)
{
    const uint64_t planned_bytes[DGO_BUFFER_KIND_COUNT] = {
        [DGO_BUFFER_MODEL] = planned->weights_bytes,
        [DGO_BUFFER_CONTEXT] = planned->context_bytes,
        [DGO_BUFFER_COMPUTE] = planned->compute_bytes,
    };
    struct dgo_comparison_row *row = &comparison->row[comparison->row_count++];
    struct measured measured[DGO_BUFFER_KIND_COUNT] = {{0}};

    *row = (struct dgo_comparison_row){.gpu_index = planned->gpu_index,
                                       .overhead.planned_bytes = planned->overhead_bytes};
    (void)dgo_text_copy(row->name, sizeof row->name, planned->name);
    measure_device(dgo_report_find(report, planned->name), measured);
    compare_row(row, planned_bytes, measured);
}

static bool is_planned(const struct dgo_estimate *estimate, const char *name)
{
    for (uint32_t d = 0; d < estimate->device_count; d++)
        if (!strcmp(estimate->device[d].name, name))
            return true;
    return false;
}

static bool holds_something(const struct dgo_report_device *device)
{
    for (uint32_t kind = 0; kind < DGO_BUFFER_KIND_COUNT; kind++)
        if (device->known >> kind & 1 && device->bytes[kind] > 0)
            return true;
    return false;
}

/* Devices that only the engine knows; the last row is kept for the host. */
static void add_unplanned(struct dgo_comparison *comparison, const struct dgo_estimate *estimate,
                          const struct dgo_report *report)
{
    static const uint64_t nothing[DGO_BUFFER_KIND_COUNT];

    for (uint32_t d = 0; d < report->device_count; d++) {
        const struct dgo_report_device *device = &report->device[d];
        struct measured measured[DGO_BUFFER_KIND_COUNT] = {{0}};

        if (device->is_host || is_planned(estimate, device->name) || !holds_something(device) ||
            comparison->row_count == DGO_COMPARISON_MAX - 1)
            continue;

        struct dgo_comparison_row *row = &comparison->row[comparison->row_count++];

        *row = (struct dgo_comparison_row){.unplanned = true};
        (void)dgo_text_copy(row->name, sizeof row->name, device->name);
        measure_device(device, measured);
        compare_row(row, nothing, measured);
    }
}

static void add_host(struct dgo_comparison *comparison, const struct dgo_estimate *estimate,
                     const struct dgo_report *report)
{
    const uint64_t planned_bytes[DGO_BUFFER_KIND_COUNT] = {
        [DGO_BUFFER_MODEL] = estimate->host.weights_bytes,
        [DGO_BUFFER_CONTEXT] = estimate->host.context_bytes,
        [DGO_BUFFER_COMPUTE] = estimate->host.compute_bytes,
        [DGO_BUFFER_OUTPUT] = estimate->host.output_bytes,
    };
    struct dgo_comparison_row *row = &comparison->row[comparison->row_count++];
    struct measured measured[DGO_BUFFER_KIND_COUNT] = {{0}};

    *row = (struct dgo_comparison_row){.is_host = true};
    (void)dgo_text_copy(row->name, sizeof row->name, "host");
    for (uint32_t d = 0; d < report->device_count; d++)
        if (report->device[d].is_host)
            measure_device(&report->device[d], measured);
    compare_row(row, planned_bytes, measured);
}

static void judge(struct dgo_comparison *comparison)
{
    comparison->weights_equal = comparison->context_equal = comparison->compute_known = true;
    for (uint32_t i = 0; i < comparison->row_count; i++) {
        const struct dgo_comparison_row *row = &comparison->row[i];
        const struct dgo_compared *compute = &row->compute;

        if (row->is_host)
            continue;
        comparison->weights_equal &= row->weights.equal;
        comparison->context_equal &= row->context.equal;
        comparison->compute_known &= compute->known || compute->planned_bytes == 0;
        if (compute->known)
            comparison->compute_worst_bytes =
                dgo_max_u64(comparison->compute_worst_bytes,
                            difference(compute->planned_bytes, compute->measured_bytes));
    }
}

/* The figure that is farthest from its plan, and what it is of. */
struct worst {
    const struct dgo_comparison_row *row;
    const struct dgo_compared *compared;
    const char *of;
};

static void take_worse(struct worst *worst, const struct dgo_comparison_row *row,
                       const struct dgo_compared *compared, const char *of)
{
    if (compared->equal || !compared->known)
        return;
    if (!worst->row ||
        difference(compared->planned_bytes, compared->measured_bytes) >
            difference(worst->compared->planned_bytes, worst->compared->measured_bytes))
        *worst = (struct worst){row, compared, of};
}

static struct worst find_worst(const struct dgo_comparison *comparison)
{
    struct worst worst = {NULL, NULL, NULL};

    for (uint32_t i = 0; i < comparison->row_count; i++) {
        const struct dgo_comparison_row *row = &comparison->row[i];

        if (row->is_host)
            continue;
        take_worse(&worst, row, &row->weights, "weights");
        take_worse(&worst, row, &row->context, "context");
    }
    return worst;
}

static void say_worst(struct dgo_text *text, const struct worst *worst)
{
    char by[DGO_UNIT_TEXT_MAX], measured[DGO_UNIT_TEXT_MAX], planned[DGO_UNIT_TEXT_MAX];
    const struct dgo_compared *compared = worst->compared;

    dgo_mib_text(difference(compared->planned_bytes, compared->measured_bytes), by);
    dgo_mib_text(compared->measured_bytes, measured);
    dgo_mib_text(compared->planned_bytes, planned);
    dgo_text_addf(text, "Not as planned: %s holds %s %s of %s than planned (%s, planned %s)",
                  worst->row->name, by,
                  compared->measured_bytes > compared->planned_bytes ? "more" : "less", worst->of,
                  measured, planned);
}

static bool any_known(const struct dgo_comparison *comparison)
{
    for (uint32_t i = 0; i < comparison->row_count; i++) {
        const struct dgo_comparison_row *row = &comparison->row[i];

        if (!row->is_host && (row->weights.known || row->context.known || row->compute.known))
            return true;
    }
    return false;
}

/* What a compute figure may be off by before anybody need know: the plan leaves more than that
 * free. */
static const uint64_t compute_slack_bytes = DGO_MIB / 2;

/* Larger than planned is what matters of a compute buffer: a bound may be generous. */
static void say_compute(struct dgo_text *text, const struct dgo_comparison *comparison)
{
    const struct dgo_comparison_row *over = NULL;
    char worst[DGO_UNIT_TEXT_MAX];

    for (uint32_t i = 0; i < comparison->row_count; i++) {
        const struct dgo_comparison_row *row = &comparison->row[i];

        if (!row->is_host && !row->compute.equal && row->compute.known &&
            row->compute.measured_bytes > row->compute.planned_bytes + compute_slack_bytes)
            over = row;
    }
    dgo_mib_text(comparison->compute_worst_bytes, worst);
    if (over)
        dgo_text_addf(text, "; the compute buffer of %s is larger than planned", over->name);
    else if (comparison->compute_known)
        dgo_text_addf(text, "; compute buffers are within %s", worst);
    dgo_text_add(text, ".");
}

static void say(struct dgo_comparison *comparison)
{
    struct dgo_text text = DGO_TEXT(comparison->sentence);
    const struct worst worst = find_worst(comparison);

    if (comparison->row_count == 1) {
        dgo_text_add(&text, "No GPU is used, so no device's figures are compared.");
        return;
    }
    if (!any_known(comparison)) {
        dgo_text_add(&text, "The engine logged no buffer sizes, so the plan cannot be compared.");
        return;
    }
    if (worst.row)
        say_worst(&text, &worst);
    else if (!comparison->weights_equal || !comparison->context_equal)
        dgo_text_add(&text, "The engine logged only a part of its buffers; those are as planned");
    else
        dgo_text_add(&text, "As planned: the weights and the context of every device are exactly "
                            "what the engine logged");
    say_compute(&text, comparison);
}

void dgo_compare(const struct dgo_estimate *estimate, const struct dgo_report *report,
                 struct dgo_comparison *comparison)
{
    memset(comparison, 0, sizeof *comparison);
    for (uint32_t d = 0; d < estimate->device_count && d < DGO_GPU_MAX; d++)
        add_planned_device(comparison, &estimate->device[d], report);
    add_unplanned(comparison, estimate, report);
    add_host(comparison, estimate, report);
    judge(comparison);
    comparison->as_planned = comparison->weights_equal && comparison->context_equal;
    say(comparison);
}

static void say_pool(const struct dgo_compared_pool *pool, bool as_planned, struct dgo_text *text)
{
    const bool more = pool->measured_tokens >= pool->planned_tokens;

    if (!pool->known) {
        dgo_text_add(text, "The engine has not said how large its pool is, so the plan cannot be "
                           "compared.");
        return;
    }
    dgo_text_addf(text, "%s: the pool holds %" PRIu64 " tokens, ",
                  as_planned ? "As planned" : "Not as planned", pool->measured_tokens);
    if (pool->measured_tokens == pool->planned_tokens)
        dgo_text_add(text, "exactly the planned ones");
    else
        dgo_text_addf(text, "%.1f %% %s than the %" PRIu64 " planned",
                      100.0 * (double)difference(pool->measured_tokens, pool->planned_tokens) /
                          (double)pool->planned_tokens,
                      more ? "more" : "fewer", pool->planned_tokens);
    if (pool->measured_requests > 0)
        dgo_text_addf(text, "; %.2f requests of full length fit, %.2f were planned",
                      pool->measured_requests, pool->planned_requests);
    dgo_text_add(text, ".");
}

void dgo_compare_pool(const struct dgo_plan *plan, const struct dgo_report *report,
                      struct dgo_comparison *comparison)
{
    struct dgo_text text = DGO_TEXT(comparison->sentence);
    struct dgo_compared_pool *pool = &comparison->pool;
    const uint64_t planned = plan->partition.kv_tokens;

    *pool = (struct dgo_compared_pool){.known = report->kv_tokens > 0,
                                       .planned_tokens = planned,
                                       .measured_tokens = report->kv_tokens,
                                       .measured_requests = report->concurrency};
    if (plan->settings.ctx_tokens)
        pool->planned_requests = (double)planned / plan->settings.ctx_tokens;
    comparison->as_planned =
        pool->known &&
        (double)pool->measured_tokens >= (double)planned * (100 - DGO_POOL_SHORT_PERCENT) / 100;
    say_pool(pool, comparison->as_planned, &text);
}
