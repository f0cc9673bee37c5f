/* Lines of llama-server's log to the report: one line at a time, and whole recorded logs. */
#include "engine_check.h"

#include "dgo_units.h"

static const char *const kinds[DGO_BUFFER_KIND_COUNT] = {"model", "context", "compute", "output"};

static const char *trouble_name(enum dgo_trouble trouble)
{
    static const char *const names[] = {"none",  "weights",  "context", "compute", "runtime",
                                        "model", "argument", "port",    "other"};

    return names[trouble];
}

/* The whole report in one line, so that a row can say what it wants in one string. */
static void describe(const struct dgo_report *r, struct dgo_text *text)
{
    for (uint32_t d = 0; d < r->device_count; d++) {
        const struct dgo_report_device *device = &r->device[d];
        char mib[DGO_UNIT_TEXT_MAX];

        dgo_text_addf(text, "[%s%s", device->name, device->is_host ? " host" : "");
        if (device->memory_known)
            dgo_text_addf(text, " free %s", dgo_mib_text(device->free_bytes, mib));
        for (int k = 0; k < DGO_BUFFER_KIND_COUNT; k++)
            if (device->known >> k & 1)
                dgo_text_addf(text, " %s %s", kinds[k], dgo_mib_text(device->bytes[k], mib));
        dgo_text_add(text, "]");
    }
    if (r->ctx_tokens || r->ctx_tokens_per_slot || r->slot_count)
        dgo_text_addf(text, " c%u/%u np%u", (unsigned)r->ctx_tokens,
                      (unsigned)r->ctx_tokens_per_slot, (unsigned)r->slot_count);
    if (r->layers_total)
        dgo_text_addf(text, " ngl%u/%u", (unsigned)r->layers_offloaded, (unsigned)r->layers_total);
    if (r->pipeline_known)
        dgo_text_add(text, r->pipeline ? " pipeline" : " no-pipeline");
    dgo_text_add(text, r->model_loaded ? " loaded" : "");
    dgo_text_add(text, r->listening ? " listening" : "");
    if (r->request_count)
        dgo_text_addf(text, " %u requests", (unsigned)r->request_count);
    if (r->prompt_tokens_per_second > 0 || r->decode_tokens_per_second > 0)
        dgo_text_addf(text, " %.2f/%.2f", r->prompt_tokens_per_second, r->decode_tokens_per_second);
    if (r->trouble)
        dgo_text_addf(text, " !%s %s %llu", trouble_name(r->trouble), r->trouble_device,
                      (unsigned long long)r->trouble_bytes);
}

static void feed(struct dgo_report *report, const char *lines)
{
    const struct dgo_engine *engine = dgo_engine_find("llama.cpp");

    while (*lines) {
        const size_t length = strcspn(lines, "\n");

        engine->read_line(report, lines, length);
        lines += length + (lines[length] == '\n');
    }
}

static void check_text(const char *name, const char *lines, const char *want)
{
    static struct dgo_report report;
    char got[4096];
    struct dgo_text text = DGO_TEXT(got);

    memset(&report, 0, sizeof report);
    feed(&report, lines);
    describe(&report, &text);
    if (strcmp(got, want) != 0)
        fail_msg("row \"%s\":\n got %s\nwant %s", name, got, want);
}

#define T       "0.00.060.123 "
#define CONTEXT T "I llama_context: constructing llama_context\n"
#define LOADER  T "I llama_model_loader: loaded meta data with 26 key-value pairs\n"
#define READY   T "I srv  llama_server: model loaded\n"

