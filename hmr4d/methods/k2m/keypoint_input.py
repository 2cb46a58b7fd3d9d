"""Input of the tokenizer: 17 keypoints and the image size, normalized to values of about one.

Only the input of the network is normalized; losses are measured in pixels.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

NUM_ROWS = 18  # 17 keypoints, then (width, height, 1)
HIPS = (11, 12)
LEAST_CONF = 0.05  # keypoints of lower confidence are hidden from the network
SIZE_UNIT = 1000.0  # pixels; the absolute image size matters, because the focal length is fixed in pixels
DEFAULT_SIZE = (1280, 720)  # image size without a video, pixels

TORSO = (5, 6, 11, 12)  # shoulders and hips
STEP_REACH = 2  # frames on both sides for the velocity of the person, which reduces keypoint noise
STEP_UNIT = 0.05  # body heights per frame; about twice the speed of walking
GROWTH_UNIT = 0.2  # unit of the logarithm of a height

Norm = Literal["image", "root_relative", "person"]


def check_keypoints(keypoints: Tensor) -> None:
    """Raises ValueError unless keypoints have shape (B, F, 18, 3) and their last row is an image size."""
    if keypoints.ndim != 4 or keypoints.shape[2:] != (NUM_ROWS, 3):
        raise ValueError(
            f"keypoints has shape {tuple(keypoints.shape)}; expected (B, F, 18, 3): x, y and confidence of the 17 COCO "
            "keypoints, then width, height and 1."
        )
    if not (keypoints[:, 0, -1, :2] > 0).all():
        raise ValueError("An image size is not positive; expected width, height and 1 in the last row of keypoints.")


def image_size(keypoints: Tensor) -> Tensor:
    """(B, 2) width and height in pixels of keypoints (B, F, 18, 3)."""
    return keypoints[:, 0, -1, :2]


def normalize(keypoints: Tensor, norm: Norm = "image") -> Tensor:
    """Normalized network input from keypoints (B, F, 18, 3).

    Args:
        keypoints: pixels and confidence; values that are not finite or of confidence below LEAST_CONF become (0, 0, 0).
        norm: "image": the longer side of the image is [-1, 1]. "root_relative": the same, relative to the midpoint of
            the hips in frames where both are known. "person": see `_of_person`; independent of the position of the
            person in the image and of the camera.

    Returns:
        The same shape. The last row is the image size in units of SIZE_UNIT, or that of `_of_person`.
    """
    check_keypoints(keypoints)
    size = image_size(keypoints)
    points, conf = keypoints[:, :, :-1, :2], keypoints[:, :, :-1, 2:]
    shown = keypoints[:, :, :-1].isfinite().all(-1, keepdim=True) & (conf >= LEAST_CONF)
    if norm == "person":
        return _of_person(points, conf, shown)
    half = size.amax(-1)[:, None, None, None] / 2
    scaled = (torch.where(shown, points, 0.0) - size[:, None, None] / 2) / half
    if norm == "root_relative":
        known = shown[:, :, HIPS].all(2, keepdim=True)
        scaled = scaled - torch.where(known, scaled[:, :, HIPS].mean(2, keepdim=True), 0.0)
    elif norm != "image":
        raise ValueError(f"norm is '{norm}'; expected 'image', 'root_relative' or 'person'.")
    rows = torch.cat([torch.where(shown, scaled, 0.0), torch.where(shown, conf, 0.0)], -1)
    last = torch.cat([size / SIZE_UNIT, torch.ones_like(size[:, :1])], -1)
    return torch.cat([rows, last[:, None, None].expand(-1, rows.shape[1], -1, -1)], 2)


def _of_person(points: Tensor, conf: Tensor, shown: Tensor) -> Tensor:
    """Keypoints relative to the torso center in units of half the person's height, and confidence: (B, F, 18, 3).

    The height follows the trend of the clip, so that a person who comes nearer has the same keypoints in all frames.
    Otherwise the network mistakes the growth for a change of pose. The last row contains the velocity of the center,
    right and down, in units of STEP_UNIT heights per frame, and the logarithm of the height in this frame relative to
    the median height, in units of GROWTH_UNIT. Heights are those of the box of the visible keypoints. A frame without a
    torso has the center of the last frame with a torso.
    """
    points = torch.where(shown, points, 0.0)
    box = _box_heights(points, shown[..., 0]).log()
    usual = box.nanmedian(1, keepdim=True).values.nan_to_num(0.0)  # (B, 1) logarithm of pixels
    height = _trend(box - usual, usual).exp()
    middle = _held(points[:, :, TORSO].mean(2), shown[:, :, TORSO, 0].all(2))
    rows = torch.where(shown, (points - middle[:, :, None]) / (height[..., None, None] / 2), 0.0)
    frame = torch.arange(points.shape[1], device=points.device)
    before, after = (frame - STEP_REACH).clamp(min=0), (frame + STEP_REACH).clamp(max=len(frame) - 1)
    step = (middle[:, after] - middle[:, before]) / (after - before).clamp(min=1)[:, None]
    growth = (box - usual).nan_to_num(0.0) / GROWTH_UNIT
    last = torch.cat([step / (STEP_UNIT * height[..., None]), growth[..., None]], -1)
    return torch.cat([torch.cat([rows, torch.where(shown, conf, 0.0)], -1), last[:, :, None]], 2)


def _trend(change: Tensor, usual: Tensor) -> Tensor:
    """`usual` (B, 1) plus the least-squares line through `change` (B, F), which ignores NaN: (B, F)."""
    known = (~change.isnan()).to(change.dtype)
    total = known.sum(1, keepdim=True).clamp(min=1)
    change = change.nan_to_num(0.0)
    frame = torch.arange(change.shape[1], device=change.device, dtype=change.dtype)
    frame = frame - (known * frame).sum(1, keepdim=True) / total
    mean = change.sum(1, keepdim=True) / total
    slope = (known * frame * change).sum(1, keepdim=True) / (known * frame**2).sum(1, keepdim=True).clamp(min=1)
    return usual + mean + slope * frame


def _box_heights(points: Tensor, shown: Tensor) -> Tensor:
    """Height (B, F) from the highest to the lowest visible keypoint, at least one pixel; NaN if none is visible."""
    y = points[..., 1]
    high, low = torch.where(shown, y, torch.inf).amin(-1), torch.where(shown, y, -torch.inf).amax(-1)
    return torch.where(shown.any(-1), (low - high).clamp(min=1.0), torch.nan)


def _held(values: Tensor, known: Tensor) -> Tensor:
    """Fills unknown frames of values (B, F, C) with the last known value, or the first known one at the start; 0 if
    all are unknown."""
    frame = torch.arange(known.shape[1], device=known.device).expand_as(known)
    last = torch.where(known, frame, -1).cummax(1).values
    first = torch.where(known, frame, known.shape[1] - 1).amin(1, keepdim=True)
    rows = torch.where(last >= 0, last, first)
    held = values.gather(1, rows[..., None].expand_as(values))
    return torch.where(known.any(1)[:, None, None], held, 0.0)
