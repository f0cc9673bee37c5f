#!/usr/bin/env python3
"""Engines that misbehave: the program says what happened and what to do next, and leaves no process behind."""
import http.server
import re
import signal
import socket
import sys
import threading

from e2e import (HERE, RTX_3060, RTX_3090, Machine, Skip, case, cases, check, check_equal, check_match, free_port, json_of, main,
                 model, wait_until)

MACHINE = Machine(RTX_3090, RTX_3060)


def stand_in(box, behaviour):
    """Path of an engine that behaves like that, and the machine file.  No backend: the stand-in shows the cards itself."""
    box.env.update(STAND_IN=behaviour, PRETEND_GPUS=MACHINE.pretend_text())
    box.file("machine.yaml", MACHINE.file_text())
    return box.file("llama-server", f"#!/bin/sh\nexec '{sys.executable}' '{HERE / 'stand_in.py'}' \"$@\"\n", 0o755)


def run_words(box, behaviour, *options):
    return ["run", model(), "--gpus", box.folder / "machine.yaml", "--engine", stand_in(box, behaviour), *options]


class Deaf:
    """A server that is healthy and never answers a question."""

    def __init__(self, host):
        outer = self
        self.asked, self.over = False, threading.Event()

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def do_POST(self):
                outer.asked = True
                outer.over.wait()

            def log_message(self, *_):
                pass

        class Server(http.server.ThreadingHTTPServer):
            address_family = socket.AF_INET6 if ":" in host else socket.AF_INET

        self.make = lambda: Server((host, self.port), Handler)
        self.port, self.server = 0, None
        try:
            with self.make() as probe:
                self.port = probe.server_address[1]
        except OSError as error:
            raise Skip(f"no {host} here: {error}") from None

    def serve(self):
        """Only now: before the engine is started its port must be free."""
        self.server = self.make()
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.over.set()
        if self.server:
            self.server.shutdown()
            self.server.server_close()


def starts(box):
    try:
        return (box.folder / "starts").read_text().count("start")
    except FileNotFoundError:
        return 0


def check_printable(text, what):
    """What an engine wrote must not reach a terminal as commands."""
    found = re.search(r"[\x00-\x08\x0b-\x1f\x7f\x80-\x9f]", text)
    check(not found, f"{what} holds a control character: {found and text[max(0, found.start() - 40):found.end() + 40]!r}")


@cases([
    # name, behaviour, options, starts, what stderr says
    ("never ready", "hang", ["--ready-timeout", "2s"], 1, r"not ready after 2.* s.*--ready-timeout"),
    ("dies at once", "die-at-once", [], 1, r"ended with status 3 before it was ready.*wrote nothing"),
    ("dies of a signal", "die-of-a-signal", [], 1, r"signal 11 .*before it was ready"),
    ("dies while loading: its last words are shown", "die-loading", [], 1, r"ended with status 1 before.*disk has caught fire"),
    ("refuses the model", "refuse-model", [], 1, r"zeta9|architecture"),
    ("runs out of memory", "run-out-of-memory", [], 1, r"CUDA1.*(memory|1234)"),
    ("garbage, then death", "garbage-then-die", [], 1, r"ended with status 1 before it was ready"),
    ("a binary that is no engine", "say-nothing-useful", [], 0, r"--help lists no options"),
], lambda row: f"the engine {row[0]}" if row[3] else row[0])
def engine_fails(box, row):
    _, behaviour, options, want_starts, says = row
    result = box.run(*run_words(box, behaviour, *options))
    check_equal(result.code, 1, "exit")
    check_match(says, result.err, "stderr")
    check_printable(result.err + result.out, "the output")
    check_equal(starts(box), want_starts, "starts of the engine")


@case("garbage in the log does not keep an engine from being used")
def garbage_then_serve(box):
    program = box.program(*run_words(box, "garbage-then-serve", "--log"))
    program.wait_for("ready: http")
    program.signal(signal.SIGTERM)
    result = program.finish()
    check_equal(result.code, 0, "exit")
    check_printable(result.err + result.out, "the output")


