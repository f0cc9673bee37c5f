/* print_batch.c - a workload for people: lengths, a histogram, buckets, bins. */
#include "print.h"

#include "batch.h"
#include "dgo_units.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { BAR_WIDTH = 44 };

static double percent(uint64_t part, uint64_t whole)
{
    return whole ? 100.0 * (double)part / (double)whole : 0;
}

static void print_head(const struct batch_report *report)
{
    const struct requests *requests = report->requests;
    const struct dgo_workload *workload = &requests->workload;

    printf("%" PRIu32 " requests (%s); lengths ", workload->count,
           dgo_trace_kind_name(requests->format.kind));
    if (report->tokenizer)
        printf("counted by %s%s\n", report->tokenizer,
               workload->estimated ? ": an ESTIMATE, not all of it is text that it counts as the "
                                     "engine does"
                                   : ", exact; a chat template's own tokens are not in them");
    else if (requests->format.kind == DGO_TRACE_RECORDING)
        printf(
            "from an engine's counters: those that ended between two looks share their tokens\n");
    else
        printf("%s\n", workload->estimated
                           ? "are an ESTIMATE from bytes: name a model with --model to count"
                           : "are exact");
    if (requests->bad_lines == 0)
        return;
    printf("%" PRIu64 " of %" PRIu64 " lines could not be read and were skipped:\n",
           requests->bad_lines, requests->lines);
    for (uint32_t i = 0; i < requests->bad_shown; i++)
        printf("  line %" PRIu64 ": %s\n", requests->bad[i].line, requests->bad[i].why);
    if (requests->bad_lines > requests->bad_shown)
        printf("  and %" PRIu64 " more\n", requests->bad_lines - requests->bad_shown);
}

static void lengths_row(struct table *table, const char *name, const struct dgo_lengths *lengths)
{
    static const double shares[] = {0.5, 0.9, 0.99, 1};

    table_cell(table, "%s", name);
    table_cell(table, "%.1f",
               (double)dgo_lengths_sum(lengths) / (double)dgo_lengths_count(lengths));
    for (size_t i = 0; i < sizeof shares / sizeof shares[0]; i++)
        table_cell(table, "%" PRIu32, dgo_lengths_percentile(lengths, shares[i]));
    table_cell(table, "%" PRIu64, dgo_lengths_sum(lengths));
}

static void print_lengths(const struct batch_report *report)
{
    static const char *const titles[] = {"mean", "p50", "p90", "p99", "max", "sum"};
    struct table *table = table_new();

    table_column(table, "tokens", false);
    for (size_t i = 0; i < sizeof titles / sizeof titles[0]; i++)
        table_column(table, titles[i], true);
    lengths_row(table, "prompt", &report->prompt);
    if (report->requests->workload.generated_known) {
        lengths_row(table, "generated", &report->generated);
        lengths_row(table, "both", &report->total);
    }
    printf("\n");
    table_print(table);
}

static void print_bar(uint64_t count, uint64_t most)
{
    const char *mark = print_unicode() ? "\u2588" : "#";
    const uint64_t width = most ? (count * BAR_WIDTH + most - 1) / most : 0;

    for (uint64_t i = 0; i < width; i++)
        fputs(mark, stdout);
}

static void print_histogram(const struct dgo_histogram *histogram, const char *title)
{
    uint64_t most = 0;

    for (uint32_t i = 0; i < histogram->bins; i++)
        most = dgo_max_u64(most, histogram->count[i]);
    printf("\n%s\n", title);
    for (uint32_t i = 0; i < histogram->bins; i++) {
        printf("%10" PRIu32 " %9" PRIu64 "  ", histogram->up_to[i], histogram->count[i]);
        print_bar(histogram->count[i], most);
        printf("\n");
    }
}

static void print_padding(const struct batch_report *report)
{
    struct table *table = table_new();

    printf("\npadding: tokens computed for nothing when a batch is padded to its longest prompt\n");
    table_column(table, "batch", true);
    table_column(table, "in order of arrival", true);
    table_column(table, "neighbours in length", true);
    for (unsigned i = 0; i < BATCH_PADDING_ROWS; i++) {
        const struct dgo_padding *padding = &report->padding[i];

        table_cell(table, "%" PRIu32, padding->batch);
        table_cell(table, "%.1f %%",
                   percent(padding->arrival_waste_tokens,
                           padding->arrival_waste_tokens + padding->tokens));
        table_cell(
            table, "%.1f %%",
            percent(padding->sorted_waste_tokens, padding->sorted_waste_tokens + padding->tokens));
    }
    table_print(table);
}

