/* bench_accuracy.c - how often the verdicts are right, by shape, beside published trend tests.
 *
 * usage: bench_accuracy [HOURS [RUNS [SEED]]] [--step SECONDS] [--online] [--patterns] [--why]
 *                       [--set NAME] [--csv DIR] [--real FILE...]
 *
 * A shape that leaks should be suspected or confirmed; one that does not should not.  --online
 * judges every five minutes of the series as a daemon would and tells when an episode began and how
 * many false ones a day there were.  --patterns prints how often each shape is called what, and a
 * table of what is called what over all shapes that one word is right for.  --why prints how often
 * each test of shape was passed.  --step: a sample each so many seconds.  --csv writes one series
 * of each shape as `profile report` reads it. */
#include "peers.h"
#include "shapes.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { ONLINE_STEP_S = 300, ONLINE_HITS = 6 };

struct tally {
    uint32_t runs, verdict[DGO_VERDICT_COUNT], pattern[DGO_PATTERN_COUNT], peer[PEER_COUNT];
    uint32_t trend, sustained, spread, not_slowing, not_random;
    uint32_t episodes, detected;
    double delay_h, days;
};

static const struct dgo_trend_question question = {
    .capacity_mib = NAN, .card_free_mib = NAN, .planned_mib = NAN};
static double judge_s;
static uint64_t judge_count;

static void judge(const struct dgo_trace *trace, struct dgo_trend *trend)
{
    struct timespec a, b;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &a);
    dgo_trace_judge(trace, &question, trend);
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &b);
    judge_s += (double)(b.tv_sec - a.tv_sec) + (double)(b.tv_nsec - a.tv_nsec) / 1e9;
    judge_count++;
}

static void add(struct dgo_trace *trace, const struct dgo_trace_sample *sample)
{
    struct dgo_error err = {0};

    if (dgo_trace_add(trace, sample, &err) != DGO_OK) {
        fprintf(stderr, "%s\n", err.text);
        exit(1);
    }
}

struct settings {
    double numbers[3]; /* hours, runs, seed */
    double step_s;
    bool online, patterns, why;
    const char *folder, *set;
};

static void one_run(const struct shape_row *row, uint64_t seed, const struct settings *settings,
                    struct tally *tally)
{
    const double span_s = settings->numbers[0] * 3600;
    const bool online = settings->online;
    struct dgo_trace *trace;
    struct dgo_trace_sample sample;
    struct dgo_trend trend = {0};
    struct shape_state state;
    struct dgo_error err = {0};
    uint32_t hits = 0;
    bool open = false, seen = false;

    if (dgo_trace_new(&trace, &err) != DGO_OK)
        exit(1);
    shape_start(row, &state, seed, span_s);
    for (double t = 0; t < span_s; t++) {
        shape_next(row, &state, t, &sample);
        if (fmod(t, settings->step_s) < 0.5)
            add(trace, &sample);
        if (!online || (uint64_t)(t + 1) % ONLINE_STEP_S)
            continue;
        judge(trace, &trend);
        hits = trend.verdict >= DGO_VERDICT_SUSPECTED ? hits + 1 : 0;
        if (hits == ONLINE_HITS && !open) {
            open = true;
            tally->episodes++;
            if (!seen) {
                tally->detected++;
                tally->delay_h += t / 3600;
            }
            seen = true;
        }
        if (hits == 0)
            open = false;
    }
    judge(trace, &trend);
    dgo_trace_find_pattern(trace, &question, &trend);
    tally->runs++;
    tally->days += span_s / 86400;
    tally->verdict[trend.verdict]++;
    tally->pattern[trend.pattern]++;
    tally->trend += trend.mann_kendall_z > 3;
    tally->sustained += trend.sustained;
    tally->spread += trend.spread;
    tally->not_slowing += trend.not_slowing;
    tally->not_random += trend.not_random;
    for (uint32_t p = 0; p < PEER_COUNT; p++)
        tally->peer[p] += peers[p].flags(trace);
    dgo_trace_free(trace);
}

