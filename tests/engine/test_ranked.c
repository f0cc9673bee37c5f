/* test_ranked.c - vLLM and SGLang: what they print becomes a report and a probe; versions decide
 * flags; what they cannot do is refused. */
#include "engine_check.h"

#include <math.h>

static const struct dgo_engine *engine(const char *name)
{
    const struct dgo_engine *found = dgo_engine_find(name);

    assert_non_null(found);
    return found;
}

static void read_all(const struct dgo_engine *reader, const char *const *lines,
                     struct dgo_report *report)
{
    memset(report, 0, sizeof *report);
    for (; *lines; lines++)
        reader->read_line(report, *lines, strlen(*lines));
}

static uint64_t gib(double value)
{
    return (uint64_t)(value * 1073741824.0);
}

static void check_device(const struct dgo_report *report, const char *name, double weights,
                         double context)
{
    const struct dgo_report_device *device = dgo_report_find(report, name);

    if (!device)
        fail_msg("no %s in the report", name);
    assert_int_equal(device->bytes[DGO_BUFFER_MODEL], gib(weights));
    assert_int_equal(device->bytes[DGO_BUFFER_CONTEXT], gib(context));
}

/* As printed by vLLM 0.11 with --tensor-parallel-size 2 --pipeline-parallel-size 2. */
static const char *const vllm_lines[] = {
    "(EngineCore_DP0 pid=7) INFO 07-23 13:55:00 [core.py:74] Initializing a V1 LLM engine "
    "(v0.11.0) with config: model='/m', tensor_parallel_size=2, pipeline_parallel_size=2",
    "(Worker_PP0_TP0 pid=11) INFO 07-23 13:55:41 [gpu_model_runner.py:2338] Model loading took "
    "8.25 GiB and 3.2 seconds",
    "(Worker_PP0_TP1 pid=12) INFO 07-23 13:55:41 [gpu_model_runner.py:2338] Model loading took "
    "8.25 GiB and 3.2 seconds",
    "(Worker_PP1_TP0 pid=13) INFO 07-23 13:55:42 [gpu_model_runner.py:2338] Model loading took "
    "7.50 GiB memory and 4.0 seconds",
    "(Worker_PP1_TP1 pid=14) INFO 07-23 13:55:42 [gpu_model_runner.py:2338] Model loading took "
    "7.50 GiB and 4.0 seconds",
    "(Worker_PP0_TP0 pid=11) INFO 07-23 13:56:01 [gpu_worker.py:298] Available KV cache memory: "
    "12.34 GiB",
    "(Worker_PP1_TP1 pid=14) INFO 07-23 13:56:01 [gpu_worker.py:298] Available KV cache memory: "
    "10.00 GiB",
    "(EngineCore_DP0 pid=7) INFO 07-23 13:56:04 [kv_cache_utils.py:775] GPU KV cache size: 643,232 "
    "tokens",
    "(EngineCore_DP0 pid=7) INFO 07-23 13:56:04 [kv_cache_utils.py:779] Maximum concurrency for "
    "40,960 tokens per request: 15.70x",
    "(APIServer pid=1) INFO:     Application startup complete.",
    NULL,
};

static void test_vllm_log(void **state)
{
    struct dgo_report report;

    (void)state;
    read_all(engine("vllm"), vllm_lines, &report);
    check_device(&report, "CUDA0", 8.25, 12.34);
    check_device(&report, "CUDA2", 7.5, 0);
    check_device(&report, "CUDA3", 7.5, 10);
    assert_int_equal(report.kv_tokens, 643232);
    assert_int_equal(report.ctx_tokens_per_slot, 40960);
    assert_true(fabs(report.concurrency - 15.7) < 1e-9);
    assert_true(report.listening);
    assert_int_equal(report.trouble, DGO_TROUBLE_NONE);
}

/* Newer builds say both in one line. */
static void test_vllm_one_line(void **state)
{
    static const char *const lines[] = {
        "(EngineCore) GPU KV cache size: 1,160,104 tokens, Maximum concurrency for 262,144 tokens "
        "per request: 4.43x",
        NULL};
    struct dgo_report report;

    (void)state;
    read_all(engine("vllm"), lines, &report);
    assert_int_equal(report.kv_tokens, 1160104);
    assert_int_equal(report.ctx_tokens_per_slot, 262144);
    assert_true(fabs(report.concurrency - 4.43) < 1e-9);
}

static const char *const sglang_lines[] = {
    "[2025-03-25 16:37:00] server_args=ServerArgs(model_path='/m', tp_size=1, pp_size=2)",
    "[2025-03-25 16:37:06 PP0] Load weight end. type=LlamaForCausalLM, dtype=torch.bfloat16, avail "
    "mem=63.48 GB, mem usage=15.11 GB.",
    "[2025-03-25 16:37:06 PP1] Load weight end. elapsed=0.45 s, type=LlamaForCausalLM, avail "
    "mem=63.48 GB, mem usage=14.00 GB.",
    "[2025-03-25 16:37:07 PP0] KV Cache is allocated. #tokens: 442750, K size: 27.02 GB, V size: "
    "27.02 GB",
    "[2025-03-25 16:37:07 PP1] KV Cache is allocated. dtype: torch.bfloat16, #tokens: 442750, K "
    "size: 26.00 GB, V size: 26.00 GB",
    "[2025-03-25 16:37:08 PP0] max_total_num_tokens=442750, chunked_prefill_size=8192, "
    "max_prefill_tokens=16384, max_running_requests=48, context_len=8192, available_gpu_mem=8.27 "
    "GB",
    "[2025-03-25 16:37:30] The server is fired up and ready to roll!",
    NULL,
};

