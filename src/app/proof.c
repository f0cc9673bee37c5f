/* proof.c - three looks that together show whether we could hold VRAM. */
#include "proof.h"

#include "dgo_text.h"
#include "dgo_units.h"

#include <ctype.h>
#include <dirent.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Libraries by the beginning of their file name; the first row that fits counts. */
static const struct {
    const char *prefix;
    bool allowed;
    const char *why;
} libraries[] = {
    {"libnvidia-ml.", true, "NVML: reads the cards; it has no call that takes their memory"},
    {"libnvidia-", false, "part of NVIDIA's compute or graphics driver"},
    {"libcudart", false, "CUDA runtime"},
    {"libcudnn", false, "CUDA networks"},
    {"libcuda", false, "CUDA driver interface"},
    {"libcublas", false, "CUDA algebra"},
    {"libcufft", false, "CUDA transforms"},
    {"libcusparse", false, "CUDA algebra"},
    {"libcusolver", false, "CUDA algebra"},
    {"libcurand", false, "CUDA random numbers"},
    {"libnvrtc", false, "CUDA compiler"},
    {"libnvJitLink", false, "CUDA linker"},
    {"libnvcuvid", false, "NVIDIA video"},
    {"libnvoptix", false, "NVIDIA ray tracing"},
    {"libnccl", false, "NVIDIA collectives"},
    {"libamdhip64", false, "HIP runtime"},
    {"libhsa-runtime64", false, "ROCm runtime"},
    {"libhipblas", false, "ROCm algebra"},
    {"libroc", false, "ROCm"},
    {"libvulkan", false, "Vulkan"},
    {"libGL", false, "OpenGL"},
    {"libEGL", false, "EGL"},
    {"libgbm", false, "graphics buffers"},
    {"libOpenCL", false, "OpenCL"},
    {"libze_", false, "Level Zero"},
    {"libsycl", false, "SYCL"},
    {"libggml-cuda", false, "a CUDA backend of ggml"},
    {"libggml-hip", false, "a HIP backend of ggml"},
    {"libggml-vulkan", false, "a Vulkan backend of ggml"},
    {"libggml-sycl", false, "a SYCL backend of ggml"},
    {"libtorch_cuda", false, "PyTorch on CUDA"},
};

/* Device files.  '#' in a pattern is a number, '*' at its end anything.  `reading`: NVML opens it
 * to read a card, so it is explained as long as NVML is what is mapped and nothing worse is. */
static const struct {
    const char *pattern;
    bool reading;
    const char *why;
} devices[] = {
    {"/dev/nvidiactl", true, "opened by NVML to reach the driver"},
    {"/dev/nvidia#", true, "opened by NVML to read the card"},
    {"/dev/nvidia-caps/*", true, "opened by NVML to read a card's partitions"},
    {"/dev/dxg", true, "opened by NVML under WSL"},
    {"/dev/nvidia-uvm*", false, "NVIDIA's unified memory: every CUDA context opens it"},
    {"/dev/nvidia-modeset", false, "NVIDIA's display driver"},
    {"/dev/nvidia*", false, "an NVIDIA device that reading does not need"},
    {"/dev/kfd", false, "AMD's compute device: every ROCm process opens it"},
    {"/dev/dri/renderD*", false, "a render device: compute and graphics open it"},
    {"/dev/dri/*", false, "a graphics device"},
    {"/dev/accel/*", false, "an accelerator"},
};

static bool fits(const char *pattern, const char *path)
{
    for (; *pattern; pattern++) {
        if (*pattern == '*')
            return true;
        if (*pattern == '#') {
            if (!isdigit((unsigned char)*path))
                return false;
            while (isdigit((unsigned char)*path))
                path++;
        } else if (*pattern != *path++) {
            return false;
        }
    }
    return *path == '\0';
}

static void add_row(struct proof_rows *rows, const char *path, size_t length, bool allowed,
                    const char *why)
{
    char shown[PROOF_PATH_MAX];

    dgo_text_copy_escaped(shown, sizeof shown, path, length);
    for (uint32_t i = 0; i < rows->count; i++)
        if (strcmp(rows->row[i].path, shown) == 0)
            return;
    rows->bad += !allowed;
    if (rows->count == PROOF_ROW_MAX) {
        rows->more++;
        return;
    }
    rows->row[rows->count].allowed = allowed;
    rows->row[rows->count].why = why;
    memcpy(rows->row[rows->count++].path, shown, sizeof shown);
}

/* ---- mapped libraries ---- */

static void judge_library(struct proof_rows *rows, const char *path, size_t length)
{
    const char *name = path;

    for (size_t i = 0; i < length; i++)
        if (path[i] == '/')
            name = path + i + 1;
    for (size_t i = 0; i < sizeof libraries / sizeof libraries[0]; i++)
        if (strncmp(name, libraries[i].prefix, strlen(libraries[i].prefix)) == 0) {
            add_row(rows, path, length, libraries[i].allowed, libraries[i].why);
            return;
        }
}

