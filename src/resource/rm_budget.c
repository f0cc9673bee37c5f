/* rm_budget.c - reads affinity, cgroup quotas and engine threads; decides how many of ours run. */
#include "rm_budget.h"

#include "cpu_list.h"
#include "dgo_text.h"
#include "dgo_units.h"
#include "rm_sys.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static uint32_t least_u32(uint32_t a, uint32_t b)
{
    return a < b ? a : b;
}

/* ---- affinity ---- */

static uint32_t read_cpus(const char *root, bool *has_proc)
{
    static const char key[] = "Cpus_allowed_list:";
    char path[512], text[8192];
    const char *line = NULL;
    uint32_t count = 0;
    cpu_set_t set;

    snprintf(path, sizeof path, "%s/proc/self/status", root);
    *has_proc = rm_sys_read_file(path, text, sizeof text) > 0;
    if (*has_proc)
        line = strstr(text, key);
    if (line) {
        line += sizeof key - 1;
        line += strspn(line, " \t");
        count = cpu_list_read(line, NULL);
    }
    if (count == 0 && sched_getaffinity(0, sizeof set, &set) == 0)
        count = (uint32_t)CPU_COUNT(&set);
    return count ? count : 1;
}

/* ---- cgroups ---- */

static void tighten(struct rm_budget_limits *limits, uint64_t quota, uint64_t period)
{
    uint64_t permille;

    if (period == 0 || quota > UINT64_MAX / 1000)
        return;
    permille = quota * 1000 / period;
    if (permille == 0)
        permille = 1;
    if (permille > UINT32_MAX || (limits->quota_known && limits->quota_permille <= permille))
        return;
    limits->quota_known = true;
    limits->quota_permille = (uint32_t)permille;
}

static bool read_number(const char *path, int64_t *number)
{
    char text[64], *end;

    if (rm_sys_read_file(path, text, sizeof text) <= 0)
        return false;
    *number = strtoll(text, &end, 10);
    return end != text;
}

/* "max 100000" or "150000 100000". */
static void read_v2(const char *folder, struct rm_budget_limits *limits)
{
    char path[1024], text[128];
    uint64_t quota, period;

    snprintf(path, sizeof path, "%.1000s/cpu.max", folder);
    if (rm_sys_read_file(path, text, sizeof text) > 0 &&
        sscanf(text, "%" SCNu64 " %" SCNu64, &quota, &period) == 2)
        tighten(limits, quota, period);
}

static void read_v1(const char *folder, struct rm_budget_limits *limits)
{
    char path[1024];
    int64_t quota, period;

    snprintf(path, sizeof path, "%.990s/cpu.cfs_quota_us", folder);
    if (!read_number(path, &quota) || quota <= 0)
        return;
    snprintf(path, sizeof path, "%.990s/cpu.cfs_period_us", folder);
    if (read_number(path, &period) && period > 0)
        tighten(limits, (uint64_t)quota, (uint64_t)period);
}

static uint64_t read_throttled(const char *folder)
{
    char path[1024], text[2048];
    const char *at;

    snprintf(path, sizeof path, "%.1000s/cpu.stat", folder);
    if (rm_sys_read_file(path, text, sizeof text) <= 0)
        return 0;
    at = strstr(text, "nr_throttled ");
    return at ? strtoull(at + sizeof "nr_throttled " - 1, NULL, 10) : 0;
}

/* The group and every one above it: any of them may limit.  In a container the path may name
 * folders that are not mounted here; then the mount itself is what there is. */
static void read_chain(const char *mount, const char *group,
                       void (*read)(const char *, struct rm_budget_limits *),
                       struct rm_budget_limits *limits)
{
    char folder[960];
    size_t mount_length;
    uint64_t throttled;

    if (strstr(group, ".."))
        group = "";
    snprintf(folder, sizeof folder, "%.400s%.500s", mount, strcmp(group, "/") == 0 ? "" : group);
    mount_length = strnlen(mount, 400);
    throttled = read_throttled(folder);
    if (throttled > limits->throttled)
        limits->throttled = throttled;
    for (;;) {
        char *slash;

        read(folder, limits);
        slash = strrchr(folder, '/');
        if (!slash || (size_t)(slash - folder) < mount_length)
            return;
        *slash = '\0';
    }
}

