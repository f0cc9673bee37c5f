/* rm_sys.c - the few system calls of the resource manager. */
#include "rm_sys.h"

#include "dgo_units.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <linux/membarrier.h>
#include <sched.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

uint64_t dgo_monotonic_ns(void)
{
    struct timespec now = {0};

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * DGO_NS_PER_S + (uint64_t)now.tv_nsec;
}

bool dgo_sleep_on(_Atomic uint32_t *word, uint32_t value, uint64_t until_ns)
{
    struct timespec until;

    if (until_ns == UINT64_MAX) {
        syscall(SYS_futex, word, FUTEX_WAIT_BITSET_PRIVATE, value, NULL, NULL,
                FUTEX_BITSET_MATCH_ANY);
        return true;
    }
    until.tv_sec = (time_t)(until_ns / DGO_NS_PER_S);
    until.tv_nsec = (long)(until_ns % DGO_NS_PER_S);
    return syscall(SYS_futex, word, FUTEX_WAIT_BITSET_PRIVATE, value, &until, NULL,
                   FUTEX_BITSET_MATCH_ANY) == 0 ||
           errno != ETIMEDOUT;
}

void dgo_wake_up(_Atomic uint32_t *word, int count)
{
    syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, count, NULL, NULL, 0);
}

int rm_sys_thread(pthread_t *thread, void *(*main)(void *), void *arg)
{
    sigset_t all, before;
    int failure;

    /* Signals are the program's business; its own threads take them. */
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, &before);
    failure = pthread_create(thread, NULL, main, arg);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return failure;
}

void rm_sys_thread_name(const char *name)
{
    prctl(PR_SET_NAME, name);
}

void rm_sys_precise_timers(void)
{
    prctl(PR_SET_TIMERSLACK, 1000UL);
}

bool rm_sys_membarrier_register(void)
{
    return syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0, 0) == 0;
}

bool rm_sys_membarrier(void)
{
    return syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0) == 0;
}

uint64_t rm_sys_thread_cpu_ns(void)
{
    struct timespec now;

    return clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now) == 0
               ? (uint64_t)now.tv_sec * DGO_NS_PER_S + (uint64_t)now.tv_nsec
               : 0;
}

int32_t rm_sys_thread_id(void)
{
    return (int32_t)syscall(SYS_gettid);
}

/* Not in this libc's headers: <linux/sched/types.h>, first version. */
struct sched_attributes {
    uint32_t size, policy;
    uint64_t flags;
    int32_t nice;
    uint32_t priority;
    uint64_t runtime_ns, deadline_ns, period_ns;
};

const char *rm_sys_be_express(void)
{
    /* Kernels with EEVDF (6.12 on) take a slice for ordinary threads: a short one is scheduled
     * sooner.  Older ones ignore or refuse it, which changes nothing. */
    const struct sched_attributes short_slice = {
        .size = sizeof short_slice, .policy = SCHED_OTHER, .runtime_ns = 100 * DGO_NS_PER_US};
    struct sched_attributes got = {.size = sizeof got};

    if (syscall(SYS_sched_setattr, 0, &short_slice, 0) != 0)
        return "SCHED_OTHER";
    if (syscall(SYS_sched_getattr, 0, &got, sizeof got, 0) == 0 &&
        got.runtime_ns == short_slice.runtime_ns)
        return "SCHED_OTHER, slice 100 us";
    return "SCHED_OTHER";
}

const char *rm_sys_be_idle(void)
{
    const struct sched_param none = {0};

    if (sched_setscheduler(0, SCHED_IDLE, &none) == 0)
        return "SCHED_IDLE";
    if (sched_setscheduler(0, SCHED_BATCH, &none) == 0 && setpriority(PRIO_PROCESS, 0, 19) == 0)
        return "SCHED_BATCH, nice 19";
    return "SCHED_OTHER";
}

void *rm_sys_map(size_t bytes)
{
    void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    return memory == MAP_FAILED ? NULL : memory;
}

int rm_sys_eventfd(void)
{
    return eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
}

long rm_sys_read_file(const char *path, char *text, size_t size)
{
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t length = -1;
    size_t used = 0;

    if (fd < 0)
        return -1;
    while (used + 1 < size) {
        length = read(fd, text + used, size - 1 - used);
        if (length < 0 && errno == EINTR)
            continue;
        if (length <= 0)
            break;
        used += (size_t)length;
    }
    close(fd);
    if (length < 0)
        return -1;
    text[used] = '\0';
    return (long)used;
}
