/* test_drm.c - AMD and Intel cards from trees as the kernel shows them, alone and beside NVIDIA's.
 */
#include "rig.h"

#include "dgo_units.h"
#include "drm.h"

static const struct dgo_gpu *const gpu = rig.gpu;

/* ---- trees --------------------------------------------------------------------------------- */

static void put(const char *folder, const char *file, const char *text)
{
    char path[256];

    snprintf(path, sizeof path, "%s/%s", folder, file);
    rig_write(path, "%s\n", text);
}

static void put_card(int number, const char *vendor, const char *device, const char *pci_id)
{
    char folder[64], uevent[96];

    snprintf(folder, sizeof folder, "/sys/class/drm/card%d/device", number);
    snprintf(uevent, sizeof uevent, "DRIVER=x\nPCI_CLASS=30000\nPCI_SLOT_NAME=%s", pci_id);
    put(folder, "vendor", vendor);
    put(folder, "device", device);
    put(folder, "uevent", uevent);
    put(folder, "power/runtime_status", "active");
}

#define AMD_CARD  "/sys/class/drm/card1/device"
#define AMD_HWMON AMD_CARD "/hwmon/hwmon4"

/* A Radeon RX 7900 XTX as amdgpu shows it. */
static void put_amd(void)
{
    static const struct {
        const char *file, *text;
    } files[] = {
        {"mem_info_vram_total", "25753026560"},
        {"mem_info_vram_used", "2147483648"},
        {"mem_info_gtt_total", "33554432000"},
        {"mem_info_gtt_used", "104857600"},
        {"gpu_busy_percent", "37"},
        {"mem_busy_percent", "12"},
        {"current_link_speed", "16.0 GT/s PCIe"},
        {"current_link_width", "8"},
        {"max_link_speed", "16.0 GT/s PCIe"},
        {"max_link_width", "16"},
        {"unique_id", "a1b2c3d4e5f60718"},
        {"pp_dpm_mclk", "0: 96Mhz\n1: 456Mhz *\n2: 1249Mhz"},
        {"hwmon/hwmon4/temp1_input", "54000"},
        {"hwmon/hwmon4/temp3_input", "66000"},
        {"hwmon/hwmon4/temp1_crit", "100000"},
        {"hwmon/hwmon4/power1_average", "121000000"},
        {"hwmon/hwmon4/power1_cap", "339000000"},
        {"hwmon/hwmon4/freq1_input", "2304000000"},
        {"hwmon/hwmon4/pwm1", "102"},
        {"hwmon/hwmon4/pwm1_max", "255"},
    };

    put_card(1, "0x1002", "0x744c", "0000:03:00.0");
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++)
        put(AMD_CARD, files[i].file, files[i].text);
    put("/usr/share/misc", "pci.ids",
        "1001  Other\n\t744c  Wrong [Wrong]\n1002  Advanced Micro Devices, Inc. [AMD/ATI]\n"
        "\t73bf  Navi 21 [Radeon RX 6800]\n\t744c  Navi 31 [Radeon RX 7900 XTX]\n"
        "\t\t1002 0e3b  Reference\n8086  Intel Corporation\n\t56a0  DG2 [Arc A770]");
    put("/sys/class/kfd/kfd/topology/nodes/0", "gpu_id", "0");
    put("/sys/class/kfd/kfd/topology/nodes/1", "gpu_id", "51124");
    put("/sys/class/kfd/kfd/topology/nodes/1", "properties",
        "cpu_cores_count 0\nlocation_id 768\ndomain 0");
}

#define INTEL_CARD "/sys/class/drm/card2/device"

static void put_intel(void)
{
    put_card(2, "0x8086", "0x56a0", "0000:04:00.0");
    put(INTEL_CARD, "tile0/physical_vram_size_bytes", "0x3fa000000");
    put(INTEL_CARD, "tile0/gt0/freq0/cur_freq", "2100");
    put(INTEL_CARD, "hwmon/hwmon7/energy1_input", "1000000");
    put(INTEL_CARD, "hwmon/hwmon7/power1_max", "190000000");
    put(INTEL_CARD, "hwmon/hwmon7/temp2_input", "48000");
}

/* An open card of a process, as /proc shows it. */
static void put_client(unsigned pid, int fd, const char *fdinfo)
{
    char path[96], link[192];

    snprintf(path, sizeof path, "/proc/%u/fdinfo/%d", pid, fd);
    rig_write(path, "pos:\t0\n%s", fdinfo);
    snprintf(path, sizeof path, "/proc/%u/fd/x", pid);
    rig_folders(path);
    snprintf(link, sizeof link, "%s/proc/%u/fd/%d", rig_root, pid, fd);
    (void)unlink(link);
    assert_int_equal(symlink("/dev/dri/renderD128", link), 0);
}

