"""The same as `hmr4d generate`; `python tools/generate.py --help` says what it does."""

import sys

from hmr4d.cli.main import main

if __name__ == "__main__":
    sys.exit(main(["generate", *sys.argv[1:]]))