/* "7f..-7f.. r-xp 00000000 08:01 123    /usr/lib/libcuda.so.1": the sixth word, spaces and all. */
static const char *mapped_path(const char *line)
{
    for (int word = 0; word < 5; word++) {
        line += strcspn(line, " ");
        line += strspn(line, " ");
    }
    return line;
}

static void read_libraries(const char *root, uint32_t pid, struct proof_rows *rows)
{
    char path[PATH_MAX], *line = NULL;
    size_t size = 0;
    ssize_t length;
    FILE *file;

    snprintf(path, sizeof path, "%s/proc/%" PRIu32 "/maps", root, pid);
    file = fopen(path, "re");
    if (!file)
        return;
    while ((length = getline(&line, &size, file)) > 0) {
        const char *mapped;

        line[strcspn(line, "\n")] = '\0';
        mapped = mapped_path(line);
        if (mapped[0] == '/')
            judge_library(rows, mapped, strlen(mapped));
        rows->known = true; /* an empty file is no map of a process */
    }
    if (ferror(file))
        rows->known = false;
    free(line);
    fclose(file);
}

/* ---- open devices ---- */

/* NVML may explain a device only while it is the reader: nothing else that could use the device. */
static bool only_reading(const struct proof_rows *mapped)
{
    bool nvml = false;

    for (uint32_t i = 0; i < mapped->count; i++)
        nvml |= mapped->row[i].allowed;
    return nvml && mapped->bad == 0;
}

static void judge_device(struct proof_rows *rows, const char *path, bool reading)
{
    for (size_t i = 0; i < sizeof devices / sizeof devices[0]; i++)
        if (fits(devices[i].pattern, path)) {
            const bool allowed = devices[i].reading && reading;

            add_row(rows, path, strlen(path), allowed,
                    devices[i].reading && !reading ? "a GPU, and it is not NVML that reads it"
                                                   : devices[i].why);
            return;
        }
}

static void read_devices(const char *root, uint32_t pid, bool reading, struct proof_rows *rows)
{
    char path[PATH_MAX];
    struct dirent *found;
    DIR *folder;

    snprintf(path, sizeof path, "%s/proc/%" PRIu32 "/fd", root, pid);
    folder = opendir(path);
    if (!folder)
        return;
    rows->known = true;
    while ((found = readdir(folder))) {
        char target[PATH_MAX];
        ssize_t length;

        if (found->d_name[0] == '.')
            continue;
        length = readlinkat(dirfd(folder), found->d_name, target, sizeof target - 1);
        if (length < 0)
            continue; /* closed meanwhile */
        target[length] = '\0';
        judge_device(rows, target, reading);
    }
    closedir(folder);
}

/* ---- process lists ---- */

static uint32_t parent_of(const char *root, const char *pid)
{
    char path[PATH_MAX], text[512];
    uint32_t parent = 0;
    const char *after;
    size_t length;
    FILE *file;

    snprintf(path, sizeof path, "%s/proc/%s/stat", root, pid);
    file = fopen(path, "re");
    if (!file)
        return 0;
    length = fread(text, 1, sizeof text - 1, file);
    text[length] = '\0';
    fclose(file);
    after = strrchr(text, ')'); /* the name may hold anything, parentheses too */
    if (!after || sscanf(after + 1, " %*c %" SCNu32, &parent) != 1)
        return 0;
    return parent;
}

static bool is_ours(const struct proof *proof, uint32_t pid)
{
    for (uint32_t i = 0; i < proof->process_count; i++)
        if (proof->pid[i] == pid)
            return true;
    return false;
}

/* One pass over /proc; returns how many descendants were new. */
static uint32_t add_children(const char *root, struct proof *proof)
{
    const uint32_t before = proof->process_count;
    char path[PATH_MAX];
    struct dirent *found;
    DIR *folder;

    snprintf(path, sizeof path, "%s/proc", root);
    folder = opendir(path);
    if (!folder)
        return 0;
    while ((found = readdir(folder)) && proof->process_count < PROOF_PROCESS_MAX) {
        uint32_t pid, parent;

        if (!isdigit((unsigned char)found->d_name[0]))
            continue;
        pid = (uint32_t)strtoul(found->d_name, NULL, 10);
        parent = parent_of(root, found->d_name);
        if (parent && is_ours(proof, parent) && !is_ours(proof, pid))
            proof->pid[proof->process_count++] = pid;
    }
    closedir(folder);
    return proof->process_count - before;
}

