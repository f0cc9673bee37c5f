/* dgo_model.h - what a model file holds: shape, tensors and their bytes.  Reads headers only.
 *
 * Memory never follows what a file claims: counts are compared with the bytes left before they are
 * trusted, arrays are walked without being kept, and the whole model is capped.  Open and close
 * from any thread; an open model is immutable and may be read by several. */
#ifndef DGO_MODEL_H
#define DGO_MODEL_H

#include "dgo_base.h"

enum {
    DGO_LAYER_MAX = 512, /* llama.cpp's LLAMA_MAX_LAYERS */
    DGO_DIM_MAX = 4,
    DGO_TENSOR_NAME_MAX = 64, /* GGML_MAX_NAME, terminator included */
    DGO_SHARD_MAX = 512,
    DGO_TENSOR_MAX = 65536,   /* DeepSeek-V3 has 1025; a hostile header must not make us loop */
    DGO_WEIGHT_TYPE_MAX = 24, /* kinds of storage in one model folder */
};

/* What lies in the file or folder; an engine says which it loads. */
enum dgo_model_format {
    DGO_FORMAT_GGUF,
    DGO_FORMAT_SAFETENSORS, /* a folder: config.json and *.safetensors */
    DGO_FORMAT_EXL3,        /* the same, quantised for ExLlamaV3 */
    DGO_FORMAT_EXL2,        /* the same, for ExLlamaV2 */
    DGO_FORMAT_COUNT
};
const char *dgo_model_format_name(enum dgo_model_format format); /* "GGUF", "safetensors", ... */

/* How a folder's weights are stored: from config.json and hf_quant_config.json. */
struct dgo_quantization {
    char method[32];     /* "awq", "gptq", "fp8", "compressed-tensors", "mxfp4", ...; "" plain */
    uint32_t bits;       /* of a weight; 0 unknown */
    uint32_t group_size; /* values that share a scale; 0 unknown or none */
};

/* Storage of one kind in a folder: how many tensors and bytes. */
struct dgo_weight_type {
    char name[16]; /* "BF16", as the file says */
    uint64_t tensor_count, size_bytes;
};

/* Where the engine puts a tensor: reference planning 1.4. */
enum dgo_tensor_class {
    DGO_TENSOR_INPUT,  /* always host memory: token_embd, ... */
    DGO_TENSOR_LAYER,  /* with its block */
    DGO_TENSOR_OUTPUT, /* with the output layer; also what no rule knows */
    DGO_TENSOR_TABLE,  /* a copy wherever a layer is: rope_freqs, rope_factors_* */
};

struct dgo_tensor {
    char name[DGO_TENSOR_NAME_MAX];
    uint32_t type;             /* ggml type id */
    bool type_known;           /* false: size_bytes comes from the offsets, padding included */
    uint32_t dim_count;        /* 1..DGO_DIM_MAX */
    uint64_t dim[DGO_DIM_MAX]; /* dim[0] is contiguous; unused ones are 1 */
    uint64_t size_bytes;
    uint64_t offset; /* in the data section of its shard */
    uint16_t shard;
    uint16_t layer; /* when class is LAYER; layer_count and above: next-token blocks */
    enum dgo_tensor_class class;
};

/* One row of the ggml type table (gguf_types.def). */
struct dgo_ggml_type {
    uint32_t id;
    const char *name;      /* as llama.cpp prints it: "Q4_K" */
    uint32_t block_values; /* values in a block */
    uint32_t block_bytes;
};
const struct dgo_ggml_type *dgo_ggml_type(uint32_t id);              /* NULL: unknown or removed */
const struct dgo_ggml_type *dgo_ggml_type_by_name(const char *name); /* case-blind */

struct dgo_layer {
    uint64_t weights_bytes;             /* of the file's tensors, unpadded */
    uint64_t expert_bytes;              /* the part in routed expert tensors */
    uint32_t head_count, head_count_kv; /* head_count_kv 0: this layer has no KV cache */
    uint32_t key_length, value_length;  /* of one head in the cache; MLA: value_length 0 */
    uint32_t feed_forward_length;       /* of the dense feed-forward; 0: the layer has none */
    bool sliding_window;                /* attends to the window only */
    bool recurrent; /* keeps a state instead of (or, falcon-h1, beside) a KV cache */
    /* Sparse attention: values a cell in a second cache, the indexer's; 0: none. */
    uint32_t index_key_length, index_value_length;
    uint32_t compress_ratio;   /* deepseek4: cells of the compressed cache beside; 0: none */
    uint64_t replicated_bytes; /* folders only: what tensor parallelism copies to every card
                                * (norms, routers, biases) */
};

struct dgo_model {
    char path[4096];       /* of the shard that was given */
    char architecture[64]; /* "llama" */
    char name[128];        /* general.name, escaped; "" when absent */
    char tokenizer[32];    /* tokenizer.ggml.model; "" when absent */
    char tokenizer_pre[48];
    uint32_t gguf_version; /* 2 or 3 */
    uint32_t file_type;    /* general.file_type; UINT32_MAX when absent.  Display only */
    uint32_t shard_count;
    uint64_t file_bytes; /* of all shards */
    uint64_t parameter_count;

