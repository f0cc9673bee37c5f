/* sampler.c - the thread that looks at the machine again and again, and the copy that others read.
 */
#include "dgo_sampler.h"

#include "near.h"

#include "dgo_text.h"
#include "dgo_units.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* How often each tier is read, at most; never more often than the interval. */
static const uint64_t period_ns[DGO_TIER_COUNT] = {
    [DGO_TIER_FAST] = 0,
    [DGO_TIER_PROCESSES] = 2 * DGO_NS_PER_S,
    [DGO_TIER_SLOW] = 10 * DGO_NS_PER_S,
    [DGO_TIER_RARE] = 60 * DGO_NS_PER_S,
};

enum {
    STALE_INTERVALS = 3,
    BACKOFF_INTERVALS_MAX = 30, /* between attempts to reach a driver that went away */
};

struct dgo_sampler {
    /* The thread's own, from the start on. */
    struct dgo_gpu_options gpu; /* its texts are ours */
    dgo_sample_fn on_sample;
    void *data;
    const struct dgo_clock *clock;
    struct dgo_gpu_source *source;
    uint32_t failures; /* in a row */
    bool asked;        /* somebody wants this look: nothing in it may be from before */
    struct dgo_sample work;

    pthread_t thread;
    pthread_mutex_t lock; /* guards what follows; never held in a driver call or a callback */
    pthread_cond_t changed;
    uint32_t refs; /* its owner and its thread; the last frees */
    bool stop, ended, calling, look_now;
    uint64_t interval_ns;
    struct dgo_sampler_counts counts;
    enum dgo_status status; /* of the last attempt */
    struct dgo_sample latest;
};

static void destroy(struct dgo_sampler *sampler)
{
    free((char *)sampler->gpu.machine_file);
    free((char *)sampler->gpu.nvml_library);
    free((char *)sampler->gpu.system_root);
    pthread_cond_destroy(&sampler->changed);
    pthread_mutex_destroy(&sampler->lock);
    free(sampler);
}

/* Gives up the caller's part; the lock is held and is released. */
static void unlock_and_drop(struct dgo_sampler *sampler)
{
    const bool last = --sampler->refs == 0;

    pthread_mutex_unlock(&sampler->lock);
    if (last)
        destroy(sampler);
}

/* ---- the thread ---------------------------------------------------------------------------- */

static struct timespec later(struct timespec at, uint64_t ns)
{
    const uint64_t sum = (uint64_t)at.tv_nsec + ns % DGO_NS_PER_S;

    at.tv_sec += (time_t)(ns / DGO_NS_PER_S + sum / DGO_NS_PER_S);
    at.tv_nsec = (long)(sum % DGO_NS_PER_S);
    return at;
}

/* Waits follow the machine's clock, whatever clock stamps the looks. */
static struct timespec in_ns(uint64_t ns)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return later(now, ns);
}

/* The tiers whose time has come; all of them at first and after a failure. */
static unsigned due_tiers(const struct dgo_sampler *sampler, uint64_t now_ns, uint64_t interval_ns)
{
    const struct dgo_sample *last = &sampler->work;
    unsigned tiers = 0;

    if (last->sequence == 0 || sampler->failures > 0 || sampler->asked)
        return DGO_TIERS_ALL;
    for (int tier = 0; tier < DGO_TIER_COUNT; tier++)
        /* Half an interval early is in time: looks never fall on the exact nanosecond. */
        if (now_ns - last->tier_ns[tier] + interval_ns / 2 >= period_ns[tier])
            tiers |= DGO_TIER_BIT(tier);
    return tiers;
}

static enum dgo_status look(struct dgo_sampler *sampler, uint64_t interval_ns,
                            struct dgo_error *err)
{
    struct dgo_sample *work = &sampler->work;
    const uint64_t start_ns = dgo_clock_monotonic_ns(sampler->clock);
    const unsigned tiers = due_tiers(sampler, start_ns, interval_ns);
    enum dgo_status status = DGO_OK;

