"""The same as `hmr4d prepare`; `python tools/prepare.py --help` says what it does."""

import sys

from hmr4d.cli.main import main

if __name__ == "__main__":
    sys.exit(main(["prepare", *sys.argv[1:]]))