    uint32_t context_length; /* in training; 0 unknown */
    uint32_t embedding_length;
    uint32_t vocab_size;
    uint32_t expert_count, expert_used_count, expert_feed_forward_length;
    uint32_t sliding_window;  /* tokens; 0: none */
    uint32_t mtp_layer_count; /* last blocks, loaded only to draft the next tokens (nextn) */
    bool mla;                 /* latent attention: the cache holds keys only */
    bool cache_for_each_slot; /* each slot has a cache of its own, also when they are unified */
    bool tied_embeddings;     /* no output.weight: token_embd is loaded twice */
    bool verified;            /* the architecture's rules are known; else by tensor shapes only */

    uint32_t layer_count; /* without next-token blocks, whose facts stand behind them */
    struct dgo_layer layer[DGO_LAYER_MAX];
    uint64_t input_bytes, output_bytes, table_bytes; /* file bytes by class; layers hold theirs */

    uint32_t tensor_count;
    struct dgo_tensor *tensor; /* in file order, shards in order */

    /* Of a folder; a GGUF file has DGO_FORMAT_GGUF and zeros.  A folder has no `tensor`: a mixture
     * of experts has 90000 of them. */
    enum dgo_model_format format;
    char model_class[64];  /* "LlamaForCausalLM" */
    char layer_prefix[64]; /* "model.layers.": what stands before a layer's number in the names */
    char dtype[16];        /* "bfloat16": what activations and a cache of type auto are */
    struct dgo_quantization quantization;
    uint64_t source_tensor_count;
    uint64_t vision_bytes; /* part of input_bytes: towers that see or hear */
    uint32_t weight_type_count;
    struct dgo_weight_type weight_type[DGO_WEIGHT_TYPE_MAX];

    uint32_t key_count;
    struct dgo_model_key *key; /* scalars, short strings, and small arrays of numbers */
    struct dgo_arena *arena;   /* private: owns tensor and key */
};

/* One metadata pair as kept.  Arrays of more than DGO_LAYER_MAX elements and strings of more than
 * 255 bytes keep their type and length only. */
enum dgo_value_kind {
    DGO_VALUE_UINT,
    DGO_VALUE_INT,
    DGO_VALUE_FLOAT,
    DGO_VALUE_BOOL,
    DGO_VALUE_STRING,
    DGO_VALUE_ARRAY
};
struct dgo_model_key {
    const char *name;
    enum dgo_value_kind kind; /* of the value, or of the elements when is_array */
    bool is_array;
    uint64_t length;        /* bytes of a string, elements of an array, else 1 */
    uint64_t number;        /* UINT, BOOL; INT as two's complement */
    double real;            /* FLOAT */
    const char *text;       /* STRING, raw bytes; NULL when not kept */
    const double *elements; /* numeric array of at most DGO_LAYER_MAX; NULL when not kept */
    uint64_t pos;           /* of the pair in its file, for sentences about it */
};
const struct dgo_model_key *dgo_model_find(const struct dgo_model *model, const char *name);

/* Opens a GGUF file and all its shards (any one may be given), or a folder with config.json and
 * safetensors files (the folder, or any file in it).  Errors name the file and the byte:
 * DGO_EFORMAT, DGO_EUNSUPPORTED (version 1, big-endian, not a GGUF file), DGO_ENOTFOUND (the
 * missing shard is named), DGO_EIO, DGO_ELIMIT. The model is heap memory: dgo_model_close frees it.
 */
DGO_MUST_CHECK
enum dgo_status dgo_model_open(const char *path, struct dgo_model **model, struct dgo_error *err);

/* A LoRA adapter, which dgo_model_open refuses: its architecture and tensors; there are no layers
 * to derive.  Fails and is closed in the same way. */
DGO_MUST_CHECK
enum dgo_status dgo_model_open_adapter(const char *path, struct dgo_model **adapter,
                                       struct dgo_error *err);

void dgo_model_close(struct dgo_model *model); /* accepts NULL */

/* The same from bytes in memory: one file, no shards.  For tests and fuzzing; `length` is all that
 * is there, `file_bytes` what the file would have (tensor data need not be present). */
DGO_MUST_CHECK
enum dgo_status dgo_model_parse(const void *data, size_t length, uint64_t file_bytes,
                                struct dgo_model **model, struct dgo_error *err);

/* The same for a folder with one file of weights: the text of config.json, the JSON header of the
 * safetensors file, and how many bytes lie behind that header. */
DGO_MUST_CHECK
enum dgo_status dgo_model_parse_folder(const char *config, size_t config_length, const char *header,
                                       size_t header_length, uint64_t data_bytes,
                                       struct dgo_model **model, struct dgo_error *err);

/* KV cache of one token in all layers at f16, the figure people compare models by.  A window makes
 * it an upper bound for long contexts; recurrent state is not in it. */
uint64_t dgo_model_kv_bytes_per_token(const struct dgo_model *model);

/* "Q4_K - Medium" for general.file_type; NULL unknown. */
const char *dgo_file_type_name(uint32_t file_type);

#endif
