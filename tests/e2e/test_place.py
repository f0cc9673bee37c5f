#!/usr/bin/env python3
"""The words that a plan prints, given to a real llama-server on the same pretend cards, put exactly the planned layers on each."""
import random
import re

from books import differences, new_books, read_log
from e2e import MIB, Card, Machine, case, cases, check, check_equal, check_match, engine, json_of, main, model

NAMES = ["NVIDIA GeForce RTX 3090", "NVIDIA GeForce RTX 3060", "NVIDIA GeForce RTX 4060 Ti 16GB", "Tesla P40"]
TAKEN_MIB = 595  # of a card before it holds a layer: context, margin and some compute
TRIES = 100  # random machines until one has a plan of the kind wanted
ALL = ["--spread"]  # else a card more would have to pay

# name, model, MiB that all cards together have for it at most, options
ROWS = [
    ("dense", "tiny-llama", 80, ["--ctx", "2048", "--parallel", "4", *ALL]),
    ("dense, tied", "tiny-llama-tied", 80, ["--ctx", "2048", "--parallel", "4", *ALL]),
    ("dense, first layers in host memory", "tiny-llama", 70, ["--ctx", "4096", "--parallel", "4", "--kv-type", "f16"]),
    ("experts", "tiny-mixtral", 80, ["--ctx", "1024", "--parallel", "4", *ALL]),
    ("experts of first layers in host memory", "tiny-mixtral", 50, ["--ctx", "2048", "--kv-type", "f16", "--ubatch", "512", *ALL]),
    ("states", "tiny-qwen35", 80, ["--ctx", "2048", "--parallel", "4", *ALL]),
    ("a next-token block that drafts", "tiny-qwen35", 80, ["--ctx", "2048", "--parallel", "4", "--draft", "3", *ALL]),
    ("experts and a next-token block that drafts", "tiny-glm4moe", 80, ["--ctx", "2048", "--parallel", "4", "--draft", "2", *ALL]),
]


def random_machine(rng, room_mib):
    """2 to 4 cards, each with a random part of the room, or less."""
    count = rng.randint(2, 4)
    room_mib *= rng.uniform(0.1, 1)
    parts = [rng.uniform(0.5, 1.5) for _ in range(count)]
    return Machine(*[Card(rng.choice(NAMES), 12288, TAKEN_MIB + round(room_mib * part / sum(parts))) for part in parts])


def planned(plan):
    """{layer: device}; layers that no card holds are the CPU's."""
    where = {layer: "CPU" for layer in range(plan["host"]["layer_count"])}
    for row in plan["devices"]:
        where.update({row["layer_first"] + i: row["name"] for i in range(row["layer_count"])})
    return where


def logged(log):
    return {int(layer): device for layer, device in re.findall(r"layer +(\d+) assigned to device (\w+)", log)}


def kept_experts(log):
    """Layers whose experts the engine says that it leaves in host memory."""
    return {int(layer) for layer in re.findall(r"tensor blk\.(\d+)\.ffn_\w+_exps\.weight .*overridden to CUDA_Host", log)}


def kept_layers(plan):
    """Layers whose experts are planned for host memory."""
    words = plan["command"]
    return set(range(int(words[words.index("-ncmoe") + 1]))) if "-ncmoe" in words else set()


def is_wanted(plan, name):
    in_host = bool(kept_layers(plan) if "experts" in name else plan["host"]["layer_count"])
    return len(plan["devices"]) > 1 and in_host == ("host" in name)


def load(box, words):
    """An engine's command until it waits for requests: its log."""
    # Only at 5 it names the device of each layer.
    process = box.start(*words, "--port", 0, "-lv", "5", "--no-warmup", "--offline", "-t", "1")
    process.wait_for(r"all slots are idle")
    process.stop()
    return process.text("err") + process.text("out")


def launch(box, plan):
    """The plan's own command, but for its port and its log."""
    for name, value in plan["environment"].items():
        if value is None:
            box.env.pop(name, None)
        else:
            box.env[name] = value
    return load(box, plan["command"])


def books_of(plan):
    books = new_books()
    for row in [*plan["devices"], dict(plan["host"], name="host")]:
        for kind in ("weights", "context"):
            books[row["name"]][kind] = row[f"{kind}_bytes"] / MIB
    return books


