/* machine_file.c - a machine that a file describes, so that a plan can be made for hardware that is
 * not here. */
#include "machine_file.h"

#include "dgo_text.h"
#include "dgo_units.h"
#include "driver.h"
#include "yaml_tree.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

struct loader {
    struct dgo_machine *machine;
    struct dgo_gpu *gpu; /* whose keys are being read; NULL outside of gpus */
    struct dgo_error *err;
};

/* How a value is written and stored. */
enum value_kind {
    VALUE_TEXT,  /* char [size] */
    VALUE_MIB,   /* uint64_t bytes */
    VALUE_RATE,  /* double, GB/s or TFLOPS times `scale` */
    VALUE_COUNT, /* uint32_t */
    VALUE_BOOL,  /* bool */
    VALUE_OWN,   /* by `read` */
};

struct rule {
    const char *key;
    enum value_kind kind;
    bool required;
    size_t at, size; /* in the struct that the map fills */
    double least, most, scale;
    int field; /* enum dgo_gpu_field whose bit is set, -1 none */
    enum dgo_status (*read)(struct loader *loader, const struct yaml_node *node, void *into);
};

struct rules {
    const char *what; /* "a GPU" */
    const struct rule *rule;
    size_t count;
};

static enum dgo_status fail_at(struct loader *loader, uint32_t line, uint32_t column,
                               const char *fmt, ...) DGO_PRINTF(4, 5);
static enum dgo_status fail_at(struct loader *loader, uint32_t line, uint32_t column,
                               const char *fmt, ...)
{
    char what[400];
    va_list args;

    va_start(args, fmt);
    vsnprintf(what, sizeof what, fmt, args);
    va_end(args);
    return dgo_fail(loader->err, DGO_EFORMAT, "line %" PRIu32 ", column %" PRIu32 ": %s", line,
                    column, what);
}

/* ---- did you mean -------------------------------------------------------------------------- */

enum { KEY_MAX = 32 };

/* Levenshtein distance of two short words. */
static size_t distance(const char *a, const char *b)
{
    const size_t a_length = strlen(a), b_length = strlen(b);
    size_t row[KEY_MAX + 1];

    if (a_length > KEY_MAX || b_length > KEY_MAX)
        return KEY_MAX;
    for (size_t j = 0; j <= b_length; j++)
        row[j] = j;
    for (size_t i = 1; i <= a_length; i++) {
        size_t diagonal = row[0];

        row[0] = i;
        for (size_t j = 1; j <= b_length; j++) {
            const size_t changed = diagonal + (a[i - 1] != b[j - 1]);
            size_t best = row[j] + 1;

            diagonal = row[j];
            if (row[j - 1] + 1 < best)
                best = row[j - 1] + 1;
            row[j] = changed < best ? changed : best;
        }
    }
    return row[b_length];
}

static const char *nearest(const struct rules *rules, const char *key)
{
    const char *best = NULL;
    size_t best_distance = strlen(key) / 3 + 2;

    for (size_t i = 0; i < rules->count; i++) {
        const char *known = rules->rule[i].key;
        const size_t length = strlen(key);
        size_t d = distance(key, known);

        if (length >= 3 && strncmp(key, known, length) == 0)
            d = 1; /* "total" for "total_mib" */
        if (d < best_distance) {
            best = known;
            best_distance = d;
        }
    }
    return best;
}

static enum dgo_status fail_unknown_key(struct loader *loader, const struct rules *rules,
                                        const struct yaml_node *child)
{
    const char *meant = nearest(rules, child->key);
    char known[200];
    struct dgo_text text = DGO_TEXT(known);

    if (meant)
        return fail_at(loader, child->key_line, child->key_column,
                       "unknown key '%.40s' of %s; did you mean '%s'?", child->key, rules->what,
                       meant);
    for (size_t i = 0; i < rules->count; i++)
        dgo_text_addf(&text, "%s%s", i ? ", " : "", rules->rule[i].key);
    return fail_at(loader, child->key_line, child->key_column,
                   "unknown key '%.40s' of %s; known are %s", child->key, rules->what, known);
}

/* ---- values -------------------------------------------------------------------------------- */

