#!/usr/bin/env python3
"""Engines of pools, started by `run`: what was predicted against what a vLLM or an SGLang says when it starts (a stand-in says it)."""
import json
import subprocess
import sys

from e2e import HERE, ROOT, Card, Machine, cases, check, check_equal, check_match, json_of, main

UNEQUAL = Machine(Card("NVIDIA GeForce RTX 3090", 24576, 24100), Card("NVIDIA GeForce RTX 3060", 12288, 11900))
GIB = 1 << 30


def folder(box):
    path = box.folder / "llama"
    subprocess.run([sys.executable, ROOT / "tools/make-hf-model.py", "llama-3.1-8b", path], check=True, stdout=subprocess.DEVNULL,
                   stdin=subprocess.DEVNULL)
    return path


def stand_in(box, name):
    return box.file(name, f"#!/bin/sh\nexec '{sys.executable}' '{HERE / 'stand_in_pool.py'}' \"$0\" \"$@\"\n", 0o755)


@cases([
    ("vllm, as planned", "vllm", 1.0, 0, "As planned: the pool holds"),
    ("vllm, a little less", "vllm", 0.97, 0, "3.0 % fewer"),
    ("vllm, much less", "vllm", 0.5, 1, "Not as planned: the pool holds .* 50.0 % fewer"),
    ("sglang, as planned", "sglang", 1.0, 0, "As planned: the pool holds"),
    ("sglang, much less", "sglang", 0.5, 1, "Not as planned"),
], lambda row: f"a pool against its plan: {row[0]}")
def pool(box, row):
    _, name, share, code, sentence = row
    words = [folder(box), "--gpus", box.file("m.yaml", UNEQUAL.file_text()), "--engine", stand_in(box, name), "--tp", "1", "--pp", "2",
             "--ctx", "4096", "--port", "0"]
    plan = json_of(box.run("plan", "--json", *words[:-2]))
    tokens = int(plan["partition"]["kv_tokens"] * share) // 16 * 16
    box.env["POOL"] = json.dumps({"tokens": tokens, "weights_gib": [device["weights_bytes"] / GIB for device in plan["devices"]],
                                  "cache_gib": [device["context_bytes"] / GIB for device in plan["devices"]]})
    result = box.run("run", *words, "--once", "--json")
    check_equal(result.code, code, "exit")
    run = json_of(result)
    check_match(sentence, run["sentence"], "the verdict")
    check_equal((run["ready"], run["equal"]), (True, code == 0), "ready, equal")
    check_equal(run["pool"]["planned"]["kv_tokens"], plan["partition"]["kv_tokens"], "tokens planned")
    check_equal(run["pool"]["measured"]["kv_tokens"], tokens, "tokens measured")
    check(abs(run["pool"]["measured"]["concurrency"] - tokens / 4096) < 0.01, f"requests: {run['pool']}")
    check_equal([device["name"] for device in run["devices"]], ["CUDA0", "CUDA1"], "the ranks' cards")
    for device, planned in zip(run["devices"], plan["devices"]):
        check(abs(device["measured"]["weights_bytes"] - planned["weights_bytes"]) < 0.006 * GIB, f"weights of {device}")
        check(abs(device["measured"]["context_bytes"] - planned["context_bytes"]) < 0.011 * GIB, f"cache of {device}")
    check(plan["partition"]["even_kv_tokens"] < plan["partition"]["kv_tokens"], "equal runs of layers would do as well")


if __name__ == "__main__":
    main()
