#!/usr/bin/env python3
"""The program with the real engine on pretend cards: what was planned is what is allocated."""
import re
import signal

from e2e import (MIB, RTX_3060, Card, Machine, case, cases, check, check_equal, check_match, engine, free_port,
                 http_json, json_of, main, make_model, model, wait_until)

KINDS = {"weights_bytes": "model", "context_bytes": "KV", "compute_bytes": "compute"}
LOG_STEP_BYTES = 0.005 * MIB + 1  # figures in the log are rounded to hundredths of a MiB
# Compute buffers change with every build: a formula may be off by this much.  Weights and context must be exact.
COMPUTE_UNDER_BYTES, COMPUTE_OVER_BYTES = 64 << 10, 4 * MIB

# The small model needs one of these, the full-size one (4.7 GB of weights, none of them data) all of them.
PAIR = Machine(Card("NVIDIA GeForce RTX 3060", 4608, 4400), Card("NVIDIA GeForce RTX 3060", 4608, 4400))
UNEQUAL = Machine(Card("NVIDIA GeForce RTX 3090", 6144, 5900), Card("NVIDIA GeForce RTX 3060", 3584, 3400))
THREE = Machine(Card("NVIDIA GeForce RTX 3060", 3072, 2900), Card("NVIDIA GeForce RTX 3090", 3584, 3300),
                Card("NVIDIA GeForce RTX 3060", 3072, 2800))
SMALL, FULL = "tiny-llama", "llama-3.1-8b"


def words(box, command, machine, *options, name="tiny-llama"):
    return [command, model(name), "--gpus", box.use(machine), "--engine", engine(), *options]


def plan(box, machine, *options, name="tiny-llama"):
    result = box.run(*words(box, "plan", machine, "--json", *options, name=name))
    check_equal(result.code, 0, "exit of plan")
    return json_of(result)


def logged(log, device, kind):
    """What the engine's log says a device holds of a kind, and how far rounding may be off."""
    sizes = re.findall(rf"\b{device} +{kind} buffer size = +([0-9.]+) MiB", log)
    return sum(float(size) * MIB for size in sizes), len(sizes) * LOG_STEP_BYTES


def check_against_log(devices, log, kinds):
    """Every planned figure is the logged one; `devices` are rows of plan or estimate."""
    for device in devices:
        for key in kinds:
            measured, step = logged(log, device["name"], KINDS[key])
            check(abs(device[key] - measured) <= step,
                  f"{device['name']} {key}: planned {device[key] / MIB:.3f} MiB, the engine logged {measured / MIB:.3f} MiB")


def check_compute(device, measured):
    """A formula is nearly right, and less under than over; a bound is never under."""
    planned = device["compute_bytes"]
    near = -COMPUTE_UNDER_BYTES <= planned - measured <= COMPUTE_OVER_BYTES
    check(near if device["compute_source"] == "formula" else planned >= measured,
          f"{device['name']}: {planned} bytes of compute buffers planned ({device['compute_source']}), {measured} are held")


def cards_in_use(devices):
    return len([device for device in devices if device["weights_bytes"]])


@cases([
    # name, model, machine, cards in use, options
    ("one card is enough", SMALL, PAIR, 1, []),
    ("the other card, by --use", SMALL, UNEQUAL, 1, ["--use", "1"]),
    ("two equal cards", FULL, PAIR, 2, []),
    ("two unequal cards", FULL, UNEQUAL, 2, []),
    ("three cards", FULL, THREE, 3, []),
    ("three cards, two of them by --use", FULL, Machine(RTX_3060, *UNEQUAL.cards), 2, ["--use", "1,2"]),
    ("the longest context", FULL, UNEQUAL, 2, ["--ctx", "max", "--objective", "context"]),
    ("four slots", SMALL, UNEQUAL, 1, ["--ctx", "4096", "--parallel", "4"]),
    ("a quantized cache", SMALL, UNEQUAL, 1, ["--kv-type", "q8_0"]),
    ("norms of queries and keys", "tiny-qwen3", UNEQUAL, 1, []),
    ("experts", "tiny-mixtral", UNEQUAL, 1, []),
    ("tied embeddings", "tiny-llama-tied", UNEQUAL, 1, []),
], lambda row: f"planned equals measured: {row[0]}")
def planned_is_measured(box, row):
    _, name, machine, cards, options = row
    result = box.run(*words(box, "run", machine, "--once", "--json", "--log", "--threads", "1", *options, name=name))
    check_equal(result.code, 0, "exit")
    run = json_of(result)
    check_equal((run["ready"], run["equal"], run["simulated"]), (True, True, True), "ready, equal, simulated")
    planned = [dict(device["planned"], name=device["name"]) for device in run["devices"]]
    check_equal(cards_in_use(planned), cards, "cards in use")
    check_against_log(planned, result.err, ("weights_bytes", "context_bytes"))


