/* keep.c - records, plans and logs of launches in the daemon's folder. */
#include "keep.h"

#include "dgo_file.h"
#include "dgo_log.h"
#include "dgo_units.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

enum { RECORD_BYTES_MAX = 1 << 20 };

static const char *const suffixes[KEEP_FILE_COUNT] = {
    [KEEP_RECORD] = ".json", [KEEP_PLAN] = ".plan", [KEEP_LOG] = ".log"};

/* A plan as it lies in memory: it is read by the program that wrote it, or not at all. */
struct plan_file {
    char magic[8], version[24];
    uint64_t size, sum;
    struct dgo_plan plan;
};
static const char plan_magic[8] = "dgoplan";

enum dgo_status keep_open(const char *directory, int *lock_fd, struct dgo_error *err)
{
    const enum dgo_status status = dgo_folder_make(directory, err);
    int fd;

    if (status != DGO_OK)
        return status;
    fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return dgo_fail_errno(err, DGO_EIO, errno, "cannot open the folder \"%s\"", directory);
    if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
        close(fd);
        return dgo_fail(err, DGO_EBUSY,
                        "another daemon uses \"%s\"; stop it, or choose another --state-dir",
                        directory);
    }
    *lock_fd = fd;
    return DGO_OK;
}

bool keep_path(const char *directory, uint64_t id, enum keep_file file, char path[PATH_MAX])
{
    return directory && snprintf(path, PATH_MAX, "%s/launch-%" PRIu64 "%s", directory, id,
                                 suffixes[file]) < PATH_MAX;
}

bool keep_socket(const char *daemon_socket, uint64_t id, char *path, size_t size)
{
    const char *slash = strrchr(daemon_socket, '/');

    return slash && (size_t)snprintf(path, size, "%.*s/engine-%" PRIu64 ".sock",
                                     (int)(slash - daemon_socket), daemon_socket, id) < size;
}

/* A file beside it, renamed. */
static bool save(const char *path, const void *bytes, size_t length)
{
    char part[PATH_MAX];
    int fd = -1;
    bool saved = false;

    if (snprintf(part, sizeof part, "%s.part", path) < (int)sizeof part)
        fd = open(part, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd >= 0) {
        saved = write(fd, bytes, length) == (ssize_t)length;
        saved = close(fd) == 0 && saved && rename(part, path) == 0;
    }
    if (!saved) {
        dgo_log(DGO_LOG_WARN,
                "\"%s\" could not be written (%s): after a crash of the daemon its "
                "engine will not be found again",
                path, strerror(errno));
        (void)unlink(part);
    }
    return saved;
}

void keep_save_record(const char *directory, uint64_t id, const json_t *record)
{
    char path[PATH_MAX];
    char *text = json_dumps(record, JSON_INDENT(1));

    if (text && keep_path(directory, id, KEEP_RECORD, path))
        (void)save(path, text, strlen(text));
    free(text);
}

/* FNV-1a: tells a cut or changed file, nothing more. */
static uint64_t sum_of(const void *bytes, size_t length)
{
    const unsigned char *at = bytes;
    uint64_t sum = UINT64_C(0xcbf29ce484222325);

    for (size_t i = 0; i < length; i++)
        sum = (sum ^ at[i]) * UINT64_C(0x100000001b3);
    return sum;
}

void keep_save_plan(const char *directory, uint64_t id, const struct dgo_plan *plan)
{
    struct plan_file *file = calloc(1, sizeof *file);
    char path[PATH_MAX];

    if (file && keep_path(directory, id, KEEP_PLAN, path)) {
        memcpy(file->magic, plan_magic, sizeof file->magic);
        (void)snprintf(file->version, sizeof file->version, "%s", DGO_VERSION);
        file->size = sizeof *file;
        memcpy(&file->plan, plan, sizeof *plan);
        file->sum = sum_of(&file->plan, sizeof file->plan);
        (void)save(path, file, sizeof *file);
    }
    free(file);
}

enum dgo_status keep_load_plan(const char *directory, uint64_t id, struct dgo_plan *plan,
                               struct dgo_error *err)
{
    struct plan_file *file = NULL;
    char path[PATH_MAX], *bytes = NULL;
    size_t length = 0;
    enum dgo_status status;

