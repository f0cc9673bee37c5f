/* export_formats.h - a planned launch in the words of other tools: units, compose files, presets,
 * manifests; one row a format in `dgo_exports`.
 *
 * Pure text from values: it reads and writes no file.  Any thread.
 *
 * Internal to this program (src/app and src/cli include it): it is not installed, and may change
 * with any release. */
#ifndef EXPORT_FORMATS_H
#define EXPORT_FORMATS_H

#include "dgo_engine.h"

struct dgo_export_question {
    const char *name;    /* of the launch: a file-name-like word */
    const char *program; /* path of this program, for the daemon's unit */
    const struct dgo_engine *engine;
    const struct dgo_machine *machine;
    const struct dgo_model *model;
    const struct dgo_plan *plan;
    const struct dgo_command *command; /* for this machine */
    const char *host;                  /* where the engine listens */
    uint16_t port;
};

struct dgo_export {
    const char *name; /* "systemd" */
    const char *what; /* one line */
    const char *file; /* what such a file is usually called: "NAME.service" */
    bool needs_plan;  /* false: it is about this program itself (systemd-daemon) */
    bool nvidia;      /* it gives cards out as NVIDIA's tools number them, and no others */
    enum dgo_status (*write)(const struct dgo_export_question *question, struct dgo_text *text,
                             struct dgo_error *err);
};
extern const struct dgo_export dgo_exports[];               /* ended by a row without name */
const struct dgo_export *dgo_export_find(const char *name); /* NULL: none */

/* The file's text; DGO_EUNSUPPORTED where the format cannot say what the plan needs (a sentence),
 * DGO_ELIMIT where it is longer than `text` has room for. */
DGO_MUST_CHECK
enum dgo_status dgo_export_write(const struct dgo_export *format,
                                 const struct dgo_export_question *question, struct dgo_text *text,
                                 struct dgo_error *err);

#endif
