/* consumer.c - who the processes are that hold memory, from /proc. */
#include "consumer.h"

#include "dgo_text.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

/* ---- roles --------------------------------------------------------------------------------- */

static bool matches(const char *pattern, const char *name)
{
    const size_t length = strlen(pattern);

    if (length && pattern[length - 1] == '*')
        return strncmp(name, pattern, length - 1) == 0;
    return strcmp(name, pattern) == 0;
}

enum dgo_process_role dgo_process_role_of(const char *name, const char *command)
{
    static const struct {
        enum dgo_process_role role;
        const char *name, *command;
    } rows[] = {
#define X(role, name) {DGO_ROLE_##role, name, NULL},
#define C(role, text) {DGO_ROLE_##role, NULL, text},
#include "consumers.def"
    };

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        if (rows[i].name ? matches(rows[i].name, name) : strstr(command, rows[i].command) != NULL)
            return rows[i].role;
    return DGO_ROLE_OTHER;
}

/* ---- commands ------------------------------------------------------------------------------ */

static bool is_word_end(char c)
{
    return !isalnum((unsigned char)c);
}

/* Whether one of the words of an option's or variable's name says that its value is a secret:
 * --api-key, HF_TOKEN, --password; not --max-tokens. */
static bool names_secret(const char *name, size_t length)
{
    static const char *const words[] = {"key",         "apikey", "token",      "secret",
                                        "password",    "passwd", "passphrase", "credential",
                                        "credentials", "auth"};

    for (size_t at = 0; at < length;) {
        size_t end = at;

        while (end < length && !is_word_end(name[end]))
            end++;
        for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
            if (strlen(words[i]) == end - at && strncasecmp(name + at, words[i], end - at) == 0)
                return true;
        at = end + 1;
    }
    return false;
}

/* Keys of services are known by how they begin, wherever they stand. */
static bool looks_secret(const char *argument)
{
    static const char *const beginnings[] = {"sk-", "hf_", "ghp_", "xoxb-", "AKIA"};

    for (size_t i = 0; i < sizeof beginnings / sizeof beginnings[0]; i++)
        if (strncmp(argument, beginnings[i], strlen(beginnings[i])) == 0 && strlen(argument) >= 16)
            return true;
    return strncasecmp(argument, "bearer ", 7) == 0;
}

static const char masked[] = "***";

/* https://user:password@host: what stands between the second colon and the at sign. */
static void add_plain(struct dgo_text *text, const char *argument, size_t length)
{
    const char *scheme = strstr(argument, "://");
    const char *at = scheme ? strchr(scheme, '@') : NULL;
    const char *colon = scheme ? strchr(scheme + 3, ':') : NULL;
    const char *slash = scheme ? strchr(scheme + 3, '/') : NULL;

    if (!at || !colon || colon > at || (slash && slash < at)) {
        dgo_text_add_escaped(text, argument, length);
        return;
    }
    dgo_text_add_escaped(text, argument, (size_t)(colon + 1 - argument));
    dgo_text_add(text, masked);
    dgo_text_add_escaped(text, at, strlen(at));
}

/* One argument; returns whether the next one is a secret. */
static bool add_argument(struct dgo_text *text, const char *argument, bool is_secret)
{
    const char *equals = strchr(argument, '=');
    const char *colon = strstr(argument, ": ");
    const char *value = equals ? equals + 1 : colon ? colon + 2 : NULL;

    if (is_secret || looks_secret(argument)) {
        dgo_text_add(text, masked);
        return false;
    }
    if (value && (names_secret(argument, (size_t)(value - argument)) ||
                  strncasecmp(argument, "authorization:", 14) == 0)) {
        dgo_text_add_escaped(text, argument, (size_t)(value - argument));
        dgo_text_add(text, masked);
        return false;
    }
    add_plain(text, argument, strlen(argument));
    return !value && argument[0] == '-' && names_secret(argument, strlen(argument));
}

void gpu_command_text(const char *bytes, size_t length, char *to, size_t size)
{
    struct dgo_text text = {.data = to, .size = size};
    bool next_secret = false;

    dgo_text_clear(&text);
    for (size_t at = 0; at < length;) {
        char argument[1024];
        const size_t rest = strnlen(bytes + at, length - at);
        const size_t kept = rest < sizeof argument ? rest : sizeof argument - 1;

        memcpy(argument, bytes + at, kept);
        argument[kept] = '\0';
        if (at > 0)
            dgo_text_add(&text, " ");
        next_secret = add_argument(&text, argument, next_secret);
        at += rest + 1;
    }
}