/* Digits with at most one point: no sign, no exponent, no ".nan", no "1_000", no hexadecimal. */
static bool parse_number(const struct yaml_node *node, double *value)
{
    const char *text = node->text;
    size_t digits = strspn(text, "0123456789");
    size_t length = digits;

    if (text[length] == '.') {
        const size_t more = strspn(text + length + 1, "0123456789");

        digits += more;
        length += more + 1;
    }
    if (node->quoted || digits == 0 || digits > 18 || text[length] != '\0')
        return false;
    *value = strtod(text, NULL);
    return isfinite(*value);
}

static enum dgo_status read_number(struct loader *loader, const struct rule *rule,
                                   const struct yaml_node *node, double *value)
{
    const bool whole = rule->kind == VALUE_COUNT;

    if (node->kind == YAML_SCALAR && node->text[0] == '-' && !node->quoted)
        return fail_at(loader, node->line, node->column, "%s must not be negative, but is %.40s",
                       rule->key, node->text);
    if (node->kind != YAML_SCALAR || !parse_number(node, value) ||
        (whole && trunc(*value) != *value))
        return fail_at(loader, node->line, node->column, "%s must be a %s like %.0f, not %s%.40s%s",
                       rule->key, whole ? "whole number" : "number", fmax(rule->least, 1),
                       node->kind == YAML_SCALAR ? "'" : "",
                       node->kind == YAML_SCALAR ? node->text : "a list or a map",
                       node->kind == YAML_SCALAR ? "'" : "");
    if (*value < rule->least || *value > rule->most)
        return fail_at(loader, node->line, node->column,
                       "%s must lie within %.10g and %.10g, but is %.40s", rule->key, rule->least,
                       rule->most, node->text);
    return DGO_OK;
}

static enum dgo_status read_text(struct loader *loader, const struct rule *rule,
                                 const struct yaml_node *node, char *into)
{
    if (node->kind != YAML_SCALAR || node->text[0] == '\0')
        return fail_at(loader, node->line, node->column, "%s must be text", rule->key);
    if (!dgo_text_copy(into, rule->size, node->text))
        return fail_at(loader, node->line, node->column, "%s is longer than %zu bytes", rule->key,
                       rule->size - 1);
    return DGO_OK;
}

static enum dgo_status read_bool(struct loader *loader, const struct rule *rule,
                                 const struct yaml_node *node, bool *into)
{
    const bool is_true = node->kind == YAML_SCALAR && strcmp(node->text, "true") == 0;
    const bool is_false = node->kind == YAML_SCALAR && strcmp(node->text, "false") == 0;

    if (node->quoted || is_true == is_false)
        return fail_at(loader, node->line, node->column, "%s must be true or false, not '%.40s'",
                       rule->key, node->kind == YAML_SCALAR ? node->text : "a list or a map");
    *into = is_true;
    return DGO_OK;
}

static enum dgo_status read_value(struct loader *loader, const struct rule *rule,
                                  const struct yaml_node *node, void *into)
{
    void *const place = (char *)into + rule->at;
    enum dgo_status status;
    double number = 0;

    switch (rule->kind) {
    case VALUE_OWN:
        return rule->read(loader, node, into);
    case VALUE_TEXT:
        return read_text(loader, rule, node, place);
    case VALUE_BOOL:
        return read_bool(loader, rule, node, place);
    case VALUE_MIB:
    case VALUE_RATE:
    case VALUE_COUNT:
        break;
    }
    status = read_number(loader, rule, node, &number);
    if (status != DGO_OK)
        return status;
    if (rule->kind == VALUE_MIB)
        *(uint64_t *)place = (uint64_t)(number * (double)DGO_MIB + 0.5);
    else if (rule->kind == VALUE_RATE)
        *(double *)place = number * rule->scale;
    else
        *(uint32_t *)place = (uint32_t)number;
    if (rule->field >= 0 && loader->gpu)
        loader->gpu->known |= UINT64_C(1) << rule->field;
    return DGO_OK;
}

static const struct rule *find_rule(const struct rules *rules, const char *key)
{
    for (size_t i = 0; i < rules->count; i++)
        if (strcmp(rules->rule[i].key, key) == 0)
            return &rules->rule[i];
    return NULL;
}

