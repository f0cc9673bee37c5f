/* cmd_serve.c - `dualgpuopt serve`: the daemon in the foreground. */
#include "cmd.h"
#include "dgo_serve.h"
#include "print.h"

static void say(const char *text)
{
    print_message("%s", text);
}

static int run(const struct cmd_call *call)
{
    struct dgo_error err = {0};

    return serve_run(&call->options, call->environment, say, &err) == DGO_OK ? 0
                                                                             : print_failure(&err);
}

const struct cmd cmd_serve = {
    .name = "serve",
    .does = "watch the GPUs, hold many launches, serve the page, the API and the models",
    .usage = "[options]",
    .examples = "dualgpuopt serve --model-folders /srv/models\n"
                "dualgpuopt serve --model-folders ~/models --admission evict --idle-timeout 30m\n"
                "dualgpuopt serve --listen 127.0.0.1:0 --token-file ~/.config/dualgpuopt/token",
    .details =
        "The page's address, with a token made for this run, is printed once. Clients of OpenAI's\n"
        "API use the same address with /v1 and the token as their key: models are started when "
        "they\n"
        "are asked for. Plan options given here hold for every launch. Ctrl-C stops the engines\n"
        "first; a second one kills them. docs/HTTP.md describes every route.",
    .reads_config = true,
    .options = {OPTION_LISTEN,        OPTION_TOKEN_FILE,
                OPTION_SOCKET,        OPTION_MODEL_FOLDERS,
                OPTION_ADMISSION,     OPTION_OOM,
                OPTION_IDLE_TIMEOUT,  OPTION_KEEP_ENGINES,
                OPTION_NO_ON_DEMAND,  OPTION_REQUEST_TIMEOUT,
                OPTION_QUEUE_TIMEOUT, OPTION_WEB,
                OPTION_CTX,           OPTION_PARALLEL,
                OPTION_OBJECTIVE,     OPTION_KV_TYPE,
                OPTION_MARGIN,        OPTION_NO_CPU_LAYERS,
                OPTION_GPUS,          OPTION_USE,
                OPTION_SPREAD,        OPTION_ENGINE,
                OPTION_ENGINE_BUILD,  OPTION_HOST,
                OPTION_THREADS,       OPTION_RESTART,
                OPTION_READY_TIMEOUT, OPTION_STOP_TIMEOUT,
                OPTION_STATE_DIR,     OPTION_NVML,
                OPTION_VERBOSE,       OPTION_HELP},
    .run = run,
};
