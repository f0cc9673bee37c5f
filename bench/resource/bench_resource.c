/* bench_resource.c - the executor beside GLib's thread pool, libuv's, oneTBB's, Concurrency Kit's
 * ring and a plain one: tiny jobs, latency of urgent ones, queues of a hundred thousand, blocked
 * workers, idling, the end. Usage: bench_resource [ROUNDS [PART OF A NAME]] */
#include <pthread.h>
#include <stdalign.h>
#include <stdatomic.h>

#include "bench.h"
#include "peers.h"

#include "dgo_resource.h"
#include "dgo_units.h"

#include <glib.h>
#include <sched.h>
#include <time.h>
#include <uv.h>

enum { JOBS = 1000000, WORKERS = 2, LATENCY_SAMPLES = 2000 };

static _Thread_local uint64_t local_count;
static _Atomic uint32_t finished; /* futex: marker jobs that came through */

static enum dgo_status tiny(void *data)
{
    (void)data;
    local_count++;
    return DGO_OK;
}

/* ---- tiny jobs: submit to complete ---- */

struct shape {
    uint32_t producers, jobs;
    void *(*produce)(void *shape);
    struct dgo_group group;
};

static uint32_t each(const void *shape)
{
    return ((const struct shape *)shape)->jobs / ((const struct shape *)shape)->producers;
}

/* Each thread counts for itself, on a line of its own, as real jobs would: with one counter for all
 * of them, whichever pool is fastest would be measured by that counter. */
enum { COUNTERS = 64 };
static struct {
    alignas(64) _Atomic uint64_t count;
} completed[COUNTERS];

static void complete(void)
{
    static _Atomic uint32_t threads;
    static _Thread_local uint32_t number;
    _Atomic uint64_t *count;

    if (!number)
        number = atomic_fetch_add(&threads, 1) + 1;
    count = &completed[number % COUNTERS].count;
    atomic_store_explicit(count, atomic_load_explicit(count, memory_order_relaxed) + 1,
                          memory_order_release);
}

static uint64_t completed_count(void)
{
    uint64_t sum = 0;

    for (uint32_t i = 0; i < COUNTERS; i++)
        sum += atomic_load_explicit(&completed[i].count, memory_order_acquire);
    return sum;
}

static void tiny_glib(gpointer data, gpointer unused)
{
    (void)data;
    (void)unused;
    complete();
}

static enum dgo_status tiny_counted(void *data)
{
    (void)data;
    complete();
    return DGO_OK;
}

static void run_producers(struct shape *shape)
{
    pthread_t threads[8];

    for (uint32_t i = 0; i < shape->producers; i++)
        pthread_create(&threads[i], NULL, shape->produce, shape);
    for (uint32_t i = 0; i < shape->producers; i++)
        pthread_join(threads[i], NULL);
}

static void await_completed(uint64_t count)
{
    const struct timespec moment = {0, 20000};

    while (completed_count() < count)
        nanosleep(&moment, NULL);
}

/* The pool before it may still spin, and this one sleeps: what is wanted is how it goes on. */
static struct bench_sample timed(struct shape *shape)
{
    const struct timespec settle = {0, 5000000};
    struct bench_sample begun;
    uint64_t before;

    nanosleep(&settle, NULL);
    for (shape->jobs = JOBS / 20;; shape->jobs = JOBS) {
        const uint64_t count = (uint64_t)each(shape) * shape->producers;

        before = completed_count();
        begun = bench_begin();
        run_producers(shape);
        await_completed(before + count);
        if (shape->jobs == JOBS)
            return bench_end(begun, (double)count);
    }
}

static struct bench_sample round_of(void *data)
{
    return timed(data);
}

static void *produce_ours(void *data)
{
    const uint32_t count = each(data);
    const struct dgo_job job = {.fn = tiny_counted};
    const struct timespec moment = {0, 20000};

    for (uint32_t i = 0; i < count; i++)
        while (dgo_submit(&job, NULL, NULL) != DGO_OK)
            nanosleep(&moment, NULL);
    return NULL;
}

