/* lengths.c - what a set of lengths says: percentiles, histogram, padding, arrivals. */
#include "dgo_batch.h"

#include <math.h>
#include <string.h>

uint32_t dgo_lengths_percentile(const struct dgo_lengths *lengths, double share)
{
    const uint64_t count = dgo_lengths_count(lengths);
    const double wanted = ceil(share * (double)count - 1e-9);
    uint32_t low = 0, high = lengths->distinct;

    if (count == 0)
        return 0;
    while (low + 1 < high) { /* the first i with count_before[i + 1] >= wanted */
        const uint32_t middle = (low + high) / 2;

        if ((double)lengths->count_before[middle] >= wanted)
            high = middle;
        else
            low = middle;
    }
    return lengths->length[low];
}

uint64_t dgo_lengths_above(const struct dgo_lengths *lengths, uint32_t tokens)
{
    uint32_t low = 0, high = lengths->distinct; /* the first length > tokens */

    while (low < high) {
        const uint32_t middle = (low + high) / 2;

        if (lengths->length[middle] > tokens)
            high = middle;
        else
            low = middle + 1;
    }
    return lengths->distinct ? dgo_lengths_count(lengths) - lengths->count_before[low] : 0;
}

/* 1, 2, 3, 4, 6, 8, 12, 16 ... */
static uint32_t next_border(uint32_t border)
{
    if ((border & (border - 1)) != 0)
        return border / 3 * 4;
    return border < 2 ? border + 1 : border + border / 2;
}

void dgo_histogram_make(const struct dgo_lengths *lengths, struct dgo_histogram *histogram)
{
    uint32_t at = 0;

    memset(histogram, 0, sizeof *histogram);
    for (uint32_t border = 1; at < lengths->distinct; border = next_border(border)) {
        const uint32_t start = at;

        while (at < lengths->distinct && lengths->length[at] <= border)
            at++;
        if (at == start && histogram->bins == 0)
            continue; /* shorter than the shortest */
        histogram->up_to[histogram->bins] = border;
        histogram->count[histogram->bins++] =
            lengths->count_before[at] - lengths->count_before[start];
    }
}

static uint64_t waste_by_arrival(const struct dgo_workload *workload, uint32_t batch)
{
    uint64_t waste = 0;

    for (uint32_t i = 0; i < workload->count; i += batch) {
        const uint32_t end = workload->count - i < batch ? workload->count : i + batch;
        uint64_t longest = 0, sum = 0;

        for (uint32_t j = i; j < end; j++) {
            longest = dgo_max_u64(longest, workload->request[j].prompt_tokens);
            sum += workload->request[j].prompt_tokens;
        }
        waste += longest * (end - i) - sum;
    }
    return waste;
}

/* From the longest down, so that only the last batch of short ones is not full. */
static uint64_t waste_sorted(const struct dgo_lengths *lengths, uint32_t batch)
{
    uint64_t waste = 0, room = 0, longest = 0;

    for (uint32_t i = lengths->distinct; i-- > 0;) {
        uint64_t left = lengths->count_before[i + 1] - lengths->count_before[i];

        while (left > 0) {
            if (room == 0) {
                room = batch;
                longest = lengths->length[i];
            }
            const uint64_t taken = dgo_min_u64(room, left);

            waste += (longest - lengths->length[i]) * taken;
            room -= taken;
            left -= taken;
        }
    }
    return waste;
}

void dgo_padding_make(const struct dgo_workload *workload, const struct dgo_lengths *prompts,
                      uint32_t batch, struct dgo_padding *padding)
{
    *padding = (struct dgo_padding){
        .batch = batch,
        .tokens = dgo_lengths_sum(prompts),
        .arrival_waste_tokens = waste_by_arrival(workload, batch),
        .sorted_waste_tokens = waste_sorted(prompts, batch),
    };
}

#define PEAK_S 60.0

bool dgo_arrivals_make(const struct dgo_workload *workload, struct dgo_arrivals *arrivals)
{
    const uint32_t count = workload->count;
    const struct dgo_request *request = workload->request;
    uint32_t start = 0, most = 0;
    double squares = 0;

    if (!workload->arrivals_known || count < 2 ||
        !(request[count - 1].arrival_s > request[0].arrival_s))
        return false;
    const double span = request[count - 1].arrival_s - request[0].arrival_s;
    const double gap = span / (count - 1);

    for (uint32_t i = 0; i < count; i++) {
        while (request[i].arrival_s - request[start].arrival_s >= PEAK_S)
            start++;
        if (i - start + 1 > most)
            most = i - start + 1;
        if (i > 0) {
            const double off = request[i].arrival_s - request[i - 1].arrival_s - gap;

            squares += off * off;
        }
    }
    *arrivals = (struct dgo_arrivals){
        .span_s = span,
        .mean_per_s = 1 / gap,
        .peak_minute_per_s = span < PEAK_S ? 1 / gap : most / PEAK_S,
        .gap_variation = sqrt(squares / (count - 1)) / gap,
    };
    return true;
}
