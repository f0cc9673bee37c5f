/* dgo_engine.h - inference engines: plan -> argv and environment; log line -> report; help text ->
 * probe.  One file an engine, one row in `engines` (engine.c).
 *
 * Pure text work: it starts nothing and reads no file.  A command and a report are the caller's
 * storage.  One owner at a time. */
#ifndef DGO_ENGINE_H
#define DGO_ENGINE_H

#include "dgo_arena.h"
#include "dgo_base.h"
#include "dgo_plan.h"
#include "dgo_text.h"

enum {
    DGO_ARG_MAX = 256, /* of one command; more is DGO_ELIMIT */
    DGO_ENV_MAX = 64,
    DGO_FLAG_MAX = 1024, /* options of an engine; llama-server has about 260 with 415 spellings */
    DGO_FLAG_TEXT_MAX = 40, /* of one spelling; a longer one is not kept */
};

/* A change to the parent's environment. */
struct dgo_env_change {
    const char *name;  /* a name, or a prefix that ends in '*' when value is NULL */
    const char *value; /* NULL: removed */
    const char *why;   /* one sentence, for --explain */
};

/* What will be executed.  Strings live in the arena; dgo_command_done frees them. */
struct dgo_command {
    struct dgo_arena arena;
    uint32_t arg_count;
    const char *arg[DGO_ARG_MAX + 1]; /* arg[0] is the binary; NULL-terminated */
    const char *why[DGO_ARG_MAX];     /* reason of the flag that starts here, or NULL */
    const char *source[DGO_ARG_MAX];  /* where its engine defines that flag, or NULL */
    uint32_t env_count;
    struct dgo_env_change env[DGO_ENV_MAX];
    const char *env_source[DGO_ENV_MAX]; /* where the engine defines that variable, or NULL */
};
void dgo_command_done(struct dgo_command *command);

/* The parent's environment with the changes applied: a NULL-terminated array from `arena`; NULL
 * without memory. */
const char **dgo_command_environment(const struct dgo_command *command, char *const *parent,
                                     struct dgo_arena *arena);

/* One line a shell would read back as exactly this command: changed variables first (env -u NAME
 * ... NAME=value), every word quoted where needed. */
void dgo_command_text(const struct dgo_command *command, char *const *parent,
                      struct dgo_text *text);

/* Why each variable and flag is there, and where its engine defines it; one call of `line` each. */
void dgo_command_explain(const struct dgo_command *command, dgo_explain_fn line, void *data);

/* The derivation of a plan's numbers, under whichever rules it was made. */
void dgo_engine_explain(const struct dgo_machine *machine, const struct dgo_model *model,
                        const struct dgo_plan *plan, dgo_explain_fn line, void *data);

/* Splits shell text as /bin/sh would for plain words and quotes (no expansion: $ ` * ? ; | & < >
 * outside quotes are errors).  The words live in the arena.  The inverse of quoting: see
 * prop_quote. */
DGO_MUST_CHECK
enum dgo_status dgo_words_split(const char *text, struct dgo_arena *arena, uint32_t *count,
                                const char **words, uint32_t words_max, struct dgo_error *err);
void dgo_word_quote(struct dgo_text *text, const char *word);

/* What a binary says of itself.  Kept by the store, keyed by the binary's hash. */
struct dgo_probe {
    uint32_t build;   /* llama.cpp's build number, another engine's DGO_ENGINE_VERSION; 0 unknown */
    char version[96]; /* first line of --version, escaped */
    uint32_t flag_count;
    char flag[DGO_FLAG_MAX]
             [DGO_FLAG_TEXT_MAX]; /* every spelling in --help, sorted: "--ctx-size", "-c", ... */
};
/* "10256", "b10256", or the release "0.5.0", "v0.5.0"; 0: none of these, or a number so small that
 * it comes from a shallow clone. */
uint32_t dgo_engine_build_parse(const char *text);
bool dgo_probe_has(const struct dgo_probe *probe, const char *flag);

/* Versions like 0.11.2 as numbers that can be compared. */
#define DGO_ENGINE_VERSION(major, minor, patch) ((major)*1000000u + (minor)*1000u + (patch))
/* The first version number in `text` ("vllm 0.11.2+cu128"); 0: none. */
uint32_t dgo_engine_version(const char *text);

/* A device as `--list-devices` shows it. */
struct dgo_engine_device {
    char name[32];        /* "CUDA0" */
    char description[96]; /* "NVIDIA GeForce RTX 3090" */
    uint64_t total_bytes, free_bytes;
    char pci_id[24]; /* "" unknown */
};

struct dgo_launch_options {
    const char *binary; /* path of the engine */
    const char *model_path;
    const char *host; /* "127.0.0.1" */
    uint16_t port;
    const char *const *extra_args; /* the user's own flags, last; may be NULL */
    uint32_t extra_count;
    int32_t thread_count; /* as the user says; -1: not said */
    uint32_t cpu_count;   /* that the engine may keep busy on this machine; 0 unknown */
    const char *cpu_why;  /* what limits it, one clause; read during the call only */
};

