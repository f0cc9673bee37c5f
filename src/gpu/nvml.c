/* nvml.c - NVIDIA's management library: loading it, losing it, and one look through it.
 *
 * The library is opened at run time and every function but five is optional: a missing export that
 * is called through a lazy binding ends the process.  It never makes a compute context, so looking
 * costs no memory of any card. */
#include "nvml.h"

#include "dgo_clock.h"
#include "dgo_log.h"
#include "dgo_text.h"
#include "dgo_units.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct nvml {
    char library_given[256]; /* tried instead of the usual names; "" none */
    char root[256];
    bool wake;
    void *library; /* NULL: down */
    struct nvml_api api;
    char driver[96];
    uint32_t core_count; /* of the host */
    bool reload;         /* no card answered at the last look */
    uint32_t count;
    struct nvml_card card[DGO_GPU_MAX];
    uint32_t linked_mask; /* cards whose links are in `links` */
    struct dgo_link links[DGO_GPU_MAX][DGO_GPU_MAX];
    struct nvml_watch watch;
    struct nvml_rest rest;
};

/* ---- what codes mean ---------------------------------------------------------------------- */

static const struct {
    int code;
    const char *sentence;
} explanations[] = {
    {NVML_NOT_SUPPORTED, "the card does not support it"},
    {NVML_NO_PERMISSION, "permission denied; in a container, pass the GPU through"},
    {NVML_INSUFFICIENT_POWER, "its power cables are not attached; check them"},
    {NVML_DRIVER_NOT_LOADED, "the NVIDIA driver is installed but its kernel module is not loaded; "
                             "try 'sudo modprobe nvidia', or reboot after an installation"},
    {NVML_TIMEOUT, "the driver did not answer in time"},
    {NVML_IRQ_ISSUE, "the kernel has an interrupt problem with it; see 'dmesg'"},
    {NVML_LIBRARY_NOT_FOUND, "the driver library misses one of its parts; reinstall the driver"},
    {NVML_GPU_IS_LOST, "lost: it fell off the bus or is no longer accessible; see 'dmesg' for Xid "
                       "messages and reboot"},
    {NVML_RESET_REQUIRED, "it must be reset: stop what uses it, then 'nvidia-smi --gpu-reset'"},
    {NVML_OPERATING_SYSTEM, "blocked by the system; check access to /dev/nvidia*, and in a "
                            "container pass the GPU through"},
    {NVML_LIB_RM_VERSION_MISMATCH,
     "the NVIDIA driver library and the loaded kernel module are of different versions, as after a "
     "driver upgrade; reboot, or reload the nvidia module"},
};

const char *nvml_explain(const struct nvml_api *api, int code)
{
    const char *text;

    for (size_t i = 0; i < sizeof explanations / sizeof explanations[0]; i++)
        if (explanations[i].code == code)
            return explanations[i].sentence;
    text = api->nvmlErrorString(code);
    return text ? text : "unknown error";
}

bool nvml_ok(struct nvml_look *look, int code)
{
    switch (code) {
    case NVML_SUCCESS:
        return true;
    case NVML_UNINITIALIZED:
    case NVML_DRIVER_NOT_LOADED:
    case NVML_LIB_RM_VERSION_MISMATCH:
        look->gone = code;
        return false;
    case NVML_GPU_IS_LOST:
    case NVML_RESET_REQUIRED:
        look->lost = code;
        return false;
    default:
        return false;
    }
}

enum { REFUSED_MAX = 3 };

bool nvml_wanted(const struct nvml_look *look, size_t call_at)
{
    void (*call)(void);

    memcpy(&call, (const char *)look->api + call_at, sizeof call);
    if (!call || look->gone || look->lost)
        return false;
    return !look->card || look->card->refused[call_at / sizeof call] < REFUSED_MAX;
}

