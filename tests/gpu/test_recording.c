/* test_recording.c - what was recorded is what is read; strangers' files are met with a sentence.
 */
#include "rig.h"

#include "dgo_recording.h"
#include "dgo_units.h"
#include "recording.h"

static struct dgo_sample sample;
static struct dgo_recording_item item;

#define HEADER "{\"dualgpuopt_recording\":1,\"wall_ns\":5000000000,\"driver\":\"550\"}\n"

static const char *file_path(void)
{
    static char path[128];

    snprintf(path, sizeof path, "%s/recording.jsonl", rig_root);
    return path;
}

/* A machine with something in every kind of member. */
static void fill_sample(uint64_t seconds)
{
    struct dgo_machine *machine = &sample.machine;
    struct dgo_gpu *gpu = &machine->gpu[0];

    memset(&sample, 0, sizeof sample);
    sample.sequence = seconds + 1;
    sample.monotonic_ns = (1000 + seconds) * DGO_NS_PER_S;
    sample.wall_ns = (9000 + seconds) * DGO_NS_PER_S;
    snprintf(machine->source, sizeof machine->source, "nvml");
    snprintf(machine->driver, sizeof machine->driver, "550.1");
    machine->gpu_count = 2;
    snprintf(gpu->name, sizeof gpu->name, "NVIDIA GeForce RTX 3090");
    snprintf(gpu->uuid, sizeof gpu->uuid, "GPU-\xC3\xA9");
    snprintf(gpu->pci_id, sizeof gpu->pci_id, "0000:01:00.0");
    gpu->vendor = DGO_VENDOR_NVIDIA;
    gpu->known = ~UINT64_C(0) >> (64 - DGO_GPU_FIELD_COUNT);
#define X(id, type, name, title) gpu->name = (type)(DGO_GPU_##id + 3);
#include "fields.def"
#undef X
    gpu->used_bytes = seconds * DGO_MIB;
    gpu->temperature_c = -4;
    gpu->processes_known = true;
    gpu->process_count = 2;
    gpu->process_more = 1;
    gpu->process[0] = (struct dgo_gpu_process){.pid = 42,
                                               .used_known = true,
                                               .used_bytes = 7,
                                               .compute = true,
                                               .role = DGO_ROLE_ENGINE,
                                               .start_ticks = 99,
                                               .name = "llama-server",
                                               .owner = "root",
                                               .container = "docker 0123456789ab",
                                               .command = "llama-server -m x"};
    gpu->process[1] = (struct dgo_gpu_process){.pid = 43, .graphics = true};
    machine->gpu[1].sliced = true;
    machine->gpu[1].slice_count = 1;
    machine->gpu[1].slice[0] = (struct dgo_gpu_slice){
        .name = "MIG 1g", .uuid = "MIG-1", .memory_known = true, .total_bytes = 9, .free_bytes = 8};
    machine->link[0][1] = machine->link[1][0] =
        (struct dgo_link){.kind = DGO_LINK_PHB, .p2p_known = true, .bandwidth_bytes_per_s = 12e9};
    machine->host = (struct dgo_host){.memory_known = true,
                                      .total_bytes = 64,
                                      .free_bytes = 32,
                                      .bandwidth_bytes_per_s = 5e9,
                                      .decode_bytes_per_s = 3e9,
                                      .core_count = 8};
}

static bool same_gpu(const struct dgo_gpu *a, const struct dgo_gpu *b)
{
    if (a->known != b->known || strcmp(a->name, b->name) != 0 || strcmp(a->uuid, b->uuid) != 0 ||
        strcmp(a->problem, b->problem) != 0 || a->vendor != b->vendor)
        return false;
#define X(id, type, name, title)                                                                   \
    if (a->name != b->name)                                                                        \
        return false;
#include "fields.def"
#undef X
    return a->process_count == b->process_count && a->process_more == b->process_more &&
           a->processes_known == b->processes_known && a->sliced == b->sliced;
}