    if (!keep_path(directory, id, KEEP_PLAN, path))
        return dgo_fail(err, DGO_ENOTFOUND, "no plan is kept");
    status = dgo_file_read(path, "the kept plan", sizeof *file, &bytes, &length, err);
    if (status != DGO_OK)
        return status;
    file = malloc(sizeof *file);
    if (!file)
        status = dgo_fail(err, DGO_ENOMEM, "out of memory");
    else if (length != sizeof *file)
        status = dgo_fail(err, DGO_EFORMAT, "the kept plan is another version's");
    if (status == DGO_OK) {
        memcpy(file, bytes, sizeof *file);
        if (memcmp(file->magic, plan_magic, sizeof file->magic) != 0 ||
            strncmp(file->version, DGO_VERSION, sizeof file->version) != 0 ||
            file->size != sizeof *file || file->sum != sum_of(&file->plan, sizeof file->plan))
            status = dgo_fail(err, DGO_EFORMAT, "the kept plan is another version's, or damaged");
        else
            memcpy(plan, &file->plan, sizeof *plan);
    }
    free(file);
    free(bytes);
    return status;
}

void keep_remove(const char *directory, uint64_t id, bool all)
{
    static const char *const more[] = {"", ".1", ".head"};
    char path[PATH_MAX], name[PATH_MAX + 8];

    for (int file = KEEP_RECORD; file <= KEEP_PLAN; file++)
        if (keep_path(directory, id, (enum keep_file)file, path))
            (void)unlink(path);
    for (size_t i = 0; all && i < sizeof more / sizeof more[0]; i++)
        if (keep_path(directory, id, KEEP_LOG, path)) {
            (void)snprintf(name, sizeof name, "%s%s", path, more[i]);
            (void)unlink(name);
        }
}

/* "launch-12.json" */
static bool read_id(const char *name, uint64_t *id)
{
    static const char before[] = "launch-", after[] = ".json";
    const size_t length = strlen(name);
    char digits[24];

    if (length <= sizeof before + sizeof after - 2 || length > 40 ||
        strncmp(name, before, sizeof before - 1) != 0 ||
        strcmp(name + length - (sizeof after - 1), after) != 0)
        return false;
    (void)snprintf(digits, sizeof digits, "%.*s", (int)(length - sizeof before - sizeof after + 2),
                   name + sizeof before - 1);
    return dgo_u64_parse(digits, "launch", 1, INT64_MAX, id, NULL) == DGO_OK;
}

void keep_sweep(const char *directory, bool (*known)(uint64_t id, void *data), void *data)
{
    static const char before[] = "launch-";
    DIR *folder = directory ? opendir(directory) : NULL;
    struct dirent *entry;

    while (folder && (entry = readdir(folder))) {
        char *end;
        unsigned long long id;

        if (strncmp(entry->d_name, before, sizeof before - 1) != 0)
            continue;
        id = strtoull(entry->d_name + sizeof before - 1, &end, 10);
        if (*end == '.' && !known(id, data))
            (void)unlinkat(dirfd(folder), entry->d_name, 0);
    }
    if (folder)
        closedir(folder);
}

static int by_id(const void *a, const void *b)
{
    const uint64_t one = *(const uint64_t *)a, other = *(const uint64_t *)b;

    return (one > other) - (one < other);
}

static json_t *load_record(const char *directory, uint64_t id)
{
    char path[PATH_MAX], *bytes = NULL;
    struct dgo_error err = {0};
    json_t *record = NULL;
    size_t length = 0;

    if (!keep_path(directory, id, KEEP_RECORD, path))
        return NULL;
    if (dgo_file_read(path, "the record", RECORD_BYTES_MAX, &bytes, &length, &err) == DGO_OK)
        record = json_loadb(bytes, length, JSON_REJECT_DUPLICATES, NULL);
    free(bytes);
    if (!record || !json_is_object(record)) {
        dgo_log(DGO_LOG_WARN, "\"%s\" cannot be read and is removed", path);
        json_decref(record);
        keep_remove(directory, id, true);
        return NULL;
    }
    return record;
}

uint32_t keep_load_records(const char *directory, json_t *records[KEEP_LAUNCH_MAX])
{
    uint64_t ids[KEEP_LAUNCH_MAX];
    DIR *folder = directory ? opendir(directory) : NULL;
    struct dirent *entry;
    uint32_t id_count = 0, count = 0;

    while (folder && id_count < KEEP_LAUNCH_MAX && (entry = readdir(folder)))
        if (read_id(entry->d_name, &ids[id_count]))
            id_count++;
    if (folder)
        closedir(folder);
    qsort(ids, id_count, sizeof ids[0], by_id);
    for (uint32_t i = 0; i < id_count; i++) {
        json_t *record = load_record(directory, ids[i]);

        if (record) {
            json_object_set_new(record, "id", json_integer((json_int_t)ids[i]));
            records[count++] = record;
        }
    }
    return count;
}