@case("planned equals measured: a model in three files")
def split_files(box):
    make_model("tiny-llama", box.folder / "parts.gguf", "--split", "3")
    result = box.run("run", box.folder / "parts-00001-of-00003.gguf", "--gpus", box.use(UNEQUAL), "--engine", engine(), "--once",
                     "--json", "--threads", "1")
    check_equal(result.code, 0, "exit")
    check_equal(json_of(result)["equal"], True, ".equal")


@case("the cards hold what was planned, by their own books")
def books_agree(box):
    planned = plan(box, UNEQUAL, name=FULL)["devices"]
    check_equal(cards_in_use(planned), 2, "cards in use")
    port = free_port()
    program = box.program(*words(box, "run", UNEQUAL, "--port", port, "--threads", "1", name=FULL))
    program.wait_for(rf"ready: http://127\.0\.0\.1:{port}\b")
    for device in planned:
        check_compute(device, box.used_bytes(device["gpu_index"]) - device["weights_bytes"] - device["context_bytes"])
    program.signal(signal.SIGTERM)
    check_equal(program.finish().code, 0, "exit")
    check_equal([box.used_bytes(card) for card in range(2)], [0, 0], "bytes used after the end")


@case("a chat message is answered, and everything says SIMULATED")
def asks(box):
    result = box.run(*words(box, "run", UNEQUAL, "--once", "--threads", "1", "--ask", "Are you there?"))
    check_equal(result.code, 0, "exit")
    check_match("SIMULATED", result.out, "stdout")
    check_match(r"answered: .*\([1-9][0-9]* tokens?\)", result.out, "stdout")
    check_match(r"CUDA0 .*[0-9.]+ MiB =", result.out, "the table of plan against measured")


@case("the server serves until Ctrl-C")
def serves(box):
    port = free_port()
    program = box.program(*words(box, "run", UNEQUAL, "--port", port, "--threads", "1"))
    program.wait_for(rf"ready: http://127\.0\.0\.1:{port}\b")
    answer = http_json(port, "/v1/chat/completions", {"messages": [{"role": "user", "content": "hello"}], "max_tokens": 4,
                                                      "ignore_eos": True})
    check_equal(answer["usage"]["completion_tokens"], 4, "tokens")
    program.signal(signal.SIGINT)
    check_equal(program.finish().code, 0, "exit")
    check_equal(box.used_bytes(0), 0, "bytes used after the end")


@cases([(turn,) for turn in range(1, 6)], lambda row: f"--once stops the engine by TERM alone, turn {row[0]}")
def stop_is_not_lost(box, row):
    """llama-server loses a SIGTERM that comes after "listening" and before its loop runs, about one time in three."""
    result = box.run(*words(box, "run", UNEQUAL, "--once", "--json", "--threads", "1", "--stop-timeout", "1h"))
    check_equal(result.code, 0, "exit")


@case("SIGKILL of the program takes the engine and its memory along")
def killed(box):
    program = box.program(*words(box, "run", UNEQUAL, "--threads", "1"))
    program.wait_for("ready: http")
    check(box.used_bytes(0) > 0, "the engine holds nothing: this test cannot fail")
    program.signal(signal.SIGKILL)
    program.finish()
    box.check_nobody_left()
    listed = box.start(engine(), "--list-devices").finish()
    check_match("5900 MiB free", listed.out, "the cards after the kill")


