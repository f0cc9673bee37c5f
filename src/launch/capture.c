/* capture.c - runs a program to its end and keeps what it says of itself. */
#include "spawn.h"

#include "dgo_clock.h"
#include "dgo_text.h"
#include "dgo_units.h"

#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

/* After SIGKILL: what is stuck in a driver is left to its guard. */
enum { KILL_WAIT_MS = 5000 };

struct output {
    char *data;
    size_t size, length;
};

/* What does not fit is read and dropped, so that the program can end by itself. */
static void output_add(struct output *output, const char *bytes, size_t length)
{
    for (size_t i = 0; i < length && output->length + 1 < output->size; i++)
        output->data[output->length++] = bytes[i] ? bytes[i] : ' ';
}

static int left_ms(uint64_t deadline_ns)
{
    const uint64_t now_ns = dgo_clock_monotonic_ns(dgo_clock_system());

    if (now_ns >= deadline_ns)
        return 0;
    return (int)dgo_min_u64((deadline_ns - now_ns + DGO_NS_PER_MS - 1) / DGO_NS_PER_MS, INT_MAX);
}

/* False: the pipe has ended. */
static bool read_some(int fd, struct output *output)
{
    char bytes[4096];
    const ssize_t got = read(fd, bytes, sizeof bytes);

    if (got > 0)
        output_add(output, bytes, (size_t)got);
    return got > 0 || (got < 0 && (errno == EAGAIN || errno == EINTR));
}

/* Reads until both pipes have ended; false when the deadline came first. */
static bool read_to_end(const struct spawned *child, uint64_t deadline_ns, struct output *outputs)
{
    struct pollfd wait[] = {{.fd = child->out_fd, .events = POLLIN},
                            {.fd = child->err_fd, .events = POLLIN}};

    while (wait[0].fd >= 0 || wait[1].fd >= 0) {
        const int wait_ms = left_ms(deadline_ns);

        if (wait_ms == 0)
            return false;
        if (poll(wait, 2, wait_ms) <= 0)
            continue;
        for (size_t i = 0; i < 2; i++)
            if (wait[i].revents && !read_some(wait[i].fd, &outputs[i]))
                wait[i].fd = -1; /* poll passes over it */
    }
    return true;
}

static enum dgo_status judge(const char *program, const struct guard_end *end,
                             const struct output *output, int *exit_code, struct dgo_error *err)
{
    const int number = end->code ? end->status : SIGKILL; /* 0: it died with its guard */
    char said[160];

    if (end->code == CLD_EXITED) {
        *exit_code = end->status;
        return DGO_OK;
    }
    (void)dgo_text_copy_escaped(said, sizeof said, output->data, output->length);
    return dgo_fail(err, DGO_ECHILD, "\"%s\" was ended by signal %d (%s)%s%s", program, number,
                    strsignal(number), output->length ? "; it had written: " : "", said);
}

enum dgo_status dgo_process_capture(const char *const *argv, const char *const *environment,
                                    uint64_t timeout_ns, char *output, size_t output_size,
                                    int *exit_code, struct dgo_error *err)
{
    const struct dgo_capture_options options = {
        .argv = argv, .environment = environment, .timeout_ns = timeout_ns};

    return dgo_process_capture_limited(&options, output, output_size, exit_code, err);
}

enum dgo_status dgo_process_capture_limited(const struct dgo_capture_options *options, char *output,
                                            size_t output_size, int *exit_code,
                                            struct dgo_error *err)
{
    const struct spawn_request request = {.argv = options->argv,
                                          .environment = options->environment,
                                          .joined = !options->errors,
                                          .nice = options->nice,
                                          .core_count = options->core_count};
    const uint64_t start_ns = dgo_clock_monotonic_ns(dgo_clock_system());
    const uint64_t deadline_ns = start_ns + dgo_min_u64(options->timeout_ns, UINT64_MAX - start_ns);
    struct output kept[] = {{.data = output, .size = output_size},
                            {.data = options->errors, .size = options->errors_size}};
    struct spawned child;

    assert(output_size > 0 && (!options->errors || options->errors_size > 0));

    enum dgo_status status = spawn(&request, &child, err);

    if (status != DGO_OK)
        return status;
    /* A program may close its streams and go on: the second wait is part of the same time. */
    if (!read_to_end(&child, deadline_ns, kept) || !spawn_wait_gone(&child, left_ms(deadline_ns))) {
        char text[DGO_UNIT_TEXT_MAX];

        status = dgo_fail(err, DGO_ETIMEOUT, "\"%s\" did not end within %s and was killed",
                          options->argv[0], dgo_duration_text(options->timeout_ns, text));
        spawn_kill(&child);
        (void)spawn_wait_gone(&child, KILL_WAIT_MS);
    } else {
        status =
            judge(options->argv[0], &child.end, &kept[options->errors ? 1 : 0], exit_code, err);
    }
    spawn_close(&child);
    for (size_t i = 0; i < 2 && kept[i].data; i++)
        kept[i].data[status == DGO_OK ? kept[i].length : 0] = '\0';
    return status;
}