/* The first PID namespace has a number of its own (the kernel's PROC_PID_INIT_INO). */
static bool in_own_namespace(const char *root, uint32_t pid)
{
    char path[PATH_MAX], target[64];
    ssize_t length;

    snprintf(path, sizeof path, "%s/proc/%" PRIu32 "/ns/pid", root, pid);
    length = readlink(path, target, sizeof target - 1);
    if (length < 0)
        return false;
    target[length] = '\0';
    return strcmp(target, "pid:[4026531836]") != 0;
}

static void search_lists(const struct dgo_machine *machine, struct proof *proof)
{
    proof->lists_known = machine->gpu_count > 0;
    proof->self_vram_known = true; /* until a list hides a figure */
    for (uint32_t g = 0; g < machine->gpu_count; g++) {
        const struct dgo_gpu *gpu = &machine->gpu[g];

        if (!gpu->processes_known || gpu->process_more > 0)
            proof->lists_known = false;
        for (uint32_t i = 0; gpu->processes_known && i < gpu->process_count; i++) {
            const struct dgo_gpu_process *process = &gpu->process[i];

            if (!is_ours(proof, process->pid))
                continue;
            if (!proof->own_pid_listed) {
                proof->listed_pid = process->pid;
                proof->listed_gpu = g;
            }
            proof->own_pid_listed = true;
            proof->self_vram_known &= process->used_known;
            if (process->used_known)
                proof->self_vram_bytes += process->used_bytes;
        }
    }
}

/* ---- the verdict ---- */

static const char *first_bad(const struct proof_rows *rows)
{
    for (uint32_t i = 0; i < rows->count; i++)
        if (!rows->row[i].allowed)
            return rows->row[i].path;
    return "one that is not listed";
}

static void say_why_not(const struct proof *proof, struct dgo_text *text)
{
    char bytes[DGO_UNIT_TEXT_MAX];

    dgo_text_add(text, "Not proven:");
    if (proof->own_pid_listed)
        dgo_text_addf(text, " process %" PRIu32 " is ours and GPU %" PRIu32 " lists it, with %s.",
                      proof->listed_pid, proof->listed_gpu,
                      proof->self_vram_known ? dgo_bytes_text(proof->self_vram_bytes, bytes)
                                             : "memory that the driver does not tell");
    if (!proof->libraries.known)
        dgo_text_add(text, " the list of mapped libraries cannot be read.");
    else if (proof->libraries.bad)
        dgo_text_addf(text, " a library is mapped that can take VRAM: %s.",
                      first_bad(&proof->libraries));
    if (!proof->devices.known)
        dgo_text_add(text, " the list of open files cannot be read.");
    else if (proof->devices.bad)
        dgo_text_addf(text, " a device is open that reading does not need: %s.",
                      first_bad(&proof->devices));
}

static void say_why(const struct proof *proof, struct dgo_text *text)
{
    dgo_text_add(text, "Proven: no compute or graphics library is mapped, no device is open that "
                       "reading does not need");
    if (proof->driver_problem[0])
        dgo_text_addf(text, "; the driver did not answer (%s)", proof->driver_problem);
    else if (!proof->driver_answered)
        dgo_text_add(text, "; there is no GPU driver that could list us");
    else if (!proof->lists_known)
        dgo_text_add(text, "; a card does not tell its processes, so its list says nothing");
    else if (proof->foreign_pids)
        dgo_text_add(text, "; no GPU lists us, though in a container the driver may count "
                           "processes by other numbers");
    else
        dgo_text_add(text, "; no GPU lists this process or a child of it");
    dgo_text_add(text, ".");
}

void proof_take(const struct proof_question *question, struct proof *proof)
{
    const char *root = question->root ? question->root : "";
    const uint32_t pid = question->pid ? question->pid : (uint32_t)getpid();
    struct dgo_text text;

    memset(proof, 0, sizeof *proof);
    text = DGO_TEXT(proof->sentence);
    proof->pid[proof->process_count++] = pid;
    while (!question->alone && add_children(root, proof) > 0)
        ;
    read_libraries(root, pid, &proof->libraries);
    read_devices(root, pid, only_reading(&proof->libraries), &proof->devices);
    proof->foreign_pids = in_own_namespace(root, pid);
    if (question->driver_problem)
        dgo_text_copy(proof->driver_problem, sizeof proof->driver_problem,
                      question->driver_problem);
    proof->driver_answered = question->machine && dgo_machine_is_live(question->machine);
    if (proof->driver_answered)
        search_lists(question->machine, proof);
    proof->proven = !proof->own_pid_listed && proof->libraries.known && proof->libraries.bad == 0 &&
                    proof->devices.known && proof->devices.bad == 0;
    if (!proof->own_pid_listed)
        proof->self_vram_known = proof->proven; /* nothing is there through which it could be had */
    if (proof->proven)
        say_why(proof, &text);
    else
        say_why_not(proof, &text);
}
