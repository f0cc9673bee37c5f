#!/usr/bin/env python3
"""The example programs do what their text says.

usage: test_examples.py PLACED PLAN      TAP on stdout
"""
import os
import pathlib
import re
import subprocess
import sys
import tempfile

PLACED, PLAN = (os.path.abspath(path) for path in sys.argv[1:3])
ROOT = pathlib.Path(__file__).resolve().parents[2]
MACHINE = ROOT / "examples" / "machines" / "two-unequal.yaml"
LLAMA_8B_LAYERS = 32


def run(*args):
    return subprocess.run(args, capture_output=True, text=True, stdin=subprocess.DEVNULL,
                          timeout=120)


def placed():
    done = run(PLACED)
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.findall(r"ran on the (\w+): done", done.stdout) \
        == ["CPU", "GPU", "CPU", "CPU", "CPU"], done.stdout
    # 4000 free, 256 kept, 512 leased
    assert "lease of 512 MiB; 3232 MiB can still be promised" in done.stdout, done.stdout
    assert "1 runs on the GPU, 2 came back to the CPU" in done.stdout, done.stdout


def plan():
    with tempfile.TemporaryDirectory(prefix="dgo-examples-") as folder:
        model = pathlib.Path(folder) / "model.gguf"
        subprocess.run([sys.executable, ROOT / "tools" / "make-model.py", "llama-3.1-8b", model,
                        "--sparse"], check=True, stdout=subprocess.DEVNULL)
        done = run(PLAN, MACHINE, model)
        assert done.returncode == 0, done.stderr
        layers = [int(count) for count in re.findall(r": (\d+) layers", done.stdout)]
        assert sum(layers) == LLAMA_8B_LAYERS, done.stdout
        assert "NVIDIA GeForce RTX 3090" in done.stdout
        done = run(PLAN, MACHINE, folder + "/none.gguf")
        assert done.returncode == 1 and "none.gguf" in done.stderr, done.stderr
    assert run(PLAN).returncode == 2


print("1..2")
failed = False
for number, test in enumerate((placed, plan), 1):
    try:
        test()
        print(f"ok {number} - {test.__name__}", flush=True)
    except Exception as error:  # noqa: BLE001 - reported as a failed test
        failed = True
        print(f"not ok {number} - {test.__name__}\n# {type(error).__name__}: {error}", flush=True)
sys.exit(failed)