static void bounds_cell(struct table *table, const struct dgo_buckets *buckets)
{
    char list[TABLE_CELL_MAX] = "";
    struct dgo_text text = DGO_TEXT(list);

    for (uint32_t b = 0; b < buckets->bound_count; b++) {
        char bound[16];

        snprintf(bound, sizeof bound, "%s%" PRIu32, b ? " " : "", buckets->bound[b]);
        if (text.length + strlen(bound) + 4 >= text.size) {
            dgo_text_add(&text, " ...");
            break;
        }
        dgo_text_add(&text, bound);
    }
    table_cell(table, "%s", list);
}

static void print_buckets(const struct batch_report *report)
{
    const uint64_t tokens = dgo_lengths_sum(&report->prompt);
    struct table *table = table_new();

    printf("\nbuckets: the bounds that waste least, for each number of buckets\n");
    table_column(table, "k", true);
    table_column(table, "waste", true);
    table_column(table, "of all", true);
    table_column(table, "gain", true);
    table_column(table, "up to", false);
    for (unsigned i = 0; i < DGO_BUCKET_MAX; i++) {
        const struct dgo_buckets *buckets = &report->bucket[i];

        if (buckets->bound_count < buckets->k)
            break; /* a bucket for each length: nothing is left to gain */
        table_cell(table, "%" PRIu32, buckets->k);
        table_cell(table, "%" PRIu64, buckets->waste_tokens);
        table_cell(table, "%.1f %%",
                   percent(buckets->waste_tokens, buckets->waste_tokens + tokens));
        if (i > 0 && report->bucket[i - 1].waste_tokens > 0)
            table_cell(table, "%.1f %%",
                       percent(report->bucket[i - 1].waste_tokens - buckets->waste_tokens,
                               report->bucket[i - 1].waste_tokens));
        else
            table_cell(table, "%s", "");
        bounds_cell(table, buckets);
    }
    table_print(table);
}

static void print_packing(const struct dgo_packing *packing)
{
    printf("\npacking: %" PRIu64 " prompts in %" PRIu64 " bins of %" PRIu32
           " tokens (%.1f %% full); no packing has fewer than %" PRIu64,
           packing->items, packing->bins, packing->capacity,
           percent(packing->tokens, packing->bins * packing->capacity), packing->lower_bound);
    if (packing->bins == packing->lower_bound)
        printf(": optimal\n");
    else
        printf(": at most %.2f %% above\n",
               percent(packing->bins - packing->lower_bound, packing->lower_bound));
    if (packing->too_long > 0)
        printf("         %" PRIu64 " prompts are longer than a bin and left out\n",
               packing->too_long);
}

static void print_arrivals(const struct dgo_arrivals *arrivals)
{
    char span[DGO_UNIT_TEXT_MAX];

    printf("\narrivals: %.2f requests/s over %s, %.2f in the busiest minute; gaps vary %.2f times "
           "their mean (1: at random)\n",
           arrivals->mean_per_s, dgo_duration_text((uint64_t)(arrivals->span_s * 1e9), span),
           arrivals->peak_minute_per_s, arrivals->gap_variation);
}

static void simulated_row(struct table *table, const char *name,
                          const struct dgo_simulated *simulated)
{
    table_cell(table, "%s", name);
    table_cell(table, "%" PRIu64, simulated->batches);
    table_cell(table, "%.1f", simulated->mean_batch);
    table_cell(table, "%.1f %%",
               percent(simulated->padded_tokens - simulated->tokens, simulated->padded_tokens));
    table_cell(table, "%.2f s", simulated->mean_wait_s);
    table_cell(table, "%.2f s", simulated->p99_wait_s);
    table_cell(table, "%.0f %%", 100 * simulated->busy_share);
    table_cell(table, "%" PRIu64, simulated->refused);
}

