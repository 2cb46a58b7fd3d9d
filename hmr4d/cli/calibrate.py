"""`hmr4d calibrate`: converts measurements in an image to a camera file."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Sequence
from pathlib import Path

from hmr4d.camera.calibration_report import check_fit, expected_error, pitch_is_doubtful, report, sensitivity
from hmr4d.camera.camera_files import write_camera
from hmr4d.camera.measurement_files import read_measurements
from hmr4d.cli.console import run_guarded, setup_logging

logger = logging.getLogger(__name__)

MADE_HERE = "Made by hmr4d calibrate."  # in the first line of its files

DISTANCES = (2.0, 4.0, 6.0, 10.0)  # meters
UNSURE_AT, UNSURE = 4.0, 0.5  # distance and position error in meters above which the command warns


def parser() -> argparse.ArgumentParser:
    """The command line."""
    known = argparse.ArgumentParser(
        prog="hmr4d calibrate",
        description="Computes tilt, height and optionally focal length of a fixed camera over a flat floor from a few "
        "measurements, and their uncertainty. Possible measurements: docs/calibrate.md.",
        epilog="Example: hmr4d calibrate measurements.yaml --out camera.yaml",
    )
    known.add_argument("measurements", type=Path, metavar="YAML", help="file of measurements")
    known.add_argument(
        "--out", type=Path, metavar="YAML", help="camera file to write (default: camera.yaml in the same folder)"
    )
    known.add_argument(
        "--distances",
        type=float,
        nargs="+",
        default=DISTANCES,
        metavar="M",
        help=f"distances in meters for which the error on the floor is printed "
        f"({' '.join(f'{d:g}' for d in DISTANCES)})",
    )
    return known


def calibrate(args: argparse.Namespace) -> Path:
    """Writes the camera file; its path."""
    out = args.out or args.measurements.parent / "camera.yaml"
    if out.exists() and out.resolve() == args.measurements.resolve():
        raise ValueError(f"The camera would replace its own measurements, {out}. Choose another file with --out.")
    if out.exists() and MADE_HERE not in out.read_text(encoding="utf-8", errors="replace"):
        raise FileExistsError(f"{out} exists and was not made by this command. Choose another file with --out.")
    if min(args.distances) <= 0:
        raise ValueError(f"--distances are {args.distances}; expected meters above 0.")
    camera, fit, method = read_measurements(args.measurements)
    check_fit(camera, fit, args.measurements)
    lines = report(fit, method, args.distances)
    for line in lines:
        logger.info("%s", line)
    write_camera(out, camera, note="\n".join([MADE_HERE, *lines]))
    if pitch_is_doubtful(camera):
        logger.warning("The camera looks up: most of the image shows no floor. Check the measurements.")
    unsure = expected_error(sensitivity(fit.pitch, fit.height, [UNSURE_AT])[0], fit)
    if unsure > UNSURE:
        advice = "Measure more points, distributed over the image."
        logger.warning(
            "The position of a point on the floor at %g m may be wrong by %.1f m. %s", UNSURE_AT, unsure, advice
        )
    return out


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point; 0 when the camera was written, 2 after one sentence about bad input."""
    setup_logging()
    args = parser().parse_args(argv)

    def run() -> int:
        logger.info("%s", calibrate(args))
        return 0

    return run_guarded(run, kept="nothing was written")
