/* test_import.c - files of other tools as presets: what is kept, what is told, what is refused. */
#include "check.h"
#include "dgo_text.h"
#include "import.h"

/* All that a reading handed out, a line each: "NAME: option=value ... | words" and "!sentence". */
struct told {
    struct dgo_text text;
    char bytes[1 << 16];
    uint32_t presets, lost;
};

static struct told told;

static void take_preset(const struct preset *preset, uint32_t line, void *data)
{
    struct dgo_text *text = &((struct told *)data)->text;

    (void)line;
    told.presets++;
    dgo_text_addf(text, "%s: %s", preset->name, preset->model);
    for (uint32_t i = 0; i < preset->option_count; i++)
        dgo_text_addf(text, " %s=%s", option_specs[preset->option[i].id].name,
                      preset->option[i].text);
    for (uint32_t i = 0; i < preset->arg_count; i++)
        dgo_text_addf(text, "%s%s", i ? " " : " | ", preset->arg[i]);
    dgo_text_add(text, "\n");
}

static void take_note(const char *entry, uint32_t line, bool lost, const char *sentence, void *data)
{
    struct dgo_text *text = &((struct told *)data)->text;

    told.lost += lost;
    if (!strstr(sentence, "cannot be read here")) /* no model is there in this test */
        dgo_text_addf(text, "!%s:%u: %s\n", entry, (unsigned)line, sentence);
}

static enum dgo_status read_text(enum import_kind kind, const char *text, size_t length,
                                 struct dgo_error *err)
{
    static char *environment[] = {NULL};
    const struct import_call call = {.kind = kind,
                                     .text = text,
                                     .length = length,
                                     .folder = "/f",
                                     .environment = environment,
                                     .preset = take_preset,
                                     .note = take_note,
                                     .data = &told};

    told = (struct told){0};
    told.text = DGO_TEXT(told.bytes);
    return import_read(&call, err);
}

static void test_ini(void **state)
{
    static const struct {
        const char *name, *text, *want;
    } rows[] = {
        {"a section", "[m]\nmodel = /a.gguf\nctx-size = 4096\n", "m: /a.gguf ctx=4096\n"},
        {"for all, but for who says it himself",
         "[*]\nctx-size = 1024\n[a]\nmodel=/a\n[b]\nmodel=/b\nctx-size=2048\n",
         "a: /a ctx=1024\nb: /b ctx=2048\n"},
        {"for all, behind the others", "[a]\nmodel=/a\n[*]\nbatch-size = 64\n", "a: /a batch=64\n"},
        {"blanks, comments, ends of lines of another system",
         "; one\r\n  # two\r\n\r\n [ m ] \r\n\tmodel = /a b.gguf \r\n", "m: /a b.gguf\n"},
        {"no end of line at the end", "[m]\nmodel = /a", "m: /a\n"},
        {"a value with marks in it", "[m]\nmodel = /a=b]c;d\n", "m: /a=b]c;d\n"},
        {"a switch, on and off", "[m]\nmodel=/a\nmlock = true\nmmap = off\n",
         "m: /a | --mlock --no-mmap\n"},
        {"a switch that is neither", "[m]\nmodel=/a\nmlock = perhaps\n",
         "!m:3: not kept: mlock = perhaps\nm: /a\n"},
        {"what is the router's", "[m]\nmodel=/a\nstop-timeout = 3\n",
         "!m:3: not kept: stop-timeout, which is the router's\nm: /a\n"},
        {"what nobody knows", "[m]\nmodel=/a\nfrobnicate = 3\n",
         "!m:3: not kept: frobnicate is no flag of llama-server known here\nm: /a\n"},
        {"no count", "[m]\nmodel=/a\nctx-size = -7\n",
         "!m:3: not kept: --ctx-size '-7' is no count\nm: /a\n"},
        {"no model", "[m]\nctx-size = 1\n", "!m:1: it names no model file\n"},
        {"from elsewhere", "[m]\nhf-repo = a/b\n",
         "!m:2: --hf-repo a/b: the engine would fetch the model; fetch it once and give its path "
         "with -m\n"},
        {"a name that is none", "[///]\nmodel=/a\n",
         "!///:1: its name has no letter or digit that a file's name takes\n"},
        {"letters that would drive a terminal", "[m\033[31m]\nmodel=/a\nx\033 = 1\n",
         "!m\\x1b[31m:1: the preset is called m--31m\n"
         "!m\\x1b[31m:3: not kept: x\\x1b is no flag of llama-server known here\nm--31m: /a\n"},
        {"two sections of a name: both lines in each", "[m]\nmodel=/a\n[m]\nbatch-size = 8\n",
         "m: /a batch=8\nm: /a batch=8\n"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct dgo_error err = {0};
        const enum dgo_status status =
            read_text(IMPORT_LLAMA_PRESET, rows[i].text, strlen(rows[i].text), &err);

        CHECK_ROW_U64(status, DGO_OK, rows[i].name);
        if (strcmp(told.bytes, rows[i].want) != 0)
            print_error("row \"%s\" gave:\n%s", rows[i].name, told.bytes);
        CHECK_ROW(strcmp(told.bytes, rows[i].want) == 0, rows[i].name);
    }
}

static void test_no_ini(void **state)
{
    static const struct {
        const char *name, *text, *sentence;
    } rows[] = {
        {"nothing", "", "it has no [section]"},
        {"comments", "; a\n# b\n", "it has no [section]"},
        {"keys before any section", "model = /a\n", "it has no [section]"},
        {"a section half written", "[m]\nmodel = /a\n[n", "line 3: neither [name] nor key = value"},
        {"a line half written", "[m]\nmodel = /a\nctx-si", "line 3: neither [name]"},
        {"a section without a name", "[]\n", "line 1: neither [name]"},
        {"a value without a key", "[m]\n\n= 4\n", "line 3: neither [name]"},
        {"another kind of file", "models:\n  a:\n    cmd: x\n", "line 1: neither [name]"},
    };
    static char longer[5000];
    struct dgo_error err = {0};

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        CHECK_ROW(read_text(IMPORT_LLAMA_PRESET, rows[i].text, strlen(rows[i].text), &err) ==
                      DGO_EFORMAT,
                  rows[i].name);
        CHECK_ROW(strncmp(err.text, rows[i].sentence, strlen(rows[i].sentence)) == 0, err.text);
        CHECK_ROW(told.presets == 0, rows[i].name);
    }
    assert_int_equal(read_text(IMPORT_LLAMA_PRESET, "[m]\n\0", 5, &err), DGO_EFORMAT);
    assert_string_equal(err.text, "it holds a NUL byte: no text");
    memset(longer, 'x', sizeof longer - 1);
    memcpy(longer, "[m]\nmodel = ", 12);
    assert_int_equal(read_text(IMPORT_LLAMA_PRESET, longer, strlen(longer), &err), DGO_EFORMAT);
    assert_string_equal(err.text, "line 2: neither [name] nor key = value, or too long");
}

