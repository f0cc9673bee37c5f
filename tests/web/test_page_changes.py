#!/usr/bin/env python3
"""What is changed from the page, in a real Chromium: settings, groups, a launch by preset; and what a launch looks like over time, with
a driver that goes away beneath it."""
import json
import os
import time

from page_case import (Card, check, check_accessible, check_calm, check_equal, check_match, go, main, page_case, picture, text)

CONFIGURED = {"options": ["--config", "{folder}/settings.yaml"]}
ROOMY = (Card("NVIDIA GeForce RTX 3090", 24576, 20000), Card("NVIDIA GeForce RTX 3060", 12288, 10000))


def settings_of(box):
    return (box.folder / "settings.yaml").read_text()


def row_of(page, key):
    """The text of a setting's row."""
    return page.run(f"[...document.querySelectorAll('main tr')].find((r) => r.cells[0]?.innerText.trim() === {json.dumps(key)})?.innerText || ''")


def check_refused_only(page):
    """No complaint but that of the browser about the answer 400 that was asked for."""
    others = [line for line in page.complaints() if "400 (Bad Request)" not in line]
    check(not others, f"the page complains: {others}")


def search(page, words):
    page.wait("document.querySelector('input[aria-label=\"Search the settings\"]')", what="the settings")
    page.run("""(() => { const s = document.querySelector('input[aria-label="Search the settings"]'); s.value = ''; s.focus(); })()""")
    page.type(words)
    page.wait(f"[...document.querySelectorAll('main tbody tr')].every((r) => r.innerText.includes({json.dumps(words)}))", what="only those")


def clear(page):
    """Empties the field that has the focus, as a person would."""
    page.run("document.activeElement.select()")
    page.key("Backspace")


@page_case("a setting is changed from the page, refused with a sentence, and taken back; the owner's are only shown",
           settings="# mine\nalerts: {free: 64MiB} # little\n", **CONFIGURED)
def settings(box, daemon):
    page = daemon.open("settings")
    page.click(".choice label", "all")
    search(page, "idle-timeout")
    page.click("button[aria-label='Change idle-timeout']")
    page.wait("document.activeElement?.getAttribute('aria-label') === 'value of idle-timeout'", what="the field, ready to type")
    clear(page)
    page.type("soon")
    page.key("Enter")
    page.wait("/'soon' is (not|no|neither)/.test(document.querySelector('.edit .problem')?.innerText || '')", what="the refusal")
    check_equal(settings_of(box), "# mine\nalerts: {free: 64MiB} # little\n", "the file after a refusal")
    check_accessible(page, "a refused setting")
    picture(page, "settings-refused")
    page.run("document.querySelector('.edit input').focus()")
    clear(page)
    page.type("90s")
    page.key("Enter")
    page.wait("!document.querySelector('.edit')", what="the change to be saved")
    check_match(r"90s\s+file, line 3", row_of(page, "idle-timeout"), "the row")
    check_equal(settings_of(box), "# mine\nalerts: {free: 64MiB} # little\nidle-timeout: 90s\n", "the file")
    page.wait("/after 1m30s/.test([...document.querySelectorAll('section')].find((s) => s.ariaLabel === 'The daemon').innerText)",
              what="that it is in force")
    page.click("button[aria-label='Change idle-timeout']")
    page.wait("document.activeElement?.getAttribute('aria-label') === 'value of idle-timeout'", what="the field again")
    page.key("Escape")
    page.wait("!document.querySelector('.edit')", what="Escape to cancel")
    page.click("button[aria-label='Default for idle-timeout']")
    page.wait("!document.querySelector('button[aria-label=\"Default for idle-timeout\"]')", what="the default")
    check_equal(settings_of(box), "# mine\nalerts: {free: 64MiB} # little\n", "the file at last")
    search(page, "admission")
    page.click("button[aria-label='Change admission']")
    page.wait("document.querySelector('.edit select')", what="the choice")
    page.run("""(() => { const s = document.querySelector('.edit select'); s.value = 'evict'; s.dispatchEvent(new Event('change', {bubbles: true})); })()""")
    page.click(".edit button", "Save")
    page.wait("/admission\\s+evict/.test([...document.querySelectorAll('section')].find((s) => s.ariaLabel === 'The daemon').innerText)",
              what="the policy in force")
    for key in ("threads", "margin", "token-file", "alerts.command", "engine"):  # by a flag, or the owner's
        search(page, key)
        check(not page.run(f"document.querySelector('button[aria-label=\"Change {key}\"]')"), f"{key} can be changed")
    check_refused_only(page)


