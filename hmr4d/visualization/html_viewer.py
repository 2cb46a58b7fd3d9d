"""One HTML file with moving figures that opens from disk: everything inside, nothing asked from the network."""

from __future__ import annotations

import base64
import html
import json
import logging
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hmr4d.body.skeleton import Skeleton
from hmr4d.export.motion_npz import checked_fps, checked_joints3d
from hmr4d.utils.files import write_text
from hmr4d.visualization.figure_style import JOINT_COLOUR, SIDE_COLOURS, facing_angle, figure_style

log = logging.getLogger(__name__)

_RESOURCES = Path(__file__).parent / "resources"
_LARGEST_ERROR = 0.0005  # metres; coarser steps are not used


def write_html(
    path: str | os.PathLike[str],
    motions: Sequence[tuple[NDArray[Any], str]],
    *,
    fps: float,
    skeleton: Skeleton,
    title: str = "Motion",
) -> None:
    """Writes a page that plays one or more motions; see docs/viewing.md for what its controls do.

    Args:
        path: file to write.
        motions: (joints3d, caption) pairs; joints3d is (L, J, 3) metres, world, y up; lengths may differ.
        fps: frames per second of every motion.
        skeleton: joint meaning of axis J.
        title: name of the page.

    Raises:
        ValueError: no motion, or joints that do not fit the skeleton or are not finite (names the motion).
    """
    if not motions:
        raise ValueError("motions is empty but a page needs at least one motion. Pass [(joints3d, caption)].")
    items = []
    for number, (joints3d, caption) in enumerate(motions):
        try:
            joints = checked_joints3d(joints3d, skeleton)
        except ValueError as error:
            raise ValueError(f"Motion {number} ({caption!r}): {error}") from error
        items.append({"caption": str(caption), "facing": facing_angle(joints, skeleton), **encode_joints(joints)})
    data = {"fps": checked_fps(fps), "skeleton": skeleton.name, "style": _style(skeleton), "motions": items}
    captions = [item["caption"] for item in items]
    parts = {
        "TITLE": html.escape(title),
        "LABEL": html.escape("Moving figure: " + "; ".join(captions)),
        "CAPTIONS": html.escape("; ".join(captions)),
        "STYLE": _resource("viewer.css"),
        "SCRIPT": _resource("viewer.js"),
        "DATA": json_for_script(data),
    }
    # One pass, so that a caption that looks like a placeholder stays a caption.
    write_text(path, re.sub(r"@@([A-Z]+)@@", lambda match: parts[match[1]], _resource("viewer.html")))
    log.info("Page with %d motion(s) written to %s", len(items), path)


def encode_joints(joints3d: NDArray[np.float32]) -> dict[str, Any]:
    """Joints (L, J, 3) as base64 of 16-bit steps, less than 0.5 mm off; as float32 beyond a span of 58 m.

    Returns:
        `joints` (base64, little endian, frame by frame), `encoding`, `frames`, and for 16 bits `offset` (3) and
        `scale`: metres = offset + scale * step.
    """
    low, high = joints3d.min(axis=(0, 1)).astype(np.float64), joints3d.max(axis=(0, 1)).astype(np.float64)
    offset = (low + high) / 2
    scale = max(float((high - low).max()) / 2 / 32767, 1e-7)
    if scale / 2 > _LARGEST_ERROR * 0.9:
        raw, extra = joints3d.astype("<f4").tobytes(), {"encoding": "float32"}
    else:
        raw = np.round((joints3d - offset) / scale).astype("<i2").tobytes()
        extra = {"encoding": "int16", "offset": offset.tolist(), "scale": scale}
    return {"frames": len(joints3d), "joints": base64.b64encode(raw).decode("ascii"), **extra}


def json_for_script(value: Any) -> str:
    """JSON that is safe inside a script element: no character in it can end the element or open a comment."""
    text = json.dumps(value, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _style(skeleton: Skeleton) -> dict[str, Any]:
    """Drawing attributes of a skeleton for the page."""
    style = figure_style(skeleton)
    return {
        "joints": skeleton.num_joints,
        "names": skeleton.joint_names,
        "bones": style.bones,
        "sides": style.bone_sides,
        "radii": [round(r, 4) for r in style.joint_radii],
        "dots": [round(r, 4) for r in style.dot_radii],
        "head": style.head,
        "headRadius": style.head_radius,
        "headOffset": style.head_offset,
        "colours": {**SIDE_COLOURS, "joint": JOINT_COLOUR},
    }


def _resource(name: str) -> str:
    return (_RESOURCES / name).read_text(encoding="utf-8")
