"""Captioned 2D motion from video as single-view items: from a 2D store, or from files of the published release.

A `.pth` file contains a dict of clip name -> {`incam_joints` (at least F, 22, 2) pixels, `pred_scores` (F, 22) in [0,
1], `name`, `video_path`, ...}; one or two JSON files contain clip name -> caption. They are untrusted: the file is read
without executing code, and unusable clips are skipped and counted by reason.

Of the published rules for its own video collection these are not implemented because they depend on the names of one
dataset: adjacent EgoExo segments merged into longer clips, EgoExo captions replaced by activity names, and its person
letters replaced by person words.
"""

from __future__ import annotations

import logging
import pickle
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from hmr4d.body.skeleton import SMPL22
from hmr4d.data.datamodule import Mixture, MotionSource
from hmr4d.data.datasets import resample_linear
from hmr4d.data.store import KeypointStore
from hmr4d.geometry.cameras import square_intrinsics
from hmr4d.keypoint_files.smpl_joints import observed_joints
from hmr4d.representation.bbox import bbox, normalize_points
from hmr4d.representation.views import PATCH
from hmr4d.utils.progress import progress
from hmr4d.utils.randomness import ItemRandom, mix_seed
from hmr4d.utils.safe_pickle import UnsafePickleError, load_arrays_pickle
from hmr4d.utils.tensors import interpolate_gaps
from hmr4d.utils.text_files import load_unique_json, read_text

logger = logging.getLogger(__name__)

NUM_JOINTS = 22
CAM_DIM = 5
TEXTS_PER_CALL = 256


class Embedder(Protocol):
    """Interface of the text encoder: features with `tokens` (B, M, C), `valid` (B, M) and `pooled` (B, C)."""

    name: str

    def encode(self, texts: list[str]) -> Any: ...


@dataclass(frozen=True)
class VideoRules:
    """Rules for selecting and reading clips, with the published values.

    Attributes:
        min_frames: shorter clips are dropped; frames of the file.
        max_seconds: longer clips give a random window of this length.
        low_conf: a confidence below it is low.
        max_low_share: a joint that is low in a larger share of the frames has its confidence zeroed over the clip.
        slow_marker: files with this in their path have 15 frames a second, others 30.
        still_camera: a clip whose path contains one of these has one box for all frames; others have a box per frame.
        repeats: part of a clip's name or video path -> how often the clip is listed; the largest one counts.
        second_caption_prob: probability of another caption than the first, if there are several. sentence_prob:
            probability of one sentence instead of the whole caption, if it has several.
    """

    min_frames: int = 30
    max_seconds: float = 10.0
    low_conf: float = 0.65
    max_low_share: float = 0.5
    slow_marker: str = "15fps"
    still_camera: Sequence[str] = ("music",)
    repeats: Mapping[str, int] = field(
        default_factory=lambda: {"climb": 3, "soccer": 2, "basketball": 2, "cpr": 2, "Motion_Xpp": 2}
    )
    second_caption_prob: float = 0.7
    sentence_prob: float = 0.5


@dataclass(frozen=True)
class VideoClip:
    """One usable clip.

    Attributes:
        name: key in the file.
        place: name and video path, which the rules search for words.
        joints2d: (F, 22, 2) float32 pixels.
        conf: (F, 22) float32.
        captions: one or two; from a store, all of them. has_moving_box: a box per frame instead of one for the clip.
    """

    name: str
    place: str
    joints2d: np.ndarray
    conf: np.ndarray
    captions: tuple[str, ...]
    has_moving_box: bool


class CaptionFeatures:
    """Embeddings of captions in memory, read like the text cache of a store; the empty prompt is the last row."""

    def __init__(self, texts: Sequence[str], encoder: Embedder) -> None:
        self.encoder = encoder.name
        rows = [*texts, ""]
        self._tokens: list[np.ndarray] = []
        pooled: list[np.ndarray] = []
        for start in progress(range(0, len(rows), TEXTS_PER_CALL), f"text ({encoder.name})", unit="batch"):
            features = encoder.encode(rows[start : start + TEXTS_PER_CALL])
            for tokens, valid in zip(features.tokens.cpu(), features.valid.cpu(), strict=True):
                self._tokens.append(tokens[valid].numpy().astype(np.float16))
            pooled.append(features.pooled.cpu().numpy().astype(np.float32))
        self._pooled = np.concatenate(pooled)

    @property
    def null_caption(self) -> int:
        """Row of the empty prompt."""
        return len(self._tokens) - 1

    def tokens(self, caption: int) -> np.ndarray:
        """(M, C) float16 token states of one caption."""
        return self._tokens[caption]

    def pooled(self, caption: int) -> np.ndarray:
        """(C,) float32 pooled vector of one caption."""
        return self._pooled[caption]