/* "0::/path" is version 2; "4:cpu,cpuacct:/path" version 1. */
static void read_cgroups(const char *root, bool has_proc, struct rm_budget_limits *limits)
{
    char path[512], text[8192], mount[512], *save = NULL;

    snprintf(path, sizeof path, "%s/proc/self/cgroup", root);
    if (rm_sys_read_file(path, text, sizeof text) < 0) {
        limits->cgroup_unread = !has_proc || errno != ENOENT; /* else the kernel has no cgroups */
        return;
    }
    for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
        char *controllers = strchr(line, ':');
        char *group = controllers ? strchr(controllers + 1, ':') : NULL;
        char wrapped[256];

        if (!group)
            continue;
        *group++ = '\0';
        controllers++;
        if (*controllers == '\0') {
            snprintf(mount, sizeof mount, "%s/sys/fs/cgroup", root);
            read_chain(mount, group, read_v2, limits);
            snprintf(mount, sizeof mount, "%s/sys/fs/cgroup/unified", root);
            read_chain(mount, group, read_v2, limits);
            continue;
        }
        snprintf(wrapped, sizeof wrapped, ",%.250s,", controllers);
        if (!strstr(wrapped, ",cpu,"))
            continue;
        snprintf(mount, sizeof mount, "%s/sys/fs/cgroup/cpu", root);
        read_chain(mount, group, read_v1, limits);
        snprintf(mount, sizeof mount, "%s/sys/fs/cgroup/%.200s", root, controllers);
        read_chain(mount, group, read_v1, limits);
    }
}

void rm_budget_read(const char *root, struct rm_budget_limits *limits)
{
    bool has_proc;

    *limits = (struct rm_budget_limits){.cpus = read_cpus(root, &has_proc)};
    read_cgroups(root, has_proc, limits);
}

/* ---- engines ---- */

static const struct rm_budget_task *last_look(const struct rm_budget_engine *engine, int32_t id)
{
    for (uint32_t i = 0; i < engine->task_count; i++)
        if (engine->task[i].id == id)
            return &engine->task[i];
    return NULL;
}

/* schedstat is "<run ns> <delay ns> <slices>". */
static bool read_delay(const char *root, uint32_t pid, struct rm_budget_task *task)
{
    char path[512], text[128];

    snprintf(path, sizeof path, "%s/proc/%" PRIu32 "/task/%" PRId32 "/schedstat", root, pid,
             task->id);
    return rm_sys_read_file(path, text, sizeof text) > 0 &&
           sscanf(text, "%" SCNu64 " %" SCNu64, &task->run_ns, &task->delay_ns) == 2;
}

/* False: it could not be read, which is not "sleeps". */
static bool read_state(const char *root, uint32_t pid, struct rm_budget_task *task)
{
    char path[512], text[1024];
    const char *after;

    snprintf(path, sizeof path, "%s/proc/%" PRIu32 "/task/%" PRId32 "/stat", root, pid, task->id);
    if (rm_sys_read_file(path, text, sizeof text) <= 0)
        return false;
    after = strrchr(text, ')');
    task->is_runnable = after && after[1] == ' ' && after[2] == 'R';
    return after != NULL;
}

/* One thread; false: nothing of it could be read.  Kernels without SCHED_INFO have no schedstat,
 * then it is counted all the same. */
static bool look_at_task(const char *root, uint32_t pid, const struct rm_budget_task *before,
                         struct rm_budget_task *task)
{
    task->is_timed = read_delay(root, pid, task);
    /* Most threads of a server sleep all the time: one file to read for these. */
    if (task->is_timed && before && before->is_timed && !before->is_runnable &&
        task->run_ns == before->run_ns)
        return true;
    if (read_state(root, pid, task))
        return true;
    task->is_runnable = task->is_timed && before && task->run_ns != before->run_ns;
    return task->is_timed;
}

static void note_delay(const struct rm_budget_task *before, const struct rm_budget_task *task,
                       uint64_t wall_ns, struct rm_budget_feel *feel)
{
    uint64_t permille;

    if (!before || !before->is_timed || !task->is_timed || task->delay_ns <= before->delay_ns)
        return;
    permille = (task->delay_ns - before->delay_ns) * 1000 / wall_ns;
    if (permille > feel->delay_permille)
        feel->delay_permille = permille > 1000 ? 1000 : (uint32_t)permille;
}

void rm_budget_feel(const char *root, struct rm_budget_engine *engine, uint64_t now_ns,
                    struct rm_budget_feel *feel)
{
    static struct rm_budget_task fresh[RM_BUDGET_TASK_MAX]; /* one caller: the keeper, locked */
    const uint64_t wall_ns = engine->seen_ns ? now_ns - engine->seen_ns : 0;
    uint32_t count = 0, runnable = 0;
    char path[512];
    struct dirent *entry;
    DIR *folder;