static void print_row(const char *name, bool leaks, const struct tally *tally, bool online)
{
    const double n = tally->runs;
    uint32_t common = 0;

    for (uint32_t i = 1; i < DGO_PATTERN_COUNT; i++)
        if (tally->pattern[i] > tally->pattern[common])
            common = i;
    printf("| %s | %s | %.2f | %.2f | %.2f |", name, leaks ? "leak" : "normal",
           tally->verdict[DGO_VERDICT_GROWING] / n, tally->verdict[DGO_VERDICT_SUSPECTED] / n,
           tally->verdict[DGO_VERDICT_CONFIRMED] / n);
    for (uint32_t p = 0; p < PEER_COUNT; p++)
        printf(" %.2f |", tally->peer[p] / n);
    if (online && leaks)
        printf(" %.2f found, after %.1f h |", tally->detected / n,
               tally->detected ? tally->delay_h / tally->detected : NAN);
    else if (online)
        printf(" %.2f a day |", tally->episodes / tally->days);
    printf(" %s %.2f |\n", dgo_pattern_name((enum dgo_pattern)common), tally->pattern[common] / n);
    fflush(stdout);
}

/* Precision weighs every normal and every leaking shape the same. */
struct sum {
    uint32_t shapes[2];
    double flagged[2], peer[PEER_COUNT][2];
};

static void print_sum(const char *set, const struct sum *sum)
{
    if (sum->shapes[0] == 0 || sum->shapes[1] == 0)
        return;
    for (int who = -1; who < PEER_COUNT; who++) {
        const double *flagged = who < 0 ? sum->flagged : sum->peer[who];
        const double all = flagged[0] + flagged[1];

        printf("%s shapes, %s: flagged of normal %.3f, recall %.3f, precision %.3f\n", set,
               who < 0 ? "ours" : peers[who].name, flagged[0] / sum->shapes[0],
               flagged[1] / sum->shapes[1], all > 0 ? flagged[1] / all : NAN);
    }
}

static void print_patterns(const struct shape_row *row, const struct tally *tally)
{
    printf("| %s |", row->name);
    for (uint32_t i = 0; i < DGO_PATTERN_COUNT; i++)
        if (tally->pattern[i])
            printf(" %.2f |", tally->pattern[i] / (double)tally->runs);
        else
            printf(" |");
    printf("\n");
    fflush(stdout);
}

static void write_csv(const struct shape_row *row, const char *folder, uint64_t seed, double span_s)
{
    struct shape_state state;
    struct dgo_trace_sample sample;
    char path[512];
    FILE *file;

    snprintf(path, sizeof path, "%s/%s.csv", folder, row->name);
    file = fopen(path, "w");
    if (!file) {
        perror(path);
        exit(1);
    }
    fprintf(file, "seconds,gpu,pid,used_mib%s\n", row->tells_requests ? ",requests,busy" : "");
    shape_start(row, &state, seed, span_s);
    for (double t = 0; t < span_s; t++) {
        shape_next(row, &state, t, &sample);
        fprintf(file, "%.0f,0,4242,%.1f", t, sample.used_mib);
        if (row->tells_requests)
            fprintf(file, ",%.0f,%d", sample.requests, sample.busy);
        fprintf(file, "\n");
    }
    fclose(file);
}

/* ---- real series ------------------------------------------------------------------------ */

enum { REAL_MAX = 200000 };
static double real_s[REAL_MAX], real_mib[REAL_MAX];

static uint32_t read_real(const char *path)
{
    FILE *file = fopen(path, "r");
    uint32_t count = 0;
    double percent;

    if (!file) {
        perror(path);
        exit(1);
    }
    while (count < REAL_MAX && fscanf(file, "%lf %lf", &real_s[count], &percent) == 2)
        real_mib[count++] = percent * 245.76;
    fclose(file);
    return count;
}

