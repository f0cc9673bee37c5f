#!/usr/bin/env python3
"""tools/get-engine.sh where it has nothing to fetch: what it says, what it leaves alone.  That it fetches, ./dev test shows."""
import shutil

from e2e import ROOT, Skip, case, check, check_equal, check_match, engine, main

SCRIPT = ROOT / "tools/get-engine.sh"


def offline(box):
    """An apt that knows no mirror."""
    empty = box.folder / "empty"
    empty.mkdir()
    box.env["APT_CONFIG"] = str(box.file("apt.conf", f'Dir::Etc::sourcelist "/dev/null";\nDir::Etc::sourceparts "{empty}";\n'))


@case("no folder named: usage, exit 2")
def usage(box):
    result = box.start(SCRIPT).finish()
    check_equal(result.code, 2, "exit")
    check_match("get-engine.sh DEST", result.err, "stderr")


@case("a folder of somebody else's is refused and kept")
def foreign_folder(box):
    mine = box.folder / "mine"
    mine.mkdir()
    (mine / "thesis.txt").write_text("years of work")
    result = box.start(SCRIPT, mine).finish()
    check_equal(result.code, 1, "exit")
    check_match("was not made by this script", result.err, "stderr")
    check_equal((mine / "thesis.txt").read_text(), "years of work", "the file")


@case("where apt knows no mirror: 77, a sentence, nothing left behind")
def no_mirror(box):
    if not shutil.which("apt-get"):
        raise Skip("no apt-get here")
    offline(box)
    result = box.start(SCRIPT, box.folder / "engine").finish()
    check_equal(result.code, 77, "exit")
    check_match("get-engine: .*llama-server of your own", result.err, "stderr")
    left = [entry.name for entry in box.folder.iterdir() if entry.name.startswith("engine")]
    check_equal(left, [], "what is left")


@case("an engine that is there is used, also offline")
def already_there(box):
    dest = engine().parent.parent
    if not (dest / ".unpacked-by-get-engine").exists():
        raise Skip(f"{dest} was not made by get-engine.sh")
    offline(box)
    result = box.start(SCRIPT, dest).finish()
    check_equal(result.code, 0, "exit")
    check(result.out.startswith("version: "), f"stdout is {result.out!r}")


if __name__ == "__main__":
    main()
