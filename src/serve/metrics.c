/* metrics.c - the machine, the launches and the daemon as metrics; as DCGM's exporter names them
 * where a board expects that. */
#include "metrics.h"

#include "front.h"
#include "metrics_work.h"
#include "openmetrics.h"
#include "pass.h"
#include "relay.h"
#include "dgo_units.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

enum { CONSUMER_MAX = 20 };

/* An engine that loads answers late; the others are not kept waiting for it. */
#define ENGINE_WAIT_NS (2 * DGO_NS_PER_S)

/* One reading of a card: bytes and ratios, as the specification wants them. */
struct reading {
    enum dgo_gpu_field field;
    const char *name, *unit;
    double factor;
    const char *help;
};

static const struct reading readings[] = {
    {DGO_GPU_TOTAL_BYTES, "dualgpuopt_gpu_memory_total_bytes", "bytes", 1, "Memory of the card."},
    {DGO_GPU_USED_BYTES, "dualgpuopt_gpu_memory_used_bytes", "bytes", 1,
     "Memory in use by processes."},
    {DGO_GPU_FREE_BYTES, "dualgpuopt_gpu_memory_free_bytes", "bytes", 1, "Free memory."},
    {DGO_GPU_RESERVED_BYTES, "dualgpuopt_gpu_memory_reserved_bytes", "bytes", 1,
     "Memory that the driver keeps for itself."},
    {DGO_GPU_BUSY_PERMILLE, "dualgpuopt_gpu_busy_ratio", "ratio", 0.001,
     "Share of time with a kernel running."},
    {DGO_GPU_MEMORY_BUSY_PERMILLE, "dualgpuopt_gpu_memory_bus_ratio", "ratio", 0.001,
     "Share of time with the memory bus in use."},
    {DGO_GPU_TEMPERATURE_C, "dualgpuopt_gpu_temperature_celsius", "celsius", 1, "Temperature."},
    {DGO_GPU_POWER_MW, "dualgpuopt_gpu_power_watts", "watts", 0.001, "Power drawn."},
    {DGO_GPU_POWER_LIMIT_MW, "dualgpuopt_gpu_power_limit_watts", "watts", 0.001, "Power limit."},
    {DGO_GPU_CORE_CLOCK_MHZ, "dualgpuopt_gpu_core_clock_hertz", "hertz", 1e6, "Core clock."},
    {DGO_GPU_MEMORY_CLOCK_MHZ, "dualgpuopt_gpu_memory_clock_hertz", "hertz", 1e6, "Memory clock."},
};

/* Names and units of NVIDIA's exporter (dcgm-exporter, etc/default-counters.csv); FB is in MiB. */
static const struct reading dcgm_readings[] = {
    {DGO_GPU_CORE_CLOCK_MHZ, "DCGM_FI_DEV_SM_CLOCK", NULL, 1, "SM clock frequency (in MHz)."},
    {DGO_GPU_MEMORY_CLOCK_MHZ, "DCGM_FI_DEV_MEM_CLOCK", NULL, 1,
     "Memory clock frequency (in MHz)."},
    {DGO_GPU_TEMPERATURE_C, "DCGM_FI_DEV_GPU_TEMP", NULL, 1, "GPU temperature (in C)."},
    {DGO_GPU_POWER_MW, "DCGM_FI_DEV_POWER_USAGE", NULL, 0.001, "Power draw (in W)."},
    {DGO_GPU_BUSY_PERMILLE, "DCGM_FI_DEV_GPU_UTIL", NULL, 0.1, "GPU utilization (in %)."},
    {DGO_GPU_MEMORY_BUSY_PERMILLE, "DCGM_FI_DEV_MEM_COPY_UTIL", NULL, 0.1,
     "Memory utilization (in %)."},
    {DGO_GPU_FREE_BYTES, "DCGM_FI_DEV_FB_FREE", NULL, 1.0 / (1 << 20),
     "Framebuffer memory free (in MiB)."},
    {DGO_GPU_USED_BYTES, "DCGM_FI_DEV_FB_USED", NULL, 1.0 / (1 << 20),
     "Framebuffer memory used (in MiB)."},
    {DGO_GPU_RESERVED_BYTES, "DCGM_FI_DEV_FB_RESERVED", NULL, 1.0 / (1 << 20),
     "Framebuffer memory reserved (in MiB)."},
};

