/* workloads.c - see workloads.h. */
#include "workloads.h"

#include "check.h"
#include "dgo_trace.h"

#include <math.h>

static void add(struct dgo_workload *workload, uint32_t prompt, uint32_t generated, double arrival)
{
    const struct dgo_request request = {prompt, generated, arrival};

    assert_int_equal(dgo_workload_add(workload, &request, NULL), DGO_OK);
}

void workload_random(struct dgo_workload *workload, uint64_t *seed, uint32_t count, uint32_t most)
{
    memset(workload, 0, sizeof *workload);
    for (uint32_t i = 0; i < count; i++) {
        const uint32_t bound = 1 + (uint32_t)check_below(seed, most);

        add(workload, 1 + (uint32_t)check_below(seed, bound), 0, 0);
    }
}

void workload_seeded(struct dgo_workload *workload)
{
    static const uint32_t prompt[3] = {200, 1200, 6000}, generated[3] = {300, 150, 20};
    uint64_t seed = 20261127;
    double at = 0;

    memset(workload, 0, sizeof *workload);
    workload->generated_known = workload->arrivals_known = true;
    for (unsigned i = 0; i < 500; i++) {
        const unsigned kind = (unsigned)check_below(&seed, 3);

        at -= 0.2 * log(1 - (double)(check_random(&seed) >> 11) / 9007199254740992.0);
        add(workload, prompt[kind] / 2 + (uint32_t)check_below(&seed, prompt[kind]),
            generated[kind] / 2 + (uint32_t)check_below(&seed, generated[kind]), at);
    }
}

static enum dgo_status take(const struct dgo_trace_request *request, void *data)
{
    return dgo_workload_add(data, &request->request, NULL);
}

bool workload_trace(struct dgo_workload *workload, const char *name)
{
    char path[512], line[4096], why[DGO_TRACE_WHY_MAX];
    struct dgo_trace_format format;
    const char *shared = getenv("DGO_TEST_SHARED");
    FILE *file;

    snprintf(path, sizeof path, "%s/data/%s", shared ? shared : DGO_SHARED_DIR, name);
    file = fopen(path, "r");
    if (!file)
        return false;
    memset(workload, 0, sizeof *workload);
    workload->generated_known = workload->arrivals_known = true;
    assert_non_null(fgets(line, sizeof line, file));
    assert_int_equal(dgo_trace_detect(line, strlen(line), NULL, &format, NULL), DGO_OK);
    while (fgets(line, sizeof line, file)) {
        line[strcspn(line, "\n")] = '\0';
        assert_int_equal(dgo_trace_line(&format, line, strlen(line), NULL, take, workload, why),
                         DGO_TRACE_TAKEN);
    }
    fclose(file);
    dgo_workload_sort(workload);
    return true;
}

void workload_lengths(const struct dgo_workload *workload, struct dgo_arena *arena,
                      struct dgo_lengths *lengths)
{
    assert_int_equal(dgo_lengths_make(workload, DGO_LENGTH_PROMPT, arena, lengths, NULL), DGO_OK);
}
