#!/usr/bin/env python3
"""The front for engines: which one a request is for, what goes there and what comes back; the real engine on pretend cards."""
import hashlib
import http.client
import json
import os
import re
import signal
import threading

from daemon import Daemon, done, endless, engines, ready
from e2e import case, cases, check, check_equal, check_match, json_of, main, wait_until
from stand_in_engine import stand_in

@case("a model is started when it is asked for, once for all who ask; answers come through, streams too")
def on_demand(box):
    daemon = Daemon(box)
    listed = daemon.json("GET", "/v1/models")
    check_equal([(row["id"], row["running"]) for row in listed["data"]], [("tiny-llama", False)], "models")
    answers = []
    threads = [threading.Thread(target=lambda: answers.append(daemon.chat("tiny-llama"))) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    check_equal(len(answers), 6, "answers")
    check_equal(len(engines(box)), 1, "engines")
    launch = daemon.launches()[0]
    check_equal((launch["origin"], launch["request_count"], launch["active_request_count"]), ("request", 6, 0), "the launch")
    direct = http.client.HTTPConnection("127.0.0.1", launch["port"])
    body = json.dumps({"model": "tiny-llama", "max_tokens": 8, "seed": 1, "temperature": 0, "stream": True,
                       "messages": [{"role": "user", "content": "hello"}]})

    def tokens(connection, headers):
        connection.request("POST", "/v1/chat/completions", body, {"Content-Type": "application/json", **headers})
        answer = connection.getresponse()
        check_equal((answer.status, answer.headers["Content-Type"].split(";")[0]), (200, "text/event-stream"), "the stream")
        rows = re.findall(rb"^data: (\{.*\})", answer.read(), re.M)
        return [json.loads(row)["choices"][0]["delta"].get("content") for row in rows if json.loads(row)["choices"]]

    through = tokens(http.client.HTTPConnection("127.0.0.1", daemon.port), daemon.head())
    check_equal(through, tokens(direct, {}), "the streamed tokens, beside the engine's own")
    check(len(through) >= 8, "tokens are missing")
    check_equal(daemon.json("GET", "/v1/models")["data"][0]["running"], True, "running")
    status, _, text = daemon.ask("POST", "/v1/chat/completions", {"model": "tiny-llama", "messages": "none"})
    check(400 <= status < 600 and b"error" in text, f"the engine's own refusal: {status} {text[:200]!r}")
    daemon.chat("nobody", want=404)
    daemon.json("POST", "/v1/chat/completions", {"model": 3}, 422)
    check_equal(len(daemon.json("POST", "/v1/completions", {"prompt": "a", "max_tokens": 2})["choices"]), 1, "without a model, "
                "with one launch")
    direct.close()
    done(daemon)


@case("a preset is asked for by its name, started with its options, and stands in the list; a broken one is told")
def by_preset(box):
    daemon = Daemon(box)
    check_equal(box.run("presets", "save", "coder", daemon.folder / "tiny-llama.gguf", "--ctx", "1024", "--parallel", "2").code, 0, "presets save")
    listed = [row["id"] for row in daemon.json("GET", "/v1/models")["data"]]
    check_equal(listed, ["coder", "tiny-llama"], "models")
    threads = [threading.Thread(target=lambda: daemon.chat("coder")) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    check_equal(daemon.chat("coder")["object"], "chat.completion", "an answer")
    launch, = daemon.launches()
    check_equal((launch["name"], launch["preset"], launch["origin"]), ("coder", "coder", "request"), "the launch")
    check_equal(box.run("stop", "coder").code, 0, "stop")
    daemon.wait_state(launch["id"], "ended")
    ident = int(daemon.command("run", "--detach", "--preset", "coder").out)
    launch = daemon.wait_state(ident, "ready")
    check_equal((launch["name"], launch["preset"], launch["origin"]), ("coder", "coder", "cli"), "the launch of run --detach")
    daemon.chat("coder")
    check_equal(daemon.one(ident)["request_count"], 1, "its requests")
    words = launch["plan"]["command"]
    check_equal([words[words.index(flag) + 1] for flag in ("-c", "-np")], ["2048", "2"], "its options")
    check_equal(len(engines(box)), 1, "engines")
    (box.folder / "config/dualgpuopt/presets/broken.yaml").write_text("version: 1\nmodel: [\n")
    check_match("broken.yaml: line", daemon.chat("broken", want=422)["error"]["message"], "a broken one")
    check("broken" not in [row["id"] for row in daemon.json("GET", "/v1/models")["data"]], "a broken one is listed")
    done(daemon)


@case("an imported model is asked for by every name it had, once started it serves them all, and its ttl ends it alone")
def imported(box):
    daemon = Daemon(box)
    path = daemon.folder / "tiny-llama.gguf"
    box.file("swap.yaml", f"""models:
  "Qwen/Qwen3:8b": {{aliases: [gpt-4o-mini], ttl: 2, cmd: "llama-server -m {path} -c 1024 --port ${{PORT}}"}}
  other: {{cmd: "llama-server -m {path} -c 1024 --port ${{PORT}}"}}
""")
    check_equal(box.run("presets", "import", box.folder / "swap.yaml").code, 0, "presets import")
    check_equal(daemon.chat("gpt-4o-mini")["object"], "chat.completion", "by an alias")
    for name in ("Qwen/Qwen3:8b", "Qwen-Qwen3-8b", "gpt-4o-mini"):
        daemon.chat(name)
    launch, = daemon.launches()
    check_equal((launch["name"], launch["preset"], launch["request_count"]), ("Qwen-Qwen3-8b", "Qwen-Qwen3-8b", 4), "the launch")
    check_match("no model", daemon.chat("gpt-4o-maxi", want=404)["error"]["message"], "another name")
    daemon.chat("other")
    ended = daemon.wait_state(launch["id"], "ended")
    check_match("nobody asked for it for 2", ended["actions"][0]["why"], "its end")
    check_equal(daemon.launches()[-1]["state"], "ready", "the one without a ttl")
    done(daemon)


@case("a client that goes away ends the work for it")
def client_goes(box):
    daemon = Daemon(box)
    launch = ready(daemon, "a", **{"intent": {"ctx": 8192}})
    connection = endless(daemon)
    connection.getresponse().read1(10)
    check_equal(daemon.one(launch["id"])["active_request_count"], 1, "requests under way")
    connection.close()
    wait_until(lambda: daemon.one(launch["id"])["active_request_count"] == 0, "the request to end")
    wait_until(lambda: "all slots are idle" in daemon.command("logs", "a", "--lines", "1").out, "the engine to be idle", 30)
    done(daemon)


@case("the cards are looked at half as often while an engine streams and needs every CPU")
def looks_give_way(box):
    daemon = Daemon(box, "--threads", str(os.cpu_count()))
    ready(daemon, "a", **{"intent": {"ctx": 8192}})
    sampler = lambda: daemon.json("GET", "/api/v1/resources")["sampler"]
    before = sampler()
    check_equal((before["slowed"], before["interval_ns"]), (False, before["normal_ns"]), "before")
    connection = endless(daemon)
    connection.getresponse().read1(10)
    slowed = wait_until(lambda: (lambda now: now if now["slowed"] else None)(sampler()), "looks to be rarer")
    check_equal((slowed["interval_ns"], slowed["why"]), (2 * before["normal_ns"], "an engine streams and needs every CPU"),
                "while it streams")
    connection.close()
    wait_until(lambda: not sampler()["slowed"], "looks as often as before")
    check_equal(sampler()["interval_ns"], before["normal_ns"], "after it")
    done(daemon)


@case("resources tells how the daemon's looks at the cards went, as text and as JSON")
def looks_are_counted(box):
    daemon = Daemon(box, real=False)
    looks = wait_until(lambda: (lambda now: now if now["looks"] > 1 else None)(json_of(daemon.command("resources", "--json"))["sampler"]),
                       "two looks")
    check_equal((looks["failed_looks"], looks["stale"]), (0, False), "failed looks, stale")
    check(looks["look_longest_ns"] >= looks["look_last_ns"] > 0, f"how long looks took: {looks}")
    text = daemon.command("resources").out
    check_match(r"the daemon looks at the cards every 1.00 s: as often as it was asked for\n  \d+ looks: 0 failed, \d+ late, \d+ skipped", text, "resources")
    check(not json_of(daemon.command("resources", "--json", "--gpus", daemon.machine_file)).get("sampler"), "the looks at a machine file are the daemon's")
    done(daemon)


@case("an engine that dies while it answers: the stream breaks, it is started again, the next request waits for it")
def engine_dies(box):
    daemon = Daemon(box)
    launch = ready(daemon, "a", **{"intent": {"ctx": 8192}})
    connection = endless(daemon)
    answer = connection.getresponse()
    answer.read1(10)
    os.kill(launch["pid"], signal.SIGKILL)
    try:
        while answer.read1(65536):
            pass
        broken = False
    except (http.client.IncompleteRead, ConnectionError):
        broken = True
    check(broken, "the stream ended as if it were whole")
    check_equal(daemon.chat("a")["object"], "chat.completion", "the next answer")
    now = daemon.one(launch["id"])
    check(now["pid"] != launch["pid"], "the same pid")
    check_equal([(act["action"], act["effect"].split(":")[0]) for act in now["actions"]], [("restart", "it works")], "actions")
    check_match(r"signal 9 \(Killed\); its last words: ", now["actions"][0]["why"], "why")
    events = daemon.json("GET", "/api/v1/timeline")["events"]
    check(any(event["kind"] == "end" and "restarting: the engine was ended" in event["text"] for event in events),
          "its end on the timeline")
    done(daemon)


# ---- forms ---------------------------------------------------------------------------------------------------------------

BOUNDARY = "----DgoFormBoundary7MA4YWxkTrZu0gW"
WAV = b"RIFF\x24\x00\x00\x00WAVEfmt \x10\x00\x00\x00\x01\x00\x01\x00\x80\x3e\x00\x00\x00\x7d\x00\x00\x02\x00\x10\x00data\x00\x00\x00\x00"


def part(name, data, file=None):
    head = f'Content-Disposition: form-data; name="{name}"' + (f'; filename="{file}"\r\nContent-Type: audio/wav' if file else "")
    return f"--{BOUNDARY}\r\n{head}\r\n\r\n".encode() + data + b"\r\n"


def form(*parts):
    return b"".join(parts) + f"--{BOUNDARY}--\r\n".encode()


def upload(daemon, body, path="/v1/audio/transcriptions", kind=f"multipart/form-data; boundary={BOUNDARY}"):
    return daemon.ask("POST", path, body, daemon.head(**{"Content-Type": kind}))


@case("a form goes to the engine that its field names, byte for byte; nothing else of the client's head does")
def forms(box):
    daemon = Daemon(box, "--engine", stand_in(box, "serve"), real=False)
    sound = bytes(range(256)) * 40_000 + b"\r\n--" + BOUNDARY[:-1].encode() + b"\r\n"
    for path in ("/v1/audio/transcriptions", "/v1/audio/translations", "/v1/images/edits", "/v1/images/variations"):
        body = form(part("file", sound, "a.wav"), part("model", b"tiny-llama"), part("language", "dé".encode()))
        status, headers, text = upload(daemon, body, path)
        check_equal((status, headers["Content-Type"]), (200, "application/json"), f"{path}: {text[:300]!r}")
        came = json.loads(text)
        check_equal((came["path"], came["length"], came["sha256"]), (path, len(body), hashlib.sha256(body).hexdigest()), "the body")
        check_equal([(row["name"], row["file"]) for row in came["parts"]], [("file", "a.wav"), ("model", None), ("language", None)],
                    "its parts, as another reader sees them")
        check_equal(came["parts"][0]["sha256"], hashlib.sha256(sound).hexdigest(), "the file")
        check(not {"authorization", "origin", "cookie"} & set(came["headers"]), f"headers that were passed on: {came['headers']}")
    check_equal(len(engines(box)) or len(daemon.launches()), 1, "launches for one name")
    status, _, text = upload(daemon, form(part("file", WAV, "a.wav")))
    check_equal(status, 200, "without a model, with one launch")
    status, _, text = daemon.ask("POST", "/v1/images/edits", {"model": "tiny-llama", "prompt": "x"})
    check_equal(status, 200, "the same route by JSON")
    quoted = b'--a b\r\nContent-Disposition: form-data; name="model"\r\n\r\ntiny-llama\r\n--a b--\r\n'
    status, _, text = upload(daemon, quoted, kind='multipart/form-data; boundary="a b"')
    check_equal(json.loads(text)["parts"][0]["name"], "model", "a boundary that needs quotes")
    done(daemon)


@cases([
    ("no boundary", "multipart/form-data", form(part("model", b"tiny-llama")), 400),
    ("two boundaries", f"multipart/form-data; boundary=x; boundary={BOUNDARY}", form(part("model", b"tiny-llama")), 400),
    ("a boundary that ends the head", f'multipart/form-data; boundary="x\\y\x01"', form(part("model", b"tiny-llama")), 400),
    ("a boundary of 1000 characters", f"multipart/form-data; boundary={'x' * 1000}", form(part("model", b"tiny-llama")), 400),
    ("another boundary", "multipart/form-data; boundary=other", form(part("model", b"tiny-llama")), 422),
    ("cut", None, form(part("model", b"tiny-llama"))[:60], 422),
    ("nothing", None, b"", 422),
    ("JSON under the name of a form", None, b'{"model": "tiny-llama"}', 422),
    ("no text", None, form(part("model", b"\xff\x00")), 422),
    ("a path", None, form(part("model", b"../../etc/passwd")), 404),
    ("a name of 1 MiB", None, form(part("model", b"x" * (1 << 20))), 429),
    ("1000 fields before it", None, form(*[part("x", b"y")] * 1000, part("model", b"tiny-llama")), 429),
    ("a head of 1 MiB", None, form(part("x" * (1 << 20), b"y"), part("model", b"tiny-llama")), 422),
    ("a file that is called model", None, form(part("model", b"tiny-llama", "model")), 404),
    ("a form in letters", "application/x-www-form-urlencoded", b"model=tiny-llama", 415),
    ("a form where only JSON is read", None, form(part("model", b"tiny-llama")), 415),
], lambda row: f"form: {row[0]}")
def hostile_forms(box, row):
    name, kind, body, want = row
    daemon = Daemon(box, real=False)
    path = "/v1/chat/completions" if "only JSON" in name else "/v1/audio/transcriptions"
    status, _, text = upload(daemon, body, path, *([kind] if kind else []))
    check_equal(status, want, f"{text[:300]!r}")
    check(json.loads(text)["error"]["message"], "no sentence")
    check_equal(daemon.launches(), [], "launches")
    done(daemon)


@case("a form that is longer than it may be, and more forms at once than memory is given for")
def long_forms(box):
    daemon = Daemon(box, real=False)
    host = f"Host: 127.0.0.1:{daemon.port}\r\nAuthorization: Bearer {daemon.token}\r\n"
    head = f"POST /v1/images/edits HTTP/1.1\r\n{host}Content-Type: multipart/form-data; boundary=x\r\n"
    check_match(r"^HTTP/1.1 413", daemon.raw(f"{head}Content-Length: {65 << 20}\r\nConnection: close\r\n\r\n".encode()).decode(), "65 MiB")
    chunks = f"{head}Transfer-Encoding: chunked\r\n\r\n".encode() + (b"400000\r\n" + b"x" * (4 << 20) + b"\r\n") * 17
    try:
        got = daemon.raw(chunks)
    except (BrokenPipeError, ConnectionResetError):
        got = b""
    check(b" 200 " not in got, f"68 MiB of chunks: {got[:200]!r}")
    check_equal(daemon.json("GET", "/healthz"), {"status": "ok"}, "health")
    done(daemon)


@case("a form for the real engine: its answer comes back as it gave it")
def forms_real(box):
    daemon = Daemon(box)
    launch = ready(daemon, "a")
    body = form(part("file", WAV, "a.wav"), part("model", b"a"), part("response_format", b"json"))
    kind = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}
    told = []
    for data in (body, form(part("model", b"a"))):
        direct = http.client.HTTPConnection("127.0.0.1", launch["port"])
        direct.request("POST", "/v1/audio/transcriptions", data, kind)
        answer = direct.getresponse()
        own = (answer.status, answer.read())
        direct.close()
        status, _, text = upload(daemon, data)
        check_equal((status, text), own, "the answer, beside the engine's own")
        told.append(own)
    # A model that hears nothing refuses; that it misses the file in the second form shows that it has read the first.
    check(all(b"error" in text for _, text in told), f"answers of the engine: {told}")
    check_equal(upload(daemon, body, "/v1/images/edits")[0], 404, "what llama-server has not, it says")
    done(daemon)


main()
