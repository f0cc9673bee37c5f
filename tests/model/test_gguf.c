/* test_gguf.c - the container: good files of every kind, and one row for each way to be refused. */
#include "check.h"

#include "dgo_arena.h"
#include "dgo_model.h"
#include "gguf_writer.h"

enum { NEVER_DIM = 0 };

/* A model that the engine would load: two layers, 256 wide, 4 heads of 64, 2 of them for KV. */
static void put_tensors(struct writer *w)
{
    writer_tensor(w, "token_embd.weight", W_F16, 256, 100, NEVER_DIM);
    writer_tensor(w, "output_norm.weight", W_F32, 256, 0, 0);
    for (int l = 0; l < 2; l++) {
        static const struct {
            const char *part;
            enum writer_type type;
            uint64_t d0, d1;
        } parts[] = {
            {"attn_norm.weight", W_F32, 256, 0},      {"attn_q.weight", W_Q4_K, 256, 256},
            {"attn_k.weight", W_Q4_K, 256, 128},      {"attn_v.weight", W_Q6_K, 256, 128},
            {"attn_output.weight", W_Q4_K, 256, 256}, {"ffn_norm.weight", W_F32, 256, 0},
            {"ffn_gate.weight", W_Q4_K, 256, 512},    {"ffn_up.weight", W_Q4_K, 256, 512},
            {"ffn_down.weight", W_Q4_K, 512, 256},
        };

        for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
            char name[64];

            snprintf(name, sizeof name, "blk.%d.%s", l, parts[i].part);
            writer_tensor(w, name, parts[i].type, parts[i].d0, parts[i].d1, 0);
        }
    }
}

enum {
    LAYER_BYTES = 1024 + 36864 + 18432 + 26880 + 36864 + 1024 + 3 * 73728,
};

static void put_model(struct writer *w)
{
    writer_arch(w, "llama", 2, 256, 4, 2);
    put_tensors(w);
}

static enum dgo_status parse(struct writer *w, struct dgo_model **model, struct dgo_error *err)
{
    writer_finish(w);
    return dgo_model_parse(w->file, w->length, w->file_bytes, model, err);
}

static struct dgo_model *parsed(struct writer *w)
{
    struct dgo_error err = {0};
    struct dgo_model *model = NULL;

    if (parse(w, &model, &err))
        fail_msg("%s", err.text);
    return model;
}

static void test_plain_model(void **state)
{
    (void)state;
    for (uint32_t version = 2; version <= 3; version++) {
        struct writer w;

        writer_init(&w);
        w.version = version;
        writer_text(&w, "general.name", "a \x1b[31mred\x1b[0m model");
        writer_u32(&w, "general.file_type", 15);
        writer_text(&w, "tokenizer.ggml.model", "gpt2");
        writer_text(&w, "tokenizer.ggml.pre", "llama-bpe");
        put_model(&w);

        struct dgo_model *model = parsed(&w);

        assert_int_equal(model->gguf_version, version);
        assert_string_equal(model->architecture, "llama");
        assert_string_equal(model->name, "a \\x1b[31mred\\x1b[0m model");
        assert_string_equal(model->tokenizer, "gpt2");
        assert_string_equal(model->tokenizer_pre, "llama-bpe");
        assert_int_equal(model->file_type, 15);
        assert_int_equal(model->shard_count, 1);
        assert_int_equal(model->file_bytes, w.file_bytes);
        assert_int_equal(model->context_length, 4096);
        assert_int_equal(model->embedding_length, 256);
        assert_int_equal(model->vocab_size, 100);
        assert_int_equal(model->layer_count, 2);
        assert_int_equal(model->tensor_count, 20);
        assert_int_equal(model->input_bytes, 256 * 100 * 2);
        assert_int_equal(model->output_bytes, 1024);
        assert_int_equal(model->table_bytes, 0);
        assert_int_equal(model->parameter_count, 25600 + 256 + 2 * 590336);
        assert_true(model->tied_embeddings);
        assert_true(model->verified);
        assert_false(model->mla);
        for (uint32_t l = 0; l < 2; l++) {
            assert_int_equal(model->layer[l].weights_bytes, LAYER_BYTES);
            assert_int_equal(model->layer[l].expert_bytes, 0);
            assert_int_equal(model->layer[l].head_count, 4);
            assert_int_equal(model->layer[l].head_count_kv, 2);
            assert_int_equal(model->layer[l].key_length, 64);
            assert_int_equal(model->layer[l].value_length, 64);
            assert_int_equal(model->layer[l].feed_forward_length, 512);
        }
        dgo_model_close(model);
        writer_done(&w);
    }
}

