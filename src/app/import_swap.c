/* import_swap.c - llama-swap's config.yaml: models with their aliases, times and macros, groups;
 * what it says about the content of requests is told, not kept.  Keys and defaults are those of its
 * docs/config.example.yaml and internal/config/load.go. */
#include "import_entry.h"

#include "dgo_arena.h"
#include "dgo_engine.h"
#include "dgo_text.h"
#include "yaml_tree.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    COMMAND_BYTES_MAX = 64 * 1024,
    MACRO_DEPTH_MAX = 8,
    MACRO_STEPS_MAX = 4096,
    SECONDS_MAX = 10 * 365 * 86400,
    HEALTH_SECONDS_MIN = 15, /* llama-swap takes less as this */
};

/* One model while it is read. */
struct swap {
    const struct import_call *call;
    struct import_entry *entry;
    const struct yaml_node *root;                /* of the file: what holds for all models */
    const struct yaml_node *macros, *own_macros; /* maps, or NULL */
    const char *name;
    struct dgo_arena *arena;
    uint32_t steps; /* macros put in so far */
};

/* ---- macros ---- */

static bool is_name(const char *name, size_t length, const char *want)
{
    return strlen(want) == length && memcmp(name, want, length) == 0;
}

static const char *macro_in(const struct yaml_node *map, const char *name, size_t length)
{
    for (const struct yaml_node *one = map && map->kind == YAML_MAP ? map->first : NULL; one;
         one = one->next)
        if (one->kind == YAML_SCALAR && is_name(name, length, one->key))
            return one->raw;
    return NULL;
}

/* What ${name} stands for; the port is one that we choose.  NULL: nothing. */
static const char *macro_value(const struct swap *swap, const char *name, size_t length)
{
    const char *value;
    char variable[128];

    if (is_name(name, length, "PORT"))
        return "0";
    if (is_name(name, length, "MODEL_ID"))
        return swap->name;
    if (length > 4 && strncmp(name, "env.", 4) == 0 && length - 4 < sizeof variable) {
        snprintf(variable, sizeof variable, "%.*s", (int)(length - 4), name + 4);
        return option_find_variable(swap->call->environment, variable);
    }
    value = macro_in(swap->own_macros, name, length);
    return value ? value : macro_in(swap->macros, name, length);
}

/* A macro may hold others: one that holds itself ends at the depth, one that holds others many
 * times at the steps.  A value from the environment is not looked into.  False: told. */
static bool expand(struct swap *swap, const struct yaml_node *node, const char *from,
                   uint32_t depth, struct dgo_text *to)
{
    for (const char *at = from; *at;) {
        const char *open = strstr(at, "${");
        const char *close = open ? strchr(open, '}') : NULL;
        const char *value;
        size_t length;

        if (!close) {
            dgo_text_add(to, at);
            break;
        }
        length = (size_t)(close - open) - 2;
        dgo_text_add_bytes(to, at, (size_t)(open - at));
        value = macro_value(swap, open + 2, length);
        if (!value || depth == MACRO_DEPTH_MAX || swap->steps++ == MACRO_STEPS_MAX) {
            import_lost(swap->entry, node->line, "${%.*s} %s", length < 64 ? (int)length : 64,
                        open + 2,
                        value                               ? "holds itself, or too much"
                        : strncmp(open + 2, "env.", 4) == 0 ? "is not set in this environment"
                                                            : "is not defined");
            return false;
        }
        if (strncmp(open + 2, "env.", 4) == 0)
            dgo_text_add(to, value);
        else if (!expand(swap, node, value, depth + 1, to))
            return false;
        at = close + 1;
    }
    if (to->truncated)
        import_lost(swap->entry, node->line, "its command is longer than %d bytes",
                    COMMAND_BYTES_MAX - 1);
    return !to->truncated;
}

