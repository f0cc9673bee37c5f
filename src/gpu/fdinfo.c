/* fdinfo.c - who uses the cards, from what the kernel accounts to every open card
 * (Documentation/gpu/drm-usage-stats.rst).  Other users' processes need CAP_SYS_PTRACE. */
#include "drm.h"

#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { RECHECK_SWEEPS = 15 }; /* processes without a card: half a minute at a sweep in 2 s */

/* ---- one file ------------------------------------------------------------------------------ */

/* "12 KiB", "3 MiB", "4096": units are powers of 1024, "kB" of old kernels is one, too. */
static uint64_t bytes_of(const char *value)
{
    char *end = NULL;
    const uint64_t number = strtoull(value, &end, 10);
    uint64_t unit = 1;

    while (*end == ' ' || *end == '\t')
        end++;
    if (*end == 'K' || *end == 'k')
        unit = UINT64_C(1) << 10;
    else if (*end == 'M')
        unit = UINT64_C(1) << 20;
    else if (*end == 'G')
        unit = UINT64_C(1) << 30;
    return number > (UINT64_C(1) << 50) / unit ? 0 : number * unit;
}

/* The regions that are the card's own memory, and how much each way of counting is worth. */
static int memory_rank(const char *key, size_t length)
{
    static const struct {
        const char *key;
        int rank;
    } keys[] = {
        {"drm-total-vram", 1},     {"drm-total-vram0", 1},     {"drm-total-local0", 1},
        {"vram mem", 2},           {"drm-memory-vram", 2},     {"drm-resident-vram", 3},
        {"drm-resident-vram0", 3}, {"drm-resident-local0", 3},
    };

    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++)
        if (strlen(keys[i].key) == length && memcmp(keys[i].key, key, length) == 0)
            return keys[i].rank;
    return 0;
}

static bool is_key(const char *key, size_t length, const char *wanted)
{
    return strlen(wanted) == length && memcmp(wanted, key, length) == 0;
}

/* Engines that compute or draw; copies and codecs keep no card busy. */
static bool is_engine(const char *key, size_t length, const char *prefix)
{
    static const char *const engines[] = {"gfx", "compute", "render", "rcs", "ccs"};
    const size_t start = strlen(prefix);

    for (size_t i = 0; i < sizeof engines / sizeof engines[0]; i++)
        if (length == start + strlen(engines[i]) && memcmp(key, prefix, start) == 0 &&
            memcmp(key + start, engines[i], strlen(engines[i])) == 0)
            return true;
    return false;
}

bool drm_parse_fdinfo(const char *text, struct drm_client *client)
{
    int rank = 0;
    bool has_id = false;

    for (const char *line = text; *line; line += strcspn(line, "\n"), line += *line == '\n') {
        const size_t length = strcspn(line, ":\n");
        const char *value = line + length;

        if (*value != ':')
            continue;
        value += 1 + strspn(value + 1, " \t");
        if (is_key(line, length, "drm-pdev") || is_key(line, length, "pdev")) {
            char pdev[32];

            snprintf(pdev, sizeof pdev, "%.*s", (int)(strcspn(value, " \t\n") & 31), value);
            (void)gpu_pci_normalise(pdev, client->pci_id);
        } else if (is_key(line, length, "drm-client-id")) {
            client->id = strtoull(value, NULL, 10);
            has_id = true;
        } else if (memory_rank(line, length) > rank) {
            rank = memory_rank(line, length);
            client->bytes = bytes_of(value);
        } else if (is_engine(line, length, "drm-engine-")) {
            client->engine_ns += strtoull(value, NULL, 10);
        } else if (is_engine(line, length, "drm-cycles-")) {
            client->cycles += strtoull(value, NULL, 10);
        } else if (is_engine(line, length, "drm-total-cycles-")) {
            const uint64_t total = strtoull(value, NULL, 10);

            client->total_cycles = dgo_max_u64(client->total_cycles, total);
        }
    }
    return client->pci_id[0] != '\0' && (has_id || rank > 0);
}

/* ---- the sweep ----------------------------------------------------------------------------- */

/* One client shows up behind several descriptors and in several processes; it is counted once. */
static void keep(struct drm_sweep *sweep, const struct drm_client *client)
{
    for (uint32_t i = 0; i < sweep->count; i++)
        if (sweep->client[i].id == client->id &&
            strcmp(sweep->client[i].pci_id, client->pci_id) == 0)
            return;
    if (sweep->count < DRM_CLIENT_MAX)
        sweep->client[sweep->count++] = *client;
}

/* Whether the process has a card open. */
static bool sweep_process(struct drm_sweep *sweep, const char *root, uint32_t pid)
{
    char path[PATH_MAX], target[64], file[64], text[4096];
    const struct dirent *entry;
    bool any = false;
    DIR *dir;

    snprintf(path, sizeof path, "%.3000s/proc/%" PRIu32 "/fd", root, pid);
    dir = opendir(path);
    if (!dir)
        return false;
    while ((entry = readdir(dir))) {
        struct drm_client client = {.pid = pid};
        const ssize_t length = readlinkat(dirfd(dir), entry->d_name, target, sizeof target - 1);

        if (length < 0)
            continue;
        target[length] = '\0';
        if (strncmp(target, "/dev/dri/", 9) != 0)
            continue;
        any = true;
        snprintf(file, sizeof file, "/proc/%" PRIu32 "/fdinfo/%.16s", pid, entry->d_name);
        if (gpu_read_text(root, file, text, sizeof text) && drm_parse_fdinfo(text, &client))
            keep(sweep, &client);
    }
    closedir(dir);
    return any;
}

