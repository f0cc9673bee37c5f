#!/usr/bin/env python3
"""The main job on this machine: plan, start a real engine, one chat completion, plan against measured.

usage: demo.py [MODEL] [--once] [OPTION OF `dualgpuopt run`...]

With GPUs and a llama-server on the PATH it uses those.  Without, it gets a real llama-server
(tools/get-engine.sh), shows it two cards that are not there (tools/pretend-gpu) and writes a small
model (tools/make-model.py); all that is shown then is marked SIMULATED.  --once ends by itself: 0 only if
the completion came and every planned weights and context figure equals the measured one.
"""
import json
import os
import pathlib
import shutil
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
PROGRAM = ROOT / "build" / "dualgpuopt"
ENGINE = ROOT / ".engine"
BACKEND = ROOT / "build" / "libpretend-gpu.so"
MODELS = ROOT / ".models"
MACHINE = ROOT / "examples" / "machines" / "two-unequal.yaml"
MIB = 1 << 20
MARGIN = "256MiB"
SLOTS = ("--parallel", "8")  # a small model alone hardly fills a card; its cache for eight does
QUESTION = "In one sentence: why do two cards make a happy machine?"


def say(text):
    print(f"demo: {text}", file=sys.stderr, flush=True)


def small_model():
    model = MODELS / "tiny-llama.gguf"
    if not model.exists():
        MODELS.mkdir(exist_ok=True)
        say("writing a small model with random weights: its answers are gibberish, its figures are not")
        subprocess.run([sys.executable, ROOT / "tools" / "make-model.py", "tiny-llama", model],
                       check=True, stdout=subprocess.DEVNULL)
    return model


def real_gpus():
    found = subprocess.run([PROGRAM, "gpus", "--json"], capture_output=True,
                           stdin=subprocess.DEVNULL)
    return found.returncode == 0


def program_json(*arguments):
    return json.loads(subprocess.run([PROGRAM, *arguments, "--json"], check=True,
                                     stdin=subprocess.DEVNULL, capture_output=True).stdout)


def busy_machine(model):
    """Two unequal cards of which others have left so little that the model needs both."""
    plan = program_json("plan", model, "--gpus", MACHINE, "--margin", MARGIN, "--spread", *SLOTS)
    shared = sum(device["weights_bytes"] + device["context_bytes"] for device in plan["devices"])
    own = max(device["overhead_bytes"] + device["margin_bytes"] + device["compute_bytes"]
              for device in plan["devices"])
    free = [-(-(own + shared * share // 100) // MIB) for share in (65, 50)]
    path = MODELS / "busy-machine.yaml"
    path.write_text("gpus:\n"
                    f"  - {{name: NVIDIA GeForce RTX 3090, total_mib: 24576, free_mib: {free[0]}}}\n"
                    f"  - {{name: NVIDIA GeForce RTX 3060, total_mib: 12288, free_mib: {free[1]}}}\n"
                    "host: {total_mib: 65536, free_mib: 60000, bandwidth_gbs: 60}\n")
    return path


def pretend_cards(machine):
    """PRETEND_GPUS for the machine file, as our own program reads it."""
    return ",".join("|".join([f"CUDA{gpu['index']}", gpu["name"],
                              str(gpu["total_bytes"] // MIB), str(gpu["free_bytes"] // MIB),
                              gpu["uuid"] or "", gpu["pci_id"] or ""]).rstrip("|")
                    for gpu in program_json("gpus", "--gpus", machine)["gpus"])


def simulated(model, options):
    say("no GPU, or no llama-server on the PATH: SIMULATED cards under a real llama-server")
    engine = subprocess.run([ROOT / "tools" / "get-engine.sh", ENGINE], stdin=subprocess.DEVNULL,
                            stdout=sys.stderr)
    if engine.returncode:
        say("a real engine cannot be had here, so there is nothing to run")
        sys.exit(engine.returncode)
    subprocess.run([ROOT / "tools" / "pretend-gpu" / "build.sh", ENGINE / "include", BACKEND],
                   check=True)
    machine = MACHINE
    if model is None:
        model = small_model()
        machine = busy_machine(model)
        options = [*SLOTS, *options]
    environment = dict(os.environ, GGML_BACKEND_PATH=str(BACKEND),
                       PRETEND_GPUS=pretend_cards(machine))
    return environment, ["run", str(model), "--gpus", str(machine), "--margin", MARGIN,
                         "--engine", str(ENGINE / "bin" / "llama-server"), "--threads", "1",
                         *options]


def main():
    arguments = sys.argv[1:]
    if arguments and arguments[0] in ("--help", "-h"):
        print(__doc__)
        return
    model = None
    if arguments and not arguments[0].startswith("-"):
        model = os.path.join(os.environ.get("DGO_START", ""), arguments.pop(0))
    options = arguments if "--ask" in arguments else ["--ask", QUESTION, *arguments]
    if shutil.which("llama-server") and real_gpus():
        environment, command = dict(os.environ), ["run", str(model or small_model()), *options]
    else:
        environment, command = simulated(model, options)
    os.execve(PROGRAM, [str(PROGRAM), *command], environment)


main()
