/* print_resources.c - the resources view for people: the same values that --json prints. */
#include "print.h"

#include "dgo_units.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static uint64_t count_of(const json_t *object, const char *key)
{
    return (uint64_t)json_integer_value(json_object_get(object, key));
}

static const char *text_of(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));

    return text ? text : "";
}

/* "-" where there was no sample. */
static const char *time_of(const json_t *object, const char *key, char text[DGO_UNIT_TEXT_MAX])
{
    if (!json_object_get(object, key))
        return "-";
    return dgo_duration_text(count_of(object, key), text);
}

static void times_cell(struct table *table, const json_t *row, const char *p50, const char *p99)
{
    char middle[DGO_UNIT_TEXT_MAX], late[DGO_UNIT_TEXT_MAX];

    if (json_object_get(row, p50))
        table_cell(table, "%s / %s", time_of(row, p50, middle), time_of(row, p99, late));
    else
        table_cell(table, "-");
}

/* ---- components ---- */

static void place_cell(struct table *table, const json_t *row)
{
    const json_t *override = json_object_get(row, "override");
    const uint64_t gpu_runs = count_of(row, "gpu_runs");

    if (strcmp(text_of(row, "state"), "planned") == 0)
        table_cell(table, "comes with its feature");
    else if (override)
        table_cell(table, "%s, %s by %s", text_of(row, "place"), text_of(override, "hint"),
                   text_of(override, "origin"));
    else if (gpu_runs)
        table_cell(table, "%s, %" PRIu64 " times gpu", text_of(row, "place"), gpu_runs);
    else
        table_cell(table, "%s", text_of(row, "place"));
}

static void print_components(const json_t *components)
{
    struct table *table = table_new();
    const json_t *row;
    size_t i;

    table_column(table, "component", false);
    table_column(table, "lane", false);
    table_column(table, "hint", false);
    table_column(table, "jobs", true);
    table_column(table, "in caller", true);
    table_column(table, "failed", true);
    table_column(table, "rejected", true);
    table_column(table, "queue p50 / p99", true);
    table_column(table, "run p50 / p99", true);
    table_column(table, "place", false);
    for (i = 0; (row = json_array_get(components, i)); i++) {
        table_cell(table, "%s", text_of(row, "name"));
        table_cell(table, "%s", text_of(row, "lane"));
        table_cell(table, "%s", text_of(row, "hint"));
        table_cell(table, "%" PRIu64, count_of(row, "accepted"));
        table_cell(table, "%" PRIu64, count_of(row, "ran_inline"));
        table_cell(table, "%" PRIu64, count_of(row, "failed"));
        table_cell(table, "%" PRIu64, count_of(row, "rejected"));
        times_cell(table, row, "queue_p50_ns", "queue_p99_ns");
        times_cell(table, row, "run_p50_ns", "run_p99_ns");
        place_cell(table, row);
    }
    table_print(table);
}

/* ---- lanes, budget, decisions ---- */

static void print_lanes(const json_t *lanes)
{
    struct table *table = table_new();
    const json_t *row;
    size_t i;

    printf("\n");
    table_column(table, "lane", false);
    table_column(table, "threads", true);
    table_column(table, "allowed", true);
    table_column(table, "blocked", true);
    table_column(table, "queued", true);
    table_column(table, "at most", true);
    table_column(table, "limit", true);
    table_column(table, "taken", true);
    table_column(table, "wakes", true);
    table_column(table, "queue p99", true);
    table_column(table, "policy", false);
    for (i = 0; (row = json_array_get(lanes, i)); i++) {
        char late[DGO_UNIT_TEXT_MAX];

        table_cell(table, "%s", text_of(row, "name"));
        table_cell(table, "%" PRIu64, count_of(row, "workers"));
        table_cell(table, "%" PRIu64, count_of(row, "allowed"));
        table_cell(table, "%" PRIu64, count_of(row, "blocked"));
        table_cell(table, "%" PRIu64, count_of(row, "queued"));
        table_cell(table, "%" PRIu64, count_of(row, "queued_max"));
        table_cell(table, "%" PRIu64, count_of(row, "limit"));
        table_cell(table, "%" PRIu64, count_of(row, "taken"));
        table_cell(table, "%" PRIu64, count_of(row, "wakes"));
        table_cell(table, "%s", time_of(row, "queue_p99_ns", late));
        table_cell(table, "%s", text_of(row, "policy"));
    }
    table_print(table);
}

