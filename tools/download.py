"""Fetches files of others by name: `python tools/download.py --help`."""

from hmr4d.cli.download import main

if __name__ == "__main__":
    raise SystemExit(main())
