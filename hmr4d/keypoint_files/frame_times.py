"""Time stamps of frames in JSON content: frame numbers, rates and seconds from them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from hmr4d.keypoint_files.detections import FASTEST_RATE
from hmr4d.keypoint_files.json_frames import time_key, time_unit

_UNITS = ((1e6, 1e-9), (1e3, 1e-6), (1.0, 1e-3), (0.0, 1.0))  # seconds of a step of time stamps above the first number
_SAME_STEP = 0.1  # relative tolerance between the usual time step and that of the given rate
_SLOWEST = 4.0  # frames per second; with a lower rate the numbers are not time stamps


def numbers_by_time(entries: Sequence[Any]) -> tuple[list[int | None], float | None]:
    """Frames from their time stamps, and their rate; or from their position in the list if there are none."""
    key = next((k for e in entries if (k := time_key(e))), None)
    times = [float(e[key]) if isinstance(e, Mapping) and time_key(e) == key else None for e in entries] if key else []
    known = sorted({t for t in times if t is not None})
    if key is None or len(known) < 2 or len(known) < len(entries) / 2 or None in times:
        return list(range(len(entries))), None
    step = float(np.median(np.diff(known)))
    unit = _unit_of(key, step)
    if not step > 0 or (known[-1] - known[0]) / step > 1e7:
        return list(range(len(entries))), None
    fps = round(1 / (step * unit), 3)
    return [
        round((t - known[0]) / step) for t in times if t is not None
    ], fps if _SLOWEST < fps <= FASTEST_RATE else None


def _unit_of(key: str, step: float) -> float:
    """Seconds of the unit of time stamps, from their key or from the usual step between two frames."""
    return time_unit(key) or next((unit for least, unit in _UNITS if step > least), 1.0)


def times_of(
    entries: Sequence[Any], numbers: Sequence[int | None], fps: float | None
) -> tuple[dict[int, float], float | None]:
    """Seconds by frame, and the rate, which the times give if the file has none.

    The seconds are {} unless every frame has a time that is consistent with the rate.
    """
    key = next((k for e in entries if (k := time_key(e))), None)
    if key is None:
        return {}, fps
    pairs = zip(numbers, entries, strict=True)
    times = {n: float(entry[key]) for n, entry in pairs if n is not None and time_key(entry) == key}
    frames = sorted(times)
    steps = np.diff([times[frame] for frame in frames]) / np.diff(frames)
    if not len(steps) or steps.min() <= 0:
        return {}, fps
    unit = _unit_of(key, float(np.median(steps)))
    rate = 1 / (unit * float(np.median(steps)))
    if fps is None and _SLOWEST < rate <= FASTEST_RATE:
        fps = round(rate, 3)
    if fps is None or abs(fps / rate - 1) > _SAME_STEP or len(times) < len(set(numbers)):
        return {}, fps  # from another clock, or incomplete
    return {frame: unit * time for frame, time in times.items()}, fps
