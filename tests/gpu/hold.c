/* hold.c - a process that takes memory of the pretend cards, as programs on a GPU do:
 * hold CARD=MIB[+MIB/S] ... takes it (and grows by so much a second), says "held" on stdout and
 * waits for its end.  The books are those of PRETEND_GPU_USAGE. */
#include "usage.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static const uint64_t mib = UINT64_C(1) << 20;

int main(int argc, char **argv)
{
    char error[256];
    struct pretend_usage *usage =
        pretend_usage_open(getenv("PRETEND_GPU_USAGE"), error, sizeof error);
    uint64_t growth[PRETEND_CARDS_MAX] = {0};

    if (!usage) {
        fprintf(stderr, "%s\n", error);
        return 1;
    }
    for (int i = 1; i < argc; i++) {
        unsigned card = 0, take_mib = 0, grow_mib = 0;

        if (sscanf(argv[i], "%u=%u+%u", &card, &take_mib, &grow_mib) < 2 ||
            card >= PRETEND_CARDS_MAX ||
            !pretend_usage_take(usage, card, take_mib * mib, UINT64_MAX, UINT64_MAX)) {
            fprintf(stderr, "hold: %s was not taken\n", argv[i]);
            return 1;
        }
        growth[card] = grow_mib * mib;
    }
    puts("held");
    fflush(stdout);
    for (;;) {
        sleep(1);
        for (uint32_t card = 0; card < PRETEND_CARDS_MAX; card++)
            if (growth[card])
                (void)pretend_usage_take(usage, card, growth[card], UINT64_MAX, UINT64_MAX);
    }
}
