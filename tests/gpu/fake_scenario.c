/* fake_scenario.c - reads the fake driver's scenario file; its format is described in fake_nvml.c.
 */
#include "fake_scenario.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define MIB (UINT64_C(1) << 20)

static struct fake_scenario scenario;
static struct stat seen; /* the file that `scenario` was read from */

const struct fake_rule *fake_find(const struct fake_rules *rules, const char *name)
{
    for (uint32_t i = 0; i < rules->count; i++)
        if (strcmp(rules->rule[i].name, name) == 0)
            return &rules->rule[i];
    return NULL;
}

static bool add_rule(struct fake_rules *rules, const char *name, int number)
{
    struct fake_rule *rule;

    if (rules->count == FAKE_RULE_MAX || strlen(name) >= sizeof rules->rule[0].name)
        return false;
    rule = &rules->rule[rules->count++];
    memcpy(rule->name, name, strlen(name) + 1);
    rule->number = number;
    return true;
}

static bool copy(char *to, size_t size, const char *from)
{
    if (strlen(from) >= size)
        return false;
    memcpy(to, from, strlen(from) + 1);
    return true;
}

static bool add_card(struct fake_scenario *s, const char *name)
{
    struct fake_card *card;

    if (s->card_count == FAKE_CARD_MAX)
        return false;
    card = &s->card[s->card_count++];
    snprintf(card->uuid, sizeof card->uuid, "GPU-00000000-0000-0000-0000-%012" PRIu32,
             s->card_count);
    snprintf(card->pci, sizeof card->pci, "00000000:%02X:00.0", (unsigned)s->card_count);
    return copy(card->name, sizeof card->name, name);
}

/* "compute 1234 512", "graphics self unknown" */
static bool add_process(struct fake_card *card, const char *rest)
{
    static const char *const lists[] = {"compute", "graphics", "mps"};
    char list[16], pid[16], used[32];
    struct fake_process *process;

    if (card->process_count == FAKE_PROCESS_MAX ||
        sscanf(rest, "%15s %15s %31s", list, pid, used) != 3)
        return false;
    process = &card->process[card->process_count++];
    process->pid = strcmp(pid, "self") == 0 ? (uint32_t)getpid() : (uint32_t)atol(pid);
    process->used = strcmp(used, "unknown") == 0 ? UINT64_MAX : strtoull(used, NULL, 10) * MIB;
    for (int i = 0; i < 3; i++) {
        if (strcmp(list, lists[i]) == 0) {
            process->list = (enum fake_list)i;
            return true;
        }
    }
    return false;
}

/* MiB: total, reserved and used, the rest is free */
static bool set_memory(struct fake_card *card, const char *rest)
{
    uint64_t total, reserved, used;

    if (sscanf(rest, "%" SCNu64 " %" SCNu64 " %" SCNu64, &total, &reserved, &used) != 3)
        return false;
    card->total = total * MIB;
    card->reserved = reserved * MIB;
    card->used = used * MIB;
    card->free = (total - reserved - used) * MIB;
    return true;
}

/* "197 4294967290 u32" */
static bool add_field(struct fake_card *card, const char *rest)
{
    static const struct {
        const char *name;
        int type;
    } types[] = {{"u32", 1}, {"u64", 3}, {"i64", 4}, {"i32", 5}, {"u16", 6}, {"f64", 0}};
    char type[8] = "u64";
    struct fake_field *field;

    if (card->field_count == FAKE_FIELD_MAX)
        return false;
    field = &card->field[card->field_count++];
    if (sscanf(rest, "%u %" SCNu64 " %7s", &field->id, &field->value, type) < 2)
        return false;
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
        if (strcmp(type, types[i].name) == 0) {
            field->type = types[i].type;
            return true;
        }
    }
    return false;
}

/* "1234 80 1000000": pid, percent, microseconds */
static bool add_sample(struct fake_card *card, const char *rest)
{
    struct fake_sample *sample;

    if (card->sample_count == FAKE_SAMPLE_MAX)
        return false;
    sample = &card->sample[card->sample_count++];
    return sscanf(rest, "%u %u %" SCNu64, &sample->pid, &sample->sm, &sample->time_us) == 3;
}

