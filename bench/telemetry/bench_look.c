/* bench_look.c - what a look at two cards of the fake library costs, by tier, and a line of a
 * recording.  The real library's own time comes on top; the fake one's, a stat of its scenario at
 * each call, is in the figures. */
#include "dgo_recording.h"
#include "dgo_units.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

static struct dgo_sample sample;

static uint64_t now_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * DGO_NS_PER_S + (uint64_t)now.tv_nsec;
}

static int by_size(const void *a, const void *b)
{
    const uint64_t one = *(const uint64_t *)a, other = *(const uint64_t *)b;

    return (one > other) - (one < other);
}

static void report(const char *name, const char *unit, double value)
{
    printf("{\"name\": \"%s\", \"unit\": \"%s\", \"ours\": %.3f}\n", name, unit, value);
}

static bool measure(struct dgo_gpu_source *source, const char *name, unsigned tiers)
{
    enum { ROUNDS = 501 };
    static uint64_t took[ROUNDS];
    char title[96];

    for (int i = 0; i < ROUNDS; i++) {
        const uint64_t start = now_ns();

        if (dgo_gpu_take_tiers(source, tiers, &sample.machine, NULL) != DGO_OK)
            return false;
        took[i] = now_ns() - start;
    }
    qsort(took, ROUNDS, sizeof took[0], by_size);
    snprintf(title, sizeof title, "look at two cards, %s, median", name);
    report(title, "us", (double)took[ROUNDS / 2] / 1e3);
    snprintf(title, sizeof title, "look at two cards, %s, 99th of 100", name);
    report(title, "us", (double)took[ROUNDS * 99 / 100] / 1e3);
    return true;
}

static bool measure_recording(void)
{
    enum { LINES = 2000 };
    char path[] = "/tmp/dgo-bench-XXXXXX";
    const int fd = mkstemp(path);
    struct dgo_recorder *recorder = NULL;
    struct stat size = {0};
    const uint64_t start = now_ns();
    bool ok = fd >= 0 && dgo_recorder_open(path, &recorder, NULL) == DGO_OK;

    for (uint64_t i = 0; ok && i < LINES; i++) {
        sample.sequence = i + 1;
        sample.monotonic_ns = i * DGO_NS_PER_S;
        sample.machine.gpu[0].used_bytes += 4096; /* something has changed */
        sample.machine.gpu[0].temperature_c = (int32_t)(60 + i % 5);
        ok = dgo_recorder_add_sample(recorder, &sample, NULL) == DGO_OK;
    }
    ok = dgo_recorder_close(recorder, NULL) == DGO_OK && ok;
    if (ok && stat(path, &size) == 0) {
        report("line of a recording of two cards", "us", (double)(now_ns() - start) / 1e3 / LINES);
        report("line of a recording of two cards, size", "bytes", (double)size.st_size / LINES);
    }
    remove(path);
    return ok;
}

int main(void)
{
    const struct dgo_gpu_options options = {.nvml_library = FAKE_NVML};
    struct dgo_gpu_source *source = NULL;
    struct dgo_error err = {0};
    bool ok;

    setenv("DUALGPUOPT_FAKE_NVML", SCENARIO, 1);
    if (dgo_gpu_open(&options, &source, &err) != DGO_OK) {
        fprintf(stderr, "bench: %s\n", err.text);
        return 1;
    }
    ok = measure(source, "fast tier", DGO_TIER_BIT(DGO_TIER_FAST)) &&
         measure(source, "fast and processes",
                 DGO_TIER_BIT(DGO_TIER_FAST) | DGO_TIER_BIT(DGO_TIER_PROCESSES)) &&
         measure(source, "all tiers", DGO_TIERS_ALL) && measure_recording();
    dgo_gpu_close(source);
    return ok ? 0 : 1;
}
