/* test_arch.c - the facts of every layer, for the shapes of real models. */
#include "check.h"

#include "dgo_model.h"
#include "gguf_writer.h"

static void put_layer(struct writer *w, uint32_t layer, const char *part, uint64_t d0, uint64_t d1,
                      uint64_t d2)
{
    char name[64];

    snprintf(name, sizeof name, "blk.%u.%s", layer, part);
    writer_tensor(w, name, W_F16, d0, d1, d2);
}

static void put_attention(struct writer *w, uint32_t layer, uint32_t width, uint32_t heads,
                          uint32_t heads_kv, uint32_t head)
{
    put_layer(w, layer, "attn_q.weight", width, heads * head, 0);
    put_layer(w, layer, "attn_k.weight", width, heads_kv * head, 0);
    put_layer(w, layer, "attn_v.weight", width, heads_kv * head, 0);
}

static void put_head_length(struct writer *w, const char *architecture, uint32_t length)
{
    writer_arch_u32(w, architecture, "attention.key_length", length);
    writer_arch_u32(w, architecture, "attention.value_length", length);
}

static struct dgo_model *finish(struct writer *w)
{
    struct dgo_error err = {0};
    struct dgo_model *model = NULL;

    writer_finish(w);
    if (dgo_model_parse(w->file, w->length, w->file_bytes, &model, &err))
        fail_msg("%s", err.text);
    writer_done(w);
    return model;
}

/* One letter a layer: a attention, w attention with a window, r recurrent, b both, n neither. */
static void layer_letters(const struct dgo_model *model, char letters[DGO_LAYER_MAX + 1])
{
    for (uint32_t l = 0; l < model->layer_count; l++) {
        const struct dgo_layer *layer = &model->layer[l];
        const bool attention = layer->head_count_kv > 0;

        letters[l] = layer->recurrent && attention ? 'b'
                     : layer->recurrent            ? 'r'
                     : !attention                  ? 'n'
                     : layer->sliding_window       ? 'w'
                                                   : 'a';
    }
    letters[model->layer_count] = '\0';
}

/* --- which layers have a window -------------------------------------------------------------- */

