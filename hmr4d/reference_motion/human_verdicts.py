"""Human verdicts on rendered clips, read from a file."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from hmr4d.reference_motion.vlm import Question, Verdict
from hmr4d.reference_motion.vlm_answer import Decision
from hmr4d.utils.text_files import load_unique_json, read_text

_DELIMITERS = ",;\t"
_STATES = {
    "yes": Decision.YES, "true": Decision.YES, "accept": Decision.YES, "1": Decision.YES,
    "no": Decision.NO, "false": Decision.NO, "reject": Decision.NO, "0": Decision.NO,
    "": Decision.UNDECIDED, "undecided": Decision.UNDECIDED, "none": Decision.UNDECIDED,
}  # fmt: skip


class HumanJudge:
    """Judge that reads verdicts by entry id.

    Args:
        path: a JSON object {id: verdict}, a JSON list of {"id": ..., "matches": ..., "analysis": ...}, or a CSV table
            with the columns id, matches and, if wanted, analysis, between commas, semicolons or tabs. A verdict is
            yes, no or undecided; also true, false, accept, reject, 1, 0. Entries that the file leaves out are
            undecided.

    Raises:
        FileNotFoundError: the file does not exist.
        ValueError: the file has another form, a verdict is invalid, or an id occurs twice.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        if not self.path.is_file():
            raise FileNotFoundError(f"Verdicts not found: {self.path}. Give a JSON or CSV file.")
        self.verdicts: dict[str, Verdict] = {}
        for name, matches, analysis in _rows(self.path):
            state = _STATES.get(str(matches).strip().lower())
            if state is None:
                raise ValueError(f"{self.path}: the verdict on {name!r} is {matches!r}; expected yes, no or undecided.")
            if name in self.verdicts:
                raise ValueError(f"{self.path}: there are two verdicts on {name!r}. Keep one.")
            reason = "undecided in the verdict file" if state is Decision.UNDECIDED else ""
            self.verdicts[name] = Verdict(state, analysis, reason=reason, source=self.source)

    @property
    def source(self) -> str:
        """Description of the source: people and file name."""
        return f"people, {self.path.name}"

    def verdict(self, question: Question) -> Verdict:
        """See `Judge`."""
        verdict = self.verdicts.get(question.name)
        reason = f"{self.path.name} has no verdict on {question.name!r}"
        return verdict or Verdict(Decision.UNDECIDED, reason=reason, source=self.source)

    def stop(self) -> None:
        """Does nothing, because no question to a file is waiting; see `Judge`."""


def _table(path: Path, text: str) -> list[dict[str, str]]:
    """Rows of a CSV table by its column names, in lower case; ValueError without the columns id and matches."""
    head = text.partition("\n")[0]
    rows = csv.reader(io.StringIO(text), delimiter=max(_DELIMITERS, key=head.count))
    names = [name.strip().lower() for name in next(rows, [])]
    if not {"id", "matches"} <= set(names):
        raise ValueError(f"{path} begins with {head[:80]!r}; expected names of columns, id and matches among them.")
    return [dict(zip(names, (cell.strip() for cell in row), strict=False)) for row in rows if any(row)]


def _rows(path: Path) -> Iterator[tuple[str, Any, str]]:
    text = read_text(path)
    if path.suffix.lower() == ".csv":
        table = _table(path, text)
    else:
        content = load_unique_json(text, str(path))
        if isinstance(content, Mapping):
            yield from ((name, matches, "") for name, matches in content.items())
            return
        table = content
    if not isinstance(table, list) or not all(isinstance(row, Mapping) and "id" in row for row in table):
        raise ValueError(
            f"{path} must be a JSON object, a JSON list of objects with id and matches, or a CSV table (.csv)."
        )
    for row in table:
        yield str(row["id"]), row.get("matches", ""), str(row.get("analysis") or "")