    if (!sampler->source)
        status = dgo_gpu_open(&sampler->gpu, &sampler->source, err);
    if (status == DGO_OK)
        status = dgo_gpu_take_tiers(sampler->source, tiers, &work->machine, err);
    if (status != DGO_OK)
        return status;
    /* Readings of a card cross the machine from a far CPU, beside what the engine sends. */
    if (work->sequence++ == 0)
        (void)gpu_source_stay_near(sampler->source, &work->machine);
    work->monotonic_ns = dgo_clock_monotonic_ns(sampler->clock);
    work->wall_ns = dgo_clock_wall_ns(sampler->clock);
    work->took_ns = work->monotonic_ns - start_ns;
    for (int tier = 0; tier < DGO_TIER_COUNT; tier++)
        if (tiers & DGO_TIER_BIT(tier))
            work->tier_ns[tier] = work->monotonic_ns;
    return DGO_OK;
}

/* Age and staleness at `now_ns`; a look that failed makes what was read before it stale at once. */
static void stamp(struct dgo_sample *sample, uint64_t now_ns, uint64_t interval_ns)
{
    sample->age_ns = now_ns > sample->monotonic_ns ? now_ns - sample->monotonic_ns : 0;
    if (sample->sequence == 0)
        sample->age_ns = 0;
    sample->stale = sample->sequence == 0 || sample->problem[0] != '\0' ||
                    sample->age_ns > STALE_INTERVALS * interval_ns;
}

static void tell_stuck(struct dgo_sample *sample)
{
    char age[DGO_UNIT_TEXT_MAX];
    struct dgo_text text = DGO_TEXT(sample->problem);

    dgo_text_addf(&text, "the driver does not answer; what is shown is %s old",
                  dgo_duration_text(sample->age_ns, age));
}

static uint64_t since_ns(const struct timespec *start)
{
    const struct timespec now = in_ns(0);

    return (uint64_t)(now.tv_sec - start->tv_sec) * DGO_NS_PER_S + (uint64_t)now.tv_nsec -
           (uint64_t)start->tv_nsec;
}

/* A look has ended; the lock is held. */
static void count_look(struct dgo_sampler_counts *counts, bool failed, uint64_t took_ns,
                       uint64_t interval_ns)
{
    counts->looks++;
    counts->failures += failed;
    counts->skipped += took_ns / interval_ns;
    counts->stale += took_ns > STALE_INTERVALS * interval_ns;
    counts->last_ns = took_ns;
    counts->longest_ns = dgo_max_u64(counts->longest_ns, took_ns);
}

static void publish(struct dgo_sampler *sampler, enum dgo_status status, uint64_t took_ns,
                    uint64_t interval_ns, const struct dgo_error *err)
{
    struct dgo_sample *work = &sampler->work;
    bool call;

    work->problem[0] = '\0';
    if (status != DGO_OK)
        dgo_text_copy(work->problem, sizeof work->problem, err->text);
    sampler->failures = status == DGO_OK ? 0 : sampler->failures + 1;
    stamp(work, dgo_clock_monotonic_ns(sampler->clock), UINT64_MAX / STALE_INTERVALS);
    pthread_mutex_lock(&sampler->lock);
    sampler->status = status;
    count_look(&sampler->counts, status != DGO_OK, took_ns, interval_ns);
    memcpy(&sampler->latest, work, sizeof *work);
    call = sampler->on_sample && !sampler->stop;
    sampler->calling = call;
    pthread_cond_broadcast(&sampler->changed);
    pthread_mutex_unlock(&sampler->lock);
    if (!call)
        return;
    sampler->on_sample(work, sampler->data);
    pthread_mutex_lock(&sampler->lock);
    sampler->calling = false;
    pthread_cond_broadcast(&sampler->changed);
    pthread_mutex_unlock(&sampler->lock);
}

static uint64_t pause_ns(const struct dgo_sampler *sampler, uint64_t took_ns)
{
    const uint64_t interval_ns = sampler->interval_ns;
    uint64_t intervals = 1;

    for (uint32_t i = 1; i < sampler->failures && intervals < BACKOFF_INTERVALS_MAX; i++)
        intervals *= 2;
    if (intervals > BACKOFF_INTERVALS_MAX)
        intervals = BACKOFF_INTERVALS_MAX;
    if (intervals > 1)
        return intervals * interval_ns;
    /* A driver that is slow gets a rest of half an interval. */
    return took_ns < interval_ns / 2 ? interval_ns - took_ns : interval_ns / 2;
}

