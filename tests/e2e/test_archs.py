#!/usr/bin/env python3
"""Every architecture that the engine knows: estimates against what the engine allocates, on one and two pretend cards.

`test-llama-archs` of the engine writes a small model of each; `llama-bench` loads them one after the other in one process.
DGO_ARCHS=all runs every row of settings, else the first two."""
import atexit
import concurrent.futures
import functools
import os
import shutil
import subprocess

from books import Refused, benchmark, differences, estimate, new_books, note_line
from e2e import BUILD, ROOT, RTX_3060, RTX_3090, Machine, Skip, cases, check, engine, main

# Settings: llama-bench's flags, and the same for estimate.  llama-bench reserves logits for all its tokens, a server
# for one a slot, so the card of the output layer is compared without its compute buffer.
TOKENS = 300
SETTINGS = [
    ("two cards", ["-ngl", 99, "-ts", "2/1", "-fa", 1], ["-ts", "2,1"]),
    ("first layers on the CPU, packed cache", ["-ngl", 2, "-ctk", "q8_0", "-ctv", "q8_0", "-fa", 1],
     ["-ngl", "2", "-ctk", "q8_0", "-ctv", "q8_0"]),
    ("no flash attention", ["-ngl", 99, "-ts", "1/2", "-fa", 0], ["-ts", "1,2", "-fa", "off"]),
    ("cache in host memory", ["-ngl", 99, "-ts", "1/3", "-nkvo", 1, "-fa", 1], ["-ts", "1,3", "-nkvo"]),
    ("experts in host memory, one card", ["-ngl", 99, "-ncmoe", 1, "-sm", "none", "-fa", 1], ["-ncmoe", "1", "-sm", "none"]),
    ("packed cache", ["-ngl", 99, "-ts", "2/1", "-ctk", "q4_0", "-ctv", "q4_0", "-fa", 1],
     ["-ts", "2,1", "-ctk", "q4_0", "-ctv", "q4_0"]),
]
UNDER_MIB = 0.5
ARCHITECTURES_LEAST = 110  # of 131 today: fewer means that something is wrong with this test


@functools.cache
def models():
    """Written anew by each run and removed when it ends: a gigabyte."""
    folder = BUILD / f"e2e-archs.{os.getpid()}"
    writer = engine().parent / "test-llama-archs"
    if not writer.exists():
        raise Skip(f"no {writer}; tools/get-engine.sh .engine brings it")
    folder.mkdir()
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    subprocess.run([writer, "-o", folder], env={**os.environ, "GGML_NO_BACKTRACE": "1"}, stdin=subprocess.DEVNULL,
                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return folder


def compare(box, machine_file, path, engine_books, flags, complete):
    try:
        view, ours = estimate(box, machine_file, path, ["-c", "512", "-np", "1", *flags])
    except Refused as sentence:  # what the engine cannot do either is no difference
        return [] if not complete else [str(sentence)]
    wrong = differences(engine_books, ours) if complete else []
    for device in view["devices"]:
        seen, ours_mib = engine_books[device["name"]]["compute"], device["compute_bytes"] / (1 << 20)
        if complete and not device["holds_output"] and ours_mib < seen - UNDER_MIB:
            wrong.append(f"{device['name']} compute: engine {seen:.2f} MiB, estimate {ours_mib:.2f}: under")
    return wrong


def rows():
    return SETTINGS if os.environ.get("DGO_ARCHS") == "all" else SETTINGS[:2]


@cases(rows(), lambda row: f"every architecture, {row[0]}: weights and context to the byte, compute not under")
def every_architecture(box, row):
    _, bench_flags, own_flags = row
    folder = models()
    machine_file = box.use(Machine(RTX_3090, RTX_3060))
    paths = [path for path in sorted(folder.glob("*.gguf"))]
    books, aborted = benchmark(box, paths, bench_flags, TOKENS)
    wrong, compared = [], 0
    for path in paths:
        seen = books.get(str(path), {})
        # One that aborted is compared only if everything had been allocated by then.
        complete = any(device["compute"] for device in seen.values())
        compared += complete
        wrong += [f"{path.stem}: {sentence}" for sentence in compare(box, machine_file, path, seen, own_flags, complete)]
    check(compared >= ARCHITECTURES_LEAST, f"only {compared} of {len(paths)} architectures were compared")
    check(not wrong, "\n".join([f"{compared} architectures, {len(wrong)} figures are wrong:", *wrong]))
    names = ", ".join(os.path.basename(path).removesuffix(".gguf") for path in aborted)
    print(f"# {compared} of {len(paths)} architectures compared; the engine itself aborted on {names or 'none'}", flush=True)


# ---- replayed graphs, to the log's last digit ------------------------------------------------------------------------------

LOG_STEP_MIB = 0.011
GRAPHS = [
    ("one card", ["-c", "2048", "-np", "1"]),
    ("one card, three slots, no flash attention", ["-c", "2048", "-np", "3", "-fa", "off"]),
    ("one card, packed cache", ["-c", "4096", "-np", "2", "-kvu", "-ctk", "q8_0", "-ctv", "q8_0"]),
]
REPLAYED_LEAST = 99


def tabled():
    """Architectures whose graphs tests/plan/graphs_b11669.tsv holds, with real widths."""
    table = ROOT / "tests/plan/graphs_b11669.tsv"
    return {line.split("\t")[0] for line in table.read_text(encoding="utf-8").splitlines() if line[:1] not in ("", "#")}


def served(box, path, flags):
    """What a real server allocates before it opens its port."""
    command = [engine(), "-m", path, "-fit", "off", "--no-warmup", "--offline", "-lv", "4", "--no-log-prefix", "-t", "1", "--port", "0", *flags]
    server = subprocess.Popen([str(word) for word in command], env=box.env, cwd=box.folder, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, errors="replace")
    books = new_books()
    try:
        for line in server.stdout:
            note_line(books, line)
            if "reserve took" in line or "all slots are idle" in line:  # all is allocated; it would go on to compute
                break
    finally:
        server.kill()
        server.wait()
        server.stdout.close()
    return books


def compare_graph(box, machine_file, path, flags):
    """None where the estimate is no formula or the engine refuses; else what is wrong, if anything is."""
    try:
        device = estimate(box, machine_file, path, flags)[0]["devices"][0]
    except Refused:
        return None
    if device["compute_source"] != "formula":
        return None
    seen = served(box, path, flags)[device["name"]]["compute"]
    ours = device["compute_bytes"] / (1 << 20)
    if not seen:
        return None
    return "" if abs(ours - seen) <= LOG_STEP_MIB else f"{path.stem}: engine {seen:.2f} MiB, estimate {ours:.2f}"


@cases(GRAPHS if os.environ.get("DGO_ARCHS") == "all" else GRAPHS[:1], lambda row: f"replayed graphs, {row[0]}: compute is the engine's")
def replayed_graphs(box, row):
    machine_file = box.use(Machine(RTX_3090))
    known = set() if os.environ.get("DGO_ARCHS") == "all" else tabled()
    paths = [path for path in sorted(models().glob("*.gguf")) if path.stem.rsplit("-", 1)[0] not in known]
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        results = [result for result in pool.map(lambda path: compare_graph(box, machine_file, path, row[1]), paths) if result is not None]
    wrong = [sentence for sentence in results if sentence]
    check(not wrong, "\n".join([f"{len(results)} architectures, {len(wrong)} are wrong:", *wrong]))
    check(len(results) + len(known) >= REPLAYED_LEAST, f"only {len(results)} of {len(paths)} architectures have a formula")
    print(f"# {len(results)} architectures compared", flush=True)


if __name__ == "__main__":
    main()
