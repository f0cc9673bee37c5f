#!/usr/bin/env python3
"""What watching two cards once a second costs, us and other monitors in one run.

usage: telemetry.py BUILD [SECONDS]

Starts, all at the same time and against the fake driver library of the tests with two busy cards: `dualgpuopt profile record`
(the sampler alone), `dualgpuopt serve` (the daemon with nobody looking), a fork a second as scripts around nvidia-smi do (our
own `gpus --json`), and every monitor that is installed: Performance Co-Pilot with its NVIDIA agent, once in one process (pmlogger -o)
and once as it is set up by its package (pmcd, pmdanvidia and pmlogger, added up; loopback), nvtop, nvitop, gpustat. Prints the share
of a core, the resident memory and the wakes a second of each after a warm-up, one JSON line a figure. What a peer wrote is read back: one
that did not see the cards is not measured. The fake library's own time is in all of them alike; the real one's is in none.
"""
import getpass
import json
import os
import pathlib
import pty
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

HERE = pathlib.Path(__file__).resolve().parent
WARM_UP_S = 3
TICK = os.sysconf("SC_CLK_TCK")
MONITORS = {"nvtop": ["nvtop", "-d", "10"], "nvitop": ["nvitop", "-m", "full", "--interval", "1"], "gpustat": ["gpustat", "-i", "1"]}
# Why those of Debian 12 that watch GPUs are no peers (looked up in the packages named).
NO_PEERS = """glances 3.3.1: its GPU plugin imports py3nvml, which Debian does not carry
collectd-core 5.12.0: built without gpu_nvidia.so
mangohud 0.6.8: reads NVML inside a program that draws on an NVIDIA device by OpenGL or Vulkan, and there is none here"""
PCP_AGENTS = pathlib.Path("/var/lib/pcp/pmdas")
PCP_METRICS = ("numcards temperature fanspeed perfstate gpuactive memactive memused memtotal memfree power "
               "proc.all.memused proc.all.running").split()
CARD_USED = str((20000 + 450) << 20)  # of the first card in two-cards.txt, as the driver's older call counts it


def family(pid):
    """The process and its living children, themselves included."""
    pids = [pid]
    for task in pathlib.Path(f"/proc/{pid}/task").glob("*/children"):
        for child in task.read_text().split():
            pids += family(int(child))
    return pids


def cpu_s(pid):
    """Of the process and its children that ended."""
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(int(field) for field in fields[11:15]) / TICK


def status_sum(pid, key):
    """A line of /proc/PID/status, over the threads where it is counted by thread."""
    files = pathlib.Path(f"/proc/{pid}/task").glob("*/status") if "ctxt" in key else [pathlib.Path(f"/proc/{pid}/status")]
    return sum(int(line.split()[1]) for file in files for line in file.read_text().splitlines() if line.startswith(key + ":"))


def counts(pid):
    return cpu_s(pid), status_sum(pid, "voluntary_ctxt_switches")