/* As many lines, sections and lines for all as there may be; with one more it is refused. */
static void test_ini_has_bounds(void **state)
{
    static const struct {
        const char *name;
        uint32_t common, sections, lines;
        enum dgo_status want;
    } rows[] = {
        {"all there may be", 63, IMPORT_ENTRY_MAX - 1, 2048, DGO_OK},
        {"too much for all", 64, 1, 80, DGO_ELIMIT},
        {"too many sections", 0, IMPORT_ENTRY_MAX, 600, DGO_ELIMIT},
        {"too many lines", 0, 1, 2049, DGO_ELIMIT},
    };
    static char bytes[IMPORT_BYTES_MAX];

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct dgo_text text = DGO_TEXT(bytes);
        struct dgo_error err = {0};
        uint32_t lines = 1 + rows[i].common;

        dgo_text_add(&text, "[*]\n");
        for (uint32_t c = 0; c < rows[i].common; c++)
            dgo_text_addf(&text, "k%u = 1\n", (unsigned)c);
        for (uint32_t s = 0; s < rows[i].sections; s++, lines++)
            dgo_text_addf(&text, "[m%u]\n", (unsigned)s);
        for (; lines < rows[i].lines; lines++)
            dgo_text_add(&text, "model = /a\n");
        while (!text.truncated) /* the rest says nothing, and must cost nothing */
            dgo_text_add(&text, ";\n");
        CHECK_ROW_U64(read_text(IMPORT_LLAMA_PRESET, bytes, strlen(bytes), &err), rows[i].want,
                      rows[i].name);
        CHECK_ROW_U64(told.presets, rows[i].want == DGO_OK ? 1 : 0, rows[i].name);
        CHECK_ROW_U64(told.lost, rows[i].want == DGO_OK ? rows[i].sections - 1 : 0, rows[i].name);
    }
}

