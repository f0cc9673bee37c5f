#!/usr/bin/env python3
"""profile report on whole files: CSV in odd shapes, a recording, what must be in the JSON.

usage: test_report.py DUALGPUOPT      TAP on stdout
"""
import csv
import html.parser
import io
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import xml.etree.ElementTree

PROGRAM = sys.argv[1]
FOLDER = pathlib.Path(tempfile.mkdtemp(prefix="dgo-report-"))
ENVIRONMENT = {"PATH": os.environ["PATH"], "HOME": str(FOLDER), "LC_ALL": "C.UTF-8"}
KEYS = {"gpu", "pid", "verdict", "pattern", "slope_mib_per_hour", "slope_interval", "seconds_to_full", "evidence"}
results = []


def run(*words, text=None):
    return subprocess.run([PROGRAM, "profile", "report", *map(str, words)], capture_output=True, text=True,
                          input=text, env=ENVIRONMENT, timeout=120)


def write(name, lines):
    path = FOLDER / name
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def check(name):
    def wrap(function):
        try:
            function()
            results.append((True, name))
        except AssertionError as failure:
            results.append((False, f"{name}: {failure}"))
        return function
    return wrap


def leak(seconds):
    return 9000 + seconds * 0.02


@check("a leak, a steady process and the card, columns in another order")
def _():
    rows = ["used_mib,busy,pid,seconds,requests,gpu"]
    for s in range(0, 6 * 3600, 10):
        rows.append(f"{leak(s):.2f},{int(s % 60 < 30)},71,{s},{s // 60},0")
        rows.append(f"500,,72,{s},,0")
        rows.append(f"{leak(s) + 700:.2f},,,{s},,0")
    done = run(write("order.csv", rows), "--json")
    assert done.returncode == 0, done.stderr
    series = json.loads(done.stdout)["series"]
    assert [one["pid"] for one in series] == [None, 71, 72], series
    for one in series:
        assert KEYS <= one.keys(), KEYS - one.keys()
    card, leaking, steady = series
    assert card["verdict"] == "growing", card
    assert leaking["verdict"] == "confirmed_leak", leaking
    assert abs(leaking["slope_mib_per_hour"] - 72) < 2, leaking
    assert leaking["slope_interval"][0] <= leaking["slope_mib_per_hour"] <= leaking["slope_interval"][1]
    assert abs(leaking["evidence"]["mib_per_request"] - 1.2) < 0.05, leaking
    assert steady["verdict"] == "steady" and steady["pattern"] == "steady", steady
    assert leaking["seconds_to_full"] is None
    assert leaking["episodes"][0]["began_seconds"] < 3 * 3600, leaking


@check("the size of the cards gives the time to full")
def _():
    machine = write("machine.yaml", ["gpus:", "  - {name: A, total_mib: 12288, free_mib: 12000}"])
    rows = ["seconds,gpu,pid,used_mib"] + [f"{s},0,71,{leak(s):.2f}" for s in range(0, 6 * 3600, 10)]
    done = run(write("full.csv", rows), "--gpus", machine, "--json")
    one = json.loads(done.stdout)["series"][0]
    want = (12288 - leak(6 * 3600)) / 0.02
    assert abs(one["seconds_to_full"] / want - 1) < 0.05, (one, want)
    low, high = one["seconds_to_full_interval"]
    assert low <= one["seconds_to_full"] <= high, one


@check("bad lines are counted, named and left out")
def _():
    rows = ["seconds,gpu,pid,used_mib"]
    for s in range(0, 7200, 5):
        rows.append(f"{s},0,71,4000")
    rows[10] = "45,0,71,lots"
    rows[20] = "95,0"
    rows.append("7200,0,71,40")  # and one that is whole, then one that was cut
    rows.append("7205,0,7")
    done = run(write("bad.csv", rows), "--json")
    profile = json.loads(done.stdout)
    assert done.returncode == 0 and profile["bad_lines"] == 3, profile["bad_lines"]
    assert profile["problems"][0].startswith("line 11: used_mib \"lots\""), profile["problems"]
    assert "line 11" in done.stderr and "line 21" in done.stderr, done.stderr
    assert profile["series"][0]["samples"] == 1439, profile["series"][0]["samples"]


@check("clocks that jump, gaps, one sample")
def _():
    rows = ["seconds,gpu,pid,used_mib"]
    for s in range(0, 6 * 3600, 20):
        told = s + (1e6 if s > 7200 else 0) - (5000 if s > 10800 else 0)
        if not 4000 < s < 5000:
            rows.append(f"{told},1,71,{leak(s):.2f}")
    rows.append("3,0,9,100")
    done = run(write("clocks.csv", rows), "--json")
    single, leaking = json.loads(done.stdout)["series"]
    assert single["verdict"] == "steady" and single["pattern"] == "unknown", single
    assert leaking["clock_jumps"] == 2 and leaking["verdict"] == "suspected_leak", leaking