/* The value of a field, whatever its type; only of one that is known. */
static double value_of(const struct dgo_gpu *gpu, enum dgo_gpu_field field)
{
    switch (field) {
#define X(id, type, name, title)                                                                   \
    case DGO_GPU_##id:                                                                             \
        return (double)gpu->name;
#include "fields.def"
#undef X
    default:
        return 0;
    }
}

static void write_readings(struct om *om, const struct dgo_machine *machine,
                           const struct reading *list, size_t count, bool dcgm)
{
    char host[256] = "";

    (void)gethostname(host, sizeof host - 1);
    for (size_t i = 0; i < count; i++) {
        om_family(om, list[i].name, OM_GAUGE, list[i].unit, list[i].help);
        for (uint32_t g = 0; g < machine->gpu_count; g++) {
            const struct dgo_gpu *gpu = &machine->gpu[g];
            char index[12], device[24];
            const struct om_label ours[] = {{"gpu", index}, {"uuid", gpu->uuid}, {NULL, NULL}};
            const struct om_label theirs[] = {
                {"gpu", index},     {"UUID", gpu->uuid},      {"pci_bus_id", gpu->pci_id},
                {"device", device}, {"modelName", gpu->name}, {"Hostname", host},
                {NULL, NULL}};

            snprintf(index, sizeof index, "%u", (unsigned)g);
            snprintf(device, sizeof device, "nvidia%u", (unsigned)g);
            if (dgo_gpu_knows(gpu, list[i].field))
                om_sample(om, dcgm ? theirs : ours, value_of(gpu, list[i].field) * list[i].factor);
        }
    }
}

static void write_identity(struct om *om, const struct dgo_machine *machine)
{
    om_family(om, "dualgpuopt_gpu", OM_INFO, NULL, "Identity of the card.");
    for (uint32_t g = 0; g < machine->gpu_count; g++) {
        char index[12];
        const struct om_label labels[] = {
            {"gpu", index},
            {"uuid", machine->gpu[g].uuid},
            {"name", machine->gpu[g].name},
            {"pci_id", machine->gpu[g].pci_id},
            {"driver", machine->driver},
            {"simulated", machine->origin.simulated ? "true" : "false"},
            {"recorded", machine->origin.recorded ? "true" : "false"},
            {NULL, NULL}};

        snprintf(index, sizeof index, "%u", (unsigned)g);
        om_sample_u64(om, labels, 1);
    }
}

/* The first processes of each card by name, the rest as "other": a pid is a label that never comes
 * back. */
static void write_consumers(struct om *om, const struct dgo_machine *machine)
{
    om_family(om, "dualgpuopt_gpu_process_memory_bytes", OM_GAUGE, "bytes",
              "Memory that a process holds on a card.");
    for (uint32_t g = 0; g < machine->gpu_count; g++) {
        const struct dgo_gpu *gpu = &machine->gpu[g];
        uint64_t other_bytes = 0;
        char index[12], pid[12];

        snprintf(index, sizeof index, "%u", (unsigned)g);
        for (uint32_t i = 0; gpu->processes_known && i < gpu->process_count; i++) {
            const struct dgo_gpu_process *process = &gpu->process[i];
            const struct om_label labels[] = {
                {"gpu", index}, {"pid", pid}, {"comm", process->name}, {NULL, NULL}};

            snprintf(pid, sizeof pid, "%u", (unsigned)process->pid);
            if (process->used_known && i < CONSUMER_MAX)
                om_sample_u64(om, labels, process->used_bytes);
            else if (process->used_known)
                other_bytes += process->used_bytes;
        }
        if (other_bytes)
            om_sample_u64(om,
                          (const struct om_label[]){
                              {"gpu", index}, {"pid", ""}, {"comm", "other"}, {NULL, NULL}},
                          other_bytes);
    }
}

