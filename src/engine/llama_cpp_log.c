/* llama_cpp_log.c - llama-server's log, line by line, to a report of what it allocated and does.
 *
 * Names of models, texts of chat templates and what clients send all end up in that log, so a line
 * counts only where the engine itself puts it: after its time stamp and its function's name.  Lines
 * of builds before 2025 carry neither stamp nor level; they are read as long as no stamp was seen.
 */
#include "llama_cpp.h"

#include <stdlib.h>
#include <string.h>

enum { LINE_MAX_READ = 4096, NAME_MAX_READ = 31, GENERATION_MAX = 100 };

/* One line taken apart: "0.00.060.123 I llama_kv_cache:      CUDA0 KV buffer size = ...". */
struct log_line {
    char text[LINE_MAX_READ + 1]; /* without stamp, level and colours */
    bool prefixed;
    char level;          /* I, W, E, D; 0 none */
    char source[64];     /* "llama_kv_cache"; "" none */
    const char *message; /* in text, after the source */
};

/* A copy without terminal colours; what cannot be text ends the line. */
static void copy_plain(char *to, const char *line, size_t length)
{
    size_t used = 0;

    for (size_t i = 0; i < length && used < LINE_MAX_READ && line[i]; i++) {
        if (line[i] == '\033' && i + 1 < length && line[i + 1] == '[') {
            i += 2;
            while (i < length && !(line[i] >= '@' && line[i] <= '~'))
                i++;
            continue;
        }
        if (line[i] != '\r')
            to[used++] = line[i];
    }
    to[used] = '\0';
}

/* "0.00.060.123 " (minutes, seconds, milli- and microseconds); NULL when there is none. */
static const char *after_stamp(const char *text)
{
    const char *at = text;

    for (int group = 0; group < 4; group++) {
        const size_t digits = strspn(at, "0123456789");

        if (digits == 0 || at[digits] != (group < 3 ? '.' : ' '))
            return NULL;
        at += digits + 1;
    }
    return at;
}

