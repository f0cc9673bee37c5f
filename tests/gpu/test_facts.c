/* test_facts.c - published figures are found by the names that drivers give, and only then. */
#include "check.h"
#include "dgo_gpu.h"
#include "driver.h"

#include <strings.h>

static void test_names(void **state)
{
    static const struct {
        const char *name;
        double want_gbs, want_tflops; /* bandwidth 0: not in the table */
        enum dgo_gpu_vendor vendor;
    } cases[] = {
        {"NVIDIA GeForce RTX 3060", 360, 51, DGO_VENDOR_NVIDIA},
        {"NVIDIA GeForce RTX 3060 Ti", 448, 64.8, DGO_VENDOR_NVIDIA},
        {"NVIDIA GeForce RTX 3060 Laptop GPU", 336, 0, DGO_VENDOR_NVIDIA},
        {"NVIDIA GeForce RTX 3080 12GB", 912, 122.5, DGO_VENDOR_NVIDIA},
        {"NVIDIA GeForce RTX 4060 Ti", 288, 88.2, DGO_VENDOR_NVIDIA},
        {"NVIDIA GeForce RTX 4060 Ti 16GB", 288, 88.2, DGO_VENDOR_NVIDIA},
        {"NVIDIA GeForce RTX 4070 Ti SUPER", 672, 176.4, DGO_VENDOR_NVIDIA},
        {"NVIDIA GeForce RTX 4090", 1008, 330.3, DGO_VENDOR_NVIDIA},
        {"NVIDIA GeForce RTX 4090 D", 1008, 294.2, DGO_VENDOR_NVIDIA},
        {"NVIDIA GeForce RTX 4090 Laptop GPU", 576, 0, DGO_VENDOR_NVIDIA},
        {"NVIDIA GeForce RTX 5090", 1792, 419, DGO_VENDOR_NVIDIA},
        {"NVIDIA GeForce RTX 5090 D", 1792, 296.9, DGO_VENDOR_NVIDIA}, /* less than its units do */
        {"NVIDIA GeForce RTX 5090 D v2", 1344, 296.9, DGO_VENDOR_NVIDIA},
        {"Tesla M40 24GB", 288, 6.8, DGO_VENDOR_NVIDIA},
        {"GeForce GTX 1080 Ti", 484, 11.3, DGO_VENDOR_NVIDIA}, /* as older drivers say */
        {"geforce rtx 2080 ti", 616, 107.6, DGO_VENDOR_NVIDIA},
        {"RTX 3090", 936, 142, DGO_VENDOR_NVIDIA},
        {"Tesla P40", 346, 12, DGO_VENDOR_NVIDIA},
        {"Tesla V100-SXM2-32GB", 900, 125, DGO_VENDOR_NVIDIA},
        {"Tesla P100-PCIE-12GB", 549, 18.7, DGO_VENDOR_NVIDIA},
        {"Quadro RTX 6000", 672, 130.5, DGO_VENDOR_NVIDIA},
        {"NVIDIA RTX 6000 Ada Generation", 960, 364.2, DGO_VENDOR_NVIDIA},
        {"NVIDIA RTX A6000", 768, 154.8, DGO_VENDOR_NVIDIA},
        {"NVIDIA A100-SXM4-80GB", 2039, 312, DGO_VENDOR_NVIDIA},
        {"NVIDIA A100-SXM4-40GB", 1555, 312, DGO_VENDOR_NVIDIA},
        {"NVIDIA A100 80GB PCIe", 1935, 312, DGO_VENDOR_NVIDIA},
        {"NVIDIA GeForce GTX 1050", 112, 1.9, DGO_VENDOR_NVIDIA},
        {"NVIDIA TITAN X (Pascal)", 0, 0, DGO_VENDOR_NVIDIA}, /* Maxwell had one of that name */
        {"Tesla V100-SXM3-32GB", 900, 125, DGO_VENDOR_NVIDIA},
        {"NVIDIA A800-SXM4-80GB", 2039, 312, DGO_VENDOR_NVIDIA},
        {"NVIDIA A800 80GB PCIe", 1935, 312, DGO_VENDOR_NVIDIA},
        {"NVIDIA L20", 864, 119.5, DGO_VENDOR_NVIDIA},
        {"NVIDIA H800", 3352, 989, DGO_VENDOR_NVIDIA},
        {"NVIDIA H800 PCIe", 2039, 756, DGO_VENDOR_NVIDIA},
        {"NVIDIA GH200 480GB", 4000, 989, DGO_VENDOR_NVIDIA},
        {"NVIDIA RTX PRO 2000 Blackwell", 288, 68.1, DGO_VENDOR_NVIDIA},
        {"NVIDIA RTX PRO 4000 Blackwell SFF Edition", 432, 95.8, DGO_VENDOR_NVIDIA},
        {"NVIDIA RTX PRO 5000 Blackwell", 1344, 267.7, DGO_VENDOR_NVIDIA},
        {"NVIDIA B300", 8000, 2250, DGO_VENDOR_NVIDIA},
        {"AMD Radeon RX 9070 GRE", 432, 137.1, DGO_VENDOR_AMD},
        {"AMD Radeon PRO W7700", 576, 56.5, DGO_VENDOR_AMD},
        {"Intel(R) Arc(TM) A310 Graphics", 124, 0, DGO_VENDOR_INTEL},
        {"NVIDIA A10", 600, 125, DGO_VENDOR_NVIDIA},
        {"NVIDIA A10G", 600, 70, DGO_VENDOR_NVIDIA},
        {"NVIDIA H100 80GB HBM3", 3352, 989, DGO_VENDOR_NVIDIA},
        {"NVIDIA H200", 4800, 989, DGO_VENDOR_NVIDIA},
        {"NVIDIA RTX PRO 6000 Blackwell Max-Q Workstation Edition", 1792, 438.8, DGO_VENDOR_NVIDIA},
        {"AMD Radeon RX 7900 XTX", 960, 122.8, DGO_VENDOR_AMD},
        {"AMD Radeon RX 7900 XTX (RADV NAVI31)", 960, 122.8, DGO_VENDOR_AMD},
        {"Radeon RX 6800 XT", 512, 41.5, DGO_VENDOR_AMD},
        {"AMD Instinct MI300X", 5300, 1307.4, DGO_VENDOR_AMD},
        {"Intel(R) Arc(TM) A770 Graphics", 560, 131, DGO_VENDOR_INTEL},
        {"AMD Radeon PRO W7800", 576, 90.5, DGO_VENDOR_AMD},
        {"AMD Radeon PRO W7800 48GB", 864, 90.5, DGO_VENDOR_AMD}, /* another bus */
        {"Radeon 8060S Graphics", 256, 59.4, DGO_VENDOR_AMD},
        {"Intel(R) Arc(TM) Pro B70 Graphics", 608, 183.5, DGO_VENDOR_INTEL},
        {"Intel Arc B580", 456, 116.5, DGO_VENDOR_INTEL},
        /* cards that the table must not guess */
        {"NVIDIA GeForce RTX 5060 Ti SUPER", 0, 0, DGO_VENDOR_NVIDIA},
        {"NVIDIA GeForce RTX 2080 with Max-Q Design", 0, 0, DGO_VENDOR_NVIDIA},
        {"NVIDIA GeForce RTX 30900", 0, 0, DGO_VENDOR_NVIDIA},
        {"NVIDIA GeForce RTX 3090 / 3080", 0, 0, DGO_VENDOR_NVIDIA},
        {"NVIDIA GeForce RTX", 0, 0, DGO_VENDOR_NVIDIA},
        {"AMD Radeon Graphics", 0, 0, DGO_VENDOR_AMD},
        {"Intel(R) UHD Graphics 770", 0, 0, DGO_VENDOR_INTEL},
        {"Fake GPU", 0, 0, DGO_VENDOR_UNKNOWN},
        {"", 0, 0, DGO_VENDOR_UNKNOWN},
        {"a b c d e f g h i j k l m n o p q r s t u v w x y z", 0, 0, DGO_VENDOR_UNKNOWN},
        {"averylongwordthatnocardhasinitsnameatall RTX 3090", 0, 0, DGO_VENDOR_UNKNOWN},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct dgo_gpu_facts facts = {-1, -1, 0, 0};
        const bool found = dgo_gpu_facts(cases[i].name, &facts);

        CHECK_ROW(found == (cases[i].want_gbs > 0), cases[i].name);
        CHECK_ROW(gpu_vendor_of(cases[i].name) == cases[i].vendor, cases[i].name);
        if (!found) {
            CHECK_ROW(facts.bandwidth_bytes_per_s == -1 && facts.fp16_flops == -1, cases[i].name);
            continue;
        }
        CHECK_ROW(facts.bandwidth_bytes_per_s == cases[i].want_gbs * 1e9, cases[i].name);
        CHECK_ROW(facts.fp16_flops == cases[i].want_tflops * 1e12, cases[i].name);
    }
}

