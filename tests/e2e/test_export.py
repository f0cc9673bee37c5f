#!/usr/bin/env python3
"""Exports read back by the programs they are for: systemd, /bin/sh, a YAML parser, llama-server's own preset reader, an Ollama-like
child.  What they start is exactly the plan's command."""
import json
import os
import shlex
import shutil
import subprocess
import sys

from e2e import (BUILD, ROOT, Box, Card, Machine, Skip, case, cases, check, check_equal, check_match, engine, free_port, http_json,
                 json_of, main, model, wait_until)

PAIR = Machine(Card("NVIDIA GeForce RTX 3090", 6144, 5900), Card("NVIDIA GeForce RTX 3060", 3584, 3400))
FULL = "llama-3.1-8b"


def yaml_load(text):
    try:
        import yaml
    except ImportError:
        raise Skip("python3-yaml is not installed") from None
    return yaml.safe_load(text)


def folder(box, spec, quant):
    path = box.folder / f"{spec}-{quant}"
    subprocess.run([sys.executable, ROOT / "tools/make-hf-model.py", spec, path, "--quant", quant], check=True,
                   stdout=subprocess.DEVNULL, stdin=subprocess.DEVNULL)
    return path


def export(box, form, *words):
    result = box.run("export", form, *words)
    check_equal(result.code, 0, f"exit of export {form}")
    return result.out


def plan_of(box, *words):
    result = box.run("plan", "--json", *words)
    check_equal(result.code, 0, "exit of plan")
    return json_of(result)


def show_self(box):
    """A stand-in engine that prints what it was started with, as JSON."""
    return box.file("show-engine", f"#!{sys.executable}\nimport json, os, sys\nprint(json.dumps([sys.argv, dict(os.environ)]))\n",
                    0o755)


@case("systemd accepts the units")
def systemd(box):
    if not shutil.which("systemd-analyze"):
        raise Skip("systemd-analyze is not installed")
    machine = box.use(PAIR)
    for form, words in (("systemd", [model(), "--gpus", machine, "--engine", engine()]), ("systemd-daemon", [])):
        unit = box.file(f"{form}.service", export(box, form, *words))
        done = subprocess.run(["systemd-analyze", "verify", "--user", "--man=no", unit], env=box.env, text=True,
                              stdin=subprocess.DEVNULL, capture_output=True)
        said = [line for line in done.stderr.splitlines() if unit.name in line]
        check(not said, f"systemd-analyze verify says of {form}:\n" + "\n".join(said))
        text = unit.read_text()
        for setting in ("NoNewPrivileges=yes", "ProtectSystem=strict", "RestrictNamespaces=yes", "CapabilityBoundingSet="):
            check(form != "systemd" or setting in text, f"{form} lacks {setting}")


@case("the daemon's unit is the one among the examples, with this program's path")
def daemon_unit(box):
    begin = lambda text: text[text.index("[Unit]"):]
    example = begin((ROOT / "examples/systemd/dualgpuopt.service").read_text())
    program = BUILD.resolve() / "dualgpuopt"
    check_equal(begin(export(box, "systemd-daemon")), example.replace("/usr/local/bin/dualgpuopt", f'"{program}"'), "the unit")
    check("KillMode=process" in example, "engines would end with the daemon")


@case("the shell script starts exactly the plan's command, in its environment")
def shell(box):
    machine = box.file("m.yaml", PAIR.file_text())
    odd = box.folder / "odd $name '\"\\ %.gguf"
    os.link(model(FULL), odd) if os.stat(model(FULL)).st_dev == os.stat(box.folder).st_dev else odd.symlink_to(model(FULL))
    words = [odd, "--gpus", machine, "--spread"]
    script = box.file("start.sh", export(box, "sh", *words), 0o755)
    plan = plan_of(box, *words)
    bin_folder = box.folder / "bin"
    bin_folder.mkdir()
    shutil.copy(show_self(box), bin_folder / "llama-server")
    env = dict(box.env, PATH=f"{bin_folder}:{os.environ['PATH']}", LLAMA_ARG_CTX_SIZE="99", CUDA_VISIBLE_DEVICES="7")
    done = subprocess.run(["/bin/sh", script], env=env, text=True, stdin=subprocess.DEVNULL, capture_output=True)
    check_equal(done.returncode, 0, "exit of the script: " + done.stderr)
    argv, seen = json.loads(done.stdout)
    check_equal(argv[1:], [os.path.realpath(word) if word == str(odd) else word for word in plan["command"][1:]], "words")
    check("LLAMA_ARG_CTX_SIZE" not in seen, "a left-over variable reached the engine")
    for name, value in plan["environment"].items():
        if value is not None:
            check_equal(seen.get(name), value, name)


