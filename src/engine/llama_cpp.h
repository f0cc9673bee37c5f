/* llama_cpp.h - what the files of the llama.cpp engine share.  Private to src/engine. */
#ifndef ENGINE_LLAMA_CPP_H
#define ENGINE_LLAMA_CPP_H

#include "engines.h"

enum {
    /* Builds, by their number, at which something that we depend on changed. */
    LLAMA_FA_VALUE_BUILD = 6325, /* -fa takes on, off or auto (August 2025) */
    LLAMA_NO_ROWS_BUILD = 9890,  /* no -sm row for CUDA and ROCm (#24216, #25594; July 2026) */
    /* -md without --spec-type is loaded and drafts nothing, unless it has a next-token block: seen
     * with this build; older ones took it for draft-simple. */
    LLAMA_IDLE_DRAFT_BUILD = 11669,
    /* Seen in this build, and not looked for in those before: flags that are gone, and batches that
     * are too short for what it tries at its start. */
    LLAMA_GONE_BUILD = 11669,
    LLAMA_BATCH_LEAST_BUILD = 11669,
    LLAMA_AUTO_SLOTS_BUILD = 6920, /* 4 slots with one KV cache unless -np is given (November) */
    LLAMA_BUILD_LEAST = 1000,      /* smaller numbers come from shallow clones: not a build */

    LLAMA_AUTO_SLOTS = 4,
    LLAMA_BATCH_TOKENS = 2048,
    LLAMA_UBATCH_TOKENS = 512,
    LLAMA_SHARE_MAX = DGO_GPU_MAX - 1, /* of -ts: it refuses as many as it could have devices */
    LLAMA_DRAFT_TOKENS = 3,            /* --spec-draft-n-max */
    LLAMA_DEVICE_NAME_MAX = 16,
    LLAMA_LIST_MAX = DGO_GPU_MAX * 24, /* of names or shares of all cards */
};

/* How one vendor's cards are named by the engine and chosen by the environment. */
struct llama_cpp_vendor {
    enum dgo_gpu_vendor vendor;
    const char *device;  /* "CUDA": the devices are CUDA0, CUDA1, ... in the order they are seen */
    const char *visible; /* the variable that says which are seen, and in which order */
    bool by_uuid;        /* it takes UUIDs, which no reordering can confuse */
};
const struct llama_cpp_vendor *llama_cpp_vendor(enum dgo_gpu_vendor vendor);

/* What the engine calls gpus[position] when it sees exactly those `gpu_count` cards (indexes of the
 * machine), in that order; cards of other machines through rpc-servers that show theirs so. */
void llama_cpp_device_name(const struct dgo_machine *machine, const uint32_t *gpus,
                           uint32_t gpu_count, uint32_t position, char name[LLAMA_DEVICE_NAME_MAX]);

/* "CUDA0,CUDA1" and "16,17": the plan's cards and the layers of each.  Shares that are no counts
 * (an estimate of the user's own flags) keep nine digits, which give back the same float. */
void llama_cpp_device_list(const struct dgo_machine *machine, const struct dgo_settings *settings,
                           const char *separator, char list[LLAMA_LIST_MAX]);
void llama_cpp_share_list(const struct dgo_settings *settings, const char *separator,
                          char list[LLAMA_LIST_MAX]);

void llama_cpp_name_devices(const struct dgo_machine *machine, const struct dgo_settings *settings,
                            struct dgo_estimate *estimate);

enum dgo_status llama_cpp_command(const struct dgo_machine *machine, const struct dgo_model *model,
                                  const struct dgo_plan *plan,
                                  const struct dgo_launch_options *options,
                                  const struct dgo_probe *probe, struct dgo_command *command,
                                  struct dgo_error *err);

void llama_cpp_read_line(struct dgo_report *report, const char *line, size_t length);

/* The device of that name, added when there is room; -1 else. */
int llama_cpp_device_named(struct dgo_report *report, const char *name);
/* The same for the name of a buffer, which for remote devices is another one. */
int llama_cpp_buffer_device(struct dgo_report *report, const char *name);
/* "model", "compute", ...: the words before "buffer size". */
enum dgo_buffer_kind llama_cpp_buffer_kind(const char *words, size_t length);
/* Books a buffer: on top of those with the same device, kind and tag, or in their place. */
void llama_cpp_book(struct dgo_report *report, uint8_t device, uint8_t kind, uint8_t tag, bool adds,
                    uint64_t bytes);
/* The model's buffers, or the context's, are about to be told anew. */
void llama_cpp_start_over(struct dgo_report *report, bool model);

/* A complaint of the engine: a message of level E or W, or a line that carries no level.  Called
 * for lines that cannot be forged by what a model or a client says. */
void llama_cpp_read_trouble(struct dgo_report *report, const char *source, const char *message);
/* The engine tries again, or it gave up. */
void llama_cpp_drop_held(struct dgo_report *report);

enum llama_cpp_phase {
    LLAMA_PHASE_START,
    LLAMA_PHASE_WEIGHTS,
    LLAMA_PHASE_CONTEXT,
    LLAMA_PHASE_COMPUTE,
    LLAMA_PHASE_SERVING
};

void llama_cpp_read_probe(struct dgo_probe *probe, const char *version_output,
                          const char *help_output);
uint32_t llama_cpp_read_devices(struct dgo_engine_device *devices, uint32_t devices_max,
                                const char *output);

enum dgo_status llama_cpp_read_flags(const struct dgo_flag_source *source, struct dgo_flags *flags,
                                     struct dgo_error *err);

struct command_builder;
/* The variables that say which of this machine's cards are seen, and in which order: each vendor's
 * once. */
void llama_cpp_visible(struct command_builder *builder, const struct dgo_machine *machine,
                       const struct dgo_settings *settings);

/* "host:port,host:port" of the machines beside this one that the plan uses; false: none. */
bool llama_cpp_servers(const struct dgo_machine *machine, const struct dgo_settings *settings,
                       char *text, size_t size);
/* The environment of anything that runs llama.cpp's libraries: which cards, no left-over settings.
 */
void llama_cpp_environment(struct command_builder *builder, const struct dgo_machine *machine,
                           const struct dgo_settings *settings);

#endif
