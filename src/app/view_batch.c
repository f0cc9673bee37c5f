/* view_batch.c - the analysis of a workload as JSON. */
#include "batch.h"

#include "view.h"

static void set_count(json_t *object, const char *key, uint64_t value)
{
    json_object_set_new(object, key, json_integer((json_int_t)value));
}

static double share(uint64_t part, uint64_t whole)
{
    return whole ? (double)part / (double)whole : 0;
}

static json_t *view_histogram(const struct dgo_histogram *histogram)
{
    json_t *bins = json_array();

    for (uint32_t i = 0; i < histogram->bins; i++) {
        json_t *bin = json_object();

        set_count(bin, "up_to", histogram->up_to[i]);
        set_count(bin, "count", histogram->count[i]);
        json_array_append_new(bins, bin);
    }
    return bins;
}

static json_t *view_lengths(const struct dgo_lengths *lengths,
                            const struct dgo_histogram *histogram)
{
    static const struct {
        const char *name;
        double share;
    } marks[] = {{"min", 0}, {"p50", 0.5}, {"p90", 0.9}, {"p99", 0.99}, {"max", 1}};
    json_t *object = json_object();

    json_object_set_new(
        object, "mean",
        json_real((double)dgo_lengths_sum(lengths) / (double)dgo_lengths_count(lengths)));
    for (size_t i = 0; i < sizeof marks / sizeof marks[0]; i++)
        set_count(object, marks[i].name, dgo_lengths_percentile(lengths, marks[i].share));
    set_count(object, "sum", dgo_lengths_sum(lengths));
    if (histogram)
        json_object_set_new(object, "histogram", view_histogram(histogram));
    return object;
}

static json_t *view_buckets(const struct batch_report *report)
{
    const uint64_t tokens = dgo_lengths_sum(&report->prompt);
    json_t *array = json_array();

    for (unsigned i = 0; i < DGO_BUCKET_MAX; i++) {
        const struct dgo_buckets *buckets = &report->bucket[i];
        json_t *row = json_object(), *bounds = json_array(), *requests = json_array();

        for (uint32_t b = 0; b < buckets->bound_count; b++) {
            json_array_append_new(bounds, json_integer(buckets->bound[b]));
            json_array_append_new(requests, json_integer((json_int_t)buckets->requests[b]));
        }
        set_count(row, "k", buckets->k);
        json_object_set_new(row, "boundaries", bounds);
        json_object_set_new(row, "requests", requests);
        set_count(row, "waste_tokens", buckets->waste_tokens);
        json_object_set_new(
            row, "waste_share",
            json_real(share(buckets->waste_tokens, buckets->waste_tokens + tokens)));
        if (i > 0)
            set_count(row, "gain_tokens",
                      report->bucket[i - 1].waste_tokens - buckets->waste_tokens);
        json_array_append_new(array, row);
    }
    return array;
}

static json_t *view_padding(const struct batch_report *report)
{
    json_t *array = json_array();

    for (unsigned i = 0; i < BATCH_PADDING_ROWS; i++) {
        const struct dgo_padding *padding = &report->padding[i];
        json_t *row = json_object();

        set_count(row, "batch", padding->batch);
        set_count(row, "arrival_waste_tokens", padding->arrival_waste_tokens);
        json_object_set_new(row, "arrival_waste_share",
                            json_real(share(padding->arrival_waste_tokens,
                                            padding->arrival_waste_tokens + padding->tokens)));
        set_count(row, "sorted_waste_tokens", padding->sorted_waste_tokens);
        json_object_set_new(row, "sorted_waste_share",
                            json_real(share(padding->sorted_waste_tokens,
                                            padding->sorted_waste_tokens + padding->tokens)));
        json_array_append_new(array, row);
    }
    return array;
}

