#!/usr/bin/env python3
"""Who may ask the daemon, over real sockets: every route, hostile heads, hostile names, slow clients, examples of the docs."""
import json
import os
import re
import socket
import stat
import time

from daemon import Daemon, Events, routes
from e2e import ROOT, case, cases, check, check_equal, check_match, main, wait_until

JSON = {"Content-Type": "application/json"}
OPEN = {("GET", "/healthz")}


def unpowered(box, *options, **more):
    """A daemon that starts no engine."""
    return Daemon(box, *options, real=False, models=(), **more)


def done(daemon):
    check_equal(daemon.stop().code, 0, "exit of serve")


@case("every route without a token: 401 and no effect; with another's token too")
def every_route(box):
    daemon = Daemon(box, real=False)
    before = daemon.json("GET", "/api/v1/view")
    others = {"none": {}, "a wrong one": {"Authorization": "Bearer " + "0" * 64}, "an empty one": {"Authorization": "Bearer "},
              "in the query": {}, "as a cookie": {"Cookie": f"token={daemon.token}"}}
    answers = set()
    for method, path in routes():
        for name, headers in others.items():
            if (method, path) in OPEN:
                continue
            target = f"{path}?token={daemon.token}" if name == "in the query" else path
            body = json.dumps({"model": "tiny-llama"}).encode() if method == "POST" else None
            status, _, text = daemon.ask(method, target, body, {"Host": f"127.0.0.1:{daemon.port}", **headers})
            check_equal(status, 401, f"{method} {path} with {name}")
            answers.add(text)
    check_equal(len(answers), 1, "different answers to strangers")
    for method, path in OPEN:
        check_equal(daemon.ask(method, path, None, {"Host": f"127.0.0.1:{daemon.port}"})[0], 200, path)
    after = daemon.json("GET", "/api/v1/view")
    check_equal(after["launches"], before["launches"], "launches")
    check_equal(len(box.alive()), 1, "processes")
    done(daemon)


@case("every route is documented, and every documented route is there")
def documented(box):
    text = (ROOT / "docs/HTTP.md").read_text()
    table = text.split("\n## Routes", 1)[1].split("\n### ", 1)[0]
    told = {(method, path.split("?")[0].replace("ID", "1"))
            for method, path in re.findall(r"`(GET|POST|DELETE) (/[^`]*?)`", table)}
    told |= {("POST", path) for path in re.findall(r"`(?:POST )?(/[a-z][a-z0-9_/]+)`", text.split("## The front")[1])} \
        - {("POST", "/v1/models")}
    there = set(routes())
    check_equal(there - told, set(), "routes that docs/HTTP.md leaves out")
    check_equal(told - there - {("GET", "/"), ("GET", "/FILE")}, set(), "routes that are only documented")


