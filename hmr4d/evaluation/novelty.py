"""Distances between motions, to detect copies of training clips and to measure diversity.

Distances are in meters and independent of position, heading and start time."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import numpy as np
import torch
from torch import Tensor

from hmr4d.data.action_labels import clips_of, labeled_clips
from hmr4d.data.store import MotionStore
from hmr4d.evaluation.action_recognition import LabeledMotion, resample_clip
from hmr4d.metrics.physical import to_neutral_height
from hmr4d.motion.canonical import facing_transform, mirror

WINDOW_SECONDS = 1.0
POSES = 4  # poses per window
STRIDE_SECONDS = 0.25  # spacing of the windows of a reference clip
QUERY_SECONDS = 0.5  # spacing of the windows of a query motion
REAL_CLIPS = 6  # real clips per content, evenly spaced in the store, for the diversity of real motion
COPY_QUANTILE = (
    0.05  # quantile of the distances of held-out real clips; motions below it count as near to a training clip
)


def windows(clip: Tensor, fps: float, stride: float) -> Tensor:
    """Windows (W, D) of a clip (L, J, 3), metres: joints relative to the root, each window rotated to face +z.

    A window lasts one second and is sampled at four poses. The rotation makes its third pose face +z; turns within the
    window remain. Shorter clips hold their last pose. The squared norm of the difference of two rows is the mean
    squared distance of a joint.
    """
    step = max(round(WINDOW_SECONDS * fps / POSES), 1)
    span = (POSES - 1) * step
    starts = torch.arange(0, max(len(clip) - span, 1), max(round(stride * fps), 1))
    frames = (starts[:, None] + step * torch.arange(POSES)).clamp(max=len(clip) - 1)  # (W, POSES)
    poses = to_neutral_height(clip[None], torch.tensor([len(clip)]))[0][frames]
    turn = facing_transform(poses[:, POSES // 2])[:, None, :3, :3]  # (W, 1, 3, 3)
    local = (poses - poses[..., :1, :]) @ turn.transpose(-1, -2)
    return local.flatten(1) / (POSES * clip.shape[1]) ** 0.5


class NearestClip:
    """Distances of motions to the nearest reference clip or its mirror image.

    The distance of a motion to a clip is the root mean square, over the windows of the motion and their joints and
    poses, of the distance to the closest window of the clip at any time.

    Args:
        clips: reference clips.
        fps: frame rate of the clips; motions at other rates are resampled.
    """

    def __init__(self, clips: Sequence[Tensor], fps: float) -> None:
        if not clips:
            raise ValueError("There is no reference clip; give at least one.")
        parts = [windows(clip, fps, STRIDE_SECONDS) for clip in clips]
        self.fps, self.num_clips = fps, len(parts)
        self.rows = torch.cat(parts)
        self.squares = self.rows.square().sum(-1)
        self.owner = torch.repeat_interleave(torch.arange(len(parts)), torch.tensor([len(part) for part in parts]))

    @classmethod
    def of_split(cls, store: MotionStore, split: str = "train") -> NearestClip:
        """References are the clips of a split that have a content label; joined clips only repeat these."""
        return cls([torch.tensor(store.joints3d(clip)) for clip in labeled_clips(store, split).tolist()], store.fps)

    def __call__(self, motion: LabeledMotion) -> tuple[Tensor, Tensor]:
        """Distance (N,) to the nearest clip, meters, and its index (N,)."""
        nearest = [self._nearest(resample_clip(clip, motion.fps, self.fps)) for clip in motion.clips]
        return torch.tensor([d for d, _ in nearest]), torch.tensor([i for _, i in nearest])

    def _nearest(self, clip: Tensor) -> tuple[float, int]:
        best = (float("inf"), -1)
        for twin in (clip, mirror(clip)):
            queries = windows(twin, self.fps, QUERY_SECONDS).to(self.rows)
            squared = self.squares - 2 * queries @ self.rows.T + queries.square().sum(-1, keepdim=True)  # (W, rows)
            by_clip = squared.new_full((len(queries), self.num_clips), float("inf"))
            by_clip.scatter_reduce_(1, self.owner.expand_as(squared), squared, "amin")
            mean = by_clip.clamp(min=0).mean(0)
            best = min(best, (float(mean.min().sqrt()), int(mean.argmin())))
        return best


def distance(first: Tensor, second: Tensor, fps: float) -> float:
    """Symmetric distance between two motions (L, J, 3), meters, from the windows of each to the closest window of
    the other."""
    a, b = windows(first, fps, STRIDE_SECONDS), windows(second, fps, STRIDE_SECONDS)
    squared = torch.cdist(a.double(), b.double(), compute_mode="donot_use_mm_for_euclid_dist").square()
    return float((squared.amin(1).mean().sqrt() + squared.amin(0).mean().sqrt()) / 2)


def diversity(motions: Sequence[Tensor], fps: float) -> float:
    """Mean `distance` over all pairs of motions (L, 22, 3), meters; NaN for fewer than two."""
    distances = [distance(a, b, fps) for a, b in combinations(motions, 2)]
    return sum(distances) / len(distances) if distances else float("nan")


def spread_of_contents(
    repeats: Sequence[LabeledMotion], same_prompt: Sequence[bool], store: MotionStore
) -> dict[str, dict[str, float | int]]:
    """Diversity of the samples of one prompt and of the real clips of its content.

    Args:
        repeats: motions per seed, one per prompt.
        same_prompt: whether an item has the same wording in every repeat; other items are excluded.
        store: store of real clips.

    Returns: Content -> {"generated": diversity of the samples of a prompt, meters, averaged over its prompts; "real":
        diversity of `REAL_CLIPS` real clips; "num_prompts"}. Contents with fewer than two real clips are excluded.
    """
    diversities: dict[str, list[float]] = {}
    for number, content in enumerate(repeats[0].labels):
        if same_prompt[number]:
            samples = [motion.clips[number] for motion in repeats]
            diversities.setdefault(content, []).append(diversity(samples, repeats[0].fps))
    rows: dict[str, dict[str, float | int]] = {}
    for content, values in sorted(diversities.items()):
        clips = clips_of(store, content)
        chosen = clips[np.linspace(0, len(clips) - 1, min(REAL_CLIPS, len(clips))).round().astype(int)]
        real = diversity([torch.tensor(store.joints3d(clip)) for clip in chosen.tolist()], store.fps)
        if len(chosen) > 1:
            rows[content] = {"generated": sum(values) / len(values), "real": real, "num_prompts": len(values)}
    return rows
