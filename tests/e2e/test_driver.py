#!/usr/bin/env python3
"""The program without a machine file: a fake driver library tells it the cards, the pretend cards are what the engine sees."""
import os
import signal

from daemon import Daemon
from e2e import (BUILD, Card, Machine, Skip, case, check, check_equal, check_match, engine, free_port, json_of, main, model, wait_until)

# Neither card alone holds the full-size model (without data).
MACHINE = Machine(Card("NVIDIA GeForce RTX 3090", 4096, 3900), Card("NVIDIA GeForce RTX 3060", 3584, 3400))
FULL = "llama-3.1-8b"
DRIVER = BUILD / "tests/gpu/libnvidia-ml.so.1"


def use_driver(box, machine=MACHINE):
    if not DRIVER.exists():
        raise Skip(f"{DRIVER} is not built")
    box.use(machine)
    box.env.update(DUALGPUOPT_NVML=str(DRIVER), DUALGPUOPT_FAKE_NVML=str(box.file("driver.txt", machine.driver_text())))


def run_words(name, *options):
    return ["run", model(name), "--engine", engine(), "--threads", "1", *options]


@case("the driver's cards are shown, and are not called simulated")
def shown(box):
    use_driver(box)
    machine = json_of(box.run("gpus", "--json"))
    check_equal(machine["simulated"], False, ".simulated")
    check_equal([(gpu["name"], gpu["uuid"], gpu["total_bytes"] >> 20, gpu["free_bytes"] >> 20) for gpu in machine["gpus"]],
                [(card.model, MACHINE.uuid(i), card.total_mib, card.free_mib) for i, card in enumerate(MACHINE.cards)], "the cards")


@case("planned equals measured, cards chosen by UUID")
def by_uuid(box):
    use_driver(box)
    dry = json_of(box.run(*run_words(FULL, "--dry-run", "--json")))
    check_equal(sorted(dry["environment"]["CUDA_VISIBLE_DEVICES"].split(",")), [MACHINE.uuid(0), MACHINE.uuid(1)],
                "CUDA_VISIBLE_DEVICES")
    result = box.run(*run_words(FULL, "--once", "--json"))
    check_equal(result.code, 0, "exit")
    check_equal(json_of(result)["equal"], True, ".equal")


@case("the right cards are used where CUDA counts by speed and the driver by bus")
def orders_differ(box):
    use_driver(box)
    slow_first = MACHINE.pretend_text().split(",")[::-1]  # same cards, UUIDs and buses; listed the other way round
    box.env["PRETEND_GPUS"] = ",".join(slow_first)
    for name, options in ((FULL, []), ("tiny-llama", ["--use", "1"])):
        result = box.run(*run_words(name, "--once", "--json", *options))
        check_equal(result.code, 0, f"exit with {name}")
        check_equal(json_of(result)["equal"], True, f".equal with {name}")


@case("memory that an engine holds is seen by the next plan, and comes back")
def memory_is_seen(box):
    use_driver(box)
    before = [gpu["free_bytes"] for gpu in json_of(box.run("gpus", "--json"))["gpus"]]
    program = box.program(*run_words(FULL, "--port", free_port()))
    program.wait_for("ready: http")
    held = [box.used_bytes(card) for card in range(2)]
    check(min(held) > 0, f"the engine holds {held}")
    during = [gpu["free_bytes"] for gpu in json_of(box.run("gpus", "--json"))["gpus"]]
    check_equal(during, [free - used for free, used in zip(before, held)], "free while it runs")
    second = json_of(box.run("plan", model(), "--engine", engine(), "--json"))
    for device in second["devices"]:
        check_equal(device["free_bytes"], during[device["gpu_index"]], f"free of {device['gpu_name']} in the next plan")
    program.signal(signal.SIGTERM)
    check_equal(program.finish().code, 0, "exit")
    check_equal([gpu["free_bytes"] for gpu in json_of(box.run("gpus", "--json"))["gpus"]], before, "free after it")


@case("a driver that does not start: a sentence with the next step")
def no_driver(box):
    use_driver(box)
    os.unlink(box.folder / "driver.txt")
    result = box.run(*run_words("tiny-llama", "--once"))
    check_equal(result.code, 1, "exit")
    check_match("NVIDIA.*modprobe", result.err, "stderr")


@case("a driver that goes away beneath a running engine: an alert, the last good look, and answers as before; then it is over")
def goes_away(box):
    use_driver(box)
    daemon = Daemon(box, real=False, models=("tiny-llama",), cards=False)
    launch = daemon.wait_state(daemon.launch({"model": "tiny-llama", "intent": {"ctx": 1024}})["id"], "ready", "ended")
    check_equal(launch["state"], "ready", launch["text"])
    view = lambda: daemon.json("GET", "/api/v1/view")
    drivers = lambda: [alert for alert in view()["alerts"] if alert["rule"] == "driver"]
    os.rename(box.folder / "driver.txt", box.folder / "driver.gone")
    alert = wait_until(drivers, "the alert", 60)[0]
    check_equal(alert["level"], "critical", "its level")
    check_match("driver went away.*modprobe", alert["text"], "its sentence")
    now = view()
    check_match("driver went away", now["machine_problem"], "the problem")
    check_equal((now["machine_stale"], len(now["machine"]["gpus"])), (True, 2), "the last good look")
    check_equal(daemon.one(launch["id"])["state"], "ready", "the launch")
    check_equal(daemon.chat("tiny-llama")["object"], "chat.completion", "an answer")
    os.rename(box.folder / "driver.gone", box.folder / "driver.txt")
    wait_until(lambda: not drivers() and "machine_problem" not in view(), "its end", 120)
    told = [event["text"] for event in daemon.json("GET", "/api/v1/timeline")["events"] if event["kind"] == "driver"]
    check(len(told) >= 2 and "answers again" in told[-1], f"the timeline: {told}")
    check_equal(daemon.one(launch["id"])["pid"], launch["pid"], "the engine")
    check_equal(daemon.stop().code, 0, "exit of serve")


if __name__ == "__main__":
    main()