static json_t *view_packing(const struct dgo_packing *packing)
{
    json_t *object = json_object();

    set_count(object, "capacity", packing->capacity);
    set_count(object, "items", packing->items);
    set_count(object, "too_long", packing->too_long);
    set_count(object, "tokens", packing->tokens);
    set_count(object, "bins", packing->bins);
    set_count(object, "lower_bound", packing->lower_bound);
    json_object_set_new(object, "gap",
                        json_real(packing->lower_bound
                                      ? (double)(packing->bins - packing->lower_bound) /
                                            (double)packing->lower_bound
                                      : 0));
    json_object_set_new(object, "optimal", json_boolean(packing->bins == packing->lower_bound));
    json_object_set_new(object, "method", json_string(dgo_pack_method_name(packing->method)));
    set_count(object, "ffd_bins", packing->ffd_bins);
    set_count(object, "bfd_bins", packing->bfd_bins);
    json_object_set_new(object, "efficiency",
                        json_real(share(packing->tokens, packing->bins * packing->capacity)));
    return object;
}

static json_t *view_arrivals(const struct dgo_arrivals *arrivals)
{
    json_t *object = json_object();

    json_object_set_new(object, "span_s", json_real(arrivals->span_s));
    json_object_set_new(object, "mean_per_s", json_real(arrivals->mean_per_s));
    json_object_set_new(object, "peak_minute_per_s", json_real(arrivals->peak_minute_per_s));
    json_object_set_new(object, "gap_variation", json_real(arrivals->gap_variation));
    return object;
}

static void set_real(json_t *object, const char *key, double value)
{
    json_object_set_new(object, key, json_real(value));
}

/* What needs no model. */
static void add_context(json_t *object, const struct batch_report *report)
{
    const struct dgo_mix *mix = &report->mix;
    const bool known = report->requests->workload.generated_known;

    set_count(object, "context_per_slot_tokens", mix->context_per_slot);
    set_real(object, "context_percentile", DGO_ADVICE_PERCENTILE);
    set_real(object, "context_margin", DGO_ADVICE_MARGIN);
    set_count(object, "requests_above_context",
              dgo_lengths_above(known ? &report->total : &report->prompt, mix->context_per_slot));
    set_real(object, "mean_prompt_tokens", mix->prompt_tokens);
    set_real(object, "mean_generated_tokens", mix->generated_tokens);
    json_object_set_new(object, "generated_assumed", json_boolean(mix->generated_assumed));
}

static void add_expected(json_t *object, const struct batch_report *report)
{
    const struct dgo_advice *advice = &report->planned.advice;
    const struct dgo_mix *mix = &report->mix;

    set_real(object, "requests_per_second", advice->served_per_s);
    set_real(object, "tokens_per_second", advice->tokens_per_s);
    set_real(object, "first_token_s", advice->first_token_s);
    set_real(object, "token_s", advice->token_s);
    set_real(object, "request_s", advice->request_s);
    set_real(object, "concurrency", advice->concurrency);
    if (mix->rate_known) {
        set_real(object, "utilisation", advice->utilisation);
        set_real(object, "peak_utilisation", advice->peak_utilisation);
        json_object_set_new(object, "overloaded", json_boolean(advice->overloaded));
    }
    if (mix->token_latency_s > 0) {
        set_real(object, "token_latency_target_s", mix->token_latency_s);
        set_count(object, "slots_within_latency", advice->slots_latency);
        json_object_set_new(object, "latency_missed", json_boolean(advice->latency_missed));
    }
    json_object_set_new(object, "bandwidth_assumed",
                        json_boolean(report->planned.plan.predicted.bandwidth_assumed));
}

static json_t *view_advice(const struct batch_report *report)
{
    const struct dgo_planned_advice *planned = &report->planned;
    const struct dgo_advice *advice = &planned->advice;
    json_t *object = json_object();

    add_context(object, report);
    if (!report->advised) {
        json_object_set_new(
            object, "needs",
            report->no_advice[0]
                ? view_text(report->no_advice)
                : json_string("--model, and --gpus or this machine's GPUs, for slots, "
                              "batches, memory and speed"));
        return object;
    }
    json_object_set_new(object, "model", view_text(report->model_name));
    set_count(object, "context_per_slot_tokens", advice->context_per_slot);
    set_count(object, "parallel_slots", advice->slots);
    json_object_set_new(object, "limited_by", json_string(dgo_limit_name(advice->limit)));
    set_count(object, "slots_that_fit", advice->slots_memory);
    set_count(object, "context_tokens", advice->context_tokens);
    set_count(object, "batch_tokens", planned->batch_tokens);
    set_count(object, "ubatch_tokens", planned->ubatch_tokens);
    set_count(object, "max_num_seqs", planned->max_num_seqs);
    set_count(object, "max_num_batched_tokens", planned->max_num_batched_tokens);
    set_count(object, "kv_bytes_reserved", advice->kv_reserved_bytes);
    set_count(object, "kv_bytes_used", advice->kv_used_bytes);
    add_expected(object, report);
    return object;
}

