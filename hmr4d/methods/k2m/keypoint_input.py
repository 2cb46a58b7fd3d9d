"""What the tokenizer reads: 17 keypoints and the image size, in pixels, as numbers of about one.

Pixels stay pixels everywhere else: losses are measured in them.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

NUM_KEYPOINTS = 17
NUM_ROWS = 18  # the keypoints, then (width, height, 1)
HIPS = (11, 12)
LEAST_CONF = 0.05  # keypoints of lower confidence are not shown to the network
SIZE_UNIT = 1000.0  # pixels; the absolute size of the image matters, for the focal length is fixed in pixels
DEFAULT_SIZE = (1280, 720)  # where there is no video

Norm = Literal["image", "root_relative"]


def check_keypoints(keypoints: Tensor) -> None:
    """ValueError unless these are keypoints (B, F, 18, 3) whose last row is an image size."""
    if keypoints.ndim != 4 or keypoints.shape[2:] != (NUM_ROWS, 3):
        raise ValueError(
            f"keypoints has shape {tuple(keypoints.shape)}; expected (B, F, 18, 3): x, y and confidence of the 17 COCO "
            "keypoints, then width, height and 1."
        )
    if not (keypoints[:, 0, -1, :2] > 0).all():
        raise ValueError("An image size is 0 or less; the last row of keypoints holds width, height and 1.")


def image_size(keypoints: Tensor) -> Tensor:
    """(B, 2) width and height in pixels of keypoints (B, F, 18, 3)."""
    return keypoints[:, 0, -1, :2]


def normalize(keypoints: Tensor, norm: Norm = "image") -> Tensor:
    """Keypoints (B, F, 18, 3) as the network reads them.

    Args:
        keypoints: pixels and confidence; what is not finite or of confidence below LEAST_CONF becomes (0, 0, 0).
        norm: "image": the image is [-1, 1] along its longer side; "root_relative": the same, from the middle of the
            hips of each frame where both are known.

    Returns:
        The same shape; the last row is the size of the image over SIZE_UNIT.
    """
    check_keypoints(keypoints)
    size = image_size(keypoints)
    points, conf = keypoints[:, :, :-1, :2], keypoints[:, :, :-1, 2:]
    shown = keypoints[:, :, :-1].isfinite().all(-1, keepdim=True) & (conf >= LEAST_CONF)
    half = size.amax(-1)[:, None, None, None] / 2
    scaled = (torch.where(shown, points, 0.0) - size[:, None, None] / 2) / half
    if norm == "root_relative":
        known = shown[:, :, HIPS].all(2, keepdim=True)
        scaled = scaled - torch.where(known, scaled[:, :, HIPS].mean(2, keepdim=True), 0.0)
    elif norm != "image":
        raise ValueError(f"norm is '{norm}'; expected 'image' or 'root_relative'.")
    rows = torch.cat([torch.where(shown, scaled, 0.0), torch.where(shown, conf, 0.0)], -1)
    last = torch.cat([size / SIZE_UNIT, torch.ones_like(size[:, :1])], -1)
    return torch.cat([rows, last[:, None, None].expand(-1, rows.shape[1], -1, -1)], 2)
