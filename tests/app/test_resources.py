#!/usr/bin/env python3
"""`dualgpuopt resources` as a whole, under a driver library of our own that lists what a scenario says.

usage: test_resources.py PROGRAM FAKE_NVML      TAP on stdout
"""
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

PROGRAM, FAKE = (os.path.abspath(path) for path in sys.argv[1:3])
MACHINES = pathlib.Path(__file__).resolve().parents[2] / "examples" / "machines"
CARD = "card NVIDIA GeForce RTX 3090\nmemory 24576 300 1000\n"
work = pathlib.Path(tempfile.mkdtemp(prefix="dgo-resources-"))


def run(*args, scenario=None, library=FAKE, **variables):
    environment = {"PATH": "/nowhere", "HOME": str(work), "LC_ALL": "C.UTF-8", **variables,
                   **{k: v for k, v in os.environ.items() if k.endswith("SAN_OPTIONS")}}
    if scenario is not None:
        (work / "scenario.txt").write_text(scenario)
        environment["DUALGPUOPT_FAKE_NVML"] = str(work / "scenario.txt")
        environment["DUALGPUOPT_NVML"] = library
    done = subprocess.run([PROGRAM, "resources", *args], env=environment, capture_output=True,
                          text=True, stdin=subprocess.DEVNULL, timeout=120)
    value = json.loads(done.stdout) if "--json" in args and done.stdout else None
    return done, value


def machine(name):
    return str(MACHINES / f"{name}.yaml")


def component(value, name):
    return next(row for row in value["components"] if row["name"] == name)


def no_driver():
    done, value = run("--json", "--prove", "--gpus", machine("two-unequal"))
    assert done.returncode == 0, done.stderr
    assert value["simulated"] and value["self_check"]["passed"]
    proof = value["proof"]
    assert proof["proven"] and not proof["own_pid_listed"] and proof["self_vram_bytes"] == 0
    assert not proof["driver_answered"]  # a machine file proves nothing


def figures_of_the_self_check():
    _, value = run("--json", "--gpus", machine("two-unequal"))
    assert "proof" not in value
    views, options = component(value, "view_formatting"), component(value, "validation")
    assert views["accepted"] >= 64 and views["done"] == views["accepted"] and views["failed"] == 0
    assert options["accepted"] >= 64 and options["ui_waits"] >= 64
    assert component(value, "machine_look")["accepted"] == 1
    for row in value["components"]:
        ended = sum(row[key] for key in ("done", "failed", "cancelled", "expired"))
        assert row["accepted"] == ended, row
        assert row["state"] == "present" or row["accepted"] + row["ran_inline"] == 0, row
    topic = next(row for row in value["bus"]["topics"] if row["name"] == "self.check")
    assert topic["published"] == 64 and topic["delivered"] == 128 and topic["dropped"] == 0
    assert [row["delivered"] for row in value["bus"]["subscribers"]] == [64, 64]
    assert [row["name"] for row in value["lanes"]] == ["express", "normal", "background",
                                                       "blocking", "ui"]
    assert value["budget"]["cpus"] == len(value["budget"]["affinity"]) > 0
    assert value["decisions"] and all(row["why"] for row in value["decisions"])


def ledger():
    _, value = run("--json", scenario=CARD + "process compute 4000000 700\n")
    gpu = value["vram"]["gpus"][0]
    mib = 1 << 20
    assert gpu["total_bytes"] == 24576 * mib and gpu["driver_bytes"] == 300 * mib, gpu
    assert gpu["others_bytes"] == 700 * mib and gpu["free_bytes"] == (24576 - 1300) * mib, gpu
    assert gpu["promisable_bytes"] == gpu["free_bytes"] and gpu["ours_measured_bytes"] == 0
    _, value = run("--json", "--margin", "1GiB", scenario=CARD)
    gpu = value["vram"]["gpus"][0]
    assert gpu["promisable_bytes"] == gpu["free_bytes"] - (1 << 30)


def somebody_else_is_listed():
    done, value = run("--json", "--prove", scenario=CARD + "process compute 4000000 700\n")
    proof = value["proof"]
    assert done.returncode == 0 and proof["proven"], done.stderr
    assert proof["driver_answered"] and proof["process_lists_known"]
    assert [row["allowed"] for row in proof["libraries"]] == [True], proof["libraries"]
    assert "libnvidia-ml" in proof["libraries"][0]["path"]


