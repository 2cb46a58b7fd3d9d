"""Whether a calibration is plausible, and what its errors do to positions on the floor."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from hmr4d.camera.calibration import Calibration, Sensitivity, sensitivity
from hmr4d.camera.camera_files import CameraFile, check_camera

CONTRADICTORY = 0.05  # limit of the residual relative to the longer image side


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
    values = (
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
        values,
        residual,
        "errors on the floor, meters:",
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
