"""The same as `hmr4d lift`; `python tools/lift.py --help` says what it does."""

import sys

from hmr4d.cli.main import main

if __name__ == "__main__":
    sys.exit(main(["lift", *sys.argv[1:]]))
