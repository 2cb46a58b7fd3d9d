"""Captions files of users: CSV, TSV, text and JSON, matched with their clips."""

from __future__ import annotations

import csv
import difflib
import io
import logging
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from hmr4d.utils.text_files import TextError, load_unique_json, printable, read_text

logger = logging.getLogger(__name__)

_HEADINGS = ("file", "name")  # first cell of a line that is a heading
_NAME_COLUMNS = (*_HEADINGS, "file_name", "filename", "clip", "motion", "path")
_SPREADSHEETS = (".xlsx", ".xls", ".ods", ".numbers")
_ENDINGS = (".bvh", ".json", ".npz", ".npy", ".csv", ".pkl")  # of motion and keypoint files
_TAGGED = re.compile(r"#[^#\s]+/[A-Z]+[ #]")  # a caption followed by its words with their kinds
_CAPTION_COLUMNS = ("caption", "text", "description")


@dataclass(frozen=True)
class CaptionTable:
    """Content of a captions file.

    Attributes:
        captions: file name or relative path, without its ending -> captions, in file order.
        places: the same key -> "captions.csv, line 3", for messages.
    """

    captions: Mapping[str, list[str]]
    places: Mapping[str, str] = field(default_factory=dict)

    def of_clips(self, clips: Mapping[str, str], *, skip_unknown: bool = False) -> dict[str, list[str]]:
        """Captions of each clip.

        Args:
            clips: clip name -> path of its file below the folder, with its ending.
            skip_unknown: warn about captions of unknown clips instead of stopping.

        Raises:
            ValueError: captions name an unknown clip, or an ambiguous one; the message names the file and the line.
        """
        by_path: dict[str, list[str]] = {}
        by_name: dict[str, list[str]] = {}
        for clip, path in clips.items():
            for name in {_plain(path), _plain(_stem(path))}:
                by_path.setdefault(name, []).append(clip)
            for name in {_plain(clip), _plain(_stem(path).rpartition("/")[2])}:
                by_name.setdefault(name, []).append(clip)
        found: dict[str, list[str]] = {clip: [] for clip in clips}
        unknown: list[str] = []
        for key, texts in self.captions.items():
            plain = _plain(key)
            meant = by_path.get(plain) or by_name.get(plain, [])
            if len(meant) > 1:
                files = ", ".join(sorted(clips[clip] for clip in meant)[:3])
                raise ValueError(
                    f"{self._place(key)}: '{key}' may be any of {files}. Write the folder before the name."
                )
            if meant:
                found[meant[0]] += texts
            else:
                unknown.append(key)
        if unknown and not skip_unknown:
            raise ValueError(self._unknown(unknown, clips))
        if unknown:
            logger.warning("%s These captions are skipped.", self._unknown(unknown, clips))
        return found

    def _place(self, key: str) -> str:
        return self.places.get(key, "The captions")

    def _unknown(self, unknown: list[str], clips: Mapping[str, str]) -> str:
        """A message about the first unknown name, and their number."""
        stems = {_stem(path).lower(): _stem(path) for path in [*clips.values()][:2000]}
        near = difflib.get_close_matches(unknown[0].lower(), stems, 1, 0.5)
        hint = f"did you mean '{stems[near[0]]}'?" if near else f"the first clip is '{next(iter(clips))}'."
        count = f" {len(unknown)} of {len(self.captions)} names are unknown." if len(unknown) > 1 else ""
        if len(unknown) == len(self.captions):
            count = f" The captions name none of the {len(clips)} clips."
        return f"{self._place(unknown[0])}: no clip is called '{printable(unknown[0][:80])}'; {hint}{count}"


