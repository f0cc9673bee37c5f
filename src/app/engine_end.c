/* engine_end.c - why an engine ended, from its log, its exit, and what was seen of the cards. */
#include "engine_end.h"

#include "dgo_units.h"

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* An older look tells of another moment. */
#define LOOK_OLD_NS (5 * DGO_NS_PER_S)

void engine_words_add(struct engine_words *words, const char *line, size_t length)
{
    char *kept = words->line[words->count % ENGINE_WORDS_LINES];
    char shown[ENGINE_WORDS_LINE_MAX];

    dgo_text_copy_escaped(shown, sizeof shown, line, length);
    if (!shown[0])
        return;
    memcpy(kept, shown, sizeof shown);
    words->count++;
}

/* Oldest first. */
static void add_words(const struct engine_words *words, struct dgo_text *text)
{
    const uint32_t kept = words->count < ENGINE_WORDS_LINES ? words->count : ENGINE_WORDS_LINES;

    if (kept == 0) {
        dgo_text_add(text, "; it wrote nothing");
        return;
    }
    dgo_text_add(text, "; its last words: ");
    for (uint32_t i = words->count - kept; i < words->count; i++)
        dgo_text_addf(text, "%s%s", words->line[i % ENGINE_WORDS_LINES],
                      i + 1 < words->count ? " / " : "");
}

void engine_end_add_sentence(struct dgo_text *text, const char *sentence, size_t max)
{
    const size_t length = strnlen(sentence, max);

    dgo_text_add_bytes(text, sentence, length);
    if (length > 0 && !strchr(".!?", sentence[length - 1]))
        dgo_text_add(text, ".");
}

/* Index of the plan's device that the log named, or -1. */
static int32_t named_device(const struct engine_end *end)
{
    const struct dgo_estimate *estimate = &end->plan->estimate;

    for (uint32_t i = 0; i < estimate->device_count; i++)
        if (strcmp(estimate->device[i].name, end->report->trouble_device) == 0)
            return (int32_t)i;
    return -1;
}

/* ---- what the driver saw ---- */

/* What a device still had of memory, and what it was to have. */
struct shortage {
    uint64_t free_bytes;
    uint64_t needed_bytes; /* had still to be taken; 0: the margin tells */
    uint64_t margin_bytes;
};

static bool look_counts(const struct engine_end *end)
{
    const struct dgo_sample *look = end->look;

    return look && look->sequence > 0 && !look->stale && look->age_ns <= LOOK_OLD_NS &&
           dgo_machine_is_live(&look->machine);
}

/* What the engine held of it; false when the driver did not tell. */
static bool held_bytes(const struct dgo_gpu *gpu, uint32_t pid, uint64_t *bytes)
{
    for (uint32_t i = 0; i < gpu->process_count; i++)
        if (gpu->process[i].pid == pid && gpu->process[i].used_known) {
            *bytes = gpu->process[i].used_bytes;
            return true;
        }
    return false;
}

static bool is_short(const struct engine_end *end, const struct dgo_device_estimate *device,
                     struct shortage *shortage)
{
    const struct dgo_gpu *gpu = &end->look->machine.gpu[device->gpu_index];
    const uint64_t planned = device->weights_bytes + device->context_bytes + device->compute_bytes +
                             device->overhead_bytes;
    uint64_t held;

    if (device->gpu_index >= end->look->machine.gpu_count || gpu->problem[0] ||
        !dgo_gpu_knows(gpu, DGO_GPU_FREE_BYTES))
        return false;
    *shortage =
        (struct shortage){.free_bytes = gpu->free_bytes, .margin_bytes = device->margin_bytes};
    if (!end->was_ready && held_bytes(gpu, end->pid, &held) && held < planned &&
        gpu->free_bytes < planned - held) {
        shortage->needed_bytes = planned - held;
        return true;
    }
    return gpu->free_bytes < device->margin_bytes / 2;
}

/* Index of the plan's device with the least left, of those that were short; -1: none was. */
static int32_t short_device(const struct engine_end *end, struct shortage *worst)
{
    const struct dgo_estimate *estimate = &end->plan->estimate;
    int32_t found = -1;

    if (!look_counts(end))
        return -1;
    for (uint32_t i = 0; i < estimate->device_count; i++) {
        struct shortage shortage;

        if (is_short(end, &estimate->device[i], &shortage) &&
            (found < 0 || shortage.free_bytes < worst->free_bytes)) {
            found = (int32_t)i;
            *worst = shortage;
        }
    }
    return found;
}

static void add_shortage(const struct dgo_device_estimate *device, const struct shortage *shortage,
                         struct dgo_text *text)
{
    char left[DGO_UNIT_TEXT_MAX], wanted[DGO_UNIT_TEXT_MAX];

