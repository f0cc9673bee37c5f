/* test_proof.c - the proof that we take no VRAM fails for each thing that speaks against us. */
#include "check.h"
#include "dgo_units.h"
#include "proof.h"

#include <limits.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PID = 4242, CHILD = 4243, GRANDCHILD = 4250, STRANGER = 77, OURS = 9 };

static char root[64];

static void write_file(const char *path, const char *text)
{
    char full[PATH_MAX];
    FILE *file;

    snprintf(full, sizeof full, "%s%s", root, path);
    file = fopen(full, "w");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

static void make_folder(const char *path)
{
    char full[PATH_MAX];

    snprintf(full, sizeof full, "%s%s", root, path);
    assert_int_equal(mkdir(full, 0700), 0);
}

static void make_link(const char *path, const char *target)
{
    char full[PATH_MAX];

    snprintf(full, sizeof full, "%s%s", root, path);
    assert_int_equal(symlink(target, full), 0);
}

/* A process as /proc shows it: its parent, and a name that tries to confuse. */
static void make_process(unsigned pid, unsigned parent)
{
    char path[64], text[128];

    snprintf(path, sizeof path, "/proc/%u", pid);
    make_folder(path);
    snprintf(path, sizeof path, "/proc/%u/stat", pid);
    snprintf(text, sizeof text, "%u (a) R 1 (b) S %u 1 1 0 -1\n", pid, parent);
    write_file(path, text);
}

static int setup(void **state)
{
    (void)state;
    snprintf(root, sizeof root, "/tmp/dgo-proof-XXXXXX");
    if (!mkdtemp(root))
        return -1;
    make_folder("/proc");
    make_process(PID, 1);
    make_process(CHILD, PID);
    make_process(GRANDCHILD, CHILD);
    make_process(4260, GRANDCHILD);
    make_process(4265, 4260);
    /* numbers wrap around: children before their parents, in whatever order a folder is read */
    make_process(101, 102);
    make_process(102, 103);
    make_process(103, 104);
    make_process(104, PID);
    make_process(STRANGER, 1);
    make_folder("/proc/4242/fd");
    make_folder("/proc/4242/ns");
    make_link("/proc/4242/ns/pid", "pid:[4026531836]");
    return 0;
}

static int teardown(void **state)
{
    char command[128];

    (void)state;
    snprintf(command, sizeof command, "rm -rf '%s'", root);
    return system(command) == 0 ? 0 : -1;
}

/* Recorded from a process that reads its cards through NVML 550 on Debian 12. */
#define MAPS_C                                                                                     \
    "55d0c8a00000-55d0c8a20000 r-xp 00000000 08:01 131 /usr/bin/dualgpuopt\n"                      \
    "55d0c9000000-55d0c9021000 rw-p 00000000 00:00 0 [heap]\n"                                     \
    "7f2c11400000-7f2c11422000 r--p 00000000 08:01 262 /usr/lib/x86_64-linux-gnu/libc.so.6\n"      \
    "7f2c11a00000-7f2c11a01000 r--p 00000000 08:01 262 /usr/lib/x86_64-linux-gnu/libcurl-gnutls."  \
    "so.4.8.0\n"
#define MAPS_NVML                                                                                  \
    MAPS_C                                                                                         \
    "7f2c12000000-7f2c12200000 r-xp 00000000 08:01 377 /usr/lib/x86_64-linux-gnu/libnvidia-ml.so." \
    "550.54.14\n"

static void take(const struct dgo_machine *machine, struct proof *proof)
{
    proof_take(&(struct proof_question){.root = root, .pid = PID, .machine = machine}, proof);
}

static void test_libraries(void **state)
{
    static const struct {
        const char *name, *maps;
        bool proven;
        const char *path; /* named in the sentence; NULL: none */
    } cases[] = {
        {"nothing of a GPU", MAPS_C, true, NULL},
        {"NVML", MAPS_NVML, true, NULL},
        {"CUDA", MAPS_NVML "1-2 r--p 0 08:01 9 /usr/lib/libcuda.so.550.54.14\n", false,
         "/usr/lib/libcuda.so.550.54.14"},
        {"CUDA, file removed", MAPS_C "1-2 r--p 0 08:01 9 /usr/lib/libcuda.so.1 (deleted)\n", false,
         "/usr/lib/libcuda.so.1"},
        {"CUDA runtime", MAPS_C "1-2 r--p 0 08:01 9 /opt/x/libcudart.so.12\n", false, "libcudart"},
        {"driver part", MAPS_C "1-2 r--p 0 08:01 9 /usr/lib/libnvidia-ptxjitcompiler.so.1\n", false,
         "ptxjit"},
        {"folder with a space", MAPS_C "1-2 r--p 0 08:01 9 /opt/my tools/libvulkan.so.1\n", false,
         "/opt/my tools/libvulkan.so.1"},
        {"HIP", MAPS_C "1-2 r--p 0 08:01 9 /opt/rocm/lib/libamdhip64.so.6\n", false, "libamdhip64"},
        {"ROCm SMI is no exception", MAPS_C "1-2 r--p 0 08:01 9 /opt/rocm/lib/librocm_smi64.so.7\n",
         false, "librocm_smi64"},
        {"OpenGL", MAPS_C "1-2 r--p 0 08:01 9 /usr/lib/libGLX.so.0\n", false, "libGLX"},
        {"EGL", MAPS_C "1-2 r--p 0 08:01 9 /usr/lib/libEGL.so.1\n", false, "libEGL"},
        {"OpenCL", MAPS_C "1-2 r--p 0 08:01 9 /usr/lib/libOpenCL.so.1\n", false, "libOpenCL"},
        {"Level Zero", MAPS_C "1-2 r--p 0 08:01 9 /usr/lib/libze_loader.so.1\n", false, "libze_"},
        {"a compiler", MAPS_C "1-2 r--p 0 08:01 9 /usr/lib/libnvrtc.so.12\n", false, "libnvrtc"},
        {"only the folder is called so", MAPS_C "1-2 r--p 0 08:01 9 /opt/libcuda.d/libc.so.6\n",
         true, NULL},
        {"an empty map proves nothing", "", false, "cannot be read"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct proof proof;

        write_file("/proc/4242/maps", cases[i].maps);
        take(NULL, &proof);
        CHECK_ROW(proof.proven == cases[i].proven, cases[i].name);
        CHECK_ROW(proof.self_vram_known == cases[i].proven && proof.self_vram_bytes == 0,
                  cases[i].name);
        CHECK_ROW(!cases[i].path || strstr(proof.sentence, cases[i].path), cases[i].name);
    }
}

static void test_devices(void **state)
{
    static const struct {
        const char *name, *target;
        bool nvml; /* mapped */
        bool proven;
    } cases[] = {
        {"a file", "/home/user/dev/nvidia0", false, true},
        {"a socket", "socket:[123]", false, true},
        {"control device by NVML", "/dev/nvidiactl", true, true},
        {"card by NVML", "/dev/nvidia0", true, true},
        {"card of two digits by NVML", "/dev/nvidia15", true, true},
        {"partition by NVML", "/dev/nvidia-caps/nvidia-cap1", true, true},
        {"card without NVML", "/dev/nvidia0", false, false},
        {"control device without NVML", "/dev/nvidiactl", false, false},
        {"unified memory, NVML or not", "/dev/nvidia-uvm", true, false},
        {"unified memory tools", "/dev/nvidia-uvm-tools", true, false},
        {"display", "/dev/nvidia-modeset", true, false},
        {"another NVIDIA device", "/dev/nvidia0x", true, false},
        {"AMD compute", "/dev/kfd", true, false},
        {"render node", "/dev/dri/renderD128", true, false},
        {"graphics card", "/dev/dri/card0", false, false},
        {"accelerator", "/dev/accel/accel0", false, false},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char full[PATH_MAX];
        struct proof proof;

        write_file("/proc/4242/maps", cases[i].nvml ? MAPS_NVML : MAPS_C);
        make_link("/proc/4242/fd/7", cases[i].target);
        take(NULL, &proof);
        CHECK_ROW(proof.proven == cases[i].proven, cases[i].name);
        CHECK_ROW(cases[i].proven || strstr(proof.sentence, cases[i].target), cases[i].name);
        snprintf(full, sizeof full, "%s/proc/4242/fd/7", root);
        unlink(full);
    }
}

static void test_nvml_explains_nothing_beside_cuda(void **state)
{
    struct proof proof;

    (void)state;
    write_file("/proc/4242/maps", MAPS_NVML "1-2 r--p 0 08:01 9 /usr/lib/libcuda.so.1\n");
    make_link("/proc/4242/fd/7", "/dev/nvidia0");
    take(NULL, &proof);
    assert_false(proof.proven);
    assert_int_equal(proof.devices.bad, 1);
    assert_int_equal(proof.libraries.bad, 1);
    assert_int_equal(proof.libraries.count, 2);
}

static void add_user(struct dgo_machine *machine, uint32_t gpu, uint32_t pid, uint64_t mib)
{
    struct dgo_gpu *card = &machine->gpu[gpu];

    card->process[card->process_count++] = (struct dgo_gpu_process){
        .pid = pid, .used_known = mib != UINT64_MAX, .used_bytes = mib * DGO_MIB, .compute = true};
}

static void test_process_lists(void **state)
{
    static const struct {
        const char *name;
        uint32_t pid;
        uint64_t mib;
        bool simulated, listed, vram_known;
        uint64_t vram_mib;
    } cases[] = {
        {"somebody else", STRANGER, 500, false, false, true, 0},
        {"we", PID, 300, false, true, true, 300},
        {"our child", CHILD, 200, false, true, true, 200},
        {"our child's child", GRANDCHILD, 100, false, true, true, 100},
        {"we, hidden figure", PID, UINT64_MAX, false, true, false, 0},
        {"we, in a machine file", PID, 300, true, false, true, 0},
    };

    (void)state;
    write_file("/proc/4242/maps", MAPS_NVML);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        static struct dgo_machine machine;
        struct proof proof;

        memset(&machine, 0, sizeof machine);
        machine.gpu_count = 2;
        machine.origin.simulated = cases[i].simulated;
        machine.gpu[0].processes_known = machine.gpu[1].processes_known = true;
        add_user(&machine, 1, STRANGER, 1000);
        add_user(&machine, 1, cases[i].pid, cases[i].mib);
        take(&machine, &proof);
        CHECK_ROW_U64(proof.process_count, OURS, cases[i].name);
        CHECK_ROW(proof.own_pid_listed == cases[i].listed, cases[i].name);
        CHECK_ROW(proof.proven == !cases[i].listed, cases[i].name);
        CHECK_ROW(proof.self_vram_known == cases[i].vram_known, cases[i].name);
        CHECK_ROW_U64(proof.self_vram_bytes, cases[i].vram_mib * DGO_MIB, cases[i].name);
        CHECK_ROW(!cases[i].listed || proof.listed_gpu == 1, cases[i].name);
    }
}

static void test_what_is_not_known_is_said(void **state)
{
    static struct dgo_machine machine = {.gpu_count = 1};
    char full[PATH_MAX];
    struct proof proof;

    (void)state;
    write_file("/proc/4242/maps", MAPS_NVML);
    take(&machine, &proof); /* a card that does not tell its processes */
    assert_true(proof.proven && !proof.lists_known);
    assert_non_null(strstr(proof.sentence, "does not tell its processes"));
    machine.gpu[0].processes_known = true;
    take(&machine, &proof);
    assert_true(proof.lists_known);
    snprintf(full, sizeof full, "%s/proc/4242/ns/pid", root);
    unlink(full);
    make_link("/proc/4242/ns/pid", "pid:[4026532999]");
    take(&machine, &proof);
    assert_true(proof.proven && proof.foreign_pids);
    assert_non_null(strstr(proof.sentence, "container"));
    snprintf(full, sizeof full, "%s/proc/4242/fd", root);
    rmdir(full);
    take(&machine, &proof);
    assert_false(proof.proven || proof.self_vram_known);
    assert_non_null(strstr(proof.sentence, "open files cannot be read"));
}

/* The test program itself maps nothing of a GPU. */
static void test_this_process(void **state)
{
    struct proof proof;

    (void)state;
    proof_take(&(struct proof_question){0}, &proof);
    assert_true(proof.libraries.known && proof.devices.known && proof.proven);
    assert_int_equal(proof.pid[0], getpid());
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test_setup_teardown(test_libraries, setup, teardown),
    cmocka_unit_test_setup_teardown(test_devices, setup, teardown),
    cmocka_unit_test_setup_teardown(test_nvml_explains_nothing_beside_cuda, setup, teardown),
    cmocka_unit_test_setup_teardown(test_process_lists, setup, teardown),
    cmocka_unit_test_setup_teardown(test_what_is_not_known_is_said, setup, teardown),
    cmocka_unit_test(test_this_process),
};

CHECK_MAIN(tests)
