/* print_profile.c - what the profiler found, as tables, small pictures and sentences: of a file or
 * of the daemon, whose JSON is the same. */
#include "print.h"

#include "dgo_text.h"
#include "dgo_units.h"
#include "dgo_worth.h"
#include "view_profile.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

enum { SERIES_SHOWN_MAX = 200, CHANGES_SHOWN_MAX = 12, FREEABLE_SHOWN_MAX = 20 };
static const double calendar_s = 1e9; /* times from here on are since 1970, not since a start */

/* ---- values ----------------------------------------------------------------------------- */

static double number_of(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);

    return json_is_number(value) ? json_number_value(value) : NAN;
}

static const char *text_of(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));

    return text ? text : "";
}

static unsigned count_of(const json_t *object, const char *key)
{
    return (unsigned)json_integer_value(json_object_get(object, key));
}

/* "12 s", or the time of day. */
static const char *moment_text(double seconds, char text[DGO_UNIT_TEXT_MAX])
{
    const time_t at = (time_t)seconds;
    struct tm local;

    if (seconds < calendar_s || !localtime_r(&at, &local) ||
        strftime(text, DGO_UNIT_TEXT_MAX, "%a %H:%M:%S", &local) == 0)
        (void)snprintf(text, DGO_UNIT_TEXT_MAX, "%.0f s", seconds);
    return text;
}

/* A process that is not there any more when the newest reading came. */
static bool has_ended(const json_t *series, double newest_s)
{
    return json_is_integer(json_object_get(series, "pid")) &&
           number_of(series, "last_seconds") < newest_s - 60 && newest_s >= calendar_s;
}

static double newest_of(const json_t *profile)
{
    const json_t *series;
    double newest_s = -INFINITY;
    size_t i;

    json_array_foreach(json_object_get(profile, "series"), i, series)
    {
        newest_s = fmax(newest_s, number_of(series, "last_seconds"));
    }
    return newest_s;
}

/* ---- series ----------------------------------------------------------------------------- */

/* One column for each part, its height the greatest value in it: a spike is seen. */
static void draw(const json_t *series, char *picture, size_t size)
{
    static const char *const blocks[] = {"▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"};
    static const char *const ascii[] = {"_", ".", "-", "=", "+", "*", "%", "#"};
    const double least_mib = number_of(series, "least_mib");
    const double span_mib = number_of(series, "greatest_mib") - least_mib;
    struct dgo_text text = {.data = picture, .size = size};
    const json_t *value;
    size_t i;

    picture[0] = '\0';
    json_array_foreach(json_object_get(series, "over_time_mib"), i, value)
    {
        /* What does not move is a line at the bottom, not a mountain of noise. */
        const double height = span_mib < 1 ? 0 : (json_number_value(value) - least_mib) / span_mib;
        const uint32_t step = (uint32_t)fmin(7, fmax(0, height * 7.99));

        dgo_text_add(&text, !json_is_number(value) ? " "
                            : print_unicode()      ? blocks[step]
                                                   : ascii[step]);
    }
}

static void duration_text(const json_t *seconds, char text[DGO_UNIT_TEXT_MAX])
{
    const double s = json_is_number(seconds) ? json_number_value(seconds) : INFINITY;

    if (s > 3650.0 * 86400)
        (void)snprintf(text, DGO_UNIT_TEXT_MAX, "years");
    else
        (void)dgo_duration_text((uint64_t)(fmax(0, s) * 1e9), text);
}

static void full_text(const json_t *series, char text[3 * DGO_UNIT_TEXT_MAX])
{
    const json_t *interval = json_object_get(series, "seconds_to_full_interval");
    char low[DGO_UNIT_TEXT_MAX], high[DGO_UNIT_TEXT_MAX];

    text[0] = '\0';
    if (!json_is_array(interval))
        return;
    duration_text(json_array_get(interval, 0), low);
    duration_text(json_array_get(interval, 1), high);
    if (strcmp(low, high) == 0)
        (void)snprintf(text, 3 * DGO_UNIT_TEXT_MAX, "%s", low);
    else
        (void)snprintf(text, 3 * DGO_UNIT_TEXT_MAX, "%s to %s", low, high);
}

