"""An engine that is none: tests/e2e/stand_in.py under the name of the real one."""
import sys

from daemon import PAIR
from e2e import HERE


def stand_in(box, behaviour, machine=PAIR):
    """Path of an engine that behaves like that.  No backend: the stand-in shows the cards itself."""
    box.env.update(STAND_IN=behaviour, PRETEND_GPUS=machine.pretend_text())
    return box.file("llama-server", f"#!/bin/sh\nexec '{sys.executable}' '{HERE / 'stand_in.py'}' \"$@\"\n", 0o755)
