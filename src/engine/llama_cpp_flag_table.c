/* llama_cpp_flag_table.c - looks a flag up in the table, and finds the one that may have been
 * meant. */
#include "llama_cpp_flags.h"

#include <string.h>

static const struct flag_row rows[] = {
#define X(action, value_count, spellings) {ACTION_##action, value_count, spellings},
#include "llama_cpp_flags.def"
#undef X
};
enum { ROW_COUNT = sizeof rows / sizeof rows[0] };

const struct flag_row *llama_cpp_flag_row(const char *flag)
{
    const size_t length = strlen(flag);

    for (uint32_t r = 0; r < ROW_COUNT; r++)
        for (const char *at = rows[r].spellings; *at; at += strspn(at, " ")) {
            const size_t one = strcspn(at, " ");

            if (one == length && memcmp(at, flag, length) == 0)
                return &rows[r];
            at += one;
        }
    return NULL;
}

/* Letters to change between two spellings, by the usual table, one row of it at a time. */
static uint32_t distance(const char *a, size_t a_length, const char *b, size_t b_length)
{
    uint32_t row[DGO_FLAG_TEXT_MAX + 1];

    if (a_length > DGO_FLAG_TEXT_MAX || b_length > DGO_FLAG_TEXT_MAX)
        return UINT32_MAX;
    for (uint32_t j = 0; j <= b_length; j++)
        row[j] = j;
    for (uint32_t i = 1; i <= a_length; i++) {
        uint32_t diagonal = row[0];

        row[0] = i;
        for (uint32_t j = 1; j <= b_length; j++) {
            const uint32_t above = row[j];
            const uint32_t changed = diagonal + (a[i - 1] != b[j - 1]);
            const uint32_t least = above < row[j - 1] ? above : row[j - 1];

            row[j] = changed < least + 1 ? changed : least + 1;
            diagonal = above;
        }
    }
    return row[b_length];
}

const char *llama_cpp_flag_nearest(const char *flag)
{
    uint32_t best = 3; /* beyond two letters it is another word */
    const char *nearest = NULL;

    for (uint32_t r = 0; r < ROW_COUNT; r++)
        for (const char *at = rows[r].spellings; *at; at += strspn(at, " ")) {
            const size_t one = strcspn(at, " ");
            const uint32_t apart = distance(flag, strlen(flag), at, one);

            if (apart < best) {
                best = apart;
                nearest = at;
            }
            at += one;
        }
    return nearest;
}