static enum dgo_status read_map(struct loader *loader, const struct rules *rules,
                                const struct yaml_node *map, void *into)
{
    if (map->kind != YAML_MAP)
        return fail_at(loader, map->line, map->column, "%s must be a map like {%s: ...}",
                       rules->what, rules->rule[0].key);
    for (const struct yaml_node *child = map->first; child; child = child->next) {
        const struct rule *rule = find_rule(rules, child->key);
        enum dgo_status status;

        if (!rule)
            return fail_unknown_key(loader, rules, child);
        status = read_value(loader, rule, child, into);
        if (status != DGO_OK)
            return status;
    }
    for (size_t i = 0; i < rules->count; i++)
        if (rules->rule[i].required && !yaml_child(map, rules->rule[i].key))
            return fail_at(loader, map->line, map->column, "%s needs the key '%s'", rules->what,
                           rules->rule[i].key);
    return DGO_OK;
}

/* ---- a GPU --------------------------------------------------------------------------------- */

#define IN(type, member) .at = offsetof(type, member), .size = sizeof(((type *)0)->member)

static enum dgo_status read_pcie(struct loader *loader, const struct yaml_node *node, void *into)
{
    static const struct rule rule[] = {
        {"gen", VALUE_COUNT, true, IN(struct dgo_gpu, pcie_gen_max), .least = 1, .most = 7,
         .field = DGO_GPU_PCIE_GEN_MAX},
        {"width", VALUE_COUNT, true, IN(struct dgo_gpu, pcie_width_max), .least = 1, .most = 32,
         .field = DGO_GPU_PCIE_WIDTH_MAX},
    };
    static const struct rules rules = {"pcie", rule, sizeof rule / sizeof rule[0]};
    struct dgo_gpu *gpu = into;
    const enum dgo_status status = read_map(loader, &rules, node, gpu);

    if (status != DGO_OK)
        return status;
    GPU_SET(gpu, PCIE_GEN, pcie_gen, gpu->pcie_gen_max);
    GPU_SET(gpu, PCIE_WIDTH, pcie_width, gpu->pcie_width_max);
    return DGO_OK;
}

/* "8.6", quoted or not */
static enum dgo_status read_compute(struct loader *loader, const struct yaml_node *node, void *into)
{
    struct dgo_gpu *gpu = into;
    unsigned major = 0, minor = 0;
    int used = 0;

    if (node->kind != YAML_SCALAR || strspn(node->text, "0123456789.") != strlen(node->text) ||
        sscanf(node->text, "%2u.%2u%n", &major, &minor, &used) != 2 || node->text[used] != '\0')
        return fail_at(loader, node->line, node->column,
                       "compute must be a capability like \"8.6\"");
    GPU_SET(gpu, COMPUTE_MAJOR, compute_major, major);
    GPU_SET(gpu, COMPUTE_MINOR, compute_minor, minor);
    return DGO_OK;
}

static enum dgo_status read_pci_id(struct loader *loader, const struct yaml_node *node, void *into)
{
    struct dgo_gpu *gpu = into;

    if (node->kind != YAML_SCALAR || !gpu_pci_normalise(node->text, gpu->pci_id))
        return fail_at(loader, node->line, node->column,
                       "pci_id must be a PCI address like \"0000:01:00.0\"");
    return DGO_OK;
}

/* 16 TiB is beyond any card; it keeps sums of 16 cards far from overflow. */
#define MIB_MOST 16777216

static const struct rule gpu_rule[] = {
    {"name", VALUE_TEXT, true, IN(struct dgo_gpu, name), .field = -1},
    {"total_mib", VALUE_MIB, true, IN(struct dgo_gpu, total_bytes), .least = 1, .most = MIB_MOST,
     .field = DGO_GPU_TOTAL_BYTES},
    {"free_mib", VALUE_MIB, true, IN(struct dgo_gpu, free_bytes), .most = MIB_MOST,
     .field = DGO_GPU_FREE_BYTES},
    {"used_mib", VALUE_MIB, false, IN(struct dgo_gpu, used_bytes), .most = MIB_MOST,
     .field = DGO_GPU_USED_BYTES},
    {"reserved_mib", VALUE_MIB, false, IN(struct dgo_gpu, reserved_bytes), .most = MIB_MOST,
     .field = DGO_GPU_RESERVED_BYTES},
    {"uuid", VALUE_TEXT, false, IN(struct dgo_gpu, uuid), .field = -1},
    {"pci_id", VALUE_OWN, .field = -1, .read = read_pci_id},
    {"bandwidth_gbs", VALUE_RATE, false, IN(struct dgo_gpu, bandwidth_bytes_per_s), .least = 1,
     .most = 100000, .scale = 1e9, .field = DGO_GPU_BANDWIDTH_BYTES_PER_S},
    {"fp16_tflops", VALUE_RATE, false, IN(struct dgo_gpu, fp16_flops), .least = 0.01,
     .most = 100000, .scale = 1e12, .field = DGO_GPU_FP16_FLOPS},
    {"pcie", VALUE_OWN, .field = -1, .read = read_pcie},
    {"compute", VALUE_OWN, .field = -1, .read = read_compute},
};
static const struct rules gpu_rules = {"a GPU", gpu_rule, sizeof gpu_rule / sizeof gpu_rule[0]};

