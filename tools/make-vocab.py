#!/usr/bin/env python3
"""Makes small vocabularies of every kind that llama.cpp knows, from a corpus of our own: nobody's vocabulary is shipped.

    make-vocab.py corpus corpus.bin                    mixed text: code, scripts, emoji, odd spacing, invalid UTF-8
    make-vocab.py gpt2 qwen2 vocab.gguf                byte-level BPE for a pre-tokenizer
    make-vocab.py llama|t5|bert|rwkv|gemma4 - v.gguf   SentencePiece BPE, unigram, WordPiece, RWKV, raw BPE
    make-vocab.py ... --tiny                           a hundredth of it, for a fuzzer to begin with

Tokens are pieces of the corpus cut anywhere, across words, digits and lines: a text that is cut into words in another
place gets other tokens.  The file has no tensors: llama-tokenize and the server's tokenizer load it, nothing else can.
Python 3 standard library only.  The same arguments give the same bytes.
"""
import random
import struct
import sys

NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = 1, 2, 3, 4, 5, 6
SEED = 20261127
TINY = "--tiny" in sys.argv


def size(count):
    return max(count // 100, 8) if TINY else count


CODE = '''#include <stdio.h>
int main(int argc, char **argv)
{
\tfor (size_t i = 0; i < 1024u; i++) { sum += data[i] * 0x1F'000 >> 2; }   // can't, won't, I'LL, THEY'RE
    printf("%08.3f\\n", x->y.z[3]);
    return !(a && b) || (c ^= ~d) ? -1 : +1;
}
def f(x, *args, **kwargs) -> dict[str, list[int]]:
    """Doc's text."""
    return {k: v for k, v in zip("abc", range(10 ** 6))} if x != None else lambda: 3.14e-10
SELECT name, COUNT(*) FROM t WHERE id IN (1,22,333,4444,55555,666666,7777777) GROUP BY 1 -- '' ;;
<html lang="en"><body class='a b'>&nbsp;&amp;&#x2603;</body></html>\r\n{"key": [true, false, null, 1e5, "\\u00e9"]}
https://example.org/path/to?q=1&r=%20#frag  user.name+tag@example.org  C:\\\\dir\\\\file.txt  ~/.config/x_y-z
HTTPServerError camelCase snake_case SCREAMING_CASE kebab-case XMLHttpRequest2 iPhone12Pro v1.2.3-rc4+build.5
'''
PROSE = '''The quick brown fox jumps over the lazy dog. It's what we've wanted, isn't it? They'd've said "no"; I'm sure you'll agree.
DON'T SHOUT, WE'RE FINE! He'S odd. Résumé naïve façade coöperate Straße ÆØÅ œuvre İstanbul ıI ﬁne ﬂow ﬃ ſ K Å.
Zażółć gęślą jaźń. Příliš žluťoučký kůň. Árvíztűrő tükörfúrógép. Ελληνικά: γρήγορη αλεπού. Съешь же ещё этих мягких булок.
עברית: דג סקרן שט בים. العَرَبِيَّة: نَصٌّ مُشَكَّل ١٢٣٤٥٦. فارسی ۱۲۳۴. हिन्दी में लिखा हुआ, १२३। বাংলা লেখা ১২৩। தமிழ் எழுத்து.
ภาษาไทยไม่มีช่องว่าง ๑๒๓. ລາວ. ខ្មែរ. မြန်မာ. ქართული. Հայերեն. አማርኛ. ᏣᎳᎩ. ᠮᠣᠩᠭᠣᠯ. བོད་ཡིག.
中文分词测试：我们在北京大学学习，价格是１２３元。日本語のテキスト、カタカナとひらがな。漢字ｶﾀｶﾅ。한국어 텍스트입니다, ㄱㄴㄷ 1234. 㐀㐁 𠀀𠀁 豈更.
'''
EMOJI = "😀👍🏽👨‍👩‍👧‍👦🏳️‍🌈🇩🇪🇯🇵❤️☃️1️⃣#️⃣🫠🧑‍💻✨→≠∑∫√∞≈½²³¹⁄₂Ⅷ①㊗️™©®€£¥₹$"
SPACING = [" ", "  ", "   ", "    ", "\t", "\t\t", "\n", "\n\n", "\r\n", "\r", " \n ", "\n  \n", "\u00a0", "\u2003", "\u3000", "\u2028",
           "\u200b", "\u200d", "\ufeff", "\u0085", "\x0b", "\x0c", " \t \n\t ", "     x", "\n\n\n", " " * 17, "\u1680", "\x00", "\x1c", "\x7f"]
INVALID = [b"\xff", b"\xc3", b"\xe2\x82", b"\xf0\x9f\x98", b"\x80", b"\xc0\x80", b"\xed\xa0\x80", b"a\xffb", b"\xc3(", b"\xe4\xb8 \xb8"]
SPECIALS = ["<|im_start|>", "<|im_end|>", "<|endoftext|>", "<|im", "<|im_end|", "<unk>", "<s>", "</s>", "<tool>", "<tool><x>", "  <|sep|>  "]


def corpus(every_character=True):
    """Pieces in random order and company, then every character between others."""
    rng = random.Random(SEED)
    words = PROSE.split() + CODE.split() + list(EMOJI) + ["'s", "'LL", "'re", "n't", "0", "12", "123", "1234", "1234567", "00", "9" * 31]
    out = [CODE.encode(), PROSE.encode(), EMOJI.encode()]
    for _ in range(5000):
        kind = rng.random()
        if kind < 0.55:
            out.append(rng.choice(words).encode())
        elif kind < 0.85:
            out.append(rng.choice(SPACING).encode())
        elif kind < 0.92:
            out.append("".join(rng.choice(PROSE + CODE) for _ in range(rng.randrange(1, 12))).encode())
        elif kind < 0.95:
            out.append(rng.choice(SPECIALS).encode())
        elif kind < 0.97:
            out.append(rng.choice(INVALID))
        else:
            out.append(b" " if rng.random() < 0.7 else b"\n")
        if rng.random() < 0.5:
            out.append(b" ")
    if every_character:
        for point in list(range(0x3400)) + list(range(0x4dc0, 0x4e20)) + list(range(0x9ff0, 0xac20)) + \
                list(range(0xd7a0, 0xd7ff)) + list(range(0xe000, 0xe010)) + list(range(0xf900, 0x10000)) + \
                list(range(0x10000, 0x20000, 3)) + list(range(0x2a6d0, 0x2a720)) + list(range(0x2eb00, 0x2ee80, 7)) + \
                list(range(0x31340, 0x323c0, 31)) + list(range(0xe0000, 0xe01f0, 5)):
            try:
                out.append(("a%s1%s %s." % ((chr(point),) * 3)).encode() if point % 3 else (" %sb" % chr(point)).encode())
            except UnicodeEncodeError:  # a surrogate
                continue
            if point % 37 == 0:
                out.append(b"\n")
    return b"".join(out)


# --- GGUF ----------------------------------------------------------------------------------------

def text(value):
    data = value if isinstance(value, bytes) else value.encode("utf-8", "surrogatepass")
    return struct.pack("<Q", len(data)) + data


def pair(key, kind, data):
    return text(key) + struct.pack("<I", kind) + data


def array(kind, items):
    return struct.pack("<IQ", kind, len(items)) + b"".join(items)


def write(path, model, pre, tokens, scores, types, merges=None, ids=None, flags=None, charsmap=None):
    pairs = [pair("general.architecture", 8, text("llama")), pair("general.name", 8, text("vocabulary")),
             pair("tokenizer.ggml.model", 8, text(model))]
    if pre:
        pairs.append(pair("tokenizer.ggml.pre", 8, text(pre)))
    pairs.append(pair("tokenizer.ggml.tokens", 9, array(8, [text(token) for token in tokens])))
    if scores:
        pairs.append(pair("tokenizer.ggml.scores", 9, array(6, [struct.pack("<f", score) for score in scores])))
    pairs.append(pair("tokenizer.ggml.token_type", 9, array(5, [struct.pack("<i", kind) for kind in types])))
    if merges is not None:
        pairs.append(pair("tokenizer.ggml.merges", 9, array(8, [text(merge) for merge in merges])))
    for key, value in (ids or {}).items():
        pairs.append(pair("tokenizer.ggml." + key, 4, struct.pack("<I", value)))
    for key, value in (flags or {}).items():
        pairs.append(pair("tokenizer.ggml." + key, 7, struct.pack("<?", value)))
    if charsmap:
        pairs.append(pair("tokenizer.ggml.precompiled_charsmap", 9, array(0, [bytes([byte]) for byte in charsmap])))
    with open(path, "wb") as file:
        file.write(b"GGUF" + struct.pack("<IQQ", 3, 0, len(pairs)) + b"".join(pairs))
        file.write(b"\0" * (-file.tell() % 32))


# --- pieces of the corpus ------------------------------------------------------------------------

ALPHABET = {}
for code in list(range(0x21, 0x7f)) + list(range(0xa1, 0xad)) + list(range(0xae, 0x100)):
    ALPHABET[code] = chr(code)
for code in range(256):
    if code not in ALPHABET:
        ALPHABET[code] = chr(256 + len([c for c in ALPHABET if ord(ALPHABET[c]) >= 256]))


def in_alphabet(data):
    return "".join(ALPHABET[byte] for byte in data)


def merge_pieces(units, count, rng, longest):
    """(merges, tokens): `units` is a sequence of single symbols; each merge joins two that are there already."""
    known, merges = set(), []

    def add(piece):
        if len(piece) < 2 or piece in known:
            return
        cut = rng.randrange(1, len(piece))
        add(piece[:cut])
        add(piece[cut:])
        if piece not in known:
            known.add(piece)
            merges.append((piece[:cut], piece[cut:]))

    while len(merges) < count:
        at = rng.randrange(len(units))
        add(units[at:at + rng.choice([2, 2, 2, 3, 3, 4, 5, 6, 8, longest])])
    return merges


BPE_SPECIALS = [("<|im_start|>", CONTROL), ("<|im_end|>", CONTROL), ("<|endoftext|>", CONTROL), ("<tool>", USER_DEFINED),
                ("<tool><x>", USER_DEFINED), ("<|sep|>", USER_DEFINED), ("e<|im", USER_DEFINED)]


def make_bpe(pre, path):
    rng = random.Random(SEED + 1)
    data = corpus(every_character=False)
    merges = merge_pieces(data, size(7000), rng, 12)
    tokens = [ALPHABET[byte] for byte in range(256)]
    # Some merges lead to nothing: what they make is no token.
    for left, right in merges:
        token = in_alphabet(left + right)
        if rng.random() < 0.97 and token not in tokens[:256]:
            tokens.append(token)
    tokens = [token for token in dict.fromkeys(tokens) if token not in dict(BPE_SPECIALS)]
    types = [NORMAL] * len(tokens) + [kind for _, kind in BPE_SPECIALS]
    tokens += [name for name, _ in BPE_SPECIALS]
    first = len(tokens) - len(BPE_SPECIALS)
    write(path, "gpt2", pre, tokens, None, types,
          [in_alphabet(left) + " " + in_alphabet(right) for left, right in merges],
          {"bos_token_id": first, "eos_token_id": first + 2, "seperator_token_id": first + 2})


def make_raw_bpe(path):
    rng = random.Random(SEED + 2)
    data = corpus(every_character=False).decode("utf-8", "ignore").replace(" ", "▁")
    merges = merge_pieces(data, size(6000), rng, 12)
    tokens = ["<pad>", "<eos>", "<bos>", "<unk>"] + ["<0x%02X>" % byte for byte in range(256)]
    types = [CONTROL, CONTROL, CONTROL, UNKNOWN] + [BYTE] * 256
    singles = sorted(set(data))[:size(1500)] + ["\n\n", "\n\n\n"]
    for token in singles + [left + right for left, right in merges]:
        if token not in tokens and token not in ("<|im_start|>", "<tool>") and "\0" not in token:
            tokens.append(token)
            types.append(NORMAL)
    tokens += ["<|im_start|>", "<tool>"]
    types += [CONTROL, USER_DEFINED]
    write(path, "gemma4", None, tokens, None, types, [left + " " + right for left, right in merges if "\n" not in left + right],
          {"bos_token_id": 2, "eos_token_id": 1, "unknown_token_id": 3})


def sentence_tokens(rng, count):
    data = corpus(every_character=False).decode("utf-8", "ignore").replace(" ", "▁")
    pieces = sorted(set(data) - {"\n", "\0"})
    rng.shuffle(pieces)
    pieces = pieces[:size(int(len(pieces) * 0.8))]  # the others fall back to bytes
    pieces += [left + right for left, right in merge_pieces(data, size(count), rng, 10)]
    named = {"<unk>", "<s>", "</s>", "<pad>", "<|im_start|>", "<|im_end|>", "<tool>", "<extra>", "<unused>"}
    return [piece for piece in dict.fromkeys(pieces) if "\0" not in piece and piece not in named]


def make_spm(path):
    rng = random.Random(SEED + 3)
    pieces = sentence_tokens(rng, 6000)
    tokens = ["<unk>", "<s>", "</s>"] + ["<0x%02X>" % byte for byte in range(256)]
    types = [UNKNOWN, CONTROL, CONTROL] + [BYTE] * 256
    tokens += pieces + ["<|im_start|>", "<|im_end|>", "<tool>"]
    types += [NORMAL] * len(pieces) + [CONTROL, CONTROL, USER_DEFINED]
    # Many scores are equal: the leftmost pair goes first.
    scores = [0.0] * 259 + [-float(rng.randrange(2000)) for _ in pieces] + [0.0] * 3
    write(path, "llama", None, tokens, scores, types, ids={"bos_token_id": 1, "eos_token_id": 2, "unknown_token_id": 0})


def double_array(words):
    """SentencePiece's (Darts-clone's) units and replacement strings for {bytes: bytes}."""
    strings, offset_of = b"", {}
    for value in words.values():
        if value not in offset_of:
            offset_of[value] = len(strings)
            strings += value + b"\0"
    trie = {}
    for word, value in words.items():
        node = trie
        for byte in word:
            node = node.setdefault(byte, {})
        node[0] = offset_of[value]
    units, used = {}, {0}

    def place(index, node):
        labels = sorted(node)
        base = 1
        while any((base ^ label) in used for label in labels):
            base += 1
        used.update(base ^ label for label in labels)
        units[index] = units.get(index, 0) | ((index ^ base) << 10) | ((1 << 8) if 0 in node else 0)
        for label in labels:
            if label == 0:
                units[base] = (1 << 31) | node[0]
        for label in labels:
            if label:
                units[base ^ label] = label
                place(base ^ label, node[label])

    place(0, trie)
    table = [units.get(i, 0) for i in range((max(units) | 255) + 1)]
    data = b"".join(struct.pack("<I", unit & 0xffffffff) for unit in table)
    return struct.pack("<I", len(data)) + data + strings


def make_unigram(path):
    rng = random.Random(SEED + 4)
    pieces = sentence_tokens(rng, 5000)
    tokens = ["<pad>", "</s>", "<unk>"] + pieces + ["<extra>", "<tool>", "<unused>"]
    types = [CONTROL, CONTROL, UNKNOWN] + [NORMAL] * len(pieces) + [USER_DEFINED, USER_DEFINED, UNUSED]
    scores = [0.0] * 3 + [-1 - 12 * rng.random() for _ in pieces] + [0.0] * 3
    replaced = {"ﬁ": "fi", "ﬂ": "fl", "ﬃ": "ffi", "\t": " ", "\n": " ", "\r": " ", "\u3000": " ", "\u00a0": " ", "½": "1⁄2", "²": "2",
                "１": "1", "２": "2", "３": "3", "Å": "Å", "é": "é", "\u200b": "", "™": "TM"}
    charsmap = double_array({key.encode(): value.encode() for key, value in replaced.items()})
    write(path, "t5", None, tokens, scores, types, ids={"eos_token_id": 1, "unknown_token_id": 2, "padding_token_id": 0},
          flags={"add_space_prefix": True, "remove_extra_whitespaces": True}, charsmap=charsmap)


def make_wordpiece(path):
    import unicodedata
    rng = random.Random(SEED + 5)
    data = corpus(every_character=False).decode("utf-8", "ignore")
    data = "".join(c for c in unicodedata.normalize("NFD", data.lower()) if unicodedata.category(c) != "Mn")
    words = sorted({word for word in data.split() if len(word) < 40})
    words = words[:size(len(words))]
    pieces = []
    for word in words:
        for _ in range(3):
            start = rng.randrange(len(word))
            pieces.append(("▁" if start == 0 else "") + word[start:start + rng.randrange(1, 7)])
    pieces += ["▁" + c for c in sorted(set(data))[:size(900)] if not c.isspace()]
    pieces += [c for c in sorted(set(data))[:size(700)] if not c.isspace()]
    pieces = [piece for piece in dict.fromkeys(pieces) if "\0" not in piece]
    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"] + pieces
    types = [CONTROL, UNKNOWN, CONTROL, CONTROL, CONTROL] + [NORMAL] * len(pieces)
    write(path, "bert", None, tokens, None, types, ids={"bos_token_id": 2, "seperator_token_id": 3, "unknown_token_id": 1,
                                                         "padding_token_id": 0, "mask_token_id": 4})


def make_rwkv(path):
    rng = random.Random(SEED + 6)
    data = corpus(every_character=False)
    pieces = [bytes([byte]) for byte in range(256)]
    pieces += [left + right for left, right in merge_pieces(data, size(4000), rng, 10)]
    pieces = [piece for piece in dict.fromkeys(pieces) if piece != b"<s>"]

    def escaped(piece):
        shown = ""
        for byte in piece:
            shown += {9: "\\t", 10: "\\n", 13: "\\r", 92: "\\\\"}.get(byte, chr(byte) if 0x20 <= byte < 0x7f else "\\x%02x" % byte)
        return shown

    tokens = ["<s>"] + [escaped(piece) for piece in pieces]
    write(path, "rwkv", None, tokens, None, [CONTROL] + [NORMAL] * len(pieces), ids={"bos_token_id": 0, "eos_token_id": 0})


def main():
    if TINY:
        sys.argv.remove("--tiny")
    if len(sys.argv) == 3 and sys.argv[1] == "corpus":
        with open(sys.argv[2], "wb") as file:
            file.write(corpus())
    elif len(sys.argv) == 4 and sys.argv[1] == "gpt2":
        make_bpe(sys.argv[2], sys.argv[3])
    elif len(sys.argv) == 4 and sys.argv[1] in MAKERS:
        MAKERS[sys.argv[1]](sys.argv[3])
    else:
        sys.exit(__doc__)


MAKERS = {"llama": make_spm, "t5": make_unigram, "bert": make_wordpiece, "rwkv": make_rwkv, "gemma4": make_raw_bpe}

if __name__ == "__main__":
    main()
