/* test_flow.c - options to an intent; the engine that is found, and what is believed of it. */
#include "check.h"
#include "dgo_log.h"
#include "flow.h"

#include <sys/stat.h>
#include <unistd.h>

static char *no_environment[] = {NULL};
static char *environment[] = {(char *)"PATH=/usr/bin:/bin", NULL};
static struct options options;
static struct flow flow;
static char directory[64]; /* of one test */

static void set(enum option_id id, const char *text)
{
    assert_int_equal(options_set(&options, id, text, ORIGIN_FLAG, NULL), DGO_OK);
}

static void start(void)
{
    assert_int_equal(options_init(&options, no_environment, NULL), DGO_OK);
    flow_init(&flow, &options, environment);
    flow.machine.gpu_count = 2;
}

/* ---- intent ---- */

static const struct {
    const char *name, *text; /* of --use */
    bool good;
    uint32_t mask;
    const char *sentence;
} lists[] = {
    {"one", "0", true, 1, NULL},
    {"both", "0,1", true, 3, NULL},
    {"any order", "1,0", true, 3, NULL},
    {"twice", "1,1", true, 2, NULL},
    {"not there", "2", false, 0, "no GPU 2, the machine has 2 (0 to 1)"},
    {"far off", "99", false, 0, "not a list"},
    {"no number", "a", false, 0, "'a' is not a list"},
    {"negative", "-1", false, 0, "not a list"},
    {"open end", "0,", false, 0, "not a list"},
    {"open start", ",0", false, 0, "not a list"},
    {"blank", "0, 1", false, 0, "not a list"},
    {"endless", "00000000000000000000000000000000000000000001", false, 0, "not a list"},
};

static void test_gpu_lists(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++) {
        struct dgo_error err = {0};
        enum dgo_status status;

        start();
        set(OPTION_USE, lists[i].text);
        flow.intent.gpu_mask = 0x8000;
        status = flow_intend(&flow, &err);
        CHECK_ROW((status == DGO_OK) == lists[i].good, lists[i].name);
        if (lists[i].good) {
            CHECK_ROW_U64(flow.intent.gpu_mask, lists[i].mask, lists[i].name);
        } else {
            CHECK_ROW(status == DGO_EUSAGE && err.status == DGO_EUSAGE, lists[i].name);
            CHECK_ROW(strstr(err.text, "--use") && strstr(err.text, lists[i].sentence),
                      lists[i].name);
            CHECK_ROW_U64(flow.intent.gpu_mask, 0x8000, lists[i].name); /* left alone */
        }
        flow_done(&flow);
    }
}

/* Engines that keep the whole context where llama.cpp keeps a window: their plans count it. */
static void test_window(void **state)
{
    static const struct {
        const char *engine;
        bool whole;
    } rows[] = {{"llama.cpp", false}, {"koboldcpp", true}, {"ik_llama.cpp", true}};

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        start();
        set(OPTION_FOR, rows[i].engine);
        assert_int_equal(flow_intend(&flow, NULL), DGO_OK);
        CHECK_ROW(flow.intent.swa_full == rows[i].whole, rows[i].engine);
        flow_done(&flow);
    }
}

static void test_nothing_wished(void **state)
{
    const struct dgo_intent *intent = &flow.intent;

    (void)state;
    start();
    assert_int_equal(flow_intend(&flow, NULL), DGO_OK);
    assert_int_equal(intent->objective, DGO_OBJECTIVE_SPEED);
    assert_int_equal(intent->slot_count, 1);
    assert_int_equal(intent->ctx_tokens, 0);
    assert_int_equal(intent->margin_bytes, 0); /* the default */
    assert_int_equal(intent->gpu_mask, 0);     /* all */
    assert_false(intent->kv_type_given || intent->flash_attention_off || intent->every_gpu ||
                 intent->cpu_layers_refused);
    flow_done(&flow);
}