static void test_windows(void **state)
{
    static const struct {
        const char *name, *architecture;
        int window;  /* the key; -1: absent */
        int pattern; /* the scalar key; -1: absent */
        uint32_t tokens;
        const char *letters;
    } rows[] = {
        {"gemma3: five of six", "gemma3", 1024, -1, 1024, "wwwwwawwwwwa"},
        {"gemma3 without a window", "gemma3", -1, -1, 0, "aaaaaaaaaaaa"},
        {"gemma3 with its own period", "gemma3", 512, 3, 512, "wwawwawwawwa"},
        {"gemma2: every other, 4096 unsaid", "gemma2", -1, -1, 4096, "wawawawawawa"},
        {"gemma2 says 256", "gemma2", 256, -1, 256, "wawawawawawa"},
        {"gpt-oss: every other", "gpt-oss", 128, -1, 128, "wawawawawawa"},
        {"period 0 is every layer", "gpt-oss", 128, 0, 128, "wwwwwwwwwwww"},
        {"period 1 is none", "gpt-oss", 128, 1, 128, "aaaaaaaaaaaa"},
        {"cohere2: three of four", "cohere2", 4096, -1, 4096, "wwwawwwawwwa"},
        {"llama4: chunks of 8192", "llama4", -1, -1, 8192, "wwwawwwawwwa"},
        {"llama4 that says 0", "llama4", 0, -1, 0, "aaaaaaaaaaaa"},
        {"smallthinker: the full one first", "smallthinker", 99, -1, 4096, "awwwawwwawww"},
        {"exaone4, but not the 32B", "exaone4", 4096, -1, 0, "aaaaaaaaaaaa"},
        {"phi3: none at run time", "phi3", 2047, -1, 0, "aaaaaaaaaaaa"},
        {"llama has none", "llama", 4096, -1, 0, "aaaaaaaaaaaa"},
        {"unknown architecture", "not-known", 4096, -1, 0, "aaaaaaaaaaaa"},
        {"lfm2: where it attends", "lfm2", 64, -1, 64, "wwwwwwwwwwww"},
        {"bert keeps no cache", "bert", -1, -1, 0, "nnnnnnnnnnnn"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char letters[DGO_LAYER_MAX + 1];
        struct writer w;

        writer_init(&w);
        writer_arch(&w, rows[i].architecture, 12, 256, 4, 2);
        if (rows[i].window >= 0)
            writer_arch_u32(&w, rows[i].architecture, "attention.sliding_window",
                            (uint32_t)rows[i].window);
        if (rows[i].pattern >= 0)
            writer_arch_u32(&w, rows[i].architecture, "attention.sliding_window_pattern",
                            (uint32_t)rows[i].pattern);
        for (uint32_t l = 0; l < 12; l++)
            put_attention(&w, l, 256, 4, 2, 64);

        struct dgo_model *model = finish(&w);

        layer_letters(model, letters);
        CHECK_ROW_U64(model->sliding_window, rows[i].tokens, rows[i].name);
        if (strcmp(letters, rows[i].letters) != 0)
            fail_msg("row \"%s\": %s, want %s", rows[i].name, letters, rows[i].letters);
        dgo_model_close(model);
    }
}

/* Flags for every layer go before any rule, and need none. */
static void test_flags_go_before_the_period(void **state)
{
    static const bool flags[] = {false, true, true, false};
    static const char *const architectures[] = {"gemma3", "cohere2moe", "not-known"};

    (void)state;
    for (size_t i = 0; i < sizeof architectures / sizeof architectures[0]; i++) {
        char letters[DGO_LAYER_MAX + 1], key[80];
        struct writer w;

        writer_init(&w);
        writer_arch(&w, architectures[i], 4, 256, 4, 2);
        writer_arch_u32(&w, architectures[i], "attention.sliding_window", 512);
        snprintf(key, sizeof key, "%s.attention.sliding_window_pattern", architectures[i]);
        writer_bools(&w, key, flags, 4);
        for (uint32_t l = 0; l < 4; l++)
            put_attention(&w, l, 256, 4, 2, 64);

        struct dgo_model *model = finish(&w);

        layer_letters(model, letters);
        CHECK_ROW(strcmp(letters, "awwa") == 0, architectures[i]);
        CHECK_ROW_U64(model->sliding_window, 512, architectures[i]);
        dgo_model_close(model);
    }
}

/* gemma4: flags in the file, its own head size in window layers, a shared cache at the end. */
static void test_window_array(void **state)
{
    static const bool flags[] = {true, false, true, true};
    char letters[DGO_LAYER_MAX + 1];
    struct writer w;

    (void)state;
    writer_init(&w);
    writer_arch(&w, "gemma4", 4, 256, 4, 2);
    put_head_length(&w, "gemma4", 128);
    writer_arch_u32(&w, "gemma4", "attention.key_length_swa", 64);
    writer_arch_u32(&w, "gemma4", "attention.value_length_swa", 64);
    writer_arch_u32(&w, "gemma4", "attention.sliding_window", 512);
    writer_arch_u32(&w, "gemma4", "attention.shared_kv_layers", 1);
    writer_bools(&w, "gemma4.attention.sliding_window_pattern", flags, 4);
    for (uint32_t l = 0; l < 4; l++)
        put_attention(&w, l, 256, 4, 2, flags[l] ? 64 : 128);

    struct dgo_model *model = finish(&w);

    layer_letters(model, letters);
    assert_string_equal(letters, "wawn");
    assert_int_equal(model->layer[0].key_length, 64);
    assert_int_equal(model->layer[1].key_length, 128);
    assert_true(model->verified);
    dgo_model_close(model);
}

/* --- recurrent layers ------------------------------------------------------------------------ */

static void put_block(struct writer *w, uint32_t layer, char letter)
{
    if (letter == 'r' || letter == 'b')
        put_layer(w, layer, "ssm_in.weight", 256, 512, 0);
    if (letter == 'a' || letter == 'b')
        put_attention(w, layer, 256, 4, 2, 64);
    put_layer(w, layer, "ffn_norm.weight", 256, 0, 0);
}

static void test_recurrent_layers(void **state)
{
    static const uint32_t heads_kv[] = {0, 0, 2, 0, 0, 2, 0, 0};
    static const uint32_t ff[] = {0, 512, 0, 0, 512, 0, 0, 512};
    static const struct {
        const char *name, *architecture, *letters;
        bool array; /* head_count_kv by layer */
        bool ff_array;
        uint32_t interval;
    } rows[] = {
        {"mamba2: all", "mamba2", "rrrrrrrr", false, false, 0},
        {"rwkv7: all", "rwkv7", "rrrrrrrr", false, false, 0},
        {"falcon-h1: each layer both", "falcon-h1", "bbbbbbbb", false, false, 0},
        {"jamba: where no KV head is", "jamba", "rrarrarr", true, false, 0},
        {"granitehybrid", "granitehybrid", "rrarrarr", true, false, 0},
        {"nemotron_h: some are neither", "nemotron_h", "rnarnarn", true, true, 0},
        {"qwen3next: three of four", "qwen3next", "rrrarrra", false, false, 0},
        {"qwen35moe: interval in the file", "qwen35moe", "rararara", false, false, 2},
        {"llama: none", "llama", "aaaaaaaa", false, false, 0},
        {"unknown: by the tensors", "not-known", "rarararb", false, false, 0},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const char *architecture = rows[i].architecture;
        char letters[DGO_LAYER_MAX + 1], key[64];
        struct writer w;

        writer_init(&w);
        writer_text(&w, "general.architecture", architecture);
        writer_arch_u32(&w, architecture, "block_count", 8);
        writer_arch_u32(&w, architecture, "embedding_length", 256);
        writer_arch_u32(&w, architecture, "attention.head_count", 4);
        snprintf(key, sizeof key, "%s.attention.head_count_kv", architecture);
        if (rows[i].array)
            writer_u32s(&w, key, heads_kv, 8);
        else
            writer_u32(&w, key, 2);
        snprintf(key, sizeof key, "%s.feed_forward_length", architecture);
        if (rows[i].ff_array)
            writer_u32s(&w, key, ff, 8);
        if (rows[i].interval)
            writer_arch_u32(&w, architecture, "full_attention_interval", rows[i].interval);
        for (uint32_t l = 0; l < 8; l++)
            put_block(&w, l, rows[i].letters[l]);

        struct dgo_model *model = finish(&w);

        layer_letters(model, letters);
        if (strcmp(letters, rows[i].letters) != 0)
            fail_msg("row \"%s\": %s, want %s", rows[i].name, letters, rows[i].letters);
        CHECK_ROW_U64(model->verified, strcmp(architecture, "not-known") != 0, rows[i].name);
        dgo_model_close(model);
    }
}

/* --- head sizes ------------------------------------------------------------------------------ */

static void test_key_and_value_lengths(void **state)
{
    static const struct {
        const char *name, *architecture;
        uint32_t width, heads, heads_kv, head; /* head 0: no key in the file */
        uint32_t want;
    } rows[] = {
        {"llama 8B: width over heads", "llama", 4096, 32, 8, 0, 128},
        {"qwen3 32B: said", "qwen3", 5120, 64, 8, 128, 128},
        {"qwen3 4B: more than width", "qwen3", 2560, 32, 8, 128, 128},
        {"gemma3 27B", "gemma3", 5376, 32, 16, 128, 128},
        {"gpt-oss", "gpt-oss", 2880, 64, 8, 64, 64},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct writer w;

        writer_init(&w);
        writer_arch(&w, rows[i].architecture, 1, rows[i].width, rows[i].heads, rows[i].heads_kv);
        if (rows[i].head)
            put_head_length(&w, rows[i].architecture, rows[i].head);
        put_attention(&w, 0, rows[i].width, rows[i].heads, rows[i].heads_kv, rows[i].want);

        struct dgo_model *model = finish(&w);

        CHECK_ROW(model->verified, rows[i].name);
        CHECK_ROW_U64(model->layer[0].head_count, rows[i].heads, rows[i].name);
        CHECK_ROW_U64(model->layer[0].head_count_kv, rows[i].heads_kv, rows[i].name);
        CHECK_ROW_U64(model->layer[0].key_length, rows[i].want, rows[i].name);
        CHECK_ROW_U64(model->layer[0].value_length, rows[i].want, rows[i].name);
        dgo_model_close(model);
    }
}

/* DeepSeek-V3: one head of 512 + 64 in the cache and no values; the older form keeps all heads. */
static void test_latent_attention(void **state)
{
    (void)state;
    for (int mla = 0; mla < 2; mla++) {
        struct writer w;

        writer_init(&w);
        writer_arch(&w, "deepseek2", 1, 7168, 128, mla ? 1 : 128);
        writer_arch_u32(&w, "deepseek2", "attention.key_length", mla ? 576 : 192);
        writer_arch_u32(&w, "deepseek2", "attention.value_length", mla ? 512 : 128);
        if (mla) {
            writer_arch_u32(&w, "deepseek2", "attention.key_length_mla", 192);
            writer_arch_u32(&w, "deepseek2", "attention.value_length_mla", 128);
        }
        put_layer(&w, 0, "attn_kv_a_mqa.weight", 7168, 576, 0);

        struct dgo_model *model = finish(&w);

        assert_true(model->verified);
        assert_int_equal(model->mla, mla);
        assert_int_equal(model->layer[0].head_count, 128);
        assert_int_equal(model->layer[0].head_count_kv, mla ? 1 : 128);
        assert_int_equal(model->layer[0].key_length, mla ? 576 : 192);
        assert_int_equal(model->layer[0].value_length, mla ? 0 : 128);
        dgo_model_close(model);
    }
}

/* deci (Nemotron): heads by layer, and layers that do not attend. */
static void test_heads_by_layer(void **state)
{
    static const uint32_t heads[] = {4, 0, 4}, heads_kv[] = {2, 0, 1};
    struct writer w;

    (void)state;
    writer_init(&w);
    writer_text(&w, "general.architecture", "deci");
    writer_arch_u32(&w, "deci", "block_count", 3);
    writer_arch_u32(&w, "deci", "embedding_length", 256);
    writer_u32s(&w, "deci.attention.head_count", heads, 3);
    writer_u32s(&w, "deci.attention.head_count_kv", heads_kv, 3);
    put_attention(&w, 0, 256, 4, 2, 64);
    put_attention(&w, 2, 256, 4, 1, 64);

    struct dgo_model *model = finish(&w);

    for (uint32_t l = 0; l < 3; l++) {
        assert_int_equal(model->layer[l].head_count, heads[l]);
        assert_int_equal(model->layer[l].head_count_kv, heads_kv[l]);
    }
    assert_int_equal(model->layer[2].key_length, 64);
    assert_true(model->verified);
    dgo_model_close(model);
}

/* Keys that the tensors contradict: what takes memory counts, and nobody calls it verified. */
static void test_shapes_win(void **state)
{
    static const struct {
        const char *name;
        uint32_t key_rows, value_rows, heads_kv, key_length, value_length;
    } rows[] = {
        {"other head size", 64, 64, 2, 32, 32},
        {"values differ", 128, 64, 2, 64, 32},
        {"no whole heads", 129, 65, 1, 129, 65},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct writer w;

        writer_init(&w);
        writer_arch(&w, "llama", 1, 256, 4, 2);
        put_layer(&w, 0, "attn_k.weight", 256, rows[i].key_rows, 0);
        put_layer(&w, 0, "attn_v.weight", 256, rows[i].value_rows, 0);

        struct dgo_model *model = finish(&w);

        CHECK_ROW(!model->verified, rows[i].name);
        CHECK_ROW_U64(model->layer[0].head_count_kv, rows[i].heads_kv, rows[i].name);
        CHECK_ROW_U64(model->layer[0].key_length, rows[i].key_length, rows[i].name);
        CHECK_ROW_U64(model->layer[0].value_length, rows[i].value_length, rows[i].name);
        dgo_model_close(model);
    }
}

static void test_fused_attention_of_an_unknown_architecture(void **state)
{
    struct writer w;

    (void)state;
    writer_init(&w);
    writer_text(&w, "general.architecture", "not-known");
    writer_arch_u32(&w, "not-known", "attention.head_count", 8);
    writer_arch_u32(&w, "not-known", "attention.head_count_kv", 2);
    put_layer(&w, 0, "attn_qkv.weight", 256, (8 + 2 * 2) * 96, 0);
    put_layer(&w, 3, "attn_qkv.weight", 256, (8 + 2 * 2) * 96, 0);

    struct dgo_model *model = finish(&w);

    assert_false(model->verified);
    assert_int_equal(model->layer_count, 4); /* no block_count: by the highest block */
    assert_int_equal(model->layer[0].head_count_kv, 2);
    assert_int_equal(model->layer[0].key_length, 96);
    assert_int_equal(model->layer[0].value_length, 96);
    assert_int_equal(model->layer[1].head_count_kv, 0);
    dgo_model_close(model);
}

/* --- a second cache -------------------------------------------------------------------------- */

/* Widths of the indexer's keys in each of four layers, one digit for each 64 values. */
static void index_digits(const struct dgo_model *model, char digits[5])
{
    for (uint32_t l = 0; l < 4; l++)
        digits[l] = (char)('0' + model->layer[l].index_key_length / 64);
    digits[4] = '\0';
}

static void test_indexers(void **state)
{
    static const struct {
        const char *name, *architecture;
        uint32_t pool, values;
        const char *want;
    } rows[] = {
        {"deepseek32: every layer", "deepseek32", 0, 0, "1111"},
        {"glm-dsa without flags: every layer", "glm-dsa", 0, 0, "1111"},
        {"minimax-m3: not the dense one, with values", "minimax-m3", 0, 64, "0111"},
        {"qwen4exp: attention only, pooled keys too", "qwen4exp", 4, 0, "0002"},
        {"llama: none, whatever the keys say", "llama", 0, 0, "0000"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const char *architecture = rows[i].architecture;
        struct writer w;
        char digits[5];

        writer_init(&w);
        writer_arch(&w, architecture, 4, 256, 4, 2);
        writer_arch_u32(&w, architecture, "leading_dense_block_count", 1);
        writer_arch_u32(&w, architecture, "attention.value_length", 64);
        writer_arch_u32(&w, architecture, "attention.indexer.key_length", 64);
        writer_arch_u32(&w, architecture, "attention.indexer.top_k", 32);
        writer_arch_u32(&w, architecture, "attention.indexer.kpool", rows[i].pool);
        for (uint32_t l = 0; l < 4; l++)
            put_attention(&w, l, 256, 4, 2, 64);

        struct dgo_model *model = finish(&w);

        index_digits(model, digits);
        if (strcmp(digits, rows[i].want) != 0)
            fail_msg("row \"%s\": %s, want %s", rows[i].name, digits, rows[i].want);
        CHECK_ROW_U64(model->layer[3].index_value_length, rows[i].values, rows[i].name);
        dgo_model_close(model);
    }
}

/* --- the model as a whole -------------------------------------------------------------------- */

static void test_next_token_blocks(void **state)
{
    struct writer w;

    (void)state;
    writer_init(&w);
    writer_arch(&w, "glm4moe", 3, 256, 4, 2);
    writer_arch_u32(&w, "glm4moe", "nextn_predict_layers", 1);
    for (uint32_t l = 0; l < 3; l++)
        put_attention(&w, l, 256, 4, 2, 64);
    put_layer(&w, 2, "nextn.eh_proj.weight", 512, 256, 0);

    struct dgo_model *model = finish(&w);

    assert_int_equal(model->layer_count, 2);
    assert_int_equal(model->mtp_layer_count, 1);
    assert_int_equal(model->layer[1].weights_bytes, 2 * 256 * (256 + 128 + 128));
    assert_int_equal(model->layer[2].weights_bytes, 0);
    assert_int_equal(model->layer[2].head_count_kv, 2);
    assert_int_equal(model->layer[2].key_length, 64);
    assert_true(model->verified);
    dgo_model_close(model);

    /* Between delta nets the block attends, wherever it falls in the interval. */
    writer_init(&w);
    writer_arch(&w, "qwen35", 2, 256, 4, 2);
    writer_arch_u32(&w, "qwen35", "nextn_predict_layers", 1);
    put_layer(&w, 0, "ssm_conv1d.weight", 4, 512, 0);
    put_attention(&w, 1, 256, 4, 2, 64);
    model = finish(&w);
    assert_true(model->layer[0].recurrent);
    assert_false(model->layer[1].recurrent);
    assert_int_equal(model->layer[1].head_count_kv, 2);
    assert_true(model->verified);
    dgo_model_close(model);
}

static void test_tied_embeddings(void **state)
{
    static const struct {
        const char *name, *architecture;
        bool output, want;
    } rows[] = {
        {"own output", "llama", true, false},
        {"tied", "llama", false, true},
        {"gemma3 is always tied", "gemma3", false, true},
        {"bert loads no output", "bert", false, false},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct writer w;

        writer_init(&w);
        writer_arch(&w, rows[i].architecture, 1, 256, 4, 2);
        writer_tensor(&w, "token_embd.weight", W_F16, 256, 1000, 0);
        if (rows[i].output)
            writer_tensor(&w, "output.weight", W_F16, 256, 1000, 0);
        put_attention(&w, 0, 256, 4, 2, 64);

        struct dgo_model *model = finish(&w);

        CHECK_ROW_U64(model->tied_embeddings, rows[i].want, rows[i].name);
        CHECK_ROW_U64(model->vocab_size, 1000, rows[i].name);
        dgo_model_close(model);
    }
}

/* A projector file has no blocks of its own: all of it goes to one device. */
static void test_projector(void **state)
{
    struct writer w;

    (void)state;
    writer_init(&w);
    writer_text(&w, "general.architecture", "clip");
    writer_tensor(&w, "v.blk.0.attn_k.weight", W_F16, 256, 256, 0);
    writer_tensor(&w, "mm.0.weight", W_F16, 256, 256, 0);

    struct dgo_model *model = finish(&w);

    assert_int_equal(model->layer_count, 0);
    assert_int_equal(model->output_bytes, 2 * 256 * 256 * 2);
    assert_false(model->verified);
    assert_false(model->tied_embeddings);
    dgo_model_close(model);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_windows),
    cmocka_unit_test(test_flags_go_before_the_period),
    cmocka_unit_test(test_window_array),
    cmocka_unit_test(test_recurrent_layers),
    cmocka_unit_test(test_key_and_value_lengths),
    cmocka_unit_test(test_latent_attention),
    cmocka_unit_test(test_heads_by_layer),
    cmocka_unit_test(test_shapes_win),
    cmocka_unit_test(test_fused_attention_of_an_unknown_architecture),
    cmocka_unit_test(test_indexers),
    cmocka_unit_test(test_next_token_blocks),
    cmocka_unit_test(test_tied_embeddings),
    cmocka_unit_test(test_projector),
};

CHECK_MAIN(tests)
