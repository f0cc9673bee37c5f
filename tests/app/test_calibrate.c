/* test_calibrate.c - probes are models that open, within their size; llama-bench's lines are read.
 */
#include "bench_run.h"
#include "check.h"
#include "dgo_model.h"
#include "dgo_units.h"
#include "probe_model.h"

#include <stdlib.h>
#include <unistd.h>

static char path[] = "/tmp/dgo-test-probe-XXXXXX";

static const struct {
    const char *name;
    uint32_t type;
    uint64_t bytes;
} probes[] = {
    {"Q4_K, small", 12, 8 * DGO_MIB},   {"Q4_K", 12, DGO_GIB},
    {"Q4_K, large", 12, 16 * DGO_GIB},  {"Q8_0", 8, 64 * DGO_MIB},
    {"Q6_K", 14, 512 * DGO_MIB},        {"F16", 1, 2 * DGO_GIB},
    {"MXFP4, small", 39, 16 * DGO_MIB},
};

static void test_probes_open_within_their_size(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof probes / sizeof probes[0]; i++) {
        struct probe_shape shape;
        struct dgo_model *model = NULL;
        struct dgo_error err = {0};
        uint64_t bytes = 0;

        probe_shape_of(probes[i].type, probes[i].bytes, &shape);
        CHECK_ROW_U64(probe_model_write(path, &shape, &err), DGO_OK, probes[i].name);
        CHECK_ROW_U64(dgo_model_open(path, &model, &err), DGO_OK, probes[i].name);
        CHECK_ROW_U64(model->layer_count, shape.layer_count, probes[i].name);
        CHECK_ROW(model->verified, probes[i].name);
        bytes = model->output_bytes;
        for (uint32_t l = 0; l < model->layer_count; l++)
            bytes += model->layer[l].weights_bytes;
        CHECK_ROW(bytes <= probes[i].bytes, probes[i].name);
        CHECK_ROW(bytes > probes[i].bytes / 2 || shape.layer_count == 64, probes[i].name);
        dgo_model_close(model);
    }
}

static void test_the_tiny_one_is_tiny(void **state)
{
    struct dgo_model *model = NULL;

    (void)state;
    assert_int_equal(probe_model_write(path, &probe_tiny, NULL), DGO_OK);
    assert_int_equal(dgo_model_open(path, &model, NULL), DGO_OK);
    assert_int_equal(model->layer_count, 32);
    assert_true(model->file_bytes < 16 * DGO_MIB);
    dgo_model_close(model);
}

static void test_odd_types_are_refused(void **state)
{
    struct probe_shape shape = probe_tiny;
    struct dgo_error err = {0};

    (void)state;
    shape.type = 12; /* blocks of 256 do not divide rows of 128 */
    assert_int_equal(probe_model_write(path, &shape, &err), DGO_EINVAL);
    shape.type = 4; /* removed from ggml */
    assert_int_equal(probe_model_write(path, &shape, &err), DGO_EINVAL);
    assert_int_equal(probe_model_write("/nonexistent/probe.gguf", &probe_tiny, &err), DGO_EIO);
}

static const struct {
    const char *name, *output;
    bool any;
    uint32_t prompt_tokens, generated_tokens;
    double prompt_s, token_s;
} outputs[] = {
    {"both",
     "load_backend: loaded\n{\"n_prompt\": 64, \"n_gen\": 0, \"samples_ns\": [2000000000]}\n"
     "noise {\n{\"n_prompt\": 0, \"n_gen\": 4, \"samples_ns\": [4000000, 8000000, 40000000]}\n",
     true, 64, 4, 2, 0.002},
    {"even number of samples", "{\"n_prompt\": 8, \"n_gen\": 0, \"samples_ns\": [1e9, 3e9]}", true,
     8, 0, 2, 0},
    {"a mixed test is neither", "{\"n_prompt\": 8, \"n_gen\": 8, \"samples_ns\": [1000]}", false, 0,
     0, 0, 0},
    {"no samples", "{\"n_prompt\": 8, \"n_gen\": 0, \"samples_ns\": []}", false, 0, 0, 0, 0},
    {"absurd samples", "{\"n_prompt\": 8, \"n_gen\": 0, \"samples_ns\": [-5, \"x\", 0]}", false, 0,
     0, 0, 0},
    {"cut", "{\"n_prompt\": 8, \"n_gen\": 0, \"samples_ns\": [10", false, 0, 0, 0, 0},
    {"negative counts", "{\"n_prompt\": -8, \"n_gen\": 0, \"samples_ns\": [10]}", false, 0, 0, 0,
     0},
    {"nothing", "", false, 0, 0, 0, 0},
    {"an error", "error: invalid device: CUDA0\n", false, 0, 0, 0, 0},
};

static void test_lines_are_read(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof outputs / sizeof outputs[0]; i++) {
        struct dgo_timing timing = {0};

        CHECK_ROW(bench_read(outputs[i].output, &timing) == outputs[i].any, outputs[i].name);
        CHECK_ROW_U64(timing.prompt_tokens, outputs[i].prompt_tokens, outputs[i].name);
        CHECK_ROW_U64(timing.generated_tokens, outputs[i].generated_tokens, outputs[i].name);
        CHECK_ROW(timing.prompt_s == outputs[i].prompt_s, outputs[i].name);
        CHECK_ROW(timing.token_s == outputs[i].token_s, outputs[i].name);
    }
}

static int make_file(void **state)
{
    const int fd = mkstemp(path);

    (void)state;
    if (fd >= 0)
        close(fd);
    return fd >= 0 ? 0 : -1;
}

static int remove_file(void **state)
{
    (void)state;
    return unlink(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_probes_open_within_their_size),
        cmocka_unit_test(test_the_tiny_one_is_tiny),
        cmocka_unit_test(test_odd_types_are_refused),
        cmocka_unit_test(test_lines_are_read),
    };
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, make_file, remove_file);
}
