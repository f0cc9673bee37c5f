/* lines.h - bytes of a child to bounded lines; private to the folder, pure. */
#ifndef LINES_H
#define LINES_H

#include "dgo_launch.h"

struct lines {
    size_t length;   /* of the line that is being gathered */
    bool handed;     /* its bytes were handed over; the next call starts a new one */
    bool swallow_lf; /* the last line ended in CR: an LF right after belongs to it */
    bool held_empty; /* ... and that line was empty, so it counts only if the LF comes */
    char data[DGO_LINE_MAX + 1];
};

/* `text` is terminated and lives until the next call. */
struct line {
    const char *text;
    size_t length;
    bool partial;
};

/* Takes bytes from the front of (*bytes, *left) until a line is ready; false when they ran out.
 *
 * LF, CR LF and a lone CR (progress bars redraw with it) end a line; an empty line that ended in a
 * lone CR shows nothing and is left out.  Exactly DGO_LINE_MAX bytes are still one whole line. */
bool lines_next(struct lines *lines, const char **bytes, size_t *left, struct line *line);

/* The stream has ended: whatever is left without its newline; false when nothing is. */
bool lines_end(struct lines *lines, struct line *line);

#endif
