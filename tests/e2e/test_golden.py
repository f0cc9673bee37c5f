#!/usr/bin/env python3
"""Every golden command of llama.cpp's programs, taken by the real program.

The commands are those of tests/app/commands.txt and tests/golden/*/want.*, word for word.  Only what cannot be here is
replaced: the model by a tiny one, the cards by as many pretend ones, other machines' addresses by real rpc-servers on loopback,
the port by a free one, and the program's path.  A parser that refuses a word fails the case.
"""
import json
import os
import pathlib
import re
import shlex

from e2e import (ROOT, Card, Machine, Skip, case, cases, check, check_equal, check_match, engine, free_port, http_json, main,
                 model, wait_until)
from nodes import start_node

COMMANDS = ROOT / "tests/app/commands.txt"
GOLDEN = ROOT / "tests/golden"
PROGRAMS = ("llama-server", "llama-bench", "ggml-rpc-server")
LOADED_TOKENS_MOST = 32768  # a longer context is parsed; the memory for it is not this machine's to give
CONTROL = "--no-such-flag"


# ---- the golden commands -------------------------------------------------------------------------------------------------


def of_commands_file():
    """(case, argv without environment) of each case for a program of llama.cpp."""
    for block in COMMANDS.read_text().split("## ")[1:]:
        line, *rows = block.splitlines()
        words = shlex.split(line)
        name = words[words.index("--engine") + 1] if "--engine" in words else "llama.cpp"
        if name not in ("llama.cpp", "llama-bench") or not rows or rows[0].startswith("exit "):
            continue
        argv = ["llama-server" if name == "llama.cpp" else name]
        for row in rows:
            if row.startswith("-"):  # a flag and its value; variables come before
                argv += shlex.split(row.split(": ")[0])
        yield line, argv


def of_text(text):
    """Commands that stand in an output: a line of shell, or a JSON array after "command"."""
    for line in text.splitlines():
        if re.match(r"(env [^ ]+=|llama-server -|llama-bench -|ggml-rpc-server -)", line):
            words = shlex.split(line)
            yield words[next(i for i, word in enumerate(words) if word in PROGRAMS):]
    for found in re.finditer(r'"command": (\[[^]]*\])', text):
        argv = json.loads(found[1])
        if argv and argv[0] in PROGRAMS:
            yield argv


def golden():
    yield from of_commands_file()
    for path in sorted(GOLDEN.glob("*/want.*")):
        for argv in of_text(path.read_text()):
            yield path.parent.name, argv


ALL = list(golden())
SERVERS = {tuple(argv): name for name, argv in ALL if argv[0] == "llama-server"}
BENCHES = {tuple(argv): name for name, argv in ALL if argv[0] == "llama-bench"}
RPC_SERVERS = {tuple(argv): name for name, argv in ALL if argv[0] == "ggml-rpc-server"}


def value(argv, flag):
    return argv[argv.index(flag) + 1] if flag in argv else None


def cards(names):
    """As many pretend cards as the command names of this machine."""
    count = len({name for name in names if name.startswith("CUDA")})
    return Machine(*[Card("NVIDIA GeForce RTX 3090", 24576, 24100)] * max(1, count))


def replaced(argv, **values):
    argv = list(argv)
    for flag, word in values.items():
        flag = "-" + flag
        if flag in argv:
            argv[argv.index(flag) + 1] = str(word)
    return argv


def remote_cards(argv):
    """Cards of each server in --rpc's order, as far as -dev tells: RPC0, RPC1, ... count through all of them."""
    servers = (value(argv, "--rpc") or "").split(",") if "--rpc" in argv else []
    devices = [name for name in value(argv, "-dev").split(",") if name.startswith("RPC")]
    most = 1 + max((int(name[3:]) for name in devices), default=-1)
    return [most - (len(servers) - 1) if i == len(servers) - 1 else 1 for i in range(len(servers))]


