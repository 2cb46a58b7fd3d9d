"""Whether a calibration is plausible, and what its errors do to positions on the floor."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from hmr4d.camera.calibration import Calibration
from hmr4d.camera.camera_files import CameraFile, check_camera

CONTRADICTORY = 0.05  # limit of the residual relative to the longer image side


@dataclass(frozen=True)
class Sensitivity:
    """Displacement in meters of a floor point for small errors of the calibration.

    Attributes:
        distance: from the camera's foot, meters.
        by_pitch: per degree of pitch, (h^2 + z^2) / h.
        by_height: per centimeter of height, z / h.
        by_focal: per percent of focal length: a pitch error of 1/2 sin(2 phi), phi the angle below the axis.
    """

    distance: float
    by_pitch: float
    by_height: float
    by_focal: float


def sensitivity(pitch: float, height: float, distances: Iterable[float]) -> list[Sensitivity]:
    """Sensitivities at some distances in meters, of a camera with a pitch in radians and a height in meters."""
    rows = []
    for z in distances:
        per_radian = (height**2 + z**2) / height
        below_axis = math.atan2(height, z) - pitch
        by_focal = abs(0.5 * math.sin(2 * below_axis)) * 0.01 * per_radian
        rows.append(Sensitivity(z, per_radian * math.radians(1), 0.01 * z / height, by_focal))
    return rows


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