static GThreadPool *plain_pool, *sorted_pool;

static void *produce_plain(void *data)
{
    const uint32_t count = each(data);

    for (uint32_t i = 0; i < count; i++)
        g_thread_pool_push(plain_pool, GINT_TO_POINTER(1), NULL);
    return NULL;
}

static void *produce_sorted(void *data)
{
    const uint32_t count = each(data);

    for (uint32_t i = 0; i < count; i++)
        g_thread_pool_push(sorted_pool, GINT_TO_POINTER(1), NULL);
    return NULL;
}

static void uv_tiny(uv_work_t *work)
{
    (void)work;
    complete();
}

static void uv_after(uv_work_t *work, int status)
{
    (void)work;
    (void)status;
}

static void *produce_uv(void *data)
{
    const uint32_t count = each(data);
    uv_work_t *work = calloc(count, sizeof *work);
    uv_loop_t loop;

    uv_loop_init(&loop);
    for (uint32_t i = 0; i < count; i++)
        uv_queue_work(&loop, &work[i], uv_tiny, uv_after);
    uv_run(&loop, UV_RUN_DEFAULT);
    uv_loop_close(&loop);
    free(work);
    return NULL;
}

static struct bench_ring ring;

static void *ring_worker(void *unused)
{
    (void)unused;
    while (bench_ring_get(&ring)) {
        complete();
    }
    return NULL;
}

static void *produce_ring(void *data)
{
    const uint32_t count = each(data);

    for (uint32_t i = 0; i < count; i++)
        bench_ring_put(&ring, GINT_TO_POINTER(1));
    return NULL;
}

#if defined PEER_TBB || defined PEER_CK
static void tiny_of_peer(void)
{
    complete();
}
#endif

#ifdef PEER_TBB
static void *produce_tbb(void *data)
{
    peer_tbb_push(each(data));
    return NULL;
}
#endif

#ifdef PEER_CK
static void *produce_ck(void *data)
{
    peer_ck_push(each(data));
    return NULL;
}
#endif

static gint compare_levels(gconstpointer a, gconstpointer b, gpointer unused)
{
    (void)unused;
    return GPOINTER_TO_INT(a) - GPOINTER_TO_INT(b);
}

static void bench_throughput(uint32_t rounds)
{
    for (uint32_t producers = 1; producers <= 2; producers++) {
        struct shape shapes[] = {
            {.producers = producers, .produce = produce_ours},
            {.producers = producers, .produce = produce_plain},
            {.producers = producers, .produce = produce_sorted},
            {.producers = producers, .produce = produce_uv},
            {.producers = producers, .produce = produce_ring},
#ifdef PEER_TBB
            {.producers = producers, .produce = produce_tbb},
#endif
#ifdef PEER_CK
            {.producers = producers, .produce = produce_ck},
#endif
        };
        static const char *const names[] = {
            "ours",
            "GThreadPool",
            "GThreadPool+sort",
            "libuv",
            "mutex+cond ring",
#ifdef PEER_TBB
            "oneTBB enqueue",
#endif
#ifdef PEER_CK
            "ck_ring + futex",
#endif
        };
        enum { SIDES = sizeof names / sizeof names[0] };
        struct bench_side sides[SIDES];
        char name[64];

        for (uint32_t i = 0; i < SIDES; i++)
            sides[i] = (struct bench_side){names[i], round_of, &shapes[i]};
        snprintf(name, sizeof name, "tiny job, %" PRIu32 " producer%s", producers,
                 producers > 1 ? "s" : "");
        bench_sides(name, sides, SIDES, rounds);
    }
}

/* ---- the synchronous call ---- */

