/* test_day.c - a day of looks with faults put in: the driver lost, the clock set forward and back,
 * a pid used again, a full disk, kill -9, alerts to a command and a webhook.  Nothing is lost
 * before the last flush, nothing that is normal is called a leak.
 *
 * The day is virtual: its seconds are those of the looks, and jobs run in their callers, so a busy
 * machine changes nothing but how long it takes. */
#include "alert_sinks.h"
#include "check.h"
#include "dgo_units.h"
#include "profile_live_internal.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { STEP_S = 5, DAY_S = 86400 };
static uint64_t start_ns; /* a good day ago: what is kept of the last day comes back */

static struct dgo_sample sample; /* large */

struct folder {
    char path[64];
};

static void make_folder(struct folder *folder)
{
    snprintf(folder->path, sizeof folder->path, "/tmp/dgo-day-XXXXXX");
    assert_non_null(mkdtemp(folder->path));
}

static void remove_folder(const struct folder *folder)
{
    DIR *entries = opendir(folder->path);
    struct dirent *entry;

    assert_non_null(entries);
    while ((entry = readdir(entries)) != NULL)
        if (entry->d_name[0] != '.')
            (void)unlinkat(dirfd(entries), entry->d_name, 0);
    closedir(entries);
    assert_int_equal(rmdir(folder->path), 0);
}

static void set_process(struct dgo_gpu *gpu, uint32_t pid, uint64_t start, const char *name,
                        double used_mib)
{
    struct dgo_gpu_process *process = &gpu->process[gpu->process_count++];

    *process = (struct dgo_gpu_process){.pid = pid,
                                        .used_known = true,
                                        .used_bytes = (uint64_t)(used_mib * (double)DGO_MIB),
                                        .role = DGO_ROLE_ENGINE,
                                        .start_ticks = start};
    snprintf(process->name, sizeof process->name, "%s", name);
    gpu->used_bytes += process->used_bytes;
}

/* The machine at second `s`: an engine with a working cache on both cards, a desktop that wanders,
 * a job whose pid is used again at noon by another program. */
static void look(struct dgo_machine *machine, uint32_t s)
{
    const double cache = 600 * ((s / STEP_S * 7919 % 100) / 100.0); /* comes and goes */

    memset(machine, 0, sizeof *machine);
    machine->gpu_count = 2;
    for (uint32_t g = 0; g < 2; g++) {
        struct dgo_gpu *gpu = &machine->gpu[g];

        gpu->known = UINT64_C(1) << DGO_GPU_USED_BYTES | UINT64_C(1) << DGO_GPU_TOTAL_BYTES |
                     UINT64_C(1) << DGO_GPU_TEMPERATURE_C;
        gpu->total_bytes = 24576 * DGO_MIB;
        gpu->temperature_c = 60;
        set_process(gpu, 100, 1000, "llama-server", 14000 + cache);
    }
    set_process(&machine->gpu[0], 50, 900, "Xorg", 300 + (s / 3600 % 3) * 40.0);
    if (s < DAY_S / 2)
        set_process(&machine->gpu[1], 200, 5000, "python3", 1000);
    else if (s > DAY_S / 2 + 60)
        set_process(&machine->gpu[1], 200, 77000, "blender", 4000);
}

struct day {
    uint32_t lost_from_s, lost_to_s; /* the driver does not answer */
    uint32_t forward_at_s;           /* the clock is set half an hour forward */
    uint32_t back_at_s;              /* the clock is set back an hour */
    uint32_t full_from_s, full_to_s; /* the disk is */
};

static void take_look(struct profile_live *live, const struct day *day, uint32_t s)
{
    const bool lost = s >= day->lost_from_s && s < day->lost_to_s;

    sample.sequence++;
    sample.monotonic_ns = DGO_NS_PER_S + s * DGO_NS_PER_S;
    sample.wall_ns = start_ns + s * DGO_NS_PER_S;
    if (day->forward_at_s && s >= day->forward_at_s)
        sample.wall_ns += 1800 * DGO_NS_PER_S;
    if (day->back_at_s && s >= day->back_at_s)
        sample.wall_ns -= 3600 * DGO_NS_PER_S;
    snprintf(sample.problem, sizeof sample.problem, "%s", lost ? "the driver was unloaded" : "");
    if (!lost)
        look(&sample.machine, s);
    profile_live_sample(&sample, live);
}