/* Lines that are comments go; the rest is one line. */
static void one_line(char *text)
{
    char *to = text;

    for (const char *at = text; *at;) {
        const size_t length = strcspn(at, "\n");
        const bool last = !at[length], comment = at[strspn(at, " \t")] == '#';
        const size_t kept = length && at[length - 1] == '\\' ? length - 1 : length;

        if (!comment) {
            memmove(to, at, kept);
            to += kept;
            if (!last)
                *to++ = ' '; /* where the line break stood */
        }
        at += length + !last;
        if (last)
            break;
    }
    *to = '\0';
}

static void read_command(struct swap *swap, const struct yaml_node *node)
{
    char *bytes = malloc(COMMAND_BYTES_MAX);
    const char **words = calloc(IMPORT_WORD_MAX, sizeof *words);
    struct dgo_text text = {.data = bytes, .size = COMMAND_BYTES_MAX};
    struct dgo_error err = {0};
    uint32_t count = 0;
    char *plain;

    if (!bytes || !words) {
        import_lost(swap->entry, node->line, "out of memory");
    } else if (node->kind != YAML_SCALAR) {
        import_lost(swap->entry, node->line, "cmd is one text");
    } else {
        bytes[0] = '\0';
        plain = dgo_arena_take_text(swap->arena, node->raw, strlen(node->raw));
        if (plain)
            one_line(plain); /* a macro in a comment is a word of it */
        if (!plain)
            import_lost(swap->entry, node->line, "out of memory");
        else if (expand(swap, node, plain, 0, &text)) {
            one_line(bytes);
            if (dgo_words_split(bytes, swap->arena, &count, words, IMPORT_WORD_MAX, &err) == DGO_OK)
                import_command(swap->entry, node->line, words, count);
            else
                import_lost(swap->entry, node->line, "its command: %s", err.text);
        }
    }
    free(bytes);
    free(words);
}

/* ---- a model ---- */

static void read_environment(struct swap *swap, const struct yaml_node *list)
{
    for (const struct yaml_node *one = list->first; one; one = one->next) {
        char bytes[1024];
        struct dgo_text text = DGO_TEXT(bytes);

        if (one->kind != YAML_SCALAR)
            import_note(swap->entry, one->line, "not kept: a variable is a text NAME=value");
        else if (expand(swap, one, one->raw, 0, &text))
            import_variable(swap->entry, one->line, bytes);
    }
}

static void read_aliases(struct swap *swap, const struct yaml_node *list)
{
    for (const struct yaml_node *one = list->first; one; one = one->next) {
        const struct yaml_node *id = one->kind == YAML_MAP ? yaml_child(one, "id") : one;
        char bytes[512];
        struct dgo_text text = DGO_TEXT(bytes);
        struct dgo_error err = {0};

        if (!id || id->kind != YAML_SCALAR)
            import_note(swap->entry, one->line, "not kept: an alias is a name");
        else if (expand(swap, id, id->raw, 0, &text) &&
                 preset_add_alias(swap->entry->preset, bytes, &err) != DGO_OK)
            import_note(swap->entry, one->line, "not kept: the alias %s: %s", id->text, err.text);
    }
}

/* Whole seconds, or -1 for what holds for all models; false: not there, or told. */
static bool read_seconds(struct swap *swap, const struct yaml_node *map, const char *key,
                         int64_t *seconds)
{
    const struct yaml_node *node = yaml_child(map, key);
    char bytes[64];
    struct dgo_text text = DGO_TEXT(bytes);
    char *end = bytes;

    if (!node)
        return false;
    bytes[0] = '\0';
    if (node->kind == YAML_SCALAR && !expand(swap, node, node->raw, 0, &text))
        return false;
    *seconds = strtol(bytes, &end, 10);
    if (end != bytes && *end == '\0' && *seconds >= -1 && *seconds <= SECONDS_MAX)
        return true;
    import_note(swap->entry, node->line, "not kept: %s is no number of seconds", key);
    return false;
}

