"""Scores generated motion beside real motion: `python tools/quality.py --help`."""

from hmr4d.cli.quality import main

if __name__ == "__main__":
    raise SystemExit(main())
