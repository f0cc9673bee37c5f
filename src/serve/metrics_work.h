/* metrics_work.h - what runs where, as metrics: bus, components, lanes.  Private to the folder. */
#ifndef METRICS_WORK_H
#define METRICS_WORK_H

#include "dgo_app.h"
#include "openmetrics.h"

void metrics_write_work(struct om *om, const struct dgo_app *app);

#endif
