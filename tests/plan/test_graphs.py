#!/usr/bin/env python3
"""Estimates against what llama-server of one build logged for models of random shape: graphs_bBUILD.tsv.

    test_graphs.py TABLE PROGRAM

A row says how bench/hunt.py made the model and the command line, so both are made anew here; no engine is needed."""
import collections
import concurrent.futures
import json
import pathlib
import random
import re
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "bench"))
import hunt  # noqa: E402

LOG_STEP_MIB = 0.011  # the log rounds to hundredths
NEAR_MIB = 0.5
NEAR_SHARE = 0.95
OLDER_BUILD = "10256"  # its graphs of NOT_COMPARED_BEFORE were never seen
NOT_COMPARED_BEFORE = ("gemma4", "gemma3n", "lfm2", "kimi-linear", "granitehybridmoe", "exaone4+windows", "deepseek32", "glm-dsa", "smallthinker", "grovemoe", "rwkv7",
                       "bailingmoe3",
                       "olmo")
PARTIAL_FLAGS = {"-ngl", "-ncmoe", "-nkvo", "-ot"}


def rows(table):
    for line in table.read_text(encoding="utf-8").splitlines():
        if line and not line.startswith("#"):
            family, seed, number, cards, words, figures = line.split("\t")
            seen = dict(figure.split("=") for figure in figures.split())
            bounds = {name for name, mib in seen.items() if mib.endswith("+")}
            yield (family, int(seed), int(number), int(cards), words.split(), {name: float(mib.rstrip("+")) for name, mib in seen.items()},
                   bounds)


def estimate(program, folder, row, build):
    family, seed, number, cards, words, seen, _ = row
    rng = random.Random(seed * 1000003 + number)
    shape = hunt.make_shape(rng.choice([family]), rng, deep=True)
    path = pathlib.Path(folder) / f"{family}-{seed}-{number}-{build}.gguf"
    shape.write(path)
    ran = subprocess.run([program, "estimate", path, "--gpus", pathlib.Path(folder) / f"{cards}.yaml", "--json", "--engine-build", build,
                          "--", *words], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    path.unlink()
    if ran.returncode not in (0, 3):
        return row, None, ran.stderr
    view = json.loads(ran.stdout)
    devices = {device["name"]: device for device in [*view["devices"], dict(view["host"], name="host", compute_source="bound")]}
    return row, {name: (devices[name]["compute_bytes"] / (1 << 20) - mib, devices[name]["compute_source"])
                 for name, mib in seen.items() if name in devices}, ""


def main():
    table, program = (pathlib.Path(word).resolve() for word in sys.argv[1:])
    build = re.search(r"_b(\d+)$", table.stem)[1]
    tally = collections.defaultdict(list)
    wrong = []
    with tempfile.TemporaryDirectory() as folder:
        for cards in range(1, 5):
            listed = "".join(f"  - {{name: Card {i}, total_mib: 819200, free_mib: {819000 - 64 * i}}}\n" for i in range(cards))
            (pathlib.Path(folder) / f"{cards}.yaml").write_text(f"gpus:\n{listed}host: {{total_mib: 999999, free_mib: 900000}}\n")
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            for row, off, why in pool.map(lambda row: estimate(program, folder, row, build), rows(table)):
                where = f"{row[0]} {row[1]}/{row[2]} {' '.join(row[4])}"
                if off is None:
                    wrong.append(f"{where}: {why.strip()}")
                    continue
                for name, (mib, source) in off.items():
                    if name not in row[6]:
                        tally[row[0]].append(mib)
                    if source != "formula" and name not in row[6]:
                        wrong.append(f"{where}: {name} is a {source}")
                    if mib < -LOG_STEP_MIB:
                        wrong.append(f"{where}: {name} is {-mib:.2f} MiB under")
        claimed = []
        for row in rows(table):
            if row[0] in NOT_COMPARED_BEFORE and PARTIAL_FLAGS & set(row[4]):
                older = estimate(program, folder, row, OLDER_BUILD)[1] or {}
                claimed += [f"{row[0]} {' '.join(row[4])}: {name} is a formula" for name, (_, source) in older.items() if source == "formula"]
    print("1..3")
    for family, values in sorted(tally.items()):
        near = sum(abs(value) <= NEAR_MIB for value in values)
        print(f"# {family:14} {len(values):3} devices, {near} within {NEAR_MIB} MiB, worst over {max(0, *values, 0):.2f}")
    for sentence in wrong:
        print(f"# {sentence}")
    print(f"{'not ok' if wrong or not tally else 'ok'} 1 - no figure is under what the engine allocated, all are formulas")
    everything = [value for values in tally.values() for value in values]
    share = sum(abs(value) <= NEAR_MIB for value in everything) / max(1, len(everything))
    print(f"# {len(everything)} devices, {100 * share:.1f} % within {NEAR_MIB} MiB")
    print(f"{'ok' if share >= NEAR_SHARE else 'not ok'} 2 - {100 * NEAR_SHARE:.0f} % are within {NEAR_MIB} MiB")
    for sentence in claimed:
        print(f"# build {OLDER_BUILD}, {sentence}")
    print(f"{'not ok' if claimed else 'ok'} 3 - what was not compared with build {OLDER_BUILD} is a bound there")
    return 0 if not wrong and not claimed and share >= NEAR_SHARE else 1


if __name__ == "__main__":
    sys.exit(main())
