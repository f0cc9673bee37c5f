"""What a real engine says that it allocated, and what `estimate` says it would: two books to lay side by side."""
import collections
import http.client
import json
import os
import re
import subprocess
import urllib.request

from e2e import PROGRAM, backend, check, engine

# Buffers that lie in host memory; all others are cards.
HOST_BUFFERS = re.compile(r"^(CPU|CPU_Mapped|CPU_REPACK|.*_Host)$")
KINDS = {"model": "weights", "LoRA": "weights", "KV": "context", "RS": "context", "compute": "compute", "output": "output"}
STEP_MIB = 0.011  # the log rounds each buffer to hundredths


def new_books():
    return collections.defaultdict(lambda: collections.defaultdict(float))


def note_line(books, line):
    """Adds one line of an engine's log to the books; the last compute figure of a device counts, all others add up."""
    found = re.match(r"(?:[\d.]+ I )?(\S+?): +(\S+) (model|LoRA|KV|RS|compute|output|DSV4 \S+ state) buffer size += +([\d.]+) MiB", line)
    if not found or found[1].startswith("~"):
        return
    kind = KINDS.get(found[3], "context")
    device = "host" if HOST_BUFFERS.match(found[2]) else found[2]
    if kind == "compute":
        # A projector's encoder has buffers of its own, made last; all others are the same ones again.
        encoder = "compute_meta" in found[1]
        books[device]["projector"] += float(found[4]) if encoder else 0
        name = ("projector " if encoder else "") + found[2] + " compute"
        # A file for pictures and sounds has two encoders.
        books[device][name] = float(found[4]) + (books[device][name] if encoder else 0)
        books[device]["compute"] = sum(value for name, value in books[device].items() if name.endswith(" compute"))
    else:
        books[device][kind] += float(found[4])


def benchmark(box, models, flags, tokens):
    """Loads each model as `llama-bench` does, on the box's cards: {path: books}.  A model whose random weights make the engine
    abort while it computes is left out, unless everything had been allocated before; the others go on."""
    program = engine().parent / "llama-bench"
    books, left, aborted = {}, list(models), []
    backend()
    while left:
        words = [program, "-v", "-p", tokens, "-n", 0, "-r", 1, "--no-warmup", "-t", 1, "-lm", "none", *flags]
        for path in left:
            words += ["-m", path]
        ran = subprocess.run([str(word) for word in words], env=box.env, cwd=box.folder, stdin=subprocess.DEVNULL,
                             stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace")
        now = None
        seen = []
        for line in ran.stdout.splitlines():
            opened = re.search(r"loaded meta data with .* from (\S+) ", line)
            if opened:
                if opened[1] not in books:
                    seen.append(opened[1])
                    now = books[opened[1]] = new_books()
                else:
                    now = None  # llama-bench opens a model once more to describe it
            elif now is not None:
                note_line(now, line)
        check(seen, f"llama-bench ended with {ran.returncode} and opened no model:\n{ran.stdout[-2000:]}")
        if ran.returncode == 0 and seen[-1] == str(left[-1]):
            break
        aborted.append(seen[-1])
        left = left[[str(path) for path in left].index(seen[-1]) + 1:]
    return books, aborted


class Refused(Exception):
    """The program's sentence about flags that it does not take."""


def estimate(box, machine_file, path, flags, *options):
    """The program's own view and books.  Not by box.run: there are hundreds, and nothing is left behind."""
    words = [PROGRAM, "estimate", path, "--gpus", machine_file, "--json", *options, "--", *flags]
    ran = subprocess.run([str(word) for word in words], env=box.env, cwd=box.folder, stdin=subprocess.DEVNULL,
                         stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if ran.returncode not in (0, 3):
        raise Refused(f"estimate {os.path.basename(path)}: {ran.stderr.strip()}")
    view = json.loads(ran.stdout)
    books = new_books()
    for row in [*view["devices"], dict(view["host"], name="host")]:
        for kind in ("weights", "context", "compute"):
            books[row["name"]][kind] = row[f"{kind}_bytes"] / (1 << 20)
    return view, books


def differences(engine_books, ours, kinds=("weights", "context"), step=STEP_MIB):
    """A sentence for each figure that is not the engine's."""
    found = []
    for device, row in ours.items():
        for kind in kinds:
            seen = engine_books.get(device, {}).get(kind, 0.0)
            buffers = 3 if kind == "context" else 1  # a cache, a window's and a state, each rounded
            if abs(seen - row[kind]) > step * buffers + (0.06 if device == "host" else 0):
                found.append(f"{device} {kind}: engine {seen:.2f} MiB, estimate {row[kind]:.2f}")
    return found


def read_log(lines):
    """The books of a server's whole log.  A draft has a context of its own, which is made behind the model's; what is reserved
    when a request has come is the model's again: its hidden states go to the draft from then on."""
    parts, now = [new_books()], 0
    for line in lines:
        if "creating MTP draft context" in line or "loading draft model" in line:
            parts.append(new_books())
            now = len(parts) - 1
        elif "all slots are idle" in line:
            now = 0
        note_line(parts[now], line)
    books = new_books()
    for part in parts:
        add_books(books, part)
    return books


def ask(port, token_count=40):
    """A request of tokens; a model without a tokenizer lets the server end, but not before it has reserved what it needs."""
    body = json.dumps({"prompt": list(range(token_count)), "n_predict": 4, "ignore_eos": True}).encode()
    try:
        urllib.request.urlopen(urllib.request.Request(f"http://127.0.0.1:{port}/completion", body,
                                                      {"Content-Type": "application/json"}), timeout=120).read()
    except OSError:
        pass
    except http.client.HTTPException:
        pass


def server(box, path, flags, then=lambda: None):
    """Loads a model as a real llama-server does, until it waits for requests: its books.  `then` is called while it runs; with
    a draft there is a request first."""
    backend()
    # The engine finds a free port: one that we found may be taken by then.
    process = box.start(engine(), "-m", path, "-fit", "off", "--no-warmup", "--offline", "-lv", "4", "--no-log-prefix", "-t", "1",
                        "--port", 0, *flags)
    process.wait_for(r"all slots are idle")  # a signal before that is lost
    if "-md" in flags or any("draft-mtp" in word for word in flags):
        ask(process.wait_for(r"listening on http://127.0.0.1:(\d+)")[1])
    then()
    process.stop()
    return read_log(process.text("err").splitlines() + process.text("out").splitlines())


def add_books(books, part):
    for device, row in part.items():
        for kind in ("weights", "context", "compute", "output", "projector"):
            books[device][kind] += row[kind]
