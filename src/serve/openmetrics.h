/* openmetrics.h - writes metrics in the text formats of OpenMetrics 1.0 (strict) and Prometheus
 * 0.0.4.  Private to the folder.  One owner.
 *
 * Source: the OpenMetrics specification 1.0.0, "Text Format".  Families are written one after the
 * other and never interleaved; what is said of the unit and of "_total" is done here, so that a
 * caller names a family once. */
#ifndef OPENMETRICS_H
#define OPENMETRICS_H

#include "dgo_base.h"

#include <stdio.h>

enum { OM_LABELS_MAX = 8, OM_NAME_MAX = 96 };

enum om_type { OM_GAUGE, OM_COUNTER, OM_INFO };

struct om {
    FILE *out;
    char *text;
    size_t length;
    bool strict; /* OpenMetrics; else 0.0.4 */
    char family[OM_NAME_MAX];
    enum om_type type;
};

struct om_label {
    const char *name, *value;
};

/* DGO_ENOMEM. */
DGO_MUST_CHECK
enum dgo_status om_open(struct om *om, bool strict, struct dgo_error *err);

/* `name` has its unit as suffix where `unit` is not NULL, and no "_total" or "_info". */
void om_family(struct om *om, const char *name, enum om_type type, const char *unit,
               const char *help);
/* `labels` ends with a NULL name; NULL: none.  A value that is no number is left out. */
void om_sample(struct om *om, const struct om_label *labels, double value);
void om_sample_u64(struct om *om, const struct om_label *labels, uint64_t value);

/* Text and length, to be freed by the caller; NULL without memory. */
char *om_close(struct om *om, size_t *length);

const char *om_content_type(bool strict);

#endif
