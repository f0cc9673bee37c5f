/* machine_file.h - a described machine from text, for tests and fuzzing; private to gpu. */
#ifndef GPU_MACHINE_FILE_H
#define GPU_MACHINE_FILE_H

#include "dgo_gpu.h"

/* Fills a zeroed machine.  Fails with "line L, column C: ...". */
enum dgo_status gpu_machine_parse(const char *bytes, size_t length, struct dgo_machine *machine,
                                  struct dgo_error *err) DGO_MUST_CHECK;

#endif
