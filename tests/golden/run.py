#!/usr/bin/env python3
"""Golden cases: machine + model + command -> the bytes of stdout, stderr and the exit status.

usage: run.py PROGRAM MAKE_MODEL WORK_DIR      UPDATE=1 in the environment rewrites the expectations

A case is a folder beside this file:
    cmd            the command line after the program's name, one shell-quoted line; NAME=VALUE words
                   in front set variables.  {model:SPEC} is
                   the path of a model that MAKE_MODEL writes (sparse), {here} the case's folder,
                   {machines} the folder of example machine files
    want.out       stdout; absent: empty
    want.err       stderr; absent: empty
    want.status    exit status; absent: 0
Paths of this run are shown as {model:SPEC}, {here} and {machines} in the expectations too.
"""
import os
import pathlib
import re
import shlex
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
MACHINES = HERE.parent.parent / "examples" / "machines"


def make_models(specs, make_model, work):
    paths = {}
    for spec in sorted(specs):
        path = work / f"{spec}.gguf"
        if not path.exists() or path.stat().st_mtime < os.stat(make_model).st_mtime:
            subprocess.run([sys.executable, make_model, spec, str(path), "--sparse"], check=True,
                           stdout=subprocess.DEVNULL, stdin=subprocess.DEVNULL)
        paths[spec] = str(path)
    return paths


def environment(work):
    """Nothing of the caller's: a golden case must not depend on who runs it."""
    return {"PATH": str(work / "empty-path"), "LC_ALL": "C.UTF-8", "HOME": str(work),
            "XDG_STATE_HOME": str(work / "state"),
            # the sanitizer builds read their options from here
            **{k: v for k, v in os.environ.items() if k.endswith("SAN_OPTIONS")}}


def run_case(case, program, models, work):
    places = {"{here}": str(case), "{machines}": str(MACHINES)}
    places.update({f"{{model:{spec}}}": path for spec, path in models.items()})
    line = (case / "cmd").read_text()
    for name, path in places.items():
        line = line.replace(name, path)
    words, variables = shlex.split(line), environment(work)
    while words and re.match(r"[A-Z_]+=", words[0]):
        name, value = words.pop(0).split("=", 1)
        variables[name] = value
    done = subprocess.run([program] + words, env=variables, cwd=work,
                          stdin=subprocess.DEVNULL, capture_output=True, timeout=120)
    shown = []
    for stream in (done.stdout, done.stderr):
        text = stream.decode("utf-8", "backslashreplace")
        for name, path in sorted(places.items(), key=lambda item: -len(item[1])):
            text = text.replace(path, name)
        shown.append(text)
    return {"want.out": shown[0], "want.err": shown[1],
            "want.status": f"{done.returncode}\n" if done.returncode else ""}


def wanted(case, name):
    path = case / name
    return path.read_text() if path.exists() else ""


def update(case, got):
    for name, text in got.items():
        path = case / name
        if text:
            path.write_text(text)
        elif path.exists():
            path.unlink()


def first_difference(want, got):
    for number, (a, b) in enumerate(zip(want.splitlines() + [""], got.splitlines() + [""]), 1):
        if a != b:
            return f"line {number}: want {a!r}, got {b!r}"
    return "one is longer"


def main():
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    program, make_model = os.path.abspath(sys.argv[1]), os.path.abspath(sys.argv[2])
    work = pathlib.Path(sys.argv[3]).resolve()
    (work / "empty-path").mkdir(parents=True, exist_ok=True)
    cases = sorted(path.parent for path in HERE.glob("*/cmd"))
    specs = {spec for case in cases
             for spec in re.findall(r"\{model:([^}]+)\}", (case / "cmd").read_text())}
    models = make_models(specs, make_model, work)
    print(f"1..{len(cases)}")
    failed = 0
    for number, case in enumerate(cases, 1):
        got = run_case(case, program, models, work)
        if os.environ.get("UPDATE"):
            update(case, got)
        bad = [name for name in got if got[name] != wanted(case, name)]
        print(f"{'not ok' if bad else 'ok'} {number} - {case.name}", flush=True)
        for name in bad:
            failed += 1
            print(f"# {name}: {first_difference(wanted(case, name), got[name])}")
    sys.exit(1 if failed else 0)


main()