static struct profile_live *open_live(struct dgo_app *app, const struct folder *folder)
{
    const struct dgo_resource_config no_threads = {.workers = DGO_WORKERS_NONE};
    const struct profile_live_options options = {.state_directory = folder ? folder->path : NULL};
    struct profile_live *live = NULL;
    struct dgo_error err = {0};

    assert_int_equal(dgo_app_open(app, &err), DGO_OK);
    assert_int_equal(dgo_resource_stop(DGO_NS_PER_S, &err), DGO_OK);
    assert_int_equal(dgo_resource_start(&no_threads, &err), DGO_OK);
    assert_int_equal(profile_live_start(app, &options, &live, &err), DGO_OK);
    return live;
}

struct stored {
    uint64_t last_ns, minutes;
};

static void see(const struct dgo_timeline_record *record, void *data)
{
    struct stored *stored = data;

    if (strcmp(record->series, "0/card/used") != 0)
        return;
    for (uint32_t i = 0; i < record->count; i++) {
        if (isnan(record->bucket[i].mean))
            continue;
        stored->minutes++;
        stored->last_ns = record->start_ns + i * record->width_ns;
    }
}

static struct stored read_back(const struct folder *folder)
{
    struct dgo_store *store = NULL;
    struct stored stored = {0};
    struct dgo_error err = {0};

    assert_int_equal(dgo_store_open(folder->path, &store, NULL, &err), DGO_OK);
    assert_int_equal(dgo_store_each_timeline(store, NULL, 0, UINT64_MAX, see, &stored, &err),
                     DGO_OK);
    dgo_store_close(store);
    return stored;
}

static void check_verdicts(struct profile_live *live)
{
    json_t *view = profile_live_view(live), *series;
    uint32_t processes = 0;
    size_t i;

    json_array_foreach(json_object_get(view, "series"), i, series)
    {
        const char *verdict = json_string_value(json_object_get(series, "verdict"));

        processes += json_is_integer(json_object_get(series, "pid"));
        assert_string_equal(verdict, "steady");
        assert_int_equal(json_array_size(json_object_get(series, "episodes")), 0);
    }
    assert_int_equal(processes, 5); /* one pid twice, as two processes */
    json_decref(view);
}

static uint32_t count_events(struct profile_live *live, enum dgo_timeline_event_kind kind)
{
    static struct dgo_timeline_event event[512];
    const uint32_t count = dgo_timeline_events(live->timeline, 0, UINT64_MAX, event, 512);
    uint32_t of_kind = 0;

    for (uint32_t i = 0; i < count; i++)
        of_kind += event[i].kind == kind;
    return of_kind;
}

