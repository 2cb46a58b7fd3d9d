"""2D keypoints as rows of 34 numbers, the features of 2D evaluators.

Guo et al.'s evaluator reads 3D features. "Learning Text-driven 3D Human Motion Generation from 3D-free Web Videos"
(2025) retrains it on 2D motion and does not give the features. Confidences are not features, because generated motion
has none. There are two variants: "coco17_image" contains the position and size of the person in the image,
"coco17_person" does not, so that the camera position does not affect it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from hmr4d.body.skeleton import COCO17
from hmr4d.representation.motion2d import MIN_STD
from hmr4d.representation.variant_statistics import VariantStatistics
from hmr4d.utils.tensors import interpolate_gaps

VARIANTS = ("coco17_image", "coco17_person")
NUM_FEATURES = 2 * COCO17.num_joints
SURE = 0.3  # confidence; keypoints of lower confidence are interpolated in time
LEAST_HEIGHT = 1.0  # pixels, of a person
_HIPS = list(COCO17.indices("left_hip", "right_hip"))


@dataclass(frozen=True)
class KeypointStatistics(VariantStatistics):
    """Mean and deviation (34,) float32 that features of 2D keypoints are normalized with."""

    representation: str = "keypoints2d"
    skeleton: str = COCO17.name

    def __post_init__(self) -> None:
        self._check("keypoints2d", NUM_FEATURES)
        check_variant(self.variant)


def check_variant(variant: str) -> None:
    """ValueError for a variant that there is not."""
    if variant not in VARIANTS:
        raise ValueError(f"Unknown variant '{variant}' of the features of 2D keypoints; choose one of {VARIANTS}.")


def keypoint_features(keypoints: Tensor, variant: str) -> Tensor:
    """(L, 34) features of the keypoints of one clip.

    "coco17_image": pixels from the middle of the image over half its longer side. "coco17_person": pixels from the
    middle of the hips of the same frame over half the person's height, the median over the clip of the height of the
    box around the keypoints.

    Args:
        keypoints: (L, 18, 3) as a 2D store has them: x, y and confidence, then width, height and 1. Keypoints of low
            confidence are interpolated in time; a keypoint that is never confident is placed at the center of the
            others.
        variant: one of VARIANTS.

    Raises:
        ValueError: another shape or variant, no image size, or no sure keypoint in the clip.
    """
    check_variant(variant)
    if keypoints.ndim != 3 or keypoints.shape[1:] != (COCO17.num_joints + 1, 3):
        raise ValueError(f"keypoints has shape {tuple(keypoints.shape)}; expected (L, {COCO17.num_joints + 1}, 3).")
    size = keypoints[0, -1, :2].float()
    if not bool((size > 0).all()):
        raise ValueError("The image size of a clip is not known. Prepare its store with --size WIDTH HEIGHT.")
    points = _complete(keypoints[:, :-1].float())
    if variant == "coco17_image":
        return ((points - size / 2) / (size.max() / 2)).flatten(1)
    height = (points[..., 1].amax(1) - points[..., 1].amin(1)).median().clamp(min=LEAST_HEIGHT)
    return ((points - points[:, _HIPS].mean(1, keepdim=True)) / (height / 2)).flatten(1)


def _complete(rows: Tensor) -> Tensor:
    """(L, 17, 2) pixels of x, y and confidence (L, 17, 3), without gaps."""
    sure = (rows[..., 2] >= SURE) & rows[..., :2].isfinite().all(-1)
    if not bool(sure.any()):
        raise ValueError(f"No keypoint of a clip has a confidence of {SURE:g} or more; leave the clip out.")
    points = interpolate_gaps(rows[..., :2].transpose(0, 1), sure.T).transpose(0, 1)
    known = sure.any(0)
    return torch.where(known[:, None], points, points[:, known].mean(1, keepdim=True))


def fit_keypoint_statistics(
    features: Iterable[np.ndarray], *, name: str, variant: str, fps: float, source: str = ""
) -> KeypointStatistics:
    """Mean and population deviation over all rows of clips (L, 34); ValueError where there is no row."""
    rows = [np.asarray(clip, np.float64) for clip in features]
    if not sum(map(len, rows)):
        raise ValueError("There are no feature rows to measure mean and deviation of.")
    joined = np.concatenate(rows)
    std = joined.std(0)
    std[std < MIN_STD] = 1.0
    return KeypointStatistics(
        name=name,
        mean=joined.mean(0).astype(np.float32),
        std=std.astype(np.float32),
        variant=variant,
        fps=fps,
        source=source,
        num_rows=len(joined),
    )
