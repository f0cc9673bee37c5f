#!/usr/bin/env python3
"""The pretend cards under the real engine: they must behave as the CUDA cards they stand for."""
import re
import signal

from e2e import (MIB, RTX_3060, RTX_3090, Card, Machine, case, cases, check, check_equal, check_match, engine,
                 free_port, http_json, main, model)

UNEQUAL = Machine(RTX_3090, RTX_3060)
SERVER_FLAGS = ["--host", "127.0.0.1", "-np", "1", "-ngl", "99", "-fit", "off", "-t", "1", "-lv", "4", "--no-warmup", "--offline"]


def list_devices(box, **env):
    box.env.update(env)
    result = box.start(engine(), "--list-devices").finish()
    check_equal(result.code, 0, "exit of --list-devices")
    return re.findall(r"^  (\w+): (.*) \((\d+) MiB, (\d+) MiB free\)$", result.out, re.MULTILINE)


def start_server(box, *flags):
    """A server on both cards that has loaded its model and runs its loop.  It says "listening" a little earlier, and in
    between a SIGTERM is lost (llama.cpp 0.7.0)."""
    port = free_port()
    server = box.start(engine(), "-m", model(), "--port", port, *SERVER_FLAGS, *flags)
    server.wait_for("all slots are idle")
    return server, port


def logged_mib(text, device, kind):
    return sum(float(size) for size in re.findall(rf"{device} +{kind} buffer size = +([0-9.]+) MiB", text))


@cases([
    # name, variables, cards shown by name
    ("all cards by default", {}, ["3090", "3060"]),
    ("by index", {"CUDA_VISIBLE_DEVICES": "1"}, ["3060"]),
    ("in the order given", {"CUDA_VISIBLE_DEVICES": "1,0"}, ["3060", "3090"]),
    ("by UUID", {"CUDA_VISIBLE_DEVICES": UNEQUAL.uuid(1)}, ["3060"]),
    ("none", {"CUDA_VISIBLE_DEVICES": ""}, []),
    ("a bad entry ends the list", {"CUDA_VISIBLE_DEVICES": "0,9,1"}, ["3090"]),
], lambda row: f"visible cards: {row[0]}")
def visible_cards(box, row):
    box.use(UNEQUAL)
    devices = list_devices(box, **row[1])
    check_equal([description.split()[-1] for _, description, _, _ in devices], row[2], "cards shown")
    check_equal([name for name, _, _, _ in devices], [f"CUDA{i}" for i in range(len(row[2]))], "names")


@case("memory is shown as it was told")
def memory_shown(box):
    box.use(UNEQUAL)
    check_equal([(int(total), int(free)) for _, _, total, free in list_devices(box)], [(24576, 24100), (12288, 11900)], "memory")


@case("each process pays for a context")
def contexts_cost(box):
    box.use(UNEQUAL)
    devices = list_devices(box, PRETEND_GPU_CONTEXT_MIB="300")
    check_equal([int(free) for _, _, _, free in devices], [24100 - 300, 11900 - 300], "free MiB")


@case("a machine that cannot be read is refused with a sentence")
def bad_machine(box):
    box.use(UNEQUAL)
    box.env["PRETEND_GPUS"] = "CUDA0|RTX 3090|plenty"
    result = box.start(engine(), "--list-devices").finish()
    check_match(r"pretend-gpu: card 0 of PRETEND_GPUS is .*plenty.*want NAME\|MODEL\|TOTAL_MIB", result.err, "stderr")
    check_match(r"\(none\)", result.out, "the list of devices")


