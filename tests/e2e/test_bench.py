#!/usr/bin/env python3
"""`bench resources`: the same work with the manager and without it, beside the real engine; the report that comes of it."""
import xml.etree.ElementTree as ElementTree

from e2e import RTX_3060, RTX_3090, Machine, case, check, check_equal, check_match, engine, json_of, main, model

PAIR = Machine(RTX_3090, RTX_3060)
KINDS = {"optimizer", "estimate", "view_formatting", "command_preview", "model_reading", "timeline", "leak_analysis", "batch"}


def bench(box, *options, seconds="7s"):
    return box.run("bench", "resources", model("tiny-llama"), "--gpus", box.use(PAIR), "--ctx", "512", "--threads", "1",
                   "--state-dir", box.folder / "state", "--time-limit", seconds, *options)


def check_phases(figures):
    phases = figures["phases"]
    check_equal([(phase["load_permille"], phase["managed"]) for phase in phases],
                [(load, managed) for load in (20, 100, 500) for managed in (False, True)], "phases")
    for phase in phases:
        name = f"{phase['load_permille']} permille, managed: {phase['managed']}"
        check(phase["offered"] > 0, f"{name}: nothing was asked for")
        check_equal(phase["failed"], 0, f"{name}: failed")
        check_equal(phase["done"] + phase["refused"], phase["offered"], f"{name}: done and refused")
        check_equal(set(phase["components"]), KINDS, f"{name}: components")
        check_equal(sum(times["count"] for times in phase["components"].values()), phase["done"], f"{name}: sum of components")
        check(0 < phase["completion"]["p50_ns"] <= phase["completion"]["p99_ns"] <= phase["completion"]["worst_ns"],
              f"{name}: times {phase['completion']}")
        check(phase["rss_bytes"] < 64 << 20, f"{name}: {phase['rss_bytes']} bytes resident")
        check("own_vram_bytes" not in phase, f"{name}: a machine file knows nothing of our VRAM")
    for without, managed in zip(phases[::2], phases[1::2]):
        check_equal(without["offered"], managed["offered"], "the workload is the same")


@case("with the real engine: figures of every phase, and the engine's speed beside each")
def with_engine(box):
    report = box.folder / "report.md"
    result = bench(box, "--engine", engine(), "-o", report, "--json")
    check_equal(result.code, 0, f"exit; {result.err}")
    figures = json_of(result)
    check(figures["simulated"] and figures["engine"], "SIMULATED and an engine")
    check(figures["tokens_per_second_alone"] > 0, "the engine's speed alone")
    check_phases(figures)
    check(any("tokens_per_second" in phase for phase in figures["phases"]), "no phase knows the engine's speed")
    text = report.read_text()
    check_match(r"SIMULATED", text, "the report")
    check_equal(text.count("| with |"), 3, "rows with the manager")
    for picture in ("report-completion.svg", "report-engine.svg"):
        check(f"]({picture})" in text, f"{picture} is not in the report")
        root = ElementTree.parse(box.folder / picture).getroot()
        check(len(list(root.iter("{http://www.w3.org/2000/svg}rect"))) >= 6, f"{picture} has no bars")
    box.check_nobody_left()


@case("without an engine: said, and the figures are there all the same")
def without_engine(box):
    box.env["PATH"] = str(box.folder)
    result = bench(box, "--json", seconds="4s")
    check_equal(result.code, 0, f"exit; {result.err}")
    figures = json_of(result)
    check(not figures["engine"], "there is no engine")
    check_match("no llama-server", figures["no_engine"], "why")
    check_phases(figures)


@case("a report that cannot be written is a failure with the name of the file")
def unwritable(box):
    box.env["PATH"] = str(box.folder)
    result = bench(box, "-o", "/nonexistent/report.md", seconds="4s")
    check_equal(result.code, 1, "exit")
    check_match("/nonexistent/report-completion.svg", result.err, "stderr")


main()
