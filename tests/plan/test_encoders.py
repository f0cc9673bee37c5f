#!/usr/bin/env python3
"""What encoders of pictures and of sounds take, type by type, against what llama-server build 11669 allocated: encoders_b11669.tsv.

    test_encoders.py TABLE PROGRAM

The projectors are made anew by tools/make-model.py, wide as known ones and sparse; no engine is needed."""
import concurrent.futures
import json
import pathlib
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools"))
from projectors_sounds import SOUNDS  # noqa: E402

MAKE = ROOT / "tools/make-model.py"
FLAGS = ["-c", "4096", "-np", "1", "-sm", "none"]
PICTURES = "qwen2.5o"  # a type of both
INPUT_STEP = (1 << 20) // 200 + 1  # half of the log's hundredth


def rows(table):
    for line in table.read_text(encoding="utf-8").splitlines():
        if line and not line.startswith("#"):
            name, words, card, host, source = line.split("\t")
            yield name, words.split(), int(card), round(float(host) * (1 << 20)), source


def make(*words):
    subprocess.run([sys.executable, MAKE, "tiny-llama", *map(str, words)], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, check=True)


def make_projector(folder, name):
    """A type, or "pictures+sounds", and what its matrices are where that is not F16."""
    kind, *file_type = name.split()
    if "+" in name:
        pictures, sounds = name.split("+")
        make(folder / f"{name}.gguf", "--projector-type", pictures, "--sounds-type", sounds, "--true-size", "--sparse")
        return
    option = "--sounds-type" if kind in SOUNDS and name != PICTURES else "--projector-type"
    make(folder / f"{name}.gguf", option, kind, "--true-size", *(["--sparse", "--ftype", *file_type] if file_type else []))


def figures(program, folder, *words):
    ran = subprocess.run([program, "estimate", folder / "text.gguf", "--gpus", folder / "machine.yaml", "--json", "--engine-build", "11669",
                          "--", *FLAGS, *words], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if ran.returncode not in (0, 3):
        raise SystemExit(f"Bail out! {words}: {ran.stderr}")
    view = json.loads(ran.stdout)
    return view["devices"][0]["compute_bytes"], view["host"]["compute_bytes"], view["devices"][0]["compute_source"]


def off(program, folder, row):
    """Bytes over on the card and in host memory, and what the figure is said to be."""
    name, words, card, host, _ = row
    with_it = figures(program, folder, *words, "--mmproj", folder / f"{name}.gguf")
    without = figures(program, folder, *words)
    return with_it[0] - without[0] - card, with_it[1] - without[1] - host, with_it[2]


def main():
    table, program = (pathlib.Path(word).resolve() for word in sys.argv[1:])
    listed = list(rows(table))
    with tempfile.TemporaryDirectory() as name, concurrent.futures.ThreadPoolExecutor(2) as pool:
        folder = pathlib.Path(name)
        (folder / "machine.yaml").write_text("gpus:\n  - {name: Card, total_mib: 81920, free_mib: 81000}\n"
                                             "host: {total_mib: 99999, free_mib: 90000}\n")
        make(folder / "text.gguf")
        list(pool.map(lambda name: make_projector(folder, name), {row[0] for row in listed}))
        found = list(pool.map(lambda row: off(program, folder, row), listed))
    print(f"1..{len(listed)}")
    for number, (row, (card, host, source)) in enumerate(zip(listed, found), 1):
        step = INPUT_STEP * (1 + row[0].count("+"))  # each encoder's line is rounded
        exact = card == 0 and abs(host) <= step
        right = source == row[4] and (exact if source == "formula" else card >= 0 and host >= -step)
        print(f"{'ok' if right else 'not ok'} {number} - {row[0]} {' '.join(row[1])}: {source}, "
              f"{card} bytes over on the card, {host} in host memory")


if __name__ == "__main__":
    main()