static void write_ledger(struct om *om, const struct dgo_machine *machine)
{
    static struct dgo_ledger ledger; /* 70 KiB; loop thread only */
    static const char *const kinds[] = {"ours", "outstanding", "others", "promisable"};

    dgo_vram_snapshot(&ledger);
    om_family(
        om, "dualgpuopt_vram_ledger_bytes", OM_GAUGE, "bytes",
        "Books of each card: held by launches, promised and not taken, held by others, may be "
        "promised.");
    for (uint32_t g = 0; g < machine->gpu_count; g++) {
        struct dgo_ledger_balance balance;
        char index[12];

        snprintf(index, sizeof index, "%u", (unsigned)g);
        if (!ledger.gpu[g].known || dgo_ledger_balance_of(&ledger, g, &balance, NULL) != DGO_OK)
            continue;

        const uint64_t values[] = {balance.ours_bytes, balance.outstanding_bytes,
                                   balance.others_bytes, balance.promisable_bytes};

        for (size_t k = 0; k < 4; k++)
            if (k != 2 || ledger.gpu[g].others_known)
                om_sample_u64(
                    om, (const struct om_label[]){{"gpu", index}, {"kind", kinds[k]}, {NULL, NULL}},
                    values[k]);
    }
    om_family(om, "dualgpuopt_vram_ledger_drift_bytes", OM_GAUGE, "bytes",
              "What launches that have loaded hold, less what was planned for them.");
    for (uint32_t g = 0; g < machine->gpu_count; g++) {
        struct dgo_ledger_balance balance;
        char index[12];

        snprintf(index, sizeof index, "%u", (unsigned)g);
        if (ledger.gpu[g].known && dgo_ledger_balance_of(&ledger, g, &balance, NULL) == DGO_OK)
            om_sample(om, (const struct om_label[]){{"gpu", index}, {NULL, NULL}},
                      (double)balance.drift_bytes);
    }
}

/* One family over all launches, by a function that says whether and what. */
static void each_launch(struct om *om, struct fleet *fleet,
                        void (*write)(struct om *om, struct launch *launch,
                                      const struct om_label *labels))
{
    for (struct launch *launch = fleet_next(fleet, NULL); launch;
         launch = fleet_next(fleet, launch)) {
        char id[24];
        const struct om_label labels[] = {
            {"launch", id}, {"model", launch_name(launch)}, {NULL, NULL}};

        snprintf(id, sizeof id, "%" PRIu64, launch_id(launch));
        if (launch_phase(launch) != PHASE_ENDED)
            write(om, launch, labels);
    }
}

static void write_ready(struct om *om, struct launch *launch, const struct om_label *labels)
{
    om_sample_u64(om, labels, launch_is_ready(launch));
}
static void write_requests(struct om *om, struct launch *launch, const struct om_label *labels)
{
    om_sample_u64(om, labels, launch_request_count(launch));
}
static void write_active(struct om *om, struct launch *launch, const struct om_label *labels)
{
    om_sample_u64(om, labels, launch_active_requests(launch));
}
static void write_restarts(struct om *om, struct launch *launch, const struct om_label *labels)
{
    om_sample_u64(om, labels, launch_restart_count(launch));
}

