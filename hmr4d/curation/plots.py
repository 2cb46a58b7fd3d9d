"""Statistics of a data set as one image: viewpoints, lengths, speeds of keypoints, words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw

from hmr4d.curation.clip_statistics import VIEWPOINTS
from hmr4d.utils.files import atomic_path
from hmr4d.visualization.pixels import FLOOR, INK, PAPER, QUIET_INK, drawable, load_font

PANEL = (640, 420)  # pixels
WORDS = 24
_BAR = (86, 124, 178)
_MARGIN, _LABELS = 16, 150


def write_plots(table: Mapping[str, Any], path: Path) -> None:
    """Writes a PNG of four panels.

    Args:
        table: as `DatasetStatistics.table` gives it.
        path: file to write.
    """
    views = {view: table["viewpoint_frames"][view]["count"] for view in VIEWPOINTS}
    lengths = dict(
        sorted(((f"{s}-{int(s) + 1} s", n) for s, n in table["clips_by_seconds"].items()), key=_first_number)
    )
    words = dict(list(table["words"].items())[:WORDS])
    panels = (
        ("frames by the side that is seen", views, "{:,.0f}"),
        ("clips by length", lengths, "{:,.0f}"),
        ("speed of keypoints, heights of the person per second", table["speed_h_per_s"], "{:.3f}"),
        (f"words of captions, the {len(words)} most frequent of {table['unique_words']}", words, "{:,.0f}"),
    )
    sheet = Image.new("RGB", (2 * PANEL[0], 2 * PANEL[1]), PAPER)
    for place, (title, bars, form) in enumerate(panels):
        sheet.paste(_panel(title, bars, form), (place % 2 * PANEL[0], place // 2 * PANEL[1]))
    with atomic_path(path) as temporary:
        sheet.save(temporary, format="PNG")


def _first_number(entry: Sequence[Any]) -> int:
    return int(str(entry[0]).split("-")[0])


def _panel(title: str, bars: Mapping[str, float], form: str) -> Image.Image:
    """Horizontal bars with their names and numbers."""
    panel = Image.new("RGB", PANEL, PAPER)
    drawer = ImageDraw.Draw(panel)
    drawer.text((_MARGIN, 12), title, font=load_font(15), fill=INK)
    step = (PANEL[1] - 56) / max(len(bars), 1)
    font = load_font(min(13, max(step - 3, 7)))
    room, most = PANEL[0] - _LABELS - 90, max([*bars.values(), 1e-9])
    for row, (name, value) in enumerate(bars.items()):
        top = 44 + row * step
        middle, right = top + step / 2, _LABELS + room * value / most
        drawer.text((_LABELS - 8, middle), drawable(name)[:24], font=font, fill=QUIET_INK, anchor="rm")
        drawer.rectangle((_LABELS, top + 1, max(right, _LABELS + 1), top + max(step - 2, 2)), fill=_BAR)
        drawer.text((right + 6, middle), form.format(value), font=font, fill=INK, anchor="lm")
    drawer.line((_LABELS, 40, _LABELS, PANEL[1] - 10), fill=FLOOR)
    return panel
