/* dgo_text.h - bounded text: a builder that never overruns, and the one escaping function.
 *
 * Text from outside (model files, logs, GPU and process names) passes dgo_text_add_escaped before
 * a terminal, a log or a page sees it.  Not thread-safe: one owner. */
#ifndef DGO_TEXT_H
#define DGO_TEXT_H

#include "dgo_base.h"

/* Builds into the caller's buffer; always NUL-terminated once initialised. */
struct dgo_text {
    char *data;
    size_t size;    /* of data, terminator included; at least 1 */
    size_t length;  /* without the terminator */
    bool truncated; /* something did not fit; sticky */
};

#define DGO_TEXT(array)                                                                            \
    (struct dgo_text)                                                                              \
    {                                                                                              \
        .data = ((array)[0] = '\0', (array)), .size = sizeof(array)                                \
    }

void dgo_text_add(struct dgo_text *text, const char *string);
void dgo_text_add_bytes(struct dgo_text *text, const char *bytes, size_t length);
void dgo_text_addf(struct dgo_text *text, const char *fmt, ...) DGO_PRINTF(2, 3);
void dgo_text_clear(struct dgo_text *text);

/* Adds `length` bytes with everything that could drive a terminal or hide text made visible:
 * C0 and C1 controls and DEL as \xNN, invalid UTF-8 bytes as \xNN, bidirectional controls,
 * zero-width characters and other format characters as \u{NNNN}.  Tab becomes a space.  What is
 * left is printable, valid UTF-8 in one line. */
void dgo_text_add_escaped(struct dgo_text *text, const char *bytes, size_t length);

/* Copies a C string, cut to fit; returns whether it fitted whole.  An escaped twin follows. */
bool dgo_text_copy(char *to, size_t to_size, const char *from);
bool dgo_text_copy_escaped(char *to, size_t to_size, const char *from, size_t from_length);

/* Whether it is one of an array's texts. */
bool dgo_text_in(const char *text, const char *const *array, size_t count);
#define DGO_TEXT_IN(text, array) dgo_text_in(text, array, sizeof(array) / sizeof(array)[0])

/* Decodes one UTF-8 character at bytes (length > 0).  Returns its length 1..4 and the code point,
 * or 0 when the bytes are no valid UTF-8 (overlong, surrogate, above U+10FFFF, cut). */
uint32_t dgo_utf8_decode(const char *bytes, size_t length, uint32_t *code_point);

#endif
