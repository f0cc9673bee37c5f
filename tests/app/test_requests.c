/* test_requests.c - request files read in blocks, and recordings of an engine as requests. */
#include "check.h"
#include "dgo_recording.h"
#include "dgo_units.h"
#include "requests.h"

#include <unistd.h>

static char path[] = "/tmp/dgo-requests-XXXXXX";

static int setup(void **state)
{
    const int fd = mkstemp(path);

    (void)state;
    return fd < 0 ? -1 : close(fd);
}

static int teardown(void **state)
{
    (void)state;
    return unlink(path);
}

static enum dgo_status read_it(struct requests *requests, struct dgo_error *err)
{
    const char *const paths[] = {path};

    return requests_read(&(struct requests_question){.paths = paths, .path_count = 1}, requests,
                         err);
}

/* Lines across the borders of blocks, one longer than a block, and the last without a newline. */
static void test_blocks(void **state)
{
    enum { LINES = 40000, LONG = 3 << 20 };
    struct requests requests;
    uint64_t bytes = 0;
    FILE *file = fopen(path, "w");

    (void)state;
    for (unsigned i = 0; i < LINES; i++) {
        const int width = i == 20000 ? LONG : 1 + (int)(i * 7 % 120);

        fprintf(file, "%0*u%s", width, 0u, i + 1 < LINES ? "\n" : "");
        bytes += (uint64_t)width;
    }
    fclose(file);
    assert_int_equal(read_it(&requests, NULL), DGO_OK);
    assert_int_equal(requests.workload.count, LINES);
    assert_int_equal(requests.lines, LINES);
    assert_true(requests.workload.estimated);
    assert_int_equal(requests.bytes, bytes + LINES - 1);
    assert_int_equal(requests.workload.request[20000].prompt_tokens, LONG / 4);
    requests_done(&requests);
}

/* The number of a bad line holds across blocks. */
static void test_bad_lines_are_named(void **state)
{
    struct requests requests;
    FILE *file = fopen(path, "w");

    (void)state;
    fprintf(file, "prompt_tokens,completion_tokens\n");
    for (unsigned i = 2; i < 300000; i++)
        fprintf(file, i == 2 || i == 290000 ? "x,1\n" : "12,1\n");
    fclose(file);
    assert_int_equal(read_it(&requests, NULL), DGO_OK);
    assert_int_equal(requests.bad_lines, 2);
    assert_int_equal(requests.bad[0].line, 2);
    assert_int_equal(requests.bad[1].line, 290000);
    requests_done(&requests);
}

static void test_nothing(void **state)
{
    struct requests requests;
    struct dgo_error err = {0};

    (void)state;
    assert_int_equal(truncate(path, 0), 0);
    assert_int_equal(read_it(&requests, &err), DGO_EFORMAT);
    assert_non_null(strstr(err.text, "holds no requests"));
}

static void add_load(struct dgo_recorder *recorder, double at_s, uint64_t requests, uint64_t prompt,
                     uint64_t generated)
{
    const struct dgo_engine_load load = {
        .pid = 7,
        .known = 1u << DGO_LOAD_REQUESTS | 1u << DGO_LOAD_PROMPT_TOKENS |
                 1u << DGO_LOAD_GENERATED_TOKENS,
        .requests = requests,
        .prompt_tokens = prompt,
        .generated_tokens = generated,
    };

    assert_int_equal(
        dgo_recorder_add_load(recorder, (uint64_t)(at_s * (double)DGO_NS_PER_S), &load, NULL),
        DGO_OK);
}

static void test_recording(void **state)
{
    struct dgo_recorder *recorder = NULL;
    struct requests requests;
    struct dgo_error err = {0};

    (void)state;
    assert_int_equal(dgo_recorder_open(path, &recorder, &err), DGO_OK);
    add_load(recorder, 1, 0, 0, 0);
    add_load(recorder, 2, 1, 500, 40);   /* one ended */
    add_load(recorder, 3, 1, 700, 60);   /* still being answered */
    add_load(recorder, 4, 3, 1500, 100); /* two: 500 and 30 each */
    add_load(recorder, 5, 1, 10, 10);    /* started anew */
    add_load(recorder, 6, 2, 110, 30);
    assert_int_equal(dgo_recorder_close(recorder, &err), DGO_OK);
    assert_int_equal(read_it(&requests, &err), DGO_OK);
    assert_int_equal(requests.format.kind, DGO_TRACE_RECORDING);
    assert_int_equal(requests.workload.count, 4);
    assert_true(requests.workload.generated_known && requests.workload.arrivals_known);
    assert_true(requests.workload.estimated);
    assert_int_equal(requests.workload.request[0].prompt_tokens, 500);
    assert_int_equal(requests.workload.request[0].generated_tokens, 40);
    assert_int_equal(requests.workload.request[1].prompt_tokens, 500);
    assert_int_equal(requests.workload.request[1].generated_tokens, 30);
    assert_int_equal(requests.workload.request[3].prompt_tokens, 100);
    requests_done(&requests);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_blocks),
    cmocka_unit_test(test_bad_lines_are_named),
    cmocka_unit_test(test_nothing),
    cmocka_unit_test(test_recording),
};

int main(void)
{
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, setup, teardown);
}
