"""Review of clips: writes a contact sheet and a table per shard, and reads the decisions."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from hmr4d.body.skeleton import COCO17
from hmr4d.curation.records import Record
from hmr4d.utils.files import atomic_path, write_text
from hmr4d.utils.text_files import TextError, printable, read_text
from hmr4d.visualization.figure_style import SIDE_COLORS, figure_style
from hmr4d.visualization.pixels import FLOOR, INK, PAPER, QUIET_INK, drawable, load_font

UNDECIDED = "unreviewed"
STATUSES = (UNDECIDED, "accept", "reject")
COLUMNS = ("clip_id", "status", "by", "note")
POSES = 8  # poses per clip
CELL = (150, 170)  # pixels
HEADER = 40
CLIPS_PER_SHEET = 50
_SURE = 0.3  # smallest confidence of drawn keypoints


@dataclass(frozen=True)
class Decision:
    """The decision of a reviewer about a clip.

    Attributes:
        status: one of STATUSES.
        by: name of the reviewer.
        note: reason.
    """

    status: str
    by: str = ""
    note: str = ""

    def as_json(self) -> dict[str, str]:
        return asdict(self)


def read_decisions(path: Path) -> dict[str, Decision]:
    """clip id -> decision of a CSV table with the columns clip_id, status, by, note; the last two may be missing.

    Raises:
        FileNotFoundError: the file does not exist.
        TextError: the layout or a status is invalid, or a clip has two decisions; the message names the line.
    """
    if not path.is_file():
        raise FileNotFoundError(f"Decisions not found: {path}. 'hmr4d curate review' writes tables to fill in.")
    rows = csv.DictReader(io.StringIO(read_text(path), newline=""))
    if missing := [name for name in COLUMNS[:2] if name not in (rows.fieldnames or ())]:
        raise TextError(f"{path}: the columns are {rows.fieldnames}; {' and '.join(missing)} is missing.")
    decisions: dict[str, Decision] = {}
    for row in rows:
        name, status = (row["clip_id"] or "").strip(), (row["status"] or "").strip().lower()
        place = f"{path}, line {rows.line_num}"
        if status not in STATUSES:
            raise TextError(f"{place}: the status is '{printable(status)[:40]}'; expected {', '.join(STATUSES)}.")
        decision = Decision(status, (row.get("by") or "").strip(), (row.get("note") or "").strip())
        if decisions.setdefault(name, decision) != decision:
            raise TextError(f"{place}: clip {printable(name)[:40]} has two decisions.")
    return decisions


def filled_in(folder: Path) -> dict[str, Decision]:
    """The decisions in the tables of a folder. Raises TextError if two tables differ about a clip."""
    decisions: dict[str, Decision] = {}
    for table in sorted(folder.glob("[!.]*.csv")):
        for name, decision in read_decisions(table).items():
            if decision.status != UNDECIDED and decisions.setdefault(name, decision) != decision:
                raise TextError(
                    f"{table}: clip {printable(name)[:40]} has another decision in another table. Keep one."
                )
    return decisions


def write_review(
    folder: Path, shard: str, clips: Sequence[Record], decisions: Mapping[str, Decision] | None = None
) -> list[Path]:
    """Writes `<shard>-<page>.png` with the clips of a shard and `<shard>.csv` to fill in; returns the files.

    Args:
        folder: output folder.
        shard: name of the shard without suffix.
        clips: its clips, in order.
        decisions: decisions that replace those of the clips, see `filled_in`.
    """
    decided = decisions or {}
    pages = [clips[i : i + CLIPS_PER_SHEET] for i in range(0, len(clips), CLIPS_PER_SHEET)]
    files = [folder / f"{shard}-{number:03d}.png" for number in range(len(pages))]
    for file, page in zip(files, pages, strict=True):
        with atomic_path(file) as temporary:
            contact_sheet(page).save(temporary, format="PNG")
    table = io.StringIO(newline="")
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow([*COLUMNS, "captions"])
    for clip in clips:
        review = decided[clip.key].as_json() if clip.key in decided else clip.meta["review"]
        captions = " | ".join(caption["text"] for caption in clip.meta["captions"])
        writer.writerow([clip.key, review["status"], review["by"], review["note"], captions])
    write_text(folder / f"{shard}.csv", table.getvalue())
    return [*files, folder / f"{shard}.csv"]


def contact_sheet(clips: Sequence[Record]) -> Image.Image:
    """An image with one row per clip: id, time and captions, then poses at equal time steps."""
    height = HEADER + CELL[1]
    sheet = Image.new("RGB", (CELL[0] * POSES, height * len(clips)), PAPER)
    drawer, font = ImageDraw.Draw(sheet), load_font(13)
    for row, clip in enumerate(clips):
        meta, top = clip.meta, row * height
        source = f"{meta['source']['id']} {meta['start_s']:.2f}-{meta['end_s']:.2f} s"
        drawer.text((8, top + 4), drawable(f"{clip.key}  {source}"), font=font, fill=QUIET_INK)
        captions = drawable(" | ".join(c["text"] for c in meta["captions"]))[:170]
        drawer.text((8, top + 20), captions, font=font, fill=INK)
        keypoints = clip.arrays["kpts"][:, :17]
        frames = np.linspace(0, len(keypoints) - 1, POSES).round().astype(int)
        for column, frame in enumerate(frames):
            _draw_pose(drawer, keypoints[frame], (column * CELL[0], top + HEADER))
    return sheet


def _draw_pose(drawer: ImageDraw.ImageDraw, pose: NDArray[np.floating], corner: tuple[int, int]) -> None:
    """Draws one pose (17, 3), scaled to its cell."""
    drawer.rectangle((*corner, corner[0] + CELL[0] - 1, corner[1] + CELL[1] - 1), outline=FLOOR)
    sure = pose[:, 2] >= _SURE
    if sure.sum() < 2:
        return
    low, high = pose[sure, :2].min(0), pose[sure, :2].max(0)
    scale = 0.85 * min(np.array(CELL) / np.maximum(high - low, 1.0))
    points = (pose[:, :2] - (low + high) / 2) * scale + np.array(corner) + np.array(CELL) / 2
    sides = figure_style(COCO17).joint_sides
    for a, b in COCO17.limbs:
        if sure[a] and sure[b]:
            side = sides[b] if sides[a] == "center" else sides[a]
            drawer.line([*points[a], *points[b]], fill=SIDE_COLORS[side], width=3)
