/* loop.h - what the launch tests share: turns of a loop until a condition holds, and an engine's
 * life as a record. */
#ifndef LOOP_H
#define LOOP_H

#include "check.h"
#include "dgo_clock.h"
#include "dgo_launch.h"
#include "dgo_text.h"
#include "dgo_units.h"

#include <signal.h>
#include <unistd.h>

/* Generous: it only ends a test that has failed already. */
enum { LOOP_DEADLINE_S = 60 };

/* Turns the loop until *done; fails the test at the deadline. */
static inline void loop_until(sd_event *loop, const bool *done)
{
    const struct dgo_clock *clock = dgo_clock_system();
    const uint64_t end_ns = dgo_clock_monotonic_ns(clock) + LOOP_DEADLINE_S * DGO_NS_PER_S;

    while (!*done) {
        if (dgo_clock_monotonic_ns(clock) > end_ns)
            fail_msg("the loop went on for %d s without what was waited for", LOOP_DEADLINE_S);
        if (sd_event_run(loop, 100 * 1000) < 0)
            fail_msg("sd_event_run failed");
    }
}

static inline const char *stand_in_path(void)
{
    const char *path = getenv("DGO_STAND_IN");

    if (!path)
        fail_msg("DGO_STAND_IN names the stand-in engine; run this by meson test");
    return path;
}

/* What one engine did. */
struct life {
    sd_event *loop;
    struct dgo_process *process;
    uint64_t line_count, out_count, byte_count;
    char text[65536]; /* lines as they came, "o " or "e " before, "+" after a partial one */
    struct dgo_text log;
    bool exited;
    struct dgo_exit exit;
    bool free_inside;  /* the process is freed in `exited` */
    const char *await; /* a line that sets `seen` */
    bool seen;
};

static inline void life_line(struct dgo_process *process, enum dgo_stream stream, const char *line,
                             size_t length, bool partial, void *data)
{
    struct life *life = data;

    assert_ptr_equal(process, life->process);
    assert_false(life->exited);
    assert_true(length <= DGO_LINE_MAX);
    assert_int_equal(line[length], 0);
    life->line_count++;
    life->out_count += stream == DGO_STREAM_OUT;
    life->byte_count += length;
    dgo_text_add(&life->log, stream == DGO_STREAM_OUT ? "o " : "e ");
    dgo_text_add_bytes(&life->log, line, length);
    dgo_text_add(&life->log, partial ? "+\n" : "\n");
    if (life->await && !strcmp(line, life->await))
        life->seen = true;
}

static inline void life_exited(struct dgo_process *process, const struct dgo_exit *result,
                               void *data)
{
    struct life *life = data;

    assert_false(life->exited); /* exactly once */
    assert_false(dgo_process_running(process));
    life->exited = true;
    life->exit = *result;
    if (life->free_inside) {
        dgo_process_free(process);
        life->process = NULL;
    }
}

static inline void life_init(struct life *life)
{
    memset(life, 0, sizeof *life);
    life->log = (struct dgo_text){.data = life->text, .size = sizeof life->text};
    assert_true(sd_event_new(&life->loop) >= 0);
}

/* Starts the stand-in with the words of `mode`, which are separated by single spaces. */
static inline void life_start(struct life *life, const char *mode, uint64_t term_wait_ns)
{
    static const char *const environment[] = {"ONLY=this", NULL};
    const char *argv[8] = {stand_in_path()};
    char words[128];
    char *rest = words;
    size_t count = 1;
    struct dgo_error err = {0};

    assert_true(dgo_text_copy(words, sizeof words, mode));
    for (char *word = strtok_r(rest, " ", &rest); word; word = strtok_r(NULL, " ", &rest))
        argv[count++] = word;
    argv[count] = NULL;

    const struct dgo_process_options options = {
        .argv = argv,
        .environment = environment,
        .directory = "/",
        .term_wait_ns = term_wait_ns,
        .line = life_line,
        .exited = life_exited,
        .data = life,
    };

    if (dgo_process_start(life->loop, &options, &life->process, &err) != DGO_OK)
        fail_msg("%s", err.text);
    assert_true(dgo_process_pid(life->process) > 0);
}

static inline void life_done(struct life *life)
{
    dgo_process_free(life->process);
    sd_event_unref(life->loop);
}

#endif
