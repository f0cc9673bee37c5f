/* test_encoder.c - projectors' files that are damaged or hostile: no figure of a graph, a bound at
 * most, in bounded time.  The figures of sound ones: test_encoders.py. */
#include "check.h"
#include "encoder.h"
#include "gguf_writer.h"

#include "dgo_units.h"

#include <stdio.h>
#include <time.h>

enum { WIDTH = 128, INNER = 256, HEADS = 2, PATCH = 14, PIXELS = 112, LAYERS = 3, MERGE = 4 };

/* A sound gemma3 projector, in which a row changes one number. */
struct file {
    const char *type;
    uint32_t width, heads, patch, pixels, layers, merge;
    uint64_t inner, out;
};
static const struct file sound = {"gemma3", WIDTH, HEADS, PATCH, PIXELS, LAYERS, MERGE, INNER, 256};

static void write_layer(struct writer *w, const struct file *f, uint32_t l)
{
    static const char *const square[] = {"attn_q", "attn_k", "attn_v", "attn_out"};
    char name[64];

    for (int i = 0; i < 4; i++) {
        snprintf(name, sizeof name, "v.blk.%u.%s.weight", l, square[i]);
        writer_tensor(w, name, W_F16, WIDTH, WIDTH, 0);
    }
    snprintf(name, sizeof name, "v.blk.%u.ffn_up.weight", l);
    writer_tensor(w, name, W_F16, WIDTH, f->inner, 0);
    snprintf(name, sizeof name, "v.blk.%u.ffn_down.weight", l);
    writer_tensor(w, name, W_F16, f->inner, WIDTH, 0);
}

static struct dgo_model *open_file(const struct file *f)
{
    const uint64_t kernel[] = {PATCH, PATCH, 3, WIDTH};
    struct dgo_model *model = NULL;
    struct dgo_error err = {0};
    struct writer w;

    writer_init(&w);
    writer_text(&w, "general.architecture", "clip");
    writer_text(&w, "clip.projector_type", f->type);
    writer_bool(&w, "clip.has_vision_encoder", true);
    writer_u32(&w, "clip.vision.embedding_length", f->width);
    writer_u32(&w, "clip.vision.feed_forward_length", INNER);
    writer_u32(&w, "clip.vision.attention.head_count", f->heads);
    writer_u32(&w, "clip.vision.patch_size", f->patch);
    writer_u32(&w, "clip.vision.image_size", f->pixels);
    writer_u32(&w, "clip.vision.block_count", f->layers);
    writer_u32(&w, "clip.vision.projector.scale_factor", f->merge);
    writer_entry(&w, "v.patch_embd.weight", W_F32, 4, kernel, PATCH * PATCH * 3 * WIDTH * 4);
    writer_tensor(&w, "v.position_embd.weight", W_F32, WIDTH, 64, 0);
    for (uint32_t l = 0; l < LAYERS; l++)
        write_layer(&w, f, l);
    if (f->out > 0)
        writer_tensor(&w, "mm.input_projection.weight", W_F16, f->out, WIDTH, 0);
    writer_finish(&w);
    if (dgo_model_parse(w.file, w.length, w.file_bytes, &model, &err))
        print_error("%s\n", err.text);
    writer_done(&w);
    return model;
}

static const struct encoder_use fused = {.fused = true}, unfused = {.fused = false};

static void test_sound(void **state)
{
    struct dgo_model *model = open_file(&sound);
    struct encoder_need need;

    (void)state;
    assert_non_null(model);
    assert_true(encoder_bytes(model, &fused, &need));
    assert_int_equal(need.input_bytes, 3 * PIXELS * PIXELS * 4);
    assert_in_range(need.compute_bytes, need.input_bytes, DGO_MIB);
    dgo_model_close(model);
}