static json_t *view_simulated(const struct dgo_simulated *simulated)
{
    json_t *object = json_object();

    set_count(object, "requests", simulated->requests);
    set_count(object, "refused", simulated->refused);
    set_count(object, "batches", simulated->batches);
    set_real(object, "mean_batch", simulated->mean_batch);
    set_count(object, "padded_tokens", simulated->padded_tokens);
    set_count(object, "waste_tokens", simulated->padded_tokens - simulated->tokens);
    set_real(object, "mean_wait_s", simulated->mean_wait_s);
    set_real(object, "p50_wait_s", simulated->p50_wait_s);
    set_real(object, "p99_wait_s", simulated->p99_wait_s);
    set_real(object, "max_wait_s", simulated->most_wait_s);
    set_real(object, "busy_share", simulated->busy_share);
    set_real(object, "span_s", simulated->span_s);
    return object;
}

static json_t *view_grouping(const struct batch_report *report)
{
    const struct dgo_grouping_policy *policy = &report->policy;
    json_t *object = json_object(), *bounds = json_array();

    for (uint32_t b = 0; b < policy->bucket_count; b++)
        json_array_append_new(bounds, json_integer(policy->bound[b]));
    json_object_set_new(object, "boundaries", bounds);
    set_count(object, "token_budget", policy->budget_tokens);
    set_count(object, "batch_max", policy->batch_most);
    set_real(object, "flush_after_s", policy->flush_after_s);
    set_count(object, "queue_max", policy->queue_most);
    set_real(object, "engine_tokens_per_second", report->engine.tokens_per_s);
    json_object_set_new(object, "engine_assumed", json_boolean(report->engine_assumed));
    json_object_set_new(object, "in_buckets", view_simulated(&report->grouped));
    json_object_set_new(object, "in_one_row", view_simulated(&report->queued));
    return object;
}

static json_t *view_bad(const struct requests *requests)
{
    json_t *array = json_array();

    for (uint32_t i = 0; i < requests->bad_shown; i++) {
        json_t *row = json_object();

        json_object_set_new(row, "file", view_text(requests->bad[i].path));
        set_count(row, "line", requests->bad[i].line);
        json_object_set_new(row, "why", view_text(requests->bad[i].why));
        json_array_append_new(array, row);
    }
    return array;
}

json_t *view_batch(const struct batch_report *report)
{
    const struct requests *requests = report->requests;
    const struct dgo_workload *workload = &requests->workload;
    json_t *object = json_object();

    set_count(object, "count", workload->count);
    json_object_set_new(object, "format", json_string(dgo_trace_kind_name(requests->format.kind)));
    json_object_set_new(object, "lengths", json_string(workload->estimated ? "estimate" : "exact"));
    if (report->tokenizer)
        json_object_set_new(object, "tokenizer", view_text(report->tokenizer));
    set_count(object, "bad_lines", requests->bad_lines);
    json_object_set_new(object, "bad", view_bad(requests));
    json_object_set_new(object, "prompt_tokens",
                        view_lengths(&report->prompt, &report->prompt_histogram));
    if (workload->generated_known) {
        json_object_set_new(object, "generated_tokens",
                            view_lengths(&report->generated, &report->generated_histogram));
        json_object_set_new(object, "total_tokens", view_lengths(&report->total, NULL));
    }
    if (report->arrivals_known)
        json_object_set_new(object, "arrivals", view_arrivals(&report->arrivals));
    json_object_set_new(object, "padding", view_padding(report));
    json_object_set_new(object, "buckets", view_buckets(report));
    json_object_set_new(object, "packing", view_packing(&report->packing));
    json_object_set_new(object, "advice", view_advice(report));
    if (report->policy.bucket_count > 0)
        json_object_set_new(object, "grouping", view_grouping(report));
    return object;
}
