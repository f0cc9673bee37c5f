/* cards.h - which pretend cards the machine has, and which of them a process may see.
 *
 * Text in, values out; no environment, no ggml.  Any thread. */
#ifndef PRETEND_CARDS_H
#define PRETEND_CARDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { PRETEND_CARDS_MAX = 16 }; /* llama.cpp's own limit of devices */

struct pretend_card {
    char prefix[16]; /* "CUDA" of "CUDA0": devices are numbered anew after hiding, as CUDA does */
    char model[96];  /* "NVIDIA GeForce RTX 3090" */
    char uuid[64];   /* "GPU-..." */
    char pci_id[24]; /* "0000:01:00.0", lower case */
    uint64_t total_bytes;
    uint64_t free_bytes;  /* before any pretend process took some */
    uint64_t limit_bytes; /* what one process really gets: the fault knob; UINT64_MAX: no limit */
    uint32_t index;       /* in the machine: the order of the text, and of the usage file */
};

/* "CUDA0|NVIDIA GeForce RTX 3090|24576|24100|GPU-1f2e...|0000:01:00.0,CUDA1|...": name, model,
 * total and free MiB, UUID, PCI address.  From the fourth field on, optional; an empty one is
 * filled in.  False with a sentence in `error`. */
bool pretend_cards_parse(const char *text, struct pretend_card cards[PRETEND_CARDS_MAX],
                         uint32_t *count, char *error, size_t error_size);

/* "1=3000,2=500": card 1 gives a process at most 3000 MiB, whatever it says is free. */
bool pretend_limits_parse(const char *text, struct pretend_card *cards, uint32_t count, char *error,
                          size_t error_size);

/* CUDA_VISIBLE_DEVICES and CUDA_DEVICE_ORDER as the CUDA driver reads them: indexes or UUID
 * prefixes, in the order given; the first that names nothing ends the list; a card named twice
 * hides all; "" hides all; NULL shows all.  The order of the text stands for CUDA's default,
 * FASTEST_FIRST; with "PCI_BUS_ID" indexes count by PCI address.  Returns how many cards are
 * visible; shown[i] is the index in `cards` of the i-th. */
uint32_t pretend_cards_visible(const struct pretend_card *cards, uint32_t count,
                               const char *visible, const char *device_order,
                               uint32_t shown[PRETEND_CARDS_MAX]);

#endif
