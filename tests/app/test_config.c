/* test_config.c - the configuration file: what it may say, whose word counts, edits that keep the
 * rest, saving, and reading it again while running. */
#include "check.h"
#include "config_internal.h"
#include "config_watch.h"
#include "dgo_file.h"
#include "dgo_units.h"
#include "view_config.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

static char *home[] = {(char *)"HOME=/home/somebody", NULL};

static enum dgo_status parse(const char *text, char *const *environment,
                             const struct config **config, struct dgo_error *err)
{
    static struct options given;

    assert_int_equal(options_init(&given, environment, NULL), DGO_OK);
    return config_parse(&given, environment, text, strlen(text), config, err);
}

static const struct {
    const char *name, *text;
    const char *sentence; /* part of the error; NULL: accepted */
} rows[] = {
    {"empty", "", NULL},
    {"comments alone", "# nothing\n", NULL},
    {"document mark alone", "---\n", NULL},
    {"an option", "ctx: 8192\n", NULL},
    {"tokens max", "ctx: max\n", NULL},
    {"a flag", "spread: true\n", NULL},
    {"a section of comments", "alerts:\n  # free: 1GiB\n", NULL},
    {"flow", "{ctx: 8192, alerts: {free: 1GiB, hold: 3s}, components: {optimizer: gpu}}", NULL},
    {"one folder without a list", "models: ~/models\n", NULL},
    {"engine by name", "engine: llama-server\n", NULL},
    {"groups of comments", "groups:\n  # none\n", NULL},
    {"groups",
     "groups:\n  chat:\n    members: [a, \"b c\"]\n    exclusive: false\n"
     "  always: {members: [e], persistent: true, swap: false}\n",
     NULL},
    {"groups as a list", "groups: [a]\n", "line 1, column 9: groups must be a map like {chat:"},
    {"a group as a list", "groups: {chat: [a]}\n", "groups.chat must be a map like {members:"},
    {"a group of nobody", "groups: {chat: {swap: true}}\n", "groups.chat has no members"},
    {"no members", "groups: {chat: {members: []}}\n", "groups.chat.members must be a list"},
    {"one member", "groups: {chat: {members: a}}\n", "groups.chat.members must be a list"},
    {"a member without a name", "groups: {chat: {members: [a, {}]}}\n", "a name is needed"},
    {"a member of two", "groups: {x: {members: [a]}, y: {members: [b, a]}}\n",
     "line 1, column 46: 'a' is a member of group 'x' already"},
    {"a member twice", "groups: {x: {members: [a, a]}}\n", "'a' is a member of group 'x' already"},
    {"a group's flag", "groups: {x: {members: [a], swap: yes}}\n",
     "line 1, column 34: groups.x.swap must be true or false"},
    {"a group's key", "groups: {x: {members: [a], persistant: true}}\n",
     "line 1, column 28: unknown key 'groups.x.persistant'; did you mean 'persistent'?"},
    {"a group's key, nothing near", "groups: {x: {ttl: 3}}\n",
     "unknown key 'groups.x.ttl'; a group has members, swap, exclusive, persistent"},
    {"nearly groups", "group: {}\n", "did you mean 'groups'?"},
    {"unknown key", "parallel: 2\nctxx: 1\n",
     "line 2, column 1: unknown key 'ctxx'; did you mean 'ctx'?"},
    {"unknown, nothing near", "colour: red\n", "line 1, column 1: unknown key 'colour'; 'man"},
    {"underscore", "kv_type: f16\n", "did you mean 'kv-type'?"},
    {"unknown alert", "alerts: {memory: 5}\n",
     "line 1, column 10: unknown key 'alerts.memory'; did you mean 'alerts.memory-percent'?"},
    {"unknown component", "components:\n  optimiser: cpu\n",
     "line 2, column 3: unknown key 'components.optimiser'; did you mean 'components.optimizer'?"},
    {"component elsewhere", "components: {optimizer: disk}\n", "must be cpu, gpu or auto"},
    {"number out of range", "alerts: {memory-percent: 101}\n",
     "line 1, column 26: alerts.memory-percent: '101'"},
    {"word for a number", "parallel: many\n", "line 1, column 11: parallel: 'many'"},
    {"size", "margin: lots\n", "line 1, column 9: margin: 'lots' is not a size"},
    {"choice", "objective: fast\n", "speed|context|safe"},
    {"flag not a flag", "spread: yes\n", "spread must be true or false, not 'yes'"},
    {"flag in quotes", "spread: 'true'\n", "spread must be true or false"},
    {"no value", "ctx:\n", "line 1, column 5: ctx has no value"},
    {"list for a value", "ctx: [1]\n", "line 1, column 6: ctx must be one value, not a list"},
    {"twice", "ctx: 1\nctx: 2\n", "line 2, column 1: 'ctx' stands twice, first in line 1"},
    {"relative folder", "models: [models]\n", "line 1, column 10: models: 'models' must be an abs"},
    {"relative machine file", "gpus: two.yaml\n", "must be an absolute path"},
    {"not a map", "- ctx\n", "line 1, column 1: the file must be lines like"},
    {"anchor", "ctx: &a 1\n", "anchors (&name) are not accepted"},
    {"help is no setting", "help: true\n", "unknown key 'help'"},
    {"a file cannot name itself", "config: /x\n", "unknown key 'config'"},
    {"not UTF-8", "gpus: /\xff\n", "byte 7"},
};

