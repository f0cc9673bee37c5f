/* watch_engines.h - the running engines that are asked for their work; part of watch.  Any thread.
 */
#ifndef WATCH_ENGINES_H
#define WATCH_ENGINES_H

#include "watch.h"

struct watch_engines;

DGO_MUST_CHECK
enum dgo_status watch_engines_new(struct dgo_bus *bus, watch_load_fn on_load, void *data,
                                  struct watch_engines **engines, struct dgo_error *err);
/* After it none is asked any more.  Not in a job.  Accepts NULL. */
void watch_engines_free(struct watch_engines *engines);

DGO_MUST_CHECK
enum dgo_status watch_engines_add(struct watch_engines *engines, uint32_t pid, const char *url,
                                  const char *key, struct dgo_error *err);
void watch_engines_remove(struct watch_engines *engines, uint32_t pid);
uint32_t watch_engines_loads(struct watch_engines *engines, struct dgo_engine_load *loads,
                             uint32_t max);

/* An engine that this program launched has changed its state: it is asked while it is ready. */
void watch_engines_on_launch(struct watch_engines *engines, uint32_t launch,
                             const struct launch_event *event);

/* Whether one that answers works on a request, as of its last answer. */
bool watch_engines_busy(struct watch_engines *engines);

/* Starts a round unless one runs; never waits. */
void watch_engines_ask(struct watch_engines *engines);

#endif
