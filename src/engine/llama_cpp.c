/* llama_cpp.c - the llama.cpp engine: its row in the list, and how it names graphics cards. */
#include "llama_cpp.h"

#include <stdio.h>

const struct dgo_engine dgo_llama_cpp = {
    .name = "llama.cpp",
    .what = "whole layers on each card, in any shares; GGUF; host memory too",
    .binary = "llama-server",
    .several_machines = true,
    .own_draft = true,
    .health_path = "/health",
    .formats = 1u << DGO_FORMAT_GGUF,
    .command = llama_cpp_command,
    .name_devices = llama_cpp_name_devices,
    .read_line = llama_cpp_read_line,
    .read_probe = llama_cpp_read_probe,
    .read_devices = llama_cpp_read_devices,
    .read_flags = llama_cpp_read_flags,
};

/* HIP takes UUIDs in one variable (ROCR_VISIBLE_DEVICES) and indexes in the other; only the second
 * can be set alone without changing what the first counts.  Vulkan takes indexes only. */
static const struct llama_cpp_vendor vendors[] = {
    {DGO_VENDOR_NVIDIA, "CUDA", "CUDA_VISIBLE_DEVICES", true},
    {DGO_VENDOR_AMD, "ROCm", "HIP_VISIBLE_DEVICES", false},
    {DGO_VENDOR_INTEL, "Vulkan", "GGML_VK_VISIBLE_DEVICES", false},
};

const struct llama_cpp_vendor *llama_cpp_vendor(enum dgo_gpu_vendor vendor)
{
    for (size_t i = 1; i < sizeof vendors / sizeof vendors[0]; i++)
        if (vendors[i].vendor == vendor)
            return &vendors[i];
    return &vendors[0]; /* a card of an unknown vendor comes from a machine file that names none */
}

/* Remote devices are numbered over all servers in the order of --rpc, and on each server in that of
 * its cards: a server shows all of its machine's, whichever of them a plan uses, so that one that
 * was started without a list is as good as one started by `export rpc`. */
static uint32_t remote_number(const struct dgo_machine *machine, const uint32_t *gpus,
                              uint32_t gpu_count, uint32_t position)
{
    const uint32_t node = machine->gpu_node[gpus[position]];
    bool served[DGO_NODE_MAX] = {false};
    uint32_t number = 0;

    for (uint32_t i = 0; i < gpu_count; i++)
        served[machine->gpu_node[gpus[i]]] = true;
    for (uint32_t g = 0; g < machine->gpu_count; g++) {
        const uint32_t other = machine->gpu_node[g];

        number +=
            other > 0 && served[other] && (other < node || (other == node && g < gpus[position]));
    }
    return number;
}

void llama_cpp_device_name(const struct dgo_machine *machine, const uint32_t *gpus,
                           uint32_t gpu_count, uint32_t position, char name[LLAMA_DEVICE_NAME_MAX])
{
    const struct llama_cpp_vendor *vendor = llama_cpp_vendor(machine->gpu[gpus[position]].vendor);
    const uint32_t node = machine->gpu_node[gpus[position]];
    uint32_t number = 0;

    if (node > 0) {
        snprintf(name, LLAMA_DEVICE_NAME_MAX, "RPC%u",
                 (unsigned)remote_number(machine, gpus, gpu_count, position));
        return;
    }
    for (uint32_t i = 0; i < position; i++)
        number += machine->gpu_node[gpus[i]] == 0 &&
                  llama_cpp_vendor(machine->gpu[gpus[i]].vendor) == vendor;
    snprintf(name, LLAMA_DEVICE_NAME_MAX, "%s%u", vendor->device, (unsigned)number);
}

void llama_cpp_device_list(const struct dgo_machine *machine, const struct dgo_settings *settings,
                           const char *separator, char list[LLAMA_LIST_MAX])
{
    struct dgo_text text = {.data = list, .size = LLAMA_LIST_MAX};

    list[0] = '\0';
    for (uint32_t d = 0; d < settings->device_count; d++) {
        char name[LLAMA_DEVICE_NAME_MAX];

        llama_cpp_device_name(machine, settings->device_gpu, settings->device_count, d, name);
        dgo_text_addf(&text, "%s%s", d ? separator : "", name);
    }
}

void llama_cpp_share_list(const struct dgo_settings *settings, const char *separator,
                          char list[LLAMA_LIST_MAX])
{
    struct dgo_text text = {.data = list, .size = LLAMA_LIST_MAX};

    list[0] = '\0';
    for (uint32_t d = 0; d < settings->device_count; d++)
        dgo_text_addf(&text, "%s%.9g", d ? separator : "", (double)settings->tensor_split[d]);
}

void llama_cpp_name_devices(const struct dgo_machine *machine, const struct dgo_settings *settings,
                            struct dgo_estimate *estimate)
{
    for (uint32_t d = 0; d < estimate->device_count && d < settings->device_count; d++)
        llama_cpp_device_name(machine, settings->device_gpu, settings->device_count, d,
                              estimate->device[d].name);
}
