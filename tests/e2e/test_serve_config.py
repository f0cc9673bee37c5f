#!/usr/bin/env python3
"""Settings that a client changes over HTTP: which it may, what a bad value is told, and that they take effect in a running daemon."""
import http.server
import json
import os
import pathlib
import re
import threading

from daemon import SMALL, Daemon, done, ready, start
from e2e import BUILD, Skip, case, cases, check, check_equal, check_match, main, wait_until

DRIVER = BUILD / "tests/gpu/libnvidia-ml.so.1"
MAY = {"ctx", "parallel", "objective", "kv-type", "margin", "no-cpu-layers", "batch", "ubatch", "no-flash-attention",
       "prompt-tokens", "generated-tokens", "use", "spread", "threads", "restart", "ready-timeout", "stop-timeout", "concurrent",
       "draft", "admission", "oom", "idle-timeout", "keep-engines", "no-on-demand", "request-timeout", "queue-timeout",
       "alerts.memory-percent", "alerts.free", "alerts.time-to-full", "alerts.temperature-c", "alerts.hold"}


def settings(box, text=""):
    """The path of a configuration with that text."""
    return box.file("settings.yaml", text)


def configured(box, text="", *options, **more):
    return Daemon(box, "--config", settings(box, text), *options, **{"real": False, "models": (), **more})


def replace(box, name, text):
    """By rename, as editors do: nobody reads half of it."""
    os.rename(box.file(name + ".new", text), box.folder / name)


def receiver(got):
    class Receiver(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            got.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_):
            pass
    return Receiver


def file_of(box):
    return (box.folder / "settings.yaml").read_text()


def set_value(daemon, key, value, want=200):
    return daemon.json("POST", "/api/v1/config", {"key": key, "value": value}, want)


def row(view, key):
    return next(value for value in view["values"] if value["key"] == key)


@case("nothing that names a file, a program, an address or a host is changed by a client")
def allowed(box):
    daemon = configured(box, "# mine\nlog: true\n")
    rows = daemon.json("GET", "/api/v1/config")["values"]
    editable = {value["key"] for value in rows if value["editable"]}
    check_equal({key for key in editable if not key.startswith("components.")}, MAY, "keys that a client may change")
    before = file_of(box)
    others = [value["key"] for value in rows if not value["editable"]]
    check({"engine", "nvml", "models", "model-folders", "alerts.command", "alerts.webhook", "host", "port", "listen", "socket",
           "token-file", "state-dir", "web", "gpus", "node", "engine-url", "output", "preset", "ask"} <= set(others), "what is the owner's")
    for key in others:
        answer = set_value(daemon, key, "x", 403)["error"]
        check_match(rf"{key} is not changed over HTTP; 'dualgpuopt config set", answer["message"], key)
        set_value(daemon, key, None, 403)
    for key, want in (("enginee", "did you mean 'engine'"), ("config", "there is no key"), ("help", "there is no key"), ("", "there is no key"),
                      ("alerts.comand", "did you mean 'alerts.command'"), ("groups", "over HTTP"), ("models.x", "there is no key"), ("a\nengine", "there is no key")):
        answer = daemon.ask("POST", "/api/v1/config", {"key": key, "value": "1"})
        check(answer[0] in (400, 403) and want in json.loads(answer[2])["error"]["message"], f"{key!r}: {answer[2]!r}")
    for body in ({}, {"key": "ctx"}, {"value": 1}, {"key": 3, "value": 1}, {"key": "ctx", "value": 1, "path": "/etc/passwd"}):
        daemon.json("POST", "/api/v1/config", body, 400)
    check_equal(file_of(box), before, "the file")
    done(daemon)