/* What went wrong, as far as the log tells. */
enum dgo_trouble {
    DGO_TROUBLE_NONE,
    DGO_TROUBLE_OOM_WEIGHTS, /* model buffers did not fit */
    DGO_TROUBLE_OOM_CONTEXT, /* KV cache or state did not fit */
    DGO_TROUBLE_OOM_COMPUTE, /* compute buffers did not fit */
    DGO_TROUBLE_OOM_RUNTIME, /* out of memory while serving */
    DGO_TROUBLE_MODEL,       /* the file is damaged or its architecture too new for the binary */
    DGO_TROUBLE_ARGUMENT,    /* a flag was refused */
    DGO_TROUBLE_PORT,        /* the port is taken */
    DGO_TROUBLE_OTHER
};
static inline bool dgo_trouble_is_oom(enum dgo_trouble trouble)
{
    return trouble >= DGO_TROUBLE_OOM_WEIGHTS && trouble <= DGO_TROUBLE_OOM_RUNTIME;
}

enum dgo_buffer_kind {
    DGO_BUFFER_MODEL,
    DGO_BUFFER_CONTEXT,
    DGO_BUFFER_COMPUTE,
    DGO_BUFFER_OUTPUT,
    DGO_BUFFER_KIND_COUNT
};

/* Bytes by device and kind as the engine logged them: hundredths of a MiB, so each figure is within
 * DGO_REPORT_STEP_BYTES of the true one.  The last value of each buffer counts (engines print dry
 * runs first); several buffers of one kind (KV + SWA KV + state) add up. */
#define DGO_REPORT_STEP_BYTES 5243 /* half of 0.01 MiB, rounded up */
struct dgo_report_device {
    char name[32]; /* "CUDA0"; "CUDA_Host", "CPU", "CPU_Mapped", "CPU_REPACK" are host memory */
    bool is_host;
    uint64_t known; /* bit per kind */
    uint64_t bytes[DGO_BUFFER_KIND_COUNT];
    bool memory_known; /* from "using device ...": before the launch */
    uint64_t free_bytes;
    char endpoint[64]; /* "host:port" of a remote device, else "" */
};

struct dgo_report {
    uint32_t device_count;
    struct dgo_report_device device[DGO_GPU_MAX + 8];
    bool listening; /* the server accepts connections */
    bool model_loaded;
    bool pipeline_known, pipeline;
    uint32_t ctx_tokens, ctx_tokens_per_slot, slot_count; /* 0: not seen yet */
    uint32_t layers_offloaded, layers_total;              /* "offloaded 33/33 layers" */
    enum dgo_trouble trouble;                             /* the first cause, not the last echo */
    char trouble_device[32];                              /* "" unknown */
    uint64_t trouble_bytes; /* size that could not be had; 0 unknown */
    char trouble_line[256]; /* the line, escaped */
    /* What engines of pools of blocks say when they start; 0: not said. */
    uint64_t kv_tokens;
    double concurrency; /* requests of full length that the pool serves */
    double prompt_tokens_per_second, decode_tokens_per_second; /* of the last request; 0: none */
    uint64_t request_count;
    /* private to the engine file: what must be remembered between lines */
    struct {
        uint8_t phase;      /* what the engine is busy with */
        uint8_t generation; /* 0 the model; 1, 2, ... a draft model or context loaded beside it */
        bool prefixed;      /* lines carry a time stamp: one without is no line of the log */
        bool quoting;       /* a message of several lines shows text of the model */
        bool timing; /* older builds: the figures of a request follow on lines of their own */
        enum dgo_trouble held; /* may still turn out harmless: the engine tries again, smaller */
        char held_device[32];
        uint64_t held_bytes;
        char held_line[256];
        /* by the lowest device of a remote server: own numbers of its devices seen so far */
        uint32_t remote_seen[DGO_GPU_MAX + 8];
        uint32_t buffer_count;
        struct {
            uint8_t device, kind, tag;
            uint64_t bytes;
        } buffer[96];
    } state;
};

/* What an engine plans from. */
struct dgo_engine_question {
    const struct dgo_machine *machine;
    const struct dgo_model *model;
    const struct dgo_intent *intent;
    const char *kv_type;                         /* as the user wrote it; NULL: choose */
    uint32_t tensor_parallel, pipeline_parallel; /* 0: choose */
    double memory_share;                         /* 0: the engine's default */
    bool requests_given; /* the user said how many; else as many as the pool serves */
};

/* A command line of the engine, and where it is given. */
struct dgo_flag_source {
    const struct dgo_machine *machine;
    const struct dgo_model *model;
    const struct dgo_engine_rules *rules; /* NULL: the newest known build */
    const char *const *args; /* may open with NAME=value words and the program's name */
    uint32_t arg_count;
    char *const *environment; /* the engine's variables (LLAMA_ARG_...); NULL: none */
    const uint32_t
        *visible; /* cards that the engine sees, in its order; NULL: all of the machine */
    uint32_t visible_count;
};

