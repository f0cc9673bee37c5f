#!/usr/bin/env python3
"""test_readme.py PROGRAM ROOT - what the README shows of `plan` is what the program says.

TAP on stdout.  The model is a sparse file of true shapes (tools/make-model.py), the machine one of the examples.
"""
import difflib
import os
import pathlib
import subprocess
import sys
import tempfile

COMMAND = "plan llama-3.1-70b.gguf --gpus examples/machines/two-equal.yaml"


def shown(root):
    """The block of the README behind the command's line."""
    text = (root / "README.md").read_text(encoding="utf-8")
    start = text.index("\n", text.index(f"$ build/dualgpuopt {COMMAND}\n")) + 1
    return text[start:text.index("```", start)]


def said(program, root, folder):
    subprocess.run([sys.executable, root / "tools/make-model.py", "llama-3.1-70b", folder / "llama-3.1-70b.gguf",
                    "--sparse", "--ftype", "Q4_K_M"], check=True, stdout=subprocess.DEVNULL)
    (folder / "examples").symlink_to(root / "examples")
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(folder), "LANG": "C.UTF-8"}
    ran = subprocess.run([program, *COMMAND.split()], cwd=folder, env=environment, capture_output=True, text=True)
    return ran.stdout


def main():
    program, root = os.path.abspath(sys.argv[1]), pathlib.Path(sys.argv[2]).resolve()
    with tempfile.TemporaryDirectory(prefix="dgo-readme-") as folder:
        want, got = shown(root), said(program, root, pathlib.Path(folder))
    print("1..1")
    for line in difflib.unified_diff(want.splitlines(), got.splitlines(), "README.md", COMMAND, lineterm=""):
        print(f"# {line}")
    print(f"{'ok' if want == got else 'not ok'} 1 - the README shows the plan that is made")
    return want != got


if __name__ == "__main__":
    sys.exit(main())
