/* Plans to command lines: what each setting becomes, for new and for old binaries. */
#include "engine_check.h"

/* One plan, one binary, one launch; a row changes what it is about. */
struct scene {
    struct dgo_machine machine;
    struct dgo_model model;
    struct dgo_plan plan;
    struct dgo_launch_options options;
    struct dgo_probe probe;
    bool probed;
};

static void reset(struct scene *scene)
{
    memset(scene, 0, sizeof *scene);
    engine_example(&scene->machine, &scene->model, &scene->plan);
    scene->options = (struct dgo_launch_options){.binary = "/bin/llama-server",
                                                 .model_path = "m.gguf",
                                                 .host = "127.0.0.1",
                                                 .port = 9000,
                                                 .thread_count = -1};
}

static enum dgo_status build(const struct scene *scene, struct dgo_command *command,
                             struct dgo_error *err)
{
    return dgo_engine_find("llama.cpp")
        ->command(&scene->machine, &scene->model, &scene->plan, &scene->options,
                  scene->probed ? &scene->probe : NULL, command, err);
}

static void probe_with(struct scene *scene, const char *version, const char *help_name)
{
    char *help = engine_data(help_name);

    dgo_engine_find("llama.cpp")->read_probe(&scene->probe, version, help);
    scene->probed = true;
    free(help);
}

static void one_gpu(struct scene *scene)
{
    scene->plan.settings.device_count = 1;
    scene->plan.settings.device_gpu[0] = 1;
    scene->plan.settings.split_mode = DGO_SPLIT_NONE;
}
static void no_gpu(struct scene *scene)
{
    scene->plan.settings.device_count = 0;
    scene->plan.settings.gpu_layer_count = 0;
}
static void swapped(struct scene *scene)
{
    scene->plan.settings.device_gpu[0] = 1;
    scene->plan.settings.device_gpu[1] = 0;
}
static void simulated(struct scene *scene)
{
    swapped(scene);
    scene->machine.origin.simulated = true;
}
static void uuid_missing(struct scene *scene)
{
    scene->machine.gpu[1].uuid[0] = '\0';
}
static void amd(struct scene *scene)
{
    scene->machine.gpu[0].vendor = scene->machine.gpu[1].vendor = DGO_VENDOR_AMD;
}
static void mixed(struct scene *scene)
{
    scene->machine.gpu[0].vendor = DGO_VENDOR_AMD;
    scene->machine.gpu_count = 3;
    scene->machine.gpu[2] = scene->machine.gpu[0];
    scene->plan.settings.device_count = 3;
    scene->plan.settings.device_gpu[0] = 2;
    scene->plan.settings.device_gpu[2] = 0;
}
static void intel(struct scene *scene)
{
    one_gpu(scene);
    scene->machine.gpu[0].vendor = scene->machine.gpu[1].vendor = DGO_VENDOR_INTEL;
}
static void fractions(struct scene *scene)
{
    scene->plan.settings.tensor_split[0] = 0.1f;
    scene->plan.settings.tensor_split[1] = 3.5f;
}
static void by_free_memory(struct scene *scene)
{
    scene->plan.settings.tensor_split_given = false;
}
static void partial(struct scene *scene)
{
    scene->plan.settings.gpu_layer_count = 20;
}
static void quantised_cache(struct scene *scene)
{
    scene->plan.settings.key_type = DGO_KV_Q8_0;
    scene->plan.settings.value_type = DGO_KV_Q5_1;
}
static void slots_unified(struct scene *scene)
{
    scene->plan.settings.slot_count = 4;
    scene->plan.settings.kv_unified = true;
}
static void fa_off(struct scene *scene)
{
    scene->plan.settings.flash_attention = DGO_FA_OFF;
}
static void cache_on_host(struct scene *scene)
{
    scene->plan.settings.kv_on_host = true;
}
static void swa_full(struct scene *scene)
{
    scene->plan.settings.swa_full = true;
    scene->model.sliding_window = 1024;
}
static void experts_on_host(struct scene *scene)
{
    scene->plan.settings.cpu_moe_layer_count = 7;
}
static void no_op_offload(struct scene *scene)
{
    scene->plan.settings.op_offload = false;
}
static void threads_and_extra(struct scene *scene)
{
    static const char *const extra[] = {"--alias", "my model"};

    scene->options.thread_count = 6;
    scene->options.extra_args = extra;
    scene->options.extra_count = 2;
}
static void build_11669(struct scene *scene)
{
    probe_with(scene, "version: 0.7.0 (build 11669, commit Debian)\n", "help_11669.txt");
}
static void build_2024(struct scene *scene)
{
    probe_with(scene, "version: 4000 (abc)\n", "help_2024.txt");
}
static void build_2024_fa_off(struct scene *scene)
{
    build_2024(scene);
    fa_off(scene);
}
static void build_mid_2025(struct scene *scene)
{
    probe_with(scene, "version: 6200 (abc)\n", "help_mid_2025.txt");
}
static void build_11669_unnumbered(struct scene *scene)
{
    probe_with(scene, "version: 1 (abc)\n", "help_11669.txt");
}
static void mid_2025_unified(struct scene *scene)
{
    build_mid_2025(scene);
    slots_unified(scene);
}

