"""One self-contained HTML file with animated figures. It opens from disk and makes no network requests."""

from __future__ import annotations

import html
import json
import logging
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from hmr4d.body.skeleton import SMPL22, Skeleton
from hmr4d.geometry.cameras import invert_rigid
from hmr4d.motion.canonical import facing_transform, transformed
from hmr4d.motion.motion import Motion
from hmr4d.utils.files import write_text
from hmr4d.visualization.figure_style import JOINT_COLOR, SIDE_COLORS, facing_angle, figure_style
from hmr4d.visualization.page_body import add_body, add_template
from hmr4d.visualization.page_pack import Pack
from hmr4d.visualization.page_views import ImageViews, add_views, image_views

log = logging.getLogger(__name__)

_RESOURCES = Path(__file__).parent / "resources"
_SCRIPTS = ("data", "figures", "gl", "canvas", "views")  # viewer_<name>.js, then viewer.js
_STEP = 4e-4  # meters; quantization step of joints, error at most half of it
MESH_FRAMES = 5000  # frames of all motions; up to this number, a page with a body is smaller than 1 MB
# Colors of figures in one scene; also for color-blind viewers, distinguishable from each other and from the side
# colors.
_COLORS = ((0, 158, 115), (170, 80, 190), (200, 150, 0), (210, 60, 60), (70, 130, 180), (120, 120, 120))


@dataclass(frozen=True)
class PageMotion:
    """A motion and its display options on a page.

    Attributes:
        motion: motion to show.
        caption: caption; None: the text of the motion.
        group: motions with the same group form one entry of the page's list and are shown together. None: a separate
            entry.
        color: red, green, blue from 0 to 255, used if several figures share a scene; None: automatic.
        views: 2D joints shown next to the motion, for example of moving cameras; None: the views of the motion.
    """

    motion: Motion
    caption: str | None = None
    group: str | None = None
    color: tuple[int, int, int] | None = None
    views: ImageViews | None = None

    @property
    def title(self) -> str:
        """The caption, or the text of the motion."""
        return self.motion.text if self.caption is None else self.caption

    @property
    def shown_views(self) -> ImageViews | None:
        """The 2D views shown with the motion, or None."""
        if self.views is not None or self.motion.views is None:
            return self.views
        return image_views(self.motion.views)


def write_html(
    path: str | os.PathLike[str],
    motions: Sequence[PageMotion | Motion],
    *,
    title: str = "Motion",
    mesh: bool | None = None,
    together: bool = False,
) -> None:
    """Writes a page that plays one or more motions. docs/viewing.md explains its controls.

    Args:
        path: file to write.
        motions: motions of one skeleton; lengths and rates may differ.
        title: title of the page.
        mesh: include a body mesh that follows each motion; SMPL22 only. None: include it for up to MESH_FRAMES frames
            in total, except for motions that no body can follow.
        together: show the motions of an entry in one scene with different colors at first, instead of side by side.

    Raises:
        ValueError: there is no motion, skeletons differ, joints are not finite, views do not match their motion (the
            message names the motion), or the skeleton does not support a mesh.
    """
    if not motions:
        raise ValueError("motions is empty but a page needs at least one motion.")
    given = [motion if isinstance(motion, PageMotion) else PageMotion(motion) for motion in motions]
    skeleton = given[0].motion.skeleton
    if others := sorted({entry.motion.skeleton.name for entry in given} - {skeleton.name}):
        raise ValueError(f"A page shows one skeleton, but the motions have '{skeleton.name}' and {', '.join(others)}.")
    if mesh and skeleton != SMPL22:
        raise ValueError(f"Skeleton '{skeleton.name}' cannot move a body; pass mesh=False or joints of 'smpl22'.")
    embodied = mesh or (
        mesh is None and skeleton == SMPL22 and sum(entry.motion.num_frames for entry in given) <= MESH_FRAMES
    )
    pack, items = Pack(), []
    for number, entry in enumerate(given):
        try:
            items.append(_item(pack, entry))
            if embodied:
                items[-1]["body"] = _body(pack, entry, must=bool(mesh))
        except ValueError as error:
            raise ValueError(f"Motion {number} ({entry.title!r}): {error}") from error
    entries = _entries(given)
    for entry in entries:
        for place, number in enumerate(entry["motions"]):
            items[number]["color"] = list(given[number].color or _COLORS[place % len(_COLORS)])
    data = {
        "skeleton": skeleton.name,
        "style": _style(skeleton),
        "motions": items,
        "entries": entries,
        "together": together,
        "mesh": add_template(pack) if any(item["body"] for item in items) else None,
    }
    write_text(path, _page(title, data, pack.text()))
    log.info("Page with %d motion(s) written to %s", len(items), path)