@case("the command of --dry-run works in a shell")
def dry_run(box):
    port = free_port()
    planned = plan(box, UNEQUAL, name=FULL)["devices"]
    result = box.run(*words(box, "run", UNEQUAL, "--dry-run", "--port", port, "--threads", "1", name=FULL))
    check_equal(result.code, 0, "exit of --dry-run")
    check_equal(result.out.count("\n"), 1, "lines on stdout")
    shell = box.start("sh", "-c", "exec " + result.out)
    shell.wait_for("all slots are idle")
    check_against_log(planned, shell.text("err"), ("weights_bytes", "context_bytes"))
    shell.signal(signal.SIGTERM)
    check_equal(shell.finish().code, 0, "exit of the command")


@cases([1, 2, 3], lambda row: f"a split model runs, whichever part was named: {row}")
def runs_split(box, row):
    make_model(SMALL, box.folder / "parts.gguf", "--split", "3")
    result = box.run("run", box.folder / f"parts-{row:05}-of-00003.gguf", "--gpus", box.use(UNEQUAL), "--engine", engine(),
                     "--once", "--threads", "1")
    check_equal(result.code, 0, "exit")


@case("a port that is taken: another is found, or the one asked for is named")
def port_taken(box):
    first = box.start(engine(), "--list-devices")  # skips without an engine before a port is held
    first.finish()
    import socket
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]
        result = box.run(*words(box, "run", UNEQUAL, "--once", "--port", port, "--threads", "1"))
    check_equal(result.code, 1, "exit")
    check_match(rf"port.*{port}|{port}.*port", result.err, "stderr")


def let_run_out(box, short_of):
    """Card 1 says what the machine file says, but gives a process less than was planned for it: nothing of one kind."""
    device = next(device for device in plan(box, UNEQUAL, name=FULL)["devices"] if device["gpu_index"] == 1)
    kinds = ("weights_bytes", "context_bytes", "compute_bytes")
    given = sum(device[kind] for kind in kinds[:kinds.index(short_of)])
    box.env["PRETEND_GPU_LIMIT_MIB"] = f"1={given // MIB + 16}"


SHORT_OF = [("weights_bytes", "weights"), ("context_bytes", "context|cache"), ("compute_bytes", "compute")]


@cases(SHORT_OF, lambda row: f"a card that runs out at load is named, with what to do: {row[0]}")
def runs_out(box, row):
    let_run_out(box, row[0])
    result = box.run(*words(box, "run", UNEQUAL, "--once", "--threads", "1", name=FULL))
    check_equal(result.code, 1, "exit")
    check_match(rf"CUDA[01].*out of memory.*({row[1]})", result.err, "stderr")
    check_match(r"--retry-smaller|--margin|--ctx|smaller", result.err, "stderr")


@cases(SHORT_OF, lambda row: f"--retry-smaller finds a plan for a card that runs out: {row[0]}")
def retries_smaller(box, row):
    let_run_out(box, row[0])
    result = box.run(*words(box, "run", UNEQUAL, "--once", "--json", "--retry-smaller", "--threads", "1", name=FULL))
    check_equal(result.code, 0, "exit")
    check_match("smaller plan", result.err, "stderr")
    check_equal(json_of(result)["equal"], True, ".equal")


@case("a card that is short by less than pipeline parallelism takes: the engine goes without, and it shows")
def without_pipeline(box):
    device = next(device for device in plan(box, UNEQUAL, name=FULL)["devices"] if device["gpu_index"] == 1)
    planned = device["weights_bytes"] + device["context_bytes"] + device["compute_bytes"]
    box.env["PRETEND_GPU_LIMIT_MIB"] = f"1={planned // MIB - 2}"
    result = box.run(*words(box, "run", UNEQUAL, "--once", "--json", "--threads", "1", name=FULL))
    check_equal(result.code, 0, "exit")
    run = json_of(result)
    check_equal((run["equal"], run["pipeline"]), (True, False), ".equal and .pipeline")


