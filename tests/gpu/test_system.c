/* test_system.c - what is read of the kernel: the host, PCI addresses and cards. */
#include "driver.h"
#include "rig.h"

#include "dgo_units.h"

static void test_host(void **state)
{
    static const struct {
        const char *name, *meminfo;
        uint64_t total, free_bytes; /* 0: unknown */
    } cases[] = {
        {"usual", "MemTotal: 1000 kB\nMemFree: 1 kB\nMemAvailable: 900 kB\n", 1000 * DGO_KIB,
         900 * DGO_KIB},
        {"no MemAvailable", "MemTotal: 1000 kB\nMemFree: 1 kB\n", 0, 0},
        {"more available than there is", "MemTotal: 1000 kB\nMemAvailable: 9000 kB\n", 0, 0},
        {"no number", "MemTotal: x kB\nMemAvailable: 9000 kB\n", 0, 0},
        {"empty", "", 0, 0},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct dgo_host host = {.bandwidth_bytes_per_s = 1, .total_bytes = 7, .free_bytes = 7};

        rig_write("/proc/meminfo", "%s", cases[i].meminfo);
        gpu_host_memory(rig_root, &host);
        CHECK_ROW_U64(host.memory_known, cases[i].total > 0, cases[i].name);
        CHECK_ROW_U64(host.total_bytes, cases[i].total, cases[i].name);
        CHECK_ROW_U64(host.free_bytes, cases[i].free_bytes, cases[i].name);
        CHECK_ROW(host.bandwidth_bytes_per_s == 1, cases[i].name);
    }
    assert_int_equal(gpu_host_cores(rig_root), 4); /* of 8 threads */
}

static void test_real_host(void **state)
{
    struct dgo_host host = {0};

    (void)state;
    gpu_host_memory("", &host);
    assert_true(host.memory_known);
    assert_true(host.free_bytes > 0 && host.free_bytes <= host.total_bytes);
    assert_true(gpu_host_cores("") >= 1);
}

static void test_pci_addresses(void **state)
{
    static const struct {
        const char *text, *want; /* "": refused */
    } cases[] = {
        {"00000000:01:00.0", "0000:01:00.0"},
        {"0000:0A:1F.7", "0000:0a:1f.7"},
        {"0a:00.0", "0000:0a:00.0"},
        {"10000:01:00.0", "10000:01:00.0"},
        {"", ""},
        {"01:00", ""},
        {"01:20.0", ""},
        {"01:00.8", ""},
        {"01:00.0x", ""},
        {"01:00.00", ""},
        {" 01:00.0", ""},
        {"+1:00.0", ""},
        {"0000:01:00.0.1", ""},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char pci_id[GPU_PCI_ID_MAX];

        CHECK_ROW_U64(gpu_pci_normalise(cases[i].text, pci_id), cases[i].want[0] != '\0',
                      cases[i].text);
        CHECK_ROW(strcmp(pci_id, cases[i].want) == 0, cases[i].text);
    }
}

static void test_pci_cards(void **state)
{
    char ids[GPU_PCI_LIST_MAX][GPU_PCI_ID_MAX];

    (void)state;
    assert_int_equal(gpu_pci_list(rig_root, "0x10de", ids, GPU_PCI_LIST_MAX), 0);
    rig_pci_card("0000:0b:00.0", "suspended");
    rig_pci_card("0000:01:00.0", "active");
    rig_write("/sys/bus/pci/devices/0000:01:00.1/vendor", "0x10de\n"); /* its sound */
    rig_write("/sys/bus/pci/devices/0000:01:00.1/class", "0x040300\n");
    rig_write("/sys/bus/pci/devices/0000:02:00.0/vendor", "0x1002\n");
    rig_write("/sys/bus/pci/devices/0000:02:00.0/class", "0x030000\n");
    assert_int_equal(gpu_pci_list(rig_root, "0x10de", ids, GPU_PCI_LIST_MAX), 2);
    assert_string_equal(ids[0], "0000:01:00.0");
    assert_string_equal(ids[1], "0000:0b:00.0");
    assert_int_equal(gpu_pci_list(rig_root, "0x10de", ids, 1), 1);
    assert_int_equal(gpu_pci_list(rig_root, "0x1002", ids, GPU_PCI_LIST_MAX), 1);
    assert_true(gpu_pci_asleep(rig_root, "0000:0b:00.0"));
    assert_false(gpu_pci_asleep(rig_root, "0000:01:00.0"));
    assert_false(gpu_pci_asleep(rig_root, "0000:02:00.0")); /* it does not tell */
    assert_false(gpu_pci_asleep(rig_root, ""));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define RIG_TEST(f) cmocka_unit_test_setup_teardown(f, rig_setup, rig_teardown)
        RIG_TEST(test_host),
        cmocka_unit_test(test_real_host),
        cmocka_unit_test(test_pci_addresses),
        RIG_TEST(test_pci_cards),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
