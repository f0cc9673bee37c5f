/* profiler.c - the series of a machine by card and process, and what is judged of them together. */
#include "dgo_profiler.h"

#include "dgo_text.h"
#include "profiler.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { HITS = 6 }; /* judgements in a row before an episode is told */
/* Below it no verdict can be more than steady, and most series are: saves their judgement. */
static const double least_rise_mib = 32;
static const double restart_s = 600; /* between the end of one life and the start of the next */

static const struct dgo_card_state unknown_card = {NAN, NAN, NAN, NAN, -1};

enum dgo_status dgo_profiler_new(const struct dgo_profiler_options *options,
                                 struct dgo_profiler **profiler, struct dgo_error *err)
{
    struct dgo_profiler *made = calloc(1, sizeof *made);

    if (made) {
        made->room = 64;
        made->series = calloc(made->room, sizeof(struct profiler_series *));
        made->chain = calloc(PROFILER_CHAIN_COUNT, sizeof *made->chain);
    }
    if (!made || !made->series || !made->chain) {
        dgo_profiler_free(made);
        return dgo_fail(err, DGO_ENOMEM, "no memory for a profiler");
    }
    if (options)
        made->options = *options;
    for (uint32_t g = 0; g < DGO_PROFILER_GPU_MAX; g++) {
        made->capacity_mib[g] = NAN;
        made->card[g] = unknown_card;
    }
    *profiler = made;
    return DGO_OK;
}

static void free_series(struct profiler_series *series)
{
    if (series)
        dgo_trace_free(series->trace);
    free(series);
}

void dgo_profiler_free(struct dgo_profiler *profiler)
{
    if (!profiler)
        return;
    for (uint32_t i = 0; i < profiler->count; i++)
        free_series(profiler->series[i]);
    free(profiler->series);
    free(profiler->chain);
    free(profiler);
}

static uint32_t chain_of(uint32_t gpu_index, uint32_t pid, uint64_t start)
{
    const uint64_t hash =
        (((uint64_t)gpu_index << 32 | pid) ^ start * 0xbf58476d1ce4e5b9u) * 0x9e3779b97f4a7c15u;

    return (uint32_t)(hash >> 48) % PROFILER_CHAIN_COUNT;
}

static struct profiler_series *find(const struct dgo_profiler *profiler, uint32_t gpu_index,
                                    uint32_t pid, uint64_t start)
{
    struct profiler_series *series = profiler->chain[chain_of(gpu_index, pid, start)];

    while (series && (series->report.gpu_index != gpu_index || series->report.pid != pid ||
                      series->report.start != start))
        series = series->next;
    return series;
}

static bool make_room(struct dgo_profiler *profiler)
{
    struct profiler_series **grown;

    if (profiler->count < profiler->room)
        return true;
    grown = realloc(profiler->series, profiler->room * 2 * sizeof(struct profiler_series *));
    if (!grown)
        return false;
    profiler->series = grown;
    profiler->room *= 2;
    return true;
}

static enum dgo_status make_series(struct dgo_profiler *profiler,
                                   const struct dgo_profiler_reading *reading,
                                   struct profiler_series **series, struct dgo_error *err)
{
    struct profiler_series **chain =
        &profiler->chain[chain_of(reading->gpu_index, reading->pid, reading->start)];
    struct profiler_series *made;

    if (reading->gpu_index >= DGO_PROFILER_GPU_MAX)
        return dgo_fail(err, DGO_ELIMIT, "GPU %u: at most %d are known", reading->gpu_index,
                        DGO_PROFILER_GPU_MAX);
    if (profiler->count == DGO_PROFILER_SERIES_MAX)
        return dgo_fail(err, DGO_ELIMIT, "more than %d series", DGO_PROFILER_SERIES_MAX);
    made = calloc(1, sizeof *made);
    if (!made || !make_room(profiler) || dgo_trace_new(&made->trace, err) != DGO_OK) {
        free(made);
        return dgo_fail(err, DGO_ENOMEM, "no memory for another series");
    }
    made->report.gpu_index = reading->gpu_index;
    made->report.pid = reading->pid;
    made->report.start = reading->start;
    made->planned_mib = NAN;
    made->next = *chain;
    *chain = made;
    profiler->series[profiler->count++] = made;
    profiler->sorted = false;
    *series = made;
    return DGO_OK;
}

/* ---- judging one series ----------------------------------------------------------------- */

