/* yaml_rules.c - maps of a YAML tree into structs, by tables of keys. */
#include "yaml_rules.h"

#include "dgo_text.h"
#include "dgo_units.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum dgo_status yaml_fail(struct yaml_loader *loader, uint32_t line, uint32_t column,
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

static const char *nearest(const struct yaml_rules *rules, const char *key)
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

static enum dgo_status fail_unknown_key(struct yaml_loader *loader, const struct yaml_rules *rules,
                                        const struct yaml_node *child)
{
    const char *meant = nearest(rules, child->key);
    char known[200];
    struct dgo_text text = DGO_TEXT(known);

    if (meant)
        return yaml_fail(loader, child->key_line, child->key_column,
                         "unknown key '%.40s' of %s; did you mean '%s'?", child->key, rules->what,
                         meant);
    for (size_t i = 0; i < rules->count; i++)
        dgo_text_addf(&text, "%s%s", i ? ", " : "", rules->rule[i].key);
    return yaml_fail(loader, child->key_line, child->key_column,
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

enum dgo_status yaml_read_number(struct yaml_loader *loader, const struct yaml_rule *rule,
                                 const struct yaml_node *node, double *value)
{
    const bool whole = rule->kind == VALUE_COUNT;

    if (node->kind == YAML_SCALAR && node->text[0] == '-' && !node->quoted)
        return yaml_fail(loader, node->line, node->column, "%s must not be negative, but is %.40s",
                         rule->key, node->text);
    if (node->kind != YAML_SCALAR || !parse_number(node, value) ||
        (whole && trunc(*value) != *value))
        return yaml_fail(loader, node->line, node->column,
                         "%s must be a %s like %.0f, not %s%.40s%s", rule->key,
                         whole ? "whole number" : "number", fmax(rule->least, 1),
                         node->kind == YAML_SCALAR ? "'" : "",
                         node->kind == YAML_SCALAR ? node->text : "a list or a map",
                         node->kind == YAML_SCALAR ? "'" : "");
    if (*value < rule->least || *value > rule->most)
        return yaml_fail(loader, node->line, node->column,
                         "%s must lie within %.10g and %.10g, but is %.40s", rule->key, rule->least,
                         rule->most, node->text);
    return DGO_OK;
}

static enum dgo_status read_text(struct yaml_loader *loader, const struct yaml_rule *rule,
                                 const struct yaml_node *node, char *into)
{
    if (node->kind != YAML_SCALAR || node->text[0] == '\0')
        return yaml_fail(loader, node->line, node->column, "%s must be text", rule->key);
    if (!dgo_text_copy(into, rule->size, node->text))
        return yaml_fail(loader, node->line, node->column, "%s is longer than %zu bytes", rule->key,
                         rule->size - 1);
    return DGO_OK;
}

static enum dgo_status read_bool(struct yaml_loader *loader, const struct yaml_rule *rule,
                                 const struct yaml_node *node, bool *into)
{
    const bool is_true = node->kind == YAML_SCALAR && strcmp(node->text, "true") == 0;
    const bool is_false = node->kind == YAML_SCALAR && strcmp(node->text, "false") == 0;

    if (node->quoted || is_true == is_false)
        return yaml_fail(loader, node->line, node->column, "%s must be true or false, not '%.40s'",
                         rule->key, node->kind == YAML_SCALAR ? node->text : "a list or a map");
    *into = is_true;
    return DGO_OK;
}

static enum dgo_status read_value(struct yaml_loader *loader, const struct yaml_rule *rule,
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
    status = yaml_read_number(loader, rule, node, &number);
    if (status != DGO_OK)
        return status;
    if (rule->kind == VALUE_MIB)
        *(uint64_t *)place = (uint64_t)(number * (double)DGO_MIB + 0.5);
    else if (rule->kind == VALUE_RATE)
        *(double *)place = number * rule->scale;
    else
        *(uint32_t *)place = (uint32_t)number;
    if (rule->bit >= 0 && loader->known)
        *loader->known |= UINT64_C(1) << rule->bit;
    return DGO_OK;
}

static const struct yaml_rule *find_rule(const struct yaml_rules *rules, const char *key)
{
    for (size_t i = 0; i < rules->count; i++)
        if (strcmp(rules->rule[i].key, key) == 0)
            return &rules->rule[i];
    return NULL;
}

enum dgo_status yaml_read_map(struct yaml_loader *loader, const struct yaml_rules *rules,
                              const struct yaml_node *map, void *into)
{
    if (map->kind != YAML_MAP)
        return yaml_fail(loader, map->line, map->column, "%s must be a map like {%s: ...}",
                         rules->what, rules->rule[0].key);
    for (const struct yaml_node *child = map->first; child; child = child->next) {
        const struct yaml_rule *rule = find_rule(rules, child->key);
        enum dgo_status status;

        if (!rule)
            return fail_unknown_key(loader, rules, child);
        status = read_value(loader, rule, child, into);
        if (status != DGO_OK)
            return status;
    }
    for (size_t i = 0; i < rules->count; i++)
        if (rules->rule[i].required && !yaml_child(map, rules->rule[i].key))
            return yaml_fail(loader, map->line, map->column, "%s needs the key '%s'", rules->what,
                             rules->rule[i].key);
    return DGO_OK;
}
