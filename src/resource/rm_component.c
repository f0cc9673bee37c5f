/* rm_component.c - the table of components, and whose word counts for each. */
#include "rm.h"

#include "dgo_text.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ENV_PREFIX "DUALGPUOPT_COMPONENT_"

static const struct dgo_component other = {"other", DGO_LANE_NORMAL, DGO_HINT_CPU, 0,
                                           "work that no component was registered for"};

struct row {
    const struct dgo_component *_Atomic what;
    _Atomic uint8_t lane; /* the declared one, until demoted */
};
static struct row rows[DGO_COMPONENT_MAX] = {{&other, DGO_LANE_NORMAL}};
static _Atomic uint32_t row_count = 1;
static struct dgo_lock table_lock;

/* Choices of the user, by name: they may come before the component does. */
static struct choice {
    char name[DGO_COMPONENT_NAME_MAX];
    char origin[64];
    enum dgo_hint hint;
    bool is_set;
} choices[DGO_COMPONENT_MAX];

static const char *const lane_names[] = {
    [DGO_LANE_OWN] = "own",           [DGO_LANE_EXPRESS] = "express",
    [DGO_LANE_NORMAL] = "normal",     [DGO_LANE_BACKGROUND] = "background",
    [DGO_LANE_BLOCKING] = "blocking", [DGO_LANE_UI] = "ui",
};
static const char *const hint_names[] = {
    [DGO_HINT_CPU] = "cpu", [DGO_HINT_GPU] = "gpu", [DGO_HINT_AUTO] = "auto"};
static const char *const outcome_names[] = {[DGO_OUTCOME_DONE] = "done",
                                            [DGO_OUTCOME_FAILED] = "failed",
                                            [DGO_OUTCOME_CANCELLED] = "cancelled",
                                            [DGO_OUTCOME_EXPIRED] = "expired"};

const char *dgo_lane_name(enum dgo_lane lane)
{
    return (unsigned)lane < DGO_LANE_COUNT ? lane_names[lane] : "unknown";
}

const char *dgo_hint_name(enum dgo_hint hint)
{
    return (unsigned)hint < DGO_HINT_COUNT ? hint_names[hint] : "unknown";
}

const char *dgo_outcome_name(enum dgo_outcome outcome)
{
    return (unsigned)outcome < DGO_OUTCOME_COUNT ? outcome_names[outcome] : "unknown";
}

enum dgo_status dgo_hint_parse(const char *text, enum dgo_hint *hint, struct dgo_error *err)
{
    for (uint32_t i = 0; i < DGO_HINT_COUNT; i++)
        if (strcmp(text, hint_names[i]) == 0) {
            *hint = (enum dgo_hint)i;
            return DGO_OK;
        }
    return dgo_fail(err, DGO_EINVAL, "\"%.32s\" is no place for a component: cpu, gpu or auto",
                    text);
}

/* ---- the table ---- */

static bool is_name(const char *name)
{
    size_t length = 0;

    for (; name && name[length]; length++)
        if (!islower((unsigned char)name[length]) && !isdigit((unsigned char)name[length]) &&
            name[length] != '_')
            return false;
    return length > 0 && length < DGO_COMPONENT_NAME_MAX;
}

static uint32_t find_row(const char *name)
{
    const uint32_t count = atomic_load(&row_count);

    for (uint32_t i = 0; i < count; i++)
        if (strcmp(atomic_load(&rows[i].what)->name, name) == 0)
            return i;
    return UINT32_MAX;
}

static enum dgo_status check_row(const struct dgo_component *row, struct dgo_error *err)
{
    if (!is_name(row->name))
        return dgo_fail(err, DGO_EINVAL,
                        "\"%.40s\" is no component name: lower-case letters, digits and _, at "
                        "most %d",
                        row->name ? row->name : "", DGO_COMPONENT_NAME_MAX - 1);
    if ((unsigned)row->lane >= DGO_LANE_COUNT || (unsigned)row->hint >= DGO_HINT_COUNT)
        return dgo_fail(err, DGO_EINVAL, "component %s: lane or hint out of range", row->name);
    if (row->hint != DGO_HINT_CPU && row->vram_bytes == 0)
        return dgo_fail(err, DGO_EINVAL,
                        "component %s: with the hint %s it must say how much VRAM it needs",
                        row->name, dgo_hint_name(row->hint));
    return DGO_OK;
}

enum dgo_status dgo_component_register(const struct dgo_component *components, size_t count,
                                       dgo_component_id *ids, struct dgo_error *err)
{
    enum dgo_status status = DGO_OK;
    uint32_t fresh = 0;

    for (size_t i = 0; i < count && status == DGO_OK; i++)
        status = check_row(&components[i], err);
    if (status != DGO_OK)
        return status;
    dgo_lock(&table_lock);
    for (size_t i = 0; i < count; i++)
        fresh += find_row(components[i].name) == UINT32_MAX;
    if (atomic_load(&row_count) + fresh > DGO_COMPONENT_MAX) {
        dgo_unlock(&table_lock);
        return dgo_fail(err, DGO_ELIMIT, "more than %d components", DGO_COMPONENT_MAX);
    }
    for (size_t i = 0; i < count; i++) {
        uint32_t at = find_row(components[i].name);
        const bool is_new = at == UINT32_MAX;

        if (is_new)
            at = atomic_load(&row_count);
        atomic_store(&rows[at].what, &components[i]);
        atomic_store(&rows[at].lane, components[i].lane == DGO_LANE_OWN
                                         ? (uint8_t)DGO_LANE_NORMAL
                                         : (uint8_t)components[i].lane);
        if (is_new)
            atomic_store(&row_count, at + 1);
        if (ids)
            ids[i] = (dgo_component_id)at;
    }
    dgo_unlock(&table_lock);
    if (rm.generation) /* started once: what the environment says holds for late ones too */
        status = rm_component_read_env(NULL, err);
    rm_policy_refresh();
    return status;
}

