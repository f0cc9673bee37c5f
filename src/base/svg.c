/* svg.c - SVG, element by element. */
#include "dgo_svg.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

/* Beyond, no picture is meant; it also keeps the arithmetic below inside 64 bits. */
#define COORDINATE_MAX 1e9

static const char *const paint_class[DGO_SVG_PAINT_COUNT] = {
    [DGO_SVG_SERIES_1] = "s1", [DGO_SVG_SERIES_2] = "s2", [DGO_SVG_SERIES_3] = "s3",
    [DGO_SVG_SERIES_4] = "s4", [DGO_SVG_SERIES_5] = "s5", [DGO_SVG_SERIES_6] = "s6",
    [DGO_SVG_SERIES_7] = "s7", [DGO_SVG_SERIES_8] = "s8", [DGO_SVG_HATCHED] = "hatched",
    [DGO_SVG_FRAME] = "frame", [DGO_SVG_GRID] = "grid",   [DGO_SVG_BAD] = "bad",
};

static const char *const voice_class[] = {
    [DGO_SVG_PLAIN] = "plain",
    [DGO_SVG_STRONG] = "strong",
    [DGO_SVG_MUTED] = "muted",
    [DGO_SVG_ON_PAINT] = "on",
};

static const char *const anchor_name[] = {
    [DGO_SVG_START] = "start",
    [DGO_SVG_MIDDLE] = "middle",
    [DGO_SVG_END] = "end",
};

/* Light first; a dark page replaces the colours and nothing else.  Names hang on the class of the
 * picture, so that it may stand inside any page.  Plain `color` and currentColor, no variables:
 * converters (librsvg, ImageMagick) know these and would paint the others black. */
#define COLOURS(s1, s2, s3, s4, s5, s6, s7, s8, ink, pale, rule, edge, bad, on)                    \
    ".dgo-svg .s1{color:" s1 "}.dgo-svg .s2{color:" s2 "}.dgo-svg .s3{color:" s3 "}"               \
    ".dgo-svg .s4{color:" s4 "}.dgo-svg .s5{color:" s5 "}.dgo-svg .s6{color:" s6 "}"               \
    ".dgo-svg .s7{color:" s7 "}.dgo-svg .s8{color:" s8 "}.dgo-svg text{color:" ink "}"             \
    ".dgo-svg .muted{color:" pale "}.dgo-svg .grid{color:" rule "}"                                \
    ".dgo-svg .frame,.dgo-svg .hatched{color:" edge "}.dgo-svg .bad{color:" bad "}"                \
    ".dgo-svg .on{color:" on "}"
static const char style[] =
    "<style>\n"
    ".dgo-svg{font:12px system-ui,sans-serif}.dgo-svg .strong{font-weight:600}\n" COLOURS(
        "#0072b2", "#009e73", "#e69f00", "#cc79a7", "#56b4e9", "#d55e00", "#b8a800", "#5b5b5b",
        "#1c1c1c", "#5f5f5f", "#d4d4d4", "#7a7a7a", "#b00020",
        "#ffffff") "\n@media(prefers-color-scheme:dark){" COLOURS("#4aa8e0", "#2fc79b", "#f0b536",
                                                                  "#e09cc2", "#8fd0f5", "#f08a4b",
                                                                  "#f0e442", "#a8a8a8", "#ededed",
                                                                  "#a6a6a6", "#3c3c3c", "#8c8c8c",
                                                                  "#ff6b7d",
                                                                  "#101010") "}\n"
                                                                             ".dgo-svg "
                                                                             "text,.dgo-svg "
                                                                             "rect{fill:"
                                                                             "currentColor}"
                                                                             ".dgo-svg "
                                                                             "rect.frame{fill:none;"
                                                                             "stroke:currentColor}"
                                                                             ".dgo-svg "
                                                                             "rect.hatched{fill:"
                                                                             "url(#dgo-hatch);"
                                                                             "stroke:currentColor;"
                                                                             "stroke-width:.5}"
                                                                             ".dgo-svg "
                                                                             "polyline{fill:none;"
                                                                             "stroke:currentColor;"
                                                                             "stroke-width:1.5;"
                                                                             "stroke-linejoin:"
                                                                             "round}"
                                                                             ".dgo-svg "
                                                                             "line{stroke:"
                                                                             "currentColor}\n"
                                                                             "</style>\n"
                                                                             "<defs><pattern "
                                                                             "id=\"dgo-hatch\" "
                                                                             "width=\"6\" "
                                                                             "height=\"6\" "
                                                                             "patternUnits="
                                                                             "\"userSpaceOnUse\" "
                                                                             "patternTransform="
                                                                             "\"rotate(45)\"><line "
                                                                             "class=\"frame\" "
                                                                             "x1=\"0\" y1=\"0\" "
                                                                             "x2=\"0\" "
                                                                             "y2=\"6\"/></"
                                                                             "pattern></defs>\n";

