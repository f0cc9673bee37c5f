/* config_watch.h - the configuration of a long-running program: read again when its file changes
 * (or on SIGHUP, which the program passes on), told to the bus as TOPIC_CONFIG_CHANGED.
 *
 * A broken file changes nothing: the values in force stay and the event says what is wrong.  All
 * calls on the loop's thread. */
#ifndef CONFIG_WATCH_H
#define CONFIG_WATCH_H

#include "config.h"

struct config_watch;

/* `given` and `environment` outlive the watch.  Reads the file once; a broken one fails here. */
DGO_MUST_CHECK
enum dgo_status config_watch_start(struct dgo_app *app, const struct options *given,
                                   char *const *environment, struct config_watch **watch,
                                   struct dgo_error *err);

/* Never NULL.  config_ref what is used beyond this turn of the loop. */
const struct config *config_watch_current(const struct config_watch *watch);

/* What it was started with: flags, environment and defaults. */
const struct options *config_watch_given(const struct config_watch *watch);

/* Reads the file now and publishes the result, also when nothing changed. */
void config_watch_reload(struct config_watch *watch);

void config_watch_stop(struct config_watch *watch); /* accepts NULL */

#endif
