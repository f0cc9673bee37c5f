/* compare_stored.c - the snapshots of a comparison in its JSON, with a hash, and read from there
 * again.
 *
 * The hash is SHA-256 of `snapshots` as compact JSON with sorted keys.  There are no fractions in
 * it, so it does not matter who wrote the numbers out. */
#include "compare_show.h"

#include "dgo_launch.h"
#include "dgo_text.h"
#include "view.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static const double kib_of_mib = 1024;

/* What a card may say beside its use, by its key. */
static const struct {
    const char *key;
    size_t at;
} card_fields[] = {
    {"total_kib", offsetof(struct dgo_card_state, total_mib)},
    {"reserved_kib", offsetof(struct dgo_card_state, reserved_mib)},
    {"free_kib", offsetof(struct dgo_card_state, free_mib)},
    {"bar1_used_kib", offsetof(struct dgo_card_state, bar1_used_mib)},
};
enum { CARD_FIELDS = sizeof card_fields / sizeof card_fields[0] };

static double *card_field(struct dgo_card_state *card, size_t field)
{
    return (double *)(void *)((char *)card + card_fields[field].at);
}

/* What is not known is not there. */
static json_t *view_cards(const struct dgo_snapshot *snapshot)
{
    json_t *cards = json_array();

    for (uint32_t g = 0; g < DGO_PROFILER_GPU_MAX; g++) {
        struct dgo_card_state card = snapshot->card[g];
        json_t *view = json_pack("{s:I}", "gpu", (json_int_t)g);

        for (size_t f = 0; f < CARD_FIELDS; f++)
            if (!isnan(*card_field(&card, f)))
                json_object_set_new(
                    view, card_fields[f].key,
                    json_integer((json_int_t)llround(*card_field(&card, f) * kib_of_mib)));
        if (card.drives_display >= 0)
            json_object_set_new(view, "drives_display", json_boolean(card.drives_display));
        if (json_object_size(view) > 1)
            json_array_append(cards, view);
        json_decref(view);
    }
    return cards;
}

static json_t *view_snapshot(const struct dgo_snapshot *snapshot)
{
    json_t *entries = json_array();

    for (uint32_t i = 0; i < snapshot->count; i++) {
        const struct dgo_snapshot_entry *entry = &snapshot->entry[i];

        json_array_append_new(
            entries, json_pack("{s:I, s:I, s:I, s:o, s:I, s:I}", "gpu",
                               (json_int_t)entry->gpu_index, "pid", (json_int_t)entry->pid, "start",
                               (json_int_t)entry->start, "name", view_text(entry->name), "used_kib",
                               (json_int_t)llround(entry->used_mib * kib_of_mib), "noise_kib",
                               (json_int_t)llround(entry->noise_mib * kib_of_mib)));
    }
    return json_pack("{s:b, s:o, s:o}", "quiet", (int)snapshot->quiet, "entries", entries, "cards",
                     view_cards(snapshot));
}

static enum dgo_status hash_of(const json_t *snapshots, char hex[65], struct dgo_error *err)
{
    char *text = snapshots ? json_dumps(snapshots, JSON_COMPACT | JSON_SORT_KEYS) : NULL;
    enum dgo_status status = text ? dgo_bytes_hash(text, strlen(text), hex, err)
                                  : dgo_fail(err, DGO_ENOMEM, "out of memory");

    free(text);
    return status;
}

enum dgo_status compare_stored_add(json_t *view, const struct dgo_snapshot *before,
                                   const struct dgo_snapshot *after, uint32_t count,
                                   struct dgo_error *err)
{
    json_t *snapshots = json_array();
    char hex[65];
    enum dgo_status status;

    for (uint32_t i = 0; i < count; i++)
        json_array_append_new(snapshots,
                              json_pack("{s:o, s:o}", "before", view_snapshot(&before[i]), "after",
                                        view_snapshot(&after[i])));
    status = hash_of(snapshots, hex, err);
    if (status == DGO_OK) {
        json_object_set(view, "snapshots", snapshots);
        json_object_set_new(view, "hash", json_string(hex));
    }
    json_decref(snapshots);
    return status;
}

/* ---- reading ---------------------------------------------------------------------------- */