def we_are_listed():
    done, value = run("--json", "--prove", scenario=CARD + "process compute self 512\n")
    proof = value["proof"]
    assert done.returncode == 1, done.returncode
    assert proof["own_pid_listed"] and not proof["proven"]
    assert proof["self_vram_bytes"] == 512 << 20
    assert "ours and GPU 0 lists it, with 512.00 MiB" in done.stderr, done.stderr


def we_are_listed_beside_a_machine_file():
    """--gpus does not hide what the real driver says."""
    done, value = run("--json", "--prove", "--gpus", machine("two-equal"),
                      scenario=CARD + "process graphics self unknown\n")
    assert done.returncode == 1 and value["proof"]["own_pid_listed"], done.stderr
    assert "self_vram_bytes" not in value["proof"]


def a_compute_library_is_mapped():
    library = work / "libcuda.so.1"
    shutil.copy(FAKE, library)
    done, value = run("--json", "--prove", scenario=CARD, library=str(library))
    assert done.returncode == 1, done.stderr
    assert [row["path"] for row in value["proof"]["libraries"] if not row["allowed"]] \
        == [str(library)]
    assert str(library) in done.stderr


def without_prove_it_is_no_failure():
    done, value = run("--json", scenario=CARD + "process compute self 512\n")
    assert done.returncode == 0 and "proof" not in value


def override():
    _, value = run("--json", DUALGPUOPT_COMPONENT_OPTIMIZER="gpu")
    row = component(value, "optimizer")
    assert row["override"] == {"hint": "gpu", "origin": "DUALGPUOPT_COMPONENT_OPTIMIZER"}
    assert row["place"] == "cpu" and "no GPU implementation" in row["why"], row
    assert "override" not in component(value, "validation")
    done, _ = run("--json", DUALGPUOPT_COMPONENT_OPTIMIZER="perhaps")
    assert done.returncode == 2 and "DUALGPUOPT_COMPONENT_OPTIMIZER" in done.stderr, done.stderr
    done, _ = run(DUALGPUOPT_COMPONENT_OPTIMIZER="gpu")
    assert "gpu by DUALGPUOPT_COMPONENT_OPTIMIZER" in done.stdout


def override_by_the_file():
    file = work / "settings.yaml"
    file.write_text("components:\n  optimizer: gpu\n")
    _, value = run("--json", "--gpus", machine("two-unequal"), DUALGPUOPT_CONFIG=str(file))
    assert component(value, "optimizer")["override"] == {"hint": "gpu", "origin": "the configuration file, line 2"}
    assert "override" not in component(value, "validation")
    _, value = run("--json", "--gpus", machine("two-unequal"), DUALGPUOPT_CONFIG=str(file),
                   DUALGPUOPT_COMPONENT_OPTIMIZER="cpu")  # the environment is above the file
    assert component(value, "optimizer")["override"] == {"hint": "cpu", "origin": "DUALGPUOPT_COMPONENT_OPTIMIZER"}


def plan_twice():
    model = work / "model.gguf"
    maker = MACHINES.parents[1] / "tools" / "make-model.py"
    subprocess.run([sys.executable, maker, "llama-3.1-8b", model, "--sparse"], check=True,
                   stdout=subprocess.DEVNULL)
    done, value = run(str(model), "--json", "--gpus", machine("two-equal"))
    assert done.returncode == 0, done.stderr
    cache = value["caches"][0]
    assert (cache["hits"], cache["misses"], cache["entries"]) == (1, 1, 1), cache
    assert component(value, "context_calculation")["accepted"] == 2
    assert component(value, "optimizer")["ran_inline"] == 1  # inside the other one's job


def table():
    done, _ = run("--prove", "--gpus", machine("two-unequal"))
    for words in ("SIMULATED", "SCHED_OTHER", "VRAM ledger", " drift", "self.check", "Proven:", "decisions:"):
        assert words in done.stdout, words


TESTS = [no_driver, figures_of_the_self_check, ledger, somebody_else_is_listed, we_are_listed,
         we_are_listed_beside_a_machine_file, a_compute_library_is_mapped,
         without_prove_it_is_no_failure, override, override_by_the_file, plan_twice, table]

print(f"1..{len(TESTS)}")
failed = False
for number, test in enumerate(TESTS, 1):
    try:
        test()
        print(f"ok {number} - {test.__name__}", flush=True)
    except Exception as error:  # noqa: BLE001 - reported as a failed test
        failed = True
        print(f"not ok {number} - {test.__name__}\n# {type(error).__name__}: {error}", flush=True)
shutil.rmtree(work)
sys.exit(failed)
