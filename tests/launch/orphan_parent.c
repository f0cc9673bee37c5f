/* orphan_parent.c - starts the stand-in's family by the library, passes its lines on and waits to
 * be killed. */
#include "dgo_launch.h"

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
    const char *const engine[] = {argc > 1 ? argv[1] : "", "family", "stay", NULL};
    const struct dgo_process_options options = {
        .argv = engine, .environment = environment, .line = on_line};
    struct dgo_process *process;
    struct dgo_error err = {0};
    sd_event *loop;

    if (sd_event_new(&loop) < 0 || dgo_process_start(loop, &options, &process, &err) != DGO_OK) {
        fprintf(stderr, "orphan_parent: %s\n", err.text);
        return 1;
    }
    (void)sd_event_loop(loop);
    return 0;
}
