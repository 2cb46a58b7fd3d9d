"""2D stores small enough for tests, written through the real writer."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from hmr4d.body.skeleton import COCO17
from hmr4d.data.mirrored_text import mirror_text
from hmr4d.data.store import KEYPOINTS, KeypointStore
from hmr4d.data.store_writer import Caption, StoreWriter

SIZE = (1280.0, 720.0)
_PLACES = {  # of an upright person who faces us: heights to the right of the middle and below the top of the head
    "nose": (0.0, 0.07), "eye": (0.02, 0.05), "ear": (0.04, 0.06), "shoulder": (0.1, 0.18), "elbow": (0.13, 0.36),
    "wrist": (0.14, 0.52), "hip": (0.06, 0.5), "knee": (0.06, 0.73), "ankle": (0.06, 0.95),
}  # fmt: skip


def track(num_frames: int, seed: int = 0, height: float = 300.0) -> np.ndarray:
    """(L, 18, 3) keypoints of a person who sways and swings a wrist, seen from the front."""
    rng = np.random.default_rng(seed)
    points = np.zeros((17, 2))
    for number, name in enumerate(COCO17.joint_names):
        side, _, part = name.rpartition("_")
        x, y = _PLACES[part]
        points[number] = (x if side == "left" else -x, y)
    time = np.arange(num_frames) / 30
    moved = np.repeat(points[None], num_frames, 0)
    moved[:, COCO17.index("left_wrist"), 1] -= 0.3 * (1 + np.sin(2 * np.pi * rng.uniform(0.5, 1.5) * time)) / 2
    moved[..., 0] += 0.1 * np.sin(2 * np.pi * rng.uniform(0.2, 0.6) * time + rng.uniform(0, 6))[:, None]
    keypoints = np.ones((num_frames, 18, 3), np.float32)
    keypoints[:, :-1, :2] = moved * height + [rng.uniform(400, 800), rng.uniform(100, 300)]
    keypoints[:, -1, :2] = SIZE
    return keypoints


def write_keypoint_store(out: Path, count: int, *, split: str = "train", num_frames: int = 60) -> KeypointStore:
    """Store of `count` tracks of `num_frames` frames and some more, each with a caption of its own."""
    writer = StoreWriter(
        out, name="tiny_2d", source="test", licence="none", notice="made up", settings={}, fps=30.0, skeleton=COCO17,
        kind=KEYPOINTS,
    )  # fmt: skip
    names = [f"clip{number:02d}" for number in range(count)]
    for number, name in enumerate(names):
        writer.add(name, track(num_frames + 4 * (number % 4), number), split=split)
    writer.finish(
        annotate=lambda record: [Caption(f"{record.name} waves with the left hand")],
        mirror_text=mirror_text,
        tokenize=str.split,
        order=names,
    )
    return KeypointStore.open(out)


def track_tensor(num_frames: int, seed: int = 0) -> torch.Tensor:
    """`track` as a tensor."""
    return torch.from_numpy(track(num_frames, seed))
