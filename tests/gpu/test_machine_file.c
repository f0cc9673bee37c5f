/* test_machine_file.c - described machines: what they become, and what is said of bad files. */
#include "machine_file.h"
#include "rig.h"

#include "dgo_units.h"

#define CARD "{name: A, total_mib: 24576, free_mib: 24100}"

static enum dgo_status parse(const char *text, struct dgo_error *err)
{
    memset(&rig, 0, sizeof rig);
    return gpu_machine_parse(text, strlen(text), &rig, err);
}

static void test_whole_file(void **state)
{
    struct dgo_gpu_options options = {0};
    struct dgo_gpu_source *source = NULL;
    char path[PATH_MAX];
    const struct dgo_gpu *gpu;

    (void)state;
    rig_write("/machine.yaml",
              "# two cards\n"
              "links: [{between: [1, 0], kind: NVLink, p2p: true, bandwidth_gbs: 56.25}]\n"
              "gpus:\n"
              "  - name: NVIDIA GeForce RTX 3090\n"
              "    total_mib: 24576\n"
              "    free_mib: 23000.5\n"
              "    reserved_mib: 450\n"
              "    uuid: GPU-1\n"
              "    pci_id: \"0000:0A:00.0\"\n"
              "    bandwidth_gbs: 900\n"
              "    fp16_tflops: 71\n"
              "    pcie: {gen: 4, width: 8}\n"
              "    compute: 8.6\n"
              "  - {name: NVIDIA GeForce RTX 3060, total_mib: 12288, free_mib: 11900}\n"
              "host: {total_mib: 65536, free_mib: 60000, bandwidth_gbs: 60, cores: 16}\n");
    snprintf(path, sizeof path, "%s/machine.yaml", rig_root);
    options.machine_file = path;
    assert_int_equal(dgo_gpu_open(&options, &source, NULL), DGO_OK);
    assert_int_equal(dgo_gpu_take(source, &rig, NULL), DGO_OK);
    assert_int_equal(dgo_gpu_take(source, &rig, NULL), DGO_OK); /* each look gives the same */
    dgo_gpu_close(source);

    assert_true(rig.origin.simulated);
    assert_string_equal(rig.source, "machine file");
    assert_int_equal(rig.gpu_count, 2);
    gpu = &rig.gpu[0];
    assert_int_equal(gpu->vendor, DGO_VENDOR_NVIDIA);
    assert_int_equal(gpu->total_bytes, 24576 * DGO_MIB);
    assert_int_equal(gpu->free_bytes, 23000 * DGO_MIB + DGO_MIB / 2);
    assert_int_equal(gpu->used_bytes, gpu->total_bytes - gpu->free_bytes - 450 * DGO_MIB);
    assert_string_equal(gpu->uuid, "GPU-1");
    assert_string_equal(gpu->pci_id, "0000:0a:00.0");
    assert_true(gpu->bandwidth_bytes_per_s == 900e9); /* the file knows better than the table */
    assert_true(gpu->fp16_flops == 71e12);
    assert_int_equal(gpu->pcie_gen, 4);
    assert_int_equal(gpu->pcie_width_max, 8);
    assert_int_equal(gpu->compute_major * 10 + gpu->compute_minor, 86);
    assert_false(gpu->processes_known);
    gpu = &rig.gpu[1];
    assert_true(gpu->bandwidth_bytes_per_s == 360e9);
    assert_int_equal(gpu->pcie_gen_max, 4); /* of the table: what the card can do */
    assert_int_equal(gpu->pcie_width_max, 16);
    assert_false(dgo_gpu_knows(gpu, DGO_GPU_PCIE_GEN) || dgo_gpu_knows(gpu, DGO_GPU_PCIE_WIDTH));
    assert_false(dgo_gpu_knows(gpu, DGO_GPU_RESERVED_BYTES));
    assert_int_equal(gpu->used_bytes, (12288 - 11900) * DGO_MIB);
    assert_int_equal(rig.link[0][1].kind, DGO_LINK_NVLINK);
    assert_true(rig.link[1][0].p2p_known && rig.link[1][0].p2p);
    assert_true(rig.link[1][0].bandwidth_bytes_per_s == 56.25e9);
    assert_true(rig.host.memory_known);
    assert_int_equal(rig.host.free_bytes, 60000 * DGO_MIB);
    assert_int_equal(rig.host.core_count, 16);
}

