/* system.c - what the kernel tells about the host, its PCI cards and processes, from /proc and
 * /sys. */
#include "driver.h"

#include "dgo_text.h"
#include "dgo_units.h"

#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { CPU_MAX = 4096 };

bool gpu_read_bytes(const char *root, const char *path, char *bytes, size_t size, size_t *length)
{
    char full[PATH_MAX];
    ssize_t got = 0;
    int fd;

    *length = 0;
    if ((size_t)snprintf(full, sizeof full, "%s%s", root, path) >= sizeof full)
        return false;
    fd = open(full, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return false;
    while (*length < size && (got = read(fd, bytes + *length, size - *length)) > 0)
        *length += (size_t)got;
    close(fd);
    return got >= 0;
}

bool gpu_read_text(const char *root, const char *path, char *text, size_t size)
{
    size_t length = 0;
    const bool read = gpu_read_bytes(root, path, text, size - 1, &length);

    if (length && text[length - 1] == '\n')
        length--;
    text[length] = '\0';
    return read;
}

/* "MemTotal:       65536 kB" */
static bool meminfo_bytes(const char *text, const char *key, uint64_t *bytes)
{
    const char *at = strstr(text, key);
    char *end = NULL;

    if (!at)
        return false;
    at += strlen(key);

    const uint64_t kib = strtoull(at, &end, 10);

    if (end == at || kib > UINT64_MAX / DGO_KIB)
        return false;
    *bytes = kib * DGO_KIB;
    return true;
}

/* A core shows up once for each of its threads; it is counted where it is listed first. */
static bool first_of_core(const char *root, uint32_t cpu, bool *present)
{
    char path[96], siblings[64];

    snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu%" PRIu32 "/topology/core_cpus_list",
             cpu);
    *present = gpu_read_text(root, path, siblings, sizeof siblings);
    if (!*present) {
        snprintf(path, sizeof path,
                 "/sys/devices/system/cpu/cpu%" PRIu32 "/topology/thread_siblings_list", cpu);
        *present = gpu_read_text(root, path, siblings, sizeof siblings);
    }
    return *present && strtoul(siblings, NULL, 10) == cpu;
}

/* Cores, not hardware threads: an engine's matrix threads gain nothing from sharing a core.  Never
 * more than the processors this process may use, which is what a container was given. */
uint32_t gpu_host_cores(const char *root)
{
    const long online = sysconf(_SC_NPROCESSORS_ONLN);
    uint32_t usable = online > 0 ? (uint32_t)online : 0;
    uint32_t cores = 0;
    cpu_set_t allowed;

    if (sched_getaffinity(0, sizeof allowed, &allowed) == 0 && CPU_COUNT(&allowed) > 0)
        usable = (uint32_t)CPU_COUNT(&allowed);
    for (uint32_t cpu = 0, missing = 0; cpu < CPU_MAX && missing < 64; cpu++) {
        bool present = false;

        cores += first_of_core(root, cpu, &present);
        missing = present ? 0 : missing + 1;
    }
    if (root[0] != '\0') /* a made-up machine is not bound by this one */
        return cores;
    return cores && cores < usable ? cores : usable;
}

void gpu_host_memory(const char *root, struct dgo_host *host)
{
    char text[4096];

    host->memory_known = false;
    host->total_bytes = host->free_bytes = 0;
    if (!gpu_read_text(root, "/proc/meminfo", text, sizeof text))
        return;
    host->memory_known = meminfo_bytes(text, "MemTotal:", &host->total_bytes) &&
                         meminfo_bytes(text, "MemAvailable:", &host->free_bytes) &&
                         host->free_bytes <= host->total_bytes;
    if (!host->memory_known)
        host->total_bytes = host->free_bytes = 0;
}

void gpu_process_name(const char *root, uint32_t pid, char *name, size_t size)
{
    char path[48], comm[64];

    name[0] = '\0';
    snprintf(path, sizeof path, "/proc/%" PRIu32 "/comm", pid);
    if (gpu_read_text(root, path, comm, sizeof comm))
        dgo_text_copy_escaped(name, size, comm, strlen(comm));
}

bool gpu_pci_normalise(const char *text, char pci_id[GPU_PCI_ID_MAX])
{
    unsigned domain = 0, bus = 0, device = 0, function = 0;
    int used = 0;

    pci_id[0] = '\0';
    if (strspn(text, "0123456789abcdefABCDEF:.") != strlen(text))
        return false; /* sscanf would take signs and blanks */
    if (sscanf(text, "%8x:%2x:%2x.%1x%n", &domain, &bus, &device, &function, &used) != 4 ||
        text[used] != '\0') {
        domain = 0;
        if (sscanf(text, "%2x:%2x.%1x%n", &bus, &device, &function, &used) != 3 ||
            text[used] != '\0')
            return false;
    }
    if (device > 31 || function > 7)
        return false;
    snprintf(pci_id, GPU_PCI_ID_MAX, "%04x:%02x:%02x.%x", domain, bus, device, function);
    return true;
}

static bool is_display_of(const char *root, const char *id, const char *vendor)
{
    char path[96], text[16];

    snprintf(path, sizeof path, "/sys/bus/pci/devices/%.20s/vendor", id);
    if (!gpu_read_text(root, path, text, sizeof text) || strcmp(text, vendor) != 0)
        return false;
    snprintf(path, sizeof path, "/sys/bus/pci/devices/%.20s/class", id);
    return gpu_read_text(root, path, text, sizeof text) && strncmp(text, "0x03", 4) == 0;
}

static int compare_ids(const void *a, const void *b)
{
    return strcmp(a, b);
}

uint32_t gpu_pci_list(const char *root, const char *vendor, char (*ids)[GPU_PCI_ID_MAX],
                      uint32_t most)
{
    char path[PATH_MAX];
    uint32_t count = 0;
    const struct dirent *entry;
    DIR *dir;

    if ((size_t)snprintf(path, sizeof path, "%s/sys/bus/pci/devices", root) >= sizeof path)
        return 0;
    dir = opendir(path);
    if (!dir)
        return 0;
    while (count < most && (entry = readdir(dir)))
        if (gpu_pci_normalise(entry->d_name, ids[count]) &&
            is_display_of(root, entry->d_name, vendor))
            count++;
    closedir(dir);
    qsort(ids, count, sizeof ids[0], compare_ids);
    return count;
}

bool gpu_pci_asleep(const char *root, const char *pci_id)
{
    char path[96], status[16];

    if (pci_id[0] == '\0')
        return false;
    snprintf(path, sizeof path, "/sys/bus/pci/devices/%.20s/power/runtime_status", pci_id);
    return gpu_read_text(root, path, status, sizeof status) && strcmp(status, "suspended") == 0;
}
