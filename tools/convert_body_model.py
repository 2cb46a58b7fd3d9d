"""The same as `hmr4d convert-body-model`; `python tools/convert_body_model.py --help` says what it does."""

import sys

from hmr4d.cli.main import main

if __name__ == "__main__":
    sys.exit(main(["convert-body-model", *sys.argv[1:]]))
