/* view_resources.c - the manager as JSON: components, lanes, what the CPUs give, decisions. */
#include "view_resources.h"

#include "dgo_clock.h"
#include "view.h"

#include <dirent.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void set_count(json_t *object, const char *key, uint64_t value)
{
    json_object_set_new(object, key, json_integer((json_int_t)dgo_min_u64(value, INT64_MAX)));
}

/* ---- components ---- */

static void set_override(json_t *object, dgo_component_id id)
{
    char origin[DGO_COMPONENT_ORIGIN_MAX];
    enum dgo_hint hint;

    if (dgo_component_overridden(id, &hint, origin))
        json_object_set_new(object, "override",
                            json_pack("{s:s, s:s}", "hint", dgo_hint_name(hint), "origin", origin));
}

static void set_stats(json_t *object, const struct dgo_component_stats *stats)
{
    const struct {
        const char *key;
        uint64_t value;
    } rows[] =
        {
            {"accepted", stats->accepted},
            {"done", stats->done},
            {"failed", stats->failed},
            {"cancelled", stats->cancelled},
            {"expired", stats->expired},
            {"rejected", stats->rejected},
            {"ran_inline", stats->ran_inline},
            {"coalesced", stats->coalesced},
            {"dropped", stats->dropped},
            {"ui_waits", stats->ui_waits},
            {"over_budget", stats->over_budget},
            {"gpu_runs", stats->gpu_runs},
            {"gpu_fallbacks", stats->gpu_fallbacks},
        },
      times[] = {
          {"queue_p50_ns", stats->queue_p50_ns}, {"queue_p99_ns", stats->queue_p99_ns},
          {"run_p50_ns", stats->run_p50_ns},     {"run_p99_ns", stats->run_p99_ns},
          {"run_max_ns", stats->run_max_ns},
      };

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        set_count(object, rows[i].key, rows[i].value);
    for (size_t i = 0; i < sizeof times / sizeof times[0]; i++)
        if (times[i].value > 0) /* no sample is not zero */
            set_count(object, times[i].key, times[i].value);
}

static json_t *view_component(dgo_component_id id, const char *state)
{
    const struct dgo_component *component = dgo_component_get(id);
    struct dgo_component_stats stats;
    char why[DGO_REASON_MAX];
    const bool cpu = dgo_should_use_cpu_why(id, why);
    json_t *object =
        json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:s}", "name", component->name, "what",
                  component->what, "state", state, "lane", dgo_lane_name(component->lane), "hint",
                  dgo_hint_name(component->hint), "place", cpu ? "cpu" : "gpu", "why", why);

    set_count(object, "vram_bytes", component->vram_bytes);
    set_override(object, id);
    dgo_component_read_stats(id, &stats);
    set_stats(object, &stats);
    return object;
}

json_t *view_components(void)
{
    json_t *components = json_array();

    for (unsigned i = 0; i < COMPONENT_COUNT; i++) {
        const enum component component = (enum component)i;

        json_array_append_new(
            components, view_component(app_component(component),
                                       app_component_present(component) ? "present" : "planned"));
    }
    json_array_append_new(components, view_component(0, "present")); /* what nobody named */
    return components;
}

/* ---- lanes and CPUs ---- */

static json_t *view_lane(enum dgo_lane lane)
{
    struct dgo_lane_stats stats;
    json_t *object = json_pack("{s:s}", "name", dgo_lane_name(lane));

    dgo_lane_read_stats(lane, &stats);
    set_count(object, "workers", stats.workers);
    set_count(object, "allowed", stats.allowed);
    set_count(object, "running", stats.running);
    set_count(object, "blocked", stats.blocked);
    set_count(object, "queued", stats.queued);
    set_count(object, "queued_max", stats.queued_max);
    set_count(object, "limit", stats.limit);
    set_count(object, "taken", stats.taken);
    set_count(object, "wakes", stats.wakes);
    set_count(object, "replacements", stats.replacements);
    if (stats.queue_p99_ns)
        set_count(object, "queue_p99_ns", stats.queue_p99_ns);
    json_object_set_new(object, "policy", json_string(stats.policy));
    return object;
}

static json_t *view_lanes(void)
{
    json_t *lanes = json_array();

    for (unsigned lane = DGO_LANE_EXPRESS; lane < DGO_LANE_COUNT; lane++)
        json_array_append_new(lanes, view_lane((enum dgo_lane)lane));
    return lanes;
}

static json_t *view_affinity(void)
{
    json_t *cpus = json_array();
    cpu_set_t set;

    CPU_ZERO(&set);
    if (sched_getaffinity(0, sizeof set, &set) == 0)
        for (size_t cpu = 0; cpu < CPU_SETSIZE; cpu++)
            if (CPU_ISSET(cpu, &set))
                json_array_append_new(cpus, json_integer((json_int_t)cpu));
    return cpus;
}