class VideoMotion2D(Dataset[dict[str, Any]]):
    """Detected 2D motion as items of one view, with the keys of `MotionViews`.

    `joints2d` (1, L, 22, 2) box units, joints 1 to 21 and the next root; `conf` (L, 22). There is no 3D: `joints3d` (L,
    22, 3), `cam` (1, 5) and `elevation_cam` (4,) are zeros, `T_w2c` (1, 4, 4) is the identity.

    Args:
        path: the `.pth` file, or the folder of a 2D store, whose joints are converted to SMPL joints where possible.
        text_path, text_path2: JSON files clip name -> caption; the second is optional. A store has its own captions.
        split: of a store; None for all its clips.
        rules: see `VideoRules`.
        fps: rate of the items; motion is interpolated linearly to it, confidences too.
        text_encoder: builds the encoder that embeds all captions once; None: text stays as strings. seed: seed of items
            requested only by index.
    """

    def __init__(
        self, path: str | Path, text_path: str | Path | None = None, *, split: str | None = None,
        text_path2: str | Path | None = None, rules: VideoRules | None = None, fps: float = 30.0,
        text_encoder: Callable[[], Embedder] | None = None, seed: int = 0,
    ) -> None:  # fmt: skip
        self.rules, self.fps, self.seed = rules or VideoRules(), fps, seed
        if Path(path).is_dir():
            store = KeypointStore.open(path)
            self.source_fps, self.clips = store.fps, store_clips(store, split, self.rules)
        elif text_path is None:
            raise ValueError(f"{path} is no folder of a 2D store; a file of keypoints needs a text_path of captions.")
        else:
            self.source_fps = 15.0 if self.rules.slow_marker in str(path) else 30.0
            self.clips = read_clips(path, text_path, text_path2, self.rules)
        self.examples = [i for i, clip in enumerate(self.clips) for _ in range(clip_repeats(clip, self.rules))]
        wordings = dict.fromkeys(w for c in self.clips for t in c.captions for w in (t, *sentences(t)))
        self.caption_texts = list(wordings)
        self._caption_of = {text: row for row, text in enumerate(self.caption_texts)}
        self.text_cache: Any = None
        if text_encoder is not None:
            self.text_cache = CaptionFeatures(self.caption_texts, text_encoder())

    def __len__(self) -> int:
        return len(self.examples)

    def num_frames(self, index: int, seed: int | None = None) -> int:
        """Frames of item `index` before a random window is cut."""
        return int(len(self.clips[self.examples[index]].joints2d) * self.fps / self.source_fps)

    def balance_weights(self, power: float = 0.5) -> np.ndarray:
        """(N,) even sampling weights; `repeats` of the rules are what balances these clips."""
        return np.full(len(self), 1.0 / len(self))

    def __getitem__(self, index: int | tuple[int, int]) -> dict[str, Any]:
        """Item by index, or by (index, seed) for the training sampler."""
        index, seed = index if isinstance(index, tuple) else (index, mix_seed(self.seed, index))
        return self.item(index, ItemRandom.from_seed(seed))

    def item(self, index: int, rng: ItemRandom) -> dict[str, Any]:
        """Item `index` drawn from given generators. Order of draws: caption, window."""
        clip = self.clips[self.examples[index]]
        caption = self._draw_caption(clip, rng)
        factor = self.fps / self.source_fps
        tracks = torch.from_numpy(np.concatenate([clip.joints2d, clip.conf[..., None]], -1))
        tracks = self._window(resample_linear(tracks, factor), rng)
        tracks = torch.cat([tracks, torch.cat([tracks[1:, :1], tracks[-1:, :1]])], 1)  # (L, 23, 3), next root last
        pixels, conf = tracks[..., :2], tracks[..., 2]
        low = (conf < self.rules.low_conf).float().mean(0) > self.rules.max_low_share
        points = normalize_points(pixels, bbox(pixels, per_frame=clip.has_moving_box))[:, 1:]
        length = len(points)
        item = {
            "joints2d": points[None],
            "conf": (conf * ~low)[:, 1:],
            "joints3d": torch.zeros(length, NUM_JOINTS, 3),
            "T_w2c": torch.eye(4)[None],
            "K": square_intrinsics(PATCH)[None],
            "cam": torch.zeros(1, CAM_DIM),
            "elevation_cam": torch.zeros(4),
            "is_perspective": True,
            "length": length,
            "text": caption,
            "caption": self._caption_of[caption],
        }
        if self.text_cache is not None:
            item["text_tokens"] = torch.from_numpy(self.text_cache.tokens(item["caption"]).astype(np.float32))
            item["text_pooled"] = torch.from_numpy(np.array(self.text_cache.pooled(item["caption"])))
        return item

    def _window(self, tracks: Tensor, rng: ItemRandom) -> Tensor:
        longest = round(self.rules.max_seconds * self.fps)
        if len(tracks) <= longest:
            return tracks
        start = rng.integer(len(tracks) - longest + 1)
        return tracks[start : start + longest]

    def _draw_caption(self, clip: VideoClip, rng: ItemRandom) -> str:
        first, *others = clip.captions
        is_other = bool(others) and rng.choices.random() < self.rules.second_caption_prob
        caption = rng.choices.choice(others) if is_other else first
        parts = sentences(caption)
        if parts and rng.choices.random() < self.rules.sentence_prob:
            return rng.choices.choice(parts)
        return caption