/* Used and reserved follow from the others as far as they do; see USED_BYTES in fields.def. */
static void derive_used(struct dgo_gpu *gpu)
{
    const uint64_t taken = gpu->total_bytes - gpu->free_bytes;
    const bool used_known = dgo_gpu_knows(gpu, DGO_GPU_USED_BYTES);

    if (!used_known)
        GPU_SET(gpu, USED_BYTES, used_bytes, taken - gpu->reserved_bytes);
    else if (!dgo_gpu_knows(gpu, DGO_GPU_RESERVED_BYTES))
        GPU_SET(gpu, RESERVED_BYTES, reserved_bytes, taken - gpu->used_bytes);
}

static enum dgo_status read_gpu(struct loader *loader, const struct yaml_node *node,
                                struct dgo_gpu *gpu)
{
    enum dgo_status status;

    loader->gpu = gpu;
    status = read_map(loader, &gpu_rules, node, gpu);
    loader->gpu = NULL;
    if (status != DGO_OK)
        return status;

    const struct yaml_node *free_node = yaml_child(node, "free_mib");
    const struct yaml_node *total_node = yaml_child(node, "total_mib");

    if (gpu->free_bytes > gpu->total_bytes)
        return fail_at(loader, free_node->line, free_node->column,
                       "free_mib %.40s is more than total_mib %.40s", free_node->text,
                       total_node->text);
    if (gpu->used_bytes + gpu->reserved_bytes + gpu->free_bytes > gpu->total_bytes)
        return fail_at(loader, total_node->line, total_node->column,
                       "used_mib, reserved_mib and free_mib together are more than total_mib %.40s",
                       total_node->text);
    derive_used(gpu);
    return DGO_OK;
}

/* Two cards of one address would be taken for one by every engine. */
static enum dgo_status check_twins(struct loader *loader, const struct yaml_node *node,
                                   uint32_t index)
{
    const struct dgo_gpu *gpus = loader->machine->gpu;

    for (uint32_t i = 0; i < index; i++) {
        const char *same = NULL;

        if (gpus[index].uuid[0] != '\0' && strcasecmp(gpus[i].uuid, gpus[index].uuid) == 0)
            same = "uuid";
        if (gpus[index].pci_id[0] != '\0' && strcmp(gpus[i].pci_id, gpus[index].pci_id) == 0)
            same = "pci_id";
        if (same)
            return fail_at(loader, node->line, node->column,
                           "GPU %" PRIu32 " and GPU %" PRIu32 " have the same %s", i, index, same);
    }
    return DGO_OK;
}

static enum dgo_status read_gpus(struct loader *loader, const struct yaml_node *node, void *into)
{
    struct dgo_machine *machine = into;
    uint32_t index = 0;

    if (node->kind != YAML_LIST || node->child_count == 0)
        return fail_at(loader, node->line, node->column,
                       "gpus must be a list like [{name: ..., total_mib: 24576, free_mib: 24100}]");
    for (const struct yaml_node *child = node->first; child; child = child->next, index++) {
        enum dgo_status status;

        if (index == DGO_GPU_MAX)
            return fail_at(loader, child->line, child->column, "more than %d GPUs", DGO_GPU_MAX);
        status = read_gpu(loader, child, &machine->gpu[index]);
        if (status == DGO_OK)
            status = check_twins(loader, child, index);
        if (status != DGO_OK)
            return status;
    }
    machine->gpu_count = index;
    return DGO_OK;
}

