/* test_trace.c - lines of request files: what is taken, what is not, and why. */
#include "check.h"
#include "dgo_trace.h"

#include <math.h>

static struct {
    uint32_t count;
    struct dgo_trace_request last;
    uint64_t prompts;
} seen;

static enum dgo_status take(const struct dgo_trace_request *request, void *data)
{
    (void)data;
    seen.count++;
    seen.last = *request;
    seen.prompts += request->request.prompt_tokens;
    return DGO_OK;
}

/* A token a byte. */
static enum dgo_status count_bytes(const char *text, size_t length, void *data, uint64_t *tokens)
{
    (void)text;
    (void)data;
    *tokens = length;
    return DGO_OK;
}

static enum dgo_trace_verdict read_line(const struct dgo_trace_format *format, const char *line,
                                        char *why)
{
    const struct dgo_trace_counter counter = {.count = count_bytes, .message_tokens = 3};

    memset(&seen, 0, sizeof seen);
    why[0] = '\0';
    return dgo_trace_line(format, line, strlen(line), &counter, take, NULL, why);
}

static void test_detects(void **state)
{
    static const struct {
        const char *name, *head, *columns;
        enum dgo_status status;
        enum dgo_trace_kind kind;
        int32_t prompt, generated, time;
    } cases[] = {
        {"azure", "TIMESTAMP,ContextTokens,GeneratedTokens\n", NULL, DGO_OK, DGO_TRACE_CSV, 1, 2,
         0},
        {"byte order mark, CRLF",
         "\xef\xbb\xbf"
         "prompt_tokens;completion_tokens\r\n",
         NULL, DGO_OK, DGO_TRACE_CSV, 0, 1, -1},
        {"named", "a\tb\tc\n", "c,a", DGO_OK, DGO_TRACE_CSV, 2, 0, -1},
        {"prompt only", "a,b\n", "b", DGO_OK, DGO_TRACE_CSV, 1, -1, -1},
        {"named, quoted", "\"a,b\",c\n", "c", DGO_OK, DGO_TRACE_CSV, 1, -1, -1},
        {"named with time", "t_ms,p,g\n", "p,g,t_ms", DGO_OK, DGO_TRACE_CSV, 1, 2, 0},
        {"named, not there", "a,b\n", "x,y", DGO_EUSAGE, DGO_TRACE_CSV, 0, 0, 0},
        {"too many names", "a,b\n", "a,b,c,d", DGO_EUSAGE, DGO_TRACE_CSV, 0, 0, 0},
        {"json", " {\"prompt\": \"x\"}\n", NULL, DGO_OK, DGO_TRACE_JSONL, -1, -1, -1},
        {"text", "Why is the sky blue, and when?\n", NULL, DGO_OK, DGO_TRACE_TEXT, -1, -1, -1},
        {"nothing", "\n\n", NULL, DGO_EFORMAT, DGO_TRACE_TEXT, 0, 0, 0},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct dgo_trace_format format;
        struct dgo_error err = {0};
        const enum dgo_status status =
            dgo_trace_detect(cases[i].head, strlen(cases[i].head), cases[i].columns, &format, &err);

        CHECK_ROW(status == cases[i].status, cases[i].name);
        if (status != DGO_OK) {
            CHECK_ROW(strlen(err.text) > 10, cases[i].name);
            continue;
        }
        CHECK_ROW(format.kind == cases[i].kind, cases[i].name);
        if (format.kind == DGO_TRACE_CSV) {
            CHECK_ROW(format.prompt_column == cases[i].prompt, cases[i].name);
            CHECK_ROW(format.generated_column == cases[i].generated, cases[i].name);
            CHECK_ROW(format.time_column == cases[i].time, cases[i].name);
        }
    }
}

static void test_csv_lines(void **state)
{
    static const struct {
        const char *name, *line;
        enum dgo_trace_verdict verdict;
        uint32_t prompt, generated;
        double arrival;
    } cases[] = {
        {"azure", "2023-11-16 18:17:03.9799600,4808,10", DGO_TRACE_TAKEN, 4808, 10,
         1700158623.97996},
        {"CR", "1970-01-01T00:00:01Z,1,2\r", DGO_TRACE_TAKEN, 1, 2, 1},
        {"zone", "1970-01-01 02:00:00.5+02:00,1,2", DGO_TRACE_TAKEN, 1, 2, 0.5},
        {"leap day", "2024-02-29 00:00:00,1,2", DGO_TRACE_TAKEN, 1, 2, 1709164800},
        {"number as time", "12.25,1,0", DGO_TRACE_TAKEN, 1, 0, 12.25},
        {"quoted", "\"12\",\"374.0\", 5 ", DGO_TRACE_TAKEN, 374, 5, 12},
        {"blank", "  ", DGO_TRACE_NOTHING, 0, 0, 0},
        {"the header again", "t,ContextTokens,g", DGO_TRACE_NOTHING, 0, 0, 0},
        {"cut", "2023-11-16 18:17:03.9799600", DGO_TRACE_BAD, 0, 0, 0},
        {"negative", "1,-4,2", DGO_TRACE_BAD, 0, 0, 0},
        {"a half token", "1,4.5,2", DGO_TRACE_BAD, 0, 0, 0},
        {"huge", "1,99999999999999999999,2", DGO_TRACE_BAD, 0, 0, 0},
        {"no answer", "1,4,", DGO_TRACE_BAD, 0, 0, 0},
        {"no time", "soon,4,4", DGO_TRACE_BAD, 0, 0, 0},
        {"month 13", "2023-13-16 18:17:03,4,4", DGO_TRACE_BAD, 0, 0, 0},
        {"not a number", "nan,4,4", DGO_TRACE_BAD, 0, 0, 0},
    };
    struct dgo_trace_format format;
    char why[DGO_TRACE_WHY_MAX];

    (void)state;
    assert_int_equal(dgo_trace_detect("t,ContextTokens,g", 17, "ContextTokens,g,t", &format, NULL),
                     DGO_OK);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        CHECK_ROW(read_line(&format, cases[i].line, why) == cases[i].verdict, cases[i].name);
        CHECK_ROW((cases[i].verdict == DGO_TRACE_BAD) == (why[0] != '\0'), cases[i].name);
        if (cases[i].verdict != DGO_TRACE_TAKEN)
            continue;
        CHECK_ROW_U64(seen.last.request.prompt_tokens, cases[i].prompt, cases[i].name);
        CHECK_ROW_U64(seen.last.request.generated_tokens, cases[i].generated, cases[i].name);
        CHECK_ROW(fabs(seen.last.request.arrival_s - cases[i].arrival) < 1e-5, cases[i].name);
    }
}

