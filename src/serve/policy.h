/* policy.h - who may ask what: the head of a request judged against the rules of docs/HTTP.md.
 * Private to the folder.  Pure: no I/O, no clock. */
#ifndef POLICY_H
#define POLICY_H

#include "dgo_base.h"

enum {
    TOKEN_BYTES = 32,             /* random */
    TOKEN_TEXT = 2 * TOKEN_BYTES, /* hex digits */
    POLICY_NAME_MAX = 8,          /* names that a Host may have */
    POLICY_HOST_MAX = 64,
};

/* What one listening socket allows. */
struct policy {
    char host[POLICY_NAME_MAX][POLICY_HOST_MAX]; /* "127.0.0.1:4585"; compared without case */
    uint32_t host_count;
    bool local; /* a Unix socket: the kernel says who asks, Host is what the client likes */
    char token[TOKEN_TEXT + 1];
};

/* Adds "NAME:PORT", and NAME alone where PORT is 80, as clients leave it out. */
void policy_allow(struct policy *policy, const char *name, uint16_t port);

/* What the headers say, gathered one by one: a header that is there twice is seen. */
struct policy_head {
    uint32_t host_count, length_count, encoding_count, origin_count, site_count, type_count,
        authorization_count, key_count;
    const char *host, *origin, *site, *type, *authorization, *key, *length;
};
void policy_take(struct policy_head *head, const char *name, const char *value);

/* How the route wants to be asked. */
struct policy_route {
    bool open; /* without a token */
    bool body; /* takes a JSON body */
    bool form; /* or a form with files */
    uint64_t body_max;
};

struct verdict {
    unsigned status; /* of HTTP; 200: may go on */
    const char *type, *sentence;
};

/* Before the route is known: what is no request of ours at all. */
struct verdict policy_judge_head(const struct policy *policy, const char *method, const char *path,
                                 const struct policy_head *head);
/* And then by its route: token first, so that nobody without one learns more. */
struct verdict policy_judge_route(const struct policy *policy, const struct policy_route *route,
                                  const struct policy_head *head);

/* In a time that does not depend on the content. */
bool policy_token_equal(const char token[TOKEN_TEXT + 1], const char *given);

/* A status as `code` of an error says it: "ENOFIT". */
const char *policy_code(enum dgo_status status);

/* The HTTP status and `type` for a failure of ours. */
struct verdict policy_of_error(const struct dgo_error *err);

#endif
