#!/usr/bin/env python3
"""A recording of the real engine at work on pretend cards, seen again without either."""
import json
import os
import pathlib

from e2e import RTX_3060, Machine, case, check, check_equal, engine, free_port, http_json, json_of, main, model, wait_until

BUILD = pathlib.Path(os.environ["DGO_E2E_BUILD"])
SCENARIO = """driver 550.54.14
card NVIDIA GeForce RTX 3060
 memory 12288 300 100
 busy 40
 process compute {pid} 100
"""


def serve(box, port):
    """A llama-server of the test's own, which is only pointed at."""
    server = box.start(engine(), "-m", model("tiny-llama"), "--port", port, "-c", "512", "-np", "2", "--threads", "1",
                       "--metrics", "--no-webui")
    server.wait_for(r"listening on http", "err")
    return server


def lines_of(path):
    """Whole lines: the last one may be on its way."""
    return [json.loads(line) for line in path.read_text().split("\n")[:-1]]


@case("requests, slots and tokens of a running engine are recorded and come back")
def records_the_engine(box):
    port = free_port()
    box.use(Machine(RTX_3060))
    server = serve(box, port)
    scenario = box.file("scenario.txt", SCENARIO.format(pid=server.popen.pid))
    box.env.update(DUALGPUOPT_NVML=str(BUILD / "tests/gpu/libnvidia-ml.so.1"), DUALGPUOPT_FAKE_NVML=str(scenario))
    path = box.folder / "machine.jsonl"
    recorder = box.program("profile", "record", "-o", path, "--interval", "100ms", "--engine-url",
                           f"127.0.0.1:{port}")

    def loads():
        return [line["engine"] for line in lines_of(path) if "engine" in line] if path.exists() else []

    wait_until(loads, "the first answer of the engine in the file")
    sent = 0
    while sent < 3 or (sent < 50 and loads()[-1]["requests"] == 0):  # one between two looks is not seen
        http_json(port, "/completion", {"prompt": "one two three", "n_predict": 200, "ignore_eos": True})
        sent += 1
    wait_until(lambda: loads()[-1]["busy"] == 0 and loads()[-1]["generated_tokens"] >= 200 * sent,
               "the end of the requests in the file")
    recorder.popen.send_signal(2)
    check_equal(recorder.finish().code, 0, "exit of record")
    last = loads()[-1]
    check_equal((last["slots"], last["slot_tokens"], last["busy"], last["model"]), (2, 256, 0, "tiny-llama.gguf"),
                "slots, their context, busy, model")
    check(any(load.get("generated_tokens_per_s", 0) > 0 for load in loads()), "no speed was told")
    check(1 <= last["requests"] <= sent, f"requests: {last}, {sent} were sent")
    box.env.pop("DUALGPUOPT_NVML")
    seen = json_of(box.run("profile", "replay", path, "--json"))
    check_equal(seen["engines"], 1, "engines replayed")
    # What the engine holds on its pretend card comes on top of the scenario's.
    check(seen["gpus"][0]["used_last_bytes"] > 100 << 20, f"used: {seen['gpus']}")
    rows = box.run("profile", "replay", path, "--csv").out.splitlines()
    check_equal(rows[0], "seconds,gpu,pid,used_mib,requests,busy", "header")
    check_equal(rows[-1].split(",")[1:4], ["0", str(server.popen.pid), "100.000"], "last row")
    check(any(row.split(",")[4] for row in rows[1:]) and any(row.split(",")[5] for row in rows[1:]),
          "the rows tell neither requests nor busy")
    gpus = json_of(box.run("gpus", "--json", "--gpus", path))
    check_equal((gpus["simulated"], gpus["recorded"], gpus["source"], gpus["gpus"][0]["processes"][0]["role"]),
                (False, True, "recording", "engine"), "the machine from the file")
    server.stop()


@case("profile compare around a real engine tells what it holds, and ends it")
def compares_the_engine(box):
    box.use(Machine(RTX_3060))
    scenario = box.file("scenario.txt", "driver 550.54.14\nbackend_processes\ncard NVIDIA GeForce RTX 3060\n memory 12288 300 100\n")
    box.env.update(DUALGPUOPT_NVML=str(BUILD / "tests/gpu/libnvidia-ml.so.1"), DUALGPUOPT_FAKE_NVML=str(scenario))
    compare = box.program("profile", "compare", "--settle", "3s", "--interval", "100ms", "--model", model("tiny-llama"), "--json",
                          "--", engine(), "-m", model("tiny-llama"), "--port", "0", "-c", "4096", "-np", "1", "--threads", "1",
                          "--no-webui", "--offline")
    compare.wait_for(r"server is listening|listening on http")
    held_mib = wait_until(lambda: box.used_bytes(0), "memory of the engine") / (1 << 20)
    result = json_of(compare.finish())
    [row] = [row for row in result["rows"] if row["pid"]]
    check_equal((row["name"], row["kind"], row["measurable"]), ("llama-server", "appeared", True), "the engine's row")
    check(row["delta_mib"] >= held_mib - 0.1 and abs(row["delta_mib"] - result["total_mib"]) < 0.1,
          f"the engine held {held_mib} MiB when it listened: {result}")
    check(result["layers"] > 0, f"its worth: {result}")


@case("an engine that is not there is told once, and the cards are recorded all the same")
def records_without_engine(box):
    scenario = box.file("scenario.txt", SCENARIO.format(pid=1))
    box.env.update(DUALGPUOPT_NVML=str(BUILD / "tests/gpu/libnvidia-ml.so.1"), DUALGPUOPT_FAKE_NVML=str(scenario))
    path = box.folder / "machine.jsonl"
    result = box.run("profile", "record", "-o", path, "--interval", "50ms", "--seconds", "0.5", "--engine-url",
                     f"127.0.0.1:{free_port()}")
    check_equal(result.code, 0, "exit")
    check_equal(result.err.count("got no answer"), 1, "complaints")
    check(len(lines_of(path)) > 3, "looks")


main()
