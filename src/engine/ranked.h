/* ranked.h - what the engines share that run one process a card: vLLM, SGLang, TensorRT-LLM, ...
 *
 * Private to src/engine.  They differ in their rules (dgo_partition_rules), their flags and their
 * words; how a partition becomes a plan, and the environment of PyTorch and NCCL, is the same. */
#ifndef ENGINE_RANKED_H
#define ENGINE_RANKED_H

#include "build.h"

#include "dgo_partition.h"

/* What a cache type's name stands for. */
struct ranked_kv_type {
    const char *name, *flag; /* as the user and as the engine writes it */
    uint32_t value_bytes;    /* of a cached number; 0: as the model's dtype */
};

struct ranked_rules {
    const struct dgo_partition_rules *partition;
    const struct ranked_kv_type *kv_types; /* ended by a row without name */
    bool no_stages;                        /* it cannot cut a model into runs of layers */
    bool no_shards;                        /* it cannot cut layers into shards */
    bool doubled_shards;                   /* into 1, 2, 4, 8, ... only */
    bool even_only; /* runs of layers cannot be told to it: shapes of unequal ones are left out */
    bool pool_as_asked;     /* its cache is as large as asked for, not all that is left */
    uint32_t batch_tokens;  /* computed at once unless the user says */
    bool amd;               /* there are builds for AMD's cards, beside NVIDIA's */
    uint32_t least_compute; /* capability that its kernels need, 70 for 7.0; 0: any */
    uint32_t requests_most; /* served side by side unless the user says */
};

/* The plan under those rules; what cannot be is refused with a sentence. */
enum dgo_status ranked_plan(const struct ranked_rules *rules,
                            const struct dgo_engine_question *question, struct dgo_plan *plan,
                            struct dgo_error *err) DGO_MUST_CHECK;

/* "CUDA0", "CUDA1", ... in the order of the ranks. */
void ranked_name_devices(const struct dgo_machine *machine, const struct dgo_settings *settings,
                         struct dgo_estimate *estimate);

/* "20,12" of a plan whose runs differ from the engine's own; false: the engine's own are meant. */
bool ranked_partition_text(const struct dgo_plan *plan, char *text, size_t size);

/* Machines whose cards the plan uses; *alike: each has the same number of them, in one run of
 * ranks, this one first. */
uint32_t ranked_machines(const struct dgo_machine *machine, const struct dgo_plan *plan,
                         bool *alike);

/* The address at which other machines reach this one; a loopback one is refused. */
enum dgo_status ranked_address(const struct dgo_launch_options *options,
                               struct dgo_error *err) DGO_MUST_CHECK;

/* "0.92": two digits, rounded down. */
void ranked_share_text(double share, char text[16]);

/* Words of --version and --help as most engines print them: every word that begins with a dash. */
void ranked_read_probe(struct dgo_probe *probe, const char *version_output,
                       const char *help_output);

/* The user's own flags, last; those of `decided` (NULL-terminated) are refused. */
void ranked_extra(struct command_builder *builder, const struct dgo_launch_options *options,
                  const char *const *decided);

/* The environment (cards in rank order by UUID, NCCL's paths by topology, allocator, threads), the
 * user's own flags, and the finished command. */
enum dgo_status ranked_end(struct command_builder *builder, const struct dgo_machine *machine,
                           const struct dgo_plan *plan, const struct dgo_launch_options *options,
                           const char *const *decided, struct dgo_command *made);

/* For an engine that is told which part of what is free is cache, and gives every rank as much as
 * the one with the least: the part that the planned cache is there, at most `most`.  Free means
 * after the weights, and with `buffers_first` after the other buffers, too. */
double ranked_cache_fraction(const struct dgo_plan *plan, bool buffers_first, double most);

/* The device map that Accelerate takes, as JSON; false: it did not fit into `json`. */
bool transformers_device_map(const struct dgo_model *model, const struct dgo_plan *plan,
                             struct dgo_text *json);

/* The row of the table for a report's device by its number; made when it is new; NULL: full. */
struct dgo_report_device *ranked_device(struct dgo_report *report, uint32_t number);
void ranked_set(struct dgo_report_device *device, enum dgo_buffer_kind kind, double gib);

/* A line of the log as a string, cut where it is longer. */
void ranked_line(char *copy, size_t size, const char *line, size_t length);

/* Notes what went wrong and the line that says so: the first cause, not the last echo. */
void ranked_trouble(struct dgo_report *report, enum dgo_trouble trouble, const char *line);

/* What running out of memory means by how far the start has come. */
enum dgo_trouble ranked_oom(const struct dgo_report *report);

/* Finds `after` in a line and reads the number that follows ("1,234.5" too); false: not there. */
bool ranked_number(const char *line, const char *after, double *number);

#endif
