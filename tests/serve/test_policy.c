/* Who may ask what: the vectors of docs/HTTP.md, "Who may ask", as rows. */
#include "check.h"

#include "policy.h"

#define TOKEN  "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"
#define BEARER "Bearer " TOKEN

static struct policy make_policy(void)
{
    struct policy policy = {.token = TOKEN};

    policy_allow(&policy, "127.0.0.1", 4585);
    policy_allow(&policy, "localhost", 4585);
    policy_allow(&policy, "[::1]", 4585);
    return policy;
}

struct header {
    const char *name, *value;
};

enum { HEADERS = 6 };

static const struct {
    const char *name, *method, *path;
    struct header header[HEADERS];
    unsigned want;
} heads[] = {
    {"by address", "GET", "/api/v1/view", {{"Host", "127.0.0.1:4585"}}, 200},
    {"by name", "GET", "/", {{"Host", "localhost:4585"}}, 200},
    {"by IPv6", "GET", "/", {{"Host", "[::1]:4585"}}, 200},
    {"name in capitals", "GET", "/", {{"host", "LOCALHOST:4585"}}, 200},
    {"no Host", "GET", "/", {{NULL, NULL}}, 421},
    {"two Hosts", "GET", "/", {{"Host", "127.0.0.1:4585"}, {"Host", "evil.example"}}, 421},
    {"rebound name", "GET", "/", {{"Host", "evil.example:4585"}}, 421},
    {"local look-alike", "GET", "/", {{"Host", "localhost.evil.example:4585"}}, 421},
    {"another port", "GET", "/", {{"Host", "127.0.0.1:80"}}, 421},
    {"no port", "GET", "/", {{"Host", "127.0.0.1"}}, 421},
    {"user in Host", "GET", "/", {{"Host", "127.0.0.1:4585@evil.example"}}, 421},
    {"trailing dot", "GET", "/", {{"Host", "localhost.:4585"}}, 421},
    {"other loopback", "GET", "/", {{"Host", "127.0.0.2:4585"}}, 421},
    {"empty Host", "GET", "/", {{"Host", ""}}, 421},
    {"own origin",
     "GET",
     "/",
     {{"Host", "127.0.0.1:4585"}, {"Origin", "http://127.0.0.1:4585"}},
     200},
    {"foreign origin",
     "GET",
     "/",
     {{"Host", "127.0.0.1:4585"}, {"Origin", "http://evil.example"}},
     403},
    {"origin with https",
     "GET",
     "/",
     {{"Host", "127.0.0.1:4585"}, {"Origin", "https://127.0.0.1:4585"}},
     403},
    {"null origin", "GET", "/", {{"Host", "127.0.0.1:4585"}, {"Origin", "null"}}, 403},
    {"two origins",
     "GET",
     "/",
     {{"Host", "127.0.0.1:4585"},
      {"Origin", "http://127.0.0.1:4585"},
      {"Origin", "http://127.0.0.1:4585"}},
     403},
    {"another local port as origin",
     "GET",
     "/",
     {{"Host", "127.0.0.1:4585"}, {"Origin", "http://127.0.0.1:8080"}},
     403},
    {"cross-site", "GET", "/", {{"Host", "127.0.0.1:4585"}, {"Sec-Fetch-Site", "cross-site"}}, 403},
    {"same-site", "GET", "/", {{"Host", "127.0.0.1:4585"}, {"Sec-Fetch-Site", "same-site"}}, 403},
    {"same-origin",
     "GET",
     "/",
     {{"Host", "127.0.0.1:4585"}, {"Sec-Fetch-Site", "same-origin"}},
     200},
    {"typed by hand", "GET", "/", {{"Host", "127.0.0.1:4585"}, {"Sec-Fetch-Site", "none"}}, 200},
    {"TRACE", "TRACE", "/", {{"Host", "127.0.0.1:4585"}}, 405},
    {"CONNECT", "CONNECT", "/", {{"Host", "127.0.0.1:4585"}}, 405},
    {"OPTIONS, as a preflight", "OPTIONS", "/", {{"Host", "127.0.0.1:4585"}}, 405},
    {"PUT", "PUT", "/", {{"Host", "127.0.0.1:4585"}}, 405},
    {"method in small letters", "get", "/", {{"Host", "127.0.0.1:4585"}}, 405},
    {"absolute form", "GET", "http://evil.example/", {{"Host", "127.0.0.1:4585"}}, 400},
    {"length and chunks",
     "POST",
     "/",
     {{"Host", "127.0.0.1:4585"}, {"Content-Length", "2"}, {"Transfer-Encoding", "chunked"}},
     400},
    {"two lengths",
     "POST",
     "/",
     {{"Host", "127.0.0.1:4585"}, {"Content-Length", "2"}, {"Content-Length", "2"}},
     400},
    {"two encodings",
     "POST",
     "/",
     {{"Host", "127.0.0.1:4585"},
      {"Transfer-Encoding", "chunked"},
      {"Transfer-Encoding", "chunked"}},
     400},
};

