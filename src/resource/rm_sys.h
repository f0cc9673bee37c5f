/* rm_sys.h - the few system calls of the resource manager. */
#ifndef RM_SYS_H
#define RM_SYS_H

#include "dgo_base.h"
#include "dgo_lock.h"

#include <pthread.h>
#include <stdatomic.h>

/* A thread with all signals blocked and a name; an errno value or 0. */
int rm_sys_thread(pthread_t *thread, void *(*main)(void *), void *arg);
void rm_sys_thread_name(const char *name);
int32_t rm_sys_thread_id(void);
uint64_t rm_sys_thread_cpu_ns(void); /* of the calling thread */
void rm_sys_precise_timers(void);    /* short sleeps of this thread are not stretched */

/* A full barrier in every running thread of this process, at this thread's cost.  Asked for once,
 * at the start; false where the kernel has none. */
bool rm_sys_membarrier_register(void);
bool rm_sys_membarrier(void);

/* Scheduling of the calling thread; returns how it went, in words that live for ever. */
const char *rm_sys_be_express(void);
const char *rm_sys_be_idle(void);

/* Zeroed pages that cost nothing until they are touched; NULL when there are none. */
void *rm_sys_map(size_t bytes);
int rm_sys_eventfd(void); /* or -1 with errno */

/* Reads a small file, NUL-terminated, into text; returns its length or -1. */
long rm_sys_read_file(const char *path, char *text, size_t size);

#endif
