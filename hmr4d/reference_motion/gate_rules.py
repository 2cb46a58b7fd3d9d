"""Measurements of the gate on a reference motion, and their limits."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from hmr4d.metrics.mbench import MODEL_FPS, Metric, joint_metrics
from hmr4d.metrics.physical import bone_length_variation
from hmr4d.reference_motion.clip import ReferenceClip
from hmr4d.reference_motion.content_cache import ContentCache, content_key
from hmr4d.reference_motion.convert import resampled
from hmr4d.reference_motion.reference_file import load_reference
from hmr4d.representation.rep276 import decode
from hmr4d.utils.files import file_hash

JITTER_LIMIT = 0.04  # m/frame^2 at 20 frames a second; published
_VERSION = 1  # version of `measure`; raise it when its results change
_USUAL_FRAMES = (40, 200)  # at 20 per second; clip lengths in the training of generators
LEGACY_AXIS = "legacy"


@dataclass(frozen=True)
class Measures:
    """Measurements of one reference motion.

    Attributes:
        num_frames, fps: length and frame rate of the file.
        metrics: published name -> metric, at `MODEL_FPS` frames per second, or at the rate of the file for published
            measurements.
        bone_drift: variation of bone lengths, %, of the joints integrated from the velocities in the file.
        remarks: sentences about unusual properties that are no faults.
    """

    num_frames: int
    fps: float
    metrics: dict[str, Metric]
    bone_drift: float
    remarks: tuple[str, ...] = ()

    @property
    def jitter(self) -> float:
        """m/frame^2; NaN for motions of fewer than three frames."""
        return self.metrics["Jitter_Degree"].value


@dataclass(frozen=True)
class GateRules:
    """Limits; a measurement must be below its limit. None disables a rule.

    Attributes:
        jitter: m/frame^2 at 20 frames per second.
        penetration: depth below the floor, meters.
        sliding: speed of standing feet, m/s.
        floating: fraction of frames.
        bone_drift: variation of bone lengths, %.
        least_motion: smallest dynamic degree, m/s.
    """

    jitter: float | None = JITTER_LIMIT
    penetration: float | None = None
    sliding: float | None = None
    floating: float | None = None
    bone_drift: float | None = None
    least_motion: float | None = None

    def __post_init__(self) -> None:
        """Raises ValueError for a limit that is no number."""
        for name, limit in asdict(self).items():
            if limit is not None and not math.isfinite(limit):
                raise ValueError(f"The limit of {name} is {limit}; expected a number.")

    def faults(self, measures: Measures) -> list[str]:
        """A sentence for every broken rule."""
        return [
            f"{name} {'cannot be measured' if math.isnan(value) else f'{value:.4g} {unit}'}, {wanted} {limit:g} {unit}"
            for name, value, unit, wanted, limit in self._compared(measures)
            if not (value < limit if wanted == "not below" else value >= limit)
        ]

    def _compared(self, measures: Measures) -> Iterator[tuple[str, float, str, str, float]]:
        metrics = measures.metrics
        rows = (
            ("jitter", measures.jitter, "m/frame^2", "not below", self.jitter),
            ("ground penetration", metrics["Ground_Penetration"].si, "m", "not below", self.penetration),
            ("foot sliding", metrics["Foot_Sliding"].si, "m/s", "not below", self.sliding),
            ("foot floating", metrics["Foot_Floating"].si, "of the frames", "not below", self.floating),
            ("bone drift", measures.bone_drift, "%", "not below", self.bone_drift),
            ("motion", metrics["Dynamic_Degree"].si, "m/s", "less than", self.least_motion),
        )
        return ((*row, limit) for *row, limit in rows if limit is not None)  # type: ignore[misc]


def measure(path: Path, *, published: bool = False, cache: ContentCache | None = None) -> Measures:
    """Measures a reference motion.

    Args:
        path: path of the file.
        published: use rate and height axis of the published gate: the frames of the file, and axis 2 although axis 1
            points up.
        cache: cache of measurements.

    Raises:
        FileNotFoundError: the file does not exist.
        ValueError: the file is no reference motion or is not finite; the message names the row.
    """
    if not path.is_file():
        raise FileNotFoundError(f"Reference motion not found: {path}.")
    cache = cache or ContentCache(None)
    key = content_key("measures", _VERSION, file_hash(path), published)
    if (kept := cache.get(key)) is not None:
        return _from_json(kept)
    reference = load_reference(path)
    motion = reference.motion(from_velocities=True)
    remarks = list(_remarks(motion.num_frames, motion.fps))
    if not published and motion.fps != MODEL_FPS and motion.num_frames > 1:
        motion = resampled(ReferenceClip(motion), MODEL_FPS).motion
    metrics = joint_metrics(motion.array(), motion.fps, LEGACY_AXIS if published else "y")
    stored = decode(reference.features, from_velocities=True).joints3d
    drift = float(bone_length_variation(stored[None], torch.tensor([len(stored)])))
    measures = Measures(len(reference.features), reference.fps, metrics, drift, tuple(remarks))
    cache.put(key, _to_json(measures))
    return measures


def _remarks(num_frames: int, fps: float) -> Iterator[str]:
    frames = num_frames * MODEL_FPS / fps
    least, most = _USUAL_FRAMES
    if not least <= frames <= most:
        seconds = f"{least / MODEL_FPS:g} to {most / MODEL_FPS:g} s"
        yield f"the motion lasts {num_frames / fps:.3g} s; generators are trained on {seconds}"


def _to_json(measures: Measures) -> dict[str, Any]:
    table = {name: [finite(m.value), finite(m.si), m.unit] for name, m in measures.metrics.items()}
    return {**asdict(measures), "metrics": table, "bone_drift": finite(measures.bone_drift)}


def _from_json(kept: dict[str, Any]) -> Measures:
    metrics = {name: Metric(_nan(value), _nan(si), unit) for name, (value, si, unit) in kept["metrics"].items()}
    return Measures(kept["num_frames"], kept["fps"], metrics, _nan(kept["bone_drift"]), tuple(kept["remarks"]))


def finite(value: float) -> float | None:
    """The value for JSON: None for NaN and infinity."""
    return value if math.isfinite(value) else None


def _nan(value: float | None) -> float:
    return math.nan if value is None else value
