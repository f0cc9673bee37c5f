/* recording.h - a recording as a driver and as bytes; private to gpu and the fuzzer. */
#ifndef GPU_RECORDING_H
#define GPU_RECORDING_H

#include "dgo_recording.h"
#include "driver.h"

extern const struct gpu_driver gpu_driver_recording;

/* As dgo_recording_open, of bytes that outlive it. */
DGO_MUST_CHECK
enum dgo_status gpu_recording_of_bytes(const char *bytes, size_t length,
                                       struct dgo_recording **recording, struct dgo_error *err);

#endif