/* What it says.  About 50 KiB; texts point into the source, patterns and lists of files into
 * `text`. */
enum { DGO_ADAPTER_MAX = 16, DGO_PATTERN_TEXT_MAX = 24 * 1024 };
struct dgo_flags {
    struct dgo_settings
        settings; /* its overrides are those below, as the draft's: not to be copied alone */
    char device_name[DGO_GPU_MAX][16]; /* of settings.device_gpu, as the engine calls them */
    bool fit; /* the engine may still change what does not fit: nothing that forbids it is given */
    uint64_t fit_margin_bytes; /* what it leaves free on each device */

    const char *draft_model;   /* a second model beside the first; NULL: none */
    struct dgo_settings draft; /* context tokens: those of the first model's estimate */
    bool draft_fed;            /* it is said to be one that is fed hidden states */
    bool draft_by_file;        /* nothing says of what kind it is: by what is in it */
    uint32_t draft_tokens;     /* that a draft proposes at once */

    const char *projector;   /* NULL: none */
    int32_t projector_gpu;   /* in the machine, among the settings' devices or not; -1: host */
    uint32_t picture_tokens; /* of one picture at most; 0: what the projector says */

    uint32_t adapter_count;
    const char *adapter[DGO_ADAPTER_MAX];

    struct dgo_override override[DGO_OVERRIDE_MAX], draft_override[DGO_OVERRIDE_MAX];
    uint32_t text_length;
    char text[DGO_PATTERN_TEXT_MAX];
};

struct dgo_engine {
    const char *name;        /* "llama.cpp" */
    const char *what;        /* one line for a list of engines: what it splits, what it loads */
    const char *binary;      /* looked up on the PATH: "llama-server" */
    bool binary_shared;      /* the binary is not the engine's own (python3): only one that --engine
                              * names is asked what it can do */
    const char *health_path; /* HTTP path that answers 200 when ready; NULL: it serves nothing */
    bool several_machines;   /* it can use cards of other machines */
    bool own_draft;          /* a model's next-token block can draft */
    bool swa_full;           /* of llama.cpp's kin: it keeps the whole context in layers with a
                              * window, unless told otherwise, which it is not */
    uint32_t formats;        /* bit per enum dgo_model_format that it loads */

    /* Words after the binary that make it say its version and its options; NULL: --version,
     * --help.  NULL-terminated. */
    const char *const *version_args, *const *help_args;

    /* Plans under the engine's own rules; NULL: as llama.cpp, by dgo_plan_make.  What cannot fit is
     * DGO_ENOFIT with the nearest in *plan. */
    enum dgo_status (*plan)(const struct dgo_engine_question *question, struct dgo_plan *plan,
                            struct dgo_error *err);

    /* Builds argv and environment.  `probe` may be NULL (nothing known: newest spelling).  Fails
     * with DGO_EUNSUPPORTED when the binary lacks a flag the plan cannot do without. */
    enum dgo_status (*command)(const struct dgo_machine *machine, const struct dgo_model *model,
                               const struct dgo_plan *plan,
                               const struct dgo_launch_options *options,
                               const struct dgo_probe *probe, struct dgo_command *command,
                               struct dgo_error *err);

    /* What an engine started by that command calls the devices of `settings`.  It sees the plan's
     * cards only, in the plan's order, so its CUDA0 need not be the machine's first card; an
     * estimate of a user's own flags keeps the machine's names instead. */
    void (*name_devices)(const struct dgo_machine *machine, const struct dgo_settings *settings,
                         struct dgo_estimate *estimate);

    /* Feeds one log line (no newline, any bytes). */
    void (*read_line)(struct dgo_report *report, const char *line, size_t length);

    /* From the output of --version and --help. */
    void (*read_probe)(struct dgo_probe *probe, const char *version_output,
                       const char *help_output);

    /* From the output of --list-devices; returns the count written.  NULL: it has no such
     * question. */
    uint32_t (*read_devices)(struct dgo_engine_device *devices, uint32_t devices_max,
                             const char *output);

    /* Reads the user's flags (`estimate -- FLAGS`), with the engine's own defaults for what is not
     * given.  Known flags that do not change memory are skipped; DGO_EUSAGE names a flag it cannot
     * honour or a bad value.  NULL: the engine's flags are not read. */
    enum dgo_status (*read_flags)(const struct dgo_flag_source *source, struct dgo_flags *flags,
                                  struct dgo_error *err);
};

extern const struct dgo_engine *const dgo_engines[]; /* NULL-terminated; llama.cpp is the first */
/* By name or by the name of its binary, case-blind; NULL: none. */
const struct dgo_engine *dgo_engine_find(const char *name);

/* "cuda0 ran out of memory while loading the weights: ..." and what to do, from a report that holds
 * trouble.  `plan` may be NULL. */
void dgo_report_explain(const struct dgo_report *report, const struct dgo_plan *plan,
                        struct dgo_text *text);

/* Device of that name, or NULL. */
const struct dgo_report_device *dgo_report_find(const struct dgo_report *report, const char *name);

#endif