static void test_heads(void **state)
{
    const struct policy policy = make_policy();

    (void)state;
    for (size_t i = 0; i < sizeof heads / sizeof heads[0]; i++) {
        struct policy_head head = {0};

        for (size_t h = 0; h < HEADERS && heads[i].header[h].name; h++)
            policy_take(&head, heads[i].header[h].name, heads[i].header[h].value);
        CHECK_ROW_U64(policy_judge_head(&policy, heads[i].method, heads[i].path, &head).status,
                      heads[i].want, heads[i].name);
    }
}

static const struct policy_route look = {.open = false};
static const struct policy_route open_route = {.open = true};
static const struct policy_route post = {.body = true, .body_max = 100};
static const struct policy_route upload = {.body = true, .form = true, .body_max = 100};

static const struct {
    const char *name;
    const struct policy_route *route;
    struct header header[HEADERS];
    unsigned want;
} routes[] = {
    {"open, no token", &open_route, {{NULL, NULL}}, 200},
    {"token", &look, {{"Authorization", BEARER}}, 200},
    {"token, other case of the word", &look, {{"authorization", "bearer " TOKEN}}, 200},
    {"no token", &look, {{NULL, NULL}}, 401},
    {"empty token", &look, {{"Authorization", "Bearer "}}, 401},
    {"Basic", &look, {{"Authorization", "Basic " TOKEN}}, 401},
    {"one digit off",
     &look,
     {{"Authorization", "Bearer 00112233445566778899aabbccddeeff00112233445566778899aabbccddeefe"}},
     401},
    {"a digit short",
     &look,
     {{"Authorization", "Bearer 00112233445566778899aabbccddeeff00112233445566778899aabbccddeef"}},
     401},
    {"a digit long", &look, {{"Authorization", BEARER "0"}}, 401},
    {"two tokens", &look, {{"Authorization", BEARER}, {"Authorization", BEARER}}, 401},
    {"a key", &look, {{"X-Api-Key", TOKEN}}, 200},
    {"a key that is not it", &look, {{"x-api-key", "0" TOKEN}}, 401},
    {"a key with Bearer", &look, {{"x-api-key", BEARER}}, 401},
    {"an empty key", &look, {{"x-api-key", ""}}, 401},
    {"two keys", &look, {{"x-api-key", TOKEN}, {"x-api-key", TOKEN}}, 401},
    {"token and key", &look, {{"Authorization", BEARER}, {"x-api-key", TOKEN}}, 200},
    {"token and a wrong key", &look, {{"Authorization", BEARER}, {"x-api-key", "sk-1"}}, 401},
    {"a key and a wrong token", &look, {{"Authorization", "Bearer x"}, {"x-api-key", TOKEN}}, 401},
    {"token before type", &post, {{"Content-Type", "text/plain"}}, 401},
    {"token before length",
     &post,
     {{"Content-Type", "application/json"}, {"Content-Length", "1000"}},
     401},
    {"JSON",
     &post,
     {{"Authorization", BEARER}, {"Content-Type", "application/json"}, {"Content-Length", "100"}},
     200},
    {"JSON with a charset",
     &post,
     {{"Authorization", BEARER}, {"Content-Type", "application/json; charset=utf-8"}},
     200},
    {"a form, as pages of others can send",
     &post,
     {{"Authorization", BEARER}, {"Content-Type", "application/x-www-form-urlencoded"}},
     415},
    {"text, likewise", &post, {{"Authorization", BEARER}, {"Content-Type", "text/plain"}}, 415},
    {"nearly JSON", &post, {{"Authorization", BEARER}, {"Content-Type", "application/jsonp"}}, 415},
    {"a form with files where only JSON is read",
     &post,
     {{"Authorization", BEARER}, {"Content-Type", "multipart/form-data; boundary=x"}},
     415},
    {"a form with files where it is",
     &upload,
     {{"Authorization", BEARER}, {"Content-Type", "multipart/form-data; boundary=x"}},
     200},
    {"JSON where a form is read too",
     &upload,
     {{"Authorization", BEARER}, {"Content-Type", "application/json"}},
     200},
    {"another form there",
     &upload,
     {{"Authorization", BEARER}, {"Content-Type", "application/x-www-form-urlencoded"}},
     415},
    {"two types",
     &upload,
     {{"Authorization", BEARER},
      {"Content-Type", "multipart/form-data; boundary=x"},
      {"Content-Type", "application/json"}},
     415},
    {"a form without a token", &upload, {{"Content-Type", "multipart/form-data; boundary=x"}}, 401},
    {"no type", &post, {{"Authorization", BEARER}}, 415},
    {"too long",
     &post,
     {{"Authorization", BEARER}, {"Content-Type", "application/json"}, {"Content-Length", "101"}},
     413},
    {"negative length",
     &post,
     {{"Authorization", BEARER}, {"Content-Type", "application/json"}, {"Content-Length", "-1"}},
     400},
    {"length of 2^64",
     &post,
     {{"Authorization", BEARER},
      {"Content-Type", "application/json"},
      {"Content-Length", "18446744073709551616"}},
     400},
    {"length in words",
     &post,
     {{"Authorization", BEARER}, {"Content-Type", "application/json"}, {"Content-Length", "ten"}},
     400},
    {"a body where none is read", &look, {{"Authorization", BEARER}, {"Content-Length", "5"}}, 400},
    {"chunks where none are read",
     &look,
     {{"Authorization", BEARER}, {"Transfer-Encoding", "chunked"}},
     400},
};