@cases([
    ("no Host", "GET /healthz HTTP/1.1\r\n\r\n", 400),
    ("two Hosts", "GET /healthz HTTP/1.1\r\nHost: {host}\r\nHost: evil.example\r\n\r\n", 421),
    ("two Hosts, ours last", "GET /healthz HTTP/1.1\r\nHost: evil.example\r\nHost: {host}\r\n\r\n", 421),
    ("a rebound name", "GET /healthz HTTP/1.1\r\nHost: evil.example:{port}\r\n\r\n", 421),
    ("a rebound name, for the events", "GET /api/v1/events HTTP/1.1\r\nHost: evil.example\r\n{token}\r\n", 421),
    ("no port in Host", "GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", 421),
    ("localhost", "GET /healthz HTTP/1.1\r\nHost: localhost:{port}\r\nConnection: close\r\n\r\n", 200),
    ("HTTP/1.0 without Host", "GET /healthz HTTP/1.0\r\n\r\n", 421),
    ("absolute form", "GET http://evil.example/healthz HTTP/1.1\r\nHost: {host}\r\n\r\n", 400),
    ("absolute form of ours", "GET http://{host}/healthz HTTP/1.1\r\nHost: {host}\r\n\r\n", 400),
    ("TRACE", "TRACE /healthz HTTP/1.1\r\nHost: {host}\r\n\r\n", 405),
    ("OPTIONS", "OPTIONS /api/v1/view HTTP/1.1\r\nHost: {host}\r\nOrigin: http://evil.example\r\n\r\n", 405),
    ("an invented method", "BREW /healthz HTTP/1.1\r\nHost: {host}\r\n\r\n", 405),
    ("GET where POST is meant", "GET /api/v1/plan HTTP/1.1\r\nHost: {host}\r\n{token}\r\n", 405),
    ("foreign Origin", "GET /healthz HTTP/1.1\r\nHost: {host}\r\nOrigin: http://evil.example\r\n\r\n", 403),
    ("null Origin", "GET /healthz HTTP/1.1\r\nHost: {host}\r\nOrigin: null\r\n\r\n", 403),
    ("cross-site", "GET /healthz HTTP/1.1\r\nHost: {host}\r\nSec-Fetch-Site: cross-site\r\n\r\n", 403),
    ("length and chunks", "POST /api/v1/plan HTTP/1.1\r\nHost: {host}\r\n{token}Content-Type: application/json\r\n"
     "Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{{}}\r\n0\r\n\r\n", 400),
    ("two lengths", "POST /api/v1/plan HTTP/1.1\r\nHost: {host}\r\n{token}Content-Type: application/json\r\n"
     "Content-Length: 2\r\nContent-Length: 5\r\n\r\n{{}}", 400),
    ("a form", "POST /api/v1/plan HTTP/1.1\r\nHost: {host}\r\n{token}Content-Type: application/x-www-form-urlencoded\r\n"
     "Content-Length: 3\r\n\r\na=b", 415),
    ("a body of 2 MiB announced", "POST /api/v1/plan HTTP/1.1\r\nHost: {host}\r\n{token}Content-Type: application/json\r\n"
     "Content-Length: 2097152\r\n\r\n", 413),
    ("dots in the path", "GET /../../etc/passwd HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n", 404),
    ("escaped dots", "GET /%2e%2e/%2e%2e/etc/passwd HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n", 404),
    ("an escaped NUL behind a good path", "GET /healthz%00.js HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n", 404),
    ("a head of 64 KiB", "GET /healthz HTTP/1.1\r\nHost: {host}\r\nX: {long}\r\n\r\n", 431),
    ("a path of 64 KiB", "GET /{long} HTTP/1.1\r\nHost: {host}\r\n\r\n", 414),
], lambda row: f"head: {row[0]}")
def hostile_head(box, row):
    _, text, want = row
    daemon = unpowered(box)
    data = text.format(host=f"127.0.0.1:{daemon.port}", port=daemon.port, long="x" * 65536,
                       token=f"Authorization: Bearer {daemon.token}\r\nConnection: close\r\n")
    got = daemon.raw(data.encode())
    status = int(re.match(rb"HTTP/1\.[01] (\d+)", got).group(1)) if got else 0
    check(status == want or (want >= 414 and status in (0, 400, 413, 414, 431)), f"answered {got[:200]!r}, wanted {want}")
    check_equal(daemon.ask("GET", "/healthz", None, {"Host": f"127.0.0.1:{daemon.port}"})[0], 200, "health afterwards")
    done(daemon)


@case("answers tell no browser to trust others")
def headers(box):
    daemon = unpowered(box)
    for path in ("/healthz", "/", "/api/v1/view"):
        _, got, _ = daemon.ask("GET", path)
        check_match(r"default-src 'none'", got["Content-Security-Policy"], path)
        check_match(r"frame-ancestors 'none'", got["Content-Security-Policy"], path)
        check_equal(got["X-Content-Type-Options"], "nosniff", path)
        check_equal(got["Referrer-Policy"], "no-referrer", path)
        check(not [name for name in got if name.lower().startswith("access-control")], "a CORS header")
        check("Set-Cookie" not in got, "a cookie")
    done(daemon)