static void test_what_a_file_may_say(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const struct config *config = NULL;
        struct dgo_error err = {0};
        const enum dgo_status status = parse(rows[i].text, home, &config, &err);

        CHECK_ROW((status == DGO_OK) == !rows[i].sentence, rows[i].name);
        if (rows[i].sentence) {
            CHECK_ROW(err.status == DGO_EFORMAT, rows[i].name);
            CHECK_ROW(strstr(err.text, rows[i].sentence), rows[i].name);
            CHECK_ROW(strncmp(err.text, "/home/somebody/.config/dualgpuopt/config.yaml: ", 47) == 0,
                      rows[i].name);
        }
        config_unref(config);
    }
}

static void test_values_and_their_origin(void **state)
{
    static const char text[] = "ctx: 16384\nspread: true\nexplain: true\nparallel: 2\n"
                               "models: [~/a, /b]\nalerts: {free: 1GiB, hold: 3s}\n"
                               "components: {optimizer: auto, batch: cpu}\n";
    char *environment[] = {(char *)"HOME=/h",
                           (char *)"DUALGPUOPT_SPREAD=0",
                           (char *)"DUALGPUOPT_PARALLEL=8",
                           (char *)"DUALGPUOPT_ALERTS_HOLD=9s",
                           (char *)"DUALGPUOPT_COMPONENT_OPTIMIZER=cpu",
                           NULL};
    const struct config *config = NULL;
    struct options given;

    (void)state;
    assert_int_equal(options_init(&given, environment, NULL), DGO_OK);
    assert_int_equal(options_set(&given, OPTION_CTX, "4096", ORIGIN_FLAG, NULL), DGO_OK);
    assert_int_equal(config_parse(&given, environment, text, strlen(text), &config, NULL), DGO_OK);
    assert_int_equal(option_number(&config->options, OPTION_CTX), 4096);
    assert_int_equal(config->options.value[OPTION_CTX].origin, ORIGIN_FLAG);
    assert_false(option_given(&config->options, OPTION_SPREAD)); /* no is an answer too */
    assert_true(option_given(&config->options, OPTION_EXPLAIN));
    assert_int_equal(config->options.value[OPTION_EXPLAIN].line, 3);
    assert_int_equal(option_number(&config->options, OPTION_PARALLEL), 8);
    assert_string_equal(option_text(&config->options, OPTION_HOST), "127.0.0.1");
    assert_int_equal(config->folders.count, 2);
    assert_string_equal(config->folders.path[0], "/h/a");
    assert_int_equal(config->setting[SETTING_ALERTS_FREE].number, DGO_GIB);
    assert_int_equal(config->setting[SETTING_ALERTS_FREE].origin, ORIGIN_FILE);
    assert_int_equal(config->setting[SETTING_ALERTS_HOLD].number, 9 * DGO_NS_PER_S);
    assert_int_equal(config->setting[SETTING_ALERTS_TEMPERATURE_C].number, 87);
    assert_int_equal(config->component[COMPONENT_OPTIMIZER].hint, DGO_HINT_CPU);
    assert_int_equal(config->component[COMPONENT_OPTIMIZER].origin, ORIGIN_ENVIRONMENT);
    assert_int_equal(config->component[COMPONENT_BATCH].line, 7);
    config_unref(config);
}

