#!/usr/bin/env python3
"""The page in a real Chromium, against the real daemon with the real engine on pretend cards."""
import gzip
import json

from page_case import (ROOT, Card, axe, case, check, check_accessible, check_calm, check_equal, check_match, go, main,
                       page_case, picture, text)

# What each tab must show of what the daemon knows, besides not complaining.
TABS = {
    "dashboard": ("RTX 3090", "RTX 3060", "memory in use", "61 °C", "201 / 350 W", "PCIe 4 ×16", "imbalance"),
    "optimizer": ("What you want", "The plan", "decode", "Against the engine's own split", "Alternatives", "llama-server"),
    "launcher": ("Launches", "New launch"),
    "memory": ("Over time", "Does it leak?", "Who uses it", "Before and after"),
    "resources": ("VRAM of this program", "VRAM ledger", "Lanes", "Components", "Event bus", "optimizer"),
    "settings": ("This page", "The daemon", "In force", "alerts.temperature-c", "default"),
}


def show(page, tab, timeout_s=60):
    go(page, tab)
    for words in TABS[tab]:
        page.wait(f"document.querySelector('main').innerText.includes({json.dumps(words)})", timeout_s, f"{words!r} on {tab}")


@page_case("every tab, in both themes, from 360 pixels to 4K; accessible; nothing from elsewhere")
def tabs(_box, daemon):
    for theme, widths in (("dark", (1400, 360)), ("light", (1400, 3840))):
        page = daemon.open(width=widths[0], theme=theme)
        for tab in TABS:
            for width in widths:
                page.size(width, 2160 if width == 3840 else 900)
                show(page, tab)
                check(page.run("document.documentElement.scrollWidth") <= width, f"{tab} is wider than {width} pixels")
                if width < 3840 or tab == "dashboard":  # a picture of 8 million points takes its time
                    picture(page, f"{tab}-{theme}-{width}")
            check_accessible(page, f"{tab}, {theme}")
        check_equal(page.run("document.documentElement.dataset.theme"), theme, "the theme")
        check_calm(page)
        other = page.run("""performance.getEntriesByType("resource").map((e) => e.name).filter((n) => !n.startsWith(location.origin))""")
        check_equal(other, [], "what came from elsewhere")


@page_case("the theme is switched by hand and kept; keys choose tabs")
def keys_and_theme(_box, daemon):
    page = daemon.open()
    page.key("2")
    page.wait("location.hash === '#/optimizer'")
    page.key("t")
    page.wait("document.documentElement.dataset.theme === 'light'")
    page.run("window.before = true; location.reload()")
    page.wait("!window.before && document.querySelector('#tabs a.on') && document.documentElement.dataset.theme === 'light'")
    page.key("Tab")
    page.wait("document.activeElement?.className === 'skip'", 10, "the first stop of the Tab key")
    page.run("localStorage.clear()")
    check_calm(page)


@page_case("a slider moves the plan")
def slider(_box, daemon):
    page = daemon.open("optimizer")
    page.wait("document.querySelector('.plan .strip i')")
    before = page.run("document.querySelector('.plan table').innerText")
    page.drag("#ctx", 0.6, 0.05)
    page.wait(f"document.querySelector('.plan table')?.innerText !== {json.dumps(before)} && !document.querySelector('.actions .busy')",
              what="another plan")
    check_match(r"context\s+512\s+tokens|context of each slot\s+(512|1.024) tokens", text(page), "the plan")
    page.drag("#parallel", 0.01, 0.98)
    page.wait("/3[0-2] slots of/.test(document.querySelector('.plan').innerText)", what="a plan for 30 slots")
    page.click(".choice label", "q8_0")
    page.wait("/q8_0/.test(document.querySelector('.plan .tiles').innerText)", what="a plan with an 8-bit cache")
    page.drag("#ctx", 0.05, 1.0)
    page.wait("document.querySelector('.control output').textContent === 'as long as fits'")
    picture(page, "optimizer-moved")
    check_calm(page)


FULL_CARDS = (Card("NVIDIA GeForce RTX 3090", 24576, 420), Card("NVIDIA GeForce RTX 3060", 12288, 420))


@page_case("what does not fit says what is missing", cards=FULL_CARDS)
def does_not_fit(_box, daemon):
    page = daemon.open("optimizer")
    page.click("summary", "more")
    page.click("label.check", "no layers in host memory")
    page.wait("/does not fit/i.test(document.querySelector('main').innerText)", what="that it does not fit")
    picture(page, "optimizer-does-not-fit")


