#!/usr/bin/env python3
"""The daemon with the real engine on pretend cards: launches, admission, crashes, and what the docs say."""
import json
import os
import re
import resource
import signal
import threading
import time

from daemon import PAIR, SMALL, SMALL_WISH, Daemon, Events, done, engines, ready, start
from e2e import (BUILD, MIB, ROOT, RTX_3060, Card, Machine, Skip, case, cases, check, check_equal, check_match, engine, json_of,
                 main, wait_until)
from stand_in_engine import stand_in

# ---- one launch ----------------------------------------------------------------------------------------------------------

@case("a launch from wish to end, told as it happens")
def lifecycle(box):
    daemon = Daemon(box)
    stream = Events(daemon)
    launch = daemon.launch({"model": "tiny-llama", "intent": {"ctx": 2048, "parallel": 2}, "pinned": True})
    check_equal((launch["name"], launch["origin"], launch["pinned"]), ("tiny-llama", "api", True), "the launch")
    _, plan = stream.until("plan")
    check_equal(plan["plan"]["context_tokens_per_slot"], 2048, "context of the plan")
    _, lines = stream.until("lines")
    check_equal(lines["launch"], launch["id"], "whose lines")
    _, event = stream.until("launch", lambda data: data["state"] == "ready")
    _, snapshot = stream.until("snapshot", lambda data: data["launches"] and data["launches"][0]["state"] == "ready")
    stream.close()
    now = daemon.one(launch["id"])
    check_equal(now["comparison"]["equal"], True, "plan against measured")
    check_equal(now["pid"], engines(box)[0], "pid")
    check_equal(snapshot["launches"][0]["plan"]["command"], now["plan"]["command"], "the command in snapshot and launch")
    check_equal(now["reserved_bytes"][0], snapshot["vram"]["gpus"][0]["ours_planned_bytes"], "reserved")
    log = daemon.json("GET", f"/api/v1/launches/{launch['id']}/log?limit=5")
    check_equal(len(log["lines"]), 5, "lines of the log")
    rest = daemon.json("GET", f"/api/v1/launches/{launch['id']}/log?after={log['lines'][2]['sequence']}")
    check_equal([row["sequence"] for row in rest["lines"][:2]], [row["sequence"] for row in log["lines"][3:]], "after")
    daemon.json("POST", f"/api/v1/launches/{launch['id']}/pin", {"pinned": False})
    daemon.json("DELETE", f"/api/v1/launches/{launch['id']}", want=409)
    check_equal(daemon.json("POST", f"/api/v1/launches/{launch['id']}/stop", {}, 202)["pinned"], False, "pinned")
    ended = daemon.wait_state(launch["id"], "ended")
    check_equal((ended["failed"], ended["wanted"], engines(box)), (False, False, []), "its end")
    daemon.json("DELETE", f"/api/v1/launches/{launch['id']}")
    check_equal(daemon.launches(), [], "launches")
    done(daemon)


