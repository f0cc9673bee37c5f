#!/usr/bin/env python3
"""Runs meson's tests in a build folder and closes with one line: N passed, N failed, N skipped.

usage: run-tests.py BUILD [NAME...]      NAME: a test, or a suite as "suite:NAME"

Counts what the test programs themselves report (each TAP line is one), not the programs.
"""
import os
import subprocess
import sys
import xml.etree.ElementTree as ElementTree


def meson_arguments(build, names):
    arguments = ["meson", "test", "-C", build, "--no-rebuild", "--print-errorlogs",
                 "--num-processes", str((os.cpu_count() or 1) + 1)]  # many wait more than they compute
    for name in names:
        if name.startswith("suite:"):
            arguments += ["--suite", name[len("suite:"):]]
        else:
            arguments.append(name)
    return arguments


def count(report):
    """Passed, failed and skipped cases, with the reasons of the skipped ones."""
    passed = failed = skipped = 0
    reasons = []
    for suite in ElementTree.parse(report).getroot().iter("testsuite"):
        for case in suite.iter("testcase"):
            if case.find("skipped") is not None:
                skipped += 1
                reasons.append(f"{suite.get('name')}: {case.get('name')}")
            elif case.find("failure") is not None or case.find("error") is not None:
                failed += 1
            else:
                passed += 1
    return passed, failed, skipped, reasons


def main():
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    build, names = sys.argv[1], sys.argv[2:]
    report = os.path.join(build, "meson-logs", "testlog.junit.xml")
    if os.path.exists(report):
        os.unlink(report)
    # the settings of whoever runs the tests are not part of them
    os.environ["XDG_CONFIG_HOME"] = os.path.join(os.path.abspath(build), "no-settings")
    status = subprocess.run(meson_arguments(build, names), stdin=subprocess.DEVNULL).returncode
    if not os.path.exists(report):
        print("run-tests: meson wrote no report", file=sys.stderr)
        sys.exit(1)
    passed, failed, skipped, reasons = count(report)
    for reason in reasons:
        print(f"skipped: {reason}")
    if status and not failed:
        failed = 1  # a test program that crashed or timed out has no case of its own
    print(f"{passed} passed, {failed} failed, {skipped} skipped")
    sys.exit(1 if failed or status or not passed else 0)


main()
