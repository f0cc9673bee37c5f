/* fixtures.c - a small GGUF writer and the shapes of eight models. */
#include "fixtures.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum type { F32 = 0, Q8_0 = 8, Q4_K = 12, Q6_K = 14, MXFP4 = 39 };

static const struct {
    uint32_t values, bytes;
} blocks[] = {[F32] = {1, 4},
              [Q8_0] = {32, 34},
              [Q4_K] = {256, 144},
              [Q6_K] = {256, 210},
              [MXFP4] = {32, 17}};

struct bytes {
    unsigned char *data;
    size_t length, size;
};

struct writer {
    const char *architecture;
    struct bytes keys, tensors;
    uint64_t key_count, tensor_count, offset;
    char prefix[16]; /* of tensor names: "blk.7." */
};

/* --- writing --------------------------------------------------------------------------------- */

static void put(struct bytes *to, const void *data, size_t length)
{
    if (to->size - to->length < length) {
        to->size = (to->size + length) * 2;
        to->data = realloc(to->data, to->size);
        assert(to->data);
    }
    memcpy(to->data + to->length, data, length);
    to->length += length;
}

static void put_u32(struct bytes *to, uint32_t value)
{
    put(to, &value, sizeof value);
}

static void put_u64(struct bytes *to, uint64_t value)
{
    put(to, &value, sizeof value);
}

static void put_text(struct bytes *to, const char *text)
{
    put_u64(to, strlen(text));
    put(to, text, strlen(text));
}

static void text_key(struct writer *w, const char *name, const char *value)
{
    put_text(&w->keys, name);
    put_u32(&w->keys, 8);
    put_text(&w->keys, value);
    w->key_count++;
}

/* "ARCH.suffix" */
static void key(struct writer *w, const char *suffix, uint32_t value)
{
    char name[128];

    snprintf(name, sizeof name, "%s.%s", w->architecture, suffix);
    put_text(&w->keys, name);
    put_u32(&w->keys, 4);
    put_u32(&w->keys, value);
    w->key_count++;
}

static void tensor(struct writer *w, const char *name, enum type type, uint64_t d0, uint64_t d1,
                   uint64_t d2)
{
    const uint64_t dims[] = {d0, d1, d2};
    const uint32_t count = d2 ? 3 : d1 ? 2 : 1;
    uint64_t values = 1;
    char full[64];

    snprintf(full, sizeof full, "%s%s", w->prefix, name);
    put_text(&w->tensors, full);
    put_u32(&w->tensors, count);
    for (uint32_t i = 0; i < count; i++) {
        put_u64(&w->tensors, dims[i]);
        values *= dims[i];
    }
    put_u32(&w->tensors, (uint32_t)type);
    put_u64(&w->tensors, w->offset);
    w->offset += (values / blocks[type].values * blocks[type].bytes + 31) / 32 * 32;
    w->tensor_count++;
}

static void vector(struct writer *w, const char *name, uint64_t length)
{
    tensor(w, name, F32, length, 0, 0);
}

static void matrix(struct writer *w, const char *name, enum type type, uint64_t in, uint64_t out)
{
    tensor(w, name, type, in, out, 0);
}

static void block(struct writer *w, uint32_t layer)
{
    snprintf(w->prefix, sizeof w->prefix, "blk.%" PRIu32 ".", layer);
}

static struct dgo_model *finish(struct writer *w, struct dgo_error *err)
{
    struct bytes file = {0};
    struct dgo_model *model = NULL;

    put(&file, "GGUF", 4);
    put_u32(&file, 3);
    put_u64(&file, w->tensor_count);
    put_u64(&file, w->key_count);
    put(&file, w->keys.data, w->keys.length);
    put(&file, w->tensors.data, w->tensors.length);
    while (file.length % 32)
        put(&file, "", 1);
    if (dgo_model_parse(file.data, file.length, file.length + w->offset, &model, err))
        model = NULL;
    free(file.data);
    free(w->keys.data);
    free(w->tensors.data);
    return model;
}

/* --- shapes ---------------------------------------------------------------------------------- */

struct shape {
    uint32_t layers, width, heads, heads_kv, head, feed_forward, trained, vocab;
    uint32_t experts, experts_used, expert_feed_forward;
    bool tied, head_given;
    enum type embedding;
};

