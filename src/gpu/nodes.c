/* nodes.c - several machines seen as one: their cards in a row, a network between them. */
#include "dgo_gpu.h"

#include <ctype.h>
#include <inttypes.h>
#include <string.h>

#include "dgo_text.h"

/* A name or an address that can stand in a command line and before a colon. */
static bool is_host(const char *host)
{
    const size_t length = strlen(host);

    if (length == 0 || length >= DGO_HOST_TEXT_MAX || host[0] == '-')
        return false;
    for (size_t i = 0; i < length; i++)
        if (!isalnum((unsigned char)host[i]) && !strchr("._-", host[i]))
            return false;
    return true;
}

static void link_cards(struct dgo_machine *machine, const struct dgo_machine *other, uint32_t first,
                       double network_bytes_per_s)
{
    for (uint32_t a = first; a < machine->gpu_count; a++)
        for (uint32_t b = 0; b < machine->gpu_count; b++) {
            struct dgo_link link = {.kind = DGO_LINK_NET,
                                    .p2p_known = true,
                                    .bandwidth_bytes_per_s = network_bytes_per_s};

            if (b >= first)
                link = other->link[a - first][b - first];
            machine->link[a][b] = machine->link[b][a] = link;
        }
}

enum dgo_status dgo_machine_join(struct dgo_machine *machine, const struct dgo_machine *other,
                                 const char *host, uint16_t port, double network_bytes_per_s,
                                 struct dgo_error *err)
{
    const uint32_t first = machine->gpu_count;
    uint32_t node = machine->node_count ? machine->node_count : 1;

    if (!is_host(host))
        return dgo_fail(err, DGO_EINVAL, "'%.40s' is no host name or address", host);
    if (node == DGO_NODE_MAX)
        return dgo_fail(err, DGO_ELIMIT, "more than %d machines", DGO_NODE_MAX);
    if (first + other->gpu_count > DGO_GPU_MAX)
        return dgo_fail(err, DGO_ELIMIT,
                        "the machines have %" PRIu32
                        " cards together, at most %d can be planned for",
                        first + other->gpu_count, DGO_GPU_MAX);
    if (machine->node_count == 0)
        machine->node[0].memory = machine->host;
    machine->node[node].memory = other->host;
    machine->node[node].port = port;
    (void)dgo_text_copy(machine->node[node].host, sizeof machine->node[node].host, host);
    machine->node_count = node + 1;
    for (uint32_t g = 0; g < other->gpu_count; g++) {
        machine->gpu[first + g] = other->gpu[g];
        machine->gpu_node[first + g] = (uint8_t)node;
    }
    machine->gpu_count += other->gpu_count;
    link_cards(machine, other, first, network_bytes_per_s);
    return DGO_OK;
}
