/* test_link.c - how two cards reach each other, from the driver's answers. */
#include "driver.h"
#include "rig.h"

#define CARDS "card A\nmemory 1024 0 0\n%s\ncard B\nmemory 1024 0 0\n%s\n"

static void test_links(void **state)
{
    static const struct {
        const char *name, *pair, *one, *other;
        enum dgo_link_kind kind;
        bool p2p_known, p2p;
        double want_gbs;
    } cases[] = {
        {"nothing told", "", "", "", DGO_LINK_UNKNOWN, false, false, 0},
        {"one switch", "topology 0 1 10\n", "", "", DGO_LINK_PIX, false, false, 0},
        {"switches", "topology 0 1 20\n", "", "", DGO_LINK_PXB, false, false, 0},
        {"host bridge", "topology 0 1 30\n", "", "", DGO_LINK_PHB, false, false, 0},
        {"one node", "topology 0 1 40\n", "", "", DGO_LINK_NODE, false, false, 0},
        {"sockets", "topology 0 1 50\n", "", "", DGO_LINK_SYS, false, false, 0},
        {"one board", "topology 0 1 0\n", "", "", DGO_LINK_PIX, false, false, 0},
        {"a new level", "topology 0 1 60\n", "", "", DGO_LINK_UNKNOWN, false, false, 0},
        {"peers", "p2p 0 1 0 0\np2p 0 1 1 0\n", "", "", DGO_LINK_UNKNOWN, true, true, 0},
        {"reads only", "p2p 0 1 0 0\np2p 0 1 1 2\n", "", "", DGO_LINK_UNKNOWN, true, false, 0},
        {"refused", "p2p 0 1 0 2\np2p 0 1 1 2\n", "", "", DGO_LINK_UNKNOWN, true, false, 0},
        {"not told", "p2p 0 1 0 6\np2p 0 1 1 6\n", "", "", DGO_LINK_UNKNOWN, false, false, 0},
        {"four bridges", "topology 0 1 30\nnvlink 0 1 4\n", "nvlink_speed 14062",
         "nvlink_speed 14062", DGO_LINK_NVLINK, false, false, 56.248},
        {"bridges of unknown speed", "topology 0 1 30\nnvlink 0 1 4\n", "", "", DGO_LINK_NVLINK,
         false, false, 0},
        {"through a switch", "p2p 0 1 2 0\nnvlink 0 31 18\n", "nvlink_speed 26562", "",
         DGO_LINK_NVLINK, false, false, 478.116},
        {"a switch that does not reach", "p2p 0 1 2 5\nnvlink 0 31 18\n", "nvlink_speed 26562", "",
         DGO_LINK_UNKNOWN, false, false, 0},
        {"the narrower slot counts", "topology 0 1 30\n",
         "pcie_gen 1\npcie_gen_max 4\npcie_width 16\npcie_width_max 16",
         "pcie_gen 1\npcie_gen_max 3\npcie_width 4\npcie_width_max 16", DGO_LINK_PHB, false, false,
         3.938},
        {"one slot unknown", "topology 0 1 30\n", "pcie_gen_max 4\npcie_width_max 16", "",
         DGO_LINK_PHB, false, false, 0},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const struct dgo_link *link = &rig.link[0][1];
        struct dgo_error err = {0};
        char scenario[1024];
        double difference;

        snprintf(scenario, sizeof scenario, "%s" CARDS, cases[i].pair, cases[i].one,
                 cases[i].other);
        CHECK_ROW_U64(rig_look(scenario, &err), DGO_OK, cases[i].name);
        CHECK_ROW_U64(link->kind, cases[i].kind, cases[i].name);
        CHECK_ROW_U64(link->p2p_known, cases[i].p2p_known, cases[i].name);
        CHECK_ROW_U64(link->p2p, cases[i].p2p, cases[i].name);
        difference = link->bandwidth_bytes_per_s / 1e9 - cases[i].want_gbs;
        CHECK_ROW(difference < 0.01 && difference > -0.01, cases[i].name);
        CHECK_ROW(memcmp(link, &rig.link[1][0], sizeof *link) == 0, cases[i].name);
    }
}

static void test_card_rate(void **state)
{
    static const struct {
        const char *name;
        uint32_t gen, gen_max, width, width_max; /* 0: not known */
        double want_gbs;
    } cases[] = {
        {"nothing known", 0, 0, 0, 0, 0},           {"no width", 4, 4, 0, 0, 0},
        {"no generation", 0, 0, 16, 16, 0},         {"idle", 1, 4, 16, 16, 31.508},
        {"only what it is now", 3, 0, 8, 0, 7.877}, {"only what it can be", 0, 4, 0, 8, 15.754},
        {"a narrower slot", 4, 4, 4, 16, 7.877},    {"wider than it can be", 4, 4, 16, 8, 15.754},
        {"later than known", 8, 8, 16, 16, 121},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct dgo_gpu gpu = {0};

        if (cases[i].gen)
            GPU_SET(&gpu, PCIE_GEN, pcie_gen, cases[i].gen);
        if (cases[i].gen_max)
            GPU_SET(&gpu, PCIE_GEN_MAX, pcie_gen_max, cases[i].gen_max);
        if (cases[i].width)
            GPU_SET(&gpu, PCIE_WIDTH, pcie_width, cases[i].width);
        if (cases[i].width_max)
            GPU_SET(&gpu, PCIE_WIDTH_MAX, pcie_width_max, cases[i].width_max);
        const double difference = dgo_gpu_pcie_bytes_per_s(&gpu) / 1e9 - cases[i].want_gbs;
        CHECK_ROW(difference < 0.001 && difference > -0.001, cases[i].name);
    }
}

static void test_kind_names(void **state)
{
    (void)state;
    assert_string_equal(dgo_link_kind_name(DGO_LINK_NVLINK), "nvlink");
    assert_string_equal(dgo_link_kind_name(DGO_LINK_SYS), "sys");
    assert_string_equal(dgo_link_kind_name((enum dgo_link_kind)99), "unknown");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_links, rig_setup, rig_teardown),
        cmocka_unit_test(test_card_rate),
        cmocka_unit_test(test_kind_names),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
