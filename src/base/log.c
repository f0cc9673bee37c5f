/* log.c - one leveled log with one sink. */
#include "dgo_log.h"

#include "dgo_text.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

static const char *const names[] = {"error", "warn", "info", "debug"};

static void to_stderr(enum dgo_log_level level, const char *line, void *data)
{
    (void)level;
    (void)data;
    fprintf(stderr, "dualgpuopt: %s\n", line);
}

static _Atomic int current_level = DGO_LOG_WARN;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* guards the two below and the call */
static dgo_log_sink current_sink = to_stderr;
static void *current_data;

void dgo_log_set(enum dgo_log_level level, dgo_log_sink sink, void *data)
{
    pthread_mutex_lock(&lock);
    current_sink = sink ? sink : to_stderr;
    current_data = data;
    pthread_mutex_unlock(&lock);
    atomic_store(&current_level, (int)level);
}

bool dgo_log_wants(enum dgo_log_level level)
{
    return (int)level <= atomic_load_explicit(&current_level, memory_order_relaxed);
}

void dgo_log(enum dgo_log_level level, const char *fmt, ...)
{
    char raw[DGO_LOG_LINE_MAX];
    char line[DGO_LOG_LINE_MAX + 4];
    struct dgo_text text = {.data = line, .size = DGO_LOG_LINE_MAX};
    va_list args;
    int wanted;

    if (!dgo_log_wants(level))
        return;
    va_start(args, fmt);
    wanted = vsnprintf(raw, sizeof raw, fmt, args);
    va_end(args);
    if (wanted < 0)
        return;
    line[0] = '\0';
    dgo_text_add_escaped(&text, raw, strlen(raw));
    if (text.truncated || (size_t)wanted >= sizeof raw)
        memcpy(line + text.length, "...", 4);

    pthread_mutex_lock(&lock);
    current_sink(level, line, current_data);
    pthread_mutex_unlock(&lock);
}

const char *dgo_log_level_name(enum dgo_log_level level)
{
    return (unsigned)level <= DGO_LOG_DEBUG ? names[level] : "unknown";
}

enum dgo_status dgo_log_level_parse(const char *name, enum dgo_log_level *level,
                                    struct dgo_error *err)
{
    for (unsigned i = 0; i < sizeof names / sizeof names[0]; i++)
        if (strcmp(names[i], name) == 0) {
            *level = (enum dgo_log_level)i;
            return DGO_OK;
        }
    return dgo_fail(err, DGO_EINVAL, "'%.40s' is no log level (error, warn, info, debug)", name);
}
