/* What binaries say of themselves: version, flags, devices. */
#include "engine_check.h"

static const struct dgo_engine *llama(void)
{
    return dgo_engine_find("llama.cpp");
}

static void test_find(void **state)
{
    (void)state;
    assert_non_null(llama());
    assert_ptr_equal(dgo_engine_find("llama-server"), llama());
    assert_null(dgo_engine_find("gcc"));
    assert_string_equal(llama()->health_path, "/health");
}

static void test_version(void **state)
{
    static const struct {
        const char *name, *output;
        uint32_t build;
        const char *version;
    } rows[] = {
        {"number first", "version: 6325 (b7f1f4a2)\nbuilt with cc for x86_64\n", 6325,
         "version: 6325 (b7f1f4a2)"},
        {"release", "version: 0.7.0 (build 11669, commit Debian)\n", 11669,
         "version: 0.7.0 (build 11669, commit Debian)"},
        {"after lines about backends", "load_backend: loaded CPU backend\nversion: 7777 (abc)\n",
         7777, "version: 7777 (abc)"},
        {"shallow clone", "version: 1 (b7f1f4a2)\n", 0, "version: 1 (b7f1f4a2)"},
        {"release of a shallow clone", "version: 0.5.0-dev (build 1, commit 0ad4a86)\n", 11146,
         "version: 0.5.0-dev (build 1, commit 0ad4a86)"},
        {"release without a build", "version: 2000.1 (x)\n", 0, "version: 2000.1 (x)"},
        {"number too big", "version: 99999999999999999999 (x)\n", 0,
         "version: 99999999999999999999 (x)"},
        {"carriage return", "version: 6325 (b7f1f4a2)\r\n", 6325, "version: 6325 (b7f1f4a2)"},
        {"escape sequence", "version: \033[31m\n", 0, "version: \\x1B[31m"},
        {"word inside a line", "no version: 6325\n", 0, ""},
        {"build of a later line", "version: x\n(build 6325)\n", 0, "version: x"},
        {"nothing", "", 0, ""},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        static struct dgo_probe probe;

        memset(&probe, 0xff, sizeof probe);
        llama()->read_probe(&probe, rows[i].output, "");
        CHECK_ROW_U64(probe.build, rows[i].build, rows[i].name);
        CHECK_ROW(strcasecmp(probe.version, rows[i].version) == 0, rows[i].name);
        CHECK_ROW_U64(probe.flag_count, 0, rows[i].name);
    }
}

static void test_real_help(void **state)
{
    static const char *const known[] = {
        "-h",         "--usage",        "-c",
        "--ctx-size", "-kvu",           "-no-kvu",
        "-nkvo",      "-fit",           "--fit",
        "-fa",        "--flash-attn",   "--no-spec-draft-backend-sampling",
        "-m",         "--log-colors",   "-lv",
        "--port",     "--spec-default", "--fim-qwen-1.5b-default",
    };
    static const char *const unknown[] = {"--nothing", "-none", "-----", "", "N", "- none:", "-c,"};
    static struct dgo_probe probe;
    char *version = engine_data("version_11669.txt"), *help = engine_data("help_11669.txt");

    (void)state;
    llama()->read_probe(&probe, version, help);
    assert_int_equal(probe.build, 11669);
    assert_int_equal(probe.flag_count, 415);
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
        CHECK_ROW(dgo_probe_has(&probe, known[i]), known[i]);
    for (size_t i = 0; i < sizeof unknown / sizeof unknown[0]; i++)
        CHECK_ROW(!dgo_probe_has(&probe, unknown[i]), unknown[i]);
    for (uint32_t i = 1; i < probe.flag_count; i++)
        assert_true(strcmp(probe.flag[i - 1], probe.flag[i]) < 0);
    free(version);
    free(help);
}

static void test_old_help(void **state)
{
    static struct dgo_probe probe;
    char *help = engine_data("help_2024.txt");

    (void)state;
    llama()->read_probe(&probe, "version: 4000 (x)\n", help);
    assert_true(dgo_probe_has(&probe, "-fa"));
    assert_true(dgo_probe_has(&probe, "--n-gpu-layers"));
    assert_false(dgo_probe_has(&probe, "-dev"));
    assert_false(dgo_probe_has(&probe, "-"));
    free(help);
}

