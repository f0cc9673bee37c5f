/* test_vocab.c - vocabularies by hand: what their tokens are, and what hostile ones get. */
#include "check.h"
#include "dgo_token.h"

#include <stdbool.h>

/* A GGUF file in the making: header, then pairs. */
struct file {
    unsigned char data[1 << 16];
    size_t length;
    uint64_t pairs;
};

static void put(struct file *file, const void *bytes, size_t length)
{
    assert_true(file->length + length <= sizeof file->data);
    memcpy(file->data + file->length, bytes, length);
    file->length += length;
}

static void put_u32(struct file *file, uint32_t value)
{
    put(file, &value, 4);
}

static void put_u64(struct file *file, uint64_t value)
{
    put(file, &value, 8);
}

static void put_text(struct file *file, const char *text)
{
    put_u64(file, strlen(text));
    put(file, text, strlen(text));
}

static void begin(struct file *file)
{
    file->length = 0;
    file->pairs = 0;
    put(file, "GGUF", 4);
    put_u32(file, 3);
    put_u64(file, 0);
    put_u64(file, 0);
}

static void key(struct file *file, const char *name, uint32_t type)
{
    put_text(file, name);
    put_u32(file, type);
    file->pairs++;
}

static void text_pair(struct file *file, const char *name, const char *value)
{
    key(file, name, 8);
    put_text(file, value);
}

static void array(struct file *file, const char *name, uint32_t type, uint64_t count)
{
    key(file, name, 9);
    put_u32(file, type);
    put_u64(file, count);
}

static void texts(struct file *file, const char *name, const char *const *values, uint32_t count)
{
    array(file, name, 8, count);
    for (uint32_t i = 0; i < count; i++)
        put_text(file, values[i]);
}

static void end(struct file *file)
{
    memcpy(file->data + 16, &file->pairs, 8);
    while (file->length % 32)
        put(file, "", 1);
}

static void expect(struct dgo_vocab *vocab, const char *text, const uint32_t *want, size_t count)
{
    const struct dgo_tokenize_options options = {.parse_special = true};
    struct dgo_tokenizer *tokenizer = NULL;
    struct dgo_error err = {0};
    const uint32_t *tokens;
    size_t got;

    assert_int_equal(dgo_tokenizer_new(vocab, &tokenizer, &err), DGO_OK);
    for (unsigned round = 0; round < 2; round++) { /* the second time from the word cache */
        assert_int_equal(dgo_tokenize(tokenizer, text, strlen(text), &options, &tokens, &got, &err),
                         DGO_OK);
        CHECK_ROW_U64(got, count, text);
        for (size_t i = 0; i < count; i++)
            CHECK_ROW_U64(tokens[i], want[i], text);
    }
    dgo_tokenizer_free(tokenizer);
}

static void test_merges_in_order(void **state)
{
    static struct file file;
    /* ids:                               0    1    2    3    4     5     6      7      8 */
    static const char *const tokens[] = {"a", "b", "c", "Ġ", "ab", "bc", "abc", "Ġab", "<x>"};
    static const char *const merges[] = {"b c", "a b", "a bc", "Ġ ab"};
    struct dgo_vocab *vocab = NULL;
    struct dgo_error err = {0};

    (void)state;
    begin(&file);
    text_pair(&file, "tokenizer.ggml.model", "gpt2");
    text_pair(&file, "tokenizer.ggml.pre", "gpt-2");
    texts(&file, "tokenizer.ggml.tokens", tokens, 9);
    array(&file, "tokenizer.ggml.token_type", 5, 9);
    for (uint32_t i = 0; i < 9; i++)
        put_u32(&file, i == 8 ? 3 : 1);
    texts(&file, "tokenizer.ggml.merges", merges, 4);
    end(&file);
    assert_int_equal(dgo_vocab_parse(file.data, file.length, &vocab, &err), DGO_OK);
    assert_string_equal(dgo_vocab_name(vocab), "gpt2/gpt-2");
    assert_int_equal(dgo_vocab_size(vocab), 9);
    assert_true(dgo_vocab_exact(vocab));
    expect(vocab, "abc", (const uint32_t[]){6}, 1); /* b c goes first */
    expect(vocab, "ab abab", (const uint32_t[]){4, 7, 4}, 3);
    expect(vocab, "c<x>b", (const uint32_t[]){2, 8, 1}, 3);
    expect(vocab, "zaz", (const uint32_t[]){0}, 1); /* no token, no byte fallback: nothing */
    expect(vocab, "", NULL, 0);
    dgo_vocab_close(vocab);
}

static void test_scores_and_bytes(void **state)
{
    static struct file file;
    static const char *const tokens[] = {"<unk>",
                                         "<0x7A>",
                                         "\xe2\x96\x81",
                                         "a",
                                         "b",
                                         "ab",
                                         "ba",
                                         ("\xe2\x96\x81"
                                          "a")};
    static const float scores[] = {0, 0, -9, -9, -9, -2, -1, -3};
    struct dgo_vocab *vocab = NULL;
    struct dgo_error err = {0};

    (void)state;
    begin(&file);
    text_pair(&file, "tokenizer.ggml.model", "llama");
    texts(&file, "tokenizer.ggml.tokens", tokens, 8);
    array(&file, "tokenizer.ggml.scores", 6, 8);
    put(&file, scores, sizeof scores);
    array(&file, "tokenizer.ggml.token_type", 5, 8);
    for (uint32_t i = 0; i < 8; i++)
        put_u32(&file, i == 0 ? 2 : i == 1 ? 6 : 1);
    end(&file);
    assert_int_equal(dgo_vocab_parse(file.data, file.length, &vocab, &err), DGO_OK);
    expect(vocab, "aba", (const uint32_t[]){7, 6}, 2);             /* ba first, then _a */
    expect(vocab, "bz", (const uint32_t[]){2, 4, 1}, 3);           /* z by its byte */
    expect(vocab, "b\xc3\xa9", (const uint32_t[]){2, 4, 0, 0}, 4); /* bytes without a token */
    dgo_vocab_close(vocab);
}

