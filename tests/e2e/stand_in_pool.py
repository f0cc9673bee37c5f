#!/usr/bin/env python3
"""A vLLM, or an SGLang, that loads nothing: it answers --version and --help, and started to serve it prints the start-up lines of the
real one (vllm/v1/worker, vllm/v1/core/kv_cache_utils.py; sglang/srt/model_executor, mem_cache, managers/scheduler.py) with the sizes
in POOL, and answers its health check.  Under the name `vllm` or `sglang`; POOL is JSON: {"tokens": N, "weights_gib": [...], ...}.
"""
import http.server
import json
import os
import pathlib
import signal
import sys

NAME = pathlib.Path(sys.argv[1]).name
WORDS = sys.argv[2:]
POOL = json.loads(os.environ.get("POOL", "{}"))
FLAGS = {
    "vllm": "--tensor-parallel-size --pipeline-parallel-size --distributed-executor-backend --gpu-memory-utilization --max-model-len "
            "--max-num-seqs --max-num-batched-tokens --kv-cache-dtype --disable-custom-all-reduce --host --port",
    "sglang": "--model-path --tp-size --pp-size --mem-fraction-static --context-length --max-running-requests --chunked-prefill-size "
              "--kv-cache-dtype --host --port",
}[NAME].split()


def value(flag, words=WORDS):
    return words[words.index(flag) + 1]


def say(line):
    print(line, file=sys.stderr, flush=True)


def vllm():
    ctx, tp, pp = int(value("--max-model-len")), int(value("--tensor-parallel-size")), int(value("--pipeline-parallel-size"))
    say(f"(EngineCore_DP0 pid=7) INFO 11-20 10:00:00 [core.py:93] Initializing a V1 LLM engine (v0.12.0) with config: model='{WORDS[1]}', "
        f"tensor_parallel_size={tp}, pipeline_parallel_size={pp}, data_parallel_size=1")
    for rank in range(tp * pp):
        name = "_".join(["Worker"] + ([f"PP{rank // tp}"] if pp > 1 else []) + ([f"TP{rank % tp}"] if tp > 1 else []))
        say(f"({name} pid={11 + rank}) INFO 11-20 10:00:41 [gpu_model_runner.py:3259] Model loading took {POOL['weights_gib'][rank]:.4f} "
            "GiB memory and 3.2 seconds")
        say(f"({name} pid={11 + rank}) INFO 11-20 10:01:01 [gpu_worker.py:359] Available KV cache memory: {POOL['cache_gib'][rank]:.2f} GiB")
    say(f"(EngineCore_DP0 pid=7) INFO 11-20 10:01:04 [kv_cache_utils.py:1229] GPU KV cache size: {POOL['tokens']:,} tokens")
    say(f"(EngineCore_DP0 pid=7) INFO 11-20 10:01:04 [kv_cache_utils.py:1234] Maximum concurrency for {ctx:,} tokens per request: "
        f"{POOL['tokens'] / ctx:.2f}x")


def sglang():
    ctx, tp, pp = int(value("--context-length")), int(value("--tp-size")), int(value("--pp-size"))
    say(f"[2026-07-15 16:37:00] server_args=ServerArgs(model_path='{value('--model-path')}', tp_size={tp}, pp_size={pp})")
    for rank in range(tp * pp):
        name = " ".join([""] + ([f"PP{rank // tp}"] if pp > 1 else []) + ([f"TP{rank % tp}"] if tp > 1 else []))
        half = POOL["cache_gib"][rank] / 2
        say(f"[2026-07-15 16:37:06{name}] Load weight end. elapsed=0.45 s, type=LlamaForCausalLM, dtype=torch.bfloat16, avail mem=3.48 GB, "
            f"mem usage={POOL['weights_gib'][rank]:.2f} GB.")
        say(f"[2026-07-15 16:37:07{name}] KV Cache is allocated. #tokens: {POOL['tokens']}, K size: {half:.2f} GB, V size: {half:.2f} GB")
    say(f"[2026-07-15 16:37:08] max_total_num_tokens={POOL['tokens']}, chunked_prefill_size=2048, max_prefill_tokens=16384, "
        f"max_running_requests=48, context_len={ctx}, available_gpu_mem=1.27 GB")


class Health(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


def main():
    if WORDS[:1] in (["--version"], ["version"]):
        print({"vllm": "0.12.0", "sglang": "0.5.6"}[NAME])
        return
    if any(word.startswith("--help") for word in WORDS):
        print("options:\n" + "\n".join(f"  {flag} VALUE" for flag in FLAGS))
        return
    {"vllm": vllm, "sglang": sglang}[NAME]()
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    server = http.server.ThreadingHTTPServer((value("--host"), int(value("--port"))), Health)
    say("INFO:     Application startup complete.")
    say("[2026-07-15 16:37:30] The server is fired up and ready to roll!")
    server.serve_forever()


main()