static void add(struct dgo_recorder *recorder)
{
    assert_int_equal(dgo_recorder_add_sample(recorder, &sample, NULL), DGO_OK);
}

static void write_three_looks(void)
{
    const struct dgo_engine_load load = {.pid = 42,
                                         .model = "tiny",
                                         .known = 1u << DGO_LOAD_REQUESTS | 1u << DGO_LOAD_BUSY,
                                         .requests = 17,
                                         .busy = 2};
    struct dgo_recorder *recorder = NULL;

    assert_int_equal(dgo_recorder_open(file_path(), &recorder, NULL), DGO_OK);
    fill_sample(0);
    add(recorder);
    fill_sample(1);
    sample.machine.gpu[0].known &= ~(UINT64_C(1) << DGO_GPU_BUSY_PERMILLE);
    sample.machine.gpu[0].busy_permille = 0;
    snprintf(sample.machine.gpu[0].problem, sizeof sample.machine.gpu[0].problem, "odd");
    add(recorder);
    assert_int_equal(dgo_recorder_add_load(recorder, 1001500 * DGO_NS_PER_MS, &load, NULL), DGO_OK);
    assert_int_equal(dgo_recorder_add_mark(recorder, 1001500 * DGO_NS_PER_MS, "go\n", NULL),
                     DGO_OK);
    snprintf(sample.problem, sizeof sample.problem, "the driver went away");
    sample.age_ns = DGO_NS_PER_S;
    add(recorder);
    fill_sample(3);
    sample.machine.gpu_count = 1;
    add(recorder);
    assert_int_equal(dgo_recorder_close(recorder, NULL), DGO_OK);
}

static void test_round_trip(void **state)
{
    struct dgo_recording *recording = NULL;
    struct dgo_error err = {0};

    (void)state;
    write_three_looks();
    assert_true(dgo_recording_is_one(file_path()));
    assert_int_equal(dgo_recording_open(file_path(), &recording, &err), DGO_OK);

    assert_int_equal(dgo_recording_next(recording, &item, &err), DGO_OK);
    fill_sample(0);
    assert_int_equal(item.kind, DGO_RECORDED_SAMPLE);
    assert_int_equal(item.at_ns, 0);
    assert_int_equal(item.sample->wall_ns, 9000 * DGO_NS_PER_S);
    assert_false(item.sample->machine.origin.simulated);
    assert_true(item.sample->machine.origin.recorded);
    assert_int_equal(item.sample->machine.origin.recorded_ns, 9000 * DGO_NS_PER_S);
    assert_string_equal(item.sample->machine.source, "recording");
    assert_string_equal(item.sample->machine.driver, "550.1");
    assert_int_equal(item.sample->machine.gpu_count, 2);
    assert_true(same_gpu(&item.sample->machine.gpu[0], &sample.machine.gpu[0]));
    assert_true(same_gpu(&item.sample->machine.gpu[1], &sample.machine.gpu[1]));
    assert_memory_equal(&item.sample->machine.link, &sample.machine.link,
                        sizeof sample.machine.link);
    assert_int_equal(item.sample->machine.host.free_bytes, 32);
    assert_true(item.sample->machine.host.decode_bytes_per_s == 3e9);
    {
        const struct dgo_gpu_process *process = &item.sample->machine.gpu[0].process[0];

        assert_int_equal(process->pid, 42);
        assert_int_equal(process->used_bytes, 7);
        assert_int_equal(process->role, DGO_ROLE_ENGINE);
        assert_int_equal(process->start_ticks, 99);
        assert_string_equal(process->container, "docker 0123456789ab");
        assert_string_equal(process->command, "llama-server -m x");
        assert_false(item.sample->machine.gpu[0].process[1].used_known);
        assert_int_equal(item.sample->machine.gpu[1].slice[0].free_bytes, 8);
    }

    assert_int_equal(dgo_recording_next(recording, &item, &err), DGO_OK);
    assert_int_equal(item.at_ns, DGO_NS_PER_S);
    assert_int_equal(item.sample->machine.gpu[0].used_bytes, DGO_MIB);
    assert_false(dgo_gpu_knows(&item.sample->machine.gpu[0], DGO_GPU_BUSY_PERMILLE));
    assert_true(dgo_gpu_knows(&item.sample->machine.gpu[0], DGO_GPU_TOTAL_BYTES));
    assert_string_equal(item.sample->machine.gpu[0].problem, "odd");

    assert_int_equal(dgo_recording_next(recording, &item, &err), DGO_OK);
    assert_int_equal(item.kind, DGO_RECORDED_LOAD);
    assert_int_equal(item.load.requests, 17);
    assert_int_equal(item.load.busy, 2);
    assert_false(dgo_load_knows(&item.load, DGO_LOAD_SLOTS));
    assert_string_equal(item.load.model, "tiny");

    assert_int_equal(dgo_recording_next(recording, &item, &err), DGO_OK);
    assert_int_equal(item.kind, DGO_RECORDED_MARK);
    assert_string_equal(item.mark, "go\\x0a");

    assert_int_equal(dgo_recording_next(recording, &item, &err), DGO_OK);
    assert_string_equal(item.sample->problem, "the driver went away");
    assert_true(item.sample->stale);
    assert_int_equal(item.at_ns, 2 * DGO_NS_PER_S);

    assert_int_equal(dgo_recording_next(recording, &item, &err), DGO_OK);
    assert_string_equal(item.sample->problem, "");
    assert_int_equal(item.sample->machine.gpu_count, 1);
    assert_string_equal(item.sample->machine.gpu[0].problem, "");
    assert_true(dgo_gpu_knows(&item.sample->machine.gpu[0], DGO_GPU_BUSY_PERMILLE));

    assert_int_equal(dgo_recording_next(recording, &item, &err), DGO_ENOTFOUND);
    assert_int_equal(err.status, DGO_OK);
    dgo_recording_close(recording);
    dgo_recording_close(NULL);
}

