/* makers.h - machines and models made by hand, for the tests of placement.
 *
 * A model has the tensors of a real one of that shape, so its bytes are those of the real file. */
#ifndef MAKERS_H
#define MAKERS_H

#include "dgo_gpu.h"
#include "dgo_model.h"
#include "dgo_plan.h"
#include "dgo_units.h"

struct make_shape {
    const char *architecture;
    uint32_t layer_count, embedding, head_count, head_count_kv, head_length, feed_forward, vocab;
    uint32_t trained_ctx;
    uint32_t type;         /* ggml type of the matrices: 12 is Q4_K */
    uint32_t expert_count; /* 0: dense; feed_forward is then of one expert */
    uint32_t expert_used_count;
    bool tied;
};

extern const struct make_shape make_8b;     /* llama 3 8B, Q4_K */
extern const struct make_shape make_32b;    /* 64 layers, Q4_K, about 17 GiB */
extern const struct make_shape make_70b;    /* 80 layers, Q4_K, about 37 GiB */
extern const struct make_shape make_moe30b; /* 48 layers, 128 experts of which 8 are used */
extern const struct make_shape make_tiny;   /* 4 small layers */

/* Heap memory: make_model_done frees it. */
struct dgo_model *make_model(const struct make_shape *shape);
void make_model_done(struct dgo_model *model);

struct make_card {
    uint64_t total_mib, free_mib;
    double bandwidth_gbs; /* 0 unknown */
};
extern const struct make_card make_3090, make_3060, make_4060ti, make_4090;

/* Cards until one of 0 MiB, or `count`; host with 64 GiB, 60 free. */
void make_machine(struct dgo_machine *machine, const struct make_card *cards, uint32_t count);

#endif