static json_t *view_budget(void)
{
    struct dgo_budget_facts facts;
    json_t *object = json_object();

    dgo_resource_budget(&facts);
    set_count(object, "cpus", facts.cpus);
    json_object_set_new(object, "affinity", view_affinity());
    if (facts.quota_known)
        set_count(object, "quota_permille", facts.quota_permille);
    set_count(object, "engine_threads", facts.engine_threads);
    set_count(object, "normal_threads", facts.budget);
    set_count(object, "background_threads", facts.background);
    set_count(object, "normal_duty_permille", facts.normal_duty_permille);
    set_count(object, "background_duty_permille", facts.background_duty_permille);
    return object;
}

/* Time that threads of ours were runnable and not running, and ran: the second and the first number
 * of schedstat.  False where the kernel keeps no such books. */
static bool own_delay(uint64_t *delay_ns, uint64_t *run_ns)
{
    DIR *tasks = opendir("/proc/self/task");
    struct dirent *task;
    bool known = false;

    *delay_ns = *run_ns = 0;
    while (tasks && (task = readdir(tasks))) {
        unsigned long long ran, waited;
        char path[320];
        FILE *file;

        snprintf(path, sizeof path, "/proc/self/task/%s/schedstat", task->d_name);
        file = task->d_name[0] == '.' ? NULL : fopen(path, "re");
        if (!file)
            continue;
        if (fscanf(file, "%llu %llu", &ran, &waited) == 2) {
            known = true;
            *run_ns += ran;
            *delay_ns += waited;
        }
        fclose(file);
    }
    if (tasks)
        closedir(tasks);
    return known;
}

static json_t *view_pressure(void)
{
    struct dgo_budget_facts facts;
    uint64_t delay_ns, run_ns;
    json_t *object = json_object();

    dgo_resource_budget(&facts);
    set_count(object, "engine_run_delay_permille", facts.run_delay_permille);
    json_object_set_new(object, "tight", json_boolean(facts.tight));
    if (own_delay(&delay_ns, &run_ns)) {
        set_count(object, "own_run_delay_ns", delay_ns);
        set_count(object, "own_run_ns", run_ns);
    }
    return object;
}

static json_t *view_decisions(void)
{
    static struct dgo_decision decisions[DGO_DECISION_MAX]; /* 11 KiB; loop thread only */
    const uint32_t count = dgo_resource_decisions(decisions, DGO_DECISION_MAX);
    const uint64_t now_ns = dgo_clock_monotonic_ns(dgo_clock_system());
    json_t *list = json_array();

    for (uint32_t i = 0; i < count; i++) {
        json_t *object = json_pack("{s:s, s:s}", "lane", dgo_lane_name(decisions[i].lane), "why",
                                   decisions[i].why);

        set_count(object, "age_ns", now_ns - dgo_min_u64(now_ns, decisions[i].at_ns));
        set_count(object, "before", decisions[i].before);
        set_count(object, "after", decisions[i].after);
        json_array_append_new(list, object);
    }
    return list;
}

static json_t *view_manager(void)
{
    const struct dgo_resource *manager = dgo_resource_get();

    return json_pack("{s:b, s:b, s:i, s:s}", "started", (int)manager->is_started, "inline",
                     (int)manager->is_inline, "generation", (int)manager->generation, "why",
                     manager->why);
}

static json_t *view_sampler(const struct watch_pace *pace)
{
    json_t *object = json_pack("{s:b, s:s}", "slowed", (int)pace->slowed, "why",
                               pace->slowed ? "an engine streams and needs every CPU"
                                            : "as often as it was asked for");

    set_count(object, "interval_ns", pace->interval_ns);
    set_count(object, "normal_ns", pace->normal_ns);
    set_count(object, "change_count", pace->change_count);
    json_object_set_new(object, "stale", json_boolean(pace->stale));
    set_count(object, "age_ns", pace->age_ns);
    set_count(object, "looks", pace->counts.looks);
    set_count(object, "failed_looks", pace->counts.failures);
    set_count(object, "late_looks", pace->counts.late);
    set_count(object, "skipped_looks", pace->counts.skipped);
    set_count(object, "stale_looks", pace->counts.stale);
    if (pace->counts.looks) {
        set_count(object, "look_last_ns", pace->counts.last_ns);
        set_count(object, "look_longest_ns", pace->counts.longest_ns);
    }
    return object;
}

json_t *view_resources(const struct dgo_app *app, const struct dgo_machine *machine,
                       const struct watch_pace *pace, const struct self_check *check,
                       const struct proof *proof)
{
    json_t *object = json_pack("{s:s, s:b}", "schema", "dualgpuopt.resources/1", "simulated",
                               (int)machine->origin.simulated);

    view_add_recorded(object, &machine->origin);
    json_object_set_new(object, "manager", view_manager());
    json_object_set_new(object, "components", view_components());
    json_object_set_new(object, "lanes", view_lanes());
    json_object_set_new(object, "budget", view_budget());
    json_object_set_new(object, "pressure", view_pressure());
    if (pace)
        json_object_set_new(object, "sampler", view_sampler(pace));
    json_object_set_new(object, "decisions", view_decisions());
    json_object_set_new(object, "bus", view_bus(app->bus));
    json_object_set_new(object, "vram", view_ledger(machine));
    json_object_set_new(object, "caches", view_caches());
    if (check)
        json_object_set_new(object, "self_check", view_self_check(check));
    if (proof)
        json_object_set_new(object, "proof", view_proof(proof));
    return object;
}
