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
    /* V1 at first, vllm/v1/core/kv_cache_utils.py: "GB", "Cache", and a space that lacks */
    {"one request too long, first V1", "vllm",
     "ValueError: To serve at least one request with the models's max seq len (32768), (2.0 GB KV "
     "cache isneeded, which is larger than the available KV Cache memory (0.78 GB). Try increasing",
     DGO_TROUBLE_OOM_CONTEXT},
    {"one request too long, V0 (vllm/worker/worker.py)", "vllm",
     "ValueError: The model's max seq len (32768) is larger than the maximum number of tokens that "
     "can be stored in KV cache (18432). Try increasing `gpu_memory_utilization` or decreasing",
     DGO_TROUBLE_OOM_CONTEXT},
    {"no room for the pool (vllm/v1/core/kv_cache_utils.py)", "vllm",
     "ValueError: No available memory for the cache blocks. Try increasing "
     "`gpu_memory_utilization` when initializing the engine.",
     DGO_TROUBLE_OOM_CONTEXT},
    {"heads (vllm/config/model.py)", "vllm",
     "ValueError: Total number of attention heads (32) must be divisible by tensor parallel size "
     "(3).",
     DGO_TROUBLE_ARGUMENT},
    {"pool (backends/v3/src/lib.rs)", "tgi",
     "Error: Backend(NotEnoughMemory(4096)): Not enough memory to handle `max_total_tokens=4096`",
     DGO_TROUBLE_OOM_CONTEXT},
    {"split (exllamav3/model/model_ls.py)", "tabbyapi",
     "RuntimeError: Insufficient VRAM in split for model and cache", DGO_TROUBLE_OOM_WEIGHTS},
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

/* ---- one line each, in the format of the file named ---- */

struct seen {
    uint64_t kv_tokens, weights, context; /* of the card; 0 not said */
    const char *card;
    double concurrency, prompt_rate, decode_rate;
    uint32_t slots, ctx;
    bool loaded, listening;
};

