/* alert_sinks.h - where alerts go: the bus, the log, a command, a webhook.  Private to app.
 *
 * Telling never blocks: a command and a webhook are jobs of the BLOCKING lane, at most
 * ALERT_SINK_JOB_MAX of them at once; what comes beyond is counted and logged. */
#ifndef ALERT_SINKS_H
#define ALERT_SINKS_H

#include "dgo_alerts.h"
#include "dgo_app.h"

#include <jansson.h>

enum { ALERT_SINK_JOB_MAX = 8 };

struct alert_sinks;

/* `command` is words separated by blanks, run without a shell, with DUALGPUOPT_ALERT_* in its
 * environment; `webhook` gets a POST of JSON.  Both may be NULL.  DGO_EINVAL for a URL that is not
 * http or https, or that carries a password. */
DGO_MUST_CHECK
enum dgo_status alert_sinks_new(struct dgo_bus *bus, const char *command, const char *webhook,
                                struct alert_sinks **sinks, struct dgo_error *err);

/* From now on; what is under way goes where it was sent.  A failure changes nothing.  Any thread.
 */
DGO_MUST_CHECK
enum dgo_status alert_sinks_set(struct alert_sinks *sinks, const char *command, const char *webhook,
                                struct dgo_error *err);

/* Waits for its jobs.  Accepts NULL. */
void alert_sinks_free(struct alert_sinks *sinks);

/* Any thread. */
void alert_sinks_tell(struct alert_sinks *sinks, const struct dgo_alert *alert, uint64_t wall_ns);

/* .id, .rule, .level, .before, .gpu, .pid, .value, .text, .time_ns, .state (raised, cleared). */
json_t *alert_view(const struct dgo_alert *alert, uint64_t time_ns);

/* Sends one; for the job and the tests.  Blocks for ten seconds at most.  Redirects are not
 * followed; link-local addresses, where clouds keep their secrets, are refused. */
DGO_MUST_CHECK
enum dgo_status alert_post(const char *url, const char *json, struct dgo_error *err);
DGO_MUST_CHECK
enum dgo_status alert_run(const char *command, const struct dgo_alert *alert,
                          struct dgo_error *err);

#endif
