/* encoder_conformer.c - conformers, encoders of sounds: in each layer two halves of a feed-forward,
 * attention with places relative to each other, and a convolution of each channel along the time.
 */
#include "encoder.h"

enum { LAYER_NORM = false, OVER_FIRST = 1 };

static struct values normed(struct sketch *s, struct values x)
{
    return sketch_norm(s, x, LAYER_NORM, true, true);
}

/* One half of a feed-forward. */
static struct values fed(struct sketch *s, struct values x, uint32_t l, const char *up,
                         const char *down)
{
    struct values y = sketch_by(s, normed(s, x), l, up);

    y = sketch_by(s, sketch_changed(s, y), l, down);
    return sketch_sum(s, x, sketch_changed(s, y)); /* half of it */
}

/* --- attention ------------------------------------------------------------------------------- */

/* Scores of places, each row moved by one more than the row above. */
static tape_ref shifted(struct sketch *s, tape_ref scores, uint64_t rows, uint64_t places)
{
    struct tape *t = s->tape;
    const uint64_t each = s->encoder->head_count * rows * sizeof(float);
    const tape_ref filled = TAPE_PUT(t, each * (places + 1), 0, scores);
    const tape_ref cut = TAPE_PUT(t, each * places, 0, tape_view(t, tape_view(t, filled)));

    return tape_view(t, cut);
}

static tape_ref turned_ref(struct sketch *s, tape_ref ref, uint64_t bytes)
{
    return TAPE_PUT(s->tape, bytes, 0, tape_view(s->tape, ref));
}

static struct values head_rows(struct sketch *s, struct values x, uint32_t l, const char *part)
{
    x = sketch_by(s, x, l, part);
    return sketch_viewed(s, x.width, x.rows, x);
}

static struct values attended(struct sketch *s, struct values x, uint32_t l, struct values places)
{
    struct tape *t = s->tape;
    const uint64_t n = x.rows, heads = s->encoder->head_count;
    const uint64_t scores = heads * n * n * sizeof(float);
    const uint64_t by_place = heads * n * places.rows * sizeof(float);

    x = normed(s, x);
    const struct values q = head_rows(s, x, l, "attn_q");
    const struct values to_keys = sketch_changed(s, q), to_places = sketch_changed(s, q);
    const struct values k = sketch_turned(s, head_rows(s, x, l, "attn_k"));
    const struct values v = sketch_turned(s, head_rows(s, x, l, "attn_v"));
    tape_ref a = TAPE_PUT(t, scores, 0, tape_view(t, to_keys.ref), k.ref);
    struct values p = sketch_by(s, places, l, "linear_pos");

    a = turned_ref(s, a, scores);
    p = sketch_viewed(s, p.width, p.rows, p);
    tape_ref b = TAPE_PUT(t, by_place, 0, tape_view(t, to_places.ref), tape_view(t, p.ref));

    b = shifted(s, turned_ref(s, b, by_place), n, places.rows);
    a = TAPE_PUT(t, scores, OVER_FIRST, a, b);
    a = TAPE_PUT(t, scores, OVER_FIRST, a); /* scaled */
    a = TAPE_PUT(t, scores, OVER_FIRST, a);
    x.ref = TAPE_PUT(t, sketch_bytes(x.width, n), 0, a, v.ref);
    return sketch_by(s, sketch_turned(s, x), l, "attn_out");
}

/* Parakeet's: scores of places are rolled, and there is a mask. */
static tape_ref rolled(struct sketch *s, tape_ref scores, uint64_t rows, uint64_t places)
{
    struct tape *t = s->tape;
    const uint64_t each = s->encoder->head_count * rows * sizeof(float);

    scores = TAPE_PUT(t, each * (places + 1), 0, scores);
    scores = TAPE_PUT(t, each * (places + 1), 0, scores);
    scores = turned_ref(s, scores, each * (places + 1));
    scores = turned_ref(s, scores, each * places);
    return turned_ref(s, scores, each * rows);
}

static struct values attended_masked(struct sketch *s, struct values x, uint32_t l,
                                     struct values places)
{
    struct tape *t = s->tape;
    const uint64_t n = x.rows, heads = s->encoder->head_count;
    const uint64_t scores = heads * n * n * sizeof(float);
    const uint64_t by_place = heads * n * places.rows * sizeof(float);

    x = normed(s, x);
    const struct values q = head_rows(s, x, l, "attn_q"), k = head_rows(s, x, l, "attn_k");
    const struct values v = head_rows(s, x, l, "attn_v");
    const struct values p = sketch_turned(s, head_rows(s, places, l, "linear_pos"));
    const struct values to_keys = sketch_changed(s, q);
    tape_ref a = TAPE_PUT(t, scores, 0, tape_view(t, k.ref), tape_view(t, to_keys.ref));
    const struct values to_places = sketch_turned(s, sketch_changed(s, q));
    tape_ref b = TAPE_PUT(t, by_place, 0, p.ref, to_places.ref);

    a = TAPE_PUT(t, scores, OVER_FIRST, a, rolled(s, b, n, places.rows));
    a = TAPE_PUT(t, scores, OVER_FIRST, a); /* scaled */
    a = TAPE_PUT(t, scores, OVER_FIRST, a, s->mask);
    a = TAPE_PUT(t, scores, OVER_FIRST, a);
    x.ref = TAPE_PUT(t, sketch_bytes(x.width, n), 0, a, sketch_turned(s, v).ref);
    return sketch_by(s, sketch_turned(s, x), l, "attn_out");
}

