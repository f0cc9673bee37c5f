/* bench.h - rounds of ours and a peer's in turns, medians, one JSON line a comparison.
 *
 * A line holds ours and the peer's figure in the same unit and `ratio`, above 1 where ours is
 * better.  Machines are shared: only ratios of the same run mean anything, and a round beside which
 * others used the CPUs is thrown away and run again; `quiet_rounds` says how many were left. */
#ifndef BENCH_H
#define BENCH_H

#include "dgo_lock.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

enum { BENCH_ROUNDS_MAX = 31 };

static inline double bench_cpu_ns(void)
{
    struct rusage usage;

    getrusage(RUSAGE_SELF, &usage);
    return ((double)usage.ru_utime.tv_sec + (double)usage.ru_stime.tv_sec) * 1e9 +
           ((double)usage.ru_utime.tv_usec + (double)usage.ru_stime.tv_usec) * 1e3;
}

/* What one round gave: time for each operation, by the clock and of all CPUs. */
struct bench_sample {
    double wall_ns, cpu_ns;
};

static inline struct bench_sample bench_begin(void)
{
    return (struct bench_sample){(double)dgo_monotonic_ns(), bench_cpu_ns()};
}

static inline struct bench_sample bench_end(struct bench_sample begun, double operations)
{
    return (struct bench_sample){((double)dgo_monotonic_ns() - begun.wall_ns) / operations,
                                 (bench_cpu_ns() - begun.cpu_ns) / operations};
}

static inline int bench_compare(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;

    return x < y ? -1 : x > y;
}

static inline double bench_median(double *values, uint32_t count)
{
    qsort(values, count, sizeof *values, bench_compare);
    return values[count / 2];
}

/* ---- how busy others are ---- */

enum { BENCH_FOREIGN_PERMILLE = 80, BENCH_TRIES = 3 /* rounds run for one that counts, at most */ };

/* Busy time of all CPUs since the machine began; 0 where it cannot be read. */
static inline double bench_busy_ns(void)
{
    unsigned long long user, nice, system, idle, wait, irq, soft, steal;
    FILE *file = fopen("/proc/stat", "re");
    double ns = 0;

    if (!file)
        return 0;
    if (fscanf(file, "cpu %llu %llu %llu %llu %llu %llu %llu %llu", &user, &nice, &system, &idle,
               &wait, &irq, &soft, &steal) == 8)
        ns = (double)(user + nice + system + irq + soft + steal) * 1e9 /
             (double)sysconf(_SC_CLK_TCK);
    fclose(file);
    return ns;
}

struct bench_quiet {
    double wall_ns, busy_ns, own_ns;
};

static inline struct bench_quiet bench_listen(void)
{
    return (struct bench_quiet){(double)dgo_monotonic_ns(), bench_busy_ns(), bench_cpu_ns()};
}

/* Since then others used little of the CPUs. */
static inline bool bench_was_quiet(struct bench_quiet since)
{
    const struct bench_quiet now = bench_listen();
    const double foreign = (now.busy_ns - since.busy_ns) - (now.own_ns - since.own_ns);
    const double all = (now.wall_ns - since.wall_ns) * (double)sysconf(_SC_NPROCESSORS_ONLN);

    return now.busy_ns == 0 || foreign * 1000 < all * BENCH_FOREIGN_PERMILLE;
}

static uint32_t bench_quiet_rounds; /* of the figures printed next */

/* Less is better on both sides. */
static inline void bench_print(const char *name, const char *unit, double ours, double peer,
                               const char *peer_name)
{
    printf("{\"name\":\"%s\",\"unit\":\"%s\",\"ours\":%.2f,\"peer\":%.2f,\"peer_name\":\"%s\","
           "\"ratio\":%.2f,\"quiet_rounds\":%" PRIu32 "}\n",
           name, unit, ours, peer, peer_name, ours > 0 ? peer / ours : 0, bench_quiet_rounds);
    fflush(stdout);
}

/* Without a peer: against the figure to reach. */
static inline void bench_print_goal(const char *name, const char *unit, double ours, double goal)
{
    bench_print(name, unit, ours, goal, "goal");
}

