"""Datasets of projected motion: an item is a dict of unpadded tensors, drawn from an explicit generator."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from hmr4d.camera.orbit_rigs import OrbitRig, SingleCamera
from hmr4d.data.clip_index import Example, IndexRules, build_index
from hmr4d.data.store import ClipStore, MotionStore, NoClipsError, TextCache
from hmr4d.data.text_embeddings import CaptionEncoder, ensure_text_cache
from hmr4d.data.windows import FreeWindows
from hmr4d.geometry.cameras import square_intrinsics
from hmr4d.motion.canonical import face_first_frame, mirror
from hmr4d.representation.bbox import BOX_MARGIN, BOX_UNIT, bbox, fixed_box, largest_box, normalize_points
from hmr4d.representation.root_velocity import to_root_velocity
from hmr4d.representation.views import PATCH, embed_views, project_views
from hmr4d.utils.randomness import ItemRandom, mix_seed

BOXES = ("view", "largest", "fixed")


@dataclass(frozen=True)
class Framing:
    """Conversion of projected points to network input.

    Attributes:
        is_perspective: pinhole instead of orthographic projection.
        box: "view" uses the box of one random view for all views, as published; "largest" the element-wise maximum over
            the views; "fixed" half a box of `half_extent` meters at the camera's distance.
        half_extent: meters.
        relative_cameras: camera embedding relative to view 0.
    """

    is_perspective: bool = False
    box: str = "view"
    half_extent: float = 1.0
    relative_cameras: bool = True

    def __post_init__(self) -> None:
        if self.box not in BOXES:
            raise ValueError(f"Unknown box '{self.box}'; known: {', '.join(map(repr, BOXES))}.")
        if not self.half_extent > 0:
            raise ValueError(f"half_extent is {self.half_extent}; expected meters, more than 0.")

    @property
    def meters_per_unit(self) -> float | None:
        """Meters of one box unit; None if boxes differ between items."""
        return BOX_MARGIN * self.half_extent if self.box == "fixed" and not self.is_perspective else None

    def frame(self, local: Tensor, T_w2c: Tensor, distance: float, rng: ItemRandom) -> tuple[Tensor, Tensor, Tensor]:
        """Local motion (L, P, 3) seen by T_w2c (V, 4, 4).

        Returns:
            points (V, L, P - 1, 2) in box units without the root, K (V, 3, 3), box size () used for scale.
        """
        num_views = T_w2c.shape[0]
        K = square_intrinsics(PATCH).expand(num_views, 3, 3)
        pixels = project_views(local, T_w2c, K, is_perspective=self.is_perspective)
        if self.box == "view":
            box = bbox(pixels[rng.integer(num_views) if num_views > 1 else 0])
        elif self.box == "largest":
            box = largest_box(bbox(pixels))
        else:
            meter = K[0, 0, 0] / (distance if self.is_perspective else 1.0)
            box = fixed_box(pixels, float(2 * BOX_MARGIN / BOX_UNIT * self.half_extent * meter))
        return normalize_points(pixels, box)[..., 1:, :], K, box[0, 2]


class MotionViews(Dataset[dict[str, Any]]):
    """3D motion of a store, projected to one or several virtual cameras.

    Keys of an item: `joints2d` (V, L, P, 2) box units, points without the root and with the next root last;
    `conf` (L, P) ones; `joints3d` (L, J, 3) meters; `T_w2c` (V, 4, 4); `K` (V, 3, 3); `cam` (V, 5);
    `elevation_cam` (4,) distance, sin and cos of elevation, scale; `is_perspective` bool; `length` int; `text` str;
    `caption` int, row of the store's table; with cached text also `text_tokens` (M, C), `text_pooled` (C,).

    Args:
        store: folder of a motion store, or an open one.
        split: name of the split.
        cameras: draws the rig of an item.
        framing: projection and box.
        rules: which clips become examples.
        fps: rate of the items; if it differs from the store, motion is interpolated linearly to int(L fps / store fps).
        canonical: turn every item to face +z in its first frame.
        mirror_prob: probability of a mirrored item with the mirrored caption; needs mirrored captions. text_encoder:
            name of the text cache to read; None: no embeddings. windows: draws the length of every item independent of
            the clip; None keeps the lengths of the clips. text_builder: creates that encoder if the store has no such
            cache yet; None: a missing cache is an error.
        is_notext: replace every caption by "".
        seed: seed of items requested only by index, as in evaluation.
        balance_label: label of the store, such as "content", whose values are balanced first; see `balance_weights`.
        emphasis: label value, such as an action -> how many times as often its clips are drawn; factors of several
            values of one clip multiply. A training without `balance_power` refuses it.
    """

    def __init__(
        self,
        store: MotionStore | str,
        split: str | None,
        *,
        cameras: SingleCamera | OrbitRig,
        framing: Framing,
        rules: IndexRules,
        fps: float = 30.0,
        canonical: bool = False,
        mirror_prob: float = 0.0,
        text_encoder: str | None = None,
        windows: FreeWindows | None = None,
        is_notext: bool = False,
        seed: int = 0,
        text_builder: Callable[[], CaptionEncoder] | None = None,
        balance_label: str | None = None,
        emphasis: Mapping[str, float] | None = None,
    ) -> None:
        self.store = store if isinstance(store, MotionStore) else MotionStore.open(store)
        self.cameras, self.framing, self.rules = cameras, framing, rules
        self.fps, self.canonical, self.mirror_prob, self.seed = fps, canonical, mirror_prob, seed
        self.is_notext, self.balance_label, self.emphasis = is_notext, balance_label, dict(emphasis or {})
        self.windows = (
            None if windows is None else replace(windows)
        )  # it caches the loops of the clips of this data set
        self.examples: list[Example] = build_index(self.store, split, rules)
        if not self.examples:
            raise NoClipsError(f"No examples in {self.store.path}, split '{split}', under {rules}.")
        self.text_cache: TextCache | None = None
        if text_encoder is not None:
            self.text_cache = ensure_text_cache(self.store, text_encoder, text_builder)

    def __len__(self) -> int:
        return len(self.examples)

    def num_frames(self, index: int, seed: int | None = None) -> int:
        """Frames of item `index` drawn with a seed, before cutting a random window."""
        if self.windows is not None and seed is not None:
            return self.windows.num_frames(seed, self.fps)
        example = self.examples[index]
        return int((example.end - example.start) * self.fps / self.store.fps)

    def balance_weights(self, power: float = 0.5) -> np.ndarray:
        """(N,) sampling weights: each cell of equal labels gets its size to the power, divided among its examples.

        power 1 samples examples evenly, 0 samples cells evenly. With `balance_label`, each value of that label gets
        its number of examples to the power, and its cells share that among themselves by the same rule. `emphasis`
        multiplies the result.
        """
        clips = np.asarray([example.clip for example in self.examples])
        weights = cell_weights(self.store, clips, power, self.balance_label)
        for value, factor in self.emphasis.items():
            chosen = np.any([np.asarray(values)[clips] == value for values in self.store.labels.values()], axis=0)
            if factor <= 0 or not chosen.any():
                raise ValueError(
                    f"data.train.emphasis has '{value}: {factor}'. Give a factor above 0 and a label value of the "
                    f"training clips of {self.store.path}, such as an action."
                )
            weights = np.where(chosen, factor * weights, weights)
        return weights / weights.sum()

    def __getitem__(self, index: int | tuple[int, int]) -> dict[str, Any]:
        """Item by index, or by (index, seed) for the training sampler."""
        index, seed = index if isinstance(index, tuple) else (index, mix_seed(self.seed, index))
        return self.item(index, ItemRandom.from_seed(seed), self.num_frames(index, seed))

    def item(self, index: int, rng: ItemRandom, num_frames: int | None = None) -> dict[str, Any]:
        """Item `index` drawn from given generators. Order of draws: caption, cameras, box. Windows have `num_frames`.

        Augmentation (window, mirror) uses a separate random stream, so that switching it on does not change the rest.
        """
        example = self.examples[index]
        caption = rng.choices.choice(example.captions)
        T_w2c, elevation = self.cameras.draw(rng)
        joints3d = torch.from_numpy(np.array(self.store.joints3d(example.clip)[example.start : example.end]))
        joints3d = resample_linear(joints3d, self.fps / self.store.fps)
        if self.mirror_prob > 0 or self.rules.keep_long:
            augment = ItemRandom.from_seed(mix_seed(rng.tensors.initial_seed(), 1))
            if self.windows is None or num_frames is None:
                joints3d = self._window(joints3d, augment)
            else:
                joints3d = self.windows.fit(joints3d, num_frames, fps=self.fps, rng=augment, clip=index)
            if float(augment.uniform(1)) < self.mirror_prob:
                joints3d, caption = mirror(joints3d), self.store.caption_mirror[caption]
        if self.canonical:
            joints3d = face_first_frame(joints3d, self.store.skeleton)
        local = to_root_velocity(joints3d)
        points, K, box_size = self.framing.frame(local, T_w2c, self.cameras.distance, rng)
        scale = box_size if self.framing.is_perspective else torch.tensor(1.0)
        item = {
            "joints2d": points,
            "conf": points.new_ones(points.shape[1:3]),
            "joints3d": joints3d,
            "T_w2c": T_w2c,
            "K": K,
            "cam": embed_views(T_w2c, scale, relative=self.framing.relative_cameras),
            "elevation_cam": torch.cat(
                [torch.tensor([self.cameras.distance]), elevation.sin(), elevation.cos(), scale[None]]
            ),
            "is_perspective": self.framing.is_perspective,
            "length": len(joints3d),
        }
        return item | self._text(caption)

    def _window(self, joints3d: Tensor, rng: ItemRandom) -> Tensor:
        longest = round(self.rules.max_seconds * self.fps)
        if len(joints3d) <= longest:
            return joints3d
        start = rng.integer(len(joints3d) - longest + 1)
        return joints3d[start : start + longest]

    def _text(self, caption: int) -> dict[str, Any]:
        if caption < 0:
            raise ValueError(
                f"{self.store.path} has no mirrored version of a caption that must be mirrored. "
                "Set data.train.mirror_prob=0 or prepare the store with mirrored captions."
            )
        row: dict[str, Any] = {"text": "" if self.is_notext else self.store.caption_texts[caption], "caption": caption}
        if self.text_cache is not None:
            known = self.text_cache.null_caption if self.is_notext else caption
            row["text_tokens"] = torch.from_numpy(self.text_cache.tokens(known).astype(np.float32))
            row["text_pooled"] = torch.from_numpy(np.array(self.text_cache.pooled(known)))
        return row


def cell_weights(
    store: ClipStore, clips: Sequence[int] | np.ndarray, power: float, balance_label: str | None = None
) -> np.ndarray:
    """(N,) sampling weights of examples from `clips` (N,): see `MotionViews.balance_weights`.

    Raises:
        ValueError: the store has no such label.
    """
    labels = {name: np.unique(values, return_inverse=True)[1] for name, values in store.labels.items()}
    if balance_label is not None and balance_label not in labels:
        raise ValueError(
            f"{store.path} has no label '{balance_label}' to balance; it has {sorted(labels) or 'none'}. "
            "Set data.train.balance_label to one of them or to null."
        )
    columns = np.stack([np.zeros(len(store), dtype=np.int64), *labels.values()], -1)
    cells = np.unique(columns, axis=0, return_inverse=True)[1][np.asarray(clips)]
    weights = np.bincount(cells)[cells] ** (power - 1.0)
    if balance_label is not None:
        values = np.unique(labels[balance_label][np.asarray(clips)], return_inverse=True)[1]
        weights = weights * (np.bincount(values) ** power / np.bincount(values, weights))[values]
    return weights / weights.sum()


def resample_linear(joints3d: Tensor, factor: float) -> Tensor:
    """(L, J, 3) -> (int(factor L), J, 3), linear in time with the first and last frames kept (aligned corners)."""
    return joints3d if factor == 1.0 else stretch_linear(joints3d, int(factor * len(joints3d)))


def stretch_linear(joints3d: Tensor, num_frames: int) -> Tensor:
    """(L, J, 3) -> (num_frames, J, 3), linear in time with the first and last frames kept (aligned corners)."""
    flat = joints3d.flatten(1).T[None]
    flat = torch.nn.functional.interpolate(flat, size=num_frames, mode="linear", align_corners=True)
    return flat[0].T.unflatten(1, joints3d.shape[1:])