static void begin(struct writer *w, const char *architecture, const struct shape *s)
{
    memset(w, 0, sizeof *w);
    w->architecture = architecture;
    text_key(w, "general.architecture", architecture);
    text_key(w, "general.name", "fixture");
    text_key(w, "tokenizer.ggml.model", "none");
    key(w, "context_length", s->trained);
    key(w, "embedding_length", s->width);
    key(w, "block_count", s->layers);
    key(w, "feed_forward_length", s->feed_forward);
    key(w, "attention.head_count", s->heads);
    key(w, "attention.head_count_kv", s->heads_kv);
    key(w, "vocab_size", s->vocab);
    if (s->head_given) {
        key(w, "attention.key_length", s->head);
        key(w, "attention.value_length", s->head);
    }
    if (s->experts) {
        key(w, "expert_count", s->experts);
        key(w, "expert_used_count", s->experts_used);
        key(w, "expert_feed_forward_length", s->expert_feed_forward);
    }
    matrix(w, "token_embd.weight", s->embedding, s->width, s->vocab);
    vector(w, "output_norm.weight", s->width);
    if (!s->tied)
        matrix(w, "output.weight", s->embedding == Q8_0 ? Q8_0 : Q6_K, s->width, s->vocab);
}

static void attention(struct writer *w, const struct shape *s, enum type keys, enum type values)
{
    vector(w, "attn_norm.weight", s->width);
    matrix(w, "attn_q.weight", keys, s->width, s->heads * s->head);
    matrix(w, "attn_k.weight", keys, s->width, s->heads_kv * s->head);
    matrix(w, "attn_v.weight", values, s->width, s->heads_kv * s->head);
    matrix(w, "attn_output.weight", keys, s->heads * s->head, s->width);
}

static void head_norms(struct writer *w, const struct shape *s)
{
    vector(w, "attn_q_norm.weight", s->head);
    vector(w, "attn_k_norm.weight", s->head);
}

static void feed_forward(struct writer *w, const struct shape *s, enum type down)
{
    matrix(w, "ffn_gate.weight", Q4_K, s->width, s->feed_forward);
    matrix(w, "ffn_up.weight", Q4_K, s->width, s->feed_forward);
    matrix(w, "ffn_down.weight", down, s->feed_forward, s->width);
}

static void experts(struct writer *w, const struct shape *s, enum type type)
{
    const uint64_t ff = s->expert_feed_forward;

    matrix(w, "ffn_gate_inp.weight", F32, s->width, s->experts);
    tensor(w, "ffn_gate_exps.weight", type, s->width, ff, s->experts);
    tensor(w, "ffn_up_exps.weight", type, s->width, ff, s->experts);
    tensor(w, "ffn_down_exps.weight", type, ff, s->width, s->experts);
}

static void shared_expert(struct writer *w, const struct shape *s)
{
    matrix(w, "ffn_gate_shexp.weight", Q4_K, s->width, s->expert_feed_forward);
    matrix(w, "ffn_up_shexp.weight", Q4_K, s->width, s->expert_feed_forward);
    matrix(w, "ffn_down_shexp.weight", Q4_K, s->expert_feed_forward, s->width);
}

static void write_llama8b(struct writer *w)
{
    const struct shape s = {.layers = 32,
                            .width = 4096,
                            .heads = 32,
                            .heads_kv = 8,
                            .head = 128,
                            .feed_forward = 14336,
                            .trained = 131072,
                            .vocab = 128256,
                            .embedding = Q4_K};

    begin(w, "llama", &s);
    key(w, "rope.dimension_count", 128);
    vector(w, "rope_freqs.weight", 64);
    for (uint32_t l = 0; l < s.layers; l++) {
        const enum type wide = l % 3 == 0 ? Q6_K : Q4_K;

        block(w, l);
        attention(w, &s, Q4_K, wide);
        vector(w, "ffn_norm.weight", s.width);
        feed_forward(w, &s, wide);
    }
}

static void write_qwen3(struct writer *w, const struct shape *s)
{
    begin(w, "qwen3", s);
    for (uint32_t l = 0; l < s->layers; l++) {
        block(w, l);
        attention(w, s, Q4_K, Q6_K);
        head_norms(w, s);
        vector(w, "ffn_norm.weight", s->width);
        feed_forward(w, s, Q4_K);
    }
}

static void write_q3_32b(struct writer *w)
{
    write_qwen3(w, &(struct shape){.layers = 64,
                                   .width = 5120,
                                   .heads = 64,
                                   .heads_kv = 8,
                                   .head = 128,
                                   .feed_forward = 25600,
                                   .trained = 40960,
                                   .vocab = 151936,
                                   .head_given = true,
                                   .embedding = Q4_K});
}

static void write_q3_4bt(struct writer *w)
{
    write_qwen3(w, &(struct shape){.layers = 36,
                                   .width = 2560,
                                   .heads = 32,
                                   .heads_kv = 8,
                                   .head = 128,
                                   .feed_forward = 9728,
                                   .trained = 40960,
                                   .vocab = 151936,
                                   .head_given = true,
                                   .tied = true,
                                   .embedding = Q4_K});
}