static void look(const struct dgo_gpu_options *options)
{
    struct dgo_gpu_source *source = NULL;
    struct dgo_error err = {0};

    assert_int_equal(dgo_gpu_open(options, &source, &err), DGO_OK);
    assert_int_equal(dgo_gpu_take(source, &rig, &err), DGO_OK);
    dgo_gpu_close(source);
}

/* Without NVIDIA's library: as on a machine that has none. */
static struct dgo_gpu_options no_nvidia(void)
{
    return (struct dgo_gpu_options){.nvml_library = "/nonexistent/lib.so", .system_root = rig_root};
}

/* ---- AMD ----------------------------------------------------------------------------------- */

static void test_amd(void **state)
{
    const struct dgo_gpu_options options = no_nvidia();

    (void)state;
    put_amd();
    put_client(500, 7,
               "drm-driver:\tamdgpu\ndrm-pdev:\t0000:03:00.0\ndrm-client-id:\t11\n"
               "drm-memory-vram:\t524288 KiB\ndrm-engine-gfx:\t1000000 ns\n");
    put_client(500, 8,
               "drm-pdev:\t0000:03:00.0\ndrm-client-id:\t11\ndrm-memory-vram:\t524288 KiB\n");
    put_client(600, 3,
               "drm-pdev:\t0000:03:00.0\ndrm-client-id:\t12\ndrm-memory-vram:\t1024 KiB\n"
               "drm-resident-vram:\t64 MiB\n");
    put_client(700, 3, "drm-pdev:\t0000:09:00.0\ndrm-client-id:\t13\ndrm-memory-vram:\t9 KiB\n");
    put("/sys/class/kfd/kfd/proc/500", "vram_51124", "1073741824");
    put("/sys/class/kfd/kfd/proc/800", "vram_51124", "268435456");
    put("/sys/class/kfd/kfd/proc/900", "vram_99", "7");
    look(&options);
    assert_int_equal(rig.gpu_count, 1);
    assert_string_equal(rig.source, "amd");
    assert_string_equal(gpu->name, "AMD Radeon RX 7900 XTX");
    assert_string_equal(gpu->uuid, "GPU-a1b2c3d4e5f60718");
    assert_string_equal(gpu->pci_id, "0000:03:00.0");
    assert_string_equal(gpu->problem, "");
    assert_int_equal(gpu->total_bytes, 25753026560);
    assert_int_equal(gpu->free_bytes, 25753026560 - 2147483648);
    assert_int_equal(gpu->gtt_used_bytes, 100 * DGO_MIB);
    assert_int_equal(gpu->busy_permille, 370);
    assert_int_equal(gpu->temperature_c, 54);
    assert_int_equal(gpu->memory_temperature_c, 66);
    assert_int_equal(gpu->power_mw, 121000);
    assert_int_equal(gpu->power_limit_mw, 339000);
    assert_int_equal(gpu->core_clock_mhz, 2304);
    assert_int_equal(gpu->memory_clock_mhz, 456); /* of the list: the sensor is not there */
    assert_int_equal(gpu->fan_permille, 400);
    assert_int_equal(gpu->pcie_gen, 4);
    assert_int_equal(gpu->pcie_width, 8);
    assert_int_equal(gpu->pcie_width_max, 16);
    assert_true(dgo_gpu_knows(gpu, DGO_GPU_BANDWIDTH_BYTES_PER_S)); /* by its name */
    /* Of both ways of counting the greater, and each client once. */
    assert_int_equal(gpu->process_count, 3);
    assert_int_equal(gpu->process[0].pid, 500);
    assert_int_equal(gpu->process[0].used_bytes, DGO_GIB);
    assert_true(gpu->process[0].compute && gpu->process[0].graphics);
    assert_int_equal(gpu->process[1].pid, 800);
    assert_int_equal(gpu->process[2].pid, 600);
    assert_int_equal(gpu->process[2].used_bytes, 64 * DGO_MIB);
    assert_int_equal(gpu->unattributed_bytes, 2147483648 - DGO_GIB - 320 * DGO_MIB);
}

