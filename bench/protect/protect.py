#!/usr/bin/env python3
"""How much of its speed a real engine keeps beside our busiest work.

usage: protect.py LOAD_PROGRAM ENGINE MODEL [--threads N] [--rounds N]

Starts a real llama-server on the CPU with N threads (all cores), lets it decode alone and beside each kind of load in turns, and
prints one JSON line a kind: tokens/s kept, as part of what it does alone (medians of the rounds).
"""
import argparse
import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import time
import urllib.request

KINDS = ("ours", "background", "threads")
NAMES = {"ours": "engine speed kept beside NORMAL and BACKGROUND saturated",
         "background": "engine speed kept beside BACKGROUND saturated",
         "threads": "engine speed kept beside a default thread pool (the peers' way)"}


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def ask(port, path, body=None, timeout=120):
    data = json.dumps(body).encode() if body else None
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", data,
                                     {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=timeout) as answer:
        return json.load(answer)


def wait_ready(port, engine):
    while True:
        try:
            ask(port, "/health", timeout=2)
            return
        except OSError:
            if engine.poll() is not None:
                sys.exit(f"protect: the engine ended with {engine.returncode}")
            time.sleep(0.05)


def tokens_per_second(port, seconds):
    """Tokens that a stream brings within a time: beside some loads a given number of them would take minutes."""
    body = {"prompt": "layers and cards", "n_predict": 4000, "ignore_eos": True, "cache_prompt": False,
            "temperature": 0, "stream": True}
    request = urllib.request.Request(f"http://127.0.0.1:{port}/completion", json.dumps(body).encode(),
                                     {"Content-Type": "application/json"})
    count, first, last = 0, None, None
    with urllib.request.urlopen(request, timeout=120) as answer:
        for line in answer:
            if line.startswith(b"data: "):
                last = time.monotonic()
                first = first or last
                count += 1
                if last - first > seconds:
                    break
    return (count - 1) / (last - first)


def beside(load, pid, kind, measure):
    program = subprocess.Popen([load, str(pid), kind], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    time.sleep(0.5)  # its controller looks at the engine a few times first
    value = measure()
    rate, _ = program.communicate()
    return value, float(rate)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("load")
    parser.add_argument("engine")
    parser.add_argument("model")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=2.0)
    options = parser.parse_args()
    port = free_port()
    engine = subprocess.Popen([options.engine, "-m", options.model, "--port", str(port), "-t", str(options.threads),
                               "-np", "1", "-c", "4096", "--no-warmup", "-dev", "none"],
                              stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_ready(port, engine)
        tokens_per_second(port, 0.2)  # warm
        alone, kept, rates = [], {kind: [] for kind in KINDS}, {kind: [] for kind in KINDS}
        for _ in range(options.rounds):
            for kind in KINDS:
                before = tokens_per_second(port, options.seconds)
                value, rate = beside(options.load, engine.pid, kind, lambda: tokens_per_second(port, options.seconds))
                after = tokens_per_second(port, options.seconds)
                alone += [before, after]
                kept[kind].append(value / ((before + after) / 2))
                rates[kind].append(rate)
        for kind in KINDS:
            print(json.dumps({"name": NAMES[kind], "unit": "ratio", "ours": round(statistics.median(kept[kind]), 3),
                              "least": round(min(kept[kind]), 3), "most": round(max(kept[kind]), 3),
                              "jobs_per_second": round(statistics.median(rates[kind]), 1),
                              "engine_tokens_per_second_alone": round(statistics.median(alone), 1),
                              "engine_threads": options.threads}), flush=True)
    finally:
        engine.send_signal(signal.SIGTERM)
        try:
            engine.wait(5)
        except subprocess.TimeoutExpired:
            engine.kill()


main()