static void set_seconds(struct swap *swap, uint32_t line, enum option_id id, int64_t seconds)
{
    char text[32];

    snprintf(text, sizeof text, "%" PRId64 "s", seconds);
    import_set(swap->entry, line, id, text);
}

/* A model's own time, or that of all models; what neither says is left to this program. */
static void read_times(struct swap *swap, const struct yaml_node *model)
{
    const uint32_t line = model->key_line;
    int64_t seconds = -1;

    if (!read_seconds(swap, model, "ttl", &seconds) || seconds < 0)
        (void)read_seconds(swap, swap->root, "globalTTL", &seconds);
    if (seconds >= 0) /* 0: never, here as there */
        set_seconds(swap, line, OPTION_IDLE_TIMEOUT, seconds);
    seconds = 0;
    if (!read_seconds(swap, model, "unloadTimeout", &seconds) || seconds <= 0)
        (void)read_seconds(swap, swap->root, "unloadTimeout", &seconds);
    if (seconds > 0)
        set_seconds(swap, line, OPTION_STOP_TIMEOUT, seconds);
    if (read_seconds(swap, swap->root, "healthCheckTimeout", &seconds))
        set_seconds(swap, line, OPTION_READY_TIMEOUT,
                    seconds > HEALTH_SECONDS_MIN ? seconds : HEALTH_SECONDS_MIN);
}

/* What a preset cannot say, and where this program has it. */
static const struct {
    const char *key, *instead;
} without[] = {
    {"name", NULL},
    {"description", NULL},
    {"metadata", NULL},
    {"useModelName", "the daemon hands the request on as it is"},
    {"filters", "the daemon hands the request on as it is"},
    {"concurrencyLimit", "--parallel is how many requests are served at once"},
    {"unlisted", "/v1/models lists every preset"},
    {"capabilities", "/v1/models tells names only"},
    {"compat", "websockets are not handed on"},
    {"cmdStop", "the engine is stopped by a signal"},
    {"sendLoadingState", NULL},
    {"timeouts", "`config set request-timeout` is how long an answer may take"},
};

/* Where the daemon looks anyway: this machine, the engine's own path of health. */
static void read_proxy(const struct swap *swap, const struct yaml_node *node)
{
    const char *text = node->kind == YAML_SCALAR ? node->text : "";
    const char *host = strstr(text, "://");
    static const char *const here[] = {"127.0.0.1", "localhost", "[::1]"};

    host = host ? host + 3 : text;
    for (size_t i = 0; i < sizeof here / sizeof here[0]; i++)
        if (strncmp(host, here[i], strlen(here[i])) == 0)
            return;
    import_note(swap->entry, node->line,
                "not kept: proxy %.80s; an engine is reached where it was started", text);
}

static void read_key(struct swap *swap, const struct yaml_node *node)
{
    static const char *const elsewhere[] = {"cmd", "macros", "ttl", "unloadTimeout",
                                            "checkEndpoint" /* known of every engine */};

    for (size_t i = 0; i < sizeof elsewhere / sizeof elsewhere[0]; i++)
        if (strcmp(node->key, elsewhere[i]) == 0)
            return;
    if (strcmp(node->key, "env") == 0 && node->kind == YAML_LIST) {
        read_environment(swap, node);
        return;
    }
    if (strcmp(node->key, "aliases") == 0 && node->kind == YAML_LIST) {
        read_aliases(swap, node);
        return;
    }
    if (strcmp(node->key, "proxy") == 0) {
        read_proxy(swap, node);
        return;
    }
    for (size_t i = 0; i < sizeof without / sizeof without[0]; i++)
        if (strcmp(node->key, without[i].key) == 0) {
            import_note(swap->entry, node->key_line, "not kept: %s%s%s", node->key,
                        without[i].instead ? "; " : "",
                        without[i].instead ? without[i].instead : "");
            return;
        }
    import_note(swap->entry, node->key_line, "not kept: %.60s, which is not known here", node->key);
}

