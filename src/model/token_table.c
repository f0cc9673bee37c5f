/* token_table.c - strings and pairs by hash, and tries over bytes, all of bounded probes. */
#include "token.h"

#include <string.h>

/* Half full at most, a good hash probes a handful of slots; 4096 in a row are made on purpose. */
enum { PROBES_MAX = 4096 };

static uint64_t mix(uint64_t value)
{
    value ^= value >> 32;
    value *= UINT64_C(0xd6e8feb86659fd93);
    value ^= value >> 32;
    value *= UINT64_C(0xd6e8feb86659fd93);
    return value ^ value >> 32;
}

static uint64_t hash_bytes(const char *text, size_t length)
{
    uint64_t hash = length * UINT64_C(0x9e3779b97f4a7c15), word;

    for (; length >= 8; length -= 8, text += 8) {
        memcpy(&word, text, 8);
        hash = mix(hash ^ word);
    }
    word = 0;
    memcpy(&word, text, length);
    return mix(hash ^ word);
}

/* At least twice `most`, a power of two. */
static uint32_t slots_for(uint64_t most)
{
    uint32_t slots = 16;

    while (slots < 2 * most)
        slots *= 2;
    return slots;
}

bool strings_init(struct string_table *table, uint32_t most, struct dgo_arena *arena)
{
    const uint32_t slots = slots_for(most);

    *table = (struct string_table){
        .text = dgo_arena_take_array(arena, most, sizeof *table->text),
        .length = dgo_arena_take_array(arena, most, sizeof *table->length),
        .room = most,
        .slot = dgo_arena_take_array(arena, slots, sizeof *table->slot),
        .slot_mask = slots - 1,
    };
    return table->text && table->length && table->slot;
}

/* The slot of the string, or the empty one where it belongs; false: too many probes. */
static bool find_slot(const struct string_table *table, const char *text, size_t length,
                      uint32_t *slot)
{
    uint32_t at = (uint32_t)hash_bytes(text, length) & table->slot_mask;

    for (unsigned probe = 0; probe < PROBES_MAX; probe++) {
        const uint32_t id = table->slot[at];

        *slot = at;
        if (id == 0 ||
            (table->length[id - 1] == length && memcmp(table->text[id - 1], text, length) == 0))
            return true;
        at = (at + 1) & table->slot_mask;
    }
    return false;
}

uint32_t strings_find(const struct string_table *table, const char *text, size_t length)
{
    uint32_t slot;

    if (!find_slot(table, text, length, &slot) || table->slot[slot] == 0)
        return TOKEN_NONE;
    return table->slot[slot] - 1;
}

uint32_t strings_add(struct string_table *table, const char *text, uint32_t length)
{
    uint32_t slot;

    if (!find_slot(table, text, length, &slot))
        return TOKEN_NONE;
    if (table->slot[slot] != 0)
        return table->slot[slot] - 1;
    if (table->count == table->room)
        return TOKEN_NONE;
    table->text[table->count] = text;
    table->length[table->count] = length;
    table->slot[slot] = ++table->count;
    return table->count - 1;
}

bool pairs_init(struct pair_table *table, uint32_t most, struct dgo_arena *arena)
{
    const uint32_t slots = slots_for(most);

    *table = (struct pair_table){.slot = dgo_arena_take_array(arena, slots, sizeof *table->slot),
                                 .mask = slots - 1};
    for (uint32_t i = 0; table->slot && i < slots; i++)
        table->slot[i].left = TOKEN_NONE;
    return table->slot != NULL;
}

static uint32_t pair_slot(const struct pair_table *table, uint32_t left, uint32_t right)
{
    return (uint32_t)mix((uint64_t)left << 32 | right) & table->mask;
}

const struct pair *pairs_find(const struct pair_table *table, uint32_t left, uint32_t right)
{
    uint32_t at = pair_slot(table, left, right);

    for (unsigned probe = 0; probe < PROBES_MAX; probe++, at = (at + 1) & table->mask) {
        const struct pair *pair = &table->slot[at];

        if (pair->left == TOKEN_NONE)
            return NULL;
        if (pair->left == left && pair->right == right)
            return pair;
    }
    return NULL;
}

bool pairs_add(struct pair_table *table, const struct pair *pair)
{
    uint32_t at = pair_slot(table, pair->left, pair->right);

    for (unsigned probe = 0; probe < PROBES_MAX; probe++, at = (at + 1) & table->mask) {
        struct pair *slot = &table->slot[at];

        if (slot->left == pair->left && slot->right == pair->right)
            return true;
        if (slot->left == TOKEN_NONE) {
            *slot = *pair;
            table->count++;
            return true;
        }
    }
    return false;
}

bool trie_init(struct trie *trie, uint64_t bytes, struct dgo_arena *arena)
{
    const uint32_t nodes = (uint32_t)bytes + 1, slots = slots_for(nodes);

    memset(trie, 0, sizeof *trie);
    trie->child = dgo_arena_take_array(arena, slots, sizeof *trie->child);
    trie->key = dgo_arena_take_array(arena, slots, sizeof *trie->key);
    trie->value = dgo_arena_take_array(arena, nodes, sizeof *trie->value);
    if (!trie->child || !trie->key || !trie->value)
        return false;
    trie->mask = slots - 1;
    trie->node_room = nodes;
    trie->node_count = 1;
    trie->value[0] = TOKEN_NONE;
    return true;
}

static bool trie_slot(const struct trie *trie, uint32_t node, unsigned char byte, uint32_t *slot)
{
    const uint64_t key = ((uint64_t)node << 8 | byte) + 1;
    uint32_t at = (uint32_t)mix(key) & trie->mask;

    for (unsigned probe = 0; probe < PROBES_MAX; probe++, at = (at + 1) & trie->mask) {
        *slot = at;
        if (trie->key[at] == 0 || trie->key[at] == key)
            return true;
    }
    return false;
}

bool trie_add(struct trie *trie, const char *text, size_t length, uint32_t value)
{
    uint32_t node = 0;

    for (size_t i = 0; i < length; i++) {
        const unsigned char byte = (unsigned char)text[i];
        uint32_t slot;

        if (!trie_slot(trie, node, byte, &slot))
            return false;
        if (trie->key[slot] == 0) {
            if (trie->node_count == trie->node_room)
                return false;
            trie->key[slot] = ((uint64_t)node << 8 | byte) + 1;
            trie->child[slot] = trie->node_count;
            trie->value[trie->node_count] = TOKEN_NONE;
            if (node == 0)
                trie->first[byte] = trie->node_count;
            trie->node_count++;
        }
        node = trie->child[slot];
    }
    trie->value[node] = value; /* a later one wins */
    return true;
}

uint32_t trie_next(const struct trie *trie, uint32_t node, unsigned char byte)
{
    uint32_t slot;

    if (node == 0)
        return trie->first[byte];
    if (!trie_slot(trie, node, byte, &slot) || trie->key[slot] == 0)
        return 0;
    return trie->child[slot];
}