def read_captions_file(path: str | Path) -> CaptionTable:
    """Captions of a file in UTF-8, or in UTF-16 with its mark.

    `.json`: {"name": "caption"} or {"name": ["caption", ...]}. `.csv`: name,caption per line, a caption with commas in
    quotation marks. `.tsv` and `.txt`: name<tab>caption. A first line that begins with "file" or "name", or that has a
    column of names and one of captions, is a heading. With one, columns may have any order, all those called caption,
    caption2 or text ... are read, and others are named. A name may come on several lines.

    Raises:
        FileNotFoundError: the file does not exist. ValueError: malformed; the message names the file and the line.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"Captions file not found: {path}.")
    if path.suffix.lower() in _SPREADSHEETS:
        raise TextError(f"{path} is a spreadsheet. Save it as CSV (UTF-8) with the columns file,caption.")
    text = read_text(path)
    if path.suffix.lower() == ".json":
        return _read_json(text, path)
    return _read_table(text, path)


def _read_json(text: str, path: Path) -> CaptionTable:
    table = load_unique_json(text, str(path))
    if not isinstance(table, dict):
        raise TextError(f"{path} must contain an object of file name -> caption or list of captions.")
    captions: dict[str, list[str]] = {}
    for key, value in table.items():
        values = [value] if isinstance(value, str) else value
        if not isinstance(values, list) or not all(isinstance(v, str) for v in values):
            shown = printable(repr(value))[:80]
            raise TextError(f"{path}: '{printable(key)}' needs a caption or a list of captions, got {shown}.")
        if not _stem(key):
            raise TextError(f"{path}: the captions {printable(repr(value))[:80]} have no file name.")
        captions.setdefault(_stem(key), []).extend(v.strip() for v in values if v.strip())
    return CaptionTable(captions, {key: str(path) for key in captions})


def _read_table(text: str, path: Path) -> CaptionTable:
    is_csv = path.suffix.lower() == ".csv"
    reader = csv.reader(io.StringIO(text, newline=""), delimiter="," if is_csv else "\t", strict=True)
    captions: dict[str, list[str]] = {}
    places: dict[str, str] = {}
    layout, begin = _Columns(2, 0, (1,)), 1
    try:
        for row in reader:
            place, begin = f"{path}, line {begin}", reader.line_num + 1
            if not any(cell.strip() for cell in row):
                continue
            if not captions and place.endswith(" 1") and _is_heading(row):
                layout = _heading(row, place)
                continue
            texts = _texts(row, layout, place, is_csv=is_csv)
            key = _stem(row[layout.name])
            captions.setdefault(key, []).extend(texts)
            places.setdefault(key, place)
    except csv.Error as error:
        raise TextError(
            f"{path}, line {begin}: {printable(str(error))}; is a quotation mark not closed, or not doubled?"
        ) from error
    return CaptionTable(captions, places)


@dataclass(frozen=True)
class _Columns:
    """Number of columns of a table, the one of names, and those of captions."""

    width: int
    name: int
    captions: tuple[int, ...]


def _is_heading(row: list[str]) -> bool:
    names = [cell.strip().lower() for cell in row]
    return names[0] in _HEADINGS or bool(set(names) & set(_NAME_COLUMNS) and any(map(_is_caption_column, names)))


def _is_caption_column(name: str) -> bool:
    """caption, captions, caption_2, text1, description ..."""
    return name.rstrip("0123456789_ ").removesuffix("s") in _CAPTION_COLUMNS


def _heading(row: list[str], place: str) -> _Columns:
    names = [cell.strip().lower() for cell in row]
    if len(names) < 2:
        raise TextError(f"{place}: the heading {row} has no column of captions; expected file,caption.")
    name = next((i for i, cell in enumerate(names) if cell in _NAME_COLUMNS), 0)
    captions = tuple(i for i, cell in enumerate(names) if _is_caption_column(cell)) or (1,)
    if others := [cell.strip() for i, cell in enumerate(row) if i not in (name, *captions)]:
        logger.info("%s: columns %s are not read.", place, printable(", ".join(others)))
    return _Columns(len(names), name, captions)


def _texts(row: list[str], layout: _Columns, place: str, *, is_csv: bool) -> list[str]:
    """Captions of a row; TextError unless it has a name, a caption and no more columns than the heading."""
    shown = printable(str(row))[:120]
    if len(row) == 1 and is_csv and ";" in row[0]:
        raise TextError(f"{place}: fields are separated by semicolons, got {shown}. Separate them by commas.")
    cells = [row[i] for i in layout.captions if i < len(row)]
    texts = [cell.strip() for cell in cells if cell.strip()]
    if len(row) <= layout.name or not _stem(row[layout.name]) or not texts:
        raise TextError(f"{place}: expected a file name and a caption, got {shown}.")
    if len(row) > layout.width:
        advice = (
            'Put a caption with commas in straight quotation marks (")'
            if is_csv
            else "One tab stands before the caption"
        )
        raise TextError(f"{place}: {len(row)} fields where {layout.width} were expected, got {shown}. {advice}.")
    if any(unicodedata.category(sign) == "Cc" for text in texts for sign in text if sign not in "\n\r\t"):
        raise TextError(f"{place}: a caption has a control character, got {shown}. Remove it.")
    if any(_TAGGED.search(text) for text in texts):
        raise TextError(
            f"{place}: got {shown}, a line of HumanML3D's texts. Write the caption alone, up to the first #."
        )
    if any(mark in cell for cell in (row[layout.name], *cells) for mark in "\n\r"):
        raise TextError(f"{place}: a line ends within quotation marks, got {shown}. Close them, or write one line.")
    return texts


def _stem(name: str) -> str:
    name = name.strip().replace("\\", "/").removeprefix("./")
    ending = next((e for e in _ENDINGS if name.lower().endswith(e)), "")
    return name[: len(name) - len(ending)]


def _plain(name: str) -> str:
    """The name in one Unicode normalization, since macOS separates accents."""
    return unicodedata.normalize("NFC", name)