static void print_budget(const json_t *budget, const json_t *pressure)
{
    char delay[DGO_UNIT_TEXT_MAX], ran[DGO_UNIT_TEXT_MAX];

    printf("\nbudget: %" PRIu64 " CPUs", count_of(budget, "cpus"));
    if (json_object_get(budget, "quota_permille"))
        printf(", of which a cgroup gives %.2f", (double)count_of(budget, "quota_permille") / 1000);
    else
        printf(", no cgroup quota");
    printf("; %" PRIu64 " normal and %" PRIu64
           " background threads, for %.0f %% and %.0f %% of their "
           "time; %" PRIu64 " engine threads runnable\n",
           count_of(budget, "normal_threads"), count_of(budget, "background_threads"),
           (double)count_of(budget, "normal_duty_permille") / 10,
           (double)count_of(budget, "background_duty_permille") / 10,
           count_of(budget, "engine_threads"));
    printf("pressure: engine threads waited for a CPU %.1f %% of the time",
           (double)count_of(pressure, "engine_run_delay_permille") / 10);
    if (json_object_get(pressure, "own_run_delay_ns"))
        printf("; our own waited %s and ran %s", time_of(pressure, "own_run_delay_ns", delay),
               time_of(pressure, "own_run_ns", ran));
    printf("\n");
}

static void print_decisions(const json_t *decisions)
{
    const json_t *row;
    size_t i;

    if (json_array_size(decisions) > 0)
        printf("\ndecisions:\n");
    for (i = 0; (row = json_array_get(decisions, i)); i++) {
        char age[DGO_UNIT_TEXT_MAX];

        printf("  %s ago, %s: %" PRIu64 " -> %" PRIu64 ", %s\n", time_of(row, "age_ns", age),
               text_of(row, "lane"), count_of(row, "before"), count_of(row, "after"),
               text_of(row, "why"));
    }
}

/* ---- bus ---- */

static void print_topics(const json_t *topics)
{
    struct table *table = table_new();
    const json_t *row;
    size_t i;

    printf("\n");
    table_column(table, "topic", false);
    table_column(table, "priority", false);
    table_column(table, "handlers", false);
    table_column(table, "when full", false);
    table_column(table, "published", true);
    table_column(table, "unheard", true);
    table_column(table, "delivered", true);
    table_column(table, "coalesced", true);
    table_column(table, "dropped", true);
    table_column(table, "refused", true);
    for (i = 0; (row = json_array_get(topics, i)); i++) {
        const char *drop = text_of(row, "drop");

        table_cell(table, "%s", text_of(row, "name"));
        table_cell(table, "%s", text_of(row, "priority"));
        table_cell(table, "%s", text_of(row, "hint"));
        table_cell(table, "%s",
                   strcmp(drop, "never") == 0     ? "never dropped"
                   : strcmp(drop, "batched") == 0 ? "batched, oldest goes"
                                                  : "newest wins");
        table_cell(table, "%" PRIu64, count_of(row, "published"));
        table_cell(table, "%" PRIu64, count_of(row, "unheard"));
        table_cell(table, "%" PRIu64, count_of(row, "delivered"));
        table_cell(table, "%" PRIu64, count_of(row, "coalesced"));
        table_cell(table, "%" PRIu64, count_of(row, "dropped"));
        table_cell(table, "%" PRIu64, count_of(row, "refused"));
    }
    table_print(table);
}

