/* flow_engine.c - the engine of a flow: its binary, what the binary says about itself, the devices
 * it sees. */
#include "flow_engine.h"

#include "dgo_launch.h"
#include "dgo_log.h"
#include "dgo_store.h"
#include "dgo_text.h"
#include "dgo_units.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* The first executable of that name on the PATH.  Entries that are relative, or empty, which means
 * the current folder, are skipped: an engine is not picked up from wherever one happens to stand,
 * and the command shown must work from any folder. */
static bool find_on_path(const char *path, const char *name, char *found, size_t size)
{
    while (path && *path) {
        const size_t length = strcspn(path, ":");
        struct stat info;

        if (path[0] == '/' &&
            snprintf(found, size, "%.*s/%s", (int)length, path, name) < (int)size &&
            stat(found, &info) == 0 && S_ISREG(info.st_mode) && access(found, X_OK) == 0)
            return true;
        path += length + (path[length] == ':');
    }
    return false;
}

bool flow_on_path(const char *name, char *found, size_t size)
{
    return find_on_path(getenv("PATH"), name, found, size);
}

/* A list of the engines' names, for sentences. */
static void add_names(struct dgo_text *text)
{
    for (const struct dgo_engine *const *engine = dgo_engines; *engine; engine++)
        dgo_text_addf(text, "%s%s", text->length ? ", " : "", (*engine)->name);
}

enum dgo_status flow_engine_choose(struct flow *flow, struct dgo_error *err)
{
    const char *given = option_text(flow->options, OPTION_ENGINE);
    const char *named = option_text(flow->options, OPTION_FOR);
    const char *slash = given ? strrchr(given, '/') : NULL;
    char known[512];
    struct dgo_text text = DGO_TEXT(known);

    flow->engine = dgo_engines[0];
    if (named) {
        flow->engine = dgo_engine_find(named);
        add_names(&text);
        return flow->engine
                   ? DGO_OK
                   : dgo_fail(err, DGO_EUSAGE, "--for: '%.40s' is none of %s", named, known);
    }
    if (given && dgo_engine_find(slash ? slash + 1 : given))
        flow->engine = dgo_engine_find(slash ? slash + 1 : given);
    return DGO_OK;
}

static enum dgo_status find_binary(struct flow *flow, struct dgo_error *err)
{
    const char *given = option_text(flow->options, OPTION_ENGINE);
    char *real;

    /* A plain name of an engine means the binary of that engine, wherever it lies. */
    if (!given || (!strchr(given, '/') && dgo_engine_find(given))) {
        flow->binary_found =
            !flow->engine->binary_shared &&
            find_on_path(getenv("PATH"), flow->engine->binary, flow->binary, sizeof flow->binary);
        return DGO_OK;
    }
    if (access(given, X_OK) != 0) {
        char known[512];
        struct dgo_text text = DGO_TEXT(known);

        add_names(&text);
        return dgo_fail_errno(err, DGO_ENOTFOUND, errno,
                              "--engine: '%.200s' cannot be executed, and it is none of %s", given,
                              known);
    }
    real = realpath(given, NULL); /* the command shown must work from any folder */
    if (!real || !dgo_text_copy(flow->binary, sizeof flow->binary, real)) {
        free(real);
        return dgo_fail(err, DGO_ENOTFOUND, "--engine: '%.200s' cannot be resolved", given);
    }
    free(real);
    flow->binary_found = true;
    return DGO_OK;
}

/* What the binary says to one question, to be freed; NULL with a sentence.  10 s is ample for a
 * binary that does not hang; Python engines import all of PyTorch first. */
static char *ask_binary(const struct flow *flow, const char *const *words, struct dgo_error *err)
{
    enum { OUTPUT_BYTES = 512 * 1024, WORDS_MAX = 6 };
    const uint64_t patience_ns = (flow->engine->plan ? 90 : 10) * DGO_NS_PER_S;
    const char *argv[WORDS_MAX + 2] = {flow->binary};
    char *output = calloc(1, OUTPUT_BYTES);
    int code = 0;

    for (int i = 0; i < WORDS_MAX && words[i]; i++)
        argv[i + 1] = words[i];

    if (!output) {
        dgo_fail(err, DGO_ENOMEM, "out of memory while probing the engine");
        return NULL;
    }
    if (dgo_process_capture(argv, (const char *const *)flow->environment, patience_ns, output,
                            OUTPUT_BYTES, &code, err) != DGO_OK) {
        free(output);
        return NULL;
    }
    return output;
}

bool flow_state_folder(const struct options *options, char *directory, size_t size)
{
    const char *given = option_text(options, OPTION_STATE_DIR);
    const char *state = getenv("XDG_STATE_HOME"), *home = getenv("HOME");
    int length;

    if (given)
        length = snprintf(directory, size, "%s", given);
    else if (state && state[0] == '/') /* the specification: a relative one is ignored */
        length = snprintf(directory, size, "%s/dualgpuopt", state);
    else if (home && home[0] == '/' && access(home, F_OK) == 0) /* daemons' need not exist */
        length = snprintf(directory, size, "%s/.local/state/dualgpuopt", home);
    else
        return false;
    return length >= 0 && (size_t)length < size;
}

