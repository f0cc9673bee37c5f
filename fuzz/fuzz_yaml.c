/* fuzz_yaml.c - any bytes as a machine file or as the configuration.  The first byte chooses ('m':
 * a machine).  A configuration that is accepted is edited: what comes out is refused, or says the
 * new value and all the old ones. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "config_internal.h"
#include "machine_file.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t length);

static void must(bool holds)
{
    if (!holds)
        abort();
}

static void check_tree(const struct yaml_node *node, size_t length, uint32_t depth)
{
    must(depth <= YAML_DEPTH_MAX && node->line > 0 && node->column > 0);
    must(node->at <= node->end && node->end <= length);
    must(node->kind != YAML_SCALAR || (node->text && node->raw));
    for (const struct yaml_node *child = node->first; child; child = child->next) {
        must(!child->key || (child->key_at <= child->key_end && child->key_end <= child->at));
        check_tree(child, length, depth + 1);
    }
}

static void read_machine(const char *bytes, size_t length)
{
    static struct dgo_machine machine;
    struct dgo_error err = {0};

    if (gpu_machine_parse(bytes, length, &machine, &err) == DGO_OK)
        must(machine.gpu_count > 0 && machine.gpu_count <= DGO_GPU_MAX);
    else
        must(err.text[0] != '\0');
}

static void edit(const struct options *given, char *const *environment, const struct config *before,
                 const char *bytes, size_t length)
{
    static const char *const value[] = {"12345"};
    const struct config *after = NULL;
    struct dgo_error err = {0};
    char *made = NULL;
    size_t made_length = 0;

    if (config_edit(bytes, length, "ctx", value, 1, &made, &made_length, &err) != DGO_OK) {
        must(err.text[0] != '\0');
        return;
    }
    if (config_parse(given, environment, made, made_length, &after, &err) == DGO_OK) {
        must(option_number(&after->options, OPTION_CTX) == 12345);
        for (unsigned i = 0; i < OPTION_COUNT; i++)
            must(i == OPTION_CTX ||
                 (after->options.value[i].given == before->options.value[i].given &&
                  after->options.value[i].number == before->options.value[i].number));
        for (unsigned i = 0; i < SETTING_COUNT; i++)
            must(after->setting[i].number == before->setting[i].number);
        must(after->folders.count == before->folders.count);
    }
    config_unref(after);
    free(made);
}

static void read_config(const char *bytes, size_t length)
{
    static char *const environment[] = {(char *)"HOME=/h", NULL};
    struct dgo_arena arena = {.limit_bytes = YAML_MEMORY_MAX};
    const struct yaml_node *root = NULL;
    const struct config *config = NULL;
    struct options given;
    struct dgo_error err = {0};

    if (yaml_tree_parse_any(bytes, length, &arena, &root, &err) == DGO_OK && root)
        check_tree(root, length, 1);
    dgo_arena_done(&arena);
    must(options_init(&given, environment, NULL) == DGO_OK);
    if (config_parse(&given, environment, bytes, length, &config, &err) == DGO_OK)
        edit(&given, environment, config, bytes, length);
    else
        must(err.text[0] != '\0');
    config_unref(config);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t length)
{
    char *bytes = length > 1 ? malloc(length - 1) : NULL; /* exactly, for the sanitizer */

    if (!bytes)
        return 0;
    memcpy(bytes, data + 1, length - 1);
    if (data[0] == 'm')
        read_machine(bytes, length - 1);
    else
        read_config(bytes, length - 1);
    free(bytes);
    return 0;
}
