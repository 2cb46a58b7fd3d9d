"""2D tracks of a store as training items, and operations on single tracks: checks, image size, horizontal flip."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from hmr4d.body.skeleton import COCO17, Skeleton
from hmr4d.data.clip_index import Example, IndexRules, build_index
from hmr4d.data.datasets import cell_weights
from hmr4d.data.store import KEYPOINTS, KeypointStore, NoClipsError, TextCache
from hmr4d.data.text_embeddings import CaptionEncoder, ensure_text_cache
from hmr4d.utils.randomness import ItemRandom, mix_seed

UNIT_FRAMES = 4  # frames of a token; whole clips are cut to a multiple of it
LOOSE_SHARE = 1 / 3  # of the whole clips: those that lose one further unit and start anywhere


def with_image_size(
    points: NDArray[np.floating], conf: NDArray[np.floating], size: tuple[int, int] | None
) -> NDArray[np.float32]:
    """(L, J + 1, 3) rows of a 2D store from points (L, J, 2), confidences (L, J) and width and height of the image.

    Points of confidence 0 become (0, 0, 0). An unknown size (None) is (0, 0).
    """
    found = conf > 0
    keypoints = np.zeros((len(points), points.shape[1] + 1, 3), np.float32)
    keypoints[:, :-1, :2] = np.where(found[..., None], points, 0.0)
    keypoints[:, :-1, 2] = np.where(found, conf, 0.0)
    keypoints[:, -1] = (*(size or (0, 0)), 1.0)
    return keypoints


def keypoint_faults(keypoints: NDArray[np.floating], skeleton: Skeleton = COCO17) -> list[str]:
    """Faults of a clip of a 2D store, one message each; empty if there are none.

    Args:
        keypoints: (L, J + 1, 3) float32, see `hmr4d.data.store`.
        skeleton: of the J keypoints.
    """
    points = KEYPOINTS.num_points(skeleton)
    if keypoints.ndim != 3 or keypoints.shape[1:] != (points, 3) or not len(keypoints):
        return [f"its keypoints have shape {keypoints.shape}; expected (frames, {points}, 3)."]
    if keypoints.dtype != np.float32:
        return [f"its keypoints are {keypoints.dtype}; expected float32."]
    faults: list[str] = []
    if not np.isfinite(keypoints).all():
        frame = int(np.flatnonzero(~np.isfinite(keypoints).all((1, 2)))[0])
        faults.append(f"frame {frame} has a number that is not finite.")
    size, conf = keypoints[:, -1], keypoints[:, :-1, 2]
    if (size != size[0]).any():
        frame = int(np.flatnonzero((size != size[0]).any(1))[0])
        faults.append(f"the image size is {_shown(size[0])} in frame 0 and {_shown(size[frame])} in frame {frame}.")
    if not (size[0, :2] >= 1).all() or size[0, 2] != 1:
        faults.append(f"its last row is {size[0].tolist()}; expected (width, height, 1) of the image.")
    if (conf < 0).any() or (conf > 1).any():
        faults.append(f"confidences lie between {conf.min():g} and {conf.max():g}; expected 0 to 1.")
    if not (conf > 0).any():
        faults.append("no keypoint is detected in any frame.")
    return faults


def _shown(size: NDArray[np.floating]) -> str:
    return f"{size[0]:g} x {size[1]:g}"


def flip_keypoints(keypoints: Tensor, skeleton: Skeleton = COCO17) -> Tensor:
    """Tracks (..., L, J + 1, 3) mirrored horizontally: x becomes W - x, and left and right are exchanged.

    The last row, the image size, and missing keypoints are not changed. Captions have their own mirror: the store's
    `caption_mirror`.
    """
    points, size = keypoints[..., :-1, :], keypoints[..., -1:, :]
    across = torch.where(points[..., 2] > 0, size[..., 0] - points[..., 0], points[..., 0])
    flipped = torch.stack([across, points[..., 1], points[..., 2]], -1)[..., list(skeleton.mirror_order), :]
    return torch.cat([flipped, size], -2)


class KeypointClips(Dataset[dict[str, Any]]):
    """2D tracks of a store, whole clips or windows of them.

    Keys of an item: `keypoints` (L, J + 1, 3) float32 as in the store; `start` int, first frame of the item in the
        clip; `length` int; `clip` int, index in the store; `text` str and `caption` int, row of the store's
    table; with a text encoder also `text_tokens` (M, C) and `text_pooled` (C,). Loaders pad the frames with zeros and
    add `lengths` and `valid`.

    Whole clips are cut to a multiple of `UNIT_FRAMES`. If items vary, one third is one unit shorter with a random
    start.

    Args:
        store: folder of a 2D store, or an open one.
        split: name of the split.
        window: frames of an item, from anywhere in the clip; None for whole clips.
        rules: which clips and captions become items; None: of at least `window` frames, and all captions. Longer clips
            than the rules allow are excluded. flip_prob: probability of a mirrored item with the mirrored caption.
            text_encoder: name of the text cache to read; None: no embeddings. text_builder: creates that encoder if the
            store has no such cache yet; None: a missing cache is an error.
        is_random: whether items vary with their seed; False: the first window, or the whole clip, and the first
            caption. seed: seed of items requested only by index.

    Raises:
        NoClipsError: no clip remains. ValueError: the store lacks image sizes; or a mirrored caption is missing.
    """

    def __init__(
        self, store: KeypointStore | str, split: str | None, *, window: int | None = None,
        rules: IndexRules | None = None, flip_prob: float = 0.0, text_encoder: str | None = None,
        text_builder: Callable[[], CaptionEncoder] | None = None, is_random: bool = True, seed: int = 0,
    ) -> None:  # fmt: skip
        self.store = store if isinstance(store, KeypointStore) else KeypointStore.open(store)
        self.window, self.flip_prob, self.is_random, self.seed = window, flip_prob, is_random, seed
        shortest = (window or UNIT_FRAMES) / self.store.fps
        rules = rules or IndexRules(min_seconds=shortest, max_seconds=1e6)
        examples = build_index(self.store, split, rules)
        self.examples: list[Example] = [e for e in examples if e.end - e.start >= (window or UNIT_FRAMES)]
        if not self.examples:
            raise NoClipsError(f"No examples in {self.store.path}, split '{split}', under {rules}, window {window}.")
        self._check()
        self.text_cache: TextCache | None = None
        if text_encoder is not None:
            self.text_cache = ensure_text_cache(self.store, text_encoder, text_builder)

    def _check(self) -> None:
        clip = next((e.clip for e in self.examples if self.store.image_size(e.clip) is None), None)
        if clip is not None:
            raise ValueError(
                f"{self.store.path} does not contain the image size of clip '{self.store.names[clip]}'. Prepare it "
                "again "
                "with --size WIDTH HEIGHT."
            )
        if self.flip_prob > 0:
            lost = [c for e in self.examples for c in e.captions if self.store.caption_mirror[c] < 0]
            if lost:
                raise ValueError(
                    f"{self.store.path} has no mirrored version of '{self.store.caption_texts[lost[0]]}'. Set "
                    "flip_prob=0 or prepare the store with mirrored captions."
                )

    def __len__(self) -> int:
        return len(self.examples)

    def num_frames(self, index: int, seed: int | None = None) -> int:
        """Frames of item `index`, at most."""
        example = self.examples[index]
        return self.window or (example.end - example.start) // UNIT_FRAMES * UNIT_FRAMES

    def balance_weights(self, power: float = 0.5) -> np.ndarray:
        """(N,) sampling weights: those of `MotionViews.balance_weights`, times the windows that an example has."""
        weights = cell_weights(self.store, [example.clip for example in self.examples], power)
        if self.window is not None:
            weights = weights * np.array([e.end - e.start - self.window + 1 for e in self.examples])
        return weights / weights.sum()

    def __getitem__(self, index: int | tuple[int, int]) -> dict[str, Any]:
        """Item by index, or by (index, seed) for the training sampler."""
        index, seed = index if isinstance(index, tuple) else (index, mix_seed(self.seed, index))
        return self.item(index, ItemRandom.from_seed(seed))

    def item(self, index: int, rng: ItemRandom) -> dict[str, Any]:
        """Item `index` drawn from given generators. Order of draws: caption, window, flip."""
        example = self.examples[index]
        caption = rng.choices.choice(example.captions) if self.is_random else example.captions[0]
        start, length = self._span(example, rng)
        frames = self.store.keypoints(example.clip)[example.start + start : example.start + start + length]
        keypoints = torch.from_numpy(np.array(frames))
        if float(rng.uniform(1)) < self.flip_prob:
            keypoints, caption = flip_keypoints(keypoints, self.store.skeleton), self.store.caption_mirror[caption]
        item = {
            "keypoints": keypoints,
            "start": example.start + start,
            "length": length,
            "clip": example.clip,
            "text": self.store.caption_texts[caption],
            "caption": caption,
        }
        if self.text_cache is not None:
            item["text_tokens"] = torch.from_numpy(self.text_cache.tokens(caption).astype(np.float32))
            item["text_pooled"] = torch.from_numpy(np.array(self.text_cache.pooled(caption)))
        return item

    def _span(self, example: Example, rng: ItemRandom) -> tuple[int, int]:
        """First frame within the example, and number of frames."""
        total = example.end - example.start
        length = self.window or total // UNIT_FRAMES * UNIT_FRAMES
        if not self.is_random:
            return 0, length
        if self.window is None and length > UNIT_FRAMES and float(rng.uniform(1)) < LOOSE_SHARE:
            length -= UNIT_FRAMES
            return rng.integer(total - length + 1), length
        return (rng.integer(total - length + 1), length) if self.window is not None else (0, length)