static bool read_model(const struct import_call *call, const struct yaml_node *root,
                       const struct yaml_node *node, struct dgo_arena *arena)
{
    struct swap swap = {.call = call,
                        .root = root,
                        .macros = yaml_child(root, "macros"),
                        .name = node->key,
                        .arena = arena};
    const struct yaml_node *command = yaml_child(node, "cmd");

    swap.entry = import_begin(call, node->key, node->key_line);
    if (!swap.entry)
        return false;
    if (node->kind != YAML_MAP) {
        import_lost(swap.entry, node->line, "a model is a map with cmd");
    } else {
        swap.own_macros = yaml_child(node, "macros");
        for (const struct yaml_node *one = node->first; one; one = one->next)
            read_key(&swap, one);
        read_times(&swap, node);
        if (command)
            read_command(&swap, command);
        else
            import_lost(swap.entry, node->key_line, "it has no cmd");
    }
    import_end(swap.entry);
    return true;
}

/* ---- the file ---- */

static bool is_on(const struct yaml_node *map, const char *key, bool otherwise)
{
    const struct yaml_node *node = yaml_child(map, key);

    return node && node->kind == YAML_SCALAR ? strcmp(node->text, "true") == 0 : otherwise;
}

static void tell_group(const struct import_call *call, const struct yaml_node *node,
                       const char *sentence)
{
    char text[256], name[80];

    dgo_text_copy_escaped(name, sizeof name, node->key, strlen(node->key));
    snprintf(text, sizeof text, "the group %s %s", name, sentence);
    call->note("", node->key_line, false, text, call->data);
}

/* Members are called as their presets are. */
static void read_group(const struct import_call *call, const struct yaml_node *node)
{
    static const char none[] = "has no list of members";
    const struct yaml_node *members = node->kind == YAML_MAP ? yaml_child(node, "members") : NULL;
    char name[PRESET_NAME_MAX], member[IMPORT_MEMBER_MAX][PRESET_NAME_MAX];
    const char *list[IMPORT_MEMBER_MAX];
    struct import_group group = {.name = name, .member = list};

    import_name(node->key, name);
    for (char *c = name; *c; c++)
        *c = *c == '.' ? '-' : *c; /* a point parts the words of a key */
    for (const struct yaml_node *one = members && members->kind == YAML_LIST ? members->first
                                                                             : NULL;
         one; one = one->next) {
        if (group.member_count == IMPORT_MEMBER_MAX) {
            tell_group(call, node, "has too many members; the others are left out");
            break;
        }
        if (one->kind == YAML_SCALAR)
            import_name(one->raw, member[group.member_count]);
        if (one->kind == YAML_SCALAR && member[group.member_count][0]) {
            list[group.member_count] = member[group.member_count];
            group.member_count++;
        }
    }
    if (!name[0] || group.member_count == 0) {
        tell_group(call, node, none);
        return;
    }
    group.swap = is_on(node, "swap", true);
    group.exclusive = is_on(node, "exclusive", true);
    group.persistent = is_on(node, "persistent", false);
    call->group(&group, node->key_line, call->data);
}

static void read_groups(const struct import_call *call, const struct yaml_node *groups)
{
    for (const struct yaml_node *one = groups && groups->kind == YAML_MAP ? groups->first : NULL;
         one; one = one->next) {
        if (call->group)
            read_group(call, one);
        else
            tell_group(call, one, "is the configuration's, not a preset's");
    }
}

static const struct yaml_node *map_in(const struct yaml_node *map, const char *key)
{
    const struct yaml_node *child = map && map->kind == YAML_MAP ? yaml_child(map, key) : NULL;

    return child && child->kind == YAML_MAP ? child : NULL;
}

static void tell_matrix(const struct import_call *call, const struct yaml_node *matrix)
{
    if (matrix)
        call->note("", matrix->key_line, false,
                   "not kept: the matrix; here models run beside each other where the ledger has "
                   "room for both, and those that must not go into a group: `config set "
                   "groups.NAME.members A B`",
                   call->data);
}