@check("stdin, and no final newline")
def _():
    rows = ["seconds,gpu,pid,used_mib"] + [f"{s},0,,1000" for s in range(1000)]
    done = run("-", "--json", text="\n".join(rows))
    assert json.loads(done.stdout)["series"][0]["samples"] == 1000


@check("what cannot be read at all is said")
def _():
    cases = {"nothing.csv": ([], "is empty"), "words.csv": (["hello", "world"], "must name the columns"),
             "header.csv": (["seconds,gpu,used_mib"], "no readings"),
             "none.csv": (["seconds,gpu,used_mib", "a,b,c"], "no line can be read; line 2")}
    for name, (rows, says) in cases.items():
        done = run(write(name, rows))
        assert done.returncode == 1 and says in done.stderr, (name, done.stderr)
    done = run(FOLDER / "absent.csv")
    assert done.returncode == 1 and "absent.csv" in done.stderr, done.stderr


@check("a recording, with its marks and the sizes of its cards")
def _():
    machine = write("two.yaml", ["gpus:", "  - {name: A, total_mib: 24576, free_mib: 24000}",
                                 "  - {name: B, total_mib: 12288, free_mib: 2000}"])
    path = FOLDER / "two.jsonl"
    done = subprocess.run([PROGRAM, "profile", "record", "--gpus", machine, "--seconds", "1", "--interval", "100ms",
                           "-o", path], capture_output=True, text=True, env=ENVIRONMENT, timeout=60)
    assert done.returncode == 0, done.stderr
    done = run(path, "--json")
    profile = json.loads(done.stdout)
    assert [one["last_mib"] for one in profile["series"]] == [576, 10288], profile
    assert profile["simulated"] and profile["imbalance"] > 0.5, profile
    assert "SIMULATED" in run(path).stdout


@check("a recording of a real machine says when it was made, and its replay tells bursts of requests")
def _():
    rows = ['{"dualgpuopt_recording":1,"wall_ns":1795739736767344297,"source":"nvml","driver":"550","simulated":false}',
            '{"seconds":0,"gpus":[{"name":"A","total_bytes":25769803776,"used_bytes":1048576000}]}']
    counts = [(0, 7), (3, 7), (2, 8), (0, 10), *[(0, 10)] * 6]
    rows += [json.dumps({"seconds": s + 1, "engine": {"pid": 42, "busy": busy, "requests": requests}})
             for s, (busy, requests) in enumerate(counts)]
    path = write("real.jsonl", rows)
    assert run(path).stdout.startswith("recorded 2026-11-27 00:35 UTC: "), run(path).stdout
    words = [PROGRAM, "profile", "replay", path]
    text = subprocess.run(words, capture_output=True, text=True, env=ENVIRONMENT, timeout=60).stdout
    assert text.startswith("recorded 2026-11-27 00:35 UTC: ") and "SIMULATED" not in text, text
    assert "     2.000  engine 42, burst" in text and "engine 42, burst over after" in text and "3 requests" in text, text
    replay = json.loads(subprocess.run([*words, "--json"], capture_output=True, text=True, env=ENVIRONMENT, timeout=60).stdout)
    assert (replay["simulated"], replay["recorded"], replay["bursts"]) == (False, True, 1), replay


@check("a table for people")
def _():
    done = run(FOLDER / "order.csv")
    assert "confirmed_leak" in done.stdout and "MiB a request" in done.stdout, done.stdout
    assert "▁" in done.stdout, done.stdout


@check("what could be freed: by name in a CSV, engines not, what is unknown last")
def _():
    rows = ["seconds,gpu,pid,used_mib,name"]
    for s in range(0, 100, 5):
        rows += [f"{s},0,1,9000,llama-server", f"{s},0,2,300,firefox", f"{s},1,3,5000,python3", f"{s},1,4,400,Xorg"]
    rows += ["10,0,9,700,firefox"]  # gone long before the end
    path = write("free.csv", rows)
    done = run(path, "--json")
    free = json.loads(done.stdout)["could_free"]
    assert [(one["pid"], one["role"]) for one in free] == [(4, "desktop"), (2, "browser"), (3, None)], free
    assert "kv_tokens" not in free[0] and free[0]["used_mib"] == 400, free
    text = run(path).stdout
    assert "700.0 MiB together, without those that are not known" in text, text
    assert "llama-server" not in text.split("What could be freed")[1], text


def leak_and_intruder():
    """A leak, and a process whose name would be code if it were not escaped; goes and comes once."""
    rows = ["seconds,gpu,pid,used_mib,requests,busy,name"]
    for s in range(0, 6 * 3600, 10):
        rows.append(f"{s},0,71,{leak(s):.2f},{s // 60},{int(s % 60 < 30)},llama-server")
        if s > 7000:
            rows.append(f'{s},0,72,{500 + 300 * (s > 12000)},,,"<script>x&y</script>, z"')
        rows.append(f"{s},0,,{leak(s) + 700:.2f},,,")
    rows.append("nonsense,<b>,,1,,,")
    return write("shown.csv", rows)


