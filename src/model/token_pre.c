/* token_pre.c - every pre-tokenizer that llama.cpp knows by name: the expressions that cut a text
 * into words before merging.
 *
 * They are facts of the models' own tokenizers, in the form that gives the engine's cuts: the
 * engine runs them one after the other, each inside the pieces that the one before left, over
 * classes of code points where an expression names classes (\p{L}), over code points where it does
 * not.  `exact` is set for what agreed token by token with llama.cpp build 11669 on the corpus of
 * tests/model/test_tokens.py. */
#include "token.h"

#include <string.h>

#define CONTRACTIONS "(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])"
#define SPACES       "\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
#define GPT2         "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+"
#define LETTERS      "[^\\r\\n\\p{L}\\p{N}]?\\p{L}+"
#define SIGNS        " ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*"
#define SLASHES      " ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*"
#define LLAMA3       CONTRACTIONS "|" LETTERS "|\\p{N}{1,3}|" SIGNS "|" SPACES
#define QWEN2        CONTRACTIONS "|" LETTERS "|\\p{N}|" SIGNS "|" SPACES
/* Upper before lower, of ASCII only: every other letter is both. */
#define UPPER  "[A-Z\xd2]"
#define LOWER  "[a-z\xd2]"
#define CAMEL  "[^\\r\\n\\p{L}\\p{N}]?" UPPER "*" LOWER "+"
#define CAMELS "[^\\r\\n\\p{L}\\p{N}]?" UPPER "+" LOWER "*"
#define MARKED "[\\p{L}\\p{M}]"
#define MARKED_WORD                                                                                \
    "[^\\r\\n\\p{L}\\p{N}]?" MARKED "*" MARKED "+" CONTRACTIONS "?|[^\\r\\n\\p{L}\\p{N}]?" MARKED  \
    "+" MARKED "*" CONTRACTIONS "?"
#define ASCII_SIGN "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+"
#define DEEPSEEK3                                                                                  \
    ASCII_SIGN "|[^\\r\\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+| ?[\\p{P}\\p{S}]+[\\r\\n]*|" SPACES
#define CJK_KANA    "[一-龥぀-ゟ゠-ヿ]+"
#define CJK_HANGUL  "[一-龥ࠀ-一가-퟿]+"
#define BLOOM_WORDS " ?[^(\\s|.,!?…。，、।۔،)]+"

/* Letters of the scripts that DeepSeek LLM's expression lists, and the scripts without spaces that
 * AFMoE's does. */
/* clang-format off */
#define CASED \
    "A-Za-zµÀ-ÖØ-öø-ƺƼ-ƿǄ-ʓʕ-ʯͰ-ͳͶͷͻ-ͽͿΆΈ-ΊΌΎ-ΡΣ-ϵϷ-ҁҊ-ԯԱ-ՖႠ-" \
    "ჅᎠ-Ᏽᏸ-ᏽᲐ-ᲺᲽ-Ჿᴀ-ᴫᵫ-ᵷᵹ-ᶚḀ-ἕἘ-Ἕἠ-ὅὈ-Ὅὐ-ὗὙὛὝὟ-\u1f7dᾀ-ᾴᾶ-ᾼ\u1fbe" \
    "ῂ-ῄῆ-ῌῐ-\u1fd3ῖ-\u1fdbῠ-Ῥῲ-ῴῶ-ῼℂℇℊ-ℓℕℙ-ℝℤ\u2126ℨ\u212a-ℭ" \
    "ℯ-ℴℹℼ-ℿⅅ-ⅉⅎↃↄⰀ-ⱻⱾ-ⳤⳫ-ⳮⳲⳳꙀ-ꙭꚀ-ꚛꜢ-ꝯꝱ-ꞇꞋ-ꞎꭰ-ꮿﬀ-ﬆﬓ-ﬗＡ-Ｚａ-ｚ𐐀-" \
    "𐑏𐒰-𐓓𐓘-𐓻𐲀-𐲲𐳀-𐳲𑢠-𑣟𞤀-𞥃"
#define ASIAN \
    "[一-鿿㐀-䶿豈-﫿぀-ゟ゠-ヿ･-ﾟ⼀-⿟เ-๿຀-໿ក-" \
    "៿က-႟ꩠ-ꩿꧠ-꧿가-힯ᄀ-ᇿ]+"
/* clang-format on */

