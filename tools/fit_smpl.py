"""A body fitted to motions: `python tools/fit_smpl.py --help`."""

from hmr4d.cli.fit import main

if __name__ == "__main__":
    raise SystemExit(main())