@check("--svg draws every series with its verdict, episodes and changes")
def _():
    path, picture = leak_and_intruder(), FOLDER / "shown.svg"
    done = run(path, "--svg", picture)
    assert done.returncode == 0 and "confirmed_leak" in done.stdout, done.stderr
    space = "{http://www.w3.org/2000/svg}"
    root = xml.etree.ElementTree.parse(picture).getroot()
    words = [one.text for one in root.iter(space + "text")]
    titles = [one.text for one in root.iter(space + "title")]
    assert None not in words, words
    assert {"GPU 0", "llama-server", "pid 72", "confirmed_leak", "growing", "steady"} <= set(words), words
    assert any((one or "").startswith("<script>x&y</script>") for one in words), words
    assert any(one.startswith("confirmed_leak from ") for one in titles), titles
    assert "+300 MiB at 12010 s" in titles, titles
    lines = [one.get("points").split() for one in root.iter(space + "polyline")]
    assert len(lines) == 3 and all(len(one) > 100 for one in lines), [len(one) for one in lines]


class Page(html.parser.HTMLParser):
    def __init__(self):
        super().__init__()
        self.tags, self.links, self.open = [], [], []

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.links += [value for name, value in attributes if name in ("src", "href", "onload", "onclick")]
        if tag not in ("meta", "br"):
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.tags.append(tag)

    def handle_endtag(self, tag):
        assert self.open and self.open[-1] == tag, (tag, self.open)
        self.open.pop()


@check("--html is one file with everything in it and nothing that runs or is fetched")
def _():
    written = FOLDER / "shown.html"
    done = run(leak_and_intruder(), "--html", written, "--json")
    series = json.loads(done.stdout)["series"]
    text = written.read_text(encoding="utf-8")
    page = Page()
    page.feed(text)
    assert page.open == [] and page.links == [], (page.open, page.links)
    assert "script" not in page.tags and page.tags.count("svg") == 1 and "table" in page.tags, page.tags
    assert "prefers-color-scheme:dark" in text and "default-src &#39;none" not in text, text[:400]
    assert "default-src 'none'" in text
    for one in series:
        assert html.escape(one["evidence"]["text"]).replace("&#x27;", "&#39;") in text, one["evidence"]["text"]
    assert "What could be freed" in text and "Left out" in text and "Lasting changes" in text


@check("--csv is the table of series")
def _():
    path = leak_and_intruder()
    rows = list(csv.DictReader(io.StringIO(run(path, "--csv").stdout)))
    series = json.loads(run(path, "--json").stdout)["series"]
    assert len(rows) == len(series) == 3
    for row, one in zip(rows, series):
        assert None not in row and row["verdict"] == one["verdict"] and row["pattern"] == one["pattern"], row
        assert row["pid"] == str(one["pid"] or ""), row
        assert row["evidence"] == one["evidence"]["text"] and row["name"] == one.get("name", ""), row
        slope = one["slope_mib_per_hour"]
        assert (row["slope_mib_per_hour"] == "") == (slope is None), row
        assert slope is None or abs(float(row["slope_mib_per_hour"]) - slope) < 1e-6, row
    assert rows[0]["seconds_to_full"] == "", rows[0]
    done = run(path, "--csv", "--json")
    assert done.returncode == 2 and "one of --csv and --json" in done.stderr, done.stderr


@check("files that cannot be written are said, and nothing is left")
def _():
    done = run(leak_and_intruder(), "--svg", "/dev/null/x.svg")
    assert done.returncode == 1 and "x.svg" in done.stderr and done.stdout == "", done


@check("more series than a picture has room for: what is suspected stays, the rest is counted")
def _():
    rows = ["seconds,gpu,pid,used_mib,requests,busy"]
    for s in range(0, 6 * 3600, 60):
        rows.append(f"{s},0,9999,{leak(s) - 8990:.2f},{s},0")
        rows += [f"{s},0,{pid},{100 + pid},," for pid in range(1, 101)]
    picture = FOLDER / "many.svg"
    done = run(write("many.csv", rows), "--svg", picture, "--csv")
    assert done.returncode == 0 and done.stdout.count("\n") == 102, done.stderr
    text = picture.read_text(encoding="utf-8")
    assert "37 smaller series are not shown" in text and "pid 9999" in text and "pid 100<" in text, text[:900]
    assert "pid 20<" not in text


print(f"1..{len(results)}")
for number, (good, name) in enumerate(results, 1):
    print(f"{'ok' if good else 'not ok'} {number} - {name}")
for path in FOLDER.iterdir():
    path.unlink()
FOLDER.rmdir()
sys.exit(not all(good for good, _ in results))
