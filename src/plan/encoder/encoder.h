/* encoder.h - private to the plan module: what a projector's encoders of pictures and of sounds are
 * made of, and their graphs on a tape.
 *
 * encoder_types.c knows the types, encoder_read.c what a file has of them; encoder.c puts down the
 * input and the layers, encoder_ends.c what is behind them (encoder_merger.c: MiniCPM-V 4.6's),
 * encoder_mobile.c Gemma 3n's, which has no such layers.  encoder_sounds.c has Whisper's and its
 * like, encoder_conformer.c conformers.  encoder_bound.c is for all others.
 * Source: the graphs of llama.cpp build 11669 as its allocator gets them; FORMULAS "Pictures". */
#ifndef PLAN_ENCODER_H
#define PLAN_ENCODER_H

#include "memory.h"
#include "tape.h"

enum { ENCODER_LAYERS_MAX = 64, ENCODER_FEATURES_MAX = 8 };
/* Half a minute of sound, which the engine warms up with. */
enum { ENCODER_FRAMES = 3000 };

/* What a layer may have: tensors of the file. */
enum encoder_part {
    PART_QUERY_BIAS = 1 << 0,
    PART_KEY_BIAS = 1 << 1,
    PART_VALUE_BIAS = 1 << 2,
    PART_JOINT = 1 << 3, /* queries, keys and values by one matrix */
    PART_JOINT_BIAS = 1 << 4,
    PART_QUERY_NORM = 1 << 5,
    PART_KEY_NORM = 1 << 6,
    PART_OUT_BIAS = 1 << 7,
    PART_FIRST_NORM = 1 << 8,
    PART_FIRST_NORM_BIAS = 1 << 9,
    PART_SECOND_NORM = 1 << 10,
    PART_SECOND_NORM_BIAS = 1 << 11,
    PART_OUT_NORM = 1 << 12,
    PART_FEED_NORM = 1 << 13,
    PART_OUT_SCALE = 1 << 14,
    PART_FEED_SCALE = 1 << 15,
    PART_LAYER_SCALE = 1 << 16,
    PART_UP_BIAS = 1 << 17,
    PART_GATE = 1 << 18,
    PART_GATE_BIAS = 1 << 19,
    PART_DOWN_BIAS = 1 << 20,
    PART_EXPERTS = 1 << 21,
    PART_SINKS = 1 << 22,      /* not drawn */
    PART_HEAD_NORMS = 1 << 23, /* the norms of queries and keys run over heads */
};

enum encoder_flag {
    ENCODER_RMS = 1 << 0,            /* norms by the root of the mean square */
    ENCODER_RMS_6B = 1 << 1,         /* the same for InternViT-6B only */
    ENCODER_CLASS_ROW = 1 << 2,      /* behind the patches, where the file has it */
    ENCODER_CLASS_NEEDED = 1 << 3,   /* no graph without that row */
    ENCODER_CLASS_COPIED = 1 << 4,   /* for each picture */
    ENCODER_CLASS_FIRST = 1 << 5,    /* before the patches, as many rows as the file has */
    ENCODER_TWICE = 1 << 6,          /* two kernels, for two moments; patches in blocks of 2 x 2 */
    ENCODER_FLAT = 1 << 7,           /* the kernel is a matrix */
    ENCODER_UNFOLDED = 1 << 8,       /* the picture is turned over until a matrix takes it */
    ENCODER_SCALED = 1 << 9,         /* the picture is, first */
    ENCODER_WIDE_PATCHES = 1 << 10,  /* what others merge behind is one patch */
    ENCODER_CAPPED = 1 << 11,        /* the warm-up picture is the largest that the file names */
    ENCODER_BY_MOST = 1 << 12,       /* the warm-up picture has the most tokens that there may be */
    ENCODER_CLAMPED = 1 << 13,       /* what goes into matrices, and comes out */
    ENCODER_VALUES_NORMED = 1 << 14, /* as queries and keys are */
    ENCODER_NORMED_LATE = 1 << 15,   /* behind attention and feed-forward, not before */
    ENCODER_TRUNK_NORM = 1 << 16,    /* the last norm has another name */
    ENCODER_WINDOWS = 1 << 17,       /* all layers but each so many-th, where the file says so */
    ENCODER_WINDOWS_BUT = 1 << 18,   /* all layers but those that the file lists */
    ENCODER_MERGER_INSIDE = 1 << 19, /* behind a layer that the file names, for tokens of 4 x 4 */
    ENCODER_LLAVA = 1 << 20,     /* layers up to the last but one, or those that the file names */
    ENCODER_SWAPPED = 1 << 21,   /* old files swap the names of the feed-forward */
    ENCODER_NO_LAYERS = 1 << 22, /* the end gets the picture */
    ENCODER_DEAF = 1 << 23,      /* sounds of the same file are not loaded */
    ENCODER_HALVED = 1 << 24,    /* means of two rows behind the layers */
    ENCODER_WAVES = 1 << 25,     /* samples instead of bands, 640 a frame */
    ENCODER_CHOSEN = 1 << 26,    /* rows in windows' order; all layers but each fourth and the last
                                    attend within them */
};