@case("the environment file is read back by sh")
def environment_file(box):
    machine = box.file("m.yaml", PAIR.file_text())
    file = box.file("launch.env", export(box, "env", model(FULL), "--gpus", machine, "--engine", "ollama", "--spread"))
    done = subprocess.run(["/bin/sh", "-c", f"set -a; . {shlex.quote(str(file))}; env"], env={}, text=True, capture_output=True,
                          stdin=subprocess.DEVNULL)
    seen = dict(line.split("=", 1) for line in done.stdout.splitlines())
    check_equal(seen["OLLAMA_NUM_PARALLEL"], "1", "OLLAMA_NUM_PARALLEL")
    check("LLAMA_ARG_TENSOR_SPLIT" in seen, "the split is not in the environment")


@case("compose: the command, the cards, the model read-only")
def compose(box):
    machine = box.file("m.yaml", PAIR.file_text())
    words = [model(FULL), "--gpus", machine, "--spread"]
    service = yaml_load(export(box, "compose", *words, "--name", "chat"))["services"]["chat"]
    want = plan_of(box, *words)["command"][1:]
    want[want.index("--host") + 1] = "0.0.0.0"
    check_equal([str(word) for word in service["command"]], want, "command")
    check_equal(service["volumes"][0]["read_only"], True, "read_only")
    check_equal(service["ports"], ["127.0.0.1:8080:8080"], "ports")
    device = service["deploy"]["resources"]["reservations"]["devices"][0]
    check_equal((device["driver"], len(device["device_ids"])), ("nvidia", 2), "cards")
    # inside, the cards are numbered anew in the order of the bus, which is not the plan's
    check_equal(service["environment"]["CUDA_VISIBLE_DEVICES"], "1,0", "the order of the cards inside")


@case("llama-swap: the entry splits into the plan's words")
def llama_swap(box):
    machine = box.file("m.yaml", PAIR.file_text())
    words = [model(FULL), "--gpus", machine, "--spread"]
    entry = yaml_load(export(box, "llama-swap", *words, "--name", "chat"))["models"]["chat"]
    want = plan_of(box, *words)["command"]
    want[want.index("--port") + 1] = "${PORT}"
    check_equal(shlex.split(entry["cmd"]), want, "cmd")
    check_equal(entry["checkEndpoint"], "/health", "checkEndpoint")
    check("CUDA_DEVICE_ORDER=PCI_BUS_ID" in entry["env"], "env lacks the order of the cards")


@case("llama-server reads its preset, and loads the model as planned")
def preset(box):
    machine = box.use(PAIR)
    words = [model(), "--gpus", machine, "--engine", engine(), "--ctx", "1024", "--parallel", "2", "--spread"]
    file = box.file("presets.ini", export(box, "preset", *words, "--name", "tiny"))
    port = free_port()
    router = box.start(engine(), "--models-preset", file, "--host", "127.0.0.1", "--port", port)
    wait_until(lambda: router.popen.poll() is not None or "listening" in router.text("err") + router.text("out"), "the router")
    check(router.popen.poll() is None, "the router ended")
    listed = {entry["id"]: entry for entry in http_json(port, "/v1/models")["data"]}
    check("tiny" in listed, f"the router lists {list(listed)}")
    http_json(port, "/models/load", {"model": "tiny"})

    def status():
        return {entry["id"]: entry for entry in http_json(port, "/v1/models")["data"]}["tiny"]["status"]
    wait_until(lambda: status()["value"] in ("loaded", "failed"), "the model to be loaded")
    args = " ".join(status().get("args", []))
    check_equal(status()["value"], "loaded", "status")
    for word in ("1024", "CUDA0,CUDA1"):
        check(word in args or word in router.text("err") + router.text("out"), f"the child was not told {word}: {args}")
    router.stop()


