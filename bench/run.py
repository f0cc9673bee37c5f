#!/usr/bin/env python3
"""Measures, peers beside us in the same run, one JSON line a figure.

usage: run.py BUILD [NAME...]        BUILD: a release build (./dev bench makes one)

Names: accuracy, serve, plan, header, token, and every program that the build put into bench/ (place, whole, resource, bus).  Without names all of them.  Runs of
us and of the peer alternate; each figure is the median.  A line is
{"name", "unit", "ours", "peer", "peer_name", "ratio"}: ratio > 1 where we are better.  Keep what you learn in
docs/MEASUREMENTS.md, with date and versions.
"""
import json
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
ENGINE = ROOT / ".engine"
MODELS = ROOT / ".models"
REPEATS = 11


def sparse_model(spec):
    path = MODELS / f"{spec}-sparse.gguf"
    if not path.exists():
        MODELS.mkdir(exist_ok=True)
        subprocess.run([sys.executable, ROOT / "tools/make-model.py", spec, path, "--sparse"],
                       check=True, stdout=subprocess.DEVNULL)
    return path


def run_once(command, environment=None):
    """Wall time in ms and peak memory in MiB of a whole process; its exit status is the caller's to judge."""
    start = time.perf_counter()
    pid = os.posix_spawn(command[0], [str(word) for word in command],
                         environment or dict(os.environ),
                         file_actions=[(os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
                                       (os.POSIX_SPAWN_OPEN, 1, "/dev/null", os.O_WRONLY, 0),
                                       (os.POSIX_SPAWN_OPEN, 2, "/dev/null", os.O_WRONLY, 0)])
    _, status, usage = os.wait4(pid, 0)
    return (time.perf_counter() - start) * 1e3, usage.ru_maxrss / 1024, os.waitstatus_to_exitcode(status)


def alternate(ours, peer, peer_environment=None):
    """Medians of both, run in turns after one warm-up each."""
    rows = {"ours": [], "peer": []}
    for turn in range(REPEATS + 1):
        for who, command, environment in (("ours", ours, None), ("peer", peer, peer_environment)):
            if command is None:
                continue
            wall, rss, status = run_once(command, environment)
            if status not in (0, 3):
                sys.exit(f"bench: {' '.join(map(str, command))} ended with {status}")
            if turn:
                rows[who].append((wall, rss))
    return {who: tuple(statistics.median(column) for column in zip(*values)) if values else None
            for who, values in rows.items()}


def report(name, unit, ours, peer, peer_name):
    line = {"name": name, "unit": unit, "ours": round(ours, 3)}
    if peer is not None:
        line.update(peer=round(peer, 3), peer_name=peer_name, ratio=round(peer / ours, 2))
    print(json.dumps(line), flush=True)


def peer_engine():
    """llama-fit-params under pretend cards like those of the machine file, or nothing."""
    program = ENGINE / "bin" / "llama-fit-params"
    if not program.exists():
        print("bench: no .engine/bin/llama-fit-params (tools/get-engine.sh .engine): no peer",
              file=sys.stderr)
        return None, None
    backend = ROOT / "build-release" / "libpretend-gpu.so"
    subprocess.run([ROOT / "tools/pretend-gpu/build.sh", ENGINE / "include", backend], check=True)
    cards = ",".join(f"CUDA{i}|NVIDIA H200|143771|143000" for i in range(4))
    return program, dict(os.environ, GGML_BACKEND_PATH=str(backend), PRETEND_GPUS=cards)


def bench_plan(program):
    """`plan` as a whole process for a 671 B model, beside the engine's own fit on the same file."""
    model = sparse_model("deepseek-v3")
    fit, environment = peer_engine()
    machine = MODELS / "four-h200.yaml"
    machine.write_text("gpus:\n" + "  - {name: NVIDIA H200, total_mib: 143771, free_mib: 143000}\n" * 4 +
                       "host: {total_mib: 1048576, free_mib: 1000000}\n")
    peer = [fit, "-m", model, "-c", "8192"] if fit else None
    medians = alternate([program, "plan", model, "--gpus", machine, "--ctx", "8192",
                         "--engine-build", "11669", "--json"], peer, environment)
    peer_wall, peer_rss = medians["peer"] or (None, None)
    report("plan of deepseek-v3 (671 B), whole process", "ms", medians["ours"][0], peer_wall,
           "llama-fit-params")
    report("plan of deepseek-v3 (671 B), peak memory", "MiB", medians["ours"][1], peer_rss,
           "llama-fit-params")


def bench_header(program):
    """`inspect`: the header of a model with a vocabulary of 150 000 tokens.  The peer reads the same
    header, and sizes the model."""
    model = sparse_model("qwen3-32b")
    fit, environment = peer_engine()
    medians = alternate([program, "inspect", model, "--json"],
                        [fit, "-m", model, "-c", "8192", "--fit-print", "on"] if fit else None,
                        environment)
    peer_wall, peer_rss = medians["peer"] or (None, None)
    report("header with 151936 tokens, whole process", "ms", medians["ours"][0], peer_wall,
           "llama-fit-params --fit-print")
    report("header with 151936 tokens, peak memory", "MiB", medians["ours"][1], peer_rss,
           "llama-fit-params --fit-print")


def bench_protect(program):
    """A real engine decoding on all cores, on one of them, and under a quota of one, beside our busiest work."""
    if not (ENGINE / "bin" / "llama-server").exists():
        print("bench: no .engine/bin/llama-server (tools/get-engine.sh .engine)", file=sys.stderr)
        return
    model = MODELS / "tiny-llama.gguf"
    if not model.exists():
        MODELS.mkdir(exist_ok=True)
        subprocess.run([sys.executable, ROOT / "tools/make-model.py", "tiny-llama", model],
                       check=True, stdout=subprocess.DEVNULL)
    all_cores = os.cpu_count() or 1
    for arguments in (["--threads", str(all_cores)], ["--threads", "1"], ["--threads", "1", "--quota", "1"]):
        if arguments == ["--threads", "1"] and all_cores == 1:
            continue
        subprocess.run([sys.executable, ROOT / "bench/protect/protect.py",
                        program.parent / "bench/protect/bench_load", ENGINE / "bin/llama-server", model,
                        *arguments], check=True)


def bench_telemetry(program):
    """Watching two cards once a second, beside other monitors."""
    subprocess.run([sys.executable, ROOT / "bench/telemetry/telemetry.py", program.parent], check=True)


def bench_serve(program):
    """The daemon: requests, a thousand event clients, idle cost, tokens through the front beside nginx."""
    if not (ENGINE / "bin" / "llama-server").exists() or not shutil.which("wrk"):
        print("bench: no .engine/bin/llama-server or no wrk", file=sys.stderr)
        return
    sys.path.insert(0, str(ROOT / "bench/serve"))
    import serve
    serve.bench(program.parent.resolve())


def bench_token(program):
    """All tokens of the sources and documents of this tree, whole processes: ours counts lines in parallel and analyses them,
    the peer tokenizes the file in one piece and prints its tokens."""
    peer = ENGINE / "bin" / "llama-tokenize"
    MODELS.mkdir(exist_ok=True)
    text = MODELS / "sources.txt"
    names = subprocess.run(["git", "ls-files", "*.c", "*.h", "*.py", "*.md"], cwd=ROOT, check=True, capture_output=True,
                           text=True).stdout.split()
    text.write_bytes(b"".join((ROOT / name).read_bytes() for name in names))
    for kind, pre in (("gpt2", "qwen2"), ("gpt2", "llama-bpe"), ("gpt2", "deepseek-v3"), ("llama", "-"), ("t5", "-")):
        vocabulary = MODELS / f"vocabulary-{kind}-{pre}.gguf"
        if not vocabulary.exists():
            subprocess.run([sys.executable, ROOT / "tools/make-vocab.py", kind, pre, vocabulary], check=True)
        medians = alternate([program, "batch", text, "--model", vocabulary, "--json"],
                            [peer, "-m", vocabulary, "-f", text, "--ids", "--no-escape", "--log-disable"]
                            if peer.exists() else None)
        name = f"{kind}/{pre}".removesuffix("/-")
        peer_wall, peer_rss = medians["peer"] or (None, None)
        report(f"tokens of {text.stat().st_size / 1e6:.1f} MB, {name}", "ms", medians["ours"][0], peer_wall, "llama-tokenize")
        report(f"tokens of {text.stat().st_size / 1e6:.1f} MB, {name}, peak memory", "MiB", medians["ours"][1], peer_rss,
               "llama-tokenize")


def bench_accuracy(program):
    """Estimates against the engine's own figures: full-size models by its dry run, every architecture by loading."""
    if peer_engine()[0] is None:
        return
    sys.path.insert(0, str(ROOT / "bench"))
    import accuracy
    accuracy.bench(program.resolve(), ENGINE, sparse_model)


OWN = {"token": bench_token, "plan": bench_plan, "header": bench_header, "protect": bench_protect, "telemetry": bench_telemetry, "serve": bench_serve,
       "accuracy": bench_accuracy}


def main():
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    build, names = pathlib.Path(sys.argv[1]), sys.argv[2:]
    programs = {path.name.removeprefix("bench_"): path for path in sorted(build.glob("bench/**/bench_*"))
                if path.is_file() and os.access(path, os.X_OK) and path.name != "bench_load"}
    for name in names or [*OWN, *programs]:
        if name in OWN:
            OWN[name](build / "dualgpuopt")
        elif name in programs:
            subprocess.run([programs[name]], check=True)
        else:
            sys.exit(f"bench: there is no '{name}'; names: {', '.join([*OWN, *programs])}")


main()