@case("a missing model and a forbidden one are answered alike; special files are none")
def equal_answers(box):
    secret = box.folder / "secret.gguf"
    daemon = Daemon(box, real=False)
    secret.write_bytes((daemon.folder / "tiny-llama.gguf").read_bytes())
    os.symlink(secret, daemon.folder / "link-out.gguf")
    os.symlink("tiny-llama.gguf", daemon.folder / "link-in.gguf")
    os.mkfifo(daemon.folder / "pipe.gguf")
    os.symlink("/dev/random", daemon.folder / "random.gguf")
    (daemon.folder / "folder.gguf").mkdir()
    names = {row["name"] for row in daemon.json("GET", "/api/v1/models")["models"]}
    check_equal(names, {"tiny-llama", "link-in"}, "listed models")
    wanted = set()
    for name in ("nothing", "link-out", "pipe", "random", "folder", "../secret", "/etc/passwd", "tiny-llama.gguf",
                 str(secret), "%2e%2e/secret", "a" * 5000):
        status, _, text = daemon.ask("POST", "/api/v1/plan", {"model": name})
        check_equal(status, 404, name[:40])
        message = json.loads(text)["error"]["message"]
        wanted.add(re.sub(r'"[^"]*"', '""', message))
    check_equal(len(wanted), 1, f"sentences: {wanted}")
    for body in ({"path": str(secret)}, {"model": "tiny-llama", "path": str(secret)},
                 {"model": "tiny-llama", "extra": ["--host", "0.0.0.0"]},
                 {"model": "tiny-llama", "intent": {"engine": "/bin/sh"}}):
        check_equal(daemon.ask("POST", "/api/v1/launches", body)[0], 400, str(body))
    check_equal(daemon.launches(), [], "launches")
    done(daemon)


@case("names with markup, quotes, escapes and bidi marks come out as text")
def hostile_names(box):
    nasty = ['<script>alert(1)</script>', 'quote"and\\back', "esc\x1b[2Jape", "bell\x07", "bidi\u202eflip", "nel\u0085x"]
    daemon = Daemon(box, models=())
    for name in nasty:
        daemon.add_model("tiny-llama", name)
    listed = {row["name"] for row in daemon.json("GET", "/api/v1/models")["models"]}
    check_equal(len(listed), len(nasty), f"models in {listed}")
    launch = daemon.launch({"model": nasty[0], "name": 'x"y\\<b>\u202e'})
    daemon.wait_state(launch["id"], "ready")
    for accept in ("text/plain", "application/openmetrics-text"):
        _, _, text = daemon.ask("GET", "/metrics", None, daemon.head(Accept=accept))
        metrics = text.decode()
        check("\x1b" not in metrics and "\u202e" not in metrics, "raw controls in the metrics")
        for line in metrics.splitlines():
            check(re.fullmatch(r'# (TYPE|HELP|UNIT) \S+ .*|# EOF|[a-zA-Z_:][\w:]*(\{\w+="(?:[^"\\\n]|\\["\\n])*"'
                               r'(,\w+="(?:[^"\\\n]|\\["\\n])*")*\})? -?[0-9.e+-]+', line), f"bad line {line!r}")
    result = daemon.command("ps")
    check("\x1b" not in result.out and "\u202e" not in result.out, "raw controls in ps")
    for name in nasty[1:]:
        status, _, text = daemon.ask("POST", "/api/v1/plan", {"model": name})
        check(status in (200, 404), f"{name!r}: {status} {text[:200]!r}")
    status, headers_, text = daemon.ask("POST", "/api/v1/plan", {"model": "<img src=x onerror=alert(1)>"})
    check_equal(headers_["Content-Type"], "application/json", "type of an error")
    check_equal(status, 404, "a name that is none")
    check_equal(daemon.ask("POST", "/api/v1/launches", {"model": nasty[0], "name": "a\nb"})[0], 400, "newline in a name")
    done(daemon)


