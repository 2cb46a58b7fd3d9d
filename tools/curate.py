"""The same as `hmr4d curate`; `python tools/curate.py --help` says what it does."""

import sys

from hmr4d.cli.main import main

if __name__ == "__main__":
    sys.exit(main(["curate", *sys.argv[1:]]))