@cases(ROWS, lambda row: row[0])
def place(box, row):
    name, spec, room_mib, options = row
    rng = random.Random(name)
    for _ in range(TRIES):
        machine = random_machine(rng, room_mib)
        ran = box.run("plan", model(spec), "--gpus", box.use(machine), "--engine", engine(), "--json", *options)
        if ran.code == 0 and is_wanted(json_of(ran), name):
            break
    else:
        check(False, f"none of {TRIES} random machines led to such a plan")
    plan = json_of(ran)
    log = launch(box, plan)
    where, seen = planned(plan), logged(log)
    check_equal({layer: seen.get(layer) for layer in where}, where, "the engine's layers")
    # Next-token blocks are counted between the last layer and the output, which comes last.
    check_equal(seen[max(seen)], next(row["name"] for row in plan["devices"] if row["holds_output"]), "the output layer's card")
    check_equal(kept_experts(log), kept_layers(plan), "layers whose experts are in host memory")
    found = differences(read_log(log.splitlines()), books_of(plan))
    check(not found, "; ".join(found))


@cases([("nothing to change", Machine(Card(NAMES[0], 24576, 24100), Card(NAMES[1], 12288, 11900))),
        ("a fit that moves layers", Machine(Card(NAMES[0], 24576, 4400), Card(NAMES[1], 12288, 3100)))],
       lambda row: f"--compare says what the engine does by itself: {row[0]}")
def compare(box, row):
    what, machine = row
    ran = box.run("plan", model("llama-3.1-8b"), "--gpus", box.use(machine), "--engine", engine(), "--ctx", "4096", "--compare", "--json")
    check_equal(ran.code, 0, "exit of plan")
    plan, default, fit = json_of(ran)["comparison"]
    words = [engine(), "-m", model("llama-3.1-8b"), "-c", "4096", "-np", "1", "-b", "2048", "-ub", plan["ubatch_tokens"],
             "-ctk", plan["key_type"], "-ctv", plan["value_type"], "-fa", "on"]
    box.env["CUDA_DEVICE_ORDER"] = "PCI_BUS_ID"
    where, seen = planned(default), logged(load(box, [*words, "-fit", "off"]))
    check_equal({layer: seen.get(layer) for layer in where}, where, "layers of the default split")
    where, seen = planned(fit), logged(load(box, words))
    # llama-fit-params reserves more logits than the server, which so may keep another layer on the cards.
    spared = sum(device == "CPU" for device in where.values()) - sum(device == "CPU" for device in seen.values())
    check(0 <= spared <= 1, f"the server's fit keeps {-spared} layers more in host memory than it was said to")
    if what == "nothing to change":
        check_equal({layer: seen.get(layer) for layer in where}, where, "layers of its own fit")


def card_mib(books, device):
    return sum(books[device][kind] for kind in ("weights", "context", "compute"))


@cases([("f16", "1", 597), ("q8_0", "1", 591), ("f16", "4", 606)], lambda row: f"the longest context is: {row[0]} cache, {row[1]} slots")
def longest(box, row):
    """By the engine's log, 256 tokens more for each slot are more than the card has beside overhead and margin, or all but a MiB of it."""
    cache, slots, free_mib = row
    ran = box.run("plan", model(), "--gpus", box.use(Machine(Card(NAMES[0], 12288, free_mib))), "--engine", engine(), "--json",
                  "--no-cpu-layers", "--ctx", "max", "--parallel", slots, "--kv-type", cache, "--ubatch", "512")
    check_equal(ran.code, 0, "exit of plan")
    plan = json_of(ran)
    device = plan["devices"][0]
    room_mib = (device["free_bytes"] - device["overhead_bytes"] - device["margin_bytes"]) / MIB
    check(plan["context_tokens_per_slot"] % 256 == 0, "the context is no multiple of 256")
    check(plan["context_tokens_per_slot"] < 4096, "it is all that the model was trained for")
    used = card_mib(read_log(launch(box, plan).splitlines()), device["name"])
    check(used <= room_mib + 0.05, f"{used:.2f} MiB in {room_mib:.2f}")
    words = plan["command"]
    words[words.index("-c") + 1] = str(plan["context_tokens"] + 256 * int(slots))
    used = card_mib(read_log(launch(box, plan).splitlines()), device["name"])
    # The search sizes compute by a card's role, which is up to a MiB more than the graph needs.
    check(used > room_mib - 1, f"a longer context takes {used:.2f} of {room_mib:.2f} MiB")


@case("--compare does not ask for the fit of an engine that sees none of the cards")
def unseen(box):
    machine_file = box.file("machine.yaml", Machine(Card(NAMES[0], 24576, 24100)).file_text())
    ran = box.run("plan", model(), "--gpus", machine_file, "--engine", engine(), "--compare", "--json")
    check_equal(ran.code, 0, "exit of plan")
    fit = json_of(ran)["comparison"][2]
    check(not fit["judged"], "a fit without cards was judged")
    check_match(r"needs CUDA0 \(NVIDIA GeForce RTX 3090\), but \S+ sees no device at all", fit["problem"], "the problem")


main()