@case("a card that fails while serving: the engine is started again")
def fails_serving(box):
    port = free_port()
    box.env["PRETEND_GPU_FAIL_AFTER"] = "40"
    program = box.program(*words(box, "run", UNEQUAL, "--port", port, "--threads", "1"))
    program.wait_for(rf"ready: http://127\.0\.0\.1:{port}\b")
    try:
        http_json(port, "/completion", {"prompt": "x", "n_predict": 200, "ignore_eos": True})
        check(False, "the engine answered although its card failed")
    except OSError:
        pass  # the connection broke
    program.wait_for("CUDA error|out of memory|signal 6")
    wait_until(lambda: program.text("err").count("ready: http") == 2, "the second ready line")
    program.signal(signal.SIGTERM)
    check_equal(program.finish().code, 0, "exit")


@case("the engine sees fewer cards than the machine file says")
def other_cards(box):
    command = words(box, "run", UNEQUAL, "--once", "--threads", "1", name=FULL)
    box.env["PRETEND_GPUS"] = Machine(UNEQUAL.cards[0]).pretend_text()
    result = box.run(*command)
    check_equal(result.code, 1, "exit")
    check_match("3060|CUDA1", result.err, "stderr")
    check_equal(box.used_bytes(0), 0, "bytes used")


@cases([
    # name, model, the engine's flags
    ("defaults", SMALL, []),
    ("uneven", SMALL, ["-ts", "3,1"]),
    ("one card", SMALL, ["-sm", "none", "-mg", "0"]),
    ("the other card", SMALL, ["-dev", "CUDA1"]),
    ("the cards the other way round", SMALL, ["-dev", "CUDA1,CUDA0", "-ts", "1,3"]),
    ("three layers", SMALL, ["-ngl", "3"]),
    ("nothing on the cards", SMALL, ["-ngl", "0"]),
    ("four slots", SMALL, ["-np", "4", "-c", "8192"]),
    ("four slots, one pool", SMALL, ["-np", "4", "-kvu", "-c", "8192"]),
    ("quantized cache", SMALL, ["-ctk", "q8_0", "-ctv", "q4_0", "-fa", "on"]),
    ("no flash attention", SMALL, ["-fa", "off"]),
    ("cache in host memory", SMALL, ["-nkvo"]),
    ("large batches", SMALL, ["-b", "4096", "-ub", "1024"]),
    ("option names in full", SMALL, ["--ctx-size", "6000", "--tensor-split", "1,2", "--gpu-layers", "99"]),
    ("norms of queries and keys", "tiny-qwen3", ["-ts", "1,1"]),
    ("experts", "tiny-mixtral", ["-ts", "1,1"]),
    ("experts of four layers in host memory", "tiny-mixtral", ["-ts", "1,1", "-ncmoe", "4"]),
    ("tied embeddings", "tiny-llama-tied", ["-ts", "1,1"]),
    ("a full-size model", FULL, ["-ts", "2,1", "-c", "8192"]),
], lambda row: f"estimate of a command line: {row[0]}")
def estimate(box, row):
    _, name, given = row
    flags = given + ["-np", "1"] * ("-np" not in given) + ["-c", "4096"] * ("-c" not in given and "--ctx-size" not in given)
    flags += ["-ngl", "99"] * (not {"-ngl", "--gpu-layers"} & set(given)) + ["-fit", "off"]
    result = box.run(*words(box, "estimate", UNEQUAL, "--json", "--", *flags, name=name))
    check_equal(result.code, 0, "exit of estimate")
    server = box.start(engine(), "-m", model(name), "--port", free_port(), "-t", "1", "-lv", "4", "--no-warmup", *flags)
    server.wait_for("all slots are idle")
    devices = json_of(result)["devices"]
    check_against_log(devices, server.text("err"), ("weights_bytes", "context_bytes"))
    for device in devices:
        check_compute(device, box.used_bytes(device["gpu_index"]) - device["weights_bytes"] - device["context_bytes"])
    server.signal(signal.SIGTERM)
    server.finish()


if __name__ == "__main__":
    main()