@page_case("groups are made, filled, switched and ended from the page", settings="# none\n", **CONFIGURED)
def groups(box, daemon):
    evil = "<img src=x onerror=alert(1)>"
    page = daemon.open("settings")
    page.wait("document.querySelector('#new-group')", what="the form for a group")
    page.click("#new-group")
    page.type("chat")
    page.key("Tab")
    page.type("tiny-llama")
    page.key("Enter")
    page.wait("document.querySelector('.group h3')?.innerText === 'chat'", what="the group")
    page.click("input[aria-label='New member of chat']")
    page.type(evil)
    page.key("Enter")
    page.wait("document.querySelectorAll('.group .chips li').length === 2", what="its second member")
    check_equal(page.run("document.querySelectorAll('main img').length"), 0, "elements made by a name")
    page.click(".switches label", "without others")
    page.wait("/beside launches of other groups/.test(document.querySelector('.group').innerText)", what="what the switch means")
    check_match(r"chat: ?\{members: \[tiny-llama, \"<img src=x onerror=alert\(1\)>\"\], exclusive: false\}", settings_of(box), "the file")
    page.click("#new-group")
    page.type("x: y")
    page.key("Tab")
    page.type("z")
    page.key("Enter")
    page.wait("/letters, digits/.test(document.querySelector('.new-group .problem')?.innerText || '')", what="the refusal of a name")
    check_accessible(page, "groups")
    picture(page, "settings-groups")
    page.click(f"button[aria-label='Take {evil} out of chat']")
    page.wait("document.querySelectorAll('.group .chips li').length === 1", what="one member")
    page.click("button[aria-label='End group chat']")
    page.wait("!document.querySelector('.group')", what="no group")
    check_equal(settings_of(box), "# none\n", "the file")
    check_refused_only(page)


@page_case("a preset is chosen, launched, its log searched while it comes, and it answers", cards=ROOMY)
def preset(box, daemon):
    for words in (["coder", daemon.folder / "tiny-llama.gguf", "--ctx", "1024", "--parallel", "2"],
                  ["long", daemon.folder / "tiny-llama.gguf", "--ctx", "4096"]):
        check_equal(box.run("presets", "save", *words).code, 0, "exit of presets save")
    page = daemon.open("launcher/new")
    page.wait("document.querySelectorAll('#new-preset option').length === 3", what="the presets")
    page.run("""(() => { const s = document.querySelector('#new-preset'); s.value = 'coder'; s.dispatchEvent(new Event('change', {bubbles: true})); })()""")
    page.wait("/tiny-llama.gguf: .*ctx 1024, parallel 2/.test(document.querySelector('#preset-facts')?.innerText || '')", what="what it says")
    check_equal(page.run("document.querySelector('#new-model').selectedOptions[0].innerText"), "the preset's own", "the model")
    check_accessible(page, "the form with a preset")
    picture(page, "launcher-preset")
    page.click("button.main", "Launch")
    page.wait("/^#.launcher.\\d+$/.test(location.hash)", what="the launch's own address")
    page.wait("document.querySelector('.log-tools input')", what="its log")
    page.run("document.querySelector('.log-tools input').focus()")
    page.type("slot")  # while it loads
    page.wait("document.querySelector('#ask:not(:disabled)')", what="the engine to be ready")
    page.wait("document.querySelectorAll('.log mark').length > 1", what="lines that came while it was searched")
    check(page.run("[...document.querySelectorAll('.log > div')].every((d) => /slot/i.test(d.textContent))"), "other lines are shown")
    check_match(r"preset coder", text(page), "whose preset it is")
    check_match(r" -c 2048 -np 2 ", text(page, ".command") + " ", "the command")
    before = page.run("document.querySelectorAll('.log > div').length")
    page.click("#ask")
    page.type("hello")
    page.key("Enter")
    page.wait("/[1-9]\\d* tokens, /.test(document.querySelector('.chat .card-head').innerText)", what="the answer's end")
    page.wait(f"document.querySelectorAll('.log > div').length > {before}", what="lines of the answer, searched as they come")
    check_calm(page)


