"""Inputs and outputs of training steps and sampling runs of Motion-2-to-3."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from hmr4d.nn.text import TextFeatures
from hmr4d.representation.views import OrthographicViews, PerspectiveViews


@dataclass(frozen=True)
class TrainingDraws:
    """The random numbers of one training step.

    Attributes:
        eps: (B, V, L, D) noise.
        t: (B,) diffusion steps.
        keep_text: (B,) bool, False: replace the text by the empty prompt.
        keep_cam: (B, V) bool, False: zero the camera embedding.
        keep_token: (B, M) bool, False: hide the token; the first token is always True. None: hide no token.
        pooled_noise: (B, D) added to the pooled text vector, or None.
    """

    eps: Tensor
    t: Tensor
    keep_text: Tensor
    keep_cam: Tensor
    keep_token: Tensor | None = None
    pooled_noise: Tensor | None = None


@dataclass(frozen=True)
class Conditions:
    """The condition of one sampling run.

    Attributes:
        text, null_text: encoded prompts (B) and the empty prompt (1 or B).
        lengths: (B,) valid frames.
        T_w2c: (B, V, 4, 4) world to camera.
        cam: (B, V, C) camera embedding or None.
        K: (B, V, 3, 3) intrinsics and box_size (B,), for perspective views.
        condition2d: (B, L, D) conditioning 2D motion or None.
        text_pooled: (B, C) adapted pooled prompts, which replace the pooled vectors of `text`; or None.
    """

    text: TextFeatures
    null_text: TextFeatures
    lengths: Tensor
    T_w2c: Tensor
    cam: Tensor | None = None
    K: Tensor | None = None
    box_size: Tensor | None = None
    condition2d: Tensor | None = None
    text_pooled: Tensor | None = None


@dataclass(frozen=True)
class ViewsSample:
    """Raw result of a run: `local` (B, L, P + 1, 3) and `joints2d` (B, V, L, P + 1, 2) before the last reprojection."""

    local: Tensor
    joints2d: Tensor


def views_of(conditions: Conditions, *, is_perspective: bool) -> OrthographicViews | PerspectiveViews:
    """The geometry that triangulates and projects in these cameras."""
    if not is_perspective:
        return OrthographicViews(conditions.T_w2c)
    if conditions.K is None or conditions.box_size is None:
        raise ValueError("Perspective sampling needs K (B, V, 3, 3) and box_size (B,) in the conditions.")
    return PerspectiveViews(conditions.T_w2c, conditions.K, conditions.box_size, conditions.lengths)
