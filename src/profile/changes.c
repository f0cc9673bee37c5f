/* changes.c - a level that holds, and the moments at which another one took its place. */
#include "changes.h"

#include "rank.h"

#include <math.h>
#include <string.h>

static const double least_change_mib = 8, hold_s = 5;

void changes_init(struct changes *changes)
{
    *changes = (struct changes){.level_mib = NAN, .candidate_mib = NAN};
}

/* The smallest makes room, so that a noisy day does not push out the load of the model. */
static void keep(struct changes *changes, struct changes_kept kept)
{
    uint32_t least = 0;

    if (changes->count == DGO_TRACE_CHANGE_MAX) {
        for (uint32_t i = 1; i < changes->count; i++)
            if (fabs(changes->kept[i].change.delta_mib) <
                fabs(changes->kept[least].change.delta_mib))
                least = i;
        if (fabs(changes->kept[least].change.delta_mib) >= fabs(kept.change.delta_mib))
            return;
        memmove(&changes->kept[least], &changes->kept[least + 1],
                (changes->count - least - 1) * sizeof changes->kept[0]);
        changes->count--;
    }
    changes->kept[changes->count++] = kept;
}

/* The MAD is renewed every 16 deviations: cheap, and steady enough for a threshold. */
static void learn(struct changes *changes, double deviation_mib)
{
    float sorted[CHANGES_RECENT_MAX];

    changes->recent[changes->recent_count++ % CHANGES_RECENT_MAX] = (float)fabs(deviation_mib);
    if (changes->recent_count % 16)
        return;

    const uint32_t count =
        changes->recent_count < CHANGES_RECENT_MAX ? changes->recent_count : CHANGES_RECENT_MAX;

    memcpy(sorted, changes->recent, count * sizeof sorted[0]);
    changes->mad_mib = (double)rank_median_f(sorted, count);
}

void changes_add(struct changes *changes, double axis_s, double told_s, double used_mib)
{
    const double threshold_mib = fmax(least_change_mib, 3 * 1.4826 * changes->mad_mib);

    if (isnan(changes->level_mib)) {
        changes->level_mib = used_mib;
        return;
    }

    const double away_mib = used_mib - changes->level_mib;

    if (fabs(away_mib) < threshold_mib) {
        changes->candidate_mib = NAN;
        changes->level_mib += away_mib / 16; /* follows slow drift, so that it is no change */
        learn(changes, away_mib);
        return;
    }
    /* Away from the level, and away from where it went before: a new candidate. */
    if (isnan(changes->candidate_mib) || fabs(used_mib - changes->candidate_mib) >= threshold_mib) {
        changes->candidate_mib = used_mib;
        changes->candidate_s = axis_s;
        changes->candidate_time = told_s;
        changes->candidate_count = 1;
        return;
    }
    changes->candidate_count++;
    changes->candidate_mib += (used_mib - changes->candidate_mib) / changes->candidate_count;
    if (axis_s - changes->candidate_s < hold_s || changes->candidate_count < 2)
        return;
    keep(changes, (struct changes_kept){
                      changes->candidate_s,
                      {changes->candidate_time, changes->candidate_mib - changes->level_mib}});
    changes->level_mib = changes->candidate_mib;
    changes->candidate_mib = NAN;
}