@cases([
    ("a word for a number", "parallel", "many", "parallel: 'many'"),
    ("too much", "parallel", 100000, "parallel: '100000'"),
    ("no unit", "alerts.free", "lots", "is not a size"),
    ("no choice", "admission", "sometimes", "refuse|queue|evict"),
    ("a flag that is none", "spread", "yes", "true or false"),
    ("a type that is none", "kv-type", "banana", "kv-type"),
    ("a flag in a type", "kv-type", "f16 --host 0.0.0.0", "kv-type"),
    ("a path for cards", "use", "../../etc", "use: GPUs by index"),
    ("another line", "alerts.free", "1GiB\nengine: /bin/sh", "value is a text"),
    ("a carriage return", "alerts.free", "1GiB\rengine: /bin/sh", "value is a text"),
    ("the end of a map", "alerts.free", "1GiB}, engine: /bin/sh #", "is not a size"),
    ("an alias", "ctx", "*x", "ctx"),
    ("a tag", "ctx", "!!python/object:os.system", "ctx"),
    ("a list", "ctx", ["1", "2"], "value is a text"),
    ("an object", "ctx", {"a": 1}, "value is a text"),
    ("a fraction", "ctx", 1.5, "value is a text"),
    ("empty", "ctx", "", "value is a text"),
    ("long", "ctx", "1" * 300, "value is a text"),
    ("a component that is none", "components.nobody", "cpu", "components.nobody"),
    ("a place that is none", "components.optimizer", "disk", "must be cpu, gpu or auto"),
    ("a section for a key", "components.", "cpu", ""),
    ("a group without members", "groups.new.swap", True, "give it members first"),
    ("a group's name with another key in it", "groups.x: {members: [a]}, engine.members", ["a"], "letters, digits"),
    ("a member with a line break", "groups.x.members", ["a\nengine: /bin/sh"], "value[0] is no name"),
    ("a member with an escape", "groups.x.members", ["a\x1b[2J"], "value[0] is no name"),
    ("a member with a bidi mark", "groups.x.members", ["a\u202e"], "value[0] is no name"),
    ("a member that is a number", "groups.x.members", [3], "value[0] is no name"),
    ("a member twice", "groups.x.members", ["a", "a"], "stands twice"),
    ("65 members", "groups.x.members", [f"m{i}" for i in range(65)], "at most 64 names"),
    ("a group's key that is none", "groups.old.command", "/bin/sh", "a group has members, swap, exclusive, persistent"),
], lambda row: f"refused: {row[0]}")
def refused(box, row_):
    _, key, value, says = row_
    daemon = configured(box, "ctx: 4096 # why\ngroups: {old: {members: [z]}}\n")
    before = file_of(box)
    status, _, text = daemon.ask("POST", "/api/v1/config", {"key": key, "value": value})
    message = json.loads(text)["error"]["message"]
    check(status in (400, 404, 422) and says in message, f"{status} {message}")
    check(str(box.folder) not in message, f"the sentence names a path: {message}")
    check_equal(file_of(box), before, "the file")
    done(daemon)


@case("a value is saved, keeps what stands around it, and is in force at once; null takes it out again")
def saved(box):
    daemon = configured(box, "# mine\nadmission: queue # because\n")
    answer = set_value(daemon, "admission", "evict")
    check_equal(file_of(box), "# mine\nadmission: evict # because\n", "the file")
    now = row(answer, "admission")
    check_equal((now["value"], now["origin"], now["line"]), ("evict", "file", 2), "the answer")
    policy = lambda: daemon.json("GET", "/api/v1/view")["policy"]
    wait_until(lambda: policy()["admission"] == "evict", "the policy in force")
    set_value(daemon, "idle-timeout", "90s")
    set_value(daemon, "no-on-demand", True)
    set_value(daemon, "ctx", 8192)
    set_value(daemon, "components.optimizer", "cpu")
    check_equal(file_of(box), "# mine\nadmission: evict # because\nidle-timeout: 90s\nno-on-demand: true\nctx: 8192\n"
                              "components:\n  optimizer: cpu\n", "the file")
    wait_until(lambda: policy()["idle_timeout_ns"] == 90_000_000_000 and not policy()["on_demand"], "the others in force")
    check_equal(row(set_value(daemon, "admission", None), "admission")["origin"], "default", "without it")
    check_match("is not in the file", set_value(daemon, "admission", None, 404)["error"]["message"], "twice")
    wait_until(lambda: policy()["admission"] == "refuse", "the default in force")
    done(daemon)


@case("what was given at the start beats the file, and the answer says so")
def beaten(box):
    daemon = configured(box, "", "--admission", "queue")
    now = row(set_value(daemon, "admission", "evict"), "admission")
    check_equal((now["value"], now["origin"]), ("queue", "flag"), "the answer")
    check_equal(file_of(box), "admission: evict\n", "the file")
    done(daemon)


@case("two who change at once: both are saved")
def at_once(box):
    daemon = configured(box)
    keys = {"ctx": 4096, "parallel": 2, "batch": 1024, "ubatch": 256, "alerts.free": "1GiB", "alerts.hold": "3s", "oom": "stop"}
    threads = [threading.Thread(target=set_value, args=(daemon, key, value)) for key, value in keys.items()]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    wait_until(lambda: all(row(daemon.json("GET", "/api/v1/config"), key).get("origin") == "file" for key in keys), "all of them")
    done(daemon)


@case("a file that is broken, or a folder that may not be written, is said and nothing is changed")
def broken(box):
    daemon = configured(box, "ctx: 4096\n")
    path = pathlib.Path(settings(box, "ctx: [\n"))
    answer = set_value(daemon, "ctx", 8192, 422)
    check_match("line", answer["error"]["message"], "the sentence")
    check_equal(path.read_text(), "ctx: [\n", "the file")
    if os.geteuid() != 0:
        path.write_text("ctx: 4096\n")
        box.folder.chmod(0o500)
        check_match("settings.yaml|locked|denied", set_value(daemon, "ctx", 8192, 500)["error"]["message"], "the sentence")
        box.folder.chmod(0o700)
    done(daemon)


