/* pack.c - requests into bins of so many tokens: two heuristics, a bound, and who is right. */
#include "pack.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

const char *dgo_pack_method_name(enum dgo_pack_method method)
{
    static const char *const names[] = {"none", "ffd", "bfd", "search"};

    return names[method];
}

uint32_t dgo_pack_capacity_default(const struct dgo_lengths *lengths)
{
    const uint32_t longest = lengths->distinct ? lengths->length[lengths->distinct - 1] : 0;
    uint32_t capacity = 2048;

    while (capacity < longest && capacity < DGO_PACK_CAPACITY_MAX)
        capacity *= 2;
    return capacity;
}

/* Distinct lengths that fit a bin. */
static uint32_t fitting(const struct dgo_lengths *lengths, uint32_t capacity)
{
    uint32_t n = lengths->distinct;

    while (n > 0 && lengths->length[n - 1] > capacity)
        n--;
    return n;
}

/* ---- first fit: a tree over the bins, each node the most room below it ---- */

struct tree {
    uint32_t *room; /* [2 * leaves]; the root is 1 */
    uint32_t leaves;
};

/* Room for `bins` bins: the tree is made anew at twice the size. */
static bool tree_grow(struct tree *tree, uint32_t capacity)
{
    const uint32_t leaves = tree->leaves ? tree->leaves * 2 : 1024;
    uint32_t *room = malloc((size_t)2 * leaves * sizeof *room);

    if (!room)
        return false;
    for (uint32_t i = 0; i < leaves; i++)
        room[leaves + i] = i < tree->leaves ? tree->room[tree->leaves + i] : capacity;
    for (uint32_t i = leaves; i-- > 1;)
        room[i] = room[2 * i] > room[2 * i + 1] ? room[2 * i] : room[2 * i + 1];
    free(tree->room);
    *tree = (struct tree){room, leaves};
    return true;
}

/* The first bin with that much room; there is one (an unused bin has all of it). */
static uint32_t tree_first(const struct tree *tree, uint32_t wanted)
{
    uint32_t i = 1;

    while (i < tree->leaves)
        i = tree->room[2 * i] >= wanted ? 2 * i : 2 * i + 1;
    return i - tree->leaves;
}

static void tree_take(struct tree *tree, uint32_t bin, uint32_t tokens)
{
    uint32_t i = tree->leaves + bin;

    tree->room[i] -= tokens;
    for (i /= 2; i > 0; i /= 2)
        tree->room[i] =
            tree->room[2 * i] > tree->room[2 * i + 1] ? tree->room[2 * i] : tree->room[2 * i + 1];
}

/* Equal items go one after the other: first fit puts them into the same bin until it is full. */
static uint64_t times_into(uint32_t room, uint32_t length, uint64_t left)
{
    return length == 0 ? left : dgo_min_u64(room / length, left);
}

enum dgo_status dgo_pack_first_fit(const struct dgo_lengths *lengths, uint32_t capacity,
                                   dgo_place_fn place, void *data, uint64_t *bins,
                                   struct dgo_error *err)
{
    struct tree tree = {0};
    uint32_t used = 0;
    enum dgo_status status = DGO_ENOMEM;

    for (uint32_t i = fitting(lengths, capacity); i-- > 0;) {
        const uint32_t length = lengths->length[i];
        uint64_t left = lengths->count_before[i + 1] - lengths->count_before[i];

        while (left > 0) {
            if (used == tree.leaves && !tree_grow(&tree, capacity))
                goto out;
            const uint32_t bin = tree_first(&tree, length);
            const uint64_t times = times_into(tree.room[tree.leaves + bin], length, left);

            tree_take(&tree, bin, (uint32_t)(times * length));
            if (bin == used)
                used++;
            if (place)
                place(bin, length, times, data);
            left -= times;
        }
    }
    *bins = used;
    status = DGO_OK;
out:
    free(tree.room);
    return status ? dgo_fail(err, status, "out of memory while packing") : DGO_OK;
}