static void test_everything_wished(void **state)
{
    const struct dgo_intent *intent = &flow.intent;

    (void)state;
    start();
    set(OPTION_OBJECTIVE, "safe");
    set(OPTION_PARALLEL, "4");
    set(OPTION_CTX, "8192");
    set(OPTION_BATCH, "1024");
    set(OPTION_UBATCH, "256");
    set(OPTION_MARGIN, "1GiB");
    set(OPTION_KV_TYPE, "q8_0");
    set(OPTION_PROMPT_TOKENS, "100");
    set(OPTION_GENERATED_TOKENS, "50");
    set(OPTION_NO_FLASH_ATTENTION, NULL);
    set(OPTION_SPREAD, NULL);
    set(OPTION_NO_CPU_LAYERS, NULL);
    assert_int_equal(flow_intend(&flow, NULL), DGO_OK);
    assert_int_equal(intent->objective, DGO_OBJECTIVE_SAFE);
    assert_int_equal(intent->slot_count, 4);
    assert_int_equal(intent->ctx_tokens, 8192);
    assert_int_equal(intent->batch_tokens, 1024);
    assert_int_equal(intent->ubatch_tokens, 256);
    assert_int_equal(intent->margin_bytes, UINT64_C(1) << 30);
    assert_true(intent->kv_type_given);
    assert_int_equal(intent->key_type, DGO_KV_Q8_0);
    assert_int_equal(intent->value_type, DGO_KV_Q8_0);
    assert_true(intent->prompt_tokens == 100 && intent->generated_tokens == 50);
    assert_true(intent->flash_attention_off && intent->every_gpu && intent->cpu_layers_refused);
    flow_done(&flow);
}

static void test_words_with_a_meaning_of_their_own(void **state)
{
    (void)state;
    start();
    set(OPTION_CTX, "max");
    set(OPTION_MARGIN, "0"); /* none at all, where 0 in an intent is the default */
    assert_int_equal(flow_intend(&flow, NULL), DGO_OK);
    assert_int_equal(flow.intent.ctx_tokens, DGO_CTX_MAX);
    assert_true(flow.intent.margin_bytes == UINT64_MAX);
    flow_done(&flow);
}

static void test_a_bad_cache_type(void **state)
{
    struct dgo_error err = {0};

    (void)state;
    start();
    set(OPTION_KV_TYPE, "q9");
    assert_int_equal(flow_intend(&flow, &err), DGO_EUSAGE);
    assert_int_equal(err.status, DGO_EUSAGE);
    assert_non_null(strstr(err.text, "--kv-type"));
    assert_non_null(strstr(err.text, "q9"));
    assert_int_equal(flow_intend(&flow, NULL), DGO_EUSAGE);
    flow_done(&flow);
}

static void test_shown_port(void **state)
{
    (void)state;
    start();
    assert_int_equal(flow_shown_port(&flow), FLOW_PORT_DEFAULT); /* 0: a free one, later */
    set(OPTION_PORT, "9000");
    assert_int_equal(flow_shown_port(&flow), 9000);
    flow_done(&flow);
}

/* ---- the engine ---- */

static char last_warning[DGO_LOG_LINE_MAX];

static void keep_warning(enum dgo_log_level level, const char *line, void *data)
{
    (void)level, (void)data;
    snprintf(last_warning, sizeof last_warning, "%s", line);
}

static int make_directory(void **state)
{
    (void)state;
    strcpy(directory, "/tmp/dgo-flow-XXXXXX");
    assert_non_null(mkdtemp(directory));
    last_warning[0] = '\0';
    dgo_log_set(DGO_LOG_WARN, keep_warning, NULL);
    return 0;
}

static int remove_directory(void **state)
{
    static const char *const names[] = {
        "llama-server",         "library", "calls", "state/history.db", "state/history.db-wal",
        "state/history.db-shm", "state"};
    char path[160];

    (void)state;
    dgo_log_set(DGO_LOG_WARN, NULL, NULL);
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        snprintf(path, sizeof path, "%s/%s", directory, names[i]);
        (void)remove(path);
    }
    return rmdir(directory);
}

static const char *in_directory(const char *name)
{
    static char path[4][160];
    static unsigned next;
    char *made = path[next++ % 4];

    snprintf(made, sizeof path[0], "%s/%s", directory, name);
    return made;
}

static void write_file(const char *name, const char *fmt, ...) DGO_PRINTF(2, 3);

static void write_file(const char *name, const char *fmt, ...)
{
    FILE *file = fopen(in_directory(name), "we");
    va_list args;

    assert_non_null(file);
    va_start(args, fmt);
    vfprintf(file, fmt, args);
    va_end(args);
    assert_int_equal(fclose(file), 0);
    assert_int_equal(chmod(in_directory(name), 0755), 0);
}

/* An engine that says so; each question is a line in "calls". */
static void write_engine(const char *version, const char *help)
{
    write_file("llama-server",
               "#!/bin/sh\necho \"$1\" >>%s\ncase $1 in\n"
               "--version) echo '%s' >&2;;\n--help) echo '%s';;\nesac\n",
               in_directory("calls"), version, help);
}

static unsigned calls(void)
{
    FILE *file = fopen(in_directory("calls"), "re");
    unsigned count = 0;

    for (int c; file && (c = fgetc(file)) != EOF;)
        count += c == '\n';
    if (file)
        fclose(file);
    return count;
}

