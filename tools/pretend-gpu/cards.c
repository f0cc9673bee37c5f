/* cards.c - reads PRETEND_GPUS and CUDA_VISIBLE_DEVICES. */
#include "cards.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define MIB     (UINT64_C(1) << 20)
#define MIB_MAX (UINT64_C(1) << 30) /* a pebibyte on one card is a typing mistake */

enum { FIELD_NAME, FIELD_MODEL, FIELD_TOTAL, FIELD_FREE, FIELD_UUID, FIELD_PCI, FIELD_COUNT };

static bool parse_mib(const char *text, uint64_t *bytes)
{
    char *end = NULL;
    unsigned long long mib;

    errno = 0;
    mib = strtoull(text, &end, 10);
    if (!isdigit((unsigned char)text[0]) || *end || errno || mib > MIB_MAX)
        return false;
    *bytes = mib * MIB;
    return true;
}

/* "CUDA0" -> "CUDA" */
static void copy_prefix(char prefix[16], const char *name)
{
    size_t length = strlen(name);

    while (length > 0 && isdigit((unsigned char)name[length - 1]))
        length--;
    snprintf(prefix, 16, "%.*s", (int)(length > 15 ? 15 : length), name);
}

static bool parse_card(char *text, uint32_t index, struct pretend_card *card, char *error,
                       size_t error_size)
{
    const char *field[FIELD_COUNT] = {"", "", "", "", "", ""};
    uint32_t fields = 0;

    for (char *rest = text, *word; fields < FIELD_COUNT && (word = strsep(&rest, "|"));)
        field[fields++] = word;
    *card = (struct pretend_card){.index = index, .limit_bytes = UINT64_MAX};
    copy_prefix(card->prefix, field[FIELD_NAME]);
    snprintf(card->model, sizeof(card->model), "%s", field[FIELD_MODEL]);
    if (!card->prefix[0] || !card->model[0] || !parse_mib(field[FIELD_TOTAL], &card->total_bytes)) {
        snprintf(error, error_size,
                 "card %" PRIu32 " of PRETEND_GPUS is \"%s|%s|%s\": want NAME|MODEL|TOTAL_MIB"
                 "[|FREE_MIB[|UUID[|PCI]]], for example CUDA0|NVIDIA GeForce RTX 3090|24576|24100",
                 index, field[FIELD_NAME], field[FIELD_MODEL], field[FIELD_TOTAL]);
        return false;
    }
    card->free_bytes = card->total_bytes;
    if (field[FIELD_FREE][0] && (!parse_mib(field[FIELD_FREE], &card->free_bytes) ||
                                 card->free_bytes > card->total_bytes)) {
        snprintf(error, error_size,
                 "card %" PRIu32 " of PRETEND_GPUS has \"%s\" MiB free: want 0 to its total of %s",
                 index, field[FIELD_FREE], field[FIELD_TOTAL]);
        return false;
    }
    if (field[FIELD_UUID][0])
        snprintf(card->uuid, sizeof(card->uuid), "%s", field[FIELD_UUID]);
    else
        snprintf(card->uuid, sizeof(card->uuid),
                 "GPU-0000000%" PRIx32 "-0000-4000-8000-000000000000", index);
    if (field[FIELD_PCI][0])
        snprintf(card->pci_id, sizeof(card->pci_id), "%s", field[FIELD_PCI]);
    else
        snprintf(card->pci_id, sizeof(card->pci_id), "0000:%02" PRIx32 ":00.0", index + 1);
    return true;
}

bool pretend_cards_parse(const char *text, struct pretend_card cards[PRETEND_CARDS_MAX],
                         uint32_t *count, char *error, size_t error_size)
{
    char *copy = strdup(text);
    char *rest = copy;
    uint32_t found = 0;
    bool good = copy != NULL;

    if (!copy)
        snprintf(error, error_size, "out of memory");
    for (char *word; good && (word = strsep(&rest, ","));) {
        if (found == PRETEND_CARDS_MAX) {
            snprintf(error, error_size, "PRETEND_GPUS lists more than %d cards", PRETEND_CARDS_MAX);
            good = false;
        } else {
            good = parse_card(word, found, &cards[found], error, error_size);
            found += good;
        }
    }
    free(copy);
    if (good)
        *count = found;
    return good;
}

bool pretend_limits_parse(const char *text, struct pretend_card *cards, uint32_t count, char *error,
                          size_t error_size)
{
    char *copy = strdup(text);
    char *rest = copy;
    bool good = copy != NULL;

    for (char *word; good && (word = strsep(&rest, ","));) {
        char *end = NULL;
        const unsigned long card = strtoul(word, &end, 10);
        uint64_t bytes = 0;

        good = end != word && *end == '=' && card < count && parse_mib(end + 1, &bytes);
        if (good)
            cards[card].limit_bytes = bytes;
    }
    if (!good)
        snprintf(
            error, error_size,
            "PRETEND_GPU_LIMIT_MIB is \"%s\": want CARD=MIB[,CARD=MIB], cards from 0 to %" PRIu32,
            text, count ? count - 1 : 0);
    free(copy);
    return good;
}

static void order_by_pci(const struct pretend_card *cards, uint32_t count, uint32_t *order)
{
    for (uint32_t i = 1; i < count; i++) {
        const uint32_t card = order[i];
        uint32_t at = i;

        for (; at > 0 && strcasecmp(cards[order[at - 1]].pci_id, cards[card].pci_id) > 0; at--)
            order[at] = order[at - 1];
        order[at] = card;
    }
}

/* The position in `order` that one word of the variable names, or `count`. */
static uint32_t find_named(const struct pretend_card *cards, const uint32_t *order, uint32_t count,
                           const char *word)
{
    uint32_t found = count;

    while (isspace((unsigned char)*word))
        word++;
    if (isdigit((unsigned char)*word)) {
        const unsigned long index = strtoul(word, NULL, 10); /* as CUDA: what follows is ignored */
        return index < count ? (uint32_t)index : count;
    }
    if (strncasecmp(word, "GPU-", 4) != 0)
        return count;
    for (uint32_t i = 0; i < count; i++) {
        if (strncasecmp(cards[order[i]].uuid, word, strlen(word)) != 0)
            continue;
        if (found != count)
            return count; /* an ambiguous prefix names nothing */
        found = i;
    }
    return found;
}

uint32_t pretend_cards_visible(const struct pretend_card *cards, uint32_t count,
                               const char *visible, const char *device_order,
                               uint32_t shown[PRETEND_CARDS_MAX])
{
    uint32_t order[PRETEND_CARDS_MAX];
    uint32_t shown_count = 0;
    bool taken[PRETEND_CARDS_MAX] = {false};
    char word[128];

    for (uint32_t i = 0; i < count; i++)
        order[i] = i;
    if (device_order && strcmp(device_order, "PCI_BUS_ID") == 0)
        order_by_pci(cards, count, order);
    if (!visible) {
        memcpy(shown, order, count * sizeof(*order));
        return count;
    }
    for (const char *at = visible; *at;) {
        const size_t length = strcspn(at, ",");
        uint32_t position;

        snprintf(word, sizeof(word), "%.*s", (int)(length < sizeof(word) ? length : 0), at);
        position = find_named(cards, order, count, word);
        if (position == count)
            break;
        if (taken[position])
            return 0;
        taken[position] = true;
        shown[shown_count++] = order[position];
        at += length + (at[length] == ',');
    }
    return shown_count;
}