/* ---- best fit: bins by their room, the rooms in use as bits in three levels ---- */

enum { BITS = 64, LEVELS = 4 }; /* 64^4 rooms */

struct rooms {
    uint64_t *level[LEVELS]; /* level 0 has a bit for each room */
    uint32_t *head;          /* [capacity + 1]: a bin with that room, + 1; 0: none */
    uint32_t *next;          /* [bins] */
    uint32_t next_size;
};

static void rooms_done(struct rooms *rooms)
{
    for (unsigned l = 0; l < LEVELS; l++)
        free(rooms->level[l]);
    free(rooms->head);
    free(rooms->next);
}

static bool rooms_init(struct rooms *rooms, uint32_t capacity)
{
    size_t words = capacity;
    bool made = true;

    memset(rooms, 0, sizeof *rooms);
    for (unsigned l = 0; l < LEVELS; l++) {
        words = words / BITS + 1;
        rooms->level[l] = calloc(words, sizeof *rooms->level[l]);
        made = made && rooms->level[l];
    }
    rooms->head = calloc((size_t)capacity + 1, sizeof *rooms->head);
    if (made && rooms->head)
        return true;
    rooms_done(rooms);
    return false;
}

static bool rooms_put(struct rooms *rooms, uint32_t room, uint32_t bin)
{
    if (bin >= rooms->next_size) {
        const uint32_t size = rooms->next_size ? rooms->next_size * 2 : 1024;
        uint32_t *next = realloc(rooms->next, size * sizeof *next);

        if (!next)
            return false;
        rooms->next = next;
        rooms->next_size = size;
    }
    rooms->next[bin] = rooms->head[room];
    rooms->head[room] = bin + 1;
    for (unsigned l = 0; l < LEVELS; l++, room /= BITS)
        rooms->level[l][room / BITS] |= UINT64_C(1) << room % BITS;
    return true;
}

static uint32_t rooms_take(struct rooms *rooms, uint32_t room)
{
    const uint32_t bin = rooms->head[room] - 1;

    rooms->head[room] = rooms->next[bin];
    if (rooms->head[room])
        return bin;
    for (unsigned l = 0; l < LEVELS; l++, room /= BITS) {
        rooms->level[l][room / BITS] &= ~(UINT64_C(1) << room % BITS);
        if (rooms->level[l][room / BITS])
            break;
    }
    return bin;
}

/* The smallest room of a bin that is at least `wanted`; false: no bin has it. */
static bool rooms_at_least(const struct rooms *rooms, uint32_t capacity, uint32_t wanted,
                           uint32_t *room)
{
    uint64_t at = wanted, limit = capacity;

    for (unsigned l = 0; l < LEVELS; l++) {
        const uint64_t word =
            at > limit ? 0 : rooms->level[l][at / BITS] & (~UINT64_C(0) << at % BITS);

        if (word) {
            at = at / BITS * BITS + (uint64_t)__builtin_ctzll(word);
            while (l-- > 0)
                at = at * BITS + (uint64_t)__builtin_ctzll(rooms->level[l][at]);
            *room = (uint32_t)at;
            return true;
        }
        at = at / BITS + 1;
        limit /= BITS;
    }
    return false;
}

enum dgo_status dgo_pack_best_fit(const struct dgo_lengths *lengths, uint32_t capacity,
                                  dgo_place_fn place, void *data, uint64_t *bins,
                                  struct dgo_error *err)
{
    struct rooms rooms;
    uint32_t used = 0;
    enum dgo_status status = DGO_ENOMEM;