static const struct pre_rule rules[] = {
    {"default",
     {{false, "[\\p{P}\\$\\+<=>\\^~\\|]+"},
      {false, GPT2},
      {false, "\\p{N}+"},
      {true, "[0-9][0-9][0-9]"}},
     .exact = true},
    {"llama3 llama-v3 llama-bpe falcon3 falcon-h1 pixtral midm-2.0 lfm2 jina-v5-nano",
     {{false, LLAMA3}},
     .ignore_merges = true,
     .add_bos = true,
     .exact = true},
    {"dbrx smaug-bpe chatglm-bpe", {{false, LLAMA3}}, .exact = true},
    {"glm4", {{false, LLAMA3}}, .ignore_merges = true, .exact = true},
    {"jais-2",
     {{false, CONTRACTIONS "|" LETTERS "|\\p{N}{1,3}|" SIGNS
                           "|\\s*[\\r\\n]+|\\s{512}(?!\\S)|\\s{256}(?!\\S)|\\s{128}(?!\\S)|"
                           "\\s{64}(?!\\S)|\\s{32}(?!\\S)|\\s{16}(?!\\S)|\\s{8}(?!\\S)|"
                           "\\s{4}(?!\\S)|\\s{1,2}(?!\\S)|\\s{1}"}},
     .exact = true},
    {"deepseek-llm",
     {{true, "[\\r\\n]"},
      {true, "\\s?[" CASED "]+"},
      {true, "\\s?[!-/:-~！-／：-～‘-‟　-。]+"},
      {true, "\\s+$"},
      {true, CJK_HANGUL},
      {false, "\\p{N}+"}},
     .exact = true},
    {"deepseek-coder",
     {{true, "[\\r\\n]"},
      {false, "\\s?\\p{L}+"},
      {false, "\\s?\\p{P}+"},
      {true, CJK_HANGUL},
      {false, "\\p{N}"}},
     .exact = true},
    {"deepseek-v3 hunyuan-dense joyai-llm hy_v4",
     {{false, "\\p{N}{1,3}"}, {true, CJK_KANA}, {false, DEEPSEEK3}},
     .exact = true},
    {"spark2_5",
     {{false, "\\p{N}{1,3}"},
      {true, CJK_KANA},
      {false, ASCII_SIGN "|[^\\r\\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+| ?[\\p{P}\\p{S}]+|"
                         "[\\r\\n]|\\s+(?!\\S)|\\s+"},
      {false, "\\p{N}"}},
     .exact = true},
    {"ufakzeka", {{false, LETTERS "|\\p{N}|" SIGNS "|" SPACES}}, .exact = true},
    {"youtu",
     {{true,
       "[가-힣ㄱ-ㆎ]+|[！…“”‘’—：；，、-〿︰-﹏]+|[ㄅ-ㄯ]+|" CJK_KANA},
      {false, MARKED_WORD "|\\p{N}|" SLASHES "|" SPACES}},
     .ignore_merges = true,
     .exact = true},
    {"falcon",
     {{false, "[\\p{P}\\$\\+<=>\\^~\\|`]+"}, {false, GPT2}, {true, "[0-9][0-9][0-9]"}},
     .exact = true},
    {"starcoder refact command-r smollm codeshell exaone minerva-7b mellum2",
     {{false, "\\p{N}"}, {false, GPT2}},
     .exact = true},
    {"gpt-2 phi-2 jina-es jina-de gigachat jina-v2-es jina-v2-de a.x-4.0 mellum modern-bert mpt "
     "olmo jais trillion granite-docling exaone4",
     {{false, GPT2}},
     .exact = true},
    {"jina-v1-en jina-v2-code roberta-bpe", {{false, GPT2}}, .add_sep = true, .exact = true},
    {"stablelm2 qwen2 deepseek-r1-qwen kormo f2llmv2 megrez hunyuan solar-open grok-2",
     {{false, QWEN2}},
     .exact = true},
    {"qwen35",
     {{false, CONTRACTIONS "|[^\\r\\n\\p{L}\\p{N}]?[\\p{L}\\p{M}]+|\\p{N}| "
                           "?[^\\s\\p{L}\\p{M}\\p{N}]+[\\r\\n]*|" SPACES}},
     .exact = true},
    {"poro-chat bloom gpt3-finnish", {{true, BLOOM_WORDS}}, .exact = true},
    {"viking", {{true, BLOOM_WORDS}, {false, "\\p{N}"}}, .exact = true},
    {"tekken",
     {{false, CAMEL "|" CAMELS "|\\p{N}|" SLASHES "|" SPACES}},
     .ignore_merges = true,
     .add_bos = true,
     .exact = true},
    {"chameleon",
     {{true, "<sentinel:[0-9]+>"},
      {true, "(IMGIMG)((A|B|C|D|E|F|G|H|I){1,4})Z"},
      {true, "([\\t\\n]|    |  )"},
      {false, "\\p{N}"},
      {false, "[\\p{P}!-/:-@\\[-`{-~]"},
      {false, GPT2}},
     .add_bos = true,
     .exact = true},
    {"gpt-4o llama4 kanana2 talkie minimax-m2",
     {{false, CAMEL CONTRACTIONS "?|" CAMELS CONTRACTIONS "?|\\p{N}{1,3}|" SLASHES "|" SPACES}},
     .exact = true},
    {"granite-embed-multi-97m",
     {{false, "[^\\r\\n\\p{L}\\p{N}]?[A-Z\xd2\xd4]*[a-z\xd2\xd4]+" CONTRACTIONS
              "?|[^\\r\\n\\p{L}\\p{N}]?[A-Z\xd2\xd4]+[a-z\xd2\xd4]*" CONTRACTIONS
              "?|\\p{N}{1,3}|" SLASHES "|" SPACES}},
     .ignore_merges = true,
     .exact = true},
    {"tiny_aya cohere2moe", /* digits by threes from the right */
     {{false, MARKED_WORD "|\\p{N}{1,3}(?=(?:\\p{N}{3})*(?!\\p{N}))|" SLASHES "|" SPACES}},
     .exact = true},
    {"superbpe", {{false, "\\p{N}+"}, {true, "(?=(\\d{3})+(?!\\d))"}}, .exact = true},
    {"bailingmoe bailingmoe2 llada-moe",
     {{false, "'(?:[sSdDmMtT]|[lL][lL]|[vV][eE]|[rR][eE])|" LETTERS "|\\p{N}|" SIGNS
              "|\\s*[\\r\\n]|\\s+(?!\\S)|\\s+"}},
     .exact = true},
    {"seed-coder",
     {{false, CONTRACTIONS "|" LETTERS "|\\p{N}{1}| ?[^\\s\\p{L}\\p{N}\\r\\n]+|" SPACES}},
     .exact = true},
    {"kimi-k2",
     {{false, "[\xd6\xd8]+|[^\\r\\n\\p{L}\xd6\\p{N}]?\\p{L}+" CONTRACTIONS
              "?|\\p{N}{1,3}| ?[^\\s\\p{L}\xd6\\p{N}]+[\\r\\n]*|" SPACES}},
     .han = true,
     .exact = true},
    {"afmoe",
     {{false, "[^\\p{N}]*\\p{N}{1,3}(?=(?:\\p{N}{3})*(?!\\p{N}))"},
      {true, ASIAN},
      {false, DEEPSEEK3}},
     .exact = true},
    {"laguna", {{true, "[^\\n]+|[\\n]+"}, {false, QWEN2}}, .exact = true},
    {"exaone-moe",
     {{false, CONTRACTIONS "|[^\\r\\n\\p{L}\\p{N}]?(?:\\p{L}\\p{M}*(?: \\p{L}\\p{M}*)*)+|\\p{N}| "
                           "?[^\\s\\p{L}\\p{N}]+[\\r\\n/]?|\\s*[\\r\\n]|\\s+(?!\\S)|\\s+"}},
     .exact = true},
    {"gemma4 granite-embed-multi-311m",
     {{true, "[^\\n]+|[\\n]+"}},
     .raw = true,
     .newline_words = true,
     .add_bos = true,
     .exact = true},
    {"sarvam-moe", {{true, "[^\\n]+|[\\n]+"}}, .raw = true, .exact = true},
    {"minicpm5",
     {{false, "\\p{N}{1,3}"}, {false, CONTRACTIONS "|" LETTERS "|\\p{N}+|" SIGNS "|" SPACES}},
     .ignore_merges = true,
     .exact = true},
};

const struct pre_rule *pre_default(void)
{
    return &rules[0];
}

const struct pre_rule *pre_find(const char *name)
{
    const size_t length = strlen(name);

    for (size_t i = 0; i < sizeof rules / sizeof rules[0]; i++)
        for (const char *at = rules[i].names; *at;) {
            const size_t word = strcspn(at, " ");

            if (word == length && memcmp(at, name, length) == 0)
                return &rules[i];
            at += word;
            at += *at == ' ';
        }
    return NULL;
}
