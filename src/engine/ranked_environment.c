/* ranked_environment.c - which cards, which paths between them, which allocator: the environment of
 * engines on PyTorch and NCCL. */
#include "llama_cpp.h"
#include "ranked.h"

#include <stdio.h>
#include <string.h>

/* Whether some pair of the cards is known to have no direct access; `all` whether every pair is
 * known to have it. */
static bool lacks_p2p(const struct dgo_machine *machine, const struct dgo_settings *settings,
                      bool *all)
{
    bool lacks = false;

    *all = true;
    for (uint32_t a = 0; a < settings->device_count; a++)
        for (uint32_t b = a + 1; b < settings->device_count; b++) {
            const struct dgo_link *link =
                &machine->link[settings->device_gpu[a]][settings->device_gpu[b]];

            lacks = lacks || (link->p2p_known && !link->p2p);
            *all = *all && link->p2p_known && link->p2p;
        }
    return lacks;
}

static void add_nccl(struct command_builder *builder, const struct dgo_machine *machine,
                     const struct dgo_settings *settings)
{
    bool all;

    if (settings->device_count < 2)
        return;
    if (lacks_p2p(machine, settings, &all))
        build_environment(builder, "NCCL_P2P_DISABLE", "1",
                          "the driver lets these cards not read each other's memory; NCCL that "
                          "tries hangs on some of them");
}

/* Two names: PyTorch 2.9 renamed the variable and still reads the old one. */
static void add_allocator(struct command_builder *builder, const struct dgo_machine *machine,
                          const struct dgo_plan *plan)
{
    static const char why[] = "segments that grow: less memory lost between tensors of changing "
                              "size";

    if (machine->gpu[plan->settings.device_gpu[0]].vendor == DGO_VENDOR_AMD)
        return; /* its runtime ignores them, with a warning from every process */
    if (plan->partition.tensor_parallel > 1)
        return; /* custom all-reduce shares graph memory by handles that such segments cannot give
                 */
    build_environment(builder, "PYTORCH_ALLOC_CONF", "expandable_segments:True", why);
    build_environment(builder, "PYTORCH_CUDA_ALLOC_CONF", "expandable_segments:True", why);
}

/* Each rank is a process with a pool of its own: all of them together must not outnumber the cores.
 */
static void add_threads(struct command_builder *builder, const struct dgo_machine *machine,
                        const struct dgo_plan *plan, const struct dgo_launch_options *options)
{
    enum { THREADS_MOST = 8 };
    const uint32_t ranks = plan->settings.device_count ? plan->settings.device_count : 1;
    char text[16];

    if (options->thread_count > 0) {
        snprintf(text, sizeof text, "%d", (int)options->thread_count);
        build_environment(builder, "OMP_NUM_THREADS", text, "as --threads says");
    } else if (options->cpu_count > 0 || machine->host.core_count > 0) {
        const uint32_t cpus = options->cpu_count ? options->cpu_count : machine->host.core_count;
        const uint32_t each = cpus / (ranks + 1);

        snprintf(text, sizeof text, "%u",
                 (unsigned)(each < 1              ? 1
                            : each > THREADS_MOST ? THREADS_MOST
                                                  : each));
        build_environment(builder, "OMP_NUM_THREADS", text,
                          options->cpu_count
                              ? build_why(builder,
                                          "%u CPUs shared by one process a card and the server: %s",
                                          (unsigned)cpus, options->cpu_why)
                              : "cores shared by one process a card and the server");
    }
}

static void ranked_environment(struct command_builder *builder, const struct dgo_machine *machine,
                               const struct dgo_plan *plan,
                               const struct dgo_launch_options *options)
{
    static const struct dgo_env_change removals[] = {
        {"CUDA_VISIBLE_DEVICES", NULL, "the plan says which cards are seen"},
        {"HIP_VISIBLE_DEVICES", NULL, "the plan says which cards are seen"},
        {"ROCR_VISIBLE_DEVICES", NULL, "the plan says which cards are seen"},
        {"RANK", NULL, "left over from another launcher it changes who is first"},
        {"LOCAL_RANK", NULL, "left over from another launcher it changes who is first"},
        {"WORLD_SIZE", NULL, "left over from another launcher it changes how many there are"},
    };

    for (size_t i = 0; i < sizeof removals / sizeof removals[0]; i++)
        build_environment(builder, removals[i].name, NULL, removals[i].why);
    build_environment(builder, "CUDA_DEVICE_ORDER", "PCI_BUS_ID",
                      "CUDA's own order is by speed, the driver's and this program's by bus");
    llama_cpp_visible(builder, machine, &plan->settings);
    add_nccl(builder, machine, &plan->settings);
    add_allocator(builder, machine, plan);
    add_threads(builder, machine, plan, options);
    if (options->model_path[0] == '/' || options->model_path[0] == '.')
        build_environment(builder, "HF_HUB_OFFLINE", "1",
                          "the model is a folder here; nothing is fetched behind one's back");
}

enum dgo_status ranked_end(struct command_builder *builder, const struct dgo_machine *machine,
                           const struct dgo_plan *plan, const struct dgo_launch_options *options,
                           const char *const *decided, struct dgo_command *made)
{
    ranked_environment(builder, machine, plan, options);
    ranked_extra(builder, options, decided);
    return build_end(builder, made);
}