static void *sync_rounds(void *data)
{
    const uint32_t rounds = *(const uint32_t *)data;
    double each[BENCH_ROUNDS_MAX];

    for (uint32_t round = 0; round < rounds; round++) {
        const uint64_t begun_ns = dgo_monotonic_ns();

        for (int i = 0; i < 1000000; i++)
            dgo_run_on_cpu(0, tiny, NULL);
        each[round] = (double)(dgo_monotonic_ns() - begun_ns) / 1e6;
    }
    bench_print_goal("dgo_run_on_cpu in the caller", "ns", bench_median(each, rounds), 100);
    return NULL;
}

/* Off the UI thread, which this one is. */
static void bench_sync(uint32_t rounds)
{
    pthread_t thread;

    pthread_create(&thread, NULL, sync_rounds, &rounds);
    pthread_join(thread, NULL);
}

/* ---- urgent work while slow work saturates ---- */

static _Atomic bool keeps_going;
static double latency_ns[LATENCY_SAMPLES];

static void spin_ns(uint64_t ns)
{
    const uint64_t until_ns = dgo_monotonic_ns() + ns;

    while (dgo_monotonic_ns() < until_ns)
        ;
}

static enum dgo_status slow_again(void *data)
{
    const struct dgo_job job = {.fn = slow_again, .arg = data, .lane = DGO_LANE_BACKGROUND};

    spin_ns(DGO_NS_PER_MS);
    if (!atomic_load(&keeps_going))
        return DGO_OK;
    return dgo_submit(&job, NULL, NULL);
}

static void slow_glib(gpointer data, gpointer pool)
{
    (void)pool;
    if (GPOINTER_TO_INT(data) == 1) {
        latency_ns[atomic_load(&finished)] = (double)dgo_monotonic_ns();
        atomic_fetch_add(&finished, 1);
        dgo_wake_up(&finished, 1);
        return;
    }
    spin_ns(DGO_NS_PER_MS);
    if (atomic_load(&keeps_going))
        g_thread_pool_push(sorted_pool, GINT_TO_POINTER(2), NULL);
}

static enum dgo_status urgent(void *data)
{
    (void)data;
    latency_ns[atomic_load(&finished)] = (double)dgo_monotonic_ns();
    atomic_fetch_add(&finished, 1);
    dgo_wake_up(&finished, 1);
    return DGO_OK;
}

static void submit_urgent_ours(void)
{
    const struct dgo_job job = {.fn = urgent, .lane = DGO_LANE_EXPRESS};

    if (dgo_submit(&job, NULL, NULL) != DGO_OK)
        abort();
}

static void submit_urgent_glib(void)
{
    g_thread_pool_push(sorted_pool, GINT_TO_POINTER(1), NULL);
}

/* What the kernel alone takes: a thread that sleeps on a word, and no queue. */
static _Atomic uint32_t bare_word;

static void *bare_thread(void *unused)
{
    (void)unused;
    for (uint32_t seen = 0; seen != UINT32_MAX;) {
        dgo_sleep_on(&bare_word, seen, UINT64_MAX);
        if (atomic_load(&bare_word) == seen)
            continue;
        seen = atomic_load(&bare_word);
        if (seen != UINT32_MAX)
            urgent(NULL);
    }
    return NULL;
}

static void wake_bare(void)
{
    atomic_fetch_add(&bare_word, 1);
    dgo_wake_up(&bare_word, 1);
}

/* Submission to start, sorted; a pause between two so that each finds its thread asleep. */
static void measure_latency(void (*submit)(void), uint32_t samples)
{
    const struct timespec pause = {0, 500000};

    atomic_store(&finished, 0);
    for (uint32_t i = 0; i < samples; i++) {
        const double begun_ns = (double)dgo_monotonic_ns();

        submit();
        while (atomic_load(&finished) == i)
            dgo_sleep_on(&finished, i, UINT64_MAX);
        latency_ns[i] -= begun_ns;
        nanosleep(&pause, NULL);
    }
    qsort(latency_ns, samples, sizeof *latency_ns, bench_compare);
}

