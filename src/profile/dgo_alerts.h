/* dgo_alerts.h - when a reading becomes an alert, and when it is over.
 *
 * A rule is a row of dgo_alert_rules: levels, how far a value must come back (hysteresis), how long
 * it must last (hold) and how long the same alert keeps silent after it was over (cooldown).  A
 * level that rises is told at once, past the cooldown of a lower one.  A full card under an engine
 * that stands still is normal, so memory counts only while it moves; out-of-memory-soon looks at
 * what is left and how fast it goes.
 *
 * Pure: time is a parameter, alerts are handed to a function.  One owner at a time. */
#ifndef DGO_ALERTS_H
#define DGO_ALERTS_H

#include "dgo_trend.h"

#include <math.h>

enum dgo_alert_level {
    DGO_ALERT_NORMAL,
    DGO_ALERT_WARNING,
    DGO_ALERT_CRITICAL,
    DGO_ALERT_EMERGENCY
};
const char *dgo_alert_level_name(enum dgo_alert_level level); /* "normal", "warning", ... */

/* X(ID, name, warning, critical, emergency, hysteresis, hold s, cooldown s, unit)
 * Levels of memory, temperature and power: the predecessor's.  A level of INFINITY is never
 * reached.  throttle: 1 the driver cools the card, 2 the board does or its power supply brakes.
 * leak: 2 suspected, 3 confirmed, so a confirmed one is critical.  oom: dgo_oom_add. */
#define DGO_ALERT_RULE_TABLE(X)                                                                    \
    X(MEMORY, "memory", 75, 90, 95, 3, 10, 600, "%")                                               \
    X(TEMPERATURE, "temperature", 70, 80, 90, 3, 10, 300, "C")                                     \
    X(POWER, "power", 90, 98, INFINITY, 4, 30, 600, "%")                                           \
    X(THROTTLE, "throttle", 1, 2, INFINITY, 0.5, 5, 300, "")                                       \
    X(OOM, "out_of_memory_soon", 1, 2, 3, 0.5, 0, 120, "")                                         \
    X(LEAK, "leak", 2, 3, INFINITY, 0.5, 1800, 21600, "")                                          \
    X(DRIVER, "driver", INFINITY, 1, INFINITY, 0.5, 5, 60, "")                                     \
    X(IMBALANCE, "imbalance", 40, INFINITY, INFINITY, 5, 600, 3600, "%")                           \
    X(SELF_VRAM, "self_vram", INFINITY, INFINITY, 1, 0.5, 0, 60, "bytes")

#define DGO_ALERT_RULE_ENUM(id, name, w, c, e, h, hold, cool, unit) DGO_ALERT_##id,
enum dgo_alert_rule { DGO_ALERT_RULE_TABLE(DGO_ALERT_RULE_ENUM) DGO_ALERT_RULE_COUNT };
#undef DGO_ALERT_RULE_ENUM

struct dgo_alert_rule_row {
    const char *name;
    double level[4]; /* [0] unused */
    double hysteresis, hold_s, cooldown_s;
    const char *unit;
};
extern const struct dgo_alert_rule_row dgo_alert_rules[DGO_ALERT_RULE_COUNT];

/* The level a value has by itself. */
enum dgo_alert_level dgo_alert_level_of(enum dgo_alert_rule rule, double value);

struct dgo_alert {
    enum dgo_alert_rule rule;
    enum dgo_alert_level level; /* NORMAL: what was told before is over */
    enum dgo_alert_level before;
    uint32_t gpu_index, pid; /* pid 0: the card */
    double seconds, value;
    char text[256]; /* for people */
};

enum { DGO_ALERT_STATE_MAX = 512 };

struct dgo_alerts;
typedef void (*dgo_alert_fn)(const struct dgo_alert *alert, void *data);

DGO_MUST_CHECK
enum dgo_status dgo_alerts_new(dgo_alert_fn fn, void *data, struct dgo_alerts **alerts,
                               struct dgo_error *err);
void dgo_alerts_free(struct dgo_alerts *alerts); /* accepts NULL */

/* Another level, or how long it must last, than the table says: from the next value on. */
void dgo_alerts_set_level(struct dgo_alerts *alerts, enum dgo_alert_rule rule,
                          enum dgo_alert_level level, double value);
void dgo_alerts_set_hold(struct dgo_alerts *alerts, enum dgo_alert_rule rule, double hold_s);

/* One value of one rule; `text` says what it is of.  NAN is no reading: nothing happens.  Beyond
 * DGO_ALERT_STATE_MAX watched things the quiet one that was seen longest ago is forgotten. */
void dgo_alerts_observe(struct dgo_alerts *alerts, enum dgo_alert_rule rule, uint32_t gpu_index,
                        uint32_t pid, double seconds, double value, const char *text);

/* What is not over now; returns how many there are. */
uint32_t dgo_alerts_active(const struct dgo_alerts *alerts, struct dgo_alert *active, uint32_t max);

/* ---- out of memory soon ------------------------------------------------------------------- */

enum { DGO_OOM_DAY_MAX = 7 }; /* days whose heights are remembered */

/* Zero-initialise one for each card; the limits may be set. */
struct dgo_oom {
    double soon_limit_s, little_mib; /* 0: ten minutes, 512 MiB */
    bool started;
    double last_s, last_mib;
    double now_mib_per_s, fast_mib_per_s, slow_mib_per_s; /* EWMA over 8, 60 and 300 s */
    double step_mib, step_mib2; /* EWMA of steps and of their squares: is it one, or many */
    double soon_s;              /* since when it is full within ten minutes; NAN: it is not */
    double seconds_to_full;     /* INFINITY: not in sight */
    double little_s;            /* since when little is left and it climbs; NAN: it is not so */
    double moved_s;             /* when the level last left moved_mib by 64 MiB */
    double moved_mib;
    double day_s;        /* when the day of `high` began */
    double outlived_mib; /* the greatest of today from which it has come down by 64 MiB */
    double high_mib[DGO_OOM_DAY_MAX + 1]; /* greatest of today and of days before; 0: none */
};

/* The value for DGO_ALERT_OOM: 0; 1 the card is full within ten minutes, by the smallest of the
 * slopes, of many steps and for half a minute (a model that is loaded is over by then), or a single
 * step took four fifths of what was left; 2 within two minutes, or less than 512 MiB are left on a
 * card that has climbed for half a minute; 3 within half a minute.  A height from which it came
 * down today, or that one of the last seven days reached, and a quarter of what was left then, did
 * no harm: there only the last two minutes count. */
double dgo_oom_add(struct dgo_oom *oom, double seconds, double used_mib, double capacity_mib);

/* Whether the card has stood still for ten minutes: full is normal then. */
bool dgo_oom_is_static(const struct dgo_oom *oom, double seconds);

#endif
