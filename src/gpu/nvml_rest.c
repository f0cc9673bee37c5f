/* nvml_rest.c - leaving a laptop's idle cards alone, so that they can sleep.
 *
 * A driver that is open keeps its cards awake, for 5 to 7 watts each.  So when the kernel may put
 * all of them to sleep and nobody has used them for some looks, the driver is closed, and the
 * kernel is asked instead whether they sleep.  A card that somebody else keeps awake is looked at
 * again after a while, and not left alone again for a long one. */
#include "nvml.h"

#include "dgo_text.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* At a look a second: seconds. */
enum { IDLE_LOOKS = 10, REST_LOOKS = 30, AWAKE_LOOKS = 600 };

static bool may_sleep(const char *root, const char *pci_id)
{
    char path[96], control[16];

    if (pci_id[0] == '\0')
        return false;
    snprintf(path, sizeof path, "/sys/bus/pci/devices/%.20s/power/control", pci_id);
    return gpu_read_text(root, path, control, sizeof control) && strcmp(control, "auto") == 0;
}

static bool is_idle(const struct dgo_gpu *gpu)
{
    return dgo_gpu_knows(gpu, DGO_GPU_BUSY_PERMILLE) && gpu->busy_permille == 0 &&
           gpu->processes_known && gpu->process_count == 0;
}

bool nvml_rest_due(struct nvml_rest *rest, const char *root, const struct dgo_machine *machine)
{
    if (rest->awake_looks > 0) {
        rest->awake_looks--;
        return false;
    }
    for (uint32_t i = 0; i < machine->gpu_count; i++) {
        const struct dgo_gpu *gpu = &machine->gpu[i];

        if (!may_sleep(root, gpu->pci_id) ||
            (!gpu_pci_asleep(root, gpu->pci_id) && !is_idle(gpu))) {
            rest->idle_looks = 0;
            return false;
        }
    }
    if (++rest->idle_looks < IDLE_LOOKS)
        return false;
    rest->before = malloc(sizeof *rest->before);
    if (!rest->before)
        return false;
    memcpy(rest->before, machine, sizeof *machine);
    rest->idle_looks = rest->rest_looks = 0;
    rest->slept = false;
    return true;
}

/* Only what the kernel tells without waking anybody. */
static void show(const struct nvml_rest *rest, const char *root, struct dgo_machine *machine)
{
    machine->gpu_count = rest->before->gpu_count;
    memcpy(machine->driver, rest->before->driver, sizeof machine->driver);
    memcpy(machine->link, rest->before->link, sizeof machine->link);
    machine->host = rest->before->host;
    gpu_host_memory(root, &machine->host);
    for (uint32_t i = 0; i < machine->gpu_count; i++) {
        const struct dgo_gpu *before = &rest->before->gpu[i];
        struct dgo_gpu *gpu = &machine->gpu[i];

        gpu->vendor = before->vendor;
        memcpy(gpu->name, before->name, sizeof gpu->name);
        memcpy(gpu->uuid, before->uuid, sizeof gpu->uuid);
        memcpy(gpu->pci_id, before->pci_id, sizeof gpu->pci_id);
        dgo_text_copy(gpu->problem, sizeof gpu->problem,
                      gpu_pci_asleep(root, gpu->pci_id)
                          ? gpu_asleep_sentence
                          : "idle, and left alone so that it can sleep");
    }
}

bool nvml_rest_goes_on(struct nvml_rest *rest, const char *root, struct dgo_machine *machine)
{
    uint32_t asleep = 0;

    if (!rest->before)
        return false;
    for (uint32_t i = 0; i < rest->before->gpu_count; i++)
        asleep += gpu_pci_asleep(root, rest->before->gpu[i].pci_id);
    if (asleep == rest->before->gpu_count)
        rest->slept = true;
    else if (rest->slept || ++rest->rest_looks > REST_LOOKS) {
        /* Woken by somebody, or kept awake by somebody all the time. */
        rest->awake_looks = rest->slept ? 0 : AWAKE_LOOKS;
        nvml_rest_end(rest);
        return false;
    }
    show(rest, root, machine);
    return true;
}

void nvml_rest_end(struct nvml_rest *rest)
{
    free(rest->before);
    rest->before = NULL;
}
