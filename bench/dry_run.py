#!/usr/bin/env python3
"""The engine's dry run, as it stands and as `--ask-engine` corrects it, beside what llama-server allocates: compute, device by device.

    dry_run.py [--family NAME]... [--host] [--cards N]... [--seed N] [--off MIB] [--all]

Models of random shape (bench/hunt.py), sparse; pretend cards; -np 1 and 4, -ub 512 and 2048.  `raw` is what llama-fit-params logs
for the same words, `asked` what `estimate --ask-engine` prints, `alone` what it prints unasked.  With --host parts lie in host
memory.  Without --all only rows are shown whose `asked` is off by more than --off MiB, or under.  A tally for each place ends it.
"""
import argparse
import collections
import concurrent.futures
import itertools
import json
import os
import pathlib
import random
import subprocess
import tempfile

import hunt
from hunt import books, e2e

FAMILIES = ["llama", "qwen3moe", "gemma3", "deepseek2", "qwen3next", "qwen35"]
SLOTS, MICRO_BATCHES = (1, 4), (512, 2048)
HOST = ["-ngl 2", "-ngl 0", "-nkvo", "-ncmoe 2", "-ncmoe 99"]
ASK_MAX = 5
CUT = []  # a dry run each whose log was cut
UNDER_MIB = 0.02  # the log rounds each buffer to hundredths

Row = collections.namedtuple("Row", "place source before engine raw asked alone")


def environment(cards, folder):
    return dict(os.environ, GGML_BACKEND_PATH=str(e2e.backend_built), GGML_NO_BACKTRACE="1", XDG_STATE_HOME=str(folder),
                PRETEND_GPUS=",".join(f"CUDA{i}|Card {i}|819200|{819000 - 64 * i}" for i in range(cards)))


def machine_file(folder, cards):
    """Cards that hold anything: what is compared is bytes, not fit."""
    rows = "".join(f"  - {{name: Card {i}, total_mib: 819200, free_mib: {819000 - 64 * i}}}\n" for i in range(cards))
    file = folder / f"cards-{cards}.yaml"
    file.write_text(f"gpus:\n{rows}host: {{total_mib: 999999, free_mib: 900000}}\n")
    return file


def estimate(path, folder, cards, words, *options):
    ran = subprocess.run([str(e2e.PROGRAM), "estimate", str(path), "--gpus", str(folder / f"cards-{cards}.yaml"), "--json", *options,
                          "--", *words], env=environment(cards, folder), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                         stderr=subprocess.PIPE, text=True)
    if ran.returncode not in (0, 3):
        raise SystemExit(f"{path} {' '.join(words)}: {ran.stderr}")
    seen = json.loads(ran.stdout)
    return {row["name"]: row for row in [*seen["devices"], dict(seen["host"], name="host")]}


def dry_run(path, folder, cards, words):
    """What the engine's dry run logs, the host's buffers together.  It may end before its log is written: asked anew then."""
    for _ in range(ASK_MAX):
        ran = subprocess.run([e2e.engine().parent / "llama-fit-params", "-m", path, *words, "--fit-print", "on", "-lv", "5",
                              "--no-log-prefix", "--no-log-timestamps"], env=environment(cards, folder), stdin=subprocess.DEVNULL,
                             stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace")
        seen = books.new_books()
        for line in ran.stdout.splitlines():
            books.note_line(seen, line)
        if seen["host"]["compute"]:
            break
        CUT.append(path)
    return seen


def place_of(name, row, devices):
    if name == "host":
        return "host"
    if row["holds_output"]:
        return "output" if len(devices) > 1 else "alone"
    return "first" if name == devices[0] else "middle"


def compare(job):
    path, folder, cards, words = job
    engine = books.read_log(hunt.server_log(path, cards, words))
    raw = dry_run(path, folder, cards, words)
    asked = estimate(path, folder, cards, words, "--engine", str(e2e.engine()), "--ask-engine")
    alone = estimate(path, folder, cards, words, "--engine-build", "11669")
    devices = [name for name in asked if name != "host"]
    rows = {name: Row(place_of(name, row, devices), row.get("compute_source", "-"), alone[name].get("compute_source", "-"), engine[name]["compute"], raw[name]["compute"],
                      row["compute_bytes"] / e2e.MIB, alone[name]["compute_bytes"] / e2e.MIB) for name, row in asked.items()}
    held = asked["host"]["weights_bytes"] / e2e.MIB
    return job, rows, (engine["host"]["weights"], raw["host"]["weights"], held)


def jobs_of(options, folder):
    for family in options.family or FAMILIES:
        shape = hunt.make_shape(family, random.Random(options.seed), deep=True)
        shape.layers, shape.vocabulary = 8, 65536
        path = pathlib.Path(options.keep or folder) / f"{options.seed}-{family}.gguf"
        shape.write(path)
        for slots, ubatch, cards in itertools.product(SLOTS, MICRO_BATCHES, options.cards or (1, 2, 3)):
            for place in HOST if options.host else [""]:
                if "moe" in place and not shape.experts:
                    continue
                words = f"-c 8192 -np {slots} -ub {ubatch} -fa on {place}".split()
                yield path, folder, cards, words + (["-ts", ",".join("1" * cards)] if cards > 1 else [])


def show(job, rows, weights, options, tally):
    path, _, cards, words = job
    head = f"{path.stem} | {cards} cards | {' '.join(words)}"
    lines = []
    for name, row in rows.items():
        off = row.asked - row.engine
        for figure in ("raw", "asked", "alone"):
            tally[row.place, row.before + "," + row.source, figure].append(getattr(row, figure) - row.engine)
        if options.all or abs(off) > options.off or off < -UNDER_MIB:
            lines.append(f"    {name:6} {row.place:7} {row.source:9} was {row.before:9} engine {row.engine:9.2f}  raw {row.raw:9.2f}  asked {row.asked:9.2f}  "
                         f"alone {row.alone:9.2f}{'  UNDER' if off < -UNDER_MIB else ''}")
    for figure, value in zip(("raw", "asked"), weights[1:]):
        tally["host weights", "-", figure].append(value - weights[0])
    if abs(weights[0] - weights[2]) > 0.1:
        lines.append(f"    host weights: engine {weights[0]:.2f}  raw {weights[1]:.2f}  ours {weights[2]:.2f}")
    if lines:
        print(head, *lines, sep="\n", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--family", action="append")
    parser.add_argument("--host", action="store_true")
    parser.add_argument("--cards", type=int, action="append")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--off", type=float, default=0.5)
    parser.add_argument("--keep", help="a folder for the models")
    parser.add_argument("--all", action="store_true")
    options = parser.parse_args()
    e2e.backend_built = e2e.backend()
    tally = collections.defaultdict(list)
    with tempfile.TemporaryDirectory() as name, concurrent.futures.ThreadPoolExecutor(2) as pool:
        folder = pathlib.Path(name)
        for cards in options.cards or (1, 2, 3):
            machine_file(folder, cards)
        for job, rows, weights in pool.map(compare, list(jobs_of(options, folder))):
            show(job, rows, weights, options, tally)
    print(f"{len(CUT)} dry runs ended before their log was written")
    for (place, source, figure), off in sorted(tally.items()):
        print(f"{place:12} {source:18} {figure:6} {len(off):4} figures, {sum(abs(value) <= options.off for value in off):4} within "
              f"{options.off} MiB, mean {sum(map(abs, off)) / len(off):8.2f}, under {min(0, *off, 0):9.2f}, over {max(0, *off, 0):9.2f}")


if __name__ == "__main__":
    main()