static void add_row(struct table *table, const json_t *series)
{
    char picture[VIEW_PROFILE_SHAPE * 4], full[3 * DGO_UNIT_TEXT_MAX];
    const double slope = number_of(series, "slope_mib_per_hour");

    draw(series, picture, sizeof picture);
    full_text(series, full);
    table_cell(table, "%u", count_of(series, "gpu"));
    if (json_is_integer(json_object_get(series, "pid")))
        table_cell(table, "%u", count_of(series, "pid"));
    else
        table_cell(table, "card");
    table_cell(table, "%s", text_of(series, "name"));
    table_cell(table, "%.0f", number_of(series, "last_mib"));
    table_cell(table, "%s", picture);
    table_cell(table, "%s", text_of(series, "verdict"));
    table_cell(table, "%s", text_of(series, "pattern"));
    if (isnan(slope))
        table_cell(table, "%s", "");
    else
        table_cell(table, "%+.1f", slope);
    table_cell(table, "%s", full);
}

static bool is_shown(const json_t *series, double newest_s)
{
    return !has_ended(series, newest_s) || strcmp(text_of(series, "verdict"), "steady") != 0;
}

static void print_series(const json_t *profile)
{
    const double newest_s = newest_of(profile);
    struct table *table = table_new();
    uint32_t shown = 0, more = 0, ended = 0;
    const json_t *series;
    size_t i;

    table_column(table, "gpu", true);
    table_column(table, "pid", true);
    table_column(table, "process", false);
    table_column(table, "MiB", true);
    table_column(table, "over time", false);
    table_column(table, "verdict", false);
    table_column(table, "pattern", false);
    table_column(table, "MiB/h", true);
    table_column(table, "full in", false);
    json_array_foreach(json_object_get(profile, "series"), i, series)
    {
        if (!is_shown(series, newest_s)) {
            ended++;
        } else if (shown == SERIES_SHOWN_MAX) {
            more++;
        } else {
            add_row(table, series);
            shown++;
        }
    }
    table_print(table);
    if (more)
        printf("and %u more series; --json has them all\n", more);
    if (ended)
        printf("and %u of processes that have ended; --json has them\n", ended);
}

static void print_who(const json_t *object)
{
    const char *name = text_of(object, "name");

    printf("GPU %u", count_of(object, "gpu"));
    if (json_is_integer(json_object_get(object, "pid")))
        printf(", process %u%s%s%s", count_of(object, "pid"), name[0] ? " (" : "", name,
               name[0] ? ")" : "");
}

static void print_episodes(const json_t *series)
{
    char moment[DGO_UNIT_TEXT_MAX];
    const json_t *episode;
    size_t i;

    json_array_foreach(json_object_get(series, "episodes"), i, episode)
    {
        printf("  %s since %s%s\n", text_of(episode, "verdict"),
               moment_text(number_of(episode, "began_seconds"), moment),
               isnan(number_of(episode, "ended_seconds")) ? "" : ", over");
    }
}

static void print_evidence(const json_t *profile)
{
    uint32_t shown = 0;
    const json_t *series;
    size_t i;

    json_array_foreach(json_object_get(profile, "series"), i, series)
    {
        if (strcmp(text_of(series, "verdict"), "steady") == 0 || shown++ >= SERIES_SHOWN_MAX)
            continue;
        printf("\n");
        print_who(series);
        printf(": %s\n  %s\n", text_of(series, "verdict"),
               text_of(json_object_get(series, "evidence"), "text"));
        print_episodes(series);
    }
}

