/* usage.c - the shared books: a file lock for writers, one slot a process, dead slots dropped. */
#include "usage.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

struct slot {
    int64_t pid;          /* 0: free */
    uint64_t start_ticks; /* field 22 of /proc/PID/stat: tells a reused pid from the old one */
    uint64_t bytes[PRETEND_CARDS_MAX];
};

struct books {
    uint64_t total_bytes[PRETEND_CARDS_MAX]; /* first: the documented part of the file */
    struct slot slot[PRETEND_PROCESSES_MAX];
};

struct pretend_usage {
    int fd; /* -1: private books */
    struct books *books;
    pthread_mutex_t lock; /* a file lock does not keep the threads of one process apart */
};

struct pretend_usage *pretend_usage_open(const char *path, char *error, size_t error_size)
{
    struct pretend_usage *usage = calloc(1, sizeof(*usage));
    void *books = MAP_FAILED;

    if (!usage)
        goto failed;
    usage->fd = -1;
    if (path) {
        usage->fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
        if (usage->fd < 0 || ftruncate(usage->fd, sizeof(struct books)) != 0)
            goto failed;
        books = mmap(NULL, sizeof(struct books), PROT_READ | PROT_WRITE, MAP_SHARED, usage->fd, 0);
    } else {
        books = mmap(NULL, sizeof(struct books), PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    }
    if (books == MAP_FAILED)
        goto failed;
    usage->books = books;
    pthread_mutex_init(&usage->lock, NULL);
    return usage;
failed:
    snprintf(error, error_size, "the usage file %s cannot be used: %s", path ? path : "(memory)",
             strerror(errno));
    if (usage && usage->fd >= 0)
        close(usage->fd);
    free(usage);
    return NULL;
}

void pretend_usage_close(struct pretend_usage *usage)
{
    if (!usage)
        return;
    munmap(usage->books, sizeof(struct books));
    if (usage->fd >= 0)
        close(usage->fd);
    pthread_mutex_destroy(&usage->lock);
    free(usage);
}

/* When the process started, in clock ticks since boot; 0 when there is none.  A zombie counts as
 * gone: a driver frees its memory before anybody waits for it. */
static uint64_t start_ticks(int64_t pid)
{
    char path[48], text[1024];
    const char *after_name;
    unsigned long long ticks = 0;
    char state = 'X';
    ssize_t length;
    int fd;

    snprintf(path, sizeof(path), "/proc/%lld/stat", (long long)pid);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return 0;
    length = read(fd, text, sizeof(text) - 1);
    close(fd);
    text[length > 0 ? length : 0] = '\0';
    after_name = strrchr(text, ')'); /* a process may be called ") 1 2" */
    if (!after_name ||
        sscanf(after_name + 1,
               " %c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %*d %*d %llu",
               &state, &ticks) != 2)
        return 0;
    return state == 'Z' || state == 'X' ? 0 : ticks;
}

/* From the slots every time, so that a process killed halfway leaves no wrong total. */
static void sum_up(struct books *books)
{
    for (uint32_t card = 0; card < PRETEND_CARDS_MAX; card++) {
        uint64_t total = 0;
        for (uint32_t i = 0; i < PRETEND_PROCESSES_MAX; i++)
            total += books->slot[i].bytes[card];
        __atomic_store_n(&books->total_bytes[card], total, __ATOMIC_RELEASE);
    }
}

static void enter(struct pretend_usage *usage)
{
    pthread_mutex_lock(&usage->lock);
    if (usage->fd >= 0)
        while (flock(usage->fd, LOCK_EX) != 0 && errno == EINTR)
            ;
    for (uint32_t i = 0; i < PRETEND_PROCESSES_MAX; i++) {
        struct slot *slot = &usage->books->slot[i];
        if (!slot->pid || start_ticks(slot->pid) != slot->start_ticks)
            memset(slot, 0, sizeof(*slot));
    }
    sum_up(usage->books);
}

static void leave(struct pretend_usage *usage)
{
    sum_up(usage->books);
    if (usage->fd >= 0)
        flock(usage->fd, LOCK_UN);
    pthread_mutex_unlock(&usage->lock);
}

/* This process' slot; a new one when there is none yet and `make`; NULL when there is none left. */
static struct slot *own_slot(struct books *books, bool make)
{
    const int64_t pid = getpid();
    struct slot *unused = NULL;

    for (uint32_t i = 0; i < PRETEND_PROCESSES_MAX; i++) {
        if (books->slot[i].pid == pid)
            return &books->slot[i];
        if (!books->slot[i].pid && !unused)
            unused = &books->slot[i];
    }
    if (!make || !unused)
        return NULL;
    unused->start_ticks = start_ticks(pid);
    unused->pid = pid;
    return unused;
}

bool pretend_usage_take(struct pretend_usage *usage, uint32_t card, uint64_t bytes,
                        uint64_t capacity_bytes, uint64_t limit_bytes)
{
    struct slot *slot;
    bool fits = false;

    enter(usage);
    slot = own_slot(usage->books, true);
    if (slot) {
        const uint64_t total = usage->books->total_bytes[card];
        fits = total <= capacity_bytes && bytes <= capacity_bytes - total &&
               slot->bytes[card] <= limit_bytes && bytes <= limit_bytes - slot->bytes[card];
        if (fits)
            slot->bytes[card] += bytes;
    }
    leave(usage);
    return fits;
}

void pretend_usage_give(struct pretend_usage *usage, uint32_t card, uint64_t bytes)
{
    struct slot *slot;

    enter(usage);
    slot = own_slot(usage->books, false);
    if (slot)
        slot->bytes[card] -= bytes < slot->bytes[card] ? bytes : slot->bytes[card];
    leave(usage);
}

uint64_t pretend_usage_total(struct pretend_usage *usage, uint32_t card)
{
    uint64_t total;

    enter(usage);
    total = usage->books->total_bytes[card];
    leave(usage);
    return total;
}

uint32_t pretend_usage_processes(struct pretend_usage *usage, uint32_t card,
                                 struct pretend_use uses[PRETEND_PROCESSES_MAX])
{
    uint32_t count = 0;

    enter(usage);
    for (uint32_t i = 0; i < PRETEND_PROCESSES_MAX; i++) {
        const struct slot *slot = &usage->books->slot[i];
        if (slot->pid && slot->bytes[card])
            uses[count++] =
                (struct pretend_use){.pid = (pid_t)slot->pid, .bytes = slot->bytes[card]};
    }
    leave(usage);
    return count;
}