static struct dgo_trend_question question_of(const struct dgo_profiler *profiler,
                                             const struct profiler_series *series)
{
    const double capacity_mib = profiler->capacity_mib[series->report.gpu_index];

    return (struct dgo_trend_question){
        .is_device = series->report.pid == 0,
        .capacity_mib = capacity_mib,
        .card_free_mib = NAN,
        .planned_mib = series->planned_mib,
        .grew_in_another_life = series->grew_in_another_life,
    };
}

static void open_episode(struct dgo_series_report *report, double now_s)
{
    /* The last place goes on counting: what began first is what matters. */
    if (report->episode_count < DGO_PROFILER_EPISODE_MAX)
        report->episode_count++;
    report->episode[report->episode_count - 1] =
        (struct dgo_episode){.began_s = now_s, .ended_s = NAN};
}

static void follow(struct profiler_series *series, double now_s)
{
    struct dgo_series_report *report = &series->report;
    const struct dgo_trend *trend = &report->trend;
    struct dgo_episode *episode;

    series->hits = trend->verdict >= DGO_VERDICT_SUSPECTED ? series->hits + 1 : 0;
    if (series->hits == HITS && !series->in_episode) {
        series->in_episode = true;
        open_episode(report, now_s);
    }
    if (!series->in_episode)
        return;
    episode = &report->episode[report->episode_count - 1];
    if (series->hits == 0) {
        series->in_episode = false;
        episode->ended_s = now_s;
        return;
    }
    if (trend->verdict > episode->worst)
        episode->worst = trend->verdict;
    episode->slope_mib_per_hour = trend->slope_mib_per_hour;
}

static void judge_in_time(struct dgo_profiler *profiler, struct profiler_series *series,
                          double told_s)
{
    const struct dgo_trend_question question = question_of(profiler, series);
    struct dgo_trace_stats *stats = &series->report.stats;

    dgo_trace_read_stats(series->trace, stats);
    if (series->judged_s <= 0 && stats->sample_count == 1)
        series->judged_s = stats->last_s;
    if (stats->last_s - series->judged_s < profiler->options.judge_every_s)
        return;
    series->judged_s = stats->last_s;
    if (!question.is_device && stats->last_mib - stats->least_mib >= least_rise_mib)
        dgo_trace_judge(series->trace, &question, &series->report.trend);
    else
        series->report.trend.verdict = DGO_VERDICT_STEADY;
    follow(series, told_s);
}

enum dgo_status dgo_profiler_add(struct dgo_profiler *profiler,
                                 const struct dgo_profiler_reading *reading, struct dgo_error *err)
{
    struct profiler_series *series =
        find(profiler, reading->gpu_index, reading->pid, reading->start);
    enum dgo_status status = DGO_OK;

    if (!series)
        status = make_series(profiler, reading, &series, err);
    if (status == DGO_OK)
        status = dgo_trace_add(series->trace, &reading->sample, err);
    if (status == DGO_OK && profiler->options.judge_every_s > 0)
        judge_in_time(profiler, series, reading->sample.seconds);
    return status;
}

static void unlink_series(struct dgo_profiler *profiler, struct profiler_series *series)
{
    const struct dgo_series_report *report = &series->report;
    struct profiler_series **at =
        &profiler->chain[chain_of(report->gpu_index, report->pid, report->start)];

    while (*at != series)
        at = &(*at)->next;
    *at = series->next;
}

static double heard_s(const struct profiler_series *series)
{
    struct dgo_trace_stats stats;

    dgo_trace_read_stats(series->trace, &stats);
    return stats.last_s;
}

/* The process series heard of longest ago; `count` when there are no more than `keep`. */
static uint32_t find_oldest(const struct dgo_profiler *profiler, uint32_t keep)
{
    uint32_t processes = 0, oldest = profiler->count;

    for (uint32_t i = 0; i < profiler->count; i++) {
        if (profiler->series[i]->report.pid == 0)
            continue;
        processes++;
        if (oldest == profiler->count ||
            heard_s(profiler->series[i]) < heard_s(profiler->series[oldest]))
            oldest = i;
    }
    return processes > keep ? oldest : profiler->count;
}

void dgo_profiler_trim(struct dgo_profiler *profiler, uint32_t keep)
{
    for (uint32_t at; (at = find_oldest(profiler, keep)) < profiler->count;) {
        unlink_series(profiler, profiler->series[at]);
        free_series(profiler->series[at]);
        memmove(&profiler->series[at], &profiler->series[at + 1],
                (profiler->count - at - 1) * sizeof(struct profiler_series *));
        profiler->count--;
    }
}