/* As a source: the first look at once, the later ones in their time, a failure as a failure. */
static void test_as_a_source(void **state)
{
    const struct dgo_gpu_options options = {.machine_file = file_path()};
    struct dgo_gpu_source *source = NULL;
    struct dgo_error err = {0};

    (void)state;
    rig_write("/recording.jsonl",
              HEADER "{\"seconds\":0,\"gpus\":[{\"name\":\"A\",\"used_bytes\":1}]}\n"
                     "{\"seconds\":0.001,\"gpus\":[{\"used_bytes\":2}]}\n"
                     "{\"seconds\":3600,\"gpus\":[{\"used_bytes\":3}]}\n");
    assert_int_equal(dgo_gpu_open(&options, &source, &err), DGO_OK);
    usleep(20000);
    assert_int_equal(dgo_gpu_take(source, &rig, &err), DGO_OK);
    assert_true(rig.origin.simulated);
    assert_string_equal(rig.source, "recording");
    assert_int_equal(rig.gpu[0].used_bytes, 2);
    dgo_gpu_close(source);
    rig_write("/recording.jsonl", HEADER "{\"seconds\":0,\"gpus\":[{\"name\":\"A\"}]}\n"
                                         "{\"seconds\":0,\"problem\":\"gone\"}\n");
    assert_int_equal(dgo_gpu_open(&options, &source, &err), DGO_OK);
    assert_int_equal(dgo_gpu_take(source, &rig, &err), DGO_EDRIVER);
    assert_string_equal(err.text, "gone");
    dgo_gpu_close(source);
}

/* What a recording may be called: real only where it says so, in its header or at its first look.
 */
