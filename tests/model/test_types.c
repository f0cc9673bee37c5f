/* test_types.c - every row of the type table against the sizes that ggml-common.h asserts. */
#include "check.h"

#include "dgo_model.h"

/* Written out once more on purpose: a planner multiplies these. */
static const struct {
    uint32_t id;
    const char *name;
    uint32_t block_values, block_bytes;
} rows[] = {
    {0, "F32", 1, 4},         {1, "F16", 1, 2},         {2, "Q4_0", 32, 18},
    {3, "Q4_1", 32, 20},      {6, "Q5_0", 32, 22},      {7, "Q5_1", 32, 24},
    {8, "Q8_0", 32, 34},      {9, "Q8_1", 32, 36},      {10, "Q2_K", 256, 84},
    {11, "Q3_K", 256, 110},   {12, "Q4_K", 256, 144},   {13, "Q5_K", 256, 176},
    {14, "Q6_K", 256, 210},   {15, "Q8_K", 256, 292},   {16, "IQ2_XXS", 256, 66},
    {17, "IQ2_XS", 256, 74},  {18, "IQ3_XXS", 256, 98}, {19, "IQ1_S", 256, 50},
    {20, "IQ4_NL", 32, 18},   {21, "IQ3_S", 256, 110},  {22, "IQ2_S", 256, 82},
    {23, "IQ4_XS", 256, 136}, {24, "I8", 1, 1},         {25, "I16", 1, 2},
    {26, "I32", 1, 4},        {27, "I64", 1, 8},        {28, "F64", 1, 8},
    {29, "IQ1_M", 256, 56},   {30, "BF16", 1, 2},       {34, "TQ1_0", 256, 54},
    {35, "TQ2_0", 256, 66},   {39, "MXFP4", 32, 17},    {40, "NVFP4", 64, 36},
    {41, "Q1_0", 128, 18},    {42, "Q2_0", 64, 18},
};

enum { ROW_COUNT = sizeof rows / sizeof rows[0] };

static void test_rows(void **state)
{
    (void)state;
    for (size_t i = 0; i < ROW_COUNT; i++) {
        const struct dgo_ggml_type *type = dgo_ggml_type(rows[i].id);

        CHECK_ROW(type != NULL, rows[i].name);
        CHECK_ROW(strcmp(type->name, rows[i].name) == 0, rows[i].name);
        CHECK_ROW_U64(type->id, rows[i].id, rows[i].name);
        CHECK_ROW_U64(type->block_values, rows[i].block_values, rows[i].name);
        CHECK_ROW_U64(type->block_bytes, rows[i].block_bytes, rows[i].name);
        CHECK_ROW(dgo_ggml_type_by_name(rows[i].name) == type, rows[i].name);
    }
}

static void test_nothing_else_is_known(void **state)
{
    uint32_t known = 0;

    (void)state;
    for (uint32_t id = 0; id < 1000; id++)
        known += dgo_ggml_type(id) != NULL;
    assert_int_equal(known, ROW_COUNT);
    assert_null(dgo_ggml_type(4));  /* Q4_2, removed */
    assert_null(dgo_ggml_type(33)); /* Q4_0_8_8, removed */
    assert_null(dgo_ggml_type(UINT32_MAX));
}

static void test_names_ignore_case(void **state)
{
    (void)state;
    assert_ptr_equal(dgo_ggml_type_by_name("q4_k"), dgo_ggml_type(12));
    assert_ptr_equal(dgo_ggml_type_by_name("bf16"), dgo_ggml_type(30));
    assert_null(dgo_ggml_type_by_name("Q4_K_M"));
    assert_null(dgo_ggml_type_by_name(""));
}

static void test_file_types(void **state)
{
    static const struct {
        uint32_t id;
        const char *name;
    } cases[] = {
        {0, "all F32"}, {1, "F16"},        {15, "Q4_K - Medium"}, {18, "Q6_K"},
        {32, "BF16"},   {38, "MXFP4 MoE"}, {1024, "guessed"},     {1039, "Q4_K - Medium"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const char *name = dgo_file_type_name(cases[i].id);

        CHECK_ROW(name && strcmp(name, cases[i].name) == 0, cases[i].name);
    }
    assert_null(dgo_file_type_name(4));
    assert_null(dgo_file_type_name(UINT32_MAX));
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_rows),
    cmocka_unit_test(test_nothing_else_is_known),
    cmocka_unit_test(test_names_ignore_case),
    cmocka_unit_test(test_file_types),
};

CHECK_MAIN(tests)
