"""Result cards: a table of metrics with the metadata that a reader needs to check and repeat it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from hmr4d.metrics.intervals import Value
from hmr4d.utils.files import write_json, write_text

GROUND_TRUTH = "ground truth"
GENERATED = "generated"
VERSION = 1
EARLIER_NAMES = {"facts": "settings"}  # names of entries in earlier files
AVERAGES = {"frames": "Mean over all frames", "clips": "Mean over clips of their means"}
AnyCard = TypeVar("AnyCard", bound="Card")
# Metric -> heading; The arrow shows the better direction. Without an arrow, values closer to the ground truth are
# better.
HEADINGS = {
    "fid": "FID ↓",
    "fid_halves": "FID of halves",
    "r_precision_top_1": "R@1 ↑",
    "r_precision_top_2": "R@2 ↑",
    "r_precision_top_3": "R@3 ↑",
    "r_precision_texts_top_1": "R@1 of texts ↑",
    "r_precision_texts_top_2": "R@2 of texts ↑",
    "r_precision_texts_top_3": "R@3 of texts ↑",
    "matching_score": "Matching ↓",
    "diversity": "Diversity",
    "multimodality": "Multimodality",
    "r_precision_all_top_10": "R@10 of all ↑",
    "r_precision_all_top_20": "R@20 of all ↑",
    "r_precision_all_top_30": "R@30 of all ↑",
    "foot_skating": "Foot skating m/s",
    "floor_penetration": "Floor penetration m",
    "jitter": "Jitter m/s³",
    "bone_length_variation": "Bone length variation %",
    "floor_clearance": "Floor clearance m",
    "root_speed": "Root speed m/s",
    "root_speed_error": "Root speed error m/s ↓",
    "abs_mpjpe": "Abs-MPJPE mm ↓",
    "mpjpe": "MPJPE mm ↓",
    "pa_mpjpe": "PA-MPJPE mm ↓",
    "pa_seq": "PA of sequence mm ↓",
    "w_mpjpe": "W-MPJPE mm ↓",
    "wa_mpjpe": "WA-MPJPE mm ↓",
    "t_root": "T_root mm ↓",
    "t_root_l1": "T_root (coordinates) mm ↓",
    "rte_percent": "RTE % ↓",
    "accel_m_s2": "Acceleration error m/s² ↓",
    "jitter_10m_s3": "Jitter 10 m/s³",
    "foot_sliding": "Foot sliding mm ↓",
}


@dataclass(frozen=True, kw_only=True)
class Card:
    """Common parts of all result cards.

    Attributes:
        rows: row name -> metric name -> value.
        set_name: evaluated set, such as "humanml3d/test".
        set_size: motions per repeat.
        seed: seed of the first repeat.
        protocol: evaluation protocol, such as "standard".
        command: command that reproduces this card.
        date: date in ISO 8601.
        notes: remarks on the numbers, such as a warning about a FID of too few samples.
    """

    FORMAT: ClassVar[str]
    DECIMALS: ClassVar[int] = 3
    TABLES: ClassVar[tuple[str, ...]] = ("rows",)

    rows: Mapping[str, Mapping[str, Value]]
    set_name: str
    set_size: int
    seed: int
    protocol: str
    command: str
    date: str
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Checks that the card can be repeated.

        Raises:
            ValueError: the card has no rows or lacks required metadata.
        """
        if not self.rows:
            raise ValueError("The card has no rows; score something first.")
        if missing := [name for name in self._needed() if not getattr(self, name)]:
            raise ValueError(f"The card lacks {', '.join(missing)}; without it the result cannot be repeated.")

    def _needed(self) -> list[str]:
        """Required metadata."""
        return ["set_name", "protocol", "command", "date"]

    def table(self) -> str:
        """The card as Markdown that is also readable as plain text."""
        return "\n".join([*self._tables(), "", *self._fact_lines()]) + "\n"

    def _tables(self) -> list[str]:
        """Lines above the metadata."""
        names = {name for row in self.rows.values() for name in row}
        columns = [name for name in HEADINGS if name in names] + sorted(names - HEADINGS.keys())
        return _table_lines(self.rows, columns, self.DECIMALS)

    def to_json(self) -> dict[str, Any]:
        """The card as plain values; the inverse of `from_json`."""
        tables = {name: _plain_rows(getattr(self, name)) for name in self.TABLES}
        metadata = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in (*self.TABLES, "notes")}
        return {"format": self.FORMAT, "version": VERSION, **tables, **metadata, "notes": list(self.notes)}

    @classmethod
    def from_json(cls: type[AnyCard], content: Mapping[str, Any]) -> AnyCard:
        """The card that `to_json` wrote.

        Raises:
            ValueError: the content is no such card or a card of another version.
        """
        if content.get("format") != cls.FORMAT or content.get("version") != VERSION:
            raise ValueError(
                f"This is {content.get('format')!r} version {content.get('version')!r}; expected {cls.FORMAT!r} "
                f"version {VERSION}: a file that {cls.__name__}.write wrote."
            )
        metadata = {
            EARLIER_NAMES.get(name, name): value for name, value in content.items() if name not in ("format", "version")
        }
        try:
            tables = {name: _read_rows(metadata.pop(name)) for name in cls.TABLES}
            return cls(notes=tuple(metadata.pop("notes")), **tables, **metadata)
        except (AttributeError, KeyError, TypeError) as error:
            raise ValueError(f"The card is damaged ({error}); run its evaluation again.") from error

    def write(self, folder: str | Path, name: str = "card") -> Path:
        """Writes <name>.json and <name>.md into a folder and returns the path of the JSON file."""
        path = Path(folder) / f"{name}.json"
        write_json(path, self.to_json())
        write_text(path.with_suffix(".md"), self.table())
        return path

    @classmethod
    def read(cls: type[AnyCard], path: str | Path) -> AnyCard:
        """Reads a card from a JSON file.

        Raises:
            FileNotFoundError: the file does not exist.
            ValueError: the file contains no card.
        """
        path = Path(path)
        if not path.is_file():
            raise FileNotFoundError(f"No result card {path}; run the evaluation that writes it.")
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise ValueError(f"{path} is not JSON ({error}); run its evaluation again.") from error
        if not isinstance(content, dict):
            raise ValueError(f"{path} contains a {type(content).__name__}; expected the JSON object of a result card.")
        return cls.from_json(content)

    def _metadata(self) -> dict[str, str]:
        """Metadata below the table: name -> value, in order."""
        return {"set": f"{self.set_name}, {self.set_size} motions", "seed": str(self.seed)}

    def _fact_lines(self) -> list[str]:
        metadata = self._metadata() | {"command": f"`{self.command}`", "date": self.date}
        return [f"- {name}: {value}" for name, value in metadata.items()] + [f"- note: {note}" for note in self.notes]