static void print_grouping(const struct batch_report *report)
{
    static const char *const titles[] = {"batches",  "requests", "padding", "mean wait",
                                         "p99 wait", "busy",     "refused"};
    struct table *table = table_new();

    printf("\ngrouping, simulated: prompts padded in batches of up to %" PRIu64
           " tokens, sent after %.2f s at most,\non an engine of %.0f tokens/s (%s)\n",
           report->policy.budget_tokens, report->policy.flush_after_s, report->engine.tokens_per_s,
           report->engine_assumed ? "assumed" : "the planner's");
    table_column(table, "policy", false);
    for (size_t i = 0; i < sizeof titles / sizeof titles[0]; i++)
        table_column(table, titles[i], true);
    simulated_row(table, "in buckets", &report->grouped);
    simulated_row(table, "in one row", &report->queued);
    table_print(table);
}

void print_batch(const struct batch_report *report)
{
    print_head(report);
    print_lengths(report);
    print_histogram(&report->prompt_histogram, "prompts of up to so many tokens");
    if (report->requests->workload.generated_known)
        print_histogram(&report->generated_histogram, "answers of up to so many tokens");
    print_padding(report);
    print_buckets(report);
    print_packing(&report->packing);
    if (report->arrivals_known)
        print_arrivals(&report->arrivals);
    print_grouping(report);
}

static const char *limit_text(const struct dgo_advice *advice)
{
    switch (advice->limit) {
    case DGO_LIMIT_ARRIVALS:
        return "enough for what arrives";
    case DGO_LIMIT_MEMORY:
        return "more do not fit";
    case DGO_LIMIT_LATENCY:
        return "more miss the latency target";
    default:
        return "more gain nothing";
    }
}

static void print_expected(const struct batch_report *report)
{
    const struct dgo_advice *advice = &report->planned.advice;
    char first[DGO_UNIT_TEXT_MAX], token[DGO_UNIT_TEXT_MAX], whole[DGO_UNIT_TEXT_MAX];

    printf("expected   %.0f tokens/s and %.2f requests/s with every slot busy\n",
           advice->tokens_per_s, advice->served_per_s);
    printf("           a mean request: first token after %s, %s a token, %s in all\n",
           dgo_duration_text((uint64_t)(advice->first_token_s * 1e9), first),
           dgo_duration_text((uint64_t)(advice->token_s * 1e9), token),
           dgo_duration_text((uint64_t)(advice->request_s * 1e9), whole));
    if (report->mix.rate_known)
        printf("           %.1f requests at once on average; utilisation %.0f %%, %.0f %% in the "
               "busiest minute\n",
               advice->concurrency, 100 * advice->utilisation, 100 * advice->peak_utilisation);
    if (advice->utilisation >= 1)
        printf("           TOO MUCH for this machine: the queue grows without end\n");
    else if (advice->overloaded)
        printf("           TOO MUCH for this machine in the busiest minute: above %.0f %% requests "
               "queue up\n",
               100 * DGO_ADVICE_UTILISATION);
    if (advice->latency_missed)
        printf("           even one request alone is slower than the latency target\n");
    if (report->planned.plan.predicted.bandwidth_assumed)
        printf("           (a card's bandwidth is not known: the speeds are a guess)\n");
}

void print_advice(const struct batch_report *report)
{
    const struct dgo_planned_advice *planned = &report->planned;
    const struct dgo_advice *advice = &planned->advice;
    const struct dgo_lengths *lengths =
        report->requests->workload.generated_known ? &report->total : &report->prompt;
    char reserved[DGO_UNIT_TEXT_MAX], used[DGO_UNIT_TEXT_MAX];

    printf("\nadvice for %s\n", report->model_name[0] ? report->model_name : "the model");
    printf("slots      %" PRIu32 " (-np): %s; %" PRIu32 " would fit\n", advice->slots,
           limit_text(advice), advice->slots_memory);
    printf("context    %" PRIu32 " tokens a slot, %" PRIu32 " in all (-c); %" PRIu64
           " requests are longer\n",
           advice->context_per_slot, advice->context_tokens,
           dgo_lengths_above(lengths, advice->context_per_slot));
    printf("batches    -b %" PRIu32 " -ub %" PRIu32 "; engines with a paged cache: "
           "max_num_seqs %" PRIu32 ", max_num_batched_tokens %" PRIu32 "\n",
           planned->batch_tokens, planned->ubatch_tokens, planned->max_num_seqs,
           planned->max_num_batched_tokens);
    printf("KV cache   %s reserved, %s used by the mean requests at once\n",
           dgo_bytes_text(advice->kv_reserved_bytes, reserved),
           dgo_bytes_text(advice->kv_used_bytes, used));
    print_expected(report);
}