static void test_groups(void **state)
{
    const struct config *config = NULL;
    const struct config_group *group;

    (void)state;
    assert_int_equal(
        parse("groups:\n  chat: {members: [a, b]}\n"
              "  always: {members: [e], swap: false, exclusive: false, persistent: true}\n",
              home, &config, NULL),
        DGO_OK);
    assert_int_equal(config->groups.count, 2);
    group = config_group_of(&config->groups, "b");
    assert_string_equal(group->name, "chat");
    assert_true(group->swap && group->exclusive && !group->persistent);
    group = config_group_of(&config->groups, "e");
    assert_int_equal(group->line, 3);
    assert_true(!group->swap && !group->exclusive && group->persistent);
    assert_null(config_group_of(&config->groups, "chat"));
    config_unref(config);
}

static void test_a_bad_variable_is_named(void **state)
{
    static const char *const bad[][2] = {
        {"DUALGPUOPT_ALERTS_FREE=lots", "DUALGPUOPT_ALERTS_FREE: 'lots' is not a size"},
        {"DUALGPUOPT_COMPONENT_BATCH=disk", "DUALGPUOPT_COMPONENT_BATCH: 'disk' is neither"},
        {"DUALGPUOPT_MODELS=/a:b", "DUALGPUOPT_MODELS: 'b' must be an absolute path"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        char *environment[] = {(char *)bad[i][0], NULL};
        const struct config *config = NULL;
        struct dgo_error err = {0};

        CHECK_ROW(parse("", environment, &config, &err) == DGO_EUSAGE, bad[i][0]);
        CHECK_ROW(strstr(err.text, bad[i][1]), bad[i][0]);
    }
}

static const struct {
    const char *name, *before, *key, *value,
        *after; /* value NULL: taken out; after NULL: refused */
} edits[] = {
    {"into nothing", "", "ctx", "max", "ctx: max\n"},
    {"below comments", "# mine\n", "ctx", "max", "# mine\nctx: max\n"},
    {"last line without an end", "# mine", "ctx", "1", "# mine\nctx: 1\n"},
    {"in place", "# a\nctx: 1   # why\nspread: true\n", "ctx", "2",
     "# a\nctx: 2   # why\nspread: true\n"},
    {"behind the last", "ctx: 1 # why\n# end\n", "parallel", "2",
     "ctx: 1 # why\nparallel: 2\n# end\n"},
    {"as deep as the others", "  ctx: 1\n", "parallel", "2", "  ctx: 1\n  parallel: 2\n"},
    {"quotes where they are needed", "", "ask", "a \"b\": c\n", "ask: \"a \\\"b\\\": c\\x0a\"\n"},
    {"quoted before", "kv-type: \"f16\" # x\n", "kv-type", "q8_0", "kv-type: q8_0 # x\n"},
    {"behind characters of many bytes", "# \xc3\xa4\xe2\x82\xac\nctx: 1 # \xc3\xb6\n", "ctx", "2",
     "# \xc3\xa4\xe2\x82\xac\nctx: 2 # \xc3\xb6\n"},
    {"new section", "ctx: 1\n", "alerts.free", "1GiB", "ctx: 1\nalerts:\n  free: 1GiB\n"},
    {"into a section", "alerts:\n    hold: 3s # x\nctx: 1\n", "alerts.free", "1GiB",
     "alerts:\n    hold: 3s # x\n    free: 1GiB\nctx: 1\n"},
    {"into a section of comments", "alerts: # mine\n  # hold: 3s\nctx: 1\n", "alerts.free", "1GiB",
     "alerts: # mine\n  free: 1GiB\n  # hold: 3s\nctx: 1\n"},
    {"into braces", "alerts: {hold: 3s}\n", "alerts.free", "1GiB",
     "alerts: {free: 1GiB, hold: 3s}\n"},
    {"into empty braces", "{}\n", "ctx", "1", "{ctx: 1}\n"},
    {"section into braces", "{ctx: 1}\n", "alerts.free", "1GiB",
     "{alerts: {free: 1GiB}, ctx: 1}\n"},
    {"list in lines", "models:\n- /a\n- /b # gone\nctx: 1\n", "models", "/c",
     "models: [/c] # gone\nctx: 1\n"},
    {"list in brackets", "models: [/a, /b] # stays\n", "models", "/c", "models: [/c] # stays\n"},
    {"out", "ctx: 1\nparallel: 2 # x\nspread: true\n", "parallel", NULL, "ctx: 1\nspread: true\n"},
    {"out of a section", "alerts:\n  hold: 3s\n  free: 1GiB\n", "alerts.hold", NULL,
     "alerts:\n  free: 1GiB\n"},
    {"the last of a section", "alerts:\n  hold: 3s\nctx: 1\n", "alerts.hold", NULL, "ctx: 1\n"},
    {"out of braces, first", "{ctx: 1, parallel: 2}\n", "ctx", NULL, "{parallel: 2}\n"},
    {"out of braces, last", "{ctx: 1, parallel: 2}\n", "parallel", NULL, "{ctx: 1}\n"},
    {"out, not in", "ctx: 1\n", "parallel", NULL, NULL},
    {"a group into nothing", "# mine\n", "groups.chat.members", "a b: c",
     "# mine\ngroups: {chat: {members: [\"a b: c\"]}}\n"},
    {"a second group", "groups:\n  x: {members: [a]} # one\nctx: 1\n", "groups.y.members", "b",
     "groups:\n  x: {members: [a]} # one\n  y: {members: [b]}\nctx: 1\n"},
    {"a group's switch: the rest of it stays", "groups: {x: {members: [a, b], swap: false}}\n",
     "groups.x.exclusive", "false",
     "groups: {x: {members: [a, b], swap: false, exclusive: false}}\n"},
    {"a group in lines", "groups:\n  x:\n    members:\n      - a\n    swap: false\nctx: 1\n",
     "groups.x.persistent", "true",
     "groups:\n  x: {members: [a], swap: false, persistent: true}\nctx: 1\n"},
    {"a group's switch, back to what it is by itself",
     "groups: {x: {members: [a], exclusive: false}}\n", "groups.x.exclusive", NULL,
     "groups: {x: {members: [a]}}\n"},
    {"members alone", "groups: {x: {members: [a], swap: false}}\n", "groups.x", "c",
     "groups: {x: {members: [c], swap: false}}\n"},
    {"a name with a point that is there already", "groups: {a.b: {members: [a]}}\n",
     "groups.a.b.swap", "false", "groups: {a.b: {members: [a], swap: false}}\n"},
    {"a group out", "groups:\n  x: {members: [a]}\n  y: {members: [b]}\n", "groups.x", NULL,
     "groups:\n  y: {members: [b]}\n"},
    {"the last group out", "ctx: 1\ngroups:\n  x: {members: [a]}\n", "groups.x", NULL, "ctx: 1\n"},
    {"all groups out", "ctx: 1\ngroups:\n  x: {members: [a]}\n", "groups", NULL, "ctx: 1\n"},
    {"a group out that is not in", "ctx: 1\n", "groups.x", NULL, NULL},
};

static const struct {
    const char *key, *value, *sentence;
} group_refusals[] = {
    {"groups.new.swap", "true", "there is no group 'new': give it members first"},
    {"groups.x.swap", "yes", "groups.x.swap must be true or false"},
    {"groups.x.ttl", "3", "groups.x.ttl is no key: a group has members, swap, exclusive"},
    {"groups.new.members", "a", "'a' is a member of group 'x' already"},
    {"groups.new.members", "", "a member of a group needs a name"},
    {"groups.a b.members", "c", "a group's name has letters, digits, - and _"},
    {"groups.a.b.members", "c", "a group's name has letters, digits, - and _"},
    {"groups.a:\n  b.members", "c", "a group's name has letters, digits, - and _"},
    {"groups..members", "c", "a group's name has 1 to 63 characters"},
    {"groups.", "c", "a group's name has 1 to 63 characters"},
    {"groups.0123456789012345678901234567890123456789012345678901234567890123.members", "c",
     "a group's name has 1 to 63 characters"},
};

static void test_groups_that_cannot_be(void **state)
{
    static const char before[] = "groups: {x: {members: [a]}}\n";

    (void)state;
    for (size_t i = 0; i < sizeof group_refusals / sizeof group_refusals[0]; i++) {
        const char *values[] = {group_refusals[i].value};
        struct dgo_error err = {0};
        char *made = NULL;
        size_t length;

        CHECK_ROW(config_edit(before, sizeof before - 1, group_refusals[i].key, values, 1, &made,
                              &length, &err) != DGO_OK,
                  group_refusals[i].key);
        CHECK_ROW(strstr(err.text, group_refusals[i].sentence), err.text);
        free(made);
    }
}

/* Of several members: none twice, and no more groups than there is room for. */
static void test_members_and_groups_have_bounds(void **state)
{
    const char *twice[] = {"a", "b", "a"}, *one[] = {"m0"}, *many[CONFIG_MEMBER_MAX + 1];
    const struct config *config = NULL;
    char text[64 * (CONFIG_GROUP_MAX + 1)];
    struct dgo_error err = {0};
    char *made = NULL;
    size_t length, at = 0;

    (void)state;
    assert_int_not_equal(
        config_edit("ctx: 1\n", 7, "groups.x.members", twice, 3, &made, &length, &err), DGO_OK);
    assert_non_null(strstr(err.text, "'a' stands twice among the members"));
    for (int m = 0; m <= CONFIG_MEMBER_MAX; m++)
        many[m] = "a"; /* they are counted before they are compared */
    assert_int_equal(config_edit("ctx: 1\n", 7, "groups.x.members", many, CONFIG_MEMBER_MAX + 1,
                                 &made, &length, &err),
                     DGO_ELIMIT);
    at = (size_t)snprintf(text, sizeof text, "groups: {x: {members: [a");
    for (int m = 0; m < CONFIG_MEMBER_MAX; m++)
        at += (size_t)snprintf(text + at, sizeof text - at, ",m%d", m);
    (void)snprintf(text + at, sizeof text - at, "]}}\n");
    assert_int_equal(parse(text, home, &config, &err), DGO_EFORMAT);
    assert_non_null(strstr(err.text, "groups.x has more than 256 members"));
    at = (size_t)snprintf(text, sizeof text, "groups:\n");
    for (int g = 0; g < CONFIG_GROUP_MAX; g++)
        at += (size_t)snprintf(text + at, sizeof text - at, "  g%d: {members: [n%d]}\n", g, g);
    assert_int_not_equal(config_edit(text, at, "groups.more.members", one, 1, &made, &length, &err),
                         DGO_OK);
    assert_non_null(strstr(err.text, "there are at most"));
}

static void test_edits_keep_the_rest(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof edits / sizeof edits[0]; i++) {
        const char *values[] = {edits[i].value};
        const struct config *config = NULL;
        struct dgo_error err = {0};
        size_t length = 0;
        char *made = NULL;
        const enum dgo_status status =
            config_edit(edits[i].before, strlen(edits[i].before), edits[i].key, values,
                        edits[i].value ? 1 : 0, &made, &length, &err);

        CHECK_ROW((status == DGO_OK) == (edits[i].after != NULL), edits[i].name);
        if (status != DGO_OK)
            continue;
        made[length] = '\0'; /* config_edit leaves room for it */
        if (strcmp(made, edits[i].after) != 0)
            print_error("row \"%s\" gave:\n%s\n", edits[i].name, made);
        CHECK_ROW(strcmp(made, edits[i].after) == 0, edits[i].name);
        CHECK_ROW(parse(made, home, &config, &err) == DGO_OK, edits[i].name);
        config_unref(config);
        free(made);
    }
}

