/* view_books.c - the bus, the VRAM ledger, caches, a self-check and a proof as JSON. */
#include "view_resources.h"

#include "plan_cache.h"
#include "view.h"

#include <stdlib.h>

static void set_count(json_t *object, const char *key, uint64_t value)
{
    json_object_set_new(object, key, json_integer((json_int_t)dgo_min_u64(value, INT64_MAX)));
}

/* ---- bus ---- */

static const char *word(const char *const *words, size_t count, unsigned at)
{
    return at < count ? words[at] : "unknown";
}

static json_t *view_topic(struct dgo_bus *bus, const struct dgo_topic *topic)
{
    static const char *const priorities[] = {"normal", "critical", "telemetry"};
    static const char *const hints[] = {"cpu", "gpu", "ui"};
    static const char *const drops[] = {"newest_wins", "batched", "never"};
    struct dgo_topic_stats stats = {0};
    json_t *object = json_pack("{s:s, s:s, s:s, s:s}", "name", topic->name, "priority",
                               word(priorities, 3, topic->priority), "hint",
                               word(hints, 3, topic->hint), "drop", word(drops, 3, topic->drop));

    if (dgo_bus_topic_read_stats(bus, topic->id, &stats, NULL) != DGO_OK)
        return object;
    set_count(object, "published", stats.published);
    set_count(object, "unheard", stats.unheard);
    set_count(object, "delivered", stats.delivered);
    set_count(object, "coalesced", stats.coalesced);
    set_count(object, "dropped", stats.dropped);
    set_count(object, "refused", stats.refused);
    return object;
}

static json_t *view_subscriber(const struct dgo_subscriber_stats *stats)
{
    json_t *object = json_object();

    json_object_set_new(object, "name", view_text(stats->name));
    json_object_set_new(object, "lane", json_string(dgo_lane_name(stats->lane)));
    set_count(object, "tag", stats->tag);
    set_count(object, "delivered", stats->delivered);
    set_count(object, "filtered", stats->filtered);
    set_count(object, "failed", stats->failed);
    if (stats->last_failure != DGO_OK)
        json_object_set_new(object, "last_failure",
                            json_string(dgo_status_sentence(stats->last_failure)));
    set_count(object, "slow", stats->slow);
    set_count(object, "time_ns", stats->time_ns);
    set_count(object, "slowest_ns", stats->slowest_ns);
    set_count(object, "waiting", stats->waiting);
    return object;
}

json_t *view_bus(struct dgo_bus *bus)
{
    enum { SUBSCRIBERS = 64 };
    struct dgo_subscriber_stats stats[SUBSCRIBERS];
    const uint32_t count = dgo_bus_subscriber_read_stats(bus, stats, SUBSCRIBERS);
    json_t *topics = json_array(), *subscribers = json_array();

    for (uint16_t i = 0; app_topic(i); i++)
        json_array_append_new(topics, view_topic(bus, app_topic(i)));
    for (uint32_t i = 0; i < count; i++)
        json_array_append_new(subscribers, view_subscriber(&stats[i]));
    return json_pack("{s:o, s:o}", "topics", topics, "subscribers", subscribers);
}

/* ---- ledger ---- */

static json_t *view_balance(const struct dgo_ledger *ledger, const struct dgo_machine *machine,
                            uint32_t gpu_index)
{
    struct dgo_ledger_balance balance;
    uint64_t planned_bytes = 0;
    json_t *object = json_object();

    set_count(object, "gpu_index", gpu_index);
    if (gpu_index < machine->gpu_count && machine->gpu[gpu_index].name[0])
        json_object_set_new(object, "gpu_name", view_text(machine->gpu[gpu_index].name));
    if (dgo_ledger_balance_of(ledger, gpu_index, &balance, NULL) != DGO_OK)
        return object;
    for (uint32_t i = 0; i < ledger->entry_count; i++)
        planned_bytes += ledger->entry[i].planned_bytes[gpu_index];
    set_count(object, "total_bytes", balance.total_bytes);
    if (gpu_index < machine->gpu_count &&
        dgo_gpu_knows(&machine->gpu[gpu_index], DGO_GPU_RESERVED_BYTES))
        set_count(object, "driver_bytes", balance.driver_bytes);
    set_count(object, "ours_planned_bytes", planned_bytes);
    set_count(object, "ours_measured_bytes", balance.ours_bytes);
    set_count(object, "outstanding_bytes", balance.outstanding_bytes);
    if (ledger->gpu[gpu_index].others_known)
        set_count(object, "others_bytes", balance.others_bytes);
    set_count(object, "free_bytes", balance.free_bytes);
    set_count(object, "margin_bytes", balance.margin_bytes);
    set_count(object, "promisable_bytes", balance.promisable_bytes);
    json_object_set_new(object, "unexplained_bytes", json_integer(balance.unexplained_bytes));
    json_object_set_new(object, "drift_bytes", json_integer(balance.drift_bytes));
    return object;
}

