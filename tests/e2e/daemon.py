"""A daemon in a Box, and how to talk to it: raw bytes where a client library would be too polite."""
import http.client
import json
import re
import shutil
import socket
import time

from e2e import (PATIENCE_S, ROOT, RTX_3060, RTX_3090, Card, Machine, check, check_equal, engine, json_of, model, wait_until)

PAIR = Machine(RTX_3090, RTX_3060)


def routes():
    """(method, path) of every row of the route table, with 1 for '*'."""
    text = (ROOT / "src/serve/api.c").read_text()
    rows = re.findall(r'^    \{"(\w+)", "([^"]+)",', text, re.M)
    check(len(rows) > 20, "the route table was not read")
    return [(method, path.replace("*", "1")) for method, path in rows]


def engines(box):
    """Pids of engines of this box."""
    found = []
    for pid in box.alive():
        try:
            words = open(f"/proc/{pid}/cmdline", "rb").read().split(b"\0")
        except OSError:
            continue
        if words[0].endswith(b"llama-server"):
            found.append(pid)
    return found


class Daemon:
    """`serve` with a free port and a token file; models are copied into its folder by name.  Without `cards` the box has a driver of
    its own."""

    def __init__(self, box, *options, machine=PAIR, models=("tiny-llama",), real=True, wait=True, cards=True):
        self.box = box
        self.folder = box.folder / "models"
        self.folder.mkdir(exist_ok=True)
        for name in models:
            self.add_model(name)
        self.token_file = box.folder / "token"
        self.machine_file = None
        if cards:
            self.machine_file = box.use(machine) if real else box.file("machine.yaml", machine.file_text())
        self.words = ["serve", "--listen", "127.0.0.1:0", "--token-file", self.token_file, "--model-folders", self.folder,
                      *options]
        if cards:
            self.words += ["--gpus", self.machine_file]
        if real or not cards:
            self.words += ["--engine", engine()]
        self.start(wait)

    def add_model(self, name, as_name=None):
        target = self.folder / f"{as_name or name}.gguf"
        target.parent.mkdir(parents=True, exist_ok=True)
        if not target.exists():
            shutil.copy(model(name), target)
        return target

    def start(self, wait=True):
        self.process = self.box.program(*self.words)
        if wait:
            self.port = int(self.process.wait_for(r"http://127\.0\.0\.1:(\d+)/").group(1))
            self.token = self.token_file.read_text().strip()

    def head(self, **more):
        return {"Host": f"127.0.0.1:{self.port}", "Authorization": f"Bearer {self.token}", **more}

    def ask(self, method, path, body=None, headers=None):
        """Status, headers, body; `headers` replaces ours."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE_S)
        try:
            data = body if isinstance(body, (bytes, type(None))) else json.dumps(body).encode()
            connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
            wanted = dict(self.head() if headers is None else headers)
            if data is not None:
                wanted.setdefault("Content-Type", "application/json")
                wanted["Content-Length"] = str(len(data))
            for name, value in wanted.items():
                connection.putheader(name, value)
            connection.endheaders(data)
            answer = connection.getresponse()
            return answer.status, answer.headers, answer.read()
        finally:
            connection.close()

    def json(self, method, path, body=None, want=200):
        status, _, text = self.ask(method, path, body)
        check_equal(status, want, f"status of {method} {path}: {text[:600]!r}")
        return json.loads(text)

    def raw(self, data, seconds=None):
        """Sends bytes, returns all that comes back until the other end closes."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=seconds or PATIENCE_S) as peer:
            peer.sendall(data)
            got = b""
            try:
                while chunk := peer.recv(65536):
                    got += chunk
            except ConnectionResetError:
                pass
            return got

    def launches(self):
        return self.json("GET", "/api/v1/launches")["launches"]

    def launch(self, body, want=202):
        return self.json("POST", "/api/v1/launches", body, want)

    def one(self, ident):
        return self.json("GET", f"/api/v1/launches/{ident}")

    def wait_state(self, ident, *states):
        def there():
            launch = self.one(ident)
            return launch if launch["state"] in states else None
        return wait_until(there, f"launch {ident} to be {' or '.join(states)}")

    def command(self, *words, code=0):
        result = self.box.run(*words)
        check_equal(result.code, code, f"exit of {words}: {result.err}")
        return result

    def ps(self):
        return json_of(self.command("ps", "--json"))["launches"]

    def chat(self, name, text="hello", tokens=4, want=200, **more):
        return self.json("POST", "/v1/chat/completions", {"model": name, "max_tokens": tokens, "seed": 1, "temperature": 0,
                                                          "messages": [{"role": "user", "content": text}], **more}, want)

    def stop(self, number=15):
        self.process.signal(number)
        return self.process.finish()


class Events:
    """The event stream, read as it comes."""

    def __init__(self, daemon, path="/api/v1/events", last=None):
        headers = daemon.head()
        if last is not None:
            headers["Last-Event-ID"] = str(last)
        self.connection = http.client.HTTPConnection("127.0.0.1", daemon.port, timeout=PATIENCE_S)
        self.connection.request("GET", path, headers=headers)
        self.answer = self.connection.getresponse()
        self.seen = []
        check_equal(self.answer.status, 200, "status of the events")

    def next(self):
        """(event, id, data) of the next event."""
        fields = {}
        while True:
            line = self.answer.readline()
            check(line, "the event stream ended")
            line = line.decode().rstrip("\n")
            if not line and fields:
                return fields["event"], int(fields["id"]), json.loads(fields["data"])
            if line and not line.startswith(":"):
                name, _, value = line.partition(": ")
                fields[name] = value

    def until(self, kind, condition=lambda data: True):
        """The first of that kind since the stream began, read already or not: what overtakes what is not promised."""
        end = time.monotonic() + PATIENCE_S
        at = 0
        while time.monotonic() < end:
            if at == len(self.seen):
                self.seen.append(self.next())
            event, ident, data = self.seen[at]
            if event == kind and condition(data):
                return ident, data
            at += 1
        raise AssertionError(f"no {kind} came")

    def close(self):
        self.connection.close()


# Room for two launches of the tiny model, not for three: each takes 306 MiB of overhead and some.
SMALL = Machine(Card("NVIDIA GeForce RTX 3060", 1200, 1100))
SMALL_WISH = {"ctx": 1024}


def done(daemon):
    check_equal(daemon.stop().code, 0, "exit of serve")


def start(daemon, name, want=202, **more):
    return daemon.launch({"model": "tiny-llama", "name": name, "intent": SMALL_WISH, **more}, want)


def ready(daemon, name, **more):
    launch = start(daemon, name, **more)
    return daemon.wait_state(launch["id"], "ready", "ended")


def endless(daemon):
    """A connection on which launch "a" streams more tokens than anybody waits for."""
    connection = http.client.HTTPConnection("127.0.0.1", daemon.port)
    connection.request("POST", "/v1/completions", json.dumps({"model": "a", "prompt": "x", "n_predict": 100000,
                                                              "ignore_eos": True, "stream": True}),
                       {"Content-Type": "application/json", **daemon.head()})
    return connection
