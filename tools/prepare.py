"""Builds a motion store from a dataset: `python tools/prepare.py --help`."""

from hmr4d.cli.prepare import main

if __name__ == "__main__":
    raise SystemExit(main())