static void test_classes(void **state)
{
    static const struct {
        const char *architecture, *name;
        enum dgo_tensor_class class;
        uint16_t layer;
    } rows[] = {
        {"llama", "token_embd.weight", DGO_TENSOR_INPUT, 0},
        {"llama", "per_layer_token_embd.weight", DGO_TENSOR_INPUT, 0},
        {"llama", "output.weight", DGO_TENSOR_OUTPUT, 0},
        {"llama", "output.bias", DGO_TENSOR_OUTPUT, 0},
        {"llama", "output_norm.weight", DGO_TENSOR_OUTPUT, 0},
        {"llama", "rope_freqs.weight", DGO_TENSOR_TABLE, 0},
        {"phi3", "rope_factors_long.weight", DGO_TENSOR_TABLE, 0},
        {"phi3", "rope_factors_short.weight", DGO_TENSOR_TABLE, 0},
        {"bloom", "token_embd_norm.weight", DGO_TENSOR_LAYER, 0},
        {"lfm2", "token_embd_norm.weight", DGO_TENSOR_OUTPUT, 0},
        {"llama", "blk.1.ffn_up.weight", DGO_TENSOR_LAYER, 1},
        {"t5", "dec.blk.1.attn_k.weight", DGO_TENSOR_LAYER, 1},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct writer w;

        writer_init(&w);
        writer_arch(&w, rows[i].architecture, 2, 256, 4, 2);
        writer_tensor(&w, rows[i].name, W_F32, 256, 0, 0);

        struct dgo_model *model = parsed(&w);

        CHECK_ROW_U64(model->tensor[0].class, rows[i].class, rows[i].name);
        CHECK_ROW_U64(model->tensor[0].layer, rows[i].layer, rows[i].name);
        CHECK_ROW_U64(model->input_bytes, rows[i].class == DGO_TENSOR_INPUT ? 1024 : 0,
                      rows[i].name);
        CHECK_ROW_U64(model->output_bytes, rows[i].class == DGO_TENSOR_OUTPUT ? 1024 : 0,
                      rows[i].name);
        CHECK_ROW_U64(model->table_bytes, rows[i].class == DGO_TENSOR_TABLE ? 1024 : 0,
                      rows[i].name);
        CHECK_ROW_U64(model->layer[rows[i].layer].weights_bytes,
                      rows[i].class == DGO_TENSOR_LAYER ? 1024 : 0, rows[i].name);
        dgo_model_close(model);
        writer_done(&w);
    }
}

static void test_experts(void **state)
{
    struct writer w;

    (void)state;
    writer_init(&w);
    writer_arch(&w, "llama", 1, 256, 4, 4);
    writer_u32(&w, "llama.expert_count", 8);
    writer_u32(&w, "llama.expert_used_count", 2);
    writer_tensor(&w, "blk.0.ffn_gate_inp.weight", W_F32, 256, 8, 0);
    writer_tensor(&w, "blk.0.ffn_gate_exps.weight", W_Q4_K, 256, 512, 8);
    writer_tensor(&w, "blk.0.ffn_up_exps.weight", W_Q4_K, 256, 512, 8);
    writer_tensor(&w, "blk.0.ffn_down_exps.weight", W_Q4_K, 512, 256, 8);
    writer_tensor(&w, "blk.0.ffn_down_exps.bias", W_F32, 256, 8, 0);
    writer_tensor(&w, "blk.0.ffn_up_shexp.weight", W_Q4_K, 256, 512, 0);

    struct dgo_model *model = parsed(&w);

    assert_int_equal(model->expert_count, 8);
    assert_int_equal(model->expert_used_count, 2);
    assert_int_equal(model->expert_feed_forward_length, 512);
    assert_int_equal(model->layer[0].expert_bytes, 3 * 8 * 73728 + 256 * 8 * 4);
    assert_int_equal(model->layer[0].weights_bytes, model->layer[0].expert_bytes + 8192 + 73728);
    assert_int_equal(model->layer[0].feed_forward_length, 0);
    dgo_model_close(model);
    writer_done(&w);
}

