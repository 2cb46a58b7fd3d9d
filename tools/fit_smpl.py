"""The same as `hmr4d fit`; `python tools/fit_smpl.py --help` says what it does."""

import sys

from hmr4d.cli.main import main

if __name__ == "__main__":
    sys.exit(main(["fit", *sys.argv[1:]]))
