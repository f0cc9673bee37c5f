/* openmetrics.c - families, samples, labels, the end. */
#include "openmetrics.h"

#include "dgo_text.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum dgo_status om_open(struct om *om, bool strict, struct dgo_error *err)
{
    *om = (struct om){.strict = strict};
    om->out = open_memstream(&om->text, &om->length);
    return om->out ? DGO_OK : dgo_fail(err, DGO_ENOMEM, "out of memory for metrics");
}

/* In the old format the sample's whole name is the family's. */
static const char *suffix_of(const struct om *om)
{
    return om->type == OM_COUNTER ? "_total" : om->type == OM_INFO ? "_info" : "";
}

void om_family(struct om *om, const char *name, enum om_type type, const char *unit,
               const char *help)
{
    static const char *const strict_types[] = {"gauge", "counter", "info"};
    static const char *const old_types[] = {"gauge", "counter", "gauge"};

    om->type = type;
    (void)dgo_text_copy(om->family, sizeof om->family, name);
    if (om->strict) {
        fprintf(om->out, "# TYPE %s %s\n", name, strict_types[type]);
        if (unit)
            fprintf(om->out, "# UNIT %s %s\n", name, unit);
        fprintf(om->out, "# HELP %s %s\n", name, help);
    } else {
        fprintf(om->out, "# HELP %s%s %s\n", name, suffix_of(om), help);
        fprintf(om->out, "# TYPE %s%s %s\n", name, suffix_of(om), old_types[type]);
    }
}

/* Backslash, quote and newline have escapes; other controls are made visible before. */
static void write_value(FILE *out, const char *value)
{
    char clean[512];

    dgo_text_copy_escaped(clean, sizeof clean, value, strlen(value));
    for (const char *c = clean; *c; c++) {
        if (*c == '\\' || *c == '"')
            fputc('\\', out);
        fputc(*c, out);
    }
}

static void write_head(struct om *om, const struct om_label *labels)
{
    fprintf(om->out, "%s%s", om->family, suffix_of(om));
    if (!labels || !labels->name)
        return;
    fputc('{', om->out);
    for (const struct om_label *label = labels; label->name; label++) {
        fprintf(om->out, "%s%s=\"", label == labels ? "" : ",", label->name);
        write_value(om->out, label->value ? label->value : "");
        fputc('"', om->out);
    }
    fputc('}', om->out);
}

void om_sample(struct om *om, const struct om_label *labels, double value)
{
    if (!isfinite(value))
        return;
    write_head(om, labels);
    fprintf(om->out, " %.15g\n", value);
}

void om_sample_u64(struct om *om, const struct om_label *labels, uint64_t value)
{
    write_head(om, labels);
    fprintf(om->out, " %" PRIu64 "\n", value);
}

char *om_close(struct om *om, size_t *length)
{
    if (om->strict)
        fprintf(om->out, "# EOF\n");
    if (fclose(om->out) != 0) {
        free(om->text);
        return NULL;
    }
    *length = om->length;
    return om->text;
}

const char *om_content_type(bool strict)
{
    return strict ? "application/openmetrics-text; version=1.0.0; charset=utf-8"
                  : "text/plain; version=0.0.4; charset=utf-8";
}
