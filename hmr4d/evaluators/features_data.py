"""Training data of evaluators: windows of feature rows, and captioned feature rows, from any motion store."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
import torch
from torch.utils.data import Dataset

from hmr4d.data.clip_index import Example, IndexRules, build_index
from hmr4d.data.datasets import cell_weights
from hmr4d.data.keypoint_clips import flip_keypoints
from hmr4d.data.store import ClipStore, KeypointStore, MotionStore, TextCache
from hmr4d.evaluators.feature_cache import FeatureCache
from hmr4d.evaluators.feature_kinds import HML263, KEYPOINTS2D, feature_kind
from hmr4d.evaluators.networks import ROWS_PER_TOKEN
from hmr4d.representation.hml263 import fit_statistics, with_evaluator_bias
from hmr4d.representation.keypoint_features import SURE, fit_keypoint_statistics, keypoint_features
from hmr4d.representation.variant_statistics import VariantStatistics
from hmr4d.utils.randomness import ItemRandom, mix_seed

logger = logging.getLogger(__name__)


class FeatureSource(Protocol):
    """Interface: feature rows of one split of a store.

    Attributes:
        store: store of the clips.
        clips: clips of the split with finite features.
        num_rows: (N,) rows of each clip of the store.
        fps: frame rate of the rows.
        spare_frames: number of frames minus number of rows of a clip.
    """

    @property
    def store(self) -> ClipStore: ...

    clips: list[int]
    num_rows: np.ndarray
    fps: float
    spare_frames: int

    def draw(self, clip: int, rng: ItemRandom) -> tuple[np.ndarray, bool]:
        """Rows (F, D) of a clip or of its mirror image, and whether they are mirrored."""
        ...

    def statistics(self, bias: float) -> VariantStatistics:
        """Mean and standard deviation of the split, including mirrored features."""
        ...


def open_features(
    store: ClipStore | str, split: str | None, *, variant: str, fps: float, mirror_prob: float
) -> FeatureSource:
    """The features of a variant: `StoreFeatures` of 3D motion, `KeypointFeatures` of 2D keypoints; arguments as there.

    Raises:
        ValueError: the variant is unknown, or the open store has another type.
    """
    kind = feature_kind(variant)
    if isinstance(store, ClipStore) and store.kind != kind.store:
        raise ValueError(
            f"Features '{variant}' need {kind.store.about}; {store.path} contains {store.kind.about}. "
            "Choose another variant or store."
        )
    if kind is KEYPOINTS2D:
        opened = store if isinstance(store, KeypointStore) else KeypointStore.open(str(store))
        return KeypointFeatures(opened, split, variant=variant, fps=fps, mirror_prob=mirror_prob)
    opened3d = store if isinstance(store, MotionStore) else MotionStore.open(str(store))
    return StoreFeatures(opened3d, split, variant=variant, fps=fps, mirror_prob=mirror_prob)


class StoreFeatures:
    """HumanML3D features of one split of a store, original and mirrored.

    Args:
        store: store of 3D motion.
        split: name of the split.
        variant: variant of `Hml263Codec`.
        fps: frame rate of the features.
        mirror_prob: probability of a mirrored item; with 0 no mirrored features are computed.
    """

    spare_frames = HML263.spare_frames

    def __init__(self, store: MotionStore, split: str | None, *, variant: str, fps: float, mirror_prob: float) -> None:
        self.store, self.split, self.mirror_prob, self.fps = store, split, mirror_prob, fps
        self.plain = FeatureCache(self.store, variant=variant, fps=fps)
        self.mirrored = FeatureCache(self.store, variant=variant, fps=fps, mirrored=True) if mirror_prob > 0 else None
        caches = [self.plain] if self.mirrored is None else [self.plain, self.mirrored]
        self.num_rows = self.plain.num_rows
        clips = self.store.indices(split).tolist()
        self.clips = [clip for clip in clips if all(cache.is_usable(clip) for cache in caches)]
        if len(self.clips) < len(clips):
            logger.warning(
                "%s/%s: %d clips have features that are not finite and are excluded.",
                self.store.name,
                split,
                len(clips) - len(self.clips),
            )

    def draw(self, clip: int, rng: ItemRandom) -> tuple[np.ndarray, bool]:
        """Rows (F, 263) of a clip or of its mirror image, and whether they are mirrored."""
        is_mirrored = self.mirrored is not None and float(rng.uniform(1)) < self.mirror_prob
        cache = self.mirrored if is_mirrored and self.mirrored is not None else self.plain
        return cache.features(clip), is_mirrored

    def statistics(self, bias: float) -> VariantStatistics:
        """Mean and standard deviation of the split with mirrored features; for `bias` see `with_evaluator_bias`."""
        caches = [self.plain] if self.mirrored is None else [self.plain, self.mirrored]
        measured = fit_statistics(
            (cache.features(clip) for cache in caches for clip in self.clips),
            name=f"{self.store.name}-evaluator",
            variant=self.plain.codec.variant,
            fps=self.plain.fps,
            source=f"{self.store.name}, split {self.split}",
        )
        return replace(measured, std=with_evaluator_bias(measured.std, bias))


class KeypointFeatures:
    """Features of 2D keypoints of one split of a store, computed on demand. Mirrored features belong to flipped images.

    Args:
        store: store of 2D keypoints, at the frame rate of the features.
        split: name of the split.
        variant: variant of `keypoint_features`.
        fps: frame rate of the features.
        mirror_prob: probability of a mirrored item.

    Raises:
        ValueError: the store has another frame rate.
    """

    spare_frames = KEYPOINTS2D.spare_frames

    def __init__(
        self, store: KeypointStore, split: str | None, *, variant: str, fps: float, mirror_prob: float
    ) -> None:
        if store.fps != fps:
            raise ValueError(
                f"{store.path} has {store.fps:g} frames per second, the features have {fps:g}. Prepare "
                "the store at this rate."
            )
        self.store, self.split, self.variant, self.fps, self.mirror_prob = store, split, variant, fps, mirror_prob
        self.num_rows = store.lengths
        clips = store.indices(split).tolist()
        self.clips = [clip for clip in clips if (store.keypoints(clip)[:, :-1, 2] >= SURE).any()]
        if len(self.clips) < len(clips):
            logger.warning(
                "%s/%s: %d clips have no confident keypoint and are excluded.",
                store.name,
                split,
                len(clips) - len(self.clips),
            )

    def draw(self, clip: int, rng: ItemRandom) -> tuple[np.ndarray, bool]:
        """Rows (F, 34) of a clip or of its mirror image, and whether they are mirrored."""
        is_mirrored = float(rng.uniform(1)) < self.mirror_prob
        return self._features(clip, is_mirrored), is_mirrored

    def statistics(self, bias: float) -> VariantStatistics:
        """Mean and standard deviation of the split, including mirrored features; `bias` must be 1, see
        `FittingOptions`."""
        if bias != 1.0:
            raise ValueError(
                f"feature_bias is {bias:g}; features of 2D keypoints have neither root nor contacts. Set it to 1."
            )
        sides = (False, True) if self.mirror_prob > 0 else (False,)
        return fit_keypoint_statistics(
            (self._features(clip, side) for side in sides for clip in self.clips),
            name=f"{self.store.name}-evaluator",
            variant=self.variant,
            fps=self.fps,
            source=f"{self.store.name}, split {self.split}",
        )

    def _features(self, clip: int, is_mirrored: bool) -> np.ndarray:
        keypoints = torch.from_numpy(np.array(self.store.keypoints(clip)))
        return keypoint_features(flip_keypoints(keypoints) if is_mirrored else keypoints, self.variant).numpy()


class FeatureWindows(Dataset[dict[str, Any]]):
    """Short windows of feature rows for the decomposition autoencoder.

    Keys of an item: `features` (W, D) float32, not normalized; `length` int, W.

    As published, a clip of F rows gives F - W windows, without the last one.

    Args:
        store, split, variant, fps, mirror_prob: see `open_features`.
        window: W, a multiple of 4.
        seed: seed of items that are accessed by index alone.
    """

    text_cache: TextCache | None = None

    def __init__(
        self,
        store: ClipStore | str,
        split: str | None,
        *,
        variant: str,
        fps: float = 20.0,
        window: int = 24,
        mirror_prob: float = 0.0,
        seed: int = 0,
    ) -> None:
        if window < ROWS_PER_TOKEN or window % ROWS_PER_TOKEN:
            raise ValueError(f"window is {window}; the movement encoder needs a positive multiple of {ROWS_PER_TOKEN}.")
        self.source = open_features(store, split, variant=variant, fps=fps, mirror_prob=mirror_prob)
        self.window, self.seed = window, seed
        counts = self.source.num_rows[self.source.clips] - window
        self.clips = np.repeat(self.source.clips, counts.clip(min=0))
        starts = [np.arange(count) for count in counts if count > 0]
        if not starts:
            raise ValueError(
                f"No clip of {self.source.store.path}, split '{split}', is longer than a window of {window} rows."
            )
        self.starts = np.concatenate(starts)

    def __len__(self) -> int:
        return len(self.starts)

    def num_frames(self, index: int, seed: int | None = None) -> int:
        return self.window

    def balance_weights(self, power: float = 0.5) -> np.ndarray:
        """Weights (N,), see `MotionViews.balance_weights`; cells are counted in windows."""
        return cell_weights(self.source.store, self.clips.tolist(), power)

    def __getitem__(self, index: int | tuple[int, int]) -> dict[str, Any]:
        index, seed = index if isinstance(index, tuple) else (index, mix_seed(self.seed, index))
        rows, _ = self.source.draw(int(self.clips[index]), ItemRandom.from_seed(seed))
        start = int(self.starts[index])
        return {"features": torch.from_numpy(np.array(rows[start : start + self.window])), "length": self.window}


@dataclass(frozen=True)
class Crop:
    """Random cropping of a captioned section to an item. The defaults are the published ones.

    Attributes:
        max_rows: longest item.
        shorten_prob: probability of removing four more rows.
        min_share: an item keeps at least this fraction of the rows, drawn uniformly.
    """

    max_rows: int = 196
    shorten_prob: float = 1.0 / 3.0
    min_share: float = 1.0

    def __post_init__(self) -> None:
        if self.max_rows < ROWS_PER_TOKEN or not 0.0 < self.min_share <= 1.0:
            raise ValueError(f"Got {self}; expected max_rows of 4 or more and a min_share in (0, 1].")

    def draw(self, num_rows: int, rng: ItemRandom) -> tuple[int, int]:
        """Random (start, length) of a part of `num_rows` rows; the length is a positive multiple of 4."""
        share, shorten = rng.uniform(2).tolist()
        wanted = num_rows * (self.min_share + (1.0 - self.min_share) * share)
        tokens = int(min(wanted, self.max_rows)) // ROWS_PER_TOKEN - (shorten < self.shorten_prob)
        length = max(tokens, 1) * ROWS_PER_TOKEN
        return rng.integer(num_rows - length + 1), length


class CaptionedFeatures(Dataset[dict[str, Any]]):
    """Captioned feature rows, for matching and for the length estimator.

    Keys of an item: `features` (m, D) float32, not normalized; `length` int, m, a multiple of 4; `text` str;
    `tokens` str, its "word/POS" tokens joined by spaces; `caption` int, row of the store's table; `captions` frozenset,
    all rows of the table that describe this motion.

    Args:
        store, split, variant, fps, mirror_prob: see `open_features`; mirrored motion takes the mirrored caption.
        rules: selects the clips and captioned sections that become examples, in feature rows.
        crop: random cropping of examples.
        seed: seed of items that are accessed by index alone, as in validation.
    """

    def __init__(
        self,
        store: ClipStore | str,
        split: str | None,
        *,
        variant: str,
        rules: IndexRules,
        crop: Crop,
        fps: float = 20.0,
        mirror_prob: float = 0.0,
        seed: int = 0,
    ) -> None:
        self.source = open_features(store, split, variant=variant, fps=fps, mirror_prob=mirror_prob)
        self.store, self.crop, self.seed = self.source.store, crop, seed
        usable = set(self.source.clips)
        examples = build_index(self.store, split, rules, spare_frames=self.source.spare_frames)
        self.examples = [example for example in examples if example.clip in usable]
        if not self.examples:
            raise ValueError(f"No captioned clip in {self.store.path}, split '{split}', fits {rules}.")
        used = {caption for example in self.examples for caption in example.captions}
        if mirror_prob > 0 and any(self.store.caption_mirror[caption] < 0 for caption in used):
            raise ValueError(
                f"{self.store.path} has no mirrored wording of some captions. Set data.train.mirror_prob=0 or "
                "prepare the store with mirrored captions."
            )

    def __len__(self) -> int:
        return len(self.examples)

    def num_frames(self, index: int, seed: int | None = None) -> int:
        """Rows of item `index` before cropping."""
        start, end = self._span(self.examples[index])
        return min(end - start, self.crop.max_rows)

    def _span(self, example: Example) -> tuple[int, int]:
        """(first, number) of the feature rows of an example, which is defined in frames of the store."""
        factor = self.source.fps / self.store.fps
        return int(example.start * factor), min(int(example.end * factor), int(self.source.num_rows[example.clip]))

    def balance_weights(self, power: float = 0.5) -> np.ndarray:
        """Weights (N,), see `MotionViews.balance_weights`."""
        return cell_weights(self.store, [example.clip for example in self.examples], power)

    def __getitem__(self, index: int | tuple[int, int]) -> dict[str, Any]:
        """Item by index, or by (index, seed) as in the training sampler."""
        index, seed = index if isinstance(index, tuple) else (index, mix_seed(self.seed, index))
        return self.item(index, ItemRandom.from_seed(seed))

    def item(self, index: int, rng: ItemRandom) -> dict[str, Any]:
        """Item `index` with caption, mirroring and crop drawn from the given generators."""
        example = self.examples[index]
        caption, captions = rng.choices.choice(example.captions), example.captions
        rows, is_mirrored = self.source.draw(example.clip, rng)
        if is_mirrored:
            twins = self.store.caption_mirror
            caption, captions = twins[caption], tuple(twins[c] for c in captions)
        first, end = self._span(example)
        start, length = self.crop.draw(end - first, rng)
        start += first
        return {
            "features": torch.from_numpy(np.array(rows[start : start + length])),
            "length": length,
            "text": self.store.caption_texts[caption],
            "tokens": " ".join(self.store.caption_tokens[caption]),
            "caption": caption,
            "captions": frozenset(captions),
        }