/* XML 1.0 allows everything that the terminal's rule lets through but these two. */
static bool noncharacter(const char *at)
{
    return at[0] == '\xef' && at[1] == '\xbf' && (at[2] == '\xbe' || at[2] == '\xbf');
}

void dgo_svg_escape(struct dgo_text *out, const char *text)
{
    static const struct {
        char from;
        const char *to;
    } names[] = {{'&', "&amp;"}, {'<', "&lt;"}, {'>', "&gt;"}, {'"', "&quot;"}, {'\'', "&#39;"}};

    while (*text) {
        size_t plain = 0;

        while (text[plain] && !strchr("&<>\"'", text[plain]) && !noncharacter(text + plain))
            plain++;
        dgo_text_add_escaped(out, text, plain);
        text += plain;
        if (*text == '\0')
            return;
        if (noncharacter(text)) {
            dgo_text_addf(out, "\\u{fff%c}", text[2] == '\xbe' ? 'e' : 'f');
            text += 3;
            continue;
        }
        for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
            if (names[i].from == *text)
                dgo_text_add(out, names[i].to);
        text++;
    }
}

/* Hundredths at most, no trailing zeros, a point in every locale. */
static void add_number(struct dgo_text *out, double value)
{
    const double bounded = fmax(-COORDINATE_MAX, fmin(COORDINATE_MAX, value));
    const int64_t hundredths = isnan(value) ? 0 : (int64_t)llround(bounded * 100);
    const uint64_t size = (uint64_t)(hundredths < 0 ? -hundredths : hundredths);

    dgo_text_addf(out, "%s%" PRIu64, hundredths < 0 ? "-" : "", size / 100);
    if (size % 100)
        dgo_text_addf(out, size % 10 ? ".%02" PRIu64 : ".%" PRIu64,
                      size % 10 ? size % 100 : size % 100 / 10);
}

static void add_attribute(struct dgo_text *out, const char *name, double value)
{
    dgo_text_addf(out, " %s=\"", name);
    add_number(out, value);
    dgo_text_add(out, "\"");
}

/* The end of an element: with a title inside, or closed at once. */
static void end_element(struct dgo_text *out, const char *element, const char *title)
{
    if (!title) {
        dgo_text_add(out, "/>\n");
        return;
    }
    dgo_text_add(out, "><title>");
    dgo_svg_escape(out, title);
    dgo_text_addf(out, "</title></%s>\n", element);
}

void dgo_svg_begin(struct dgo_svg *svg, struct dgo_text *out, double width, double height,
                   const char *title, const char *description)
{
    *svg = (struct dgo_svg){.out = out};
    dgo_text_add(out, "<svg xmlns=\"http://www.w3.org/2000/svg\" class=\"dgo-svg\" role=\"img\"");
    add_attribute(out, "width", width);
    add_attribute(out, "height", height);
    dgo_text_add(out, " viewBox=\"0 0 ");
    add_number(out, width);
    dgo_text_add(out, " ");
    add_number(out, height);
    dgo_text_add(out, "\" aria-label=\"");
    dgo_svg_escape(out, title);
    dgo_text_add(out, "\">\n<title>");
    dgo_svg_escape(out, title);
    dgo_text_add(out, "</title>\n");
    if (description) {
        dgo_text_add(out, "<desc>");
        dgo_svg_escape(out, description);
        dgo_text_add(out, "</desc>\n");
    }
    dgo_text_add(out, style);
}