@dataclass(frozen=True, kw_only=True)
class ResultCard(Card):
    """Metrics of generated motion; one row is "ground truth".

    Attributes:
        evaluator, evaluator_hash: name of the evaluator and sha256 of its weights.
        statistics_hash: sha256 of the normalization statistics of the evaluator's input.
        checkpoint, checkpoint_hash: weights of the generating model; None if the card has real motion only.
    """

    FORMAT: ClassVar[str] = "hmr4d-result-card"

    evaluator: str
    evaluator_hash: str
    statistics_hash: str
    checkpoint: str | None
    checkpoint_hash: str | None

    def __post_init__(self) -> None:
        """Checks that the card is complete.

        Raises:
            ValueError: the card has no row of real motion, has a FID but none of real motion, or lacks metadata.
        """
        real = self.rows.get(GROUND_TRUTH)
        if not real:
            raise ValueError(
                f"The card has rows {sorted(self.rows)} but none named {GROUND_TRUTH!r}; "
                "score the real motions by the same protocol and add them."
            )
        if any("fid" in row for row in self.rows.values()) and not {"fid", "fid_halves"} & real.keys():
            raise ValueError(
                f"The card has a FID but its {GROUND_TRUTH!r} row has none; add 'fid' of a second pass over the real "
                "motions or 'fid_halves' of two halves of them."
            )
        super().__post_init__()

    def _needed(self) -> list[str]:
        needed = ["set_name", "protocol", "evaluator", "evaluator_hash", "statistics_hash", "command", "date"]
        return [*needed, "checkpoint", "checkpoint_hash"] if GENERATED in self.rows else needed

    def _metadata(self) -> dict[str, str]:
        repeats = sorted({value.repeats for row in self.rows.values() for value in row.values()})
        return {
            "set": f"{self.set_name}, {self.set_size} motions",
            "protocol": f"{self.protocol}; mean ± 95 % interval over {' or '.join(map(str, repeats))} repeats",
            "seed": str(self.seed),
            "evaluator": f"{self.evaluator}, sha256 {self.evaluator_hash}",
            "statistics": f"sha256 {self.statistics_hash}",
            "checkpoint": f"{self.checkpoint}, sha256 {self.checkpoint_hash}" if self.checkpoint else "none",
        }


