"""The same as `hmr4d reference`; `python tools/reference_motion.py --help` says what it does."""

import sys

from hmr4d.cli.main import main

if __name__ == "__main__":
    sys.exit(main(["reference", *sys.argv[1:]]))
