"""Builds inputs/hml3d/joints3d.pth: `python tools/mas/export_HumanML3D.py --help`."""

from hmr4d.cli.export_humanml3d import main

if __name__ == "__main__":
    raise SystemExit(main())
