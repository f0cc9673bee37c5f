/* dgo_svg.h - pictures as SVG text: a pure writer for bars, lines and labels.
 *
 * Everything goes into the caller's struct dgo_text, so a picture is bounded like any other text;
 * dgo_svg_end says whether it is whole.  Text from outside is escaped here.  Colours come from CSS
 * classes that suit a light and a dark page alike (prefers-color-scheme), and parts can be hatched,
 * so that a picture reads without colour too; title and description are what a screen reader says.
 * Lengths are in pixels of the picture's own size; numbers are written to a hundredth, whatever the
 * locale.  One owner at a time, like the text. */
#ifndef DGO_SVG_H
#define DGO_SVG_H

#include "dgo_text.h"

/* What a shape means, and with it its colour.  The eight series are Okabe and Ito's palette, which
 * people with any colour vision tell apart; bars are filled with it, lines drawn. */
enum dgo_svg_paint {
    DGO_SVG_SERIES_1,
    DGO_SVG_SERIES_2,
    DGO_SVG_SERIES_3,
    DGO_SVG_SERIES_4,
    DGO_SVG_SERIES_5,
    DGO_SVG_SERIES_6,
    DGO_SVG_SERIES_7,
    DGO_SVG_SERIES_8,
    DGO_SVG_HATCHED, /* kept free: hatched in grey */
    DGO_SVG_FRAME,   /* an outline without a filling */
    DGO_SVG_GRID,    /* thin and pale */
    DGO_SVG_BAD,     /* too much, failed */
    DGO_SVG_PAINT_COUNT
};

enum dgo_svg_anchor { DGO_SVG_START, DGO_SVG_MIDDLE, DGO_SVG_END };
enum dgo_svg_voice { DGO_SVG_PLAIN, DGO_SVG_STRONG, DGO_SVG_MUTED, DGO_SVG_ON_PAINT };

enum { DGO_SVG_SERIES_COUNT = 8 };

struct dgo_svg {
    struct dgo_text *out;
    uint32_t open_groups;
};

/* Starts a picture of that size.  `title` is a short name, `description` (may be NULL) what it
 * shows in a sentence or two. */
void dgo_svg_begin(struct dgo_svg *svg, struct dgo_text *out, double width, double height,
                   const char *title, const char *description);

/* Closes what is open.  False: it did not fit into the text and must not be shown. */
bool dgo_svg_end(struct dgo_svg *svg);

/* Shapes that belong together; `title` (may be NULL) is shown when the pointer rests on them. */
void dgo_svg_group_begin(struct dgo_svg *svg, const char *title);
void dgo_svg_group_end(struct dgo_svg *svg);

/* A rectangle; one without width or height, or with one that is not finite, is left out. */
void dgo_svg_rect(struct dgo_svg *svg, double x, double y, double width, double height,
                  enum dgo_svg_paint paint, const char *title);

void dgo_svg_line(struct dgo_svg *svg, double x1, double y1, double x2, double y2,
                  enum dgo_svg_paint paint);

/* A line through `count` points.  A point that is not finite is unknown: the line has a gap there.
 */
void dgo_svg_polyline(struct dgo_svg *svg, const double *x, const double *y, size_t count,
                      enum dgo_svg_paint paint, const char *title);

/* Words with their baseline at y.  ON_PAINT is for words on top of a filled shape. */
void dgo_svg_text(struct dgo_svg *svg, double x, double y, enum dgo_svg_anchor anchor,
                  enum dgo_svg_voice voice, const char *words);

/* Adds text as it may stand in XML, in an element or an attribute: escaped as for a terminal
 * (dgo_text.h), and &, <, > and quotes by their names. */
void dgo_svg_escape(struct dgo_text *out, const char *text);

#endif
