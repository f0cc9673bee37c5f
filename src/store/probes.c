/* probes.c - what a binary said of itself, by its hash. */
#include "sql.h"

#include "dgo_text.h"

#include <stdlib.h>
#include <string.h>

enum { FLAGS_BYTES_MAX = DGO_FLAG_MAX * sizeof(((struct dgo_probe *)0)->flag[0]) };

/* One flag a line.  False: a name has a line end, so it would come back as two. */
static bool join_flags(const struct dgo_probe *probe, struct dgo_text *text)
{
    for (uint32_t i = 0; i < probe->flag_count; i++) {
        if (strchr(probe->flag[i], '\n'))
            return false;
        dgo_text_addf(text, "%s\n", probe->flag[i]);
    }
    return !text->truncated;
}

static bool split_flags(const char *text, struct dgo_probe *probe)
{
    while (*text) {
        const size_t length = strcspn(text, "\n");

        if (probe->flag_count == DGO_FLAG_MAX || length >= sizeof probe->flag[0] ||
            text[length] != '\n')
            return false;
        memcpy(probe->flag[probe->flag_count], text, length);
        probe->flag[probe->flag_count++][length] = '\0';
        text += length + 1;
    }
    return true;
}

/* From the row the statement stands on; false: not what we write. */
static bool read_probe(sqlite3_stmt *row, struct dgo_probe *probe)
{
    const uint64_t build = sql_u64(row, 0);

    memset(probe, 0, sizeof *probe);
    probe->build = (uint32_t)build;
    return build <= UINT32_MAX &&
           dgo_text_copy(probe->version, sizeof probe->version, sql_text(row, 1)) &&
           split_flags(sql_text(row, 2), probe);
}

enum dgo_status dgo_store_get_probe(struct dgo_store *store, const char *binary_hash,
                                    struct dgo_probe *probe, struct dgo_error *err)
{
    sqlite3_stmt *statement = store->statement[SQL_GET_PROBE];
    struct dgo_probe *found = malloc(sizeof *found);
    enum dgo_status status = DGO_OK;
    int result;

    if (!found)
        return dgo_fail(err, DGO_ENOMEM, "no memory for a probe");
    result = sql_bind_text(statement, 1, binary_hash);
    if (result == SQLITE_OK)
        result = sqlite3_step(statement);
    if (result == SQLITE_DONE)
        status = dgo_fail(err, DGO_ENOTFOUND, "no engine with this hash was probed before");
    else if (result != SQLITE_ROW)
        status = sql_fail(store, result, err);
    else if (!read_probe(statement, found))
        status = sql_fail(store, SQLITE_CORRUPT, err);
    else
        *probe = *found;
    (void)sqlite3_reset(statement);
    free(found);
    return status;
}

static int put_probe(struct dgo_store *store, void *data)
{
    const int result = sql_run(store, SQL_PUT_PROBE);

    (void)data;
    if (result != SQLITE_OK)
        return result;
    return sql_trim(store, SQL_TRIM_PROBES, DGO_STORE_PROBE_MAX);
}

enum dgo_status dgo_store_put_probe(struct dgo_store *store, const char *binary_hash,
                                    const struct dgo_probe *probe, struct dgo_error *err)
{
    sqlite3_stmt *statement = store->statement[SQL_PUT_PROBE];
    char *flags = malloc(FLAGS_BYTES_MAX + 1);
    enum dgo_status status = DGO_OK;
    int result;

    if (!flags)
        return dgo_fail(err, DGO_ENOMEM, "no memory for a probe");
    flags[0] = '\0';

    struct dgo_text text = {.data = flags, .size = FLAGS_BYTES_MAX + 1};

    if (!join_flags(probe, &text)) {
        free(flags);
        return dgo_fail(err, DGO_EINVAL, "a flag of the engine has a line end in its name");
    }
    result = sql_bind_text(statement, 1, binary_hash);
    if (result == SQLITE_OK)
        result = sql_bind_u64(statement, 2, probe->build);
    if (result == SQLITE_OK)
        result = sql_bind_text(statement, 3, probe->version);
    if (result == SQLITE_OK)
        result = sql_bind_text(statement, 4, flags);
    if (result == SQLITE_OK)
        result = sql_transaction(store, put_probe, NULL);
    if (result != SQLITE_OK)
        status = sql_fail(store, result, err);
    (void)sqlite3_clear_bindings(statement);
    free(flags);
    return status;
}