static void test_keys(void **state)
{
    static const uint32_t numbers[] = {7, 0, 9};
    static const bool flags[] = {true, false};
    static const uint32_t many[DGO_LAYER_MAX + 1];
    char long_text[300] = {0};
    struct writer w;

    (void)state;
    memset(long_text, 'x', sizeof long_text - 1);
    writer_init(&w);
    writer_i32(&w, "x.negative", -5);
    writer_u64(&w, "x.big", UINT64_MAX);
    writer_f32(&w, "x.real", 0.5f);
    writer_f64(&w, "x.double", -2.25);
    writer_bool(&w, "x.yes", true);
    writer_text(&w, "x.short", "short");
    writer_text(&w, "x.long", long_text);
    writer_u32s(&w, "x.numbers", numbers, 3);
    writer_bools(&w, "x.flags", flags, 2);
    writer_u32s(&w, "x.none", numbers, 0);
    writer_u32s(&w, "x.most", many, DGO_LAYER_MAX);
    writer_u32s(&w, "x.many", many, DGO_LAYER_MAX + 1);
    writer_texts(&w, "tokenizer.ggml.tokens", 1000);
    put_model(&w);

    struct dgo_model *model = parsed(&w);
    const struct dgo_model_key *key;

    assert_null(dgo_model_find(model, "x.absent"));
    key = dgo_model_find(model, "x.negative");
    assert_int_equal(key->kind, DGO_VALUE_INT);
    assert_true((int64_t)key->number == -5);
    key = dgo_model_find(model, "x.big");
    assert_int_equal(key->kind, DGO_VALUE_UINT);
    assert_true(key->number == UINT64_MAX);
    key = dgo_model_find(model, "x.real");
    assert_true(key->kind == DGO_VALUE_FLOAT && key->real == 0.5);
    assert_true(dgo_model_find(model, "x.double")->real == -2.25);
    key = dgo_model_find(model, "x.yes");
    assert_true(key->kind == DGO_VALUE_BOOL && key->number == 1);
    key = dgo_model_find(model, "x.short");
    assert_true(key->kind == DGO_VALUE_STRING && !key->is_array && key->length == 5);
    assert_string_equal(key->text, "short");
    key = dgo_model_find(model, "x.long");
    assert_true(key->length == 299 && !key->text);
    key = dgo_model_find(model, "x.numbers");
    assert_true(key->is_array && key->kind == DGO_VALUE_UINT && key->length == 3);
    assert_true(key->elements[0] == 7 && key->elements[1] == 0 && key->elements[2] == 9);
    key = dgo_model_find(model, "x.flags");
    assert_true(key->kind == DGO_VALUE_BOOL && key->elements[0] == 1 && key->elements[1] == 0);
    assert_int_equal(dgo_model_find(model, "x.none")->length, 0);
    assert_non_null(dgo_model_find(model, "x.most")->elements);
    assert_null(dgo_model_find(model, "x.many")->elements);
    assert_int_equal(dgo_model_find(model, "x.many")->length, DGO_LAYER_MAX + 1);
    key = dgo_model_find(model, "tokenizer.ggml.tokens");
    assert_true(key->is_array && key->kind == DGO_VALUE_STRING && key->length == 1000);
    assert_null(key->elements);
    dgo_model_close(model);
    writer_done(&w);
}

/* Types that other forks write: the size is what lies up to the next tensor, or to the end. */
static void test_unknown_type(void **state)
{
    static const uint64_t dims[] = {256, 10};
    struct writer w;

    (void)state;
    writer_init(&w);
    writer_arch(&w, "llama", 1, 256, 4, 4);
    writer_entry(&w, "blk.0.attn_q.weight", 97, 2, dims, 1000);
    writer_tensor(&w, "blk.0.attn_norm.weight", W_F32, 3, 0, 0);
    writer_entry(&w, "blk.0.attn_output.weight", 4, 2, dims, 500);

    struct dgo_model *model = parsed(&w);

    assert_false(model->tensor[0].type_known);
    assert_int_equal(model->tensor[0].type, 97);
    assert_int_equal(model->tensor[0].size_bytes, 1024);
    assert_true(model->tensor[1].type_known);
    assert_int_equal(model->tensor[1].size_bytes, 12);
    assert_int_equal(model->tensor[2].offset, 1024 + 32);
    assert_int_equal(model->tensor[2].size_bytes, 512);
    dgo_model_close(model);
    writer_done(&w);
}

static void test_alignment(void **state)
{
    struct writer w;

    (void)state;
    writer_init(&w);
    w.alignment = 4096;
    writer_u32(&w, "general.alignment", 4096);
    put_model(&w);

    struct dgo_model *model = parsed(&w);

    assert_int_equal(model->tensor[1].offset, 53248); /* 51200 padded */
    dgo_model_close(model);
    writer_done(&w);
}

/* --- refusals -------------------------------------------------------------------------------- */

