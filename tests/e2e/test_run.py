#!/usr/bin/env python3
"""The program with the real engine on pretend cards: what was planned is what is allocated."""
import re
import signal

from e2e import (MIB, RTX_3060, RTX_3090, Card, Machine, case, cases, check, check_equal, check_match, engine, free_port,
                 http_json, json_of, main, make_model, model, wait_until)

KINDS = {"weights_bytes": "model", "context_bytes": "KV", "compute_bytes": "compute"}
LOG_STEP_BYTES = 0.005 * MIB + 1  # figures in the log are rounded to hundredths of a MiB

# Small cards: the small model and a context of some length need both.
PAIR = Machine(Card("NVIDIA GeForce RTX 3090", 2048, 1800), Card("NVIDIA GeForce RTX 3090", 2048, 1800))
UNEQUAL = Machine(Card("NVIDIA GeForce RTX 3090", 2048, 1800), Card("NVIDIA GeForce RTX 3060", 1536, 1200))
THREE = Machine(Card("NVIDIA GeForce RTX 3060", 1536, 1300), Card("NVIDIA GeForce RTX 3090", 2048, 1800),
                Card("NVIDIA GeForce RTX 3060", 1536, 1200))


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


@cases([
    # name, model, machine, options
    ("one card is enough", "tiny-llama", PAIR, []),
    ("two equal cards", "tiny-llama", PAIR, ["--objective", "safe"]),
    ("two unequal cards", "tiny-llama", UNEQUAL, ["--objective", "safe"]),
    ("three cards", "tiny-llama", THREE, ["--objective", "safe"]),
    ("a long context", "tiny-llama", UNEQUAL, ["--ctx", "4096", "--parallel", "4", "--objective", "safe"]),
    ("the longest context", "tiny-llama", UNEQUAL, ["--ctx", "max", "--objective", "context"]),
    ("a quantized cache", "tiny-llama", UNEQUAL, ["--kv-type", "q8_0", "--objective", "safe"]),
    ("one card of two by --use", "tiny-llama", UNEQUAL, ["--use", "1"]),
    ("grouped heads, norms of queries and keys", "tiny-qwen3", UNEQUAL, ["--objective", "safe"]),
    ("experts", "tiny-mixtral", UNEQUAL, ["--objective", "safe"]),
    ("tied embeddings", "tiny-llama-tied", UNEQUAL, ["--objective", "safe"]),
], lambda row: f"planned equals measured: {row[0]}")
def planned_is_measured(box, row):
    _, name, machine, options = row
    result = box.run(*words(box, "run", machine, "--once", "--json", "--log", "--threads", "1", *options, name=name))
    check_equal(result.code, 0, "exit")
    run = json_of(result)
    check_equal((run["ready"], run["equal"], run["simulated"]), (True, True, True), "ready, equal, simulated")
    for device in run["devices"]:
        for key in ("weights_bytes", "context_bytes"):
            check(device[key.replace("_bytes", "_equal")], f"{device['name']}: {key} is not called equal")
    check_against_log([dict(device["planned"], name=device["name"]) for device in run["devices"]], result.err,
                      ("weights_bytes", "context_bytes"))


@case("planned equals measured: a model in three files")
def split_files(box):
    make_model("tiny-llama", box.folder / "parts.gguf", "--split", "3")
    result = box.run("run", box.folder / "parts-00001-of-00003.gguf", "--gpus", box.use(UNEQUAL), "--engine", engine(), "--once",
                     "--json", "--threads", "1", "--objective", "safe")
    check_equal(result.code, 0, "exit")
    check_equal(json_of(result)["equal"], True, ".equal")


@case("the cards hold exactly what was planned, to the byte")
def books_agree(box):
    options = ["--objective", "safe"]
    planned = plan(box, UNEQUAL, *options)["devices"]
    port = free_port()
    program = box.program(*words(box, "run", UNEQUAL, "--port", port, "--threads", "1", *options))
    program.wait_for(rf"ready: http://127\.0\.0\.1:{port}\b")
    check_equal(len([device for device in planned if device["weights_bytes"]]), 2, "cards in use")
    for card, device in enumerate(planned):
        check_equal(box.used_bytes(card), device["weights_bytes"] + device["context_bytes"] + device["compute_bytes"],
                    f"bytes used of card {card}")
    program.signal(signal.SIGTERM)
    check_equal(program.finish().code, 0, "exit")
    check_equal([box.used_bytes(card) for card in range(2)], [0, 0], "bytes used after the end")


@case("a chat message is answered, and everything says SIMULATED")
def asks(box):
    result = box.run(*words(box, "run", UNEQUAL, "--once", "--threads", "1", "--objective", "safe", "--ask", "Are you there?"))
    check_equal(result.code, 0, "exit")
    check_match("SIMULATED", result.out, "stdout")
    check_match(r"answered: .*\([1-9][0-9]* tokens?\)", result.out, "stdout")
    check_match(r"CUDA0.*CUDA1", result.out, "the table")


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
    check_match("1800 MiB free", listed.out, "the cards after the kill")


