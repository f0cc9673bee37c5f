/* test_assign.c - the engine's split of layers over devices, and sums that must not depend on it.
 *
 * The counts of the rows are the engine's own (build 11669), the float32 ones among them. */
#include "check.h"
#include "fixtures.h"

#include "dgo_units.h"
#include "memory.h"

enum { DEVICES = 4, ALL = 999 };

/* A machine of cards with so many GiB free. */
static void make_cards(const uint32_t *gib, struct dgo_machine *machine)
{
    memset(machine, 0, sizeof *machine);
    for (uint32_t g = 0; g < DEVICES && gib[g]; g++) {
        machine->gpu[g].vendor = DGO_VENDOR_NVIDIA;
        machine->gpu[g].free_bytes = gib[g] * DGO_GIB;
        machine->gpu[g].known = UINT64_C(1) << DGO_GPU_FREE_BYTES;
        machine->gpu_count++;
    }
}

static struct dgo_settings make_settings(const struct dgo_machine *machine)
{
    struct dgo_settings settings = {.ctx_tokens = 4096,
                                    .slot_count = 1,
                                    .batch_tokens = 2048,
                                    .ubatch_tokens = 512,
                                    .op_offload = true,
                                    .gpu_layer_count = ALL,
                                    .device_count = machine->gpu_count};

    for (uint32_t d = 0; d < machine->gpu_count; d++)
        settings.device_gpu[d] = d;
    return settings;
}

/* --- the engine's counts --------------------------------------------------------------------- */

static const struct {
    const char *name;
    uint32_t layer_count, mtp, gib[DEVICES];
    float split[DEVICES]; /* all zero: none given */
    uint32_t gpu_layers;
    int32_t cpu;           /* layers, output included */
    int32_t want[DEVICES]; /* layers of each device, output included */
} splits[] = {
    {"equal shares", 32, 0, {24, 24}, {1, 1}, ALL, 0, {17, 16}},
    {"integer counts are exact", 32, 0, {24, 24}, {16, 17}, ALL, 0, {16, 17}},
    {"by free memory, equal", 32, 0, {24, 24}, {0}, ALL, 0, {17, 16}},
    {"by free memory, 2 to 1", 32, 0, {24, 12}, {0}, ALL, 0, {22, 11}},
    {"three cards by free memory", 32, 0, {24, 24, 12}, {0}, ALL, 0, {14, 13, 6}},
    {"three to one", 32, 0, {24, 24}, {3, 1}, ALL, 0, {25, 8}},
    {"ten to seven", 32, 0, {24, 24}, {10, 7}, ALL, 0, {20, 13}},
    {"the second has no share", 32, 0, {24, 24}, {1, 0}, ALL, 0, {33, 0}},
    {"the first has no share", 32, 0, {24, 24}, {0, 1}, ALL, 0, {0, 33}},
    {"a given split of zeros is none", 32, 0, {24, 12}, {0, 0}, ALL, 0, {22, 11}},
    {"ten layers, output counted", 32, 0, {24, 24}, {0}, 10, 23, {5, 5}},
    {"as many as layers leaves one", 32, 0, {24, 24}, {0}, 32, 1, {16, 16}},
    {"one layer is the output", 32, 0, {24}, {0}, 1, 32, {1}},
    {"none", 32, 0, {24, 24}, {0}, 0, 33, {0}},
    {"no card at all", 32, 0, {0}, {0}, ALL, 33, {0}},
    {"float32: 9 and not 10", 32, 0, {24, 24}, {2.7F, 7.2F}, ALL, 0, {9, 24}},
    {"float32: 35 and not 36", 64, 0, {48, 48, 48}, {8.4F, 6.8F, 0.4F}, ALL, 0, {35, 29, 1}},
    {"float32: 11 and not 12", 32, 0, {24, 24, 24}, {4.2F, 6.0F, 2.4F}, ALL, 0, {11, 16, 6}},
    {"float32: 31 and not 30", 64, 0, {24, 24}, {6.6F, 7.7F}, ALL, 0, {31, 34}},
    {"float32, 20 layers", 32, 0, {24, 24}, {4.2F, 7.8F}, 20, 13, {7, 13}},
    {"float32, no last device", 32, 0, {24, 24, 24}, {6.4F, 8.9F, 0.7F}, 20, 13, {9, 11, 0}},
    /* 61 + 1 blocks: the block that is not loaded counts, so the halves are of 63. */
    {"a next-token block counts", 61, 1, {24, 24}, {1, 1}, ALL, 0, {32, 30}},
    {"and is not loaded", 61, 1, {24, 24}, {1, 1}, 62, 1, {31, 30}},
};