/* Not having a store is no failure. */
static void open_store(struct flow *flow)
{
    const bool given = option_given(flow->options, OPTION_STATE_DIR);
    char directory[PATH_MAX], notice[256] = "";
    struct dgo_error err = {0};

    if (!flow_state_folder(flow->options, directory, sizeof directory))
        return;
    if (dgo_store_open(directory, &flow->store, notice, &err) != DGO_OK) {
        flow->store = NULL;
        dgo_log(given ? DGO_LOG_WARN : DGO_LOG_INFO, "nothing will be remembered: %s", err.text);
    } else if (notice[0]) {
        dgo_log(DGO_LOG_WARN, "%s", notice);
    }
}

/* The probe of a binary with that hash, if it said the same of its version then.  A llama-server
 * may be a few kilobytes that load all the rest: its bytes, and so its hash, outlive upgrades. */
static bool find_kept(struct flow *flow, const char *version)
{
    struct dgo_probe *now = calloc(1, sizeof *now);
    bool found = false;

    if (now && flow->store &&
        dgo_store_get_probe(flow->store, flow->binary_hash, &flow->probe, NULL) == DGO_OK) {
        flow->engine->read_probe(now, version, "");
        found = strcmp(now->version, flow->probe.version) == 0;
    }
    free(now);
    return found;
}

static void keep_probe(const struct flow *flow)
{
    struct dgo_error ignored = {0};

    if (flow->store &&
        dgo_store_put_probe(flow->store, flow->binary_hash, &flow->probe, &ignored) != DGO_OK)
        dgo_log(DGO_LOG_INFO, "the probe was not kept: %s", ignored.text);
}

static enum dgo_status probe_help(struct flow *flow, const char *version, struct dgo_error *err)
{
    static const char *const plain[] = {"--help", NULL};
    char *help = ask_binary(flow, flow->engine->help_args ? flow->engine->help_args : plain, err);
    enum dgo_status status = DGO_OK;

    if (!help)
        return err->status;
    flow->engine->read_probe(&flow->probe, version, help);
    if (flow->probe.flag_count == 0)
        status = dgo_fail(err, DGO_ECHILD, "its --help lists no options; is it %s?",
                          flow->engine->binary);
    else
        keep_probe(flow);
    free(help);
    return status;
}

/* Asks the binary for its version, and for its options unless they are known.  `err` is not NULL.
 */
static enum dgo_status probe_binary(struct flow *flow, struct dgo_error *err)
{
    static const char *const plain[] = {"--version", NULL};
    enum dgo_status status = dgo_file_hash(flow->binary, flow->binary_hash, err);
    char *version;

    if (status != DGO_OK)
        return status;
    version =
        ask_binary(flow, flow->engine->version_args ? flow->engine->version_args : plain, err);
    if (!version)
        status = err->status;
    else if (!find_kept(flow, version))
        status = probe_help(flow, version, err);
    free(version);
    flow->probed = status == DGO_OK;
    if (status != DGO_OK) {
        memset(&flow->probe, 0, sizeof flow->probe); /* whatever it said is not to be believed */
        dgo_error_prefix(err, status, "%s could not be probed", flow->binary);
    }
    return status;
}

static enum dgo_status parse_build(const char *text, uint32_t *build, struct dgo_error *err)
{
    static const char *const digits = "0123456789";
    const char *number = text + (text[0] == 'b');

    *build = dgo_engine_build_parse(text);
    /* A shallow clone says 1: between the builds that were measured, so that bounds are given. */
    if (*build == 0 && strspn(number, digits) == strlen(number) && strlen(number) <= 3 &&
        strtoul(number, NULL, 10) > 0)
        *build = DGO_BUILD_UNSURE;
    if (*build == 0)
        return dgo_fail(err, DGO_EUSAGE,
                        "--engine-build: '%.40s' is no build like 10256 or b10256, and no release "
                        "that is known here like 0.5.0 or 0.7.0",
                        text);
    return DGO_OK;
}

/* "0.11.2" of an engine that has no build numbers: flags follow that version. */
static enum dgo_status assume_version(struct flow *flow, const char *text, struct dgo_error *err)
{
    const uint32_t version = dgo_engine_version(text);

    if (!version)
        return dgo_fail(err, DGO_EUSAGE, "--engine-build: '%.40s' is no version like 0.11.2", text);
    memset(&flow->probe, 0, sizeof flow->probe);
    flow->probe.build = version;
    dgo_text_copy_escaped(flow->probe.version, sizeof flow->probe.version, text, strlen(text));
    flow->probed = true;
    return DGO_OK;
}