@case("a model is split over both cards, answers, and the books agree with the log")
def serves(box):
    box.use(UNEQUAL)
    server, port = start_server(box, "-ts", "2,1", "-c", "4096")
    log = server.text("err")
    check_match("SIMULATED cards", log, "the log")
    for card in (0, 1):
        logged = sum(logged_mib(log, f"CUDA{card}", kind) for kind in ("model", "KV", "compute"))
        check(logged > 1, f"the log has CUDA{card} hold {logged} MiB")
        # each logged figure is rounded to hundredths
        check(abs(box.used_bytes(card) / MIB - logged) < 0.03, f"CUDA{card}: books {box.used_bytes(card) / MIB} MiB, log {logged}")
    answer = http_json(port, "/completion", {"prompt": "two cards", "n_predict": 8, "ignore_eos": True})
    check_equal(answer["tokens_predicted"], 8, "tokens predicted")
    server.signal(signal.SIGTERM)
    check_equal(server.finish().code, 0, "exit of the engine")
    check_equal([box.used_bytes(0), box.used_bytes(1)], [0, 0], "bytes used after the end")


@case("two servers see each other's memory, and SIGKILL gives it back")
def processes_share(box):
    box.use(UNEQUAL)
    server, _ = start_server(box, "-ts", "1,1", "-c", "65536")
    held = box.used_bytes(0) // MIB
    check(held > 100, f"the first server holds only {held} MiB")
    free = int(list_devices(box)[0][3])
    check(abs(free - (24100 - held)) <= 1, f"another process sees {free} MiB free, {held} of 24100 are used")
    server.signal(signal.SIGKILL)
    server.finish()
    check_equal(int(list_devices(box)[0][3]), 24100, "free MiB after the kill")
    check_equal(box.used_bytes(0), 0, "bytes used after the kill")


@cases([
    # name, cards, variables, what the engine must say, in CUDA's words
    ("the model is larger than the card", [Card("A", 4, 4), Card("B", 4, 4)], {},
     r"allocating [0-9.]+ MiB on device 0: cudaMalloc failed: out of memory.*unable to allocate CUDA0 buffer"),
    ("the context is larger than the rest", [Card("A", 4000, 4000), Card("B", 20, 20)], {},
     r"on device 1: cudaMalloc failed: out of memory.*failed to allocate buffer for kv cache"),
    ("a card that only says it has room", [RTX_3090, RTX_3060], {"PRETEND_GPU_LIMIT_MIB": "1=20"},
     r"on device 1: cudaMalloc failed: out of memory.*failed to allocate buffer for kv cache"),
    ("the card is taken by others", [RTX_3090, Card("B", 12288, 0)], {},
     r"on device 1: cudaMalloc failed: out of memory.*unable to allocate CUDA1 buffer"),
], lambda row: f"out of memory: {row[0]}")
def out_of_memory(box, row):
    box.use(Machine(*row[1]))
    box.env.update(row[2])
    server = box.start(engine(), "-m", model(), "--port", free_port(), *SERVER_FLAGS, "-ts", "1,1", "-c", "65536")
    result = server.finish()
    check_equal(result.code, 1, "exit of the engine")
    check_match(row[3], result.err, "the log")


@case("a card that runs out while serving ends the engine as CUDA does")
def fails_while_serving(box):
    box.use(UNEQUAL)
    box.env["PRETEND_GPU_FAIL_AFTER"] = "6"
    server, port = start_server(box, "-ts", "1,1")
    try:
        http_json(port, "/completion", {"prompt": "x", "n_predict": 64, "ignore_eos": True})
        check(False, "the engine answered although its card failed")
    except OSError:
        pass  # the connection broke
    result = server.finish()
    check_equal(result.code, -signal.SIGABRT, "exit of the engine")
    check_match("CUDA error", result.err, "the log")


@cases([("asynchronous", {}, True), ("synchronous", {"PRETEND_GPU_SYNC": "1"}, False)], lambda row: f"pipeline parallelism: {row[0]} cards")
def pipeline(box, row):
    box.use(UNEQUAL)
    box.env.update(row[1])
    server, _ = start_server(box, "-ts", "1,1")
    check_equal("pipeline parallelism enabled" in server.text("err"), row[2], "pipeline parallelism")
    server.signal(signal.SIGTERM)
    server.finish()


if __name__ == "__main__":
    main()