static double measure_bare_p99(void)
{
    pthread_t thread;

    atomic_store(&bare_word, 0);
    if (pthread_create(&thread, NULL, bare_thread, NULL) != 0)
        abort();
    measure_latency(wake_bare, LATENCY_SAMPLES);
    atomic_store(&bare_word, UINT32_MAX);
    dgo_wake_up(&bare_word, 1);
    pthread_join(thread, NULL);
    return latency_ns[LATENCY_SAMPLES * 99 / 100];
}

static void bench_latency(void)
{
    const struct dgo_job slow = {.fn = slow_again, .lane = DGO_LANE_BACKGROUND};
    const uint32_t peer_samples = 300;
    double ours_p50, ours_p99, ours_p999, bare_p99;

    atomic_store(&keeps_going, true);
    for (int i = 0; i < 100; i++)
        if (dgo_submit(&slow, NULL, NULL) != DGO_OK)
            abort();
    measure_latency(submit_urgent_ours, LATENCY_SAMPLES);
    ours_p50 = latency_ns[LATENCY_SAMPLES / 2];
    ours_p99 = latency_ns[LATENCY_SAMPLES * 99 / 100];
    ours_p999 = latency_ns[LATENCY_SAMPLES * 999 / 1000];
    bare_p99 = measure_bare_p99();
    atomic_store(&keeps_going, false);
    dgo_resource_drain(DGO_FOREVER, NULL);

    atomic_store(&keeps_going, true);
    for (int i = 0; i < 100; i++)
        g_thread_pool_push(sorted_pool, GINT_TO_POINTER(2), NULL);
    measure_latency(submit_urgent_glib, peer_samples);
    atomic_store(&keeps_going, false);
    bench_print("urgent job, slow ones saturate, p50", "ns", ours_p50, latency_ns[peer_samples / 2],
                "GThreadPool+sort");
    bench_print("urgent job, slow ones saturate, p99", "ns", ours_p99,
                latency_ns[peer_samples * 99 / 100], "GThreadPool+sort");
    bench_print("urgent job, slow ones saturate, p99", "ns", ours_p99, bare_p99,
                "a thread woken by hand");
    bench_print_goal("urgent job, slow ones saturate, p99", "ns", ours_p99, 25000);
    bench_print_goal("urgent job, slow ones saturate, p99.9", "ns", ours_p999, 30000);
    while (g_thread_pool_unprocessed(sorted_pool) > 0)
        sched_yield();
}

/* ---- urgent work while an engine owns all CPUs ---- */

/* As ggml's CPU backend: all threads compute a piece, then wait for each other by spinning. */
static _Atomic uint32_t barrier_in, barrier_round;
static uint32_t engine_threads;

static void *lockstep(void *unused)
{
    (void)unused;
    while (atomic_load(&keeps_going)) {
        const uint32_t round = atomic_load(&barrier_round);

        spin_ns(200000);
        if (atomic_fetch_add(&barrier_in, 1) + 1 == engine_threads) {
            atomic_store(&barrier_in, 0);
            atomic_fetch_add(&barrier_round, 1);
        } else {
            while (atomic_load(&barrier_round) == round && atomic_load(&keeps_going))
                dgo_pause();
        }
    }
    return NULL;
}

