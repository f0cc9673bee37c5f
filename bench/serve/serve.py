"""The daemon under load: requests a second by wrk, a thousand event clients, idle cost, and tokens through the front beside
the engine itself and nginx in the same run.  Used by bench/run.py."""
import asyncio
import json
import os
import pathlib
import resource
import shutil
import statistics
import subprocess
import sys
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
TURNS, TOKENS = int(os.environ.get("BENCH_TURNS", 9)), int(os.environ.get("BENCH_TOKENS", 1000))
CLIENTS, EVENTS_PER_SECOND, SECONDS = 1000, 10, 10


def cpu_seconds(pid):
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def resident_mib(pid):
    return int(pathlib.Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE") / (1 << 20)


def wrk(daemon, path, connections):
    """Requests a second and the 99th percentile in ms."""
    words = ["wrk", "-t1", f"-c{connections}", "-d5s", "--latency", "-H", f"Authorization: Bearer {daemon.token}",
             f"http://127.0.0.1:{daemon.port}{path}"]
    text = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    late = [line.split()[1] for line in text.splitlines() if line.strip().startswith("99%")][0]
    unit = {"us": 1e-3, "ms": 1, "s": 1e3}
    scale = [unit[end] for end in ("us", "ms", "s") if late.endswith(end)][0]
    bad = [line for line in text.splitlines() if "Non-2xx" in line]
    if bad:
        sys.exit(f"bench: {path}: {bad[0]}")
    return (float([line.split()[1] for line in text.splitlines() if line.startswith("Requests/sec")][0]),
            float(late.rstrip("mus")) * scale)


async def listen(daemon, count, seconds):
    """So many event streams for so long; returns how many launch events each got."""
    got = [0] * count
    ready = 0
    head = (f"GET /api/v1/events HTTP/1.1\r\nHost: 127.0.0.1:{daemon.port}\r\nAuthorization: Bearer {daemon.token}\r\n\r\n").encode()

    async def one(at):
        nonlocal ready
        reader, writer = await asyncio.open_connection("127.0.0.1", daemon.port, limit=1 << 20)
        writer.write(head)
        first = True
        try:
            while line := await reader.readline():
                if first and line.startswith(b"event: snapshot"):
                    ready += 1
                    first = False
                got[at] += line.startswith(b"event: launch")
        finally:
            writer.close()

    tasks = [asyncio.create_task(one(at)) for at in range(count)]
    while ready < count:
        await asyncio.sleep(0.05)
        if any(task.done() for task in tasks):
            sys.exit("bench: an event stream ended early")
    for at in range(count):
        got[at] = 0
    before, began = cpu_seconds(daemon.process.pid), time.monotonic()
    publisher = threading.Thread(target=publish, args=(daemon, seconds))
    publisher.start()
    await asyncio.sleep(seconds + 1)
    spent, took = cpu_seconds(daemon.process.pid) - before, time.monotonic() - began
    resident = resident_mib(daemon.process.pid)
    publisher.join()
    for task in tasks:
        task.cancel()
    return got, spent / took, resident


def publish(daemon, seconds):
    """Events by pinning a launch and unpinning it."""
    for at in range(seconds * EVENTS_PER_SECOND):
        daemon.json("POST", "/api/v1/launches/1/pin", {"pinned": at % 2 == 0})
        time.sleep(1 / EVENTS_PER_SECOND)


def stream(url, headers=()):
    """Tokens a second of one streamed answer, by curl: its start is a constant of a few ms."""
    body = json.dumps({"model": "a", "prompt": "x", "max_tokens": TOKENS, "ignore_eos": True, "stream": True, "seed": 1})
    words = ["curl", "-sN", "-o", "-", "-H", "Content-Type: application/json", *headers, "-d", body, url]
    began = time.perf_counter()
    text = subprocess.run(words, capture_output=True, check=True).stdout
    took = time.perf_counter() - began
    if b"data: [DONE]" not in text:
        sys.exit(f"bench: {url} did not stream to the end: {text[-300:]!r}")
    return TOKENS / took  # the same seed: the same tokens, by every way


def start_nginx(box, port, engine_port):
    if not shutil.which("nginx") and not os.path.exists("/usr/sbin/nginx"):
        return None
    conf = box.file("nginx.conf", f"""daemon off; pid {box.folder}/nginx.pid; error_log {box.folder}/nginx.log;
worker_processes 1;
events {{ worker_connections 256; }}
http {{ access_log off; client_body_temp_path {box.folder}/b; proxy_temp_path {box.folder}/p; fastcgi_temp_path {box.folder}/f;
  uwsgi_temp_path {box.folder}/u; scgi_temp_path {box.folder}/s;
  server {{ listen 127.0.0.1:{port}; location / {{ proxy_pass http://127.0.0.1:{engine_port}; proxy_buffering off;
  proxy_http_version 1.1; proxy_set_header Connection ""; }} }} }}
""")
    return box.start(shutil.which("nginx") or "/usr/sbin/nginx", "-c", conf)


def compare_streams(box, daemon):
    from e2e import free_port
    launch = daemon.one(1)
    port = free_port()
    nginx = start_nginx(box, port, launch["port"])
    time.sleep(0.5)
    ways = {"engine": (f"http://127.0.0.1:{launch['port']}/v1/completions", ()),
            "ours": (f"http://127.0.0.1:{daemon.port}/v1/completions", ("-H", f"Authorization: Bearer {daemon.token}"))}
    if nginx:
        ways["nginx"] = (f"http://127.0.0.1:{port}/v1/completions", ())
    rates = {name: [] for name in ways}
    try:
        for turn in range(TURNS + 1):
            for name, (url, headers) in ways.items():
                rate = stream(url, headers)
                if turn:
                    rates[name].append(rate)
    finally:
        if nginx:
            nginx.signal(15)  # it clears its environment, by which a box finds what it started
            nginx.finish()
    middle = {name: statistics.median(values) for name, values in rates.items()}
    report("serve.stream.tokens_per_s", "tokens/s", middle["ours"], middle["engine"], "the engine itself")
    if nginx:
        report("serve.stream.tokens_per_s", "tokens/s", middle["ours"], middle["nginx"], "nginx in between")
        report("serve.stream.nginx_tokens_per_s", "tokens/s", middle["nginx"], middle["engine"], "the engine itself")


def report(name, unit, ours, peer=None, peer_name=None):
    """One JSON line; the ratio of rates is ours by theirs."""
    line = {"name": name, "unit": unit, "ours": round(ours, 3)}
    if peer is not None:
        line.update(peer=round(peer, 3), peer_name=peer_name, ratio=round(ours / peer, 3))
    print(json.dumps(line), flush=True)


PARTS = ("idle", "pages", "requests", "streams", "events")
PAGES = 3


def measure_cost(daemon, name, seconds=20):
    before, began = cpu_seconds(daemon.process.pid), time.monotonic()
    time.sleep(seconds)
    spent, took = cpu_seconds(daemon.process.pid) - before, time.monotonic() - began
    report(f"serve.{name}.cpu_permille", "1/1000 of a core", spent / took * 1000)
    report(f"serve.{name}.rss_mib", "MiB", resident_mib(daemon.process.pid))


def measure_pages(box, daemon):
    """What pages that are left open cost: a second engine, and the stream that each page reads."""
    second = daemon.launch({"model": "tiny-llama", "name": "b", "intent": {"ctx": 2048}})
    daemon.wait_state(second["id"], "ready")
    url = f"http://127.0.0.1:{daemon.port}/api/v1/events"
    pages = [box.start("curl", "-sN", "-o", box.folder / f"page-{i}", "-H", f"Authorization: Bearer {daemon.token}", url) for i in range(PAGES)]
    time.sleep(3)
    measure_cost(daemon, f"two_engines_{PAGES}_pages")
    for i, page in enumerate(pages):
        page.signal(15)
        page.finish()
        report("serve.page.snapshots", "in some 23 s", (box.folder / f"page-{i}").read_bytes().count(b"event: snapshot\n"))
    daemon.json("POST", f"/api/v1/launches/{second['id']}/stop", {}, 202)
    daemon.wait_state(second["id"], "ended")


def bench(build, parts=PARTS):
    os.environ["DGO_E2E_BUILD"] = str(build)
    os.environ.setdefault("DUALGPUOPT_ENGINE", str(ROOT / ".engine/bin/llama-server"))
    sys.path.insert(0, str(ROOT / "tests/e2e"))
    import e2e
    from daemon import Daemon
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    box = e2e.Box()
    try:
        daemon = Daemon(box)
        launch = daemon.launch({"model": "tiny-llama", "name": "a", "intent": {"ctx": 4096}})
        daemon.wait_state(launch["id"], "ready")
        if "idle" in parts:
            measure_cost(daemon, "idle")
        if "pages" in parts:
            measure_pages(box, daemon)
        for path in ("/healthz", "/api/v1/view") if "requests" in parts else ():
            for connections in (16, 200):
                rate, late = wrk(daemon, path, connections)
                report(f"serve.wrk{path}.c{connections}", "requests/s", rate)
                report(f"serve.wrk{path}.c{connections}.p99", "ms", late)
        if "streams" in parts:
            compare_streams(box, daemon)
        if "events" in parts:
            measure_events(daemon)
        daemon.stop()
    finally:
        box.close()


def measure_events(daemon):
    got, cpu, resident = asyncio.run(listen(daemon, CLIENTS, SECONDS))
    report(f"serve.events.{CLIENTS}_clients.least_events", f"of {max(got)} that some client got", min(got))
    report(f"serve.events.{CLIENTS}_clients.cpu_permille", "1/1000 of a core", cpu * 1000)
    report(f"serve.events.{CLIENTS}_clients.rss_mib", "MiB", resident)


if __name__ == "__main__":
    bench(pathlib.Path(sys.argv[1]).resolve(), sys.argv[2:] or PARTS)
