"""The same as `hmr4d quality`; `python tools/quality.py --help` says what it does."""

import sys

from hmr4d.cli.main import main

if __name__ == "__main__":
    sys.exit(main(["quality", *sys.argv[1:]]))
