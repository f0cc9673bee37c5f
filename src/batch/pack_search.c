/* pack_search.c - is there a packing into so many bins?  Branch and bound for few items. */
#include "pack.h"

#include <string.h>

enum { STEPS_MAX = 2000000 }; /* about 20 ms */

struct search {
    uint32_t length[DGO_PACK_SEARCH_MAX]; /* descending */
    uint64_t sum_from[DGO_PACK_SEARCH_MAX + 1];
    uint32_t count, capacity, bins;
    uint32_t room[DGO_PACK_SEARCH_MAX];
    uint32_t steps;
};

enum answer { ANSWER_NO, ANSWER_YES, ANSWER_GAVE_UP };

/* Room that the items from `item` on can use: what is smaller than the smallest is lost. */
static uint64_t usable(const struct search *search)
{
    const uint32_t smallest = search->length[search->count - 1];
    uint64_t room = 0;

    for (uint32_t b = 0; b < search->bins; b++)
        room += search->room[b] >= smallest ? search->room[b] : 0;
    return room;
}

/* Places the items from `item` on, the longest first; equal items go to bins in order (`from`), and
 * of bins with equal room only the first is tried: the others are the same. */
static enum answer place(struct search *search, uint32_t item, uint32_t from)
{
    if (item == search->count)
        return ANSWER_YES;
    if (search->steps++ > STEPS_MAX)
        return ANSWER_GAVE_UP;
    if (usable(search) < search->sum_from[item])
        return ANSWER_NO;

    const uint32_t length = search->length[item];
    const bool again = item + 1 < search->count && search->length[item + 1] == length;

    for (uint32_t b = from; b < search->bins; b++) {
        bool seen = search->room[b] < length;

        for (uint32_t other = from; other < b && !seen; other++)
            seen = search->room[other] == search->room[b];
        if (seen)
            continue;
        search->room[b] -= length;
        const enum answer answer = place(search, item + 1, again ? b : 0);

        search->room[b] += length;
        if (answer != ANSWER_NO)
            return answer;
    }
    return ANSWER_NO;
}

void pack_search(const struct dgo_lengths *lengths, uint32_t n, struct dgo_packing *packing)
{
    struct search search = {.capacity = packing->capacity};

    for (uint32_t i = n; i-- > 0;)
        for (uint64_t c = lengths->count_before[i]; c < lengths->count_before[i + 1]; c++)
            search.length[search.count++] = lengths->length[i];
    for (uint32_t i = search.count; i-- > 0;)
        search.sum_from[i] = search.sum_from[i + 1] + search.length[i];
    while (packing->lower_bound < packing->bins) {
        search.bins = (uint32_t)packing->lower_bound;
        for (uint32_t b = 0; b < search.bins; b++)
            search.room[b] = packing->capacity;
        const enum answer answer = place(&search, 0, 0);

        if (answer == ANSWER_GAVE_UP)
            return;
        if (answer == ANSWER_YES) {
            packing->bins = packing->lower_bound;
            packing->method = DGO_PACK_SEARCH;
        } else {
            packing->lower_bound++;
        }
    }
}