/* ---- the host and the links ---------------------------------------------------------------- */

static enum dgo_status read_host(struct loader *loader, const struct yaml_node *node, void *into)
{
    static const struct rule rule[] = {
        {"total_mib", VALUE_MIB, true, IN(struct dgo_host, total_bytes), .least = 1,
         .most = MIB_MOST, .field = -1},
        {"free_mib", VALUE_MIB, true, IN(struct dgo_host, free_bytes), .most = MIB_MOST,
         .field = -1},
        {"bandwidth_gbs", VALUE_RATE, false, IN(struct dgo_host, bandwidth_bytes_per_s),
         .least = 0.1, .most = 100000, .scale = 1e9, .field = -1},
        {"cores", VALUE_COUNT, false, IN(struct dgo_host, core_count), .least = 1, .most = 65536,
         .field = -1},
    };
    static const struct rules rules = {"host", rule, sizeof rule / sizeof rule[0]};
    struct dgo_machine *machine = into;
    const enum dgo_status status = read_map(loader, &rules, node, &machine->host);
    const struct yaml_node *free_node;

    if (status != DGO_OK)
        return status;
    free_node = yaml_child(node, "free_mib");
    if (machine->host.free_bytes > machine->host.total_bytes)
        return fail_at(loader, free_node->line, free_node->column,
                       "free_mib %.40s of host is more than its total_mib", free_node->text);
    machine->host.memory_known = true;
    return DGO_OK;
}

struct file_link {
    uint32_t between[2];
    struct dgo_link link;
};

static enum dgo_status read_between(struct loader *loader, const struct yaml_node *node, void *into)
{
    struct file_link *link = into;
    const struct rule index = {
        .key = "between", .kind = VALUE_COUNT, .most = loader->machine->gpu_count - 1.0};
    uint32_t count = 0;

    if (node->kind != YAML_LIST || node->child_count != 2)
        return fail_at(loader, node->line, node->column,
                       "between must be two GPU numbers, counted from 0, like [0, 1]");
    for (const struct yaml_node *child = node->first; child; child = child->next) {
        double number = 0;
        const enum dgo_status status = read_number(loader, &index, child, &number);

        if (status != DGO_OK)
            return status;
        link->between[count++] = (uint32_t)number;
    }
    if (link->between[0] == link->between[1])
        return fail_at(loader, node->line, node->column, "between must be two different GPUs");
    return DGO_OK;
}

static enum dgo_status read_kind(struct loader *loader, const struct yaml_node *node, void *into)
{
    struct file_link *link = into;

    for (int kind = DGO_LINK_UNKNOWN; kind <= DGO_LINK_SYS; kind++) {
        if (node->kind == YAML_SCALAR &&
            strcasecmp(node->text, dgo_link_kind_name((enum dgo_link_kind)kind)) == 0) {
            link->link.kind = (enum dgo_link_kind)kind;
            return DGO_OK;
        }
    }
    return fail_at(loader, node->line, node->column,
                   "kind must be one of nvlink, pix, pxb, phb, node, sys");
}

static const struct rule link_rule[] = {
    {"between", VALUE_OWN, true, .field = -1, .read = read_between},
    {"kind", VALUE_OWN, .field = -1, .read = read_kind},
    {"p2p", VALUE_BOOL, false, IN(struct file_link, link.p2p), .field = -1},
    {"bandwidth_gbs", VALUE_RATE, false, IN(struct file_link, link.bandwidth_bytes_per_s),
     .least = 0.01, .most = 100000, .scale = 1e9, .field = -1},
};
static const struct rules link_rules = {"a link", link_rule,
                                        sizeof link_rule / sizeof link_rule[0]};

static enum dgo_status read_links(struct loader *loader, const struct yaml_node *node)
{
    uint32_t seen[DGO_GPU_MAX] = {0}; /* bit b of row a: given */