static void bench_latency_beside_engine(void)
{
    const uint32_t peer_samples = 300;
    pthread_t threads[64];
    double ours_p99, bare_p99;

    engine_threads = (uint32_t)sysconf(_SC_NPROCESSORS_ONLN);
    engine_threads = engine_threads > 64 ? 64 : engine_threads;
    atomic_store(&keeps_going, true);
    for (uint32_t i = 0; i < engine_threads; i++)
        if (pthread_create(&threads[i], NULL, lockstep, NULL) != 0)
            abort();
    measure_latency(submit_urgent_ours, LATENCY_SAMPLES);
    ours_p99 = latency_ns[LATENCY_SAMPLES * 99 / 100];
    bare_p99 = measure_bare_p99();
    measure_latency(submit_urgent_glib, peer_samples);
    bench_print("urgent job, an engine owns all CPUs, p99", "ns", ours_p99,
                latency_ns[peer_samples * 99 / 100], "GThreadPool");
    bench_print("urgent job, an engine owns all CPUs, p99", "ns", ours_p99, bare_p99,
                "a thread woken by hand");
    bench_print_goal("urgent job, an engine owns all CPUs, p99", "ns", ours_p99, 50000);
    atomic_store(&keeps_going, false);
    atomic_store(&barrier_in, 0);
    atomic_fetch_add(&barrier_round, 1);
    for (uint32_t i = 0; i < engine_threads; i++)
        pthread_join(threads[i], NULL);
}

/* ---- nothing to do, and a little to do ---- */

static long switches(void)
{
    struct rusage usage;

    getrusage(RUSAGE_SELF, &usage);
    return usage.ru_nvcsw;
}

static void trickle(void (*submit)(void), double *cpu_ns)
{
    enum { TRICKLE = 500 };
    const struct timespec pause = {0, 1000000};
    const double begun_ns = bench_cpu_ns();

    atomic_store(&finished, 0);
    for (int i = 0; i < TRICKLE; i++) {
        submit();
        nanosleep(&pause, NULL);
    }
    while (atomic_load(&finished) < TRICKLE)
        sched_yield();
    *cpu_ns = (bench_cpu_ns() - begun_ns) / TRICKLE;
}

static GThreadPool *trickle_pool;
static void trickled_glib(gpointer data, gpointer unused)
{
    (void)data;
    (void)unused;
    atomic_fetch_add(&finished, 1);
}
static enum dgo_status trickled(void *data)
{
    (void)data;
    atomic_fetch_add(&finished, 1);
    return DGO_OK;
}
static void trickle_ours(void)
{
    const struct dgo_job job = {.fn = trickled};

    if (dgo_submit(&job, NULL, NULL) != DGO_OK)
        abort();
}
static void trickle_glib(void)
{
    g_thread_pool_push(trickle_pool, GINT_TO_POINTER(1), NULL);
}

static void bench_idle(uint32_t rounds)
{
    const struct timespec settle = {0, 300000000}, watch = {2, 0};
    double ours[BENCH_ROUNDS_MAX], peer[BENCH_ROUNDS_MAX];
    long before;

    nanosleep(&settle, NULL);
    before = switches();
    nanosleep(&watch, NULL);
    /* The sleep of this thread is one of them; peers' pools idle in this process too. */
    bench_print_goal("wakes in a second of idling", "1/s", (double)(switches() - before - 1) / 2,
                     0);
    trickle_pool = g_thread_pool_new(trickled_glib, NULL, WORKERS, TRUE, NULL);
    for (uint32_t i = 0; i < rounds; i++) {
        trickle(trickle_ours, &ours[i]);
        trickle(trickle_glib, &peer[i]);
    }
    bench_print("a job a millisecond, CPU time a job", "ns", bench_median(ours, rounds),
                bench_median(peer, rounds), "GThreadPool");
    g_thread_pool_free(trickle_pool, FALSE, TRUE);
}

/* ---- insert before a hundred thousand ---- */

static void hold_glib(gpointer data, gpointer unused)
{
    (void)unused;
    if (GPOINTER_TO_INT(data) == 2)
        while (atomic_load(&keeps_going))
            sched_yield();
}