static void print_subscribers(const json_t *subscribers)
{
    struct table *table;
    const json_t *row;
    size_t i;

    if (json_array_size(subscribers) == 0)
        return;
    table = table_new();
    printf("\n");
    table_column(table, "subscriber", false);
    table_column(table, "lane", false);
    table_column(table, "delivered", true);
    table_column(table, "filtered", true);
    table_column(table, "failed", true);
    table_column(table, "slow", true);
    table_column(table, "time", true);
    table_column(table, "slowest", true);
    table_column(table, "waiting", true);
    for (i = 0; (row = json_array_get(subscribers, i)); i++) {
        char sum[DGO_UNIT_TEXT_MAX], slowest[DGO_UNIT_TEXT_MAX];

        table_cell(table, "%s", text_of(row, "name"));
        table_cell(table, "%s", text_of(row, "lane"));
        table_cell(table, "%" PRIu64, count_of(row, "delivered"));
        table_cell(table, "%" PRIu64, count_of(row, "filtered"));
        table_cell(table, "%" PRIu64, count_of(row, "failed"));
        table_cell(table, "%" PRIu64, count_of(row, "slow"));
        table_cell(table, "%s", time_of(row, "time_ns", sum));
        table_cell(table, "%s", time_of(row, "slowest_ns", slowest));
        table_cell(table, "%" PRIu64, count_of(row, "waiting"));
    }
    table_print(table);
}

/* ---- ledger ---- */

static void bytes_cell(struct table *table, const json_t *row, const char *key)
{
    char bytes[DGO_UNIT_TEXT_MAX];

    if (json_object_get(row, key))
        table_cell(table, "%s", dgo_mib_text(count_of(row, key), bytes));
    else
        table_cell(table, "-");
}

/* Measured less planned may be below nothing. */
static void drift_cell(struct table *table, const json_t *row)
{
    const json_int_t drift = json_integer_value(json_object_get(row, "drift_bytes"));
    char bytes[DGO_UNIT_TEXT_MAX];

    table_cell(table, "%s%s", drift < 0 ? "-" : "",
               dgo_mib_text(drift < 0 ? -(uint64_t)drift : (uint64_t)drift, bytes));
}

static void print_ledger(const json_t *vram)
{
    static const char *const columns[][2] = {
        {"total", "total_bytes"},
        {"driver", "driver_bytes"},
        {"ours planned", "ours_planned_bytes"},
        {"ours measured", "ours_measured_bytes"},
        {"others", "others_bytes"},
        {"free", "free_bytes"},
        {"promisable", "promisable_bytes"},
    };
    const json_t *gpus = json_object_get(vram, "gpus"), *row;
    struct table *table;
    size_t i;

    if (json_array_size(gpus) == 0) {
        printf("\nVRAM ledger: no GPU has been seen\n");
        return;
    }
    printf("\nVRAM ledger (%" PRIu64 " promises given, %" PRIu64 " refused, %" PRIu64
           " expired):\n",
           count_of(vram, "granted"), count_of(vram, "refused"), count_of(vram, "expired"));
    table = table_new();
    table_column(table, "gpu", true);
    table_column(table, "card", false);
    for (size_t c = 0; c < sizeof columns / sizeof columns[0]; c++)
        table_column(table, columns[c][0], true);
    table_column(table, "drift", true);
    for (i = 0; (row = json_array_get(gpus, i)); i++) {
        table_cell(table, "%" PRIu64, count_of(row, "gpu_index"));
        table_cell(table, "%s", text_of(row, "gpu_name"));
        for (size_t c = 0; c < sizeof columns / sizeof columns[0]; c++)
            bytes_cell(table, row, columns[c][1]);
        drift_cell(table, row);
    }
    table_print(table);
}

/* ---- caches, self-check, proof ---- */

static void print_caches(const json_t *caches)
{
    const json_t *row;
    size_t i;

    printf("\n");
    for (i = 0; (row = json_array_get(caches, i)); i++)
        printf("cache of %s: %" PRIu64 " of %" PRIu64 " entries, %" PRIu64 " hits, %" PRIu64
               " misses, %" PRIu64 " joined, %" PRIu64 " evicted\n",
               text_of(row, "name"), count_of(row, "entries"), count_of(row, "capacity"),
               count_of(row, "hits"), count_of(row, "misses"), count_of(row, "joined"),
               count_of(row, "evicted"));
}