enum encoder_table {
    TABLE_NONE,
    TABLE_ADDED,
    TABLE_RESIZED,
    TABLE_CUBE,   /* the same of two dimensions */
    TABLE_CHOSEN, /* rows by number */
    TABLE_AXES,   /* rows by number, along each axis */
    TABLE_INPUT,  /* made by the host */
};

enum encoder_turn {
    TURN_NONE,
    TURN_ONCE,
    TURN_BY_TWO,
    TURN_BY_FOUR
}; /* positions turned into heads */

struct sketch;
/* Values of F32: `rows` of them, so wide. */
struct values {
    tape_ref ref;
    uint64_t width, rows;
};

struct encoder_type {
    const char *name;
    uint8_t warm_up_side; /* of the picture warmed up with, in tokens; 0: the file's picture */
    uint8_t merge;        /* patches along the side of a token */
    const char *merge_key;
    uint8_t table, turn;
    uint32_t flags;
    struct values (*end)(struct sketch *s, struct values x);
};
/* NULL: its graph was not compared with the engine's.  A file may have a type for its sounds. */
const struct encoder_type *encoder_type_of(const struct dgo_model *projector, bool sounds);

struct encoder_layer {
    uint32_t parts;
    uint32_t inner; /* width of the feed-forward, or of one expert */
    uint32_t expert_count;
    bool window;  /* attends within windows */
    bool swapped; /* its two matrices are called by each other's names */
    bool stacked; /* the layer's result goes to the end, too */
};

struct encoder {
    const struct encoder_type *type;
    const struct dgo_model *projector;
    uint64_t width, head_count, head_size, kv_head_count;
    uint64_t patch, merge, pixels; /* pixels: the warm-up picture's side */
    uint64_t bands;                /* of sounds: values of a frame; 0: pictures */
    uint64_t used_expert_count;
    bool windowed; /* some layers attend within windows: tokens in their order */
    uint32_t layer_count, drawn_count;
    uint32_t merger_layer; /* behind which four tokens become one; UINT32_MAX: none */
    uint32_t feature_count, feature[ENCODER_FEATURES_MAX];
    struct encoder_layer layer[ENCODER_LAYERS_MAX];
    bool rms;     /* norms may be written over what they norm */
    bool damaged; /* a tensor that the type needs is not there, or of an impossible size */
};

/* False: no known type, or nothing that the engine would load. */
struct encoder_use {
    bool fused;
    uint32_t picture_tokens; /* of one picture at most; 0: what the projector says */
    bool sounds;             /* the file's encoder of sounds */
};
bool encoder_read(const struct dgo_model *projector, const struct encoder_use *use,
                  struct encoder *encoder);

/* A tensor of the file, as "mm.0.weight"; NULL: it has none. */
const struct dgo_tensor *encoder_tensor(const struct encoder *encoder, const char *name);

struct encoder_need {
    uint64_t compute_bytes;   /* of the device that the encoder is on */
    uint64_t input_bytes;     /* in host memory, beside a card */
    uint64_t attention_bytes; /* of one layer's fused attention, where the host computes it */
};
/* False: the graph is not known. */
bool encoder_bytes(const struct dgo_model *projector, const struct encoder_use *use,
                   struct encoder_need *need);

/* Of any type: not under what was seen. */
void encoder_sounds_bound(const struct dgo_model *projector, struct encoder_need *need);
void encoder_bound(const struct dgo_model *projector, bool fused, struct encoder_need *need);

/* Queries and results in F32, keys and values in F16, and a mask in F16 for each of `masks`. */
uint64_t encoder_attention_bytes(uint64_t rows, uint64_t width, uint64_t masks);
/* SAM's masks are one for each head; cards have no kernel for that. */
bool encoder_masks_heads(const struct dgo_model *projector);

/* --- drawing; encoder_blocks.c --------------------------------------------------------------- */

struct sketch {
    struct encoder *encoder;
    struct tape *tape;
    bool fused;
    uint64_t side, rows;     /* of patches, and those with what is put beside them */
    uint64_t unfilled_bytes; /* of inputs that only the device has */
    tape_ref mask, position[2];
    struct values stacked; /* TAPE_OUTSIDE: none */
};