static void test_commands(void **state)
{
    static const struct {
        const char *name, *command, *want;
    } rows[] = {
        {"relative paths", "llama-server -m ./m/a.gguf",
         "!a:3: the model's path is relative and taken from the file's folder: /f/m/a.gguf\n"
         "a: /f/m/a.gguf\n"},
        {"variables first",
         "env CUDA_DEVICE_ORDER=PCI_BUS_ID CUDA_VISIBLE_DEVICES=2,1 SECRET=x "
         "/opt/llama-server-cuda -m /a -dev CUDA1,CUDA0",
         "!a:3: not kept: the variable SECRET; set it where dualgpuopt is started\n"
         "a: /a engine=/opt/llama-server-cuda use=1,2\n"},
        {"a card that is hidden", "env CUDA_VISIBLE_DEVICES=0 llama-server -m /a -dev CUDA3",
         "!a:2: not kept: the cards, of which -dev names one that the environment hides\na: /a\n"},
        {"cards that are none", "llama-server -m /a -dev 0,CUDA1 ",
         "!a:3: not kept: -dev 0,CUDA1; name the cards with --use\na: /a\n"},
        {"a flag without its value", "llama-server -m", "!a:3: -m needs a value\n"},
        {"an old -fa", "llama-server -fa -m /a", "a: /a\n"},
        {"-fa off", "llama-server -fa off -m /a", "a: /a no-flash-attention=true\n"},
        {"context of all slots", "llama-server -m /a -c 8192 -np 4", "a: /a parallel=4 ctx=2048\n"},
        {"shares", "llama-server -m /a -ts 3,1 -ngl 99",
         "!a:2: planned anew: -ts 3,1, -ngl 99\na: /a spread=true\n"},
        {"two types of cache", "llama-server -m /a -ctk q8_0",
         "!a:2: keys are q8_0 and values f16 there; a plan has one type: q8_0 for both\n"
         "a: /a kv-type=q8_0\n"},
        {"a word that is no flag", "llama-server -m /a --shiny 1",
         "!a:3: --shiny is no flag of llama-server that is known here; kept as it stands\n"
         "a: /a | --shiny 1\n"},
        {"vllm", "vllm serve /m -tp 2 --max-model-len 4096 --enforce-eager",
         "a: /m engine=vllm tp=2 ctx=4096 | --enforce-eager\n"},
        {"vllm, a flag at the end", "vllm serve /m -tp", "a: /m engine=vllm | -tp\n"},
        {"another engine", "ollama serve",
         "!a:3: the flags of ollama are not read; keep it with `presets save NAME MODEL --engine "
         "ollama`\n"},
        {"a container", "docker run x",
         "!a:3: its command starts docker, which is no engine known here (containers and scripts "
         "are not looked into)\n"},
        {"only variables", "env A=1",
         "!a:3: not kept: the variable A; set it where dualgpuopt is "
         "started\n!a:3: its command is empty\n"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct dgo_error err = {0};
        char yaml[1024];
        const int length =
            snprintf(yaml, sizeof yaml, "models:\n  a:\n    cmd: \"%s\"\n", rows[i].command);

        CHECK_ROW_U64(read_text(IMPORT_LLAMA_SWAP, yaml, (size_t)length, &err), DGO_OK,
                      rows[i].name);
        if (strncmp(told.bytes, rows[i].want, strlen(rows[i].want)) != 0)
            print_error("row \"%s\" gave:\n%s", rows[i].name, told.bytes);
        CHECK_ROW(strncmp(told.bytes, rows[i].want, strlen(rows[i].want)) == 0, rows[i].name);
    }
}

/* Lists where llama-swap has maps. */
static void test_lists_for_maps(void **state)
{
    static const char model[] = "models:\n  a: [{cmd: llama-server -m /a}]\n";
    static const char macros[] = "macros: [{m: /a}]\nmodels: {a: {cmd: 'llama-server -m ${m}'}}\n";
    struct dgo_error err = {0};

    (void)state;
    assert_int_equal(read_text(IMPORT_LLAMA_SWAP, model, strlen(model), &err), DGO_OK);
    assert_non_null(strstr(told.bytes, "a model is a map with cmd"));
    assert_int_equal(told.presets, 0);
    assert_int_equal(read_text(IMPORT_LLAMA_SWAP, macros, strlen(macros), &err), DGO_OK);
    assert_int_equal(told.presets, 0);
}

/* More words than a preset holds, and one that is too long: nothing is cut in silence. */
static void test_a_command_has_bounds(void **state)
{
    static char yaml[1 << 16];
    struct dgo_text text = DGO_TEXT(yaml);
    struct dgo_error err = {0};

    (void)state;
    dgo_text_add(&text, "models:\n  a:\n    cmd: llama-server -m /a");
    for (int i = 0; i <= PRESET_ARG_MAX; i++)
        dgo_text_add(&text, " --mlock");
    dgo_text_add(&text, "\n");
    assert_int_equal(read_text(IMPORT_LLAMA_SWAP, yaml, text.length, &err), DGO_OK);
    assert_int_equal(told.presets, 0);
    assert_int_equal(told.lost, 1);
    assert_non_null(strstr(told.bytes, "words for the engine, or one of more than"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ini),
        cmocka_unit_test(test_no_ini),
        cmocka_unit_test(test_ini_has_bounds),
        cmocka_unit_test(test_commands),
        cmocka_unit_test(test_lists_for_maps),
        cmocka_unit_test(test_a_command_has_bounds),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
