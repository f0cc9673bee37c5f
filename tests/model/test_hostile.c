/* test_hostile.c - files that are cut, changed or lie: an error that names the byte, or a sane
 * model; never a crash, and memory that follows the file's size.
 *
 * Every parse gets a copy of exactly the file's length, so that a sanitizer sees one byte too far.
 */
#include "check.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "gguf.h"
#include "gguf_writer.h"

/* Of taking the 1.4 KiB model apart, and of understanding it, which has a table of 512 layers.  The
 * good file takes 3.4 and 35.4 KiB. */
enum { MEMORY_BOUND_BYTES = 32 << 10, MODEL_BOUND_BYTES = 128 << 10 };

/* Small, but with every kind of value, an unknown type and experts. */
static void put_model(struct writer *w)
{
    static const uint32_t heads_kv[] = {2, 0};
    static const bool flags[] = {true, false, true};
    static const uint64_t dims[] = {256, 3};

    writer_text(w, "general.architecture", "jamba");
    writer_text(w, "general.name", "small");
    writer_u32(w, "general.alignment", 32);
    writer_u32(w, "general.file_type", 1);
    writer_u32(w, "jamba.block_count", 2);
    writer_u32(w, "jamba.context_length", 4096);
    writer_u32(w, "jamba.embedding_length", 64);
    writer_u32(w, "jamba.expert_count", 4);
    writer_u32(w, "jamba.attention.head_count", 4);
    writer_u32s(w, "jamba.attention.head_count_kv", heads_kv, 2);
    writer_u32(w, "jamba.attention.sliding_window", 16);
    writer_bools(w, "jamba.attention.sliding_window_pattern", flags, 3);
    writer_i32(w, "x.i32", -1);
    writer_u64(w, "x.u64", 1);
    writer_u16(w, "split.count", 1);
    writer_f32(w, "x.f32", 1.0f);
    writer_f64(w, "x.f64", 1.0);
    writer_texts(w, "tokenizer.ggml.tokens", 20);
    writer_tensor(w, "token_embd.weight", W_F16, 64, 20, 0);
    writer_tensor(w, "rope_freqs.weight", W_F32, 8, 0, 0);
    writer_tensor(w, "blk.0.attn_k.weight", W_Q8_0, 64, 32, 0);
    writer_entry(w, "blk.0.attn_v.weight", 97, 2, dims, 512);
    writer_tensor(w, "blk.0.ffn_up_exps.weight", W_F16, 64, 32, 4);
    writer_tensor(w, "blk.0.ffn_down_exps.weight", W_F16, 32, 64, 4);
    writer_tensor(w, "blk.1.ssm_in.weight", W_F16, 64, 32, 0);
    writer_tensor(w, "output_norm.weight", W_F32, 64, 0, 0);
    writer_finish(w);
}

static enum dgo_status parse_copy(const unsigned char *data, size_t length, uint64_t file_bytes,
                                  struct dgo_model **model, struct dgo_error *err)
{
    unsigned char *copy = malloc(length ? length : 1);

    assert_non_null(copy);
    memcpy(copy, data, length);

    const enum dgo_status status =
        dgo_model_parse(length ? copy : copy + 1, length, file_bytes, model, err);

    free(copy);
    return status;
}

/* What parsing the container alone takes, failed or not. */
static size_t memory_taken(const unsigned char *data, size_t length, uint64_t file_bytes)
{
    struct dgo_arena arena = {.limit_bytes = GGUF_MEMORY_BYTES_MAX};
    struct dgo_reader in;
    struct gguf_file file;
    enum dgo_status ignored;

    dgo_read_memory(&in, data, length);
    ignored = gguf_parse(&in, file_bytes, &arena, &file, NULL);
    (void)ignored;

    const size_t used = arena.used_bytes;

    dgo_arena_done(&arena);
    return used;
}

