/* test_explain.c - the derivation adds up to the plan's own figures. */
#include "check.h"

#include "fixtures.h"
#include "makers.h"

#include <stdbool.h>

enum { TEXT_MAX = 32768 };

static void collect(const char *line, void *data)
{
    char *text = data;
    const size_t length = strlen(text);

    assert_null(strchr(line, '\n'));
    assert_true(strlen(line) > 0);
    assert_true(length + strlen(line) + 2 < TEXT_MAX);
    snprintf(text + length, TEXT_MAX - length, "%s\n", line);
}

static void explain(const struct dgo_machine *machine, const struct dgo_model *model,
                    const struct dgo_intent *intent, struct dgo_plan *plan, char text[TEXT_MAX])
{
    const enum dgo_status status = dgo_plan_make(machine, model, intent, NULL, plan, NULL);

    assert_true(status == DGO_OK || status == DGO_ENOFIT);
    text[0] = '\0';
    dgo_plan_explain(machine, model, plan, collect, text);
}

static void has_mib(const char *text, uint64_t bytes, const char *what)
{
    char figure[64];

    snprintf(figure, sizeof figure, "%.2f", (double)bytes / (double)DGO_MIB);
    CHECK_ROW(strstr(text, figure) != NULL, what);
}

static void tells_every_figure(void **unused)
{
    static struct dgo_machine machine;
    static struct dgo_plan plan;
    static char text[TEXT_MAX];
    const struct make_card cards[] = {make_3060, make_4060ti};
    const struct dgo_intent intent = {0};
    struct dgo_model *model = make_model(&make_32b);
    char figure[64];

    (void)unused;
    make_machine(&machine, cards, 2);
    explain(&machine, model, &intent, &plan, text);
    for (uint32_t d = 0; d < plan.estimate.device_count; d++) {
        const struct dgo_device_estimate *device = &plan.estimate.device[d];

        CHECK_ROW(strstr(text, device->name) != NULL, "name");
        has_mib(text, device->weights_bytes, "weights");
        has_mib(text, device->context_bytes, "cache");
        has_mib(text, device->compute_bytes, "compute");
        has_mib(text, device->overhead_bytes, "overhead");
        has_mib(text, device->margin_bytes, "margin");
        snprintf(figure, sizeof figure, "layers %u-%u", device->layer_first,
                 device->layer_first + device->layer_count - 1);
        CHECK_ROW(strstr(text, figure) != NULL, "layers");
    }
    snprintf(figure, sizeof figure, "%.1f tokens/s", plan.predicted.decode_tokens_per_second);
    CHECK_ROW(strstr(text, figure) != NULL, "decode");
    snprintf(figure, sizeof figure, "%.0f tokens/s", plan.predicted.prefill_tokens_per_second);
    CHECK_ROW(strstr(text, figure) != NULL, "prefill");
    CHECK_ROW(strstr(text, "8 KV heads x (128 + 128) values (f16, f16: 2 B each) x 8192 cells = "
                           "33554432 B") != NULL,
              "cache formula");
    CHECK_ROW(strstr(text, "lower bound") != NULL, "lower bound");
    CHECK_ROW(strstr(text, "default split") != NULL, "alternatives");
    make_model_done(model);
}

static void tells_what_is_special(void **unused)
{
    static const struct {
        const char *name;
        const struct make_shape *shape;
        struct make_card cards[3];
        struct dgo_intent intent;
        const char *want;
    } rows[] = {
        {"a card not worth it",
         &make_8b,
         {{24576, 24100, 936}, {12288, 11900, 360}},
         {0},
         " is left out: what it saves is not worth a card more"},
        {"a card not allowed",
         &make_8b,
         {{24576, 24100, 936}, {12288, 11900, 360}},
         {.gpu_mask = 2},
         " is left out: it is not among those allowed"},
        {"a card too full",
         &make_8b,
         {{24576, 24100, 936}, {12288, 400, 360}},
         {0},
         " is left out: of 400 MiB free, overhead takes 306 and the margin 256"},
        {"host layers", &make_70b, {{24576, 24100, 936}}, {0}, "computed on the CPU"},
        {"host experts", &make_moe30b, {{12288, 11900, 360}}, {0}, "stay in host memory"},
        {"what the CPU reads", &make_moe30b, {{12288, 11900, 360}}, {0}, "the CPU reads "},
        {"what a prompt fetches", &make_moe30b, {{12288, 11900, 360}}, {0}, " and fetches "},
        {"missing bytes",
         &make_70b,
         {{24576, 24100, 936}},
         {.cpu_layers_refused = true},
         "missing"},
        {"assumed", &make_8b, {{24576, 24100, 0}}, {0}, "assumed"},
        {"too long", &make_tiny, {{24576, 24100, 936}}, {.ctx_tokens = 8192}, "was trained for"},
        {"tied", &make_tiny, {{24576, 24100, 936}}, {0}, "copy of the embeddings"},
        {"slots", &make_8b, {{24576, 24100, 936}}, {.slot_count = 4}, "4 slots x 8192"},
    };
    static struct dgo_machine machine;
    static struct dgo_plan plan;
    static char text[TEXT_MAX];

    (void)unused;
    for (size_t row = 0; row < sizeof rows / sizeof rows[0]; row++) {
        struct dgo_model *model = make_model(rows[row].shape);

        make_machine(&machine, rows[row].cards, 3);
        explain(&machine, model, &rows[row].intent, &plan, text);
        if (!strstr(text, rows[row].want))
            print_error("%s", text);
        CHECK_ROW(strstr(text, rows[row].want) != NULL, rows[row].name);
        make_model_done(model);
    }
}

/* Windows, states, latent caches: every family can be told. */
static void every_family_is_explained(void **unused)
{
    static struct dgo_machine machine;
    static struct dgo_plan plan;
    static char text[TEXT_MAX];
    const struct make_card cards[] = {make_3090, make_3060};
    const struct dgo_intent intent = {0};

    (void)unused;
    make_machine(&machine, cards, 2);
    for (size_t f = 0; f < FIXTURE_COUNT; f++) {
        struct dgo_error err = {0};
        struct dgo_model *model = fixture_open(fixture_names[f], &err);

        CHECK_ROW(model != NULL, fixture_names[f]);
        explain(&machine, model, &intent, &plan, text);
        CHECK_ROW(strstr(text, "cannot be explained") == NULL, fixture_names[f]);
        CHECK_ROW(strstr(text, "nan") == NULL && strstr(text, "inf ") == NULL, fixture_names[f]);
        dgo_model_close(model);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tells_every_figure),
        cmocka_unit_test(tells_what_is_special),
        cmocka_unit_test(every_family_is_explained),
    };
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
