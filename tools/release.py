"""Packs a training run: python tools/release.py --run outputs/... --out inputs/checkpoints/hmr4d/<name>."""

import sys

from hmr4d.cli.release import main

if __name__ == "__main__":
    sys.exit(main())
