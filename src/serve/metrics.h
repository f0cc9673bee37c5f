/* metrics.h - GET /metrics.  Private to the folder. */
#ifndef METRICS_H
#define METRICS_H

#include "daemon.h"

void metrics_serve(struct http_request *request, void *daemon);

#endif
