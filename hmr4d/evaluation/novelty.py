"""Does a model only repeat its training clips? Distances of motions in meters, independent of position, heading and
start."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import numpy as np
import torch
from torch import Tensor

from hmr4d.data.store import MotionStore
from hmr4d.evaluation.action_labels import clips_of, labeled_clips
from hmr4d.evaluation.action_recognition import LabelledMotion, resample_clip
from hmr4d.metrics.physical import to_neutral_height
from hmr4d.motion.canonical import facing_transform, mirror

WINDOW_SECONDS = 1.0
POSES = 4  # of a window
STRIDE_SECONDS = 0.25  # between the windows of a clip that motions are compared with
QUERY_SECONDS = 0.5  # between the windows of a motion that is compared
REAL_CLIPS = 6  # of a content, evenly spread over the store, whose differences are compared with those of samples
COPY_QUANTILE = 0.05  # of held-out real clips; a motion nearer to a training clip than this counts as near


def windows(clip: Tensor, fps: float, stride: float) -> Tensor:
    """(W, D) the windows of a clip (L, J, 3): poses relative to the root, the whole window turned to face +z.

    A window lasts one second and is seen in four poses. It faces +z in its third pose; turns inside it stay. Clips
    that are shorter hold their last pose. The squared norm of the difference of two rows is the mean squared distance
    of a joint.
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
    """Distances of motions to the nearest of some clips, or to its mirror image.

    The distance of a motion to a clip: root mean square over windows of the motion, and over the joints and poses in
    them, of the distance to the best fitting window of the clip, wherever that is.

    Args:
        clips: to compare with.
        fps: of them; motions of other rates are resampled.
    """

    def __init__(self, clips: Sequence[Tensor], fps: float) -> None:
        if not clips:
            raise ValueError("There is no clip to compare with; give at least one.")
        parts = [windows(clip, fps, STRIDE_SECONDS) for clip in clips]
        self.fps, self.num_clips = fps, len(parts)
        self.rows = torch.cat(parts)
        self.squares = self.rows.square().sum(-1)
        self.owner = torch.repeat_interleave(torch.arange(len(parts)), torch.tensor([len(part) for part in parts]))

    @classmethod
    def of_split(cls, store: MotionStore, split: str = "train") -> NearestClip:
        """The clips of a split that have a content; joined pairs of clips contain nothing else."""
        return cls([torch.tensor(store.joints3d(clip)) for clip in labeled_clips(store, split).tolist()], store.fps)

    def __call__(self, motion: LabelledMotion) -> tuple[Tensor, Tensor]:
        """(N,) metres to the nearest clip, and (N,) which it is."""
        found = [self._nearest(resample_clip(clip, motion.fps, self.fps)) for clip in motion.clips]
        return torch.tensor([d for d, _ in found]), torch.tensor([i for _, i in found])

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
    """Metres between two motions (L, J, 3): distance of windows of one to the nearest of the other, both ways."""
    a, b = windows(first, fps, STRIDE_SECONDS), windows(second, fps, STRIDE_SECONDS)
    squared = torch.cdist(a.double(), b.double(), compute_mode="donot_use_mm_for_euclid_dist").square()
    return float((squared.amin(1).mean().sqrt() + squared.amin(0).mean().sqrt()) / 2)


def diversity(motions: Sequence[Tensor], fps: float) -> float:
    """Metres: mean distance over the pairs of some motions; NaN for fewer than two."""
    found = [distance(a, b, fps) for a, b in combinations(motions, 2)]
    return sum(found) / len(found) if found else float("nan")


def spread_of_contents(
    repeats: Sequence[LabelledMotion], same_prompt: Sequence[bool], store: MotionStore
) -> dict[str, dict[str, float | int]]:
    """Diversity of samples of one prompt, compared with real clips of one content.

    Args:
        repeats: one motion per prompt and seed.
        same_prompt: whether an item had the same wording in every repeat; others are left out.
        store: of real clips.

    Returns:
        Content -> "generated", metres between samples of a prompt, averaged over its prompts; "real", metres between
        `REAL_CLIPS` real clips; "num_prompts". Contents with fewer than two real clips are left out.
    """
    found: dict[str, list[float]] = {}
    for number, content in enumerate(repeats[0].labels):
        if same_prompt[number]:
            samples = [motion.clips[number] for motion in repeats]
            found.setdefault(content, []).append(diversity(samples, repeats[0].fps))
    rows: dict[str, dict[str, float | int]] = {}
    for content, values in sorted(found.items()):
        clips = clips_of(store, content)
        chosen = clips[np.linspace(0, len(clips) - 1, min(REAL_CLIPS, len(clips))).round().astype(int)]
        real = diversity([torch.tensor(store.joints3d(clip)) for clip in chosen.tolist()], store.fps)
        if len(chosen) > 1:
            rows[content] = {"generated": sum(values) / len(values), "real": real, "num_prompts": len(values)}
    return rows
