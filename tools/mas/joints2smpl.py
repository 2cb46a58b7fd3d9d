"""SMPL fitted to the first motions of inputs/hml3d/joints3d.pth: `python tools/mas/joints2smpl.py --help`."""

from hmr4d.cli.fit import published_main

if __name__ == "__main__":
    raise SystemExit(published_main())