static void test_splits(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof splits / sizeof splits[0]; i++) {
        struct dgo_model *model = calloc(1, sizeof *model);
        struct dgo_machine machine;
        struct dgo_settings settings;
        int32_t at[DGO_LAYER_MAX + 1], counts[DEVICES] = {0}, cpu = 0, last = ASSIGN_CPU;

        assert_non_null(model);
        model->layer_count = splits[i].layer_count;
        model->mtp_layer_count = splits[i].mtp;
        make_cards(splits[i].gib, &machine);
        settings = make_settings(&machine);
        settings.gpu_layer_count = splits[i].gpu_layers;
        settings.tensor_split_given = true;
        memcpy(settings.tensor_split, splits[i].split, sizeof splits[i].split);
        assign_layers(&machine, model, &settings, at, NULL);
        for (uint32_t l = 0; l <= model->layer_count; l++) {
            CHECK_ROW(at[l] >= last, splits[i].name); /* one run a device, in order */
            last = at[l];
            if (at[l] == ASSIGN_CPU)
                cpu++;
            else
                counts[at[l]]++;
        }
        CHECK_ROW_U64(cpu, splits[i].cpu, splits[i].name);
        for (uint32_t d = 0; d < DEVICES; d++)
            CHECK_ROW_U64(counts[d], splits[i].want[d], splits[i].name);
        free(model);
    }
}

static void test_one_device_only(void **state)
{
    const uint32_t gib[DEVICES] = {24, 24};
    struct dgo_model *model = calloc(1, sizeof *model);
    struct dgo_machine machine;
    struct dgo_settings settings;
    int32_t at[DGO_LAYER_MAX + 1];

    (void)state;
    assert_non_null(model);
    model->layer_count = 32;
    make_cards(gib, &machine);
    settings = make_settings(&machine);
    settings.split_mode = DGO_SPLIT_NONE;
    assign_layers(&machine, model, &settings, at, NULL);
    for (uint32_t l = 0; l <= 32; l++)
        assert_int_equal(at[l], 0);
    free(model);
}

static void test_names(void **state)
{
    struct dgo_machine machine = {.gpu_count = 4};
    const enum dgo_gpu_vendor vendors[] = {DGO_VENDOR_NVIDIA, DGO_VENDOR_AMD, DGO_VENDOR_NVIDIA,
                                           DGO_VENDOR_INTEL};
    const char *const want[] = {"CUDA0", "ROCm0", "CUDA1", "Vulkan0"};
    char name[16];

    (void)state;
    for (uint32_t g = 0; g < 4; g++)
        machine.gpu[g].vendor = vendors[g];
    for (uint32_t g = 0; g < 4; g++) {
        assign_device_name(&machine, g, name);
        assert_string_equal(name, want[g]);
    }
}

/* --- nothing is lost or counted twice -------------------------------------------------------- */

static uint64_t padded(const struct dgo_tensor *tensor, uint64_t to)
{
    return (tensor->size_bytes + to - 1) / to * to;
}

struct totals {
    uint64_t layers, output, input, table;
};

/* By the tensors themselves.  These models' rows are multiples of 512 values, or hold no blocks. */
static struct totals total_weights(const struct dgo_model *model)
{
    struct totals totals = {0};

