/* bench_accuracy.c - how often the verdicts are right, by shape, beside published trend tests.
 *
 * usage: bench_accuracy [HOURS [RUNS [SEED]]] [--online] [--patterns] [--set NAME] [--csv DIR]
 *                       [--real FILE...]
 *
 * A shape that leaks should be suspected or confirmed; one that does not should not.  --online
 * judges every five minutes of the series as a daemon would and tells when an episode began and how
 * many false ones a day there were.  --patterns
 * prints how often each shape is called what.  --csv writes one series of each shape as `profile
 * report` reads it. */
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

static void one_run(const struct shape_row *row, uint64_t seed, double span_s, bool online,
                    struct tally *tally)
{
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

int main(int argc, char **argv)
{
    static const char *const set_names[] = {"tuned", "known", "fresh", "daily", "unseen", "held"};
    double numbers[3] = {6, 100, 1};
    const char *folder = NULL;
    const char *only = NULL;
    bool online = false, patterns = false;
    struct sum sums[SHAPE_SET_COUNT] = {0};

    for (int i = 1, at = 0; i < argc; i++) {
        if (!strcmp(argv[i], "--online"))
            online = true;
        else if (!strcmp(argv[i], "--patterns"))
            patterns = true;
        else if (!strcmp(argv[i], "--csv") && i + 1 < argc)
            folder = argv[++i];
        else if (!strcmp(argv[i], "--set") && i + 1 < argc)
            only = argv[++i];
        else if (!strcmp(argv[i], "--real"))
            return judge_real(argv + i + 1, argc - i - 1, numbers[0] * 3600);
        else if (at < 3)
            numbers[at++] = atof(argv[i]);
    }
    printf("%.0f h, %.0f runs a shape, seed %.0f\n\n| shape |", numbers[0], numbers[1], numbers[2]);
    if (patterns) {
        for (uint32_t i = 0; i < DGO_PATTERN_COUNT; i++)
            printf(" %s |", dgo_pattern_name((enum dgo_pattern)i));
        printf("\n");
    } else {
        printf(" is | growing | suspected | confirmed |");
        for (uint32_t p = 0; p < PEER_COUNT; p++)
            printf(" %s |", peers[p].name);
        printf("%s pattern |\n", online ? " online |" : "");
    }
    for (uint32_t i = 0; i < shape_count + shape_day_count + shape_held_count; i++) {
        const struct shape_row *row = i < shape_count ? &shape_rows[i]
                                      : i < shape_count + shape_day_count
                                          ? &shape_day_rows[i - shape_count]
                                          : &shape_held_rows[i - shape_count - shape_day_count];
        struct tally tally = {0};

        if (only ? strcmp(only, set_names[row->set]) != 0 : i >= shape_count)
            continue;
        if (folder) {
            write_csv(row, folder, (uint64_t)numbers[2], numbers[0] * 3600);
            continue;
        }
        for (uint32_t run = 0; run < (uint32_t)numbers[1]; run++)
            one_run(row, (uint64_t)numbers[2] * 1000003 + run, numbers[0] * 3600, online, &tally);
        if (patterns)
            print_patterns(row, &tally);
        else
            print_row(row->name, row->leaks, &tally, online);
        sums[row->set].shapes[row->leaks]++;
        sums[row->set].flagged[row->leaks] +=
            (double)(tally.verdict[DGO_VERDICT_SUSPECTED] + tally.verdict[DGO_VERDICT_CONFIRMED]) /
            tally.runs;
        for (uint32_t p = 0; p < PEER_COUNT; p++)
            sums[row->set].peer[p][row->leaks] += (double)tally.peer[p] / tally.runs;
    }
    printf("\n");
    for (uint32_t set = 0; set < SHAPE_SET_COUNT; set++)
        print_sum(set_names[set], &sums[set]);
    if (judge_count)
        printf("%.0f us a judgement\n", judge_s / (double)judge_count * 1e6);
    return 0;
}
