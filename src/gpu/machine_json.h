/* machine_json.h - a machine as JSON and back, whole; private to gpu.  What a recording holds. */
#ifndef GPU_MACHINE_JSON_H
#define GPU_MACHINE_JSON_H

#include "dgo_recording.h"

#include <jansson.h>

/* New references; NULL without memory. */
json_t *gpu_json_of_gpu(const struct dgo_gpu *gpu);
json_t *gpu_json_of_links(const struct dgo_machine *machine);
json_t *gpu_json_of_host(const struct dgo_host *host);
json_t *gpu_json_of_load(const struct dgo_engine_load *load);

/* Text as a JSON value, escaped where it is not UTF-8. */
json_t *gpu_json_text(const char *text);

/* Values from a stranger's file into zeroed structs: text is escaped and cut, lists are cut at
 * their size, keys that are not known are passed over.  DGO_EFORMAT "total_bytes must be ...". */
DGO_MUST_CHECK
enum dgo_status gpu_json_to_gpu(const json_t *object, struct dgo_gpu *gpu, struct dgo_error *err);
DGO_MUST_CHECK
enum dgo_status gpu_json_to_links(const json_t *list, struct dgo_machine *machine,
                                  struct dgo_error *err);
DGO_MUST_CHECK
enum dgo_status gpu_json_to_host(const json_t *object, struct dgo_host *host,
                                 struct dgo_error *err);
DGO_MUST_CHECK
enum dgo_status gpu_json_to_load(const json_t *object, struct dgo_engine_load *load,
                                 struct dgo_error *err);
void gpu_json_to_text(const json_t *value, char *text, size_t size); /* "" for no text */

#endif
