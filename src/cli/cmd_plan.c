/* cmd_plan.c - `dualgpuopt plan MODEL`: the best placement, alternatives, and why. */
#include "cmd.h"
#include "dgo_tensor.h"
#include "flow.h"
#include "picture.h"
#include "print.h"
#include "rivals.h"
#include "view_choices.h"

#include <errno.h>
#include <stdio.h>
#include <sys/stat.h>

static void print_line(const char *line, void *data)
{
    (void)data;
    printf("%s\n", line);
}

/* What --need and --compare ask for. */
struct extra {
    bool needs_known;
    struct dgo_needs needs;
    uint32_t rival_count;
    struct rival rival[RIVAL_MAX];
    bool tensor_known;
    struct dgo_tensor_split tensor;
};

static enum dgo_status find_extra(const struct cmd_call *call, struct flow *flow,
                                  struct extra *extra, struct dgo_error *err)
{
    enum dgo_status status = DGO_OK;

    if (option_given(&call->options, OPTION_NEED)) {
        status = flow_need(flow, &extra->needs, err);
        extra->needs_known = status == DGO_OK;
    }
    if (option_given(&call->options, OPTION_COMPARE))
        extra->rival_count = rivals_find(flow, extra->rival);
    extra->tensor_known =
        flow->engine->read_flags && !flow->engine->plan; /* llama.cpp's -sm tensor */
    if (status == DGO_OK && extra->tensor_known)
        status = dgo_tensor_split_make(&flow->machine, flow->model, &flow->intent, &flow->rules,
                                       &flow->plan, &extra->tensor, err);
    return status;
}

static json_t *view(const struct cmd_call *call, const struct flow *flow,
                    const struct dgo_command *command, const struct extra *extra)
{
    json_t *object = view_plan(&flow->machine, flow->model, &flow->plan, command);

    if (flow->calibrated[0])
        json_object_set_new(object, "calibrated", view_text(flow->calibrated));
    if (extra->needs_known)
        json_object_set_new(object, "need", view_needs(&flow->machine, &extra->needs));
    if (extra->rival_count > 0)
        json_object_set_new(object, "comparison",
                            view_rivals(&flow->machine, extra->rival, extra->rival_count));
    if (extra->rival_count > 0 || extra->tensor.pays)
        json_object_set_new(object, "tensor_split",
                            view_tensor_split(flow->model, &flow->plan, &extra->tensor));
    if (option_given(&call->options, OPTION_EXPLAIN))
        view_explain(object, &flow->machine, flow->model, &flow->plan, command);
    return object;
}

/* A regular file that could not be written whole is not left half; a device is left alone. */
static void remove_partial(const char *path)
{
    struct stat info;

    if (lstat(path, &info) == 0 && S_ISREG(info.st_mode))
        (void)remove(path);
}

/* The plan as a picture, into a file that is whole or not there. */
static enum dgo_status write_picture(const struct flow *flow, const char *path,
                                     struct dgo_error *err)
{
    static char picture[PICTURE_PLAN_MAX];
    struct dgo_text text = DGO_TEXT(picture);
    FILE *file;
    bool written;

    if (!picture_plan(&flow->machine, flow->model, &flow->plan, &text))
        return dgo_fail(err, DGO_ELIMIT, "the picture is larger than %d bytes", PICTURE_PLAN_MAX);
    file = fopen(path, "w");
    if (!file)
        return dgo_fail_errno(err, DGO_EIO, errno, "--svg: '%.200s' cannot be written", path);
    written = fwrite(picture, 1, text.length, file) == text.length;
    written = fclose(file) == 0 && written;
    if (written)
        return DGO_OK;
    const int why = errno;

    remove_partial(path);
    return dgo_fail_errno(err, DGO_EIO, why, "--svg: '%.200s' cannot be written", path);
}