typedef struct bench_sample (*bench_fn)(void *data);

struct bench_side {
    const char *name;
    bench_fn fn;
    void *data;
};

static const char *bench_only; /* NULL: all; else comparisons whose name holds it */

static inline bool bench_wants(const char *name)
{
    return !bench_only || strstr(name, bench_only);
}

/* Ours first, then the peers, in turns; prints wall and CPU time of each pair. */
static inline void bench_sides(const char *name, const struct bench_side *sides, uint32_t count,
                               uint32_t rounds)
{
    static double wall[8][BENCH_ROUNDS_MAX], cpu[8][BENCH_ROUNDS_MAX];
    char title[128];

    if (!bench_wants(name))
        return;
    bench_quiet_rounds = 0;
    for (uint32_t round = 0, run = 0; round < rounds; run++) {
        const struct bench_quiet since = bench_listen();
        bool is_quiet;

        for (uint32_t i = 0; i < count; i++) {
            const struct bench_sample sample = sides[i].fn(sides[i].data);

            wall[i][round] = sample.wall_ns;
            cpu[i][round] = sample.cpu_ns;
        }
        is_quiet = bench_was_quiet(since);
        bench_quiet_rounds += is_quiet;
        round += is_quiet || run >= (BENCH_TRIES - 1) * rounds; /* else it is overwritten */
    }
    for (uint32_t i = 0; i < count; i++) {
        bench_median(wall[i], rounds);
        bench_median(cpu[i], rounds);
    }
    for (uint32_t i = 1; i < count; i++) {
        snprintf(title, sizeof title, "%s/wall", name);
        bench_print(title, "ns", wall[0][rounds / 2], wall[i][rounds / 2], sides[i].name);
        snprintf(title, sizeof title, "%s/cpu", name);
        bench_print(title, "ns", cpu[0][rounds / 2], cpu[i][rounds / 2], sides[i].name);
    }
}

static inline uint32_t bench_rounds(int argc, char **argv)
{
    const uint32_t rounds = argc > 1 ? (uint32_t)strtoul(argv[1], NULL, 10) : 7;

    bench_only = argc > 2 ? argv[2] : NULL;
    return rounds < 1 ? 1 : rounds > BENCH_ROUNDS_MAX ? BENCH_ROUNDS_MAX : rounds;
}

/* A peer that everybody could write in ten minutes: a ring, a mutex, a condition. */
struct bench_ring {
    pthread_mutex_t lock;
    pthread_cond_t more, less;
    void **item;
    uint32_t size, head, tail;
    bool is_closed;
};

static inline void bench_ring_init(struct bench_ring *ring, uint32_t size)
{
    memset(ring, 0, sizeof *ring);
    pthread_mutex_init(&ring->lock, NULL);
    pthread_cond_init(&ring->more, NULL);
    pthread_cond_init(&ring->less, NULL);
    ring->item = calloc(size, sizeof *ring->item);
    ring->size = size;
}

static inline void bench_ring_put(struct bench_ring *ring, void *item)
{
    pthread_mutex_lock(&ring->lock);
    while (ring->tail - ring->head == ring->size)
        pthread_cond_wait(&ring->less, &ring->lock);
    ring->item[ring->tail++ % ring->size] = item;
    pthread_mutex_unlock(&ring->lock);
    pthread_cond_signal(&ring->more);
}

static inline void *bench_ring_get(struct bench_ring *ring)
{
    void *item = NULL;

    pthread_mutex_lock(&ring->lock);
    while (ring->tail == ring->head && !ring->is_closed)
        pthread_cond_wait(&ring->more, &ring->lock);
    if (ring->tail != ring->head) {
        item = ring->item[ring->head++ % ring->size];
        if (ring->size - (ring->tail - ring->head) == 1)
            pthread_cond_broadcast(&ring->less);
    }
    pthread_mutex_unlock(&ring->lock);
    return item;
}

static inline void bench_ring_close(struct bench_ring *ring)
{
    pthread_mutex_lock(&ring->lock);
    ring->is_closed = true;
    pthread_mutex_unlock(&ring->lock);
    pthread_cond_broadcast(&ring->more);
}

#endif
