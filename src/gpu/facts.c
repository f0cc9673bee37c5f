/* facts.c - published peak figures of cards, found by the name that the driver gives them. */
#include "driver.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

static const struct fact {
    enum dgo_gpu_vendor vendor;
    const char *name; /* words, in this order and together */
    double bandwidth_gbs, fp16_tflops;
    uint32_t pcie_gen, pcie_width;
} facts[] = {
#define X(vendor, name, gbs, tflops, gen, lanes, source)                                           \
    {DGO_VENDOR_##vendor, name, gbs, tflops, gen, lanes},
#include "gpu_facts.def"
#undef X
};

enum { WORDS_MAX = 16, WORD_MAX = 24 };

struct words {
    uint32_t count;
    char word[WORDS_MAX][WORD_MAX];
};

/* Splits at blanks, '-' and '_'.  "(R)", "(TM)" and what else stands in brackets is left out. */
static bool split(const char *text, struct words *words)
{
    uint32_t depth = 0;
    size_t length = 0;

    words->count = 0;
    for (;; text++) {
        const bool ends = *text == '\0' || strchr(" -_()\t", *text);

        if (!ends && depth == 0) {
            if (words->count == WORDS_MAX || length + 1 == WORD_MAX)
                return false;
            words->word[words->count][length++] = *text;
        } else if (ends && length > 0) {
            words->word[words->count++][length] = '\0';
            length = 0;
        }
        if (*text == '\0')
            return true;
        if (*text == '(')
            depth++;
        else if (*text == ')' && depth > 0)
            depth--;
    }
}

/* "24GB" */
static bool is_size(const char *word)
{
    const size_t digits = strspn(word, "0123456789");

    return digits > 0 && strcasecmp(word + digits, "GB") == 0;
}

/* Words that do not make it another card.  "Ti", "Laptop", "SUPER" and whatever comes next year do,
 * so the rule is this list and not theirs. */
static bool is_plain(const char *word)
{
    static const char *const plain[] = {"NVIDIA",   "Corporation", "GeForce", "Tesla", "Quadro",
                                        "AMD",      "ATI",         "Radeon",  "Intel", "Arc",
                                        "Instinct", "Graphics",    "GPU"};

    for (size_t i = 0; i < sizeof plain / sizeof plain[0]; i++)
        if (strcasecmp(word, plain[i]) == 0)
            return true;
    return is_size(word);
}

static bool words_at(const struct words *name, uint32_t at, const struct words *row)
{
    for (uint32_t i = 0; i < row->count; i++)
        if (strcasecmp(name->word[at + i], row->word[i]) != 0)
            return false;
    return true;
}

/* The row's words stand together in the name, and all others are plain. */
static bool matches(const struct words *name, const struct words *row)
{
    for (uint32_t at = 0; at + row->count <= name->count; at++) {
        bool all_plain = true;

        if (!words_at(name, at, row))
            continue;
        for (uint32_t i = 0; i < name->count; i++)
            if ((i < at || i >= at + row->count) && !is_plain(name->word[i]))
                all_plain = false;
        if (all_plain)
            return true;
    }
    return false;
}

static const struct fact *find(const char *text)
{
    const struct fact *best = NULL;
    struct words name, row;
    uint32_t best_words = 0;

    if (!split(text, &name))
        return NULL;
    for (size_t i = 0; i < sizeof facts / sizeof facts[0]; i++) {
        if (!split(facts[i].name, &row) || row.count <= best_words || !matches(&name, &row))
            continue;
        best = &facts[i];
        best_words = row.count;
    }
    return best;
}

bool dgo_gpu_facts(const char *name, struct dgo_gpu_facts *of)
{
    const struct fact *fact = find(name);

    if (!fact)
        return false;
    *of = (struct dgo_gpu_facts){.bandwidth_bytes_per_s = fact->bandwidth_gbs * 1e9,
                                 .fp16_flops = fact->fp16_tflops * 1e12,
                                 .pcie_gen = fact->pcie_gen,
                                 .pcie_width = fact->pcie_width};
    return true;
}

static bool has_word(const struct words *words, const char *word)
{
    for (uint32_t i = 0; i < words->count; i++)
        if (strcasecmp(words->word[i], word) == 0)
            return true;
    return false;
}

enum dgo_gpu_vendor gpu_vendor_of(const char *name)
{
    static const struct {
        const char *word;
        enum dgo_gpu_vendor vendor;
    } vendors[] = {
        {"NVIDIA", DGO_VENDOR_NVIDIA}, {"GeForce", DGO_VENDOR_NVIDIA},
        {"Quadro", DGO_VENDOR_NVIDIA}, {"Tesla", DGO_VENDOR_NVIDIA},
        {"RTX", DGO_VENDOR_NVIDIA},    {"GTX", DGO_VENDOR_NVIDIA},
        {"AMD", DGO_VENDOR_AMD},       {"Radeon", DGO_VENDOR_AMD},
        {"Instinct", DGO_VENDOR_AMD},  {"Intel", DGO_VENDOR_INTEL},
        {"Arc", DGO_VENDOR_INTEL},
    };
    const struct fact *fact = find(name);
    struct words words;

    if (fact)
        return fact->vendor;
    if (!split(name, &words))
        return DGO_VENDOR_UNKNOWN;
    for (size_t i = 0; i < sizeof vendors / sizeof vendors[0]; i++)
        if (has_word(&words, vendors[i].word))
            return vendors[i].vendor;
    return DGO_VENDOR_UNKNOWN;
}