/* Told when it pays, and where numbers are asked for. */
static void print_tensor_split(const struct cmd_call *call, const struct flow *flow,
                               const struct extra *extra)
{
    const struct dgo_tensor_split *split = &extra->tensor;
    char text[512];

    if (!flow->plan.estimate.fits || !extra->tensor_known ||
        (!split->pays && !option_given(&call->options, OPTION_COMPARE) &&
         !option_given(&call->options, OPTION_EXPLAIN)))
        return;
    dgo_tensor_split_text(flow->model, &flow->plan, split, text);
    printf("\n%s\n", text);
}

/* Prints what was found; `planned` is DGO_ENOFIT when flow.plan is the nearest placement. */
static int show(const struct cmd_call *call, struct flow *flow, enum dgo_status planned,
                const struct dgo_error *err)
{
    const struct dgo_command *command = flow->command_made ? &flow->command : NULL;
    static struct extra extra;
    const char *svg = option_text(&call->options, OPTION_SVG);
    struct dgo_error extra_err = {0};
    int status = 0;

    if ((svg && write_picture(flow, svg, &extra_err) != DGO_OK) ||
        find_extra(call, flow, &extra, &extra_err) != DGO_OK)
        return print_failure(&extra_err);
    if (option_given(&call->options, OPTION_JSON)) {
        status = print_json(view(call, flow, command, &extra));
    } else {
        print_plan(&flow->machine, flow->model, &flow->plan, command, call->environment,
                   flow->calibrated);
        if (extra.rival_count > 0)
            print_rivals(extra.rival, extra.rival_count);
        print_tensor_split(call, flow, &extra);
        if (extra.needs_known)
            print_needs(&flow->machine, &extra.needs);
        if (option_given(&call->options, OPTION_EXPLAIN)) {
            printf("\nwhy:\n");
            dgo_engine_explain(&flow->machine, flow->model, &flow->plan, print_line, NULL);
            if (command) {
                printf("\nwhy each word of the command:\n");
                dgo_command_explain(command, print_line, NULL);
            }
        }
    }
    return planned == DGO_OK ? status : print_failure(err);
}

static int run(const struct cmd_call *call)
{
    static struct flow flow;
    struct dgo_error err = {0};
    enum dgo_status status;
    int exit_status;

    flow_init(&flow, &call->options, call->environment);
    status = flow_prepare(&flow, call->args[0], false, &err);
    if (status == DGO_OK)
        status = flow_command(&flow, flow_shown_port(&flow), call->rest, call->rest_count, &err);
    if (status == DGO_OK || (status == DGO_ENOFIT && flow.planned))
        exit_status = show(call, &flow, status, &err);
    else
        exit_status = print_failure(&err);
    flow_done(&flow);
    return exit_status;
}

const struct cmd cmd_plan = {
    .name = "plan",
    .does = "decide which layers go on which GPU, with what context and batch",
    .usage = "MODEL [options] [-- ENGINE FLAGS]",
    .examples = "dualgpuopt plan model.gguf\n"
                "dualgpuopt plan model.gguf --ctx max --explain\n"
                "dualgpuopt plan model-folder --engine vllm --parallel 8\n"
                "dualgpuopt plan model.gguf --margin 0=2GiB,1=512MiB --svg plan.svg\n"
                "dualgpuopt plan model.gguf --compare --need\n"
                "dualgpuopt plan model.gguf --gpus examples/machines/two-unequal.yaml --json",
    .details = "Nothing is started. What does not fit exits with 3 and names the limiting GPU and\n"
               "the missing bytes.",
    .arg_min = 1,
    .arg_max = 1,
    .takes_rest = true,
    .options = {OPTION_GPUS, OPTION_NODE, OPTION_NETWORK, OPTIONS_OF_PLAN, OPTION_WORKLOAD,
                OPTION_COLUMNS, OPTION_TOKEN_LATENCY, OPTION_SVG, OPTION_COMPARE, OPTION_NEED,
                OPTION_EXPLAIN, OPTION_JSON, OPTION_PRESET, OPTION_STATE_DIR, OPTION_VERBOSE,
                OPTION_NVML, OPTION_HELP},
    .run = run,
};
