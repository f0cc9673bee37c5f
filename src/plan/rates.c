/* rates.c - cards and links of a machine, as rates. */
#include "rates.h"

#include <math.h>
#include <string.h>

static double reading(const struct dgo_gpu *gpu, enum dgo_gpu_field field, double value)
{
    return dgo_gpu_knows(gpu, field) ? value : 0;
}

/* What calibration saw on this card takes the place of published figures. */
static void use_measured(struct rates *rates, const struct dgo_gpu *gpu, uint32_t g)
{
    const double rate = reading(gpu, DGO_GPU_DECODE_BYTES_PER_S, gpu->decode_bytes_per_s);
    const double flops = reading(gpu, DGO_GPU_PROMPT_FLOPS, gpu->prompt_flops);

    if (rate > 0) {
        rates->gpu_rate[g] = rate;
        rates->calibrated[g] = true;
        rates->assumed[g] = false;
    }
    if (flops > 0)
        rates->gpu_flops[g] = flops;
    if (dgo_gpu_knows(gpu, DGO_GPU_LAYER_LAUNCH_S))
        rates->launch_share[g] = gpu->layer_launch_s / COST_LAYER_LAUNCH;
}

static void fill_cards(struct rates *rates, const struct dgo_machine *machine)
{
    double bandwidth[DGO_GPU_MAX], flops[DGO_GPU_MAX], sum = 0;
    uint32_t known = 0;

    for (uint32_t g = 0; g < machine->gpu_count; g++) {
        const struct dgo_gpu *gpu = &machine->gpu[g];

        bandwidth[g] = reading(gpu, DGO_GPU_BANDWIDTH_BYTES_PER_S, gpu->bandwidth_bytes_per_s);
        flops[g] = reading(gpu, DGO_GPU_FP16_FLOPS, gpu->fp16_flops);
        if (bandwidth[g] > 0) {
            sum += bandwidth[g];
            known++;
        }
    }
    for (uint32_t g = 0; g < machine->gpu_count; g++) {
        rates->assumed[g] = !(bandwidth[g] > 0);
        if (rates->assumed[g])
            bandwidth[g] = known > 0 ? sum / known : COST_GPU_BANDWIDTH;
        if (!(flops[g] > 0))
            flops[g] = bandwidth[g] * COST_FLOPS_PER_BYTE;
        rates->gpu_rate[g] = bandwidth[g] * COST_BANDWIDTH_SHARE;
        rates->gpu_flops[g] = flops[g] * COST_FLOPS_SHARE;
        rates->launch_share[g] = 1;
        use_measured(rates, &machine->gpu[g], g);
    }
}

static double pcie_rate(const struct dgo_gpu *gpu)
{
    return dgo_gpu_pcie_bytes_per_s(gpu) * COST_PCIE_SHARE;
}

static double slower_known(double a, double b)
{
    if (!(a > 0))
        return b;
    return b > 0 && b < a ? b : a;
}

static void fill_links(struct rates *rates, const struct dgo_machine *machine)
{
    for (uint32_t a = 0; a < machine->gpu_count; a++) {
        const double own = pcie_rate(&machine->gpu[a]);

        rates->upload_rate[a] = own > 0 ? own : 2 * COST_LINK_BANDWIDTH;
        for (uint32_t b = 0; b < machine->gpu_count; b++) {
            const struct dgo_link *link = &machine->link[a][b];
            const bool direct = link->kind == DGO_LINK_NVLINK || (link->p2p_known && link->p2p);
            double rate = link->bandwidth_bytes_per_s * COST_PCIE_SHARE;

            if (!(rate > 0))
                rate = slower_known(own, pcie_rate(&machine->gpu[b]));
            rates->direct[a][b] = direct;
            if (!direct && link->kind != DGO_LINK_NET)
                rate /= 2; /* through host memory every byte crosses the bus twice */
            rates->link_rate[a][b] = rate > 0 ? rate : COST_LINK_BANDWIDTH;
            rates->hop_s[a][b] = direct                       ? COST_HOP_DIRECT
                                 : link->kind == DGO_LINK_NET ? COST_HOP_NETWORK
                                 : link->kind == DGO_LINK_SYS ? COST_HOP_SOCKETS
                                                              : COST_HOP_HOST;
        }
    }
}

/* Layers on the CPU have their prompts computed on a card. */
static void fill_best(struct rates *rates, uint32_t gpu_mask)
{
    for (uint32_t g = 0; g < rates->gpu_count; g++) {
        if (gpu_mask != 0 && !(gpu_mask >> g & 1))
            continue;
        rates->best_flops = fmax(rates->best_flops, rates->gpu_flops[g]);
        rates->best_upload_rate = fmax(rates->best_upload_rate, rates->upload_rate[g]);
    }
    if (!(rates->best_upload_rate > 0))
        rates->best_upload_rate = 2 * COST_LINK_BANDWIDTH;
}

static void fill_host(struct rates *rates, const struct dgo_host *host)
{
    rates->host_assumed = !(host->bandwidth_bytes_per_s > 0);
    rates->host_rate =
        (rates->host_assumed ? COST_HOST_BANDWIDTH : host->bandwidth_bytes_per_s) * COST_HOST_SHARE;
    rates->host_calibrated = host->decode_bytes_per_s > 0;
    if (rates->host_calibrated) {
        rates->host_rate = host->decode_bytes_per_s;
        rates->host_assumed = false;
    }
}

void rates_make(const struct dgo_machine *machine, uint32_t gpu_mask, struct rates *rates)
{
    memset(rates, 0, sizeof *rates);
    rates->gpu_count = machine->gpu_count;
    fill_cards(rates, machine);
    fill_links(rates, machine);
    fill_best(rates, gpu_mask);
    fill_host(rates, &machine->host);
}

double rates_all_reduce_s(const struct rates *rates, const uint32_t *gpu, uint32_t count,
                          double bytes)
{
    double hop = 0, rate = INFINITY;

    for (uint32_t a = 0; a < count; a++)
        for (uint32_t b = a + 1; b < count; b++) {
            hop = fmax(hop, rates->hop_s[gpu[a]][gpu[b]]);
            rate = fmin(rate, rates->link_rate[gpu[a]][gpu[b]]);
        }
    if (count < 2)
        return 0;
    return (count - 1) * hop + 2.0 * (count - 1) / count * bytes / rate;
}
