"""The image size in a keypoint file, in the keys of the tools that write it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

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
