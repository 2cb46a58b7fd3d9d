"""Input features of evaluators: 3D motion in the HumanML3D format, or 2D keypoints."""

from __future__ import annotations

from dataclasses import dataclass

from hmr4d.data.store import KEYPOINTS, MOTION, StoreKind
from hmr4d.representation import hml263, keypoint_features
from hmr4d.representation.hml263 import Hml263Statistics
from hmr4d.representation.keypoint_features import KeypointStatistics
from hmr4d.representation.variant_statistics import VariantStatistics


@dataclass(frozen=True)
class FeatureKind:
    """Common parts of the variants of one representation.

    Attributes:
        variants: names of the variants.
        num_features: D, features per row.
        num_seen: number of first features that the networks read; foot contacts are excluded.
        spare_frames: number of frames minus number of rows of a clip; 1 for features of differences.
        statistics: class of their mean and standard deviation.
        store: type of store with the source data.
    """

    variants: tuple[str, ...]
    num_features: int
    num_seen: int
    spare_frames: int
    statistics: type[VariantStatistics]
    store: StoreKind


HML263 = FeatureKind(hml263.VARIANTS, hml263.NUM_FEATURES, hml263.SLICES["contacts"].start, 1, Hml263Statistics, MOTION)
KEYPOINTS2D = FeatureKind(
    keypoint_features.VARIANTS,
    keypoint_features.NUM_FEATURES,
    keypoint_features.NUM_FEATURES,
    0,
    KeypointStatistics,
    KEYPOINTS,
)
KINDS = (HML263, KEYPOINTS2D)


def feature_kind(variant: str) -> FeatureKind:
    """The feature kind of a variant. Raises ValueError with the known variants if it is unknown."""
    for kind in KINDS:
        if variant in kind.variants:
            return kind
    known = tuple(name for kind in KINDS for name in kind.variants)
    raise ValueError(f"Unknown feature variant '{variant}'; known: {known}.")
