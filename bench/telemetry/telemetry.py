#!/usr/bin/env python3
"""What watching two cards once a second costs, us and other monitors in one run.

usage: telemetry.py BUILD [SECONDS]

Starts, all at the same time and against the fake driver library of the tests with two busy cards: `dualgpuopt profile record`
(the sampler alone), `dualgpuopt serve` (the daemon with nobody looking), a fork a second as scripts around nvidia-smi do (our
own `gpus --json`), and every monitor that is installed (nvtop, nvitop, gpustat). Prints the share of a core and the resident memory of each
after a warm-up, one JSON line a figure. The fake library's own time is in all of them alike; the real one's is in none.
"""
import json
import os
import pathlib
import pty
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time

HERE = pathlib.Path(__file__).resolve().parent
WARM_UP_S = 3
TICK = os.sysconf("SC_CLK_TCK")
MONITORS = {"nvtop": ["nvtop", "-d", "10"], "nvitop": ["nvitop", "-m", "full", "--interval", "1"], "gpustat": ["gpustat", "-i", "1"]}


def cpu_s(pid):
    """Of the process and its children that ended."""
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(int(field) for field in fields[11:15]) / TICK


def rss_mib(pid):
    for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    return 0.0


def in_terminal(command, env):
    """A monitor draws on a terminal, which somebody has to read."""
    master, slave = pty.openpty()
    process = subprocess.Popen(command, env=dict(env, TERM="xterm-256color"), stdin=slave, stdout=slave, stderr=slave,
                               start_new_session=True)
    os.close(slave)

    def drain():
        try:
            while os.read(master, 65536):
                pass
        except OSError:
            pass
    threading.Thread(target=drain, daemon=True).start()
    return process


def main():
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    build, seconds = pathlib.Path(sys.argv[1]).resolve(), float(sys.argv[2]) if len(sys.argv) > 2 else 30
    folder = pathlib.Path(tempfile.mkdtemp(prefix="dgo-bench-"))
    library = next(path for path in (build / "tests/gpu/libnvidia-ml.so.1", build / "bench/telemetry/libnvidia-ml.so.1")
                   if path.exists())
    program = build / "dualgpuopt"
    env = dict(os.environ, DUALGPUOPT_NVML=str(library), DUALGPUOPT_FAKE_NVML=str(HERE / "two-cards.txt"),
               XDG_STATE_HOME=str(folder / "state"), XDG_CONFIG_HOME=str(folder / "config"), XDG_RUNTIME_DIR=str(folder),
               LD_LIBRARY_PATH=str(library.parent))
    quiet = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "env": env}
    started = {
        "sampler (profile record)": subprocess.Popen([program, "profile", "record", "-o", folder / "machine.jsonl"], **quiet),
        "daemon (serve)": subprocess.Popen([program, "serve", "--listen", "127.0.0.1:0"], **quiet),
        "a fork a second (gpus --json)": subprocess.Popen(
            ["sh", "-c", f"while :; do '{program}' gpus --json >/dev/null; sleep 1; done"], start_new_session=True, **quiet),
    }
    for name, command in MONITORS.items():
        if shutil.which(command[0]):
            started[name] = in_terminal(command, env)
        else:
            print(f"bench: no {name} here: not measured", file=sys.stderr)
    try:
        time.sleep(WARM_UP_S)
        before = {name: cpu_s(process.pid) for name, process in started.items()}
        start = time.monotonic()
        time.sleep(seconds)
        elapsed = time.monotonic() - start
        for name, process in started.items():
            if process.poll() is not None:
                print(f"bench: {name} ended by itself with {process.returncode}", file=sys.stderr)
                continue
            share = 100 * (cpu_s(process.pid) - before[name]) / elapsed
            print(json.dumps({"name": f"two cards at 1 Hz: {name}", "unit": "% of a core", "ours": round(share, 3)}))
            print(json.dumps({"name": f"two cards at 1 Hz: {name}, resident", "unit": "MiB", "ours": round(rss_mib(process.pid), 1)}))
    finally:
        for process in started.values():
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
        for process in started.values():
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        shutil.rmtree(folder, ignore_errors=True)


main()
