/* folder_of_test.h - a fresh folder for a test, and its removal with all files in it. */
#ifndef FOLDER_OF_TEST_H
#define FOLDER_OF_TEST_H

#include "check.h"

#include <dirent.h>
#include <unistd.h>

struct test_folder {
    char path[64];
    char database[96];
    char damaged[112];
};

static inline void folder_make(struct test_folder *folder)
{
    snprintf(folder->path, sizeof folder->path, "/tmp/dgo-store-XXXXXX");
    assert_non_null(mkdtemp(folder->path));
    snprintf(folder->database, sizeof folder->database, "%s/history.db", folder->path);
    snprintf(folder->damaged, sizeof folder->damaged, "%s.damaged", folder->database);
}

static inline void folder_empty(const struct test_folder *folder)
{
    DIR *entries = opendir(folder->path);
    struct dirent *entry;

    assert_non_null(entries);
    while ((entry = readdir(entries)) != NULL)
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            (void)unlinkat(dirfd(entries), entry->d_name, 0);
    closedir(entries);
}

static inline void folder_remove(const struct test_folder *folder)
{
    folder_empty(folder);
    assert_int_equal(rmdir(folder->path), 0);
}

#endif