/* The table itself: each row can be found by its own name, and its figures are of this world. */
static void test_table(void **state)
{
    static const struct {
        const char *name;
        double gbs, tflops;
        uint32_t gen, lanes;
        const char *source;
    } rows[] = {
#define X(vendor, name, gbs, tflops, gen, lanes, source) {name, gbs, tflops, gen, lanes, source},
#include "gpu_facts.def"
#undef X
    };
    const size_t count = sizeof rows / sizeof rows[0];

    (void)state;
    assert_true(count >= 70);
    for (size_t i = 0; i < count; i++) {
        struct dgo_gpu_facts facts = {0};

        CHECK_ROW(dgo_gpu_facts(rows[i].name, &facts), rows[i].name);
        CHECK_ROW(facts.bandwidth_bytes_per_s == rows[i].gbs * 1e9, rows[i].name);
        CHECK_ROW(facts.fp16_flops == rows[i].tflops * 1e12, rows[i].name);
        CHECK_ROW(facts.pcie_gen == rows[i].gen && facts.pcie_width == rows[i].lanes, rows[i].name);
        CHECK_ROW((rows[i].gen == 0) == (rows[i].lanes == 0), rows[i].name);
        CHECK_ROW(rows[i].gen == 0 || (rows[i].gen >= 3 && rows[i].gen <= 6), rows[i].name);
        CHECK_ROW(rows[i].lanes == 0 || rows[i].lanes == 4 || rows[i].lanes == 8 ||
                      rows[i].lanes == 16,
                  rows[i].name);
        CHECK_ROW(rows[i].gbs >= 50 && rows[i].gbs <= 10000, rows[i].name);
        CHECK_ROW(rows[i].tflops >= 0 && rows[i].tflops <= 5000, rows[i].name);
        CHECK_ROW(rows[i].source[0] != '\0', rows[i].name);
        for (size_t j = 0; j < i; j++)
            CHECK_ROW(strcasecmp(rows[i].name, rows[j].name) != 0, rows[i].name);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_names), cmocka_unit_test(test_table)};

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