/* A model that was accepted can be used: nothing in it points outside or counts beyond a bound. */
static void check_sane(const struct dgo_model *model, const char *what)
{
    uint64_t sum = 0;

    CHECK_ROW(model->layer_count >= 1 && model->layer_count <= DGO_LAYER_MAX, what);
    CHECK_ROW(model->tensor_count >= 1 && model->tensor_count <= DGO_TENSOR_MAX, what);
    CHECK_ROW(model->architecture[0] != '\0', what);
    CHECK_ROW(model->arena->used_bytes <= MODEL_BOUND_BYTES, what);
    for (uint32_t i = 0; i < model->tensor_count; i++) {
        const struct dgo_tensor *tensor = &model->tensor[i];

        CHECK_ROW(tensor->dim_count >= 1 && tensor->dim_count <= DGO_DIM_MAX, what);
        CHECK_ROW(tensor->name[0] && memchr(tensor->name, 0, sizeof tensor->name), what);
        CHECK_ROW(tensor->offset + tensor->size_bytes <= model->file_bytes, what);
        sum += tensor->size_bytes;
    }
    CHECK_ROW(sum <= model->file_bytes, what);
    for (uint32_t i = 0; i < model->key_count; i++)
        CHECK_ROW(model->key[i].name && dgo_model_find(model, model->key[i].name), what);
}

static void check_sentence(const struct dgo_error *err, const char *what)
{
    CHECK_ROW(err->status == DGO_EFORMAT || err->status == DGO_EUNSUPPORTED ||
                  err->status == DGO_ELIMIT,
              what);
    if (strncmp(err->text, "byte ", 5) != 0)
        fail_msg("%s: %s", what, err->text);
}

static void test_the_model_itself_is_good(void **state)
{
    struct dgo_model *model = NULL;
    struct dgo_error err = {0};
    struct writer w;

    (void)state;
    writer_init(&w);
    put_model(&w);
    if (parse_copy(w.file, w.length, w.file_bytes, &model, &err))
        fail_msg("%s", err.text);
    check_sane(model, "good");
    assert_true(memory_taken(w.file, w.length, w.file_bytes) <= MEMORY_BOUND_BYTES);
    dgo_model_close(model);
    writer_done(&w);
}

/* Every prefix of the file, first as a short file, then as a file whose data is cut. */
static void test_every_truncation(void **state)
{
    struct dgo_model *model = NULL;
    struct writer w;

    (void)state;
    writer_init(&w);
    put_model(&w);
    for (uint64_t length = 0; length < w.file_bytes; length++) {
        const size_t present = length < w.length ? (size_t)length : w.length;
        struct dgo_error err = {0};
        char what[64];

        snprintf(what, sizeof what, "cut at %llu", (unsigned long long)length);
        if (parse_copy(w.file, present, length, &model, &err) == DGO_OK)
            fail_msg("%s is accepted", what);
        check_sentence(&err, what);
        CHECK_ROW(memory_taken(w.file, present, length) <= MEMORY_BOUND_BYTES, what);
    }
    writer_done(&w);
}

static void store(unsigned char *to, uint64_t value, unsigned width)
{
    for (unsigned i = 0; i < width; i++)
        to[i] = (unsigned char)(value >> (8 * i));
}

