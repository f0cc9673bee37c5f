#!/usr/bin/env python3
"""Every architecture that the engine knows: estimates against what the engine allocates, on two pretend cards.

`test-llama-archs` of the engine writes a small model of each; `llama-bench` loads them one after the other in one process.
DGO_ARCHS=all runs every row of settings, else the first two."""
import atexit
import functools
import os
import shutil
import subprocess

from books import Refused, benchmark, differences, estimate
from e2e import BUILD, RTX_3060, RTX_3090, Machine, Skip, cases, check, engine, main

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


if __name__ == "__main__":
    main()
