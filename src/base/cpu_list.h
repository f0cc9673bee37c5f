/* cpu_list.h - the kernel's lists of CPUs: "0-15,32", as sysfs and /proc write them. */
#ifndef CPU_LIST_H
#define CPU_LIST_H

#include <sched.h>
#include <stdint.h>

/* How many CPUs the first line of `list` names, one named twice counted twice; 0 for other text
 * than a list.  `cpus` (may be NULL) becomes those below CPU_SETSIZE. */
uint32_t cpu_list_read(const char *list, cpu_set_t *cpus);

#endif
