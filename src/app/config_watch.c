/* config_watch.c - inotify on the folder of the configuration file: editors and we rename. */
#include "config_watch.h"

#include "config_internal.h"
#include "dgo_file.h"
#include "dgo_log.h"
#include "dgo_text.h"
#include "dgo_units.h"

#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>

/* An editor writes, renames and touches; one reading after the last of it is enough. */
static const uint64_t settle_us = 100 * 1000;

struct config_watch {
    struct dgo_app *app;
    const struct options *given;
    char *const *environment;
    const struct config *current;
    uint64_t generation;
    bool was_broken;
    sd_event_source *folder, *target; /* of the path, and where a symbolic link leads */
    sd_event_source *timer;
};

static void publish(struct config_watch *watch, bool accepted, const char *text)
{
    struct config_event event = {.generation = watch->generation, .accepted = accepted};

    dgo_text_copy_escaped(event.text, sizeof event.text, text, strlen(text));
    dgo_log(accepted ? DGO_LOG_INFO : DGO_LOG_WARN, "%s", event.text);
    if (dgo_bus_publish(watch->app->bus, TOPIC_CONFIG_CHANGED, 0, &event) != DGO_OK)
        dgo_log(DGO_LOG_WARN, "a listener has no room for the change of the configuration");
}

static void read_again(struct config_watch *watch, bool always)
{
    const struct config *fresh = NULL, *before = watch->current;
    struct dgo_error err = {0};
    char text[DGO_ERROR_TEXT_MAX + 64];
    struct dgo_text sentence = DGO_TEXT(text);

    if (config_open(watch->given, watch->environment, &fresh, &err) != DGO_OK) {
        watch->was_broken = true;
        dgo_text_addf(&sentence, "%s; the values in force stay", err.text);
        publish(watch, false, text);
        return;
    }
    if (!always && !watch->was_broken && fresh->digest == before->digest) {
        config_unref(fresh);
        return;
    }
    watch->was_broken = false;
    watch->current = fresh;
    watch->generation++;
    config_place_components(fresh, before);
    config_unref(before);
    dgo_text_addf(&sentence, "the configuration was read again: %s", fresh->path);
    publish(watch, true, text);
}

static int on_settled(sd_event_source *source, uint64_t now_us, void *data)
{
    (void)source;
    (void)now_us;
    read_again(data, false);
    return 0;
}

static int on_change(sd_event_source *source, const struct inotify_event *event, void *data)
{
    struct config_watch *watch = data;

    (void)source;
    (void)event; /* whatever it is called: the link's target has another name */
    if (sd_event_source_set_time_relative(watch->timer, settle_us) >= 0)
        (void)sd_event_source_set_enabled(watch->timer, SD_EVENT_ONESHOT);
    return 0;
}

static void watch_folder_of(struct config_watch *watch, const char *path, sd_event_source **source)
{
    const uint32_t mask = IN_CLOSE_WRITE | IN_MOVED_TO | IN_MOVED_FROM | IN_DELETE | IN_ONLYDIR;
    struct dgo_error err = {0};
    char folder[PATH_MAX];
    char *slash;
    int result;

    if (!dgo_text_copy(folder, sizeof folder, path))
        return;
    slash = strrchr(folder, '/');
    if (!slash)
        (void)dgo_text_copy(folder, sizeof folder, ".");
    else
        slash[slash == folder] = '\0';
    /* made now, or a file that comes later would not be seen */
    if (dgo_folder_make(folder, &err) != DGO_OK)
        dgo_log(DGO_LOG_INFO, "%s", err.text);
    result = sd_event_add_inotify(watch->app->loop, source, folder, mask, on_change, watch);
    if (result < 0)
        dgo_log(DGO_LOG_INFO, "changes of %s are not noticed (%s); send SIGHUP after one", path,
                strerror(-result));
}

enum dgo_status config_watch_start(struct dgo_app *app, const struct options *given,
                                   char *const *environment, struct config_watch **out,
                                   struct dgo_error *err)
{
    struct config_watch *watch = calloc(1, sizeof *watch);
    char target[PATH_MAX];
    enum dgo_status status;
    int result;

    if (!watch)
        return dgo_fail(err, DGO_ENOMEM, "out of memory");
    watch->app = app;
    watch->given = given;
    watch->environment = environment;
    status = config_open(given, environment, &watch->current, err);
    if (status == DGO_OK) {
        result = sd_event_add_time(app->loop, &watch->timer, CLOCK_MONOTONIC, UINT64_MAX, 0,
                                   on_settled, watch);
        if (result < 0)
            status = dgo_fail_errno(err, DGO_EIO, -result, "the loop cannot watch a file");
        else
            (void)sd_event_source_set_enabled(watch->timer, SD_EVENT_OFF);
    }
    if (status != DGO_OK) {
        config_watch_stop(watch);
        return status;
    }
    config_place_components(watch->current, NULL);
    if (watch->current->path[0]) {
        watch_folder_of(watch, watch->current->path, &watch->folder);
        if (realpath(watch->current->path, target) && strcmp(target, watch->current->path) != 0)
            watch_folder_of(watch, target, &watch->target);
    }
    *out = watch;
    return DGO_OK;
}

const struct config *config_watch_current(const struct config_watch *watch)
{
    return watch->current;
}

const struct options *config_watch_given(const struct config_watch *watch)
{
    return watch->given;
}

void config_watch_reload(struct config_watch *watch)
{
    read_again(watch, true);
}

void config_watch_stop(struct config_watch *watch)
{
    if (!watch)
        return;
    sd_event_source_disable_unref(watch->folder);
    sd_event_source_disable_unref(watch->target);
    sd_event_source_disable_unref(watch->timer);
    config_unref(watch->current);
    free(watch);
}
