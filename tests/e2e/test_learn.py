#!/usr/bin/env python3
"""What launches of the real engine teach the next plan: compute buffers, and what a card loses outside the engine's books."""
import json
import shutil
import struct

from daemon import Daemon
from e2e import (BUILD, MIB, Card, Machine, Skip, case, cases, check, check_equal, check_match, engine, json_of, main, model,
                 wait_until)

MACHINE = Machine(Card("NVIDIA GeForce RTX 3090", 6144, 5900), Card("NVIDIA GeForce RTX 3060", 3584, 3400))
DRIVER = BUILD / "tests/gpu/libnvidia-ml.so.1"
CONTEXT_MIB = 210  # what the pretend card's context takes of each
NEAR_BYTES = 0.1 * MIB  # the log's figures are rounded to hundredths of a MiB, one for each buffer


def driver_text():
    """The driver tells what each process holds, the pretend backend's too."""
    return "backend_processes\n" + MACHINE.driver_text()


def use_driver(box):
    if not DRIVER.exists():
        raise Skip(f"{DRIVER} is not built")
    box.use(MACHINE)
    box.env.update(DUALGPUOPT_NVML=str(DRIVER), DUALGPUOPT_FAKE_NVML=str(box.file("driver.txt", driver_text())),
                   PRETEND_GPU_CONTEXT_MIB=str(CONTEXT_MIB))


def launch(box, *options, binary=None):
    result = box.run("run", model(), "--engine", binary or engine(), "--threads", "1", "--use", "0", "--once", "--json", *options)
    check_equal(result.code, 0, "exit")
    return json_of(result)["devices"][0]


def plan(box, *options, binary=None):
    return json_of(box.run("plan", model(), "--engine", binary or engine(), "--use", "0", "--json", *options))["devices"][0]


def check_near(got, want_mib, what):
    check(abs(got - want_mib * MIB) <= NEAR_BYTES, f"{what} is {got / MIB:.3f} MiB, want {want_mib}")


@case("the overhead of a card is learnt from three launches, and the next plan takes it")
def overhead_is_learnt(box):
    use_driver(box)
    before = plan(box)
    check_equal((before["overhead_source"], "overhead_launches" in before), ("assumed", False), "before any launch")
    check(before["overhead_bytes"] > CONTEXT_MIB * MIB, "the assumption is not above what is measured: nothing is tested")
    for count in (1, 2, 3):
        check_equal(plan(box)["overhead_bytes"], before["overhead_bytes"], f"the overhead after {count - 1} launches")
        check_near(launch(box)["measured"]["overhead_bytes"], CONTEXT_MIB, f"the overhead that launch {count} measured")
    after = plan(box)
    check_equal((after["overhead_source"], after["overhead_launches"]), ("learnt", 3), "after three launches")
    check_near(after["overhead_bytes"] - after["overhead_spread_bytes"], CONTEXT_MIB, "what is learnt")
    check(after["overhead_spread_bytes"] <= NEAR_BYTES, f"a spread of {after['overhead_spread_bytes']} bytes")
    told = box.run("plan", model(), "--engine", engine(), "--use", "0", "--explain").out
    check_match(r"overhead +2\d\d\.\d\d MiB = 2\d\d\.\d\d learnt from 3 launches", told, "the explanation")


@case("a card that was not launched on, another driver and another engine are not spoken for")
def only_the_same(box):
    use_driver(box)
    for _ in range(3):
        launch(box)
    other = json_of(box.run("plan", model(), "--engine", engine(), "--use", "1", "--json"))["devices"][0]
    check_equal(other["overhead_source"], "assumed", "the other card's overhead")
    check_equal(plan(box, binary=wrapper(box, "true"))["overhead_source"], "assumed", "another engine's overhead")
    box.file("driver.txt", driver_text().replace("550.54.14", "560.35.03"))
    check_equal(plan(box)["overhead_source"], "assumed", "the overhead under another driver")


def wrapper(box, meanwhile):
    """An engine that does something between the look before its start and being ready."""
    return box.file("llama-server", f'#!/bin/sh\ncase "$*" in *--port*) {meanwhile} ;; esac\nexec {engine()} "$@"\n', 0o755)


@cases([
    # name, lines added to card 0, what is learnt in MiB (None: nothing)
    ("one that the driver names", ["process compute 1 700"], CONTEXT_MIB),
    ("one that the driver does not name", [], None),
    ("one whose figure is hidden", ["process graphics 1 unknown"], CONTEXT_MIB),
], lambda row: f"another process takes 700 MiB during the load: {row[0]}")
def others_take(box, row):
    use_driver(box)
    lines = driver_text().splitlines()
    at = next(i for i, line in enumerate(lines) if line.strip().startswith("memory"))
    total, reserved, used = lines[at].split()[1:]
    lines[at:at + 1] = [f"  memory {total} {reserved} {int(used) + 700}", *[f"  {line}" for line in row[1]]]
    new = box.file("new.txt", "\n".join([*lines, ""]))
    device = launch(box, binary=wrapper(box, f"mv {new} {box.folder}/driver.txt"))
    check(not new.exists(), "the driver's figures did not change meanwhile")
    if row[2] is None:
        check("overhead_bytes" not in device["measured"], f"700 MiB of somebody else were learnt: {device}")
    else:
        check_near(device["measured"]["overhead_bytes"], row[2], "what is learnt")


