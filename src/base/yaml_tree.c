/* yaml_tree.c - libyaml's events into a tree, with everything refused that a plain file of settings
 * does not need. */
#include "yaml_tree.h"

#include "dgo_text.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

struct parse {
    yaml_parser_t yaml;
    struct dgo_arena *arena;
    const char *bytes;
    size_t length;
    struct {
        size_t character, byte;
    } place; /* the last one that byte_of was asked for: marks come in order */
    struct dgo_error *err;
    bool foreign; /* anchors, aliases and merge keys are taken */
    uint32_t anchor_count, copy_count;
    struct {
        const char *name;
        const struct yaml_node *node;
    } * anchor; /* YAML_ANCHORS_MAX of them, where foreign */
};

/* libyaml counts characters, we need bytes. */
static size_t byte_of(struct parse *parse, yaml_mark_t mark)
{
    if (mark.index < parse->place.character)
        parse->place.character = parse->place.byte = 0;
    while (parse->place.character < mark.index && parse->place.byte < parse->length) {
        do
            parse->place.byte++;
        while (parse->place.byte < parse->length &&
               ((unsigned char)parse->bytes[parse->place.byte] & 0xc0) == 0x80);
        parse->place.character++;
    }
    return parse->place.byte;
}

static enum dgo_status fail_mark(struct parse *parse, yaml_mark_t mark, const char *what)
{
    return dgo_fail(parse->err, DGO_EFORMAT, "line %zu, column %zu: %s", mark.line + 1,
                    mark.column + 1, what);
}

static enum dgo_status fail_memory(struct parse *parse)
{
    return dgo_fail(parse->err, DGO_ENOMEM, "out of memory");
}

/* libyaml's own complaint; a bad byte has an offset and no line. */
static enum dgo_status fail_yaml(struct parse *parse)
{
    const yaml_parser_t *yaml = &parse->yaml;
    const char *problem = yaml->problem ? yaml->problem : "not YAML";

    if (yaml->error == YAML_MEMORY_ERROR)
        return fail_memory(parse);
    if (yaml->error == YAML_READER_ERROR)
        return dgo_fail(parse->err, DGO_EFORMAT, "byte %zu: %s", yaml->problem_offset, problem);
    return fail_mark(parse, yaml->problem_mark, problem);
}

static enum dgo_status next_event(struct parse *parse, yaml_event_t *event)
{
    return yaml_parser_parse(&parse->yaml, event) ? DGO_OK : fail_yaml(parse);
}

static const char *anchor_of(const yaml_event_t *event)
{
    return (
        const char *)(event->type == YAML_SCALAR_EVENT           ? event->data.scalar.anchor
                      : event->type == YAML_SEQUENCE_START_EVENT ? event->data.sequence_start.anchor
                      : event->type == YAML_MAPPING_START_EVENT  ? event->data.mapping_start.anchor
                                                                 : NULL);
}

/* What an event carries beyond the subset; NULL when nothing. */
static const char *beyond_subset(const struct parse *parse, const yaml_event_t *event)
{
    static const char anchor[] = "anchors (&name) are not accepted; write the value out";
    static const char tag[] = "tags (!name) are not accepted; leave it out";

    if (!parse->foreign && anchor_of(event))
        return anchor;
    switch (event->type) {
    case YAML_ALIAS_EVENT:
        return parse->foreign ? NULL : "aliases (*name) are not accepted; write the value out";
    case YAML_SCALAR_EVENT:
        return event->data.scalar.tag ? tag : NULL;
    case YAML_SEQUENCE_START_EVENT:
        return event->data.sequence_start.tag ? tag : NULL;
    case YAML_MAPPING_START_EVENT:
        return event->data.mapping_start.tag ? tag : NULL;
    default:
        return NULL;
    }
}

/* ---- aliases of foreign files ---- */

