/* cpu_list.c - reads "0-15,32". */
#include "cpu_list.h"

#include <ctype.h>
#include <stdbool.h>
#include <stdlib.h>

enum { CPU_MAX = 1 << 20 }; /* no machine has more: the text is wrong */

/* strtoul would take signs and blanks. */
static bool read_cpu(const char **text, unsigned long *cpu)
{
    char *end;

    if (!isdigit((unsigned char)**text))
        return false;
    *cpu = strtoul(*text, &end, 10);
    *text = end;
    return *cpu < CPU_MAX;
}

static uint32_t no_list(cpu_set_t *cpus)
{
    if (cpus)
        CPU_ZERO(cpus);
    return 0;
}

uint32_t cpu_list_read(const char *list, cpu_set_t *cpus)
{
    uint32_t count = 0;

    if (cpus)
        CPU_ZERO(cpus);
    for (;; list++) {
        unsigned long first, last;

        if (!read_cpu(&list, &first))
            return no_list(cpus);
        last = first;
        if (*list == '-') {
            list++;
            if (!read_cpu(&list, &last) || last < first)
                return no_list(cpus);
        }
        count += (uint32_t)(last - first + 1);
        for (unsigned long cpu = first; cpus && cpu <= last && cpu < CPU_SETSIZE; cpu++)
            CPU_SET(cpu, cpus);
        if (*list == '\0' || *list == '\n')
            return count;
        if (*list != ',' || count > CPU_MAX)
            return no_list(cpus);
    }
}
