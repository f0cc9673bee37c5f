/* segment.c - bucket bounds that waste the fewest tokens, for every number of buckets. */
#include "dgo_batch.h"

#include <stdlib.h>
#include <string.h>

/* One row of the dynamic programme: `before` has the least waste of the first i lengths in one
 * bucket less, `least` gets that of the first j, `from` the i it came from. */
struct row {
    const struct dgo_lengths *lengths;
    const uint64_t *before;
    uint64_t *least;
    uint32_t *from;
};

/* Waste of the lengths [i, j) in one bucket: all are padded to the longest. */
static uint64_t bucket_waste(const struct dgo_lengths *lengths, uint32_t i, uint32_t j)
{
    const uint64_t count = lengths->count_before[j] - lengths->count_before[i];
    const uint64_t sum = lengths->sum_before[j] - lengths->sum_before[i];

    return count * lengths->length[j - 1] - sum;
}

/* Fills least[first..last], knowing that their best i lies in [low, high].  The depth is the
 * logarithm of the width: at most 24. */
static void fill(const struct row *row, uint32_t first, uint32_t last, uint32_t low, uint32_t high)
{
    const uint32_t j = first + (last - first) / 2;
    const uint32_t end = high < j - 1 ? high : j - 1;
    uint64_t best = UINT64_MAX;
    uint32_t best_i = low;

    for (uint32_t i = low; i <= end; i++) {
        if (row->before[i] >= best) /* also UINT64_MAX: no such segmentation */
            continue;
        const uint64_t waste = row->before[i] + bucket_waste(row->lengths, i, j);

        if (waste < best) {
            best = waste;
            best_i = i;
        }
    }
    row->least[j] = best;
    row->from[j] = best_i;
    if (first < j)
        fill(row, first, j - 1, low, best_i);
    if (j < last)
        fill(row, j + 1, last, best_i, high);
}

/* Walks back from all lengths in k buckets to the bounds. */
static void read_bounds(const struct dgo_lengths *lengths, const uint32_t *from, uint32_t k,
                        struct dgo_buckets *buckets)
{
    const size_t width = (size_t)lengths->distinct + 1;
    uint32_t j = lengths->distinct;

    buckets->bound_count = k;
    for (uint32_t b = k; b-- > 0;) {
        const uint32_t i = b == 0 ? 0 : from[b * width + j];

        buckets->bound[b] = lengths->length[j - 1];
        buckets->requests[b] = lengths->count_before[j] - lengths->count_before[i];
        j = i;
    }
}

enum dgo_status dgo_buckets_make(const struct dgo_lengths *lengths, uint32_t k_max,
                                 struct dgo_buckets *buckets, struct dgo_error *err)
{
    const uint32_t n = lengths->distinct;
    const uint32_t rows = n < k_max ? n : k_max;
    const size_t width = (size_t)n + 1;
    uint64_t *least = calloc(2 * width, sizeof *least);
    uint32_t *from = calloc(rows ? rows * width : 1, sizeof *from);
    uint64_t *before, *now;
    enum dgo_status status = DGO_OK;

    memset(buckets, 0, k_max * sizeof *buckets);
    for (uint32_t k = 1; k <= k_max; k++)
        buckets[k - 1].k = k;
    if (!least || !from) {
        status = dgo_fail(err, DGO_ENOMEM, "out of memory for the buckets of %u lengths", n);
        goto out;
    }
    before = least;
    now = least + width;
    for (uint32_t k = 1; k <= rows; k++) {
        if (k == 1) {
            for (uint32_t j = 1; j <= n; j++)
                now[j] = bucket_waste(lengths, 0, j);
        } else { /* k buckets need k lengths: row k starts at j = k, from i = k - 1 */
            fill(&(struct row){lengths, before, now, from + (k - 1) * width}, k, n, k - 1, n - 1);
        }
        buckets[k - 1].waste_tokens = now[n];
        read_bounds(lengths, from, k, &buckets[k - 1]);

        uint64_t *swap = before;

        before = now;
        now = swap;
    }
    for (uint32_t k = rows + 1; k <= k_max && rows > 0; k++) { /* a bucket for each length */
        buckets[k - 1] = buckets[rows - 1];
        buckets[k - 1].k = k;
    }
out:
    free(least);
    free(from);
    return status;
}
