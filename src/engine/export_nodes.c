/* export_nodes.c - what to start on which machine: RPC, Ray, the engines' own processes,
 * Kubernetes. */
#include "export.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

static const char *node_name(const struct dgo_export_question *question, uint32_t node)
{
    return node == 0 ? "this machine" : question->machine->node[node].host;
}

/* The command with its changed environment; `rank` > 0: of another machine. */
static void add_command(const struct dgo_export_question *question, uint32_t node, uint32_t rank,
                        const char *tail, struct dgo_text *text)
{
    const struct dgo_command *command = question->command;
    char cards[DGO_GPU_MAX * 4];
    struct dgo_text list = DGO_TEXT(cards);

    export_node_cards(question, node, &list);
    dgo_text_add(text, "env");
    for (uint32_t i = 0; i < command->env_count; i++) {
        const struct dgo_env_change *change = &command->env[i];

        if (!change->value)
            continue;
        dgo_text_addf(text, " %s=", change->name);
        dgo_word_quote(text, node && strcmp(change->name, "CUDA_VISIBLE_DEVICES") == 0 ? cards
                             : node && strcmp(change->name, "VLLM_HOST_IP") == 0
                                 ? question->machine->node[node].host
                                 : change->value);
    }
    for (uint32_t i = 0; i < command->arg_count; i++) {
        const bool is_rank = i > 0 && strcmp(command->arg[i - 1], "--node-rank") == 0;

        dgo_text_add(text, " ");
        if (is_rank)
            dgo_text_addf(text, "%u", (unsigned)rank);
        else
            dgo_word_quote(text, command->arg[i]);
    }
    dgo_text_addf(text, "%s\n", tail);
}

/* The same words for Ray, which starts the others' processes by itself: no ranks, no addresses. */
static void add_ray_command(const struct dgo_export_question *question, struct dgo_text *text)
{
    static const char *const native[] = {"--nnodes", "--node-rank", "--master-addr"};
    struct dgo_export_question asked = *question;
    struct dgo_command command = *question->command;

    command.arg_count = 0;
    for (uint32_t i = 0; i < question->command->arg_count; i++) {
        const char *word = question->command->arg[i];
        const char *before = i > 0 ? question->command->arg[i - 1] : "";
        bool is_native = false;

        for (size_t n = 0; n < sizeof native / sizeof native[0]; n++)
            is_native = is_native || strcmp(word, native[n]) == 0 || strcmp(before, native[n]) == 0;
        if (!is_native)
            command.arg[command.arg_count++] =
                strcmp(before, "--distributed-executor-backend") == 0 ? "ray" : word;
    }
    asked.command = &command; /* lives as long as the original's words, which it points to */
    add_command(&asked, 0, 0, "", text);
}

static void add_warning(struct dgo_text *text, const char *what)
{
    dgo_text_addf(text,
                  "# WARNING: %s has no password and no encryption.  Whoever reaches its port can "
                  "read and\n# overwrite memory there and run code.  Use a network of your own, a "
                  "tunnel (WireGuard, ssh -L), or a\n# firewall that lets only these machines "
                  "through.\n",
                  what);
}

EXPORT(export_rpc)
{
    uint32_t nodes[DGO_NODE_MAX];
    const uint32_t count = export_nodes(question, nodes);

    if (strcmp(question->engine->name, "llama.cpp") != 0)
        return dgo_fail(err, DGO_EUNSUPPORTED,
                        "rpc-server is llama.cpp's; for %s: export native or "
                        "ray",
                        question->engine->name);
    if (count < 2)
        return dgo_fail(err, DGO_EUNSUPPORTED,
                        "the plan uses this machine only; name others with --node HOST=FILE");
    export_head(question, text, "#");
    add_warning(text, "llama.cpp's RPC");
    for (uint32_t n = 1; n < count; n++) {
        const struct dgo_node *node = &question->machine->node[nodes[n]];
        uint32_t cards = 0;

        /* All of its cards in their own order: --device counts them so. */
        for (uint32_t g = 0; g < question->machine->gpu_count; g++)
            cards += question->machine->gpu_node[g] == nodes[n];
        dgo_text_addf(
            text, "\n# on %s\nenv CUDA_DEVICE_ORDER=PCI_BUS_ID CUDA_VISIBLE_DEVICES=", node->host);
        for (uint32_t c = 0; c < cards; c++)
            dgo_text_addf(text, "%s%u", c ? "," : "", (unsigned)c);
        dgo_text_addf(text, " ggml-rpc-server -H %s -p %u -d ", node->host, (unsigned)node->port);
        for (uint32_t c = 0; c < cards; c++)
            dgo_text_addf(text, "%sCUDA%u", c ? "," : "", (unsigned)c);
        dgo_text_add(text, " -c\n");
    }
    dgo_text_add(text, "\n# here, when the others listen\n");
    add_command(question, 0, 0, "", text);
    return DGO_OK;
}

