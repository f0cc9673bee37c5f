#!/usr/bin/env python3
"""Checks the protocol models beside this file with Spin, and that Spin can tell: every mutant must be caught.

usage: run.py [MODEL...]      TAP on stdout; skipped as a whole where Spin or a C compiler is missing.

The header of a model is its table:
    mirrors FILE: NAME NAME ...    functions of the source that it stands for; they must exist, there
                                   or, moved since, in a file beside it
    run NAME: MACRO=VALUE ...      a size that is searched to the end, without an error
    mutant N NAME: what is wrong   -DMUTANT=N must lead to an error in the size NAME
    fair NAME: mutant N            under weak fairness the size NAME always comes to rest; with -DMUTANT=N,
                                   its assertions left aside, it can go on for ever
"""
import collections
import concurrent.futures
import os
import pathlib
import re
import resource
import shutil
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent

DEPTH_MAX = 20000   # steps; a search that would go deeper is a failure, not a shorter search
MEMORY_MIB = 800    # of one search; two run at a time
PATIENCE_S = 300    # a search takes seconds; this only ends a model that grew too big
MUTANTS_MIN = 3
FAIR = ["-DNP", "-DNFAIR=4"]  # cycles without progress, of which our models mark none: any cycle

Job = collections.namedtuple("Job", "model title macros is_mutant is_fair")
Verdict = collections.namedtuple("Verdict", "ok title notes")


class Broken(Exception):
    """A model that cannot be judged, with the sentence to show."""


# ---- the table in a model's header -----------------------------------------------------------------------------------------


def header_lines(text):
    """The opening comment; a line that is indented goes on with the one before."""
    lines = []
    for line in text[:text.index("*/")].splitlines():
        line = line.removeprefix(" *")
        if line.startswith("     ") and lines:
            lines[-1] += " " + line.strip()
        else:
            lines.append(line.strip())
    return lines


def read_model(path):
    text = path.read_text(encoding="utf-8")
    mirrors, runs, mutants, fair = {}, {}, {}, {}
    for line in header_lines(text):
        if found := re.fullmatch(r"mirrors (\S+): (.*)", line):
            mirrors[found[1]] = found[2].split()
        elif found := re.fullmatch(r"run (\w+): (.*)", line):
            runs[found[1]] = found[2].split()
        elif found := re.fullmatch(r"mutant (\d+) (\w+): (.*)", line):
            mutants[int(found[1])] = (found[2], found[3].strip())
        elif found := re.fullmatch(r"fair (\w+): mutant (\d+)", line):
            fair[found[1]] = int(found[2])
    body = text[text.index("*/"):]
    used = {int(number) for number in re.findall(r"\bMUTANT [!=]= (\d+)", body)}
    if not runs or not mirrors:
        raise Broken("its header names no runs or mirrors nothing")
    if used != set(mutants):
        raise Broken(f"mutants in the header {sorted(mutants)}, in the model {sorted(used)}")
    if any(name not in runs or number not in mutants for name, number in fair.items()):
        raise Broken("a fair line names a size or a mutant that is not there")
    if len(mutants) < MUTANTS_MIN:
        raise Broken(f"fewer than {MUTANTS_MIN} mutants prove nothing")
    return mirrors, runs, mutants, fair


def defines(path, function):
    """Whether the C file has the function, by a line that is not indented, a comment or a directive."""
    return path.exists() and re.search(rf"^[^\s#/*].*\b{function}\([^;]*$", path.read_text(encoding="utf-8"), re.M)


def check_mirrors(mirrors):
    gone, notes = 0, []
    for name, functions in mirrors.items():
        path = ROOT / name
        for function in functions:
            if defines(path, function):
                continue
            there = [other.name for other in sorted(path.parent.glob("*.c")) if defines(other, function)]
            gone += not there
            notes.append(f"{name} has no {function} any more" + (f", {there[0]} has" if there else ": look at the model again"))
    return Verdict(not gone, "what it mirrors is in the source", notes)


# ---- one search ------------------------------------------------------------------------------------------------------------


def tool(*words, cwd, **more):
    done = subprocess.run(words, cwd=cwd, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          text=True, **more)
    return done.returncode, done.stdout


def limit_memory():
    most = (MEMORY_MIB + 200) << 20
    resource.setrlimit(resource.RLIMIT_AS, (most, most))