@cases([
    ("vllm", "llama-3.1-8b", "awq", [], lambda d: d["tensor-parallel-size"] >= 1 and d["max-model-len"] == 8192),
    ("tabbyapi", "llama-3.1-8b", "exl3", ["--spread"], lambda d: len(d["model"]["gpu_split"]) == 2 and d["network"]["port"] == 8080),
    ("accelerate", "llama-3.1-8b", "none", ["--spread", "--ctx", "1024", "--gpus-big"],
     lambda d: d["model.layers.0"] == 0 and d["lm_head"] == 1 and len(d) == 36),
], lambda row: f"{row[0]}: the file parses, with the plan's values")
def engine_files(box, row):
    form, spec, quant, options, good = row
    big = Machine(Card("NVIDIA GeForce RTX 3090", 24576, 24100), Card("NVIDIA GeForce RTX 3060", 12288, 11900))
    machine = box.file("m.yaml", big.file_text())
    text = export(box, form, folder(box, spec, quant), "--gpus", machine, *[word for word in options if word != "--gpus-big"])
    check(good(yaml_load(text)), f"{form}:\n{text}")


@case("a Modelfile names the model and its parameters")
def modelfile(box):
    machine = box.file("m.yaml", PAIR.file_text())
    text = export(box, "modelfile", model(FULL), "--gpus", machine, "--ctx", "4096", "--use", "0")
    lines = dict(line.rsplit(" ", 1) for line in text.splitlines() if line and not line.startswith("#"))
    check_equal(lines["PARAMETER num_ctx"], "4096", "num_ctx")
    check_equal(lines["FROM"], str(model(FULL).resolve()), "FROM")


@case("a group of pods: one leader, alike workers, the cards of each")
def kubernetes(box):
    pair = Machine(*[Card("NVIDIA GeForce RTX 3090", 24576, 24100)] * 2)
    machine = box.file("m.yaml", pair.file_text())
    try:
        import yaml
    except ImportError:
        raise Skip("python3-yaml is not installed") from None
    text = export(box, "k8s", folder(box, "llama-3.1-70b", "fp8"), "--gpus", machine, "--node", f"10.0.0.2={machine}", "--engine", "vllm",
                  "--host", "10.0.0.1", "--name", "big")
    group, service = yaml.safe_load_all(text)
    template = group["spec"]["leaderWorkerTemplate"]
    check_equal((group["kind"], template["size"], template["restartPolicy"]),
                ("LeaderWorkerSet", 2, "RecreateGroupOnPodRestart"), "kind, size, policy")
    for role in ("leaderTemplate", "workerTemplate"):
        container = template[role]["spec"]["containers"][0]
        check_equal(container["resources"]["limits"]["nvidia.com/gpu"], "2", f"cards of the {role}")
        check("--node-rank $LWS_WORKER_INDEX" in container["args"][0], f"the {role} has no rank")
    check("--headless" in template["workerTemplate"]["spec"]["containers"][0]["args"][0], "the worker serves too")
    check_equal(service["kind"], "Service", "the second document")
    text = export(box, "ray", folder(box, "llama-3.1-70b", "fp8"), "--gpus", machine, "--node", f"10.0.0.2={machine}", "--engine", "vllm",
                  "--host", "10.0.0.1")
    heads = [shlex.split(line) for line in text.splitlines() if " ray start " in line]
    check_equal([("--head" in head, "--num-gpus=2" in head) for head in heads], [(True, True), (False, True)], "ray start")
    for head in heads:  # each machine shows Ray the cards of the plan only
        check_equal(sorted(next(word for word in head if word.startswith("CUDA_VISIBLE_DEVICES=")).split("=")[1].split(",")), ["0", "1"],
                    "cards that Ray sees")
    serve = shlex.split(next(line for line in text.splitlines() if " vllm serve " in line))
    check_equal(serve[serve.index("--distributed-executor-backend") + 1], "ray", "the backend")
    for word in ("--nnodes", "--node-rank", "--master-addr", "10.0.0.2"):
        check(word not in serve, f"{word} stands in a command for Ray")
    text = export(box, "k8s", model(FULL), "--gpus", box.file("small.yaml", PAIR.file_text()), "--node",
                  f"10.0.0.2={box.folder / 'small.yaml'}", "--spread", "--no-cpu-layers")
    worker = next(yaml.safe_load_all(text))["spec"]["leaderWorkerTemplate"]["workerTemplate"]["spec"]["containers"][0]
    check("/app/ggml-rpc-server " in worker["args"][0], f"the worker runs {worker['args']}")
    result = box.run("export", "native", folder(box, "llama-3.1-70b", "fp8"), "--gpus", machine, "--node", f"10.0.0.2={machine}",
                     "--engine", "vllm")
    check_equal(result.code, 2, "exit with a loopback address")
    check_match("--host", result.err, "the refusal")