    *feel = (struct rm_budget_feel){.runnable = engine->threads_told ? engine->threads_told : 1};
    snprintf(path, sizeof path, "%s/proc/%" PRIu32 "/task", root, engine->pid);
    folder = opendir(path);
    if (!folder) { /* only then it is gone: out of descriptors or memory says nothing about it */
        feel->alive = feel->is_blind = errno != ENOENT && errno != ESRCH && errno != ENOTDIR;
        return;
    }
    feel->alive = true;
    while (count < RM_BUDGET_TASK_MAX && (entry = readdir(folder))) {
        struct rm_budget_task task = {.id = (int32_t)strtol(entry->d_name, NULL, 10)};
        const struct rm_budget_task *before = last_look(engine, task.id);

        if (task.id <= 0 || !look_at_task(root, engine->pid, before, &task))
            continue;
        if (wall_ns)
            note_delay(before, &task, wall_ns, feel);
        runnable += task.is_runnable;
        fresh[count++] = task;
    }
    closedir(folder);
    memcpy(engine->task, fresh, count * sizeof *fresh);
    engine->task_count = count;
    engine->seen_ns = now_ns;
    feel->is_blind = count == 0;
    if (!feel->is_blind)
        feel->runnable =
            engine->threads_told ? least_u32(engine->threads_told, runnable) : runnable;
}

/* ---- deciding ---- */

/* Whole CPUs that the machine gives; a quota below one still leaves one thread (it is throttled,
 * but a pool without a thread would hang). */
static uint32_t whole_cpus(const struct rm_budget_limits *limits)
{
    const uint32_t cpus =
        limits->quota_known ? least_u32(limits->cpus, limits->quota_permille / 1000) : limits->cpus;

    return cpus ? cpus : 1;
}

void rm_budget_init(struct rm_budget *budget, const struct rm_budget_limits *limits,
                    uint32_t normal, uint32_t background)
{
    const uint32_t cpus = whole_cpus(limits);

    *budget = (struct rm_budget){
        .normal_most = normal ? normal : cpus,
        .background_most = background ? background : cpus,
        .normal_duty_permille = 1000,
        .background_duty_permille = 1000,
        .throttled = limits->throttled,
    };
    budget->normal = budget->normal_most;
    budget->background = budget->background_most;
}

/* Threads that the arithmetic gives NORMAL while engines run. */
static uint32_t room_beside(const struct rm_budget *budget, const struct rm_budget_input *input)
{
    const uint32_t cpus = whole_cpus(&input->limits);
    const uint32_t engine = (budget->engine_eighths + 4) / 8;

    if (!input->protecting)
        return budget->normal_most;
    return least_u32(budget->normal_most, engine < cpus ? cpus - engine : 1);
}

/* Additive up, multiplicative down, below what the arithmetic gives. */
static void follow_delay(struct rm_budget *budget, const struct rm_budget_input *input,
                         struct rm_budget_output *output, uint32_t room)
{
    const bool was_throttled =
        input->limits.throttled > budget->throttled && input->limits.quota_known;
    const bool hurts = input->delay_permille > RM_DELAY_HIGH_PERMILLE;

    if (budget->normal > room) {
        budget->normal = room;
        snprintf(output->why, sizeof output->why, "%" PRIu32 " engine threads need their CPUs",
                 (budget->engine_eighths + 4) / 8);
        return;
    }
    if ((hurts || was_throttled) && budget->normal > 1) {
        budget->normal = (budget->normal + 1) / 2;
        budget->calm_since_ns = 0;
        if (was_throttled)
            snprintf(output->why, sizeof output->why, "the cgroup was throttled");
        else
            snprintf(output->why, sizeof output->why,
                     "an engine thread waited %" PRIu32 ".%" PRIu32 " %% of the time for a CPU",
                     input->delay_permille / 10, input->delay_permille % 10);
        return;
    }
    if (input->delay_permille >= RM_DELAY_LOW_PERMILLE || was_throttled) {
        budget->calm_since_ns = 0;
        return;
    }
    if (budget->calm_since_ns == 0)
        budget->calm_since_ns = input->now_ns;
    if (budget->normal < room && (input->now_ns - budget->calm_since_ns >= RM_CALM_NS ||
                                  (!input->protecting && input->queue_wait_ns > RM_GROW_NS))) {
        budget->normal++;
        budget->calm_since_ns = input->now_ns;
        snprintf(output->why, sizeof output->why, "%s",
                 input->protecting ? "engines did not wait for a second"
                                   : "jobs wait and no engine does");
    }
}

/* Halves what hurts, doubles after a calm second. */
static uint32_t adapt(uint32_t duty_permille, uint32_t least_permille, bool hurts, bool is_calm)
{
    if (hurts)
        return duty_permille / 2 > least_permille ? duty_permille / 2 : least_permille;
    return is_calm ? least_u32(1000, duty_permille * 2) : duty_permille;
}

