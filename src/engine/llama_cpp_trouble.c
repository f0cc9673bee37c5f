/* llama_cpp_trouble.c - llama-server's complaints to one cause: what ran out, where, how much.
 *
 * One failure is told four or five times, from the allocator up to "exiting".  The first line that
 * tells a cause is kept; later ones only add what it lacked. */
#include "llama_cpp.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What a line is about, before anything is concluded from it. */
struct finding {
    enum dgo_trouble trouble;
    bool exact; /* the line says what the memory was for; else the phase has to tell */
    char device[32];
    uint64_t bytes;
};

struct pattern {
    const char *text;
    enum dgo_trouble trouble;
};

/* Failures that the engine lives with: it uses other memory, a smaller cache, or tries again. */
static const char *const harmless[] = {
    "of pinned memory",
    "prompt cache",
    "trying to fit params",
    "failed to fit params",
    "failed to find a memory slot",
    "failed to find free space in the KV cache",
};

/* The first that is found in the line decides: causes stand before their consequences. */
static const struct pattern exact_patterns[] = {
    {"failed to allocate buffer for kv cache", DGO_TROUBLE_OOM_CONTEXT},
    {"failed to allocate buffer for rs cache", DGO_TROUBLE_OOM_CONTEXT},
    {"failed to allocate buffer for DSV4", DGO_TROUBLE_OOM_CONTEXT},
    {"failed to allocate output buffer", DGO_TROUBLE_OOM_CONTEXT},
    {"failed to allocate compute", DGO_TROUBLE_OOM_COMPUTE},
    {"failed to reserve graph buffers", DGO_TROUBLE_OOM_COMPUTE},
    {"failed to allocate graph", DGO_TROUBLE_OOM_COMPUTE},
    {"error loading model: unable to allocate", DGO_TROUBLE_OOM_WEIGHTS},
};

/* Words of all backends for "no memory"; what it was for, the phase tells. */
static const char *const oom_words[] = {
    "out of memory",
    "out of device memory",
    "cudamalloc failed",
    "hipmalloc failed",
    "failed to allocate",
    "allocation failed",
    "not enough memory",
    "insufficient memory",
    "vk_error_out_of_device_memory",
    "erroroutofmemory",
    "unable to allocate",
    "erroroutofdevicememory",
    "memory allocation of size",
};

static const struct pattern other_patterns[] = {
    {"error while handling argument", DGO_TROUBLE_ARGUMENT},
    {"error while handling environment variable", DGO_TROUBLE_ARGUMENT},
    {"couldn't bind HTTP server socket", DGO_TROUBLE_PORT},
    {"couldn't start HTTP listener", DGO_TROUBLE_PORT},
    {"exiting due to HTTP server error", DGO_TROUBLE_PORT},
    {"no backends are loaded", DGO_TROUBLE_OTHER},
    {"error loading model", DGO_TROUBLE_MODEL},
    {"failed to initialize the context", DGO_TROUBLE_OTHER},
    {"failed to load model", DGO_TROUBLE_MODEL},
    {"failed to create context", DGO_TROUBLE_OTHER},
    {"exiting due to model loading error", DGO_TROUBLE_MODEL},
};

/* Written past the log by a process that is about to die. */
static const struct pattern last_words[] = {
    {"CUDA error", DGO_TROUBLE_OTHER},
    {"ROCm error", DGO_TROUBLE_OTHER},
    {"GGML_ASSERT(", DGO_TROUBLE_OTHER},
    {"terminate called", DGO_TROUBLE_OTHER},
};

#define ROWS(table) (sizeof(table) / sizeof(table)[0])

static enum dgo_trouble look_up(const struct pattern *rows, size_t count, const char *message)
{
    for (size_t i = 0; i < count; i++)
        if (strstr(message, rows[i].text))
            return rows[i].trouble;
    return DGO_TROUBLE_NONE;
}

static bool holds_any(const char *const *words, size_t count, const char *message)
{
    for (size_t i = 0; i < count; i++)
        if (strcasestr(message, words[i]))
            return true;
    return false;
}