bool nvml_answered(struct nvml_look *look, size_t call_at, const char *name, int code)
{
    const size_t row = call_at / sizeof(void (*)(void));
    struct nvml_card *card = look->card;

    if (card && code == NVML_NOT_SUPPORTED)
        card->refused[row]++;
    else if (card)
        card->refused[row] = 0;
    if (card && (code == NVML_NO_PERMISSION || code == NVML_OPERATING_SYSTEM) && !card->told[row]) {
        card->told[row] = true;
        dgo_log(DGO_LOG_INFO, "%s, %s: %s", card->fixed.name, name, nvml_explain(look->api, code));
    }
    return nvml_ok(look, code);
}

/* ---- loading ------------------------------------------------------------------------------ */

/* libnvidia-ml.so is last but for the odd places: it is the name of the toolkit's stub. */
static const char *const usual_names[] = {
    "libnvidia-ml.so.1",
    "libnvidia-ml.so",
    "/usr/lib/wsl/lib/libnvidia-ml.so.1",
    "/run/opengl-driver/lib/libnvidia-ml.so.1",
};

/* "NAME: cannot open shared object file: No such file or directory": NAME itself is not there.
 * Anything else means that it is there and cannot be used. */
static bool is_absent(const char *name, const char *reason)
{
    return strncmp(reason, name, strlen(name)) == 0 && strstr(reason, "No such file");
}

static enum dgo_status fail_absent(const struct nvml *nvml, struct dgo_error *err)
{
    char ids[GPU_PCI_LIST_MAX][GPU_PCI_ID_MAX];
    const uint32_t count = gpu_pci_list(nvml->root, "0x10de", ids, GPU_PCI_LIST_MAX);

    if (nvml->library_given[0] != '\0')
        return dgo_fail(err, DGO_ENOGPU, "%s, given as NVIDIA's library, does not exist",
                        nvml->library_given);
    if (count > 0)
        return dgo_fail(err, DGO_ENOGPU,
                        "libnvidia-ml.so.1 is not installed although an NVIDIA card is at PCI %s; "
                        "install the NVIDIA driver",
                        ids[0]);
    return dgo_fail(err, DGO_ENOGPU,
                    "libnvidia-ml.so.1 is not installed (it comes with the NVIDIA driver)");
}

static enum dgo_status open_library(struct nvml *nvml, struct dgo_error *err)
{
    const char *const given[] = {nvml->library_given};
    const bool is_given = nvml->library_given[0] != '\0';
    const char *const *names = is_given ? given : usual_names;
    const size_t count = is_given ? 1 : sizeof usual_names / sizeof usual_names[0];
    char problem[320] = "";

    for (size_t i = 0; i < count; i++) {
        nvml->library = dlopen(names[i], RTLD_LAZY | RTLD_LOCAL);
        if (nvml->library)
            return DGO_OK;

        const char *reason = dlerror();

        if (reason && !is_absent(names[i], reason) && problem[0] == '\0')
            dgo_text_copy_escaped(problem, sizeof problem, reason, strlen(reason));
    }
    if (problem[0] != '\0')
        return dgo_fail(err, DGO_EDRIVER,
                        "NVIDIA's library cannot be loaded: %s; reinstall the NVIDIA driver",
                        problem);
    return fail_absent(nvml, err);
}

static enum dgo_status find_symbols(struct nvml *nvml, struct dgo_error *err)
{
    static const struct {
        const char *name;
        size_t at;
        bool required;
    } symbols[] = {
#define REQUIRED(type, name, arguments) {#name, offsetof(struct nvml_api, name), true},
#define OPTIONAL(name, arguments)       {#name, offsetof(struct nvml_api, name), false},
#include "nvml_symbols.def"
    };

    for (size_t i = 0; i < sizeof symbols / sizeof symbols[0]; i++) {
        void *symbol = dlsym(nvml->library, symbols[i].name);

        if (!symbol && symbols[i].required)
            return dgo_fail(err, DGO_EDRIVER,
                            "the NVIDIA driver is too old: its library lacks %s; update the driver",
                            symbols[i].name);
        /* POSIX lets a function live in an object pointer; C only lets it be copied there. */
        memcpy((char *)&nvml->api + symbols[i].at, &symbol, sizeof symbol);
    }
    return DGO_OK;
}