@case("bodies that are no JSON, too deep, or twice the same key")
def hostile_bodies(box):
    daemon = Daemon(box, real=False)
    for body in (b"", b"{", b"[]", b"null", b'{"model": "tiny-llama"} x', b'{"model": "a", "model": "b"}', b"[" * 100000,
                 b'{"a":' * 5000 + b"1" + b"}" * 5000, b'{"model": "\xff"}', b'{"model": "a\\u0000b"}', b'{"model": NaN}',
                 b'{"model": 1e400}', b"\xef\xbb\xbf{}"):
        for path in ("/api/v1/plan", "/api/v1/launches", "/api/v1/estimate"):
            status, _, text = daemon.ask("POST", path, body)
            check(status in (400, 404), f"{path} {body[:30]!r}: {status} {text[:200]!r}")
            check("message" in json.loads(text)["error"], "no reason")
    for path, body, param, says in (("plan", {"modle": "x"}, "modle", "did you mean model?"),
                                    ("plan", {"model": "tiny-llama", "intent": {"paralel": 2}}, "paralel", "did you mean parallel?"),
                                    ("plan", {"flags": []}, "flags", "there is model, preset, intent, explain and beside"),
                                    ("launches", {"model": "tiny-llama", "pined": True}, "pined", "did you mean pinned?"),
                                    ("launches", {"model": "x", "<b>\u202e": 1}, "<b>\\u{202e}", "is not known here"),
                                    ("launches", {"environment": {}}, "environment", "is not known here"),
                                    ("launches/1/stop", {"kil": True}, "kil", "did you mean kill?"),
                                    ("marks", {"txt": "x"}, "txt", "did you mean text?")):
        refusal = daemon.json("POST", f"/api/v1/{path}", body, 400)["error"]
        check(says in refusal["message"] and refusal["param"] == param, f"{path} {body}: {refusal}")
    check_equal(daemon.launches(), [], "launches")
    for model in (3, None, [], {}, True, "", "tiny-llama\0"):
        check(daemon.ask("POST", "/api/v1/plan", {"model": model})[0] in (400, 404), f"model {model!r}")
    check_equal(daemon.json("POST", "/api/v1/plan", {"model": "tiny-llama"})["fits"], True, "a good one")
    done(daemon)


@case("a slow head, a slow body and a silent client are dropped; others do not wait")
def slow_clients(box):
    daemon = unpowered(box)
    began = time.monotonic()
    host = f"Host: 127.0.0.1:{daemon.port}\r\n".encode()
    silent = socket.create_connection(("127.0.0.1", daemon.port))
    trickle = socket.create_connection(("127.0.0.1", daemon.port))
    trickle.sendall(b"GET /healthz HTTP/1.1\r\n" + host + b"X: ")
    gone = set()
    while len(gone) < 2 and time.monotonic() - began < 60:
        for name, peer in (("silent", silent), ("trickle", trickle)):
            if name in gone:
                continue
            peer.settimeout(0.2)
            try:
                if name == "trickle":
                    peer.sendall(b"x")
                if peer.recv(100) == b"":
                    gone.add(name)
            except TimeoutError:
                pass
            except OSError:
                gone.add(name)
        check_equal(daemon.ask("GET", "/healthz", None, {"Host": f"127.0.0.1:{daemon.port}"})[0], 200, "another client")
    check_equal(gone, {"silent", "trickle"}, "dropped")
    silent.close()
    trickle.close()
    done(daemon)


