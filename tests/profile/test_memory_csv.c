/* test_memory_csv.c - first lines in any order, lines that cannot be read, and what is unknown. */
#include "check.h"
#include "dgo_memory_csv.h"

#include <math.h>

static const struct {
    const char *name, *line;
    enum dgo_status status;
    const char *says; /* in the sentence of a failure */
} headers[] = {
    {"as documented", "seconds,gpu,pid,used_mib", DGO_OK, NULL},
    {"with what an engine tells", "seconds,gpu,pid,used_mib,requests,busy", DGO_OK, NULL},
    {"any order, others between", "busy,what,used_mib,gpu,host,seconds,pid", DGO_OK, NULL},
    {"no pid", "seconds,gpu,used_mib", DGO_OK, NULL},
    {"blanks, quotes, capitals", " \"Seconds\" , GPU,\tpid ,used_MiB\r", DGO_OK, NULL},
    {"semicolons", "seconds;gpu;pid;used_mib", DGO_OK, NULL},
    {"tabs", "seconds\tgpu\tpid\tused_mib", DGO_OK, NULL},
    {"byte order mark", "\xef\xbb\xbfseconds,gpu,pid,used_mib", DGO_OK, NULL},
    {"a separator between quotes", "seconds,gpu,pid,used_mib,\"a \"\"b\"\", gpu\"", DGO_OK, NULL},
    {"a quote that nothing closes", "\"seconds,gpu,used_mib", DGO_OK, NULL},
    {"no time", "gpu,pid,used_mib", DGO_EFORMAT, "\"seconds\" is missing"},
    {"no memory", "seconds,gpu,pid", DGO_EFORMAT, "\"used_mib\" is missing"},
    {"twice", "seconds,gpu,gpu,used_mib", DGO_EFORMAT, "\"gpu\" is there twice"},
    {"numbers at once", "0,0,12,4096", DGO_EFORMAT, "must name the columns"},
    {"empty", "", DGO_EFORMAT, "must name the columns"},
};

static void test_first_lines(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof headers / sizeof headers[0]; i++) {
        struct dgo_memory_csv csv;
        struct dgo_error err = {0};

        CHECK_ROW(dgo_memory_csv_begin(&csv, headers[i].line, strlen(headers[i].line), &err) ==
                      headers[i].status,
                  headers[i].name);
        if (headers[i].says)
            CHECK_ROW(strstr(err.text, headers[i].says) != NULL, headers[i].name);
    }
}