/* ---- with files ---------------------------------------------------------------------------- */

struct place {
    char folder[64], path[128], variable[96];
    char *environment[2];
    struct options given;
};

static int place_make(void **state)
{
    struct place *place = calloc(1, sizeof *place);

    (void)snprintf(place->folder, sizeof place->folder, "/tmp/dgo-config-XXXXXX");
    assert_non_null(mkdtemp(place->folder));
    (void)snprintf(place->variable, sizeof place->variable, "XDG_CONFIG_HOME=%s", place->folder);
    place->environment[0] = place->variable;
    assert_int_equal(options_init(&place->given, place->environment, NULL), DGO_OK);
    (void)snprintf(place->path, sizeof place->path, "%s/dualgpuopt/config.yaml", place->folder);
    *state = place;
    return 0;
}

static int place_remove(void **state)
{
    struct place *place = *state;
    char line[160];

    (void)snprintf(line, sizeof line, "rm -rf %s", place->folder);
    assert_int_equal(system(line), 0);
    free(place);
    return 0;
}

static void write_file(const char *path, const char *text)
{
    struct dgo_error err = {0};

    if (dgo_file_save(path, text, strlen(text), &err) != DGO_OK)
        fail_msg("%s", err.text);
}

static void expect_file(const char *path, const char *text)
{
    char *bytes = NULL;
    size_t length = 0;

    assert_int_equal(dgo_file_read(path, "x", 4096, &bytes, &length, NULL), DGO_OK);
    assert_string_equal(bytes, text);
    free(bytes);
}

