/* cmd_ps.c - `dualgpuopt ps`: the daemon's launches. */
#include "ask.h"
#include "dgo_clock.h"
#include "dgo_units.h"
#include "print.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static const char *text_of(const json_t *launch, const char *key)
{
    const char *text = json_string_value(json_object_get(launch, key));

    return text ? text : "";
}

static void add_row(struct table *table, const json_t *launch)
{
    const json_t *url = json_object_get(launch, "url");
    const json_int_t since_ns = json_integer_value(json_object_get(launch, "created_ns"));
    const uint64_t now_ns = dgo_clock_wall_ns(dgo_clock_system());
    const uint64_t age_ns = now_ns > (uint64_t)since_ns ? now_ns - (uint64_t)since_ns : 0;
    char age[DGO_UNIT_TEXT_MAX];

    table_cell(table, "%" JSON_INTEGER_FORMAT, json_integer_value(json_object_get(launch, "id")));
    table_cell(table, "%s", text_of(launch, "name"));
    table_cell(table, "%s%s", text_of(launch, "state"),
               json_is_true(json_object_get(launch, "failed")) ? " (failed)" : "");
    table_cell(table, "%s", dgo_duration_text(age_ns / DGO_NS_PER_S * DGO_NS_PER_S, age));
    table_cell(table, "%" JSON_INTEGER_FORMAT,
               json_integer_value(json_object_get(launch, "request_count")));
    table_cell(table, "%s", json_is_true(json_object_get(launch, "pinned")) ? "pinned" : "");
    table_cell(table, "%s", url ? json_string_value(url) : text_of(launch, "text"));
}

static void print_table(const json_t *launches, bool all)
{
    struct table *table = table_new();
    const json_t *launch;
    size_t at;

    table_column(table, "id", true);
    table_column(table, "name", false);
    table_column(table, "state", false);
    table_column(table, "age", true);
    table_column(table, "requests", true);
    table_column(table, "", false);
    table_column(table, "address", false);
    json_array_foreach(json_object_get(launches, "launches"), at, launch)
    {
        if (all || strcmp(text_of(launch, "state"), "ended") != 0)
            add_row(table, launch);
    }
    table_print(table);
}

static int run(const struct cmd_call *call)
{
    int exit_status = 0;
    json_t *launches = ask_launches(call, &exit_status);

    if (!launches)
        return exit_status;
    if (option_given(&call->options, OPTION_JSON))
        return print_json(launches);
    print_table(launches, option_given(&call->options, OPTION_ALL));
    json_decref(launches);
    return 0;
}

const struct cmd cmd_ps = {
    .name = "ps",
    .does = "list the daemon's launches",
    .usage = "[--all]",
    .examples = "dualgpuopt ps\n"
                "dualgpuopt ps --all\n"
                "dualgpuopt ps --json",
    .details = "--json gives all of them, with plan, comparison and what the daemon did.",
    .options = {OPTION_ALL, OPTION_JSON, OPTION_SOCKET, OPTION_STATE_DIR, OPTION_HELP},
    .run = run,
};