class Watched:
    """Processes that together are one monitor."""

    def __init__(self, *processes, read_back=lambda: True, of_pid=lambda pid: [pid]):
        self.processes = processes
        self.read_back = read_back
        self.of_pid = of_pid

    def ended(self):
        return [process.returncode for process in self.processes if process.poll() is not None]

    def start(self):
        self.since = time.monotonic()
        self.before = {pid: counts(pid) for process in self.processes for pid in self.of_pid(process.pid)}

    def figures(self):
        """A child that ended meanwhile (a preprocessor at the start) is left out; its CPU is its parent's."""
        elapsed = time.monotonic() - self.since
        now = {pid: counts(pid) for pid in self.before if pathlib.Path(f"/proc/{pid}").exists()}
        cpu, wakes = (sum(now[pid][i] - self.before[pid][i] for pid in now) for i in (0, 1))
        return [("", "% of a core", 100 * cpu / elapsed, 3),
                (", resident", "MiB", sum(status_sum(pid, "VmRSS") for pid in now) / 1024, 1),
                (", wakes", "1/s", wakes / elapsed, 1)]

    def end(self):
        for process in self.processes:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
        for process in self.processes:
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


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


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def start_pcp(folder, env, quiet):
    """Performance Co-Pilot twice: its agent inside pmlogger, and behind pmcd; {} where it is not installed."""
    pmcd, agent = pathlib.Path("/usr/lib/pcp/bin/pmcd"), PCP_AGENTS / "nvidia/pmda_nvidia.so"
    if not (pmcd.exists() and agent.exists() and shutil.which("pmlogger")):
        print("bench: no Performance Co-Pilot here (package pcp): not measured", file=sys.stderr)
        return {}
    names = folder / "names"
    names.write_text("root { nvidia }\n" + (PCP_AGENTS / "nvidia/pmns").read_text().replace("NVML", "120"))
    wanted = folder / "pmlogger.conf"
    wanted.write_text("log mandatory on 1 sec { " + " ".join(f"nvidia.{name}" for name in PCP_METRICS) + " }\n")
    agents = folder / "pmcd.conf"
    agents.write_text(f"pmcd 2 dso pmcd_init {PCP_AGENTS}/pmcd/pmda_pmcd.so\n"
                      f"nvidia 120 pipe binary {PCP_AGENTS}/nvidia/pmdanvidia -d 120 -l {folder}/agent.log\n")
    user, port = getpass.getuser(), free_port()

    def logger(archive, *source):
        return subprocess.Popen(["pmlogger", *source, "-n", names, "-c", wanted, "-l", folder / f"{archive}.log", "-U", user,
                                 folder / archive], **quiet)

    def saw(archive):
        told = subprocess.run(["pmval", "-a", folder / archive, "-n", names, "nvidia.memused"], capture_output=True,
                              text=True, env=env)
        return CARD_USED in told.stdout

    alone = logger("alone", "-o", "-K", "clear", "-K", f"add,120,{agent},nvidia_init")
    server = subprocess.Popen([pmcd, "-f", "-A", "-U", user, "-i", "127.0.0.1", "-p", str(port), "-s", folder / "pmcd.sock", "-c",
                               agents, "-l", folder / "pmcd.log", "-n", names], **quiet)
    for _ in range(600):
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            break
        except OSError:
            time.sleep(0.1)
    behind = logger("behind", "-h", f"127.0.0.1:{port}")
    return {"PCP, pmlogger with the agent inside": Watched(alone, read_back=lambda: saw("alone")),
            "PCP, pmcd with pmdanvidia and pmlogger": Watched(behind, server, read_back=lambda: saw("behind"), of_pid=family)}


def tell(name, watched):
    ended = watched.ended()
    if ended:
        print(f"bench: {name} ended by itself with {ended[0]}", file=sys.stderr)
        return
    figures = watched.figures()
    if not watched.read_back():
        print(f"bench: {name} did not see the cards: not measured", file=sys.stderr)
        return
    for what, unit, value, digits in figures:
        print(json.dumps({"name": f"two cards at 1 Hz: {name}{what}", "unit": unit, "ours": round(value, digits)}))


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
    started = {}
    try:
        started["sampler (profile record)"] = Watched(
            subprocess.Popen([program, "profile", "record", "-o", folder / "machine.jsonl"], **quiet))
        started["daemon (serve)"] = Watched(subprocess.Popen([program, "serve", "--listen", "127.0.0.1:0"], **quiet))
        started["a fork a second (gpus --json)"] = Watched(subprocess.Popen(
            ["sh", "-c", f"while :; do '{program}' gpus --json >/dev/null; sleep 1; done"], start_new_session=True, **quiet))
        started.update(start_pcp(folder, env, quiet))
        for name, command in MONITORS.items():
            if shutil.which(command[0]):
                started[name] = Watched(in_terminal(command, env))
            else:
                print(f"bench: no {name} here: not measured", file=sys.stderr)
        for line in NO_PEERS.splitlines():
            print(f"bench: no peer: {line}", file=sys.stderr)
        time.sleep(WARM_UP_S)
        for watched in started.values():
            if not watched.ended():
                watched.start()
        time.sleep(seconds)
        for name, watched in started.items():
            tell(name, watched)
    finally:
        for watched in started.values():
            watched.end()
        shutil.rmtree(folder, ignore_errors=True)


main()
