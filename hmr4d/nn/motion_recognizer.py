"""A linear recognizer of actions in motion, with which a generator notices samples that do not show what was asked for.

The recognizer reads a summary of the whole motion: positions, speeds and turns, and their order. It is as linear as the
recognizer of sentences (`hmr4d.nn.action_recognizer`) and fitted in the same way, in about a minute.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from hmr4d.body.skeleton import SMPL22
from hmr4d.data.action_labels import mirror_labels
from hmr4d.data.store import MotionStore
from hmr4d.motion.canonical import align_to_floor, mirror
from hmr4d.nn.action_recognizer import RecognizerTraining, fit_linear
from hmr4d.nn.text_adapter import clip_actions
from hmr4d.utils.progress import progress

logger = logging.getLogger(__name__)

SMOOTHED_SECONDS = 0.25  # running mean of the features over time
PARTS = 4  # consecutive parts of the motion that are summarized separately
MIN_SECONDS = 1.25  # shorter clips of training are left out
MAX_SECONDS = 9.8  # longer clips of training are cut
CROPS = 2  # random sections of every clip in training, in addition to the whole clip
SMALLEST_SCALE = 1e-3  # of a feature whose values hardly differ
TRAINING = RecognizerTraining(steps=800, batch_size=512, drop_input=0.3, noise=0.3, learning_rate=3e-3, shrinkage=0.02)


def motion_summary(joints3d: Tensor, fps: float) -> Tensor:
    """Numbers (F,) that describe a motion of the SMPL skeleton, independent of its place, heading and frame rate.

    In the heading frame of the body they are mean, deviation, lowest and highest value over time of the joints'
    heights and offsets from the root (meters), of the root's velocity and turn (m/s, rad/s), and of the joints' speeds;
    the means of positions, root velocity and turn in four consecutive parts; the mean turn times the duration, and the
    size of this product.

    Args:
        joints3d: (L, 22, 3) meters, y up, L >= 2.
        fps: frames per second.

    Raises:
        ValueError: the motion has another shape.
    """
    if joints3d.ndim != 3 or joints3d.shape[1:] != (SMPL22.num_joints, 3) or len(joints3d) < 2:
        raise ValueError(
            f"A motion has shape {tuple(joints3d.shape)}; the recognizer needs (L, {SMPL22.num_joints}, 3), L >= 2."
        )
    joints3d = align_to_floor(joints3d.float()[None])[0]
    heading = _heading(joints3d)
    place = joints3d[:, :1] * joints3d.new_tensor([1.0, 0.0, 1.0])
    positions = _turned(joints3d - place, heading).flatten(1)
    velocities = _turned(_rate(joints3d, fps), heading)
    turn = _rate(heading[:, None], fps, period=2 * math.pi)
    path = torch.cat([velocities[:, 0], turn], 1)
    length = max(1, min(len(joints3d), round(SMOOTHED_SECONDS * fps)))
    positions, path, speeds = (
        values.unfold(0, length, 1).mean(-1) for values in (positions, path, velocities.norm(dim=-1))
    )
    total = turn.sum(0) / fps
    parts = [part.mean(0) for values in (positions, path) for part in _parts(values)]
    return torch.cat(
        [*(number for v in (positions, path, speeds) for number in _spread(v)), *parts, total, total.abs()]
    )


def _heading(joints3d: Tensor) -> Tensor:
    """(L,) heading of the body about the y axis, radians; 0 where it faces +z."""
    left_hip, right_hip, left_shoulder, right_shoulder = (
        joints3d[:, SMPL22.index(name)] for name in ("left_hip", "right_hip", "left_shoulder", "right_shoulder")
    )
    across = left_hip - right_hip + left_shoulder - right_shoulder
    return torch.atan2(-across[:, 2], across[:, 0])


def _turned(vectors: Tensor, heading: Tensor) -> Tensor:
    """Vectors (L, J, 3) in the heading frame, where the body faces +z and its left is +x."""
    cos, sin = heading.cos()[:, None], heading.sin()[:, None]
    x, y, z = vectors.unbind(-1)
    return torch.stack([cos * x - sin * z, y, sin * x + cos * z], -1)


def _rate(values: Tensor, fps: float, period: float | None = None) -> Tensor:
    """Change per second along the first axis; the first frame repeats that of the second."""
    step = values.diff(dim=0)
    if period is not None:
        step = torch.remainder(step + period / 2, period) - period / 2
    return torch.cat([step[:1], step]) * fps


def _spread(values: Tensor) -> tuple[Tensor, ...]:
    return values.mean(0), values.std(0, unbiased=False), values.amin(0), values.amax(0)


def _parts(values: Tensor) -> list[Tensor]:
    """Consecutive parts of nearly equal length along the first axis; a part of no frame is the nearest frame."""
    edges = [round(part * len(values) / PARTS) for part in range(PARTS + 1)]
    return [values[min(a, len(values) - 1) : max(b, a + 1)] for a, b in zip(edges[:-1], edges[1:], strict=True)]


@dataclass(frozen=True)
class MotionRecognizer:
    """Scores of G groups of actions, linear in the summary of a motion.

    Attributes:
        groups: names of the groups.
        weight: (G, F).
        bias: (G,).
    """

    groups: tuple[str, ...]
    weight: Tensor
    bias: Tensor

    def __post_init__(self) -> None:
        if self.weight.ndim != 2 or not len(self.groups) == len(self.weight) == len(self.bias):
            raise ValueError(
                f"A recognizer of {len(self.groups)} groups needs weights (G, F) and biases (G,); got "
                f"{tuple(self.weight.shape)} and {tuple(self.bias.shape)}."
            )

    def __call__(self, motions: Sequence[Tensor], fps: float) -> Tensor:
        """(B, G) probabilities of the groups for motions (L, 22, 3) each, meters, y up."""
        summaries = torch.stack([motion_summary(motion.detach().cpu(), fps) for motion in motions])
        if summaries.shape[1] != self.weight.shape[1]:
            raise ValueError(
                f"This recognizer of motion reads {self.weight.shape[1]} numbers of a motion, this version computes "
                f"{summaries.shape[1]}. Make the known actions again with hmr4d prepare text-adapter."
            )
        return torch.softmax(summaries @ self.weight.T + self.bias, -1)


def fit_motion_recognizer(
    paths: Sequence[str | Path], *, split: str | None = "train", training: RecognizerTraining = TRAINING
) -> MotionRecognizer | None:
    """Fits a recognizer of the groups of actions in the clips of stores, from 3D joints.

    Every clip counts as a whole and with random sections of it, since generated motion may last shorter. Mirrored clips
    count too, with the group of the other side, if `mirror_labels` knows it: one-handed actions of CMU motion were
    recorded with one hand only.

    Args:
        paths: folders of motion stores.
        split: split of the clips.
        training: training options.

    Returns: The recognizer; None if a store has another skeleton or the clips have fewer than two groups.
    """
    rng, summaries, labels = np.random.default_rng(training.seed), [], []
    for path in paths:
        store = MotionStore.open(path)
        if store.skeleton.joint_names != SMPL22.joint_names:
            logger.info("%s has another skeleton than SMPL: no recognizer of motion is made.", store.path)
            return None
        groups = [label and label[1] for label in clip_actions(store)]
        known = {group for group in groups if group}
        twins = {group: twin for group, twin in mirror_labels(sorted(known)).items() if twin in known}
        shortest, longest = (round(seconds * store.fps) for seconds in (MIN_SECONDS, MAX_SECONDS))
        for clip in progress(store.indices(split).tolist(), f"motion of {store.name}", unit="clip"):
            group, length = groups[clip], int(store.lengths[clip])
            if group is None or length < shortest:
                continue
            joints3d = torch.tensor(store.joints3d(clip))
            sections = [(0, length)]
            for _ in range(CROPS):
                frames = int(rng.integers(shortest, length + 1))
                sections.append((int(rng.integers(0, length - frames + 1)), frames))
            for first, frames in sections:
                section = joints3d[first : first + min(frames, longest)]
                summaries.append(motion_summary(section, store.fps))
                labels.append(group)
                if group in twins:
                    summaries.append(motion_summary(mirror(section), store.fps))
                    labels.append(twins[group])
    names = sorted(set(labels))
    if len(names) < 2:
        return None
    x, rows = torch.stack(summaries), torch.tensor([names.index(label) for label in labels])
    draw = rows.bincount().float()[rows] ** (training.prior_power - 1)
    mean, scale = x.mean(0), x.std(0) + SMALLEST_SCALE
    weight, bias = fit_linear((x - mean) / scale, rows, draw / draw.sum(), training)
    weight = weight / scale
    return MotionRecognizer(tuple(names), weight, bias - weight @ mean)
