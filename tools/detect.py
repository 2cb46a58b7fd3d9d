"""The same as `hmr4d detect`; `python tools/detect.py --help` says what it does."""

import sys

from hmr4d.cli.main import main

if __name__ == "__main__":
    sys.exit(main(["detect", *sys.argv[1:]]))
