/* usage.h - how much of each pretend card is taken, known to every process that uses the cards.
 *
 * A small file mapped by all of them.  It opens with PRETEND_CARDS_MAX totals, one uint64_t a card
 * in machine order, so that a fake driver can show them; then one slot a process.  What a process
 * took is given back when it ends, however it ends: each call drops the slots of processes that
 * are gone (a pid counts only with the start time it had).  Without a file the books are private
 * to the process.  Any thread. */
#ifndef PRETEND_USAGE_H
#define PRETEND_USAGE_H

#include "cards.h"

#include <sys/types.h>

enum { PRETEND_PROCESSES_MAX = 64 };

struct pretend_usage;

/* `path` NULL: private books.  The file is made when missing.  NULL with a sentence in `error`. */
struct pretend_usage *pretend_usage_open(const char *path, char *error, size_t error_size);
void pretend_usage_close(struct pretend_usage *usage); /* accepts NULL; gives nothing back */

/* Takes `bytes` for this process when all processes together then hold at most `capacity_bytes`
 * of the card, and this one at most `limit_bytes`.  False: not taken. */
bool pretend_usage_take(struct pretend_usage *usage, uint32_t card, uint64_t bytes,
                        uint64_t capacity_bytes, uint64_t limit_bytes);
void pretend_usage_give(struct pretend_usage *usage, uint32_t card, uint64_t bytes);

/* Held by all living processes. */
uint64_t pretend_usage_total(struct pretend_usage *usage, uint32_t card);

struct pretend_use {
    pid_t pid;
    uint64_t bytes;
};

/* Who holds some of the card; returns the count. */
uint32_t pretend_usage_processes(struct pretend_usage *usage, uint32_t card,
                                 struct pretend_use uses[PRETEND_PROCESSES_MAX]);

#endif
