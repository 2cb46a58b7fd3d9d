"""The same as `hmr4d evaluator-card`; `python tools/evaluator_card.py --help` says what it does."""

import sys

from hmr4d.cli.main import main

if __name__ == "__main__":
    sys.exit(main(["evaluator-card", *sys.argv[1:]]))
