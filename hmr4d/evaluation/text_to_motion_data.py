"""Real clips that generated motion is scored against: caption, excerpt, duration and seed of each item."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from hmr4d.data.clip_index import Example, IndexRules, build_index
from hmr4d.data.datasets import resample_linear
from hmr4d.data.store import ClipStore, open_store
from hmr4d.utils.randomness import ItemRandom, mix_seed

ANOTHER_PASS = 1 << 20  # distinguishes the seeds of a second pass over the real clips


@dataclass(frozen=True, order=True)
class Job:
    """One motion to generate. Sample 0 of an item is scored against its clip; all samples count for multimodality."""

    repeat: int
    item: int
    sample: int = 0


@dataclass(frozen=True)
class Excerpt:
    """The part of an item's real clip that is used in one repeat.

    Attributes:
        rows: (first, number) of the scored feature rows; None: all.
        seconds: duration of the motion to generate.
    """

    rows: tuple[int, int] | None
    seconds: float


class Cuts(Protocol):
    """Interface: selects the excerpts of clips that become items."""

    def index(self, store: ClipStore, split: str, rules: IndexRules) -> list[Example]: ...

    def draw(self, store: ClipStore, example: Example, rng: ItemRandom) -> Excerpt: ...

    def real(self, store: ClipStore, example: Example) -> Tensor: ...

    def real_fps(self, store: ClipStore) -> float: ...


class RowCuts:
    """Excerpts of feature rows by the common protocol: whole units, with one unit less in a third of the draws.

    A clip has one feature row less than frames. The features are computed for the whole clip and then cut, so the
    heading is relative to the first frame of the clip.

    Args:
        max_rows: largest number of rows of an item.
        unit: rows per unit.
        max_seconds: longest motion of the model; items are not longer.
    """

    spare_frames = 1  # frames beyond the rows: features look one frame ahead

    def __init__(self, *, max_rows: int = 196, unit: int = 4, max_seconds: float = 10.0) -> None:
        self.max_rows, self.unit, self.max_seconds = max_rows, unit, max_seconds

    def index(self, store: ClipStore, split: str, rules: IndexRules) -> list[Example]:
        """Examples in feature rows; the durations of `rules` are rows over the store's rate."""
        return build_index(store, split, rules, spare_frames=self.spare_frames)

    def draw(self, store: ClipStore, example: Example, rng: ItemRandom) -> Excerpt:
        """Draws the number of units, then the first row."""
        length = example.end - example.start
        longest = min(self.max_rows, int(self.max_seconds * store.fps) - self.spare_frames)
        units = length // self.unit - (1 if rng.integer(3) == 2 else 0)
        count = self.unit * max(min(units, longest // self.unit), 1)
        first = example.start + rng.integer(length - count + 1)
        return Excerpt((first, count), (count + self.spare_frames) / store.fps)

    def real(self, store: ClipStore, example: Example) -> Tensor:
        """The whole clip."""
        return torch.from_numpy(np.array(store.points(example.clip)))

    def real_fps(self, store: ClipStore) -> float:
        """The store's rate."""
        return store.fps


class KeypointCuts(RowCuts):
    """`RowCuts` for clips of 2D keypoints (L, 18, 3): each frame is a row."""

    spare_frames = 0


class FrameCuts:
    """Whole clips and timed parts of clips, resampled to the model's frame rate first, as in the
    evaluation of the published model.

    Args:
        fps: frame rate of the model.
    """

    def __init__(self, *, fps: float = 30.0) -> None:
        self.fps = fps

    def index(self, store: ClipStore, split: str, rules: IndexRules) -> list[Example]:
        """Examples in frames of the store."""
        return build_index(store, split, rules)

    def draw(self, store: ClipStore, example: Example, rng: ItemRandom) -> Excerpt:
        """Uses the example unchanged."""
        frames = int((example.end - example.start) * (self.fps / store.fps))
        return Excerpt(None, frames / self.fps)

    def real(self, store: ClipStore, example: Example) -> Tensor:
        """The frames of the example, interpolated linearly to the model's rate as for its training."""
        joints3d = torch.from_numpy(np.array(store.points(example.clip)[example.start : example.end]))
        return resample_linear(joints3d, self.fps / store.fps)

    def real_fps(self, store: ClipStore) -> float:
        """The model's rate."""
        return self.fps


@dataclass(frozen=True)
class Variety:
    """Number of captions with several samples per repeat, and number of samples for each of them."""

    captions: int = 0
    samples: int = 1


class ScoredClips(Dataset[dict[str, Any]]):
    """Motions to generate for a score, and the real clips that they are scored against.

    Caption and excerpt of item i in repeat r depend on (seed + r, i) alone, the noise of its sample k on (seed + r, i,
    k) alone. They do not depend on batches, devices, the number of repeats or earlier draws.

    Items of the loader are those of the chosen jobs (`choose`): `text` str, `seconds` float, `seed`, `repeat`, `item`
    and `sample` int, `length` 1.

    Args:
        store: folder of a store of 3D motion or of 2D keypoints, or an open one.
        split: name of the split.
        cuts: selects the excerpts that become items.
        rules: selects the clips that become items.
        min_seconds: shortest motion of the model. For a shorter item the model generates this duration, and only its
            beginning is scored.
        repeats: number of replications.
        seed: seed of repeat 0.
        limit: number of items to score, evenly spaced in the set; None: all.
        variety: captions with several samples.
    """

    text_cache = None

    def __init__(
        self,
        store: ClipStore | str,
        split: str = "test",
        *,
        cuts: Cuts,
        rules: IndexRules,
        min_seconds: float = 0.0,
        repeats: int = 1,
        seed: int = 0,
        limit: int | None = None,
        variety: Variety | None = None,
    ) -> None:
        if repeats < 1 or (limit is not None and limit < 1):
            raise ValueError(f"repeats is {repeats} and limit {limit}; both must be at least 1.")
        self.store = store if isinstance(store, ClipStore) else open_store(store)
        self.split, self.cuts, self.rules, self.min_seconds = split, cuts, rules, min_seconds
        self.repeats, self.seed, self.variety = repeats, seed, variety or Variety()
        self.examples = cuts.index(self.store, split, rules)
        if not self.examples:
            raise ValueError(f"No clips to score against in {self.store.path}, split '{split}', under {rules}.")
        count = len(self.examples)
        chosen = np.linspace(0, count - 1, min(limit or count, count)).round().astype(int)
        self.items: list[int] = chosen.tolist()
        self._chosen_jobs: list[Job] | None = None

    # --- jobs ---------------------------------------------------------------------------------------------------------

    @cached_property
    def jobs(self) -> list[Job]:
        """All motions that the score needs, repeat by repeat, sorted by duration."""
        jobs = {Job(repeat, item) for repeat, item in self.main_jobs()}
        jobs |= {
            Job(repeat, item, sample)
            for repeat in range(self.repeats)
            for item in self.varied_items(repeat)
            for sample in range(self.variety.samples)
        }
        return sorted(jobs, key=lambda job: (job.repeat, self.excerpt(job.repeat, job.item).seconds, job))

    def main_jobs(self) -> list[tuple[int, int]]:
        """(repeat, item) of every motion that is scored against its clip, in the order of `items.json`."""
        return [(repeat, item) for repeat in range(self.repeats) for item in self.items]

    def take_given(self, num_motions: int) -> None:
        """Sets the number of repeats from `num_motions` external motions, without multimodality captions.

        Raises:
            ValueError: the number of motions is no multiple of the number of items.
        """
        if num_motions < 1 or num_motions % len(self.items):
            raise ValueError(
                f"There are {num_motions} motions for a test of {len(self.items)} items. Give one motion for each "
                "item, or several complete repeats, in the order of items.json."
            )
        self.repeats, self.variety = num_motions // len(self.items), Variety()
        self.__dict__.pop("jobs", None)

    def varied_items(self, repeat: int) -> list[int]:
        """Items with several samples in a repeat."""
        rng = np.random.default_rng(mix_seed(self.seed + repeat))
        count = min(self.variety.captions, len(self.items))
        return sorted(int(i) for i in rng.choice(self.items, count, replace=False))

    def choose(self, jobs: Iterable[Job]) -> None:
        """Selects the jobs whose items the data loader returns."""
        self._chosen_jobs = list(jobs)

    def __len__(self) -> int:
        return len(self.jobs if self._chosen_jobs is None else self._chosen_jobs)

    def __getitem__(self, index: int) -> dict[str, Any]:
        job = (self.jobs if self._chosen_jobs is None else self._chosen_jobs)[index]
        return {**self.request(job), "length": 1, **asdict(job)}

    def request(self, job: Job) -> dict[str, Any]:
        """The request to a model: `text` str, `seconds` float, `seed` int."""
        return {
            "text": self.text(job.repeat, job.item),
            "seconds": max(self.excerpt(job.repeat, job.item).seconds, self.min_seconds),
            "seed": mix_seed(self.seed + job.repeat, job.item, job.sample),
        }

    # --- items --------------------------------------------------------------------------------------------------------

    def draw(self, repeat: int, item: int, *, another: bool = False) -> tuple[int, Excerpt]:
        """Row of the caption in the store's table, and the excerpt.

        Args:
            repeat, item: indices.
            another: draw for a second pass over the real clips; its draws are independent.
        """
        rng = ItemRandom.from_seed(mix_seed(self.seed + repeat, item, *([ANOTHER_PASS] if another else [])))
        caption = rng.choices.choice(self.examples[item].captions)
        return caption, self.cuts.draw(self.store, self.examples[item], rng)

    def text(self, repeat: int, item: int) -> str:
        """The caption of an item."""
        return self.store.caption_texts[self.draw(repeat, item)[0]]

    def word_tokens(self, repeat: int, item: int, text: str | None = None) -> str:
        """ "word/POS word/POS" tokens of the caption of an item, or of another caption `text` of the same item.

        Raises:
            ValueError: `text` is no caption of the item.
        """
        caption = self.draw(repeat, item)[0]
        if text is not None and text != self.store.caption_texts[caption]:
            known = {self.store.caption_texts[c]: c for c in self.examples[item].captions}
            if text not in known:
                name = self.store.names[self.examples[item].clip]
                raise ValueError(
                    f"Item {item} (clip '{name}') has no caption '{text}'; it has {sorted(known)}. Give the motions in "
                    "the order of the items."
                )
            caption = known[text]
        return " ".join(self.store.caption_tokens[caption])

    def excerpt(self, repeat: int, item: int, *, another: bool = False) -> Excerpt:
        """The excerpt of an item, see `draw`."""
        return self.draw(repeat, item, another=another)[1]

    def real(self, item: int) -> Tensor:
        """(L, J, 3) joints, or (L, J + 1, 3) 2D keypoints, of the clip of an item at `real_fps`.

        `Excerpt.rows` selects the scored part.
        """
        return self.cuts.real(self.store, self.examples[item])

    @property
    def real_fps(self) -> float:
        """Frame rate of the real clips."""
        return self.cuts.real_fps(self.store)

    @cached_property
    def sha256(self) -> str:
        """Hash of the joints, the captions and the order of the split's examples."""
        digest = hashlib.sha256()
        for example in self.examples:
            name, words = self.store.names[example.clip], [self.store.caption_texts[c] for c in example.captions]
            digest.update(repr((name, example.start, example.end, words)).encode())
            digest.update(np.ascontiguousarray(self.store.points(example.clip)).data)
        return digest.hexdigest()

    def identity(self) -> dict[str, Any]:
        """Metadata that determine the items."""
        cuts = {"kind": type(self.cuts).__name__, **vars(self.cuts)}
        metadata = {
            "name": self.store.name,
            "split": self.split,
            "fps": self.store.fps,
            "seed": self.seed,
            "cuts": cuts,
        }
        return metadata | {"min_seconds": self.min_seconds, "sha256": self.sha256}

    @property
    def place(self) -> Path:
        """Path of the store."""
        return self.store.path