static void test_good(void **state)
{
    static const struct {
        const char *name, *text;
        uint32_t gpu_count;
    } cases[] = {
        {"least", "gpus: [" CARD "]", 1},
        {"sixteen",
         "gpus: [" CARD "," CARD "," CARD "," CARD "," CARD "," CARD "," CARD "," CARD "," CARD
         "," CARD "," CARD "," CARD "," CARD "," CARD "," CARD "," CARD "]",
         16},
        {"nothing free", "gpus: [{name: A, total_mib: 1, free_mib: 0}]", 1},
        {"all free", "gpus: [{name: A, total_mib: 1, free_mib: 1}]", 1},
        {"quoted name", "gpus: [{name: \"RTX: the card\", total_mib: 1, free_mib: 1}]", 1},
        {"name of digits", "gpus: [{name: 3090, total_mib: 1, free_mib: 1}]", 1},
        {"no links", "gpus: [" CARD "]\nlinks: []", 1},
        {"document marks", "---\ngpus: [" CARD "]\n...\n", 1},
        {"byte order mark", "\xef\xbb\xbfgpus: [" CARD "]", 1},
        {"JSON is YAML", "{\"gpus\": [{\"name\": \"A\", \"total_mib\": 2, \"free_mib\": 1}]}", 1},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct dgo_error err = {0};

        CHECK_ROW_U64(parse(cases[i].text, &err), DGO_OK, cases[i].name);
        CHECK_ROW_U64(rig.gpu_count, cases[i].gpu_count, cases[i].name);
    }
}

#define GPU(rest) "gpus:\n- {name: A, total_mib: 24576, free_mib: 24100, " rest "}\n"
#define TWO       "gpus: [" CARD ", " CARD "]\n"

