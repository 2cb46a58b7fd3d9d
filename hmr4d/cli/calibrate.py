"""`hmr4d calibrate`: converts measurements in an image to a camera file."""

from __future__ import annotations

import argparse
import logging
import math
from collections.abc import Sequence
from pathlib import Path

from hmr4d.camera.calibration import Calibration, Sensitivity, sensitivity
from hmr4d.camera.camera_files import CameraFile, check_camera, write_camera
from hmr4d.camera.measurement_files import read_measurements
from hmr4d.cli.console import run_guarded, setup_logging

logger = logging.getLogger(__name__)

MADE_HERE = "Made by hmr4d calibrate."  # in the first line of its files

DISTANCES = (2.0, 4.0, 6.0, 10.0)  # meters
CONTRADICTORY = 0.05  # limit of the residual relative to the longer image side
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


def check_fit(camera: CameraFile, fit: Calibration, measurements: Path) -> None:
    """Refuses an implausible fit before a camera file is written.

    Raises:
        ValueError: the measurements contradict each other, or the camera is not above the floor that it sees.
    """
    try:
        if fit.rms > CONTRADICTORY * max(camera.size):
            raise ValueError(
                f"the measurements contradict each other: the best camera has a residual of {fit.rms:.0f} pixels. "
                "Check their order, their units, and that all come from one image."
            )
        check_camera(camera)
    except ValueError as error:
        raise ValueError(f"{measurements}: {error} See docs/calibrate.md.") from error


def pitch_is_doubtful(camera: CameraFile) -> bool:
    """Whether the image center is more than a few degrees above the horizon."""
    return camera.angles[0] < math.radians(-3)


def report(fit: Calibration, method: str, distances: Sequence[float]) -> list[str]:
    """The fitted values, the residual, and the effect of calibration errors on the floor."""
    pitch, roll = (math.degrees(fit.deviations[name]) for name in ("pitch", "roll"))
    focal = f"+- {fit.deviations['focal']:.0f}" if "focal" in fit.deviations else "(given)"
    found = (
        f"{method}: pitch {math.degrees(fit.pitch):.2f} +- {pitch:.2f} degrees, "
        f"roll {math.degrees(fit.roll):.2f} +- {roll:.2f} degrees, "
        f"height {fit.height:.3f} +- {fit.deviations['height']:.3f} m, focal length {fit.K4[0]:.0f} {focal} pixels"
    )
    if len(fit.residuals):
        worst = int(fit.residuals.argmax())
        residual = (
            f"reprojection residual {fit.rms:.2f} pixels (root mean square of {len(fit.residuals)}), at most "
            f"{float(fit.residuals[worst]):.2f} at measurement {worst + 1}"
        )
    else:
        residual = "no reprojection residual: there are no measurements in the image"
    lines = [
        found,
        residual,
        "errors on the floor, metres:",
        "  away   per degree  per cm     per % of   as fitted",
        "         of pitch    of height  focal      (1 sigma)",
    ]
    for row in sensitivity(fit.pitch, fit.height, distances):
        numbers = (row.by_pitch, row.by_height, row.by_focal, expected_error(row, fit))
        lines.append(f"  {row.distance:4.1f} m " + "".join(f"{number:11.3f}" for number in numbers))
    return lines


def expected_error(row: Sensitivity, fit: Calibration) -> float:
    """Position error of a floor point in meters, from the standard deviations of a fit, assumed independent."""
    parts = [
        row.by_pitch * math.degrees(fit.deviations["pitch"]),
        row.by_height * 100 * fit.deviations["height"],
        row.by_focal * 100 * fit.deviations.get("focal", 0.0) / float(fit.K4[0]),
    ]
    return math.hypot(*parts)


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point; 0 when the camera was written, 2 after one sentence about bad input."""
    setup_logging()
    args = parser().parse_args(argv)

    def run() -> int:
        logger.info("%s", calibrate(args))
        return 0

    return run_guarded(run, kept="nothing was written")