def sentences(caption: str) -> list[str]:
    """The sentences of a caption with a full stop each, without what follows the last one; [] for a single one."""
    parts = [part.strip() for part in caption.split(".")[:-1]]
    parts = [f"{part}." for part in parts if part]
    return parts if len(parts) > 1 else []


def clip_repeats(clip: VideoClip, rules: VideoRules) -> int:
    """How often a clip is listed."""
    place = clip.place.lower()
    return max([times for part, times in rules.repeats.items() if part.lower() in place], default=1)


def read_clips(
    path: str | Path, text_path: str | Path, text_path2: str | Path | None, rules: VideoRules
) -> list[VideoClip]:
    """The usable clips of a file, in its order; skipped ones are logged by reason.

    Raises:
        FileNotFoundError: missing files; the message lists all of them.
        ValueError: a file has another layout, or no clip is usable.
    """
    files = [Path(p) for p in (path, text_path, text_path2) if p is not None]
    if missing := [str(p) for p in files if not p.is_file()]:
        raise FileNotFoundError(f"Video motion files not found: {', '.join(missing)}. See docs/published_commands.md.")
    table = _read_table(path)
    if not isinstance(table, dict):
        raise ValueError(f"{path} contains a {type(table).__name__}; expected a dict of clip name -> keypoints.")
    texts = [_read_captions(p) for p in files[1:]]
    clips: list[VideoClip] = []
    dropped: dict[str, list[str]] = {}
    for name, entry in table.items():
        joints2d, conf = _read_tracks(path, str(name), entry)
        captions = tuple(t[name] for t in texts if t.get(name, "").strip())
        if reason := _unusable(joints2d, conf, captions, rules):
            dropped.setdefault(reason, []).append(str(name))
            continue
        place = f"{name} {entry.get('video_path', '')}"
        is_still = any(part in f"{path} {place}" for part in rules.still_camera)
        clips.append(VideoClip(str(name), place, joints2d, conf, captions, not is_still))
    return _log_dropped(path, clips, dropped)


