/* view_config.h - the settings in force as JSON, for `config`, the API and the page.  As view.h. */
#ifndef VIEW_CONFIG_H
#define VIEW_CONFIG_H

#include "config.h"

#include <jansson.h>

/* .path, .from_file, .values[] with key, kind, origin ("default", "file", "environment", "flag";
 * left out where nobody gave a value), value (base units), text (as written), line or variable,
 * and of the key itself default, accepts and help; .groups[]. */
json_t *view_config(const struct config *config);

/* Each with .name, .members[], .swap, .exclusive, .persistent; in the order of the file. */
json_t *view_groups(const struct config_groups *groups);

#endif