/* Windows of `span_s` side by side; `ramp_mib` is what leaks over one. */
static void judge_windows(uint32_t count, double span_s, double ramp_mib, struct tally *tally)
{
    for (uint32_t first = 0; first < count;) {
        struct dgo_trace *trace;
        struct dgo_trend trend = {0};
        struct dgo_error err = {0};
        uint32_t at = first;

        if (dgo_trace_new(&trace, &err) != DGO_OK)
            exit(1);
        for (; at < count && real_s[at] < real_s[first] + span_s; at++)
            add(trace,
                &(struct dgo_trace_sample){
                    .seconds = real_s[at],
                    .used_mib = real_mib[at] + ramp_mib * (real_s[at] - real_s[first]) / span_s});
        if (at - first > 100 && real_s[at - 1] - real_s[first] > 0.8 * span_s) {
            judge(trace, &trend);
            tally->runs++;
            tally->verdict[trend.verdict]++;
            for (uint32_t p = 0; p < PEER_COUNT; p++)
                tally->peer[p] += peers[p].flags(trace);
        }
        dgo_trace_free(trace);
        first = at;
    }
}

static int judge_real(char **paths, int count, double span_s)
{
    static const double shares[] = {0, 0.05, 0.10, 0.20};

    printf("| leak put in | windows | growing | suspected |");
    for (uint32_t p = 0; p < PEER_COUNT; p++)
        printf(" %s |", peers[p].name);
    printf("\n");
    for (uint32_t i = 0; i < 4; i++) {
        struct tally tally = {0};

        for (int file = 0; file < count; file++)
            judge_windows(read_real(paths[file]), span_s, shares[i] * 24576, &tally);
        printf("| %.0f %% | %u | %.3f | %.3f |", shares[i] * 100, tally.runs,
               tally.verdict[DGO_VERDICT_GROWING] / (double)tally.runs,
               tally.verdict[DGO_VERDICT_SUSPECTED] / (double)tally.runs);
        for (uint32_t p = 0; p < PEER_COUNT; p++)
            printf(" %.3f |", tally.peer[p] / (double)tally.runs);
        printf("\n");
    }
    return 0;
}

/* What the shapes of one pattern are called; each shape weighs the same. */
struct confusion {
    uint32_t shapes[DGO_PATTERN_COUNT];
    double called[DGO_PATTERN_COUNT][DGO_PATTERN_COUNT];
};

static void count_pattern(const struct shape_row *row, const struct tally *tally,
                          struct confusion *confusion)
{
    if (row->pattern == DGO_PATTERN_UNKNOWN)
        return;
    confusion->shapes[row->pattern]++;
    for (uint32_t i = 0; i < DGO_PATTERN_COUNT; i++)
        confusion->called[row->pattern][i] += (double)tally->pattern[i] / tally->runs;
}

static void print_confusion(const struct confusion *confusion)
{
    double right = 0, shapes = 0;

    printf("\n| is | shapes |");
    for (uint32_t i = 0; i < DGO_PATTERN_COUNT; i++)
        printf(" %s |", dgo_pattern_name((enum dgo_pattern)i));
    printf("\n");
    for (uint32_t is = 0; is < DGO_PATTERN_COUNT; is++) {
        if (confusion->shapes[is] == 0)
            continue;
        printf("| %s | %u |", dgo_pattern_name((enum dgo_pattern)is), confusion->shapes[is]);
        for (uint32_t i = 0; i < DGO_PATTERN_COUNT; i++)
            if (confusion->called[is][i] > 0)
                printf(" %.2f |", confusion->called[is][i] / confusion->shapes[is]);
            else
                printf(" |");
        printf("\n");
        right += confusion->called[is][is];
        shapes += confusion->shapes[is];
    }
    printf("right: %.3f\n", right / shapes);
}

static void print_why(const struct shape_row *row, const struct tally *tally)
{
    const double n = tally->runs;

    printf("    %s: trend %.2f sustained %.2f spread %.2f not slowing %.2f not random %.2f\n",
           row->name, tally->trend / n, tally->sustained / n, tally->spread / n,
           tally->not_slowing / n, tally->not_random / n);
}

