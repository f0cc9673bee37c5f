/* nvml_link.c - how two NVIDIA cards reach each other: the bus between them, peer access, NVLink.
 */
#include "nvml.h"

#include <string.h>

/* The driver's levels of the nearest common ancestor; 0 is one board with two chips. */
static enum dgo_link_kind kind_of_level(int level)
{
    switch (level) {
    case 0:
    case 10:
        return DGO_LINK_PIX;
    case 20:
        return DGO_LINK_PXB;
    case 30:
        return DGO_LINK_PHB;
    case 40:
        return DGO_LINK_NODE;
    case 50:
        return DGO_LINK_SYS;
    default:
        return DGO_LINK_UNKNOWN;
    }
}

/* GeForce drivers commonly answer "chipset not supported": copies go through the host then. */
static bool read_peer(const struct nvml_api *api, struct nvml_device *one,
                      struct nvml_device *other, int capability, bool *can)
{
    int status = NVML_P2P_STATUS_UNKNOWN;

    if (!api->nvmlDeviceGetP2PStatus ||
        api->nvmlDeviceGetP2PStatus(one, other, capability, &status) != NVML_SUCCESS ||
        status == NVML_P2P_STATUS_UNKNOWN)
        return false;
    *can = status == NVML_P2P_STATUS_OK;
    return true;
}

struct bridge {
    uint32_t active; /* links that are up, wherever they go */
    uint32_t direct; /* of those, that end at the other card */
};

static struct bridge count_nvlinks(const struct nvml_api *api, struct nvml_device *device,
                                   const char *other_pci_id)
{
    struct bridge bridge = {0};

    if (!api->nvmlDeviceGetNvLinkState)
        return bridge;
    for (unsigned link = 0; link < NVML_NVLINK_MAX; link++) {
        struct nvml_pci remote = {.bus_id = ""};
        char pci_id[GPU_PCI_ID_MAX] = "";
        int active = 0;
        const int code = api->nvmlDeviceGetNvLinkState(device, link, &active);

        if (code == NVML_NOT_SUPPORTED && link == 0)
            break; /* a card without */
        if (code != NVML_SUCCESS || active != 1)
            continue;
        bridge.active++;
        if (!api->nvmlDeviceGetNvLinkRemotePciInfo_v2 ||
            api->nvmlDeviceGetNvLinkRemotePciInfo_v2(device, link, &remote) != NVML_SUCCESS)
            continue;
        remote.bus_id[sizeof remote.bus_id - 1] = '\0';
        if (gpu_pci_normalise(remote.bus_id, pci_id) && strcmp(pci_id, other_pci_id) == 0)
            bridge.direct++;
    }
    return bridge;
}

/* Bytes per second of one NVLink, each way; 0 unknown. */
static double nvlink_bytes_per_s(const struct nvml_api *api, struct nvml_device *device)
{
    struct nvml_field_value speed = {.field_id = NVML_FIELD_NVLINK_SPEED};

    if (!api->nvmlDeviceGetFieldValues ||
        api->nvmlDeviceGetFieldValues(device, 1, &speed) != NVML_SUCCESS ||
        speed.code != NVML_SUCCESS || speed.value_type != NVML_VALUE_U32 ||
        speed.value.u32 > 10000000)
        return 0;
    return 1e6 * speed.value.u32;
}

static struct dgo_link read_link(const struct nvml_api *api, const struct nvml_card *one,
                                 const struct nvml_card *other)
{
    struct dgo_link link = {0};
    bool reads = false, writes = false, bridged = false;
    struct bridge bridge;
    int level = -1;

    if (api->nvmlDeviceGetTopologyCommonAncestor &&
        api->nvmlDeviceGetTopologyCommonAncestor(one->handle, other->handle, &level) ==
            NVML_SUCCESS)
        link.kind = kind_of_level(level);
    link.p2p_known = read_peer(api, one->handle, other->handle, NVML_P2P_READ, &reads) &&
                     read_peer(api, one->handle, other->handle, NVML_P2P_WRITE, &writes);
    link.p2p = link.p2p_known && reads && writes;
    bridge = count_nvlinks(api, one->handle, other->fixed.pci_id);
    (void)read_peer(api, one->handle, other->handle, NVML_P2P_NVLINK, &bridged);
    if (bridge.direct == 0 && !(bridged && bridge.active > 0))
        return link;
    link.kind = DGO_LINK_NVLINK;
    /* Through a switch all of a card's links serve any other card. */
    link.bandwidth_bytes_per_s =
        (bridge.direct ? bridge.direct : bridge.active) * nvlink_bytes_per_s(api, one->handle);
    return link;
}

void nvml_read_links(const struct nvml_api *api, const struct nvml_card *cards,
                     struct dgo_machine *machine)
{
    for (uint32_t a = 0; a < machine->gpu_count; a++) {
        for (uint32_t b = a + 1; b < machine->gpu_count; b++) {
            struct dgo_link link;

            if (!cards[a].handle || !cards[b].handle)
                continue;
            link = read_link(api, &cards[a], &cards[b]);
            gpu_set_link(machine, a, b, &link);
        }
    }
}
