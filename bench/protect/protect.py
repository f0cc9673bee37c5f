#!/usr/bin/env python3
"""How much of its speed a real engine keeps beside our busiest work.

usage: protect.py LOAD_PROGRAM ENGINE MODEL [--threads N] [--rounds N] [--quota CPUS] [--any-round]

Starts a real llama-server on the CPU with N threads (all cores), lets it decode alone and beside each kind of load in turns, and
prints one JSON line a kind: tokens/s kept, as part of what it does alone (medians of the rounds). A round beside which other
programs used the CPUs is thrown away and run again, up to three times as many; `quiet_rounds` says how many were left.
With --quota engine and load share a cgroup that gives them so many CPUs (needs the right to make one; else it is skipped).
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


FOREIGN_PART = 0.08  # of all CPUs, by others, that still counts as quiet
TRIES = 3


class Quota:
    """A cgroup with a limit on CPU time, version 1 or 2; processes join it before they are executed."""

    def __init__(self, cpus):
        self.folder = None
        period = 100000
        for base, settings in (("/sys/fs/cgroup/cpu", {"cpu.cfs_period_us": period, "cpu.cfs_quota_us": int(cpus * period)}),
                               ("/sys/fs/cgroup", {"cpu.max": f"{int(cpus * period)} {period}"})):
            folder = f"{base}/dgo-bench-{os.getpid()}"
            try:
                os.mkdir(folder)
            except OSError:
                continue
            try:
                for name, value in settings.items():
                    with open(f"{folder}/{name}", "w", encoding="ascii") as file:
                        file.write(str(value))
                self.folder = folder
                return
            except OSError:
                os.rmdir(folder)
        raise OSError("no cgroup with a CPU limit can be made here")

    def join(self):
        with open(f"{self.folder}/cgroup.procs", "w", encoding="ascii") as file:
            file.write("0")

    def remove(self):
        for _ in range(50):
            try:
                os.rmdir(self.folder)
                return
            except OSError:
                time.sleep(0.1)


def busy_seconds():
    with open("/proc/stat", encoding="ascii") as file:
        fields = [int(word) for word in file.readline().split()[1:9]]
    return (sum(fields) - fields[3] - fields[4]) / os.sysconf("SC_CLK_TCK")


def used_seconds(pids):
    """CPU time of our own: this process, what it has waited for, and those that run."""
    total = sum(os.times()[:4])
    for pid in pids:
        with open(f"/proc/{pid}/stat", encoding="ascii") as file:
            fields = file.read().rsplit(")", 1)[1].split()
        total += (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return total


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


def beside(load, pid, kind, measure, join):
    program = subprocess.Popen([load, str(pid), kind], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                               preexec_fn=join)
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
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--quota", type=float)
    parser.add_argument("--any-round", action="store_true", help="keep noisy rounds, for runs at a better nice value than all others")
    options = parser.parse_args()
    try:
        quota = Quota(options.quota) if options.quota else None
    except OSError as error:
        print(f"protect: skipped under a quota: {error}", file=sys.stderr)
        return
    join = quota.join if quota else None
    port = free_port()
    engine = subprocess.Popen([options.engine, "-m", options.model, "--port", str(port), "-t", str(options.threads),
                               "-np", "1", "-c", "4096", "--no-warmup", "-dev", "none"],
                              stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                              preexec_fn=join)
    try:
        wait_ready(port, engine)
        measure(options, port, engine, join)
    finally:
        engine.send_signal(signal.SIGTERM)
        try:
            engine.wait(5)
        except subprocess.TimeoutExpired:
            engine.kill()
            engine.wait()
        if quota:
            quota.remove()


def measure(options, port, engine, join):
    tokens_per_second(port, 0.2)  # warm
    alone, kept, rates = [], {kind: [] for kind in KINDS}, {kind: [] for kind in KINDS}
    quiet, runs = {kind: 0 for kind in KINDS}, 0
    while min(len(values) for values in kept.values()) < options.rounds:
        runs += 1
        for kind in KINDS:
            if len(kept[kind]) >= options.rounds:
                continue
            start, busy, used = time.monotonic(), busy_seconds(), used_seconds([engine.pid])
            before = tokens_per_second(port, options.seconds)
            value, rate = beside(options.load, engine.pid, kind, lambda: tokens_per_second(port, options.seconds), join)
            after = tokens_per_second(port, options.seconds)
            foreign = (busy_seconds() - busy) - (used_seconds([engine.pid]) - used)
            is_quiet = foreign < (time.monotonic() - start) * os.cpu_count() * FOREIGN_PART
            if not is_quiet and not options.any_round and runs <= (TRIES - 1) * options.rounds:
                continue
            quiet[kind] += is_quiet
            alone += [before, after]
            kept[kind].append(value / ((before + after) / 2))
            rates[kind].append(rate)
    for kind in KINDS:
        name = NAMES[kind] + (f", quota of {options.quota:g} CPU" if options.quota else "")
        ours, least, most = statistics.median(kept[kind]), min(kept[kind]), max(kept[kind])
        print(json.dumps({"name": name, "unit": "ratio", "ours": round(ours, 3), "peer": 0.97, "peer_name": "goal",
                          "ratio": round(ours / 0.97, 3), "least": round(least, 3), "most": round(most, 3),
                          "quiet_rounds": quiet[kind], "jobs_per_second": round(statistics.median(rates[kind]), 1),
                          "engine_tokens_per_second_alone": round(statistics.median(alone), 1),
                          "engine_threads": options.threads}), flush=True)


main()
