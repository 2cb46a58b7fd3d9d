"""Scores of sets of motions: recognized actions and physical metrics, per content and over repeats."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from scipy.stats import t as student_t
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from hmr4d.body.skeleton import SMPL22
from hmr4d.data.action_labels import SYNONYMS
from hmr4d.evaluation.action_recognition import ContentClassifier, LabeledMotion, accuracy, resample_clip
from hmr4d.metrics.physical import physical_metrics, to_neutral_height
from hmr4d.motion.canonical import align_to_floor

CONFIDENCE = 0.95


@dataclass(frozen=True)
class MotionScores:
    """Scores of a set of motions, clip by clip.

    Attributes:
        wanted: requested content of each motion.
        predicted: content that the classifier predicts.
        physical: metric -> (N,) values, see `hmr4d.metrics.physical`; `with_measures` adds others.
    """

    wanted: tuple[str, ...]
    predicted: tuple[str, ...]
    physical: Mapping[str, Tensor]


@dataclass(frozen=True)
class Interval:
    """A mean over repeats.

    Attributes:
        mean: mean; NaN if all repeats are NaN.
        half_width: half width of the 95 % confidence interval by Student's t; NaN for a single repeat.
        values: value of each repeat.
    """

    mean: float
    half_width: float
    values: tuple[float, ...]


def score_motion(classifier: ContentClassifier, motion: LabeledMotion, *, batch_size: int = 64) -> MotionScores:
    """Scores real or generated motions.

    Each clip is resampled to the frame rate of the classifier, aligned to the floor and scaled to the neutral body
    height.

    Args:
        classifier: action-recognition classifier.
        motion: clips labeled with the requested contents.
        batch_size: clips per batch.
    """
    clips = [resample_clip(clip, motion.fps, classifier.fps) for clip in motion.clips]
    measured: dict[str, list[Tensor]] = {}
    for start in range(0, len(clips), batch_size):
        batch = clips[start : start + batch_size]
        lengths = torch.tensor([len(clip) for clip in batch])
        joints3d = pad_sequence(batch, batch_first=True)
        joints3d = to_neutral_height(align_to_floor(joints3d, lengths), lengths)
        measures = physical_metrics(joints3d, lengths, classifier.fps) | {"upright": upright_share(joints3d, lengths)}
        for name, values in measures.items():
            measured.setdefault(name, []).append(values)
    predicted = classifier.predict(LabeledMotion(clips, motion.labels, classifier.fps), batch_size=batch_size)
    return MotionScores(tuple(motion.labels), tuple(predicted), {k: torch.cat(v) for k, v in measured.items()})


def upright_share(joints3d: Tensor, lengths: Tensor) -> Tensor:
    """(B,) fraction of frames with the head above the pelvis, of motions (B, L, 22, 3), y up, with `lengths` (B,)."""
    head, pelvis = SMPL22.indices("head", "pelvis")
    above = joints3d[:, :, head, 1] > joints3d[:, :, pelvis, 1]
    counts = torch.arange(joints3d.shape[1]) < lengths[:, None]
    return (above & counts).sum(1) / lengths


def only(scores: MotionScores, contents: Collection[str]) -> MotionScores:
    """The scores of the motions whose requested content is one of `contents`."""
    return pick(scores, [i for i, content in enumerate(scores.wanted) if content in contents])


def pick(scores: MotionScores, rows: Sequence[int]) -> MotionScores:
    """The scores of the motions with indices `rows`."""
    rows = list(rows)
    return MotionScores(
        tuple(scores.wanted[i] for i in rows),
        tuple(scores.predicted[i] for i in rows),
        {name: values[rows] for name, values in scores.physical.items()},
    )


def summarize(scores: MotionScores) -> dict[str, float]:
    """Metric -> mean over a set of motions. `content_mean_accuracy` is the mean over contents of the accuracy per
    content.

    Undefined values (NaN) are excluded from the mean.
    """
    predicted, labels = scores.predicted, scores.wanted
    by_content = [
        accuracy([p for p, w in zip(predicted, labels, strict=True) if w == content], [content] * labels.count(content))
        for content in sorted(set(labels))
    ]
    return {
        "accuracy": accuracy(predicted, labels),
        "accuracy_synonyms": accuracy(predicted, labels, SYNONYMS),
        "content_mean_accuracy": sum(by_content) / len(by_content) if by_content else math.nan,
    } | {name: float(values.nanmean()) for name, values in scores.physical.items()}


def interval(values: Sequence[float]) -> Interval:
    """Mean over repeats with its 95 % confidence interval; NaN values are excluded."""
    known = [v for v in values if not math.isnan(v)]
    if not known:
        return Interval(math.nan, math.nan, tuple(values))
    mean = sum(known) / len(known)
    if len(known) == 1:
        return Interval(mean, math.nan, tuple(values))
    deviation = math.sqrt(sum((v - mean) ** 2 for v in known) / (len(known) - 1))
    factor = float(student_t.ppf((1 + CONFIDENCE) / 2, len(known) - 1))
    return Interval(mean, factor * deviation / math.sqrt(len(known)), tuple(values))


def with_measures(scores: MotionScores, more: Mapping[str, Tensor]) -> MotionScores:
    """The scores with additional metrics, name -> (N,) values."""
    return MotionScores(scores.wanted, scores.predicted, {**scores.physical, **more})


def plain_interval(values: Sequence[float]) -> dict[str, Any]:
    """`interval` as plain values for a card: {"mean", "half_width", "values"}, NaN becomes None."""
    result = interval(values)
    return {
        "mean": _plain(result.mean),
        "half_width": _plain(result.half_width),
        "values": [_plain(v) for v in result.values],
    }


def over_repeats(repeats: Sequence[MotionScores]) -> dict[str, Any]:
    """Summary of one set over several seeds, as plain values for a card (NaN becomes None).

    Returns:
        {"num_motions": per repeat, "repeats": number, "all": measures, "contents": {content: measures}}; measures are
        {name: {"mean", "half_width", "values"}}.
    """
    contents = sorted(set(repeats[0].wanted))
    return {
        "num_motions": len(repeats[0].wanted),
        "repeats": len(repeats),
        "all": _measures([summarize(r) for r in repeats]),
        "contents": {
            content: {
                "num_motions": repeats[0].wanted.count(content),
                **_measures([summarize(only(r, {content})) for r in repeats]),
            }
            for content in contents
        },
    }


def _measures(summaries: Sequence[Mapping[str, float]]) -> dict[str, Any]:
    return {name: plain_interval([s[name] for s in summaries]) for name in summaries[0]}


def _plain(value: float) -> float | None:
    return None if math.isnan(value) else value
