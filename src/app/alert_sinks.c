/* alert_sinks.c - an alert to bus and log at once, to a command and a webhook by a job each. */
#include "alert_sinks.h"

#include "dgo_launch.h"
#include "dgo_log.h"
#include "dgo_text.h"
#include "dgo_units.h"
#include "view.h"

#include <arpa/inet.h>
#include <curl/curl.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { WORD_MAX = 32, COMMAND_MAX = 1024, TIMEOUT_MS = 10000 };

struct alert_sinks {
    struct dgo_bus *bus;
    pthread_mutex_t lock; /* of the two below: settings change while alerts come */
    char command[COMMAND_MAX], webhook[COMMAND_MAX];
    _Atomic uint32_t jobs;
    _Atomic uint64_t dropped;
};

/* ---- the alert as a value --------------------------------------------------------------- */

json_t *alert_view(const struct dgo_alert *alert, uint64_t time_ns)
{
    const bool over = alert->level == DGO_ALERT_NORMAL;
    char id[96];
    json_t *view;

    (void)snprintf(id, sizeof id, "%s/%" PRIu32 "/%" PRIu32, dgo_alert_rules[alert->rule].name,
                   alert->gpu_index, alert->pid);
    view = json_pack("{s:s, s:s, s:s, s:s, s:s, s:I, s:o, s:I}", "id", id, "rule",
                     dgo_alert_rules[alert->rule].name, "level", dgo_alert_level_name(alert->level),
                     "before", dgo_alert_level_name(alert->before), "state",
                     over ? "cleared" : "raised", "gpu", (json_int_t)alert->gpu_index, "text",
                     view_text(alert->text), "time_ns", (json_int_t)time_ns);
    if (view && alert->pid)
        json_object_set_new(view, "pid", json_integer((json_int_t)alert->pid));
    if (view && isfinite(alert->value))
        json_object_set_new(view, "value", json_real(alert->value));
    return view;
}

/* ---- command ---------------------------------------------------------------------------- */

/* Cuts `text` at its blanks. */
static uint32_t split(char *text, const char *words[WORD_MAX + 1])
{
    uint32_t count = 0;
    char *rest = text;

    for (char *word; count < WORD_MAX && (word = strtok_r(rest, " \t", &rest)) != NULL;)
        words[count++] = word;
    words[count] = NULL;
    return count;
}

enum dgo_status alert_run(const char *command, const struct dgo_alert *alert, struct dgo_error *err)
{
    char text[COMMAND_MAX], output[512], variable[6][320];
    const char *words[WORD_MAX + 1], *environment[9] = {NULL};
    const char *const inherited[] = {"PATH", "HOME"};
    char kept[2][COMMAND_MAX];
    uint32_t count = 0;
    int exit_code = 0;
    enum dgo_status status;

    (void)dgo_text_copy(text, sizeof text, command);
    if (split(text, words) == 0)
        return dgo_fail(err, DGO_EINVAL, "the alert command is empty");
    (void)snprintf(variable[0], sizeof variable[0], "DUALGPUOPT_ALERT_RULE=%s",
                   dgo_alert_rules[alert->rule].name);
    (void)snprintf(variable[1], sizeof variable[1], "DUALGPUOPT_ALERT_LEVEL=%s",
                   dgo_alert_level_name(alert->level));
    (void)snprintf(variable[2], sizeof variable[2], "DUALGPUOPT_ALERT_GPU=%" PRIu32,
                   alert->gpu_index);
    (void)snprintf(variable[3], sizeof variable[3], "DUALGPUOPT_ALERT_PID=%" PRIu32, alert->pid);
    (void)snprintf(variable[4], sizeof variable[4], "DUALGPUOPT_ALERT_VALUE=%g", alert->value);
    (void)snprintf(variable[5], sizeof variable[5], "DUALGPUOPT_ALERT_TEXT=%s", alert->text);
    for (uint32_t i = 0; i < 6; i++)
        environment[count++] = variable[i];
    for (uint32_t i = 0; i < 2; i++) {
        const char *value = getenv(inherited[i]);

        if (value &&
            snprintf(kept[i], sizeof kept[i], "%s=%s", inherited[i], value) < (int)sizeof kept[i])
            environment[count++] = kept[i];
    }
    status = dgo_process_capture(words, environment, TIMEOUT_MS * DGO_NS_PER_MS, output,
                                 sizeof output, &exit_code, err);
    if (status == DGO_OK && exit_code != 0)
        return dgo_fail(err, DGO_ECHILD, "the alert command ended with %d: %.200s", exit_code,
                        output);
    return status;
}

/* ---- webhook ---------------------------------------------------------------------------- */

