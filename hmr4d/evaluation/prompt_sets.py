"""Prompt sets for scoring text-to-motion models: prompts, requested content, and duration."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from hmr4d.data.action_labels import clips_of, labeled_clips
from hmr4d.data.store import MotionStore
from hmr4d.data.windows import FreeWindows
from hmr4d.evaluation.action_recognition import LabeledMotion
from hmr4d.utils.randomness import ItemRandom, mix_seed
from hmr4d.utils.text_files import read_yaml


@dataclass(frozen=True)
class PromptSet:
    """Prompts with requested content and duration.

    Attributes:
        name: name of the set.
        prompts: wordings of each item; repeat r uses wording r modulo their number.
        contents: requested content of each item.
        seconds: requested duration of each item.
        numbers: index of each item in the whole set; its noise depends on this index and the seed.
    """

    name: str
    prompts: list[list[str]]
    contents: list[str]
    seconds: list[float]
    numbers: list[int]

    def __len__(self) -> int:
        return len(self.contents)

    def wordings(self, repeat: int) -> list[str]:
        """The prompt of each item in a repeat."""
        return [words[repeat % len(words)] for words in self.prompts]

    def lasting(self, seconds: float | None, bounds: tuple[float, float]) -> PromptSet:
        """The set with one duration for all items; None: the set itself.

        Raises:
            ValueError: the model cannot generate motion of this duration.
        """
        if seconds is None:
            return self
        if not bounds[0] <= seconds <= bounds[1]:
            raise ValueError(
                f"--seconds {seconds:g} is outside the durations of the model; give {bounds[0]:g} to {bounds[1]:g}."
            )
        return PromptSet(
            f"{self.name} at {seconds:g} s", self.prompts, self.contents, [seconds] * len(self), self.numbers
        )


def spread(count: int, limit: int | None) -> list[int]:
    """Indices of at most `limit` of `count` items, evenly spaced."""
    if limit is None or limit >= count:
        return list(range(count))
    if limit < 1:
        raise ValueError(f"--limit is {limit}; give at least 1, or remove it.")
    return np.linspace(0, count - 1, limit).round().astype(int).tolist()


def caption_set(store: MotionStore, split: str, seconds_range: tuple[float, float], limit: int | None) -> PromptSet:
    """The captions of a split, each with the duration of its clip, clamped to the range."""
    clips = labeled_clips(store, split)
    numbers = spread(len(clips), limit)
    chosen = clips[numbers].tolist()
    return PromptSet(
        "captions",
        prompts=[[store.caption_texts[c.caption] for c in store.clip_captions(clip)] for clip in chosen],
        contents=[store.labels["content"][clip] for clip in chosen],
        seconds=[clamp(float(store.lengths[clip]) / store.fps, seconds_range) for clip in chosen],
        numbers=numbers,
    )


def free_set(
    name: str,
    prompts: Mapping[str, Sequence[str]],
    store: MotionStore,
    seconds_range: tuple[float, float],
    limit: int | None,
) -> PromptSet:
    """Prompts by content, each with the median duration of the content's clips in the store, clamped to the range.

    Raises:
        ValueError: the store has no clip of a content or of its special cases.
    """
    clips = {content: clips_of(store, content) for content in prompts}
    unknown = sorted(content for content, indices in clips.items() if not len(indices))
    if unknown:
        raise ValueError(
            f"Prompts '{name}' contain contents that store '{store.name}' does not have: {unknown}. "
            "Remove them or choose another store."
        )
    pairs = [(content, prompt) for content, wordings in prompts.items() for prompt in wordings]
    numbers = spread(len(pairs), limit)
    typical = {c: clamp(float(np.median(store.lengths[clips[c]])) / store.fps, seconds_range) for c in prompts}
    chosen = [pairs[n] for n in numbers]
    return PromptSet(
        name, [[prompt] for _, prompt in chosen], [c for c, _ in chosen], [typical[c] for c, _ in chosen], numbers
    )


def read_prompts(path: Path) -> dict[str, list[str]]:
    """Content -> prompts, from a YAML file. Raises FileNotFoundError or ValueError if there is no such file."""
    if not path.is_file():
        raise FileNotFoundError(f"Prompts {path} not found. Give the name of a prompt set (see --help) or a YAML file.")
    prompts = read_yaml(path)
    if not isinstance(prompts, dict) or not all(
        isinstance(v, list) and all(isinstance(p, str) for p in v) for v in prompts.values()
    ):
        raise ValueError(f"{path} must map each content to a list of prompts, such as 'walk: [a stroll in the park]'.")
    return prompts


def clamp(value: float, bounds: tuple[float, float]) -> float:
    """`value`, clamped to the bounds."""
    return min(max(value, bounds[0]), bounds[1])


def real_motion(store: MotionStore, split: str, prompts: PromptSet) -> LabeledMotion:
    """Real clips of the captions of a split, with the requested durations.

    Longer clips are cut. Shorter clips are extended by repetition or by holding a pose, as in the training of a
    generator, where this is possible (`FreeWindows`); the others stay shorter.
    """
    clips = labeled_clips(store, split)[prompts.numbers].tolist()
    free = FreeWindows(tempo=1.0)
    joints = []
    for clip, seconds in zip(clips, prompts.seconds, strict=True):
        frames, whole = round(seconds * store.fps), torch.tensor(store.joints3d(clip))
        if len(whole) < frames:
            rng = ItemRandom.from_seed(mix_seed(clip))
            whole = free.fit(whole, frames, fps=store.fps, rng=rng, clip=clip)
        joints.append(whole[:frames])
    return LabeledMotion(joints, prompts.contents, store.fps)