/* The lock is held. */
static void rest(struct dgo_sampler *sampler, uint64_t took_ns)
{
    const struct timespec start = in_ns(0);

    while (!sampler->stop && !sampler->look_now) {
        /* Computed anew each time: the interval may have changed while it slept. */
        const uint64_t rest_ns = pause_ns(sampler, took_ns);
        const struct timespec until = later(start, rest_ns);

        if (pthread_cond_timedwait(&sampler->changed, &sampler->lock, &until) != 0) {
            sampler->counts.late += since_ns(&start) >= rest_ns + sampler->interval_ns / 2;
            break;
        }
    }
    sampler->asked = sampler->look_now;
    sampler->look_now = false;
}

static void *run(void *arg)
{
    struct dgo_sampler *sampler = arg;

    pthread_mutex_lock(&sampler->lock);
    while (!sampler->stop) {
        const uint64_t interval_ns = sampler->interval_ns;
        const struct timespec start = in_ns(0);
        struct dgo_error err = {0};
        enum dgo_status status;

        pthread_mutex_unlock(&sampler->lock);
        status = look(sampler, interval_ns, &err);
        publish(sampler, status, since_ns(&start), interval_ns, &err);
        pthread_mutex_lock(&sampler->lock);
        rest(sampler, since_ns(&start));
    }
    pthread_mutex_unlock(&sampler->lock);
    dgo_gpu_close(sampler->source);
    pthread_mutex_lock(&sampler->lock);
    sampler->ended = true;
    pthread_cond_broadcast(&sampler->changed);
    unlock_and_drop(sampler);
    return NULL;
}

/* ---- for others ---------------------------------------------------------------------------- */

static bool own_text(const char *given, const char **own)
{
    *own = given ? strdup(given) : NULL;
    return !given || *own;
}

/* What was copied before a failure is freed by destroy. */
static bool own_options(const struct dgo_gpu_options *given, struct dgo_gpu_options *own)
{
    *own = *given;
    own->machine_file = own->nvml_library = own->system_root = NULL;
    return own_text(given->machine_file, &own->machine_file) &&
           own_text(given->nvml_library, &own->nvml_library) &&
           own_text(given->system_root, &own->system_root);
}

static void init_locks(struct dgo_sampler *sampler)
{
    pthread_condattr_t attr;

    pthread_mutex_init(&sampler->lock, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&sampler->changed, &attr);
    pthread_condattr_destroy(&attr);
}

/* Signals are the loop's: none is delivered here. */
static int create_thread(struct dgo_sampler *sampler)
{
    sigset_t all, before;
    int failure;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    failure = pthread_create(&sampler->thread, NULL, run, sampler);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return failure;
}

static uint64_t acceptable(uint64_t interval_ns)
{
    return dgo_max_u64(interval_ns ? interval_ns : DGO_SAMPLER_INTERVAL_NS,
                       DGO_SAMPLER_INTERVAL_MIN_NS);
}

enum dgo_status dgo_sampler_start(const struct dgo_sampler_options *options,
                                  struct dgo_sampler **sampler, struct dgo_error *err)
{
    struct dgo_sampler *made = calloc(1, sizeof *made);
    int failure;

    if (!made)
        return dgo_fail(err, DGO_ENOMEM, "out of memory");
    init_locks(made);
    made->refs = 2;
    made->on_sample = options->on_sample;
    made->data = options->data;
    made->clock = options->clock ? options->clock : dgo_clock_system();
    made->interval_ns = acceptable(options->interval_ns);
    made->latest.stale = true;
    if (!own_options(&options->gpu, &made->gpu)) {
        destroy(made);
        return dgo_fail(err, DGO_ENOMEM, "out of memory");
    }
    failure = create_thread(made);
    if (failure) {
        destroy(made);
        return dgo_fail_errno(err, DGO_ELIMIT, failure, "no thread can be had for the GPUs");
    }
    *sampler = made;
    return DGO_OK;
}