#define VERSION "version: 0.7.0 (build 11669, commit abc)"
#define HELP    "-c,    --ctx-size N   size"

static void start_with_engine(const char *engine)
{
    start();
    set(OPTION_STATE_DIR, in_directory("state"));
    if (engine)
        set(OPTION_ENGINE, engine);
}

static void test_options_are_asked_for_once(void **state)
{
    (void)state;
    write_engine(VERSION, HELP);
    for (unsigned round = 0; round < 3; round++) {
        start_with_engine(in_directory("llama-server"));
        assert_int_equal(flow_find_engine(&flow, true, NULL), DGO_OK);
        assert_true(flow.binary_found && flow.probed);
        assert_string_equal(flow.binary, in_directory("llama-server"));
        assert_int_equal(flow.rules.build, 11669);
        assert_true(dgo_probe_has(&flow.probe, "--ctx-size"));
        assert_int_equal(strlen(flow.binary_hash), 64);
        assert_int_equal(calls(), 2 + round); /* --version each time, --help the first */
        flow_done(&flow);
    }
    /* Another binary is another engine, whatever its name. */
    write_engine("version: 0.7.1 (build 11700, commit abc)", HELP);
    start_with_engine(in_directory("llama-server"));
    assert_int_equal(flow_find_engine(&flow, true, NULL), DGO_OK);
    assert_int_equal(flow.rules.build, 11700);
    assert_int_equal(calls(), 6);
    flow_done(&flow);
}

/* As packaged by Debian: the program is a stub, and what it can do lies in a library. */
static void test_an_upgrade_behind_the_same_binary(void **state)
{
    static const char *const versions[] = {VERSION, "version: 0.7.1 (build 11700, commit abc)"};
    static const char *const helps[] = {HELP, "--new-flag   a flag"};

    (void)state;
    write_file("llama-server", "#!/bin/sh\n. %s\n", in_directory("library"));
    for (int i = 0; i < 2; i++) {
        write_file("library", "case $1 in\n--version) echo '%s' >&2;;\n--help) echo '%s';;\nesac\n",
                   versions[i], helps[i]);
        start_with_engine(in_directory("llama-server"));
        assert_int_equal(flow_find_engine(&flow, true, NULL), DGO_OK);
        assert_int_equal(flow.rules.build, i ? 11700 : 11669);
        assert_true(dgo_probe_has(&flow.probe, i ? "--new-flag" : "--ctx-size"));
        flow_done(&flow);
    }
}

static const struct {
    const char *name, *text;
    uint32_t build; /* 0: refused */
} builds[] = {
    {"number", "10256", 10256},
    {"with b", "b10256", 10256},
    {"largest", "4294967295", UINT32_MAX},
    {"too large", "4294967296", 0},
    {"zero", "0", 0},
    {"a shallow clone's", "1", DGO_BUILD_UNSURE},
    {"only b", "b", 0},
    {"two b", "bb1", 0},
    {"word", "newest", 0},
    {"release", "0.7.0", 11669},
    {"release with a letter", "v0.5.0", 11146},
    {"release that is not known", "9.9.0", 0},
};

static void test_a_build_that_is_given(void **state)
{
    (void)state;
    write_engine(VERSION, HELP);
    for (size_t i = 0; i < sizeof builds / sizeof builds[0]; i++) {
        struct dgo_error err = {0};
        enum dgo_status status;

        start_with_engine(in_directory("llama-server"));
        set(OPTION_ENGINE_BUILD, builds[i].text);
        status = flow_find_engine(&flow, true, &err);
        CHECK_ROW((status == DGO_OK) == (builds[i].build != 0), builds[i].name);
        if (builds[i].build)
            CHECK_ROW_U64(flow.rules.build, builds[i].build, builds[i].name);
        else
            CHECK_ROW(status == DGO_EUSAGE && strstr(err.text, "--engine-build"), builds[i].name);
        flow_done(&flow);
    }
}

static void test_no_engine(void **state)
{
    struct dgo_error err = {0};

    (void)state;
    assert_int_equal(setenv("PATH", "/nonexistent", 1), 0);
    start_with_engine(NULL);
    assert_int_equal(flow_find_engine(&flow, false, &err), DGO_OK);
    assert_false(flow.binary_found || flow.probed);
    assert_int_equal(flow.rules.build, 0); /* the newest known */
    assert_int_equal(flow_find_engine(&flow, true, &err), DGO_ENOTFOUND);
    assert_non_null(strstr(err.text, "--engine PATH"));
    flow_done(&flow);
}

