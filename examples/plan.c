/* plan.c - the planner in a program of your own: a machine file and a model in, a placement out.
 *
 *     build/examples/example-plan examples/machines/two-unequal.yaml model.gguf
 */
#include <inttypes.h>
#include <stdio.h>

#include "dgo_gpu.h"
#include "dgo_model.h"
#include "dgo_plan.h"

static void show(const struct dgo_machine *machine, const struct dgo_plan *plan)
{
    for (uint32_t i = 0; i < plan->estimate.device_count; i++) {
        const struct dgo_device_estimate *device = &plan->estimate.device[i];

        printf("%s: %" PRIu32 " layers, %" PRIu64 " bytes of weights, %" PRIu64 " of context\n",
               machine->gpu[device->gpu_index].name, device->layer_count, device->weights_bytes,
               device->context_bytes);
    }
    printf("host: %" PRIu32 " layers; context %" PRIu32 " tokens; %.1f tokens/s\n",
           plan->estimate.host.layer_count, plan->estimate.ctx_tokens_per_slot,
           plan->predicted.decode_tokens_per_second);
}

int main(int argc, char **argv)
{
    static struct dgo_machine machine; /* large: not on a small stack */
    static struct dgo_plan plan;
    const struct dgo_intent intent = {.ctx_tokens = DGO_CTX_MAX}; /* the rest: choose for me */
    const struct dgo_engine_rules newest = {0};
    struct dgo_gpu_source *source = NULL;
    struct dgo_model *model = NULL;
    struct dgo_error err = {0};
    enum dgo_status status = DGO_EUSAGE;

    if (argc != 3) {
        fprintf(stderr, "usage: plan MACHINE.yaml MODEL.gguf\n");
        return dgo_status_exit(status);
    }
    status = dgo_gpu_open(&(struct dgo_gpu_options){.machine_file = argv[1]}, &source, &err);
    if (status == DGO_OK)
        status = dgo_gpu_take(source, &machine, &err);
    if (status == DGO_OK)
        status = dgo_model_open(argv[2], &model, &err);
    if (status == DGO_OK)
        status = dgo_plan_make(&machine, model, &intent, &newest, &plan, &err);
    if (status == DGO_OK)
        show(&machine, &plan);
    else
        fprintf(stderr, "plan: %s\n", err.text);
    dgo_model_close(model);
    dgo_gpu_close(source);
    return dgo_status_exit(status);
}