/* --- the convolution ------------------------------------------------------------------------- */

static struct values along_time(struct sketch *s, struct values x, uint32_t l)
{
    enum { FILLED = 4 }; /* frames on each side */
    const uint64_t width = x.width, rows = x.rows;
    struct values y = sketch_half_gated(s, sketch_by(s, normed(s, x), l, "conv_pw1"), width);

    y = sketch_turned(s, y);
    y = sketch_made(s, width, rows + FILLED, y);
    y = sketch_made(s, width, rows + FILLED, y); /* rolled */
    y = sketch_made(s, width, rows + 2 * FILLED, y);
    y = sketch_changed(s, sketch_made(s, width, rows, y));
    y = sketch_changed(s, sketch_changed(s, sketch_changed(s, y))); /* norm and activation */
    return sketch_by(s, y, l, "conv_pw2");
}

/* --- the whole ------------------------------------------------------------------------------- */

/* An activation, in place for LFM2. */
static struct values activated(struct sketch *s, struct values x, bool direct)
{
    return direct ? sketch_viewed(s, x.width, x.rows, x) : sketch_changed(s, x);
}

/* Each channel alone, at half of both axes, and then all of them for each point: without pieces of
 * the picture where that is direct. */
static struct values halved_apart(struct sketch *s, struct values x, uint64_t points, bool direct,
                                  const char *all)
{
    x = sketch_changed(s, sketch_made(s, x.width, points, x));
    x = direct ? sketch_made(s, x.width, points, x) : sketch_convolved(s, x, all, 1, points);
    return activated(s, sketch_changed(s, x), direct);
}

static struct values head(struct sketch *s, struct values x, bool direct)
{
    enum { KERNEL = 3 };
    static const char *const all[] = {"a.conv1d.3", "a.conv1d.6"};
    uint64_t frames = (x.rows + 1) / 2, bands = (x.width + 1) / 2;

    x = sketch_turned(s, x);
    x.width = 1;
    x = sketch_changed(s, sketch_convolved(s, x, "a.conv1d.0", KERNEL, frames * bands));
    x = activated(s, x, direct);
    for (int h = 0; h < 2; h++) {
        frames = (frames + 1) / 2;
        bands = (bands + 1) / 2;
        x = halved_apart(s, x, frames * bands, direct, all[h]);
    }
    x = sketch_turned(s, x);
    return sketch_linear(s, sketch_viewed(s, x.width * bands, frames, x), "a.pre_encode.out");
}

struct values end_lfm2a(struct sketch *s, struct values x)
{
    enum { PLACE_WIDTH = 512 };
    struct values places = {TAPE_OUTSIDE, PLACE_WIDTH, 0};

    x = head(s, x, true);
    places.rows = 2 * x.rows - 1;
    places.ref = sketch_input(s, sketch_bytes(places.width, places.rows));
    for (uint32_t l = 0; l < s->encoder->layer_count; l++) {
        x = fed(s, x, l, "ffn_up", "ffn_down");
        x = sketch_sum(s, x, attended(s, x, l, places));
        x = sketch_sum(s, x, along_time(s, x, l));
        x = normed(s, fed(s, x, l, "ffn_up_1", "ffn_down_1"));
    }
    return sketch_two(s, normed(s, x), "mm.a.mlp.1", "mm.a.mlp.3");
}

/* Sine and cosine of each place. */
static struct values waves(struct sketch *s, uint64_t width, uint64_t rows)
{
    const uint64_t half = width / 2 * rows * sizeof(float);
    const tape_ref pace = sketch_input(s, width / 2 * sizeof(float));
    const tape_ref place = sketch_input(s, rows * sizeof(float));
    tape_ref angle = TAPE_PUT(s->tape, half, 0, pace);

    angle = TAPE_PUT(s->tape, half, OVER_FIRST, angle, place);
    const tape_ref sine = TAPE_PUT(s->tape, half, 0, angle);
    const tape_ref cosine = TAPE_PUT(s->tape, half, 0, angle);
    const struct values both = {
        TAPE_PUT(s->tape, 2 * half, 0, tape_view(s->tape, sine), tape_view(s->tape, cosine)), width,
        rows};

    return sketch_turned(s, both);
}

struct values end_parakeet(struct sketch *s, struct values x)
{
    struct values places;

    x = head(s, x, false);
    s->mask = sketch_input(s, x.rows * x.rows * sizeof(float));
    places = waves(s, x.width, 2 * x.rows - 1);
    places = sketch_viewed(s, places.width, places.rows, places);
    for (uint32_t l = 0; l < s->encoder->layer_count; l++) {
        x = fed(s, x, l, "ffn_up", "ffn_down");
        x = sketch_sum(s, x, attended_masked(s, x, l, places));
        x = sketch_sum(s, x, along_time(s, x, l));
        x = normed(s, fed(s, x, l, "ffn_up_1", "ffn_down_1"));
    }
    x = sketch_norm(s, x, true, true, false);
    x = sketch_changed(s, sketch_changed(s, sketch_linear(s, x, "mm.a.mlp.1")));
    return sketch_linear(s, x, "mm.a.mlp.2");
}
