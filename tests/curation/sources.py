"""Folders of keypoint files with known faults."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from hmr4d.curation.filters import Track
from tests.curation.tracks import shifted, unsure, walk

# name -> track and the reason for which it is left out, None for a clip.
CASES: dict[str, tuple[Track, str | None]] = {
    "walk": (walk(120), None),
    "long": (walk(330, speed=0.11), None),
    "short": (walk(45), "too_short"),
    "teleport": (shifted(walk(110), 55, 420.0), "identity_switch"),
    "freeze": (walk(110, speed=0.0), "static"),
    "occlusion": (unsure(walk(110), slice(30, 80), [13, 14, 15]), "confidence"),
    "small": (walk(110), "size"),
}


def write_track(path: Path, track: Track, *, size: tuple[int, int] = (1280, 720), fps: float = 30.0) -> None:
    """A file of arrays that tells its rate, joint set and image size."""
    points, conf = track.keypoints[..., :2], track.keypoints[..., 2]
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, kp2d=points, conf=conf, fps=fps, skeleton="coco17", width=size[0], height=size[1])


def write_cases(folder: Path, copies: int = 1) -> None:
    for copy in range(copies):
        for name, (track, _) in CASES.items():
            size = (1280, 1500) if name == "small" else (1280, 720)
            moved = Track(track.keypoints + np.array([copy, 0, 0], np.float32), track.boxes, track.size)
            write_track(folder / f"{name}_{copy}.npz", moved, size=size)