/* Every number in the file set to what overflows, wraps or asks for everything. */
static void test_every_number(void **state)
{
    static const uint64_t values[] = {
        0,
        1,
        2,
        255,
        60000, /* below every limit, above what the file can hold */
        UINT64_C(1) << 31,
        UINT64_C(1) << 32,
        UINT64_C(1) << 61,
        UINT64_C(1) << 63,
        UINT64_MAX - 31,
        UINT64_MAX - 7,
        UINT64_MAX,
    };
    unsigned accepted = 0, refused = 0;
    struct writer w;

    (void)state;
    writer_init(&w);
    put_model(&w);
    for (size_t m = 0; m < w.mark_count; m++) {
        for (size_t v = 0; v < sizeof values / sizeof values[0]; v++) {
            const struct writer_mark mark = w.mark[m];
            struct dgo_model *model = NULL;
            struct dgo_error err = {0};
            unsigned char kept[8];
            char what[64];

            memcpy(kept, w.file + mark.pos, mark.width);
            store(w.file + mark.pos, values[v], mark.width);
            snprintf(what, sizeof what, "byte %zu set to %llx", mark.pos,
                     (unsigned long long)values[v]);
            if (parse_copy(w.file, w.length, w.file_bytes, &model, &err) == DGO_OK) {
                check_sane(model, what);
                dgo_model_close(model);
                accepted++;
            } else {
                check_sentence(&err, what);
                refused++;
            }
            CHECK_ROW(memory_taken(w.file, w.length, w.file_bytes) <= MEMORY_BOUND_BYTES, what);
            memcpy(w.file + mark.pos, kept, mark.width);
        }
    }
    /* Values of harmless keys may be anything; most of the file is not harmless. */
    assert_true(refused > accepted);
    writer_done(&w);
}

/* The same claims where the file is big enough to hold them, as a sparse one is. */
static void test_counts_in_a_huge_file(void **state)
{
    static const struct {
        const char *name;
        size_t pos;
        uint64_t count, file_bytes;
    } rows[] = {
        {"2^32 tensors in 2^40 bytes", 8, UINT64_C(1) << 32, UINT64_C(1) << 40},
        {"65537 tensors", 8, 65537, UINT64_C(1) << 40},
        {"2^32 pairs in 2^40 bytes", 16, UINT64_C(1) << 32, UINT64_C(1) << 40},
        {"65537 pairs", 16, 65537, UINT64_C(1) << 40},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const size_t length = 4 << 20;
        unsigned char *data = calloc(1, length);
        struct dgo_model *model = NULL;
        struct dgo_error err = {0};

        assert_non_null(data);
        memcpy(data, "GGUF\3\0\0\0", 8);
        store(data + rows[i].pos, rows[i].count, 8);
        CHECK_ROW(dgo_model_parse(data, length, rows[i].file_bytes, &model, &err) != DGO_OK,
                  rows[i].name);
        check_sentence(&err, rows[i].name);
        CHECK_ROW(memory_taken(data, length, rows[i].file_bytes) <= MEMORY_BOUND_BYTES,
                  rows[i].name);
        free(data);
    }
}

/* A header that goes on and on is left after 256 MiB, however long the (sparse) file is. */
static void test_endless_header(void **state)
{
    char path[] = "/tmp/dgo-hostile-XXXXXX";
    const int fd = mkstemp(path);
    struct dgo_model *model = NULL;
    struct dgo_error err = {0};
    struct writer w;

    (void)state;
    assert_true(fd >= 0);
    writer_init(&w);
    /* A string of 1 GiB less a bit, which the file has. */
    writer_raw(&w, "x.long", 8, "\0\0\0\x3f\0\0\0\0", 8);
    writer_text(&w, "general.architecture", "llama");
    writer_finish(&w);
    assert_int_equal(write(fd, w.file, w.length), w.length);
    assert_int_equal(ftruncate(fd, (off_t)1 << 36), 0);
    assert_int_equal(dgo_model_open(path, &model, &err), DGO_ELIMIT);
    assert_non_null(strstr(err.text, path));
    assert_non_null(strstr(err.text, "256 MiB"));
    writer_done(&w);
    close(fd);
    unlink(path);
}

/* Any bytes at any place: a seeded walk through what the fuzzer does at length. */
static void test_random_changes(void **state)
{
    uint64_t random = check_seed();
    struct writer w;

    (void)state;
    writer_init(&w);
    put_model(&w);
    for (int round = 0; round < 4000; round++) {
        unsigned char *changed = malloc(w.length);
        struct dgo_model *model = NULL;
        struct dgo_error err = {0};

        assert_non_null(changed);
        memcpy(changed, w.file, w.length);
        for (uint64_t n = 1 + check_below(&random, 4); n; n--)
            changed[check_below(&random, w.length)] = (unsigned char)check_random(&random);
        if (dgo_model_parse(changed, w.length, w.file_bytes, &model, &err) == DGO_OK) {
            check_sane(model, "random change");
            dgo_model_close(model);
        } else {
            check_sentence(&err, "random change");
        }
        free(changed);
    }
    writer_done(&w);
}