@page_case("from the page: launch, plan against measured, a streamed answer, the log, stop")
def launch(_box, daemon):
    page = daemon.open("optimizer")
    page.wait("document.querySelector('button.main:not(:disabled)')")
    page.click("button.main", "Launch this plan")
    page.wait("/^#.launcher.\\d+$/.test(location.hash)", what="the launch's own address")
    page.wait("document.querySelector('#ask:not(:disabled)')", what="the engine to be ready")
    page.wait("/weights and context exact/.test(document.querySelector('main').innerText)", what="plan against measured")
    page.click("#ask")
    page.type("Why do two cards make a happy machine?")
    page.key("Enter")
    page.wait("document.querySelector('.message.assistant p')?.textContent.length > 20", what="the first words of the answer")
    growing = page.run("document.querySelector('.message.assistant p').textContent.length")
    page.wait("/[1-9]\\d* tokens, /.test(document.querySelector('.chat .card-head').innerText)", what="the answer's end")
    check(page.run("document.querySelector('.message.assistant p').textContent.length") >= growing, "the answer became shorter")
    page.wait("document.querySelectorAll('.log div').length > 20", what="lines of the log")
    page.run("document.querySelector('.log-tools input[type=search]').focus()")
    page.type("buffer size")
    page.wait("document.querySelector('.log mark')", what="what was searched for")
    check(page.run("[...document.querySelectorAll('.log > div')].every((d) => /buffer size/i.test(d.textContent))"), "other lines are shown")
    check_accessible(page, "the launcher with a launch")
    picture(page, "launcher-ready")
    show(page, "dashboard")
    page.wait("document.querySelector('.bar-part.weights')", what="the model's memory on its card")
    picture(page, "dashboard-serving")
    show(page, "resources")
    check_match(r"whose\s+pid\s+GPU\s+planned.*tiny-llama\s+\d+\s+0\s+[\d.]+ MiB", text(page), "the reservations")
    go(page, "launcher")
    page.click(".actions button", "Stop")
    page.wait("/ended/.test(document.querySelector('.launch-list').innerText)", what="the end")
    page.click(".actions button", "Forget")
    page.wait("!document.querySelector('.launch-list li')", what="an empty list")
    check_calm(page)


ROOMY_CARDS = (Card("NVIDIA GeForce RTX 3090", 24576, 20000), Card("NVIDIA GeForce RTX 3060", 12288, 10000))


@page_case("an alert appears while one looks, and goes when it is over; levels come from the settings",
           cards=ROOMY_CARDS, options=["--config", "{folder}/settings.yaml"], settings="alerts: {temperature-c: 75}\n")
def alert(_box, daemon):
    page = daemon.open()
    page.wait("/All is well/.test(document.querySelector('h1')?.innerText || '')", what="calm")
    daemon.readings[1]["temperature"] = 78  # a warning only, by the level of 87 that holds without the settings
    daemon.drive()
    page.wait("/alert/.test(document.querySelector('h1').innerText) && /GPU 1: 78 C/.test(document.querySelector('main').innerText)",
              what="the alert")
    page.wait("document.querySelector('#tabs .badge')?.innerText === '1'", what="its number beside the tab")
    page.wait("document.querySelector('.verdict.bad')", what="that it is critical")
    check_accessible(page, "the dashboard with an alert")
    picture(page, "dashboard-alert")
    daemon.readings[1]["temperature"] = 50
    daemon.drive()
    page.wait("/All is well/.test(document.querySelector('h1').innerText)", what="its end")
    check_calm(page)


@page_case("memory over time: a mark, zoom, verdicts, before and after")
def memory(_box, daemon):
    page = daemon.open("memory")
    page.wait("document.querySelector('.chart canvas')?.getAttribute('aria-label').includes('GPU 1 11.0')", what="readings")
    page.run("document.querySelector('.mark-form input').focus()")
    page.type("desktop <b>started</b>")
    page.key("Enter")
    page.wait("document.querySelector('.mark-form input').value === ''", what="the mark to be taken")
    page.click("button", "Set baseline")
    daemon.used[1] += 200
    daemon.drive()
    page.wait("/\\+200\\.00 MiB/.test([...document.querySelectorAll('section')].find((s) => s.ariaLabel === 'Before and after').innerText)",
              what="what it took")
    page.wait("/steady/.test(document.querySelector('.verdicts')?.innerText || '')", what="a verdict")
    page.drag(".timeline canvas", 0.9, 0.99)
    page.wait("/back to now/.test(document.querySelector('.timeline').innerText)", what="the zoom")
    picture(page, "memory-zoomed")
    page.click("button", "back to now")
    page.click(".choice label", "power")
    page.wait("document.querySelector('.timeline canvas').getAttribute('aria-label').includes('201 W')", what="power over time")
    check_accessible(page, "memory with readings")
    check_calm(page)


