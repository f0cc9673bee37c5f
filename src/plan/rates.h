/* rates.h - private to the plan module: what a machine reaches, in bytes, operations and seconds.
 *
 * Measured by calibration where it was (a card's `decode_bytes_per_s` and its sisters), else the
 * published peak times the share that engines reach, else an assumption that is told as one. */
#ifndef PLAN_RATES_H
#define PLAN_RATES_H

#include "dgo_gpu.h"

/* Shares of the published peak that engines reach.  Measured with llama.cpp, one request, 8B Q4_0
 * (4.35 GB read for each token): RTX 3090 156 t/s = 0.75 of 936 GB/s with the launches below
 * (ggml-org/llama.cpp#15802); 7B F16 on an RTX 4090 55 t/s = 0.73 (#3776); P40 56 t/s = 0.64
 * (#4766).  Prompts: RTX 3090 8B Q6_K 3490 t/s = 0.39 of 142 TFLOPS (#7860), A100 7B F16 8670 t/s =
 * 0.37 of 312 (#6017). */
#define COST_BANDWIDTH_SHARE 0.75
#define COST_FLOPS_SHARE     0.4
#define COST_HOST_SHARE      0.6
#define COST_PCIE_SHARE      0.8

/* Assumed where the machine does not say.  A card: the mean of the known ones, else this one (the
 * middle of what is sold with 8 GB and more).  Throughput: that many operations for each byte of
 * bandwidth (RTX 3090: 71 TFLOPS / 936 GB/s).  Host: two channels of DDR4-3200. */
#define COST_GPU_BANDWIDTH  400e9
#define COST_FLOPS_PER_BYTE 75.0
#define COST_HOST_BANDWIDTH 50e9
#define COST_HOST_FLOPS     0.4e12
#define COST_LINK_BANDWIDTH 6e9

/* Seconds.  Launches of one layer (some 8 kernels in a CUDA graph), and of its routed experts
 * beside (RTX 4090, qwen3moe 30B-A3B Q4_0: 206 t/s, #15631); handing a token's state to the next
 * device: direct, through the host, between sockets (reference: 10-25, 30-60 us). */
#define COST_LAYER_LAUNCH   12e-6
#define COST_EXPERTS_LAUNCH 36e-6
#define COST_HOP_DIRECT     15e-6
#define COST_HOP_HOST       45e-6
#define COST_HOP_SOCKETS    60e-6
/* A round trip on a local network (0.1-0.3 ms, reference). */
#define COST_HOP_NETWORK 200e-6
/* Experts in host memory beside a layer on a card: there and back. */
#define COST_EXPERTS_VISIT (2 * COST_HOP_HOST)

struct rates {
    uint32_t gpu_count;
    double gpu_rate[DGO_GPU_MAX];  /* bytes per second that decoding reaches */
    double gpu_flops[DGO_GPU_MAX]; /* operations per second that prompts reach */
    double
        launch_share[DGO_GPU_MAX];   /* launches take this part of the constants above; 1 unknown */
    bool assumed[DGO_GPU_MAX];       /* the card's bandwidth was not known */
    bool calibrated[DGO_GPU_MAX];    /* its decode rate was measured with the engine */
    double best_flops;               /* of the cards that may be used, as best_upload_rate */
    double host_rate;                /* bytes per second that the CPU reads weights with */
    double upload_rate[DGO_GPU_MAX]; /* host memory to that GPU, for weights that stay there */
    double best_upload_rate;
    bool host_assumed, host_calibrated;
    double hop_s[DGO_GPU_MAX][DGO_GPU_MAX];     /* latency of handing on */
    double link_rate[DGO_GPU_MAX][DGO_GPU_MAX]; /* bytes per second between two cards */
    bool direct[DGO_GPU_MAX][DGO_GPU_MAX];      /* not through host memory */
};

/* `gpu_mask` has a bit for each GPU that may be used; 0: all. */
void rates_make(const struct dgo_machine *machine, uint32_t gpu_mask, struct rates *rates);

/* Seconds of adding up `bytes` over the cards in `gpu` and giving each the sum: a ring of
 * 2(N-1)/N of the bytes over the slowest link, and N-1 steps of the slowest hand-over. */
double rates_all_reduce_s(const struct rates *rates, const uint32_t *gpu, uint32_t count,
                          double bytes);

#endif
