#!/usr/bin/env python3
"""The real llama-bench on pretend cards and the CPU: what it measured is kept, and later plans use it."""
import os

from e2e import RTX_3060, RTX_3090, Machine, case, check, check_equal, check_match, engine, json_of, main, model

PAIR = Machine(RTX_3090, RTX_3060)
# Small and on one core: the point is that everything fits together, not how fast this machine is.  The limit is only
# reached on a machine that is very busy.
LIMITS = ["--vram-limit", "8MiB", "--cores", "1", "--nice", "5", "--time-limit", "90s"]


def calibrate(box, *options, machine=PAIR, words=()):
    temporary = box.folder / "tmp"
    temporary.mkdir(exist_ok=True)
    box.env["TMPDIR"] = str(temporary)
    return box.run("calibrate", *words, "--gpus", box.use(machine), "--engine", engine(), "--state-dir", box.folder / "state",
                   "--json", *LIMITS, *options)


def plan(box, *options):
    result = box.run("plan", model("tiny-llama"), "--gpus", box.use(PAIR), "--engine", engine(), "--state-dir",
                     box.folder / "state", "--json", *options)
    check_equal(result.code, 0, "exit of plan")
    return json_of(result)


@case("every card and the CPU are measured, and plans say so")
def all_devices(box):
    before = plan(box)
    check("calibrated" not in before, "a plan is calibrated before anything was measured")
    for _ in range(5):  # on a busy machine launches may seem to take longer than reading a model as small as this
        result = calibrate(box, "--vram-limit", "8MiB")
        measured = json_of(result)
        if not any("too small" in device.get("problem", "") for device in measured["devices"]):
            break
    check_equal(result.code, 0, "exit of calibrate")
    check_equal([device["device"] for device in measured["devices"]],
                ["NVIDIA GeForce RTX 3090", "NVIDIA GeForce RTX 3060", "cpu"], "devices")
    for device in measured["devices"]:
        check(device["measured"] and device["kept"] and device["probe"], f"{device['device']} was not measured: {device}")
        check(device["decode_bytes_per_s"] > 0 and device["layer_launch_s"] > 0, f"{device} has no rates")
        check(device["model_bytes"] <= 10 << 20, f"{device['device']} was given {device['model_bytes']} bytes")
    after = plan(box)
    check_match(r"2 cards calibrated on \d{4}-\d\d-\d\d \(Q4_K, build \d+, SIMULATED\)", after["calibrated"], "the plan")
    check(after["predicted"]["decode_tokens_per_second"] < before["predicted"]["decode_tokens_per_second"],
          "a CPU that plays a card is predicted to be as fast as the card")
    check_equal(os.listdir(box.folder / "tmp"), [], "left-over folders")


@case("the user's own model is timed where it fits under the limit")
def own_model(box):
    result = calibrate(box, "--use", "1", "--vram-limit", "1GiB", words=[model("tiny-llama")])
    check_equal(result.code, 0, "exit of calibrate")
    devices = json_of(result)["devices"]
    check_equal([(device["gpu_index"], device["probe"]) for device in devices], [(1, False)], "devices and whether probes")


@case("no time at all is told for each device")
def no_time(box):
    result = calibrate(box, "--time-limit", "1ms")
    check_equal(result.code, 1, "exit of calibrate")
    check_match("did not end within|no times", result.err, "stderr")
    check_equal([device["measured"] for device in json_of(result)["devices"]], [False] * 3, "measured")


@case("an engine without llama-bench beside it is told")
def no_bench(box):
    alone = box.folder / "llama-server"
    alone.write_text(f'#!/bin/sh\nexec "{engine()}" "$@"\n')
    alone.chmod(0o755)
    result = box.run("calibrate", "--gpus", box.use(PAIR), "--engine", alone, "--state-dir", box.folder / "state")
    check_equal(result.code, 1, "exit of calibrate")
    check_match("llama-bench is not beside .*--engine", result.err, "stderr")


main()
