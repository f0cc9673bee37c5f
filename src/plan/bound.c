/* bound.c - what a decode step takes at least: a linear program's bound, by its prices.
 *
 * Relaxed, layers are cut anywhere, and their routed experts lie where they like.  A piece i of
 * h(i) bytes takes c(i,g) seconds on card g and c(i,host) in host memory; card g has room(g).  For
 * any prices w(g) >= 0 of a byte on a card
 *
 *     sum of min(c(i,host), min over g of c(i,g) + h(i) w(g))  -  sum of room(g) w(g)
 *
 * is no more than the best of it all (weak duality), so a mistake in the prices costs closeness and
 * never truth.  They are read off the filling that is best where only what is read counts: the
 * fastest card takes what is read densest, the next what is left, and so on. */
#include "cost.h"

#include <math.h>
#include <string.h>

enum { PIECE_MAX = 2 * (DGO_LAYER_MAX + 1) };

struct piece {
    double held_bytes, read_bytes;
    double host_s; /* in host memory */
};

struct card {
    double room_bytes, rate;
    double price_s; /* of a byte */
    uint32_t stop;  /* the piece that it had no room for all of; the count: none */
};

struct bound {
    uint32_t piece_count, card_count;
    struct piece piece[PIECE_MAX]; /* by what a byte held saves on a card, most first */
    struct card card[DGO_GPU_MAX]; /* fastest first */
};

static double density(const struct piece *piece)
{
    return piece->held_bytes > 0 ? piece->host_s / piece->held_bytes : INFINITY;
}

static void add_piece(struct bound *bound, const struct piece *piece)
{
    uint32_t at = bound->piece_count++;

    for (; at > 0 && density(&bound->piece[at - 1]) < density(piece); at--)
        bound->piece[at] = bound->piece[at - 1];
    bound->piece[at] = *piece;
}

/* A layer's own part and its experts.  Experts in host memory beside a layer on a card are a visit;
 * a layer that is there with its experts makes none. */
static void add_layer(struct bound *bound, const struct cost_model *cost,
                      const struct plan_memory *memory, uint32_t l)
{
    const double experts =
        l < memory->layer_count ? (double)memory->model->layer[l].expert_bytes : 0;
    const double here = experts - fmin((double)memory->kept_weights_bytes[l], experts);
    const double read = cost->expert_read_bytes[l];
    const double visit_s = experts > 0 ? COST_EXPERTS_VISIT : 0;

    add_piece(bound, &(struct piece){
                         fmax(0, (double)memory->weights_bytes[l] - here) +
                             (double)memory->context_bytes[l],
                         cost->read_bytes[l] - (experts > 0 ? read * (here / experts) : 0),
                         (cost->host_read_bytes[l] - read) / cost->rates.host_rate - visit_s,
                     });
    if (experts > 0)
        add_piece(bound, &(struct piece){experts, read, read / cost->rates.host_rate + visit_s});
}

static void add_cards(struct bound *bound, const struct rates *rates,
                      const uint64_t room_bytes[DGO_GPU_MAX])
{
    for (uint32_t g = 0; g < rates->gpu_count; g++) {
        uint32_t at = bound->card_count;

        if (room_bytes[g] == 0)
            continue;
        for (; at > 0 && bound->card[at - 1].rate < rates->gpu_rate[g]; at--)
            bound->card[at] = bound->card[at - 1];
        bound->card[at] =
            (struct card){.room_bytes = (double)room_bytes[g], .rate = rates->gpu_rate[g]};
        bound->card_count++;
    }
}

/* Where each card is full. */
static void fill_cards(struct bound *bound)
{
    double placed = 0; /* of the piece at hand */
    uint32_t i = 0;

    for (uint32_t c = 0; c < bound->card_count; c++) {
        double room = bound->card[c].room_bytes;

        while (i < bound->piece_count && bound->piece[i].held_bytes - placed <= room) {
            room -= bound->piece[i++].held_bytes - placed;
            placed = 0;
        }
        bound->card[c].stop = i;
        placed += i < bound->piece_count ? room : 0;
    }
}

/* A byte on a card is worth what the piece at its end gains by it over its next best place. */
static void price_cards(struct bound *bound)
{
    for (uint32_t c = bound->card_count; c-- > 0;) {
        struct card *card = &bound->card[c];
        const struct card *next = c + 1 < bound->card_count ? card + 1 : NULL;

        if (card->stop == bound->piece_count)
            continue;
        const struct piece *piece = &bound->piece[card->stop];
        double elsewhere_s = piece->host_s;

        if (next)
            elsewhere_s = fmin(elsewhere_s,
                               piece->read_bytes / next->rate + piece->held_bytes * next->price_s);
        card->price_s = fmax(0, (elsewhere_s - piece->read_bytes / card->rate) / piece->held_bytes);
    }
}

static double value(const struct bound *bound)
{
    double sum = 0;

    for (uint32_t i = 0; i < bound->piece_count; i++) {
        const struct piece *piece = &bound->piece[i];
        double least = piece->host_s;

        for (uint32_t c = 0; c < bound->card_count; c++)
            least = fmin(least, piece->read_bytes / bound->card[c].rate +
                                    piece->held_bytes * bound->card[c].price_s);
        sum += least;
    }
    for (uint32_t c = 0; c < bound->card_count; c++)
        sum -= bound->card[c].room_bytes * bound->card[c].price_s;
    return sum;
}

/* Whatever goes where: launches, at the fewest seconds each, and caches kept in host memory. */
static double anyhow_s(const struct cost_model *cost, const struct plan_memory *memory)
{
    double share = 1 /* the CPU's */, sum = 0;

    for (uint32_t g = 0; g < cost->rates.gpu_count; g++)
        share = fmin(share, cost->rates.launch_share[g]);
    for (uint32_t l = 0; l <= cost->layer_count; l++) {
        sum += cost->launch_s[l] * share;
        if (memory->kept_context_bytes[l] > 0)
            sum += fmax(0, cost->kept_read_bytes[l] - cost->expert_read_bytes[l]) /
                   cost->rates.host_rate;
    }
    return sum;
}

double cost_lower_bound_s(const struct cost_model *cost, const struct plan_memory *memory,
                          const uint64_t room_bytes[DGO_GPU_MAX])
{
    struct bound bound = {0};

    for (uint32_t l = 0; l <= cost->layer_count; l++)
        add_layer(&bound, cost, memory, l);
    add_cards(&bound, &cost->rates, room_bytes);
    fill_cards(&bound);
    price_cards(&bound);
    return value(&bound) + anyhow_s(cost, memory);
}
