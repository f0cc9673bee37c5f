/* test_plan_cache.c - what makes two questions for a plan the same, and that the answer is. */
#include "check.h"
#include "makers.h"
#include "plan_cache.h"

/* One question; `change` makes another one of it. */
struct question {
    struct dgo_machine machine;
    struct dgo_model *model;
    struct dgo_intent intent;
    struct dgo_engine_rules rules;
};

static int setup(void **state)
{
    struct question *question = calloc(1, sizeof *question);
    const struct make_card cards[] = {make_3090, make_3060};

    if (!question)
        return -1;
    make_machine(&question->machine, cards, 2);
    question->model = make_model(&make_8b);
    *state = question;
    return 0;
}

static int teardown(void **state)
{
    struct question *question = *state;

    make_model_done(question->model);
    free(question);
    return 0;
}

static struct context_key key_of(const struct question *question)
{
    struct context_key key;

    plan_cache_key(&question->machine, question->model, &question->intent, &question->rules, &key);
    return key;
}

static void set(struct dgo_gpu *gpu, enum dgo_gpu_field field)
{
    gpu->known |= UINT64_C(1) << field;
}

static void cool(struct question *q)
{
    q->machine.gpu[0].temperature_c = 40;
    set(&q->machine.gpu[0], DGO_GPU_TEMPERATURE_C);
}
static void busy(struct question *q)
{
    q->machine.gpu[1].busy_permille = 500;
    set(&q->machine.gpu[1], DGO_GPU_BUSY_PERMILLE);
}
static void process(struct question *q)
{
    q->machine.gpu[0].processes_known = true;
    q->machine.gpu[0].process[q->machine.gpu[0].process_count++].pid = 1;
}
static void other_path(struct question *q)
{
    strcpy(q->model->path, "/elsewhere/model.gguf");
}
static void less_free(struct question *q)
{
    q->machine.gpu[1].free_bytes--;
}
static void host_free(struct question *q)
{
    q->machine.host.free_bytes--;
}
static void faster(struct question *q)
{
    q->machine.gpu[0].bandwidth_bytes_per_s *= 1.5;
    set(&q->machine.gpu[0], DGO_GPU_BANDWIDTH_BYTES_PER_S);
}
static void peer(struct question *q)
{
    q->machine.link[0][1].p2p_known = q->machine.link[0][1].p2p = true;
}
static void other_layer(struct question *q)
{
    q->model->layer[3].weights_bytes++;
}
static void other_tensor(struct question *q)
{
    q->model->tensor[q->model->tensor_count - 1].size_bytes += 32;
}
static void objective(struct question *q)
{
    q->intent.objective = DGO_OBJECTIVE_CONTEXT;
}
static void context(struct question *q)
{
    q->intent.ctx_tokens = 4096;
}
static void margin(struct question *q)
{
    q->intent.margin_bytes = 1;
}
static void mask(struct question *q)
{
    q->intent.gpu_mask = 1;
}
static void build(struct question *q)
{
    q->rules.build = 10256;
}

static const struct {
    const char *name;
    void (*change)(struct question *question);
    bool same;
} changes[] = {
    {"temperature", cool, true},
    {"load", busy, true},
    {"processes", process, true},
    {"where the file lies", other_path, true},
    {"a byte less free", less_free, false},
    {"a byte less free in the host", host_free, false},
    {"bandwidth", faster, false},
    {"link", peer, false},
    {"bytes of a layer", other_layer, false},
    {"bytes of a tensor", other_tensor, false},
    {"objective", objective, false},
    {"context", context, false},
    {"margin", margin, false},
    {"cards that may be used", mask, false},
    {"engine build", build, false},
};

static void test_what_counts(void **state)
{
    struct question *question = *state;
    const struct dgo_machine machine = question->machine;
    const struct dgo_intent intent = question->intent;

    for (size_t i = 0; i < sizeof changes / sizeof changes[0]; i++) {
        const struct context_key before = key_of(question);
        struct context_key after;

        changes[i].change(question);
        after = key_of(question);
        CHECK_ROW((memcmp(&before, &after, sizeof before) == 0) == changes[i].same,
                  changes[i].name);
        question->machine = machine;
        question->intent = intent;
        question->rules.build = 0;
    }
}

static void test_the_answer_is_the_plan(void **state)
{
    struct question *question = *state;
    struct dgo_plan *plans = calloc(3, sizeof *plans);
    struct context_cache_stats before, after;
    enum context_source how[2];

    assert_non_null(plans);
    plan_cache_read_stats(&before);
    for (int i = 0; i < 2; i++)
        assert_int_equal(plan_cache_get(&question->machine, question->model, &question->intent,
                                        &question->rules, &plans[i], &how[i], NULL),
                         DGO_OK);
    assert_int_equal(dgo_plan_make(&question->machine, question->model, &question->intent,
                                   &question->rules, &plans[2], NULL),
                     DGO_OK);
    plan_cache_read_stats(&after);
    assert_int_equal(how[0], CONTEXT_COMPUTED);
    assert_int_equal(how[1], CONTEXT_HIT);
    assert_int_equal(after.hits - before.hits, 1);
    assert_int_equal(after.misses - before.misses, 1);
    assert_memory_equal(&plans[0], &plans[1], sizeof plans[0]);
    assert_int_equal(plans[1].settings.ctx_tokens, plans[2].settings.ctx_tokens);
    assert_int_equal(plans[1].estimate.device[0].weights_bytes,
                     plans[2].estimate.device[0].weights_bytes);
    free(plans);
}

static void test_no_fit_comes_with_the_nearest(void **state)
{
    struct question *question = *state;
    struct dgo_plan *plan = calloc(1, sizeof *plan);
    struct dgo_error first = {0}, second = {0};
    enum context_source how;

    assert_non_null(plan);
    for (int g = 0; g < 2; g++)
        question->machine.gpu[g].free_bytes = DGO_GIB;
    question->intent.cpu_layers_refused = true;
    assert_int_equal(plan_cache_get(&question->machine, question->model, &question->intent,
                                    &question->rules, plan, &how, &first),
                     DGO_ENOFIT);
    memset(plan, 0, sizeof *plan);
    assert_int_equal(plan_cache_get(&question->machine, question->model, &question->intent,
                                    &question->rules, plan, &how, &second),
                     DGO_ENOFIT);
    assert_int_equal(how, CONTEXT_HIT);
    assert_string_equal(first.text, second.text);
    assert_true(first.text[0] != '\0');
    assert_false(plan->estimate.fits);
    assert_true(plan->estimate.device_count > 0 && plan->estimate.missing_bytes > 0);
    free(plan);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test_setup_teardown(test_what_counts, setup, teardown),
    cmocka_unit_test_setup_teardown(test_the_answer_is_the_plan, setup, teardown),
    cmocka_unit_test_setup_teardown(test_no_fit_comes_with_the_nearest, setup, teardown),
};

CHECK_MAIN(tests)
