/* test_near.c - NUMA node and near CPUs of a card from a recorded tree, and the sampler that stays
 * there. */
#include "rig.h"

#include "dgo_sampler.h"
#include "dgo_units.h"
#include "near.h"

#include <stdatomic.h>

#define CARD "card NVIDIA GeForce RTX 3090\n memory 24576 450 1000\n"

static void take(const char *scenario)
{
    struct dgo_error err = {0};

    if (rig_look(scenario, &err) != DGO_OK)
        fail_msg("look: %s", err.text);
}

static void near_files(const char *id, const char *node, const char *cpus)
{
    char path[128];

    snprintf(path, sizeof path, "/sys/bus/pci/devices/%s/numa_node", id);
    rig_write(path, "%s\n", node);
    snprintf(path, sizeof path, "/sys/bus/pci/devices/%s/local_cpulist", id);
    rig_write(path, "%s\n", cpus);
}

static void test_cpus_of_cards(void **state)
{
    static const struct {
        const char *name, *cpus;
        int count; /* 0: not known */
    } rows[] = {
        {"two ranges", "0-15,32-47", 32},
        {"some beyond the set", "1020-1030", 4},
        {"all beyond the set", "1024", 0},
        {"all", "all", 0},
        {"none", "", 0},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        cpu_set_t cpus;

        near_files("0000:01:00.0", "0", rows[i].cpus);
        CHECK_ROW_U64(gpu_near_cpus(rig_root, "0000:01:00.0", &cpus), rows[i].count != 0,
                      rows[i].name);
        CHECK_ROW_U64((uint64_t)CPU_COUNT(&cpus), (uint64_t)rows[i].count, rows[i].name);
    }
}

static void test_nodes_of_cards(void **state)
{
    static const struct {
        const char *name, *node;
        bool known;
        uint32_t want;
    } rows[] = {
        {"the first", "0", true, 0},
        {"the second", "1", true, 1},
        {"one node only", "-1", false, 0},
        {"garbage", "x", false, 0},
        {"empty", "", false, 0},
        {"with a tail", "1x", false, 0},
        {"no such node", "70000", false, 0},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        uint32_t node = 0;

        near_files("0000:01:00.0", rows[i].node, "0-3");
        CHECK_ROW_U64(gpu_near_node(rig_root, "0000:01:00.0", &node), rows[i].known, rows[i].name);
        if (rows[i].known)
            CHECK_ROW_U64(node, rows[i].want, rows[i].name);
    }
    uint32_t node;
    assert_false(gpu_near_node(rig_root, "0000:09:00.0", &node));
    assert_false(gpu_near_node(rig_root, "", &node));
}

/* Through the driver, into the machine and so into --json. */
static void test_the_machine_tells_nodes(void **state)
{
    (void)state;
    take(CARD CARD);
    for (uint32_t i = 0; i < rig.gpu_count; i++)
        assert_false(dgo_gpu_knows(&rig.gpu[i], DGO_GPU_NUMA_NODE));
    assert_int_equal(rig.gpu_count, 2);
    near_files(rig.gpu[0].pci_id, "0", "0");
    near_files(rig.gpu[1].pci_id, "1", "1");
    take(CARD CARD);
    assert_true(dgo_gpu_knows(&rig.gpu[1], DGO_GPU_NUMA_NODE));
    assert_int_equal(rig.gpu[0].numa_node, 0);
    assert_int_equal(rig.gpu[1].numa_node, 1);
}

static _Atomic int cpus_of_sampler;

static void look_where(const struct dgo_sample *sample, void *data)
{
    cpu_set_t cpus;

    (void)sample;
    (void)data;
    if (sched_getaffinity(0, sizeof cpus, &cpus) == 0)
        atomic_store(&cpus_of_sampler, CPU_COUNT(&cpus));
}

static int sampler_cpus(void)
{
    const struct dgo_sampler_options options = {
        .gpu = rig_options(), .interval_ns = 20 * DGO_NS_PER_MS, .on_sample = look_where};
    struct dgo_sampler *sampler = NULL;
    struct dgo_error err = {0};

    atomic_store(&cpus_of_sampler, 0);
    assert_int_equal(dgo_sampler_start(&options, &sampler, &err), DGO_OK);
    assert_int_equal(dgo_sampler_wait(sampler, 3, 120 * DGO_NS_PER_S, &err), DGO_OK);
    assert_true(dgo_sampler_stop(sampler, 120 * DGO_NS_PER_S));
    return atomic_load(&cpus_of_sampler);
}

static void test_the_sampler_stays_near(void **state)
{
    cpu_set_t own;
    char first[24] = "", all[64];
    size_t last = 0;
    int count;

    (void)state;
    assert_int_equal(sched_getaffinity(0, sizeof own, &own), 0);
    count = CPU_COUNT(&own);
    for (size_t cpu = CPU_SETSIZE; cpu-- > 0;)
        if (CPU_ISSET(cpu, &own)) {
            snprintf(first, sizeof first, "%zu", cpu);
            last = cpu > last ? cpu : last;
        }
    snprintf(all, sizeof all, "0-%zu", last);
    take(CARD);
    assert_int_equal(sampler_cpus(), count); /* nothing is known */
    near_files(rig.gpu[0].pci_id, "0", first);
    assert_int_equal(sampler_cpus(), 1);
    near_files(rig.gpu[0].pci_id, "0", all);
    assert_int_equal(sampler_cpus(), count);
    near_files(rig.gpu[0].pci_id, "0", "1000-1003"); /* none that it may use */
    assert_int_equal(sampler_cpus(), count);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test_setup_teardown(test_cpus_of_cards, rig_setup, rig_teardown),
    cmocka_unit_test_setup_teardown(test_nodes_of_cards, rig_setup, rig_teardown),
    cmocka_unit_test_setup_teardown(test_the_machine_tells_nodes, rig_setup, rig_teardown),
    cmocka_unit_test_setup_teardown(test_the_sampler_stays_near, rig_setup, rig_teardown),
};

CHECK_MAIN(tests)
