#!/usr/bin/env python3
"""A component is PRESENT exactly if some source names it: a row without code, or code under a row that is only planned, fails.

usage: check-components.py SOURCE_ROOT      TAP on stdout
"""
import pathlib
import re
import sys

root = pathlib.Path(sys.argv[1])
table = (root / "src/app/components.def").read_text(encoding="utf-8")
rows = re.findall(r'^X\((\w+), "(\w+)", (\w+),', table, re.M)
code = "\n".join(path.read_text(encoding="utf-8") for path in sorted((root / "src").rglob("*.c")))
used = set(re.findall(r"\bCOMPONENT_(\w+)\b", code))

print(f"1..{len(rows) + 1}")
print(f"{'ok' if len(rows) > 20 else 'not ok'} 1 - the table was read")
failed = len(rows) <= 20
for number, (ident, name, state) in enumerate(rows, 2):
    good = (ident in used) == (state == "PRESENT")
    failed |= not good
    print(f"{'ok' if good else 'not ok'} {number} - {name} is {state.lower()}")
sys.exit(failed)