@case("a request in pieces, and two in one packet")
def pieces(box):
    daemon = unpowered(box)
    head = f"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1:{daemon.port}\r\n"
    with socket.create_connection(("127.0.0.1", daemon.port), timeout=30) as peer:
        for byte in (head + "\r\n").encode():
            peer.sendall(bytes([byte]))
        check(peer.recv(4096).startswith(b"HTTP/1.1 200"), "in pieces")
    got = daemon.raw((head + "\r\n" + head + "Connection: close\r\n\r\n").encode())
    check_equal(got.count(b"HTTP/1.1 200"), 2, "two in one packet")
    done(daemon)


@case("the token file is made 0600; one that others may read, or that holds no token, is refused")
def token_file(box):
    daemon = unpowered(box)
    check_equal(stat.S_IMODE(daemon.token_file.stat().st_mode), 0o600, "mode of the token file")
    check_match(r"^[0-9a-f]{64}\n$", daemon.token_file.read_text(), "the token")
    check(daemon.token not in daemon.process.text("err"), "the token was printed")
    check_equal(stat.S_IMODE((box.folder / "dualgpuopt/daemon.sock").stat().st_mode), 0o600, "mode of the socket")
    done(daemon)
    daemon.start()
    check_equal(daemon.json("GET", "/api/v1/launches")["launches"], [], "the same token works again")
    done(daemon)
    daemon.token_file.chmod(0o644)
    daemon.start(wait=False)
    result = daemon.process.finish()
    check_equal(result.code, 1, "exit")
    check_match(r"others may read .*chmod 600", result.err, "the sentence")
    daemon.token_file.chmod(0o600)
    daemon.token_file.write_text("secret\n")
    daemon.start(wait=False)
    check_match(r"does not hold 64 hexadecimal digits", daemon.process.finish().err, "the sentence")


@case("a token made for the run is printed once, in the page's address")
def printed_token(box):
    process = box.program("serve", "--listen", "127.0.0.1:0", "--gpus",
                          box.file("m.yaml", "gpus: [{name: A, total_mib: 1000, free_mib: 900}]\n"))
    process.wait_for(r"http://127\.0\.0\.1:\d+/#t=[0-9a-f]{64}")
    process.signal(15)
    check_equal(process.finish().code, 0, "exit")


@case("taken ports, sockets and folders are said")
def taken(box):
    daemon = unpowered(box)
    second = box.run("serve", "--listen", f"127.0.0.1:{daemon.port}", "--gpus", daemon.machine_file, "--socket",
                     box.folder / "other.sock", "--state-dir", box.folder / "other")
    check_equal(second.code, 1, "exit")
    check_match(r"is taken by another program; choose another --listen", second.err, "port")
    second = box.run("serve", "--listen", "127.0.0.1:0", "--gpus", daemon.machine_file, "--state-dir", box.folder / "other")
    check_match(r"a daemon answers on .* already", second.err, "socket")
    second = box.run("serve", "--listen", "127.0.0.1:0", "--gpus", daemon.machine_file, "--socket", box.folder / "other.sock")
    check_match(r"another daemon uses", second.err, "state folder")
    bad = box.run("serve", "--listen", "somewhere")
    check_equal(bad.code, 2, "exit of a bad address")
    done(daemon)
    for words in (["ps"], ["stop", "--all"], ["logs", "1"], ["run", "x.gguf", "--detach"]):
        result = box.run(*words)
        check_equal(result.code, 1, f"exit of {words[0]} without a daemon")
        check_match(r"no daemon runs .*dualgpuopt serve", result.err, words[0])


@case("events: a snapshot at once, ids that resume, no token no stream")
def events(box):
    daemon = unpowered(box)
    stream = Events(daemon)
    kind, ident, data = stream.next()
    check_equal(kind, "snapshot", "the first event")
    check_equal(data["schema"], "dualgpuopt.view/1", "its data")
    stream.close()
    again = Events(daemon, last=ident)
    check_equal(again.next()[0], "snapshot", "after a reconnect")
    again.close()
    wait_until(lambda: daemon.json("GET", "/api/v1/view")["daemon"]["event_clients"] == 0, "clients to be noticed as gone", 30)
    done(daemon)


main()
