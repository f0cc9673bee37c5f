/* consumer.h - who the processes are that hold memory: role, owner, container, command; private to
 * gpu. */
#ifndef GPU_CONSUMER_H
#define GPU_CONSUMER_H

#include "driver.h"

enum { CONSUMER_MAX = 256 };

/* What was found out before, so that a process is asked once and not at each look. */
struct consumers {
    uint32_t count, next; /* next: replaced when full */
    struct dgo_gpu_process known[CONSUMER_MAX];
};

/* Fills in what the kernel tells about the processes of every card, below `root`.  With `again`
 * they are asked anew, for a pid may have become another process. */
void gpu_tell_consumers(struct consumers *consumers, const char *root, bool again,
                        struct dgo_machine *machine);

/* Exposed for tests: pure. */

/* A command line as /proc has it (arguments ended by NULs) to one line with secrets masked. */
void gpu_command_text(const char *bytes, size_t length, char *text, size_t size);
/* The container of a cgroup file's text: "docker 0123456789ab"; "" none. */
void gpu_container_name(const char *cgroup, char *text, size_t size);

#endif