@dataclass(frozen=True, kw_only=True)
class LiftingCard(Card):
    """Errors of lifted motion against the true motion; each row is a method.

    Attributes:
        average: average in `rows`: "frames" (mean over all frames) or "clips" (mean over the clips' means).
        other_rows: rows with the other average.
        num_sequences: number of recorded motions. A motion recorded by several cameras gives several clips.
        num_frames: number of scored frames.
        num_views: number of cameras of a rig.
        fps: frames per second.
        joints: description of the scored joints.
        settings: metadata, name -> sentence: rigs, 2D input and other settings that affect the numbers.
        weights: row -> source of its motions: the method or, for a network, file, sha256 and training data.
    """

    FORMAT: ClassVar[str] = "hmr4d-lifting-card"
    DECIMALS: ClassVar[int] = 1
    TABLES: ClassVar[tuple[str, ...]] = ("rows", "other_rows")

    average: str
    other_rows: Mapping[str, Mapping[str, Value]]
    num_sequences: int
    num_frames: int
    num_views: int
    fps: float
    joints: str
    settings: Mapping[str, str]
    weights: Mapping[str, str]

    def __post_init__(self) -> None:
        """Checks that the card can be repeated.

        Raises:
            ValueError: a row has no source, the average is unknown, or metadata is missing.
        """
        super().__post_init__()
        if self.average not in AVERAGES:
            raise ValueError(f"average is {self.average!r}; choose one of {', '.join(AVERAGES)}.")
        if unnamed := [row for row in self.rows if row != GROUND_TRUTH and not self.weights.get(row)]:
            raise ValueError(f"The card names no source for {', '.join(unnamed)}; add the source to `weights`.")

    def _tables(self) -> list[str]:
        other = next(name for name in AVERAGES if name != self.average)
        lines: list[str] = []
        for average, rows in ((self.average, self.rows), (other, self.other_rows)):
            names = {name for row in rows.values() for name in row}
            columns = [name for name in HEADINGS if name in names]
            lines += ["", f"{AVERAGES[average]}:", "", *_table_lines(rows, columns, self.DECIMALS)]
        return lines[1:]

    def _metadata(self) -> dict[str, str]:
        lifted = {f"{row} by": source for row, source in self.weights.items()}
        return {
            "set": f"{self.set_name}: {self.set_size} clips of {self.num_sequences} sequences, {self.num_frames} "
            f"frames at {self.fps:g} per second; rigs of {self.num_views} cameras",
            "protocol": f"{self.protocol}; mean ± 95 % interval over sequences",
            "joints": self.joints,
            **self.settings,
            **lifted,
            "seed": str(self.seed),
        }


def _table_lines(rows: Mapping[str, Mapping[str, Value]], columns: list[str], decimals: int) -> list[str]:
    """A Markdown table whose columns are aligned."""
    header = ["", *(HEADINGS.get(name, name) for name in columns)]
    body = [[row, *(_cell(values.get(name), decimals) for name in columns)] for row, values in rows.items()]
    widths = [max(len(line[i]) for line in (header, *body)) for i in range(len(header))]
    lines = [_line(header, widths), _line(["-" * width for width in widths], widths)]
    return [*lines, *(_line(line, widths) for line in body)]


def _plain_rows(rows: Mapping[str, Mapping[str, Value]]) -> dict[str, dict[str, Any]]:
    return {row: {name: asdict(value) for name, value in values.items()} for row, values in rows.items()}


def _read_rows(rows: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Value]]:
    return {row: {name: Value(**value) for name, value in values.items()} for row, values in rows.items()}


def _cell(value: Value | None, decimals: int) -> str:
    if value is None:
        return ""
    if value.mean is None:
        return "not defined"
    mean = f"{value.mean:.{decimals}f}"
    return mean if value.interval is None else f"{mean} ± {value.interval:.{decimals}f}"


def _line(cells: list[str], widths: list[int]) -> str:
    """A line of a Markdown table."""
    return "| " + " | ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)) + " |"
