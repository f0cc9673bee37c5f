/* overhead.c - one launch measured, several judged. */
#include "dgo_overhead.h"

#include "dgo_units.h"

#include <stdlib.h>
#include <string.h>

/* The driver keeps some memory for a process that it does not put down to it: 16 to 20 MiB were
 * seen.  More than this apart is somebody else's. */
#define AGREE_BYTES (64 * DGO_MIB)
/* The largest published is 555 MiB (RTX PRO 6000, llama.cpp #23604). */
#define OVERHEAD_BYTES_MAX (4 * DGO_GIB)

/* ---- one launch ---- */

static uint64_t apart(uint64_t a, uint64_t b)
{
    return a > b ? a - b : b - a;
}

static const struct dgo_gpu_process *find_process(const struct dgo_gpu *gpu, uint32_t pid)
{
    for (uint32_t i = 0; gpu->processes_known && i < gpu->process_count; i++)
        if (gpu->process[i].pid == pid)
            return &gpu->process[i];
    return NULL;
}

/* What all processes but the engine hold; false where one of them does not tell. */
static bool others_bytes(const struct dgo_gpu *gpu, uint32_t pid, uint64_t *bytes)
{
    const struct dgo_gpu_process *own = find_process(gpu, pid);

    if (!gpu->processes_known || !gpu->process_sum_known)
        return false;
    *bytes = gpu->process_sum_bytes - (own && own->used_known ? own->used_bytes : 0);
    return true;
}

/* Where figures are hidden: whether at least nobody came or went. */
static bool same_others(const struct dgo_gpu *before, const struct dgo_gpu *after, uint32_t pid)
{
    uint32_t others = 0;

    if (!before->processes_known || !after->processes_known)
        return before->processes_known == after->processes_known;
    for (uint32_t i = 0; i < after->process_count; i++) {
        if (after->process[i].pid == pid)
            continue;
        others++;
        if (!find_process(before, after->process[i].pid))
            return false;
    }
    return others == before->process_count && before->process_more == after->process_more;
}

/* What the card lost to the engine.  DGO_ENOTFOUND: that cannot be told. */
static enum dgo_status lost_bytes(const struct dgo_overhead_question *question, int64_t *lost,
                                  struct dgo_error *err)
{
    const struct dgo_gpu *after = &question->after->gpu[question->gpu_index];
    const struct dgo_gpu *before =
        question->before ? &question->before->gpu[question->gpu_index] : NULL;
    uint64_t others_before, others_after;

    if (!before || question->gpu_index >= question->before->gpu_count ||
        strcmp(before->uuid, after->uuid) != 0)
        return dgo_fail(err, DGO_ENOTFOUND, "nobody looked before the engine was started");
    if (!dgo_gpu_knows(before, DGO_GPU_FREE_BYTES) || !dgo_gpu_knows(after, DGO_GPU_FREE_BYTES))
        return dgo_fail(err, DGO_ENOTFOUND, "the driver does not tell what is free");
    *lost = (int64_t)before->free_bytes - (int64_t)after->free_bytes;
    if (others_bytes(before, question->pid, &others_before) &&
        others_bytes(after, question->pid, &others_after)) {
        *lost -= (int64_t)others_after - (int64_t)others_before;
        return DGO_OK;
    }
    if (same_others(before, after, question->pid))
        return DGO_OK;
    return dgo_fail(err, DGO_ENOTFOUND,
                    "other processes came or went meanwhile, and the driver hides what they hold");
}

static enum dgo_status outside_books(int64_t bytes, uint64_t books_bytes, uint64_t *outside,
                                     struct dgo_error *err)
{
    char held[DGO_UNIT_TEXT_MAX], books[DGO_UNIT_TEXT_MAX];

    if (bytes < 0 || (uint64_t)bytes < books_bytes ||
        (uint64_t)bytes - books_bytes > OVERHEAD_BYTES_MAX)
        return dgo_fail(err, DGO_EINVAL,
                        "%s were taken where the engine's log counts %s: that is no overhead",
                        dgo_bytes_text(bytes < 0 ? 0 : (uint64_t)bytes, held),
                        dgo_bytes_text(books_bytes, books));
    *outside = (uint64_t)bytes - books_bytes;
    return DGO_OK;
}

static enum dgo_status agree(uint64_t by_process, uint64_t by_card, struct dgo_error *err)
{
    char process[DGO_UNIT_TEXT_MAX], card[DGO_UNIT_TEXT_MAX];

    if (apart(by_process, by_card) <= AGREE_BYTES)
        return DGO_OK;
    return dgo_fail(err, DGO_EINVAL,
                    "the engine's process holds %s outside its books, but the card lost %s: "
                    "somebody else's memory changed meanwhile",
                    dgo_bytes_text(by_process, process), dgo_bytes_text(by_card, card));
}

