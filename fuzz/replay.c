/* replay.c - runs a fuzz target over files and folders without a fuzzer: the corpus as a test, and
 * a crash file again. */
#include <dirent.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t length);

static int complain(const char *path)
{
    fprintf(stderr, "replay: %s: %s\n", path, strerror(errno));
    return -1;
}

/* The number of inputs that ran; -1: the file cannot be read. */
static int run_file(const char *path, size_t length)
{
    FILE *file = fopen(path, "rb");
    uint8_t *data = malloc(length ? length : 1);
    int count = -1;

    if (!file || !data || fread(data, 1, length, file) != length) {
        complain(path);
        goto out;
    }
    fprintf(stderr, "replay: %s (%zu bytes)\n", path, length);
    LLVMFuzzerTestOneInput(data, length);
    count = 1;
out:
    free(data);
    if (file)
        fclose(file);
    return count;
}

static int run_path(const char *path);

static int run_folder(const char *path)
{
    DIR *folder = opendir(path);
    const struct dirent *entry;
    int count = 0;

    if (!folder)
        return complain(path);
    while (count >= 0 && (entry = readdir(folder))) {
        char inner[4096];

        if (entry->d_name[0] == '.')
            continue;
        if ((size_t)snprintf(inner, sizeof inner, "%s/%s", path, entry->d_name) >= sizeof inner)
            continue;

        const int ran = run_path(inner);

        count = ran < 0 ? -1 : count + ran;
    }
    closedir(folder);
    return count;
}

static int run_path(const char *path)
{
    struct stat about;

    if (stat(path, &about))
        return complain(path);
    return S_ISDIR(about.st_mode) ? run_folder(path) : run_file(path, (size_t)about.st_size);
}

int main(int argc, char **argv)
{
    int total = 0;

    for (int i = 1; i < argc; i++) {
        const int ran = run_path(argv[i]);

        if (ran < 0)
            return 1;
        total += ran;
    }
    if (total == 0) {
        fprintf(stderr, "replay: no inputs; name files or folders\n");
        return 1;
    }
    printf("%d inputs\n", total);
    return 0;
}
