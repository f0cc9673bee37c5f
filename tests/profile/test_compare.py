#!/usr/bin/env python3
"""profile compare on the running machine: real processes take memory of pretend cards, which the fake NVML library shows."""
import json
import os
import pathlib
import shutil
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "e2e"))
from e2e import BUILD, PROGRAM, Result, case, check, check_equal, check_match, json_of, main, model, wait_until

FAKE = BUILD / "tests/gpu/libnvidia-ml.so.1"
SCENARIO = """driver 550.54.14
backend_processes
card NVIDIA GeForce RTX 3090
  memory 24576 450 300
card NVIDIA GeForce RTX 3060
  memory 12288 300 100
"""
QUICK = ["--settle", "1s", "--interval", "100ms"]


def set_up(box, direct=True):
    box.env.update(PRETEND_GPU_USAGE=str(box.folder / "usage"), DUALGPUOPT_FAKE_NVML=str(box.file("scenario.txt", SCENARIO)))
    if direct:
        box.env["DUALGPUOPT_NVML"] = str(FAKE)


def holder(box, name):
    """The program that takes memory, under another name: roles follow from names."""
    path = box.folder / name
    if not path.exists():
        shutil.copy(BUILD / "tests/gpu/hold", path)
    return path


def hold(box, name, *words):
    process = box.start(holder(box, name), *words)
    process.wait_for("held", "out")
    return process


def end(process):
    process.signal(15)
    process.finish()


def row(result, gpu, pid=None, name=None):
    found = [one for one in result["rows"] if one["gpu"] == gpu and (one["pid"] is None) == (pid is None and name is None)
             and (name is None or one.get("name") == name) and (pid is None or one["pid"] == pid)]
    check_equal(len(found), 1, f"rows of GPU {gpu}, {pid or name or 'card'} in {result['rows']}")
    return found[0]


def near(value, want, what, by=0.6):
    check(abs(value - want) <= by, f"{what} is {value}, want {want}")


@case("a command that stays, twice: by card and process, with its range, in tokens and layers; it is ended")
def command_that_stays(box):
    set_up(box)
    done = box.run("profile", "compare", *QUICK, "--repeats", "2", "--model", model("tiny-llama"), "--json", "--",
                   holder(box, "firefox"), "0=300", "1=120")
    result = json_of(done)
    check_equal((done.code, result["repeats"], result["source"], result["simulated"]), (0, 2, "driver", False), "the frame")
    near(row(result, 0)["delta_mib"], 300, "card 0")
    near(row(result, 1)["delta_mib"], 120, "card 1")
    for gpu, mib in ((0, 300), (1, 120)):
        one = row(result, gpu, name="firefox")
        check_equal((one["kind"], one["measurable"]), ("appeared", True), "the process")
        near(one["delta_mib"], mib, f"the process on GPU {gpu}")
        near(row(result, gpu)["unattributed_delta_mib"], 0, f"what is no process's on GPU {gpu}")
        check(one["delta_interval"][0] <= one["delta_mib"] <= one["delta_interval"][1], f"no interval: {one}")
    near(result["total_mib"], 420, "the total")
    check(result["total_measurable"] and result["total_floor_mib"] == 2 and not result["unsteady"], f"noise: {result}")
    check(result["kv_tokens"] > 0 and result["layers"] > 0, "its worth is not told")
    check("out" not in done.out.split("{")[0] and done.err.count("held") == 2, "the command's output is not on stderr")
    again = json_of(box.run("profile", "compare", box.file("stored.json", done.out), "--model", model("tiny-llama"), "--json"))
    check_equal(again["hash"], result["hash"], "the hash of the stored one")
    check_equal([(one["gpu"], one["pid"], one["kind"], one["measurable"]) for one in again["rows"]],
                [(one["gpu"], one["pid"], one["kind"], one["measurable"]) for one in result["rows"]], "rows of the stored one")
    near(again["total_mib"], result["total_mib"], "the total of the stored one", 0.01)
    result["snapshots"][0]["before"]["entries"][0]["used_kib"] += 1
    forged = box.run("profile", "compare", box.file("forged.json", json.dumps(result)))
    check_equal((forged.code, forged.out), (1, ""), "exit and output of a forged one")
    check_match("forged.json.* was changed after it was measured", forged.err, "stderr")