static enum dgo_trouble oom_of_phase(uint8_t phase)
{
    static const enum dgo_trouble troubles[] = {
        [LLAMA_PHASE_START] = DGO_TROUBLE_OOM_WEIGHTS,
        [LLAMA_PHASE_WEIGHTS] = DGO_TROUBLE_OOM_WEIGHTS,
        [LLAMA_PHASE_CONTEXT] = DGO_TROUBLE_OOM_CONTEXT,
        [LLAMA_PHASE_COMPUTE] = DGO_TROUBLE_OOM_COMPUTE,
        [LLAMA_PHASE_SERVING] = DGO_TROUBLE_OOM_RUNTIME,
    };

    return phase < ROWS(troubles) ? troubles[phase] : DGO_TROUBLE_OOM_RUNTIME;
}

/* CUDA and ROCm speak of "device 1" where the books say CUDA1 or ROCm1. */
static void name_numbered(const struct dgo_report *report, unsigned long number, char name[32])
{
    for (uint32_t d = 0; d < report->device_count; d++) {
        const char *candidate = report->device[d].name;
        const size_t letters = strcspn(candidate, "0123456789");

        if (!report->device[d].is_host && candidate[letters] && strncmp(candidate, "RPC", 3) != 0 &&
            strtoul(candidate + letters, NULL, 10) == number) {
            dgo_text_copy(name, sizeof report->device[d].name, candidate);
            return;
        }
    }
    snprintf(name, 32, "CUDA%lu", number);
}

/* "failed to allocate CUDA1 buffer of size 536870912", "unable to allocate CUDA1 buffer" */
static void find_named_buffer(const char *message, struct finding *finding)
{
    static const char start[] = "to allocate ";
    const char *name = strstr(message, start);
    size_t length;

    if (!name)
        return;
    name += sizeof start - 1;
    length = strcspn(name, " ");
    /* "failed to allocate buffer of size N" names nothing */
    if (strncmp(name + length, " buffer", 7) == 0 && length < sizeof finding->device)
        dgo_text_copy_escaped(finding->device, sizeof finding->device, name, length);
}

static void find_size(const char *message, struct finding *finding)
{
    static const char *const starts[] = {"buffer of size ", "allocation of size ", "allocating "};

    for (size_t i = 0; i < ROWS(starts); i++) {
        const char *figure = strstr(message, starts[i]);
        char *end;
        double value;

        if (!figure)
            continue;
        figure += strlen(starts[i]);
        if (*figure < '0' || *figure > '9')
            continue;
        value = strtod(figure, &end);
        if (strncmp(end, " MiB", 4) == 0)
            value *= 1048576.0;
        if (value < 9e18)
            finding->bytes = (uint64_t)(value + 0.5);
        return;
    }
}

static void find_numbered(const struct dgo_report *report, const char *message,
                          struct finding *finding)
{
    static const char start[] = " on device ";
    const char *number = strstr(message, start);

    if (!number)
        return;
    number += sizeof start - 1;
    if (*number >= '0' && *number <= '9')
        name_numbered(report, strtoul(number, NULL, 10), finding->device);
}

static struct finding classify(const struct dgo_report *report, const char *source,
                               const char *message)
{
    struct finding found = {.exact = true};

    found.trouble = look_up(exact_patterns, ROWS(exact_patterns), message);
    if (found.trouble == DGO_TROUBLE_NONE && holds_any(oom_words, ROWS(oom_words), message)) {
        found.trouble = oom_of_phase(report->state.phase);
        found.exact = false;
    }
    if (dgo_trouble_is_oom(found.trouble)) {
        find_named_buffer(message, &found);
        find_size(message, &found);
        find_numbered(report, message, &found);
        return found;
    }
    if (strcmp(source, "error") == 0)
        found.trouble = DGO_TROUBLE_ARGUMENT;
    else if (strncmp(source, "gguf_", 5) == 0)
        found.trouble = DGO_TROUBLE_MODEL;
    else
        found.trouble = look_up(other_patterns, ROWS(other_patterns), message);
    if (found.trouble == DGO_TROUBLE_NONE)
        found.trouble = look_up(last_words, ROWS(last_words), message);
    if (found.trouble == DGO_TROUBLE_NONE && strstr(source, " error"))
        found.trouble = look_up(last_words, ROWS(last_words), source);
    return found;
}

