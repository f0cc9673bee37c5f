/* faults.h - system calls and allocations of the code under test that fail when a test says so.
 *
 * The linker sends the calls of the code under test here (--wrap, tests/bus/meson.build);
 * those of the C library are its own.  Nothing in the product knows. */
#ifndef FAULTS_H
#define FAULTS_H

#include <stdint.h>

enum fault {
    FAULT_THREAD, /* pthread_create: EAGAIN */
    FAULT_MEMORY, /* malloc, calloc, realloc, aligned_alloc, mmap: ENOMEM */
    FAULT_SCHED,  /* sched_setattr, sched_setscheduler, setpriority: EPERM */
    FAULT_OPEN,   /* open, opendir: EMFILE */
    FAULT_EVENTFD,
    FAULT_COUNT,
};

/* The next `passed` calls go through, the `failing` after them fail. */
void fault_order(enum fault fault, uint32_t passed, uint32_t failing);
void faults_forget(void);
uint32_t faults_met(enum fault fault); /* calls that failed since it was ordered */

#endif
