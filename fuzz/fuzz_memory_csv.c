/* fuzz_memory_csv.c - memory over time as CSV: any bytes are read into a profiler and judged. */
#include "dgo_memory_csv.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t length);

static void take(struct dgo_profiler *profiler, const struct dgo_memory_csv *csv, const char *line,
                 size_t length)
{
    struct dgo_memory_csv_row row;
    struct dgo_error err = {0};

    if (dgo_memory_csv_read(csv, line, length, &row, &err) == DGO_OK)
        (void)dgo_profiler_add(profiler, &row.reading, &err);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t length)
{
    const struct dgo_profiler_options options = {.judge_every_s = 300};
    struct dgo_profiler *profiler = NULL;
    struct dgo_memory_csv csv;
    struct dgo_error err = {0};
    const char *text = (const char *)data;
    bool begun = false;

    if (dgo_profiler_new(&options, &profiler, &err) != DGO_OK)
        abort();
    for (size_t at = 0; at < length;) {
        const char *end = memchr(text + at, '\n', length - at);
        const size_t line = (end ? (size_t)(end - text) : length) - at;

        if (begun)
            take(profiler, &csv, text + at, line);
        else if (dgo_memory_csv_begin(&csv, text + at, line, &err) != DGO_OK)
            break;
        begun = true;
        at += line + 1;
    }
    dgo_profiler_judge(profiler);
    dgo_profiler_find_patterns(profiler);
    dgo_profiler_free(profiler);
    return 0;
}
