/* bench_load.c - keeps the CPUs as busy as we ever would, beside an engine that must not feel it.
 *
 * usage: bench_load ENGINE_PID KIND      until its stdin closes; then the jobs done a second
 * KIND: ours        NORMAL and BACKGROUND saturated with 1 ms jobs, the engine protected
 *       background  BACKGROUND alone
 *       threads     what pools do by default: one thread a CPU, no policy at all
 *       glib, libuv, tbb   pools of others as they come, where they are there */
#include "dgo_clock.h"
#include "dgo_resource.h"
#include "dgo_units.h"
#include "peers.h"

#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { IN_FLIGHT = 64, THREADS_MAX = 64 };

static atomic_ullong done;
static atomic_bool stopping;

static void work_1_ms(void)
{
    const uint64_t end = dgo_clock_monotonic_ns(dgo_clock_system()) + DGO_NS_PER_MS;

    while (dgo_clock_monotonic_ns(dgo_clock_system()) < end)
        continue;
    atomic_fetch_add(&done, 1);
}

static enum dgo_status job(void *arg)
{
    (void)arg;
    work_1_ms();
    return DGO_OK;
}

/* Each job that ends is followed by another, so the lane always has IN_FLIGHT of them. */
static void again(const struct dgo_result *result, void *arg)
{
    struct dgo_error err = {0};

    (void)result;
    if (atomic_load(&stopping))
        return;
    if (dgo_submit(
            &(struct dgo_job){
                .fn = job, .arg = arg, .lane = (enum dgo_lane)(intptr_t)arg, .done = again},
            NULL, &err) != DGO_OK)
        fprintf(stderr, "bench_load: %s\n", err.text);
}

static void *thread_main(void *arg)
{
    (void)arg;
    while (!atomic_load(&stopping))
        work_1_ms();
    return NULL;
}

static void wait_for_stdin(void)
{
    char byte;

    while (read(STDIN_FILENO, &byte, 1) > 0)
        continue;
    atomic_store(&stopping, true);
}

static int run_threads(void)
{
    const long count = sysconf(_SC_NPROCESSORS_ONLN);
    pthread_t threads[THREADS_MAX];

    for (long i = 0; i < count && i < THREADS_MAX; i++)
        if (pthread_create(&threads[i], NULL, thread_main, NULL) != 0)
            return 1;
    wait_for_stdin();
    for (long i = 0; i < count && i < THREADS_MAX; i++)
        pthread_join(threads[i], NULL);
    return 0;
}

static const struct {
    const char *name;
    void (*load)(int in_flight, peer_job_fn job, peer_more_fn more);
} peers[] = {
#ifdef PEER_GLIB_UV
    {"glib", peer_load_glib},
    {"libuv", peer_load_uv},
#endif
#ifdef PEER_TBB
    {"tbb", peer_load_tbb},
#endif
    {NULL, NULL},
};

static bool is_on(void)
{
    return !atomic_load(&stopping);
}

static void *stdin_main(void *unused)
{
    (void)unused;
    wait_for_stdin();
    return NULL;
}

/* -1: no such peer. */
static int run_peer(const char *name)
{
    pthread_t thread;

    for (size_t i = 0; peers[i].name; i++) {
        if (strcmp(peers[i].name, name) != 0)
            continue;
        if (pthread_create(&thread, NULL, stdin_main, NULL) != 0)
            return 1;
        peers[i].load(IN_FLIGHT, work_1_ms, is_on);
        pthread_join(thread, NULL);
        return 0;
    }
    return -1;
}

static int run_ours(uint32_t engine, bool normal)
{
    const struct dgo_resource_config config = {0};
    const struct dgo_result none = {0};
    struct dgo_error err = {0};

    if (dgo_resource_start(&config, &err) != DGO_OK ||
        dgo_resource_protect(engine, 0, &err) != DGO_OK) {
        fprintf(stderr, "bench_load: %s\n", err.text);
        return 1;
    }
    dgo_resource_set_streaming(true);
    for (int i = 0; i < IN_FLIGHT; i++) {
        again(&none, (void *)(intptr_t)DGO_LANE_BACKGROUND);
        if (normal)
            again(&none, (void *)(intptr_t)DGO_LANE_NORMAL);
    }
    wait_for_stdin();
    return dgo_resource_stop(DGO_NS_PER_S, &err) == DGO_OK ? 0 : 1;
}

int main(int argc, char **argv)
{
    const uint64_t start = dgo_clock_monotonic_ns(dgo_clock_system());
    int status;

    if (argc != 3) {
        fprintf(stderr, "usage: bench_load ENGINE_PID ours|background|threads|PEER, or bench_load "
                        "peers kinds\n");
        return 2;
    }
    if (strcmp(argv[2], "kinds") == 0) {
        for (size_t i = 0; peers[i].name; i++)
            puts(peers[i].name);
        return 0;
    }
    status = run_peer(argv[2]);
    if (status >= 0)
        goto out;
    if (strcmp(argv[2], "threads") == 0)
        status = run_threads();
    else
        status = run_ours((uint32_t)strtoul(argv[1], NULL, 10), strcmp(argv[2], "ours") == 0);
out:
    printf("%.1f\n", (double)atomic_load(&done) * 1e9 /
                         (double)(dgo_clock_monotonic_ns(dgo_clock_system()) - start));
    return status;
}