static void forget_cards(struct nvml *nvml)
{
    memset(nvml->card, 0, sizeof nvml->card);
    nvml->count = 0;
    nvml->linked_mask = 0;
    nvml->reload = false;
}

static void take_down(struct nvml *nvml, bool initialised)
{
    if (!nvml->library)
        return;
    nvml_watch_end(&nvml->watch, &nvml->api);
    if (initialised)
        (void)nvml->api.nvmlShutdown(); /* of a driver that is gone it may fail, which is fine */
    dlclose(nvml->library);
    nvml->library = NULL;
    memset(&nvml->api, 0, sizeof nvml->api); /* addresses of the next load differ */
    forget_cards(nvml);
}

static enum dgo_status start(struct nvml *nvml, bool *initialised, struct dgo_error *err)
{
    struct nvml_api *api = &nvml->api;
    enum dgo_status status = find_symbols(nvml, err);
    char version[NVML_VERSION_MAX] = "";
    unsigned count = 0;
    int code;

    if (status != DGO_OK)
        return status;
    code = api->nvmlInit_v2();
    if (code != NVML_SUCCESS)
        return dgo_fail(err, DGO_EDRIVER, "NVIDIA's library does not start (code %d): %s", code,
                        nvml_explain(api, code));
    *initialised = true;
    code = api->nvmlDeviceGetCount_v2(&count);
    if (code != NVML_SUCCESS)
        return dgo_fail(err, DGO_EDRIVER, "NVIDIA's library does not count its cards (code %d): %s",
                        code, nvml_explain(api, code));
    if (count == 0)
        return dgo_fail(err, DGO_ENOGPU, "the NVIDIA driver runs but reports no card");
    nvml->count = count < DGO_GPU_MAX ? count : DGO_GPU_MAX;
    nvml->driver[0] = '\0';
    if (api->nvmlSystemGetDriverVersion &&
        api->nvmlSystemGetDriverVersion(version, sizeof version) == NVML_SUCCESS)
        dgo_text_copy_escaped(nvml->driver, sizeof nvml->driver, version,
                              strnlen(version, sizeof version));
    return DGO_OK;
}

static enum dgo_status bring_up(struct nvml *nvml, struct dgo_error *err)
{
    bool initialised = false;
    enum dgo_status status;

    forget_cards(nvml);
    status = open_library(nvml, err);
    if (status != DGO_OK)
        return status;
    status = start(nvml, &initialised, err);
    if (status != DGO_OK)
        take_down(nvml, initialised);
    return status;
}

static void nvml_close(void *state)
{
    struct nvml *nvml = state;

    if (!nvml)
        return;
    take_down(nvml, true);
    nvml_rest_end(&nvml->rest);
    free(nvml);
}

static enum dgo_status nvml_open(const struct dgo_gpu_options *options, void **state,
                                 struct dgo_error *err)
{
    const char *library = options->nvml_library;
    struct nvml *nvml = calloc(1, sizeof *nvml);
    enum dgo_status status;

    if (!nvml)
        return dgo_fail(err, DGO_ENOMEM, "out of memory");
    if (!library)
        library = getenv("DUALGPUOPT_NVML");
    if (!library)
        library = "";
    nvml->wake = options->wake;
    if (!dgo_text_copy(nvml->library_given, sizeof nvml->library_given, library) ||
        !dgo_text_copy(nvml->root, sizeof nvml->root, options->system_root)) {
        free(nvml);
        return dgo_fail(err, DGO_EINVAL, "the path of NVIDIA's library is too long");
    }
    status = bring_up(nvml, err);
    if (status != DGO_OK) {
        nvml_close(nvml);
        return status;
    }
    nvml->core_count = gpu_host_cores(nvml->root);
    *state = nvml;
    return DGO_OK;
}