@case("a command that ends: what it freed, once, and why not three times")
def command_that_ends(box):
    set_up(box)
    browser = hold(box, "chrome", "0=500", "1=50")
    other = hold(box, "python3", "1=1000")
    done = box.run("profile", "compare", *QUICK, "--repeats", "3", "--", "kill", str(browser.pid))
    check_equal(done.code, 0, "exit")
    check_match("has ended, and nothing takes back", done.err, "stderr")
    check_match(r"chrome +500\.0 +0\.0 +-500\.0 +disappeared", done.out, "the table")
    check_match(r"550\.0 MiB freed over the cards \(give or take 2\.0, the noise\); repeat it three times", done.out, "the end")
    check_match(r"python3 +1000\.0 +1000\.0 +no measurable change", done.out, "the table")
    browser.finish()
    end(other)


class Asked:
    """A program whose standard input is ours."""

    def __init__(self, box, *words):
        self.popen = subprocess.Popen([PROGRAM, *map(str, words)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                      stderr=subprocess.PIPE, env=box.env, cwd=box.folder, text=True)

    def until(self, word):
        for line in self.popen.stderr:
            if word in line:
                return
        check(False, f"it ended without saying '{word}'")

    def enter(self):
        self.popen.stdin.write("\n")
        self.popen.stdin.flush()

    def finish(self):
        out, err = self.popen.communicate(timeout=120)
        return Result(self.popen.returncode, out, err)


@case("without a command it asks, for the change and for taking it back")
def asks(box):
    set_up(box)
    steady = hold(box, "Xorg", "0=96")
    asked = Asked(box, "profile", "compare", *QUICK, "--repeats", "2", "--json")
    asked.until("make your change")
    first = hold(box, "gnome-shell", "0=64")
    asked.enter()
    asked.until("take your change back")
    end(first)
    asked.enter()
    asked.until("make your change")
    second = hold(box, "gnome-shell", "0=80")
    asked.enter()
    result = json_of(asked.finish())
    one = row(result, 0, name="gnome-shell")
    near(one["delta_interval"][0], 64, "the least")
    near(one["delta_interval"][1], 80, "the greatest")
    near(one["delta_mib"], 72, "the median")
    check_equal(row(result, 0, pid=steady.pid)["measurable"], False, "a change of the one that stayed")
    end(second)
    end(steady)


@case("no Enter to come: usage, and the way out is named")
def nobody_answers(box):
    set_up(box)
    done = box.run("profile", "compare", *QUICK)
    check_equal(done.code, 2, "exit")
    check_match(r"standard input ended.*profile compare -- COMMAND", done.err, "stderr")


@case("memory that does not stand still is named, and its noise hides small changes on its card alone")
def unsteady(box):
    set_up(box)
    grower = hold(box, "llama-server", "1=100+50")
    done = box.run("profile", "compare", "--settle", "1500ms", "--settle-timeout", "2s", "--interval", "100ms", "--json",
                   "--", holder(box, "firefox"), "0=40", "1=40")
    result = json_of(done)
    check_match(rf"does not stand still.*GPU 1 by \+50 MiB.*llama-server, process {grower.pid}", done.err, "stderr")
    check({(one["gpu"], one["pid"]) for one in result["unsteady"]} >= {(1, None), (1, grower.pid)}, result["unsteady"])
    near(row(result, 0)["delta_mib"], 40, "card 0")
    check(row(result, 0)["measurable"], "the change of the still card is lost")
    check(row(result, 1)["floor_mib"] > 40, f"the noise of the other is not seen: {row(result, 1)}")
    end(grower)


@case("a command that fails, one that is not there, and odd words")
def failures(box):
    set_up(box)
    rows = [(["--", "sh", "-c", "exit 3"], 1, "ended with status 3: nothing was compared"),
            (["--", "sh", "-c", "kill -9 $$"], 1, "ended by signal 9"),
            (["--", "/nowhere/firefox"], 1, "'/nowhere/firefox' cannot be started"),
            (["a", "b", "c"], 2, "takes pairs"), (["a.json"], 1, "cannot be read as a stored comparison"),
            ([box.file("odd.json", "{}")], 1, "is no comparison that profile compare --json has written"),
            ([box.file("bad.json", '{"snapshots":[{"before":{"entries":[{}]}}]}')], 1, "a snapshot in it cannot be read"), (["a", "b", "--", "true"], 2, "leave away 'a'"),
            (["--marks"], 2, "--marks needs two"), (["--marks", "a", "b"], 1, "no daemon runs"),
            (["--socket", box.folder / "none.sock"], 1, "no daemon runs")]
    for words, code, says in rows:
        done = box.run("profile", "compare", *QUICK, *words)
        check_equal((done.code, done.out), (code, ""), f"exit and output of {words}: {done.err}")
        check(says in done.err, f"{words} does not say '{says}': {done.err}")


def lost(text):
    return text.replace("card NVIDIA GeForce RTX 3060", "card NVIDIA GeForce RTX 3060\n  lost")


@case("a card that is lost between the two is not freed memory")
def lost_card(box):
    set_up(box)
    other = hold(box, "python3", "1=1000")
    gone = box.file("gone.txt", lost(SCENARIO))
    done = box.run("profile", "compare", *QUICK, "--json", "--", "mv", gone, box.folder / "scenario.txt")
    result = json_of(done)
    check_equal((result["unread_gpus"], [one for one in result["rows"] if one["gpu"] == 1]), ([1], []), "GPU 1")
    near(result["total_mib"], 0, "the total")
    end(other)


@case("what a card takes that is no process's is told as such")
def nobody_s(box):
    set_up(box)
    holder = hold(box, "python3", "1=1000")
    more = box.file("more.txt", SCENARIO.replace("memory 24576 450 300", "memory 24576 450 364"))
    done = box.run("profile", "compare", *QUICK, "--", "mv", more, box.folder / "scenario.txt")
    check_match(r"GPU 0: \+64\.0 MiB of it are no process's\n", done.out, "the text")
    check("GPU 1:" not in done.out, "GPU 1 has not changed")
    end(holder)


@case("what the driver keeps, the window to the host and the display are kept, told and stored; what is unknown is not there")
def cards_themselves(box):
    set_up(box)
    first = "memory 24576 450 300\n"
    box.file("scenario.txt", SCENARIO.replace(first, first + "  bar1_total 256\n  bar1_used 5\n  display 1\n"))
    changed = SCENARIO.replace(first, "memory 24576 514 300\n  bar1_total 256\n  bar1_used 21\n  display 0\n")
    done = box.run("profile", "compare", *QUICK, "--json", "--", "mv", box.file("changed.txt", changed), box.folder / "scenario.txt")
    result = json_of(done)
    before, after = (result["snapshots"][0][end]["cards"] for end in ("before", "after"))
    check_equal([one["gpu"] for one in before], [0, 1], "cards before")
    check_equal((before[0]["total_kib"], before[0]["reserved_kib"], before[0]["bar1_used_kib"], before[0]["drives_display"]),
                (24576 << 10, 450 << 10, 5 << 10, True), "card 0 before")
    check_equal((after[0]["reserved_kib"], after[0]["bar1_used_kib"], after[0]["drives_display"]), (514 << 10, 21 << 10, False), "after")
    check("bar1_used_kib" not in before[1] and "drives_display" not in before[1], f"card 1 says what it does not know: {before[1]}")
    stored = box.run("profile", "compare", box.file("stored.json", done.out))
    check_match(r"GPU 0: reserved by the driver 450\.0 MiB before, 514\.0 after\n"
                r"GPU 0: window to the host \(BAR1\) in use 5\.0 MiB before, 21\.0 after\n"
                r"GPU 0: it drives no display any more\n", stored.out, "the text")
    check("GPU 1: reserved" not in stored.out, "card 1 has not changed")
    again = json_of(box.run("profile", "compare", box.folder / "stored.json", "--json"))
    check_equal((again["hash"], again["snapshots"]), (result["hash"], result["snapshots"]), "stored again")


@case("where a daemon runs it looks, keeps the marks, and tells the same of them later")
def by_the_daemon(box):
    set_up(box)
    daemon = box.program("serve", "--listen", "127.0.0.1:0", "--token-file", box.folder / "token")
    daemon.wait_for(r"http://127\.0\.0\.1:(\d+)/")
    box.env.pop("DUALGPUOPT_NVML")
    live = box.run("profile", "compare", "--settle", "3s", "--interval", "200ms", "--json", "--",
                   holder(box, "firefox"), "0=300", "1=120")
    check_equal(live.code, 0, f"exit: {live.err}")
    told = json_of(live)
    check_equal((told["source"], told["simulated"]), ("daemon", False), "the source")
    later = json_of(box.run("profile", "compare", "--marks", "before 1 of 1", "after 1 of 1", "--settle", "3s", "--json"))
    for result in (told, later):
        near(row(result, 0)["delta_mib"], 300, "card 0")
        near(row(result, 1, name="firefox")["delta_mib"], 120, "the process")
        near(result["total_mib"], 420, "the total")
    done = box.run("profile", "compare", "--marks", "before", "after")
    check_equal(done.code, 1, "exit")
    check_match(r'no mark "before".*"before 1 of 1", "after 1 of 1"', done.err, "stderr")
    end(daemon)


def report(box, *words):
    return json_of(box.run("profile", "report", "--json", *words))


@case("profile report asks the daemon: what could be freed, what it would buy")
def reports_of_the_daemon(box):
    set_up(box)
    browser = hold(box, "firefox", "0=300", "1=120")
    engine = hold(box, "llama-server", "0=4000")
    daemon = box.program("serve", "--listen", "127.0.0.1:0", "--token-file", box.folder / "token")
    daemon.wait_for(r"http://127\.0\.0\.1:(\d+)/")
    free = wait_until(lambda: report(box, "--model", model("tiny-llama"))["could_free"], "readings")
    check_equal([(one["gpu"], one["pid"], one["role"], one["used_mib"]) for one in free],
                [(0, browser.pid, "browser", 300.0), (1, browser.pid, "browser", 120.0)], "what could be freed")
    quarter = report(box, "--model", model("tiny-llama"), "--kv-type", "q8_0")["could_free"]
    near(quarter[0]["kv_tokens"] / free[0]["kv_tokens"], 32 / 17, "tokens at q8_0 over those at f16", 0.01)
    text = box.run("profile", "report", "--model", model("tiny-llama")).out
    check_match(rf"300\.0 MiB on GPU 0, process {browser.pid} \(firefox\), browser, \d+ tokens of KV cache or", text, "the text")
    check_match(r"420\.0 MiB together, \d+ tokens", text, "the text")
    check_match(rf"{engine.pid} +llama-server +4000 .* steady", text, "the table")
    for words, says in ((["--svg", "x.svg"], "--svg is for a FILE"), (["--csv"], "--csv is for a FILE")):
        done = box.run("profile", "report", *words)
        check(done.code == 2 and says in done.err, f"{words}: {done}")
    check_equal(box.run("profile", "mark", "browser closed").code, 0, "exit of mark")
    check_equal([mark["text"] for mark in report(box)["marks"]], ["browser closed"], "marks")
    for process in (daemon, browser, engine):
        end(process)
    done = box.run("profile", "report")
    check_equal((done.code, done.out), (1, ""), "exit and output without a daemon")
    check_match(r"no daemon runs.*dualgpuopt serve; or name a recording", done.err, "stderr")


main()