void dgo_sampler_latest(struct dgo_sampler *sampler, struct dgo_sample *sample)
{
    uint64_t interval_ns;

    pthread_mutex_lock(&sampler->lock);
    memcpy(sample, &sampler->latest, sizeof *sample);
    interval_ns = sampler->interval_ns;
    pthread_mutex_unlock(&sampler->lock);
    stamp(sample, dgo_clock_monotonic_ns(sampler->clock), interval_ns);
    if (sample->stale && sample->problem[0] == '\0' && sample->sequence > 0)
        tell_stuck(sample);
}

bool dgo_sampler_is_stale(struct dgo_sampler *sampler, uint64_t *age_ns, uint64_t *sequence)
{
    const uint64_t now_ns = dgo_clock_monotonic_ns(sampler->clock);
    struct dgo_sample *latest = &sampler->latest;
    bool stale;

    pthread_mutex_lock(&sampler->lock);
    stamp(latest, now_ns, sampler->interval_ns);
    stale = latest->stale;
    *age_ns = latest->age_ns;
    if (sequence)
        *sequence = latest->sequence;
    pthread_mutex_unlock(&sampler->lock);
    return stale;
}

void dgo_sampler_count(struct dgo_sampler *sampler, struct dgo_sampler_counts *counts)
{
    pthread_mutex_lock(&sampler->lock);
    *counts = sampler->counts;
    pthread_mutex_unlock(&sampler->lock);
}

enum dgo_status dgo_sampler_wait(struct dgo_sampler *sampler, uint64_t after, uint64_t timeout_ns,
                                 struct dgo_error *err)
{
    const struct timespec until = in_ns(timeout_ns);
    enum dgo_status status = DGO_OK;
    char age[DGO_UNIT_TEXT_MAX];

    pthread_mutex_lock(&sampler->lock);
    while (sampler->latest.sequence <= after && sampler->status == DGO_OK && status == DGO_OK)
        if (pthread_cond_timedwait(&sampler->changed, &sampler->lock, &until) != 0)
            status = DGO_ETIMEOUT;
    if (sampler->latest.sequence > after)
        status = DGO_OK;
    else if (sampler->status != DGO_OK)
        status = dgo_fail(err, sampler->status, "%s", sampler->latest.problem);
    else
        dgo_fail(err, status, "the driver did not answer within %s; 'dmesg' may tell why",
                 dgo_duration_text(timeout_ns, age));
    pthread_mutex_unlock(&sampler->lock);
    return status;
}

void dgo_sampler_set_interval(struct dgo_sampler *sampler, uint64_t interval_ns)
{
    pthread_mutex_lock(&sampler->lock);
    sampler->interval_ns = acceptable(interval_ns);
    pthread_cond_broadcast(&sampler->changed);
    pthread_mutex_unlock(&sampler->lock);
}

void dgo_sampler_look_now(struct dgo_sampler *sampler)
{
    pthread_mutex_lock(&sampler->lock);
    sampler->look_now = true;
    pthread_cond_broadcast(&sampler->changed);
    pthread_mutex_unlock(&sampler->lock);
}

bool dgo_sampler_stop(struct dgo_sampler *sampler, uint64_t patience_ns)
{
    const struct timespec until = in_ns(patience_ns);
    bool ended;
    pthread_t thread;

    if (!sampler)
        return true;
    thread = sampler->thread;
    pthread_mutex_lock(&sampler->lock);
    sampler->stop = true;
    pthread_cond_broadcast(&sampler->changed);
    while (!sampler->ended)
        if (pthread_cond_timedwait(&sampler->changed, &sampler->lock, &until) != 0)
            break;
    while (sampler->calling) /* a callback is ours and ends */
        pthread_cond_wait(&sampler->changed, &sampler->lock);
    ended = sampler->ended;
    unlock_and_drop(sampler);
    if (ended)
        pthread_join(thread, NULL);
    else
        pthread_detach(thread);
    return ended;
}
