/* nodes.c - `--node host=file,host:port=file`: several machines as one. */
#include "nodes.h"

#include "dgo_text.h"
#include "dgo_units.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* "10Gbit" as bytes in a second. */
static enum dgo_status parse_network(const char *text, double *bytes_per_s, struct dgo_error *err)
{
    static const struct {
        const char *unit;
        double bits;
    } units[] = {{"Gbit", 1e9}, {"Mbit", 1e6}, {"Gbit/s", 1e9}, {"Mbit/s", 1e6}};
    char *end;
    const double number = strtod(text, &end);

    for (size_t i = 0; i < sizeof units / sizeof units[0]; i++)
        if (strcasecmp(end, units[i].unit) == 0 && number > 0 && number < 1e6) {
            *bytes_per_s = number * units[i].bits / 8;
            return DGO_OK;
        }
    return dgo_fail(err, DGO_EUSAGE, "--network: '%.40s' is no speed like 1Gbit or 10Gbit", text);
}

static enum dgo_status read_machine(const char *path, struct dgo_machine *machine,
                                    struct dgo_error *err)
{
    struct dgo_gpu_source *source = NULL;
    enum dgo_status status =
        dgo_gpu_open(&(struct dgo_gpu_options){.machine_file = path}, &source, err);

    if (status == DGO_OK)
        status = dgo_gpu_take(source, machine, err);
    dgo_gpu_close(source);
    return status;
}

/* "host", "host:port". */
static enum dgo_status split_host(char *host, uint16_t *port, struct dgo_error *err)
{
    char *colon = strchr(host, ':');
    uint64_t number;

    *port = NODE_PORT_DEFAULT;
    if (!colon)
        return DGO_OK;
    *colon = '\0';
    if (dgo_u64_parse(colon + 1, "--node", 1, 65535, &number, NULL) != DGO_OK)
        return dgo_fail(err, DGO_EUSAGE, "--node: '%.20s' is no port", colon + 1);
    *port = (uint16_t)number;
    return DGO_OK;
}

static enum dgo_status join_one(const char *word, double network, struct dgo_machine *machine,
                                struct dgo_error *err)
{
    struct dgo_machine *other = malloc(sizeof *other);
    char host[PATH_MAX];
    uint16_t port;
    char *equals;
    enum dgo_status status;

    if (!other)
        return dgo_fail(err, DGO_ENOMEM, "out of memory for another machine");
    memset(other, 0, sizeof *other);
    snprintf(host, sizeof host, "%s", word);
    equals = strchr(host, '=');
    if (!equals || !equals[1]) {
        status = dgo_fail(err, DGO_EUSAGE,
                          "--node: '%.60s' is not HOST=FILE; FILE describes that machine's cards "
                          "(man dualgpuopt-machine)",
                          word);
    } else {
        *equals = '\0';
        status = split_host(host, &port, err);
        if (status == DGO_OK)
            status = read_machine(equals + 1, other, err);
        if (status == DGO_OK)
            status = dgo_machine_join(machine, other, host, port, network, err);
        if (status != DGO_OK && err)
            dgo_error_prefix(err, status, "--node %.60s", word);
    }
    free(other);
    return status;
}

enum dgo_status nodes_join(const struct options *options, struct dgo_machine *machine,
                           struct dgo_error *err)
{
    const char *at = option_text(options, OPTION_NODE);
    double network = 0;
    enum dgo_status status = DGO_OK;

    if (!at)
        return DGO_OK;
    status = parse_network(option_text(options, OPTION_NETWORK), &network, err);
    while (status == DGO_OK && *at) {
        const size_t length = strcspn(at, ",");
        char word[PATH_MAX];

        snprintf(word, sizeof word, "%.*s", (int)length, at);
        status = join_one(word, network, machine, err);
        at += length + (at[length] == ',');
    }
    return status;
}

uint32_t nodes_local_mask(const struct dgo_machine *machine)
{
    uint32_t mask = 0;

    for (uint32_t g = 0; g < machine->gpu_count; g++)
        mask |= machine->gpu_node[g] == 0 ? 1u << g : 0;
    return mask;
}