static void write_launches(struct om *om, struct fleet *fleet)
{
    om_family(om, "dualgpuopt_launch_ready", OM_GAUGE, NULL, "1 while the engine answers.");
    each_launch(om, fleet, write_ready);
    om_family(om, "dualgpuopt_launch_requests", OM_COUNTER, NULL,
              "Requests that went through the front.");
    each_launch(om, fleet, write_requests);
    om_family(om, "dualgpuopt_launch_active_requests", OM_GAUGE, NULL,
              "Requests that are being answered.");
    each_launch(om, fleet, write_active);
    om_family(om, "dualgpuopt_launch_restarts", OM_COUNTER, NULL, "Starts after the first one.");
    each_launch(om, fleet, write_restarts);
}

/* What this process holds on any card; it must be 0. */
static uint64_t self_vram_bytes(const struct dgo_machine *machine)
{
    uint64_t sum = 0;

    for (uint32_t g = 0; g < machine->gpu_count; g++)
        for (uint32_t i = 0; i < machine->gpu[g].process_count; i++)
            if (machine->gpu[g].process[i].pid == (uint32_t)getpid() &&
                machine->gpu[g].process[i].used_known)
                sum += machine->gpu[g].process[i].used_bytes;
    return sum;
}

static uint64_t resident_bytes(void)
{
    unsigned long long size = 0, resident = 0;
    FILE *file = fopen("/proc/self/statm", "re");

    if (file && fscanf(file, "%llu %llu", &size, &resident) != 2)
        resident = 0;
    if (file)
        fclose(file);
    return resident * (uint64_t)sysconf(_SC_PAGESIZE);
}