/* ---- containers ---------------------------------------------------------------------------- */

/* 64 hexadecimal digits, as container engines name theirs. */
static const char *find_id(const char *text)
{
    size_t run = 0;

    for (const char *at = text;; at++) {
        if (isxdigit((unsigned char)*at)) {
            run++;
            continue;
        }
        if (run == 64)
            return at - 64;
        if (*at == '\0')
            return NULL;
        run = 0;
    }
}

/* "/lxc.payload.NAME/...": the name behind a mark, up to the next slash or the mark's end. */
static bool add_named(const char *cgroup, const char *mark, const char *ending, const char *engine,
                      struct dgo_text *text)
{
    const char *at = strstr(cgroup, mark);
    size_t length;

    if (!at)
        return false;
    at += strlen(mark);
    length = strcspn(at, "/\n");
    if (ending && length > strlen(ending) &&
        strncmp(at + length - strlen(ending), ending, strlen(ending)) == 0)
        length -= strlen(ending);
    if (length == 0)
        return false;
    dgo_text_add(text, engine);
    dgo_text_add(text, " ");
    dgo_text_add_escaped(text, at, length);
    return true;
}

void gpu_container_name(const char *cgroup, char *to, size_t size)
{
    static const struct {
        const char *mark, *name;
    } engines[] = {
        {"libpod", "podman"},       {"docker", "docker"},         {"crio", "cri-o"},
        {"kubepods", "kubernetes"}, {"containerd", "containerd"}, {"", "container"},
    };
    struct dgo_text text = {.data = to, .size = size};
    const char *id = find_id(cgroup);

    dgo_text_clear(&text);
    for (size_t i = 0; id && i < sizeof engines / sizeof engines[0]; i++)
        if (strstr(cgroup, engines[i].mark)) {
            dgo_text_addf(&text, "%s %.12s", engines[i].name, id);
            return;
        }
    if (!add_named(cgroup, "/lxc.payload.", NULL, "lxc", &text) &&
        !add_named(cgroup, "/lxc/", NULL, "lxc", &text))
        (void)add_named(cgroup, "/machine.slice/machine-", ".scope", "nspawn", &text);
}

/* ---- /proc --------------------------------------------------------------------------------- */

static bool read_proc(const char *root, uint32_t pid, const char *file, char *text, size_t size)
{
    char path[64];

    snprintf(path, sizeof path, "/proc/%" PRIu32 "/%s", pid, file);
    return gpu_read_text(root, path, text, size);
}

struct stat_line {
    char name[32];
    uint32_t parent;
    uint64_t start_ticks;
};

/* "42 (a name (odd)) S 1 ...": the name may hold anything, so it ends at the last parenthesis. */
static bool read_stat(const char *root, uint32_t pid, struct stat_line *stat)
{
    char text[1024];
    const char *open, *close, *at;

    if (!read_proc(root, pid, "stat", text, sizeof text))
        return false;
    open = strchr(text, '(');
    close = strrchr(text, ')');
    if (!open || !close || close < open)
        return false;
    dgo_text_copy_escaped(stat->name, sizeof stat->name, open + 1, (size_t)(close - open - 1));
    at = close + 1;
    for (int field = 3; field <= 22; field++) {
        at += strspn(at, " ");
        if (field == 4)
            stat->parent = (uint32_t)strtoul(at, NULL, 10);
        if (field == 22)
            stat->start_ticks = strtoull(at, NULL, 10);
        at += strcspn(at, " ");
    }
    return true;
}

/* Names from a network would block: only the file is asked. */
static bool find_user(const char *root, uint32_t uid, char *owner, size_t size)
{
    enum { FILE_MAX = 1 << 16 };
    char *users = malloc(FILE_MAX), wanted[24];
    bool found = false;

    if (!users)
        return false;
    if (!gpu_read_text(root, "/etc/passwd", users, FILE_MAX))
        users[0] = '\0';
    snprintf(wanted, sizeof wanted, ":%" PRIu32 ":", uid);
    for (char *line = users; *line && !found;) {
        const size_t length = strcspn(line, "\n"), name_length = strcspn(line, ":\n");
        const char *third = memchr(line + name_length + (name_length < length), ':',
                                   length - name_length - (name_length < length));

        found = third && strncmp(third, wanted, strlen(wanted)) == 0;
        if (found)
            dgo_text_copy_escaped(owner, size, line, name_length);
        line += length + (line[length] == '\n');
    }
    free(users);
    return found;
}