def write_comparison(
    path: str | os.PathLike[str],
    rows: Sequence[tuple[str, Sequence[PageMotion | Motion]]],
    *,
    title: str = "Comparison",
    mesh: bool | None = None,
) -> None:
    """Writes a page that compares motions side by side or in one scene, for example a sample and the ground truth.

    All motions of a row start facing +z, with the root of the first frame above the origin.

    Args:
        path: file to write.
        rows: (text, motions) of each entry of the page's list; `group` of the motions is ignored.
        title, mesh: see `write_html`.

    Raises:
        ValueError: see `write_html`.
    """
    motions, known = [], dict.fromkeys((text for text, _ in rows), 0)
    for text, members in rows:
        known[text] += 1
        group = text if known[text] == 1 else f"{text} ({known[text]})"
        given = [member if isinstance(member, PageMotion) else PageMotion(member) for member in members]
        motions += [replace(_from_origin(entry), group=group) for entry in given]
    write_html(path, motions, title=title, mesh=mesh)


def json_for_script(value: Any) -> str:
    """JSON that is safe inside a script element: it cannot end the element or open a comment."""
    text = json.dumps(value, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _body(pack: Pack, entry: PageMotion, *, must: bool) -> dict[str, Any] | None:
    """Data of the body of one motion, or None. `must` makes a failure an error."""
    try:
        return add_body(pack, entry.motion)
    except ValueError as error:
        if must:
            raise
        log.warning("The page shows '%s' as a skeleton only: %s", entry.title, error)
        return None


def _item(pack: Pack, entry: PageMotion) -> dict[str, Any]:
    """Data of one motion for the page."""
    motion, views = entry.motion, entry.shown_views
    joints = motion.array()
    return {
        "caption": entry.title,
        "fps": motion.fps,
        "facing": round(facing_angle(joints, motion.skeleton), 5),
        "joints": pack.add(joints, step=_STEP),
        "body": None,
        "views": None if views is None else add_views(pack, views, len(joints), motion.skeleton),
    }


def _entries(motions: Sequence[PageMotion]) -> list[dict[str, Any]]:
    """Entries of the page's list (caption and motion indices), in the order of their first motions."""
    entries: dict[Any, dict[str, Any]] = {}
    for number, motion in enumerate(motions):
        caption = motion.title if motion.group is None else motion.group
        key = number if motion.group is None else motion.group
        entries.setdefault(key, {"caption": str(caption), "motions": []})["motions"].append(number)
    return list(entries.values())


def _from_origin(entry: PageMotion) -> PageMotion:
    """The same motion with its cameras, transformed to start above the origin, facing +z."""
    motion, views = entry.motion, entry.views
    turn = facing_transform(torch.from_numpy(motion.array())[0], motion.skeleton)
    if views is not None and views.T_w2c is not None:
        views = replace(views, T_w2c=torch.as_tensor(views.T_w2c).double() @ invert_rigid(turn.double()))
    return replace(entry, motion=transformed(motion, turn), views=views)


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
        "colors": {**SIDE_COLORS, "joint": JOINT_COLOR},
    }


def _page(title: str, data: dict[str, Any], pack: str) -> str:
    """The complete page as HTML text."""
    captions = html.escape("; ".join(entry["caption"] for entry in data["entries"]))
    parts = {
        "TITLE": html.escape(title),
        "LABEL": "Moving figure: " + captions,
        "CAPTIONS": captions,
        "STYLE": _resource("viewer.css"),
        "SCRIPT": "".join(_resource(f"viewer_{name}.js") for name in _SCRIPTS) + _resource("viewer.js"),
        "DATA": json_for_script(data),
        "PACK": pack,
    }
    # A single pass leaves captions unchanged that look like placeholders.
    return re.sub(r"@@([A-Z]+)@@", lambda match: parts[match[1]], _resource("viewer.html"))


def _resource(name: str) -> str:
    return (_RESOURCES / name).read_text(encoding="utf-8")