void dgo_profiler_set_capacity(struct dgo_profiler *profiler, uint32_t gpu_index, double mib)
{
    if (gpu_index < DGO_PROFILER_GPU_MAX && isfinite(mib) && mib > 0)
        profiler->capacity_mib[gpu_index] = mib;
}

void dgo_profiler_set_card(struct dgo_profiler *profiler, uint32_t gpu_index,
                           const struct dgo_card_state *state)
{
    if (gpu_index < DGO_PROFILER_GPU_MAX)
        profiler->card[gpu_index] = *state;
}

struct dgo_card_state dgo_profiler_card(const struct dgo_profiler *profiler, uint32_t gpu_index)
{
    return gpu_index < DGO_PROFILER_GPU_MAX ? profiler->card[gpu_index] : unknown_card;
}

double dgo_profiler_capacity(const struct dgo_profiler *profiler, uint32_t gpu_index)
{
    return gpu_index < DGO_PROFILER_GPU_MAX ? profiler->capacity_mib[gpu_index] : NAN;
}

void dgo_profiler_set_name(struct dgo_profiler *profiler, uint32_t gpu_index, uint32_t pid,
                           uint64_t start, const char *name)
{
    struct profiler_series *series = find(profiler, gpu_index, pid, start);

    if (series)
        (void)dgo_text_copy(series->report.name, sizeof series->report.name, name);
}

void dgo_profiler_set_command(struct dgo_profiler *profiler, uint32_t gpu_index, uint32_t pid,
                              uint64_t start, const char *command)
{
    struct profiler_series *series = find(profiler, gpu_index, pid, start);

    if (series)
        (void)dgo_text_copy(series->report.command, sizeof series->report.command, command);
}

void dgo_profiler_set_role(struct dgo_profiler *profiler, uint32_t gpu_index, uint32_t pid,
                           uint64_t start, enum dgo_process_role role)
{
    struct profiler_series *series = find(profiler, gpu_index, pid, start);

    if (!series)
        return;
    series->report.role_known = true;
    series->report.role = role;
}

void dgo_profiler_set_plan(struct dgo_profiler *profiler, uint32_t gpu_index, uint32_t pid,
                           uint64_t start, double planned_mib)
{
    struct profiler_series *series = find(profiler, gpu_index, pid, start);

    if (series)
        series->planned_mib = planned_mib;
}

void dgo_profiler_mark(struct dgo_profiler *profiler, double seconds, const char *text)
{
    struct dgo_mark *mark;

    if (profiler->mark_count == DGO_PROFILER_MARK_MAX)
        memmove(profiler->mark, profiler->mark + 1,
                --profiler->mark_count * sizeof profiler->mark[0]);
    mark = &profiler->mark[profiler->mark_count++];
    mark->seconds = seconds;
    (void)dgo_text_copy_escaped(mark->text, sizeof mark->text, text, strlen(text));
}

uint32_t dgo_profiler_marks(const struct dgo_profiler *profiler, const struct dgo_mark **marks)
{
    *marks = profiler->mark;
    return profiler->mark_count;
}

void dgo_profiler_refresh(struct dgo_profiler *profiler)
{
    for (uint32_t i = 0; i < profiler->count; i++)
        dgo_trace_read_stats(profiler->series[i]->trace, &profiler->series[i]->report.stats);
}

/* ---- judging all together --------------------------------------------------------------- */

static int by_card_and_process(const void *a, const void *b)
{
    const struct dgo_series_report *x = &(*(struct profiler_series *const *)a)->report;
    const struct dgo_series_report *y = &(*(struct profiler_series *const *)b)->report;

    if (x->gpu_index != y->gpu_index)
        return x->gpu_index < y->gpu_index ? -1 : 1;
    if (x->pid != y->pid)
        return x->pid < y->pid ? -1 : 1;
    return (x->start > y->start) - (x->start < y->start);
}

/* What the card holds at the end: as it says itself, else its processes that are still there. */
static double used_at_end(const struct dgo_profiler *profiler, uint32_t gpu_index)
{
    double latest_s = -INFINITY, used_mib = 0;

    for (uint32_t i = 0; i < profiler->count; i++) {
        const struct dgo_series_report *report = &profiler->series[i]->report;

        if (report->gpu_index == gpu_index && report->pid == 0)
            return report->stats.last_mib;
        if (report->gpu_index == gpu_index)
            latest_s = fmax(latest_s, report->stats.last_s);
    }
    for (uint32_t i = 0; i < profiler->count; i++) {
        const struct dgo_series_report *report = &profiler->series[i]->report;

        if (report->gpu_index == gpu_index && report->stats.last_s >= latest_s - 120)
            used_mib += report->stats.last_mib;
    }
    return used_mib;
}