/* 169.254.0.0/16 and fe80::/10, also as ::ffff:169.254.x.y: where clouds give out credentials. */
static bool is_link_local(const struct sockaddr *address)
{
    if (address->sa_family == AF_INET) {
        const struct sockaddr_in *v4 = (const void *)address;

        return ntohl(v4->sin_addr.s_addr) >> 16 == 0xa9fe;
    }
    if (address->sa_family == AF_INET6) {
        const struct sockaddr_in6 *v6 = (const void *)address;
        const unsigned char *bytes = v6->sin6_addr.s6_addr;

        return IN6_IS_ADDR_LINKLOCAL(&v6->sin6_addr) ||
               (IN6_IS_ADDR_V4MAPPED(&v6->sin6_addr) && bytes[12] == 169 && bytes[13] == 254);
    }
    return true; /* no other family is spoken */
}

/* Asked after the name was looked up, so that no name leads where an address may not. */
static curl_socket_t open_socket(void *data, curlsocktype purpose, struct curl_sockaddr *address)
{
    bool *refused = data;

    (void)purpose;
    if (is_link_local(&address->addr)) {
        *refused = true;
        return CURL_SOCKET_BAD;
    }
    return socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
}

static size_t ignore(char *bytes, size_t size, size_t count, void *data)
{
    size_t *got = data;

    (void)bytes;
    *got += size * count;
    return *got > 65536 ? 0 : size * count;
}

static enum dgo_status post(CURL *curl, bool *refused, struct dgo_error *err)
{
    char why[CURL_ERROR_SIZE] = "";
    long http_status = 0;
    CURLcode code;

    curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, why);
    code = curl_easy_perform(curl);
    curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &http_status);
    curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, NULL);
    if (*refused)
        return dgo_fail(err, DGO_EINVAL, "the webhook leads to a link-local address");
    if (code != CURLE_OK)
        return dgo_fail(err, DGO_EIO, "the webhook was not reached: %s",
                        why[0] ? why : curl_easy_strerror(code));
    if (http_status < 200 || http_status > 299)
        return dgo_fail(err, DGO_EIO, "the webhook answered %ld", http_status);
    return DGO_OK;
}

enum dgo_status alert_post(const char *url, const char *json, struct dgo_error *err)
{
    CURL *curl = curl_easy_init();
    struct curl_slist *headers = curl_slist_append(NULL, "Content-Type: application/json");
    enum dgo_status status;
    bool refused = false;
    size_t got = 0;

    if (!curl || !headers) {
        status = dgo_fail(err, DGO_ENOMEM, "no memory for the webhook");
    } else {
        curl_easy_setopt(curl, CURLOPT_URL, url);
        curl_easy_setopt(curl, CURLOPT_POSTFIELDS, json);
        curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
        curl_easy_setopt(curl, CURLOPT_USERAGENT, "dualgpuopt/" DGO_VERSION);
        curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
        curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, 0L);
        curl_easy_setopt(curl, CURLOPT_NETRC, (long)CURL_NETRC_IGNORED);
        curl_easy_setopt(curl, CURLOPT_PROXY, "");
        curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
        curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, (long)TIMEOUT_MS);
        curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, ignore);
        curl_easy_setopt(curl, CURLOPT_WRITEDATA, &got);
        curl_easy_setopt(curl, CURLOPT_OPENSOCKETFUNCTION, open_socket);
        curl_easy_setopt(curl, CURLOPT_OPENSOCKETDATA, &refused);
        status = post(curl, &refused, err);
    }
    curl_slist_free_all(headers);
    curl_easy_cleanup(curl);
    return status;
}

/* ---- sinks ------------------------------------------------------------------------------ */

static bool starts_with(const char *text, const char *with)
{
    return strncmp(text, with, strlen(with)) == 0;
}

static enum dgo_status check(const char *command, const char *webhook, struct dgo_error *err)
{
    if (strlen(command) >= COMMAND_MAX || strlen(webhook) >= COMMAND_MAX)
        return dgo_fail(err, DGO_ELIMIT, "the alert command or webhook is too long");
    if (!webhook[0])
        return DGO_OK;
    if (!starts_with(webhook, "http://") && !starts_with(webhook, "https://"))
        return dgo_fail(err, DGO_EINVAL, "the webhook \"%.100s\" is no http:// or https:// address",
                        webhook);
    if (strcspn(webhook + 8, "@") < strcspn(webhook + 8, "/?#"))
        return dgo_fail(err, DGO_EINVAL,
                        "the webhook carries a name or a password; it would end "
                        "up in logs: use a secret path instead");
    return DGO_OK;
}

enum dgo_status alert_sinks_set(struct alert_sinks *sinks, const char *command, const char *webhook,
                                struct dgo_error *err)
{
    const enum dgo_status status = check(command ? command : "", webhook ? webhook : "", err);