/* NORMAL keeps one thread whatever happens, or whoever waits for it would hang.  Beside an engine
 * that needs all CPUs that thread takes one from it in turns, and an engine whose threads wait for
 * each other then runs at half speed: so it may use a small part of the time only.  SCHED_IDLE
 * keeps BACKGROUND out of the way, but where it was seen to hurt all the same it trickles too. */
static void follow_share(struct rm_budget *budget, const struct rm_budget_input *input,
                         struct rm_budget_output *output)
{
    const uint32_t engine = (budget->engine_eighths + 4) / 8;
    const uint32_t before = budget->normal_duty_permille;
    const bool is_due = input->now_ns - budget->adapted_ns >= RM_ADAPT_NS;
    const bool hurts =
        is_due && budget->normal == 1 && budget->delay_average_permille > RM_DELAY_HIGH_PERMILLE;
    const bool is_calm = input->now_ns - budget->adapted_ns >= RM_CALM_NS &&
                         budget->delay_average_permille < RM_DELAY_LOW_PERMILLE;

    if (!input->protecting) {
        budget->normal_duty_permille = budget->background_duty_permille = 1000;
        return;
    }
    if (engine >= whole_cpus(&input->limits))
        budget->normal_duty_permille = RM_DUTY_NORMAL_PERMILLE;
    else
        budget->normal_duty_permille = adapt(before, RM_DUTY_NORMAL_PERMILLE, hurts, is_calm);
    if (before <= RM_DUTY_NORMAL_PERMILLE || !hurts) /* first NORMAL, then BACKGROUND */
        budget->background_duty_permille =
            adapt(budget->background_duty_permille, RM_DUTY_TRICKLE_PERMILLE, hurts, is_calm);
    if (hurts || is_calm)
        budget->adapted_ns = input->now_ns;
    if (budget->normal_duty_permille < before && !output->why[0])
        snprintf(output->why, sizeof output->why,
                 "%" PRIu32 " engine threads need every CPU: %" PRIu32 ".%" PRIu32
                 " %% of the time is ours",
                 engine, budget->normal_duty_permille / 10, budget->normal_duty_permille % 10);
}

/* SCHED_IDLE keeps BACKGROUND out of everybody's way but for a quota, which it would use up. */
static void follow_quota(struct rm_budget *budget, const struct rm_budget_input *input,
                         struct rm_budget_output *output)
{
    const uint32_t before = budget->background;
    const uint32_t engine = (budget->engine_eighths + 4) / 8;
    uint32_t cpus;

    budget->background = budget->background_most;
    if (!input->limits.quota_known || !input->protecting)
        return;
    cpus = whole_cpus(&input->limits);
    if (cpus > engine + budget->normal) {
        budget->background = least_u32(budget->background_most, cpus - engine - budget->normal);
    } else {
        budget->background = 1;
        budget->background_duty_permille = RM_DUTY_TRICKLE_PERMILLE;
    }
    if (budget->background != before && !output->why[0])
        snprintf(output->why, sizeof output->why,
                 "the quota of %" PRIu32 ".%02" PRIu32 " CPUs is the engine's first",
                 input->limits.quota_permille / 1000, input->limits.quota_permille % 1000 / 10);
}

void rm_budget_step(struct rm_budget *budget, const struct rm_budget_input *input,
                    struct rm_budget_output *output)
{
    const uint32_t normal = budget->normal, background = budget->background;
    const uint32_t normal_duty = budget->normal_duty_permille;
    const uint32_t background_duty = budget->background_duty_permille;
    const uint32_t target = input->protecting ? input->engine_threads * 8 : 0;

    output->why[0] = '\0';
    /* Up at once: an engine that begins must not wait for an average to follow. */
    budget->engine_eighths =
        target > budget->engine_eighths
            ? target
            : budget->engine_eighths - (budget->engine_eighths - target + 7) / 8;
    budget->delay_average_permille =
        input->protecting ? (budget->delay_average_permille * 7 + input->delay_permille + 4) / 8
                          : 0;
    follow_delay(budget, input, output, room_beside(budget, input));
    follow_share(budget, input, output);
    follow_quota(budget, input, output);
    budget->throttled = input->limits.throttled;
    output->changed = normal != budget->normal || background != budget->background ||
                      normal_duty != budget->normal_duty_permille ||
                      background_duty != budget->background_duty_permille;
    if (output->changed && !output->why[0])
        snprintf(output->why, sizeof output->why, "engines no longer need it");
}