static void write_q3moe(struct writer *w)
{
    const struct shape s = {.layers = 48,
                            .width = 2048,
                            .heads = 32,
                            .heads_kv = 4,
                            .head = 128,
                            .feed_forward = 6144,
                            .trained = 262144,
                            .vocab = 151936,
                            .experts = 128,
                            .experts_used = 8,
                            .expert_feed_forward = 768,
                            .head_given = true,
                            .embedding = Q4_K};

    begin(w, "qwen3moe", &s);
    for (uint32_t l = 0; l < s.layers; l++) {
        block(w, l);
        attention(w, &s, Q4_K, Q6_K);
        head_norms(w, &s);
        vector(w, "ffn_norm.weight", s.width);
        experts(w, &s, Q4_K);
    }
}

static void write_gemma3(struct writer *w)
{
    const struct shape s = {.layers = 62,
                            .width = 5376,
                            .heads = 32,
                            .heads_kv = 16,
                            .head = 128,
                            .feed_forward = 21504,
                            .trained = 131072,
                            .vocab = 262144,
                            .head_given = true,
                            .tied = true,
                            .embedding = Q6_K};

    begin(w, "gemma3", &s);
    key(w, "attention.sliding_window", 1024);
    for (uint32_t l = 0; l < s.layers; l++) {
        block(w, l);
        attention(w, &s, Q4_K, Q6_K);
        head_norms(w, &s);
        vector(w, "post_attention_norm.weight", s.width);
        vector(w, "ffn_norm.weight", s.width);
        feed_forward(w, &s, Q4_K);
        vector(w, "post_ffw_norm.weight", s.width);
    }
}

static void write_gptoss(struct writer *w)
{
    const struct shape s = {.layers = 24,
                            .width = 2880,
                            .heads = 64,
                            .heads_kv = 8,
                            .head = 64,
                            .feed_forward = 2880,
                            .trained = 131072,
                            .vocab = 201088,
                            .experts = 32,
                            .experts_used = 4,
                            .expert_feed_forward = 2880,
                            .head_given = true,
                            .embedding = Q8_0};

    begin(w, "gpt-oss", &s);
    key(w, "attention.sliding_window", 128);
    for (uint32_t l = 0; l < s.layers; l++) {
        block(w, l);
        attention(w, &s, Q8_0, Q8_0);
        vector(w, "attn_q.bias", s.heads * s.head);
        vector(w, "attn_k.bias", s.heads_kv * s.head);
        vector(w, "attn_v.bias", s.heads_kv * s.head);
        vector(w, "attn_output.bias", s.width);
        vector(w, "attn_sinks.weight", s.heads);
        vector(w, "post_attention_norm.weight", s.width);
        experts(w, &s, MXFP4);
        vector(w, "ffn_gate_inp.bias", s.experts);
        matrix(w, "ffn_gate_exps.bias", F32, s.expert_feed_forward, s.experts);
        matrix(w, "ffn_up_exps.bias", F32, s.expert_feed_forward, s.experts);
        matrix(w, "ffn_down_exps.bias", F32, s.width, s.experts);
    }
}

static void latent_attention(struct writer *w, const struct shape *s)
{
    enum { QUERY = 1536, LATENT = 512, ROPE = 64, PLAIN = 128, VALUE = 128 };

    vector(w, "attn_norm.weight", s->width);
    vector(w, "attn_q_a_norm.weight", QUERY);
    vector(w, "attn_kv_a_norm.weight", LATENT);
    matrix(w, "attn_q_a.weight", Q4_K, s->width, QUERY);
    matrix(w, "attn_q_b.weight", Q4_K, QUERY, s->heads * (PLAIN + ROPE));
    matrix(w, "attn_kv_a_mqa.weight", Q8_0, s->width, LATENT + ROPE);
    tensor(w, "attn_k_b.weight", Q8_0, PLAIN, LATENT, s->heads);
    tensor(w, "attn_v_b.weight", Q8_0, LATENT, VALUE, s->heads);
    matrix(w, "attn_output.weight", Q4_K, s->heads * VALUE, s->width);
}

static void latent_keys(struct writer *w)
{
    key(w, "attention.key_length", 576);
    key(w, "attention.value_length", 512);
    key(w, "attention.key_length_mla", 192);
    key(w, "attention.value_length_mla", 128);
    key(w, "attention.q_lora_rank", 1536);
    key(w, "attention.kv_lora_rank", 512);
    key(w, "rope.dimension_count", 64);
    key(w, "expert_shared_count", 1);
    key(w, "leading_dense_block_count", 3);
}