@case("figures that were not logged are not called equal")
def not_measured(box):
    result = box.run(*run_words(box, "serve", "--once", "--json"))
    check_equal(result.code, 1, "exit")
    check_equal(json_of(result)["equal"], False, ".equal")


@cases([("Ctrl-C", signal.SIGINT), ("SIGTERM", signal.SIGTERM), ("a lost terminal", signal.SIGHUP)], lambda row: f"{row[0]} stops the engine and ends with 0")
def stops(box, row):
    port = free_port()
    program = box.program(*run_words(box, "serve", "--port", port))
    program.wait_for(rf"ready: http://127\.0\.0\.1:{port}\b")
    program.signal(row[1])
    check_equal(program.finish().code, 0, "exit")


@cases([([], 0), (["--once"], 1)], lambda row: f"Ctrl-C while the engine loads stops it too{row[0] and ': no result for --once' or ''}")
def stops_while_loading(box, row):
    program = box.program(*run_words(box, "hang", *row[0]))
    wait_until(lambda: starts(box), "the engine to start")
    program.signal(signal.SIGINT)
    check_equal(program.finish().code, row[1], "exit")


@case("a port that is taken is told before the engine is started")
def port_is_taken(box):
    with socket.create_server(("127.0.0.1", 0)) as holder:
        port = holder.getsockname()[1]
        result = box.run(*run_words(box, "serve", "--port", port))
    check_equal(result.code, 1, "exit")
    check_match(rf"port {port} .*--port", result.err, "stderr")
    check_equal(starts(box), 0, "starts of the engine")


@cases(["127.0.0.1", "::1"], lambda row: f"Ctrl-C does not wait for an answer that never comes from {row}")
def stops_while_asking(box, row):
    with Deaf(row) as server:
        program = box.program(*run_words(box, "say-listening", "--host", row, "--port", server.port, "--json", "--ask", "hello"))
        wait_until(lambda: starts(box), "the engine to start")
        server.serve()
        program.wait_for(re.escape(f"ready: http://{f'[{row}]' if ':' in row else row}:{server.port},"))
        wait_until(lambda: server.asked, "the question")
        program.signal(signal.SIGINT)
        result = program.finish(30)
    check_equal(result.code, 0, "exit")
    check_equal(result.out, "", "stdout")


@case("--log shows every line, also those right before the end")
def every_line(box):
    result = box.run(*run_words(box, "talk-then-die", "--log"))
    check_equal(re.findall(r"^engine: line (\d+)$", result.err, re.MULTILINE), [str(n) for n in range(1, 5001)], "the lines")


@case("--stop-timeout 0 kills at once")
def kills_at_once(box):
    program = box.program(*run_words(box, "ignore-term", "--stop-timeout", "0"))
    program.wait_for("ready: http")
    program.signal(signal.SIGTERM)
    check_equal(program.finish().code, 0, "exit")


@case("an engine that ignores TERM is killed after --stop-timeout")
def ignores_term(box):
    program = box.program(*run_words(box, "ignore-term", "--stop-timeout", "1s"))
    program.wait_for("ready: http")
    program.signal(signal.SIGTERM)
    check_equal(program.finish().code, 0, "exit")


@case("a second Ctrl-C kills at once")
def second_interrupt(box):
    program = box.program(*run_words(box, "ignore-term", "--stop-timeout", "1h"))
    program.wait_for("ready: http")
    program.signal(signal.SIGINT)
    program.wait_for("stopping")
    program.signal(signal.SIGINT)
    program.finish()


@cases([
    # name, behaviour, how the program ends
    ("stopped", "leave-children", signal.SIGTERM),
    ("killed by SIGKILL", "leave-children", signal.SIGKILL),
    ("killed by SIGKILL, engine deaf to TERM", "ignore-term", signal.SIGKILL),
], lambda row: f"nobody is left when the program is {row[0]}")
def nobody_left(box, row):
    program = box.program(*run_words(box, row[1], "--stop-timeout", "1s"))
    program.wait_for("ready: http")
    check(len(box.alive()) >= 2, "the engine does not show in the process table: this test cannot fail")
    program.signal(row[2])
    program.finish()
    # Box checks that nobody is left


