#!/usr/bin/env python3
"""How much of its speed a real engine keeps beside our busiest work, and beside the thread pools of others.

usage: protect.py LOAD_PROGRAM ENGINE MODEL [--threads N] [--rounds N] [--peer-rounds N] [--seconds S] [--quota CPUS]
                  [--minutes M] [--any-round] [--kinds NAME…]

Starts a real llama-server on the CPU with N threads (all cores) and lets it decode alone and beside each kind of load in turns:
alone, ours, alone, background, alone, ... Each value beside a load is compared with the mean of the two alone around it, so slow
changes of the machine cancel. Tokens count from half a second after the first one: the manager cannot know of a stream before it begins
(`onset` is what is kept of that half second). Every window notes how much of the CPUs others used; pairs with a noisy window are thrown away and
measured again, until there are enough or the minutes are over (then what there is counts, and `quiet_rounds` says so).
Prints one JSON line a kind: the median of the pairs, its 95 % interval (bootstrap), the least and the most.
With --quota engine and load share a cgroup that gives them so many CPUs (needs the right to make one; else it is skipped). A quota
is given out every 100 ms: a window is as long as 40 of these, so its ends weigh little.
"""
import argparse
import json
import os
import random
import signal
import socket
import statistics
import subprocess
import sys
import time
import urllib.request

NAMES = {"ours": "engine speed kept beside NORMAL and BACKGROUND saturated",
         "background": "engine speed kept beside BACKGROUND saturated",
         "threads": "engine speed kept beside a default thread pool (the peers' way)",
         "glib": "engine speed kept beside GThreadPool as it comes",
         "libuv": "engine speed kept beside libuv's pool as it comes",
         "tbb": "engine speed kept beside oneTBB's arena as it comes"}
OWN = ("ours", "background")

ONSET_S = 0.5  # in which the manager notices that the engine works
FOREIGN_PART = 0.05  # of all CPUs, by others, in a window that still counts as quiet


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
                self.go_first()
                return
            except OSError:
                os.rmdir(folder)
        raise OSError("no cgroup with a CPU limit can be made here")

    def go_first(self):
        """Before other groups: the nice value of a shell does not reach into a group of its own."""
        for name, value in (("cpu.shares", 262144), ("cpu.weight", 10000)):
            try:
                with open(f"{self.folder}/{name}", "w", encoding="ascii") as file:
                    file.write(str(value))
            except OSError:
                pass  # of the other version

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
    """What a stream brings within a time, after its onset and during it: beside some loads a given number of tokens would take minutes."""
    body = {"prompt": "layers and cards", "n_predict": 4000, "ignore_eos": True, "cache_prompt": False,
            "temperature": 0, "stream": True}
    request = urllib.request.Request(f"http://127.0.0.1:{port}/completion", json.dumps(body).encode(),
                                     {"Content-Type": "application/json"})
    times = []
    with urllib.request.urlopen(request, timeout=120) as answer:
        for line in answer:
            if line.startswith(b"data: "):
                times.append(time.monotonic())
                if times[-1] - times[0] > ONSET_S + seconds:
                    break
    onset = sum(at - times[0] < ONSET_S for at in times)
    settled = times[onset:]
    return (len(settled) - 1) / (settled[-1] - settled[0]), onset / ONSET_S


class Window:
    """Tokens a second over a while, and the part of all CPUs that others used meanwhile."""

    def __init__(self, port, pids, seconds):
        start, busy, used = time.monotonic(), busy_seconds(), used_seconds(pids)
        self.rate, self.onset_rate = tokens_per_second(port, seconds)
        foreign = (busy_seconds() - busy) - (used_seconds(pids) - used)
        self.foreign = foreign / (time.monotonic() - start) / os.cpu_count()

    def is_quiet(self):
        return self.foreign < FOREIGN_PART


def beside(options, port, engine, kind, join):
    load = subprocess.Popen([options.load, str(engine.pid), kind], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                            preexec_fn=join)
    time.sleep(0.5)  # its controller looks at the engine a few times first
    window = Window(port, [engine.pid, load.pid], options.seconds)
    jobs, _ = load.communicate()
    time.sleep(0.2)  # a quota that was overdrawn is paid back
    return window, float(jobs)