/* ---- one look ----------------------------------------------------------------------------- */

/* The kernel's list of cards, when it can be matched with the driver's: both are in bus order. */
struct pci_order {
    uint32_t count;
    char id[GPU_PCI_LIST_MAX][GPU_PCI_ID_MAX];
};

/* "Model: \t\t NVIDIA GeForce RTX 4060 Laptop GPU", which can be read without waking the card. */
static void sleeping_name(const char *root, const char *pci_id, struct dgo_gpu *gpu)
{
    char path[80], text[2048];
    const char *model;

    snprintf(path, sizeof path, "/proc/driver/nvidia/gpus/%s/information", pci_id);
    if (!gpu_read_text(root, path, text, sizeof text))
        return;
    model = strstr(text, "Model:");
    if (!model)
        return;
    model += strlen("Model:");
    model += strspn(model, " \t");
    dgo_text_copy_escaped(gpu->name, sizeof gpu->name, model, strcspn(model, "\n"));
}

/* A card in runtime suspend is left alone: any call would wake it, and a held handle keeps a
 * laptop's card awake for 5 to 7 watts. */
static bool left_asleep(const struct nvml *nvml, const struct pci_order *order, uint32_t index,
                        struct dgo_gpu *gpu)
{
    const struct nvml_card *card = &nvml->card[index];
    const char *pci_id = card->fixed.pci_id;

    if (!card->handle)
        pci_id = order->count == nvml->count ? order->id[index] : "";
    if (nvml->wake || !gpu_pci_asleep(nvml->root, pci_id))
        return false;
    *gpu = card->fixed;
    gpu->vendor = DGO_VENDOR_NVIDIA;
    dgo_text_copy(gpu->pci_id, sizeof gpu->pci_id, pci_id);
    if (gpu->name[0] == '\0')
        sleeping_name(nvml->root, pci_id, gpu);
    dgo_text_copy(gpu->problem, sizeof gpu->problem, gpu_asleep_sentence);
    return true;
}

static void tell_problem(const struct nvml *nvml, int code, struct dgo_gpu *gpu)
{
    struct dgo_text text = DGO_TEXT(gpu->problem);

    dgo_text_addf(&text, "%s (code %d)", nvml_explain(&nvml->api, code), code);
}

/* A handle and what does not change; false when the card does not give one. */
static bool meet_card(struct nvml *nvml, uint32_t index, struct nvml_look *look,
                      struct dgo_gpu *gpu)
{
    struct nvml_card *card = &nvml->card[index];
    const int code = nvml->api.nvmlDeviceGetHandleByIndex_v2(index, &look->device);

    card->fixed.vendor = DGO_VENDOR_NVIDIA;
    if (!nvml_ok(look, code)) {
        *gpu = card->fixed;
        tell_problem(nvml, code, gpu);
        return false;
    }
    nvml_read_fixed(look, card);
    card->handle = look->device;
    card->looked = false;
    for (int i = 0; i < NVML_COUNTER_COUNT; i++)
        card->counter[i].known = false; /* a reset card counts anew */
    nvml_watch_card(&nvml->watch, look, card);
    return true;
}

/* Readings of every look that any card has; one with a problem and none of them is silent. */
static const uint64_t lively_fields =
    UINT64_C(1) << DGO_GPU_USED_BYTES | UINT64_C(1) << DGO_GPU_BUSY_PERMILLE |
    UINT64_C(1) << DGO_GPU_TEMPERATURE_C | UINT64_C(1) << DGO_GPU_POWER_MW |
    UINT64_C(1) << DGO_GPU_CORE_CLOCK_MHZ | UINT64_C(1) << DGO_GPU_MEMORY_CLOCK_MHZ;