static void test_amd_doubtful(void **state)
{
    static const struct {
        const char *name, *file, *text;
        enum dgo_gpu_field field;
        const char *problem;
    } cases[] = {
        {"no memory figures", "mem_info_vram_total", "", DGO_GPU_TOTAL_BYTES, "amdgpu"},
        {"more used than there is", "mem_info_vram_used", "99999999999999", DGO_GPU_USED_BYTES,
         "amdgpu"},
        {"not a number", "gpu_busy_percent", "often", DGO_GPU_BUSY_PERMILLE, ""},
        {"busier than ever", "gpu_busy_percent", "101", DGO_GPU_BUSY_PERMILLE, ""},
        {"a link of no speed", "current_link_speed", "Unknown", DGO_GPU_PCIE_GEN, ""},
        {"negative heat", "hwmon/hwmon4/temp1_input", "-40000", DGO_GPU_TEMPERATURE_C, ""},
    };
    const struct dgo_gpu_options options = no_nvidia();

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        put_amd();
        put(AMD_CARD, cases[i].file, cases[i].text);
        look(&options);
        CHECK_ROW(!dgo_gpu_knows(gpu, cases[i].field), cases[i].name);
        CHECK_ROW(strstr(gpu->problem, cases[i].problem), cases[i].name);
    }
    /* A processor's graphics is listed and not planned with. */
    put_amd();
    put(AMD_CARD, "mem_info_vram_total", "536870912");
    put(AMD_CARD, "mem_info_vram_used", "100000000");
    look(&options);
    assert_non_null(strstr(gpu->problem, "integrated"));
    assert_int_equal(gpu->total_bytes, 512 * DGO_MIB);
    /* Asleep: nothing is read. */
    put(AMD_CARD, "power/runtime_status", "suspended");
    look(&options);
    assert_non_null(strstr(gpu->problem, "asleep"));
    assert_false(dgo_gpu_knows(gpu, DGO_GPU_TOTAL_BYTES));
    assert_string_equal(gpu->name, "AMD Radeon RX 7900 XTX");
}

/* ---- Intel --------------------------------------------------------------------------------- */

static void test_intel(void **state)
{
    const struct dgo_gpu_options options = no_nvidia();
    struct dgo_gpu_source *source = NULL;

    (void)state;
    put_intel();
    put_client(500, 3,
               "drm-driver:\txe\ndrm-pdev:\t0000:04:00.0\ndrm-client-id:\t5\n"
               "drm-total-vram0:\t2 GiB\ndrm-resident-vram0:\t1 GiB\ndrm-cycles-ccs:\t1000\n"
               "drm-total-cycles-ccs:\t10000\n");
    assert_int_equal(dgo_gpu_open(&options, &source, NULL), DGO_OK);
    assert_int_equal(dgo_gpu_take(source, &rig, NULL), DGO_OK);
    assert_string_equal(rig.source, "intel");
    assert_string_equal(gpu->name, "Intel GPU 56a0"); /* no list of names here */
    assert_int_equal(gpu->total_bytes, 0x3fa000000);
    assert_int_equal(gpu->used_bytes, DGO_GIB);
    assert_int_equal(gpu->core_clock_mhz, 2100);
    assert_int_equal(gpu->power_limit_mw, 190000);
    assert_int_equal(gpu->temperature_c, 48);
    assert_false(dgo_gpu_knows(gpu, DGO_GPU_POWER_MW)); /* one reading is no power */
    assert_false(dgo_gpu_knows(gpu, DGO_GPU_BUSY_PERMILLE));
    put(INTEL_CARD, "hwmon/hwmon7/energy1_input", "2000000");
    put_client(500, 3,
               "drm-pdev:\t0000:04:00.0\ndrm-client-id:\t5\ndrm-resident-vram0:\t1 GiB\n"
               "drm-cycles-ccs:\t6000\ndrm-total-cycles-ccs:\t20000\n");
    usleep(2000);
    assert_int_equal(dgo_gpu_take(source, &rig, NULL), DGO_OK);
    assert_true(dgo_gpu_knows(gpu, DGO_GPU_POWER_MW));
    assert_int_equal(gpu->energy_mj, 2000);
    assert_int_equal(gpu->busy_permille, 500);
    assert_int_equal(gpu->process[0].busy_permille, 500);
    dgo_gpu_close(source);
    /* A processor's graphics. */
    put(INTEL_CARD, "tile0/physical_vram_size_bytes", "0");
    look(&options);
    assert_non_null(strstr(gpu->problem, "integrated"));
    assert_false(dgo_gpu_knows(gpu, DGO_GPU_TOTAL_BYTES));
}

/* ---- mixed --------------------------------------------------------------------------------- */

#define NVIDIA_CARD "card NVIDIA GeForce RTX 3090\n memory 24576 450 1000\n"