    for (uint32_t i = 0; i < model->tensor_count; i++) {
        const struct dgo_tensor *tensor = &model->tensor[i];
        const uint64_t bytes = padded(tensor, 128);

        if (tensor->class == DGO_TENSOR_LAYER)
            totals.layers += bytes;
        else if (tensor->class == DGO_TENSOR_OUTPUT)
            totals.output += bytes;
        else if (tensor->class == DGO_TENSOR_TABLE)
            totals.table += bytes;
        else
            totals.input += bytes;
    }
    if (model->tied_embeddings)
        totals.output += totals.input;
    return totals;
}

static void random_settings(uint64_t *seed, const struct dgo_machine *machine,
                            const struct dgo_model *model, struct dgo_settings *settings)
{
    *settings = make_settings(machine);
    settings->ctx_tokens = 256 + (uint32_t)check_below(seed, 65536);
    settings->slot_count = 1 + (uint32_t)check_below(seed, 8);
    settings->kv_unified = check_below(seed, 2);
    settings->tensor_split_given = check_below(seed, 2);
    for (uint32_t d = 0; d < machine->gpu_count; d++)
        settings->tensor_split[d] = (float)check_below(seed, 100) / 10.0F;
    if (check_below(seed, 2))
        settings->gpu_layer_count = (uint32_t)check_below(seed, model->layer_count + 3);
}

static void check_sums(const struct dgo_model *model, const struct totals *totals,
                       const struct dgo_estimate *estimate)
{
    uint64_t weights = 0, context = estimate->host.context_bytes;
    uint32_t layers = estimate->host.layer_count, outputs = estimate->host.holds_output, copies = 0;
    uint32_t next = estimate->host.layer_count;

    for (uint32_t d = 0; d < estimate->device_count; d++) {
        const struct dgo_device_estimate *device = &estimate->device[d];

        weights += device->weights_bytes;
        context += device->context_bytes;
        layers += device->layer_count;
        outputs += device->holds_output;
        if (device->layer_count) {
            assert_int_equal(device->layer_first, next);
            next += device->layer_count;
            copies++;
        }
    }
    assert_int_equal(layers, model->layer_count);
    assert_int_equal(outputs, 1);
    if (estimate->host.layer_count == 0 && !estimate->host.holds_output) {
        assert_true(weights == totals->layers + totals->output + copies * totals->table);
        assert_true(estimate->host.weights_bytes == totals->input);
    }
    /* These models' cache rows fill whole allocation steps on both sides. */
    assert_true(context == (uint64_t)estimate->ctx_tokens * model->layer_count * 2 * 2 *
                               model->layer[0].head_count_kv * model->layer[0].key_length);
}

static void prop_sums(void **state)
{
    enum { ROUNDS = 300 };
    uint64_t seed = check_seed();
    const char *const names[] = {"llama8b", "q3_32b", "q3_4bt"};

    (void)state;
    for (size_t m = 0; m < sizeof names / sizeof names[0]; m++) {
        struct dgo_model *model = fixture_open(names[m], NULL);
        struct totals totals;

        assert_non_null(model);
        totals = total_weights(model);
        for (int round = 0; round < ROUNDS; round++) {
            uint32_t gib[DEVICES] = {0};
            const uint64_t count = 1 + check_below(&seed, DEVICES);
            struct dgo_machine machine;
            struct dgo_settings settings;
            struct dgo_estimate estimate;
            struct dgo_error err = {0};

            for (uint64_t g = 0; g < count; g++)
                gib[g] = 1 + (uint32_t)check_below(&seed, 48);
            make_cards(gib, &machine);
            random_settings(&seed, &machine, model, &settings);
            if (dgo_estimate_make(&machine, model, &settings, NULL, NULL, &estimate, &err)) {
                print_error("%s\n", err.text);
                fail();
            }
            check_sums(model, &totals, &estimate);
        }
        dgo_model_close(model);
    }
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_splits),
    cmocka_unit_test(test_one_device_only),
    cmocka_unit_test(test_names),
    cmocka_unit_test(prop_sums),
};
CHECK_MAIN(tests)