static void test_json_lines(void **state)
{
    static const struct {
        const char *name, *line;
        enum dgo_trace_verdict verdict;
        uint32_t requests;
        uint64_t prompts;
        bool generated_known;
        uint32_t generated;
        bool estimated;
    } cases[] = {
        {"completion", "{\"prompt\": \"12345\"}", DGO_TRACE_TAKEN, 1, 5, false, 0, false},
        {"two prompts", "{\"prompt\": [\"12345\", \"12\"]}", DGO_TRACE_TAKEN, 2, 7, false, 0,
         false},
        {"token ids", "{\"prompt\": [5, 6, 7]}", DGO_TRACE_TAKEN, 1, 3, false, 0, false},
        {"chat", "{\"messages\": [{\"role\": \"user\", \"content\": \"1234\"}]}", DGO_TRACE_TAKEN,
         1, 7, false, 0, false},
        {"chat with its answer",
         "{\"messages\": [{\"role\": \"user\", \"content\": \"1234\"},"
         "{\"role\": \"assistant\", \"content\": \"12\"}]}",
         DGO_TRACE_TAKEN, 1, 7, true, 2, false},
        {"parts, one an image",
         "{\"messages\": [{\"role\": \"user\", \"content\": [{\"type\": \"text\", \"text\": "
         "\"12\"},"
         "{\"type\": \"image_url\", \"image_url\": {}}]}]}",
         DGO_TRACE_TAKEN, 1, 5, false, 0, true},
        {"OpenAI batch",
         "{\"custom_id\": \"a\", \"method\": \"POST\", \"url\": \"/v1/chat/completions\", \"body\":"
         "{\"messages\": [{\"role\": \"user\", \"content\": \"1234\"}]}}",
         DGO_TRACE_TAKEN, 1, 7, false, 0, false},
        {"OpenAI batch, done",
         "{\"custom_id\": \"a\", \"response\": {\"body\": {\"usage\": {\"prompt_tokens\": 9,"
         "\"completion_tokens\": 4}}}}",
         DGO_TRACE_TAKEN, 1, 9, true, 4, false},
        {"lengths", "{\"timestamp\": 5, \"input_length\": 6, \"output_length\": 7}",
         DGO_TRACE_TAKEN, 1, 6, true, 7, false},
        {"no JSON", "{\"prompt\": ", DGO_TRACE_BAD, 0, 0, false, 0, false},
        {"no request", "{\"a\": 1}", DGO_TRACE_BAD, 0, 0, false, 0, false},
        {"an array", "[1, 2]", DGO_TRACE_BAD, 0, 0, false, 0, false},
        {"negative length", "{\"input_length\": -6}", DGO_TRACE_BAD, 0, 0, false, 0, false},
        {"invalid UTF-8", "{\"prompt\": \"\xff\"}", DGO_TRACE_BAD, 0, 0, false, 0, false},
    };
    struct dgo_trace_format format;
    char why[DGO_TRACE_WHY_MAX];

    (void)state;
    assert_int_equal(dgo_trace_detect("{", 1, NULL, &format, NULL), DGO_OK);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        CHECK_ROW(read_line(&format, cases[i].line, why) == cases[i].verdict, cases[i].name);
        CHECK_ROW((cases[i].verdict == DGO_TRACE_BAD) == (why[0] != '\0'), cases[i].name);
        CHECK_ROW_U64(seen.count, cases[i].requests, cases[i].name);
        CHECK_ROW_U64(seen.prompts, cases[i].prompts, cases[i].name);
        CHECK_ROW(seen.last.generated_known == cases[i].generated_known, cases[i].name);
        CHECK_ROW_U64(seen.last.request.generated_tokens, cases[i].generated, cases[i].name);
        CHECK_ROW(seen.last.estimated == cases[i].estimated, cases[i].name);
    }
}

/* Without a counter a text is an estimate, and says so. */
static void test_estimates(void **state)
{
    struct dgo_trace_format format;
    char why[DGO_TRACE_WHY_MAX] = "";

    (void)state;
    memset(&seen, 0, sizeof seen);
    assert_int_equal(dgo_trace_detect("hello", 5, NULL, &format, NULL), DGO_OK);
    assert_int_equal(dgo_trace_line(&format, "hello", 5, NULL, take, NULL, why), DGO_TRACE_TAKEN);
    assert_true(seen.last.estimated);
    assert_int_equal(seen.last.request.prompt_tokens, 2);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_detects),
    cmocka_unit_test(test_csv_lines),
    cmocka_unit_test(test_json_lines),
    cmocka_unit_test(test_estimates),
};
CHECK_MAIN(tests)