def store_clips(store: KeypointStore, split: str | None, rules: VideoRules) -> list[VideoClip]:
    """The usable clips of a 2D store as SMPL-22 joints; skipped ones are logged by reason.

    Temporarily missing joints are interpolated linearly, joints without any detection are placed at their parent, both
    with confidence 0.

    Raises:
        ValueError: no clip is usable.
    """
    clips: list[VideoClip] = []
    dropped: dict[str, list[str]] = {}
    for index in store.indices(split).tolist():
        keypoints = torch.from_numpy(np.array(store.keypoints(index)[:, :-1]))
        points, conf = observed_joints(keypoints[..., :2], keypoints[..., 2], store.skeleton, SMPL22)
        for joint, parent in enumerate(SMPL22.parents):
            seen = conf[:, joint] > 0
            points[:, joint] = interpolate_gaps(points[:, joint], seen) if seen.any() else points[:, max(parent, 0)]
        captions = tuple(store.caption_texts[c.caption] for c in store.clip_captions(index))
        name, joints2d, sure = store.names[index], points.numpy(), conf.numpy()
        reason = _unusable(joints2d, sure, captions, rules)
        if not reason and not (sure[:, 0] > 0).any():
            reason = "without hips and shoulders"
        if reason:
            dropped.setdefault(reason, []).append(name)
            continue
        is_still = any(part in f"{store.path} {name}" for part in rules.still_camera)
        clips.append(VideoClip(name, name, joints2d, sure, captions, not is_still))
    return _log_dropped(store.path, clips, dropped)


def _log_dropped(path: str | Path, clips: list[VideoClip], dropped: Mapping[str, list[str]]) -> list[VideoClip]:
    """The clips, with a log of skipped ones; ValueError if none remains."""
    reasons = ", ".join(f"{len(names)} {reason} (such as {names[0]})" for reason, names in dropped.items())
    if not clips:
        raise ValueError(f"{path} has no usable clip: {reasons or 'it is empty'}.")
    logger.info("%s: %d clips%s.", path, len(clips), f" (left out: {reasons})" if reasons else "")
    return clips


def _read_table(path: str | Path) -> Any:
    """Content of the `.pth` file, arrays or tensors, read without running anything in it."""
    try:
        return load_arrays_pickle(path)
    except UnsafePickleError as error:
        try:
            return torch.load(path, map_location="cpu", weights_only=True)
        except (RuntimeError, EOFError, pickle.UnpicklingError, zipfile.BadZipFile):
            raise error from None


def _read_captions(path: Path) -> dict[str, str]:
    table = load_unique_json(read_text(path), str(path))
    if not isinstance(table, dict) or not all(isinstance(text, str) for text in table.values()):
        raise ValueError(f"{path} must contain an object of clip name -> caption.")
    return table


def _read_tracks(path: str | Path, name: str, entry: Any) -> tuple[np.ndarray, np.ndarray]:
    """(F, 22, 2) and (F, 22) of one entry, cut to the frames that have scores."""
    try:
        joints2d = np.asarray(entry["incam_joints"], dtype=np.float32)
        conf = np.asarray(entry["pred_scores"], dtype=np.float32)
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"{path}, clip '{name}': expected arrays 'incam_joints' and 'pred_scores' ({error!r})."
        ) from error
    if (
        joints2d.ndim != 3
        or joints2d.shape[1:] != (NUM_JOINTS, 2)
        or conf.shape[1:] != (NUM_JOINTS,)
        or len(joints2d) < len(conf)
    ):
        raise ValueError(
            f"{path}, clip '{name}': incam_joints {joints2d.shape} and pred_scores {conf.shape}; expected "
            f"(>= F, {NUM_JOINTS}, 2) and (F, {NUM_JOINTS})."
        )
    return joints2d[: len(conf)], conf


def _unusable(joints2d: np.ndarray, conf: np.ndarray, captions: tuple[str, ...], rules: VideoRules) -> str:
    """Why a clip is skipped, or ""."""
    if len(conf) < rules.min_frames:
        return "too short"
    if not captions:
        return "without caption"
    if not (np.isfinite(joints2d).all() and np.isfinite(conf).all()):
        return "not finite"
    if (np.abs(joints2d - joints2d[:, :1]).max((1, 2)) == 0).any():
        return "with a frame of no extent"
    return ""


def mix_sources(sources: Mapping[str, Callable[[], MotionSource]], shares: Mapping[str, float]) -> Mixture:
    """Named sources as one dataset with named shares of the draws. ValueError if the names differ."""
    if sources.keys() != shares.keys():
        raise ValueError(f"Sources {sorted(sources)} and shares {sorted(shares)} differ. Use the same names in both.")
    return Mixture([build() for build in sources.values()], [shares[name] for name in sources])
