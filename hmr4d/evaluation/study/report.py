"""The card of `hmr4d study` as Markdown tables and as a bar chart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw

from hmr4d.evaluation.quality_report import cell, listed_confusions, table
from hmr4d.evaluation.study.scores import REAL
from hmr4d.utils.files import atomic_path
from hmr4d.visualization.pixels import INK, QUIET_INK, load_font

# name in the card, heading, decimal places
MEASURES = (
    ("accuracy", "accuracy ↑", 3),
    ("accuracy_synonyms", "with synonyms ↑", 3),
    ("fid", "FID ↓", 3),
    ("r_precision_top_1", "R@1 ↑", 3),
    ("r_precision_top_3", "R@3 ↑", 3),
    ("matching_score", "matching ↓", 3),
    ("bone_length_variation", "bone variation %", 2),
    ("foot_skating", "skating m/s", 3),
    ("root_speed", "root speed m/s", 2),
)
COMPARED = tuple(m for m in MEASURES if m[0] not in ("r_precision_top_1", "root_speed"))
BAR, GAP, LABEL, HEIGHT, MARGIN = 34, 26, 170, 300, 64  # pixels
PAPER = (255, 255, 255)
COLORS = (
    (150, 158, 170),
    (43, 122, 214),
    (240, 128, 42),
    (64, 160, 100),
    (248, 196, 152),
    (166, 212, 180),
    (150, 190, 236),
    (120, 96, 200),
)


def markdown(card: Mapping[str, Any]) -> str:
    """Tables of a card: arms on every subset, differences of arms, accuracy by content, and provenance."""
    parts = [_made_by(card)]
    for subset, count in card["num_motions"].items():
        parts.append(f"### {subset}: {count} motions\n\n" + _subset(card, subset))
    parts += [f"### {d['first']} − {d['second']}\n\n" + _difference(d) for d in card["differences"]]
    parts.append("### accuracy by content\n\n" + _by_content(card))
    parts += [listed_confusions(row, confusions, len(card["seeds"])) for row, confusions in card["taken_for"].items()]
    parts += [f"Note: {note}" for note in card["notes"]]
    return "\n\n".join(part for part in parts if part) + "\n"


def _made_by(card: Mapping[str, Any]) -> str:
    lines = [f"`{card['command']}`", ""]
    lines.append(f"- contents excluded from the 3D stage: {', '.join(card['holdout'])}")
    for name, steps in card["steps"].items():
        spent = " + ".join(f"{count} ({one})" for one, count in steps.items())
        lines.append(f"- {name}: {card['titles'][name]}; optimizer steps {spent}")
    seeds = ", ".join(map(str, card["seeds"]))
    lines.append(f"- seeds {seeds}; ± is the 95 % interval over them by Student's t; differences are paired")
    lines.append(
        f"- {card['store']}, split {card['split']}, windows of {card['seconds'][0]:g} to {card['seconds'][1]:g} s"
    )
    if card["evaluator"] is not None:
        evaluator = card["evaluator"]
        hashes = f"weights {evaluator['weights_hash'][:16]}, statistics {evaluator['statistics_hash'][:16]}"
        lines.append(f"- evaluator {evaluator['name']}, {hashes}")
    return "\n".join(lines)


def _known(measures: Mapping[str, Any], wanted: Sequence[tuple[str, str, int]]) -> list[tuple[str, str, int]]:
    return [entry for entry in wanted if entry[0] in measures]


def _name(card: Mapping[str, Any], row: str) -> str:
    return row if row == REAL else f"{row}: {card['titles'][row]}"


def _subset(card: Mapping[str, Any], subset: str) -> str:
    columns = _known(card["rows"][REAL][subset], MEASURES)
    body = [
        [_name(card, row), *(cell(scores[subset], name, digits) for name, _, digits in columns)]
        for row, scores in card["rows"].items()
    ]
    return table(["", *(heading for _, heading, _ in columns)], body)


def _difference(difference: Mapping[str, Any]) -> str:
    subsets = difference["subsets"]
    columns = _known(next(iter(subsets.values())), COMPARED)
    body = [[name, *(cell(scores, m, digits) for m, _, digits in columns)] for name, scores in subsets.items()]
    return table(["", *(heading for _, heading, _ in columns)], body)


def _by_content(card: Mapping[str, Any]) -> str:
    body = [
        [content, str(count), *(cell(scores[content], "accuracy", 2) for scores in card["contents"].values())]
        for content, count in card["num_by_content"].items()
    ]
    return table(["content", "n", *card["contents"]], body)


def draw_chart(card: Mapping[str, Any], path: str | Path, measure: str = "accuracy") -> None:
    """Writes a PNG bar chart: for every subset one bar per row, with a dot for every seed.

    A line through the top of the bar is the 95 % interval, clipped to 0 .. 1.

    Args:
        card: card of the study.
        path: file to write.
        measure: metric with values from 0 to 1.
    """
    rows, subsets = list(card["rows"]), list(card["num_motions"])
    group = max(BAR * len(rows) + GAP, LABEL)
    width, height = 2 * MARGIN + group * len(subsets), HEIGHT + 2 * MARGIN + 24 * len(rows)
    picture = Image.new("RGB", (width, height), PAPER)
    drawer, font = ImageDraw.Draw(picture), load_font(15)
    for tenth in range(0, 11, 2):
        y = _level(tenth / 10)
        drawer.line((MARGIN, y, width - MARGIN, y), fill=(226, 231, 238))
        drawer.text((MARGIN - 8, y), f"{tenth / 10:.1f}", font=font, fill=QUIET_INK, anchor="rm")
    for place, subset in enumerate(subsets):
        left = MARGIN + GAP // 2 + group * place
        label = f"{subset} ({card['num_motions'][subset]})"
        drawer.text((left + BAR * len(rows) / 2, _level(0) + 18), label, font=font, fill=INK, anchor="mm")
        for number, row in enumerate(rows):
            _bar(drawer, left + BAR * number, card["rows"][row][subset][measure], COLORS[number % len(COLORS)])
    for number, row in enumerate(rows):
        y = _level(0) + 52 + 24 * number
        drawer.rectangle((MARGIN, y - 7, MARGIN + 14, y + 7), fill=COLORS[number % len(COLORS)])
        drawer.text((MARGIN + 22, y), _name(card, row), font=font, fill=INK, anchor="lm")
    title = f"{measure}: mean over seeds {', '.join(map(str, card['seeds']))}; dots are seeds, lines 95 % intervals"
    drawer.text((MARGIN, 24), title, font=font, fill=INK, anchor="lm")
    with atomic_path(path) as temporary:
        picture.save(temporary, format="PNG")


def _level(value: float) -> float:
    """Row of the image, pixels, for a value from 0 to 1."""
    return MARGIN + HEIGHT * (1 - min(max(value, 0.0), 1.0))


def _bar(drawer: ImageDraw.ImageDraw, left: float, found: Mapping[str, Any], color: tuple[int, int, int]) -> None:
    if found["mean"] is None:
        return
    middle = left + BAR / 2
    drawer.rectangle((left + 3, _level(found["mean"]), left + BAR - 3, _level(0)), fill=color)
    if found["half_width"]:
        ends = [_level(found["mean"] + sign * found["half_width"]) for sign in (1, -1)]
        drawer.line((middle, *ends[:1], middle, *ends[1:]), fill=INK, width=2)
    for value in found["values"]:
        if value is not None:
            drawer.ellipse((middle - 3, _level(value) - 3, middle + 3, _level(value) + 3), fill=PAPER, outline=INK)