bool dgo_svg_end(struct dgo_svg *svg)
{
    while (svg->open_groups > 0)
        dgo_svg_group_end(svg);
    dgo_text_add(svg->out, "</svg>\n");
    return !svg->out->truncated;
}

void dgo_svg_group_begin(struct dgo_svg *svg, const char *title)
{
    dgo_text_add(svg->out, "<g>");
    if (title) {
        dgo_text_add(svg->out, "<title>");
        dgo_svg_escape(svg->out, title);
        dgo_text_add(svg->out, "</title>");
    }
    dgo_text_add(svg->out, "\n");
    svg->open_groups++;
}

void dgo_svg_group_end(struct dgo_svg *svg)
{
    if (svg->open_groups == 0)
        return;
    dgo_text_add(svg->out, "</g>\n");
    svg->open_groups--;
}

void dgo_svg_rect(struct dgo_svg *svg, double x, double y, double width, double height,
                  enum dgo_svg_paint paint, const char *title)
{
    if (!(width > 0) || !(height > 0) || !isfinite(width) || !isfinite(height) || !isfinite(x) ||
        !isfinite(y))
        return;
    dgo_text_addf(svg->out, "<rect class=\"%s\"", paint_class[paint]);
    add_attribute(svg->out, "x", x);
    add_attribute(svg->out, "y", y);
    add_attribute(svg->out, "width", width);
    add_attribute(svg->out, "height", height);
    end_element(svg->out, "rect", title);
}

void dgo_svg_line(struct dgo_svg *svg, double x1, double y1, double x2, double y2,
                  enum dgo_svg_paint paint)
{
    if (!isfinite(x1) || !isfinite(y1) || !isfinite(x2) || !isfinite(y2))
        return;
    dgo_text_addf(svg->out, "<line class=\"%s\"", paint_class[paint]);
    add_attribute(svg->out, "x1", x1);
    add_attribute(svg->out, "y1", y1);
    add_attribute(svg->out, "x2", x2);
    add_attribute(svg->out, "y2", y2);
    end_element(svg->out, "line", NULL);
}

void dgo_svg_polyline(struct dgo_svg *svg, const double *x, const double *y, size_t count,
                      enum dgo_svg_paint paint, const char *title)
{
    bool open = false;

    for (size_t i = 0; i < count; i++) {
        const bool known = isfinite(x[i]) && isfinite(y[i]);

        if (known && !open)
            dgo_text_addf(svg->out, "<polyline class=\"%s\" points=\"", paint_class[paint]);
        if (known) {
            if (open)
                dgo_text_add(svg->out, " ");
            add_number(svg->out, x[i]);
            dgo_text_add(svg->out, ",");
            add_number(svg->out, y[i]);
        }
        if ((open && !known) || (known && i + 1 == count)) {
            dgo_text_add(svg->out, "\"");
            end_element(svg->out, "polyline", title);
        }
        open = known;
    }
}

void dgo_svg_text(struct dgo_svg *svg, double x, double y, enum dgo_svg_anchor anchor,
                  enum dgo_svg_voice voice, const char *words)
{
    dgo_text_addf(svg->out, "<text class=\"%s\" text-anchor=\"%s\"", voice_class[voice],
                  anchor_name[anchor]);
    add_attribute(svg->out, "x", x);
    add_attribute(svg->out, "y", y);
    dgo_text_add(svg->out, ">");
    dgo_svg_escape(svg->out, words);
    dgo_text_add(svg->out, "</text>\n");
}