@case("one poisoned launch among others moves the plan by no more than their spread")
def one_is_poisoned(box):
    import sqlite3
    use_driver(box)
    for _ in range(4):
        launch(box)
    database = sqlite3.connect(box.folder / "state/dualgpuopt/history.db")
    with database:  # as if a launch had been measured wrong in spite of all checks
        changed = database.execute("UPDATE overhead SET bytes = bytes + 3000000000 WHERE id = (SELECT max(id) FROM overhead)")
        check_equal(changed.rowcount, 1, "rows poisoned")
    database.close()
    after = plan(box)
    check_equal(after["overhead_launches"], 4, "launches")
    check(after["overhead_bytes"] < (CONTEXT_MIB + 1) * MIB, f"the plan takes {after['overhead_bytes'] / MIB} MiB")


def take_more(box, pid, card, mib):
    """The pretend books say that the process holds so much more of a card: a total for each of 16 cards, then for each process
    its pid, its start and what it holds of each card (tools/pretend-gpu/usage.c)."""
    with open(box.folder / "usage", "r+b") as books:
        words = list(struct.unpack("=1168Q", books.read(1168 * 8)))
        slot = next(at for at in range(16, 1168, 18) if words[at] == pid)
        for at in (card, slot + 2 + card):
            books.seek(8 * at)
            books.write(struct.pack("=Q", words[at] + mib * MIB))


@case("a running engine that comes to hold more is told of, and the next plan counts on it")
def drift_is_learnt(box):
    use_driver(box)
    for _ in range(2):
        launch(box)
    daemon = Daemon(box, "--threads", "1", machine=MACHINE, cards=False)
    box.env["DUALGPUOPT_FAKE_NVML"] = str(box.folder / "driver.txt")
    started = daemon.launch({"model": "tiny-llama", "intent": {"use": "0"}})
    ready = daemon.wait_state(started["id"], "ready", "ended")
    held = lambda: daemon.one(ready["id"])["comparison"]["devices"][0]["measured"]
    check_near(held()["overhead_bytes"], CONTEXT_MIB, "the overhead as it became ready")
    take_more(box, ready["pid"], 0, 300)
    wait_until(lambda: held().get("drift_bytes"), "the drift to be told", 120)
    check_near(held()["overhead_bytes"], CONTEXT_MIB + 300, "the overhead later")
    shown = next(one for one in daemon.json("GET", "/api/v1/view")["launches"] if one["id"] == ready["id"])
    check_near(shown["comparison"]["devices"][0]["measured"]["drift_bytes"], 300, "the drift in the view")
    events = [one for one in daemon.json("GET", "/api/v1/timeline")["events"] if one["kind"] == "drift"]
    check_equal([(one["gpu"], one["pid"]) for one in events], [(0, ready["pid"])], "drifts on the timeline")
    check_match(r"holds 51\d(\.\d+)? MiB outside its books, 21\d", events[0]["text"], "the event")
    check_match("outside its books", json.dumps(daemon.json("GET", "/api/v1/profile")["marks"]), "the report of the profiler")
    daemon.stop()
    after = plan(box)
    check_equal((after["overhead_launches"], after["overhead_drifts"], after["overhead_source"]), (3, 1, "learnt"), "what is learnt")
    told = box.run("plan", model(), "--engine", engine(), "--use", "0", "--explain").out
    check_match("1 of the launches held another amount later", told, "the explanation")


@case("compute buffers are measured by an earlier launch of the same binary, model and settings")
def compute_is_measured(box):
    gpus = ["--gpus", box.use(MACHINE)]
    check_equal(plan(box, *gpus)["compute_source"], "formula", "the source before a launch")
    held = launch(box, *gpus)["measured"]["compute_bytes"]
    after = plan(box, *gpus)
    check_equal((after["compute_source"], after["compute_bytes"]), ("measured", held), "source and bytes after it")
    told = box.run("plan", model(), "--engine", engine(), "--use", "0", "--explain", *gpus).out
    check_match(r"compute +[0-9.]+ MiB: measured of build", told, "the explanation")
    check_equal(plan(box, *gpus, "--ctx", "1024")["compute_source"], "formula", "the source for other settings")
    check_equal(plan(box, *gpus, binary=wrapper(box, "true"))["compute_source"], "formula", "the source for another binary")
    use_driver(box)
    check_equal(plan(box)["compute_source"], "formula", "the source on cards that are not described")


@case("another model under the same path is not spoken for")
def other_model(box):
    path = box.folder / "model.gguf"
    words = [path, "--engine", engine(), "--use", "0", "--json", "--gpus", box.use(MACHINE)]
    sources = []
    for name in ("tiny-llama", "tiny-qwen3"):
        shutil.copyfile(model(name), path)
        sources.append(json_of(box.run("plan", *words))["devices"][0]["compute_source"])
        if name == "tiny-llama":
            check_equal(box.run("run", *words, "--threads", "1", "--once").code, 0, "exit")
            sources.append(json_of(box.run("plan", *words))["devices"][0]["compute_source"])
    check_equal(sources, ["formula", "measured", "formula"], "sources before a launch, after it, and of another file")


if __name__ == "__main__":
    main()
