"""How an evaluator judges real and spoilt motion: python tools/evaluator_card.py --evaluator evaluator-bandai."""

import sys

from hmr4d.cli.evaluator_card import main

if __name__ == "__main__":
    sys.exit(main())
