/* test_truth.c - estimates against what real engines allocated, byte by byte.
 *
 * memory_truth.tsv (build 10256) belongs to the reference material beside the source tree and is
 * skipped without it; truth_b11669.tsv is our own and always there.
 *
 * usage: test_truth own|shared */
#include "check.h"
#include "fixtures.h"
#include "truth.h"

#include "dgo_units.h"

#include <inttypes.h>
#include <unistd.h>

/* What was compared, of one model and one kind of row. */
struct tally {
    uint32_t rows, weights_off, context_off, compute_near;
    uint32_t bounds;
    double error_sum, worst_under, worst_over; /* MiB; of the estimate against the truth */
};

enum kind { FULL, PARTIAL, HOST, KIND_COUNT };
static const char *const kind_names[KIND_COUNT] = {"all on GPUs", "partly on host", "host"};

struct result {
    struct tally tally[FIXTURE_COUNT][KIND_COUNT];
    uint32_t cases;
};

static double mib(uint64_t a, uint64_t b)
{
    return ((double)a - (double)b) / (double)DGO_MIB;
}

static bool verbose(void)
{
    return getenv("DGO_TRUTH_VERBOSE") != NULL;
}

static void compare(struct tally *t, const struct truth_case *row, const char *device,
                    const struct truth_figures *truth, const struct truth_figures *ours)
{
    const double off = mib(ours->compute_bytes, truth->compute_bytes);
    const bool near = off <= 0.5 && off >= -0.5;

    t->rows++;
    t->weights_off += ours->weights_bytes != truth->weights_bytes;
    t->context_off += ours->context_bytes != truth->context_bytes;
    t->compute_near += near;
    t->error_sum += off < 0 ? -off : off;
    t->worst_under = off < t->worst_under ? off : t->worst_under;
    t->worst_over = off > t->worst_over ? off : t->worst_over;
    if (ours->weights_bytes != truth->weights_bytes ||
        ours->context_bytes != truth->context_bytes || (verbose() && (off > 0.001 || off < -0.001)))
        print_error("# %s %s %s %s: weights %+.2f, context %+.2f, compute %+.3f of %.2f MiB\n",
                    row->model, row->cards, row->args, device,
                    mib(ours->weights_bytes, truth->weights_bytes),
                    mib(ours->context_bytes, truth->context_bytes), off,
                    (double)truth->compute_bytes / (double)DGO_MIB);
}

static void compare_case(struct result *result, int model_index, const struct truth_case *row,
                         const struct dgo_estimate *estimate, bool overrides)
{
    const bool partial = estimate->host.layer_count > 0 || estimate->host.holds_output ||
                         overrides || estimate->host.context_bytes > 0;
    struct tally *tally = result->tally[model_index];
    const struct truth_figures host = {true, estimate->host.weights_bytes,
                                       estimate->host.context_bytes, estimate->host.compute_bytes};

    for (uint32_t d = 0; d < estimate->device_count; d++) {
        const struct dgo_device_estimate *device = &estimate->device[d];
        const struct truth_figures ours = {true, device->weights_bytes, device->context_bytes,
                                           device->compute_bytes};
        struct tally *t = &tally[partial ? PARTIAL : FULL];

        t->bounds += device->compute_source == DGO_FIGURE_BOUND;
        compare(t, row, device->name, &row->device[d], &ours);
    }
    compare(&tally[HOST], row, "host", &row->host, &host);
}

static void run_table(const char *path, bool has_rows, uint32_t build, struct dgo_model **models,
                      struct result *result)
{
    struct truth_table *table = truth_open(path, has_rows);
    struct truth_case row;

    assert_non_null(table);
    memset(result, 0, sizeof *result);
    while (truth_next(table, &row)) {
        struct dgo_machine machine;
        struct dgo_settings settings;
        struct dgo_estimate estimate;
        struct dgo_error err = {0};
        int m = 0;

        while (m < FIXTURE_COUNT && strcmp(fixture_names[m], row.model) != 0)
            m++;
        CHECK_ROW(m < FIXTURE_COUNT, row.model);
        truth_machine(row.cards, &machine);
        CHECK_ROW(truth_settings(&row, &machine, &settings), row.args);

        if (row.full_rows)
            settings.output_row_count = UINT32_MAX;

        const struct dgo_engine_rules rules = {.build = build};

        if (dgo_estimate_make(&machine, models[m], &settings, &rules, NULL, &estimate, &err)) {
            print_error("%s %s %s: %s\n", row.model, row.cards, row.args, err.text);
            fail();
        }
        compare_case(result, m, &row, &estimate, settings.cpu_moe_layer_count > 0);
        result->cases++;
    }
    truth_close(table);
}

static void add_tally(struct tally *to, const struct tally *t)
{
    to->rows += t->rows;
    to->weights_off += t->weights_off;
    to->context_off += t->context_off;
    to->compute_near += t->compute_near;
    to->bounds += t->bounds;
    to->error_sum += t->error_sum;
    to->worst_under = t->worst_under < to->worst_under ? t->worst_under : to->worst_under;
    to->worst_over = t->worst_over > to->worst_over ? t->worst_over : to->worst_over;
}