/* What &name was at is whole by now: one that holds itself is not known yet, and refused. */
static const struct yaml_node *find_anchor(const struct parse *parse, const char *name)
{
    for (uint32_t i = parse->anchor_count; i > 0; i--) /* the last one of a name counts */
        if (strcmp(parse->anchor[i - 1].name, name) == 0)
            return parse->anchor[i - 1].node;
    return NULL;
}

static enum dgo_status keep_anchor(struct parse *parse, const yaml_event_t *event,
                                   const struct yaml_node *node)
{
    const char *name = anchor_of(event);

    if (!name)
        return DGO_OK;
    if (parse->anchor_count == YAML_ANCHORS_MAX)
        return fail_mark(parse, event->start_mark, "more than 256 anchors");
    name = dgo_arena_take_text(parse->arena, name, strlen(name));
    if (!name)
        return fail_memory(parse);
    parse->anchor[parse->anchor_count].name = name;
    parse->anchor[parse->anchor_count++].node = node;
    return DGO_OK;
}

/* All of the copy is where its alias stands.  Recursion goes no deeper than YAML_DEPTH_MAX. */
static enum dgo_status copy_node(struct parse *parse, yaml_mark_t mark,
                                 const struct yaml_node *from, uint32_t depth,
                                 struct yaml_node **to)
{
    struct yaml_node *node, **last;

    if (depth > YAML_DEPTH_MAX)
        return fail_mark(parse, mark, "nested more than 16 deep");
    if (parse->copy_count++ == YAML_COPIES_MAX)
        return fail_mark(parse, mark, "aliases that stand for too much");
    node = dgo_arena_take(parse->arena, sizeof *node);
    if (!node)
        return fail_memory(parse);
    *node = *from;
    node->line = (uint32_t)mark.line + 1;
    node->column = (uint32_t)mark.column + 1;
    node->first = node->next = NULL;
    last = &node->first;
    for (const struct yaml_node *child = from->first; child; child = child->next) {
        const enum dgo_status status = copy_node(parse, mark, child, depth + 1, last);

        if (status != DGO_OK)
            return status;
        last = &(*last)->next;
    }
    *to = node;
    return DGO_OK;
}

static enum dgo_status parse_alias(struct parse *parse, const yaml_event_t *event, uint32_t depth,
                                   struct yaml_node **node)
{
    const struct yaml_node *from = find_anchor(parse, (const char *)event->data.alias.anchor);

    return from ? copy_node(parse, event->start_mark, from, depth, node)
                : fail_mark(parse, event->start_mark, "this alias names nothing before it");
}

static enum dgo_status merge_one(struct parse *parse, yaml_mark_t mark,
                                 const struct yaml_node *from, uint32_t depth,
                                 struct yaml_node *map)
{
    struct yaml_node **last = &map->first;

    if (from->kind != YAML_MAP)
        return fail_mark(parse, mark, "a merge key (<<) takes a map, or a list of maps");
    while (*last)
        last = &(*last)->next;
    for (const struct yaml_node *child = from->first; child; child = child->next) {
        enum dgo_status status = DGO_OK;

        if (yaml_child(map, child->key))
            continue;
        if (map->child_count++ == YAML_KEYS_MAX)
            return fail_mark(parse, mark, "more than 256 keys in one place");
        status = copy_node(parse, mark, child, depth + 1, last);
        if (status != DGO_OK)
            return status;
        (*last)->key_line = (*last)->line;
        (*last)->key_column = (*last)->column;
        last = &(*last)->next;
    }
    return DGO_OK;
}

/* Takes `<<` out and puts in what it names, behind the map's own keys, which win. */
static enum dgo_status merge(struct parse *parse, yaml_mark_t mark, uint32_t depth,
                             struct yaml_node *map)
{
    struct yaml_node **place = &map->first;
    const struct yaml_node *from;
    enum dgo_status status = DGO_OK;

