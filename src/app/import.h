/* import.h - files of other tools as presets: llama-swap's config.yaml, llama.cpp's presets.ini.
 *
 * Pure text to values: nothing is written, started or asked.  What a preset cannot say is told by
 * line, never dropped in silence.  Any thread.  Private to app and the faces. */
#ifndef IMPORT_H
#define IMPORT_H

#include "presets.h"

enum {
    IMPORT_BYTES_MAX = 1 << 20,
    IMPORT_ENTRY_MAX = 256,
    IMPORT_WORD_MAX = 512,
    IMPORT_MEMBER_MAX = 64
};

/* A group of llama-swap's, whose words are those of the configuration (config.h). */
struct import_group {
    const char *name;
    const char *const *member; /* by the names of their presets */
    uint32_t member_count;
    bool swap, exclusive, persistent;
};

enum import_kind { IMPORT_LLAMA_SWAP, IMPORT_LLAMA_PRESET };

struct import_call {
    enum import_kind kind;
    const char *text; /* ended by a NUL */
    size_t length;
    const char *folder;       /* of the file, absolute: relative paths in it begin there */
    char *const *environment; /* for ${env.NAME} */

    /* A launch as a preset; it lives as long as the call. */
    void (*preset)(const struct preset *preset, uint32_t line, void *data);
    /* What is not kept, or taken otherwise than it stands; `entry` "" where it is about the file;
     * `lost` where the entry gives no preset. */
    void (*note)(const char *entry, uint32_t line, bool lost, const char *sentence, void *data);
    /* Who may run together; lives as long as the call.  NULL: told instead. */
    void (*group)(const struct import_group *group, uint32_t line, void *data);
    void *data;
};

/* "Qwen/Qwen3:8b" as a name that a preset or a group may have: "Qwen-Qwen3-8b"; "": nothing of it
 * may stand in one. */
void import_name(const char *name, char to[PRESET_NAME_MAX]);

/* By the file's ending; false: neither. */
bool import_kind_of(const char *path, enum import_kind *kind);

/* DGO_EFORMAT "line L, column C: ..." where the file as a whole cannot be read. */
DGO_MUST_CHECK
enum dgo_status import_read(const struct import_call *call, struct dgo_error *err);

/* ---- for the readers of one format each ---- */

struct import_entry;

/* A new entry; false: out of memory or too many, told. */
struct import_entry *import_begin(const struct import_call *call, const char *name, uint32_t line);
void import_note(struct import_entry *entry, uint32_t line, const char *fmt, ...) DGO_PRINTF(3, 4);
void import_lost(struct import_entry *entry, uint32_t line, const char *fmt, ...) DGO_PRINTF(3, 4);
/* NAME=value of the engine's environment. */
void import_variable(struct import_entry *entry, uint32_t line, const char *variable);
/* A whole command, program first. */
void import_command(struct import_entry *entry, uint32_t line, const char *const *words,
                    uint32_t count);
/* One flag of llama.cpp's with its value, or NULL; returns whether the value was taken. */
bool import_flag(struct import_entry *entry, uint32_t line, const char *flag, const char *value);
/* Settles what depends on several flags, hands the preset out, and frees the entry. */
void import_end(struct import_entry *entry);

enum dgo_status import_llama_swap(const struct import_call *call, struct dgo_error *err);
enum dgo_status import_llama_preset(const struct import_call *call, struct dgo_error *err);

#endif
