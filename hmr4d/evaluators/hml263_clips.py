"""Training and test clips of the published evaluators, with identical captions, crops, order and random draws.

Guo et al., CVPR 2022. The module reads a folder of feature files in HumanML3D layout like the published code. With two
random generators in the same states, the items are identical.
"""

from __future__ import annotations

import logging
import random
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset

from hmr4d.data.importers.humanml3d import read_texts
from hmr4d.data.importers.splits import read_name_list
from hmr4d.data.store_writer import Caption
from hmr4d.representation.hml263 import NUM_FEATURES, Hml263Statistics
from hmr4d.utils.progress import progress

logger = logging.getLogger(__name__)

FPS = 20
MIN_ROWS, MAX_ROWS = 40, 200  # shorter clips, and clips of MAX_ROWS or more, are excluded
PADDED_ROWS = 196
UNIT_ROWS = 4
CROPS = ("single", "single", "double")  # largest number of removed units: one, one, two
MAX_WORDS = 20  # words per caption; additional words are dropped
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVW"  # prefixes in the names of parts of clips


@dataclass(frozen=True)
class EvaluationEntry:
    """A clip or a part of a clip, with the captions that describe all of it.

    Attributes:
        name: name of the clip; parts have a letter as prefix.
        path: path of the feature file.
        start, num_rows: range of its rows.
        captions: at least one caption.
    """

    name: str
    path: Path
    start: int
    num_rows: int
    captions: tuple[Caption, ...]


class EvaluationClips(Dataset[dict[str, Any]]):
    """Captions and normalized, padded features of a split, sorted by length.

    Each item draws a caption and a crop from the generators, so items depend on earlier draws, as in the published
    code. Parts of clips with their own captions are separate entries; their letters are drawn at construction.

    Args:
        root: folder with `new_joint_vecs/*.npy`, `texts/*.txt` and `<split>.txt`.
        split: name of the list file.
        statistics: normalization statistics.
        choices: generator of captions, letters and starts of crops.
        crops: generator of the number of removed units.

    Attributes:
        entries: sources of the items.
        dropped: name -> reason, for listed clips without entry.

    Raises:
        FileNotFoundError: files are missing; the message names all.
        ValueError: no clip remains.
    """

    def __init__(
        self,
        root: str | Path,
        split: str,
        *,
        statistics: Hml263Statistics,
        choices: random.Random,
        crops: np.random.RandomState,
    ) -> None:
        root = Path(root)
        wanted = (root / f"{split}.txt", root / "new_joint_vecs", root / "texts")
        if missing := [str(path) for path in wanted if not path.exists()]:
            raise FileNotFoundError(f"HumanML3D features not found: {', '.join(missing)}. See docs/data.md.")
        self.statistics, self.choices, self.crops = statistics, choices, crops
        self.dropped: dict[str, str] = {}
        entries: dict[str, EvaluationEntry] = {}
        for name in progress(read_name_list(wanted[0]), split, unit="clip"):
            try:
                self._add(entries, name, wanted[1] / f"{name}.npy", wanted[2] / f"{name}.txt")
            except (OSError, ValueError, EOFError) as error:
                logger.warning("Clip '%s' cannot be read (%s) and is excluded.", name, error)
                self.dropped[name] = "cannot be read"
        self.entries = sorted(entries.values(), key=lambda entry: entry.num_rows)
        reasons = "; ".join(f"{n} x {reason}" for reason, n in sorted(Counter(self.dropped.values()).items()))
        logger.info("%s: %d clips and parts; excluded: %s.", split, len(self.entries), reasons or "none")
        if not self.entries:
            raise ValueError(f"Split '{split}' of {root} has no clip of {MIN_ROWS} to {MAX_ROWS - 1} rows ({reasons}).")

    def __len__(self) -> int:
        return len(self.entries)

    def __getitem__(self, index: int) -> dict[str, Any]:
        """One item with new random draws.

        Returns:
            features: (196, 263) float32, normalized, zero beyond `num_rows`.
            num_rows: a multiple of 4.
            text, tokens: the caption and its "word/POS" tokens, joined by spaces.
        """
        entry = self.entries[index]
        caption = self.choices.choice(entry.captions)
        units = entry.num_rows // UNIT_ROWS - (self.crops.choice(CROPS) == "double")
        start = self.choices.randint(0, entry.num_rows - units * UNIT_ROWS)
        rows = _read(entry.path)[entry.start + start :][: units * UNIT_ROWS]
        features = torch.zeros(PADDED_ROWS, NUM_FEATURES)
        features[: len(rows)] = self.statistics.normalize(torch.from_numpy(rows))
        return {"features": features, "num_rows": len(rows), "text": caption.text, "tokens": " ".join(caption.tokens)}

    def _add(self, entries: dict[str, EvaluationEntry], name: str, path: Path, text: Path) -> None:
        """Adds the parts of a clip, then the clip itself."""
        total = len(np.load(path, mmap_mode="r", allow_pickle=False))
        if not MIN_ROWS <= total < MAX_ROWS:
            self.dropped[name] = "too short" if total < MIN_ROWS else "too long"
            return
        whole: list[Caption] = []
        for caption in read_texts(text):
            if caption.start_s == 0 and caption.end_s == 0:
                whole.append(caption)
                continue
            start, end, _ = slice(int(caption.start_s * FPS), int(caption.end_s * FPS)).indices(total)
            if MIN_ROWS <= end - start < MAX_ROWS:
                part = self._letter(entries, name)
                entries[part] = EvaluationEntry(part, path, start, end - start, (caption,))
        if whole:
            entries[name] = EvaluationEntry(name, path, 0, total, tuple(whole))
        else:
            self.dropped[name] = "no caption of the whole clip"

    def _letter(self, entries: dict[str, EvaluationEntry], name: str) -> str:
        """An unused name for a part of a clip."""
        if all(f"{letter}_{name}" in entries for letter in LETTERS):
            raise ValueError(f"more than {len(LETTERS)} captions of parts")
        while (part := f"{self.choices.choice(LETTERS)}_{name}") in entries:
            pass
        return part


def _read(path: Path) -> np.ndarray:
    """(F, 263) float32 rows of a feature file."""
    rows = np.load(path, allow_pickle=False)
    if rows.ndim != 2 or rows.shape[1] != NUM_FEATURES:
        raise ValueError(
            f"{path} has shape {rows.shape}; expected (rows, {NUM_FEATURES}) features. Encode the clip again."
        )
    return np.asarray(rows, dtype=np.float32)
