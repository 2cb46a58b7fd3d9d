"""The same as `hmr4d body-template`; `python tools/make_body_template.py --help` says what it does."""

import sys

from hmr4d.cli.main import main

if __name__ == "__main__":
    sys.exit(main(["body-template", *sys.argv[1:]]))