enum dgo_status flow_engine_find(struct flow *flow, bool needed, struct dgo_error *err)
{
    const char *build = option_text(flow->options, OPTION_ENGINE_BUILD);
    struct dgo_error probe_err = {0};
    enum dgo_status status;

    if (!flow->store)
        open_store(flow);
    flow->rules = (struct dgo_engine_rules){0};
    status = flow_engine_choose(flow, err);
    if (status == DGO_OK)
        status = find_binary(flow, err);
    if (status != DGO_OK)
        return status;
    if (needed && !flow->binary_found)
        return dgo_fail(err, DGO_ENOTFOUND,
                        "%s is not on the PATH; install %s, or name it with --engine PATH",
                        flow->engine->binary, flow->engine->name);
    if (build && (flow->engine->plan || (flow->engine != dgo_engines[0] && strchr(build, '.'))))
        return assume_version(flow, build, err);
    if (flow->binary_found && probe_binary(flow, &probe_err) != DGO_OK) {
        if (needed) {
            if (err)
                *err = probe_err;
            return probe_err.status;
        }
        dgo_log(DGO_LOG_WARN, "%s; planning for the newest known build", probe_err.text);
    }
    if (flow->engine->plan)
        return DGO_OK;
    if (build)
        return parse_build(build, &flow->rules.build, err);
    if (flow->engine == dgo_engines[0]) /* others count their versions otherwise */
        flow->rules.build = flow->probe.build;
    return DGO_OK;
}

static bool engine_sees(const struct dgo_engine_device *devices, uint32_t count, const char *name)
{
    for (uint32_t i = 0; i < count; i++)
        if (strcmp(devices[i].name, name) == 0)
            return true;
    return false;
}

/* A sentence for the first planned device that the engine does not see. */
static enum dgo_status match_devices(const struct flow *flow, const struct dgo_estimate *estimate,
                                     const struct dgo_engine_device *devices, uint32_t count,
                                     struct dgo_error *err)
{
    for (uint32_t i = 0; i < estimate->device_count; i++) {
        char seen[256];
        struct dgo_text text = DGO_TEXT(seen);

        if (engine_sees(devices, count, estimate->device[i].name))
            continue;
        for (uint32_t k = 0; k < count; k++)
            dgo_text_addf(&text, "%s%s", k ? ", " : "", devices[k].name);
        return dgo_fail(err, DGO_EUNSUPPORTED,
                        "the plan needs %s (%.60s), but %s sees %s; was it built for these cards, "
                        "and is their driver loaded?",
                        estimate->device[i].name,
                        flow->machine.gpu[estimate->device[i].gpu_index].name, flow->binary,
                        count ? seen : "no device at all");
    }
    return DGO_OK;
}

/* Devices of other machines are seen only when --rpc comes before the question. */
static void name_servers(const struct dgo_command *command, const char *argv[5])
{
    for (uint32_t i = 0; i + 1 < command->arg_count; i++)
        if (strcmp(command->arg[i], "--rpc") == 0) {
            argv[1] = command->arg[i];
            argv[2] = command->arg[i + 1];
            argv[3] = "--list-devices";
        }
}

enum dgo_status flow_engine_sees(const struct flow *flow, const struct dgo_command *command,
                                 const char *const *environment,
                                 const struct dgo_estimate *estimate, struct dgo_error *err)
{
    const char *argv[] = {flow->binary, "--list-devices", NULL, NULL, NULL};
    struct dgo_engine_device devices[DGO_GPU_MAX];
    char output[16384], log[1];
    const struct dgo_capture_options options = {
        .argv = argv,
        .environment = environment,
        .timeout_ns = 60 * DGO_NS_PER_S, /* a driver may need a while to wake its cards */
        .errors = log,
        .errors_size = sizeof log};
    enum dgo_status status;
    int code = 0;

    if (!flow->engine->read_devices) /* it has no such question; it tells when it starts */
        return DGO_OK;
    name_servers(command, argv);
    status = dgo_process_capture_limited(&options, output, sizeof output, &code, err);
    if (status != DGO_OK)
        return status;
    return match_devices(flow, estimate, devices,
                         flow->engine->read_devices(devices, DGO_GPU_MAX, output), err);
}

enum dgo_status flow_engine_check(struct flow *flow, struct dgo_error *err)
{
    struct dgo_arena arena = {0};
    const char **environment = NULL;
    enum dgo_status status;

    if (!flow->engine->read_devices)
        return DGO_OK;
    status = flow_command(flow, 0, NULL, 0, err); /* for its environment and its machines */
    if (status == DGO_OK)
        status = flow_environment(flow, &arena, &environment, err);
    if (status == DGO_OK)
        status = flow_engine_sees(flow, &flow->command, (const char *const *)environment,
                                  &flow->plan.estimate, err);
    dgo_arena_done(&arena);
    return status;
}