static bool read_entry(const json_t *object, struct dgo_snapshot_entry *entry)
{
    json_int_t gpu, pid, start, used_kib, noise_kib;
    const char *name;

    if (json_unpack((json_t *)object, "{s:I, s:I, s:I, s:s, s:I, s:I}", "gpu", &gpu, "pid", &pid,
                    "start", &start, "name", &name, "used_kib", &used_kib, "noise_kib",
                    &noise_kib) != 0 ||
        gpu < 0 || gpu >= DGO_PROFILER_GPU_MAX || pid < 0 || pid > UINT32_MAX || used_kib < 0 ||
        noise_kib < 0)
        return false;
    *entry = (struct dgo_snapshot_entry){.gpu_index = (uint32_t)gpu,
                                         .pid = (uint32_t)pid,
                                         .start = (uint64_t)start,
                                         .used_mib = (double)used_kib / kib_of_mib,
                                         .noise_mib = (double)noise_kib / kib_of_mib};
    return dgo_text_copy(entry->name, sizeof entry->name, name);
}

static bool read_card(const json_t *object, struct dgo_snapshot *snapshot)
{
    const json_int_t gpu = json_integer_value(json_object_get(object, "gpu"));
    const json_t *display = json_object_get(object, "drives_display");

    if (!json_is_integer(json_object_get(object, "gpu")) || gpu < 0 || gpu >= DGO_PROFILER_GPU_MAX)
        return false;
    for (size_t f = 0; f < CARD_FIELDS; f++) {
        const json_t *value = json_object_get(object, card_fields[f].key);

        if (value && (!json_is_integer(value) || json_integer_value(value) < 0))
            return false;
        if (value)
            *card_field(&snapshot->card[gpu], f) = (double)json_integer_value(value) / kib_of_mib;
    }
    if (display && !json_is_boolean(display))
        return false;
    if (display)
        snapshot->card[gpu].drives_display = json_is_true(display);
    return true;
}

/* Files of before the cards were kept have none. */
static bool read_cards(const json_t *cards, struct dgo_snapshot *snapshot)
{
    const json_t *card;
    size_t at;

    for (uint32_t g = 0; g < DGO_PROFILER_GPU_MAX; g++)
        snapshot->card[g] = (struct dgo_card_state){NAN, NAN, NAN, NAN, -1};
    if (cards && !json_is_array(cards))
        return false;
    json_array_foreach(cards, at, card) if (!read_card(card, snapshot)) return false;
    return true;
}

static bool read_snapshot(const json_t *object, struct dgo_snapshot *snapshot)
{
    const json_t *entries = json_object_get(object, "entries"), *entry;
    size_t at;

    snapshot->count = 0;
    if (!read_cards(json_object_get(object, "cards"), snapshot))
        return false;
    snapshot->quiet = json_is_true(json_object_get(object, "quiet"));
    if (!json_is_array(entries) || json_array_size(entries) > DGO_SNAPSHOT_ENTRY_MAX)
        return false;
    json_array_foreach(
        entries, at,
        entry) if (!read_entry(entry, &snapshot->entry[snapshot->count++])) return false;
    return true;
}

static enum dgo_status read_pairs(const char *path, const json_t *snapshots,
                                  struct dgo_snapshot *before, struct dgo_snapshot *after,
                                  uint32_t *count, struct dgo_error *err)
{
    const json_t *pair;
    size_t at;

    if (json_array_size(snapshots) < 1 || json_array_size(snapshots) > DGO_DIFFERENCE_REPEAT_MAX)
        return dgo_fail(err, DGO_EFORMAT,
                        "\"%.200s\" is no comparison that profile compare --json has written",
                        path);
    *count = 0;
    json_array_foreach(snapshots, at, pair)
    {
        if (!read_snapshot(json_object_get(pair, "before"), &before[at]) ||
            !read_snapshot(json_object_get(pair, "after"), &after[at]))
            return dgo_fail(err, DGO_EFORMAT, "\"%.200s\": a snapshot in it cannot be read", path);
        ++*count;
    }
    return DGO_OK;
}

enum dgo_status compare_stored_read(const char *path, struct dgo_snapshot *before,
                                    struct dgo_snapshot *after, uint32_t *count,
                                    struct dgo_error *err)
{
    json_error_t reason;
    json_t *view = json_load_file(path, JSON_REJECT_DUPLICATES, &reason);
    const char *told = json_string_value(json_object_get(view, "hash"));
    char hex[65];
    enum dgo_status status;

    if (!view)
        return dgo_fail(err, DGO_EFORMAT, "\"%.200s\" cannot be read as a stored comparison: %s",
                        path, reason.text);
    status = read_pairs(path, json_object_get(view, "snapshots"), before, after, count, err);
    if (status == DGO_OK)
        status = hash_of(json_object_get(view, "snapshots"), hex, err);
    if (status == DGO_OK && (!told || strcmp(told, hex) != 0))
        status = dgo_fail(err, DGO_EFORMAT,
                          "\"%.200s\" was changed after it was measured: its hash is not that of "
                          "its snapshots",
                          path);
    json_decref(view);
    return status;
}
