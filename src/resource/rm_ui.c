/* rm_ui.c - the lane of the face's own thread: a descriptor that is readable while jobs wait. */
#include "rm.h"

#include "dgo_units.h"

#include <errno.h>
#include <unistd.h>

static void make_readable(void)
{
    const uint64_t one = 1;
    const int fd = atomic_load(&rm.ui_fd) - 1;

    /* Nothing to do when it fails: the counter is full, so it is readable. */
    if (fd >= 0 && write(fd, &one, sizeof one) < 0)
        return;
}

void rm_ui_signal(void)
{
    if (!atomic_exchange(&rm.ui_signalled, 1))
        make_readable();
}

enum dgo_status dgo_resource_ui_attach(int *fd, struct dgo_error *err)
{
    if (atomic_load(&rm.ui_fd) == 0) {
        const int made = rm_sys_eventfd();

        if (made < 0)
            return dgo_fail_errno(err, DGO_EIO, errno, "no descriptor for the UI lane");
        atomic_store(&rm.ui_fd, made + 1);
        if (atomic_load(&rm.ui_signalled) || atomic_load(&rm.stop_requested))
            make_readable(); /* jobs, or the request, were there before the thread */
    }
    rm_thread()->is_ui = true;
    *fd = atomic_load(&rm.ui_fd) - 1;
    return DGO_OK;
}

int dgo_resource_ui_fd(void)
{
    return atomic_load(&rm.ui_fd) - 1;
}

void dgo_resource_request_stop(void)
{
    atomic_store(&rm.stop_requested, true);
    make_readable();
}

enum dgo_status dgo_resource_ui_drain(uint64_t budget_ns, uint32_t *ran, struct dgo_error *err)
{
    struct rm_thread *self = rm_thread();
    struct rm_lane *lane = &rm.lane[DGO_LANE_UI];
    const int fd = atomic_load(&rm.ui_fd) - 1;
    const uint64_t until_ns = rm_time_after(dgo_monotonic_ns(), budget_ns);
    struct rm_entry entry;
    uint64_t counter;
    uint32_t count = 0, epoch;

    if (ran)
        *ran = 0;
    if (!self->is_ui)
        return dgo_fail(err, DGO_ESTATE, "this is not the UI thread: attach it first");
    if (fd >= 0 && read(fd, &counter, sizeof counter) < 0 && errno != EAGAIN)
        return dgo_fail_errno(err, DGO_EIO, errno, "the descriptor of the UI lane");
    atomic_store(&rm.ui_signalled, 0); /* from here on a push signals again */
    epoch = rm_outside_begin();
    while (atomic_load(&rm.phase) != RM_OFF && rm_lane_has_work(lane)) {
        if (rm_lane_take(lane, &entry, 1) == 1 && rm_run_entry(self, &entry))
            count++;
        if (dgo_monotonic_ns() >= until_ns)
            break;
    }
    rm_outside_end(epoch);
    if (rm_lane_has_work(lane))
        rm_ui_signal();
    if (ran)
        *ran = count;
    if (atomic_load(&rm.stop_requested))
        return dgo_fail(err, DGO_ECANCELLED, "the program was asked to stop");
    return DGO_OK;
}