static void two_names(struct writer *w)
{
    put_model(w);
    writer_tensor(w, "blk.0.attn_q.weight", W_F32, 4, 0, 0);
}

static void two_keys(struct writer *w)
{
    writer_u32(w, "x.twice", 1);
    writer_u32(w, "x.twice", 2);
    put_model(w);
}

static void no_architecture(struct writer *w)
{
    writer_u32(w, "llama.block_count", 2);
    put_tensors(w);
}

static void no_tensors(struct writer *w)
{
    writer_arch(w, "llama", 2, 256, 4, 2);
}

static void adapter(struct writer *w)
{
    writer_text(w, "general.type", "adapter");
    put_model(w);
}

static void odd_alignment(struct writer *w)
{
    writer_u32(w, "general.alignment", 48);
    put_model(w);
}

static void zero_alignment(struct writer *w)
{
    writer_u32(w, "general.alignment", 0);
    put_model(w);
}

static void five_dimensions(struct writer *w)
{
    static const uint64_t dims[] = {1, 1, 1, 1, 1};

    writer_arch(w, "llama", 2, 256, 4, 2);
    writer_entry(w, "x.weight", 0, 5, dims, 4);
}

static void broken_block(struct writer *w)
{
    writer_arch(w, "llama", 2, 256, 4, 2);
    writer_tensor(w, "x.weight", W_Q4_K, 255, 256, 0);
}

static void empty_dimension(struct writer *w)
{
    static const uint64_t dims[] = {256, 0};

    writer_arch(w, "llama", 2, 256, 4, 2);
    writer_entry(w, "x.weight", 0, 2, dims, 0);
}

static void after_unknown_type(struct writer *w)
{
    static const uint64_t dims[] = {256};

    writer_arch(w, "llama", 2, 256, 4, 2);
    w->alignment = 8; /* which the file does not say */
    writer_entry(w, "x.weight", 97, 1, dims, 40);
    writer_tensor(w, "y.weight", W_F32, 8, 0, 0);
}

static void too_many_values(struct writer *w)
{
    static const uint64_t dims[] = {1 << 30, 1 << 30, 1 << 30};

    writer_arch(w, "llama", 2, 256, 4, 2);
    writer_entry(w, "x.weight", 0, 3, dims, 4);
}

static void long_name(struct writer *w)
{
    writer_arch(w, "llama", 2, 256, 4, 2);
    writer_tensor(w, "blk.0.a_name_of_sixty_four_bytes_is_one_more_than_ggml_would_allow.x", W_F32,
                  1, 0, 0);
}

static void escape_in_name(struct writer *w)
{
    writer_arch(w, "llama", 2, 256, 4, 2);
    writer_tensor(w, "blk.0.\x1b[2J", W_F32, 1, 0, 0);
}

static void array_of_arrays(struct writer *w)
{
    writer_raw(w, "x.nested", 9, "\t\0\0\0\1\0\0\0\0\0\0\0", 12);
    put_model(w);
}

static void unknown_value(struct writer *w)
{
    writer_raw(w, "x.odd", 13, "\0\0\0\0", 4);
    put_model(w);
}

static void blocks_above_limit(struct writer *w)
{
    writer_arch(w, "llama", 513, 256, 4, 2);
    put_tensors(w);
}

static void all_blocks_skipped(struct writer *w)
{
    writer_u32(w, "llama.nextn_predict_layers", 2);
    put_model(w);
}

static void short_array(struct writer *w)
{
    static const uint32_t heads[] = {4};

    writer_u32s(w, "llama.feed_forward_length", heads, 1);
    put_model(w);
}

static void negative_number(struct writer *w)
{
    writer_i32(w, "llama.expert_count", -1);
    put_model(w);
}

