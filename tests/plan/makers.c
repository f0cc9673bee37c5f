/* makers.c - machines and models made by hand, for the tests of placement. */
#include "makers.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const struct make_shape make_8b = {.architecture = "llama",
                                   .layer_count = 32,
                                   .embedding = 4096,
                                   .head_count = 32,
                                   .head_count_kv = 8,
                                   .head_length = 128,
                                   .feed_forward = 14336,
                                   .vocab = 128256,
                                   .trained_ctx = 131072,
                                   .type = 12};
const struct make_shape make_32b = {.architecture = "qwen3",
                                    .layer_count = 64,
                                    .embedding = 5120,
                                    .head_count = 64,
                                    .head_count_kv = 8,
                                    .head_length = 128,
                                    .feed_forward = 25600,
                                    .vocab = 151936,
                                    .trained_ctx = 40960,
                                    .type = 12};
const struct make_shape make_70b = {.architecture = "llama",
                                    .layer_count = 80,
                                    .embedding = 8192,
                                    .head_count = 64,
                                    .head_count_kv = 8,
                                    .head_length = 128,
                                    .feed_forward = 28672,
                                    .vocab = 128256,
                                    .trained_ctx = 131072,
                                    .type = 12};
const struct make_shape make_moe30b = {.architecture = "qwen3moe",
                                       .layer_count = 48,
                                       .embedding = 2048,
                                       .head_count = 32,
                                       .head_count_kv = 4,
                                       .head_length = 128,
                                       .feed_forward = 768,
                                       .vocab = 151936,
                                       .trained_ctx = 40960,
                                       .type = 12,
                                       .expert_count = 128,
                                       .expert_used_count = 8};
const struct make_shape make_tiny = {.architecture = "llama",
                                     .layer_count = 4,
                                     .embedding = 256,
                                     .head_count = 4,
                                     .head_count_kv = 2,
                                     .head_length = 64,
                                     .feed_forward = 512,
                                     .vocab = 1024,
                                     .trained_ctx = 2048,
                                     .type = 12,
                                     .tied = true};

const struct make_card make_3090 = {24576, 24100, 936};
const struct make_card make_3060 = {12288, 11900, 360};
const struct make_card make_4060ti = {16380, 15900, 288};
const struct make_card make_4090 = {24564, 24000, 1008};

enum { TENSORS_OF_A_LAYER = 16, TENSORS_BESIDE = 4, NO_LAYER = 0xffff };

struct maker {
    struct dgo_model *model;
    const struct make_shape *shape;
};

static void add(struct maker *maker, enum dgo_tensor_class class, uint32_t layer, const char *name,
                uint32_t type, uint64_t rows, uint64_t columns, uint64_t planes)
{
    struct dgo_model *model = maker->model;
    struct dgo_tensor *tensor = &model->tensor[model->tensor_count++];
    const struct dgo_ggml_type *of = dgo_ggml_type(type);

    if (layer == NO_LAYER)
        snprintf(tensor->name, sizeof tensor->name, "%s.weight", name);
    else
        snprintf(tensor->name, sizeof tensor->name, "blk.%u.%s.weight", layer, name);
    tensor->type = type;
    tensor->type_known = true;
    tensor->dim_count = planes > 1 ? 3 : columns > 1 ? 2 : 1;
    tensor->dim[0] = rows;
    tensor->dim[1] = columns;
    tensor->dim[2] = planes;
    tensor->dim[3] = 1;
    tensor->size_bytes = rows / of->block_values * of->block_bytes * columns * planes;
    tensor->layer = (uint16_t)layer;
    tensor->class = class;
    model->parameter_count += rows * columns * planes;
    if (class == DGO_TENSOR_INPUT)
        model->input_bytes += tensor->size_bytes;
    else if (class == DGO_TENSOR_OUTPUT)
        model->output_bytes += tensor->size_bytes;
    else if (class == DGO_TENSOR_TABLE)
        model->table_bytes += tensor->size_bytes;
    else
        model->layer[layer].weights_bytes += tensor->size_bytes;
    if (planes > 1)
        model->layer[layer].expert_bytes += tensor->size_bytes;
    model->file_bytes += tensor->size_bytes;
}

static void add_feed_forward(struct maker *maker, uint32_t l)
{
    const struct make_shape *s = maker->shape;
    const uint32_t experts = s->expert_count;

    if (experts == 0) {
        add(maker, DGO_TENSOR_LAYER, l, "ffn_gate", s->type, s->embedding, s->feed_forward, 1);
        add(maker, DGO_TENSOR_LAYER, l, "ffn_up", s->type, s->embedding, s->feed_forward, 1);
        add(maker, DGO_TENSOR_LAYER, l, "ffn_down", s->type, s->feed_forward, s->embedding, 1);
        return;
    }
    add(maker, DGO_TENSOR_LAYER, l, "ffn_gate_inp", 0, s->embedding, experts, 1);
    add(maker, DGO_TENSOR_LAYER, l, "ffn_gate_exps", s->type, s->embedding, s->feed_forward,
        experts);
    add(maker, DGO_TENSOR_LAYER, l, "ffn_up_exps", s->type, s->embedding, s->feed_forward, experts);
    add(maker, DGO_TENSOR_LAYER, l, "ffn_down_exps", s->type, s->feed_forward, s->embedding,
        experts);
}

