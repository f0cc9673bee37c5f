/* oom.c - how soon a card is full, from what it did in the last minutes. */
#include "dgo_alerts.h"

#include <math.h>
#include <string.h>

static const double now_s = 8, fast_s = 60, slow_s = 300;
static const double steps_least = 5, hold_s = 30;
static const double soon_s = 600, very_soon_s = 120, at_once_s = 30;
static const double little_mib = 512, step_share = 0.8;
static const double still_mib = 64, still_s = 600;
static const double least_slope = 0.01;
static const double day_s = 86400, day_share = 0.25;
static const double gap_s = 120; /* a pause after which the slopes begin anew */

/* The day that is over joins those before it. */
static void note_height(struct dgo_oom *oom, double seconds, double used_mib)
{
    const size_t kept = DGO_OOM_DAY_MAX * sizeof oom->high_mib[0];

    if (!oom->started || seconds < oom->day_s)
        oom->day_s = seconds;
    for (uint32_t day = 0; seconds - oom->day_s >= day_s; day++) {
        if (day > DGO_OOM_DAY_MAX) { /* nothing is left of what was seen */
            oom->day_s = seconds;
            break;
        }
        memmove(oom->high_mib + 1, oom->high_mib, kept);
        oom->high_mib[0] = oom->outlived_mib = 0;
        oom->day_s += day_s;
    }
    oom->high_mib[0] = fmax(oom->high_mib[0], used_mib);
    if (used_mib < oom->high_mib[0] - still_mib)
        oom->outlived_mib = oom->high_mib[0];
}

/* What today or a day before reached and outlived; heights differ a little. */
static bool was_as_high(const struct dgo_oom *oom, double used_mib, double capacity_mib)
{
    double high_mib = oom->outlived_mib;

    for (uint32_t day = 1; day <= DGO_OOM_DAY_MAX; day++)
        high_mib = fmax(high_mib, oom->high_mib[day]);
    return high_mib > 0 && high_mib < capacity_mib &&
           used_mib <= high_mib + (capacity_mib - high_mib) * day_share;
}

static void start(struct dgo_oom *oom, double seconds, double used_mib)
{
    const struct dgo_oom before = *oom;

    *oom = (struct dgo_oom){.soon_limit_s = oom->soon_limit_s,
                            .little_mib = oom->little_mib,
                            .started = true,
                            .last_s = seconds,
                            .last_mib = used_mib,
                            .seconds_to_full = INFINITY,
                            .soon_s = NAN,
                            .little_s = NAN,
                            /* what was before nobody saw; a card that is full when we come is not
                             * news until it moves */
                            .moved_s = seconds - still_s,
                            .moved_mib = used_mib,
                            .day_s = before.day_s};
    oom->outlived_mib = before.outlived_mib;
    memcpy(oom->high_mib, before.high_mib, sizeof oom->high_mib);
}

static double follow(double slope, double now, double dt_s, double over_s)
{
    return slope + (now - slope) * (1 - exp(-dt_s / over_s));
}

/* All slopes must climb, so that what is over counts no longer, and by many steps: one step is no
 * slope.  (sum of steps)^2 / (sum of squares) is how many equal ones would do the same. */
static double seconds_to_full(const struct dgo_oom *oom, double free_mib, double dt_s)
{
    const double slope = fmin(oom->now_mib_per_s, fmin(oom->fast_mib_per_s, oom->slow_mib_per_s));
    const double steps =
        oom->step_mib2 > 0 ? slow_s / dt_s * oom->step_mib * oom->step_mib / oom->step_mib2 : 0;

    return slope > least_slope && steps >= steps_least ? free_mib / slope : INFINITY;
}

/* Little is left, and the card climbs. */
static bool climbs_into_little(const struct dgo_oom *oom, double free_mib, double few_mib)
{
    return free_mib < few_mib && fmin(oom->fast_mib_per_s, oom->slow_mib_per_s) > least_slope;
}

bool dgo_oom_is_static(const struct dgo_oom *oom, double seconds)
{
    return oom->started && seconds - oom->moved_s >= still_s;
}

double dgo_oom_add(struct dgo_oom *oom, double seconds, double used_mib, double capacity_mib)
{
    const double dt_s = seconds - oom->last_s, step_mib = used_mib - oom->last_mib;
    const double free_mib = fmax(0, capacity_mib - used_mib);
    const double limit_s = oom->soon_limit_s > 0 ? oom->soon_limit_s : soon_s;
    const double few_mib = oom->little_mib > 0 ? oom->little_mib : little_mib;

    note_height(oom, seconds, used_mib);
    if (!oom->started || !(dt_s > 0) || dt_s > gap_s) {
        start(oom, seconds, used_mib);
        return 0;
    }
    if (fabs(used_mib - oom->moved_mib) > still_mib) {
        oom->moved_mib = used_mib;
        oom->moved_s = seconds;
    }
    oom->fast_mib_per_s = follow(oom->fast_mib_per_s, step_mib / dt_s, dt_s, fast_s);
    oom->slow_mib_per_s = follow(oom->slow_mib_per_s, step_mib / dt_s, dt_s, slow_s);
    oom->now_mib_per_s = follow(oom->now_mib_per_s, step_mib / dt_s, dt_s, now_s);
    oom->step_mib = follow(oom->step_mib, step_mib, dt_s, slow_s);
    oom->step_mib2 = follow(oom->step_mib2, step_mib * step_mib, dt_s, slow_s);
    oom->last_s = seconds;
    oom->last_mib = used_mib;
    oom->seconds_to_full = seconds_to_full(oom, free_mib, dt_s);
    if (!(oom->seconds_to_full < limit_s))
        oom->soon_s = NAN;
    else if (isnan(oom->soon_s))
        oom->soon_s = seconds;
    if (!climbs_into_little(oom, free_mib, few_mib) || dgo_oom_is_static(oom, seconds))
        oom->little_s = NAN;
    else if (isnan(oom->little_s))
        oom->little_s = seconds;
    if (oom->seconds_to_full < very_soon_s)
        return oom->seconds_to_full < at_once_s ? 3 : 2;
    if (was_as_high(oom, used_mib, capacity_mib))
        return 0;
    if (seconds - oom->little_s >= hold_s)
        return 2;
    return seconds - oom->soon_s >= hold_s ||
                   (step_mib > still_mib && step_mib > step_share * (free_mib + step_mib))
               ? 1
               : 0;
}