static void write_ds3(struct writer *w)
{
    enum { DENSE_LAYERS = 3 };
    const struct shape s = {.layers = 61,
                            .width = 7168,
                            .heads = 128,
                            .heads_kv = 1,
                            .feed_forward = 18432,
                            .trained = 163840,
                            .vocab = 129280,
                            .experts = 256,
                            .experts_used = 8,
                            .expert_feed_forward = 2048,
                            .embedding = Q4_K};

    begin(w, "deepseek2", &s);
    latent_keys(w);
    for (uint32_t l = 0; l < s.layers; l++) {
        block(w, l);
        latent_attention(w, &s);
        vector(w, "ffn_norm.weight", s.width);
        if (l < DENSE_LAYERS) {
            feed_forward(w, &s, Q4_K);
            continue;
        }
        vector(w, "exp_probs_b.bias", s.experts);
        experts(w, &s, Q4_K);
        shared_expert(w, &s);
    }
}

enum { STATE = 128, GROUPS = 16, STEPS = 32, KERNEL = 4, INNER = STATE * STEPS };

static void delta_net(struct writer *w, const struct shape *s)
{
    enum { MIXED = 2 * STATE * GROUPS + INNER };

    matrix(w, "attn_qkv.weight", Q4_K, s->width, MIXED);
    matrix(w, "attn_gate.weight", Q4_K, s->width, INNER);
    matrix(w, "ssm_conv1d.weight", F32, KERNEL, MIXED);
    vector(w, "ssm_dt.bias", STEPS);
    vector(w, "ssm_a", STEPS);
    matrix(w, "ssm_beta.weight", Q8_0, s->width, STEPS);
    matrix(w, "ssm_alpha.weight", Q8_0, s->width, STEPS);
    vector(w, "ssm_norm.weight", STATE);
    matrix(w, "ssm_out.weight", Q4_K, INNER, s->width);
}

static void gated_attention(struct writer *w, const struct shape *s)
{
    matrix(w, "attn_q.weight", Q4_K, s->width, s->heads * s->head * 2);
    matrix(w, "attn_k.weight", Q4_K, s->width, s->heads_kv * s->head);
    matrix(w, "attn_v.weight", Q6_K, s->width, s->heads_kv * s->head);
    matrix(w, "attn_output.weight", Q4_K, s->heads * s->head, s->width);
    head_norms(w, s);
}

static void write_q35moe(struct writer *w)
{
    enum { INTERVAL = 4 };
    const struct shape s = {.layers = 40,
                            .width = 2048,
                            .heads = 16,
                            .heads_kv = 2,
                            .head = 256,
                            .feed_forward = 512,
                            .trained = 262144,
                            .vocab = 248320,
                            .experts = 256,
                            .experts_used = 8,
                            .expert_feed_forward = 512,
                            .head_given = true,
                            .embedding = Q4_K};

    begin(w, "qwen35moe", &s);
    key(w, "expert_shared_feed_forward_length", 512);
    key(w, "ssm.conv_kernel", KERNEL);
    key(w, "ssm.inner_size", INNER);
    key(w, "ssm.state_size", STATE);
    key(w, "ssm.time_step_rank", STEPS);
    key(w, "ssm.group_count", GROUPS);
    key(w, "full_attention_interval", INTERVAL);
    key(w, "rope.dimension_count", 64);
    for (uint32_t l = 0; l < s.layers; l++) {
        block(w, l);
        vector(w, "attn_norm.weight", s.width);
        vector(w, "post_attention_norm.weight", s.width);
        if ((l + 1) % INTERVAL == 0)
            gated_attention(w, &s);
        else
            delta_net(w, &s);
        experts(w, &s, Q4_K);
        vector(w, "ffn_gate_inp_shexp.weight", s.width);
        shared_expert(w, &s);
    }
}

/* --- by name --------------------------------------------------------------------------------- */

const char *const fixture_names[FIXTURE_COUNT] = {"llama8b", "q3_32b", "q3_4bt", "q3moe",
                                                  "gemma3",  "gptoss", "ds3",    "q35moe"};

struct dgo_model *fixture_open(const char *name, struct dgo_error *err)
{
    static void (*const writers[FIXTURE_COUNT])(struct writer *) = {
        write_llama8b, write_q3_32b, write_q3_4bt, write_q3moe,
        write_gemma3,  write_gptoss, write_ds3,    write_q35moe};
    struct writer w;

    for (int i = 0; i < FIXTURE_COUNT; i++) {
        if (strcmp(name, fixture_names[i]) == 0) {
            writers[i](&w);
            return finish(&w, err);
        }
    }
    return NULL;
}