/* What a hostile file may hold: refused with a sentence, or bounded. */
static void make_hostile(struct file *file, unsigned which)
{
    static const char *const two[] = {"a", "a"}, *const one[] = {"a"};
    static const char *const cycle[] = {"a b", "b a", "ab a", "a ba", "aba ab", "a a", "aa aa"};
    static const char *const pieces[] = {"a", "b", "ab", "ba", "aba", "aa", "aaaa"};
    static const char *const special[] = {"<a>", "<a><a>", "a><a", ">", "<", "a"};

    begin(file);
    text_pair(file, "tokenizer.ggml.model", which == 6 ? "alien" : "gpt2");
    text_pair(file, "tokenizer.ggml.pre", which == 7 ? "alien" : "gpt-2");
    switch (which) {
    case 0:
        array(file, "tokenizer.ggml.tokens", 8, UINT64_C(1) << 31);
        break;
    case 1:
        texts(file, "tokenizer.ggml.tokens", two, 2);
        break;
    case 2:
        texts(file, "tokenizer.ggml.tokens", one, 1);
        array(file, "tokenizer.ggml.token_type", 5, 0);
        break;
    case 3: /* merges in a circle: each still makes something longer */
        texts(file, "tokenizer.ggml.tokens", pieces, 7);
        texts(file, "tokenizer.ggml.merges", cycle, 7);
        break;
    case 4: /* specials in each other */
        texts(file, "tokenizer.ggml.tokens", special, 6);
        array(file, "tokenizer.ggml.token_type", 5, 6);
        for (uint32_t i = 0; i < 6; i++)
            put_u32(file, 4);
        break;
    case 5:
        texts(file, "tokenizer.ggml.tokens", one, 1);
        array(file, "tokenizer.ggml.merges", 4, 1);
        put_u32(file, 0);
        break;
    default:
        texts(file, "tokenizer.ggml.tokens", one, 1);
    }
    end(file);
}

static void test_hostile(void **state)
{
    static const struct {
        const char *name;
        enum dgo_status status;
        const char *text;
        size_t count;
    } cases[] = {
        {"two thousand million tokens", DGO_EFORMAT, NULL, 0},
        {"the same token twice", DGO_EFORMAT, NULL, 0},
        {"types for no token", DGO_EFORMAT, NULL, 0},
        {"merges in a circle", DGO_OK, "aaaaababaaaa", 5},
        {"specials in each other", DGO_OK, "<a><a><a>", 2},
        {"merges that are numbers", DGO_EFORMAT, NULL, 0},
        {"an unknown tokenizer", DGO_EUNSUPPORTED, NULL, 0},
        {"an unknown pre-tokenizer", DGO_EUNSUPPORTED, NULL, 0},
    };
    static struct file file;

    (void)state;
    for (unsigned i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const struct dgo_tokenize_options options = {.parse_special = true};
        struct dgo_vocab *vocab = NULL;
        struct dgo_tokenizer *tokenizer = NULL;
        struct dgo_error err = {0};
        const uint32_t *tokens;
        size_t count;

        make_hostile(&file, i);
        const enum dgo_status status = dgo_vocab_parse(file.data, file.length, &vocab, &err);

        CHECK_ROW(status == cases[i].status, cases[i].name);
        if (status != DGO_OK) {
            CHECK_ROW(strlen(err.text) > 10, cases[i].name);
            continue;
        }
        assert_int_equal(dgo_tokenizer_new(vocab, &tokenizer, NULL), DGO_OK);
        assert_int_equal(dgo_tokenize(tokenizer, cases[i].text, strlen(cases[i].text), &options,
                                      &tokens, &count, &err),
                         DGO_OK);
        CHECK_ROW_U64(count, cases[i].count, cases[i].name);
        dgo_tokenizer_free(tokenizer);
        dgo_vocab_close(vocab);
    }
}

/* Every cut of a good file fails with a sentence, or is still whole. */
static void test_truncations(void **state)
{
    static struct file file;
    static const char *const tokens[] = {"a", "b", "ab"}, *const merges[] = {"a b"};

    (void)state;
    begin(&file);
    text_pair(&file, "tokenizer.ggml.model", "gpt2");
    text_pair(&file, "tokenizer.ggml.pre", "qwen2");
    texts(&file, "tokenizer.ggml.tokens", tokens, 3);
    texts(&file, "tokenizer.ggml.merges", merges, 1);
    end(&file);
    for (size_t length = 0; length < file.length; length++) {
        unsigned char *copy = malloc(length + 1);
        struct dgo_vocab *vocab = NULL;
        struct dgo_error err = {0};

        memcpy(copy, file.data, length);
        if (dgo_vocab_parse(copy, length, &vocab, &err) != DGO_OK)
            assert_true(err.text[0] != '\0');
        dgo_vocab_close(vocab);
        free(copy);
    }
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_merges_in_order),
    cmocka_unit_test(test_scores_and_bytes),
    cmocka_unit_test(test_hostile),
    cmocka_unit_test(test_truncations),
};
CHECK_MAIN(tests)
