#!/usr/bin/env python3
"""`./dev soak [TURNS]`: launches and stops, kill -9 of the daemon, of engines and of guards at random points, for a long time;
after each turn nothing is orphaned and the ledger is empty.  A short version runs in test_serve.py."""
import os
import random
import signal
import sys
import time

TURNS = int(sys.argv[1]) if len(sys.argv) > 1 else 100
SEED = int(os.environ.get("DGO_TEST_SEED", time.time_ns() % 1000000))
sys.argv = sys.argv[:1]

from daemon import Daemon, engines  # noqa: E402
from e2e import RTX_3060, Box, Card, Failure, Machine, check, check_equal, wait_until  # noqa: E402


def guard_of(pid):
    try:
        return int(open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()[1])
    except OSError:
        return None


def kill(pid):
    try:
        if pid:
            os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass


def settle(daemon, box, ident):
    """Until the launch and its engine agree."""
    wait_until(lambda: len(engines(box)) == {"ready": 1, "ended": 0}.get(daemon.one(ident)["state"]), "launch and engine to agree")


def turn(daemon, box, chance, number):
    launch = daemon.launch({"model": "tiny-llama", "name": f"t{number}", "intent": {"ctx": 1024}})
    time.sleep(chance.random() * 0.5)
    what = chance.choice(["nothing", "engine", "daemon", "guard", "daemon and engine", "leave"])
    if "engine" in what:
        for pid in engines(box):
            kill(pid)
    if what == "guard":
        for pid in engines(box):
            kill(guard_of(pid))
    if "daemon" in what or what == "leave":
        daemon.process.signal(signal.SIGUSR1 if what == "leave" else signal.SIGKILL)
        daemon.process.finish()
        time.sleep(chance.random() * 0.3)
        daemon.start()
    settle(daemon, box, launch["id"])
    if daemon.one(launch["id"])["state"] == "ready" and chance.random() < 0.3:
        try:
            daemon.chat(f"t{number}")
        except Failure as failure:  # its engine was killed under it: told once, and then there is the next one
            if what in ("nothing", "leave", "daemon") or "502" not in str(failure):
                raise
            daemon.chat(f"t{number}")
    daemon.json("POST", f"/api/v1/launches/{launch['id']}/stop", {"kill": chance.random() < 0.5}, 202)
    daemon.wait_state(launch["id"], "ended")
    view = daemon.json("GET", "/api/v1/view")
    check_equal((engines(box), view["vram"]["reservations"]), ([], []), f"after turn {number} ({what})")
    check(len(box.alive()) <= 2, f"processes after turn {number}: {box.alive()}")
    return what


def main():
    print(f"soak: {TURNS} turns, DGO_TEST_SEED={SEED}", flush=True)
    chance, box, counts = random.Random(SEED), Box(), {}
    try:
        daemon = Daemon(box, "--keep-engines", "30s", "--restart", "1000", machine=Machine(Card("NVIDIA GeForce RTX 3060", 2200, 2000)))
        for number in range(1, TURNS + 1):
            what = turn(daemon, box, chance, number)
            counts[what] = counts.get(what, 0) + 1
            if number % 10 == 0:
                rss = int(open(f"/proc/{daemon.process.pid}/statm").read().split()[1]) * 4 // 1024
                print(f"soak: turn {number}: {counts}, daemon {rss} MiB, {len(os.listdir(f'/proc/{daemon.process.pid}/fd'))} files",
                      flush=True)
        check_equal(daemon.stop().code, 0, "exit of serve")
        box.check_nobody_left()
    finally:
        box.close()
    print("soak: nothing orphaned, the ledger true after every turn")


main()
