/* alerts.c - one state for each thing watched by each rule: hold, hysteresis, cooldown. */
#include "dgo_alerts.h"

#include "dgo_text.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

const struct dgo_alert_rule_row dgo_alert_rules[DGO_ALERT_RULE_COUNT] = {
#define X(id, name, warning, critical, emergency, hysteresis, hold, cooldown, unit)                \
    [DGO_ALERT_##                                                                                  \
        id] = {name, {-INFINITY, warning, critical, emergency}, hysteresis, hold, cooldown, unit},
    DGO_ALERT_RULE_TABLE(X)
#undef X
};

struct alert_state {
    struct dgo_alert told;        /* level NORMAL: nothing is told */
    enum dgo_alert_level pending; /* a higher level that has to last */
    double pending_s, over_s;     /* since when; when the last one was over, -INFINITY: never */
    enum dgo_alert_level over_level;
    double seen_s;
};

struct dgo_alerts {
    struct dgo_alert_rule_row rule[DGO_ALERT_RULE_COUNT];
    dgo_alert_fn fn;
    void *data;
    uint32_t count;
    struct alert_state state[DGO_ALERT_STATE_MAX];
};

const char *dgo_alert_level_name(enum dgo_alert_level level)
{
    static const char *const names[] = {"normal", "warning", "critical", "emergency"};

    return (unsigned)level < sizeof names / sizeof names[0] ? names[level] : "unknown";
}

static enum dgo_alert_level level_above(const struct dgo_alert_rule_row *rule, double value,
                                        double hysteresis)
{
    enum dgo_alert_level level = DGO_ALERT_EMERGENCY;

    while (level > DGO_ALERT_NORMAL && !(value >= rule->level[level] - hysteresis))
        level--;
    return level;
}

enum dgo_alert_level dgo_alert_level_of(enum dgo_alert_rule rule, double value)
{
    return isnan(value) ? DGO_ALERT_NORMAL : level_above(&dgo_alert_rules[rule], value, 0);
}

enum dgo_status dgo_alerts_new(dgo_alert_fn fn, void *data, struct dgo_alerts **alerts,
                               struct dgo_error *err)
{
    struct dgo_alerts *made = calloc(1, sizeof *made);

    if (!made)
        return dgo_fail(err, DGO_ENOMEM, "no memory for alerts");
    memcpy(made->rule, dgo_alert_rules, sizeof made->rule);
    made->fn = fn;
    made->data = data;
    *alerts = made;
    return DGO_OK;
}

void dgo_alerts_free(struct dgo_alerts *alerts)
{
    free(alerts);
}

void dgo_alerts_set_level(struct dgo_alerts *alerts, enum dgo_alert_rule rule,
                          enum dgo_alert_level level, double value)
{
    alerts->rule[rule].level[level] = value;
}

void dgo_alerts_set_hold(struct dgo_alerts *alerts, enum dgo_alert_rule rule, double hold_s)
{
    alerts->rule[rule].hold_s = hold_s;
}

/* A free place, else the quiet one that was seen longest ago; NULL: all of them are told. */
static struct alert_state *make_place(struct dgo_alerts *alerts)
{
    struct alert_state *oldest = NULL;

    if (alerts->count < DGO_ALERT_STATE_MAX)
        return &alerts->state[alerts->count++];
    for (uint32_t i = 0; i < alerts->count; i++) {
        struct alert_state *state = &alerts->state[i];

        if (state->told.level == DGO_ALERT_NORMAL && (!oldest || state->seen_s < oldest->seen_s))
            oldest = state;
    }
    return oldest;
}

static struct alert_state *find(struct dgo_alerts *alerts, enum dgo_alert_rule rule,
                                uint32_t gpu_index, uint32_t pid)
{
    struct alert_state *state;

    for (uint32_t i = 0; i < alerts->count; i++) {
        state = &alerts->state[i];
        if (state->told.rule == rule && state->told.gpu_index == gpu_index &&
            state->told.pid == pid)
            return state;
    }
    state = make_place(alerts);
    if (state)
        *state = (struct alert_state){.told = {.rule = rule, .gpu_index = gpu_index, .pid = pid},
                                      .over_s = -INFINITY};
    return state;
}

static void tell(struct dgo_alerts *alerts, struct alert_state *state, enum dgo_alert_level level,
                 double seconds)
{
    state->told.before = state->told.level;
    state->told.level = level;
    state->told.seconds = seconds;
    state->pending = DGO_ALERT_NORMAL;
    alerts->fn(&state->told, alerts->data);
}

/* A higher level must last; what was over a moment ago keeps silent unless it comes back worse. */
static void rise(struct dgo_alerts *alerts, struct alert_state *state, enum dgo_alert_level level,
                 double seconds)
{
    const struct dgo_alert_rule_row *rule = &alerts->rule[state->told.rule];

    if (state->pending == DGO_ALERT_NORMAL)
        state->pending_s = seconds;
    state->pending = level;
    if (seconds - state->pending_s < rule->hold_s)
        return;
    if (state->told.level == DGO_ALERT_NORMAL && level <= state->over_level &&
        seconds - state->over_s < rule->cooldown_s)
        return;
    tell(alerts, state, level, seconds);
}

static void fall(struct dgo_alerts *alerts, struct alert_state *state, enum dgo_alert_level level,
                 double seconds)
{
    if (level == DGO_ALERT_NORMAL) {
        state->over_s = seconds;
        state->over_level = state->told.level;
    }
    tell(alerts, state, level, seconds);
}

void dgo_alerts_observe(struct dgo_alerts *alerts, enum dgo_alert_rule rule, uint32_t gpu_index,
                        uint32_t pid, double seconds, double value, const char *text)
{
    const struct dgo_alert_rule_row *row = &alerts->rule[rule];
    const enum dgo_alert_level level = isnan(value) ? DGO_ALERT_NORMAL : level_above(row, value, 0);
    struct alert_state *state;
    enum dgo_alert_level kept;

    if (isnan(value))
        return;
    state = find(alerts, rule, gpu_index, pid);
    if (!state)
        return;
    state->seen_s = seconds;
    state->told.value = value;
    if (level > DGO_ALERT_NORMAL || state->told.level > DGO_ALERT_NORMAL)
        (void)dgo_text_copy_escaped(state->told.text, sizeof state->told.text, text, strlen(text));
    if (level > state->told.level) {
        rise(alerts, state, level, seconds);
        return;
    }
    state->pending = DGO_ALERT_NORMAL;
    kept = level_above(row, value, row->hysteresis);
    if (kept < state->told.level)
        fall(alerts, state, kept, seconds);
}

uint32_t dgo_alerts_active(const struct dgo_alerts *alerts, struct dgo_alert *active, uint32_t max)
{
    uint32_t count = 0;

    for (uint32_t i = 0; i < alerts->count; i++) {
        if (alerts->state[i].told.level == DGO_ALERT_NORMAL)
            continue;
        if (count < max)
            active[count] = alerts->state[i].told;
        count++;
    }
    return count;
}
