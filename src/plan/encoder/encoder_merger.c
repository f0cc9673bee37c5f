/* encoder_merger.c - MiniCPM-V 4.6: four tokens become one, between two layers and at the end. */
#include "encoder.h"

enum { FOUR = 4, LAYER_NORM = false };

/* The four tokens of each square: rows of all first, second, third and fourth ones. */
static void take_four(struct sketch *s, struct values x, struct values part[FOUR])
{
    for (int p = 0; p < FOUR; p++)
        part[p] = sketch_chosen(s, x.rows / FOUR, x);
}

static struct values side_by_side(struct sketch *s, const struct values part[FOUR])
{
    struct values all = part[0];

    for (int p = 1; p < FOUR; p++) {
        all.width += part[p].width;
        all.ref = TAPE_PUT(s->tape, all.width * all.rows * sizeof(float), 0, all.ref, part[p].ref);
    }
    return sketch_norm(s, all, LAYER_NORM, true, true);
}

struct values sketch_merger_inside(struct sketch *s, struct values x)
{
    const struct values residual = x;
    struct values part[FOUR], mean, q, k, v;

    x = sketch_norm(s, x, LAYER_NORM, true, true);
    x = sketch_chosen(s, x.rows, x);
    q = sketch_linear(s, x, "v.vit_merger.attn_q");
    k = sketch_linear(s, x, "v.vit_merger.attn_k");
    v = sketch_linear(s, x, "v.vit_merger.attn_v");
    x = sketch_attend(s, sketch_viewed(s, q.width, q.rows, q), sketch_viewed(s, k.width, k.rows, k),
                      sketch_viewed(s, v.width, v.rows, v), s->encoder->head_count, s->mask);
    x = sketch_linear(s, x, "v.vit_merger.attn_out");
    x = sketch_sum(s, sketch_chosen(s, x.rows, x), residual);

    take_four(s, x, part);
    mean = sketch_sum(s, part[0], part[1]);
    mean = sketch_sum(s, mean, part[2]);
    mean = sketch_changed(s, sketch_sum(s, mean, part[3]));
    x = sketch_two(s, side_by_side(s, part), "v.vit_merger.ds_ffn_up", "v.vit_merger.ds_ffn_down");
    return sketch_sum(s, x, mean);
}

struct values end_minicpm46(struct sketch *s, struct values x)
{
    struct values part[FOUR];

    take_four(s, x, part);
    return sketch_two(s, side_by_side(s, part), "mm.up", "mm.down");
}
