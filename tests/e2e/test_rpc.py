#!/usr/bin/env python3
"""Several machines, on this one: real ggml-rpc-servers with pretend cards of different memory, a real llama-server over them, and
what was planned for each device against what it logged."""
import re

from books import differences, estimate, server
from e2e import MIB, Card, Machine, case, cases, check, check_equal, check_match, engine, json_of, main, model
from nodes import start_node

LOCAL = Machine(Card("NVIDIA GeForce RTX 3060", 960, 900))
NODE_A = Machine(Card("NVIDIA GeForce RTX 3090", 1280, 1200))
NODE_B = Machine(Card("NVIDIA GeForce RTX 3060", 900, 850))
NODE_C = Machine(Card("NVIDIA GeForce RTX 3090", 1152, 1100))
NODE_TRIPLE = Machine(*[Card("NVIDIA GeForce RTX 3060", 900, 850)] * 3)
NODE_PAIR = Machine(Card("NVIDIA GeForce RTX 3060", 900, 850), Card("NVIDIA GeForce RTX 3090", 1152, 1100))
LOG_STEP_BYTES = 0.005 * MIB + 1


def words(box, command, nodes, *options, name="llama-3.2-1b"):
    return [command, model(name), "--gpus", box.use(LOCAL), "--engine", engine(), "--threads", "1",
            "--node", ",".join(f"127.0.0.1:{port}={path}" for port, path in nodes), "--network", "10Gbit", *options]


def logged(log, name, kind):
    sizes = re.findall(rf"{re.escape(name)} +{kind} buffer size = +([0-9.]+) MiB", log)
    return sum(float(size) * MIB for size in sizes), len(sizes) * LOG_STEP_BYTES


@cases([
    ("two servers of different memory", {"a": NODE_A, "b": NODE_B}, []),
    ("three servers of different memory", {"a": NODE_A, "b": NODE_B, "c": NODE_C}, ["--spread"]),
    ("a server with two cards", {"a": NODE_PAIR}, ["--spread"]),
    ("a server whose first card is unused", {"a": NODE_A, "b": NODE_TRIPLE}, ["--use", "0,1,3,4", "--spread"]),
], lambda row: f"planned equals measured over {row[0]}")
def planned_is_measured(box, row):
    _, machines, options = row
    nodes = [start_node(box, name, machine) for name, machine in machines.items()]
    result = box.run(*words(box, "run", nodes, "--once", "--json", "--log", "--no-cpu-layers", *options))
    check_equal(result.code, 0, "exit")
    run = json_of(result)
    check_equal((run["ready"], run["equal"]), (True, True), "ready, equal")
    remote = [device for device in run["devices"] if device["name"].startswith("RPC")]
    check(len(remote) >= len(machines), f"{len(remote)} remote devices are in use: {[d['name'] for d in run['devices']]}")
    for device in run["devices"]:
        for key in ("weights_bytes", "context_bytes"):
            planned, measured = device["planned"][key], device["measured"].get(key)
            if planned == 0 and measured is None:  # a card with the output layer alone has no cache to log
                continue
            check(measured is not None and abs(planned - measured) <= 4 * LOG_STEP_BYTES,
                  f"{device['name']} {key}: planned {planned}, measured {measured}")
        check(device["planned"]["compute_bytes"] >= device["measured"]["compute_bytes"] - MIB // 16,
              f"{device['name']}: compute buffers of {device['measured']['compute_bytes']} bytes, "
              f"{device['planned']['compute_bytes']} were planned")
    for process in box.started:
        if "rpc-server" in process.argv[0]:
            process.stop()


# Flags of a user's own: devices in the engine's order, servers first unless all are one device.
FLAGS = [
    "-ts 1,1,1,1", "", "-dev CUDA0,RPC1 -ts 1,3", "-sm tensor -ts 3,1,2,2", "-sm none -mg 2",
]


