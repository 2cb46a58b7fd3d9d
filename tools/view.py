"""The same as `hmr4d view`; `python tools/view.py --help` says what it does."""

import sys

from hmr4d.cli.main import main

if __name__ == "__main__":
    sys.exit(main(["view", *sys.argv[1:]]))
