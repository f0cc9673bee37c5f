/* lines.c - cuts a byte stream into lines that have an end, whatever the child writes. */
#include "lines.h"

static bool hand_over(struct lines *lines, bool partial, struct line *line)
{
    lines->data[lines->length] = '\0';
    lines->handed = true;
    *line = (struct line){.text = lines->data, .length = lines->length, .partial = partial};
    return true;
}

static bool end_by_cr(struct lines *lines, struct line *line)
{
    lines->swallow_lf = true;
    lines->held_empty = lines->length == 0;
    return lines->held_empty ? false : hand_over(lines, false, line);
}

/* The LF that may follow a CR: it makes CR LF one ending, and an empty line a real one. */
static bool end_by_lf(struct lines *lines, struct line *line)
{
    const bool belongs_to_cr = lines->swallow_lf && lines->length == 0;
    const bool empty_line = !belongs_to_cr || lines->held_empty;

    lines->swallow_lf = false;
    lines->held_empty = false;
    return empty_line ? hand_over(lines, false, line) : false;
}

bool lines_next(struct lines *lines, const char **bytes, size_t *left, struct line *line)
{
    while (*left > 0) {
        const char byte = **bytes;
        bool ready = false;

        if (lines->handed) {
            lines->length = 0;
            lines->handed = false;
        }
        if (byte != '\n' && byte != '\r' && lines->length == DGO_LINE_MAX)
            return hand_over(lines, true, line); /* the byte is looked at again by the next call */
        (*bytes)++;
        (*left)--;
        if (byte == '\n') {
            ready = end_by_lf(lines, line);
        } else if (byte == '\r') {
            ready = end_by_cr(lines, line);
        } else {
            lines->swallow_lf = false;
            lines->held_empty = false;
            lines->data[lines->length++] = byte;
        }
        if (ready)
            return true;
    }
    return false;
}

bool lines_end(struct lines *lines, struct line *line)
{
    const bool something = !lines->handed && lines->length > 0;

    if (something)
        hand_over(lines, false, line);
    lines->handed = true;
    lines->swallow_lf = false;
    lines->held_empty = false;
    return something;
}
