/* test_engine_threads.c - how many CPUs an engine gets, and the reason that is shown. */
#include "check.h"
#include "engine_threads.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static struct dgo_machine machine;
static struct dgo_plan made;

struct row {
    const char *name;
    struct dgo_budget_facts facts;
    uint32_t cores, near;
    bool host_layers;
    uint32_t want;
    const char *why;
};

static void test_limits(void **state)
{
    static const struct row rows[] = {
        {"nothing known", {0}, 0, 0, false, 0, ""},
        {"cores", {.cpus = 16}, 8, 0, false, 8, "core"},
        {"affinity", {.cpus = 2}, 8, 0, false, 2, "may run on"},
        {"quota",
         {.cpus = 16, .quota_known = true, .quota_permille = 3500},
         8,
         0,
         false,
         3,
         "3.50 CPUs"},
        {"a quota below one CPU",
         {.cpus = 16, .quota_known = true, .quota_permille = 400},
         8,
         0,
         false,
         1,
         "0.40 CPUs"},
        {"a wide quota limits nothing",
         {.cpus = 4, .quota_known = true, .quota_permille = 64000},
         8,
         0,
         false,
         4,
         "may run on"},
        {"the node of the cards", {.cpus = 64}, 32, 16, false, 16, "NUMA"},
        {"layers in host memory want every node", {.cpus = 64}, 32, 16, true, 32, "core"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct engine_threads threads;

        made.settings.device_count = 1;
        made.estimate.host.layer_count = rows[i].host_layers ? 3 : 0;
        engine_threads_decide(&rows[i].facts, rows[i].cores, rows[i].near, &made, &threads);
        if (threads.count != rows[i].want || !strstr(threads.why, rows[i].why))
            fail_msg("%s: %u, \"%s\"", rows[i].name, (unsigned)threads.count, threads.why);
    }
}

static void put(const char *root, const char *pci_id, const char *list)
{
    static const char *const parts[] = {"/sys", "/bus", "/pci", "/devices", "/"};
    char path[512];
    size_t used = (size_t)snprintf(path, sizeof path, "%s", root);
    FILE *file;

    for (size_t i = 0; i < 5; i++) {
        used += (size_t)snprintf(path + used, sizeof path - used, "%s%s", parts[i],
                                 i == 4 ? pci_id : "");
        (void)mkdir(path, 0700);
    }
    snprintf(path + used, sizeof path - used, "/local_cpulist");
    file = fopen(path, "w");
    assert_non_null(file);
    fputs(list, file);
    assert_int_equal(fclose(file), 0);
}

static void test_near(void **state)
{
    char root[] = "/tmp/dgo-threads-XXXXXX", command[64];

    (void)state;
    assert_non_null(mkdtemp(root));
    machine.gpu_count = 2;
    made.settings.device_count = 2;
    made.settings.device_gpu[0] = 0;
    made.settings.device_gpu[1] = 1;
    snprintf(machine.gpu[0].pci_id, sizeof machine.gpu[0].pci_id, "0000:01:00.0");
    snprintf(machine.gpu[1].pci_id, sizeof machine.gpu[1].pci_id, "0000:02:00.0");
    assert_int_equal(engine_threads_near(root, &machine, &made), 0);
    put(root, "0000:01:00.0", "0-15,32-47\n");
    assert_int_equal(engine_threads_near(root, &machine, &made), 0);
    put(root, "0000:02:00.0", "0-15,32-47\n");
    assert_int_equal(engine_threads_near(root, &machine, &made), 32);
    put(root, "0000:02:00.0", "16-31\n");
    assert_int_equal(engine_threads_near(root, &machine, &made), 0);
    put(root, "0000:01:00.0", "9-3\n");
    made.settings.device_count = 1;
    assert_int_equal(engine_threads_near(root, &machine, &made), 0);
    snprintf(machine.gpu[0].pci_id, sizeof machine.gpu[0].pci_id, "../../etc");
    assert_int_equal(engine_threads_near(root, &machine, &made), 0);
    snprintf(command, sizeof command, "rm -r %s", root);
    assert_int_equal(system(command), 0);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_limits),
    cmocka_unit_test(test_near),
};

CHECK_MAIN(tests)
