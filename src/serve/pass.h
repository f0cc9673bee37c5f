/* pass.h - metrics that engines give, passed on with our labels.  Private to the folder.  Pure.
 *
 * Texts of the Prometheus format come in, one for each launch; families of the same name are
 * joined,
 * ':' in names becomes '_', counters get the names that OpenMetrics wants, and every sample gets
 * the labels of its launch.  What is no sample is left out, bounded in number and length. */
#ifndef PASS_H
#define PASS_H

#include "openmetrics.h"

enum { PASS_FAMILY_MAX = 512, PASS_SAMPLE_MAX = 8192, PASS_LINE_MAX = 2048 };

struct pass;

struct pass *pass_new(void);       /* NULL: no memory */
void pass_free(struct pass *pass); /* accepts NULL */

/* `labels` ends with a NULL name. */
void pass_add(struct pass *pass, const char *text, size_t length, const struct om_label *labels);
/* Ends with what was added; `strict` as in openmetrics.h. */
void pass_write(const struct pass *pass, struct om *om);

#endif