/* Each with one number that no engine would take, or that the graph cannot be drawn for. */
static const struct {
    const char *name;
    struct file file;
} rows[] = {
    {"no such type", {"martian", WIDTH, HEADS, PATCH, PIXELS, LAYERS, MERGE, INNER, 256}},
    {"no heads", {"gemma3", WIDTH, 0, PATCH, PIXELS, LAYERS, MERGE, INNER, 256}},
    {"more heads than width", {"gemma3", WIDTH, 1000, PATCH, PIXELS, LAYERS, MERGE, INNER, 256}},
    {"4 G heads", {"gemma3", WIDTH, UINT32_MAX, PATCH, PIXELS, LAYERS, MERGE, INNER, 256}},
    {"no width", {"gemma3", 0, HEADS, PATCH, PIXELS, LAYERS, MERGE, INNER, 256}},
    {"4 G wide", {"gemma3", UINT32_MAX, HEADS, PATCH, PIXELS, LAYERS, MERGE, INNER, 256}},
    {"no patch", {"gemma3", WIDTH, HEADS, 0, PIXELS, LAYERS, MERGE, INNER, 256}},
    {"patch larger than picture", {"gemma3", WIDTH, HEADS, 200, PIXELS, LAYERS, MERGE, INNER, 256}},
    {"no picture", {"gemma3", WIDTH, HEADS, PATCH, 0, LAYERS, MERGE, INNER, 256}},
    {"4 G pixels", {"gemma3", WIDTH, HEADS, PATCH, UINT32_MAX, LAYERS, MERGE, INNER, 256}},
    {"8192 x 8192 patches", {"gemma3", WIDTH, 1024, 1, 8192, LAYERS, MERGE, INNER, 256}},
    {"no layers", {"gemma3", WIDTH, HEADS, PATCH, PIXELS, 0, MERGE, INNER, 256}},
    {"more layers than tensors", {"gemma3", WIDTH, HEADS, PATCH, PIXELS, 60, MERGE, INNER, 256}},
    {"4 G layers", {"gemma3", WIDTH, HEADS, PATCH, PIXELS, UINT32_MAX, MERGE, INNER, 256}},
    {"9 x 9 patches a token, of 8 x 8",
     {"gemma3", WIDTH, HEADS, PATCH, PIXELS, LAYERS, 9, INNER, 256}},
    {"feed-forward of 2^40",
     {"gemma3", WIDTH, HEADS, PATCH, PIXELS, LAYERS, MERGE, 1ull << 40, 256}},
    {"no end", {"gemma3", WIDTH, HEADS, PATCH, PIXELS, LAYERS, MERGE, INNER, 0}},
    {"another type's end", {"llama4", WIDTH, HEADS, PATCH, PIXELS, LAYERS, MERGE, INNER, 256}},
    {"no class row", {"internvl", WIDTH, HEADS, PATCH, PIXELS, LAYERS, MERGE, INNER, 256}},
    {"no queries", {"resampler", WIDTH, HEADS, PATCH, PIXELS, LAYERS, MERGE, INNER, 256}},
};

static void test_damaged(void **state)
{
    (void)state;
    for (size_t r = 0; r < sizeof rows / sizeof rows[0]; r++) {
        struct dgo_model *model = open_file(&rows[r].file);
        struct encoder_need need;

        if (!model) /* refused earlier: as good */
            continue;
        CHECK_ROW(!encoder_bytes(model, &fused, &need), rows[r].name);
        CHECK_ROW(!encoder_bytes(model, &unfused, &need), rows[r].name);
        dgo_model_close(model);
    }
}

/* What is not known is a bound, and no overflow makes it small. */
static void test_bound(void **state)
{
    (void)state;
    for (size_t r = 0; r < sizeof rows / sizeof rows[0]; r++) {
        struct dgo_machine machine = {.gpu_count = 1};
        struct dgo_estimate estimate = {0};
        struct dgo_model *model = open_file(&rows[r].file);
        struct dgo_error err = {0};

        if (!model)
            continue;
        machine.gpu[0].free_bytes = 24 * DGO_GIB;
        machine.gpu[0].known = UINT64_C(1) << DGO_GPU_FREE_BYTES;
        assert_int_equal(dgo_estimate_add_projector(&estimate, &machine, model,
                                                    &(struct dgo_projector_use){0, DGO_FA_OFF, 0},
                                                    NULL, &err),
                         DGO_OK);
        CHECK_ROW(estimate.device[0].compute_source == DGO_FIGURE_BOUND, rows[r].name);
        CHECK_ROW(estimate.device[0].compute_bytes < UINT64_C(1) << 60, rows[r].name);
        dgo_model_close(model);
    }
}

/* As many layers and as large a picture as are drawn: none takes long. */
static void test_time(void **state)
{
    enum { SECONDS_MAX = 2 };
    struct file large = sound;
    struct encoder_need need;
    const clock_t start = clock();

    (void)state;
    large.pixels = 8192;
    large.merge = 1;
    struct dgo_model *model = open_file(&large);

    for (int i = 0; i < 100; i++)
        assert_true(encoder_bytes(model, &unfused, &need));
    assert_true(need.compute_bytes > 64 * DGO_GIB); /* scores of 342225 patches, for two heads */
    assert_true((clock() - start) / CLOCKS_PER_SEC < SECONDS_MAX);
    dgo_model_close(model);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sound),
        cmocka_unit_test(test_damaged),
        cmocka_unit_test(test_bound),
        cmocka_unit_test(test_time),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