@cases(FLAGS, lambda text: f"estimate of --rpc {text}: as the engine logs it")
def estimate_is_logged(box, text):
    nodes = [start_node(box, name, machine) for name, machine in (("a", NODE_PAIR), ("b", NODE_A))]
    servers = ",".join(f"127.0.0.1:{port}" for port, _ in nodes)
    flags = ["-c", "2048", "-np", "1", "--rpc", servers, *text.split()]
    view, ours = estimate(box, box.use(LOCAL), model(), flags, "--node", ",".join(f"127.0.0.1:{port}={path}" for port, path in nodes))
    seen = server(box, model(), flags)
    if "Meta()" in seen:  # one device to the engine: the largest piece is logged
        check_equal([device["name"] for device in view["devices"]], ["CUDA0", "RPC0", "RPC1", "RPC2"], "the order")
        ours = {"Meta()": {kind: max(row[kind] for name, row in ours.items() if name != "host") for kind in ("weights", "context")}}
    for number, (port, card) in enumerate([(nodes[0][0], 0), (nodes[0][0], 1), (nodes[1][0], 0)]):
        seen[f"RPC{number}"] = seen.pop(f"RPC{card}[127.0.0.1:{port}]", {})
    wrong = differences(seen, ours)
    check(not wrong, "\n".join(wrong))
    for device in view["devices"]:
        measured = seen.get(device["name"], {}).get("compute", 0.0)
        check(device["compute_bytes"] / MIB >= measured - 0.1, f"{device['name']} compute: engine {measured:.2f} MiB, under")
    for process in box.started:
        if "rpc-server" in process.argv[0]:
            process.stop()


@cases([
    ("unknown", "--rpc 10.0.0.9:1", "describe them with --node 10.0.0.9:1=FILE"),
    ("no port", "--rpc 10.0.0.2", "takes HOST:PORT"),
    ("twice", "--rpc 10.0.0.2:50052,10.0.0.2:50052", "twice"),
], lambda row: f"estimate of --rpc, a server {row[0]}")
def bad_servers(box, row):
    _, text, sentence = row
    a = box.file("a.yaml", NODE_A.file_text())
    result = box.run("estimate", model(), "--gpus", box.use(LOCAL), "--node", f"10.0.0.2={a}", "--", *text.split())
    check_equal(result.code, 2, "exit")
    check_match(sentence, result.err, "the refusal")


@case("the plan says what the network costs, warns, and names the servers in order")
def plan_over_network(box):
    a, b = box.file("a.yaml", NODE_A.file_text()), box.file("b.yaml", NODE_B.file_text())
    base = ["plan", model("llama-3.2-1b"), "--gpus", box.use(LOCAL), "--node", f"10.0.0.2={a},10.0.0.3:9000={b}", "--no-cpu-layers"]
    plans = {speed: json_of(box.run(*base, "--json", "--network", speed)) for speed in ("100Mbit", "10Gbit")}
    command = plans["10Gbit"]["command"]
    check_equal(command[command.index("--rpc") + 1], "10.0.0.2:50052,10.0.0.3:9000", "--rpc")
    check(plans["100Mbit"]["predicted"]["prefill_tokens_per_second"] < plans["10Gbit"]["predicted"]["prefill_tokens_per_second"],
          "a slow network makes prompts no slower")
    check_match("WARNING.*without password", box.run(*base).out, "the plan")


@case("a model that fits here leaves the other machine alone")
def stays_here(box):
    a = box.file("a.yaml", Machine(Card("Tesla P40", 24576, 24000)).file_text())  # more memory, and slower
    plan = json_of(box.run("plan", model("tiny-llama"), "--gpus", box.use(LOCAL), "--node", f"10.0.0.2={a}", "--json"))
    check("--rpc" not in plan["command"], "--rpc stands in the command")


@cases([
    ("no file", "10.0.0.2", "is not HOST=FILE"),
    ("no such file", "10.0.0.2=/nowhere.yaml", "nowhere.yaml"),
    ("a host that is a flag", "-x=/nowhere.yaml", "nowhere|no host"),
    ("a bad port", "a:99999=/x.yaml", "no port"),
], lambda row: f"--node: {row[0]}")
def bad_nodes(box, row):
    _, node, sentence = row
    result = box.run("plan", model("tiny-llama"), "--gpus", box.use(LOCAL), "--node", node)
    check(result.code in (1, 2), f"exit {result.code}")
    check_match(sentence, result.err, "the refusal")


@case("an engine of one machine refuses several")
def one_machine_only(box):
    a = box.file("a.yaml", NODE_A.file_text())
    result = box.run("plan", model("tiny-llama"), "--gpus", box.use(LOCAL), "--node", f"b={a}", "--engine", "koboldcpp")
    check_equal(result.code, 1, "exit")
    check_match("uses the cards of one machine", result.err, "the refusal")


if __name__ == "__main__":
    main()
