/* view_internal.h - what the makers of views share.  Private to view*.c. */
#ifndef VIEW_INTERNAL_H
#define VIEW_INTERNAL_H

#include "view.h"

#include <math.h>

/* One view to be made, as a job of view_formatting: in its caller, unless that is the UI thread.
 * Each maker uses the fields it needs. */
struct view {
    json_t *(*make)(const struct view *view);
    const struct dgo_machine *machine;
    const struct dgo_model *model;
    const struct dgo_estimate *estimate;
    const struct dgo_settings *settings;
    const struct dgo_plan *plan;
    const struct dgo_alternative *alternative;
    const struct dgo_command *command;
    const struct dgo_comparison *comparison;
    const struct dgo_report *report;
    json_t *made;
};

/* What `view->make` makes of it; NULL without memory. */
json_t *view_make(struct view *view);

static inline void set_text(json_t *object, const char *key, const char *text)
{
    json_object_set_new(object, key, view_text(text));
}

static inline json_t *text_or_null(const char *text)
{
    return text[0] ? view_text(text) : json_null();
}

/* JSON knows no largest integer, jansson does. */
static inline json_t *count_value(uint64_t value)
{
    return value > INT64_MAX ? json_real((double)value) : json_integer((json_int_t)value);
}

static inline void set_count(json_t *object, const char *key, uint64_t value)
{
    json_object_set_new(object, key, count_value(value));
}

static inline void set_number(json_t *object, const char *key, double value)
{
    if (isfinite(value)) /* JSON has no word for the others */
        json_object_set_new(object, key, json_real(value));
}

static inline void set_rate(json_t *object, const char *key, double value)
{
    if (value > 0)
        set_number(object, key, value);
}

#endif