static json_t *view_entry(const struct dgo_ledger_entry *entry)
{
    json_t *gpus = json_array();
    json_t *object = json_object();

    set_count(object, "id", entry->id);
    json_object_set_new(object, "what", view_text(entry->what));
    json_object_set_new(object, "state",
                        json_string(entry->state == DGO_LEDGER_SETTLED ? "settled" : "planned"));
    if (entry->owner)
        set_count(object, "pid", entry->owner);
    if (entry->expires_ns)
        set_count(object, "expires_ns", entry->expires_ns);
    for (uint32_t g = 0; g < DGO_LEDGER_GPU_MAX; g++)
        if (entry->planned_bytes[g] || entry->measured_bytes[g])
            json_array_append_new(gpus,
                                  json_pack("{s:i, s:I, s:I}", "gpu_index", (int)g, "planned_bytes",
                                            (json_int_t)entry->planned_bytes[g], "measured_bytes",
                                            (json_int_t)entry->measured_bytes[g]));
    json_object_set_new(object, "gpus", gpus);
    return object;
}

json_t *view_ledger(const struct dgo_machine *machine)
{
    struct dgo_ledger *ledger = malloc(sizeof *ledger);
    json_t *object = json_object(), *gpus = json_array(), *entries = json_array();

    if (ledger) {
        dgo_vram_snapshot(ledger);
        for (uint32_t g = 0; g < DGO_LEDGER_GPU_MAX; g++)
            if (ledger->gpu[g].known)
                json_array_append_new(gpus, view_balance(ledger, machine, g));
        for (uint32_t i = 0; i < ledger->entry_count; i++)
            json_array_append_new(entries, view_entry(&ledger->entry[i]));
        set_count(object, "granted", ledger->granted);
        set_count(object, "refused", ledger->refused);
        set_count(object, "expired", ledger->expired);
    }
    json_object_set_new(object, "gpus", gpus);
    json_object_set_new(object, "reservations", entries);
    free(ledger);
    return object;
}

/* ---- caches ---- */

json_t *view_caches(void)
{
    struct context_cache_stats stats;
    json_t *object = json_pack("{s:s}", "name", "plans");

    plan_cache_read_stats(&stats);
    set_count(object, "capacity", stats.capacity);
    set_count(object, "entries", stats.entries);
    set_count(object, "bytes", stats.bytes);
    set_count(object, "hits", stats.hits);
    set_count(object, "misses", stats.misses);
    set_count(object, "joined", stats.joined);
    set_count(object, "evicted", stats.evicted);
    set_count(object, "bypassed", stats.bypassed);
    set_count(object, "dropped", stats.dropped);
    return json_pack("[o]", object);
}

/* ---- self-check and proof ---- */

json_t *view_self_check(const struct self_check *check)
{
    json_t *steps = json_array();

    for (uint32_t i = 0; i < check->step_count; i++) {
        const struct check_step *step = &check->step[i];
        json_t *object = json_pack("{s:s, s:s}", "name", step->name, "verdict",
                                   check_verdict_name(step->verdict));

        json_object_set_new(object, "text", view_text(step->text));
        set_count(object, "took_ns", step->took_ns);
        json_array_append_new(steps, object);
    }
    return json_pack("{s:b, s:o}", "passed", (int)check->passed, "steps", steps);
}

static json_t *view_rows(const struct proof_rows *rows)
{
    json_t *list = json_array();

    for (uint32_t i = 0; i < rows->count; i++) {
        json_t *object = json_object();

        json_object_set_new(object, "path", view_text(rows->row[i].path));
        json_object_set_new(object, "allowed", json_boolean(rows->row[i].allowed));
        json_object_set_new(object, "why", json_string(rows->row[i].why));
        json_array_append_new(list, object);
    }
    return list;
}

json_t *view_proof(const struct proof *proof)
{
    json_t *pids = json_array();
    json_t *object = json_pack("{s:b, s:b}", "proven", (int)proof->proven, "own_pid_listed",
                               (int)proof->own_pid_listed);

    json_object_set_new(object, "sentence", view_text(proof->sentence));
    for (uint32_t i = 0; i < proof->process_count; i++)
        json_array_append_new(pids, json_integer(proof->pid[i]));
    json_object_set_new(object, "pids", pids);
    if (proof->self_vram_known)
        set_count(object, "self_vram_bytes", proof->self_vram_bytes);
    json_object_set_new(object, "driver_answered", json_boolean(proof->driver_answered));
    json_object_set_new(object, "process_lists_known", json_boolean(proof->lists_known));
    json_object_set_new(object, "own_pid_namespace", json_boolean(proof->foreign_pids));
    json_object_set_new(object, "libraries_known", json_boolean(proof->libraries.known));
    json_object_set_new(object, "libraries", view_rows(&proof->libraries));
    json_object_set_new(object, "devices_known", json_boolean(proof->devices.known));
    json_object_set_new(object, "devices", view_rows(&proof->devices));
    return object;
}