static enum dgo_status set(struct place *place, const char *key, const char *value,
                           struct dgo_error *err)
{
    return config_set(&place->given, place->environment, key, &value, value ? 1 : 0, err);
}

static void test_set_makes_the_file_and_its_folder(void **state)
{
    struct place *place = *state;
    const struct config *config = NULL;
    struct dgo_error err = {0};

    assert_int_equal(config_open(&place->given, place->environment, &config, &err), DGO_OK);
    assert_false(config->from_file);
    config_unref(config);
    assert_int_equal(set(place, "ctx", "max", &err), DGO_OK);
    expect_file(place->path, "ctx: max\n");
    assert_int_equal(config_open(&place->given, place->environment, &config, &err), DGO_OK);
    assert_true(config->from_file);
    assert_int_equal(option_number(&config->options, OPTION_CTX), OPTION_TOKENS_MAX);
    config_unref(config);
}

static void test_what_is_refused_changes_nothing(void **state)
{
    struct place *place = *state;
    struct dgo_error err = {0};

    write_file(place->path, "ctx: 1\n");
    assert_int_equal(set(place, "parallel", "many", &err), DGO_EUSAGE);
    assert_string_equal(err.text, "parallel: 'many' is not a whole number from 1 to 256");
    assert_int_equal(set(place, "paralel", "2", &err), DGO_EUSAGE);
    assert_non_null(strstr(err.text, "did you mean 'parallel'?"));
    expect_file(place->path, "ctx: 1\n");
    write_file(place->path, "ctx: [\n");
    assert_int_equal(set(place, "parallel", "2", &err), DGO_EFORMAT);
    expect_file(place->path, "ctx: [\n"); /* a broken file is not "mended" */
}