static void test_origin(void **state)
{
#define SEEN "\"wall_ns\":1795739736000000000,\"simulated\":false"
    static const struct {
        const char *name, *text, *called;
    } rows[] = {
        {"a real machine", "{\"dualgpuopt_recording\":1," SEEN "}\n{\"seconds\":0,\"gpus\":[]}\n",
         "recorded 2026-11-27 00:35 UTC"},
        {"no time", "{\"dualgpuopt_recording\":1,\"simulated\":false}\n{\"seconds\":0}\n",
         "recorded"},
        {"a machine file's", "{\"dualgpuopt_recording\":1,\"simulated\":true}\n{\"seconds\":0}\n",
         "SIMULATED"},
        {"who knows", HEADER "{\"seconds\":0}\n", "SIMULATED"},
        {"told at its first look",
         "{\"dualgpuopt_recording\":1}\n{\"seconds\":0,\"mark\":\"a\"}\n{\"seconds\":1," SEEN "}\n",
         "recorded 2026-11-27 00:35 UTC"},
    };
#undef SEEN

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct dgo_recording *recording = NULL;
        struct dgo_error err = {0};
        char called[DGO_ORIGIN_TEXT_MAX];

        assert_int_equal(
            gpu_recording_of_bytes(rows[i].text, strlen(rows[i].text), &recording, &err), DGO_OK);
        do
            assert_int_equal(dgo_recording_next(recording, &item, &err), DGO_OK);
        while (item.kind != DGO_RECORDED_SAMPLE);
        CHECK_ROW(strcmp(dgo_origin_text(&item.sample->machine.origin, called), rows[i].called) ==
                      0,
                  rows[i].name);
        CHECK_ROW(!dgo_machine_is_live(&item.sample->machine), rows[i].name);
        dgo_recording_close(recording);
    }
}

/* A mark before the first look, and a driver that answers late: who was seen is told all the same.
 * A recording of a recording keeps the day of the first one. */
static void test_late_origin(void **state)
{
    struct dgo_recorder *recorder = NULL;
    struct dgo_recording *recording = NULL;
    struct dgo_error err = {0};

    (void)state;
    for (int round = 0; round < 2; round++) {
        assert_int_equal(dgo_recorder_open(file_path(), &recorder, &err), DGO_OK);
        assert_int_equal(dgo_recorder_add_mark(recorder, 998 * DGO_NS_PER_S, "go", &err), DGO_OK);
        memset(&sample, 0, sizeof sample);
        sample.monotonic_ns = 999 * DGO_NS_PER_S;
        snprintf(sample.problem, sizeof sample.problem, "no driver");
        add(recorder);
        fill_sample(0);
        if (round == 1)
            sample.machine.origin = (struct dgo_origin){.recorded = true, .recorded_ns = 77};
        add(recorder);
        assert_int_equal(dgo_recorder_close(recorder, &err), DGO_OK);
        assert_int_equal(dgo_recording_open(file_path(), &recording, &err), DGO_OK);
        for (int line = 0; line < 3; line++)
            assert_int_equal(dgo_recording_next(recording, &item, &err), DGO_OK);
        assert_true(item.sample->machine.origin.recorded);
        assert_int_equal(item.sample->machine.origin.recorded_ns,
                         round == 0 ? 8998 * DGO_NS_PER_S : 77);
        assert_string_equal(item.sample->machine.driver, "550.1");
        dgo_recording_close(recording);
    }
}

#define LOOK(inner) HEADER "{\"seconds\":0," inner "}\n"