    while (*place && strcmp((*place)->key, "<<") != 0)
        place = &(*place)->next;
    from = *place;
    if (!from)
        return DGO_OK;
    *place = from->next;
    map->child_count--;
    if (from->kind != YAML_LIST)
        return merge_one(parse, mark, from, depth, map);
    for (const struct yaml_node *one = from->first; one && status == DGO_OK; one = one->next)
        status = merge_one(parse, mark, one, depth, map);
    return status;
}

static char *take_raw(struct parse *parse, const yaml_event_t *event)
{
    return dgo_arena_take_text(parse->arena, (const char *)event->data.scalar.value,
                               event->data.scalar.length);
}

/* A copy that is fit to be shown: an escape of the file's ("\e") must not reach a terminal. */
static char *take_scalar(struct parse *parse, const yaml_event_t *event)
{
    const char *bytes = (const char *)event->data.scalar.value;
    const size_t length = event->data.scalar.length;
    const size_t size = length * 8 + 1; /* "\u{200b}" is the longest escape, for 2 bytes or more */
    char *scratch = malloc(size);
    char *copy;

    if (!scratch)
        return NULL;
    dgo_text_copy_escaped(scratch, size, bytes, length);
    copy = dgo_arena_take_text(parse->arena, scratch, strlen(scratch));
    free(scratch);
    return copy;
}

static enum dgo_status parse_value(struct parse *parse, yaml_event_t *event, uint32_t depth,
                                   struct yaml_node **node);

static enum dgo_status parse_list(struct parse *parse, uint32_t depth, struct yaml_node *list)
{
    struct yaml_node **last = &list->first;

    for (;;) {
        yaml_event_t event;
        enum dgo_status status = next_event(parse, &event);

        if (status != DGO_OK)
            return status;
        if (event.type == YAML_SEQUENCE_END_EVENT) {
            if (list->flow)
                list->end = byte_of(parse, event.end_mark);
            yaml_event_delete(&event);
            return DGO_OK;
        }
        status = parse_value(parse, &event, depth + 1, last);
        yaml_event_delete(&event);
        if (status != DGO_OK)
            return status;
        list->end = (*last)->end;
        last = &(*last)->next;
        list->child_count++;
    }
}

static enum dgo_status check_key(struct parse *parse, const struct yaml_node *map,
                                 const yaml_event_t *event, const char *key)
{
    const struct yaml_node *before = yaml_child(map, key);
    char shown[64];

    if (map->child_count == YAML_KEYS_MAX)
        return fail_mark(parse, event->start_mark, "more than 256 keys in one place");
    if (!parse->foreign && strcmp(key, "<<") == 0 &&
        event->data.scalar.style == YAML_PLAIN_SCALAR_STYLE)
        return fail_mark(parse, event->start_mark,
                         "merge keys (<<) are not accepted; write the keys out");
    if (!before)
        return DGO_OK;
    (void)dgo_text_copy(shown, sizeof shown, key);
    return dgo_fail(
        parse->err, DGO_EFORMAT,
        "line %zu, column %zu: '%s' stands twice, first in line %" PRIu32 "; keep one of them",
        event->start_mark.line + 1, event->start_mark.column + 1, shown, before->key_line);
}

static enum dgo_status parse_key(struct parse *parse, const struct yaml_node *map,
                                 const yaml_event_t *event, char **key)
{
    const char *beyond = beyond_subset(parse, event);

    if (beyond)
        return fail_mark(parse, event->start_mark, beyond);
    if (event->type != YAML_SCALAR_EVENT)
        return fail_mark(parse, event->start_mark, "a key must be plain text");
    *key = take_scalar(parse, event);
    if (!*key)
        return fail_memory(parse);
    return check_key(parse, map, event, *key);
}

static enum dgo_status parse_pair(struct parse *parse, const struct yaml_node *map,
                                  const yaml_event_t *key_event, uint32_t depth,
                                  struct yaml_node **child)
{
    const size_t key_at = byte_of(parse, key_event->start_mark);
    const size_t key_end = byte_of(parse, key_event->end_mark);
    char *key = NULL;
    yaml_event_t event;
    enum dgo_status status = parse_key(parse, map, key_event, &key);