static const struct {
    const char *name, *line;
    enum dgo_status status;
    double seconds, used_mib;
    uint32_t gpu, pid;
    const char *says;
} lines[] = {
    {"a process", "12.5,1,4242,8000.25,,", DGO_OK, 12.5, 8000.25, 1, 4242, NULL},
    {"a card: no pid", "12,0,,8000,,", DGO_OK, 12, 8000, 0, 0, NULL},
    {"a card: 0", "12,0,0,8000,,", DGO_OK, 12, 8000, 0, 0, NULL},
    {"a card: -1", "12,0,-1,8000,,", DGO_OK, 12, 8000, 0, 0, NULL},
    {"a card: -", "12,0,-,8000,,", DGO_OK, 12, 8000, 0, 0, NULL},
    {"end of line of another system", "1,0,7,5,3,1\r", DGO_OK, 1, 5, 0, 7, NULL},
    {"columns that are not there", "1,0,7,5", DGO_OK, 1, 5, 0, 7, NULL},
    {"exponent", "1e3,0,7,5", DGO_OK, 1000, 5, 0, 7, NULL},
    {"nothing", "", DGO_ENOTFOUND, 0, 0, 0, 0, NULL},
    {"comment", "# restarted here", DGO_ENOTFOUND, 0, 0, 0, 0, NULL},
    {"words", "now,0,7,5", DGO_EFORMAT, 0, 0, 0, 0, "seconds \"now\" is no number"},
    {"not a number", "nan,0,7,5", DGO_EFORMAT, 0, 0, 0, 0, "is no number"},
    {"infinite", "1,0,7,inf", DGO_EFORMAT, 0, 0, 0, 0, "is no number"},
    {"hexadecimal", "1,0x1,7,5", DGO_EFORMAT, 0, 0, 0, 0, "is no number"},
    {"negative memory", "1,0,7,-5", DGO_EFORMAT, 0, 0, 0, 0, "no amount of memory"},
    {"memory beyond any card", "1,0,7,1e300", DGO_EFORMAT, 0, 0, 0, 0, "no amount of memory"},
    {"no memory", "1,0,7,", DGO_EFORMAT, 0, 0, 0, 0, "used_mib \"\" is no number"},
    {"cut", "1,0", DGO_EFORMAT, 0, 0, 0, 0, "used_mib is missing"},
    {"card of another machine", "1,77,7,5", DGO_EFORMAT, 0, 0, 0, 0, "no"},
    {"half a process", "1,0,7.5,5", DGO_EFORMAT, 0, 0, 0, 0, "is no process"},
    {"too many", "1,0,7,5,1,1,1", DGO_EFORMAT, 0, 0, 0, 0, "more than the 6 columns"},
    {"control characters are shown, not sent", "\x1b[2J,0,7,5", DGO_EFORMAT, 0, 0, 0, 0, "\\x1b"},
};

static void test_lines(void **state)
{
    static const char first[] = "seconds,gpu,pid,used_mib,requests,busy";
    struct dgo_memory_csv csv;
    struct dgo_error err = {0};

    (void)state;
    assert_int_equal(dgo_memory_csv_begin(&csv, first, strlen(first), &err), DGO_OK);
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
        struct dgo_memory_csv_row row;

        memset(&err, 0, sizeof err);
        CHECK_ROW_U64(dgo_memory_csv_read(&csv, lines[i].line, strlen(lines[i].line), &row, &err),
                      lines[i].status, lines[i].name);
        if (lines[i].says)
            CHECK_ROW(strstr(err.text, lines[i].says) != NULL, lines[i].name);
        if (lines[i].status != DGO_OK)
            continue;
        CHECK_ROW(row.reading.sample.seconds == lines[i].seconds, lines[i].name);
        CHECK_ROW(row.reading.sample.used_mib == lines[i].used_mib, lines[i].name);
        CHECK_ROW_U64(row.reading.gpu_index, lines[i].gpu, lines[i].name);
        CHECK_ROW_U64(row.reading.pid, lines[i].pid, lines[i].name);
    }
}

static void test_what_an_engine_tells(void **state)
{
    static const char first[] = "seconds,gpu,pid,used_mib,requests,busy,name,total_mib";
    struct dgo_memory_csv csv;
    struct dgo_memory_csv_row row;
    struct dgo_error err = {0};

    (void)state;
    assert_int_equal(dgo_memory_csv_begin(&csv, first, strlen(first), &err), DGO_OK);
    assert_int_equal(
        dgo_memory_csv_read(&csv, "1,0,7,5,12,true,llama-server,24576", 34, &row, &err), DGO_OK);
    assert_true(row.reading.sample.requests_known && row.reading.sample.requests == 12);
    assert_true(row.reading.sample.busy_known && row.reading.sample.busy);
    assert_string_equal(row.name, "llama-server");
    assert_true(row.total_mib == 24576);
    assert_int_equal(dgo_memory_csv_read(&csv, "1,0,7,5,,,,", 11, &row, &err), DGO_OK);
    assert_false(row.reading.sample.requests_known || row.reading.sample.busy_known);
    assert_true(isnan(row.total_mib));
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_first_lines),
    cmocka_unit_test(test_lines),
    cmocka_unit_test(test_what_an_engine_tells),
};
CHECK_MAIN(tests)