    dgo_text_addf(text, "%s ran out of memory, as it seems: the driver saw %s free", device->name,
                  dgo_bytes_text(shortage->free_bytes, left));
    if (shortage->needed_bytes)
        dgo_text_addf(text, " where the engine had still to take %s; ",
                      dgo_bytes_text(shortage->needed_bytes, wanted));
    else
        dgo_text_addf(text, " of the %s that are kept as margin; ",
                      dgo_bytes_text(shortage->margin_bytes, wanted));
}

static void add_xids(const struct engine_end *end, struct dgo_text *text)
{
    const struct dgo_estimate *estimate = &end->plan->estimate;

    if (!look_counts(end) || !end->xid_before)
        return;
    for (uint32_t i = 0; i < estimate->device_count; i++) {
        const struct dgo_device_estimate *device = &estimate->device[i];
        const struct dgo_gpu *gpu = &end->look->machine.gpu[device->gpu_index];

        if (device->gpu_index < end->look->machine.gpu_count &&
            dgo_gpu_knows(gpu, DGO_GPU_XID_COUNT) && dgo_gpu_knows(gpu, DGO_GPU_XID_LAST) &&
            gpu->xid_count > end->xid_before[device->gpu_index])
            dgo_text_addf(text, "; the driver reported Xid %" PRIu32 " of %s meanwhile",
                          gpu->xid_last, device->name);
    }
}

/* ---- the whole ---- */

static void add_exit(const struct engine_end *end, struct dgo_text *text)
{
    const char *when = end->was_ready ? "" : " before it was ready";

    if (end->exit->signalled)
        dgo_text_addf(text, "the engine was ended by signal %d (%s)%s", end->exit->signal,
                      strsignal(end->exit->signal), when);
    else
        dgo_text_addf(text, "the engine ended with status %d%s", end->exit->code, when);
    if (end->exit->signalled && end->exit->signal == SIGKILL && end->kernel_kills)
        dgo_text_addf(text,
                      ", most likely by the kernel, which killed %" PRIu64
                      " since it was started because the machine's main memory was full",
                      end->kernel_kills);
}

void engine_end_judge(const struct engine_end *end, struct engine_end_verdict *verdict)
{
    const bool failed = end->exit->signalled || end->exit->code != 0;
    char sentence[DGO_ERROR_TEXT_MAX];
    struct dgo_text text = DGO_TEXT(sentence);
    struct shortage shortage;

    *verdict = (struct engine_end_verdict){.device = -1};
    if (end->report->trouble != DGO_TROUBLE_NONE) {
        verdict->out_of_vram = dgo_trouble_is_oom(end->report->trouble);
        verdict->device = named_device(end);
        dgo_report_explain(end->report, end->plan, &text);
    } else {
        if (failed)
            verdict->device = short_device(end, &shortage);
        verdict->out_of_vram = verdict->device >= 0;
        if (verdict->out_of_vram)
            add_shortage(&end->plan->estimate.device[verdict->device], &shortage, &text);
        add_exit(end, &text);
        add_xids(end, &text);
        add_words(end->words, &text);
    }
    dgo_fail(&verdict->failure, DGO_ECHILD, "%s", sentence);
}

/* ---- the witness ---- */

/* Processes that the kernel killed for want of memory since the machine runs: oom_kill of
 * /proc/vmstat (Linux 4.13).  UINT64_MAX: not told. */
static uint64_t kernel_kills(void)
{
    FILE *file = fopen("/proc/vmstat", "re");
    uint64_t count = UINT64_MAX;
    char line[128];

    if (!file)
        return count;
    while (fgets(line, sizeof line, file))
        if (sscanf(line, "oom_kill %" SCNu64, &count) == 1)
            break;
    fclose(file);
    return count;
}

static bool look_now(struct engine_witness *witness)
{
    if (!witness->sample)
        return false;
    dgo_sampler_latest(witness->sampler, witness->sample);
    return true;
}

void engine_witness_start(struct engine_witness *witness)
{
    bool looked;

    witness->words.count = 0;
    if (witness->sampler && !witness->sample)
        witness->sample = malloc(sizeof *witness->sample);
    looked = look_now(witness);
    for (uint32_t g = 0; g < DGO_GPU_MAX; g++) {
        const struct dgo_gpu *gpu = looked ? &witness->sample->machine.gpu[g] : NULL;

        witness->xid_before[g] = gpu && dgo_gpu_knows(gpu, DGO_GPU_XID_COUNT) ? gpu->xid_count : 0;
    }
    witness->kernel_kills_before = kernel_kills();
}

void engine_witness_testify(struct engine_witness *witness, struct engine_end *end)
{
    const uint64_t before = witness->kernel_kills_before, now = kernel_kills();

    end->words = &witness->words;
    end->look = look_now(witness) ? witness->sample : NULL;
    end->xid_before = witness->xid_before;
    end->kernel_kills = now != UINT64_MAX && now > before ? now - before : 0;
}

void engine_witness_done(struct engine_witness *witness)
{
    free(witness->sample);
    witness->sample = NULL;
}
