/* bench_timeline.c - what a sample and a judgement cost: a day of 32 process series at 1 Hz. */
#include "dgo_profiler.h"
#include "dgo_timeline.h"
#include "shapes.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { SERIES = 32, DAY = 86400 };

static double now_s(void)
{
    struct timespec t;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t); /* a busy machine costs us time, not work */
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void tell(const char *name, const char *unit, double value)
{
    printf("{\"name\": \"%s\", \"unit\": \"%s\", \"ours\": %.3f}\n", name, unit, value);
    fflush(stdout);
}

int main(void)
{
    static struct dgo_trace_sample day[DAY];
    struct dgo_timeline *timeline = NULL;
    struct dgo_profiler *profiler = NULL;
    struct dgo_timeline_stats stats;
    static struct dgo_timeline_point point[800];
    struct dgo_error err = {0};
    struct shape_state state;
    const struct shape_row *row = &shape_rows[15]; /* by request */
    double start, cpu;
    const struct dgo_series_key card = {.kind = DGO_SERIES_USED};

    if (dgo_timeline_new(NULL, &timeline, &err) != DGO_OK ||
        dgo_profiler_new(&(struct dgo_profiler_options){300}, &profiler, &err) != DGO_OK)
        return 1;
    shape_start(row, &state, 1, DAY);
    for (uint32_t s = 0; s < DAY; s++)
        shape_next(row, &state, s, &day[s]);
    start = now_s();
    for (uint32_t s = 0; s < DAY; s++)
        for (uint32_t i = 0; i < SERIES; i++)
            (void)dgo_timeline_add(timeline, &(struct dgo_series_key){.pid = i},
                                   s * UINT64_C(1000000000), day[s].used_mib, &err);
    tell("timeline.add", "ns", (now_s() - start) / DAY / SERIES * 1e9);
    dgo_timeline_read_stats(timeline, &stats);
    tell("timeline.series", "KiB", (double)stats.bytes / 1024 / stats.series_count);
    start = now_s();
    for (uint32_t i = 0; i < 100; i++)
        (void)dgo_timeline_query(timeline, &card, 0, DAY * UINT64_C(1000000000), point, 800);
    tell("timeline.query_day", "us", (now_s() - start) / 100 * 1e6);
    start = now_s();
    for (uint32_t s = 0; s < DAY; s++)
        for (uint32_t i = 0; i < SERIES; i++)
            (void)dgo_profiler_add(
                profiler, &(struct dgo_profiler_reading){.pid = i + 1, .sample = day[s]}, &err);
    tell("profiler.day_of_32_judged_every_5_min", "s", now_s() - start);
    start = now_s();
    dgo_profiler_judge(profiler);
    cpu = now_s() - start;
    tell("profiler.judge", "us", cpu / SERIES * 1e6);
    start = now_s();
    dgo_profiler_find_patterns(profiler);
    tell("profiler.pattern", "us", (now_s() - start) / SERIES * 1e6);
    dgo_profiler_free(profiler);
    dgo_timeline_free(timeline);
    return 0;
}