@case("the command of --dry-run works in a shell")
def dry_run(box):
    port = free_port()
    options = ["--objective", "safe", "--threads", "1"]
    planned = plan(box, UNEQUAL, *options)["devices"]
    result = box.run(*words(box, "run", UNEQUAL, "--dry-run", "--port", port, *options))
    check_equal(result.code, 0, "exit of --dry-run")
    check_equal(result.out.count("\n"), 1, "lines on stdout")
    shell = box.start("sh", "-c", "exec " + result.out)
    shell.wait_for("all slots are idle")
    check_against_log(planned, shell.text("err"), ("weights_bytes", "context_bytes"))
    shell.signal(signal.SIGTERM)
    check_equal(shell.finish().code, 0, "exit of the command")


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


def limit_of(device, short_mib):
    """PRETEND_GPU_LIMIT_MIB: card 1 gives less than was planned for it."""
    total = device["weights_bytes"] + device["context_bytes"] + device["compute_bytes"]
    return f"1={total // MIB - short_mib}"


@case("a card that runs out at load is named, with what to do")
def runs_out(box):
    options = ["--objective", "safe"]
    box.env["PRETEND_GPU_LIMIT_MIB"] = limit_of(plan(box, UNEQUAL, *options)["devices"][1], 2)
    result = box.run(*words(box, "run", UNEQUAL, "--once", "--threads", "1", *options))
    check_equal(result.code, 1, "exit")
    check_match(r"CUDA1.*out of memory", result.err, "stderr")
    check_match(r"--retry-smaller|--margin|--ctx|smaller", result.err, "stderr")


@case("--retry-smaller finds a plan that such a card can hold")
def retries_smaller(box):
    options = ["--objective", "safe"]
    box.env["PRETEND_GPU_LIMIT_MIB"] = limit_of(plan(box, UNEQUAL, *options)["devices"][1], 2)
    result = box.run(*words(box, "run", UNEQUAL, "--once", "--json", "--retry-smaller", "--threads", "1", *options))
    check_equal(result.code, 0, "exit")
    check_match("smaller plan", result.err, "stderr")
    check_equal(json_of(result)["equal"], True, ".equal")


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


@case("the engine sees other cards than the machine file says")
def other_cards(box):
    command = words(box, "run", UNEQUAL, "--once", "--threads", "1", "--objective", "safe")
    box.env["PRETEND_GPUS"] = Machine(UNEQUAL.cards[0]).pretend_text()
    result = box.run(*command)
    check_equal(result.code, 1, "exit")
    check_match("3060|CUDA1", result.err, "stderr")
    check_equal(box.used_bytes(0), 0, "bytes used")


@cases([
    # name, the engine's flags
    ("defaults", []),
    ("uneven", ["-ts", "3,1"]),
    ("one card", ["-sm", "none", "-mg", "0"]),
    ("three layers", ["-ngl", "3"]),
    ("nothing on the cards", ["-ngl", "0"]),
    ("four slots", ["-np", "4", "-c", "8192"]),
    ("four slots, one pool", ["-np", "4", "-kvu", "-c", "8192"]),
    ("quantized cache", ["-ctk", "q8_0", "-ctv", "q4_0", "-fa", "on"]),
    ("no flash attention", ["-fa", "off"]),
    ("cache in host memory", ["-nkvo"]),
    ("large batches", ["-b", "4096", "-ub", "1024"]),
    ("by option names", ["--ctx-size", "6000", "--tensor-split", "1,2", "--gpu-layers", "99"]),
], lambda row: f"estimate of a command line: {row[0]}")
def estimate(box, row):
    given = row[1]
    flags = given + ["-np", "1"] * ("-np" not in given) + ["-c", "4096"] * ("-c" not in given and "--ctx-size" not in given)
    flags += ["-ngl", "99"] * (not {"-ngl", "--gpu-layers"} & set(given)) + ["-fit", "off"]
    result = box.run(*words(box, "estimate", UNEQUAL, "--json", "--"), *flags)
    check_equal(result.code, 0, "exit of estimate")
    server = box.start(engine(), "-m", model(), "--port", free_port(), "-t", "1", "-lv", "4", "--no-warmup", *flags)
    server.wait_for("all slots are idle")
    devices = json_of(result)["devices"]
    check_against_log(devices, server.text("err"), ("weights_bytes", "context_bytes"))
    for device in devices:
        measured, step = logged(server.text("err"), device["name"], "compute")
        check(device["compute_bytes"] >= measured - step, f"{device['name']}: {device['compute_bytes'] / MIB:.2f} MiB of compute "
              f"buffers planned, the engine logged {measured / MIB:.2f} MiB")
    server.signal(signal.SIGTERM)
    server.finish()


@case("a full-size model without data runs on two cards as planned")
def full_size(box):
    machine = Machine(RTX_3090, RTX_3060)
    result = box.run(*words(box, "run", machine, "--once", "--json", "--log", "--threads", "1", "--ctx", "8192", "--objective",
                            "safe", name="llama-3.1-8b"))
    check_equal(result.code, 0, "exit")
    run = json_of(result)
    check_equal(run["equal"], True, ".equal")
    check(sum(device["planned"]["weights_bytes"] for device in run["devices"]) > 4 << 30, "this is no full-size model")


if __name__ == "__main__":
    main()
