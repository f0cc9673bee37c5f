#!/usr/bin/env python3
"""Every command and every option that --help shows stands in the manual page too.

usage: check-manual.py PROGRAM MANUAL.scd      TAP on stdout
"""
import re
import subprocess
import sys

program, manual = sys.argv[1], open(sys.argv[2], encoding="utf-8").read()


def help_of(*words):
    return subprocess.run([program, *words], check=True, capture_output=True, text=True,
                          stdin=subprocess.DEVNULL).stdout


def commands_below(*words):
    """Every command as a tuple of words; a group is its commands."""
    for name in re.findall(r"^  ([\w-]+) {2,}\S", help_of(*words, "--help").split("commands:")[1],
                           re.M):
        if "\ncommands:\n" in help_of(*words, name, "--help"):
            yield from commands_below(*words, name)
        else:
            yield (*words, name)


commands = list(commands_below())
wanted = [(f"command {' '.join(words)}", f"*{' '.join(words)}*") for words in commands]
options = {name for words in commands
           for name in re.findall(r"^  (--[a-z-]+)", help_of(*words, "--help"), re.M)}
wanted += [(f"option {name}", f"*{name}*") for name in sorted(options)]

print(f"1..{len(wanted)}")
failed = False
for number, (what, text) in enumerate(wanted, 1):
    there = text in manual
    failed |= not there
    print(f"{'ok' if there else 'not ok'} {number} - {what}")
sys.exit(failed)
