/* orphan_parent.c - starts the stand-in by the library, passes its lines on and waits to be killed.
 *
 * usage: orphan_parent STAND-IN [KEEP-SOCKET WAIT-MS LOG MODE ARGUMENT] */
#include "dgo_launch.h"

#include "dgo_units.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>

static void on_line(struct dgo_process *process, enum dgo_stream stream, const char *line,
                    size_t length, bool partial, void *data)
{
    (void)process;
    (void)stream;
    (void)length;
    (void)partial;
    (void)data;
    printf("%s\n", line);
    fflush(stdout);
}

int main(int argc, char **argv)
{
    static const char *const environment[] = {NULL};
    const bool kept = argc == 7;
    const char *const engine[] = {argc > 1 ? argv[1] : "", kept ? argv[5] : "family",
                                  kept ? argv[6] : "stay", NULL};
    struct dgo_process_options options = {
        .argv = engine, .environment = environment, .line = on_line};
    struct dgo_process *process;
    struct dgo_error err = {0};
    sd_event *loop;

    if (kept)
        options.keep = (struct dgo_process_keep){
            .path = argv[2],
            .wait_ns = strtoull(argv[3], NULL, 10) * DGO_NS_PER_MS,
            .log_fd = open(argv[4], O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600)};
    if (sd_event_new(&loop) < 0 || dgo_process_start(loop, &options, &process, &err) != DGO_OK) {
        fprintf(stderr, "orphan_parent: %s\n", err.text);
        return 1;
    }
    (void)sd_event_loop(loop);
    return 0;
}