/* Splits "slot print_timing: id  0 | ..." at the first colon that ends a word of identifiers. */
static void split_source(struct log_line *line, const char *text)
{
    static const char identifier[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                     "0123456789_~()<>,* ";
    const size_t length = strspn(text, identifier);

    line->source[0] = '\0';
    line->message = text;
    if (text[length] == ':' && text[length + 1] == ' ' && length < sizeof line->source) {
        memcpy(line->source, text, length);
        line->source[length] = '\0';
        line->message = text + length + 1;
    }
    line->message += strspn(line->message, " ");
}

static void parse_line(struct log_line *line, const char *bytes, size_t length)
{
    const char *text, *stamped;

    copy_plain(line->text, bytes, length);
    stamped = after_stamp(line->text);
    text = stamped ? stamped : line->text;
    line->prefixed = stamped != NULL;
    line->level = 0;
    if (text[0] && strchr("IWED", text[0]) && text[1] == ' ') {
        line->level = text[0];
        text += 2;
    }
    split_source(line, text);
}

static bool starts(const char *text, const char *with)
{
    return strncmp(text, with, strlen(with)) == 0;
}

/* "name   = 42": the number, false when the message is about something else. */
static bool assignment(const char *message, const char *name, uint32_t *value)
{
    const size_t length = strlen(name);
    const char *at = message + length;

    if (!starts(message, name))
        return false;
    at += strspn(at, " ");
    if (*at++ != '=')
        return false;
    at += strspn(at, " ");
    if (*at < '0' || *at > '9')
        return false;
    *value = (uint32_t)strtoul(at, NULL, 10);
    return true;
}

/* "  1024.25 MiB" to bytes, exactly, in integers; false when it is no such figure. */
static bool mib_figure(const char *text, uint64_t *bytes)
{
    enum { DECIMALS = 4, SCALE = 10000, DIGITS_MAX = 10 };
    const char *at = text + strspn(text, " ");
    const size_t digits = strspn(at, "0123456789");
    uint64_t value = 0;

    if (digits == 0 || digits > DIGITS_MAX)
        return false;
    for (size_t i = 0; i < digits; i++)
        value = value * 10 + (uint64_t)(*at++ - '0');
    if (*at == '.')
        at++;
    for (int i = 0; i < DECIMALS; i++)
        value = value * 10 + (*at >= '0' && *at <= '9' ? (uint64_t)(*at++ - '0') : 0);
    at += strspn(at, "0123456789");
    at += strspn(at, " ");
    if (!starts(at, "MiB"))
        return false;
    /* value / SCALE MiB, to the nearest byte; the whole part apart, so that nothing overflows. */
    *bytes = ((value / SCALE) << 20) + (((value % SCALE) << 20) + SCALE / 2) / SCALE;
    return true;
}

/* "CUDA0 KV buffer size =  1056.00 MiB" */
static bool read_buffer(struct dgo_report *report, const struct log_line *line)
{
    static const char middle[] = "buffer size";
    const size_t name_length = strcspn(line->message, " ");
    const char *words = line->message + name_length + strspn(line->message + name_length, " ");
    const char *found = strstr(words, middle);
    /* The vision encoder keeps a scratch buffer of its own beside the model's. */
    const bool vision = strcmp(line->source, "alloc_compute_meta") == 0;
    char name[NAME_MAX_READ + 1];
    enum dgo_buffer_kind kind;
    const char *figure;
    uint64_t bytes;
    int device;

    /* Buffers have names like CUDA0, Metal, ROCm_Host: a token's text is never taken for one. */
    if (line->message[0] < 'A' || line->message[0] > 'Z' || name_length > NAME_MAX_READ || !found ||
        found == words || found[-1] != ' ')
        return false;
    figure = found + sizeof middle - 1;
    figure += strspn(figure, " ");
    if (*figure != '=' || !mib_figure(figure + 1, &bytes))
        return false;
    memcpy(name, line->message, name_length);
    name[name_length] = '\0';
    device = llama_cpp_buffer_device(report, name);
    if (device < 0)
        return true;
    kind = llama_cpp_buffer_kind(words, (size_t)(found - 1 - words));
    /* What is reserved anew while it serves is the model's: with the first request its hidden
     * states begin to go to the draft, and its graph grows. */
    const uint32_t generation = report->model_loaded ? 0 : report->state.generation;

    llama_cpp_book(report, (uint8_t)device, (uint8_t)kind, (uint8_t)(generation * 2 + vision),
                   kind == DGO_BUFFER_MODEL || kind == DGO_BUFFER_CONTEXT, bytes);
    if (kind == DGO_BUFFER_COMPUTE && !vision && !report->pipeline_known)
        report->pipeline_known = true; /* "enabled" would have come before */
    return true;
}

/* "using device CUDA0 (NVIDIA GeForce RTX 3090) (0000:01:00.0) - 24100 MiB free"; a remote one has
 * its endpoint in the first parentheses. */
static bool read_device(struct dgo_report *report, const char *message)
{
    static const char start[] = "using device ";
    const char *name = message + sizeof start - 1;
    const size_t length = strcspn(name, " ");
    const char *dash = strrchr(message, '-');
    char copy[NAME_MAX_READ + 1];
    uint64_t free_bytes;
    int device;

    if (!starts(message, start))
        return false;
    if (length == 0 || length > NAME_MAX_READ || !starts(name + length, " (") || !dash ||
        !mib_figure(dash + 1, &free_bytes))
        return true;
    memcpy(copy, name, length);
    copy[length] = '\0';
    device = llama_cpp_device_named(report, copy);
    if (device < 0)
        return true;
    /* A draft model is loaded when the model has taken its part already. */
    if (report->state.generation == 0) {
        report->device[device].memory_known = true;
        report->device[device].free_bytes = free_bytes;
    }
    if (starts(copy, "RPC")) {
        const char *endpoint = name + length + 2;
        const size_t end = strcspn(endpoint, ")");

        dgo_text_copy_escaped(report->device[device].endpoint,
                              sizeof report->device[device].endpoint, endpoint, end);
    }
    return true;
}

static bool read_offloaded(struct dgo_report *report, const char *message)
{
    static const char start[] = "offloaded ";
    char *end;
    unsigned long done, total;

    if (!starts(message, start))
        return false;
    done = strtoul(message + sizeof start - 1, &end, 10);
    if (*end != '/')
        return false;
    total = strtoul(end + 1, &end, 10);
    if (!starts(end, " layers to GPU") || report->state.generation > 0)
        return false;
    report->layers_offloaded = (uint32_t)done;
    report->layers_total = (uint32_t)total;
    return true;
}

/* "initializing, n_slots = 2, n_ctx_slot = 1024, kv_unified = 'false'" */
static void read_slots(struct dgo_report *report, const char *message)
{
    static const char count[] = "n_slots = ", context[] = "n_ctx_slot = ";
    const char *at = starts(message, "initializing") ? strstr(message, count) : NULL;

    if (!at)
        return;
    report->slot_count = (uint32_t)strtoul(at + sizeof count - 1, NULL, 10);
    at = strstr(at, context);
    if (at)
        report->ctx_tokens_per_slot = (uint32_t)strtoul(at + sizeof context - 1, NULL, 10);
}

/* What the context says of itself; a draft model's is not the one we report. */
static void read_context(struct dgo_report *report, const char *message)
{
    uint32_t value;

    read_slots(report, message);
    if (report->state.generation > 0)
        return;
    if (assignment(message, "n_ctx", &value))
        report->ctx_tokens = value;
    else if (assignment(message, "n_ctx_seq", &value) ||
             assignment(message, "n_ctx_per_seq", &value))
        report->ctx_tokens_per_slot = value;
}

static void read_pipeline(struct dgo_report *report, const char *message)
{
    const char *copies = strstr(message, "sched copies = ");

    if (starts(message, "pipeline parallelism enabled")) {
        report->pipeline_known = report->pipeline = true;
    } else if (starts(message, "compute buffer allocation failed, retrying without pipeline")) {
        report->pipeline_known = true;
        report->pipeline = false;
        llama_cpp_drop_held(report);
    } else if (starts(message, "reserve took") && copies) {
        report->pipeline_known = true;
        report->pipeline = strtoul(copies + strlen("sched copies = "), NULL, 10) > 1;
    }
}

static void enter(struct dgo_report *report, enum llama_cpp_phase phase)
{
    /* While it serves, nothing takes it back: graphs are reserved anew at any time. */
    if (!report->model_loaded)
        report->state.phase = (uint8_t)phase;
}

/* What the engine is busy with, which tells what an allocation that fails was for. */
static void read_phase(struct dgo_report *report, const struct log_line *line)
{
    const char *message = line->message;

    if (strstr(message, "loading draft model") == message || starts(message, "creating MTP")) {
        if (report->state.generation < GENERATION_MAX)
            report->state.generation++;
    } else if (strcmp(line->source, "llama_model_loader") == 0 &&
               starts(message, "loaded meta data")) {
        enter(report, LLAMA_PHASE_WEIGHTS);
        llama_cpp_start_over(report, true);
    } else if (starts(message, "constructing llama_context") || starts(message, "n_seq_max")) {
        enter(report, LLAMA_PHASE_CONTEXT);
        llama_cpp_start_over(report, false);
        if (report->state.generation == 0)
            report->pipeline_known = report->pipeline = false;
    } else if (strcmp(line->source, "sched_reserve") == 0 ||
               starts(message, "pipeline parallelism enabled")) {
        enter(report, LLAMA_PHASE_COMPUTE);
    } else if (starts(message, "warming up the model") || starts(message, "model loaded")) {
        report->state.phase = LLAMA_PHASE_SERVING;
    }
}

static void read_ready(struct dgo_report *report, const struct log_line *line)
{
    if (starts(line->message, "model loaded"))
        report->model_loaded = true;
    /* The oldest spelling is printed before the model is loaded: connections are taken, and
     * answered with "loading". */
    if (starts(line->message, "listening on ") ||
        starts(line->message, "server is listening on ") ||
        starts(line->message, "HTTP server is listening"))
        report->listening = true;
}

/* "eval time =  1234.56 ms /  128 tokens (    9.65 ms per token,   103.68 tokens per second)" */
static double rate_of(const char *text)
{
    const char *unit = strstr(text, " tokens per second");
    const char *comma = NULL;
    double rate;

    for (const char *at = text; unit && at < unit; at++)
        if (*at == ',')
            comma = at;
    if (!comma)
        return 0;
    rate = strtod(comma + 1, NULL);
    return rate > 0 && rate < 1e12 ? rate : 0; /* a request without tokens prints inf or nan */
}

static void read_timing(struct dgo_report *report, const char *text)
{
    const char *bar = strrchr(text, '|');
    const char *figure = bar ? bar + 1 : text;

    figure += strspn(figure, " ");
    if (starts(figure, "prompt eval time ="))
        report->prompt_tokens_per_second = rate_of(figure);
    else if (starts(figure, "eval time ="))
        report->decode_tokens_per_second = rate_of(figure);
    else if (starts(figure, "total time ="))
        report->request_count++;
}

/* Sources whose messages quote what clients send, once the server runs. */
static bool quotes_clients(const char *source)
{
    return starts(source, "srv ") || starts(source, "slot ") || starts(source, "cmn ") ||
           starts(source, "spec ") || starts(source, "que ");
}

static void read_message(struct dgo_report *report, const struct log_line *line)
{
    const bool complaint = line->level == 'E' || line->level == 0;
    const bool is_timing = strcmp(line->source, "slot print_timing") == 0 ||
                           strcmp(line->source, "print_timings") == 0;

    /* In a log without stamps only a source ends a quotation. */
    if (report->state.quoting && !line->prefixed && !line->source[0])
        return;
    report->state.quoting = strstr(line->message, "example_format") != NULL;
    report->state.timing =
        is_timing || (report->state.timing && !line->prefixed && !line->source[0]);
    if (report->state.timing) {
        read_timing(report, line->message);
        return;
    }
    /* Metadata of the file: free text under a name that we match nowhere else. */
    if (strcmp(line->source, "print_info") == 0 ||
        (strcmp(line->source, "llama_model_loader") == 0 && line->message[0] == '-'))
        return;
    read_phase(report, line);
    read_pipeline(report, line->message);
    if (read_buffer(report, line) || read_device(report, line->message) ||
        read_offloaded(report, line->message))
        return;
    read_context(report, line->message);
    read_ready(report, line);
    if (complaint && !(report->model_loaded && quotes_clients(line->source)))
        llama_cpp_read_trouble(report, line->source, line->message);
}

/* "/src/ggml-cuda.cu:97: CUDA error", "terminate called after throwing ..." */
static bool is_last_word(const char *message)
{
    const char *colon = message + strcspn(message, ": ");
    const char *said = colon + 1 + (*colon == ':' ? strspn(colon + 1, "0123456789") : 0);

    if (*colon != ':' || said == colon + 1 || !starts(said, ": "))
        return starts(message, "terminate called");
    said += 2;
    return starts(said, "CUDA error") || starts(said, "ROCm error") || starts(said, "GGML_ASSERT(");
}

/* A line without a stamp in a log that has them: the rest of a message, or what a library wrote
 * past the log when it had no time left. */
static void read_unprefixed(struct dgo_report *report, const struct log_line *line)
{
    if (report->state.timing) {
        read_timing(report, line->text);
        return;
    }
    if (!report->state.quoting && !line->source[0] && is_last_word(line->message))
        llama_cpp_read_trouble(report, "", line->message);
}

void llama_cpp_read_line(struct dgo_report *report, const char *line, size_t length)
{
    struct log_line parsed;

    parse_line(&parsed, line, length);
    if (parsed.prefixed)
        report->state.prefixed = true;
    if (parsed.prefixed || !report->state.prefixed)
        read_message(report, &parsed);
    else
        read_unprefixed(report, &parsed);
}