static void print_head(const struct settings *settings)
{
    printf("%g h, %.0f runs a shape, seed %.0f\n\n| shape |", settings->numbers[0],
           settings->numbers[1], settings->numbers[2]);
    if (settings->patterns) {
        for (uint32_t i = 0; i < DGO_PATTERN_COUNT; i++)
            printf(" %s |", dgo_pattern_name((enum dgo_pattern)i));
        printf("\n");
        return;
    }
    printf(" is | growing | suspected | confirmed |");
    for (uint32_t p = 0; p < PEER_COUNT; p++)
        printf(" %s |", peers[p].name);
    printf("%s pattern |\n", settings->online ? " online |" : "");
}

static void take_shape(const struct shape_row *row, const struct settings *settings,
                       struct sum *sum, struct confusion *confusion)
{
    const double *numbers = settings->numbers;
    struct tally tally = {0};

    if (settings->folder) {
        write_csv(row, settings->folder, (uint64_t)numbers[2], numbers[0] * 3600);
        return;
    }
    for (uint32_t run = 0; run < (uint32_t)numbers[1]; run++)
        one_run(row, (uint64_t)numbers[2] * 1000003 + run, settings, &tally);
    if (settings->patterns)
        print_patterns(row, &tally);
    else
        print_row(row->name, row->leaks, &tally, settings->online);
    if (settings->why)
        print_why(row, &tally);
    count_pattern(row, &tally, confusion);
    sum->shapes[row->leaks]++;
    sum->flagged[row->leaks] +=
        (double)(tally.verdict[DGO_VERDICT_SUSPECTED] + tally.verdict[DGO_VERDICT_CONFIRMED]) /
        tally.runs;
    for (uint32_t p = 0; p < PEER_COUNT; p++)
        sum->peer[p][row->leaks] += (double)tally.peer[p] / tally.runs;
}

int main(int argc, char **argv)
{
    static const char *const set_names[SHAPE_SET_COUNT] = {"tuned",  "known", "fresh", "daily",
                                                           "unseen", "held",  "weak",  "blind"};
    struct settings settings = {.numbers = {6, 100, 1}, .step_s = 1};
    struct sum sums[SHAPE_SET_COUNT] = {0};
    struct confusion confusion = {0};
    const struct shape_row *row;

    for (int i = 1, at = 0; i < argc; i++) {
        if (!strcmp(argv[i], "--online"))
            settings.online = true;
        else if (!strcmp(argv[i], "--patterns"))
            settings.patterns = true;
        else if (!strcmp(argv[i], "--why"))
            settings.why = true;
        else if (!strcmp(argv[i], "--step") && i + 1 < argc)
            settings.step_s = fmax(1, atof(argv[++i]));
        else if (!strcmp(argv[i], "--csv") && i + 1 < argc)
            settings.folder = argv[++i];
        else if (!strcmp(argv[i], "--set") && i + 1 < argc)
            settings.set = argv[++i];
        else if (!strcmp(argv[i], "--real"))
            return judge_real(argv + i + 1, argc - i - 1, settings.numbers[0] * 3600);
        else if (at < 3)
            settings.numbers[at++] = atof(argv[i]);
    }
    print_head(&settings);
    for (uint32_t i = 0; (row = shape_at(i)); i++)
        if (settings.set ? strcmp(settings.set, set_names[row->set]) == 0 : row->set <= SHAPE_FRESH)
            take_shape(row, &settings, &sums[row->set], &confusion);
    for (uint32_t set = 0; set < SHAPE_SET_COUNT; set++)
        print_sum(set_names[set], &sums[set]);
    if (settings.patterns)
        print_confusion(&confusion);
    if (judge_count)
        printf("%.0f us a judgement\n", judge_s / (double)judge_count * 1e6);
    return 0;
}