/* The n-th allocation fails, for n = 1, 2, ... until none is left to fail. */
static void test_every_allocation_fails(void **state)
{
    enum dgo_status status = DGO_ENOMEM;
    uint32_t n = 0;
    struct writer w;

    (void)state;
    writer_init(&w);
    put_model(&w);
    while (status == DGO_ENOMEM) {
        struct dgo_arena arena = {.limit_bytes = GGUF_MEMORY_BYTES_MAX, .fail_after = ++n};
        struct dgo_error err = {0};
        struct dgo_reader in;
        struct gguf_file file;

        dgo_read_memory(&in, w.file, w.length);
        status = gguf_parse(&in, w.file_bytes, &arena, &file, &err);
        if (status)
            assert_int_equal(status, DGO_ENOMEM);
        dgo_arena_done(&arena);
    }
    assert_int_equal(status, DGO_OK);
    assert_true(n > 20);
    writer_done(&w);
}

static void test_ceiling(void **state)
{
    struct dgo_arena arena = {.limit_bytes = 2048};
    struct dgo_error err = {0};
    struct dgo_reader in;
    struct gguf_file file;
    struct writer w;

    (void)state;
    writer_init(&w);
    put_model(&w);
    dgo_read_memory(&in, w.file, w.length);
    assert_int_equal(gguf_parse(&in, w.file_bytes, &arena, &file, &err), DGO_ELIMIT);
    assert_true(arena.used_bytes <= 2048);
    dgo_arena_done(&arena);
    writer_done(&w);
}

/* What is no regular file is refused at once; a pipe without a writer must not be waited for. */
static void test_not_a_file(void **state)
{
    char folder[] = "/tmp/dgo-hostile-XXXXXX";
    char pipe_path[64], missing[64];
    struct dgo_model *model = NULL;

    (void)state;
    assert_non_null(mkdtemp(folder));
    snprintf(pipe_path, sizeof pipe_path, "%s/pipe.gguf", folder);
    snprintf(missing, sizeof missing, "%s/none.gguf", folder);
    assert_int_equal(mkfifo(pipe_path, 0600), 0);

    const struct {
        const char *path;
        enum dgo_status status;
        const char *part;
    } rows[] = {
        {pipe_path, DGO_EUNSUPPORTED, "pipe"},     {folder, DGO_EUNSUPPORTED, "directory"},
        {"/dev/zero", DGO_EUNSUPPORTED, "device"}, {missing, DGO_ENOTFOUND, "none.gguf"},
        {"", DGO_ENOTFOUND, "cannot be opened"},
    };

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct dgo_error err = {0};

        CHECK_ROW_U64(dgo_model_open(rows[i].path, &model, &err), rows[i].status, rows[i].path);
        CHECK_ROW(strstr(err.text, rows[i].path) == err.text, rows[i].path);
        CHECK_ROW(strstr(err.text, rows[i].part), rows[i].path);
    }
    unlink(pipe_path);
    rmdir(folder);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_the_model_itself_is_good),
    cmocka_unit_test(test_every_truncation),
    cmocka_unit_test(test_every_number),
    cmocka_unit_test(test_counts_in_a_huge_file),
    cmocka_unit_test(test_endless_header),
    cmocka_unit_test(test_random_changes),
    cmocka_unit_test(test_every_allocation_fails),
    cmocka_unit_test(test_ceiling),
    cmocka_unit_test(test_not_a_file),
};

CHECK_MAIN(tests)
