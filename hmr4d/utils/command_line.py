"""How the running program was called."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path


def command_line() -> str:
    """The current command line for metadata, without the folder of an installed program."""
    program, words = Path(sys.argv[0]), sys.argv[1:]
    if program.name == "__main__.py":
        return shlex.join(["python", "-m", "hmr4d", *words])
    return shlex.join([program.stem if program.stem == "hmr4d" else str(program), *words])