#define SERVER                                                                                     \
    "--host 127.0.0.1 --port 9000 --cors-origins localhost -lv 4 --log-prefix --log-timestamps "   \
    "--log-colors off"
#define OLD_SERVER "--host 127.0.0.1 --port 9000 -lv 4 --log-prefix --log-timestamps"
#define CACHE      "-no-kvu -fa on -ctk f16 -ctv f16 "
#define CONTEXT    "-fit off -c 4096 -np 1 -b 2048 -ub 512 "
#define DEVICES    "-dev CUDA0,CUDA1 -ngl 33 -sm layer -ts 16,17 "

static void test_whole(void **state)
{
    static const struct {
        const char *name;
        void (*change)(struct scene *scene);
        const char *want; /* after "/bin/llama-server -m m.gguf " */
    } rows[] = {
        {"newest, two cards", NULL, DEVICES CONTEXT CACHE SERVER},
        {"build 11669", build_11669, DEVICES CONTEXT CACHE SERVER},
        {"build without a number", build_11669_unnumbered, DEVICES CONTEXT CACHE SERVER},
        {"one card", one_gpu, "-dev CUDA0 -ngl 33 -sm none -mg 0 " CONTEXT CACHE SERVER},
        {"no card", no_gpu, "-dev none -ngl 0 " CONTEXT CACHE SERVER},
        {"2024: no -dev, no -fit, bare -fa, bare --log-colors", build_2024,
         "-ngl 33 -sm layer -ts 16,17 -c 4096 -np 1 -b 2048 -ub 512 -fa -ctk f16 -ctv "
         "f16 " OLD_SERVER},
        {"2024, flash attention off: nothing to say", build_2024_fa_off,
         "-ngl 33 -sm layer -ts 16,17 -c 4096 -np 1 -b 2048 -ub 512 -ctk f16 -ctv "
         "f16 " OLD_SERVER},
        {"middle of 2025", build_mid_2025,
         DEVICES "-c 4096 -np 1 -b 2048 -ub 512 -fa -ctk f16 -ctv f16 " OLD_SERVER},
        {"middle of 2025, one cache", mid_2025_unified,
         DEVICES "-c 4096 -np 4 -b 2048 -ub 512 -kvu -fa -ctk f16 -ctv f16 " OLD_SERVER},
        {"user's own flags last", threads_and_extra,
         DEVICES CONTEXT CACHE "-t 6 " SERVER " --alias 'my model'"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        static struct scene scene;
        struct dgo_command command = {0};
        struct dgo_error err = {0};
        char line[4096], want[4096];
        struct dgo_text text = DGO_TEXT(line);

        reset(&scene);
        if (rows[i].change)
            rows[i].change(&scene);
        CHECK_ROW(build(&scene, &command, &err) == DGO_OK, rows[i].name);
        command.env_count = 0;
        dgo_command_text(&command, NULL, &text);
        snprintf(want, sizeof want, "/bin/llama-server -m m.gguf %s", rows[i].want);
        if (strcmp(line, want) != 0)
            print_error("row \"%s\":\n got %s\nwant %s\n", rows[i].name, line, want);
        CHECK_ROW(strcmp(line, want) == 0, rows[i].name);
        assert_null(command.arg[command.arg_count]);
        dgo_command_done(&command);
    }
}

static void test_settings(void **state)
{
    static const struct {
        const char *name;
        void (*change)(struct scene *scene);
        const char *with, *without;
    } rows[] = {
        {"fractions keep their float", fractions, " -ts 0.100000001,3.5 ", NULL},
        {"split by free memory", by_free_memory, " -sm layer ", "-ts"},
        {"some layers on the host", partial, " -ngl 20 ", NULL},
        {"all layers", NULL, " -ngl 33 ", NULL},
        {"cache types", quantised_cache, " -ctk q8_0 -ctv q5_1 ", NULL},
        {"slots in one cache", slots_unified, " -np 4 -b 2048 -ub 512 -kvu ", "-no-kvu"},
        {"flash attention off", fa_off, " -fa off ", NULL},
        {"cache on the host", cache_on_host, " -nkvo ", NULL},
        {"whole context in window layers", swa_full, " --swa-full ", NULL},
        {"no window, no flag", NULL, " -c 4096 ", "--swa-full"},
        {"experts on the host", experts_on_host, " -ncmoe 7 ", NULL},
        {"no transfers of weights", no_op_offload, " --no-op-offload ", NULL},
        {"transfers are the default", NULL, " -c 4096 ", "op-offload"},
        {"AMD", amd, " -dev ROCm0,ROCm1 ", NULL},
        {"two vendors", mixed, " -dev ROCm0,CUDA0,ROCm1 ", NULL},
        {"Intel", intel, " -dev Vulkan0 ", NULL},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        static struct scene scene;
        struct dgo_command command = {0};
        char line[4096];
        struct dgo_text text = DGO_TEXT(line);

        reset(&scene);
        if (rows[i].change)
            rows[i].change(&scene);
        CHECK_ROW(build(&scene, &command, NULL) == DGO_OK, rows[i].name);
        dgo_command_text(&command, NULL, &text);
        CHECK_ROW(strstr(line, rows[i].with), rows[i].name);
        CHECK_ROW(!rows[i].without || !strstr(line, rows[i].without), rows[i].name);
        dgo_command_done(&command);
    }
}

static const char *variable(const struct dgo_command *command, const char *name)
{
    for (uint32_t i = 0; i < command->env_count; i++)
        if (command->env[i].value && strcmp(command->env[i].name, name) == 0)
            return command->env[i].value;
    return NULL;
}

static void test_visible(void **state)
{
    static const struct {
        const char *name;
        void (*change)(struct scene *scene);
        const char *variable, *want;
    } rows[] = {
        {"order of the bus", NULL, "CUDA_DEVICE_ORDER", "PCI_BUS_ID"},
        {"no debugger", NULL, "GGML_NO_BACKTRACE", "1"},
        {"UUIDs", NULL, "CUDA_VISIBLE_DEVICES", "GPU-00,GPU-11"},
        {"in the plan's order", swapped, "CUDA_VISIBLE_DEVICES", "GPU-11,GPU-00"},
        {"one card", one_gpu, "CUDA_VISIBLE_DEVICES", "GPU-11"},
        {"no card", no_gpu, "CUDA_VISIBLE_DEVICES", ""},
        {"pretend cards by index", simulated, "CUDA_VISIBLE_DEVICES", "1,0"},
        {"a UUID is missing", uuid_missing, "CUDA_VISIBLE_DEVICES", "0,1"},
        {"AMD by index", amd, "HIP_VISIBLE_DEVICES", "0,1"},
        {"AMD without CUDA", amd, "CUDA_VISIBLE_DEVICES", NULL},
        {"two vendors, AMD", mixed, "HIP_VISIBLE_DEVICES", "1,0"},
        {"two vendors, NVIDIA", mixed, "CUDA_VISIBLE_DEVICES", "GPU-11"},
        {"Intel by index", intel, "GGML_VK_VISIBLE_DEVICES", "1"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        static struct scene scene;
        struct dgo_command command = {0};
        const char *got;

        reset(&scene);
        if (rows[i].change)
            rows[i].change(&scene);
        CHECK_ROW(build(&scene, &command, NULL) == DGO_OK, rows[i].name);
        got = variable(&command, rows[i].variable);
        CHECK_ROW(!got == !rows[i].want, rows[i].name);
        CHECK_ROW(!got || strcmp(got, rows[i].want) == 0, rows[i].name);
        dgo_command_done(&command);
    }
}

static void test_device_names(void **state)
{
    static const struct {
        const char *name;
        void (*change)(struct scene *scene);
        const char *want[3];
    } rows[] = {
        {"two cards", NULL, {"CUDA0", "CUDA1"}},
        {"the second card first", swapped, {"CUDA0", "CUDA1"}},
        {"only the second card", one_gpu, {"CUDA0"}},
        {"two vendors", mixed, {"ROCm0", "CUDA0", "ROCm1"}},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        static struct scene scene;
        struct dgo_estimate *estimate = &scene.plan.estimate;

        reset(&scene);
        if (rows[i].change)
            rows[i].change(&scene);
        estimate->device_count = scene.plan.settings.device_count;
        dgo_engine_find("llama.cpp")->name_devices(&scene.machine, &scene.plan.settings, estimate);
        for (uint32_t d = 0; d < estimate->device_count; d++)
            CHECK_ROW(strcmp(estimate->device[d].name, rows[i].want[d]) == 0, rows[i].name);
    }
}

static void test_inherited(void **state)
{
    static char *parent[] = {
        (char *)"PATH=/bin",
        (char *)"LLAMA_ARG_CTX_SIZE=1",
        (char *)"LLAMA_API_KEY=secret",
        (char *)"GGML_CUDA_ENABLE_UNIFIED_MEMORY=1",
        (char *)"GGML_BACKEND_PATH=/b.so",
        (char *)"PRETEND_GPU_FILE=/g",
        (char *)"CUDA_VISIBLE_DEVICES=3",
        (char *)"ROCR_VISIBLE_DEVICES=3",
        NULL,
    };
    static const char *const want[] = {"PATH=/bin",
                                       "GGML_BACKEND_PATH=/b.so",
                                       "PRETEND_GPU_FILE=/g",
                                       "CUDA_DEVICE_ORDER=PCI_BUS_ID",
                                       "CUDA_VISIBLE_DEVICES=GPU-00,GPU-11",
                                       "GGML_NO_BACKTRACE=1"};
    static struct scene scene;
    struct dgo_command command = {0};
    struct dgo_arena arena = {0};
    const char **got;

    (void)state;
    reset(&scene);
    assert_int_equal(build(&scene, &command, NULL), DGO_OK);
    got = dgo_command_environment(&command, parent, &arena);
    for (size_t i = 0; i < sizeof want / sizeof want[0]; i++)
        assert_string_equal(got[i], want[i]);
    assert_null(got[sizeof want / sizeof want[0]]);
    dgo_arena_done(&arena);
    dgo_command_done(&command);
}

static void test_reasons(void **state)
{
    static struct scene scene;
    struct dgo_command command = {0};

    (void)state;
    reset(&scene);
    threads_and_extra(&scene);
    assert_int_equal(build(&scene, &command, NULL), DGO_OK);
    for (uint32_t i = 1; i < command.arg_count; i++)
        if (command.arg[i][0] == '-')
            CHECK_ROW(command.why[i] && command.why[i][0], command.arg[i]);
    for (uint32_t i = 0; i < command.env_count; i++)
        CHECK_ROW(command.env[i].why && command.env[i].why[0], command.env[i].name);
    dgo_command_done(&command);
}

static void no_binary(struct scene *scene)
{
    scene->options.binary = NULL;
}
static void no_model(struct scene *scene)
{
    scene->options.model_path = "";
}
static void no_such_gpu(struct scene *scene)
{
    scene->plan.settings.device_gpu[1] = 2;
}
static void old_and_cache_on_host(struct scene *scene)
{
    build_2024(scene);
    cache_on_host(scene);
}
static void old_and_unified(struct scene *scene)
{
    build_2024(scene);
    slots_unified(scene);
}
static void old_and_experts(struct scene *scene)
{
    build_2024(scene);
    experts_on_host(scene);
}
static void old_and_no_op_offload(struct scene *scene)
{
    build_2024(scene);
    no_op_offload(scene);
}
static void too_many_words(struct scene *scene)
{
    static const char *words[DGO_ARG_MAX];

    for (size_t i = 0; i < DGO_ARG_MAX; i++)
        words[i] = "x";
    scene->options.extra_args = words;
    scene->options.extra_count = DGO_ARG_MAX;
}

static void test_refused(void **state)
{
    static const struct {
        const char *name;
        void (*change)(struct scene *scene);
        enum dgo_status status;
        const char *says;
    } rows[] = {
        {"no binary", no_binary, DGO_EINVAL, "no llama-server"},
        {"no model", no_model, DGO_EINVAL, "no model"},
        {"GPU that is not there", no_such_gpu, DGO_EINVAL, "the plan uses GPU 2"},
        {"old: slots in one cache", old_and_unified, DGO_EUNSUPPORTED, "-kvu"},
        {"old: experts on the host", old_and_experts, DGO_EUNSUPPORTED,
         "this llama-server (version: 4000 (abc)) has no flag -ncmoe"},
        {"old: no transfers", old_and_no_op_offload, DGO_EUNSUPPORTED, "--no-op-offload"},
        {"too many words", too_many_words, DGO_ELIMIT, "more than 256 words"},
    };
    static struct scene scene;
    struct dgo_command command = {0};

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct dgo_error err = {0};

        reset(&scene);
        rows[i].change(&scene);
        CHECK_ROW(build(&scene, &command, &err) == rows[i].status, rows[i].name);
        CHECK_ROW(strstr(err.text, rows[i].says), rows[i].name);
        CHECK_ROW_U64(command.arg_count, 0, rows[i].name);
    }
    reset(&scene);
    old_and_cache_on_host(&scene); /* that flag is old enough */
    assert_int_equal(build(&scene, &command, NULL), DGO_OK);
    dgo_command_done(&command);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_whole),     cmocka_unit_test(test_settings),
        cmocka_unit_test(test_visible),   cmocka_unit_test(test_device_names),
        cmocka_unit_test(test_inherited), cmocka_unit_test(test_reasons),
        cmocka_unit_test(test_refused),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