    if (status != DGO_OK)
        return status;
    pthread_mutex_lock(&sinks->lock);
    (void)dgo_text_copy(sinks->command, sizeof sinks->command, command ? command : "");
    (void)dgo_text_copy(sinks->webhook, sizeof sinks->webhook, webhook ? webhook : "");
    pthread_mutex_unlock(&sinks->lock);
    return DGO_OK;
}

enum dgo_status alert_sinks_new(struct dgo_bus *bus, const char *command, const char *webhook,
                                struct alert_sinks **sinks, struct dgo_error *err)
{
    struct alert_sinks *made = calloc(1, sizeof *made);
    enum dgo_status status;

    if (!made)
        return dgo_fail(err, DGO_ENOMEM, "no memory for the sinks of alerts");
    made->bus = bus;
    pthread_mutex_init(&made->lock, NULL);
    status = alert_sinks_set(made, command, webhook, err);
    if (status == DGO_OK)
        *sinks = made;
    else
        alert_sinks_free(made);
    return status;
}

void alert_sinks_free(struct alert_sinks *sinks)
{
    const struct timespec pause = {.tv_nsec = 10000000};

    if (!sinks)
        return;
    while (sinks->jobs > 0) /* each is bounded in time */
        (void)nanosleep(&pause, NULL);
    pthread_mutex_destroy(&sinks->lock);
    free(sinks);
}

struct delivery {
    struct alert_sinks *sinks;
    struct dgo_alert alert;
    char to[COMMAND_MAX]; /* as it was set when the alert came */
    char *json;           /* NULL: to the command */
};

static enum dgo_status deliver(void *data)
{
    struct delivery *delivery = data;
    struct dgo_error err = {0};
    const enum dgo_status status = delivery->json ? alert_post(delivery->to, delivery->json, &err)
                                                  : alert_run(delivery->to, &delivery->alert, &err);

    if (status != DGO_OK)
        dgo_log(DGO_LOG_WARN, "an alert was not delivered: %s", err.text);
    return status;
}

static void delivered(const struct dgo_result *result, void *data)
{
    struct delivery *delivery = data;

    (void)result;
    delivery->sinks->jobs--;
    free(delivery->json);
    free(delivery);
}

static void submit(struct alert_sinks *sinks, const struct dgo_alert *alert, const char *to,
                   char *json)
{
    struct delivery *delivery = calloc(1, sizeof *delivery);
    struct dgo_error err = {0};

    if (delivery && sinks->jobs++ < ALERT_SINK_JOB_MAX) {
        *delivery = (struct delivery){.sinks = sinks, .alert = *alert, .json = json};
        (void)dgo_text_copy(delivery->to, sizeof delivery->to, to);
        if (dgo_submit(&(struct dgo_job){.component = app_component(COMPONENT_ALERT_DELIVERY),
                                         .fn = deliver,
                                         .arg = delivery,
                                         .done = delivered},
                       NULL, &err) == DGO_OK)
            return; // cppcheck-suppress memleak ; it is the job's now, delivered() frees it
    }
    if (delivery)
        sinks->jobs--;
    free(delivery);
    free(json);
    dgo_log(DGO_LOG_WARN, "an alert was not delivered: %" PRIu64 " so far",
            (uint64_t)++sinks->dropped);
}

static void publish(struct alert_sinks *sinks, const struct dgo_alert *alert, uint64_t wall_ns)
{
    struct alert_event event = {.rule = alert->rule,
                                .level = alert->level,
                                .before = alert->before,
                                .gpu_index = alert->gpu_index,
                                .pid = alert->pid,
                                .value = alert->value,
                                .wall_ns = wall_ns};

    (void)dgo_text_copy(event.text, sizeof event.text, alert->text);
    (void)dgo_bus_publish(sinks->bus, TOPIC_ALERT, 0, &event); /* closing: nobody listens */
}

void alert_sinks_tell(struct alert_sinks *sinks, const struct dgo_alert *alert, uint64_t wall_ns)
{
    char command[COMMAND_MAX], webhook[COMMAND_MAX];

    pthread_mutex_lock(&sinks->lock);
    memcpy(command, sinks->command, sizeof command);
    memcpy(webhook, sinks->webhook, sizeof webhook);
    pthread_mutex_unlock(&sinks->lock);
    publish(sinks, alert, wall_ns);
    dgo_log(alert->level >= DGO_ALERT_CRITICAL ? DGO_LOG_WARN : DGO_LOG_INFO, "%s: %s: %s",
            dgo_alert_rules[alert->rule].name, dgo_alert_level_name(alert->level), alert->text);
    if (command[0])
        submit(sinks, alert, command, NULL);
    if (webhook[0]) {
        json_t *view = alert_view(alert, wall_ns);
        char *json = view ? json_dumps(view, JSON_COMPACT) : NULL;

        json_decref(view);
        if (json)
            submit(sinks, alert, webhook, json);
    }
}
