/* policy.c - Host, Origin, Sec-Fetch-Site, token, type and length of a request. */
#include "policy.h"

#include "dgo_units.h"
#include "form.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

static const struct verdict fine = {200, NULL, NULL};

static struct verdict refuse(unsigned status, const char *type, const char *sentence)
{
    return (struct verdict){status, type, sentence};
}

void policy_allow(struct policy *policy, const char *name, uint16_t port)
{
    if (policy->host_count + 2 > POLICY_NAME_MAX)
        return;
    snprintf(policy->host[policy->host_count++], POLICY_HOST_MAX, "%s:%u", name, port);
    if (port == 80)
        snprintf(policy->host[policy->host_count++], POLICY_HOST_MAX, "%s", name);
}

static void see(uint32_t *count, const char **kept, const char *value)
{
    (*count)++;
    *kept = value;
}

void policy_take(struct policy_head *head, const char *name, const char *value)
{
    const char *encoding;
    const struct {
        const char *name;
        uint32_t *count;
        const char **value;
    } wanted[] = {
        {"Host", &head->host_count, &head->host},
        {"Content-Length", &head->length_count, &head->length},
        {"Transfer-Encoding", &head->encoding_count, &encoding},
        {"Origin", &head->origin_count, &head->origin},
        {"Sec-Fetch-Site", &head->site_count, &head->site},
        {"Content-Type", &head->type_count, &head->type},
        {"Authorization", &head->authorization_count, &head->authorization},
        {"x-api-key", &head->key_count, &head->key},
    };

    for (size_t i = 0; i < sizeof wanted / sizeof wanted[0]; i++)
        if (strcasecmp(wanted[i].name, name) == 0)
            see(wanted[i].count, wanted[i].value, value ? value : "");
}

static bool is_own_host(const struct policy *policy, const char *host)
{
    for (uint32_t i = 0; i < policy->host_count; i++)
        if (strcasecmp(policy->host[i], host) == 0)
            return true;
    return false;
}

/* "http://" and one of our hosts; "null", what sandboxed pages and files send, is nobody's. */
static bool is_own_origin(const struct policy *policy, const char *origin)
{
    static const char scheme[] = "http://";

    return strncmp(origin, scheme, sizeof scheme - 1) == 0 &&
           is_own_host(policy, origin + sizeof scheme - 1);
}

static bool is_method(const char *method)
{
    static const char *const known[] = {"GET", "HEAD", "POST", "DELETE"};

    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
        if (strcmp(known[i], method) == 0)
            return true;
    return false;
}

struct verdict policy_judge_head(const struct policy *policy, const char *method, const char *path,
                                 const struct policy_head *head)
{
    if (!is_method(method))
        return refuse(405, "invalid_request", "this method is not known here");
    if (head->length_count > 1 || head->encoding_count > 1 ||
        (head->length_count && head->encoding_count))
        return refuse(400, "invalid_request", "the length of the body is given twice");
    if (path[0] != '/')
        return refuse(400, "invalid_request", "a path starts with /");
    if (!policy->local && (head->host_count != 1 || !is_own_host(policy, head->host)))
        return refuse(421, "invalid_request",
                      "the Host header does not name this server; use the address it printed");
    if (head->origin_count > 1 || (head->origin && !is_own_origin(policy, head->origin)))
        return refuse(403, "forbidden", "pages of other origins may not ask here");
    if (head->site_count > 1 ||
        (head->site && strcmp(head->site, "same-origin") != 0 && strcmp(head->site, "none") != 0))
        return refuse(403, "forbidden", "pages of other sites may not ask here");
    return fine;
}

bool policy_token_equal(const char token[TOKEN_TEXT + 1], const char *given)
{
    const size_t length = strlen(given);
    unsigned different = length != TOKEN_TEXT;

    for (size_t i = 0; i < TOKEN_TEXT; i++)
        different |= (unsigned)(unsigned char)token[i] ^
                     (unsigned)(unsigned char)(i < length ? given[i] : 0);
    return different == 0;
}

static bool is_bearer(const struct policy *policy, const char *value)
{
    static const char bearer[] = "Bearer ";

    return strncasecmp(value, bearer, sizeof bearer - 1) == 0 &&
           policy_token_equal(policy->token, value + sizeof bearer - 1);
}

/* Clients of /v1/messages name the token by x-api-key.  A page of another origin can set neither
 * header without asking first, which nobody here answers.  Of both, both are right. */
static bool is_authorized(const struct policy *policy, const struct policy_head *head)
{
    if (policy->local)
        return true;
    if (head->authorization_count > 1 || head->key_count > 1)
        return false;
    return (head->authorization_count || head->key_count) &&
           (!head->authorization_count || is_bearer(policy, head->authorization)) &&
           (!head->key_count || policy_token_equal(policy->token, head->key));
}

static bool is_json(const char *type)
{
    static const char json[] = "application/json";
    const size_t length = sizeof json - 1;

    return strncasecmp(type, json, length) == 0 &&
           (type[length] == '\0' || type[length] == ';' || type[length] == ' ');
}

struct verdict policy_judge_route(const struct policy *policy, const struct policy_route *route,
                                  const struct policy_head *head)
{
    uint64_t length = 0;

    if (!route->open && !is_authorized(policy, head))
        return refuse(401, "unauthorized",
                      "a token is needed: Authorization: Bearer TOKEN, as serve printed it");
    if (head->length &&
        dgo_u64_parse(head->length, "Content-Length", 0, INT64_MAX, &length, NULL) != DGO_OK)
        return refuse(400, "invalid_request", "Content-Length is no number");
    if (!route->body)
        return length > 0 || head->encoding_count
                   ? refuse(400, "invalid_request", "this route takes no body")
                   : fine;
    if (route->form && head->type_count == 1 && !is_json(head->type) && !form_is(head->type))
        return refuse(415, "invalid_request",
                      "Content-Type must be multipart/form-data or application/json");
    if (head->type_count != 1 || (!route->form && !is_json(head->type)))
        return refuse(415, "invalid_request", "Content-Type must be application/json");
    if (length > route->body_max)
        return refuse(413, "invalid_request", "the body is too long");
    return fine;
}

const char *policy_code(enum dgo_status status)
{
    static const char prefix[] = "DGO_";
    const char *name = dgo_status_name(status);

    return strncmp(name, prefix, sizeof prefix - 1) == 0 ? name + sizeof prefix - 1 : name;
}

struct verdict policy_of_error(const struct dgo_error *err)
{
    static const struct {
        enum dgo_status status;
        unsigned http;
        const char *type;
    } known[] = {
        {DGO_EUSAGE, 400, "invalid_request"},
        {DGO_EINVAL, 400, "invalid_request"},
        {DGO_EFORMAT, 422, "invalid_request"},
        {DGO_ENOTFOUND, 404, "not_found"},
        {DGO_ENOFIT, 409, "does_not_fit"},
        {DGO_EBUSY, 409, "busy"},
        {DGO_ESTATE, 409, "busy"},
        {DGO_ELIMIT, 429, "busy"},
        {DGO_EUNSUPPORTED, 422, "unsupported"},
        {DGO_ENOGPU, 503, "unavailable"},
        {DGO_EDRIVER, 503, "unavailable"},
        {DGO_ETIMEOUT, 504, "unavailable"},
        {DGO_ECHILD, 502, "unavailable"},
        {DGO_ECANCELLED, 503, "unavailable"},
    };

    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
        if (known[i].status == err->status)
            return refuse(known[i].http, known[i].type, err->text);
    return refuse(500, "internal", err->text);
}
