"""What the end-to-end tests share: the program, a machine of pretend cards, a real engine, and TAP.

A test file lists cases with @case and ends with main().  Every case gets a Box: an own folder, an own environment, and the
promise that no process it started is left when it ends; a left-over is a failure.  What is missing on this machine (an engine,
a compiler) skips a case with its reason.
"""
import collections
import itertools
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import traceback
import urllib.request
import uuid

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
BUILD = pathlib.Path(os.environ.get("DGO_E2E_BUILD", ROOT / "build"))
PROGRAM = BUILD / "dualgpuopt"
ENGINE = pathlib.Path(os.environ.get("DUALGPUOPT_ENGINE") or ROOT / ".engine/bin/llama-server")
MIB = 1 << 20

# Nothing here waits this long when all is well; it only keeps a broken program from hanging the tests.  Generous, because the
# machines that run tests are small and busy.
PATIENCE_S = float(os.environ.get("DGO_E2E_PATIENCE_S", "240"))


class Skip(Exception):
    """Something this machine lacks."""


class Failure(AssertionError):
    """A case that did not hold, with the sentence to show."""


# ---- checks --------------------------------------------------------------------------------------------------------------


def check(condition, sentence):
    if not condition:
        raise Failure(sentence)


def check_equal(got, want, what):
    check(got == want, f"{what} is {got!r}, want {want!r}")


def check_match(pattern, text, what):
    """The pattern occurs, over line ends as over spaces."""
    check(re.search(pattern, text, re.IGNORECASE | re.DOTALL), f"{what} does not say /{pattern}/:\n{text.strip()[-2000:]}")


def wait_until(condition, what, seconds=None):
    """Polls a condition of the world outside (a process table, a file); returns its value."""
    end = time.monotonic() + (seconds or PATIENCE_S)
    while True:
        value = condition()
        if value:
            return value
        check(time.monotonic() < end, f"waited in vain for {what}")
        time.sleep(0.02)


# ---- the pretend machine -------------------------------------------------------------------------------------------------

Card = collections.namedtuple("Card", "model total_mib free_mib")

RTX_3090 = Card("NVIDIA GeForce RTX 3090", 24576, 24100)
RTX_3060 = Card("NVIDIA GeForce RTX 3060", 12288, 11900)


class Machine:
    """Cards in bus order, as a machine file for the program and as PRETEND_GPUS for the engine."""

    def __init__(self, *cards, host_mib=65536):
        self.cards = cards
        self.host_mib = host_mib

    def uuid(self, index):
        return f"GPU-e2e0000{index}-0000-4000-8000-000000000000"

    def pci_id(self, index):
        return f"0000:{index + 1:02x}:00.0"

    def file_text(self):
        rows = [f"  - {{name: {card.model}, total_mib: {card.total_mib}, free_mib: {card.free_mib}}}" for card in self.cards]
        return "\n".join(["gpus:", *rows, f"host: {{total_mib: {self.host_mib}, free_mib: {self.host_mib - 4096}}}", ""])

    def driver_text(self, used_mib=48):
        """The scenario of tests/gpu/fake_nvml.c: what is not free is partly used, partly the driver's own."""
        rows = []
        for i, card in enumerate(self.cards):
            reserved = card.total_mib - card.free_mib - used_mib
            rows += [f"card {card.model}", f"  uuid {self.uuid(i)}", f"  pci 0000{self.pci_id(i)}",
                     f"  memory {card.total_mib} {reserved} {used_mib}", "  compute 8.6"]
        return "\n".join(["driver 550.54.14", *rows, ""])

    def pretend_text(self):
        return ",".join(f"CUDA{i}|{card.model}|{card.total_mib}|{card.free_mib}|{self.uuid(i)}|{self.pci_id(i)}"
                        for i, card in enumerate(self.cards))


def engine():
    """Path of a real llama-server, or Skip."""
    if not os.access(ENGINE, os.X_OK):
        raise Skip(f"no engine at {ENGINE}; tools/get-engine.sh .engine brings one")
    return ENGINE


