/* test_shards.c - models in several real files: any part names the others, and what is wrong with
 * one of them is said with its name. */
#include "check.h"

#include <fcntl.h>
#include <unistd.h>

#include "dgo_model.h"
#include "gguf_writer.h"

enum { PART_COUNT = 3, PATH_SIZE = 96 };

static char folder[32];

static int make_folder(void **state)
{
    (void)state;
    snprintf(folder, sizeof folder, "/tmp/dgo-shards-XXXXXX");
    return mkdtemp(folder) ? 0 : -1;
}

static void part_path(char path[PATH_SIZE], uint32_t number)
{
    snprintf(path, PATH_SIZE, "%s/m-%05u-of-%05u.gguf", folder, number, (unsigned)PART_COUNT);
}

static int remove_folder(void **state)
{
    char path[PATH_SIZE];

    (void)state;
    for (uint32_t n = 1; n <= PART_COUNT; n++) {
        part_path(path, n);
        unlink(path);
    }
    return rmdir(folder);
}

/* What one part says of itself. */
struct part {
    uint16_t no, count;
    uint32_t tensors_count;
    const char *tensor; /* the layer's weight that it holds */
};

static void write_file(const char *path, const struct writer *w)
{
    const int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

    assert_true(fd >= 0);
    assert_int_equal(write(fd, w->file, w->length), w->length);
    assert_int_equal(ftruncate(fd, (off_t)w->file_bytes), 0);
    close(fd);
}

static void write_part(uint32_t number, const struct part *part)
{
    char path[PATH_SIZE];
    struct writer w;

    writer_init(&w);
    if (part->no == 0)
        writer_arch(&w, "llama", 2, 256, 4, 2);
    writer_u16(&w, "split.no", part->no);
    writer_u16(&w, "split.count", part->count);
    writer_i32(&w, "split.tensors.count", (int32_t)part->tensors_count);
    if (part->tensor)
        writer_tensor(&w, part->tensor, W_F32, 256, 4, 0);
    writer_finish(&w);
    part_path(path, number);
    write_file(path, &w);
    writer_done(&w);
}

static const struct part good_parts[PART_COUNT] = {
    {0, 3, 3, "token_embd.weight"},
    {1, 3, 3, "blk.0.attn_q.weight"},
    {2, 3, 3, "blk.1.attn_q.weight"},
};

static void write_good(void)
{
    for (uint32_t n = 1; n <= PART_COUNT; n++)
        write_part(n, &good_parts[n - 1]);
}

static void test_any_part_opens_all(void **state)
{
    (void)state;
    write_good();
    for (uint32_t n = 1; n <= PART_COUNT; n++) {
        struct dgo_model *model = NULL;
        struct dgo_error err = {0};
        char path[PATH_SIZE];

        part_path(path, n);
        if (dgo_model_open(path, &model, &err))
            fail_msg("part %u: %s", n, err.text);
        assert_string_equal(model->path, path);
        assert_string_equal(model->architecture, "llama");
        assert_int_equal(model->shard_count, 3);
        assert_int_equal(model->tensor_count, 3);
        assert_string_equal(model->tensor[0].name, "token_embd.weight");
        assert_string_equal(model->tensor[2].name, "blk.1.attn_q.weight");
        for (uint16_t i = 0; i < 3; i++)
            assert_int_equal(model->tensor[i].shard, i);
        assert_int_equal(model->input_bytes, 4096);
        assert_int_equal(model->layer[0].weights_bytes, 4096);
        assert_int_equal(model->layer[1].weights_bytes, 4096);
        dgo_model_close(model);
    }
}

/* llama-gguf-split --no-tensor-first-split: the first part is metadata only. */
static void test_first_part_without_tensors(void **state)
{
    const struct part first = {0, 3, 2, NULL};
    struct dgo_model *model = NULL;
    struct dgo_error err = {0};
    char path[PATH_SIZE];

    (void)state;
    write_part(1, &first);
    write_part(2, &(struct part){1, 3, 2, "blk.0.attn_q.weight"});
    write_part(3, &(struct part){2, 3, 2, "blk.1.attn_q.weight"});
    part_path(path, 1);
    if (dgo_model_open(path, &model, &err))
        fail_msg("%s", err.text);
    assert_int_equal(model->tensor_count, 2);
    dgo_model_close(model);
}

static void test_missing_part_is_named(void **state)
{
    (void)state;
    for (uint32_t gone = 1; gone <= PART_COUNT; gone++) {
        struct dgo_model *model = NULL;
        struct dgo_error err = {0};
        char path[PATH_SIZE], sentence[64];

        write_good();
        part_path(path, gone);
        unlink(path);
        snprintf(sentence, sizeof sentence, "part %u of 3 of the model is missing", gone);

        char given[PATH_SIZE];

        part_path(given, gone == 1 ? 2 : 1);
        assert_int_equal(dgo_model_open(given, &model, &err), DGO_ENOTFOUND);
        assert_true(strstr(err.text, path) == err.text);
        assert_non_null(strstr(err.text, sentence));
    }
}

