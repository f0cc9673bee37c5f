"""Estimates against the engine's own figures: full-size sparse models x splits by llama-fit-params, which loads nothing, and every
architecture in six settings by loading.  The peer's rows are published ones: it cannot be built here."""
import json
import os
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
MIB = 1 << 20
MODELS = ["llama-3.1-8b", "llama-3.1-70b", "qwen3-32b", "qwen3-30b-a3b", "deepseek-v3"]
FLAGS = ["-sm none", "-ts 1,1", "-ts 3,1", "-ts 1,1 -ub 2048 -c 32768", "-ts 1,1 -ctk q8_0 -ctv q8_0", "-ts 1,1 -fa off",
         "-ts 1,1 -np 4", "-ts 1,1 -ngl 20", "-ts 1,1 -nkvo", "-ts 1,1 -ncmoe 8"]
# gguf-parser-go 0.25.0 against llama.cpp b10256 on the 560 rows of the reference table (weights, cache and compute together).
PEER = {"rows": 560, "mean_error_mib": 450, "rows_under_by_a_mib": 170, "worst_under_mib": -3044}


def cards(folder):
    """Two cards that hold anything: what is compared is bytes, not fit."""
    file = folder / "accuracy-machine.yaml"
    file.write_text("gpus:\n" + "".join(f"  - {{name: Pretend {i}, total_mib: 819200, free_mib: 819000}}\n" for i in range(2)))
    return file, ",".join(f"CUDA{i}|Pretend {i}|819200|819000" for i in range(2))


def dry_run(engine, environment, model, flags):
    """{device: (weights, compute)} in MiB as the engine says it; {} where it refuses."""
    ran = subprocess.run([engine / "bin/llama-fit-params", "-m", model, *flags, "--fit-print", "on", "-lv", "5", "--no-log-prefix",
                          "--no-log-timestamps"], env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                         stderr=subprocess.STDOUT, text=True, errors="replace")
    weights = {found[1]: int(found[2]) for found in re.finditer(r"^(CUDA\d+) (\d+) \d+ \d+", ran.stdout, re.M)}
    compute = {found[1]: float(found[2]) for found in re.finditer(r"(CUDA\d+) compute buffer size = +([\d.]+) MiB", ran.stdout)}
    return {device: (mib, compute.get(device, 0.0)) for device, mib in weights.items()}


def compare(program, engine, environment, machine, path, text):
    flags = (text if "-c " in text else "-c 8192 " + text).split()
    flags += [] if "-np" in flags else ["-np", "1"]
    seen = dry_run(engine, environment, path, flags)
    ran = subprocess.run([program, "estimate", path, "--gpus", machine, "--json", "--engine-build", "11669", "--", *flags],
                         stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
    rows = []
    for device in json.loads(ran.stdout)["devices"] if ran.returncode in (0, 3) else []:
        if device["name"] in seen:
            weights, compute = seen[device["name"]]
            rows.append({"weights_off": abs(weights - device["weights_bytes"] / MIB) > 1,
                         "exact": device["compute_source"] == "formula",
                         # the dry run reserves logits of a whole micro-batch on the output's device
                         "error": None if device["holds_output"] else device["compute_bytes"] / MIB - compute})
    return rows


def bench(program, engine, sparse_model, every_architecture=True):
    backend = program.parent / "libpretend-gpu.so"
    subprocess.run([ROOT / "tools/pretend-gpu/build.sh", engine / "include", backend], check=True)
    machine, pretend = cards(program.parent)
    environment = dict(os.environ, GGML_BACKEND_PATH=str(backend), PRETEND_GPUS=pretend, GGML_NO_BACKTRACE="1")
    rows = [row for spec in MODELS for text in FLAGS
            for row in compare(program, engine, environment, machine, sparse_model(spec), text)]
    for name, exact in (("formula", True), ("bound", False)):
        errors = [row["error"] for row in rows if row["error"] is not None and row["exact"] == exact]
        print(json.dumps({"name": f"accuracy {name}", "rows": len(errors),
                          "within_half_a_mib": sum(abs(error) <= 0.5 for error in errors),
                          "mean_error_mib": round(sum(map(abs, errors)) / max(1, len(errors)), 2),
                          "worst_under_mib": round(min([0, *errors]), 2)}))
    print(json.dumps({"name": "accuracy weights", "rows": len(rows), "off": sum(row["weights_off"] for row in rows)}))
    print(json.dumps({"name": "accuracy peer (published)", "peer_name": "gguf-parser-go 0.25.0", **PEER}))
    if every_architecture:
        subprocess.run([sys.executable, ROOT / "tests/e2e/test_archs.py"], check=True,
                       env=dict(os.environ, DGO_ARCHS="all", DGO_E2E_BUILD=str(program.parent)))