static const struct {
    const char *source, *engine, *before, *line;
    struct seen seen;
} formats[] = {
    {"vllm/v1/worker/gpu_model_runner.py",
     "vllm",
     NULL,
     "(Worker_TP1 pid=12) INFO 11-20 10:00:00 [gpu_model_runner.py:4879] Model loading took 2.5 "
     "GiB "
     "memory and 60.297843 seconds",
     {.card = "CUDA1", .weights = 5ull << 29, .loaded = true}},
    {"vllm/v1/executor/multiproc_executor.py: ranks of context and expert groups in the name",
     "vllm",
     "config: tensor_parallel_size=2, pipeline_parallel_size=2",
     "(Worker_DP0_PP1_PCP0_TP1_DCP1_EP3 pid=12) INFO [gpu_worker.py:440] Available KV cache "
     "memory: "
     "0.5 GiB",
     {.card = "CUDA3", .context = 1ull << 29}},
    {"vllm/v1/worker/gpu_worker.py: less than nothing is no reading",
     "vllm",
     NULL,
     "(EngineCore pid=258) INFO [gpu_worker.py:440] Available KV cache memory: -2.81 GiB",
     {0}},
    {"vllm/v1/core/kv_cache_utils.py, at first",
     "vllm",
     NULL,
     "INFO 07-23 13:56:04 [kv_cache_utils.py:775] GPU KV cache size: 643,232 tokens",
     {.kv_tokens = 643232}},
    {"vllm/executor/executor_base.py (V0)",
     "vllm",
     NULL,
     "INFO 05-13 23:28:53 [executor_base.py:117] Maximum concurrency for 1152 tokens per request: "
     "512.00x",
     {.ctx = 1152, .concurrency = 512}},
    {"vllm/v1/metrics/loggers.py",
     "vllm",
     NULL,
     "INFO [loggers.py:116] Engine 000: Avg prompt throughput: 12.5 tokens/s, Avg generation "
     "throughput: 34.5 tokens/s, Running: 1 reqs, Waiting: 0 reqs, GPU KV cache usage: 0.4%",
     {.prompt_rate = 12.5, .decode_rate = 34.5}},
    {"python/sglang/srt/model_executor/model_runner.py",
     "sglang",
     NULL,
     "[2026-07-15 16:37:06] Load weight end. elapsed=0.45 s, type=LlamaForCausalLM, "
     "dtype=torch.bfloat16, avail mem=63.48 GB, mem usage=15.50 GB.",
     {.card = "CUDA0", .weights = 31ull << 29, .loaded = true}},
    {"python/sglang/srt/mem_cache/memory_pool.py: one size for latent attention",
     "sglang",
     NULL,
     "[2026-07-15 16:37:07] KV Cache is allocated. #tokens: 442750, KV size: 26.50 GB",
     {.card = "CUDA0", .context = 53ull << 29, .kv_tokens = 442750}},
    {"python/sglang/srt/managers/scheduler.py",
     "sglang",
     NULL,
     "[2026-07-15 16:37:08] max_total_num_tokens=665690, chunked_prefill_size=8192, "
     "max_prefill_tokens=16384, max_running_requests=4096, context_len=65536, "
     "available_gpu_mem=8.27 GB",
     {.kv_tokens = 665690, .slots = 4096, .ctx = 65536, .concurrency = 665690.0 / 65536}},
    {"python/sglang/srt/entrypoints/http_server.py",
     "sglang",
     NULL,
     "[2026-07-15 16:37:30] The server is fired up and ready to roll!",
     {.listening = true}},
    {"backends/v3/src/lib.rs",
     "tgi",
     NULL,
     "INFO text_generation_router_v3: backends/v3/src/lib.rs:137: Setting max batch total tokens "
     "to "
     "61312",
     {.kv_tokens = 61312}},
    {"launcher/src/main.rs",
     "tgi",
     NULL,
     "INFO shard-manager: text_generation_launcher: Shard ready in 7.51s rank=0",
     {.loaded = true}},
    {"router/src/server.rs, after launcher/src/main.rs",
     "tgi",
     "INFO shard-manager: text_generation_launcher: Shard ready in 7.51s rank=0",
     "INFO text_generation_router::server: router/src/server.rs:2302: Connected",
     {.loaded = true, .listening = true}},
    {"backends/exllamav3/model.py",
     "tabbyapi",
     NULL,
     "INFO:     Using configured cache_size: 32768 tokens.",
     {.kv_tokens = 32768}},
    {"backends/exllamav3/model.py",
     "tabbyapi",
     NULL,
     "INFO:     Model successfully loaded.",
     {.loaded = true}},
    {"src/turbomind/models/llama/BlockManager.cc, to 0.14",
     "lmdeploy",
     NULL,
     "[TM][INFO] [BlockManager] max_block_count = 1871",
     {.kv_tokens = 1871 * 64}},
    {"src/turbomind/turbomind.cc",
     "lmdeploy",
     NULL,
     "[TM][INFO] Object cache budget: 27136.00 MB from free 33920.00 MB and ratio 0.800",
     {.card = "CUDA0", .context = 53ull << 29}},
    {"cpp/tensorrt_llm/batch_manager/kvCacheManager.cpp",
     "tensorrt-llm",
     NULL,
     "[TensorRT-LLM][INFO] [MemUsageChange] Allocated 26.50 GiB for max tokens in paged KV cache "
     "(220480).",
     {.card = "CUDA0", .context = 53ull << 29, .kv_tokens = 220480}},
};