static void bench_backlog(void)
{
    enum { BACKLOG = 100000, SAMPLES = 1000 };
    static double each[SAMPLES];
    const struct dgo_job low = {.fn = tiny, .lane = DGO_LANE_UI, .level = DGO_LEVEL_LOW};
    const struct dgo_job high = {.fn = tiny, .lane = DGO_LANE_UI, .level = DGO_LEVEL_HIGH};
    GThreadPool *pool = g_thread_pool_new(hold_glib, NULL, 1, TRUE, NULL);
    double ours_p99;

    for (int round = 0; round < 2; round++) { /* once to touch the memory */
        for (int i = 0; i < BACKLOG; i++)
            if (dgo_submit(&low, NULL, NULL) != DGO_OK)
                abort();
        for (int i = 0; i < SAMPLES; i++) {
            const uint64_t begun_ns = dgo_monotonic_ns();

            if (dgo_submit(&high, NULL, NULL) != DGO_OK)
                abort();
            each[i] = (double)(dgo_monotonic_ns() - begun_ns);
        }
        dgo_resource_ui_drain(DGO_FOREVER, NULL, NULL);
    }
    qsort(each, SAMPLES, sizeof *each, bench_compare);
    ours_p99 = each[SAMPLES * 99 / 100];

    atomic_store(&keeps_going, true);
    g_thread_pool_set_sort_function(pool, compare_levels, NULL);
    /* Ever less urgent: the pool finds the place of each at once.  Then one that goes first. */
    g_thread_pool_push(pool, GINT_TO_POINTER(2), NULL);
    for (int i = 0; i < BACKLOG; i++)
        g_thread_pool_push(pool, GINT_TO_POINTER(1000 + i), NULL);
    for (int i = 0; i < 50; i++) {
        const uint64_t begun_ns = dgo_monotonic_ns();

        g_thread_pool_push(pool, GINT_TO_POINTER(900 - i), NULL);
        each[i] = (double)(dgo_monotonic_ns() - begun_ns);
    }
    qsort(each, 50, sizeof *each, bench_compare);
    bench_print("insert at 100 000 queued, p99", "ns", ours_p99, each[49], "GThreadPool+sort");
    bench_print_goal("insert at 100 000 queued, p99", "ns", ours_p99, 200);
    atomic_store(&keeps_going, false);
    g_thread_pool_free(pool, FALSE, TRUE);
}

/* ---- behind blocked workers ---- */

static _Atomic uint32_t gate;

static enum dgo_status block(void *data)
{
    (void)data;
    while (!atomic_load(&gate))
        dgo_sleep_on(&gate, 0, UINT64_MAX);
    return DGO_OK;
}

static enum dgo_status block_announced(void *data)
{
    enum dgo_status status;

    dgo_blocking_begin();
    status = block(data);
    dgo_blocking_end();
    return status;
}

static double behind(dgo_job_fn fn)
{
    const struct dgo_job blocker = {.fn = fn}, next = {.fn = urgent};
    const struct timespec settle = {0, 100 * 1000000};
    uint64_t begun_ns;
    double took_ns;

    atomic_store(&gate, 0);
    atomic_store(&finished, 0);
    for (int i = 0; i < WORKERS; i++)
        if (dgo_submit(&blocker, NULL, NULL) != DGO_OK)
            abort();
    nanosleep(&settle, NULL);
    begun_ns = dgo_monotonic_ns();
    if (dgo_submit(&next, NULL, NULL) != DGO_OK)
        abort();
    while (atomic_load(&finished) == 0)
        dgo_sleep_on(&finished, 0, UINT64_MAX);
    took_ns = latency_ns[0] - (double)begun_ns;
    atomic_store(&gate, 1);
    dgo_wake_up(&gate, INT32_MAX);
    dgo_resource_drain(DGO_FOREVER, NULL);
    return took_ns;
}

static void bench_blocked(uint32_t rounds)
{
    double plain[BENCH_ROUNDS_MAX], announced[BENCH_ROUNDS_MAX];

    for (uint32_t i = 0; i < rounds; i++) {
        plain[i] = behind(block);
        announced[i] = behind(block_announced);
    }
    bench_print_goal("job behind blocked workers", "ns", bench_median(plain, rounds), 50e6);
    bench_print_goal("job behind announced blocked workers", "ns", bench_median(announced, rounds),
                     1e6);
}