EXPORT(export_ray)
{
    uint32_t nodes[DGO_NODE_MAX];
    const uint32_t count = export_nodes(question, nodes);
    const char *head = question->host;

    if (strcmp(question->engine->name, "vllm") != 0)
        return dgo_fail(err, DGO_EUNSUPPORTED, "Ray is for vLLM; plan with --engine vllm");
    if (count < 2)
        return dgo_fail(err, DGO_EUNSUPPORTED,
                        "the plan uses this machine only; name others with --node HOST=FILE");
    export_head(question, text, "#");
    add_warning(text, "Ray");
    dgo_text_add(text, "\n# here\nenv CUDA_DEVICE_ORDER=PCI_BUS_ID CUDA_VISIBLE_DEVICES=");
    dgo_word_quote(text, export_variable(question->command, "CUDA_VISIBLE_DEVICES"));
    dgo_text_addf(text,
                  " VLLM_HOST_IP=%s ray start --head --node-ip-address=%s --port=6379 "
                  "--num-gpus=%u\n",
                  head, head, (unsigned)export_node_card_count(question, 0));
    for (uint32_t n = 1; n < count; n++) {
        char cards[DGO_GPU_MAX * 4];
        struct dgo_text list = DGO_TEXT(cards);

        export_node_cards(question, nodes[n], &list);
        dgo_text_addf(text,
                      "\n# on %s\nenv CUDA_DEVICE_ORDER=PCI_BUS_ID CUDA_VISIBLE_DEVICES=%s "
                      "VLLM_HOST_IP=%s ray start --address=%s:6379 --node-ip-address=%s "
                      "--num-gpus=%u\n",
                      node_name(question, nodes[n]), cards, node_name(question, nodes[n]), head,
                      node_name(question, nodes[n]),
                      (unsigned)export_node_card_count(question, nodes[n]));
    }
    dgo_text_add(text, "\n# here, when `ray status` shows all cards\n");
    add_ray_command(question, text);
    return DGO_OK;
}

EXPORT(export_native)
{
    uint32_t nodes[DGO_NODE_MAX];
    const uint32_t count = export_nodes(question, nodes);
    const bool vllm = strcmp(question->engine->name, "vllm") == 0;

    if (!vllm && strcmp(question->engine->name, "sglang") != 0)
        return dgo_fail(err, DGO_EUNSUPPORTED,
                        "%s starts no processes on other machines; vllm and sglang do",
                        question->engine->name);
    if (count < 2)
        return dgo_fail(err, DGO_EUNSUPPORTED,
                        "the plan uses this machine only; name others with --node HOST=FILE");
    if (!export_value(question->command, "--nnodes"))
        return dgo_fail(err, DGO_EUNSUPPORTED,
                        "the machines have different numbers of cards in this plan, which %s takes "
                        "by Ray only: export ray",
                        question->engine->name);
    export_head(question, text, "#");
    add_warning(text, "their talk");
    for (uint32_t n = 0; n < count; n++) {
        dgo_text_addf(text, "\n# on %s\n", node_name(question, nodes[n]));
        add_command(question, nodes[n], n, n > 0 && vllm ? " --headless" : "", text);
    }
    return DGO_OK;
}

/* ---- Kubernetes ---- */

/* `node`: whose cards the container gets, all that it has. */
static void k8s_container(const struct dgo_export_question *question, const char *name,
                          const char *image, const char *script, uint32_t node,
                          struct dgo_text *text)
{
    char order[DGO_GPU_MAX * 4] = "";
    struct dgo_text list = DGO_TEXT(order);

    export_card_order(question, node, &list);
    dgo_text_addf(text,
                  "        containers:\n          - name: %s\n            image: %s\n"
                  "            command: [\"/bin/sh\", \"-c\"]\n            args:\n              - ",
                  name, image);
    export_quoted(text, script);
    dgo_text_add(text, "\n            env:\n");
    for (uint32_t i = 0; i < question->command->env_count; i++) {
        const struct dgo_env_change *change = &question->command->env[i];

        const bool visible = strcmp(change->name, "CUDA_VISIBLE_DEVICES") == 0;

        /* A pod's address is its own, and an RPC server shows all cards in their own order. */
        if (!change->value || strcmp(change->name, "VLLM_HOST_IP") == 0 ||
            (visible && node > 0 && export_value(question->command, "--rpc")))
            continue;
        dgo_text_addf(text, "              - {name: %s, value: ", change->name);
        export_quoted(text, visible ? order : change->value);
        dgo_text_add(text, "}\n");
    }
    dgo_text_addf(text,
                  "            resources:\n              limits:\n                nvidia.com/gpu: "
                  "\"%u\"\n            volumeMounts:\n              - {mountPath: /dev/shm, name: "
                  "dshm}\n              - {mountPath: ",
                  (unsigned)export_node_card_count(question, node));
    export_quoted(text, question->model->path);
    dgo_text_add(text, ", name: model, readOnly: true}\n        volumes:\n          - name: dshm\n"
                       "            emptyDir: {medium: Memory}\n          - name: model\n"
                       "            hostPath: {path: ");
    export_quoted(text, question->model->path);
    dgo_text_add(text, "}\n");
}