    if (status == DGO_OK)
        status = next_event(parse, &event);
    if (status != DGO_OK)
        return status;
    struct yaml_node *value = NULL;

    status = parse_value(parse, &event, depth + 1, &value);
    yaml_event_delete(&event);
    if (status != DGO_OK)
        return status;
    value->key = key;
    value->key_at = key_at;
    value->key_end = key_end;
    value->key_line = (uint32_t)key_event->start_mark.line + 1;
    value->key_column = (uint32_t)key_event->start_mark.column + 1;
    *child = value;
    return DGO_OK;
}

static enum dgo_status parse_map(struct parse *parse, uint32_t depth, struct yaml_node *map)
{
    struct yaml_node **last = &map->first;

    for (;;) {
        yaml_event_t event;
        enum dgo_status status = next_event(parse, &event);

        if (status != DGO_OK)
            return status;
        if (event.type == YAML_MAPPING_END_EVENT) {
            if (map->flow)
                map->end = byte_of(parse, event.end_mark);
            status = parse->foreign ? merge(parse, event.start_mark, depth, map) : DGO_OK;
            yaml_event_delete(&event);
            return status;
        }
        status = parse_pair(parse, map, &event, depth, last);
        yaml_event_delete(&event);
        if (status != DGO_OK)
            return status;
        map->end = (*last)->end;
        last = &(*last)->next;
        map->child_count++;
    }
}

/* Recursion goes no deeper than YAML_DEPTH_MAX. */
static enum dgo_status parse_value(struct parse *parse, yaml_event_t *event, uint32_t depth,
                                   struct yaml_node **out)
{
    const char *beyond = beyond_subset(parse, event);
    struct yaml_node *node;
    enum dgo_status status = DGO_OK;

    if (beyond)
        return fail_mark(parse, event->start_mark, beyond);
    if (event->type == YAML_ALIAS_EVENT)
        return parse_alias(parse, event, depth, out);
    if (depth > YAML_DEPTH_MAX)
        return fail_mark(parse, event->start_mark, "nested more than 16 deep");
    node = dgo_arena_take(parse->arena, sizeof *node);
    if (!node)
        return fail_memory(parse);
    node->line = (uint32_t)event->start_mark.line + 1;
    node->column = (uint32_t)event->start_mark.column + 1;
    node->at = byte_of(parse, event->start_mark);
    node->end = byte_of(parse, event->end_mark);
    if (event->type == YAML_SCALAR_EVENT) {
        node->kind = YAML_SCALAR;
        node->quoted = event->data.scalar.style != YAML_PLAIN_SCALAR_STYLE;
        if (memchr(event->data.scalar.value, '\0', event->data.scalar.length))
            return fail_mark(parse, event->start_mark, "a NUL byte in a value");
        node->text = take_scalar(parse, event);
        node->raw = take_raw(parse, event);
        if (!node->text || !node->raw)
            status = fail_memory(parse);
    } else if (event->type == YAML_SEQUENCE_START_EVENT) {
        node->kind = YAML_LIST;
        node->flow = event->data.sequence_start.style == YAML_FLOW_SEQUENCE_STYLE;
        status = parse_list(parse, depth, node);
    } else {
        node->kind = YAML_MAP;
        node->flow = event->data.mapping_start.style == YAML_FLOW_MAPPING_STYLE;
        status = parse_map(parse, depth, node);
    }
    if (status == DGO_OK)
        status = keep_anchor(parse, event, node);
    if (status == DGO_OK)
        *out = node;
    return status;
}

/* Moves on by one event, which must be of that type. */
static enum dgo_status expect(struct parse *parse, yaml_event_type_t type, const char *otherwise)
{
    yaml_event_t event;
    enum dgo_status status = next_event(parse, &event);