/* Returns the code of a driver that went away, else NVML_SUCCESS. */
static int look_at(struct nvml *nvml, uint32_t index, unsigned tiers, struct dgo_gpu *gpu,
                   bool *silent)
{
    struct nvml_card *card = &nvml->card[index];
    struct nvml_look look = {.api = &nvml->api,
                             .device = card->handle,
                             .card = card,
                             .tiers = tiers,
                             .now_us = dgo_clock_monotonic_ns(dgo_clock_system()) / DGO_NS_PER_US};

    *silent = true;
    if (!card->handle && !meet_card(nvml, index, &look, gpu))
        return look.gone;
    if (!card->looked) {
        look.tiers = DGO_TIERS_ALL;
        card->last = card->fixed;
    }
    *gpu = card->last;
    nvml_read_now(&look, card, nvml->root, gpu);
    if (look.lost) {
        /* Half of its readings may be from before; the name stays so that people know which. */
        struct dgo_gpu bare = card->fixed;

        *gpu = bare;
        tell_problem(nvml, look.lost, gpu);
        card->handle = NULL; /* after a reset the old handle is not good any more */
    }
    card->last = *gpu;
    card->looked = !look.lost;
    *silent = gpu->problem[0] != '\0' && !(gpu->known & lively_fields);
    return look.gone;
}

/* Topology does not change while handles live, and asking is slow. */
static void read_links(struct nvml *nvml, struct dgo_machine *machine)
{
    uint32_t mask = 0;

    for (uint32_t i = 0; i < nvml->count; i++)
        mask |= nvml->card[i].handle ? UINT32_C(1) << i : 0;
    if (mask != nvml->linked_mask) {
        nvml_read_links(&nvml->api, nvml->card, machine);
        memcpy(nvml->links, machine->link, sizeof nvml->links);
        nvml->linked_mask = mask;
    }
    memcpy(machine->link, nvml->links, sizeof machine->link);
}

static enum dgo_status nvml_take(void *state, unsigned tiers, struct dgo_machine *machine,
                                 struct dgo_error *err)
{

    struct nvml *nvml = state;
    struct pci_order order = {0};
    uint32_t silent_count = 0;

    if (nvml_rest_goes_on(&nvml->rest, nvml->root, machine))
        return DGO_OK;
    if (nvml->reload)
        take_down(nvml, true);
    if (!nvml->library && bring_up(nvml, err) != DGO_OK) {
        dgo_error_prefix(err, DGO_EDRIVER, "the NVIDIA driver went away");
        if (err)
            err->status = DGO_EDRIVER; /* it was there when the source was opened */
        return DGO_EDRIVER;
    }
    nvml_watch_look(&nvml->watch, &nvml->api, nvml->card, nvml->count);
    order.count = gpu_pci_list(nvml->root, "0x10de", order.id, GPU_PCI_LIST_MAX);
    machine->gpu_count = nvml->count;
    dgo_text_copy(machine->driver, sizeof machine->driver, nvml->driver);
    for (uint32_t i = 0; i < nvml->count; i++) {
        struct dgo_gpu *gpu = &machine->gpu[i];
        bool silent = false;
        int gone;

        if (left_asleep(nvml, &order, i, gpu))
            continue;
        gone = look_at(nvml, i, tiers, gpu, &silent);
        if (gone) {
            dgo_fail(err, DGO_EDRIVER, "the NVIDIA driver went away (code %d): %s", gone,
                     nvml_explain(&nvml->api, gone));
            take_down(nvml, true);
            return DGO_EDRIVER;
        }
        silent_count += silent;
    }
    read_links(nvml, machine);
    gpu_host_memory(nvml->root, &machine->host);
    machine->host.core_count = nvml->core_count;
    nvml->reload = silent_count == nvml->count;
    if (!nvml->wake && nvml_rest_due(&nvml->rest, nvml->root, machine))
        take_down(nvml, true);
    return DGO_OK;
}

const struct gpu_driver gpu_driver_nvml = {
    .name = "nvml", .open = nvml_open, .take = nvml_take, .close = nvml_close};