/* Another process of the same program on this card, before or after: it ended when this one
 * started, held about as much, and grew as leaks do. */
static bool is_other_life(const struct profiler_series *a, const struct profiler_series *b)
{
    const struct dgo_series_report *first =
        a->report.stats.first_s < b->report.stats.first_s ? &a->report : &b->report;
    const struct dgo_series_report *second = first == &a->report ? &b->report : &a->report;
    const double gap_s = second->stats.first_s - first->stats.last_s;
    const double level = second->stats.least_mib / fmax(1, first->stats.least_mib);

    if (a == b || first->gpu_index != second->gpu_index || !first->pid || !second->pid)
        return false;
    if (first->name[0] && second->name[0] && strcmp(first->name, second->name) != 0)
        return false;
    return gap_s >= -5 && gap_s <= restart_s && level > 0.7 && level < 1.4;
}

static void judge_series(struct dgo_profiler *profiler, struct profiler_series *series,
                         double card_free_mib)
{
    struct dgo_trend_question question = question_of(profiler, series);

    question.card_free_mib = card_free_mib;
    dgo_trace_judge(series->trace, &question, &series->report.trend);
}

static void judge_lives(struct dgo_profiler *profiler, const double *card_free_mib)
{
    for (uint32_t i = 0; i < profiler->count; i++) {
        struct profiler_series *series = profiler->series[i];

        series->grew_in_another_life = false;
        for (uint32_t j = 0; series->report.trend.leak_shape && j < profiler->count; j++)
            series->grew_in_another_life |= profiler->series[j]->report.trend.leak_shape &&
                                            is_other_life(series, profiler->series[j]);
        if (series->grew_in_another_life)
            judge_series(profiler, series, card_free_mib[series->report.gpu_index]);
    }
}

void dgo_profiler_judge(struct dgo_profiler *profiler)
{
    double card_free_mib[DGO_PROFILER_GPU_MAX];

    if (!profiler->sorted)
        qsort(profiler->series, profiler->count, sizeof(struct profiler_series *),
              by_card_and_process);
    profiler->sorted = true;
    for (uint32_t i = 0; i < profiler->count; i++)
        dgo_trace_read_stats(profiler->series[i]->trace, &profiler->series[i]->report.stats);
    for (uint32_t g = 0; g < DGO_PROFILER_GPU_MAX; g++)
        card_free_mib[g] = isnan(profiler->capacity_mib[g])
                               ? NAN
                               : fmax(0, profiler->capacity_mib[g] - used_at_end(profiler, g));
    for (uint32_t i = 0; i < profiler->count; i++) {
        profiler->series[i]->grew_in_another_life = false;
        judge_series(profiler, profiler->series[i],
                     card_free_mib[profiler->series[i]->report.gpu_index]);
    }
    judge_lives(profiler, card_free_mib);
    if (profiler->options.judge_every_s > 0)
        return; /* episodes were followed as the readings came */
    for (uint32_t i = 0; i < profiler->count; i++)
        follow(profiler->series[i], profiler->series[i]->report.stats.last_s);
}

void dgo_profiler_find_patterns(struct dgo_profiler *profiler)
{
    for (uint32_t i = 0; i < profiler->count; i++) {
        struct profiler_series *series = profiler->series[i];
        const struct dgo_trend_question question = question_of(profiler, series);

        dgo_trace_find_pattern(series->trace, &question, &series->report.trend);
    }
}

uint32_t dgo_profiler_count(const struct dgo_profiler *profiler)
{
    return profiler->count;
}

const struct dgo_series_report *dgo_profiler_report(const struct dgo_profiler *profiler,
                                                    uint32_t index)
{
    return &profiler->series[index]->report;
}

uint32_t dgo_profiler_points(const struct dgo_profiler *profiler, uint32_t index,
                             struct dgo_trace_point *points, uint32_t max)
{
    return dgo_trace_points(profiler->series[index]->trace, points, max);
}

double dgo_profiler_imbalance(const struct dgo_profiler *profiler)
{
    double least = INFINITY, most = -INFINITY;
    uint32_t cards = 0;

    for (uint32_t g = 0; g < DGO_PROFILER_GPU_MAX; g++) {
        if (isnan(profiler->capacity_mib[g]))
            continue;

        const double share = used_at_end(profiler, g) / profiler->capacity_mib[g];

        least = fmin(least, share);
        most = fmax(most, share);
        cards++;
    }
    return cards < 2 ? NAN : most - least;
}