/* Newer files have groups below routing.router.settings, older ones at the top.  Of groups and
 * matrix one is in force: the one that `use` names, or at the top the one that is there. */
static const struct yaml_node *groups_of(const struct import_call *call,
                                         const struct yaml_node *root)
{
    const struct yaml_node *router = map_in(map_in(root, "routing"), "router");
    const struct yaml_node *settings = map_in(router, "settings");
    const struct yaml_node *use = router ? yaml_child(router, "use") : NULL;

    if (yaml_child(root, "groups") || yaml_child(root, "matrix")) {
        tell_matrix(call, yaml_child(root, "matrix"));
        return yaml_child(root, "groups");
    }
    if (!use || use->kind != YAML_SCALAR || strcmp(use->text, "matrix") != 0)
        return map_in(settings, "groups");
    tell_matrix(call, map_in(settings, "matrix"));
    return NULL;
}

/* What holds for the whole file and is not kept, and where this program has it. */
static const struct {
    const char *key, *instead;
} file_without[] = {
    {"apiKeys", "`serve --token-file` is alike"},
    {"includeAliasesInList", "aliases are answered to and not listed"},
    {"hooks", "`run --detach --preset NAME` starts one before anybody asks"},
    {"peers", "this daemon serves the engines of its own machine"},
    {"profiles", "a client's word is the name or an alias of one preset"},
    {"selectors", "a client's word is the name or an alias of one preset"},
    {"upstream", "engines are asked by the routes of docs/HTTP.md alone"},
    {"store", "history is kept in the state folder (--state-dir)"},
    {"performance", "`gpus` and the page show the machine"},
};

static void tell_file_key(const struct import_call *call, const struct yaml_node *node)
{
    static const char *const elsewhere[] = {
        "models", "macros",  "startPort", "logLevel",      "groups",
        "matrix", "routing", "globalTTL", "unloadTimeout", "healthCheckTimeout"};
    const char *instead = NULL;
    char sentence[256];

    for (size_t i = 0; i < sizeof elsewhere / sizeof elsewhere[0]; i++)
        if (strcmp(node->key, elsewhere[i]) == 0)
            return;
    if (strncmp(node->key, "x-", 2) == 0)
        return; /* by custom a place for anchors */
    for (size_t i = 0; i < sizeof file_without / sizeof file_without[0]; i++)
        if (strcmp(node->key, file_without[i].key) == 0)
            instead = file_without[i].instead;
    snprintf(sentence, sizeof sentence, "not kept: %.60s%s%s", node->key, instead ? "; " : "",
             instead ? instead : "");
    call->note("", node->key_line, false, sentence, call->data);
}

enum dgo_status import_llama_swap(const struct import_call *call, struct dgo_error *err)
{
    struct dgo_arena arena = {.limit_bytes = YAML_MEMORY_MAX};
    const struct yaml_node *root = NULL, *models = NULL;
    enum dgo_status status = yaml_tree_parse_foreign(call->text, call->length, &arena, &root, err);

    if (status == DGO_OK && root->kind == YAML_MAP)
        models = yaml_child(root, "models");
    if (status == DGO_OK && (!models || models->kind != YAML_MAP))
        status =
            dgo_fail(err, DGO_EFORMAT, "it has no map of models, as llama-swap's config.yaml has");
    if (status == DGO_OK) {
        for (const struct yaml_node *one = root->first; one; one = one->next)
            tell_file_key(call, one);
        for (const struct yaml_node *one = models->first; one && status == DGO_OK; one = one->next)
            if (!read_model(call, root, one, &arena))
                status = dgo_fail(err, DGO_ENOMEM, "out of memory for presets");
        if (status == DGO_OK)
            read_groups(call, groups_of(call, root));
    }
    dgo_arena_done(&arena);
    return status;
}