    if (status != DGO_OK)
        return status;
    if (event.type != type)
        status = fail_mark(parse, event.start_mark, otherwise);
    yaml_event_delete(&event);
    return status;
}

/* *root stays NULL where there is no document. */
static enum dgo_status parse_document(struct parse *parse, struct yaml_node **root)
{
    yaml_event_t event;
    enum dgo_status status = expect(parse, YAML_STREAM_START_EVENT, "not YAML");

    if (status == DGO_OK)
        status = next_event(parse, &event);
    if (status != DGO_OK)
        return status;
    const bool empty = event.type == YAML_STREAM_END_EVENT;

    yaml_event_delete(&event);
    if (empty)
        return DGO_OK;
    status = next_event(parse, &event);
    if (status != DGO_OK)
        return status;
    status = parse_value(parse, &event, 1, root);
    yaml_event_delete(&event);
    if (status == DGO_OK)
        status = expect(parse, YAML_DOCUMENT_END_EVENT, "more than one value");
    if (status == DGO_OK)
        status = expect(parse, YAML_STREAM_END_EVENT, "only one document (---) is accepted");
    return status;
}

static enum dgo_status parse_text(const char *bytes, size_t length, bool foreign,
                                  struct dgo_arena *arena, const struct yaml_node **root,
                                  struct dgo_error *err)
{
    struct parse parse = {
        .arena = arena, .bytes = bytes, .length = length, .err = err, .foreign = foreign};
    struct yaml_node *node = NULL;
    enum dgo_status status;

    if (length > YAML_BYTES_MAX)
        return dgo_fail(err, DGO_ELIMIT, "larger than 1 MiB");
    if (foreign)
        parse.anchor = dgo_arena_take(arena, YAML_ANCHORS_MAX * sizeof *parse.anchor);
    if ((foreign && !parse.anchor) || !yaml_parser_initialize(&parse.yaml))
        return fail_memory(&parse);
    yaml_parser_set_encoding(&parse.yaml, YAML_UTF8_ENCODING); /* no guessing: UTF-16 is refused */
    yaml_parser_set_input_string(&parse.yaml, (const unsigned char *)bytes, length);
    status = parse_document(&parse, &node);
    yaml_parser_delete(&parse.yaml);
    if (status == DGO_OK)
        *root = node;
    return status;
}

enum dgo_status yaml_tree_parse_any(const char *bytes, size_t length, struct dgo_arena *arena,
                                    const struct yaml_node **root, struct dgo_error *err)
{
    return parse_text(bytes, length, false, arena, root, err);
}

static enum dgo_status parse_value_of(const char *bytes, size_t length, bool foreign,
                                      struct dgo_arena *arena, const struct yaml_node **root,
                                      struct dgo_error *err)
{
    const struct yaml_node *node = NULL;
    enum dgo_status status = parse_text(bytes, length, foreign, arena, &node, err);

    if (status == DGO_OK && !node)
        status = dgo_fail(err, DGO_EFORMAT, "line 1, column 1: the file is empty");
    if (status == DGO_OK)
        *root = node;
    return status;
}

enum dgo_status yaml_tree_parse(const char *bytes, size_t length, struct dgo_arena *arena,
                                const struct yaml_node **root, struct dgo_error *err)
{
    return parse_value_of(bytes, length, false, arena, root, err);
}

enum dgo_status yaml_tree_parse_foreign(const char *bytes, size_t length, struct dgo_arena *arena,
                                        const struct yaml_node **root, struct dgo_error *err)
{
    return parse_value_of(bytes, length, true, arena, root, err);
}

const struct yaml_node *yaml_child(const struct yaml_node *map, const char *key)
{
    if (map->kind != YAML_MAP) /* what is in a list has no keys */
        return NULL;
    for (const struct yaml_node *child = map->first; child; child = child->next)
        if (strcmp(child->key, key) == 0)
            return child;
    return NULL;
}