static int by_number(const void *a, const void *b)
{
    const uint32_t one = *(const uint32_t *)a, other = *(const uint32_t *)b;

    return (one > other) - (one < other);
}

void drm_sweep(struct drm_sweep *sweep, const char *root, uint64_t now_ns)
{
    const bool again = sweep->sweeps++ % RECHECK_SWEEPS == 0;
    uint32_t known = again ? 0 : sweep->without_count, found = known;
    char path[PATH_MAX];
    const struct dirent *entry;
    DIR *dir;

    memcpy(sweep->last, sweep->client, sweep->count * sizeof sweep->client[0]);
    sweep->last_count = sweep->count;
    sweep->last_at_ns = sweep->at_ns;
    sweep->count = 0;
    sweep->at_ns = now_ns;
    snprintf(path, sizeof path, "%.3000s/proc", root);
    dir = opendir(path);
    if (!dir)
        return;
    while ((entry = readdir(dir))) {
        const uint32_t pid = (uint32_t)strtoul(entry->d_name, NULL, 10);

        if (!isdigit((unsigned char)entry->d_name[0]) ||
            bsearch(&pid, sweep->without, known, sizeof pid, by_number))
            continue;
        if (!sweep_process(sweep, root, pid) && found < DRM_PID_MAX)
            sweep->without[found++] = pid;
    }
    closedir(dir);
    qsort(sweep->without, found, sizeof sweep->without[0], by_number);
    sweep->without_count = found;
}

/* ---- processes of a card ------------------------------------------------------------------- */

void drm_add_process(struct dgo_gpu *gpu, uint32_t pid, uint64_t bytes, bool compute)
{
    struct dgo_gpu_process *process = NULL;

    for (uint32_t i = 0; i < gpu->process_count && !process; i++)
        if (gpu->process[i].pid == pid)
            process = &gpu->process[i];
    if (!process && gpu->process_count == DGO_GPU_PROCESS_MAX) {
        gpu->process_more++;
        gpu->process_sum_bytes += bytes;
        return;
    }
    if (!process) {
        process = &gpu->process[gpu->process_count++];
        *process = (struct dgo_gpu_process){.pid = pid, .used_known = true};
    }
    process->used_bytes = dgo_max_u64(process->used_bytes, bytes);
    process->compute |= compute;
    process->graphics |= !compute;
}

/* Share of the time between two sweeps; a counter that went back tells nothing. */
static uint32_t busy_of(const struct drm_sweep *sweep, const struct drm_client *client)
{
    const uint64_t elapsed_ns = sweep->at_ns - sweep->last_at_ns;
    double share = 0;

    for (uint32_t i = 0; i < sweep->last_count; i++) {
        const struct drm_client *last = &sweep->last[i];

        if (last->id != client->id || strcmp(last->pci_id, client->pci_id) != 0)
            continue;
        if (client->engine_ns > last->engine_ns && elapsed_ns)
            share = (double)(client->engine_ns - last->engine_ns) / (double)elapsed_ns;
        else if (client->cycles > last->cycles && client->total_cycles > last->total_cycles)
            share = (double)(client->cycles - last->cycles) /
                    (double)(client->total_cycles - last->total_cycles);
    }
    return (uint32_t)(1000 * (share < 1 ? share : 1));
}

void drm_take_processes(const struct drm_sweep *sweep, const char *pci_id, struct dgo_gpu *gpu)
{
    gpu->processes_known = true;
    gpu->process_count = gpu->process_more = 0;
    gpu->process_sum_bytes = 0;
    for (uint32_t i = 0; i < sweep->count; i++) {
        const struct drm_client *client = &sweep->client[i];
        uint32_t at = 0;

        if (strcmp(client->pci_id, pci_id) != 0)
            continue;
        while (at < gpu->process_count && gpu->process[at].pid != client->pid)
            at++;
        if (at < gpu->process_count) { /* another client of the same process */
            gpu->process[at].used_bytes += client->bytes;
        } else {
            drm_add_process(gpu, client->pid, client->bytes, false);
        }
        if (at < gpu->process_count && sweep->last_at_ns) {
            struct dgo_gpu_process *process = &gpu->process[at];

            process->busy_known = true;
            process->busy_permille =
                (uint32_t)dgo_min_u64(process->busy_permille + busy_of(sweep, client), 1000);
        }
    }
}

static int by_use(const void *a, const void *b)
{
    const struct dgo_gpu_process *one = a, *other = b;

    if (one->used_bytes != other->used_bytes)
        return one->used_bytes < other->used_bytes ? 1 : -1;
    return (one->pid > other->pid) - (one->pid < other->pid);
}

void drm_end_processes(struct dgo_gpu *gpu)
{
    if (gpu->process_count > 1)
        qsort(gpu->process, gpu->process_count, sizeof gpu->process[0], by_use);
    for (uint32_t i = 0; i < gpu->process_count; i++)
        gpu->process_sum_bytes += gpu->process[i].used_bytes;
    gpu->process_sum_known = true;
}