/* How many of the changes are larger. */
static uint32_t rank_of(const json_t *changes, double delta_mib)
{
    const json_t *change;
    uint32_t larger = 0;
    size_t i;

    json_array_foreach(changes, i, change)
    {
        larger += fabs(number_of(change, "delta_mib")) > fabs(delta_mib);
    }
    return larger;
}

static void print_changes(const json_t *profile)
{
    const json_t *changes = json_object_get(profile, "changes"), *change;
    uint32_t shown = 0;
    char moment[DGO_UNIT_TEXT_MAX];
    size_t i;

    if (json_array_size(changes))
        printf("\nThe largest lasting changes:\n");
    json_array_foreach(changes, i, change)
    {
        if (shown == CHANGES_SHOWN_MAX ||
            rank_of(changes, number_of(change, "delta_mib")) >= CHANGES_SHOWN_MAX)
            continue;
        shown++;
        printf("  at %s %+.0f MiB on ", moment_text(number_of(change, "seconds"), moment),
               number_of(change, "delta_mib"));
        print_who(change);
        if (json_string_value(json_object_get(change, "how")))
            printf(", which %s", json_string_value(json_object_get(change, "how")));
        if (count_of(change, "gpu_count") > 1)
            printf(", on %u cards at once", count_of(change, "gpu_count"));
        if (json_string_value(json_object_get(change, "command")))
            printf(": %s", json_string_value(json_object_get(change, "command")));
        printf("\n");
    }
}

/* ---- what could be freed ------------------------------------------------------------------- */

static void print_gain(double tokens, double layers)
{
    if (!isnan(tokens))
        printf(", %.0f tokens of KV cache", tokens);
    if (!isnan(layers))
        printf("%s%.1f layers", isnan(tokens) ? ", " : " or ", layers);
}

void print_worth(const struct dgo_worth *worth, double mib)
{
    print_gain(dgo_worth_tokens(worth, mib), dgo_worth_layers(worth, mib));
}

static void print_freeable_row(const json_t *row)
{
    const char *role = json_string_value(json_object_get(row, "role"));

    printf("  %.1f MiB on ", number_of(row, "used_mib"));
    print_who(row);
    printf(", %s", role ? role : "what it is is not known");
    print_gain(number_of(row, "kv_tokens"), number_of(row, "layers"));
    printf("\n");
}

static void print_freeable(const json_t *profile)
{
    const json_t *rows = json_object_get(profile, "could_free"), *row;
    const size_t count = json_array_size(rows);
    double sum_mib = 0, tokens = 0, layers = 0;
    bool all_known = true;
    size_t i;

    if (count)
        printf("\nWhat could be freed, of processes that are no engine:\n");
    json_array_foreach(rows, i, row)
    {
        if (i < FREEABLE_SHOWN_MAX)
            print_freeable_row(row);
        if (json_is_string(json_object_get(row, "role"))) {
            sum_mib += number_of(row, "used_mib");
            tokens += number_of(row, "kv_tokens");
            layers += number_of(row, "layers");
        } else {
            all_known = false;
        }
    }
    if (count > FREEABLE_SHOWN_MAX)
        printf("  and %zu smaller ones; --json has them all\n", count - FREEABLE_SHOWN_MAX);
    if (sum_mib > 0 && count > 1) {
        printf("  %.1f MiB together", sum_mib);
        print_gain(tokens, layers);
        printf("%s\n", all_known ? "" : ", without those that are not known");
    }
}

void print_profile(const json_t *profile)
{
    const double imbalance = number_of(profile, "imbalance");
    char moment[DGO_UNIT_TEXT_MAX];
    const json_t *mark;
    size_t i;

    print_series(profile);
    print_evidence(profile);
    print_changes(profile);
    print_freeable(profile);
    if (!isnan(imbalance))
        printf("\nImbalance of the cards: %.0f %% of their memory\n", imbalance * 100);
    json_array_foreach(json_object_get(profile, "marks"), i, mark)
    {
        printf("  mark at %s: %s\n", moment_text(number_of(mark, "seconds"), moment),
               text_of(mark, "text"));
    }
}