/* "Uid:\t1000\t...": a name, or a number where the file has none. */
static void read_owner(const char *root, uint32_t pid, char *owner, size_t size)
{
    char text[4096];
    const char *at;
    uint32_t uid;

    owner[0] = '\0';
    if (!read_proc(root, pid, "status", text, sizeof text) || !(at = strstr(text, "\nUid:")))
        return;
    uid = (uint32_t)strtoul(at + 5, NULL, 10);
    if (!find_user(root, uid, owner, size))
        snprintf(owner, size, "%" PRIu32, uid);
}

/* This process, or one below a process of this program: an engine that it started. */
static bool is_ours(const char *root, uint32_t pid)
{
    enum { GENERATIONS_MAX = 16 };

    for (int i = 0; i < GENERATIONS_MAX && pid > 1; i++) {
        struct stat_line stat = {.name = ""};

        if (root[0] == '\0' && pid == (uint32_t)getpid())
            return true;
        if (!read_stat(root, pid, &stat))
            return false;
        if (strcmp(stat.name, "dualgpuopt") == 0)
            return true;
        pid = stat.parent;
    }
    return false;
}

static void ask_kernel(const char *root, const struct stat_line *stat,
                       struct dgo_gpu_process *process)
{
    char text[4096], path[64];
    size_t length = 0;

    dgo_text_copy(process->name, sizeof process->name, stat->name);
    process->start_ticks = stat->start_ticks;
    read_owner(root, process->pid, process->owner, sizeof process->owner);
    if (read_proc(root, process->pid, "cgroup", text, sizeof text))
        gpu_container_name(text, process->container, sizeof process->container);
    snprintf(path, sizeof path, "/proc/%" PRIu32 "/cmdline", process->pid);
    (void)gpu_read_bytes(root, path, text, sizeof text, &length);
    gpu_command_text(text, length, process->command, sizeof process->command);
    process->role = is_ours(root, process->pid)
                        ? DGO_ROLE_OURS
                        : dgo_process_role_of(process->name, process->command);
}

/* ---- what was found before ----------------------------------------------------------------- */

static struct dgo_gpu_process *find_known(struct consumers *consumers, uint32_t pid)
{
    for (uint32_t i = 0; i < consumers->count; i++)
        if (consumers->known[i].pid == pid)
            return &consumers->known[i];
    return NULL;
}

static struct dgo_gpu_process *new_place(struct consumers *consumers)
{
    struct dgo_gpu_process *place;

    if (consumers->count < CONSUMER_MAX)
        return &consumers->known[consumers->count++];
    place = &consumers->known[consumers->next];
    consumers->next = (consumers->next + 1) % CONSUMER_MAX;
    return place;
}

static void copy_facts(const struct dgo_gpu_process *from, struct dgo_gpu_process *to)
{
    to->role = from->role;
    to->start_ticks = from->start_ticks;
    memcpy(to->name, from->name, sizeof to->name);
    memcpy(to->owner, from->owner, sizeof to->owner);
    memcpy(to->container, from->container, sizeof to->container);
    memcpy(to->command, from->command, sizeof to->command);
}

static void tell(struct consumers *consumers, const char *root, bool again,
                 struct dgo_gpu_process *process)
{
    struct dgo_gpu_process *known = find_known(consumers, process->pid);
    struct stat_line stat = {.name = ""};

    if (known && !again) {
        copy_facts(known, process);
        return;
    }
    if (!read_stat(root, process->pid, &stat)) {
        if (known)
            known->pid = 0; /* gone: the next one with this pid is another */
        gpu_process_name(root, process->pid, process->name, sizeof process->name);
        return;
    }
    /* The name changes with exec, which a process does not end by. */
    if (!known || known->start_ticks != stat.start_ticks || strcmp(known->name, stat.name) != 0) {
        known = known ? known : new_place(consumers);
        *known = (struct dgo_gpu_process){.pid = process->pid};
        ask_kernel(root, &stat, known);
    }
    copy_facts(known, process);
}

void gpu_tell_consumers(struct consumers *consumers, const char *root, bool again,
                        struct dgo_machine *machine)
{
    for (uint32_t g = 0; g < machine->gpu_count; g++)
        for (uint32_t p = 0; p < machine->gpu[g].process_count; p++)
            tell(consumers, root, again, &machine->gpu[g].process[p]);
}
