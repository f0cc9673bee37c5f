/* build.h - what the engine files share while they build a command: words, reasons, environment.
 *
 * Private to src/engine.  A builder remembers its first failure, so that a command reads as the
 * list of its flags. */
#ifndef ENGINE_BUILD_H
#define ENGINE_BUILD_H

#include "dgo_engine.h"

/* One flag or variable of an engine: where it is defined, and in which versions.  The first
 * spelling is the one that the engine's file uses. */
struct engine_flag {
    const char *spellings; /* "--tensor-parallel-size -tp"; the first is what is said to a binary
                            * whose help is not known: one that every version since takes */
    uint32_t since, until; /* DGO_ENGINE_VERSION: from, and first without it; 0 always, still */
    const char *source;    /* a file of the engine's repository */
};

struct command_builder {
    struct dgo_command *command;
    const char *engine;              /* "llama-server", for sentences */
    const struct dgo_probe *probe;   /* NULL: the newest spelling of every flag; one that knows the
                                      * version only (no flags) goes by the table below */
    const char *source;              /* of flags that the table does not list; NULL: none */
    const struct engine_flag *flags; /* ended by a row without spellings; NULL: none is kept */
    enum dgo_status status;          /* sticky */
    struct dgo_error *err;
};

/* One word.  `why` starts a flag; NULL for the value that follows it. */
void build_word(struct command_builder *builder, const char *word, const char *why);
void build_wordf(struct command_builder *builder, const char *why, const char *fmt, ...)
    DGO_PRINTF(3, 4);

/* A reason made of parts, kept as long as the command. */
const char *build_why(struct command_builder *builder, const char *fmt, ...) DGO_PRINTF(2, 3);

/* The flag for CPU threads: as the user says, else as many as this machine gives; none when neither
 * is known. */
void build_threads(struct command_builder *builder, const char *spellings,
                   const struct dgo_launch_options *options);

/* Where it listens. */
void build_listen(struct command_builder *builder, const char *host, const char *port,
                  const struct dgo_launch_options *options);

/* Sets a variable; value NULL removes it (a name that ends in '*' is a prefix). */
void build_environment(struct command_builder *builder, const char *name, const char *value,
                       const char *why);

/* The first of the spellings ("-c --ctx-size") that the binary knows; NULL none. */
const char *build_spelling(const struct command_builder *builder, const char *spellings);

/* Hands the finished command over; after a failure it is freed and *made left alone. */
enum dgo_status build_end(struct command_builder *builder, struct dgo_command *made);

enum build_need { BUILD_WANTED, BUILD_NEEDED };

/* The flag in the binary's spelling, then `value` unless NULL.  A flag that the binary lacks is
 * left out, or, when the plan needs it, fails the command with DGO_EUNSUPPORTED. */
void build_flag(struct command_builder *builder, enum build_need need, const char *spellings,
                const char *value, const char *why);
void build_flag_u32(struct command_builder *builder, enum build_need need, const char *spellings,
                    uint32_t value, const char *why);

#endif