/* One that was named is wanted, also where none is needed. */
static void test_an_engine_that_is_not_there(void **state)
{
    static const bool needed[] = {false, true};

    (void)state;
    for (size_t i = 0; i < 2; i++) {
        struct dgo_error err = {0};

        start_with_engine(in_directory("llama-server"));
        assert_int_equal(flow_find_engine(&flow, needed[i], &err), DGO_ENOTFOUND);
        assert_non_null(strstr(err.text, "--engine"));
        assert_non_null(strstr(err.text, "llama-server"));
        flow_done(&flow);
    }
}

static void test_a_program_that_is_no_engine(void **state)
{
    struct dgo_error err = {0};

    (void)state;
    write_engine("hello", "usage: ask somebody else");
    start_with_engine(in_directory("llama-server"));
    assert_int_equal(flow_find_engine(&flow, true, &err), DGO_ECHILD);
    assert_non_null(strstr(err.text, "lists no options"));
    assert_string_equal(last_warning, "");
    assert_int_equal(flow_find_engine(&flow, false, &err), DGO_OK); /* a plan needs none */
    assert_false(flow.probed);
    assert_int_equal(flow.rules.build, 0);
    assert_non_null(strstr(last_warning, "newest known build"));
    flow_done(&flow);
}

/* The command shown must work from any folder. */
static void test_a_relative_path_is_made_whole(void **state)
{
    char before[512];

    (void)state;
    write_engine(VERSION, HELP);
    assert_non_null(getcwd(before, sizeof before));
    assert_int_equal(chdir(directory), 0);
    start_with_engine("./llama-server");
    assert_int_equal(flow_find_engine(&flow, true, NULL), DGO_OK);
    assert_int_equal(chdir(before), 0);
    assert_string_equal(flow.binary, in_directory("llama-server"));
    flow_done(&flow);
}

static void test_the_path_is_searched(void **state)
{
    static const struct {
        const char *name, *path;
        bool found;
    } rows[] = {
        {"there", "/nonexistent:%s:/usr/nonexistent", true},
        {"last", "/nonexistent:%s", true},
        {"empty entries mean here", "/nonexistent::/usr/nonexistent:", false},
        {"a dot", ".", false},
        {"relative", "../%.0s.", false},
        {"empty", "", false},
    };
    char before[512];

    (void)state;
    write_engine(VERSION, HELP);
    assert_non_null(getcwd(before, sizeof before));
    assert_int_equal(chdir(directory), 0); /* where an engine lies that must not be taken */
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char path[256];

        snprintf(path, sizeof path, rows[i].path, directory);
        assert_int_equal(setenv("PATH", path, 1), 0);
        start_with_engine(NULL);
        CHECK_ROW(flow_find_engine(&flow, false, NULL) == DGO_OK, rows[i].name);
        CHECK_ROW(flow.binary_found == rows[i].found, rows[i].name);
        CHECK_ROW(!rows[i].found || strcmp(flow.binary, in_directory("llama-server")) == 0,
                  rows[i].name);
        flow_done(&flow);
    }
    assert_int_equal(chdir(before), 0);
}

/* ---- several in a row ---- */

static void test_a_model_that_is_not_there_comes_first(void **state)
{
    struct dgo_error err = {0};

    (void)state;
    start();
    set(OPTION_GPUS, "/nonexistent/machine.yaml");
    assert_int_equal(flow_prepare(&flow, "/nonexistent/m.gguf", false, &err), DGO_ENOTFOUND);
    assert_non_null(strstr(err.text, "/nonexistent/m.gguf"));
    flow_done(&flow);
    flow_done(&flow); /* of an empty one */
}

#define IN_DIRECTORY(test) cmocka_unit_test_setup_teardown(test, make_directory, remove_directory)

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_gpu_lists),
    cmocka_unit_test(test_window),
    cmocka_unit_test(test_nothing_wished),
    cmocka_unit_test(test_everything_wished),
    cmocka_unit_test(test_words_with_a_meaning_of_their_own),
    cmocka_unit_test(test_a_bad_cache_type),
    cmocka_unit_test(test_shown_port),
    IN_DIRECTORY(test_options_are_asked_for_once),
    IN_DIRECTORY(test_an_upgrade_behind_the_same_binary),
    IN_DIRECTORY(test_a_build_that_is_given),
    IN_DIRECTORY(test_no_engine),
    IN_DIRECTORY(test_an_engine_that_is_not_there),
    IN_DIRECTORY(test_a_program_that_is_no_engine),
    IN_DIRECTORY(test_a_relative_path_is_made_whole),
    IN_DIRECTORY(test_the_path_is_searched),
    cmocka_unit_test(test_a_model_that_is_not_there_comes_first),
};

CHECK_MAIN(tests)