static void test_wrong_parts(void **state)
{
    static const struct {
        const char *name;
        uint32_t number; /* the part that is replaced */
        struct part part;
        enum dgo_status status;
        const char *sentence;
    } rows[] = {
        {"two of the same number", 2, {0, 3, 3, "blk.0.attn_q.weight"}, DGO_EFORMAT, "part 1 of 3"},
        {"of another count", 3, {2, 4, 3, "blk.1.attn_q.weight"}, DGO_EFORMAT, "part 3 of 4"},
        {"a tensor of another part",
         3,
         {2, 3, 3, "blk.0.attn_q.weight"},
         DGO_EFORMAT,
         "blk.0.attn_q.weight occurs twice"},
        {"wrong total",
         1,
         {0, 3, 4, "token_embd.weight"},
         DGO_EFORMAT,
         "3 parts hold 3 tensors, split.tensors.count says 4"},
        {"no such number", 1, {7, 3, 3, "token_embd.weight"}, DGO_EFORMAT, "split.no is 7 of 3"},
        {"too many parts", 1, {0, 513, 3, "token_embd.weight"}, DGO_ELIMIT, "split.count is 513"},
        {"named for three, says two",
         1,
         {0, 2, 3, "token_embd.weight"},
         DGO_EFORMAT,
         "-00001-of-00002.gguf"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct dgo_model *model = NULL;
        struct dgo_error err = {0};
        char path[PATH_SIZE];

        write_good();
        write_part(rows[i].number, &rows[i].part);
        part_path(path, 1);
        CHECK_ROW_U64(dgo_model_open(path, &model, &err), rows[i].status, rows[i].name);
        if (!strstr(err.text, rows[i].sentence) || strncmp(err.text, folder, strlen(folder)) != 0)
            fail_msg("row \"%s\": %s", rows[i].name, err.text);
    }
}

/* A part whose name lost its number: the engine would not find the others either. */
static void test_renamed_part(void **state)
{
    struct dgo_model *model = NULL;
    struct dgo_error err = {0};
    char path[PATH_SIZE], other[PATH_SIZE];

    (void)state;
    write_good();
    part_path(path, 2);
    snprintf(other, sizeof other, "%s/blob", folder);
    assert_int_equal(rename(path, other), 0);
    assert_int_equal(dgo_model_open(other, &model, &err), DGO_EFORMAT);
    assert_non_null(strstr(err.text, "part 2 of 3"));
    assert_non_null(strstr(err.text, "-00002-of-00003.gguf"));
    unlink(other);
}

/* A file that is not split may be called as it likes. */
static void test_single_file_with_a_part_name(void **state)
{
    struct dgo_model *model = NULL;
    struct dgo_error err = {0};
    char path[PATH_SIZE];
    struct writer w;

    (void)state;
    writer_init(&w);
    writer_arch(&w, "llama", 2, 256, 4, 2);
    writer_tensor(&w, "token_embd.weight", W_F32, 256, 4, 0);
    writer_finish(&w);
    part_path(path, 2);
    write_file(path, &w);
    if (dgo_model_open(path, &model, &err))
        fail_msg("%s", err.text);
    assert_int_equal(model->shard_count, 1);
    dgo_model_close(model);
    writer_done(&w);
}

static void test_cut_part_is_named(void **state)
{
    struct dgo_model *model = NULL;
    struct dgo_error err = {0};
    char given[PATH_SIZE], cut[PATH_SIZE];

    (void)state;
    write_good();
    part_path(given, 1);
    part_path(cut, 3);
    assert_int_equal(truncate(cut, 1000), 0);
    assert_int_equal(dgo_model_open(given, &model, &err), DGO_EFORMAT);
    assert_true(strstr(err.text, cut) == err.text);
    assert_non_null(strstr(err.text, "byte 1000: the file ends"));
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test_setup_teardown(test_any_part_opens_all, make_folder, remove_folder),
    cmocka_unit_test_setup_teardown(test_first_part_without_tensors, make_folder, remove_folder),
    cmocka_unit_test_setup_teardown(test_missing_part_is_named, make_folder, remove_folder),
    cmocka_unit_test_setup_teardown(test_wrong_parts, make_folder, remove_folder),
    cmocka_unit_test_setup_teardown(test_renamed_part, make_folder, remove_folder),
    cmocka_unit_test_setup_teardown(test_single_file_with_a_part_name, make_folder, remove_folder),
    cmocka_unit_test_setup_teardown(test_cut_part_is_named, make_folder, remove_folder),
};

CHECK_MAIN(tests)
