/* faults.c - see faults.h. */
#include "faults.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>

static struct {
    _Atomic uint32_t passed, failing, met;
} orders[FAULT_COUNT];

void fault_order(enum fault fault, uint32_t passed, uint32_t failing)
{
    atomic_store(&orders[fault].met, 0);
    atomic_store(&orders[fault].passed, passed);
    atomic_store(&orders[fault].failing, failing);
}

void faults_forget(void)
{
    for (int i = 0; i < FAULT_COUNT; i++)
        atomic_store(&orders[i].failing, 0);
}

uint32_t faults_met(enum fault fault)
{
    return atomic_load(&orders[fault].met);
}

static bool take_one(_Atomic uint32_t *left)
{
    uint32_t now = atomic_load(left);

    while (now > 0)
        if (atomic_compare_exchange_weak(left, &now, now - 1))
            return true;
    return false;
}

static bool is_due(enum fault fault, int error)
{
    if (atomic_load(&orders[fault].failing) == 0 || take_one(&orders[fault].passed) ||
        !take_one(&orders[fault].failing))
        return false;
    atomic_fetch_add(&orders[fault].met, 1);
    errno = error;
    return true;
}

/* NOLINTBEGIN: the names are the linker's */
int __real_pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*main)(void *),
                          void *arg);
int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*main)(void *),
                          void *arg);
void *__real_malloc(size_t size);
void *__wrap_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__real_realloc(void *memory, size_t size);
void *__wrap_realloc(void *memory, size_t size);
void *__real_aligned_alloc(size_t alignment, size_t size);
void *__wrap_aligned_alloc(size_t alignment, size_t size);
void *__real_mmap64(void *at, size_t size, int protection, int flags, int fd, off_t offset);
void *__wrap_mmap64(void *at, size_t size, int protection, int flags, int fd, off_t offset);
long __real_syscall(long number, ...);
long __wrap_syscall(long number, ...);
int __real_sched_setscheduler(pid_t pid, int policy, const struct sched_param *param);
int __wrap_sched_setscheduler(pid_t pid, int policy, const struct sched_param *param);
int __real_setpriority(int which, id_t who, int priority);
int __wrap_setpriority(int which, id_t who, int priority);
int __real_open64(const char *path, int flags, ...);
int __wrap_open64(const char *path, int flags, ...);
DIR *__real_opendir(const char *path);
DIR *__wrap_opendir(const char *path);
int __real_eventfd(unsigned count, int flags);
int __wrap_eventfd(unsigned count, int flags);

int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*main)(void *),
                          void *arg)
{
    return is_due(FAULT_THREAD, EAGAIN) ? EAGAIN : __real_pthread_create(thread, attr, main, arg);
}

void *__wrap_malloc(size_t size)
{
    return is_due(FAULT_MEMORY, ENOMEM) ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t count, size_t size)
{
    return is_due(FAULT_MEMORY, ENOMEM) ? NULL : __real_calloc(count, size);
}

void *__wrap_realloc(void *memory, size_t size)
{
    return is_due(FAULT_MEMORY, ENOMEM) ? NULL : __real_realloc(memory, size);
}

void *__wrap_aligned_alloc(size_t alignment, size_t size)
{
    return is_due(FAULT_MEMORY, ENOMEM) ? NULL : __real_aligned_alloc(alignment, size);
}

void *__wrap_mmap64(void *at, size_t size, int protection, int flags, int fd, off_t offset)
{
    return is_due(FAULT_MEMORY, ENOMEM) ? MAP_FAILED
                                        : __real_mmap64(at, size, protection, flags, fd, offset);
}

long __wrap_syscall(long number, ...)
{
    long argument[6];
    va_list list;

    va_start(list, number);
    for (int i = 0; i < 6; i++)
        argument[i] = va_arg(list, long);
    va_end(list);
    if (number == SYS_sched_setattr && is_due(FAULT_SCHED, EPERM))
        return -1;
    return __real_syscall(number, argument[0], argument[1], argument[2], argument[3], argument[4],
                          argument[5]);
}

int __wrap_sched_setscheduler(pid_t pid, int policy, const struct sched_param *param)
{
    return is_due(FAULT_SCHED, EPERM) ? -1 : __real_sched_setscheduler(pid, policy, param);
}

int __wrap_setpriority(int which, id_t who, int priority)
{
    return is_due(FAULT_SCHED, EPERM) ? -1 : __real_setpriority(which, who, priority);
}

int __wrap_open64(const char *path, int flags, ...)
{
    mode_t mode = 0;
    va_list list;

    if (flags & O_CREAT) {
        va_start(list, flags);
        mode = va_arg(list, mode_t);
        va_end(list);
    }
    return is_due(FAULT_OPEN, EMFILE) ? -1 : __real_open64(path, flags, mode);
}

DIR *__wrap_opendir(const char *path)
{
    return is_due(FAULT_OPEN, EMFILE) ? NULL : __real_opendir(path);
}

int __wrap_eventfd(unsigned count, int flags)
{
    return is_due(FAULT_EVENTFD, EMFILE) ? -1 : __real_eventfd(count, flags);
}

/* Where the library has one name for both. */
void *__wrap_mmap(void *at, size_t size, int protection, int flags, int fd, off_t offset)
    __attribute__((alias("__wrap_mmap64")));
int __wrap_open(const char *path, int flags, ...) __attribute__((alias("__wrap_open64")));
/* NOLINTEND */
