/* placed.c - a component with two implementations, embedded in a program of your own.
 *
 * The resource manager decides for each call where it runs.  The GPU implementation runs only under
 * a lease from the VRAM ledger, so it never takes memory that an engine was promised; where the
 * lease is refused or the run fails, the CPU implementation does the same work.
 * `./dev build` leaves it at build/examples/example-placed.
 */
#include <inttypes.h>
#include <stdio.h>

#include "dgo_resource.h"

#define MIB (UINT64_C(1) << 20)

enum { COUNT = 100000, NEEDED_MIB = 512 };

/* One row: declared once, static.  AUTO: the GPU when 512 MiB of it can be promised and no engine
 * is answering somebody. */
static const struct dgo_component component = {
    .name = "histogram",
    .lane = DGO_LANE_NORMAL,
    .hint = DGO_HINT_AUTO,
    .vram_bytes = NEEDED_MIB * MIB,
    .what = "counts how often each length occurs",
};

struct work {
    uint32_t length[COUNT], bin[64];
    bool gpu_is_broken;
};

static enum dgo_status count_on_cpu(void *arg)
{
    struct work *work = arg;

    for (int i = 0; i < 64; i++)
        work->bin[i] = 0;
    for (int i = 0; i < COUNT; i++)
        work->bin[work->length[i] % 64]++;
    return DGO_OK;
}

/* Here your program launches its kernel.  This one has none, so that it runs anywhere: it shows
 * what is promised to it meanwhile, and does the arithmetic itself. */
static enum dgo_status count_on_gpu(void *arg)
{
    static struct dgo_ledger ledger;
    struct work *work = arg;

    dgo_vram_snapshot(&ledger);
    printf("    on the GPU under a lease of %" PRIu64 " MiB; %" PRIu64
           " MiB can still be promised\n",
           ledger.entry[ledger.entry_count - 1].planned_bytes[0] / MIB,
           dgo_ledger_promisable_bytes(&ledger, 0) / MIB);
    if (work->gpu_is_broken)
        return DGO_EDRIVER;
    return count_on_cpu(arg);
}

static bool failed; /* something went another way than the example says */

static void count(dgo_component_id id, struct work *work, enum dgo_place expected)
{
    const struct dgo_placed placed = {
        .component = id, .cpu = count_on_cpu, .gpu = count_on_gpu, .arg = work, .gpu_index = 0};
    char why[DGO_REASON_MAX];
    enum dgo_place ran_on;
    enum dgo_status status;

    dgo_should_use_cpu_why(id, why);
    printf("    the policy: %s\n", why);
    status = dgo_run_placed(&placed, &ran_on);
    printf("    ran on the %s: %s\n", ran_on == DGO_PLACE_GPU ? "GPU" : "CPU",
           dgo_status_sentence(status));
    failed |= status != DGO_OK || ran_on != expected || work->bin[7] != COUNT / 50;
}

/* What your driver says; dgo_gpu.h asks NVML, amdgpu and others. */
static enum dgo_status tell_ledger(struct dgo_error *err)
{
    const struct dgo_ledger_gpu seen = {.known = true,
                                        .total_bytes = 8192 * MIB,
                                        .driver_bytes = 192 * MIB,
                                        .free_bytes = 4000 * MIB,
                                        .margin_bytes = 256 * MIB};

    return dgo_resource_set_vram(0, &seen, err);
}

/* An engine's launch is promised what it will take, before it takes it. */
static enum dgo_status promise_to_engine(uint64_t *id, struct dgo_error *err)
{
    struct dgo_ledger_request request = {.what = "an engine"};

    request.bytes[0] = 3500 * MIB;
    return dgo_vram_reserve(&request, id, err);
}

static enum dgo_status show(dgo_component_id id, struct work *work, struct dgo_error *err)
{
    enum dgo_status status;
    uint64_t engine;

    printf("no GPU has been seen:\n");
    count(id, work, DGO_PLACE_CPU);

    status = tell_ledger(err);
    if (status != DGO_OK)
        return status;
    printf("a GPU with 4000 MiB free, 256 of them kept:\n");
    count(id, work, DGO_PLACE_GPU);

    printf("the run on the GPU fails:\n");
    work->gpu_is_broken = true;
    count(id, work, DGO_PLACE_CPU);
    work->gpu_is_broken = false;

    printf("an engine is answering somebody:\n");
    dgo_resource_set_streaming(true);
    count(id, work, DGO_PLACE_CPU);
    dgo_resource_set_streaming(false);

    printf("an engine was promised 3500 MiB, and the user insists on the GPU: no lease\n");
    status = promise_to_engine(&engine, err);
    if (status == DGO_OK)
        status = dgo_component_override(component.name, DGO_HINT_GPU, "the example", err);
    if (status != DGO_OK)
        return status;
    count(id, work, DGO_PLACE_CPU);
    return dgo_vram_release(engine, err);
}

int main(void)
{
    static struct work work;
    struct dgo_component_stats stats;
    struct dgo_error err = {0};
    dgo_component_id id = 0;
    enum dgo_status status;

    for (uint32_t i = 0; i < COUNT; i++)
        work.length[i] = i % 50;
    status = dgo_resource_start(&(struct dgo_resource_config){0}, &err);
    if (status == DGO_OK)
        status = dgo_component_register(&component, 1, &id, &err);
    if (status == DGO_OK)
        status = show(id, &work, &err);
    dgo_component_read_stats(id, &stats);
    printf("%" PRIu64 " runs on the GPU, %" PRIu64 " came back to the CPU\n", stats.gpu_runs,
           stats.gpu_fallbacks);
    dgo_resource_stop(DGO_FOREVER, NULL);
    if (status != DGO_OK)
        fprintf(stderr, "placed: %s\n", err.text);
    return status != DGO_OK || failed || stats.gpu_runs != 1 || stats.gpu_fallbacks != 2;
}