static void test_formats(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof formats / sizeof formats[0]; i++) {
        const char *const first = formats[i].before ? formats[i].before : formats[i].line;
        const char *const lines[] = {first, formats[i].before ? formats[i].line : NULL, NULL};
        const struct seen *seen = &formats[i].seen;
        const struct dgo_report_device *device;
        struct dgo_report report;

        read_all(engine(formats[i].engine), lines, &report);
        CHECK_ROW_U64(report.kv_tokens, seen->kv_tokens, formats[i].source);
        CHECK_ROW_U64(report.slot_count, seen->slots, formats[i].source);
        CHECK_ROW_U64(report.ctx_tokens_per_slot, seen->ctx, formats[i].source);
        CHECK_ROW(fabs(report.concurrency - seen->concurrency) < 1e-9, formats[i].source);
        CHECK_ROW(fabs(report.prompt_tokens_per_second - seen->prompt_rate) < 1e-9,
                  formats[i].source);
        CHECK_ROW(fabs(report.decode_tokens_per_second - seen->decode_rate) < 1e-9,
                  formats[i].source);
        CHECK_ROW(report.model_loaded == seen->loaded, formats[i].source);
        CHECK_ROW(report.listening == seen->listening, formats[i].source);
        CHECK_ROW(report.trouble == DGO_TROUBLE_NONE, formats[i].source);
        device = seen->card ? dgo_report_find(&report, seen->card) : NULL;
        CHECK_ROW((device != NULL) == (seen->card != NULL), formats[i].source);
        CHECK_ROW(seen->card != NULL || report.device_count == 0, formats[i].source);
        if (device) {
            CHECK_ROW_U64(device->bytes[DGO_BUFFER_MODEL], seen->weights, formats[i].source);
            CHECK_ROW_U64(device->bytes[DGO_BUFFER_CONTEXT], seen->context, formats[i].source);
        }
    }
}

/* ---- KoboldCpp turned flash attention on by itself ---- */

static const struct {
    const char *name, *version, *help;
    enum dgo_flash_attention attention;
    const char *has, *lacks;
} kobold[] = {
    {"new, on", "1.113.1", "--noflashattention --quantkv", DGO_FA_ON, NULL, "flashattention"},
    {"new, off", "1.113.1", "--noflashattention --quantkv", DGO_FA_OFF, "--noflashattention", NULL},
    {"old, on", "1.76", "--flashattention --quantkv", DGO_FA_ON, "--flashattention", "--noflash"},
    {"old, off", "1.76", "--flashattention --quantkv", DGO_FA_OFF, NULL, "flashattention"},
    {"version only, on", "1.113.1", "", DGO_FA_ON, "--flashattention", "--noflash"},
    {"old version only, off", "1.76", "", DGO_FA_OFF, NULL, "flashattention"},
    {"help against the table", "1.104", "--noflashattention --quantkv", DGO_FA_OFF,
     "--noflashattention", NULL},
};

static void test_kobold_attention(void **state)
{
    static const char common[] =
        "--model --usecuda --gpulayers --tensor_split --contextsize --batchsize --threads --host "
        "--port --skiplauncher --quiet ";
    struct dgo_probe *probe = malloc(sizeof *probe);

    (void)state;
    assert_non_null(probe);
    for (size_t i = 0; i < sizeof kobold / sizeof kobold[0]; i++) {
        const struct dgo_launch_options options = {.binary = "koboldcpp",
                                                   .model_path = "m.gguf",
                                                   .host = "127.0.0.1",
                                                   .port = 9000,
                                                   .thread_count = -1};
        struct dgo_machine machine;
        struct dgo_model model;
        struct dgo_plan plan;
        struct dgo_command command;
        struct dgo_error err = {0};
        char help[512], words[2048] = "";

        memset(probe, 0, sizeof *probe);
        engine_example(&machine, &model, &plan);
        plan.settings.flash_attention = kobold[i].attention;
        snprintf(help, sizeof help, "%s%s", kobold[i].help[0] ? common : "", kobold[i].help);
        engine("koboldcpp")->read_probe(probe, kobold[i].version, help);
        if (engine("koboldcpp")
                ->command(&machine, &model, &plan, &options, probe, &command, &err) != DGO_OK)
            fail_msg("%s: %s", kobold[i].name, err.text);
        for (uint32_t a = 0; a < command.arg_count; a++) {
            strncat(words, " ", sizeof words - strlen(words) - 1);
            strncat(words, command.arg[a], sizeof words - strlen(words) - 1);
        }
        dgo_command_done(&command);
        CHECK_ROW(!kobold[i].has || strstr(words, kobold[i].has), kobold[i].name);
        CHECK_ROW(!kobold[i].lacks || !strstr(words, kobold[i].lacks), kobold[i].name);
    }
    free(probe);
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
    cmocka_unit_test(test_formats),    cmocka_unit_test(test_kobold_attention),
};

CHECK_MAIN(tests)
