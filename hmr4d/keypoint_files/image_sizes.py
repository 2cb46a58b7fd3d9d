"""The image size in a keypoint file, in the keys of the tools that write it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

_OUTSIDE, _INSIDE = 0.25, 0.95  # fractions of joints that indicate a wrong and a correct image size
_DOUBTFUL = 0.02  # fraction of joints farther outside than _MARGIN above which the size is doubtful
_MARGIN = 0.02  # fraction of the image sides; detectors place joints slightly outside

ImageSizes = tuple[tuple[int, int], ...]

_PAIRS = (("width", "height"), ("image_width", "image_height"), ("img_w", "img_h"), ("frame_width", "frame_height"))
_LISTS = ("image_size", "img_size", "resolution", "frame_size", "video_size")  # [width, height]
_SHAPES = ("orig_shape", "image_shape", "img_shape", "ori_shape")  # [height, width, ...]
_KEYS = frozenset((*(key for pair in _PAIRS for key in pair), *_LISTS, *_SHAPES))
_HEADS = ("info", "meta_info", "meta", "metadata", "video", "video_info")
_FRAMES = ("images", "frames", "instance_info", "predictions", "results", "data", "annotations")


def image_sizes(content: Any) -> ImageSizes:
    """The distinct (width, height) in pixels in JSON content, or in an object of values, in order.

    Empty if there is none; more than one if the size changes.
    """
    entries = (entry for entry in _entries(content) if not _KEYS.isdisjoint(entry))
    return tuple(dict.fromkeys(size for entry in entries if (size := _size(entry)) is not None))


def size_doubt(points: NDArray[np.floating], size: tuple[int, int], image: str) -> str | None:
    """A sentence if it is doubtful that points are of images of a size; None if they fit.

    Args:
        points: (N, 2) pixels of found joints, N > 0.
        size: (width, height) pixels.
        image: how the sentence calls the image.

    Raises:
        ValueError: the points cannot be of such images.
    """
    (width, height), low, high = size, points.min(0), points.max(0)
    given = (
        f"The keypoints span u = {low[0]:.0f} to {high[0]:.0f}, v = {low[1]:.0f} to {high[1]:.0f}, but {image} is "
        f"{width} x {height} pixels."
    )
    if _share_inside(points, size) >= 1 - _OUTSIDE:
        return given if _share_inside(points, size, _MARGIN) < 1 - _DOUBTFUL else None
    if _share_inside(points, (height, width)) >= _INSIDE:
        raise ValueError(f"{given} Width and height seem to be swapped: expected {height} x {width} pixels.")
    raise ValueError(
        f"{given} Give the size of the images in which the keypoints were detected, or scale the keypoints."
    )


def _share_inside(points: NDArray[np.floating], size: tuple[int, int], margin: float = 0.0) -> float:
    around = margin * np.array(size)
    return float(((points >= -around) & (points <= size + around)).all(-1).mean())


def _entries(content: Any) -> Iterator[Mapping[str, Any]]:
    """The parts that may contain a size: the content itself, its header, and its frames."""
    if isinstance(content, Mapping):
        yield content
        for key in (*_HEADS, *_FRAMES):
            value = content.get(key)
            yield from [value] if isinstance(value, Mapping) else _objects(value)
    else:
        yield from _objects(content)


def _objects(value: Any) -> Iterator[Mapping[str, Any]]:
    return (entry for entry in value if isinstance(entry, dict)) if isinstance(value, list) else iter(())


def _size(entry: Mapping[str, Any]) -> tuple[int, int] | None:
    pairs = [(entry.get(w), entry.get(h)) for w, h in _PAIRS if w in entry]
    pairs += [tuple(entry[k][:2]) for k in _LISTS if k in entry and _is_list(entry[k])]
    pairs += [(entry[k][1], entry[k][0]) for k in _SHAPES if k in entry and _is_list(entry[k])]
    return next(((int(w), int(h)) for w, h in pairs if w and h and _is_side(w) and _is_side(h)), None)


def _is_list(value: Any) -> bool:
    return isinstance(value, (list, tuple)) and len(value) >= 2


def _is_side(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 1 <= value < 1e6
