#!/usr/bin/env python3
"""`dualgpuopt doctor` on machines with something wrong: what it finds, the next step it names, its exit status, and the same as JSON.

usage: test_doctor.py PROGRAM FAKE_NVML      TAP on stdout
"""
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile

PROGRAM, FAKE = (os.path.abspath(path) for path in sys.argv[1:3])
MACHINES = pathlib.Path(__file__).resolve().parents[2] / "examples" / "machines"
PAIR = ["--gpus", str(MACHINES / "two-unequal.yaml")]
CARD = "card NVIDIA GeForce RTX 3090\nmemory 24576 300 1000\n"
SCRIPT = "#!/bin/sh\n"
failed = number = 0


def say(good, name, sentence=""):
    global failed, number
    number += 1
    failed += not good
    print(f"{'ok' if good else 'not ok'} {number} - {name}", flush=True)
    if not good:
        print("# " + str(sentence).replace("\n", "\n# "))


def file(folder, name, text, mode=0o644):
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(mode)
    return str(path)


def doctor(folder, words, variables):
    environment = {"PATH": "/nowhere", "HOME": str(folder), "LC_ALL": "C.UTF-8", **variables,
                   **{name: value for name, value in os.environ.items() if name.endswith("SAN_OPTIONS")}}
    return subprocess.run([PROGRAM, "doctor", *words], env=environment, capture_output=True, text=True, stdin=subprocess.DEVNULL,
                          timeout=60)


# Each makes what it needs in its folder; gives the words after doctor (behind the fake library: its scenario) and what must be
# found: grade, what, sentence, next step.
def absent_driver(_):
    return ["--nvml", "/nowhere/libnvidia-ml.so.1"], [
        ("fail", "cards", "/nowhere/libnvidia-ml.so.1.*does not exist", "install the driver.*--gpus")]


def driver_not_loaded(_):
    return ["--nvml", FAKE], [("fail", "cards", "kernel module is not loaded; try", "install the driver")]


def one_card(folder):
    return ["--nvml", FAKE, file(folder, "scenario", CARD)], [
        ("ok", "cards", "^1 by nvml", None), ("warn", "cards", "one card only: there is nothing to split", None)]


def card_in_use(folder):
    busy = CARD.replace("1000", "9000")
    return ["--nvml", FAKE, file(folder, "scenario", CARD + busy)], [
        ("ok", "cards", "^2 by nvml", None), ("warn", "cards", r"gpu 1 \(NVIDIA GeForce RTX 3090\): .* in use already", "dualgpuopt gpus")]


def card_lost(folder):
    return ["--nvml", FAKE, file(folder, "scenario", CARD + CARD + "lost\n")], [("fail", "cards", r"gpu 1 ", "journalctl")]


def no_engine(_):
    return PAIR, [("warn", "engine", "llama-server is not on the PATH", "install llama.cpp, or name its server with --engine"),
                  ("ok", "engine", "not installed, which is no fault: .*vllm", None),
                  ("ok", "config", "there is no .*config.yaml, which is good too", None), ("ok", "store", "are kept", None)]


def engine_missing(_):
    return [*PAIR, "--engine", "/nowhere/llama-server"], [("fail", "engine", "'/nowhere/llama-server' cannot be executed", "--engine")]


def engine_mute(folder):
    return [*PAIR, "--engine", file(folder, "llama-server", SCRIPT + "exit 0\n", 0o755)], [
        ("fail", "engine", "does not say what it can do", "by hand with --version")]


def engine_good(folder):
    script = SCRIPT + "case $1 in --version) echo 'version: 11669 (abc)' >&2;; *) echo '-m,  --model FNAME   model path';; esac\n"
    return [*PAIR, "--engine", file(folder, "llama-server", script, 0o755)], [("ok", "engine", "llama-server: .*11669.*, [1-9][0-9]* options",
                                                                              None)]


def broken_config(folder):
    return [*PAIR, "--config", file(folder, "config.yaml", "ctx: 4096\nkv-type: [\n")], [
        ("fail", "config", "config.yaml: line [23], column", "dualgpuopt config check")]


def good_config(folder):
    return [*PAIR, "--config", file(folder, "config.yaml", "ctx: 4096\n")], [("ok", "config", "config.yaml is good", None)]


def broken_presets(folder):
    presets = ".config/dualgpuopt/presets"
    file(folder, f"{presets}/broken.yaml", "version: 1\nmodell: /x\n")
    file(folder, f"{presets}/gone.yaml", "version: 1\nmodel: /nowhere/model.gguf\n")
    return PAIR, [("fail", "presets", "broken.yaml: line 2, column 1: a preset has no 'modell'", "correct or remove"),
                  ("warn", "presets", "gone: its model /nowhere/model.gguf cannot be read", "presets remove")]


# A file where the folder should be: root could read a folder that is closed to others.
def state_folder(folder):
    return [*PAIR, "--state-dir", file(folder, "state", "") + "/inside"], [
        ("warn", "store", "nothing is remembered between calls", "--state-dir")]


CASES = (absent_driver, driver_not_loaded, one_card, card_in_use, card_lost, no_engine, engine_missing, engine_mute, engine_good,
         broken_config, good_config, broken_presets, state_folder)
for case in CASES:
    title = case.__name__.replace("_", " ")
    with tempfile.TemporaryDirectory(prefix="dgo-doctor-") as work:
        folder = pathlib.Path(work)
        words, wanted = case(folder)
        variables = {}
        if FAKE in words and words[-1] != FAKE:
            variables["DUALGPUOPT_FAKE_NVML"] = words.pop()
        told, read = doctor(folder, words, variables), doctor(folder, [*words, "--json"], variables)
        try:
            value = json.loads(read.stdout)
        except ValueError:
            say(False, title, f"no JSON, exit {read.returncode}: {read.stdout}{read.stderr}")
            continue
        rows, wrong = value["findings"], []
        for grade, what, sentence, step in wanted:
            row = next((row for row in rows if row["what"] == what and row["grade"] == grade and re.search(sentence, row["sentence"])), None)
            if not row:
                wrong.append(f"{grade} {what}: {sentence}: not found")
            elif step and not re.search(step, row.get("next", "")):
                wrong.append(f"{grade} {what}: the next step is {row.get('next')}, not {step}")
            elif not re.search(rf"^{grade} +{what} +{re.escape(row['sentence'])}$", told.stdout, re.M):
                wrong.append(f"not in the text: {row['sentence']}")
        bad = [row for row in rows if row["grade"] == "fail"]
        for wish, got in ((bool(bad), not value["good"]), (1 if bad else 0, told.returncode), (1 if bad else 0, read.returncode),
                          ("dualgpuopt.doctor/1", value["schema"])):
            if wish != got:
                wrong.append(f"want {wish!r}, got {got!r}")
        expected = {what for grade, what, _, _ in wanted if grade == "fail"} | {"permissions"}  # of this machine's device files
        wrong += [f"not wanted: {row['sentence']}" for row in bad if row["what"] not in expected]
        for row in bad:
            if not row.get("next") and row["what"] != "permissions":
                wrong.append(f"no next step: {row['sentence']}")
        counts = [sum(row["grade"] == grade for row in rows) for grade in ("ok", "warn", "fail")]
        if not told.stdout.endswith(f"\n{counts[0]} ok, {counts[1]} to look at, {counts[2]} to mend\n"):
            wrong.append(f"the counts are not {counts}")
        say(not wrong, title, "\n".join(wrong) + f"\n{told.stdout}{told.stderr}")
print(f"1..{number}")
sys.exit(1 if failed else 0)