class Kind:
    def __init__(self, name, wanted):
        self.name, self.wanted = name, wanted
        self.pairs = []  # kept, jobs a second, whether all three windows were quiet, kept of the onset

    def quiet(self):
        return [pair for pair in self.pairs if pair[2]]

    def is_enough(self, any_round):
        return len(self.pairs if any_round else self.quiet()) >= self.wanted

    def counted(self):
        """The quiet pairs; where there are not three of them, all, which quiet_rounds shows."""
        return self.quiet() if len(self.quiet()) >= min(3, self.wanted) else self.pairs


def interval(values):
    """95 % of the medians of as many values drawn from these."""
    draw = random.Random(1)
    medians = sorted(statistics.median(draw.choices(values, k=len(values))) for _ in range(2000))
    return medians[50], medians[-51]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("load")
    parser.add_argument("engine")
    parser.add_argument("model")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--rounds", type=int, default=9, help="pairs for each kind of our own load")
    parser.add_argument("--peer-rounds", type=int, default=3, help="pairs for each peer: what they cost is no close matter")
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--minutes", type=float, default=4.0, help="no new pair after it")
    parser.add_argument("--quota", type=float)
    parser.add_argument("--kinds", nargs="+", choices=NAMES, help="only these loads; default: all that are there")
    parser.add_argument("--any-round", action="store_true", help="keep noisy rounds, for runs at a better nice value than all others")
    options = parser.parse_args()
    try:
        quota = Quota(options.quota) if options.quota else None
    except OSError as error:
        print(f"protect: skipped under a quota: {error}", file=sys.stderr)
        return
    join = quota.join if quota else None
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # nothing is left behind
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
    peers = subprocess.run([options.load, "peers", "kinds"], check=True, stdout=subprocess.PIPE, text=True).stdout.split()
    kinds = [Kind(name, options.rounds if name in OWN else options.peer_rounds) for name in (*OWN, "threads", *peers)
             if not options.kinds or name in options.kinds]
    end = time.monotonic() + 60 * options.minutes
    tokens_per_second(port, 0.5)  # warm
    alone = [Window(port, [engine.pid], options.seconds)]
    while time.monotonic() < end and not all(kind.is_enough(options.any_round) for kind in kinds):
        # Who is furthest from enough comes first.
        for kind in sorted(kinds, key=lambda kind: len(kind.pairs) / kind.wanted):
            if kind.is_enough(options.any_round) or (time.monotonic() > end and kind.pairs):
                continue
            window, jobs = beside(options, port, engine, kind.name, join)
            alone.append(Window(port, [engine.pid], options.seconds))
            around = [statistics.mean(rates) for rates in zip(*((one.rate, one.onset_rate) for one in alone[-2:]))]
            kind.pairs.append((window.rate / around[0], jobs, all(one.is_quiet() for one in (window, *alone[-2:])),
                               window.onset_rate / around[1]))
    for kind in kinds:
        if not kind.pairs:
            continue
        kept = [pair[0] for pair in kind.counted()]
        ours, (low, high) = statistics.median(kept), interval(kept)
        name = NAMES[kind.name] + (f", quota of {options.quota:g} CPU" if options.quota else "")
        print(json.dumps({"name": name, "unit": "ratio", "ours": round(ours, 3), "peer": 0.97, "peer_name": "goal",
                          "ratio": round(ours / 0.97, 3), "low": round(low, 3), "high": round(high, 3),
                          "least": round(min(kept), 3), "most": round(max(kept), 3), "rounds": len(kept),
                          "quiet_rounds": len(kind.quiet()), "onset": round(statistics.median(pair[3] for pair in kind.counted()), 3),
                          "jobs_per_second": round(statistics.median(pair[1] for pair in kind.pairs), 1),
                          "engine_tokens_per_second_alone": round(statistics.median(window.rate for window in alone), 1),
                          "engine_threads": options.threads}), flush=True)


main()