static void test_refused(void **state)
{
    static const struct {
        const char *name;
        void (*build)(struct writer *w);
        enum dgo_status status;
        const char *part; /* of the sentence */
    } rows[] = {
        {"tensor twice", two_names, DGO_EFORMAT, "blk.0.attn_q.weight occurs twice"},
        {"key twice", two_keys, DGO_EFORMAT, "x.twice occurs twice"},
        {"no architecture", no_architecture, DGO_EFORMAT, "general.architecture"},
        {"no tensors", no_tensors, DGO_EUNSUPPORTED, "no tensors"},
        {"adapter", adapter, DGO_EUNSUPPORTED, "LoRA adapter"},
        {"alignment 48", odd_alignment, DGO_EFORMAT, "general.alignment is 48"},
        {"alignment 0", zero_alignment, DGO_EFORMAT, "general.alignment is 0"},
        {"five dimensions", five_dimensions, DGO_EFORMAT, "5 dimensions"},
        {"row does not fill blocks", broken_block, DGO_EFORMAT, "rows of 255"},
        {"empty dimension", empty_dimension, DGO_EFORMAT, "impossible dimension of 0"},
        {"no place after an unknown type", after_unknown_type, DGO_EFORMAT, "does not follow"},
        {"2^90 values", too_many_values, DGO_EFORMAT, "impossible dimension"},
        {"name too long", long_name, DGO_EFORMAT, "1 to 63"},
        {"escape sequence in name", escape_in_name, DGO_EFORMAT, "byte 0x1b"},
        {"array of arrays", array_of_arrays, DGO_EFORMAT, "unknown type 9"},
        {"unknown value type", unknown_value, DGO_EFORMAT, "unknown type 13"},
        {"513 blocks", blocks_above_limit, DGO_ELIMIT, "llama.block_count is 513"},
        {"all blocks skipped", all_blocks_skipped, DGO_EFORMAT, "nextn_predict_layers is 2"},
        {"array shorter than layers", short_array, DGO_EFORMAT, "1 values for 2 layers"},
        {"negative count", negative_number, DGO_EFORMAT, "llama.expert_count"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct dgo_model *model = (struct dgo_model *)state; /* must stay untouched */
        struct dgo_error err = {0};
        struct writer w;

        writer_init(&w);
        rows[i].build(&w);
        CHECK_ROW_U64(parse(&w, &model, &err), rows[i].status, rows[i].name);
        CHECK_ROW(model == (struct dgo_model *)state, rows[i].name);
        if (!strstr(err.text, rows[i].part) || strncmp(err.text, "byte ", 5) != 0)
            fail_msg("row \"%s\": %s", rows[i].name, err.text);
        writer_done(&w);
    }
}

static void test_versions_refused(void **state)
{
    static const struct {
        const char *name;
        uint32_t version;
        enum dgo_status status;
        const char *part;
    } rows[] = {
        {"version 0", 0, DGO_EFORMAT, "version 0"},
        {"version 1", 1, DGO_EUNSUPPORTED, "version 1"},
        {"version 4", 4, DGO_EUNSUPPORTED, "version 4"},
        {"big-endian 3", 3u << 24, DGO_EUNSUPPORTED, "big-endian"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct dgo_error err = {0};
        struct dgo_model *model;
        struct writer w;

        writer_init(&w);
        w.version = rows[i].version;
        put_model(&w);
        CHECK_ROW_U64(parse(&w, &model, &err), rows[i].status, rows[i].name);
        CHECK_ROW(strstr(err.text, "byte 4: ") == err.text, rows[i].name);
        CHECK_ROW(strstr(err.text, rows[i].part), rows[i].name);
        writer_done(&w);
    }
}

static void test_other_files(void **state)
{
    static const struct {
        const char *name;
        size_t length;
        const char *bytes, *part;
    } rows[] = {
        {"empty", 0, "", "empty"},
        {"zeros", 16, "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", "begins with zeros"},
        {"safetensors", 16, "\x40\x01\0\0\0\0\0\0{\"__meta", "safetensors"},
        {"web page", 15, "<!DOCTYPE html>", "web page"},
        {"json", 12, "{\"error\":\"x\"", "JSON"},
        {"lfs", 24, "version https://git-lfs.", "Git LFS"},
        {"zip", 8, "PK\3\4\0\0\0\0", "PyTorch"},
        {"old ggml", 8, "tjgg\3\0\0\0", "before GGUF"},
        {"text", 5, "hello", "something else"},
        {"three bytes", 3, "GGU", "something else"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct dgo_error err = {0};
        struct dgo_model *model;

        CHECK_ROW_U64(dgo_model_parse(rows[i].bytes, rows[i].length, rows[i].length, &model, &err),
                      DGO_EUNSUPPORTED, rows[i].name);
        CHECK_ROW(strstr(err.text, "byte 0: not a GGUF file"), rows[i].name);
        CHECK_ROW(strstr(err.text, rows[i].part), rows[i].name);
    }
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_plain_model),  cmocka_unit_test(test_classes),
    cmocka_unit_test(test_experts),      cmocka_unit_test(test_keys),
    cmocka_unit_test(test_unknown_type), cmocka_unit_test(test_alignment),
    cmocka_unit_test(test_refused),      cmocka_unit_test(test_versions_refused),
    cmocka_unit_test(test_other_files),
};

CHECK_MAIN(tests)