enum dgo_status dgo_overhead_measure(const struct dgo_overhead_question *question,
                                     struct dgo_overhead *found, struct dgo_error *err)
{
    const struct dgo_gpu *after = &question->after->gpu[question->gpu_index];
    const struct dgo_gpu_process *own = find_process(after, question->pid);
    uint64_t by_process = 0, by_card = 0;
    int64_t lost = 0;
    enum dgo_status status, card_status;

    if (question->gpu_index >= question->after->gpu_count || after->problem[0])
        return dgo_fail(err, DGO_ENOTFOUND, "the card cannot be read");
    card_status = lost_bytes(question, &lost, err);
    if (!own || !own->used_known) {
        status = card_status == DGO_OK ? outside_books(lost, question->books_bytes, &by_card, err)
                                       : card_status;
        if (status == DGO_OK)
            *found = (struct dgo_overhead){.bytes = by_card, .way = DGO_OVERHEAD_BY_CARD};
        return status;
    }
    status = outside_books((int64_t)dgo_min_u64(own->used_bytes, INT64_MAX), question->books_bytes,
                           &by_process, err);
    if (status == DGO_OK && card_status == DGO_OK)
        status = outside_books(lost, question->books_bytes, &by_card, err);
    if (status == DGO_OK && card_status == DGO_OK)
        status = agree(by_process, by_card, err);
    if (status == DGO_OK)
        *found = (struct dgo_overhead){.bytes = dgo_max_u64(by_process, by_card),
                                       .way = DGO_OVERHEAD_BY_PROCESS};
    return status;
}

/* ---- while it runs ---- */

#define DRIFT_BYTES_MIN (32 * DGO_MIB)
#define LEVEL_BYTES     (16 * DGO_MIB)

bool dgo_overhead_follow(struct dgo_overhead_drift *drift, uint64_t held_bytes, uint64_t at_ns)
{
    if (apart(held_bytes, drift->bytes) < dgo_max_u64(DRIFT_BYTES_MIN, drift->bytes / 8)) {
        drift->away = false;
        return false;
    }
    if (!drift->away || apart(held_bytes, drift->away_bytes) > LEVEL_BYTES) {
        drift->away = true;
        drift->away_bytes = held_bytes;
        drift->since_ns = at_ns;
        return false;
    }
    if (at_ns - drift->since_ns < DGO_OVERHEAD_HOLD_NS)
        return false;
    drift->bytes = held_bytes;
    drift->away = false;
    return true;
}

/* ---- several ---- */

/* Launches have several cards: the newest rows of so many launches. */
struct chosen {
    uint32_t count, launch_count, drifted_count;
    uint64_t bytes[DGO_OVERHEAD_SAMPLE_MAX];
};

static void choose(const struct dgo_overhead_sample *sample, uint32_t count, bool same_card,
                   struct chosen *chosen)
{
    uint64_t last_ns = 0;

    *chosen = (struct chosen){0};
    for (uint32_t i = 0; i < count && chosen->count < DGO_OVERHEAD_SAMPLE_MAX; i++) {
        if (same_card && !sample[i].same_card)
            continue;
        if (chosen->count == 0 || sample[i].launch_ns != last_ns) {
            if (chosen->launch_count == DGO_OVERHEAD_LAUNCH_MAX)
                return;
            chosen->launch_count++;
        }
        last_ns = sample[i].launch_ns;
        chosen->drifted_count += sample[i].drifted;
        chosen->bytes[chosen->count++] = sample[i].bytes;
    }
}

static int by_size(const void *a, const void *b)
{
    const uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return x < y ? -1 : x > y;
}

/* Of an even number the greater of the two in the middle: a plan must not be short. */
static uint64_t median(uint64_t *bytes, uint32_t count)
{
    qsort(bytes, count, sizeof bytes[0], by_size);
    return bytes[count / 2];
}

bool dgo_overhead_learn(const struct dgo_overhead_sample *sample, uint32_t count,
                        struct dgo_overhead_lesson *lesson)
{
    struct chosen chosen;
    uint64_t middle;

    choose(sample, count, true, &chosen);
    if (chosen.launch_count < DGO_OVERHEAD_LAUNCHES_MIN)
        choose(sample, count, false, &chosen);
    if (chosen.count == 0)
        return false;
    middle = median(chosen.bytes, chosen.count);
    *lesson = (struct dgo_overhead_lesson){.launch_count = chosen.launch_count,
                                           .drifted_count = chosen.drifted_count,
                                           .bytes = chosen.bytes[chosen.count - 1]};
    if (chosen.launch_count < DGO_OVERHEAD_LAUNCHES_MIN)
        return true;
    for (uint32_t i = 0; i < chosen.count; i++)
        chosen.bytes[i] =
            chosen.bytes[i] > middle ? chosen.bytes[i] - middle : middle - chosen.bytes[i];
    lesson->spread_bytes = 3 * median(chosen.bytes, chosen.count);
    lesson->bytes = middle + lesson->spread_bytes;
    return true;
}
