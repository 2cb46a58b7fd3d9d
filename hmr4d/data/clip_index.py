"""Selection of training examples: clip sections and their captions."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from hmr4d.data.store import ClipStore

logger = logging.getLogger(__name__)

Labels = Mapping[str, Sequence[str]] | None  # kind -> values


@dataclass(frozen=True)
class Example:
    """Frames [start, end) of a clip and the captions (indices into the store's table) that describe them."""

    clip: int
    start: int
    end: int
    captions: tuple[int, ...]


@dataclass(frozen=True)
class IndexRules:
    """Rules for the examples of a split.

    Attributes:
        min_seconds, max_seconds: examples shorter than the first are dropped; longer than the second are dropped, or
            kept for random windows.
        keep_long: keep long clips; the dataset cuts a random window of at most max_seconds.
        required_text, anti_text: keep a caption only when it contains any of the former and none of the latter.
        labels: label kind -> values to keep, or None for all.
        exclude_labels: label kind -> values to exclude.
    """

    min_seconds: float = 2.0
    max_seconds: float = 10.0
    keep_long: bool = False
    required_text: tuple[str, ...] = ()
    anti_text: tuple[str, ...] = ()
    labels: dict[str, list[str]] | None = None
    exclude_labels: dict[str, list[str]] | None = None


def build_index(store: ClipStore, split: str | None, rules: IndexRules, *, spare_frames: int = 0) -> list[Example]:
    """Examples of a split, in its order: timed captions first, each separately, then the whole clip with the others.

    The log lists the number of excluded clips and captions with the reason.

    Args:
        store: store of the clips.
        split: name of the split.
        rules: selection rules.
        spare_frames: number of unused frames at the end of every clip; 1 for feature rows from frame differences, of
            which a clip has one less.

    Raises:
        ValueError: the rules name a kind of label that the store does not have.
    """
    labeled = set(labeled_clips(store, split, rules.labels, rules.exclude_labels))
    shortest, longest = round(rules.min_seconds * store.fps), round(rules.max_seconds * store.fps)
    examples: list[Example] = []
    dropped = {"label": 0, "too short": 0, "too long": 0, "no caption left": 0, "timed caption of other length": 0}
    for clip in store.indices(split).tolist():
        frames = int(store.lengths[clip]) - spare_frames
        if clip not in labeled:
            dropped["label"] += 1
            continue
        if frames < shortest or (frames > longest and not rules.keep_long):
            dropped["too short" if frames < shortest else "too long"] += 1
            continue
        whole: list[int] = []
        timed = 0
        for caption, start_s, end_s in store.clip_captions(clip):
            if not _text_fits(store.caption_texts[caption], rules):
                continue
            if start_s == 0.0 and end_s == 0.0:
                whole.append(caption)
                continue
            start, end = int(store.fps * start_s), min(int(store.fps * end_s), frames)
            if shortest <= end - start <= longest:
                examples.append(Example(clip, start, end, (caption,)))
                timed += 1
            else:
                dropped["timed caption of other length"] += 1
        if whole:
            examples.append(Example(clip, 0, frames, tuple(whole)))
        elif not timed:
            dropped["no caption left"] += 1
    reasons = ", ".join(f"{n} {reason}" for reason, n in dropped.items() if n)
    logger.info(
        "%s/%s: %d examples%s.", store.name, split or "all", len(examples), f" (left out: {reasons})" if reasons else ""
    )
    return examples


def labeled_clips(
    store: ClipStore, split: str | None, labels: Labels = None, exclude_labels: Labels = None
) -> list[int]:
    """Clips of a split whose labels are all among `labels` and not among `exclude_labels`, in the split's order.

    Raises:
        ValueError: a kind of label that the store does not have.
    """
    wanted, banned = labels or {}, exclude_labels or {}
    if unknown := sorted({*wanted, *banned} - store.labels.keys()):
        raise ValueError(
            f"The index rules name label kinds {unknown}; motion store '{store.name}' has {sorted(store.labels)}."
        )
    return [
        clip
        for clip in store.indices(split).tolist()
        if all(store.labels[kind][clip] in values for kind, values in wanted.items())
        and all(store.labels[kind][clip] not in values for kind, values in banned.items())
    ]


def _text_fits(text: str, rules: IndexRules) -> bool:
    if rules.required_text and not any(part in text for part in rules.required_text):
        return False
    return not any(part in text for part in rules.anti_text)