static void write_line(char line[256], const char *source, const char *message)
{
    struct dgo_text text = {.data = line, .size = 256};

    dgo_text_clear(&text);
    if (source[0]) {
        dgo_text_add_escaped(&text, source, strlen(source));
        dgo_text_add(&text, ": ");
    }
    dgo_text_add_escaped(&text, message, strlen(message));
}

static void publish(struct dgo_report *report, const struct finding *found, const char *line)
{
    report->trouble = found->trouble;
    dgo_text_copy(report->trouble_device, sizeof report->trouble_device, found->device);
    report->trouble_bytes = found->bytes;
    dgo_text_copy(report->trouble_line, sizeof report->trouble_line, line);
}

static void publish_held(struct dgo_report *report)
{
    struct finding found = {.trouble = report->state.held, .bytes = report->state.held_bytes};

    if (report->state.held == DGO_TROUBLE_NONE)
        return;
    dgo_text_copy(found.device, sizeof found.device, report->state.held_device);
    if (report->trouble == DGO_TROUBLE_NONE)
        publish(report, &found, report->state.held_line);
    llama_cpp_drop_held(report);
}

void llama_cpp_drop_held(struct dgo_report *report)
{
    report->state.held = DGO_TROUBLE_NONE;
    report->state.held_device[0] = '\0';
    report->state.held_bytes = 0;
    report->state.held_line[0] = '\0';
}

/* With several copies of the inputs the first try may fail and a second one, with one copy, still
 * succeed: until then nothing is lost. */
static bool may_recover(const struct dgo_report *report, const char *source,
                        enum dgo_trouble trouble)
{
    return report->state.phase == LLAMA_PHASE_COMPUTE && report->pipeline &&
           dgo_trouble_is_oom(trouble) &&
           (strncmp(source, "ggml_", 5) == 0 || strcmp(source, "graph_reserve") == 0 ||
            strstr(source, " error"));
}

static void hold(struct dgo_report *report, const struct finding *found, const char *line)
{
    if (report->state.held != DGO_TROUBLE_NONE)
        return;
    report->state.held = found->trouble;
    dgo_text_copy(report->state.held_device, sizeof report->state.held_device, found->device);
    report->state.held_bytes = found->bytes;
    dgo_text_copy(report->state.held_line, sizeof report->state.held_line, line);
}

/* A later line of the same failure: keeps the first line, adds what it lacked. */
static void complete(struct dgo_report *report, const struct finding *found)
{
    if (!dgo_trouble_is_oom(report->trouble) || !dgo_trouble_is_oom(found->trouble))
        return;
    if (found->exact)
        report->trouble = found->trouble;
    if (!report->trouble_device[0])
        dgo_text_copy(report->trouble_device, sizeof report->trouble_device, found->device);
    if (!report->trouble_bytes)
        report->trouble_bytes = found->bytes;
}

/* "  current device: 1, in function ..." follows "CUDA error: out of memory". */
static bool complete_device(struct dgo_report *report, const char *source, const char *message)
{
    if (strcmp(source + strspn(source, " "), "current device") != 0)
        return false;
    if (report->trouble != DGO_TROUBLE_NONE && !report->trouble_device[0] && message[0] >= '0' &&
        message[0] <= '9')
        name_numbered(report, strtoul(message, NULL, 10), report->trouble_device);
    return true;
}

void llama_cpp_read_trouble(struct dgo_report *report, const char *source, const char *message)
{
    struct finding found;
    char line[256];

    if (holds_any(harmless, ROWS(harmless), message))
        return;
    if (complete_device(report, source, message))
        return;
    found = classify(report, source, message);
    if (found.trouble == DGO_TROUBLE_NONE)
        return;
    write_line(line, source, message);
    if (may_recover(report, source, found.trouble)) {
        hold(report, &found, line);
        return;
    }
    publish_held(report);
    if (report->trouble == DGO_TROUBLE_NONE)
        publish(report, &found, line);
    else
        complete(report, &found);
}
