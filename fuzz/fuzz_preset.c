/* fuzz_preset.c - any bytes as a preset's file: refused with a sentence, or a preset that can be
 * written, read back as the same, and applied. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "dgo_text.h"
#include "presets.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t length);

static void must(bool holds)
{
    if (!holds)
        abort();
}

static void check_same(const struct preset *a, const struct preset *b)
{
    must(strcmp(a->name, b->name) == 0 && strcmp(a->model, b->model) == 0);
    must(a->option_count == b->option_count && a->arg_count == b->arg_count);
    for (uint32_t i = 0; i < a->option_count; i++)
        must(a->option[i].id == b->option[i].id &&
             strcmp(a->option[i].text, b->option[i].text) == 0);
    for (uint32_t i = 0; i < a->arg_count; i++)
        must(strcmp(a->arg[i], b->arg[i]) == 0 && a->arg_list[i] == a->arg[i]);
}

static void use(const struct preset *preset)
{
    static char *const environment[] = {(char *)"HOME=/h", NULL};
    static char bytes[PRESET_BYTES_MAX];
    static struct preset back;
    struct dgo_text text = DGO_TEXT(bytes);
    struct dgo_error err = {0};
    struct options options;

    must(preset->model[0] != '\0');
    must(preset->option_count <= PRESET_OPTION_MAX && preset->arg_count <= PRESET_ARG_MAX);
    if (preset_text(preset, &text)) { /* longer is refused when it is written */
        must(preset_parse(preset->name, bytes, text.length, &back, &err) == DGO_OK);
        check_same(preset, &back);
    }
    must(options_init(&options, environment, NULL) == DGO_OK);
    must(preset_apply(preset, &options, &err) == DGO_OK);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t length)
{
    static struct preset preset;
    char *copy = malloc(length ? length : 1); /* exactly, for the sanitizer */
    struct dgo_error err = {0};

    if (copy) {
        if (length)
            memcpy(copy, data, length);
        if (preset_parse("chat", copy, length, &preset, &err) == DGO_OK)
            use(&preset);
        else
            must(err.status != DGO_OK && err.text[0] != '\0');
    }
    free(copy);
    return 0;
}
