/* api.h - the routes of docs/HTTP.md; `data` of each is the daemon.  Private to the folder. */
#ifndef API_H
#define API_H

#include "catalog.h"
#include "daemon.h"
#include "presets.h"

/* The models of the folders in force.  Any thread. */
DGO_MUST_CHECK
enum dgo_status api_scan(const struct config *config, struct catalog **catalog,
                         struct dgo_error *err);

/* One of them.  Any thread.  `*catalog` is the caller's to free, also after a failure. */
DGO_MUST_CHECK
enum dgo_status api_find_model(const struct config *config, const char *name,
                               struct catalog **catalog, const struct catalog_model **model,
                               struct dgo_error *err);

/* The preset that `body` names, to be freed; NULL: it names none.  Any thread; may block. */
DGO_MUST_CHECK
enum dgo_status api_read_preset(char *const *environment, const json_t *body,
                                struct preset **preset, struct dgo_error *err);

/* A file by its path, named by its stem.  Only for a user of this machine: who asks over the
 * network names what the folders or his presets hold.  `*catalog` as above. */
DGO_MUST_CHECK
enum dgo_status api_take_path(const char *path, struct catalog **catalog,
                              const struct catalog_model **model, struct dgo_error *err);

/* What a client of the front asks for: a preset of that name, then to be freed, else a model of the
 * folders.  `*catalog` as above.  Any thread; may block. */
DGO_MUST_CHECK
enum dgo_status api_find_asked(char *const *environment, const struct config *config,
                               const char *name, struct catalog **catalog,
                               const struct catalog_model **model, struct preset **preset,
                               struct dgo_error *err);

void api_config(struct http_request *request, void *daemon);
void api_set_config(struct http_request *request, void *daemon);
void api_timeline(struct http_request *request, void *daemon);
void api_profile(struct http_request *request, void *daemon);
void api_mark(struct http_request *request, void *daemon);
void api_launches(struct http_request *request, void *daemon);
void api_launch(struct http_request *request, void *daemon);
void api_one(struct http_request *request, void *daemon);
void api_log(struct http_request *request, void *daemon);
void api_stop(struct http_request *request, void *daemon);
void api_pin(struct http_request *request, void *daemon);
void api_forget(struct http_request *request, void *daemon);

#endif
