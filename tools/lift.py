"""3D motion from the 2D keypoints of one calibrated camera: `python tools/lift.py --help`."""

from hmr4d.cli.lift import main

if __name__ == "__main__":
    raise SystemExit(main())
