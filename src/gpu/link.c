/* link.c - what the links between cards are called and what they can carry. */
#include "driver.h"

enum { PCIE_GEN_KNOWN = 6 };

static const char *const kind_names[] = {
    [DGO_LINK_UNKNOWN] = "unknown", [DGO_LINK_NVLINK] = "nvlink", [DGO_LINK_PIX] = "pix",
    [DGO_LINK_PXB] = "pxb",         [DGO_LINK_PHB] = "phb",       [DGO_LINK_NODE] = "node",
    [DGO_LINK_SYS] = "sys",         [DGO_LINK_NET] = "net",
};

const char *dgo_link_kind_name(enum dgo_link_kind kind)
{
    if ((size_t)kind >= sizeof kind_names / sizeof kind_names[0])
        return kind_names[DGO_LINK_UNKNOWN];
    return kind_names[kind];
}

double gpu_pcie_bytes_per_s(uint32_t generation, uint32_t lanes)
{
    /* GT/s times the line coding: 8b/10b, from generation 3 on 128b/130b, from 6 on 242/256. */
    static const double lane_gbs[PCIE_GEN_KNOWN + 1] = {
        0,
        2.5 * 0.8 / 8,
        5.0 * 0.8 / 8,
        8.0 * 128 / 130 / 8,
        16.0 * 128 / 130 / 8,
        32.0 * 128 / 130 / 8,
        64.0 * 242 / 256 / 8,
    };

    if (generation > PCIE_GEN_KNOWN)
        return 0;
    return lane_gbs[generation] * 1e9 * lanes;
}

double dgo_gpu_pcie_bytes_per_s(const struct dgo_gpu *gpu)
{
    const bool width_now = dgo_gpu_knows(gpu, DGO_GPU_PCIE_WIDTH);
    const bool width_max = dgo_gpu_knows(gpu, DGO_GPU_PCIE_WIDTH_MAX);
    uint32_t generation = dgo_gpu_knows(gpu, DGO_GPU_PCIE_GEN) ? gpu->pcie_gen : 0;
    uint32_t lanes = width_now ? gpu->pcie_width : width_max ? gpu->pcie_width_max : 0;

    if (dgo_gpu_knows(gpu, DGO_GPU_PCIE_GEN_MAX) && gpu->pcie_gen_max > generation)
        generation = gpu->pcie_gen_max;
    if (generation > PCIE_GEN_KNOWN)
        generation = PCIE_GEN_KNOWN;
    if (width_now && width_max && gpu->pcie_width_max < lanes)
        lanes = gpu->pcie_width_max;
    return gpu_pcie_bytes_per_s(generation, lanes);
}

void gpu_set_link(struct dgo_machine *machine, uint32_t a, uint32_t b, const struct dgo_link *link)
{
    machine->link[a][b] = *link;
    machine->link[b][a] = *link;
}

void gpu_fill_link_bandwidth(struct dgo_machine *machine)
{
    for (uint32_t a = 0; a < machine->gpu_count; a++) {
        for (uint32_t b = a + 1; b < machine->gpu_count; b++) {
            struct dgo_link link = machine->link[a][b];
            const double one = dgo_gpu_pcie_bytes_per_s(&machine->gpu[a]);
            const double other = dgo_gpu_pcie_bytes_per_s(&machine->gpu[b]);

            if (link.bandwidth_bytes_per_s > 0 || link.kind == DGO_LINK_NVLINK)
                continue;
            link.bandwidth_bytes_per_s = one < other ? one : other;
            gpu_set_link(machine, a, b, &link);
        }
    }
}