static void test_mode_and_link_are_kept(void **state)
{
    struct place *place = *state;
    struct dgo_error err = {0};
    char target[160];
    struct stat info;

    (void)snprintf(target, sizeof target, "%s/dotfiles.yaml", place->folder);
    write_file(target, "ctx: 1\n");
    assert_int_equal(chmod(target, 0640), 0);
    write_file(place->path, "");
    assert_int_equal(unlink(place->path), 0);
    assert_int_equal(symlink(target, place->path), 0);
    assert_int_equal(set(place, "ctx", "2", &err), DGO_OK);
    expect_file(target, "ctx: 2\n");
    assert_int_equal(lstat(place->path, &info), 0);
    assert_true(S_ISLNK(info.st_mode));
    assert_int_equal(stat(target, &info), 0);
    assert_int_equal(info.st_mode & 07777, 0640);
}

static void test_a_named_file_must_be_there(void **state)
{
    struct place *place = *state;
    const struct config *config = NULL;
    struct dgo_error err = {0};

    assert_int_equal(
        options_set(&place->given, OPTION_CONFIG, "/nowhere/x.yaml", ORIGIN_FLAG, &err), DGO_OK);
    assert_int_equal(config_open(&place->given, place->environment, &config, &err), DGO_ENOTFOUND);
    assert_non_null(strstr(err.text, "/nowhere/x.yaml"));
}

/* ---- while running ------------------------------------------------------------------------- */

struct heard {
    struct dgo_app app;
    struct config_event last;
    unsigned count;
};

static enum dgo_status on_event(const struct dgo_event *event, void *data)
{
    struct heard *heard = data;

    heard->last = *(const struct config_event *)event->payload;
    heard->count++;
    return DGO_OK;
}

static void wait_for(struct heard *heard, unsigned count)
{
    for (unsigned i = 0; i < 600 && heard->count < count; i++)
        assert_true(sd_event_run(heard->app.loop, 50 * 1000) >= 0);
    assert_true(heard->count >= count);
}