static void print_tally(const char *name, const char *kind, const struct tally *t)
{
    if (t->rows)
        print_message("# %-8s %-14s %4" PRIu32 " rows: weights off %" PRIu32
                      ", context off %" PRIu32 "; compute within 0.5 MiB %" PRIu32
                      ", mean error %.2f, worst under %.2f, worst over %.2f MiB\n",
                      name, kind, t->rows, t->weights_off, t->context_off, t->compute_near,
                      t->error_sum / t->rows, t->worst_under, t->worst_over);
}

static struct tally sum_up(const struct result *result, int first, int end, int kind_first,
                           int kind_end)
{
    struct tally sum = {0};

    for (int m = first; m < end; m++)
        for (int k = kind_first; k < kind_end; k++)
            add_tally(&sum, &result->tally[m][k]);
    return sum;
}

static void print_result(const char *title, const struct result *result)
{
    print_message("# %s: %" PRIu32 " runs of the engine\n", title, result->cases);
    for (int m = 0; m < FIXTURE_COUNT; m++)
        for (int k = 0; k < KIND_COUNT; k++)
            print_tally(fixture_names[m], kind_names[k], &result->tally[m][k]);
    for (int k = 0; k < KIND_COUNT; k++) {
        const struct tally all = sum_up(result, 0, FIXTURE_COUNT, k, k + 1);

        print_tally("ALL", kind_names[k], &all);
    }
}

/* The engine's graph of all these models is known, and with it what every device and the host
 * reserve, wherever the layers lie: to a KiB. */
static void check_result(const struct result *result, uint32_t rows_least)
{
    const struct tally all = sum_up(result, 0, FIXTURE_COUNT, FULL, KIND_COUNT);

    assert_true(all.rows >= rows_least);
    assert_int_equal(all.weights_off, 0);
    assert_int_equal(all.context_off, 0);
    assert_int_equal(all.bounds, 0);
    assert_true(all.worst_under >= -0.001 && all.worst_over <= 0.001);
}

/* --- the shared table ------------------------------------------------------------------------ */

static struct dgo_model *models[FIXTURE_COUNT];
static char shared[1024];
#define SHARED_TABLE "data/memory_truth.tsv"

static bool have_shared(const char *name, char *path, size_t size)
{
    snprintf(path, size, "%s/%s", shared, name);
    return access(path, R_OK) == 0;
}

/* The reference's own maker, when there is a Python; else our twins of its models. */
static void open_models_from_files(void)
{
    char maker[1200], directory[] = "/tmp/dgo-truth-XXXXXX", command[2600], path[1200];

    if (!have_shared("tools/make_fixtures.py", maker, sizeof maker) || !mkdtemp(directory))
        return;
    snprintf(command, sizeof command, "python3 '%s' '%s' > /dev/null 2>&1", maker, directory);
    if (system(command) == 0) {
        for (int m = 0; m < FIXTURE_COUNT; m++) {
            struct dgo_error err = {0};
            struct dgo_model *model = NULL;

            snprintf(path, sizeof path, "%s/%s.gguf", directory, fixture_names[m]);
            if (dgo_model_open(path, &model, &err)) {
                print_error("%s\n", err.text);
                fail();
            }
            unlink(path);
            dgo_model_close(models[m]);
            models[m] = model;
        }
        print_message("# models read from files\n");
    }
    rmdir(directory);
}

static void test_shared_table(void **state)
{
    char path[1200];
    struct result result;

    (void)state;
    assert_true(have_shared(SHARED_TABLE, path, sizeof path));
    open_models_from_files();
    run_table(path, true, 10256, models, &result);
    print_result("memory_truth.tsv, build 10256", &result);
    check_result(&result, 540);
}

static void test_own_table(void **state)
{
    struct result result;

    (void)state;
    run_table(DGO_TRUTH_DIR "/truth_b11669.tsv", false, 11669, models, &result);
    print_result("truth_b11669.tsv, build 11669", &result);
    check_result(&result, 1000);
}

static int open_models(void **state)
{
    (void)state;
    for (int m = 0; m < FIXTURE_COUNT; m++) {
        struct dgo_error err = {0};

        models[m] = fixture_open(fixture_names[m], &err);
        if (!models[m]) {
            print_error("%s: %s\n", fixture_names[m], err.text);
            return -1;
        }
    }
    return 0;
}

static int close_models(void **state)
{
    (void)state;
    for (int m = 0; m < FIXTURE_COUNT; m++)
        dgo_model_close(models[m]);
    return 0;
}

int main(int argc, char **argv)
{
    const struct CMUnitTest own[] = {cmocka_unit_test(test_own_table)};
    const struct CMUnitTest others[] = {cmocka_unit_test(test_shared_table)};
    const char *given = getenv("DGO_SHARED");
    char path[1200];

    snprintf(shared, sizeof shared, "%s", given ? given : DGO_SHARED_DIR);
    cmocka_set_message_output(CM_OUTPUT_TAP);
    if (argc < 2 || strcmp(argv[1], "shared") != 0)
        return cmocka_run_group_tests(own, open_models, close_models);
    if (have_shared(SHARED_TABLE, path, sizeof path))
        return cmocka_run_group_tests(others, open_models, close_models);
    printf("1..1\nok 1 - test_shared_table # SKIP no %s\n", path); /* cmocka's skip() is "not ok" */
    return 0;
}
