#!/usr/bin/env python3
"""The files of the page as a C table: compressed, with content type and ETag; src/serve/page.h reads it.

usage: embed.py OUTPUT.c FILE...

The same files give the same bytes: no time, no path of this machine.  A file of an unknown kind is an error.
"""
import gzip
import hashlib
import pathlib
import sys

TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
}


def c_string(data):
    """Bytes as string literals of 64 bytes a line; three octal digits, so that no digit after runs into one."""
    lines = []
    for at in range(0, len(data), 64):
        lines.append('    "' + "".join(f"\\{byte:03o}" for byte in data[at:at + 64]) + '"')
    return "\n".join(lines)


def main():
    output, paths = sys.argv[1], sorted(map(pathlib.Path, sys.argv[2:]), key=lambda path: path.name)
    out = ["/* Made by tools/embed.py from the files in web/; not to be edited. */",
           '#include "page.h"', "",
           "/* longer than C promises; every compiler here takes them */",
           '#pragma GCC diagnostic ignored "-Woverlength-strings"', ""]
    rows = []
    for number, path in enumerate(paths):
        kind = TYPES.get(path.suffix)
        if not kind:
            sys.exit(f"embed: {path.name}: no content type is known for {path.suffix!r}; add it to TYPES")
        raw = path.read_bytes()
        packed = gzip.compress(raw, 9, mtime=0)
        etag = hashlib.sha256(raw).hexdigest()[:20]
        out += [f"static const char file_{number}[] = /* {path.name}: {len(raw)} bytes, {len(packed)} compressed */",
                c_string(packed) + ";", ""]
        rows.append(f'    {{"/{path.name}", "{kind}", "\\"{etag}\\"", true, (const unsigned char *)file_{number}, '
                    f"sizeof file_{number} - 1}},")
    out += ["const struct page_file page_files[] = {", *rows, "    {0},", "};", ""]
    pathlib.Path(output).write_text("\n".join(out), encoding="ascii")


if __name__ == "__main__":
    main()