/* "1g.10gb 9728 100": MiB in all and used; "none": an empty place */
static bool add_slice(struct fake_card *card, const char *rest)
{
    struct fake_slice *slice;
    char profile[32];

    if (card->slice_count == FAKE_SLICE_MAX)
        return false;
    slice = &card->slice[card->slice_count++];
    slice->empty = strcmp(rest, "none") == 0;
    if (slice->empty)
        return true;
    if (sscanf(rest, "%31s %" SCNu64 " %" SCNu64, profile, &slice->total, &slice->used) != 3)
        return false;
    slice->total *= MIB;
    slice->used *= MIB;
    snprintf(slice->name, sizeof slice->name, "MIG %s", profile);
    snprintf(slice->uuid, sizeof slice->uuid, "MIG-%" PRIu32, card->slice_count);
    return true;
}

static bool add_xid(struct fake_card *card, const char *rest)
{
    return card->xid_count < FAKE_XID_MAX && sscanf(rest, "%u", &card->xid[card->xid_count++]) == 1;
}

static bool card_line(struct fake_card *card, const char *key, const char *rest)
{
    char name[FAKE_NAME_MAX];
    int number = 0;

    if (strcmp(key, "uuid") == 0)
        return copy(card->uuid, sizeof card->uuid, rest);
    if (strcmp(key, "pci") == 0)
        return copy(card->pci, sizeof card->pci, rest);
    if (strcmp(key, "lost") == 0)
        return card->lost = true;
    if (strcmp(key, "memory") == 0)
        return set_memory(card, rest);
    if (strcmp(key, "memory_bytes") == 0)
        return sscanf(rest, "%" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64, &card->total,
                      &card->reserved, &card->free, &card->used) == 4;
    if (strcmp(key, "compute") == 0)
        return sscanf(rest, "%d.%d", &card->compute_major, &card->compute_minor) == 2;
    if (strcmp(key, "process") == 0)
        return add_process(card, rest);
    if (strcmp(key, "field") == 0)
        return add_field(card, rest);
    if (strcmp(key, "sample") == 0)
        return add_sample(card, rest);
    if (strcmp(key, "slice") == 0)
        return add_slice(card, rest);
    if (strcmp(key, "xid") == 0)
        return add_xid(card, rest);
    if (strcmp(key, "fail") == 0)
        return sscanf(rest, "%63s %d", name, &number) == 2 && add_rule(&card->fail, name, number);
    return sscanf(rest, "%d", &number) == 1 && add_rule(&card->value, key, number);
}

static bool pair_line(struct fake_scenario *s, const char *key, const char *rest)
{
    unsigned a = 0, b = 0;
    int one = 0, two = 0;
    const int count = sscanf(rest, "%u %u %d %d", &a, &b, &one, &two);
    struct fake_pair *pair;

    if (count < 3 || a >= FAKE_CARD_MAX || b >= FAKE_CARD_MAX || a == b)
        return false;
    pair = &s->pair[a][b];
    if (strcmp(key, "topology") == 0) {
        pair->has_topology = true;
        pair->topology = one;
    } else if (strcmp(key, "nvlink") == 0) {
        pair->nvlinks = (unsigned)one;
    } else if (count == 4 && one >= 0 && one < 5) {
        pair->has_p2p[one] = true;
        pair->p2p[one] = two;
    } else {
        return false;
    }
    s->pair[b][a] = *pair;
    return true;
}