    if (!rooms_init(&rooms, capacity))
        return dgo_fail(err, DGO_ENOMEM, "out of memory while packing");
    for (uint32_t i = fitting(lengths, capacity); i-- > 0;) {
        const uint32_t length = lengths->length[i];
        uint64_t left = lengths->count_before[i + 1] - lengths->count_before[i];

        while (left > 0) {
            uint32_t room = capacity, bin = used;

            if (rooms_at_least(&rooms, capacity, length, &room))
                bin = rooms_take(&rooms, room);
            else
                used++;
            const uint64_t times = times_into(room, length, left);

            if (!rooms_put(&rooms, room - (uint32_t)(times * length), bin))
                goto out;
            if (place)
                place(bin, length, times, data);
            left -= times;
        }
    }
    *bins = used;
    status = DGO_OK;
out:
    rooms_done(&rooms);
    return status ? dgo_fail(err, status, "out of memory while packing") : DGO_OK;
}

/* ---- the bound ---- */

/* L(a) for one a <= capacity / 2: items above capacity - a are alone, those above one half cannot
 * share, and what of the rest (>= a) does not fit beside them needs more bins. */
static uint64_t bound_at(const struct dgo_lengths *lengths, uint32_t n, uint32_t capacity,
                         uint32_t small, uint32_t half, uint32_t alone)
{
    const uint64_t *count = lengths->count_before, *sum = lengths->sum_before;
    const uint64_t alone_count = count[n] - count[alone];
    const uint64_t big_count = count[alone] - count[half];
    const uint64_t big_room = big_count * capacity - (sum[alone] - sum[half]);
    const uint64_t small_sum = sum[half] - sum[small];
    const uint64_t more =
        small_sum > big_room ? (small_sum - big_room + capacity - 1) / capacity : 0;

    return alone_count + big_count + more;
}

uint64_t dgo_pack_lower_bound(const struct dgo_lengths *lengths, uint32_t capacity)
{
    const uint32_t n = fitting(lengths, capacity);
    uint32_t half = 0, alone = n;
    uint64_t best = 0;

    if (n == 0)
        return 0;
    while (half < n && lengths->length[half] <= capacity / 2)
        half++;
    /* a = 0 first, then each length up to one half: only there does L change. */
    best = bound_at(lengths, n, capacity, 0, half, n);
    for (uint32_t small = 0; small < half; small++) {
        while (alone > half && lengths->length[alone - 1] > capacity - lengths->length[small])
            alone--;
        best = dgo_max_u64(best, bound_at(lengths, n, capacity, small, half, alone));
    }
    if (best == 0 && lengths->count_before[n] > 0)
        best = 1; /* requests without tokens still need a place */
    return best;
}

enum dgo_status dgo_pack(const struct dgo_lengths *lengths, uint32_t capacity,
                         struct dgo_packing *packing, struct dgo_error *err)
{
    struct dgo_packing made = {.capacity = capacity};
    enum dgo_status status;

    if (capacity == 0 || capacity > DGO_PACK_CAPACITY_MAX)
        return dgo_fail(err, DGO_EINVAL, "a bin of %" PRIu32 " tokens; 1 to %d are possible",
                        capacity, DGO_PACK_CAPACITY_MAX);
    const uint32_t n = fitting(lengths, capacity);

    made.items = lengths->distinct ? lengths->count_before[n] : 0;
    made.too_long = dgo_lengths_count(lengths) - made.items;
    made.tokens = lengths->distinct ? lengths->sum_before[n] : 0;
    made.lower_bound = dgo_pack_lower_bound(lengths, capacity);
    status = dgo_pack_first_fit(lengths, capacity, NULL, NULL, &made.ffd_bins, err);
    if (status == DGO_OK)
        status = dgo_pack_best_fit(lengths, capacity, NULL, NULL, &made.bfd_bins, err);
    if (status != DGO_OK)
        return status;
    if (made.items > 0) {
        const bool best_fit = made.bfd_bins < made.ffd_bins;

        made.bins = best_fit ? made.bfd_bins : made.ffd_bins;
        made.method = best_fit ? DGO_PACK_BFD : DGO_PACK_FFD;
    }
    if (made.bins > made.lower_bound && made.items <= DGO_PACK_SEARCH_MAX)
        pack_search(lengths, n, &made);
    *packing = made;
    return DGO_OK;
}