static void write_self(struct om *om, const struct daemon *daemon)
{
    const struct dgo_sample *sample = daemon->sample;
    struct rusage usage;

    om_family(om, "dualgpuopt_self_vram_bytes", OM_GAUGE, "bytes",
              "Memory that this program holds on any card; 0 is its promise.");
    om_sample_u64(om, NULL, self_vram_bytes(&sample->machine));
    if (getrusage(RUSAGE_SELF, &usage) == 0) {
        om_family(om, "dualgpuopt_process_cpu_seconds", OM_COUNTER, "seconds",
                  "CPU time of the daemon.");
        om_sample(om, NULL,
                  (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
                      (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6);
    }
    om_family(om, "dualgpuopt_process_resident_memory_bytes", OM_GAUGE, "bytes",
              "Memory of the daemon.");
    om_sample_u64(om, NULL, resident_bytes());
    om_family(om, "dualgpuopt_event_clients", OM_GAUGE, NULL, "Clients that read events.");
    om_sample_u64(om, NULL, events_client_count(daemon->events));
    om_family(om, "dualgpuopt_collector_stale", OM_GAUGE, NULL,
              "1 when the driver does not answer in time.");
    om_sample_u64(om, NULL, sample->stale);
    if (sample->sequence == 0)
        return;
    om_family(om, "dualgpuopt_collector_duration_seconds", OM_GAUGE, "seconds",
              "How long the driver took for the last look.");
    om_sample(om, NULL, (double)sample->took_ns / 1e9);
    om_family(om, "dualgpuopt_collector_last_success_timestamp_seconds", OM_GAUGE, "seconds",
              "When the last look succeeded.");
    om_sample(om, NULL, (double)sample->wall_ns / 1e9);
}

static bool wants_strict(const struct http_request *request)
{
    const char *accept = http_header(request, "Accept");

    return accept && strstr(accept, "application/openmetrics-text") != NULL;
}

/* One answer in the making: engines are asked, all at once. */
struct gathering {
    struct daemon *daemon;
    struct http_request *request; /* NULL: the client is gone */
    struct pass *pass;
    uint32_t waiting;
    bool strict;
};

struct asked {
    struct gathering *gathering;
    uint64_t launch;
};

static void answer(struct gathering *gathering)
{
    struct daemon *daemon = gathering->daemon;
    struct http_request *request = gathering->request;
    const struct dgo_machine *machine = &daemon->sample->machine;
    struct dgo_error err = {0};
    size_t length = 0;
    struct om om;
    char *text;

    if (request)
        http_on_gone(request, NULL, NULL);
    if (!request) {
        ;
    } else if (om_open(&om, gathering->strict, &err) != DGO_OK) {
        http_answer_error(request, &err, NULL);
    } else {
        write_identity(&om, machine);
        write_readings(&om, machine, readings, sizeof readings / sizeof readings[0], false);
        write_consumers(&om, machine);
        write_ledger(&om, machine);
        write_launches(&om, daemon->fleet);
        write_self(&om, daemon);
        metrics_write_work(&om, &daemon->app);
        pass_write(gathering->pass, &om);
        text = om_close(&om, &length);
        http_answer_text(request, text ? 200 : 500, om_content_type(gathering->strict),
                         text ? text : "", length);
        free(text);
    }
    pass_free(gathering->pass);
    free(gathering);
}

static void on_got(const char *text, size_t length, void *data)
{
    struct asked *asked = data;
    struct gathering *gathering = asked->gathering;
    struct launch *launch = fleet_find(gathering->daemon->fleet, asked->launch);
    char id[24];

    if (text && launch) {
        const struct om_label labels[] = {
            {"launch", id}, {"model", launch_name(launch)}, {NULL, NULL}};

        snprintf(id, sizeof id, "%" PRIu64, asked->launch);
        pass_add(gathering->pass, text, length, labels);
    }
    free(asked);
    if (--gathering->waiting == 0)
        answer(gathering);
}

static void on_gone(struct http_request *request, void *data)
{
    (void)request;
    ((struct gathering *)data)->request = NULL;
}

static void ask(struct gathering *gathering, struct launch *launch)
{
    struct asked *asked = calloc(1, sizeof *asked);

    if (!asked)
        return;
    *asked = (struct asked){gathering, launch_id(launch)};
    if (relay_get(front_relay(gathering->daemon->front), launch_host(launch), launch_port(launch),
                  "/metrics", ENGINE_WAIT_NS, on_got, asked, NULL) == DGO_OK)
        gathering->waiting++;
    else
        free(asked);
}

static void serve_dcgm(struct http_request *request, const struct dgo_machine *machine)
{
    const bool strict = wants_strict(request);
    struct dgo_error err = {0};
    size_t length = 0;
    struct om om;
    char *text;

    if (om_open(&om, strict, &err) != DGO_OK) {
        http_answer_error(request, &err, NULL);
        return;
    }
    write_readings(&om, machine, dcgm_readings, sizeof dcgm_readings / sizeof dcgm_readings[0],
                   true);
    text = om_close(&om, &length);
    http_answer_text(request, text ? 200 : 500, om_content_type(strict), text ? text : "", length);
    free(text);
}

void metrics_serve(struct http_request *request, void *data)
{
    struct daemon *daemon = data;
    const char *format = http_query(request, "format");
    struct gathering *gathering;

    watch_latest(daemon->watch, daemon->sample);
    if (format && strcmp(format, "dcgm") == 0) {
        serve_dcgm(request, &daemon->sample->machine);
        return;
    }
    gathering = calloc(1, sizeof *gathering);
    if (gathering)
        gathering->pass = pass_new();
    if (!gathering || !gathering->pass) {
        free(gathering);
        http_answer_error(request, &(struct dgo_error){DGO_ENOMEM, "out of memory"}, NULL);
        return;
    }
    gathering->daemon = daemon;
    gathering->request = request;
    gathering->strict = wants_strict(request);
    gathering->waiting = 1; /* ours, so that no answer comes before all are asked */
    for (struct launch *launch = fleet_next(daemon->fleet, NULL); launch;
         launch = fleet_next(daemon->fleet, launch))
        if (launch_is_ready(launch))
            ask(gathering, launch);
    if (--gathering->waiting == 0) {
        answer(gathering);
        return;
    }
    http_wait(request);
    http_on_gone(request, on_gone, gathering);
}
