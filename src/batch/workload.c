/* workload.c - requests in a row, and their lengths counted. */
#include "dgo_batch.h"

#include <stdlib.h>
#include <string.h>

enum { ROOM_FIRST = 1024 };

enum dgo_status dgo_workload_add(struct dgo_workload *workload, const struct dgo_request *request,
                                 struct dgo_error *err)
{
    if (workload->count == DGO_REQUEST_MAX)
        return dgo_fail(err, DGO_ELIMIT,
                        "more than %d requests; a part of them says the same about lengths",
                        DGO_REQUEST_MAX);
    if (workload->count == workload->room) {
        const uint32_t room = workload->room ? workload->room * 2 : ROOM_FIRST;
        struct dgo_request *grown = realloc(workload->request, room * sizeof *grown);

        if (!grown)
            return dgo_fail(err, DGO_ENOMEM, "out of memory for %u requests", room);
        workload->request = grown;
        workload->room = room;
    }
    workload->request[workload->count++] = *request;
    return DGO_OK;
}

void dgo_workload_done(struct dgo_workload *workload)
{
    free(workload->request);
    memset(workload, 0, sizeof *workload);
}

static bool in_order(const struct dgo_workload *workload)
{
    for (uint32_t i = 1; i < workload->count; i++)
        if (workload->request[i].arrival_s < workload->request[i - 1].arrival_s)
            return false;
    return true;
}

/* Merging keeps equal times in order, and a trace that is nearly sorted costs one pass a run. */
static void merge(struct dgo_request *to, const struct dgo_request *a, uint32_t a_count,
                  const struct dgo_request *b, uint32_t b_count)
{
    while (a_count > 0 || b_count > 0) {
        const bool from_a = b_count == 0 || (a_count > 0 && a->arrival_s <= b->arrival_s);

        *to++ = from_a ? *a : *b;
        a += from_a;
        b += !from_a;
        a_count -= from_a;
        b_count -= !from_a;
    }
}

static bool sort_by_arrival(struct dgo_workload *workload)
{
    const uint32_t count = workload->count;
    struct dgo_request *from = workload->request;
    struct dgo_request *to = malloc(count * sizeof *to), *scratch = to;

    if (!to)
        return false;
    for (uint32_t width = 1; width < count; width *= 2) {
        for (uint32_t i = 0; i < count; i += 2 * width) {
            const uint32_t middle = i + width < count ? i + width : count;
            const uint32_t end = i + 2 * width < count ? i + 2 * width : count;

            merge(to + i, from + i, middle - i, from + middle, end - middle);
        }
        struct dgo_request *swap = from;

        from = to;
        to = swap;
    }
    if (from != workload->request)
        memcpy(workload->request, from, count * sizeof *from);
    free(scratch);
    return true;
}

void dgo_workload_sort(struct dgo_workload *workload)
{
    if (!workload->arrivals_known || workload->count == 0)
        return;
    if (!in_order(workload) && !sort_by_arrival(workload)) {
        workload->arrivals_known = false; /* without memory: no order, so nothing about arrivals */
        return;
    }
    const double first = workload->request[0].arrival_s;

    for (uint32_t i = 0; i < workload->count; i++)
        workload->request[i].arrival_s -= first;
}

enum { DIGIT_BITS = 11, DIGITS = 3, DIGIT_VALUES = 1 << DIGIT_BITS };

/* By digits, the least first: linear for every input, and a trace is a few thousand equal values.
 */
static void sort_lengths(uint32_t *values, uint32_t *scratch, uint32_t count)
{
    uint32_t *from = values, *to = scratch;

    for (unsigned d = 0; d < DIGITS; d++) {
        const unsigned shift = d * DIGIT_BITS;
        uint32_t place[DIGIT_VALUES + 1] = {0};

        for (uint32_t i = 0; i < count; i++)
            place[(from[i] >> shift) % DIGIT_VALUES + 1]++;
        for (unsigned v = 0; v < DIGIT_VALUES; v++)
            place[v + 1] += place[v];
        for (uint32_t i = 0; i < count; i++)
            to[place[(from[i] >> shift) % DIGIT_VALUES]++] = from[i];

        uint32_t *swap = from;

        from = to;
        to = swap;
    }
    memcpy(values, from, count * sizeof *values); /* three passes end in the scratch */
}

static uint32_t length_of(const struct dgo_request *request, enum dgo_length_kind kind)
{
    switch (kind) {
    case DGO_LENGTH_GENERATED:
        return request->generated_tokens;
    case DGO_LENGTH_TOTAL:
        return request->prompt_tokens + request->generated_tokens;
    default:
        return request->prompt_tokens;
    }
}

enum dgo_status dgo_lengths_make(const struct dgo_workload *workload, enum dgo_length_kind kind,
                                 struct dgo_arena *arena, struct dgo_lengths *lengths,
                                 struct dgo_error *err)
{
    const uint32_t count = workload->count;
    uint32_t *sorted = dgo_arena_take_array(arena, (size_t)count + 1, sizeof *sorted);
    uint32_t *scratch = malloc(((size_t)count + 1) * sizeof *scratch);
    uint32_t distinct = 0;

    if (!sorted || !scratch)
        goto no_memory;
    for (uint32_t i = 0; i < count; i++)
        sorted[i] = length_of(&workload->request[i], kind);
    sort_lengths(sorted, scratch, count);
    for (uint32_t i = 0; i < count; i++)
        distinct += i == 0 || sorted[i] != sorted[i - 1];

    uint64_t *before = dgo_arena_take_array(arena, (size_t)distinct + 1, sizeof *before);
    uint64_t *sum = dgo_arena_take_array(arena, (size_t)distinct + 1, sizeof *sum);
    uint32_t at = 0;

    if (!before || !sum)
        goto no_memory;
    for (uint32_t i = 0; i < count;) {
        const uint32_t length = sorted[i];
        const uint32_t start = i;

        while (i < count && sorted[i] == length)
            i++;
        before[at + 1] = i;
        sum[at + 1] = sum[at] + (uint64_t)length * (i - start);
        sorted[at++] = length; /* at <= start: what is overwritten was read */
    }
    *lengths = (struct dgo_lengths){
        .distinct = distinct, .length = sorted, .count_before = before, .sum_before = sum};
    free(scratch);
    return DGO_OK;
no_memory:
    free(scratch);
    return dgo_fail(err, DGO_ENOMEM, "out of memory for the lengths of %u requests", count);
}