static void test_books(void **state)
{
    static const struct {
        const char *name, *lines, *want;
    } rows[] = {
        {"with stamp", T "I load_tensors:        CUDA0 model buffer size =  8675.42 MiB",
         "[CUDA0 model 8675.42 MiB]"},
        {"without stamp", "load_tensors:        CUDA0 model buffer size =  8675.42 MiB",
         "[CUDA0 model 8675.42 MiB]"},
        {"level without stamp", "I load_tensors:        CUDA0 model buffer size =  8675.42 MiB",
         "[CUDA0 model 8675.42 MiB]"},
        {"old function name", "llm_load_tensors:      CUDA0 buffer size =  1.00 MiB", ""},
        {"colours and a carriage return",
         "\033[0m" T "\033[32mI \033[0mload_tensors:   CUDA0 model buffer size =  1.00 MiB\r",
         "[CUDA0 model 1.00 MiB]"},
        {"host names",
         "load_tensors: CPU_Mapped model buffer size = 1.00 MiB\n"
         "load_tensors: CPU_REPACK model buffer size = 2.00 MiB\n"
         "load_tensors: CUDA_Host model buffer size = 3.00 MiB\n"
         "sched_reserve: ROCm0 compute buffer size = 4.00 MiB",
         "[CPU_Mapped host model 1.00 MiB][CPU_REPACK host model 2.00 MiB]"
         "[CUDA_Host host model 3.00 MiB][ROCm0 compute 4.00 MiB] no-pipeline"},
        {"caches and states add up",
         CONTEXT T "I llama_kv_cache: CUDA0 KV buffer size = 1.00 MiB\n" T
                   "I llama_kv_cache: CUDA0 KV buffer size = 2.00 MiB\n" T
                   "I llama_memory_recurrent: CUDA0 RS buffer size = 4.00 MiB\n" T
                   "I x: CUDA0 DSV4 csa state buffer size = 8.00 MiB\n",
         "[CUDA0 context 15.00 MiB]"},
        {"shards of a file add up",
         LOADER T "I load_tensors: CPU_Mapped model buffer size = 1.00 MiB\n" T
                  "I load_tensors: CPU_Mapped model buffer size = 2.00 MiB\n",
         "[CPU_Mapped host model 3.00 MiB]"},
        {"a second construction replaces the first",
         LOADER T "I load_tensors: CUDA0 model buffer size = 0.00 MiB\n" CONTEXT T
                  "I llama_kv_cache: CUDA0 KV buffer size = 9.00 MiB\n" T
                  "I sched_reserve: CUDA0 compute buffer size = 7.00 MiB\n" LOADER T
                  "I load_tensors: CUDA0 model buffer size = 5.00 MiB\n" CONTEXT T
                  "I llama_kv_cache: CUDA0 KV buffer size = 3.00 MiB\n" T
                  "I sched_reserve: CUDA0 compute buffer size = 2.00 MiB\n",
         "[CUDA0 model 5.00 MiB context 3.00 MiB compute 2.00 MiB] no-pipeline"},
        {"a second construction without that buffer",
         CONTEXT T "I llama_kv_cache: CUDA1 KV buffer size = 9.00 MiB\n" CONTEXT T
                   "I llama_kv_cache: CUDA0 KV buffer size = 3.00 MiB\n",
         "[CUDA1 context 0.00 MiB][CUDA0 context 3.00 MiB]"},
        {"scratch that is reserved anew",
         CONTEXT T "I sched_reserve: CUDA0 compute buffer size = 7.00 MiB\n" T
                   "I sched_reserve: CUDA0 compute buffer size = 2.00 MiB\n",
         "[CUDA0 compute 2.00 MiB] no-pipeline"},
        {"a draft model's come on top",
         LOADER T "I load_tensors: CUDA0 model buffer size = 5.00 MiB\n" CONTEXT T
                  "I sched_reserve: CUDA0 compute buffer size = 2.00 MiB\n" T
                  "I common_speculative_init_result: loading draft model 'x'\n" LOADER T
                  "I load_tensors: CUDA0 model buffer size = 1.00 MiB\n" CONTEXT T
                  "I sched_reserve: CUDA0 compute buffer size = 0.50 MiB\n",
         "[CUDA0 model 6.00 MiB compute 2.50 MiB] no-pipeline"},
        {"a draft by the model's own block, and the model's graph with the first request",
         LOADER T "I load_tensors: CUDA0 model buffer size = 5.00 MiB\n" CONTEXT T
                  "I llama_kv_cache: CUDA0 KV buffer size = 4.00 MiB\n" T
                  "I sched_reserve: CUDA0 compute buffer size = 2.00 MiB\n" T
                  "I common_speculative_init_result: creating MTP draft context against the target "
                  "model 'x'\n" CONTEXT T "I llama_kv_cache: CUDA0 KV buffer size = 1.00 MiB\n" T
                  "I sched_reserve: CUDA0 compute buffer size = 0.25 MiB\n" T
                  "I sched_reserve: CUDA0 compute buffer size = 0.50 MiB\n" READY T
                  "I sched_reserve: CUDA0 compute buffer size = 3.00 MiB\n",
         "[CUDA0 model 5.00 MiB context 5.00 MiB compute 3.50 MiB] no-pipeline loaded"},
        {"an image encoder's scratch comes on top",
         CONTEXT T "I sched_reserve: CUDA0 compute buffer size = 2.00 MiB\n" T
                   "I alloc_compute_meta: CUDA0 compute buffer size = 1.00 MiB\n",
         "[CUDA0 compute 3.00 MiB] no-pipeline"},
        {"the table at the end changes nothing",
         T "I common_memory_breakdown_print: |   - CUDA0 (RTX 3090)   | 24576 = 1 + (2 = 1 + 1 + "
           "0) + 476 |",
         ""},
        {"what an expectation says changes nothing",
         T "D ~llama_context: CUDA0 compute buffer size is 26.5547 MiB, matches expectation", ""},
        {"sum over devices is no buffer",
         T "I llama_kv_cache: size = 8.00 MiB ( 1024 cells, 8 layers, 2/2 seqs), K (f16): 4.00 MiB",
         ""},
        {"no unit", "load_tensors: CUDA0 model buffer size = 1.00 GB", ""},
        {"no figure", "load_tensors: CUDA0 model buffer size = many MiB", ""},
        {"figure too long", "load_tensors: CUDA0 model buffer size = 12345678901.00 MiB", ""},
        {"no name", "load_tensors: model buffer size = 1.00 MiB", ""},
        {"name too long",
         "load_tensors: CUDA0123456789012345678901234567890 model buffer size = 1.00 MiB", ""},
        {"remote buffers are named after their server",
         "x: using device RPC0 (10.0.0.1:50052) (unknown id) - 24576 MiB free\n"
         "x: using device RPC1 (10.0.0.2:50052) (unknown id) - 12288 MiB free\n"
         "x: using device RPC2 (10.0.0.2:50052) (unknown id) - 1 MiB free\n"
         "load_tensors: RPC0[10.0.0.2:50052] model buffer size = 1.00 MiB\n"
         "load_tensors: RPC1[10.0.0.2:50052] model buffer size = 2.00 MiB\n"
         "load_tensors: RPC0[10.0.0.1:50052] model buffer size = 3.00 MiB\n",
         "[RPC0 free 24576.00 MiB model 3.00 MiB][RPC1 free 12288.00 MiB model 1.00 MiB]"
         "[RPC2 free 1.00 MiB model 2.00 MiB]"},
        {"devices of one server, in the plan's order and not all of them",
         "x: using device RPC2 (10.0.0.1:50052) (unknown id) - 24576 MiB free\n"
         "x: using device RPC1 (10.0.0.1:50052) (unknown id) - 12288 MiB free\n"
         "load_tensors: RPC1[10.0.0.1:50052] model buffer size = 1.00 MiB\n"
         "load_tensors: RPC2[10.0.0.1:50052] model buffer size = 2.00 MiB\n",
         "[RPC2 free 24576.00 MiB model 2.00 MiB][RPC1 free 12288.00 MiB model 1.00 MiB]"},
        {"a later server's first card unused",
         "x: using device RPC0 (a:1) (unknown id) - 9 MiB free\n"
         "x: using device RPC2 (b:1) (unknown id) - 9 MiB free\n"
         "x: using device RPC3 (b:1) (unknown id) - 9 MiB free\n"
         "load_tensors: RPC1[b:1] model buffer size = 1.00 MiB\n"
         "load_tensors: RPC2[b:1] model buffer size = 2.00 MiB\n"
         "x: RPC1[b:1] KV buffer size = 3.00 MiB\n",
         "[RPC0 free 9.00 MiB][RPC2 free 9.00 MiB model 1.00 MiB context 3.00 MiB]"
         "[RPC3 free 9.00 MiB model 2.00 MiB]"},
        {"the same, the last card's buffer first",
         "x: using device RPC0 (a:1) (unknown id) - 9 MiB free\n"
         "x: using device RPC2 (b:1) (unknown id) - 9 MiB free\n"
         "x: using device RPC3 (b:1) (unknown id) - 9 MiB free\n"
         "load_tensors: RPC2[b:1] model buffer size = 2.00 MiB\n"
         "load_tensors: RPC1[b:1] model buffer size = 1.00 MiB\n",
         "[RPC0 free 9.00 MiB][RPC2 free 9.00 MiB model 1.00 MiB]"
         "[RPC3 free 9.00 MiB model 2.00 MiB]"},
        {"a server whose one used card is not its first",
         "x: using device RPC0 (a:1) (unknown id) - 9 MiB free\n"
         "x: using device RPC2 (b:1) (unknown id) - 9 MiB free\n"
         "load_tensors: RPC1[b:1] model buffer size = 1.00 MiB\n",
         "[RPC0 free 9.00 MiB][RPC2 free 9.00 MiB model 1.00 MiB]"},
        {"a used card without buffers",
         "x: using device RPC0 (a:1) (unknown id) - 9 MiB free\n"
         "x: using device RPC1 (b:1) (unknown id) - 9 MiB free\n"
         "x: using device RPC2 (b:1) (unknown id) - 9 MiB free\n"
         "load_tensors: RPC1[b:1] model buffer size = 1.00 MiB\n",
         "[RPC0 free 9.00 MiB][RPC1 free 9.00 MiB][RPC2 free 9.00 MiB model 1.00 MiB]"},
        {"remote buffer of no known server", "load_tensors: RPC0[h:1] model buffer size = 1.00 MiB",
         "[RPC0[h:1] model 1.00 MiB]"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        check_text(rows[i].name, rows[i].lines, rows[i].want);
}

static void test_progress(void **state)
{
    static const struct {
        const char *name, *lines, *want;
    } rows[] = {
        {"device",
         T "I llama_prepare_model_devices: using device CUDA0 (NVIDIA GeForce RTX 3090) "
           "(0000:01:00.0) - 24100 MiB free",
         "[CUDA0 free 24100.00 MiB]"},
        {"device, older",
         "llama_model_load_from_file_impl: using device CUDA0 (NVIDIA GeForce RTX 3090) - 23860 "
         "MiB free",
         "[CUDA0 free 23860.00 MiB]"},
        {"layers", "load_tensors: offloaded 28/33 layers to GPU", " ngl28/33"},
        {"layers, something else", "load_tensors: offloaded 28 of 33 layers", ""},
        {"context",
         "llama_context: n_ctx                 = 2048\nllama_context: n_ctx_seq             = 1024",
         " c2048/1024 np0"},
        {"context, older",
         "llama_init_from_model: n_ctx         = 2048\n"
         "llama_init_from_model: n_ctx_per_seq = 512\n"
         "srv          init: initializing slots, n_slots = 4",
         " c2048/512 np4"},
        {"training context is another", "print_info: n_ctx_train = 4096", ""},
        {"hint about the context", "llama_context: n_ctx_seq (1024) < n_ctx_train (4096) -- x", ""},
        {"slots",
         T
         "I srv    load_model: initializing, n_slots = 2, n_ctx_slot = 1024, kv_unified = 'false'",
         " c0/1024 np2"},
        {"pipeline", T "I llama_context: pipeline parallelism enabled", " pipeline"},
        {"pipeline, older", "llama_context: pipeline parallelism enabled (n_copies=4)",
         " pipeline"},
        {"no pipeline by copies", T "I sched_reserve: reserve took 4.96 ms, sched copies = 1",
         " no-pipeline"},
        {"ready", READY T "I srv  llama_server: listening on http://127.0.0.1:8080",
         " loaded listening"},
        {"ready, older",
         "main: model loaded\nmain: server is listening on http://127.0.0.1:8080 - starting the "
         "main loop",
         " loaded listening"},
        {"ready, oldest", "main: HTTP server is listening, hostname: 127.0.0.1, port: 8080",
         " listening"},
        {"two requests",
         T
         "I slot print_timing: id  0 | task 0 | prompt eval time =       3.64 ms /    10 tokens "
         "(    0.36 ms per token,  2749.52 tokens per second)\n" T
         "I slot print_timing: id  0 | task 0 |        eval time =       4.08 ms /     8 tokens "
         "(    0.58 ms per token,  1714.01 tokens per second)\n" T
         "I slot print_timing: id  0 | task 0 |       total time =       7.72 ms /    18 tokens\n" T
         "I slot print_timing: id  0 | task 1 | prompt eval time =       3.64 ms /    10 tokens "
         "(    0.36 ms per token,  100.00 tokens per second)\n" T
         "I slot print_timing: id  0 | task 1 |       total time =       7.72 ms /    18 "
         "tokens\n",
         " 2 requests 100.00/1714.01"},
        {"request, older: figures on lines of their own",
         T "I slot print_timing: id  0 | task 0 | \n"
           "prompt eval time =       3.64 ms /    10 tokens (    0.36 ms per token,  10.50 tokens "
           "per second)\n"
           "       eval time =       4.08 ms /     8 tokens (    0.58 ms per token,  20.25 tokens "
           "per second)\n"
           "      total time =       7.72 ms /    18 tokens\n",
         " 1 requests 10.50/20.25"},
        {"request without tokens",
         T "I slot print_timing: id  0 | task 0 |        eval time =       0.00 ms /     1 tokens "
           "(    0.00 ms per token,      inf tokens per second)",
         ""},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        check_text(rows[i].name, rows[i].lines, rows[i].want);
}

#define ALLOC(what) T "E ggml_x: failed to allocate CUDA1 buffer of size 100\n" what
#define COMPUTE     T "I sched_reserve: reserving ...\n"
#define PIPELINE    T "I llama_context: pipeline parallelism enabled\n"

static void test_trouble(void **state)
{
    static const struct {
        const char *name, *lines, *want;
    } rows[] = {
        {"weights",
         LOADER ALLOC(T "E llama_model_load: error loading model: unable to allocate "
                        "CUDA1 buffer\n"),
         " !weights CUDA1 100"},
        {"context",
         CONTEXT ALLOC(T "E llama_init_from_model: failed to initialize the context: failed to "
                         "allocate buffer for kv cache\n"),
         " !context CUDA1 100"},
        {"context told late", ALLOC(T "E x: failed to allocate buffer for rs cache\n"),
         " !context CUDA1 100"},
        {"compute",
         CONTEXT COMPUTE ALLOC(T "E graph_reserve: failed to allocate compute buffers\n"),
         " !compute CUDA1 100"},
        {"held while a second try is possible", CONTEXT PIPELINE ALLOC(""), " pipeline"},
        {"second try succeeds",
         CONTEXT PIPELINE ALLOC(T "W sched_reserve: compute buffer allocation failed, retrying "
                                  "without pipeline parallelism\n"),
         " no-pipeline"},
        {"second try fails too",
         CONTEXT PIPELINE ALLOC(T "W sched_reserve: compute buffer allocation failed, retrying "
                                  "without pipeline parallelism\n" T
                                  "E ggml_x: failed to allocate CUDA0 buffer of size 7\n"),
         " no-pipeline !compute CUDA0 7"},
        {"held, then the end",
         CONTEXT PIPELINE ALLOC(T
                                "E llama_init_from_model: failed to initialize the context: failed "
                                "to allocate compute pp buffers\n"),
         " pipeline !compute CUDA1 100"},
        {"numbered device of CUDA",
         LOADER "ggml_backend_cuda_buffer_type_alloc_buffer: allocating 12345.67 MiB on device 1: "
                "cudaMalloc failed: out of memory",
         ""}, /* a line without a stamp in a log with stamps */
        {"numbered device of CUDA, with stamp",
         LOADER T "E ggml_backend_cuda_buffer_type_alloc_buffer: allocating 2.50 MiB on device 1: "
                  "cudaMalloc failed: out of memory",
         " !weights CUDA1 2621440"},
        {"numbered device of ROCm",
         T "I x: using device ROCm0 (AMD) - 1 MiB free\n" T
           "I x: using device ROCm1 (AMD) - 1 MiB free\n" LOADER T
           "E x: allocating 1.00 MiB on device 1: cudaMalloc failed: out of memory",
         "[ROCm0 free 1.00 MiB][ROCm1 free 1.00 MiB] !weights ROCm1 1048576"},
        {"while serving",
         READY T "E CUDA error: out of memory\n" T
                 "E   current device: 1, in function alloc at ggml-cuda.cu:476\n"
                 "/src/ggml-cuda.cu:97: CUDA error\n",
         " loaded !runtime CUDA1 0"},
        {"Vulkan",
         LOADER T "E ggml_vulkan: Device memory allocation of size 4096 failed.\n" T
                  "E ggml_vulkan: vk::Device::allocateMemory: ErrorOutOfDeviceMemory",
         " !weights  4096"},
        {"pinned memory is not needed",
         LOADER T "E ggml_cuda_host_malloc: failed to allocate 281.81 MiB of pinned memory: out of "
                  "memory",
         ""},
        {"prompt cache is not needed",
         READY T "E x: failed to allocate memory for prompt cache state: std::bad_alloc",
         " loaded"},
        {"cache of tokens is full", READY T "E x: failed to find a memory slot for batch of size 8",
         " loaded"},
        {"unknown architecture",
         LOADER T "E llama_model_load: error loading model: unknown model architecture: 'xyz'",
         " !model  0"},
        {"no file",
         T "E gguf_init_from_file: failed to open GGUF file '/x' (No such file or directory)",
         " !model  0"},
        {"flag", "error: invalid argument: --no-such-flag", " !argument  0"},
        {"value", "error while handling argument \"-c\": stoi", " !argument  0"},
        {"port",
         T "E srv         start: couldn't bind HTTP server socket, hostname: 127.0.0.1, port: 80",
         " !port  0"},
        {"no backend", T "E x: no backends are loaded. hint: use ggml_backend_load()",
         " !other  0"},
        {"assertion", LOADER "/src/ggml.c:12: GGML_ASSERT(x) failed", " !other  0"},
        {"assertion of a relative path", LOADER "ggml/src/ggml.c:12: GGML_ASSERT(x) failed",
         " !other  0"},
        {"words about an error", LOADER "see this: CUDA error", ""},
        {"uncaught exception", LOADER "terminate called after throwing an instance of 'x'",
         " !other  0"},
        {"the first cause counts",
         T "E llama_model_load: error loading model: x\n" T
           "E srv         start: couldn't bind HTTP server socket\n",
         " !model  0"},
        {"a warning is none", LOADER T "W x: failed to allocate CUDA0 buffer of size 1", ""},
        {"a notice is none", LOADER T "I x: out of memory", ""},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        check_text(rows[i].name, rows[i].lines, rows[i].want);
}

/* What a model file or a client says must not become a reading. */
static void test_forged(void **state)
{
    static const struct {
        const char *name, *lines, *want;
    } rows[] = {
        {"name of the model", T "I print_info: general.name = CUDA0 KV buffer size = 1.00 MiB", ""},
        {"metadata",
         T "I llama_model_loader: - kv   1: general.name str = CUDA0 model buffer size = 1.00 MiB",
         ""},
        {"token", T "I load:   - 257 ('CUDA0 KV buffer size = 1.00 MiB')", ""},
        {"chat template in a log with stamps",
         T "I srv init: init: chat template, example_format: 'x\n"
           "llama_kv_cache: CUDA0 KV buffer size = 1.00 MiB\n"
           "terminate called after nothing\n"
           "/a:1: GGML_ASSERT(no)\n"
           "error: invalid argument: none\n" READY,
         " loaded"},
        {"chat template in a log without stamps",
         "main: chat template, example_format: 'x\n"
         "terminate called after nothing\n"
         "main: model loaded\n",
         " loaded"},
        {"client's words in an error",
         READY T "E srv    operator(): got exception: {\"message\":\"cudaMalloc failed: out of "
                 "memory\"}",
         " loaded"},
        {"client's words in a slot's error",
         READY T "E slot   operator(): id 0 | task 1 | failed to load model, out of memory",
         " loaded"},
        {"path of the model",
         T "I srv    load_model: loading model 'listening on model loaded out of memory'", ""},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        check_text(rows[i].name, rows[i].lines, rows[i].want);
}

/* The figure has two decimals: the bytes are the nearest, and within the promised step. */
static void test_bytes(void **state)
{
    static const struct {
        const char *figure;
        uint64_t want;
    } rows[] = {
        {"0.00", 0},
        {"0.01", 10486},
        {"1.00", 1048576},
        {"281.81", 295499203},
        {"8675.42", UINT64_C(9096837202)},
        {"0.0001", 105},
        {"26.5547", 27844621},
        {"360657.73", UINT64_C(378177039892)},
        {"9999999999.99", UINT64_C(10485759999989514)},
        {"3", 3145728},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        static struct dgo_report report;
        char line[128];

        memset(&report, 0, sizeof report);
        snprintf(line, sizeof line, "load_tensors: CUDA0 model buffer size = %s MiB",
                 rows[i].figure);
        feed(&report, line);
        CHECK_ROW_U64(report.device[0].bytes[DGO_BUFFER_MODEL], rows[i].want, rows[i].figure);
    }
}

#define HEAD  "[CUDA0 free 24100.00 MiB"
#define CARD1 "[CUDA1 free "

static void test_recorded(void **state)
{
    static const struct {
        const char *file, *want;
    } rows[] = {
        {"log_tiny.txt",
         HEAD " model 5.63 MiB context 5.00 MiB compute 14.55 MiB]" CARD1
              "11900.00 MiB model 3.63 MiB context 3.00 MiB compute 10.04 MiB][CPU host model 0.25 "
              "MiB compute 9.07 MiB output 0.00 MiB] c2048/1024 np2 ngl9/9 pipeline loaded "
              "listening 2 requests 873.36/1651.65"},
        {"log_llama8b.txt", "[CUDA0 free 24100.00 MiB model 2698.44 MiB context 704.00 MiB compute "
                            "244.05 MiB][CUDA1 free 11900.00 MiB model 1627.71 MiB context 320.00 "
                            "MiB compute 172.04 MiB][CPU host model 281.81 MiB compute 112.07 MiB "
                            "output 0.49 MiB] c8192/8192 np1 ngl33/33 pipeline loaded listening"},
        {"log_gemma3.txt", "[CUDA0 free 48000.00 MiB model 6952.54 MiB context 501.50 MiB compute "
                           "322.22 MiB][CUDA1 free 48000.00 MiB model 8055.07 MiB context 501.50 "
                           "MiB compute 227.70 MiB][CPU host model 1102.50 MiB compute 127.73 MiB "
                           "output 2.00 MiB] c8192/4096 np2 ngl63/63 pipeline loaded listening"},
        {"log_q35moe.txt", "[CUDA0 free 48000.00 MiB model 9062.52 MiB context 111.41 MiB compute "
                           "152.08 MiB][CUDA1 free 48000.00 MiB model 9460.38 MiB context 111.41 "
                           "MiB compute 116.06 MiB][CPU host model 272.81 MiB compute 72.09 MiB "
                           "output 0.95 MiB] c8192/8192 np1 ngl41/41 pipeline loaded listening"},
        {"log_q3moe_ncmoe.txt",
         "[CUDA0 free 48000.00 MiB model 8117.99 MiB context 240.00 MiB compute 88.01 MiB][CUDA1 "
         "free 48000.00 MiB model 6280.63 MiB context 144.00 MiB compute 88.01 MiB][CPU host model "
         "166.92 MiB compute 80.27 MiB output 0.58 MiB][CPU_REPACK host model 1944.00 MiB] "
         "c4096/4096 np1 ngl49/49 no-pipeline loaded listening"},
        {"log_rehearsal.txt",
         "[CUDA0 free 4100.00 MiB model 5.63 MiB context 10.00 MiB compute 26.55 MiB][CUDA1 free "
         "3900.00 MiB model 3.63 MiB context 6.00 MiB compute 22.04 MiB][CPU host model 0.25 MiB "
         "compute 21.07 MiB output 0.01 MiB] c4096/4096 np4 ngl9/9 pipeline loaded listening"},
        {"log_draft.txt",
         "[CUDA0 free 24100.00 MiB model 15.78 MiB context 14.00 MiB compute 37.10 MiB][CUDA1 free "
         "11900.00 MiB model 2.76 MiB context 2.00 MiB compute 23.08 MiB][CPU host model 0.50 MiB "
         "compute 26.14 MiB output 0.00 MiB] c2048/2048 np1 ngl9/9 pipeline loaded listening"},
        {"log_pipeline_retry.txt",
         "[CUDA0 free 24100.00 MiB model 1965.31 MiB context 512.00 MiB compute 124.01 MiB][CUDA1 "
         "free 3000.00 MiB model 2360.84 MiB context 512.00 MiB compute 116.01 MiB][CPU host model "
         "281.81 MiB compute 40.02 MiB output 0.49 MiB] c8192/8192 np1 ngl33/33 no-pipeline loaded "
         "listening"},
        {"log_oom_weights.txt",
         "[CUDA0 free 24100.00 MiB][CUDA1 free 1200.00 MiB] !weights CUDA1 2475516160"},
        {"log_oom_context.txt",
         "[CUDA0 free 24100.00 MiB model 1965.31 MiB context 4096.00 MiB][CUDA1 free 3000.00 MiB "
         "model 2360.84 MiB][CPU host model 281.81 MiB output 0.49 MiB] c65536/65536 np0 ngl33/33 "
         "!context CUDA1 4294967296"},
        {"log_oom_compute.txt",
         "[CUDA0 free 24100.00 MiB model 1965.31 MiB context 512.00 MiB][CUDA1 free 2900.00 MiB "
         "model 2360.84 MiB context 512.00 MiB][CPU host model 281.81 MiB output 0.49 MiB] "
         "c8192/8192 np0 ngl33/33 no-pipeline !compute CUDA1 121645184"},
        {"log_oom_serving.txt",
         "[CUDA0 free 24100.00 MiB model 5.63 MiB context 5.00 MiB compute 14.55 MiB][CUDA1 free "
         "11900.00 MiB model 3.63 MiB context 3.00 MiB compute 10.04 MiB][CPU_Mapped host model "
         "0.25 MiB][CUDA_Host host compute 9.07 MiB output 0.00 MiB] c2048/1024 np2 ngl9/9 "
         "pipeline loaded listening 1 requests 1043.13/716.43 !runtime CUDA0 0"},
        {"log_unknown_architecture.txt", " !model  0"},
        {"log_cut_model.txt", " !model  0"},
        {"log_bad_flag.txt", " !argument  0"},
        {"log_bad_value.txt", " !argument  0"},
        {"log_port_taken.txt", " !port  0"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char *lines = engine_data(rows[i].file);

        check_text(rows[i].file, lines, rows[i].want);
        free(lines);
    }
}

/* The engine's own table at its end is in whole MiB, cut off: an oracle that we do not read. */
static void test_own_table(void **state)
{
    static const char *const files[] = {
        "log_tiny.txt",   "log_tiny_unified.txt", "log_llama8b.txt",   "log_gemma3.txt",
        "log_q35moe.txt", "log_q3moe_ncmoe.txt",  "log_rehearsal.txt", "log_pipeline_retry.txt"};
    uint32_t compared = 0;

    (void)state;
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        static struct dgo_report report;
        char *lines = engine_data(files[i]);
        const char *row = strstr(lines, "cleaning up before exit");

        memset(&report, 0, sizeof report);
        feed(&report, lines);
        while (row && (row = strstr(row, "_print: |   - "))) {
            unsigned mib[3];
            char name[32];
            const struct dgo_report_device *device;

            row += strlen("_print: |   - ");
            if (sscanf(row, "%31s (%*[^|]| %*u = %*u + (%*u = %u + %u + %u)", name, &mib[0],
                       &mib[1], &mib[2]) != 4)
                continue;
            device = dgo_report_find(&report, name);
            CHECK_ROW(device, files[i]);
            for (int k = 0; k < 3; k++) {
                const uint64_t low = (uint64_t)mib[k] << 20, high = low + DGO_MIB;

                CHECK_ROW(device->bytes[k] + DGO_REPORT_STEP_BYTES >= low, files[i]);
                CHECK_ROW(device->bytes[k] <= high + DGO_REPORT_STEP_BYTES, files[i]);
            }
            compared++;
        }
        free(lines);
    }
    assert_int_equal(compared, 16);
}

/* More devices and buffers than there is room for, and lines of any bytes. */
static void test_hostile(void **state)
{
    static struct dgo_report report;
    uint64_t seed = check_seed();

    (void)state;
    for (uint32_t i = 0; i < 500; i++) {
        char line[128];

        snprintf(line, sizeof line, "x: CUDA%u %s buffer size = 1.00 MiB", (unsigned)(i % 60),
                 kinds[i % 4]);
        feed(&report, line);
    }
    assert_int_equal(report.device_count, sizeof report.device / sizeof report.device[0]);
    for (int i = 0; i < 20000; i++) {
        static const char *const pieces[] = {T,
                                             "I ",
                                             "E ",
                                             "load_tensors: ",
                                             "CUDA1 ",
                                             " buffer size = ",
                                             "1.5",
                                             " MiB",
                                             "using device ",
                                             "(",
                                             ")",
                                             " - ",
                                             "free",
                                             "slot print_timing: ",
                                             "eval time =",
                                             " tokens per second",
                                             "|",
                                             ",",
                                             "[",
                                             "]",
                                             "RPC0",
                                             "n_slots = ",
                                             "failed to allocate ",
                                             "on device ",
                                             "\033[",
                                             "offloaded ",
                                             "/",
                                             "KV",
                                             "loading draft model",
                                             "\xff\xfe"};
        char line[256];
        struct dgo_text text = DGO_TEXT(line);

        for (uint64_t n = check_below(&seed, 12); n > 0; n--)
            dgo_text_add(&text, pieces[check_below(&seed, sizeof pieces / sizeof pieces[0])]);
        feed(&report, line);
    }
    assert_true(report.device_count <= sizeof report.device / sizeof report.device[0]);
    assert_non_null(memchr(report.trouble_line, 0, sizeof report.trouble_line));
}

static void test_find(void **state)
{
    static struct dgo_report report;

    (void)state;
    feed(&report, "load_tensors: CUDA0 model buffer size = 1.00 MiB");
    assert_non_null(dgo_report_find(&report, "CUDA0"));
    assert_null(dgo_report_find(&report, "CUDA1"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_books),     cmocka_unit_test(test_progress),
        cmocka_unit_test(test_trouble),   cmocka_unit_test(test_forged),
        cmocka_unit_test(test_bytes),     cmocka_unit_test(test_recorded),
        cmocka_unit_test(test_own_table), cmocka_unit_test(test_hostile),
        cmocka_unit_test(test_find),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