@page_case("memory over time: what was planned beside what is measured, and what was between two marks", cards=ROOMY)
def planned(_box, daemon):
    page = daemon.open("memory")
    # This driver lists no process: what the plan stands on is what was used before the launch, so that must have been read.
    page.wait("/GPU 0: now /.test(document.querySelector('main').innerText)", what="a reading before the launch")
    go(page, "optimizer")
    page.wait("document.querySelector('button.main:not(:disabled)')")
    page.click("button.main", "Launch this plan")
    page.wait("document.querySelector('#ask:not(:disabled)')", what="the engine to be ready")
    go(page, "memory")
    label = "document.querySelector('.timeline canvas')?.getAttribute('aria-label') || ''"
    page.wait(f"/GPU 0 as planned [\\d.]+ [MG]iB/.test({label})", what="the plan beside the readings")
    check_match(r"as planned it would be [\d.]+ [MG]iB", text(page), "the same in words")
    page.click("label.check", "each program")
    page.wait(f"/plan of tiny-llama on GPU 0 [\\d.]+ MiB/.test({label})", what="the plan of one launch")
    picture(page, "memory-planned")
    page.click("label.check", "each program")

    def mark(words):
        page.run("document.querySelector('.mark-form input').focus()")
        page.type(words)
        page.key("Enter")
        page.wait(f"[...document.querySelectorAll('.mark-choice option')].some((o) => o.innerText.includes({json.dumps(words)}))", what=f"the mark {words}")

    mark("before the game")
    daemon.used[1] += 700
    daemon.drive()
    page.wait(f"/GPU 1 2\\.6/.test({label})", what="what the game took")
    mark("after the game")
    pick = """(id, words) => { const s = [...document.querySelectorAll('.mark-pick')].find((l) => l.innerText.startsWith(id)).querySelector('select');
        s.value = [...s.options].find((o) => o.innerText.includes(words)).value; s.dispatchEvent(new Event('change', {bubbles: true})); }"""
    page.run(f"({pick})('before', 'before the game')")
    end = time.monotonic() + 60
    while "+700" not in text(page, ".mark-choice") and time.monotonic() < end:
        page.run(f"({pick})('after', 'after the game')")  # more readings behind the mark come as time goes
        time.sleep(1)
    check_match(r"whole card\s+1\s+.*\+7\d\d\.\d\d MiB", text(page, ".mark-choice"), "the difference of card 1")
    check_match(r"GPU 0 as planned", page.run(label), "the plan, as long as the engine runs")
    check_accessible(page, "memory between marks")
    picture(page, "memory-marks")
    check_calm(page)


@page_case("a driver that goes away while an engine runs, and comes back: said, alerted, and what runs goes on", cards=ROOMY)
def driver(_box, daemon):
    page = daemon.open("launcher/new")
    page.wait("document.querySelector('#new-model option')", what="the models")
    page.click("button.main", "Launch")
    page.wait("document.querySelector('#ask:not(:disabled)')", what="the engine to be ready")
    os.unlink(daemon.box.folder / "driver.txt")
    go(page, "dashboard")
    page.wait("/The driver does not answer/.test(document.querySelector('h1').innerText)", what="that it is gone")
    page.wait("document.querySelector('#tabs .badge')", what="the alert")
    check_match(r"RTX 3090", text(page), "the last good look")
    picture(page, "dashboard-driver-gone")
    go(page, "launcher")
    page.click("#ask")
    page.type("still there?")
    page.key("Enter")
    page.wait("/[1-9]\\d* tokens, /.test(document.querySelector('.chat .card-head').innerText)", what="an answer without a driver")
    daemon.drive()
    go(page, "dashboard")
    page.wait("/All is well/.test(document.querySelector('h1').innerText)", what="that it is back")
    page.wait("!document.querySelector('#tabs .badge')", what="the alert's end")
    check_match(r"1 model served", text(page), "what runs")
    check_calm(page)


main()
