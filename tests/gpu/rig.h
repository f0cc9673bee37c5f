/* rig.h - a folder with a scenario, a pretended /proc and /sys, and a look through the fake driver.
 */
#ifndef RIG_H
#define RIG_H

#include "check.h"
#include "dgo_gpu.h"

#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <sys/stat.h>
#include <unistd.h>

static char rig_root[64];      /* the folder */
static struct dgo_machine rig; /* of the last look */

/* Makes the folders of `path` below the root. */
static inline void rig_folders(const char *path)
{
    char full[PATH_MAX];
    const size_t start = strlen(rig_root) + 1;

    snprintf(full, sizeof full, "%s%s", rig_root, path);
    for (char *at = full + start; (at = strchr(at, '/')); at++) {
        *at = '\0';
        assert_true(mkdir(full, 0700) == 0 || errno == EEXIST);
        *at = '/';
    }
}

/* Writes a file below the root, in one step for whoever reads it. */
static inline void rig_write(const char *path, const char *fmt, ...)
{
    char full[PATH_MAX], next[PATH_MAX];
    va_list args;
    FILE *file;

    rig_folders(path);
    snprintf(full, sizeof full, "%s%s", rig_root, path);
    snprintf(next, sizeof next, "%s.next", rig_root);
    file = fopen(next, "w");
    assert_non_null(file);
    va_start(args, fmt);
    vfprintf(file, fmt, args);
    va_end(args);
    assert_int_equal(fclose(file), 0);
    assert_int_equal(rename(next, full), 0);
}

static inline void rig_scenario(const char *text)
{
    rig_write("/scenario.txt", "%s", text);
}

static inline void rig_pci_card(const char *id, const char *status)
{
    char path[128];

    snprintf(path, sizeof path, "/sys/bus/pci/devices/%s/vendor", id);
    rig_write(path, "0x10de\n");
    snprintf(path, sizeof path, "/sys/bus/pci/devices/%s/class", id);
    rig_write(path, "0x030000\n");
    snprintf(path, sizeof path, "/sys/bus/pci/devices/%s/power/runtime_status", id);
    rig_write(path, "%s\n", status);
}

/* A fresh folder with a host of 64 GiB and 4 cores of two threads. */
static inline int rig_setup(void **state)
{
    char path[160];

    (void)state;
    snprintf(rig_root, sizeof rig_root, "/tmp/dgo-gpu-XXXXXX");
    if (!mkdtemp(rig_root))
        return -1;
    rig_write("/proc/meminfo", "MemTotal:       67108864 kB\nMemFree:         1000000 kB\n"
                               "MemAvailable:   62914560 kB\nBuffers:            1000 kB\n");
    for (int cpu = 0; cpu < 8; cpu++) {
        snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu%d/topology/core_cpus_list", cpu);
        rig_write(path, "%d,%d\n", cpu % 4, cpu % 4 + 4);
    }
    snprintf(path, sizeof path, "%s/scenario.txt", rig_root);
    setenv("DUALGPUOPT_FAKE_NVML", path, 1);
    unsetenv("PRETEND_GPU_USAGE");
    unsetenv("DUALGPUOPT_NVML");
    memset(&rig, 0, sizeof rig);
    return 0;
}

static inline int rig_teardown(void **state)
{
    char command[192];

    (void)state;
    snprintf(command, sizeof command, "rm -rf '%s' '%s.next'", rig_root, rig_root);
    return system(command) == 0 ? 0 : -1;
}

static inline struct dgo_gpu_options rig_options(void)
{
    return (struct dgo_gpu_options){.nvml_library = FAKE_NVML, .system_root = rig_root};
}

/* Opens, looks once into `rig` and closes. */
static inline enum dgo_status rig_look(const char *scenario, struct dgo_error *err)
{
    const struct dgo_gpu_options options = rig_options();
    struct dgo_gpu_source *source = NULL;
    enum dgo_status status;

    rig_scenario(scenario);
    status = dgo_gpu_open(&options, &source, err);
    if (status == DGO_OK)
        status = dgo_gpu_take(source, &rig, err);
    dgo_gpu_close(source);
    return status;
}

#endif
