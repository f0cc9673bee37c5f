/* folder.h - a model that lies in a folder: config.json and safetensors files; private to model. */
#ifndef FOLDER_H
#define FOLDER_H

#include "hf_config.h"
#include "safetensors.h"

/* Whether `path` is such a folder or a file in one; `folder` (of PATH_MAX) is set to it. */
bool folder_is_model(const char *path, char *folder, size_t size);

/* Fills `model` (path, format, layers, sums). */
enum dgo_status folder_open(const char *folder, struct dgo_model *model,
                            struct dgo_error *err) DGO_MUST_CHECK;

/* The same from memory (dgo_model_parse_folder). */
enum dgo_status folder_parse(const char *config_text, size_t config_length, const char *header,
                             size_t header_length, uint64_t data_bytes, struct dgo_model *model,
                             struct dgo_error *err) DGO_MUST_CHECK;

/* --- folder_sum.c: tensors to sums, pure ------------------------------------------------------ */

/* One tensor into the model's layers and sums.  The config is the model's. */
enum dgo_status folder_add_tensor(const struct hf_config *config, struct dgo_model *model,
                                  const struct safetensors_tensor *tensor, struct dgo_error *err);

/* Before the first tensor, and after the last. */
void folder_begin(const struct hf_config *config, struct dgo_model *model);
enum dgo_status folder_finish(const struct hf_config *config, struct dgo_model *model,
                              struct dgo_error *err) DGO_MUST_CHECK;

#endif
