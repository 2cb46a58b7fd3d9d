"""The same as `hmr4d release`; `python tools/release.py --help` says what it does."""

import sys

from hmr4d.cli.main import main

if __name__ == "__main__":
    sys.exit(main(["release", *sys.argv[1:]]))
