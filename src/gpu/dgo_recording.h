/* dgo_recording.h - a machine and its readings as a file, so that what was seen on one machine can
 * be looked at on another without its cards.
 *
 * Lines of JSON (dualgpuopt-recording(5)): a header, then a line for each look, each reading of an
 * engine and each mark, with the seconds since the start.  A line holds what has changed since the
 * line before, so a quiet hour is small, and a file that was cut off by a crash is read up to its
 * last whole line.  Such a file is also a source of dgo_gpu_open (`machine_file`), which plays it
 * in time.  One handle, one thread at a time. */
#ifndef DGO_RECORDING_H
#define DGO_RECORDING_H

#include "dgo_base.h"
#include "dgo_sampler.h"

enum {
    DGO_RECORDING_LINE_MAX = 1 << 20, /* bytes; a longer one is no recording's */
    DGO_RECORDING_MARK_MAX = 200,
};

enum dgo_engine_load_field {
#define X(id, type, name, title) DGO_LOAD_##id,
#include "engine_load.def"
#undef X
    DGO_LOAD_FIELD_COUNT
};

/* What an engine says of its own work at one moment. */
struct dgo_engine_load {
    uint32_t pid;   /* of its process; 0 unknown */
    char model[96]; /* as it calls it, escaped; "" unknown */
    uint32_t known; /* bit 1 << enum dgo_engine_load_field for each reading below */
#define X(id, type, name, title) type name;
#include "engine_load.def"
#undef X
};

static inline bool dgo_load_knows(const struct dgo_engine_load *load,
                                  enum dgo_engine_load_field field)
{
    return load->known >> field & 1;
}

enum dgo_recording_kind { DGO_RECORDED_SAMPLE, DGO_RECORDED_LOAD, DGO_RECORDED_MARK };

struct dgo_recording_item {
    enum dgo_recording_kind kind;
    uint64_t at_ns; /* since the start; never less than before */
    /* Of a SAMPLE; the reader's, valid until the next call.  monotonic_ns is at_ns; a `problem`
     * is a look that failed, and `machine` is what was known before. */
    const struct dgo_sample *sample;
    struct dgo_engine_load load;       /* of a LOAD */
    char mark[DGO_RECORDING_MARK_MAX]; /* of a MARK, escaped */
};

/* ---- writing ------------------------------------------------------------------------------- */

struct dgo_recorder;

/* Makes the file, or replaces it; "-" is stdout.  DGO_EIO. */
DGO_MUST_CHECK
enum dgo_status dgo_recorder_open(const char *path, struct dgo_recorder **recorder,
                                  struct dgo_error *err);

/* One line, in the kernel's hands when it returns.  The first sample's time is the start.  After a
 * failure (DGO_EIO: disk full) nothing more is written and every call fails alike. */
DGO_MUST_CHECK
enum dgo_status dgo_recorder_add_sample(struct dgo_recorder *recorder,
                                        const struct dgo_sample *sample, struct dgo_error *err);
DGO_MUST_CHECK
enum dgo_status dgo_recorder_add_load(struct dgo_recorder *recorder, uint64_t monotonic_ns,
                                      const struct dgo_engine_load *load, struct dgo_error *err);
DGO_MUST_CHECK
enum dgo_status dgo_recorder_add_mark(struct dgo_recorder *recorder, uint64_t monotonic_ns,
                                      const char *text, struct dgo_error *err);

/* Accepts NULL. */
DGO_MUST_CHECK
enum dgo_status dgo_recorder_close(struct dgo_recorder *recorder, struct dgo_error *err);

/* ---- reading ------------------------------------------------------------------------------- */

struct dgo_recording;

/* Whether the file begins like a recording; false for one that cannot be read. */
bool dgo_recording_is_one(const char *path);

/* DGO_ENOTFOUND, DGO_EIO, DGO_EFORMAT. */
DGO_MUST_CHECK
enum dgo_status dgo_recording_open(const char *path, struct dgo_recording **recording,
                                   struct dgo_error *err);

/* The next item.  DGO_ENOTFOUND after the last one, without a sentence; DGO_EFORMAT "PATH: line L:
 * ...".  A last line that was cut off is as if it were not there. */
enum dgo_status dgo_recording_next(struct dgo_recording *recording, struct dgo_recording_item *item,
                                   struct dgo_error *err);

void dgo_recording_close(struct dgo_recording *recording); /* accepts NULL */

#endif