static void test_hostile_help(void **state)
{
    static struct dgo_probe probe;
    char *help = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&help, &size);

    (void)state;
    for (int i = 0; i < 3000; i++)
        fprintf(out, "-x%d, --twice, --%0300d\n", i, i);
    fclose(out);
    llama()->read_probe(&probe, "", help);
    assert_true(probe.flag_count <= DGO_FLAG_MAX);
    assert_true(dgo_probe_has(&probe, "--twice"));
    free(help);
    llama()->read_probe(&probe, "", "-a,");
    assert_int_equal(probe.flag_count, 1);
}

static void test_devices(void **state)
{
    static const struct {
        const char *name, *output;
        uint32_t count;
        struct dgo_engine_device want; /* the first */
    } rows[] = {
        {"none", "Available devices:\n", 0, {.total_bytes = 0}},
        {"one",
         "Available devices:\n  CUDA0: NVIDIA GeForce RTX 3090 (24576 MiB, 24100 MiB free)\n",
         1,
         {.name = "CUDA0",
          .description = "NVIDIA GeForce RTX 3090",
          .total_bytes = UINT64_C(24576) << 20,
          .free_bytes = UINT64_C(24100) << 20}},
        {"parentheses in the name",
         "  Vulkan0: llvmpipe (LLVM 21.1.8, 256 bits) (24105 MiB, 22749 MiB free)",
         1,
         {.name = "Vulkan0",
          .description = "llvmpipe (LLVM 21.1.8, 256 bits)",
          .total_bytes = UINT64_C(24105) << 20,
          .free_bytes = UINT64_C(22749) << 20}},
        {"endpoint",
         "  RPC0: 127.0.0.1:50052 (1 MiB, 0 MiB free)\n",
         1,
         {.name = "RPC0", .description = "127.0.0.1:50052", .total_bytes = UINT64_C(1) << 20}},
        {"figures cut", "  CUDA0: NVIDIA (24576 MiB, 24100\n  MiB free)\n", 0, {.total_bytes = 0}},
        {"no name", "  : NVIDIA (1 MiB, 1 MiB free)\n", 0, {.total_bytes = 0}},
        {"negative", "  CUDA0: NVIDIA (-1 MiB, 1 MiB free)\n", 0, {.total_bytes = 0}},
        {"only parentheses", "a:(\n", 0, {.total_bytes = 0}},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct dgo_engine_device devices[2];

        memset(devices, 0, sizeof devices);
        CHECK_ROW_U64(llama()->read_devices(devices, 2, rows[i].output), rows[i].count,
                      rows[i].name);
        if (rows[i].count == 0)
            continue;
        CHECK_ROW(strcmp(devices[0].name, rows[i].want.name) == 0, rows[i].name);
        CHECK_ROW(strcmp(devices[0].description, rows[i].want.description) == 0, rows[i].name);
        CHECK_ROW_U64(devices[0].total_bytes, rows[i].want.total_bytes, rows[i].name);
        CHECK_ROW_U64(devices[0].free_bytes, rows[i].want.free_bytes, rows[i].name);
    }
}

static void test_real_devices(void **state)
{
    struct dgo_engine_device devices[4];
    char *output = engine_data("devices_11669.txt");

    (void)state;
    assert_int_equal(llama()->read_devices(devices, 4, output), 2);
    assert_string_equal(devices[1].name, "CUDA1");
    assert_string_equal(devices[1].description, "NVIDIA GeForce RTX 3060");
    assert_true(devices[1].free_bytes == UINT64_C(11900) << 20);
    assert_int_equal(llama()->read_devices(devices, 1, output), 1);
    free(output);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_find),         cmocka_unit_test(test_version),
        cmocka_unit_test(test_real_help),    cmocka_unit_test(test_old_help),
        cmocka_unit_test(test_hostile_help), cmocka_unit_test(test_devices),
        cmocka_unit_test(test_real_devices),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