@case("the timeline tells of a launch, of its plan and of marks; verdicts are there")
def timeline(box):
    daemon = Daemon(box)
    launch = ready(daemon, "one")
    daemon.json("POST", "/api/v1/marks", {"text": "browser closed"})
    daemon.json("POST", "/api/v1/marks", {"text": ""}, 400)
    check_equal(daemon.command("profile", "mark", "model swapped").code, 0, "profile mark")
    told = lambda: daemon.json("GET", "/api/v1/timeline?points=50&series=used,planned")
    wait_until(lambda: {"used", "planned"} <= {s["kind"] for s in told()["series"]}, "a reading beside its plan")
    now = told()
    kinds = [event["kind"] for event in now["events"]]
    check("launch" in kinds and "ready" in kinds and "mark" in kinds, f"events: {kinds}")
    check(all(s["kind"] in ("used", "planned") and len(s["points"]) <= 50 for s in now["series"]), "series asked for")
    planned = [s for s in now["series"] if s["kind"] == "planned"]
    check_equal({s["pid"] for s in planned}, {launch["pid"]}, "whose plan")
    check_equal(planned[0]["points"][-1]["last"] / MIB // 1, launch["reserved_bytes"][0] / MIB // 1, "planned")
    for asked, kinds in (("series=%ff", 0), ("series=us", 0), ("series=used&points=99999999999999999999", 1), ("series=used&until_ns=1", 1)):
        found = daemon.json("GET", f"/api/v1/timeline?{asked}")["series"]
        check_equal(len({s["kind"] for s in found}), kinds, f"kinds for {asked}")
    profile = daemon.json("GET", "/api/v1/profile")
    check({"steady"} == {s["verdict"] for s in profile["series"]}, "verdicts after a moment")
    check_equal([mark["text"] for mark in profile["marks"]], ["browser closed", "model swapped"], "marks")
    done(daemon)


@case("a burst of requests is on the timeline with its tokens and slots; a lonely one is not")
def bursts(box):
    """The looks at the engine set the pace, not the clock: there are fewer on a busy machine."""
    daemon = Daemon(box)
    told = lambda: [event for event in daemon.json("GET", "/api/v1/timeline")["events"] if event["kind"] == "burst"]
    launch = ready(daemon, "one", intent={"parallel": 2})

    def looks(kind):
        series = daemon.json("GET", f"/api/v1/timeline?points=2000&series={kind}")["series"]
        return [(point["time_ns"], point["last"]) for one in series for point in one["points"]]

    def paused():
        """Whether looks have met a pause that ends a burst: 3 s and two looks, and one second more for those that came late."""
        at = [time_ns for time_ns, count in looks("requests") if count >= 1]
        return len(at) > 3 and at[-1] - at[0] > 4_000_000_000

    wait_until(lambda: looks("requests"), "the first look at the engine")  # what ended before it is not counted
    daemon.chat("one", tokens=8)
    wait_until(paused, "a pause after the lonely request")
    check_equal(told(), [], "bursts after one request")
    answers, met = [], threading.Event()

    def ask():
        while True:
            answers.append(daemon.chat("one", tokens=100, ignore_eos=True))
            if met.is_set():
                return

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    try:
        wait_until(lambda: told() and any(busy >= 1 for _, busy in looks("busy")), "looks that meet the burst")
    finally:
        met.set()
        for thread in threads:
            thread.join()
    over = wait_until(lambda: [event for event in told() if "over after" in event["text"]], "the end of the burst")[0]
    check_equal(over["pid"], launch["pid"], "whose burst")
    check(any(event["text"].startswith("burst for ") for event in told()), f"its begin: {told()}")
    tokens = sum(answer["usage"]["completion_tokens"] for answer in answers)
    check_match(rf"{tokens} tokens generated, \d+ read", over["text"], "the tokens of the burst")
    check_match(r"up to [12] of 2 slots busy", over["text"], "its slots")
    requests = int(re.search(r": (\d+) requests", over["text"]).group(1))  # at least: looks do not meet them all
    check(3 <= requests <= len(answers), f"{len(answers)} requests are told as {over['text']}")
    check_equal([event["text"] for event in told() if "over after" in event["text"]][1:], [], "other bursts")
    done(daemon)


@case("ps, logs, stop and run --detach, with flags of one's own")
def commands(box):
    daemon = Daemon(box, models=())
    path = daemon.add_model("tiny-llama", "elsewhere/tiny-llama")
    out = box.folder / "outside.gguf"
    os.rename(path, out)
    result = daemon.command("run", out, "--detach", "--name", "mine", "--ctx", "1024", "--", "--temp", "0.5")
    ident = int(result.out)
    daemon.wait_state(ident, "ready")
    words = daemon.one(ident)["plan"]["command"]
    check_equal(words[words.index("--temp") + 1], "0.5", "the user's own flag")
    row = [launch for launch in daemon.ps() if launch["id"] == ident][0]
    check_equal((row["name"], row["origin"], row["model"]), ("mine", "cli", "outside"), "ps")
    check_match(r"mine +ready", daemon.command("ps").out, "ps as a table")
    check_match(r"listening", daemon.command("logs", "mine").out, "the log")
    follower = box.program("logs", "mine", "--follow", "--lines", "1")
    again = box.run("run", out, "--detach", "--name", "mine")
    check_equal(again.code, 1, "exit of a second one of that name")
    check_match(r'"mine" is launch \d+ already', again.err, "the sentence")
    refused = box.run("run", out, "--detach", "--name", "other", "--", "-ngl", "3")
    check_match(r"-ngl", refused.err, "a flag that the plan decides")
    check_match(r"stopped mine", daemon.command("stop", "mine").err, "stop")
    check_equal(follower.finish().code, 0, "logs --follow ends with the launch")
    check_match(r"there is no launch 'x'", box.run("stop", "x").err, "stop of nothing")
    check_equal(box.run("stop").code, 2, "stop without a word")
    done(daemon)


@case("a launch by preset: its model, its options below the intent, its flags")
def by_preset(box):
    daemon = Daemon(box)
    folder = box.folder / "config/dualgpuopt/presets"
    folder.mkdir(parents=True)
    (folder / "mine.yaml").write_text(f"version: 1\nmodel: {box.folder}/models/tiny-llama.gguf\n"
                                      "options: {ctx: 1024, parallel: 2}\nargs: [--temp, '0.5']\n")
    launch = daemon.launch({"preset": "mine", "intent": {"parallel": 1}})
    check_equal((launch["preset"], launch["name"], launch["model"]), ("mine", "mine", "tiny-llama"), "the launch")
    words = daemon.wait_state(launch["id"], "ready", "ended")["plan"]["command"]
    check_equal([words[words.index(flag) + 1] for flag in ("-c", "-np", "--temp")], ["1024", "1", "0.5"], "the flags")
    check_match("no preset", daemon.launch({"preset": "yours"}, 404)["error"]["message"], "one that is not there")
    done(daemon)


# ---- admission -----------------------------------------------------------------------------------------------------------

@case("what does not fit is refused with what would have to stop")
def refused(box):
    daemon = Daemon(box, machine=SMALL)
    first, second = ready(daemon, "a"), ready(daemon, "b")
    check_equal([first["state"], second["state"]], ["ready", "ready"], "two that fit")
    answer = start(daemon, "c", want=409)
    check_equal(answer["error"]["type"], "does_not_fit", "type")
    check_match(r'stopping "a" would make room', answer["error"]["message"], "the sentence")
    check_equal(answer["would_have_to_stop"], [first["id"]], "who")
    daemon.chat("a")  # now b was not used for longer
    answer = start(daemon, "c", want=409)
    check_equal(answer["would_have_to_stop"], [second["id"]], "who, after a request to a")
    alone = daemon.json("POST", "/api/v1/plan", {"model": "tiny-llama", "intent": SMALL_WISH, "beside": False})
    check_equal(alone["host"]["layer_count"], 0, "layers on the CPU, if it were alone")
    free = alone["devices"][0]["free_bytes"]
    check(free > daemon.json("POST", "/api/v1/plan", {"model": "tiny-llama", "intent": SMALL_WISH})["devices"][0]["free_bytes"],
          "beside others there is less")
    never = daemon.launch({"model": "tiny-llama", "name": "huge", "intent": {"ctx": 1 << 20, "no_cpu_layers": True}}, 409)
    check_equal(never["would_have_to_stop"], [], "for what never fits")
    check_equal(len(engines(box)), 2, "engines")
    done(daemon)


@case("queued: it waits, says for what, and starts when there is room")
def queued(box):
    daemon = Daemon(box, "--admission", "queue", machine=SMALL)
    first, _ = ready(daemon, "a"), ready(daemon, "b")
    third = start(daemon, "c")
    check_equal(third["state"], "waiting", "state")
    check_match(r"would make room", third["text"], "what it waits for")
    check_equal(daemon.json("GET", "/api/v1/view")["queue"], [third["id"]], "the queue")
    daemon.json("POST", f"/api/v1/launches/{first['id']}/stop", {}, 202)
    check_equal(daemon.wait_state(third["id"], "ready", "ended")["state"], "ready", "then")
    fourth = start(daemon, "d")
    daemon.json("POST", f"/api/v1/launches/{fourth['id']}/stop", {}, 202)
    check_equal(daemon.wait_state(fourth["id"], "ended")["failed"], False, "stopped while it waited")
    done(daemon)


@case("evicted: who was not used for the longest time goes, pinned and busy ones stay")
def evicted(box):
    daemon = Daemon(box, "--admission", "evict", machine=SMALL)
    first, second = ready(daemon, "a", pinned=True), ready(daemon, "b")
    third = daemon.wait_state(start(daemon, "c")["id"], "ready", "ended")
    check_equal(third["state"], "ready", "the new one")
    gone = daemon.one(second["id"])
    check_equal((gone["state"], gone["failed"], gone["wanted"]), ("ended", False, False), "the one that went")
    check_match(r'makes room for "c"', gone["actions"][0]["why"], "why")
    check_equal(daemon.one(first["id"])["state"], "ready", "the pinned one")
    daemon.json("POST", f"/api/v1/launches/{third['id']}/pin", {"pinned": True})
    fourth = start(daemon, "d")
    check_equal(fourth["state"], "waiting", "with pinned ones only")
    check_equal(len(engines(box)), 2, "engines")
    done(daemon)


@case("requests swap models within the ledger")
def swap(box):
    daemon = Daemon(box, "--admission", "evict", "--ctx", "4096", machine=Machine(Card("NVIDIA GeForce RTX 3060", 900, 800)),
                    models=())
    for name in ("one", "two"):
        daemon.add_model("tiny-llama", name)
    for name in ("one", "two", "one", "two"):
        check_equal(daemon.chat(name)["object"], "chat.completion", name)
        check_equal(len(engines(box)), 1, "engines at a time")
    ended = [launch for launch in daemon.launches() if launch["state"] == "ended"]
    check_equal((len(ended), any(launch["failed"] for launch in ended)), (3, False), "those that went")
    done(daemon)


@case("groups: members one at a time, alone or beside others, and some that stay")
def groups(box):
    settings = box.folder / "config/dualgpuopt"
    settings.mkdir(parents=True)
    (settings / "config.yaml").write_text("groups:\n  swapped: {members: [a, b], exclusive: false}\n  alone: {members: [c]}\n"
                                          "  always: {members: [e], swap: false, exclusive: false, persistent: true}\n")
    check_match(r"groups.swapped +a, b; one at a time\n.*groups.always +e; together, not ended by others",
                box.run("config", "get", "groups").out, "config get groups")
    check_equal(len(json_of(box.run("config", "show", "--json"))["groups"]), 3, "groups of config show")
    daemon = Daemon(box)
    states = lambda: {launch["name"]: launch["state"] for launch in daemon.launches() if launch["state"] != "ended"}
    first = ready(daemon, "a")
    check_equal(first["group"], "swapped", "its group")
    check_equal(daemon.json("GET", "/api/v1/view")["groups"][0],
                {"name": "swapped", "members": ["a", "b"], "swap": True, "exclusive": False, "persistent": False}, "a group")
    answer = start(daemon, "b", want=409)
    check_match(r'of the group "swapped" one member runs at a time; stopping "a" would make room', answer["error"]["message"],
                "refused")
    check_equal(answer["would_have_to_stop"], [first["id"]], "who")
    ready(daemon, "e")
    ready(daemon, "other")
    check_equal(states(), {"a": "ready", "e": "ready", "other": "ready"}, "beside each other")
    daemon.wait_state(start(daemon, "b", admission="evict")["id"], "ready", "ended")
    check_equal(states(), {"e": "ready", "other": "ready", "b": "ready"}, "the member that was asked for last")
    waits = start(daemon, "a", admission="queue")
    check_equal(waits["state"], "waiting", "queued")
    daemon.json("POST", f"/api/v1/launches/{waits['id']}/stop", {}, 202)
    daemon.wait_state(start(daemon, "c", admission="evict")["id"], "ready", "ended")
    check_equal(states(), {"e": "ready", "c": "ready"}, "alone, but for those that stay")
    check_equal(len(engines(box)), 2, "engines")
    done(daemon)


@case("requests at once for two members of a group: both are answered, one after the other")
def groups_at_once(box):
    settings = box.folder / "config/dualgpuopt"
    settings.mkdir(parents=True)
    (settings / "config.yaml").write_text("groups: {swapped: {members: [one, two]}}\n")
    daemon = Daemon(box, "--admission", "evict", "--ctx", "1024", models=())
    for name in ("one", "two"):
        daemon.add_model("tiny-llama", name)
    answers = {}
    threads = [threading.Thread(target=lambda name=name: answers.update({name: daemon.chat(name)["object"]}))
               for name in ("one", "two")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    check_equal(answers, {"one": "chat.completion", "two": "chat.completion"}, "answers")
    check_equal(len(engines(box)), 1, "engines")
    check_equal(sorted(launch["state"] for launch in daemon.launches()), ["ended", "ready"], "launches")
    done(daemon)


@case("a persistent group's member is not ended for memory; others go, or the new one waits")
def persistent(box):
    settings = box.folder / "config/dualgpuopt"
    settings.mkdir(parents=True)
    (settings / "config.yaml").write_text("groups: {always: {members: [a], exclusive: false, persistent: true}}\n")
    daemon = Daemon(box, "--admission", "evict", machine=SMALL)
    first, second = ready(daemon, "a"), ready(daemon, "b")
    daemon.wait_state(start(daemon, "c", pinned=True)["id"], "ready", "ended")
    check_equal([daemon.one(launch["id"])["state"] for launch in (first, second)], ["ready", "ended"], "who went")
    check_equal(start(daemon, "d")["state"], "waiting", "with a persistent and a pinned one")
    done(daemon)


@case("an engine that nobody asks for is stopped after a while")
def idle(box):
    daemon = Daemon(box, "--idle-timeout", "1s")
    launch = ready(daemon, "a")
    ended = daemon.wait_state(launch["id"], "ended")
    check_match(r"nobody asked for it", ended["actions"][0]["why"], "why")
    done(daemon)


def with_driver(box):
    """A daemon that reads the cards from a driver's library, whose scenario is driver.txt."""
    library = BUILD / "tests/gpu/libnvidia-ml.so.1"
    if not library.exists():
        raise Skip(f"{library} is not built")
    box.use(PAIR)
    box.env.update(DUALGPUOPT_NVML=str(library), DUALGPUOPT_FAKE_NVML=str(box.file("driver.txt", PAIR.driver_text())))
    daemon = Daemon(box, wait=False)
    daemon.stop(signal.SIGKILL)
    at = daemon.words.index("--gpus")
    del daemon.words[at:at + 2]
    daemon.start()
    wait_until(lambda: "machine" in daemon.json("GET", "/api/v1/view"), "the first look")
    return daemon


@case("an engine that dies where the driver saw no memory left has run out of it, and gets a smaller plan")
def driver_out_of_memory(box):
    daemon = with_driver(box)
    launch = ready(daemon, "a")
    full = Machine(*(Card(card.model, card.total_mib, 60) for card in PAIR.cards))
    os.rename(box.file("driver.new", full.driver_text()), box.folder / "driver.txt")
    wait_until(lambda: max(gpu["free_bytes"] for gpu in daemon.json("GET", "/api/v1/view")["machine"]["gpus"]) <= 60 * MIB,
               "the driver to tell of it")
    os.kill(launch["pid"], signal.SIGKILL)
    action = wait_until(lambda: daemon.one(launch["id"])["actions"], "what the daemon does")[0]
    check_equal(action["action"], "smaller_plan", "action")
    check_match(r"CUDA\d ran out of memory, as it seems: the driver saw \S+ (MiB|B) free of the \S+ [MG]iB that are kept as margin; "
                r"the engine was ended by signal 9", action["why"], "why")
    events = [event["text"] for event in daemon.json("GET", "/api/v1/timeline")["events"] if event["kind"] == "end"]
    check_match(r"restarting: CUDA\d ran out of memory", "\n".join(events), "the timeline")
    done(daemon)


@case("the ledger's books are what the driver sees")
def driver(box):
    daemon = with_driver(box)
    before = daemon.json("GET", "/api/v1/view")
    check_equal(before["simulated"], False, "simulated")
    launch = ready(daemon, "a")

    free = before["machine"]["gpus"][0]["free_bytes"]
    device = launch["plan"]["devices"][0]
    held = sum(device[f"{kind}_bytes"] for kind in ("weights", "context", "compute"))

    def books():
        view = daemon.json("GET", "/api/v1/view")
        return view if view["machine"]["gpus"][0]["free_bytes"] < free else None

    view = wait_until(books, "the memory to be seen as taken")
    gpu = view["vram"]["gpus"][0]
    check_equal([(entry["what"], entry["state"], entry["pid"]) for entry in view["vram"]["reservations"]],
                [("a", "settled", launch["pid"])], "the reservation")
    check(abs(free - gpu["free_bytes"] - held) < 64 * MIB, f"{free - gpu['free_bytes']} bytes taken, {held} planned")
    check_equal((gpu["ours_planned_bytes"], gpu["outstanding_bytes"]), (launch["reserved_bytes"][0], 0), "planned, outstanding")
    booked = view["vram"]["reservations"][0]["gpus"][0]
    check_equal(gpu["drift_bytes"], booked["measured_bytes"] - booked["planned_bytes"], "measured less planned")
    check(gpu["drift_bytes"] != 0, "an engine takes to the byte what was planned: then this row proves nothing")
    check_match(r'dualgpuopt_vram_ledger_drift_bytes\{gpu="0"\} -?[0-9.e+]+', daemon.ask("GET", "/metrics")[2].decode(), "drift")
    check_equal(gpu["promisable_bytes"], gpu["free_bytes"], "what may be promised")
    check_equal(gpu["total_bytes"], gpu["driver_bytes"] + gpu["free_bytes"] + gpu["ours_measured_bytes"]
                + gpu.get("others_bytes", 0) + gpu["unexplained_bytes"], "the sum of the books")
    daemon.json("POST", f"/api/v1/launches/{launch['id']}/stop", {}, 202)
    daemon.wait_state(launch["id"], "ended")
    wait_until(lambda: daemon.json("GET", "/api/v1/view")["machine"]["gpus"][0]["free_bytes"]
               == before["machine"]["gpus"][0]["free_bytes"], "the memory to come back")
    done(daemon)


# ---- crashes and restarts ------------------------------------------------------------------------------------------------

@case("kill -9 of the daemon: the engine goes on, the next daemon finds it and does not start it twice")
def crash(box):
    daemon = Daemon(box, "--keep-engines", "60s")
    launch = ready(daemon, "a")
    for number in (signal.SIGKILL, signal.SIGUSR1, signal.SIGKILL):
        daemon.process.signal(number)
        daemon.process.finish()
        check_equal(engines(box), [launch["pid"]], "engines without a daemon")
        daemon.start()
        now = daemon.wait_state(launch["id"], "ready", "ended")
        check_equal((now["state"], now["pid"], now["port"], now["name"]), ("ready", launch["pid"], launch["port"], "a"), "then")
        check_equal(now["reserved_bytes"], launch["reserved_bytes"], "the reservation")
        check_equal(now["comparison"], launch["comparison"], "plan against measured, from the kept log")
        check_equal(daemon.chat("a")["object"], "chat.completion", "it answers")
        entries = daemon.json("GET", "/api/v1/view")["vram"]["reservations"]
        check_equal([entry["what"] for entry in entries], ["a"], "the ledger's entries")
    check_equal(engines(box), [launch["pid"]], "engines")
    os.kill(launch["pid"], signal.SIGKILL)  # an adopted one is supervised like any other
    wait_until(lambda: daemon.one(launch["id"])["restart_count"] == 1 and daemon.one(launch["id"])["state"] == "ready",
               "it to be started again")
    done(daemon)


@case("nobody comes back: the engine ends after the time it is kept")
def nobody_comes(box):
    daemon = Daemon(box, "--keep-engines", "1s")
    ready(daemon, "a")
    daemon.process.signal(signal.SIGKILL)
    daemon.process.finish()
    wait_until(lambda: not box.alive(), "the engine to end", 30)
    daemon.start()
    now = daemon.wait_state(1, "ready", "ended")
    check_equal((now["state"], [act["action"] for act in now["actions"]]), ("ready", ["start"]), "it is wanted: started anew")
    done(daemon)


@case("kept not at all: the engine ends with the daemon")
def not_kept(box):
    daemon = Daemon(box, "--keep-engines", "0")
    ready(daemon, "a")
    daemon.process.signal(signal.SIGKILL)
    daemon.process.finish()
    box.check_nobody_left()


@case("a daemon that was stopped starts what ran before; what a request had started comes with the next one")
def restart(box):
    daemon = Daemon(box)
    ready(daemon, "a")
    daemon.chat("tiny-llama")
    stopped = start(daemon, "gone")
    daemon.json("POST", f"/api/v1/launches/{stopped['id']}/stop", {}, 202)
    daemon.wait_state(stopped["id"], "ended")
    done(daemon)
    check_equal(box.alive(), [], "processes")
    daemon.start()
    check_equal(daemon.wait_state(1, "ready", "ended")["state"], "ready", "a")
    check_equal([launch["name"] for launch in daemon.launches()], ["a"], "launches")
    done(daemon)


@case("engines and daemon killed at random points: nothing orphaned, the ledger is true")
def chaos(box):
    daemon = Daemon(box, "--keep-engines", "30s", "--restart", "1000", machine=SMALL)
    for turn in range(6):
        name = f"t{turn}"
        launch = start(daemon, name)
        time.sleep(0.07 * turn)
        if turn % 3 == 0:
            for pid in engines(box)[:1]:
                os.kill(pid, signal.SIGKILL)
        elif turn % 3 == 1:
            daemon.process.signal(signal.SIGKILL)
            daemon.process.finish()
            daemon.start()
        wait_until(lambda: len(engines(box)) == {"ready": 1, "ended": 0}.get(daemon.one(launch["id"])["state"]),
                   f"turn {turn}: one engine when ready, none when ended")
        daemon.json("POST", f"/api/v1/launches/{launch['id']}/stop", {"kill": turn % 2 == 0}, 202)
        daemon.wait_state(launch["id"], "ended")
        view = daemon.json("GET", "/api/v1/view")
        check_equal((engines(box), view["vram"]["reservations"]), ([], []), f"after turn {turn}")
    done(daemon)


@case("a model folder that goes away: a clear sentence, and what runs goes on")
def folder_goes(box):
    daemon = Daemon(box)
    ready(daemon, "a")
    os.rename(daemon.folder, box.folder / "unmounted")
    answer = daemon.launch({"model": "tiny-llama", "name": "b"}, 404)
    check_match(r"the folder .* cannot be read: No such file", answer["error"]["message"], "the sentence")
    check_match(r"cannot be read", daemon.json("GET", "/api/v1/models")["problem"], "the list")
    check_equal(daemon.chat("a")["object"], "chat.completion", "what runs")
    done(daemon)


@case("a disk that is full: said, and what runs goes on")
def disk_full(box):
    daemon = Daemon(box)
    launch = ready(daemon, "a")
    resource.prlimit(daemon.process.pid, resource.RLIMIT_FSIZE, (0, 0))  # of the daemon alone: no file may grow
    daemon.json("POST", f"/api/v1/launches/{launch['id']}/pin", {"pinned": True})
    daemon.process.wait_for(r"could not be written \(File too large\): after a crash .* will not be found again")
    check_equal(daemon.chat("a")["object"], "chat.completion", "it answers")
    daemon.process.wait_for(r"the engine's log is kept no longer")
    check_match(r"release", daemon.command("logs", "a").out, "the log in memory")
    done(daemon)


# ---- out of memory -------------------------------------------------------------------------------------------------------

@cases([
    ("stop", [], True),
    ("smaller", ["smaller_plan"], True),
    ("restart", ["restart"], True),
], lambda row: f"out of memory, answered by policy: {row[0]}")
def out_of_memory(box, row):
    policy, actions, _ = row
    program = stand_in(box, "run-out-of-memory")
    daemon = Daemon(box, "--oom", policy, "--restart", "1", "--engine", program, real=False)
    answer = daemon.launch({"model": "tiny-llama", "intent": {"ctx": 8192}})
    launch = daemon.wait_state(answer["id"], "ended")
    check_equal(launch["failed"], True, "failed")
    check_match(r"memory", launch["text"], "the sentence")
    names = [act["action"] for act in launch["actions"]]
    check_equal(names[:1], actions, "actions")
    check(all(act["effect"].startswith("it did not help") for act in launch["actions"]), f"effects: {launch['actions']}")
    check_equal(daemon.json("GET", "/api/v1/view")["vram"]["reservations"], [], "the ledger")
    done(daemon)


@case("out of memory on the real engine: a smaller plan works, and says so")
def out_of_memory_real(box):
    # The engine sees less memory than the machine file says: the plan that fits on paper does not load.
    daemon = Daemon(box, "--oom", "smaller", machine=Machine(Card("NVIDIA GeForce RTX 3060", 2048, 2000)))
    box.env["PRETEND_GPUS"] = Machine(Card("NVIDIA GeForce RTX 3060", 2048, 700)).pretend_text()
    daemon.stop()
    daemon.start()
    answer = daemon.launch({"model": "tiny-llama", "intent": {"ctx": 131072, "parallel": 4, "no_cpu_layers": True}})
    launch = daemon.wait_state(answer["id"], "ready", "ended")
    check_equal(launch["state"], "ready", f"state: {launch['text']}")
    check(launch["actions"] and launch["actions"][0]["action"] == "smaller_plan", f"actions: {launch['actions']}")
    check_match(r"^it works", launch["actions"][-1]["effect"], "the last effect")
    check_equal(launch["comparison"]["equal"], True, "the smaller plan against measured")
    check(launch["plan"]["context_tokens"] < 131072 or launch["plan"]["ubatch_tokens"] < 512, "nothing is smaller")
    done(daemon)


# ---- the docs ------------------------------------------------------------------------------------------------------------

def keys_of(value):
    return set(value) if isinstance(value, dict) else set()


@case("the examples of docs/HTTP.md are what the daemon does")
def documented(box):
    text = (ROOT / "docs/HTTP.md").read_text()
    daemon = Daemon(box, models=())
    daemon.add_model("tiny-llama", "llama/tiny-llama")
    blocks = {}
    for title, body in re.findall(r"^##+ (.*?)\n(.*?)(?=^##+ |\Z)", text, re.M | re.S):
        blocks[title] = [json.loads(block) for block in re.findall(r"```json\n(.*?)```", body, re.S)]
    check_equal(daemon.json("POST", "/api/v1/plan", {"model": "x"}, 404), blocks["Errors"][0], "the error")
    wish = blocks["`POST /api/v1/plan` and `POST /api/v1/launches`"][0]
    plan = daemon.json("POST", "/api/v1/plan", {**wish, "explain": True})
    check_equal((plan["fits"], plan["context_tokens_per_slot"]), (True, 8192), "the plan")
    check(plan["explanation"] and plan["command_explanation"] and plan["command"], "explanation and command")
    same = json_of(daemon.command("plan", daemon.folder / "llama/tiny-llama.gguf", "--gpus", daemon.machine_file, "--engine", engine(),
                                  "--ctx", "8192", "--parallel", "2", "--kv-type", "q8_0", "--explain", "--json"))
    check_equal(keys_of(plan), keys_of(same), "keys of the plan, here and on the command line")
    check_equal(plan["explanation"], same["explanation"], "explanation, here and on the command line")
    estimate = daemon.json("POST", "/api/v1/estimate", blocks["`POST /api/v1/estimate`"][0])
    check_equal((estimate["schema"], estimate["engine_build"]), ("dualgpuopt.estimate/1", 11669), "the estimate")
    models = daemon.json("GET", "/api/v1/models")
    check_equal((keys_of(models), models["models"][0]["name"]),
                (keys_of(blocks["`GET /api/v1/models`"][0]), "llama/tiny-llama"), "the models")
    check_equal(daemon.json("GET", "/api/v1/model?name=llama%2Ftiny-llama")["schema"], "dualgpuopt.model/1", "the model")
    view_keys, launch_keys = (keys_of(block) for block in blocks["`GET /api/v1/view`"][:2])
    launch = daemon.launch(wish)
    now = daemon.wait_state(launch["id"], "ready")
    daemon.chat("llama/tiny-llama")
    now = daemon.one(launch["id"])
    check_equal(launch_keys - keys_of(now), {"ended_ns"}, "documented keys that a ready launch lacks")
    check_equal(keys_of(now) - launch_keys, {"created_ns", "failed", "intent"}, "keys of a launch that are not in the example")
    view = daemon.json("GET", "/api/v1/view")
    check_equal(view_keys - keys_of(view), {"machine_problem"}, "documented keys that the view lacks")
    log = daemon.json("GET", f"/api/v1/launches/{launch['id']}/log")
    check_equal(keys_of(log), keys_of(blocks["`GET /api/v1/launches/ID/log`"][0]), "the log")
    check_equal(daemon.json("GET", "/healthz"), {"status": "ok"}, "health")
    check_equal(daemon.json("GET", "/api/v1/resources")["schema"], "dualgpuopt.resources/1", "resources")
    check("values" in daemon.json("GET", "/api/v1/config"), "config")
    done(daemon)


@case("metrics are strict OpenMetrics, and DCGM's names where asked")
def metrics(box):
    daemon = Daemon(box)
    ready(daemon, "a")
    status, headers, text = daemon.ask("GET", "/metrics", None, daemon.head(Accept="application/openmetrics-text; version=1.0.0"))
    check_equal((status, headers["Content-Type"]), (200, "application/openmetrics-text; version=1.0.0; charset=utf-8"), "head")
    seen, samples, family, kind = set(), {}, None, None
    lines = text.decode().splitlines()
    check_equal(lines[-1], "# EOF", "the last line")
    for line in lines[:-1]:
        if line.startswith("# TYPE "):
            _, _, family, kind = line.split()
            check(family not in seen, f"{family} is interleaved or twice")
            seen.add(family)
            continue
        if line.startswith("# UNIT "):
            check(family.endswith("_" + line.split()[3]), f"{family} does not end in its unit")
            continue
        if line.startswith("# HELP "):
            continue
        name = re.match(r"[a-zA-Z_][a-zA-Z0-9_]*", line).group(0)
        suffix = {"counter": "_total", "info": "_info"}.get(kind, "")
        check_equal(name, family + suffix, "sample in its family")
        sample, value = line.rsplit(" ", 1)
        check(sample not in samples, f"{sample} is there twice")
        samples[sample] = float(value)
    wanted = {"dualgpuopt_gpu_memory_used_bytes", "dualgpuopt_self_vram_bytes", "dualgpuopt_launch_ready",
              "dualgpuopt_process_cpu_seconds", "dualgpuopt_vram_ledger_bytes", "dualgpuopt_bus_events",
              "dualgpuopt_bus_handler_seconds", "dualgpuopt_component_jobs", "dualgpuopt_lane_threads"}
    check_equal(wanted - seen, set(), "families that are missing")
    passed = [line for line in lines if line.startswith("llamacpp_prompt_tokens_total{")]
    check(len(passed) == 1 and 'launch="1",model="a"' in passed[0], f"the engine's own metrics with our labels: {passed}")
    for sample in ('dualgpuopt_bus_events_total{topic="launch.state",kind="published"}',
                   'dualgpuopt_bus_events_total{topic="launch.state",kind="delivered"}',
                   'dualgpuopt_component_jobs_total{component="launch_preparation",kind="done"}',
                   'dualgpuopt_lane_threads{lane="express",kind="there"}'):
        check(samples[sample] > 0, f"{sample}: {samples[sample]}")
    check(any(sample.startswith("dualgpuopt_bus_handler_events_total{") and value > 0 for sample, value in samples.items()),
          "a subscriber got events")
    check("dualgpuopt_self_vram_bytes 0" in lines, "our own VRAM")
    check('dualgpuopt_launch_ready{launch="1",model="a"} 1' in lines, "the launch")
    _, headers, old = daemon.ask("GET", "/metrics")
    check_equal(headers["Content-Type"], "text/plain; version=0.0.4; charset=utf-8", "the old type")
    check("# EOF" not in old.decode() and "# TYPE dualgpuopt_launch_requests_total counter" in old.decode(), "the old format")
    _, _, dcgm = daemon.ask("GET", "/metrics?format=dcgm")
    check_match(r'DCGM_FI_DEV_FB_USED\{gpu="0",UUID="[^"]*",pci_bus_id="[^"]*",device="nvidia0",modelName="NVIDIA[^"]*",'
                r'Hostname="[^"]*"\} \d+', dcgm.decode(), "DCGM")
    done(daemon)


main()