static void add_layer(struct maker *maker, uint32_t l)
{
    const struct make_shape *s = maker->shape;
    const uint64_t q = (uint64_t)s->head_count * s->head_length;
    const uint64_t kv = (uint64_t)s->head_count_kv * s->head_length;

    maker->model->layer[l] =
        (struct dgo_layer){.head_count = s->head_count,
                           .head_count_kv = s->head_count_kv,
                           .key_length = s->head_length,
                           .value_length = s->head_length,
                           .feed_forward_length = s->expert_count ? 0 : s->feed_forward};
    add(maker, DGO_TENSOR_LAYER, l, "attn_norm", 0, s->embedding, 1, 1);
    add(maker, DGO_TENSOR_LAYER, l, "attn_q", s->type, s->embedding, q, 1);
    add(maker, DGO_TENSOR_LAYER, l, "attn_k", s->type, s->embedding, kv, 1);
    add(maker, DGO_TENSOR_LAYER, l, "attn_v", s->type, s->embedding, kv, 1);
    add(maker, DGO_TENSOR_LAYER, l, "attn_output", s->type, q, s->embedding, 1);
    add(maker, DGO_TENSOR_LAYER, l, "ffn_norm", 0, s->embedding, 1, 1);
    add_feed_forward(maker, l);
}

struct dgo_model *make_model(const struct make_shape *shape)
{
    struct dgo_model *model = calloc(1, sizeof *model);
    struct maker maker = {.model = model, .shape = shape};

    if (!model)
        abort();
    model->tensor =
        calloc(shape->layer_count * TENSORS_OF_A_LAYER + TENSORS_BESIDE, sizeof *model->tensor);
    if (!model->tensor)
        abort();
    snprintf(model->architecture, sizeof model->architecture, "%s", shape->architecture);
    model->gguf_version = 3;
    model->shard_count = 1;
    model->context_length = shape->trained_ctx;
    model->embedding_length = shape->embedding;
    model->vocab_size = shape->vocab;
    model->expert_count = shape->expert_count;
    model->expert_used_count = shape->expert_used_count;
    model->expert_feed_forward_length = shape->expert_count ? shape->feed_forward : 0;
    model->tied_embeddings = shape->tied;
    model->verified = true;
    model->layer_count = shape->layer_count;
    add(&maker, DGO_TENSOR_INPUT, NO_LAYER, "token_embd", shape->type, shape->embedding,
        shape->vocab, 1);
    add(&maker, DGO_TENSOR_TABLE, NO_LAYER, "rope_freqs", 0, shape->head_length / 2, 1, 1);
    for (uint32_t l = 0; l < shape->layer_count; l++)
        add_layer(&maker, l);
    add(&maker, DGO_TENSOR_OUTPUT, NO_LAYER, "output_norm", 0, shape->embedding, 1, 1);
    if (!shape->tied)
        add(&maker, DGO_TENSOR_OUTPUT, NO_LAYER, "output", shape->type, shape->embedding,
            shape->vocab, 1);
    return model;
}

void make_model_done(struct dgo_model *model)
{
    if (model)
        free(model->tensor);
    free(model);
}

void make_machine(struct dgo_machine *machine, const struct make_card *cards, uint32_t count)
{
    memset(machine, 0, sizeof *machine);
    machine->origin.simulated = true;
    for (uint32_t g = 0; g < count && cards[g].total_mib > 0; g++) {
        struct dgo_gpu *gpu = &machine->gpu[machine->gpu_count++];

        gpu->vendor = DGO_VENDOR_NVIDIA;
        snprintf(gpu->name, sizeof gpu->name, "NVIDIA card %u", g);
        gpu->known = UINT64_C(1) << DGO_GPU_TOTAL_BYTES | UINT64_C(1) << DGO_GPU_FREE_BYTES;
        gpu->total_bytes = cards[g].total_mib * DGO_MIB;
        gpu->free_bytes = cards[g].free_mib * DGO_MIB;
        if (cards[g].bandwidth_gbs > 0) {
            gpu->known |= UINT64_C(1) << DGO_GPU_BANDWIDTH_BYTES_PER_S;
            gpu->bandwidth_bytes_per_s = cards[g].bandwidth_gbs * 1e9;
        }
    }
    machine->host.memory_known = true;
    machine->host.total_bytes = 64 * DGO_GIB;
    machine->host.free_bytes = 60 * DGO_GIB;
    machine->host.bandwidth_bytes_per_s = 60e9;
}