    if (node->kind != YAML_LIST)
        return fail_at(loader, node->line, node->column,
                       "links must be a list like [{between: [0, 1], kind: phb}]");
    for (const struct yaml_node *child = node->first; child; child = child->next) {
        struct file_link link = {0};
        const enum dgo_status status = read_map(loader, &link_rules, child, &link);
        const uint32_t a = link.between[0], b = link.between[1];

        if (status != DGO_OK)
            return status;
        if (seen[a] >> b & 1)
            return fail_at(loader, child->line, child->column,
                           "the link between %" PRIu32 " and %" PRIu32 " is given twice", a, b);
        seen[a] |= UINT32_C(1) << b;
        seen[b] |= UINT32_C(1) << a;
        link.link.p2p_known = yaml_child(child, "p2p") != NULL;
        gpu_set_link(loader->machine, a, b, &link.link);
    }
    return DGO_OK;
}

/* Links name GPUs by number, so they are read when all are known, wherever they stand. */
static enum dgo_status links_later(struct loader *loader, const struct yaml_node *node, void *into)
{
    (void)loader, (void)node, (void)into;
    return DGO_OK;
}

/* ---- the file ------------------------------------------------------------------------------ */

static const struct rule machine_rule[] = {
    {"gpus", VALUE_OWN, true, .field = -1, .read = read_gpus},
    {"host", VALUE_OWN, .field = -1, .read = read_host},
    {"links", VALUE_OWN, .field = -1, .read = links_later},
};
static const struct rules machine_rules = {"a machine file", machine_rule,
                                           sizeof machine_rule / sizeof machine_rule[0]};

enum dgo_status gpu_machine_parse(const char *bytes, size_t length, struct dgo_machine *machine,
                                  struct dgo_error *err)
{
    struct dgo_arena arena = {.limit_bytes = YAML_MEMORY_MAX};
    struct loader loader = {.machine = machine, .err = err};
    const struct yaml_node *root = NULL;
    enum dgo_status status = yaml_tree_parse(bytes, length, &arena, &root, err);

    if (status == DGO_OK)
        status = read_map(&loader, &machine_rules, root, machine);
    if (status == DGO_OK && yaml_child(root, "links"))
        status = read_links(&loader, yaml_child(root, "links"));
    machine->simulated = true;
    dgo_arena_done(&arena);
    return status;
}

static enum dgo_status read_file(const char *path, char *bytes, size_t size, size_t *length,
                                 struct dgo_error *err)
{
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    enum dgo_status status = DGO_OK;

    *length = 0;
    if (fd < 0)
        return dgo_fail_errno(err, errno == ENOENT ? DGO_ENOTFOUND : DGO_EIO, errno,
                              "cannot open the machine file %s", path);
    while (*length < size) {
        const ssize_t got = read(fd, bytes + *length, size - *length);

        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            status = dgo_fail_errno(err, DGO_EIO, errno, "cannot read the machine file %s", path);
        if (got <= 0)
            break;
        *length += (size_t)got;
    }
    close(fd);
    return status;
}

static enum dgo_status machine_file_open(const struct dgo_gpu_options *options, void **state,
                                         struct dgo_error *err)
{
    const char *path = options->machine_file;
    const size_t size = YAML_BYTES_MAX + 1; /* one more, so that a larger file shows */
    char *bytes = malloc(size);
    struct dgo_machine *machine = calloc(1, sizeof *machine);
    enum dgo_status status = DGO_ENOMEM;
    size_t length = 0;

    if (!bytes || !machine) {
        dgo_fail(err, DGO_ENOMEM, "out of memory");
        goto out;
    }
    status = read_file(path, bytes, size, &length, err);
    if (status != DGO_OK)
        goto out;
    status = gpu_machine_parse(bytes, length, machine, err);
    if (status != DGO_OK) {
        dgo_error_prefix(err, status, "%s", path);
        goto out;
    }
    *state = machine;
    machine = NULL;
out:
    free(bytes);
    free(machine);
    return status;
}

/* The file is read once: a described machine does not change while it is looked at. */
static enum dgo_status machine_file_take(void *state, struct dgo_machine *machine,
                                         struct dgo_error *err)
{
    const struct dgo_machine *described = state;
    char source[sizeof machine->source];

    (void)err;
    memcpy(source, machine->source, sizeof source);
    *machine = *described;
    memcpy(machine->source, source, sizeof source);
    return DGO_OK;
}

static void machine_file_close(void *state)
{
    free(state);
}

const struct gpu_driver gpu_driver_machine_file = {.name = "machine file",
                                                   .open = machine_file_open,
                                                   .take = machine_file_take,
                                                   .close = machine_file_close};
