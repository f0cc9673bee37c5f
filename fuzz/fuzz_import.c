/* fuzz_import.c - files of llama-swap and llama.cpp: whatever stands in them, a preset that comes
 * out is one that can be written and read back, and no file gives presets without end. A file that
 * begins with ";" or "[" is read as llama.cpp's. */
#include "dgo_text.h"
#include "import.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What becomes a key and names of the configuration. */
static void check_group(const struct import_group *group, uint32_t line, void *data)
{
    (void)line;
    (void)data;
    if (preset_check_name(group->name, NULL) != DGO_OK || strchr(group->name, '.') ||
        group->member_count == 0 || group->member_count > IMPORT_MEMBER_MAX)
        abort();
    for (uint32_t i = 0; i < group->member_count; i++)
        if (preset_check_name(group->member[i], NULL) != DGO_OK)
            abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_preset(const struct preset *preset, uint32_t line, void *data)
{
    static char bytes[PRESET_BYTES_MAX];
    static struct preset back;
    struct dgo_text text = DGO_TEXT(bytes);
    struct dgo_error err = {0};
    uint32_t *count = data;

    (void)line;
    if (++*count > IMPORT_ENTRY_MAX || preset_check_name(preset->name, &err) != DGO_OK ||
        preset->model[0] != '/')
        abort();
    if (preset_text(preset, &text) && /* longer is refused when it is written */
        preset_parse(preset->name, bytes, text.length, &back, &err) == DGO_OK &&
        (back.arg_count != preset->arg_count || back.option_count != preset->option_count ||
         strcmp(back.model, preset->model) != 0))
        abort();
}

/* What is told reaches a terminal. */
static void check_note(const char *entry, uint32_t line, bool lost, const char *sentence,
                       void *data)
{
    (void)line;
    (void)lost;
    (void)data;
    if (!sentence[0] || strpbrk(sentence, "\033\n\r") || strpbrk(entry, "\033\n\r"))
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static char home[] = "HOME=/home/someone";
    static char *environment[] = {home, NULL};
    struct dgo_error err = {0};
    uint32_t count = 0;
    char *text = malloc(size + 1);

    if (!text)
        return 0;
    memcpy(text, data, size);
    text[size] = '\0';
    (void)!import_read(&(struct import_call){.kind = text[0] == ';' || text[0] == '['
                                                         ? IMPORT_LLAMA_PRESET
                                                         : IMPORT_LLAMA_SWAP,
                                             .text = text,
                                             .length = size,
                                             .folder = "/somewhere",
                                             .environment = environment,
                                             .preset = check_preset,
                                             .note = check_note,
                                             .group = check_group,
                                             .data = &count},
                       &err);
    free(text);
    return 0;
}
