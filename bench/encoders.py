#!/usr/bin/env python3
"""What encoders of pictures and of sounds take: every type of projector that tools/make-model.py writes, loaded by the real
llama-server on a pretend card, beside `estimate`.

    encoders.py [--only TYPE]... [--jobs N] [--rows]

A line for each type, fused and not: bytes of the card, MiB of the host, and what the estimate is over.  --rows prints rows for
tests/plan/encoders_b11669.tsv.  Ends with 1 where an estimate is under, or said to be exact and is not.
"""
import argparse
import concurrent.futures
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "tests/e2e"), str(ROOT / "tools")]
import books  # noqa: E402
import e2e  # noqa: E402
import projectors_newer  # noqa: E402, F401
from projectors import KINDS  # noqa: E402
from projectors_sounds import SOUNDS  # noqa: E402

MIB = 1 << 20
STEP = 0.006  # MiB that rounding to hundredths hides
CARD = e2e.Card("Card", 819200, 819000)
WAYS = ("", "-fa off")
BOTH = ("gemma4v+gemma4a", "gemma4uv+gemma4ua", "qwen2.5o+qwen2a", "qwen3vl_merger+qwen3a", "lfm2+lfm2a")


def make(box, kind):
    """A projector of a type, or "pictures+sounds", and what its matrices are where that is not F16."""
    name, *file_type = kind.split()
    path = box.folder / "projector.gguf"
    if "+" in kind:
        pictures, sounds = kind.split("+")
        e2e.make_model("tiny-llama", path, "--projector-type", pictures, "--sounds-type", sounds, "--true-size", "--sparse")
        return str(path)
    words = ["--projector-type" if name in KINDS else "--sounds-type", name, "--true-size", "--sparse"]
    e2e.make_model("tiny-llama", path, *words, *(["--ftype", *file_type] if file_type else []))
    return str(path)


def figures(view):
    device = view["devices"][0]
    return device["weights_bytes"], device["compute_bytes"], view["host"]["compute_bytes"], device["compute_source"]


def loaded(box, flags):
    """Bytes that the card holds, and the log's books; what the engine says where it does not load it."""
    held = []
    try:
        seen = books.server(box, e2e.model(), flags, lambda: held.append(box.used_bytes(0)))
    except e2e.Failure as failure:
        said = re.findall(r"[^\n]*(?:error|unable|missing|ASSERT|failed|unknown)[^\n]*", str(failure))
        return None, said[0].strip()[:150] if said else str(failure)[-300:]
    return held[0], seen


def one(job):
    kind, way = job
    box = e2e.Box()
    try:
        flags = ["-c", "4096", "-np", "1", "-sm", "none", *way.split()]
        machine = box.use(e2e.Machine(CARD))
        path = make(box, kind)
        without, _ = books.estimate(box, machine, e2e.model(), flags, "--engine-build", "11669")
        with_it, _ = books.estimate(box, machine, e2e.model(), [*flags, "--mmproj", path], "--engine-build", "11669")
        before, _ = loaded(box, flags)
        after, seen = loaded(box, [*flags, "--mmproj", path, "--warmup"])
        ours = [b - a for a, b in zip(figures(without)[:3], figures(with_it)[:3])]
        return job, after and after - before, seen, ours, figures(with_it)[3]
    finally:
        box.close()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", action="append")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--rows", action="store_true")
    options = parser.parse_args()
    e2e.backend()
    e2e.model()
    kinds = options.only or [*KINDS, *(kind for kind in SOUNDS if kind not in KINDS), *BOTH]
    failed = 0
    with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
        for (kind, way), held, seen, (weights, card, host), source in pool.map(one, [(kind, way) for kind in kinds for way in WAYS]):
            if held is None:
                failed += 1
                print(f"{kind:18} {way:8} not loaded: {seen}", flush=True)
                continue
            logged = {name: row["projector"] for name, row in seen.items()}
            engine, engine_host = held - weights, logged.get("host", 0.0)
            on_card = sum(value for name, value in logged.items() if name != "host")
            over, host_over = card - engine, host / MIB - engine_host
            step = STEP * (1 + kind.count("+"))  # each encoder's line is rounded
            words = [] if abs(engine / MIB - on_card) <= step else [f"WEIGHTS off by {engine / MIB - on_card:.2f} MiB"]
            if over < 0 or host_over < -step:
                words.append("UNDER")
            if source == "formula" and (over > 0 or abs(host_over) > step):
                words.append("NOT EXACT")
            failed += bool(words)
            if options.rows:
                print(kind, way, engine, f"{engine_host:.2f}", source, sep="\t", flush=True)
            else:
                print(f"{kind:18} {way:8} card {engine:12} {engine / MIB:9.2f} MiB, over {over / MIB:9.2f}; host {engine_host:7.2f}, over {host_over:6.2f}; "
                      f"{source} {' '.join(words)}", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
