"""The features that evaluators read: of 3D motion in the HumanML3D format, or of 2D keypoints."""

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
        variants: their names.
        num_features: D of a row.
        num_seen: the first so many of them reach the networks; foot contacts do not.
        spare_frames: frames of a clip beyond its rows; 1 where rows are made of differences.
        statistics: class of their mean and deviation.
        store: kind of store that they are made of.
    """

    variants: tuple[str, ...]
    num_features: int
    num_seen: int
    spare_frames: int
    statistics: type[VariantStatistics]
    store: StoreKind


HML263 = FeatureKind(hml263.VARIANTS, hml263.NUM_FEATURES, hml263.SLICES["contacts"].start, 1, Hml263Statistics, MOTION)
KEYPOINTS2D = FeatureKind(
    keypoint_features.VARIANTS, keypoint_features.NUM_FEATURES, keypoint_features.NUM_FEATURES, 0, KeypointStatistics,
    KEYPOINTS,
)  # fmt: skip
KINDS = (HML263, KEYPOINTS2D)


def feature_kind(variant: str) -> FeatureKind:
    """The kind that has a variant; ValueError lists the known ones."""
    for kind in KINDS:
        if variant in kind.variants:
            return kind
    known = tuple(name for kind in KINDS for name in kind.variants)
    raise ValueError(f"Unknown feature variant '{variant}'; known: {known}.")