uint64_t sketch_bytes(uint64_t width, uint64_t rows);
tape_ref sketch_input(struct sketch *s, uint64_t bytes);
/* Made anew of `x`. */
struct values sketch_made(struct sketch *s, uint64_t width, uint64_t rows, struct values x);
/* Element by element, in place where nothing else needs `x`. */
struct values sketch_changed(struct sketch *s, struct values x);
/* The same values in another shape. */
struct values sketch_viewed(struct sketch *s, uint64_t width, uint64_t rows, struct values x);
/* Turned over, and written anew. */
struct values sketch_turned(struct sketch *s, struct values x);
struct values sketch_sum(struct sketch *s, struct values a, struct values b);
/* By `name`.weight and, where the file has one, `name`.bias. */
struct values sketch_linear(struct sketch *s, struct values x, const char *name);
struct values sketch_product(struct sketch *s, struct values x, uint64_t width, bool bias);
struct values sketch_norm(struct sketch *s, struct values x, bool rms, bool weight, bool bias);
/* The same of the encoder's kind; and by `name`, as it is where the file has no such norm. */
struct values sketch_normed(struct sketch *s, struct values x, bool weight, bool bias);
struct values sketch_normed_by(struct sketch *s, struct values x, const char *name);
/* One above the other: as wide, more rows. */
struct values sketch_beside(struct sketch *s, struct values a, struct values b);
/* `first`, an activation, `second`. */
struct values sketch_two(struct sketch *s, struct values x, const char *first, const char *second);
/* Element by element, `gate`'s and `up`'s. */
struct values sketch_gated(struct sketch *s, struct values gate, struct values up);
/* The first `width` values of each row by a gate of the others. */
struct values sketch_half_gated(struct sketch *s, struct values x, uint64_t width);
/* A convolution of a picture of side x side that has `x.width` channels. */
struct values sketch_convolved(struct sketch *s, struct values x, const char *name, uint64_t kernel,
                               uint64_t rows);
/* Blocks of four patches in another order, an input: windows beside each other. */
struct values sketch_reordered(struct sketch *s, struct values x);
/* Rows by an input of their numbers. */
struct values sketch_chosen(struct sketch *s, uint64_t rows, struct values x);
/* MiniCPM-V 4.6: windows of four tokens attend to themselves and become one. */
struct values sketch_merger_inside(struct sketch *s, struct values x);
/* A convolution of each channel alone; `kernel`: a side, and what a value of a piece takes. */
struct kernel {
    uint32_t side, value_bytes;
};
struct kernel sketch_kernel(struct sketch *s, const struct dgo_tensor *tensor);
struct values sketch_apart(struct sketch *s, struct values x, struct kernel kernel, uint64_t rows);
/* Heads of equal width; `mask` may be TAPE_OUTSIDE. */
struct values sketch_attend(struct sketch *s, struct values q, struct values k, struct values v,
                            uint64_t heads, tape_ref mask);

/* Layers as most have them, and the norm behind; encoder.c. */
struct values sketch_layers(struct sketch *s, struct values x);
/* By a matrix of a conformer's layer, as "attn_q". */
struct values sketch_by(struct sketch *s, struct values x, uint32_t layer, const char *part);
/* Some experts of a layer for each row. */
struct values sketch_experts(struct sketch *s, const struct encoder_layer *layer, struct values x);

/* encoder_sounds.c, encoder_conformer.c, encoder_gemma4a.c: from frames to rows for the text model.
 */
struct values end_ultravox(struct sketch *s, struct values x);
struct values end_qwen2a(struct sketch *s, struct values x);
struct values end_voxtral(struct sketch *s, struct values x);
struct values end_flamingo(struct sketch *s, struct values x);
struct values end_glma(struct sketch *s, struct values x);
struct values end_meralion(struct sketch *s, struct values x);
struct values end_qwen3a(struct sketch *s, struct values x);
struct values end_dots_sounds(struct sketch *s, struct values x);
struct values end_waves(struct sketch *s, struct values x);
struct values end_lfm2a(struct sketch *s, struct values x);
struct values end_parakeet(struct sketch *s, struct values x);
struct values end_gemma4a(struct sketch *s, struct values x);

/* encoder_ends.c: from the last layer to rows for the text model. */
struct values end_pooled(struct sketch *s, struct values x);
struct values end_pooled_scaled(struct sketch *s, struct values x);
struct values end_shuffled(struct sketch *s, struct values x);
struct values end_normed_merged(struct sketch *s, struct values x);
struct values end_two(struct sketch *s, struct values x);
struct values end_janus(struct sketch *s, struct values x);
struct values end_blocks(struct sketch *s, struct values x);
struct values end_broken_rows(struct sketch *s, struct values x);
struct values end_internvl(struct sketch *s, struct values x);
struct values end_llama4(struct sketch *s, struct values x);
struct values end_resampled(struct sketch *s, struct values x);
struct values end_merged_normed(struct sketch *s, struct values x);
struct values end_glm4v(struct sketch *s, struct values x);
struct values end_cogvlm(struct sketch *s, struct values x);
struct values end_paddle(struct sketch *s, struct values x);
struct values end_dots(struct sketch *s, struct values x);
struct values end_hunyuan(struct sketch *s, struct values x);
struct values end_nemotron(struct sketch *s, struct values x);
struct values end_step3(struct sketch *s, struct values x);
struct values end_minimax(struct sketch *s, struct values x);
struct values end_glm_edge(struct sketch *s, struct values x);
struct values end_minicpm46(struct sketch *s, struct values x);
struct values end_youtu(struct sketch *s, struct values x);
struct values end_ldp(struct sketch *s, struct values x);
struct values end_ldp2(struct sketch *s, struct values x);
struct values end_unified(struct sketch *s, struct values x);
struct values end_mobile(struct sketch *s, struct values x);
struct values end_llava(struct sketch *s, struct values x);
struct values end_ling(struct sketch *s, struct values x);
struct values end_deepseek(struct sketch *s, struct values x);
struct values end_glimmer(struct sketch *s, struct values x);

#endif