static void print_self_check(const json_t *check)
{
    const json_t *row;
    size_t i;

    printf("\nself-check:\n");
    for (i = 0; (row = json_array_get(json_object_get(check, "steps"), i)); i++) {
        char took[DGO_UNIT_TEXT_MAX];

        printf("  %-8s %-11s %s (%s)\n", text_of(row, "verdict"), text_of(row, "name"),
               text_of(row, "text"), time_of(row, "took_ns", took));
    }
}

static void print_rows(const char *title, const json_t *proof, const char *key, const char *known)
{
    const json_t *rows = json_object_get(proof, key), *row;
    size_t i;

    if (!json_is_true(json_object_get(proof, known)))
        printf("  %s: cannot be read\n", title);
    else if (json_array_size(rows) == 0)
        printf("  %s: none\n", title);
    for (i = 0; (row = json_array_get(rows, i)); i++)
        printf("  %s: %s %s: %s\n", title,
               json_is_true(json_object_get(row, "allowed")) ? "allowed" : "NOT ALLOWED",
               text_of(row, "path"), text_of(row, "why"));
}

static void print_proof(const json_t *proof)
{
    char bytes[DGO_UNIT_TEXT_MAX];

    if (!proof)
        return;
    printf("\nproof that this program takes no VRAM:\n");
    print_rows("GPU libraries mapped", proof, "libraries", "libraries_known");
    print_rows("GPU devices open", proof, "devices", "devices_known");
    printf("  in a GPU's process list: %s\n",
           json_is_true(json_object_get(proof, "own_pid_listed"))         ? "YES"
           : !json_is_true(json_object_get(proof, "driver_answered"))     ? "no driver to ask"
           : !json_is_true(json_object_get(proof, "process_lists_known")) ? "not told by all cards"
                                                                          : "no");
    printf("  VRAM held: %s\n", json_object_get(proof, "self_vram_bytes")
                                    ? dgo_bytes_text(count_of(proof, "self_vram_bytes"), bytes)
                                    : "unknown");
    printf("  %s\n", text_of(proof, "sentence"));
}

/* The daemon's: this command looks once. */
static void print_sampler(const json_t *sampler)
{
    char every[DGO_UNIT_TEXT_MAX], last[DGO_UNIT_TEXT_MAX], most[DGO_UNIT_TEXT_MAX];
    char age[DGO_UNIT_TEXT_MAX];

    if (!sampler)
        return;
    printf("\nthe daemon looks at the cards every %s: %s\n", time_of(sampler, "interval_ns", every),
           text_of(sampler, "why"));
    printf("  %" PRIu64 " looks: %" PRIu64 " failed, %" PRIu64 " late, %" PRIu64
           " skipped, %" PRIu64
           " took so long that readings were stale; the last took %s, the longest %s\n",
           count_of(sampler, "looks"), count_of(sampler, "failed_looks"),
           count_of(sampler, "late_looks"), count_of(sampler, "skipped_looks"),
           count_of(sampler, "stale_looks"), time_of(sampler, "look_last_ns", last),
           time_of(sampler, "look_longest_ns", most));
    printf("  readings are %s old%s\n", time_of(sampler, "age_ns", age),
           json_is_true(json_object_get(sampler, "stale")) ? ": STALE, the driver does not answer"
                                                           : "");
}

void print_resources(const json_t *resources)
{
    const json_t *manager = json_object_get(resources, "manager");
    const json_t *bus = json_object_get(resources, "bus");

    printf("resource manager: %s\n\n", text_of(manager, "why"));
    print_components(json_object_get(resources, "components"));
    print_lanes(json_object_get(resources, "lanes"));
    print_budget(json_object_get(resources, "budget"), json_object_get(resources, "pressure"));
    print_sampler(json_object_get(resources, "sampler"));
    print_decisions(json_object_get(resources, "decisions"));
    print_topics(json_object_get(bus, "topics"));
    print_subscribers(json_object_get(bus, "subscribers"));
    print_ledger(json_object_get(resources, "vram"));
    print_caches(json_object_get(resources, "caches"));
    print_self_check(json_object_get(resources, "self_check"));
    print_proof(json_object_get(resources, "proof"));
}
