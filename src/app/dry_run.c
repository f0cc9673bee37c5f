/* dry_run.c - asks llama-fit-params what it would allocate, and believes it where it is right.
 *
 * FORMULAS "Dry run": its figures are the server's to the byte in host memory and on the first
 * device.  On later ones of a pipeline it has four embeddings of a micro-batch too many, without a
 * pipeline a few too many or too few.  Where the logits are worked out it reserves them for a whole
 * micro-batch; there the smaller of its figure and ours stands.  A formula that was compared with
 * that very build is better than any of it. */
#include "dry_run.h"

#include "dgo_arena.h"
#include "dgo_clock.h"
#include "dgo_launch.h"
#include "dgo_log.h"
#include "dgo_text.h"
#include "dgo_units.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { WORDS_MAX = 64, LOG_BYTES = 4 << 20, PRINTED_BYTES = 4096, PATIENCE_S = 60 };
enum { ASK_MAX = 4 }; /* its log is cut in about one run of twenty */

struct asking {
    const struct flow *flow;
    const struct dgo_settings *settings;
    struct dgo_estimate *estimate;
    char program[PATH_MAX];
    char text[4096]; /* words that are made here */
    size_t text_length;
    const char *word[WORDS_MAX + 1];
    uint32_t word_count;
};

static void add_word(struct asking *asking, const char *word)
{
    if (asking->word_count < WORDS_MAX)
        asking->word[asking->word_count++] = word;
}

/* A word that is written here; cut, never past the end. */
static DGO_PRINTF(2, 3) void add_made(struct asking *asking, const char *fmt, ...)
{
    char *at = asking->text + asking->text_length;
    const size_t room = sizeof asking->text - asking->text_length;
    va_list args;
    int length;

    va_start(args, fmt);
    length = vsnprintf(at, room, fmt, args);
    va_end(args);
    if (length < 0 || (size_t)length >= room)
        return;
    asking->text_length += (size_t)length + 1;
    add_word(asking, at);
}

static void add_number(struct asking *asking, const char *flag, uint32_t number)
{
    add_word(asking, flag);
    add_made(asking, "%u", (unsigned)number);
}

static void add_devices(struct asking *asking)
{
    const struct dgo_settings *settings = asking->settings;
    char names[DGO_GPU_MAX * 17], shares[DGO_GPU_MAX * 17];
    struct dgo_text name = DGO_TEXT(names), share = DGO_TEXT(shares);

    for (uint32_t d = 0; d < settings->device_count; d++) {
        dgo_text_addf(&name, "%s%s", d ? "," : "", asking->estimate->device[d].name);
        dgo_text_addf(&share, "%s%.9g", d ? "," : "", (double)settings->tensor_split[d]);
    }
    add_word(asking, "-dev");
    add_made(asking, "%s", settings->device_count ? names : "none");
    if (settings->tensor_split_given && settings->split_mode != DGO_SPLIT_NONE) {
        add_word(asking, "-ts");
        add_made(asking, "%s", shares);
    }
    add_word(asking, "-sm");
    add_word(asking, settings->split_mode == DGO_SPLIT_NONE ? "none" : "layer");
}

/* Where windows or states count the slots, a unified cache of several cannot be asked for. */
static bool can_ask(const struct dgo_model *model, const struct dgo_settings *settings)
{
    if (settings->split_mode == DGO_SPLIT_TENSOR) /* it has no dry run for that */
        return false;
    if (!settings->kv_unified || settings->slot_count == 1)
        return true;
    for (uint32_t l = 0; l < model->layer_count; l++)
        if (model->layer[l].sliding_window || model->layer[l].recurrent)
            return false;
    return !model->cache_for_each_slot;
}

/* It has no flag for a unified cache; to the graphs that is the cache of one slot. */
static uint32_t asked_slots(const struct dgo_settings *settings)
{
    return settings->kv_unified ? 1 : settings->slot_count;
}

static void make_words(struct asking *asking)
{
    const struct dgo_settings *settings = asking->settings;

    add_word(asking, asking->program);
    add_word(asking, "-m");
    add_word(asking, asking->flow->model->path);
    add_number(asking, "-c", settings->ctx_tokens);
    add_number(asking, "-np", asked_slots(settings));
    add_number(asking, "-b", settings->batch_tokens);
    add_number(asking, "-ub", settings->ubatch_tokens);
    add_number(asking, "-ngl", settings->gpu_layer_count);
    add_word(asking, "-ctk");
    add_word(asking, dgo_kv_type_name(settings->key_type));
    add_word(asking, "-ctv");
    add_word(asking, dgo_kv_type_name(settings->value_type));
    add_word(asking, "-fa");
    add_word(asking, settings->flash_attention_auto           ? "auto"
                     : settings->flash_attention == DGO_FA_ON ? "on"
                                                              : "off");
    add_devices(asking);
    if (settings->kv_on_host)
        add_word(asking, "-nkvo");
    if (settings->swa_full)
        add_word(asking, "--swa-full");
    if (!settings->op_offload)
        add_word(asking, "--no-op-offload");
    if (settings->cpu_moe_layer_count)
        add_number(asking, "-ncmoe", settings->cpu_moe_layer_count);
    for (const char *const *more =
             (const char *const[]){"--fit-print", "on", "-lv", "5", "--no-log-prefix",
                                   "--no-log-timestamps", NULL};
         *more; more++)
        add_word(asking, *more);
    asking->word[asking->word_count] = NULL;
}