uint32_t dgo_component_count(void)
{
    return atomic_load_explicit(&row_count, memory_order_acquire);
}

const struct dgo_component *dgo_component_get(dgo_component_id id)
{
    return atomic_load(&rows[id < dgo_component_count() ? id : 0].what);
}

dgo_component_id dgo_component_find(const char *name)
{
    const uint32_t at = name ? find_row(name) : UINT32_MAX;

    return at == UINT32_MAX ? 0 : (dgo_component_id)at;
}

enum dgo_lane rm_component_lane(uint32_t component)
{
    return (enum dgo_lane)atomic_load_explicit(&rows[component].lane, memory_order_relaxed);
}

/* It held the EXPRESS lane up too often. */
void rm_component_demote(uint32_t component)
{
    uint8_t express = DGO_LANE_EXPRESS;

    if (atomic_compare_exchange_strong(&rows[component].lane, &express, DGO_LANE_NORMAL))
        rm_size_note(DGO_LANE_EXPRESS, 0, 0,
                     "component %s moved to the normal lane: %d of its jobs took over %d us",
                     atomic_load(&rows[component].what)->name, RM_DEMOTE_AFTER, RM_EXPRESS_JOB_US);
}

/* ---- choices ---- */

static struct choice *find_choice(const char *name, bool make)
{
    struct choice *free_one = NULL;

    for (uint32_t i = 0; i < DGO_COMPONENT_MAX; i++) {
        if (choices[i].is_set && strcmp(choices[i].name, name) == 0)
            return &choices[i];
        if (!choices[i].is_set && !free_one)
            free_one = &choices[i];
    }
    return make ? free_one : NULL;
}

enum dgo_status dgo_component_override(const char *name, enum dgo_hint hint, const char *origin,
                                       struct dgo_error *err)
{
    struct choice *choice;

    if (!is_name(name) || (unsigned)hint >= DGO_HINT_COUNT)
        return dgo_fail(err, DGO_EINVAL, "no component can be named \"%.40s\"", name ? name : "");
    dgo_lock(&table_lock);
    choice = find_choice(name, true);
    if (!choice) {
        dgo_unlock(&table_lock);
        return dgo_fail(err, DGO_ELIMIT, "more than %d components are overridden",
                        DGO_COMPONENT_MAX);
    }
    dgo_text_copy(choice->name, sizeof choice->name, name);
    dgo_text_copy(choice->origin, sizeof choice->origin, origin ? origin : "the program");
    choice->hint = hint;
    choice->is_set = true;
    dgo_unlock(&table_lock);
    rm_policy_refresh();
    return DGO_OK;
}

void dgo_component_override_clear(const char *name)
{
    struct choice *choice;

    dgo_lock(&table_lock);
    choice = find_choice(name, false);
    if (choice)
        choice->is_set = false;
    dgo_unlock(&table_lock);
    rm_policy_refresh();
}

void rm_component_choice(uint32_t component, struct rm_choice *out)
{
    const struct dgo_component *what = atomic_load(&rows[component].what);
    const struct choice *choice;

    dgo_lock(&table_lock);
    choice = find_choice(what->name, false);
    out->hint = choice ? choice->hint : what->hint;
    dgo_text_copy(out->origin, sizeof out->origin, choice ? choice->origin : "its declaration");
    dgo_unlock(&table_lock);
}

bool dgo_component_overridden(dgo_component_id id, enum dgo_hint *hint,
                              char origin[DGO_COMPONENT_ORIGIN_MAX])
{
    const char *name = dgo_component_get(id)->name;
    const struct choice *choice;

    dgo_lock(&table_lock);
    choice = find_choice(name, false);
    if (choice) {
        *hint = choice->hint;
        dgo_text_copy(origin, DGO_COMPONENT_ORIGIN_MAX, choice->origin);
    }
    dgo_unlock(&table_lock);
    return choice != NULL;
}

static const char *environment(const struct dgo_resource_config *config, const char *name)
{
    static const char *(*reader)(const char *name, void *data);
    static void *reader_data;

    if (config) {
        reader = config->getenv;
        reader_data = config->getenv_data;
    }
    return reader ? reader(name, reader_data) : getenv(name);
}

enum dgo_status rm_component_read_env(const struct dgo_resource_config *config,
                                      struct dgo_error *err)
{
    const uint32_t count = dgo_component_count();

    for (uint32_t i = 0; i < count; i++) {
        char variable[sizeof ENV_PREFIX + DGO_COMPONENT_NAME_MAX];
        const char *name = atomic_load(&rows[i].what)->name, *value;
        size_t at = sizeof ENV_PREFIX - 1;
        enum dgo_hint hint;
        enum dgo_status status;

        memcpy(variable, ENV_PREFIX, at);
        for (; *name && at + 1 < sizeof variable; name++)
            variable[at++] = (char)toupper((unsigned char)*name);
        variable[at] = '\0';
        value = environment(config, variable);
        config = NULL;
        if (!value || !*value)
            continue;
        status = dgo_hint_parse(value, &hint, err);
        if (status != DGO_OK)
            return dgo_error_prefix(err, status, "%s", variable);
        status = dgo_component_override(atomic_load(&rows[i].what)->name, hint, variable, err);
        if (status != DGO_OK)
            return status;
    }
    return DGO_OK;
}

void rm_components_forget(void)
{
    atomic_store(&table_lock.word, 0);
}
