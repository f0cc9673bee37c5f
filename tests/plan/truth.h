/* truth.h - tables of what a real engine allocated: reading them, and asking for the same. */
#ifndef TRUTH_H
#define TRUTH_H

#include "dgo_plan.h"

#include <stdio.h>

enum { TRUTH_DEVICE_MAX = 8 };

/* One run of the engine: consecutive rows of a table. */
struct truth_case {
    char model[16], cards[64], args[128];
    struct truth_figures {
        bool seen;
        uint64_t weights_bytes, context_bytes, compute_bytes;
    } device[TRUTH_DEVICE_MAX], host; /* host: every buffer in host memory together */
    bool full_rows;                   /* logits of a whole micro-batch: builds before b9430 */
};

struct truth_table;

/* NULL when the file cannot be opened.  `has_rows`: the table says how many rows of logits were
 * reserved (-nout); without that, a run without it is one that reserved them all. */
struct truth_table *truth_open(const char *path, bool has_rows);
bool truth_next(struct truth_table *table, struct truth_case *row);
void truth_close(struct truth_table *table);

/* "24,12": cards of so many GiB, all free, and endless host memory. */
void truth_machine(const char *cards, struct dgo_machine *machine);

/* The flags of the engine as settings; false (with a message on stderr) for one not known here. */
bool truth_settings(const struct truth_case *row, const struct dgo_machine *machine,
                    struct dgo_settings *settings);

#endif
