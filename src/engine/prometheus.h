/* prometheus.h - samples of the text format that engines give their metrics in.  Pure; any thread.
 *
 * Source: Prometheus, "Exposition formats", text format 0.0.4.  The text is a stranger's: nothing
 * is copied, nothing is allocated, and a line that is no sample is passed over. */
#ifndef PROMETHEUS_H
#define PROMETHEUS_H

#include "dgo_base.h"

struct prometheus {
    const char *text;
    size_t length, at;
};

struct prometheus_sample {
    const char *name; /* not ended by a NUL, as everything here */
    size_t name_length;
    const char *labels; /* between the braces; NULL: none */
    size_t labels_length;
    double value; /* finite */
};

/* The next sample; false at the end. */
bool prometheus_next(struct prometheus *metrics, struct prometheus_sample *sample);

bool prometheus_is(const struct prometheus_sample *sample, const char *name);

/* A label's value as it is written, without its quotes; false when there is none. */
bool prometheus_label(const struct prometheus_sample *sample, const char *name, const char **value,
                      size_t *value_length);

#endif