/* ---- the end, with a hundred thousand queued ---- */

static void bench_end_of_many(uint32_t rounds)
{
    enum { QUEUED = 100000 };
    const struct dgo_resource_config config = {.workers = WORKERS, .queue_limit = 1 << 17};
    const struct dgo_job job = {.fn = tiny, .lane = DGO_LANE_UI};
    double each[BENCH_ROUNDS_MAX];

    for (uint32_t round = 0; round < rounds; round++) {
        uint64_t begun_ns;

        for (int i = 0; i < QUEUED; i++)
            if (dgo_submit(&job, NULL, NULL) != DGO_OK)
                abort();
        begun_ns = dgo_monotonic_ns();
        if (dgo_resource_stop(0, NULL) != DGO_OK)
            abort();
        each[round] = (double)(dgo_monotonic_ns() - begun_ns);
        if (dgo_resource_start(&config, NULL) != DGO_OK)
            abort();
    }
    bench_print_goal("stop with 100 000 queued, each ended", "ns", bench_median(each, rounds),
                     50e6);
}

int main(int argc, char **argv)
{
    struct dgo_resource_config config = {.workers = WORKERS};
    const uint32_t rounds = bench_rounds(argc, argv);
    pthread_t workers[WORKERS];
    struct dgo_error err;
    int fd;

    if (dgo_resource_start(&config, &err) != DGO_OK) {
        fprintf(stderr, "%s\n", err.text);
        return 1;
    }
    plain_pool = g_thread_pool_new(tiny_glib, NULL, WORKERS, TRUE, NULL);
    sorted_pool = g_thread_pool_new(tiny_glib, NULL, WORKERS, TRUE, NULL);
    g_thread_pool_set_sort_function(sorted_pool, compare_levels, NULL);
    bench_ring_init(&ring, 4096);
    setenv("UV_THREADPOOL_SIZE", "2", 1);
    for (int i = 0; i < WORKERS; i++)
        pthread_create(&workers[i], NULL, ring_worker, NULL);
#ifdef PEER_TBB
    peer_tbb_start(WORKERS, tiny_of_peer);
#endif
#ifdef PEER_CK
    peer_ck_start(WORKERS, tiny_of_peer);
#endif
    bench_throughput(rounds);
    bench_idle(rounds);
#ifdef PEER_CK
    peer_ck_stop();
#endif
#ifdef PEER_TBB
    peer_tbb_stop();
#endif
    if (dgo_resource_stop(DGO_FOREVER, &err) != DGO_OK)
        return 1;
    config.queue_limit = 1 << 17;
    if (dgo_resource_start(&config, &err) != DGO_OK ||
        dgo_resource_ui_attach(&fd, &err) != DGO_OK) {
        fprintf(stderr, "%s\n", err.text);
        return 1;
    }
    bench_ring_close(&ring);
    for (int i = 0; i < WORKERS; i++)
        pthread_join(workers[i], NULL);
    g_thread_pool_free(sorted_pool, FALSE, TRUE);
    sorted_pool = g_thread_pool_new(slow_glib, NULL, WORKERS, TRUE, NULL);
    g_thread_pool_set_sort_function(sorted_pool, compare_levels, NULL);
    bench_sync(rounds);
    bench_latency();
    bench_latency_beside_engine();
    bench_backlog();
    bench_blocked(rounds);
    bench_end_of_many(rounds);
    bench_print_goal("memory of a queued job", "bytes", 32, 160);
    bench_print_goal("memory of a queued job with a future", "bytes", 128 + 32, 160);
    g_thread_pool_free(sorted_pool, FALSE, TRUE);
    g_thread_pool_free(plain_pool, FALSE, TRUE);
    return dgo_resource_stop(DGO_FOREVER, NULL) == DGO_OK ? 0 : 1;
}
