/* catalog.h - the model files in the configured folders, by the name that clients may say.
 * Private to the folder.
 *
 * A client's text is only ever compared with the names of this list; no path is made from it.
 * Any thread; a catalog is a value that does not change. */
#ifndef CATALOG_H
#define CATALOG_H

#include "dgo_base.h"

#include <jansson.h>

enum {
    CATALOG_MODEL_MAX = 4096,
    CATALOG_ENTRY_MAX = 50000, /* files and folders looked at */
    CATALOG_DEPTH_MAX = 8,
    CATALOG_NAME_MAX = 512,
};

struct catalog_model {
    char *name; /* path below its folder, without ".gguf" and the numbers of a split file */
    char *path; /* whole; of the first part */
    uint64_t file_bytes;
    uint32_t shard_count;
};

struct catalog {
    uint32_t model_count;
    struct catalog_model *model; /* by name */
    bool truncated;              /* a bound was reached */
    uint32_t folder_count;
    char **folder;
    char *problem; /* of the folders that could not be read, for people; NULL: none */
};

/* A folder that cannot be read is said in `problem` and is no failure.  Links lead to files below
 * the same folder, or nowhere. */
DGO_MUST_CHECK
enum dgo_status catalog_scan(const char *const *folders, uint32_t folder_count,
                             struct catalog **catalog, struct dgo_error *err);

/* "DIR:DIR" as folders, at most `max`; their texts point into `text`, which is cut up. */
uint32_t catalog_split(char *text, const char **folders, uint32_t max);
void catalog_free(struct catalog *catalog); /* accepts NULL */

/* DGO_ENOTFOUND says the same whatever is there outside the folders. */
DGO_MUST_CHECK
enum dgo_status catalog_find(const struct catalog *catalog, const char *name,
                             const struct catalog_model **model, struct dgo_error *err);

json_t *catalog_view(const struct catalog *catalog);

#endif