static void test_bad(void **state)
{
    static const struct {
        const char *name, *text, *want;
    } cases[] = {
        {"empty", "", "line 1, column 1: the file is empty"},
        {"no map", "- a", "line 1, column 1: a machine file must be a map like {gpus: ...}"},
        {"no gpus", "host: {total_mib: 1, free_mib: 1}",
         "line 1, column 1: a machine file needs the key 'gpus'"},
        {"no list", "gpus: 2", "line 1, column 7: gpus must be a list like"},
        {"empty list", "gpus: []", "line 1, column 7: gpus is empty"},
        {"a scalar GPU", "gpus: [3090]", "line 1, column 8: a GPU must be a map like {name: ...}"},
        {"seventeen",
         "gpus: [" CARD "," CARD "," CARD "," CARD "," CARD "," CARD "," CARD "," CARD "," CARD
         "," CARD "," CARD "," CARD "," CARD "," CARD "," CARD "," CARD ",\n" CARD "]",
         "line 2, column 1: more than 16 GPUs"},
        {"name missing", "gpus:\n- {total_mib: 1, free_mib: 1}",
         "line 2, column 3: a GPU needs the key 'name'"},
        {"total missing", "gpus:\n- {name: A, free_mib: 1}",
         "line 2, column 3: a GPU needs the key 'total_mib'"},
        {"free missing", "gpus:\n- {name: A, total_mib: 1}",
         "line 2, column 3: a GPU needs the key 'free_mib'"},
        {"name empty", "gpus: [{name: '', total_mib: 1, free_mib: 1}]",
         "line 1, column 15: name must be text"},
        {"name a list", "gpus: [{name: [], total_mib: 1, free_mib: 1}]",
         "line 1, column 15: name must be text"},
        {"uuid too long",
         GPU("uuid: 0123456789012345678901234567890123456789012345678901234567890123456789"
             "012345678901234567890123456789"),
         "line 2, column 54: uuid is longer than 95 bytes"},
        {"misspelt", "gpus:\n- {name: A, totel_mib: 1, free_mib: 1}",
         "line 2, column 13: unknown key 'totel_mib' of a GPU; did you mean 'total_mib'?"},
        {"begun", "gpus:\n- {name: A, total: 1, free_mib: 1}",
         "unknown key 'total' of a GPU; did you mean 'total_mib'?"},
        {"misspelt at the top", "gpu: [" CARD "]",
         "line 1, column 1: unknown key 'gpu' of a machine file; did you mean 'gpus'?"},
        {"nothing like it", GPU("colour: red"),
         "line 2, column 48: unknown key 'colour' of a GPU; known are name, total_mib, free_mib"},
        {"key twice", GPU("free_mib: 1"),
         "line 2, column 48: 'free_mib' stands twice, first in line 2; keep one of them"},
        {"free above total", "gpus:\n- {name: A, total_mib: 100, free_mib: 101}",
         "line 2, column 39: free_mib 101 is more than total_mib 100"},
        {"parts above total", GPU("used_mib: 400, reserved_mib: 400"),
         "used_mib, reserved_mib and free_mib together are more than total_mib 24576"},
        {"negative", "gpus:\n- {name: A, total_mib: -100, free_mib: 1}",
         "line 2, column 24: total_mib must not be negative, but is -100"},
        {"not a number", "gpus:\n- {name: A, total_mib: .nan, free_mib: 1}",
         "line 2, column 24: total_mib must be a number like 1, not '.nan'"},
        {"infinite", "gpus:\n- {name: A, total_mib: .inf, free_mib: 1}",
         "total_mib must be a number like 1, not '.inf'"},
        {"exponent", "gpus:\n- {name: A, total_mib: 1e4, free_mib: 1}", "not '1e4'"},
        {"hexadecimal", "gpus:\n- {name: A, total_mib: 0x10, free_mib: 1}", "not '0x10'"},
        {"unit", "gpus:\n- {name: A, total_mib: 24GiB, free_mib: 1}", "not '24GiB'"},
        {"quoted number", "gpus:\n- {name: A, total_mib: \"24\", free_mib: 1}", "not '24'"},
        {"empty number", "gpus:\n- {name: A, total_mib: , free_mib: 1}", "not ''"},
        {"a list for a number", "gpus:\n- {name: A, total_mib: [1], free_mib: 1}",
         "not a list or a map"},
        {"zero total", "gpus:\n- {name: A, total_mib: 0, free_mib: 0}",
         "total_mib must lie within 1 and 16777216, but is 0"},
        {"absurd total", "gpus:\n- {name: A, total_mib: 99999999, free_mib: 0}",
         "total_mib must lie within 1 and 16777216, but is 99999999"},
        {"digits without end", "gpus:\n- {name: A, total_mib: 1111111111111111111111, free_mib: 0}",
         "total_mib must be a number"},
        {"lanes in part", GPU("pcie: {gen: 4, width: 1.5}"),
         "width must be a whole number like 1, not '1.5'"},
        {"no such generation", GPU("pcie: {gen: 9, width: 1}"), "gen must lie within 1 and 7"},
        {"pcie in part", GPU("pcie: {gen: 4}"), "pcie needs the key 'width'"},
        {"pcie misspelt", GPU("pcie: {gem: 4}"), "unknown key 'gem' of pcie; did you mean 'gen'?"},
        {"compute", GPU("compute: eight"), "compute must be a capability like \"8.6\""},
        {"address", GPU("pci_id: slot 1"), "pci_id must be a PCI address"},
        {"address twice",
         "gpus:\n- {name: A, total_mib: 1, free_mib: 1, pci_id: \"01:00.0\"}\n"
         "- {name: B, total_mib: 1, free_mib: 1, pci_id: \"0000:01:00.0\"}",
         "line 3, column 3: GPU 0 and GPU 1 have the same pci_id"},
        {"host in part", "gpus: [" CARD "]\nhost: {total_mib: 1}",
         "line 2, column 7: host needs the key 'free_mib'"},
        {"host free above total", "gpus: [" CARD "]\nhost: {total_mib: 1, free_mib: 2}",
         "line 2, column 32: free_mib 2 of host is more than its total_mib"},
        {"link to itself", TWO "links: [{between: [1, 1]}]",
         "line 2, column 19: between must be two different GPUs"},
        {"link to nowhere", TWO "links: [{between: [0, 2]}]",
         "line 2, column 23: between must lie within 0 and 1, but is 2"},
        {"link of three", TWO "links: [{between: [0, 1, 0]}]", "between must be two GPU numbers"},
        {"link without ends", TWO "links: [{kind: phb}]", "a link needs the key 'between'"},
        {"link twice", TWO "links: [{between: [0, 1]}, {between: [1, 0]}]",
         "line 2, column 28: the link between 1 and 0 is given twice"},
        {"kind", TWO "links: [{between: [0, 1], kind: usb}]",
         "kind must be one of nvlink, pix, pxb, phb, node, sys"},
        {"yes", TWO "links: [{between: [0, 1], p2p: yes}]", "p2p must be true or false, not 'yes'"},
        {"anchor", "gpus: &all [" CARD "]", "line 1, column 7: anchors (&name) are not accepted"},
        {"alias", "gpus: *all", "line 1, column 7: aliases (*name) are not accepted"},
        {"tag", "gpus: !!seq [" CARD "]", "line 1, column 7: tags (!name) are not accepted"},
        {"merge", "gpus: [" CARD "]\n<<: {}", "line 2, column 1: merge keys (<<) are not accepted"},
        {"map as key", "{a: b}: c", "a key must be plain text"},
        {"two documents", "gpus: [" CARD "]\n---\n", "line 2, column 1: only one document"},
        {"too deep", "a: [[[[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]]]",
         "line 1, column 19: nested more than 16 deep"},
        {"not closed", "gpus: [\n", "line 2, column 1: did not find expected node content"},
        {"tab", "gpus:\n\t- a", "line 2, column 1: found character that cannot start any token"},
        {"not UTF-8", "gpus: \xff", "byte 6: invalid leading UTF-8 octet"},
        {"drives the terminal", "gpus: [{\"na\\e[2Jme\": 1}]",
         "unknown key 'na\\x1b[2Jme' of a GPU"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct dgo_error err = {0};

        CHECK_ROW_U64(parse(cases[i].text, &err), DGO_EFORMAT, cases[i].name);
        if (!strstr(err.text, cases[i].want))
            print_error("got \"%s\"\n", err.text);
        CHECK_ROW(strstr(err.text, cases[i].want), cases[i].name);
    }
}

static void test_files(void **state)
{
    struct dgo_gpu_options options = {0};
    struct dgo_gpu_source *source = NULL;
    struct dgo_error err = {0};
    char path[PATH_MAX], want[PATH_MAX + 64];
    FILE *file;

    (void)state;
    options.machine_file = path;
    snprintf(path, sizeof path, "%s/none.yaml", rig_root);
    assert_int_equal(dgo_gpu_open(&options, &source, &err), DGO_ENOTFOUND);
    assert_non_null(strstr(err.text, "No such file"));
    options.machine_file = rig_root;
    assert_int_equal(dgo_gpu_open(&options, &source, &err), DGO_EIO);

    options.machine_file = path;
    rig_write("/none.yaml", "gpus:\n- {name: A, total_mib: x, free_mib: 1}");
    assert_int_equal(dgo_gpu_open(&options, &source, &err), DGO_EFORMAT);
    snprintf(want, sizeof want, "%s: line 2, column 24: total_mib must be", path);
    assert_memory_equal(err.text, want, strlen(want));

    file = fopen(path, "w");
    assert_non_null(file);
    for (int i = 0; i < (1 << 20) / 16 + 1; i++)
        fputs("# fifteen bytes\n", file);
    fclose(file);
    assert_int_equal(dgo_gpu_open(&options, &source, &err), DGO_ELIMIT);
    assert_non_null(strstr(err.text, "larger than 1 MiB"));
    assert_null(source);
}

/* No cut or changed byte of a good file may do more than be refused. */
static void test_damaged(void **state)
{
    static const char good[] = "gpus:\n- {name: A, total_mib: 24576, free_mib: 24100, pci_id: "
                               "\"01:00.0\", pcie: {gen: 4, width: 8}, compute: 8.6}\n- " CARD
                               "\nhost: {total_mib: 5, free_mib: 5}\nlinks: [{between: [0, 1], "
                               "kind: phb, p2p: false}]\n";
    uint64_t seed = check_seed();
    uint32_t accepted = 0;

    (void)state;
    for (int round = 0; round < 2000; round++) {
        char text[sizeof good];
        size_t length = sizeof good - 1;
        struct dgo_error err = {0};
        enum dgo_status status;

        memcpy(text, good, sizeof good);
        for (uint64_t i = check_below(&seed, 4); i > 0; i--)
            text[check_below(&seed, length)] = (char)check_below(&seed, 256);
        if (check_below(&seed, 4) == 0)
            length = check_below(&seed, length);
        memset(&rig, 0, sizeof rig);
        status = gpu_machine_parse(text, length, &rig, &err);
        accepted += status == DGO_OK;
        assert_true(status == DGO_OK || err.text[0] != '\0');
        assert_true(rig.gpu_count <= DGO_GPU_MAX);
    }
    assert_true(accepted > 0 && accepted < 2000);
}

static void test_examples(void **state)
{
    static const struct {
        const char *name;
        uint32_t gpu_count;
    } cases[] = {{"two-equal.yaml", 2},
                 {"two-unequal.yaml", 2},
                 {"three.yaml", 3},
                 {"four-mixed.yaml", 4},
                 {"two-makers.yaml", 2}};

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct dgo_gpu_source *source = NULL;
        struct dgo_error err = {0};
        char path[PATH_MAX];

        snprintf(path, sizeof path, "%s/%s", EXAMPLES, cases[i].name);
        CHECK_ROW_U64(dgo_gpu_open(&(struct dgo_gpu_options){.machine_file = path}, &source, &err),
                      DGO_OK, cases[i].name);
        CHECK_ROW_U64(dgo_gpu_take(source, &rig, &err), DGO_OK, cases[i].name);
        CHECK_ROW_U64(rig.gpu_count, cases[i].gpu_count, cases[i].name);
        CHECK_ROW(rig.origin.simulated && rig.host.memory_known, cases[i].name);
        for (uint32_t g = 0; g < rig.gpu_count; g++) {
            CHECK_ROW(dgo_gpu_knows(&rig.gpu[g], DGO_GPU_BANDWIDTH_BYTES_PER_S), cases[i].name);
            CHECK_ROW(dgo_gpu_knows(&rig.gpu[g], DGO_GPU_FP16_FLOPS), cases[i].name);
        }
        dgo_gpu_close(source);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define RIG_TEST(f) cmocka_unit_test_setup_teardown(f, rig_setup, rig_teardown)
        RIG_TEST(test_whole_file), cmocka_unit_test(test_good),    cmocka_unit_test(test_bad),
        RIG_TEST(test_files),      cmocka_unit_test(test_damaged), cmocka_unit_test(test_examples),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
