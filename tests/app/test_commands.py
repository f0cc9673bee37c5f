"""Golden commands: model x machine x engine -> each variable and flag with its reason and the file that defines it.

usage: test_commands.py PROGRAM TOOLS WORK_DIR      UPDATE=1 in the environment rewrites commands.txt

commands.txt holds the cases one after another: "## " and the command line after `plan`, then what is wanted: the lines of
"why each word of the command", or the sentence and the exit status of a refusal.  {gguf:SPEC} and {folder:SPEC:QUANT} are models that
our own writers make, {machines} the example machines.
"""
import os
import pathlib
import re
import shlex
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
MACHINES = HERE.parent.parent / "examples" / "machines"
WANTED = HERE / "commands.txt"


def split_cases(text):
    cases = []
    for line in text.splitlines():
        if line.startswith("## "):
            cases.append((line[3:], []))
        elif line.strip() and cases:
            cases[-1][1].append(line)
    return cases


def make_model(word, tools, work):
    kind, spec, *quant = word.strip("{}").split(":")
    if kind == "gguf":
        path = work / f"{spec}.gguf"
        if not path.exists():
            subprocess.run([sys.executable, str(tools / "make-model.py"), spec, str(path), "--sparse"], check=True,
                           stdout=subprocess.DEVNULL, stdin=subprocess.DEVNULL)
    else:
        path = work / f"{spec}-{quant[0]}"
        if not path.exists():
            subprocess.run([sys.executable, str(tools / "make-hf-model.py"), spec, str(path), "--quant", quant[0]], check=True,
                           stdout=subprocess.DEVNULL, stdin=subprocess.DEVNULL)
    return path


def run_case(program, line, models, work):
    places = {"{machines}": str(MACHINES), **{word: str(path) for word, path in models.items()}}
    for word, path in places.items():
        line = line.replace(word, path)
    environment = {"PATH": str(work / "empty"), "LC_ALL": "C.UTF-8", "HOME": str(work), "XDG_STATE_HOME": str(work / "state"),
                   "XDG_CONFIG_HOME": str(work / "config"),
                   **{k: v for k, v in os.environ.items() if k.endswith("SAN_OPTIONS")}}
    done = subprocess.run([program, "plan", "--explain", *shlex.split(line)], env=environment, cwd=work, text=True,
                          stdin=subprocess.DEVNULL, capture_output=True, timeout=120)
    if done.returncode:
        got = [f"exit {done.returncode}: {done.stderr.strip()}"]
    else:
        got = done.stdout.split("why each word of the command:\n")[1].splitlines()
    for word, path in [*places.items(), ("{work}", str(work))]:
        got = [entry.replace(path, word) for entry in got]
    return [entry for entry in got if entry.strip()]


def check_sources(case, got):
    """Every flag of an engine names the file that defines it; what the user gave is the user's."""
    return [entry for entry in got
            if entry.startswith("-") and not entry.endswith("]") and "given by the user" not in entry]


def main():
    program, tools, work = os.path.abspath(sys.argv[1]), pathlib.Path(sys.argv[2]), pathlib.Path(sys.argv[3]).resolve()
    (work / "empty").mkdir(parents=True, exist_ok=True)
    cases = split_cases(WANTED.read_text())
    models, results, failed = {}, [], 0
    print(f"1..{len(cases)}")
    for number, (line, wanted) in enumerate(cases, 1):
        for word in re.findall(r"\{(?:gguf|folder):[^}]+\}", line):
            models.setdefault(word, make_model(word, tools, work))
        got = run_case(program, line, models, work)
        results.append((line, got))
        unsourced = check_sources(line, got)
        good = (got == wanted or bool(os.environ.get("UPDATE"))) and not unsourced
        failed += not good
        print(f"{'ok' if good else 'not ok'} {number} - {line}", flush=True)
        if not good:
            for want, have in zip(wanted + [""] * len(got), got + [""] * len(wanted)):
                if want != have:
                    print(f"# want {want!r}\n# got  {have!r}")
                    break
            for entry in unsourced:
                print(f"# no source: {entry}")
    if os.environ.get("UPDATE"):
        WANTED.write_text("\n".join("\n".join([f"## {line}", *got, ""]) for line, got in results))
    sys.exit(1 if failed else 0)


main()