@case("Ollama's child takes the split from the environment")
def ollama_child(box):
    """Ollama starts llama-server with few flags and hands its environment on (llm/llama_server.go): the same here, with the
    real llama-server in its place."""
    machine = box.use(PAIR)
    plan = plan_of(box, model(), "--gpus", machine, "--engine", "ollama", "--spread", "--ctx", "1024")
    env = dict(box.env, **{name: value for name, value in plan["environment"].items() if value is not None})
    box.env = env
    port = free_port()
    child = box.start(engine(), "--model", model(), "--port", port, "--host", "127.0.0.1", "--no-webui", "--offline", "-c", "1024",
                      "-np", "1", "--log-verbosity", "4", "--no-log-prefix", "--no-log-timestamps", "--flash-attn", "on", "-b", "512",
                      "-ub", "512", "-t", "1")
    wait_until(lambda: child.popen.poll() is not None or "model loaded" in child.text("err") + child.text("out"), "the model")
    log = child.text("err") + child.text("out")
    for device in plan["devices"]:
        held = [float(line.split("=")[1].split("MiB")[0]) for line in log.splitlines()
                if f" {device['name']} model buffer size" in line]
        check(held and abs(held[-1] - device["weights_bytes"] / (1 << 20)) < 0.02,
              f"{device['name']}: planned {device['weights_bytes'] / (1 << 20):.2f} MiB, the child holds {held}")
    child.stop()


@case("llama-bench runs with the planned placement")
def bench(box):
    path = engine().parent / "llama-bench"
    if not path.exists():
        raise Skip("the engine came without llama-bench")
    machine = box.use(PAIR)
    plan = plan_of(box, model(), "--gpus", machine, "--engine", path, "--spread", "--", "-p", "16", "-n", "4", "-r", "1")
    box.env = dict(box.env, **{name: value for name, value in plan["environment"].items() if value is not None})
    done = box.start(path, *plan["command"][1:], "-t", "1").finish()
    check_equal(done.code, 0, "exit of llama-bench: " + done.err[-500:])
    rows = json.loads(done.out)
    check_equal({row["n_gpu_layers"] for row in rows}, {9}, "layers on the cards")
    check(all(row["avg_ts"] > 0 for row in rows), "no speed was measured")


@cases([("nonsense", ["nonsense"], 2, "is no format; there are systemd"), ("no model", ["sh"], 2, "usage: dualgpuopt export sh MODEL"),
        ("another engine's file", ["preset", "M", "--engine", "koboldcpp"], 1, "llama.cpp's"),
        ("no image known", ["compose", "M", "--engine", "koboldcpp"], 1, "no published image"),
        ("one machine only", ["rpc", "M"], 1, "this machine only")], lambda row: f"refused: {row[0]}")
def refused(box, row):
    _, words, code, sentence = row
    machine = box.file("m.yaml", PAIR.file_text())
    words = [model() if word == "M" else word for word in words]
    result = box.run("export", *words, "--gpus", machine)
    check_equal(result.code, code, "exit")
    check_match(sentence, result.err, "the refusal")


if __name__ == "__main__":
    main()