static void test_a_change_is_told(void **state)
{
    struct place *place = *state;
    struct heard heard = {0};
    struct config_watch *watch = NULL;
    struct dgo_subscription subscription;
    struct dgo_error err = {0};
    const struct config *kept;

    assert_int_equal(dgo_app_open(&heard.app, &err), DGO_OK);
    assert_int_equal(
        dgo_bus_subscribe(heard.app.bus,
                          &(struct dgo_subscriber){.name = "test",
                                                   .topics = DGO_TOPIC_BIT(TOPIC_CONFIG_CHANGED),
                                                   .fn = on_event,
                                                   .data = &heard,
                                                   .lane = DGO_LANE_UI},
                          &subscription, &err),
        DGO_OK);
    assert_int_equal(
        config_watch_start(&heard.app, &place->given, place->environment, &watch, &err), DGO_OK);
    kept = config_ref(config_watch_current(watch));

    write_file(place->path, "ctx: 7\ncomponents: {optimizer: auto}\n"); /* as an editor: renamed */
    wait_for(&heard, 1);
    assert_true(heard.last.accepted);
    assert_int_equal(heard.last.generation, 1);
    assert_int_equal(option_number(&config_watch_current(watch)->options, OPTION_CTX), 7);
    assert_false(
        option_given(&kept->options, OPTION_CTX)); /* who kept the old one has the old one */

    write_file(place->path, "ctx: seven\n");
    wait_for(&heard, 2);
    assert_false(heard.last.accepted);
    assert_non_null(strstr(heard.last.text, "line 1, column 6: ctx: 'seven'"));
    assert_non_null(strstr(heard.last.text, "the values in force stay"));
    assert_int_equal(option_number(&config_watch_current(watch)->options, OPTION_CTX), 7);

    write_file(place->path, "ctx: 8\n");
    wait_for(&heard, 3);
    assert_true(heard.last.accepted);
    assert_int_equal(option_number(&config_watch_current(watch)->options, OPTION_CTX), 8);

    assert_int_equal(unlink(place->path), 0);
    config_watch_reload(watch); /* as on SIGHUP: told at once */
    wait_for(&heard, 4);
    assert_false(option_given(&config_watch_current(watch)->options, OPTION_CTX));

    config_unref(kept);
    config_watch_stop(watch);
    dgo_app_close(&heard.app);
}

static void test_the_view_says_where_from(void **state)
{
    const struct config *config = NULL;
    const json_t *value;
    json_t *view;
    size_t at, seen = 0;

    (void)state;
    assert_int_equal(parse("ctx: max\nready-timeout: 90s\n", home, &config, NULL), DGO_OK);
    view = view_config(config);
    json_array_foreach(json_object_get(view, "values"), at, value)
    {
        const char *key = json_string_value(json_object_get(value, "key"));

        assert_non_null(json_string_value(json_object_get(value, "help")));
        if (strcmp(key, "ctx") == 0) {
            assert_string_equal(json_string_value(json_object_get(value, "value")), "max");
            assert_int_equal(json_integer_value(json_object_get(value, "line")), 1);
            seen++;
        }
        if (strcmp(key, "ready-timeout") == 0) {
            assert_true(json_real_value(json_object_get(value, "value")) == 90.0);
            assert_string_equal(json_string_value(json_object_get(value, "origin")), "file");
            seen++;
        }
        if (strcmp(key, "batch") == 0) {
            assert_null(json_object_get(value, "value")); /* unknown is left out */
            seen++;
        }
    }
    assert_int_equal(seen, 3);
    json_decref(view);
    config_unref(config);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_a_file_may_say),
        cmocka_unit_test(test_values_and_their_origin),
        cmocka_unit_test(test_groups),
        cmocka_unit_test(test_a_bad_variable_is_named),
        cmocka_unit_test(test_members_and_groups_have_bounds),
        cmocka_unit_test(test_edits_keep_the_rest),
        cmocka_unit_test(test_groups_that_cannot_be),
        cmocka_unit_test(test_the_view_says_where_from),
        cmocka_unit_test_setup_teardown(test_set_makes_the_file_and_its_folder, place_make,
                                        place_remove),
        cmocka_unit_test_setup_teardown(test_what_is_refused_changes_nothing, place_make,
                                        place_remove),
        cmocka_unit_test_setup_teardown(test_mode_and_link_are_kept, place_make, place_remove),
        cmocka_unit_test_setup_teardown(test_a_named_file_must_be_there, place_make, place_remove),
        cmocka_unit_test_setup_teardown(test_a_change_is_told, place_make, place_remove),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
