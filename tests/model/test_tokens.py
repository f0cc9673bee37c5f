#!/usr/bin/env python3
"""Our tokens against the real engine's, token by token, on a corpus of everything: code, all scripts, emoji, odd spacing,
invalid UTF-8, special tokens, every character between others.

usage: test_tokens.py PRINT_TOKENS MAKE_VOCAB LLAMA_TOKENIZE [table]

With `table` every name of a pre-tokenizer is compared and a Markdown table written (docs/MEASUREMENTS.md); without, one
name of each rule, as TAP.  Vocabularies are made for the occasion.
"""
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile

PRINT, MAKE, ENGINE = (os.path.abspath(path) for path in sys.argv[1:4])
TABLE = len(sys.argv) > 4
RULES = pathlib.Path(__file__).resolve().parents[2] / "src" / "model" / "token_pre.c"
OTHERS = ["llama", "t5", "bert", "rwkv", "gemma4"]
# gemma4's own rules under a GPT-2 vocabulary have next to no token for what they cut.
RAW = {"gemma4", "granite-embed-multi-311m", "sarvam-moe"}


def rules():
    """The names of each rule, from the table itself."""
    source = RULES.read_text(encoding="utf-8")
    source = source[source.index("static const struct pre_rule rules[]"):]
    found = []
    for match in re.finditer(r'^    \{((?:"[^"]*"\s*)+),', source, re.M):
        found.append("".join(re.findall(r'"([^"]*)"', match.group(1))).split())
    return found


def run(*command):
    done = subprocess.run(command, capture_output=True, stdin=subprocess.DEVNULL, timeout=300)
    return done.returncode, done.stdout.decode("utf-8", "replace"), done.stderr.decode("utf-8", "replace")


def ids(text):
    return json.loads(text[text.rindex("["):])


def compare(kind, pre, folder, flags=("--no-bos",), ours=("inside",)):
    """(tokens, problem)"""
    vocabulary, corpus = folder / f"{kind}-{pre}.gguf", folder / "corpus.bin"
    if not vocabulary.exists():
        code, _, err = run(sys.executable, MAKE, kind, pre, str(vocabulary))
        if code != 0:
            return 0, err
    code, out, err = run(ENGINE, "-m", str(vocabulary), "-f", str(corpus), "--ids", "--no-escape", "--log-disable", *flags)
    if code != 0:
        return 0, f"the engine failed: {code} {err[-300:]}"
    wanted = ids(out)
    code, out, err = run(PRINT, str(vocabulary), str(corpus), *ours)
    if code != 0:
        return 0, err
    got = ids(out)
    for at, (mine, theirs) in enumerate(zip(got, wanted)):
        if mine != theirs:
            return len(wanted), f"token {at} is {mine}, the engine's is {theirs}"
    return len(wanted), "" if len(got) == len(wanted) else f"{len(got)} tokens, the engine has {len(wanted)}"


def cases():
    for names in rules():
        for name in names if TABLE else names[:1]:
            if name not in RAW:
                yield f"gpt2/{name}", "gpt2", name, {}
    for kind in OTHERS:
        yield kind, kind, "-", {}
    # with what begins a prompt, and without special tokens in the text
    yield "llama, begun", "llama", "-", {"flags": (), "ours": ()}
    yield "gpt2/llama-v3, begun", "gpt2", "llama-v3", {"flags": (), "ours": ()}
    yield "gpt2/gpt-2, plain", "gpt2", "gpt-2", {"flags": ("--no-bos", "--no-parse-special"), "ours": ("plain",)}
    yield "llama, plain", "llama", "-", {"flags": ("--no-bos", "--no-parse-special"), "ours": ("plain",)}


def main():
    if not os.access(ENGINE, os.X_OK):
        print("1..1\nok 1 - tokens # SKIP no llama-tokenize (tools/get-engine.sh .engine)")
        return 0
    failed = 0
    wanted = list(cases())
    if not TABLE:
        print(f"1..{len(wanted) + 1}")
        print(f"{'ok' if len(rules()) > 25 else 'not ok'} 1 - the rules were read")
        failed += len(rules()) <= 25
    with tempfile.TemporaryDirectory(prefix="dgo-tokens-") as folder:
        folder = pathlib.Path(folder)
        run(sys.executable, MAKE, "corpus", str(folder / "corpus.bin"))
        for number, (name, kind, pre, how) in enumerate(wanted, 2):
            count, problem = compare(kind, pre, folder, **how)
            failed += bool(problem)
            if TABLE:
                print(f"| {name} | {count} | {problem or 'all equal'} |", flush=True)
            else:
                print(f"{'not ok' if problem else 'ok'} {number} - {name}: {problem or f'{count} tokens'}", flush=True)
    return 1 if failed else 0


sys.exit(main())