@case("a ready engine that crashes is started again")
def restarts(box):
    program = box.program(*run_words(box, "crash-when-asked", "--port", free_port()))
    program.wait_for("signal 11")
    wait_until(lambda: starts(box) == 2, "the second start")
    wait_until(lambda: program.text("err").count("ready: http") == 2, "the second ready line")
    program.signal(signal.SIGTERM)
    check_equal(program.finish().code, 0, "exit")


@case("Ctrl-C while a crashed engine waits for its next start")
def stops_in_back_off(box):
    program = box.program(*run_words(box, "crash-when-asked", "--port", free_port()))
    program.wait_for("starting it again in")
    program.signal(signal.SIGINT)
    check_equal(program.finish().code, 0, "exit")
    check_equal(starts(box), 1, "starts of the engine")


@case("--retry-smaller gives up when nothing smaller is left")
def nothing_smaller(box):
    result = box.run(*run_words(box, "run-out-of-memory", "--retry-smaller"))
    check_equal(result.code, 1, "exit")
    check(starts(box) > 1, "no smaller plan was tried")
    check_match("CUDA1 ran out of memory.*nothing smaller is left", result.err.splitlines()[-1], "the last line")
    check_equal(result.err.count("nothing smaller"), 1, "times that it says so")


@case("--restart 0 leaves a crashed engine down")
def restart_off(box):
    result = box.run(*run_words(box, "crash-when-asked", "--port", free_port(), "--restart", "0"))
    check_equal(result.code, 1, "exit")
    check_match("signal 11", result.err, "stderr")
    check_equal(starts(box), 1, "starts of the engine")


@cases([
    # name, PATH, options, what stderr says
    ("not on the PATH", "/nonexistent", [], r"llama-server is not on the PATH.*--engine"),
    ("not where --engine says", None, ["--engine", "/nonexistent/llama-server"], r"--engine.*/nonexistent/llama-server"),
    ("a folder", None, ["--engine", "/tmp"], r"--engine|/tmp"),
], lambda row: f"the engine is {row[0]}")
def engine_missing(box, row):
    machine = box.file("machine.yaml", MACHINE.file_text())
    if row[1]:
        box.env["PATH"] = row[1]
    result = box.run("run", model(), "--gpus", machine, *row[2])
    check_equal(result.code, 1, "exit")
    check_match(row[3], result.err, "stderr")


@case("a model that fits nowhere: exit 3, nothing is started")
def does_not_fit(box):
    words = run_words(box, "serve")
    machine = box.file("small.yaml", "gpus:\n  - {name: Small, total_mib: 600, free_mib: 8}\n  - {name: Small, total_mib: 600,"
                                     " free_mib: 8}\nhost: {total_mib: 1024, free_mib: 4}\n")
    words[words.index("--gpus") + 1] = machine
    result = box.run(*words, "--no-cpu-layers", "--json")
    check_equal(result.code, 3, "exit")
    plan = json_of(result)
    check_equal(plan["fits"], False, ".fits")
    check(plan["missing_bytes"] > 0 and plan["limiting_device"], "the plan does not say what is missing where")
    check(result.err.strip(), "there is no sentence on stderr")
    check_equal(starts(box), 0, "starts of the engine")


@cases([
    # name, arguments, exit, what stderr says
    ("no model", ["run"], 2, r"MODEL|model"),
    ("a model that is not there", ["run", "/nonexistent/model.gguf"], 1, r"/nonexistent/model\.gguf"),
    ("a model that is none", ["run", str(HERE / "e2e.py")], 1, r"e2e\.py"),
    ("an unknown option", ["run", "x.gguf", "--warp"], 2, r"--warp"),
    ("a bad duration", ["run", "x.gguf", "--ready-timeout", "soon"], 2, r"--ready-timeout.*soon"),
    ("an unknown command", ["jog"], 2, r"jog"),
], lambda row: f"usage: {row[0]}")
def usage(box, row):
    result = box.run(*row[1])
    check_equal(result.code, row[2], "exit")
    check_match(row[3], result.err, "stderr")
    check_equal(result.out, "", "stdout")


if __name__ == "__main__":
    main()
