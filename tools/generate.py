"""Text to motion: python tools/generate.py "a person bows politely" --seconds 5 --out outputs/bow."""

import sys

from hmr4d.cli.generate import main

if __name__ == "__main__":
    sys.exit(main())
