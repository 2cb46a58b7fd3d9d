"""Trains and scores the study of contents that only 2D motion shows: `python tools/study.py --help`."""

from hmr4d.cli.study import main

if __name__ == "__main__":
    raise SystemExit(main())