/* The command for /bin/sh -c: the pod's own address and rank where the plan has ours. */
static void k8s_script(const struct dgo_export_question *question, bool leader, uint32_t group,
                       struct dgo_text *script)
{
    const struct dgo_command *command = question->command;
    const bool vllm = strcmp(question->engine->name, "vllm") == 0;

    if (!leader && strcmp(question->engine->name, "llama.cpp") == 0) {
        dgo_text_add(script, "exec /app/ggml-rpc-server -H 0.0.0.0 -p 50052 -c");
        return;
    }
    dgo_text_add(script, "exec");
    for (uint32_t i = 0; i < command->arg_count; i++) {
        const char *before = i > 0 ? command->arg[i - 1] : "";

        dgo_text_add(script, " ");
        if (i == 0 && strcmp(question->engine->name, "llama.cpp") == 0)
            dgo_text_add(script, "/app/llama-server");
        else if (i == 0)
            dgo_text_add(script, question->engine->binary);
        else if (strcmp(before, "--host") == 0)
            dgo_text_add(script, "0.0.0.0");
        else if (strcmp(before, "--node-rank") == 0)
            dgo_text_add(script, "$LWS_WORKER_INDEX");
        else if (strcmp(before, "--nnodes") == 0)
            dgo_text_add(script, "$LWS_GROUP_SIZE");
        else if (strcmp(before, "--master-addr") == 0)
            dgo_text_add(script, "$LWS_LEADER_ADDRESS");
        else if (strcmp(before, "--dist-init-addr") == 0)
            dgo_text_add(script, "$LWS_LEADER_ADDRESS:20000");
        else if (strcmp(before, "--rpc") == 0)
            for (uint32_t w = 1; w < group; w++) /* pods of a group are NAME-0-1, NAME-0-2, ... */
                dgo_text_addf(script, "%s%s-0-%u.%s:50052", w > 1 ? "," : "", question->name,
                              (unsigned)w, question->name);
        else
            dgo_word_quote(script, command->arg[i]);
    }
    if (!leader && vllm)
        dgo_text_add(script, " --headless");
}

EXPORT(export_k8s)
{
    struct dgo_export_question asked = *question;
    char name[64];
    static const struct {
        const char *engine, *image;
    } images[] = {{"llama.cpp", "ghcr.io/ggml-org/llama.cpp:full-cuda"},
                  {"vllm", "vllm/vllm-openai:latest"},
                  {"sglang", "lmsysorg/sglang:latest"}};
    uint32_t nodes[DGO_NODE_MAX];
    const uint32_t count = export_nodes(question, nodes);
    const uint32_t cards = export_node_card_count(question, 0);
    const char *image = NULL;
    char leader[8192], worker[8192];
    struct dgo_text leader_text = DGO_TEXT(leader), worker_text = DGO_TEXT(worker);

    /* A Service's name begins with a letter. */
    snprintf(name, sizeof name, "%s%s", islower((unsigned char)question->name[0]) ? "" : "m-",
             question->name);
    asked.name = name;
    question = &asked;
    for (size_t i = 0; i < sizeof images / sizeof images[0]; i++)
        if (strcmp(images[i].engine, question->engine->name) == 0)
            image = images[i].image;
    if (!image)
        return dgo_fail(err, DGO_EUNSUPPORTED,
                        "a group of pods is for llama.cpp, vllm and sglang, not %s",
                        question->engine->name);
    for (uint32_t n = 1; n < count; n++)
        if (export_node_card_count(question, nodes[n]) !=
                export_node_card_count(question, nodes[1]) ||
            (!export_value(question->command, "--rpc") &&
             export_node_card_count(question, nodes[n]) != cards))
            return dgo_fail(err, DGO_EUNSUPPORTED,
                            "the pods of a group are alike, but the machines of this plan have "
                            "different numbers of cards");
    k8s_script(question, true, count, &leader_text);
    k8s_script(question, false, count, &worker_text);
    export_head(question, text, "#");
    add_warning(text, "the talk between the pods");
    dgo_text_addf(text,
                  "apiVersion: leaderworkerset.x-k8s.io/v1\nkind: LeaderWorkerSet\nmetadata:\n"
                  "  name: %s\nspec:\n  replicas: 1\n  leaderWorkerTemplate:\n    size: %u\n"
                  "    restartPolicy: RecreateGroupOnPodRestart\n    leaderTemplate:\n"
                  "      metadata:\n        labels: {role: leader, app: %s}\n      spec:\n",
                  question->name, (unsigned)count, question->name);
    k8s_container(question, "leader", image, leader, 0, text);
    dgo_text_add(text, "    workerTemplate:\n      spec:\n");
    k8s_container(question, "worker", image, worker, count > 1 ? nodes[1] : 0, text);
    dgo_text_addf(
        text,
        "---\napiVersion: v1\nkind: Service\nmetadata:\n  name: %s-api\nspec:\n"
        "  selector: {role: leader, app: %s}\n  ports:\n    - {port: %u, targetPort: %u}\n",
        question->name, question->name, (unsigned)question->port, (unsigned)question->port);
    return leader_text.truncated || worker_text.truncated
               ? dgo_fail(err, DGO_ELIMIT, "the command is too long for a manifest")
               : DGO_OK;
}
