/* fuzz_line.c - any bytes as what an engine or a person writes: log lines, --help, --list-devices,
 * and flags.  The first byte chooses; each reader gets a copy of exactly its length. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "dgo_arena.h"
#include "dgo_engine.h"

enum { WORDS_MAX = 64 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t length);

static void must(bool holds)
{
    if (!holds)
        abort();
}

static bool is_text(const char *text, size_t size)
{
    return strnlen(text, size) < size;
}

static void read_log(const struct dgo_engine *engine, const char *text, size_t length)
{
    static struct dgo_report report;
    char sentence[2048];
    struct dgo_text explained = DGO_TEXT(sentence);

    memset(&report, 0, sizeof report);
    for (size_t at = 0; at < length;) {
        const char *end = memchr(text + at, '\n', length - at);
        const size_t line = end ? (size_t)(end - text) - at : length - at;
        char *copy = malloc(line ? line : 1);

        if (!copy)
            return;
        memcpy(copy, text + at, line);
        engine->read_line(&report, copy, line);
        free(copy);
        at += line + 1;
    }
    must(report.device_count <= sizeof report.device / sizeof report.device[0]);
    for (uint32_t d = 0; d < report.device_count; d++)
        must(is_text(report.device[d].name, sizeof report.device[d].name));
    must(is_text(report.trouble_line, sizeof report.trouble_line));
    must(is_text(report.trouble_device, sizeof report.trouble_device));
    dgo_report_explain(&report, NULL, &explained);
    must((report.trouble == DGO_TROUBLE_NONE) == (sentence[0] == '\0'));
}

static void read_help(const struct dgo_engine *engine, const char *text)
{
    static struct dgo_probe probe;

    engine->read_probe(&probe, text, text);
    must(probe.flag_count <= DGO_FLAG_MAX);
    for (uint32_t i = 0; i < probe.flag_count; i++)
        must(dgo_probe_has(&probe, probe.flag[i]));
}

static void read_devices(const struct dgo_engine *engine, const char *text)
{
    struct dgo_engine_device devices[4];
    const uint32_t count = engine->read_devices(devices, 4, text);

    must(count <= 4);
    for (uint32_t i = 0; i < count; i++)
        must(devices[i].name[0] && is_text(devices[i].name, sizeof devices[i].name));
}

/* What is split must come back from its quotation; what is read must be usable. */
static void read_flags(const struct dgo_engine *engine, const char *text, size_t length)
{
    static struct dgo_machine machine = {.gpu_count = 2};
    static struct dgo_model model = {.layer_count = 32, .context_length = 4096};
    struct dgo_arena arena = {0};
    static struct dgo_flags flags;
    const struct dgo_settings *settings = &flags.settings;
    struct dgo_error err = {0};
    const char *words[WORDS_MAX], *again[WORDS_MAX];
    uint32_t count = 0, again_count = 0;
    char *line = malloc(length * 5 + WORDS_MAX * 4);

    if (line && dgo_words_split(text, &arena, &count, words, WORDS_MAX, NULL) == DGO_OK) {
        struct dgo_text quoted = {.data = line, .size = length * 5 + WORDS_MAX * 4};

        dgo_text_clear(&quoted);
        for (uint32_t i = 0; i < count; i++) {
            dgo_text_add(&quoted, " ");
            dgo_word_quote(&quoted, words[i]);
        }
        must(!quoted.truncated);
        must(dgo_words_split(line, &arena, &again_count, again, WORDS_MAX, NULL) == DGO_OK);
        must(again_count == count);
        for (uint32_t i = 0; i < count; i++)
            must(strcmp(words[i], again[i]) == 0);
        if (engine->read_flags(
                &(struct dgo_flag_source){
                    .machine = &machine, .model = &model, .args = words, .arg_count = count},
                &flags, &err) == DGO_OK)
            must(settings->ctx_tokens && settings->slot_count && settings->ubatch_tokens &&
                 settings->device_count <= 2 && settings->gpu_layer_count <= 33 &&
                 settings->override_count <= DGO_OVERRIDE_MAX);
        else
            must(err.text[0] != '\0');
    }
    free(line);
    dgo_arena_done(&arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t length)
{
    const struct dgo_engine *engine = dgo_engines[0];
    char *text = length ? malloc(length) : NULL;

    if (!text)
        return 0;
    memcpy(text, data + 1, length - 1);
    text[length - 1] = '\0';
    switch (data[0]) {
    case 'h':
        read_help(engine, text);
        break;
    case 'd':
        read_devices(engine, text);
        break;
    case 'f':
        read_flags(engine, text, length);
        break;
    default:
        read_log(engine, text, length - 1);
    }
    free(text);
    return 0;
}
