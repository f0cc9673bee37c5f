/* dgo_settle.h - whether a machine's GPU memory stands still, and whose does not.
 *
 * A card is still when what is used of it has moved by less than 2 MiB for so long; the machine is
 * when all its cards are.  Processes are followed only to name who moves.  Pure: looks and their
 * times are the caller's; one owner at a time. */
#ifndef DGO_SETTLE_H
#define DGO_SETTLE_H

#include "dgo_gpu.h"

enum { DGO_SETTLE_ENTRY_MAX = 512, DGO_SETTLE_MOVER_MAX = 8 };

struct dgo_settle_entry {
    uint32_t gpu_index, pid; /* pid 0: the card */
    uint64_t start;
    char name[64];                  /* of the process; "" unknown */
    double since_s;                 /* it has been still since then */
    double least_mib, greatest_mib; /* since then */
    double moved_mib, moved_s;      /* the last move of 2 MiB or more, and when; 0: none */
    bool seen;
};

struct dgo_settle {
    double still_s, began_s, now_s;
    bool begun;
    uint32_t count;
    struct dgo_settle_entry entry[DGO_SETTLE_ENTRY_MAX];
};

/* `still_s`: for how long a card must not move. */
void dgo_settle_init(struct dgo_settle *settle, double still_s);

/* One look.  A card without a reading, and entries beyond the bound, are passed over. */
void dgo_settle_look(struct dgo_settle *settle, const struct dgo_machine *machine, double seconds);

/* Every card that was read in the last look is still; false before there was one. */
bool dgo_settle_is_still(const struct dgo_settle *settle);

/* Who moved within the last still_s: cards, each before its processes.  Returns how many. */
uint32_t dgo_settle_movers(const struct dgo_settle *settle,
                           struct dgo_settle_entry movers[DGO_SETTLE_MOVER_MAX]);

#endif