static void test_bad_files(void **state)
{
    static const struct {
        const char *name, *text;
        enum dgo_status status;
        const char *says;
    } cases[] = {
        {"empty", "", DGO_EFORMAT, "no recording"},
        {"no JSON", "gpus:\n", DGO_EFORMAT, "line 1: it is no JSON object"},
        {"another JSON", "{\"a\":1}\n", DGO_EFORMAT, "no recording of this program"},
        {"newer", "{\"dualgpuopt_recording\":2}\n", DGO_EUNSUPPORTED, "newer version"},
        {"no time", HEADER "{\"gpus\":[]}\n", DGO_EFORMAT, "line 2: seconds must be"},
        {"time below zero", HEADER "{\"seconds\":-1}\n", DGO_EFORMAT, "seconds must be"},
        {"time goes back", HEADER "{\"seconds\":2}\n{\"seconds\":1}\n", DGO_EFORMAT,
         "line 3: its time is before"},
        {"list of lists", LOOK("\"gpus\":[[]]"), DGO_EFORMAT, "line 2: a GPU must be an object"},
        {"text for a number", LOOK("\"gpus\":[{\"used_bytes\":\"1\"}]"), DGO_EFORMAT,
         "GPU 0: used_bytes must be a whole number"},
        {"negative bytes", LOOK("\"gpus\":[{\"used_bytes\":-1}]"), DGO_EFORMAT, "used_bytes"},
        {"too great", LOOK("\"gpus\":[{\"power_mw\":4294967296}]"), DGO_EFORMAT, "power_mw"},
        {"too many GPUs", LOOK("\"gpus\":[{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{}]"),
         DGO_EFORMAT, "at most 16"},
        {"process without a pid", LOOK("\"gpus\":[{\"processes\":[{}]}]"), DGO_EFORMAT, "pid"},
        {"link to nowhere", LOOK("\"links\":[{\"between\":[0,9]}]"), DGO_EFORMAT, "between two"},
        {"key twice", LOOK("\"gpus\":[],\"gpus\":[]"), DGO_EFORMAT, "no JSON object"},
        {"cut off", LOOK("\"gpus\":[]") "{\"seconds\":1,\"gp", DGO_ENOTFOUND, ""},
        {"unknown keys", LOOK("\"gpus\":[{\"later\":1}],\"later\":2"), DGO_ENOTFOUND, ""},
        {"deep", LOOK("\"later\":[[[[[[[[[[1]]]]]]]]]]"), DGO_ENOTFOUND, ""},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct dgo_recording *recording = NULL;
        struct dgo_error err = {0};
        enum dgo_status status =
            gpu_recording_of_bytes(cases[i].text, strlen(cases[i].text), &recording, &err);

        while (status == DGO_OK)
            status = dgo_recording_next(recording, &item, &err);
        CHECK_ROW_U64(status, cases[i].status, cases[i].name);
        CHECK_ROW(strstr(err.text, cases[i].says), cases[i].name);
        dgo_recording_close(recording);
    }
}

static void test_paths(void **state)
{
    struct dgo_recording *recording = NULL;
    struct dgo_recorder *recorder = NULL;
    struct dgo_error err = {0};

    (void)state;
    assert_int_equal(dgo_recording_open("/nonexistent/x", &recording, &err), DGO_ENOTFOUND);
    assert_int_equal(dgo_recorder_open("/nonexistent/x", &recorder, &err), DGO_EIO);
    assert_non_null(strstr(err.text, "cannot write the recording /nonexistent/x"));
    assert_false(dgo_recording_is_one("/nonexistent/x"));
    assert_int_equal(dgo_recorder_close(NULL, &err), DGO_OK);
    /* A full disk is told, and told again. */
    assert_int_equal(dgo_recorder_open("/dev/full", &recorder, &err), DGO_OK);
    fill_sample(0);
    assert_int_equal(dgo_recorder_add_sample(recorder, &sample, &err), DGO_EIO);
    assert_int_equal(dgo_recorder_add_mark(recorder, 0, "x", &err), DGO_EIO);
    assert_int_equal(dgo_recorder_close(recorder, &err), DGO_EIO);
    assert_non_null(strstr(err.text, "No space left"));
}

#define RIG_TEST(fn) cmocka_unit_test_setup_teardown(fn, rig_setup, rig_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        RIG_TEST(test_round_trip),  RIG_TEST(test_as_a_source), RIG_TEST(test_origin),
        RIG_TEST(test_late_origin), RIG_TEST(test_bad_files),   RIG_TEST(test_paths),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