enum { PRINTED_WEIGHTS, PRINTED_CONTEXT, PRINTED_COMPUTE, PRINTED_COUNT };

/* "CUDA0 1105 160 244": whole MiB of model, context and compute. */
static bool printed_row(const char *printed, const char *device, uint64_t mib[PRINTED_COUNT])
{
    const size_t length = strlen(device);

    for (const char *at = printed; at; at = strchr(at, '\n')) {
        at += *at == '\n';
        if (strncmp(at, device, length) == 0 && at[length] == ' ') {
            char *end = (char *)at + length;

            for (int i = 0; i < PRINTED_COUNT; i++)
                mib[i] =
                    *end == ' ' && end[1] >= '0' && end[1] <= '9' ? strtoull(end, &end, 10) : 0;
            return true;
        }
    }
    return false;
}

/* Rounded up, down or to the nearest. */
static bool near_mib(uint64_t a, uint64_t b)
{
    return a <= b + 1 && b <= a + 1;
}

/* The same model on the same cards, as far as the weights tell. */
static bool means_the_same(const struct asking *asking, const char *printed)
{
    for (uint32_t d = 0; d < asking->settings->device_count; d++) {
        const struct dgo_device_estimate *device = &asking->estimate->device[d];
        const uint64_t ours = device->weights_bytes / DGO_MIB;
        uint64_t mib[PRINTED_COUNT] = {0};

        if (printed_row(printed, device->name, mib) && near_mib(mib[PRINTED_WEIGHTS], ours))
            continue;
        dgo_log(DGO_LOG_WARN,
                "the engine's dry run sizes %s otherwise (%llu MiB of weights, not %llu); not used",
                device->name, (unsigned long long)mib[PRINTED_WEIGHTS], (unsigned long long)ours);
        return false;
    }
    return true;
}

static uint64_t embeddings_bytes(const struct asking *asking)
{
    const uint64_t tokens =
        dgo_pad_u64(asking->estimate->ubatch_tokens, asked_slots(asking->settings));

    return tokens * asking->flow->model->embedding_length * sizeof(float);
}

static bool offloads(const struct asking *asking)
{
    return asking->settings->op_offload && asking->settings->device_count > 0 &&
           asking->estimate->ubatch_tokens >= DGO_OFFLOAD_ROWS_MIN;
}

/* An output layer in host memory visits the first device, where its rows are worth the way. */
static bool has_logits(const struct asking *asking, uint32_t device)
{
    const struct dgo_estimate *estimate = asking->estimate;

    return estimate->device[device].holds_output ||
           (device == 0 && estimate->host.holds_output && offloads(asking));
}

/* What the dry run says of a device behind the first that holds layers.  It loses which device the
 * norms are meant for.  In a pipeline the hidden state then crosses normed and not, and both are
 * held four times.  Else the allocator packs other tensors, better or worse: up to 2.7 embeddings
 * were seen to be missing, which makes it a bound with four on top. */
static uint64_t later_bytes(const struct asking *asking, uint64_t bytes)
{
    enum { COPIES = 4, MISSING_MAX = 4 };
    const uint64_t embeddings = embeddings_bytes(asking);

    if (asking->estimate->pipeline)
        return bytes - dgo_min_u64(bytes, COPIES * embeddings);
    return bytes + MISSING_MAX * embeddings;
}

static void take(struct asking *asking, uint32_t index, uint64_t bytes, bool later)
{
    const struct dgo_estimate *estimate = asking->estimate;
    struct dgo_device_estimate *device = &asking->estimate->device[index];

    /* Formulas for parts in host memory have been held against the server of their build, and are
     * better.  In a pipeline they size a few layers as if they were more. */
    if (device->compute_source == DGO_FIGURE_FORMULA && !estimate->pipeline &&
        estimate->build == asking->flow->rules.build)
        return;
    if (later)
        bytes = later_bytes(asking, bytes);
    if (!has_logits(asking, index) && (!later || estimate->pipeline)) {
        device->compute_bytes = bytes;
        device->compute_source = DGO_FIGURE_DRY_RUN;
    } else if (bytes < device->compute_bytes) { /* a bound, ours or not */
        device->compute_bytes = bytes;
        device->compute_source = DGO_FIGURE_BOUND;
    }
}