/* NVIDIA's first, and every card keeps its number while a driver is away. */
static void test_mixed(void **state)
{
    const struct dgo_gpu_options options = rig_options();
    struct dgo_gpu_source *source = NULL;
    char path[128];

    (void)state;
    put_amd();
    put_intel();
    rig_scenario("driver 550\n" NVIDIA_CARD "card B\n memory 1000 0 0\ntopology 0 1 30\n");
    assert_int_equal(dgo_gpu_open(&options, &source, NULL), DGO_OK);
    assert_int_equal(dgo_gpu_take(source, &rig, NULL), DGO_OK);
    assert_int_equal(rig.gpu_count, 4);
    assert_string_equal(rig.source, "nvml, amd, intel");
    assert_string_equal(rig.driver, "550, amdgpu, i915 or xe");
    assert_int_equal(rig.gpu[1].vendor, DGO_VENDOR_NVIDIA);
    assert_int_equal(rig.gpu[2].vendor, DGO_VENDOR_AMD);
    assert_int_equal(rig.gpu[3].vendor, DGO_VENDOR_INTEL);
    assert_int_equal(rig.link[1][0].kind, DGO_LINK_PHB);
    assert_int_equal(rig.link[1][2].kind, DGO_LINK_UNKNOWN);
    assert_true(rig.host.memory_known);
    snprintf(path, sizeof path, "%s/scenario.txt", rig_root);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(dgo_gpu_take(source, &rig, NULL), DGO_OK);
    assert_int_equal(rig.gpu_count, 4);
    assert_string_equal(rig.gpu[0].name, "NVIDIA GeForce RTX 3090");
    assert_non_null(strstr(rig.gpu[0].problem, "went away"));
    assert_false(dgo_gpu_knows(&rig.gpu[0], DGO_GPU_TOTAL_BYTES));
    assert_string_equal(rig.gpu[2].name, "AMD Radeon RX 7900 XTX");
    assert_int_equal(rig.gpu[2].used_bytes, 2147483648);
    rig_scenario("driver 560\n" NVIDIA_CARD);
    assert_int_equal(dgo_gpu_take(source, &rig, NULL), DGO_OK);
    assert_int_equal(rig.gpu_count, 4);
    assert_string_equal(rig.gpu[0].problem, "");
    assert_non_null(strstr(rig.gpu[1].problem, "no longer there"));
    assert_string_equal(rig.gpu[1].name, "B");
    dgo_gpu_close(source);
    /* A broken NVIDIA driver does not hide the others. */
    rig_scenario("fail nvmlInit_v2 18\n");
    look(&options);
    assert_int_equal(rig.gpu_count, 2);
    assert_string_equal(rig.gpu[0].name, "AMD Radeon RX 7900 XTX");
}

/* ---- fdinfo -------------------------------------------------------------------------------- */

static void test_fdinfo(void **state)
{
    static const struct {
        const char *name, *text;
        bool known;
        uint64_t bytes;
    } cases[] = {
        {"amdgpu", "drm-pdev:\t0000:03:00.0\ndrm-client-id:\t1\ndrm-memory-vram:\t12 KiB\n", true,
         12 * DGO_KIB},
        {"old amdgpu", "pdev:\t0000:03:00.0\nvram mem:\t5 kB\n", true, 5 * DGO_KIB},
        {"resident before memory",
         "drm-pdev: 0000:03:00.0\ndrm-client-id: 1\ndrm-resident-vram: 7 MiB\n"
         "drm-memory-vram: 9 KiB\n",
         true, 7 * DGO_MIB},
        {"bytes without a unit", "drm-pdev: 0000:03:00.0\ndrm-client-id: 1\ndrm-total-vram: 4096\n",
         true, 4096},
        {"no memory", "drm-pdev: 0000:03:00.0\ndrm-client-id: 1\n", true, 0},
        {"no card", "drm-client-id: 1\ndrm-memory-vram: 5 KiB\n", false, 0},
        {"no client", "drm-pdev: 0000:03:00.0\n", false, 0},
        {"absurd",
         "drm-pdev: 0000:03:00.0\ndrm-client-id: 1\n"
         "drm-memory-vram: 99999999999999999 KiB\n",
         true, 0},
        {"cut off", "drm-pdev: 0000:03:00.0\ndrm-client-id: 1\ndrm-memory-vram", true, 0},
        {"nothing", "", false, 0},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct drm_client client = {0};

        CHECK_ROW_U64(drm_parse_fdinfo(cases[i].text, &client), cases[i].known, cases[i].name);
        if (cases[i].known)
            CHECK_ROW_U64(client.bytes, cases[i].bytes, cases[i].name);
    }
}

#define RIG_TEST(fn) cmocka_unit_test_setup_teardown(fn, rig_setup, rig_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        RIG_TEST(test_amd),   RIG_TEST(test_amd_doubtful),   RIG_TEST(test_intel),
        RIG_TEST(test_mixed), cmocka_unit_test(test_fdinfo),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