static void test_routes(void **state)
{
    const struct policy policy = make_policy();

    (void)state;
    for (size_t i = 0; i < sizeof routes / sizeof routes[0]; i++) {
        struct policy_head head = {0};

        for (size_t h = 0; h < HEADERS && routes[i].header[h].name; h++)
            policy_take(&head, routes[i].header[h].name, routes[i].header[h].value);
        CHECK_ROW_U64(policy_judge_route(&policy, routes[i].route, &head).status, routes[i].want,
                      routes[i].name);
    }
}

/* The kernel has said who asks: Host is whatever the client made up, and there is no token. */
static void test_unix_socket(void **state)
{
    const struct policy policy = {.local = true};
    struct policy_head head = {0};

    (void)state;
    assert_int_equal(policy_judge_head(&policy, "GET", "/api/v1/view", &head).status, 200);
    assert_int_equal(policy_judge_route(&policy, &look, &head).status, 200);
    policy_take(&head, "Origin", "http://evil.example");
    assert_int_equal(policy_judge_head(&policy, "GET", "/api/v1/view", &head).status, 403);
}

static void test_errors_have_a_status(void **state)
{
    (void)state;
    for (unsigned i = 1; i < DGO_STATUS_COUNT; i++) {
        const struct dgo_error err = {(enum dgo_status)i, "why"};
        const struct verdict verdict = policy_of_error(&err);

        CHECK_ROW(verdict.status >= 400 && verdict.status <= 599,
                  dgo_status_name((enum dgo_status)i));
        assert_string_equal(verdict.sentence, "why");
        assert_non_null(verdict.type);
    }
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_heads),
    cmocka_unit_test(test_routes),
    cmocka_unit_test(test_unix_socket),
    cmocka_unit_test(test_errors_have_a_status),
};
CHECK_MAIN(tests)