/* The last "CUDA0 compute buffer size =   179.50 MiB" of that device. */
static bool logged_compute(const char *log, const char *device, uint64_t *bytes)
{
    char wanted[64];
    bool found = false;

    snprintf(wanted, sizeof wanted, " %s compute buffer size = ", device);
    for (const char *at = strstr(log, wanted); at; at = strstr(at, wanted)) {
        const double mib = strtod(at += strlen(wanted), NULL);

        found = mib >= 0 && mib < 1 << 24;
        *bytes = found ? (uint64_t)(mib * (double)DGO_MIB + 0.5) : 0;
    }
    return found;
}

/* What the log says of host memory: plain, or pinned for cards. */
static uint64_t logged_host_compute(const char *log)
{
    uint64_t bytes = 0, pinned = 0;

    (void)logged_compute(log, "CPU", &bytes);
    (void)logged_compute(log, "CUDA_Host", &pinned);
    return bytes + pinned;
}

/* It may end before its log is written: then what it prints, in whole MiB, is not in there. */
static bool is_whole(const struct asking *asking, const char *printed, const char *log)
{
    uint64_t mib[PRINTED_COUNT], bytes = 0;

    for (uint32_t d = 0; d < asking->settings->device_count; d++)
        if (printed_row(printed, asking->estimate->device[d].name, mib) &&
            mib[PRINTED_COMPUTE] > 0 &&
            (!logged_compute(log, asking->estimate->device[d].name, &bytes) ||
             !near_mib(bytes / DGO_MIB, mib[PRINTED_COMPUTE])))
            return false;
    return !printed_row(printed, "Host", mib) ||
           near_mib(logged_host_compute(log) / DGO_MIB, mib[PRINTED_COMPUTE]);
}

static void take_host(struct asking *asking, const char *log)
{
    struct dgo_estimate *estimate = asking->estimate;
    const uint64_t bytes = logged_host_compute(log);

    if (!bytes)
        return;
    /* With logits of a whole micro-batch in it, it can only lower what we have. */
    if (!estimate->host.holds_output || offloads(asking) || bytes < estimate->host.compute_bytes)
        estimate->host.compute_bytes = bytes;
}

static void read_output(struct asking *asking, const char *printed, const char *log)
{
    struct dgo_estimate *estimate = asking->estimate;
    bool later = false;

    if (!means_the_same(asking, printed))
        return;
    for (uint32_t d = 0; d < asking->settings->device_count; d++) {
        uint64_t bytes = 0;

        if (!logged_compute(log, estimate->device[d].name, &bytes))
            continue;
        take(asking, d, bytes, later);
        later = later || estimate->device[d].layer_count > 0;
    }
    take_host(asking, log);
    dgo_estimate_judge(estimate);
}

/* False, with a warning: there is nothing to read. */
static bool ask(struct asking *asking, char printed[PRINTED_BYTES], char *log)
{
    const struct dgo_capture_options options = {.argv = asking->word,
                                                .environment =
                                                    (const char *const *)asking->flow->environment,
                                                .timeout_ns = PATIENCE_S * DGO_NS_PER_S,
                                                .errors = log,
                                                .errors_size = LOG_BYTES};
    struct dgo_error err = {0};
    int code = 0;

    for (int i = 0; i < ASK_MAX; i++) {
        if (dgo_process_capture_limited(&options, printed, PRINTED_BYTES, &code, &err) != DGO_OK ||
            code != 0) {
            dgo_log(DGO_LOG_WARN, "the engine's dry run failed%s%s; calculated figures stand",
                    err.text[0] ? ": " : "", err.text);
            return false;
        }
        if (is_whole(asking, printed, log))
            return true;
    }
    dgo_log(DGO_LOG_WARN, "the engine's dry run does not log what it says; not used");
    return false;
}

void dry_run_use(const struct flow *flow, const struct dgo_settings *settings,
                 struct dgo_estimate *estimate)
{
    static const char name[] = "llama-fit-params";
    struct asking *asking = calloc(1, sizeof *asking);
    char *log = calloc(1, LOG_BYTES), printed[PRINTED_BYTES];
    const char *slash = strrchr(flow->binary, '/');

    if (!asking || !log || !flow->binary_found || !slash)
        goto out;
    *asking = (struct asking){.flow = flow, .settings = settings, .estimate = estimate};
    if ((size_t)(slash - flow->binary) + sizeof name + 1 > sizeof asking->program)
        goto out;
    snprintf(asking->program, sizeof asking->program, "%.*s/%s", (int)(slash - flow->binary),
             flow->binary, name);
    if (access(asking->program, X_OK) != 0) {
        dgo_log(DGO_LOG_WARN, "there is no %s beside the engine; its dry run cannot be asked",
                name);
        goto out;
    }
    if (!can_ask(flow->model, settings)) {
        dgo_log(DGO_LOG_WARN, "%s knows no unified cache of several slots; not asked", name);
        goto out;
    }
    make_words(asking);
    if (ask(asking, printed, log))
        read_output(asking, printed, log);
out:
    free(log);
    free(asking);
}