def here(box, argv, path):
    """The command as it can run on this machine, with the servers it needs."""
    box.use(cards((value(argv, "-dev") or "CUDA0").replace("/", ",").split(",")))
    argv = replaced(argv, m=path)
    if "--rpc" in argv:
        nodes = [start_node(box, f"node{i}", cards([f"CUDA{c}" for c in range(count)]))
                 for i, count in enumerate(remote_cards(argv))]
        argv = replaced(argv, **{"-rpc": ",".join(f"127.0.0.1:{port}" for port, _ in nodes)})
    return [engine().parent / argv[0], *replaced(argv, **{"-port": free_port(), "-host": "127.0.0.1"})[1:]]


def stop(box):
    for process in box.started:
        process.stop()


# ---- llama-server --------------------------------------------------------------------------------------------------------


def try_parser(box, words):
    """What llama-server says when it has read the words and looks for a model that is not there."""
    done = box.start(*words).finish()
    check(done.code != 0, "it loaded a model that is not there")
    return done.out + done.err


@cases(sorted(SERVERS), lambda argv: f"llama-server's parser takes {SERVERS[argv]}: {' '.join(argv[3:])}"[:150])
def server_parses(box, argv):
    gone = box.folder / "gone.gguf"
    words = here(box, argv, gone)
    said = try_parser(box, words)
    check_match(rf"(failed to (open|load)|unable to (open|load)).*{re.escape(str(gone))}", said, "the server after its parser")
    check(not re.search(r"^error: |error while handling argument|invalid (argument|device)", said, re.M), f"it refused a word:\n{said}")
    stop(box)


@case("a flag that there is not is refused, as the cases above would show")
def server_control(box):
    said = try_parser(box, here(box, sorted(SERVERS)[0], box.folder / "gone.gguf") + [CONTROL])
    check_match(rf"invalid argument: {CONTROL}", said, "the server")
    stop(box)


def wants(argv):
    """What the server's log must say of a loaded command."""
    slots = int(value(argv, "-np"))
    yield "context of all slots", rf"n_ctx += {value(argv, '-c')}\b"
    yield "slots", rf"n_seq_max += {slots}\b"
    yield "batch", rf"n_batch += {min(int(value(argv, '-b')), int(value(argv, '-c')))}\b"
    yield "micro-batch", rf"n_ubatch += {value(argv, '-ub')}\b"
    yield "flash attention", rf"flash_attn += {'enabled' if value(argv, '-fa') == 'on' else 'disabled'}"
    yield "keys", rf"K \({value(argv, '-ctk')}\)"
    yield "values", rf"V \({value(argv, '-ctv')}\)"
    for name in value(argv, "-dev").split(","):
        yield f"device {name}", rf"using device {name}"


LOADED = [argv for argv in sorted(SERVERS) if int(value(argv, "-c")) <= LOADED_TOKENS_MOST]
LOADED = list({("--spec-type" in argv, value(argv, "-dev"), value(argv, "-c"), value(argv, "-np"), value(argv, "-ctk"), "--rpc" in argv): argv
               for argv in LOADED}.values())


@cases(LOADED, lambda argv: f"llama-server loads under {SERVERS[argv]}: {' '.join(argv[3:])}"[:150])
def server_loads(box, argv):
    drafts = "--spec-type" in argv
    words = here(box, argv, model("tiny-qwen35" if drafts else "tiny-llama"))
    server = box.start(*words, "-t", "1", "--no-warmup")
    server.wait_for("all slots are idle", seconds=180)  # a TERM before that is lost
    said = server.text("err") + server.text("out")
    for what, pattern in wants(argv):
        check_match(pattern, said, what)
    all_layers = 10 if drafts else 9
    layers = min(all_layers, int(value(argv, "-ngl")))
    check_match(rf"offloaded {layers}/{all_layers} layers", said, "layers on the cards")
    if drafts:
        check_match(r"creating MTP draft context", said, "the draft")
        check_match(rf"n_outputs_max_per_seq = {1 + int(value(argv, '--spec-draft-n-max'))}\b", said, "rows for its guesses")
    check_equal(http_json(int(value(words, "--port")), "/health")["status"], "ok", "/health")
    stop(box)


# ---- llama-bench, ggml-rpc-server ----------------------------------------------------------------------------------------