@page_case("the daemon goes and comes back: the page says so and goes on by itself")
def reconnect(_box, daemon):
    page = daemon.open()
    page.wait("/live/.test(document.querySelector('#status').innerText)")
    page.run("window.sameDocument = true")
    daemon.stop()
    page.wait("/lost|trying/.test(document.querySelector('#status').innerText)", what="that the daemon is gone")
    picture(page, "dashboard-lost")
    daemon.readings[0]["temperature"] = 66
    daemon.drive()
    daemon.start()
    page.wait("/live/.test(document.querySelector('#status').innerText) && /66 °C/.test(document.querySelector('main').innerText)",
              what="new figures")
    check(page.run("window.sameDocument"), "the page was loaded anew")


@page_case("without a token it asks for one; a wrong one is refused, the right one opens")
def token(_box, daemon):
    page = daemon.open(token="wrong")
    page.wait("document.querySelector('#token')", what="the question for the token")
    check_accessible(page, "the question for the token")
    picture(page, "token")
    page.click("#token")
    page.type("0123456789abcdef" * 4)
    page.key("Enter")
    page.wait("document.querySelector('.verdict')", what="the dashboard")
    check(not page.run("location.href.includes('0123456789abcdef')"), "the token stands in the address")


@page_case("cards of a machine file are called SIMULATED on every tab", simulated=True)
def simulated(_box, daemon):
    page = daemon.open()
    for tab in TABS:
        go(page, tab)
        page.wait("document.querySelector('#top').innerText.includes('SIMULATED')", what=f"SIMULATED on {tab}")
    picture(page, "settings-simulated")


RECORDING = """{"dualgpuopt_recording":1,"wall_ns":1795696536000000000,"source":"nvml","driver":"550","simulated":false}
{"seconds":0,"gpus":[{"name":"NVIDIA GeForce RTX 3090","total_bytes":25769803776,"used_bytes":1048576000,"free_bytes":24000000000}]}
"""


@page_case("a recording of a real machine is called recorded, with the day, and not SIMULATED", recording=RECORDING)
def recorded(_box, daemon):
    page = daemon.open()
    page.wait("document.querySelector('#top').innerText.includes('recorded 26 Nov')", what="recorded and the day")
    check(not page.run("document.querySelector('#top').innerText.includes('SIMULATED')"), "a recording is called SIMULATED")


EVIL_MODEL = "\"'><img src=x onerror=alert(1)>"
EVIL_CARDS = ["<script>alert(1)</script> & \"GPU\" '1'", "\u202eevil\u202c\x1b[31m\u200b RTX"]


@page_case("names with markup, quotes, escapes and bidi marks stay text", names=EVIL_CARDS)
def hostile(_box, daemon):
    daemon.add_model("tiny-llama", EVIL_MODEL)
    page = daemon.open()
    page.run("window.alert = () => { window.alerted = true; }")
    page.wait("document.querySelectorAll('.gpu').length === 2")
    shown = text(page)
    check("<script>alert(1)</script>" in shown, "the name is not shown as text")
    check("\u202e" not in shown and "\x1b" not in shown and "\u200b" not in shown, "a name drives the page")
    go(page, "optimizer")
    page.wait("document.querySelectorAll('#model option').length === 2")
    page.run(f"""(() => {{ const s = document.querySelector('#model'); s.value = [...s.options].map((o) => o.value).find((v) => v.includes('onerror'));
        s.dispatchEvent(new Event('change', {{bubbles: true}})); }})()""")
    page.wait("document.querySelector('button.main:not(:disabled)') && /onerror/.test(document.querySelector('.command')?.innerText || '')")
    page.click("button.main")
    page.wait("document.querySelector('#ask:not(:disabled)')", what="the engine to be ready")
    page.wait("/onerror/.test(document.querySelector('.launch-list').innerText)")
    picture(page, "launcher-hostile")
    for tab in TABS:
        go(page, tab)
        page.wait("document.querySelector('main').innerText.length > 50")
        check_equal(page.run("document.querySelectorAll('main img, main script, main iframe').length"), 0, f"elements made by names on {tab}")
    check(not page.run("window.alerted === true"), "a name ran")


@case("the whole page is smaller than 60 kB as it is sent, and nothing in it is inline")
def budget(_box):
    files = sorted(path for path in (ROOT / "web").iterdir() if path.suffix in (".html", ".css", ".js", ".svg"))
    sizes = {path.name: len(gzip.compress(path.read_bytes(), 9, mtime=0)) for path in files}
    check(sum(sizes.values()) < 60000, f"{sum(sizes.values())} bytes: {sizes}")
    html = (ROOT / "web/index.html").read_text()
    check(" style=" not in html and "<style" not in html and "onclick" not in html, "something is inline in index.html")
    print(f"# page: {sum(sizes.values())} bytes compressed, {sum(path.stat().st_size for path in files)} as they are"
          f"{'' if axe() else '; axe-core is not here, accessibility was not looked at'}")


main()