static void test_sglang_log(void **state)
{
    struct dgo_report report;

    (void)state;
    read_all(engine("sglang"), sglang_lines, &report);
    check_device(&report, "CUDA0", 15.11, 54.04);
    check_device(&report, "CUDA1", 14, 52);
    assert_int_equal(report.kv_tokens, 442750);
    assert_int_equal(report.slot_count, 48);
    assert_int_equal(report.ctx_tokens_per_slot, 8192);
    assert_true(report.listening);
}

static const struct {
    const char *name, *engine, *line;
    enum dgo_trouble trouble;
} troubles[] = {
    {"weights", "vllm",
     "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total "
     "capacity of 23.54 GiB",
     DGO_TROUBLE_OOM_WEIGHTS},
    {"one request too long", "vllm",
     "ValueError: To serve at least one request with the models's max seq len (32768), (4.50 GiB "
     "KV cache is needed, which is larger than the available KV cache memory (4.47 GiB).",
     DGO_TROUBLE_OOM_CONTEXT},
    {"share not free", "vllm",
     "ValueError: Free memory on device (20.1/23.5 GiB) on startup is less than desired GPU memory "
     "utilization (0.92, 21.6 GiB).",
     DGO_TROUBLE_OOM_WEIGHTS},
    {"flag", "vllm", "vllm: error: unrecognized arguments: --nonsense", DGO_TROUBLE_ARGUMENT},
    {"port", "vllm", "OSError: [Errno 98] Address already in use", DGO_TROUBLE_PORT},
    {"pool", "sglang",
     "RuntimeError: Not enough memory. Please try to increase --mem-fraction-static. Current value",
     DGO_TROUBLE_OOM_CONTEXT},
    {"unbalanced", "sglang", "ValueError: The memory capacity is unbalanced. Some GPUs may be",
     DGO_TROUBLE_ARGUMENT},
    {"nothing", "vllm", "INFO CUDA graphs captured", DGO_TROUBLE_NONE},
};

static void test_troubles(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof troubles / sizeof troubles[0]; i++) {
        const char *const lines[] = {troubles[i].line, NULL};
        struct dgo_report report;

        read_all(engine(troubles[i].engine), lines, &report);
        CHECK_ROW(report.trouble == troubles[i].trouble, troubles[i].name);
    }
}

static const struct {
    const char *text;
    uint32_t version;
} versions[] = {
    {"0.11.2", DGO_ENGINE_VERSION(0, 11, 2)},
    {"vllm 0.11.2+cu128", DGO_ENGINE_VERSION(0, 11, 2)},
    {"v1.4", DGO_ENGINE_VERSION(1, 4, 0)},
    {"0.5.3.post1", DGO_ENGINE_VERSION(0, 5, 3)},
    {"text-generation-launcher 3.3.6-dev0", DGO_ENGINE_VERSION(3, 3, 6)},
    {"sm86 build", 0},
    {"", 0},
    {"7", 0},
    {"99999.1", 0},
};

static void test_versions(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof versions / sizeof versions[0]; i++)
        CHECK_ROW_U64(dgo_engine_version(versions[i].text), versions[i].version, versions[i].text);
}

static void test_probe(void **state)
{
    struct dgo_probe *probe = calloc(1, sizeof *probe);

    (void)state;
    assert_non_null(probe);
    engine("vllm")->read_probe(
        probe, "WARNING 07-23 [x.py:1] torch 2.9.0 is old\n0.11.1rc2.dev5+g1234\n",
        "usage: vllm serve [-h] [--headless] [--max-model-len MAX_MODEL_LEN]\n\n"
        "  --tensor-parallel-size TENSOR_PARALLEL_SIZE, -tp TENSOR_PARALLEL_SIZE\n"
        "      one-of-many --- well-known\n");
    assert_int_equal(probe->build, DGO_ENGINE_VERSION(0, 11, 1));
    assert_true(dgo_probe_has(probe, "--headless"));
    assert_true(dgo_probe_has(probe, "--tensor-parallel-size"));
    assert_true(dgo_probe_has(probe, "-tp"));
    assert_false(dgo_probe_has(probe, "-known"));
    assert_false(dgo_probe_has(probe, "---"));
    free(probe);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_vllm_log),   cmocka_unit_test(test_vllm_one_line),
    cmocka_unit_test(test_sglang_log), cmocka_unit_test(test_troubles),
    cmocka_unit_test(test_versions),   cmocka_unit_test(test_probe),
};

CHECK_MAIN(tests)
