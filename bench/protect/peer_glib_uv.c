/* peer_glib_uv.c - GThreadPool and libuv's queue with what they do unless told otherwise. */
#include "peers.h"

#include <glib.h>
#include <stdlib.h>
#include <time.h>
#include <uv.h>

static peer_job_fn run;
static peer_more_fn wants_more;

static void glib_job(gpointer item, gpointer pool)
{
    run();
    if (wants_more())
        g_thread_pool_push(*(GThreadPool **)pool, item, NULL);
}

void peer_load_glib(int in_flight, peer_job_fn job, peer_more_fn more)
{
    const struct timespec moment = {0, 10000000};
    static GThreadPool *pool;

    run = job;
    wants_more = more;
    pool = g_thread_pool_new(glib_job, &pool, (gint)g_get_num_processors(), FALSE, NULL);
    for (int i = 0; i < in_flight; i++)
        g_thread_pool_push(pool, GINT_TO_POINTER(1), NULL);
    while (more())
        nanosleep(&moment, NULL);
    g_thread_pool_free(pool, FALSE, TRUE);
}

static void uv_job(uv_work_t *work)
{
    (void)work;
    run();
}

static void uv_again(uv_work_t *work, int status)
{
    if (status == 0 && wants_more())
        uv_queue_work(work->loop, work, uv_job, uv_again);
}

void peer_load_uv(int in_flight, peer_job_fn job, peer_more_fn more)
{
    uv_work_t *work = calloc((size_t)in_flight, sizeof *work);

    if (!work)
        abort();
    run = job;
    wants_more = more;
    for (int i = 0; i < in_flight; i++)
        uv_queue_work(uv_default_loop(), &work[i], uv_job, uv_again);
    uv_run(uv_default_loop(), UV_RUN_DEFAULT);
    free(work);
}