@case("a command and a webhook for alerts that come into the file while the daemon runs get the next alert; a bad one changes nothing")
def alert_sinks(box):
    if not DRIVER.exists():
        raise Skip(f"{DRIVER} is not built")
    heat = lambda degrees: re.sub(r"(?m)^card .*$", rf"\g<0>\n  temperature {degrees}", SMALL.driver_text())
    box.env.update(DUALGPUOPT_NVML=str(DRIVER), DUALGPUOPT_FAKE_NVML=str(box.file("driver.txt", heat(50))))
    daemon = configured(box, "alerts: {hold: 1s}\n", cards=False)
    told = box.folder / "told"
    script = pathlib.Path(box.file("tell.sh", f"#!/bin/sh\nprintf '%s\\n' \"$1 $DUALGPUOPT_ALERT_LEVEL\" >>'{told}'\n"))
    script.chmod(0o700)
    got = []
    with http.server.HTTPServer(("127.0.0.1", 0), receiver(got)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        hook = f"http://127.0.0.1:{server.server_port}/"
        replace(box, "settings.yaml", f'alerts: {{hold: 1s, command: "{script} word", webhook: "{hook}"}}\n')
        wait_until(lambda: row(daemon.json("GET", "/api/v1/config"), "alerts.webhook").get("value") == hook, "the settings in force")
        replace(box, "settings.yaml", f'alerts: {{hold: 1s, command: "{script} other", webhook: "ftp://127.0.0.1/"}}\n')
        daemon.process.wait_for(r"alerts go where they went before: the webhook .ftp://127\.0\.0\.1/. is no http")
        replace(box, "driver.txt", heat(78))
        wait_until(lambda: told.exists() and "word warning\n" in told.read_text(), "the command")
        wait_until(lambda: any(alert["rule"] == "temperature" and alert["level"] == "warning" for alert in got), "the webhook")
        check("other" not in told.read_text(), "of what is refused nothing holds")
        server.shutdown()
    done(daemon)


@case("an alert's level that is changed while the daemon runs is the one that holds")
def alert_level(box):
    if not DRIVER.exists():
        raise Skip(f"{DRIVER} is not built")
    warm = re.sub(r"(?m)^card .*$", r"\g<0>\n  temperature 78", SMALL.driver_text())
    box.env.update(DUALGPUOPT_NVML=str(DRIVER), DUALGPUOPT_FAKE_NVML=str(box.file("driver.txt", warm)))
    daemon = configured(box, "alerts: {hold: 1s}\n", cards=False)
    levels = lambda: [a["level"] for a in daemon.json("GET", "/api/v1/view")["alerts"] if a["rule"] == "temperature"]
    wait_until(lambda: levels() == ["warning"], "the warning at 78 C")
    set_value(daemon, "alerts.temperature-c", 75)
    wait_until(lambda: levels() == ["critical"], "the level that was set")
    done(daemon)


@case("groups are made, changed and ended; what starts next keeps to them")
def groups(box):
    daemon = configured(box, "admission: evict\n", real=True, models=("tiny-llama",))
    view = lambda: daemon.json("GET", "/api/v1/view")
    answer = set_value(daemon, "groups.chat.members", ["a", "b"])
    check_equal(answer["groups"], [{"name": "chat", "members": ["a", "b"], "swap": True, "exclusive": True, "persistent": False}], "made")
    set_value(daemon, "groups.chat.exclusive", False)
    wait_until(lambda: view()["groups"] and not view()["groups"][0]["exclusive"], "the group in force")
    first = ready(daemon, "a")
    check_equal((first["state"], first["group"]), ("ready", "chat"), "the first member")
    second = ready(daemon, "b")
    check_equal((second["state"], daemon.one(first["id"])["state"]), ("ready", "ended"), "one at a time")
    set_value(daemon, "groups.chat.swap", False)
    wait_until(lambda: not view()["groups"][0]["swap"], "the change in force")
    third = ready(daemon, "a")
    check_equal((third["state"], daemon.one(second["id"])["state"]), ("ready", "ready"), "side by side")
    check_match("'a' is a member of group 'chat' already", set_value(daemon, "groups.other.members", ["a"], 400)["error"]["message"], "of two groups")
    check_equal(set_value(daemon, "groups.chat", None)["groups"], [], "ended")
    wait_until(lambda: view()["groups"] == [], "no group in force")
    check_equal(file_of(box), "admission: evict\n", "the file")
    check_equal(start(daemon, "c")["name"], "c", "another")
    done(daemon)


main()