def search(job, folder):
    """Translates, compiles and runs the model; what the verifier said."""
    defines = [f"-D{macro}" for macro in job.macros]
    code, said = tool("spin", "-a", *defines, str(HERE / f"{job.model}.pml"), cwd=folder)
    if code or "Error" in said:
        raise Broken(f"spin: {said.strip()}")
    code, said = tool(os.environ.get("CC", "cc"), "-w", "-O0" if job.is_mutant else "-Og", *(FAIR if job.is_fair else ["-DSAFETY"]),
                      f"-DMEMLIM={MEMORY_MIB}", "-o", "pan", "pan.c", cwd=folder)
    if code:
        raise Broken(f"compiler: {said.strip()[-500:]}")
    # -E: where a model stops is judged by its law, which waits for it;  -b: too deep is an error;
    # -w: a small table at first, most searches need no more.
    try:
        _, said = tool("./pan", *(["-l", "-f", "-A"] if job.is_fair else []), "-E", "-b", "-w18", f"-m{DEPTH_MAX}", cwd=folder, timeout=PATIENCE_S, preexec_fn=limit_memory)
    except subprocess.TimeoutExpired:
        raise Broken(f"not through after {PATIENCE_S} s: choose a smaller size") from None
    return said


def judge(job):
    with tempfile.TemporaryDirectory(prefix="dgo-model-") as folder:
        said = search(job, folder)
    errors = re.search(r"errors: (\d+)", said)
    states = re.search(r"(\d+) states, stored", said)
    violated = re.search(r"(non-progress cycle) \(at depth" if job.is_fair else r"assertion violated (.*?) \(at depth", said)
    if not errors or not states:
        raise Broken(f"the verifier said: {said.strip()[-500:]}")
    title = f"{job.title}: {int(states[1]):,} states"
    if job.is_mutant:
        # Only a law that is broken counts, not a search that broke off.
        if violated:
            return Verdict(True, f"{title}, caught", [])
        return Verdict(False, title, ["not caught: the model does not see this mistake"])
    notes = []
    if errors[1] != "0":
        notes.append(f"broken: {violated[1] if violated else said.strip()[:500]}")
    if "Search not completed" in said or "-DMEMLIM" in said or "out of memory" in said:
        notes.append("the search was not completed")
    if not job.is_fair and not re.search(r"unreached in proctype law\s+\(0 of", said):
        notes.append("the law is never looked at: a green model that proves nothing")
    return Verdict(not notes, title, notes)


def run_job(job):
    try:
        return judge(job)
    except Broken as why:
        return Verdict(False, job.title, [str(why)])


# ---- all of them -----------------------------------------------------------------------------------------------------------


def collect(names):
    verdicts, jobs = [], []
    for path in sorted(HERE.glob("*.pml")):
        model = path.stem
        if names and model not in names:
            continue
        try:
            mirrors, runs, mutants, fair = read_model(path)
        except Broken as why:
            verdicts.append(Verdict(False, model, [str(why)]))
            continue
        checked = check_mirrors(mirrors)
        verdicts.append(checked._replace(title=f"{model}: {checked.title}"))
        for name, macros in runs.items():
            jobs.append(Job(model, f"{model} {name}", macros, False, False))
        for number, (name, what) in mutants.items():
            jobs.append(Job(model, f"{model} mutant {number} ({what})", runs.get(name, []) + [f"MUTANT={number}"], True, False))
        for name, number in fair.items():
            jobs.append(Job(model, f"{model} {name} comes to rest", runs[name], False, True))
            jobs.append(Job(model, f"{model} {name} mutant {number} does not", runs[name] + [f"MUTANT={number}"], True, True))
    return verdicts, jobs


def main(names):
    if not shutil.which("spin"):
        print("1..0 # SKIP spin is not installed (Debian package: spin)")
        return 0
    if not shutil.which(os.environ.get("CC", "cc")):
        print("1..0 # SKIP no C compiler for the verifiers that spin writes")
        return 0
    verdicts, jobs = collect(names)
    print(f"1..{len(verdicts) + len(jobs)}", flush=True)
    # The verifiers are processes; these threads only wait for them.
    with concurrent.futures.ThreadPoolExecutor(min(2, os.cpu_count() or 1)) as pool:
        failed = 0
        for number, verdict in enumerate([*verdicts, *pool.map(run_job, jobs)], 1):
            print(f"{'ok' if verdict.ok else 'not ok'} {number} - {verdict.title.replace('#', '')}", flush=True)
            for note in verdict.notes:
                print("# " + note.replace("\n", "\n# "), flush=True)
            failed += not verdict.ok
    return 1 if failed or not jobs else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
