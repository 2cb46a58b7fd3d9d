"""A camera file from measurements in a picture: `python tools/calibrate.py --help`."""

from hmr4d.cli.calibrate import main

if __name__ == "__main__":
    raise SystemExit(main())
