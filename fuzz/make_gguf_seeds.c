/* make_gguf_seeds.c - writes the seeds of corpus/gguf: small files, each with something the others
 * do not have.  make_gguf_seeds FOLDER */
#include <stdio.h>
#include <stdlib.h>

#include "gguf_writer.h"

static void dense(struct writer *w)
{
    writer_arch(w, "llama", 2, 64, 4, 2);
    writer_texts(w, "tokenizer.ggml.tokens", 8);
    writer_tensor(w, "token_embd.weight", W_F16, 64, 8, 0);
    writer_tensor(w, "rope_freqs.weight", W_F32, 8, 0, 0);
    writer_tensor(w, "blk.0.attn_k.weight", W_Q8_0, 64, 32, 0);
    writer_tensor(w, "blk.1.attn_v.weight", W_Q8_0, 64, 32, 0);
    writer_tensor(w, "output.weight", W_F16, 64, 8, 0);
}

static void version_two(struct writer *w)
{
    w->version = 2;
    dense(w);
}

static void experts(struct writer *w)
{
    writer_arch(w, "qwen3moe", 1, 64, 4, 2);
    writer_u32(w, "qwen3moe.expert_count", 4);
    writer_u32(w, "qwen3moe.nextn_predict_layers", 0);
    writer_tensor(w, "blk.0.ffn_gate_exps.weight", W_MXFP4, 32, 8, 4);
    writer_tensor(w, "blk.0.ffn_down_exps.weight", W_MXFP4, 32, 8, 4);
}

static void window(struct writer *w)
{
    static const bool flags[] = {true, false};

    writer_u32(w, "general.alignment", 64);
    w->alignment = 64;
    writer_arch(w, "gemma4", 2, 64, 4, 2);
    writer_u32(w, "gemma4.attention.sliding_window", 16);
    writer_bools(w, "gemma4.attention.sliding_window_pattern", flags, 2);
    writer_tensor(w, "blk.0.attn_k.weight", W_F32, 64, 32, 0);
}

static void hybrid(struct writer *w)
{
    static const uint32_t heads[] = {0, 2};

    writer_text(w, "general.architecture", "jamba");
    writer_u32(w, "jamba.block_count", 2);
    writer_u32(w, "jamba.embedding_length", 64);
    writer_u32(w, "jamba.attention.head_count", 4);
    writer_u32s(w, "jamba.attention.head_count_kv", heads, 2);
    writer_tensor(w, "blk.0.ssm_in.weight", W_F16, 64, 8, 0);
    writer_tensor(w, "blk.1.attn_k.weight", W_F16, 64, 32, 0);
}

static void latent(struct writer *w)
{
    writer_arch(w, "deepseek2", 1, 64, 4, 1);
    writer_u32(w, "deepseek2.attention.key_length", 40);
    writer_u32(w, "deepseek2.attention.key_length_mla", 24);
    writer_u32(w, "deepseek2.attention.value_length_mla", 16);
    writer_tensor(w, "blk.0.attn_kv_a_mqa.weight", W_F16, 64, 40, 0);
}

static void unknown(struct writer *w)
{
    static const uint64_t dims[] = {7, 3, 2, 1};

    writer_text(w, "general.architecture", "unheard-of");
    writer_f64(w, "x.double", 1.5);
    writer_i32(w, "x.int", -1);
    writer_entry(w, "blk.3.attn_qkv.weight", 97, 4, dims, 100);
    writer_entry(w, "enc.blk.0.x", 200, 0, dims, 4);
}

static const struct {
    const char *name;
    void (*build)(struct writer *w);
} seeds[] = {
    {"dense", dense},   {"version_two", version_two}, {"experts", experts}, {"window", window},
    {"hybrid", hybrid}, {"latent", latent},           {"unknown", unknown},
};

/* The target takes the first byte as the size of the data behind the header, in 4 KiB. */
static int write_seed(const char *folder, const char *name, const struct writer *w)
{
    char path[4096];
    FILE *file;

    snprintf(path, sizeof path, "%s/%s", folder, name);
    file = fopen(path, "wb");
    if (!file) {
        perror(path);
        return 1;
    }
    fputc((int)((w->file_bytes - w->length + 4095) / 4096), file);
    fwrite(w->file, 1, w->length, file);
    return fclose(file) ? 1 : 0;
}

int main(int argc, char **argv)
{
    int failed = argc != 2;

    if (failed)
        fprintf(stderr, "usage: make_gguf_seeds FOLDER\n");
    for (size_t i = 0; !failed && i < sizeof seeds / sizeof seeds[0]; i++) {
        struct writer w;

        writer_init(&w);
        seeds[i].build(&w);
        writer_finish(&w);
        failed = write_seed(argv[1], seeds[i].name, &w);
        writer_done(&w);
    }
    return failed;
}
