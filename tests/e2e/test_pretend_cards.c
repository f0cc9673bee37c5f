/* The pretend machine's text, and which of its cards a process may see. */
#include "check.h"

#include "cards.h"

static const char machine[] = "CUDA0|NVIDIA GeForce RTX 3090|24576|24100|GPU-aa11|0000:41:00.0,"
                              "CUDA1|NVIDIA GeForce RTX 3060|12288|11900|GPU-aa22|0000:01:00.0,"
                              "CUDA2|NVIDIA A2|15356||GPU-bb33|0000:21:00.0";

static void reads_a_machine(void **state)
{
    struct pretend_card cards[PRETEND_CARDS_MAX];
    uint32_t count = 0;
    char error[256] = "";

    (void)state;
    assert_true(pretend_cards_parse(machine, cards, &count, error, sizeof(error)));
    assert_int_equal(count, 3);
    assert_string_equal(cards[1].prefix, "CUDA");
    assert_string_equal(cards[1].model, "NVIDIA GeForce RTX 3060");
    assert_int_equal(cards[1].total_bytes, UINT64_C(12288) << 20);
    assert_int_equal(cards[1].free_bytes, UINT64_C(11900) << 20);
    assert_string_equal(cards[1].uuid, "GPU-aa22");
    assert_string_equal(cards[1].pci_id, "0000:01:00.0");
    assert_int_equal(cards[1].index, 1);
    assert_int_equal(cards[2].free_bytes, cards[2].total_bytes);
}

static void fills_in_what_is_left_out(void **state)
{
    struct pretend_card cards[PRETEND_CARDS_MAX];
    uint32_t count = 0;
    char error[256] = "";

    (void)state;
    assert_true(pretend_cards_parse("ROCm0|A|10,ROCm1|B|20", cards, &count, error, sizeof(error)));
    assert_int_equal(count, 2);
    assert_string_equal(cards[1].prefix, "ROCm");
    assert_string_equal(cards[1].pci_id, "0000:02:00.0");
    assert_string_not_equal(cards[0].uuid, cards[1].uuid);
    assert_int_equal(cards[0].limit_bytes, UINT64_MAX);
}

static void refuses_bad_machines(void **state)
{
    static const struct {
        const char *name, *text, *error_part;
    } cases[] = {
        {"nothing", "", "card 0"},
        {"no total", "CUDA0|RTX", "card 0"},
        {"total is no number", "CUDA0|RTX|x", "want NAME|MODEL|TOTAL_MIB"},
        {"negative total", "CUDA0|RTX|-1", "card 0"},
        {"no name", "0|RTX|10", "card 0"},
        {"total beyond reason", "CUDA0|RTX|99999999999999", "card 0"},
        {"more free than there is", "CUDA0|RTX|10|11", "\"11\" MiB free"},
        {"second card is bad", "CUDA0|RTX|10,", "card 1"},
        {"seventeen",
         "a|b|1,a|b|1,a|b|1,a|b|1,a|b|1,a|b|1,a|b|1,a|b|1,a|b|1,a|b|1,a|b|1,a|b|1,"
         "a|b|1,a|b|1,a|b|1,a|b|1,a|b|1",
         "more than 16"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        struct pretend_card cards[PRETEND_CARDS_MAX];
        uint32_t count = 77;
        char error[256] = "";

        CHECK_ROW(!pretend_cards_parse(cases[i].text, cards, &count, error, sizeof(error)),
                  cases[i].name);
        CHECK_ROW(strstr(error, cases[i].error_part), cases[i].name);
        CHECK_ROW(count == 77, cases[i].name);
    }
}

static void reads_limits(void **state)
{
    static const struct {
        const char *name, *text;
        bool good;
        uint64_t mib[3]; /* 0: no limit */
    } cases[] = {
        {"one card", "1=3000", true, {0, 3000, 0}},
        {"two cards", "2=7,0=9", true, {9, 0, 7}},
        {"no such card", "3=1", false, {0}},
        {"no figure", "1=", false, {0}},
        {"no card", "=5", false, {0}},
        {"words", "all", false, {0}},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        struct pretend_card cards[PRETEND_CARDS_MAX];
        uint32_t count = 0;
        char error[256] = "";

        assert_true(pretend_cards_parse(machine, cards, &count, error, sizeof(error)));
        CHECK_ROW(pretend_limits_parse(cases[i].text, cards, count, error, sizeof(error)) ==
                      cases[i].good,
                  cases[i].name);
        for (uint32_t c = 0; cases[i].good && c < count; c++)
            CHECK_ROW_U64(cards[c].limit_bytes,
                          cases[i].mib[c] ? cases[i].mib[c] << 20 : UINT64_MAX, cases[i].name);
    }
}

/* What CUDA_VISIBLE_DEVICES means is written in NVIDIA's CUDA C++ programming guide, chapter
 * "CUDA environment variables". */
static void hides_cards_as_cuda(void **state)
{
    static const struct {
        const char *name, *visible, *order, *want;
    } cases[] = {
        {"not set", NULL, NULL, "012"},
        {"empty hides all", "", NULL, ""},
        {"one", "1", NULL, "1"},
        {"order counts", "2,0", NULL, "20"},
        {"space is skipped", "2, 0", NULL, "20"},
        {"an index too far ends the list", "0,3,1", NULL, "0"},
        {"minus one ends the list", "1,-1,0", NULL, "1"},
        {"a name that nobody has ends the list", "1,tank,0", NULL, "1"},
        {"twice the same hides all", "1,1", NULL, ""},
        {"index and UUID of one card hide all", "1,GPU-aa22", NULL, ""},
        {"UUIDs", "GPU-bb33,GPU-aa11", NULL, "20"},
        {"a UUID's beginning", "GPU-b", NULL, "2"},
        {"an ambiguous beginning ends the list", "GPU-bb,GPU-aa,0", NULL, "2"},
        {"by PCI address", NULL, "PCI_BUS_ID", "120"},
        {"index by PCI address", "0,2", "PCI_BUS_ID", "10"},
        {"UUID does not care for the order", "GPU-aa11", "PCI_BUS_ID", "0"},
        {"fastest first is the text's order", "0", "FASTEST_FIRST", "0"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        struct pretend_card cards[PRETEND_CARDS_MAX];
        uint32_t count = 0, shown[PRETEND_CARDS_MAX];
        char error[256] = "", got[PRETEND_CARDS_MAX + 1] = "";

        assert_true(pretend_cards_parse(machine, cards, &count, error, sizeof(error)));
        count = pretend_cards_visible(cards, count, cases[i].visible, cases[i].order, shown);
        for (uint32_t s = 0; s < count; s++)
            got[s] = (char)('0' + shown[s]);
        CHECK_ROW(strcmp(got, cases[i].want) == 0, cases[i].name);
    }
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(reads_a_machine),      cmocka_unit_test(fills_in_what_is_left_out),
    cmocka_unit_test(refuses_bad_machines), cmocka_unit_test(reads_limits),
    cmocka_unit_test(hides_cards_as_cuda),
};

CHECK_MAIN(tests)