@cases(sorted(BENCHES), lambda argv: f"llama-bench measures under {BENCHES[argv]}: {' '.join(argv[3:])}"[:150])
def bench_runs(box, argv):
    if not (engine().parent / "llama-bench").exists():
        raise Skip("the engine came without llama-bench")
    done = box.start(*here(box, argv, model()), "-p", "8", "-n", "2", "-r", "1", "-t", "1").finish()
    check_equal(done.code, 0, f"exit: {done.err[-500:]}")
    for row in json.loads(done.out):
        got = [str(row[key]) for key in ("n_gpu_layers", "n_batch", "n_ubatch", "type_k", "type_v")]
        check_equal(got, [value(argv, flag) for flag in ("-ngl", "-b", "-ub", "-ctk", "-ctv")], "what it measured with")
        check_equal(row["devices"], value(argv, "-dev"), "devices")
        if "-ts" in argv:
            got = [float(share) for share in row["tensor_split"].split("/")][:len(value(argv, "-ts").split("/"))]
            check_equal(got, [float(share) for share in value(argv, "-ts").split("/")], "shares")


@cases(sorted(RPC_SERVERS), lambda argv: f"ggml-rpc-server listens under {RPC_SERVERS[argv]}: {' '.join(argv)}")
def rpc_listens(box, argv):
    if not (engine().parent / "ggml-rpc-server").exists():
        raise Skip("the engine came without ggml-rpc-server")
    box.use(cards(value(argv, "-d").split(",")))
    port = free_port()
    words = replaced(argv, H="127.0.0.1", p=port)[1:]
    server = box.start(engine().parent / "ggml-rpc-server", *words)
    wait_until(lambda: f"127.0.0.1:{port}" in server.text("out") + server.text("err") or server.popen.poll() is not None, "its address")
    check(server.popen.poll() is None, "it ended")
    for name in value(argv, "-d").split(","):
        check_match(rf"{name}:", server.text("out") + server.text("err"), "its list of devices")
    stop(box)
    done = box.start(engine().parent / "ggml-rpc-server", *words, CONTROL).finish()
    check_match(rf"unknown argument: {CONTROL}", done.out + done.err, "a server with a flag that there is not")


# ---- presets -------------------------------------------------------------------------------------------------------------


PRESETS = sorted(path for path in GOLDEN.glob("export-preset*/want.out"))


@cases(PRESETS, lambda path: f"the router reads {path.parent.name} and starts its child with every key")
def preset_loads(box, path):
    text = path.read_text()
    text = re.sub(r"^model = .*$", f"model = {model()}", text, flags=re.M)
    name = re.search(r"^\[(.*)\]$", text, re.M)[1]
    keys = dict(line.split(" = ", 1) for line in text.splitlines() if " = " in line and not line.startswith("version"))
    box.use(cards(keys["dev"].split(",")))
    port = free_port()
    router = box.start(engine(), "--models-preset", box.file("presets.ini", text), "--host", "127.0.0.1", "--port", port)
    router.wait_for(r"listening", seconds=60)

    def status():
        return {entry["id"]: entry for entry in http_json(port, "/v1/models")["data"]}[name]["status"]
    http_json(port, "/models/load", {"model": name})
    wait_until(lambda: status()["value"] in ("loaded", "failed"), "the child", 120)
    check_equal(status()["value"], "loaded", "the child")
    args = status()["args"]
    for key in ("ts", "c", "np", "b", "ub", "ctk", "ctv", "ngl"):
        check(key not in keys or keys[key] in args, f"the child was not told {key} = {keys.get(key)}: {args}")
    stop(box)
    bad = box.start(engine(), "--models-preset", box.file("bad.ini", text + "no-such-key = 1\n"), "--port", free_port()).finish()
    check_match(r"no-such-key", bad.out + bad.err, "a router whose preset has a key that there is not")


@case("there are golden commands of each kind")
def kinds(box):
    check(len(SERVERS) >= 20 and len(BENCHES) >= 2 and RPC_SERVERS and PRESETS,
          f"{len(SERVERS)} of llama-server, {len(BENCHES)} of llama-bench, {len(RPC_SERVERS)} of ggml-rpc-server, {len(PRESETS)} presets")


if __name__ == "__main__":
    main()
