#!/usr/bin/env python3
"""The library as a stranger gets it: installed, found by pkg-config, linked by a program of his own.

usage: test_install.py BUILD SOURCE CC...        TAP on stdout
"""
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

BUILD, SOURCE, CC = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]), sys.argv[3:]
INTERNAL = {"dgo_app.h", "dgo_serve.h"}  # the program itself

number = 0


def check(ok, title, *notes):
    global number
    number += 1
    print(f"{'ok' if ok else 'not ok'} {number} - {title}")
    for note in notes if not ok else ():
        print(f"# {note}")
    return ok


def main():
    failed = False
    with tempfile.TemporaryDirectory(prefix="dgo-install-") as folder:
        root = pathlib.Path(folder)
        installed = subprocess.run(["meson", "install", "-C", BUILD, "--no-rebuild", "--quiet", "--destdir", root],
                                   capture_output=True, text=True)
        failed |= not check(installed.returncode == 0, "it installs", installed.stdout[-400:], installed.stderr[-400:])
        pc = next(root.rglob("dualgpuopt.pc"), None)
        failed |= not check(pc is not None, "there is a pkg-config file")
        headers = {path.name for path in root.rglob("dualgpuopt/dgo_*.h")}
        wanted = set()
        for path in SOURCE.glob("src/*/dgo_*.h"):
            text = path.read_text(encoding="utf-8")
            if path.name not in INTERNAL and "jansson.h" not in text and "yaml.h" not in text:
                wanted.add(path.name)
        failed |= not check(headers == wanted, "every public header is installed", sorted(headers ^ wanted))
        environment = dict(os.environ, PKG_CONFIG_PATH=str(pc.parent), PKG_CONFIG_SYSROOT_DIR=str(root))
        flags = subprocess.run(["pkg-config", "--cflags", "--libs", "dualgpuopt"], capture_output=True, text=True,
                               env=environment)
        failed |= not check(flags.returncode == 0, "pkg-config knows it", flags.stderr)
        library = next(root.rglob("libdualgpuopt.so.0"), None)
        failed |= not check(library is not None, "the library has its soname")
        for example in ("placed.c", "plan.c"):
            program = root / example.removesuffix(".c")
            built = subprocess.run([*CC, "-std=c17", "-D_GNU_SOURCE", "-o", program, SOURCE / "examples" / example,
                                    *flags.stdout.split()], capture_output=True, text=True)
            failed |= not check(built.returncode == 0, f"{example} builds with it", built.stderr[-800:])
        run = subprocess.run([root / "placed"], capture_output=True, text=True, timeout=60,
                             env=dict(os.environ, LD_LIBRARY_PATH=str(library.parent)))
        failed |= not check(run.returncode == 0 and run.stdout != "", "the example runs", run.stdout, run.stderr)
        names = subprocess.run(["nm", "-D", "--defined-only", library], capture_output=True, text=True).stdout
        strange = [line for line in names.splitlines() if line.split()[-1].split("@")[0] and
                   not line.split()[-1].startswith("dgo_") and not line.split()[-1].startswith("DGO")]
        failed |= not check(names and not strange, "it exports its own names only", strange[:5])
    print(f"1..{number}")
    return 1 if failed else 0


if not shutil.which("pkg-config"):
    print("1..0 # SKIP pkg-config is missing")
    sys.exit(0)
sys.exit(main())