def backend():
    """Path of the pretend-GPU backend, built when it is older than its sources, or Skip."""
    headers = engine().resolve().parent.parent / "include"
    if not (headers / "ggml-backend.h").exists():
        raise Skip(f"no ggml headers in {headers}; tools/get-engine.sh keeps them")
    out = BUILD / "libpretend-gpu.so"
    build = subprocess.run([ROOT / "tools/pretend-gpu/build.sh", headers, out], stdin=subprocess.DEVNULL,
                           stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    check(build.returncode == 0, f"the pretend-GPU backend does not build:\n{build.stdout}")
    return out


def model(name="tiny-llama"):
    """Path of a model made by tools/make-model.py, made once for each build folder: with random weights when it is tiny,
    else without any."""
    given = os.environ.get("DGO_E2E_MODEL_DIR")
    path = pathlib.Path(given or BUILD / "e2e-models") / f"{name}.gguf"
    if not path.exists() and not given:
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(f".{os.getpid()}.part")  # two test files may make it at once
        make_model(name, part, *([] if name.startswith("tiny-") else ["--sparse"]))
        os.replace(part, path)
    return path


def make_model(*words):
    made = subprocess.run([sys.executable, ROOT / "tools/make-model.py", *map(str, words)], stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    check(made.returncode == 0, f"make-model.py {words} failed:\n{made.stdout}")


# ---- processes -----------------------------------------------------------------------------------------------------------

Result = collections.namedtuple("Result", "code out err")


class Process:
    """A program of ours or an engine, with what it has said so far; ended by its pid."""

    def __init__(self, argv, env, cwd):
        self.argv = [str(word) for word in argv]
        self.lines = {"out": [], "err": []}
        self.changed = threading.Condition()
        self.popen = subprocess.Popen(self.argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                      env=env, cwd=cwd, start_new_session=True)
        self.readers = [threading.Thread(target=self._read, args=pair, daemon=True)
                        for pair in (("out", self.popen.stdout), ("err", self.popen.stderr))]
        for reader in self.readers:
            reader.start()

    def _read(self, name, stream):
        for line in stream:
            with self.changed:
                self.lines[name].append(line.decode("utf-8", "backslashreplace"))
                self.changed.notify_all()
        with self.changed:
            self.changed.notify_all()

    @property
    def pid(self):
        return self.popen.pid

    def text(self, name):
        with self.changed:
            return "".join(self.lines[name])

    def story(self):
        return f"$ {' '.join(self.argv)}\n--- stdout\n{self.text('out')[-3000:]}--- stderr\n{self.text('err')[-3000:]}"

    def wait_for(self, pattern, name="err", seconds=None):
        """The first match of a pattern in what one stream has said; fails when the process ends first."""
        end = time.monotonic() + (seconds or PATIENCE_S)
        while True:
            with self.changed:
                found = re.search(pattern, "".join(self.lines[name]), re.IGNORECASE)
                if found:
                    return found
                ended = self.popen.poll() is not None and not any(reader.is_alive() for reader in self.readers)
                check(not ended, f"ended with {self.popen.returncode} before it said /{pattern}/")
                check(time.monotonic() < end, f"did not say /{pattern}/ in time")
                self.changed.wait(0.1)

    def signal(self, number):
        os.kill(self.pid, number)

    def stop(self):
        """Ends an engine by TERM.  llama-server loses one that comes before its loop runs; a second ends it at once."""
        while self.popen.poll() is None:
            self.signal(signal.SIGTERM)
            try:
                self.popen.wait(10)
            except subprocess.TimeoutExpired:
                continue
        return self.finish()

    def finish(self, seconds=None):
        """Waits for the end and returns exit code (negative: a signal), stdout and stderr."""
        try:
            code = self.popen.wait(seconds or PATIENCE_S)
        except subprocess.TimeoutExpired:
            raise Failure("did not end in time") from None
        for reader in self.readers:
            reader.join(5)  # a left-over child may keep the pipe open; Box finds it
        return Result(code, self.text("out"), self.text("err"))


def processes_with(mark):
    """Pids whose environment holds the mark: everything a case started, however it was re-parented.  Zombies are none."""
    found = []
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        try:
            environ = pathlib.Path(f"/proc/{entry}/environ").read_bytes()
        except OSError:
            continue  # ended meanwhile, or not ours
        if mark.encode() in environ:
            found.append(int(entry))
    return found


def command_of(pid):
    try:
        return pathlib.Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace").strip()
    except OSError:
        return ""


# ---- one case ------------------------------------------------------------------------------------------------------------


class Box:
    """Folder, environment and processes of one case."""

    def __init__(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="dgo-e2e-"))
        self.mark = f"DGO_E2E_MARK={uuid.uuid4()}"
        self.started = []
        self.env = {name: value for name, value in os.environ.items()
                    if not name.startswith(("DUALGPUOPT_", "PRETEND_", "LLAMA_", "GGML_", "CUDA_"))}
        self.env.update([self.mark.split("=", 1)])
        self.env.update(HOME=str(self.folder), XDG_STATE_HOME=str(self.folder / "state"),
                        XDG_CACHE_HOME=str(self.folder / "cache"), XDG_CONFIG_HOME=str(self.folder / "config"),
                        XDG_RUNTIME_DIR=str(self.folder), NO_COLOR="1", LC_ALL="C.UTF-8", OMP_NUM_THREADS="1",
                        GGML_NO_BACKTRACE="1")

    def file(self, name, text, mode=0o644):
        path = self.folder / name
        path.write_text(text)
        path.chmod(mode)
        return path

    def use(self, machine):
        """The engine sees the machine's cards; returns the machine file for --gpus."""
        self.env.update(GGML_BACKEND_PATH=str(backend()), PRETEND_GPUS=machine.pretend_text(),
                        PRETEND_GPU_USAGE=str(self.folder / "usage"))
        return self.file("machine.yaml", machine.file_text())

    def used_bytes(self, card):
        """What the usage file says is taken of a card."""
        data = (self.folder / "usage").read_bytes()
        return int.from_bytes(data[8 * card:8 * card + 8], sys.byteorder)

    def start(self, *argv):
        process = Process(argv, self.env, self.folder)
        self.started.append(process)
        return process

    def program(self, *words):
        check(PROGRAM.exists(), f"{PROGRAM} is not built; ./dev build makes it")
        return self.start(PROGRAM, *words)

    def run(self, *words, seconds=None):
        return self.program(*words).finish(seconds)

    def alive(self):
        return processes_with(self.mark)

    def check_nobody_left(self):
        """A killed program's children may need a moment to follow it; more than that is a leak."""
        try:
            wait_until(lambda: not self.alive(), "all processes to end", 15)
        except Failure:
            left = "\n".join(f"  {pid} {command_of(pid)}" for pid in self.alive())
            raise Failure(f"processes are left:\n{left}") from None

    def close(self):
        for pid in self.alive():
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        for process in self.started:
            process.popen.wait()
        shutil.rmtree(self.folder, ignore_errors=True)


def json_of(result, what="stdout"):
    try:
        return json.loads(result.out)
    except ValueError:
        raise Failure(f"{what} is no JSON (exit {result.code}):\n{result.out[-1500:]}\n--- stderr\n{result.err[-1500:]}") from None


# Below those that the kernel gives out, and other ones for each test file: several run at once.
_ports = itertools.count(12000 + os.getpid() % 190 * 100)


def free_port():
    while True:
        with socket.socket() as probe:
            port = next(_ports)
            try:
                probe.bind(("127.0.0.1", port))
                return port
            except OSError:
                continue  # somebody has it


def http_json(port, path, body=None):
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", method="POST" if body else "GET",
                                     data=json.dumps(body).encode() if body else None,
                                     headers={"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=PATIENCE_S) as answer:
        return json.load(answer)


# ---- TAP -----------------------------------------------------------------------------------------------------------------

CASES = []


def case(name):
    def add(function):
        CASES.append((name, function))
        return function
    return add


def cases(rows, name):
    """One case for each row of a table; name(row) is its name, the function gets box and row."""
    def add(function):
        for row in rows:
            CASES.append((name(row), lambda box, row=row: function(box, row)))
        return function
    return add


def run_case(function):
    """None, or ("skip"/"fail", sentence)."""
    box = Box()
    try:
        function(box)
        box.check_nobody_left()
        return None
    except Skip as reason:
        return "skip", str(reason)
    except Failure as failure:
        stories = "\n".join(process.story() for process in box.started)
        return "fail", f"{failure}\n{stories}"
    except Exception:  # a broken test is a failed test, and the next ones still run
        return "fail", traceback.format_exc()
    finally:
        box.close()


def main():
    """Runs the cases, or those whose names hold one of the arguments; prints TAP."""
    wanted = [(name, function) for name, function in CASES
              if len(sys.argv) < 2 or any(word in name for word in sys.argv[1:])]
    failed = 0
    print(f"1..{len(wanted)}", flush=True)
    for number, (name, function) in enumerate(wanted, 1):
        began = time.monotonic()
        outcome = run_case(function)
        if outcome is None:
            print(f"ok {number} - {name}")
        elif outcome[0] == "skip":
            print(f"ok {number} - {name} # SKIP {outcome[1].splitlines()[0]}")
        else:
            failed += 1
            print(f"not ok {number} - {name}")
            for line in outcome[1].splitlines():
                print(f"# {line}", file=sys.stderr)
        print(f"# {time.monotonic() - began:.2f} s", flush=True)
    sys.exit(1 if failed else 0)