/* No file of ours may grow: what a full disk is to the store. */
static void set_disk_full(bool full)
{
    struct rlimit limit;

    assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
    limit.rlim_cur = full ? 0 : limit.rlim_max;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

static void pass_day(struct profile_live *live, const struct day *day)
{
    uint64_t kept_ns = 0;

    for (uint32_t s = 0; s < DAY_S; s += STEP_S) {
        if (day->full_from_s && s == day->full_from_s) {
            set_disk_full(true);
            kept_ns = live->kept_ns;
        }
        if (day->full_from_s && s == day->full_to_s) {
            assert_true(live->flush_failures >= (day->full_to_s - day->full_from_s) / 60 - 1);
            assert_int_equal(live->kept_ns, kept_ns);
            set_disk_full(false);
        }
        take_look(live, day, s);
    }
    assert_int_equal(live->flush_failures, 0); /* it works again, and was told */
}

static void test_a_day_with_faults(void **state)
{
    static const struct day day = {.lost_from_s = 8 * 3600,
                                   .lost_to_s = 8 * 3600 + 900,
                                   .forward_at_s = 4 * 3600,
                                   .back_at_s = 16 * 3600,
                                   .full_from_s = 19 * 3600,
                                   .full_to_s = 21 * 3600};
    struct folder folder;
    struct dgo_app app;
    struct profile_live *live;
    struct stored stored;
    json_t *alerts;

    (void)state;
    make_folder(&folder);
    live = open_live(&app, &folder);
    pass_day(live, &day);
    check_verdicts(live);
    assert_int_equal(count_events(live, DGO_TIMELINE_DRIVER), 2); /* lost, and back */
    assert_int_equal(count_events(live, DGO_TIMELINE_CLOCK), 1);
    assert_int_equal(count_events(live, DGO_TIMELINE_ALERT), 2); /* the driver, told once */
    alerts = profile_live_alerts(live);
    assert_int_equal(json_array_size(alerts), 0); /* all is over */
    json_decref(alerts);
    profile_live_stop(live);
    dgo_app_close(&app);
    stored = read_back(&folder);
    /* Every minute but those of the lost driver; neither clock nor disk took any away. */
    assert_in_range(stored.minutes, 24 * 60 - 15 - 1, 24 * 60 - 15 + 1);
    live = open_live(&app, &folder); /* and it is there again */
    assert_int_equal(count_events(live, DGO_TIMELINE_DRIVER), 2);
    profile_live_stop(live);
    dgo_app_close(&app);
    remove_folder(&folder);
}

/* What a child that is about to be killed says of itself. */
struct told {
    _Atomic uint64_t kept_ns; /* that everything before is kept */
    _Atomic uint32_t second;  /* of its day */
};

static void live_on(const struct folder *folder, struct told *told)
{
    static const struct day day = {0};
    struct dgo_app app;
    struct profile_live *live = open_live(&app, folder);

    for (uint32_t s = 0; s < DAY_S; s += STEP_S) {
        take_look(live, &day, s);
        told->kept_ns = live->kept_ns;
        told->second = s;
    }
    for (;;)
        (void)pause();
}

/* Killed at a second of its day that the seed chooses; where in its work it is by then, chance. */
static void test_kill_9(void **state)
{
    uint64_t seed = check_seed();

    (void)state;
    for (uint32_t round = 0; round < 5; round++) {
        struct told *told =
            mmap(NULL, sizeof *told, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        const uint32_t last_s = 600 + (uint32_t)check_below(&seed, 4 * 3600);
        struct folder folder;
        struct stored stored;
        int status;
        pid_t child;

        assert_true(told != MAP_FAILED);
        make_folder(&folder);
        child = fork();
        if (child == 0)
            live_on(&folder, told);
        while (told->second < last_s) {
            assert_int_equal(waitpid(child, &status, WNOHANG), 0); /* it must not end by itself */
            (void)nanosleep(&(struct timespec){.tv_nsec = 100000}, NULL);
        }
        kill(child, SIGKILL);
        assert_int_equal(waitpid(child, &status, 0), child);
        stored = read_back(&folder);
        assert_true(told->kept_ns >= start_ns + (last_s - 60ull - STEP_S) * DGO_NS_PER_S);
        assert_true(stored.last_ns + 60 * DGO_NS_PER_S > told->kept_ns);
        assert_true(stored.minutes >= (told->kept_ns - start_ns) / (60 * DGO_NS_PER_S));
        munmap(told, sizeof *told);
        remove_folder(&folder);
    }
}

/* ---- sinks ------------------------------------------------------------------------------ */

static const struct dgo_alert hot = {.rule = DGO_ALERT_TEMPERATURE,
                                     .level = DGO_ALERT_CRITICAL,
                                     .gpu_index = 1,
                                     .value = 84,
                                     .text = "GPU 1: 84 C; $(touch /tmp/x) `id`"};

static void test_command(void **state)
{
    struct folder folder;
    char command[200], script[100], line[400] = "";
    struct dgo_error err = {0};
    FILE *file;

    (void)state;
    make_folder(&folder);
    snprintf(script, sizeof script, "%s/say.sh", folder.path);
    file = fopen(script, "w");
    assert_non_null(file);
    fprintf(file,
            "#!/bin/sh\nprintf '%%s|%%s|%%s|%%s|%%s' \"$1\" \"$DUALGPUOPT_ALERT_RULE\" "
            "\"$DUALGPUOPT_ALERT_LEVEL\" \"$DUALGPUOPT_ALERT_GPU\" "
            "\"$DUALGPUOPT_ALERT_TEXT\" > %s/said\n",
            folder.path);
    fclose(file);
    assert_int_equal(chmod(script, 0700), 0);
    snprintf(command, sizeof command, "%s  $HOME;id", script);
    assert_int_equal(alert_run(command, &hot, &err), DGO_OK);
    snprintf(command, sizeof command, "%s/said", folder.path);
    file = fopen(command, "r");
    assert_non_null(file);
    assert_non_null(fgets(line, sizeof line, file));
    fclose(file);
    assert_string_equal(line, "$HOME;id|temperature|critical|1|GPU 1: 84 C; $(touch /tmp/x) `id`");
    assert_int_equal(alert_run("/no/such/program", &hot, &err), DGO_ENOTFOUND);
    assert_int_equal(alert_run("/bin/false", &hot, &err), DGO_ECHILD);
    assert_int_equal(alert_run("  ", &hot, &err), DGO_EINVAL);
    remove_folder(&folder);
}

/* Answers one request on a free port of loopback; what came is written to `got`. */
struct listener {
    int fd;
    const char *answer;
    char got[2048];
};

static void *listen_once(void *data)
{
    struct listener *listener = data;
    const int fd = accept(listener->fd, NULL, NULL);
    size_t used = 0;

    while (fd >= 0 && used + 1 < sizeof listener->got && !strstr(listener->got, "}")) {
        const ssize_t got = recv(fd, listener->got + used, sizeof listener->got - 1 - used, 0);

        if (got <= 0)
            break;
        used += (size_t)got;
    }
    if (fd >= 0) {
        (void)send(fd, listener->answer, strlen(listener->answer), MSG_NOSIGNAL);
        close(fd);
    }
    return NULL;
}

static enum dgo_status call_webhook(struct listener *listener, const char *answer,
                                    struct dgo_error *err)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    enum dgo_status status;
    char url[64];
    pthread_t thread;

    *listener = (struct listener){.fd = socket(AF_INET, SOCK_STREAM, 0), .answer = answer};
    assert_int_equal(bind(listener->fd, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(listen(listener->fd, 4), 0);
    assert_int_equal(getsockname(listener->fd, (struct sockaddr *)&address, &length), 0);
    assert_int_equal(pthread_create(&thread, NULL, listen_once, listener), 0);
    snprintf(url, sizeof url, "http://127.0.0.1:%u/hook", ntohs(address.sin_port));
    status = alert_post(url, "{\"rule\": \"temperature\"}", err);
    pthread_join(thread, NULL);
    close(listener->fd);
    return status;
}

static void test_webhook(void **state)
{
    static const char *const refused[] = {"http://169.254.169.254/latest/meta-data",
                                          "http://[fe80::1]/", "http://[::ffff:169.254.169.254]/"};
    static const char *const no_urls[] = {"ftp://example.test/", "file:///etc/passwd", "hook",
                                          "https://me:secret@example.test/"};
    struct listener listener;
    struct dgo_error err = {0};

    (void)state;
    assert_int_equal(call_webhook(&listener, "HTTP/1.1 204 No Content\r\n\r\n", &err), DGO_OK);
    assert_non_null(strstr(listener.got, "POST /hook"));
    assert_non_null(strstr(listener.got, "application/json"));
    assert_non_null(strstr(listener.got, "{\"rule\": \"temperature\"}"));
    assert_int_equal(call_webhook(&listener, "HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n", &err),
                     DGO_EIO);
    /* A redirect is an answer like any other: it leads nowhere. */
    assert_int_equal(call_webhook(&listener,
                                  "HTTP/1.1 302 Found\r\nLocation: http://169.254.169.254/\r\n"
                                  "Content-Length: 0\r\n\r\n",
                                  &err),
                     DGO_EIO);
    for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++) {
        assert_int_equal(alert_post(refused[i], "{}", &err), DGO_EINVAL);
        assert_non_null(strstr(err.text, "link-local"));
    }
    for (size_t i = 0; i < sizeof no_urls / sizeof no_urls[0]; i++) {
        struct alert_sinks *sinks = NULL;

        assert_int_equal(alert_sinks_new(NULL, NULL, no_urls[i], &sinks, &err), DGO_EINVAL);
    }
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_kill_9), /* forks: before anything has threads */
    cmocka_unit_test(test_a_day_with_faults),
    cmocka_unit_test(test_command),
    cmocka_unit_test(test_webhook),
};
int main(void)
{
    (void)signal(SIGXFSZ, SIG_IGN);
    start_ns = ((uint64_t)time(NULL) - DAY_S - 3600) / 60 * 60 * DGO_NS_PER_S;
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