static bool scenario_line(struct fake_scenario *s, const char *key, const char *rest)
{
    char name[FAKE_NAME_MAX];
    int number = 0;

    if (strcmp(key, "card") == 0)
        return add_card(s, rest);
    if (strcmp(key, "topology") == 0 || strcmp(key, "p2p") == 0 || strcmp(key, "nvlink") == 0)
        return pair_line(s, key, rest);
    if (strcmp(key, "missing") == 0)
        return add_rule(&s->missing, rest, 0);
    if (s->card_count > 0)
        return card_line(&s->card[s->card_count - 1], key, rest);
    if (strcmp(key, "driver") == 0)
        return copy(s->driver, sizeof s->driver, rest);
    if (strcmp(key, "trace") == 0)
        return copy(s->trace, sizeof s->trace, rest);
    if (strcmp(key, "backend_processes") == 0)
        return s->backend_processes = true;
    if (strcmp(key, "stride") == 0)
        return sscanf(rest, "%u", &s->stride) == 1 && s->stride <= 32;
    if (strcmp(key, "written") == 0)
        return sscanf(rest, "%u", &s->written) == 1 && s->written <= 32;
    if (strcmp(key, "hide") == 0)
        return sscanf(rest, "%u", &s->hide) == 1;
    if (strcmp(key, "fail") == 0)
        return sscanf(rest, "%63s %d", name, &number) == 2 && add_rule(&s->fail, name, number);
    if (strcmp(key, "delay") == 0)
        return sscanf(rest, "%63s %d", name, &number) == 2 && add_rule(&s->delay, name, number);
    return false;
}

static bool parse(FILE *file, const char *path)
{
    char line[512];

    for (unsigned number = 1; fgets(line, sizeof line, file); number++) {
        char *key = line + strspn(line, " \t"), *rest;

        key[strcspn(key, "\n")] = '\0';
        if (key[0] == '\0' || key[0] == '#')
            continue;
        rest = key + strcspn(key, " \t");
        if (*rest != '\0')
            *rest++ = '\0';
        rest += strspn(rest, " \t");
        if (!scenario_line(&scenario, key, rest)) {
            fprintf(stderr, "fake nvml: %s:%u: '%s %s' is not understood\n", path, number, key,
                    rest);
            return false;
        }
    }
    return true;
}

static bool same_file(const struct stat *a, const struct stat *b)
{
    return a->st_ino == b->st_ino && a->st_size == b->st_size &&
           a->st_mtim.tv_sec == b->st_mtim.tv_sec && a->st_mtim.tv_nsec == b->st_mtim.tv_nsec;
}

const struct fake_scenario *fake_scenario(void)
{
    const char *path = getenv("DUALGPUOPT_FAKE_NVML");
    struct stat now = {0};
    FILE *file = NULL;

    if (!path || stat(path, &now) != 0) {
        scenario.loaded = false;
        seen = (struct stat){0};
        return &scenario;
    }
    if (same_file(&now, &seen))
        return &scenario;
    memset(&scenario, 0, sizeof scenario);
    scenario.stride = 24;
    seen = now;
    file = fopen(path, "re");
    if (!file)
        return &scenario;
    scenario.loaded = parse(file, path);
    if (scenario.written == 0 || scenario.written > scenario.stride)
        scenario.written = scenario.stride;
    fclose(file);
    return &scenario;
}

static struct pretend_usage *usage; /* opened once: who reads us keeps its environment */

__attribute__((destructor)) static void close_usage(void)
{
    pretend_usage_close(usage);
    usage = NULL;
}

uint32_t fake_backend_uses(uint32_t index, struct pretend_use uses[PRETEND_PROCESSES_MAX])
{
    const char *path = getenv("PRETEND_GPU_USAGE");
    char error[256];

    if (!path || index >= PRETEND_CARDS_MAX)
        return 0;
    if (!usage && !(usage = pretend_usage_open(path, error, sizeof error))) {
        fprintf(stderr, "fake nvml: %s\n", error);
        return 0;
    }
    return pretend_usage_processes(usage, index, uses);
}

uint64_t fake_backend_bytes(uint32_t index)
{
    struct pretend_use use[PRETEND_PROCESSES_MAX];
    const uint32_t count = fake_backend_uses(index, use);
    uint64_t bytes = 0;

    for (uint32_t i = 0; i < count; i++)
        bytes += use[i].bytes;
    return bytes;
}
