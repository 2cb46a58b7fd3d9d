"""Joints to evaluator input: rows that count, padding, rates, and what is refused."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from hmr4d.evaluation.preparation import (
    PublishedModelPreparation,
    StandardPreparation,
    checked_motions,
    published_placement,
)
from hmr4d.representation.hml263 import SLICES, Hml263Codec, load_statistics
from tests.data.tiny_store import clip

STATISTICS = load_statistics("hml263_evaluator")


def motion(frames: int, seed: int = 0) -> Tensor:
    return torch.from_numpy(clip(frames, seed))


def test_valid_rows_are_the_features_and_padding_is_zero() -> None:
    prepare = StandardPreparation(STATISTICS)
    long, short = motion(90), motion(31, 1)
    features, num_rows = prepare.cut(prepare.encode([long, short], 20.0), [(10, 40), None])
    assert features.shape == (2, 196, 263) and num_rows.tolist() == [40, 28]
    wanted = STATISTICS.normalize(Hml263Codec("humanml3d").encode(long)[10:50])
    torch.testing.assert_close(features[0, :40], wanted)
    assert not features[0, 40:].any() and not features[1, 28:].any()


def test_input_does_not_depend_on_the_batch_or_the_position() -> None:
    prepare = StandardPreparation(STATISTICS)
    alone = prepare.cut(prepare.encode([motion(31, 1)], 20.0), [None]).features
    moved = motion(31, 1) + torch.tensor([3.0, 0.5, -2.0])
    beside = prepare.cut(prepare.encode([motion(90), moved], 20.0), [None, None]).features
    torch.testing.assert_close(beside[1], alone[0], atol=2e-2, rtol=0)  # one unit of a velocity is 0.0007 m


def test_other_rates_are_resampled_in_time() -> None:
    prepare = StandardPreparation(STATISTICS)
    assert prepare.encode([motion(61)], 30.0).num_rows.tolist() == [40]
    assert prepare.encode([motion(61)], 60.0).num_rows.tolist() == [20]


def test_shown_frames_belong_to_the_selected_rows() -> None:
    prepare = StandardPreparation(STATISTICS)
    joints3d = motion(50)
    (shown,) = prepare.shown(prepare.encode([joints3d], 20.0), [(4, 14)])
    assert torch.equal(shown, joints3d[4:17])


def test_published_padding_is_zero_before_the_normalization() -> None:
    prepare = PublishedModelPreparation(STATISTICS)
    features, num_rows = prepare.cut(prepare.encode([motion(75), motion(61)], 30.0), [None, None])
    assert features.shape == (2, 200, 263) and num_rows.tolist() == [50, 41]
    zero = STATISTICS.normalize(torch.zeros(263))
    torch.testing.assert_close(features[0, 50:], zero.expand(150, 263))
    last = features[0, 49] * torch.from_numpy(STATISTICS.std) + torch.from_numpy(STATISTICS.mean)
    torch.testing.assert_close(last[SLICES["contacts"]], torch.ones(4))
    torch.testing.assert_close(last[SLICES["velocities"]], torch.zeros(66), atol=1e-6, rtol=0)


def test_published_placement_pads_before_it_aligns_to_the_floor() -> None:
    joints3d = torch.stack([motion(40), motion(40)])
    joints3d[0, 30:] -= 5.0
    placed = published_placement(joints3d, torch.tensor([30, 40]))
    assert float(placed[0, ..., 1].min()) == 0.0
    assert torch.equal(placed[0, 29], placed[0, 39])


@pytest.mark.parametrize(
    ("bad", "fps", "message"),
    [
        (torch.zeros(40, 24, 3), 20.0, r"shape \(40, 24, 3\); evaluators expect \(L, 22, 3\)"),
        (torch.zeros(1, 22, 3), 20.0, "at least two frames"),
        (torch.full((40, 22, 3), torch.nan), 20.0, "not finite, first in frame 0"),
        (torch.zeros(40, 22, 3), 0.0, "fps is 0.0; give the frame rate"),
        (torch.zeros(40, 22, 3), float("nan"), "fps is nan"),
        (torch.zeros(40, 22, 3), None, "fps is None; give the frame rate"),
    ],
)
def test_bad_motions_are_named(bad: Tensor, fps: float | None, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        checked_motions([bad], fps)


def test_invalid_lengths_and_rows_are_refused() -> None:
    standard, published = StandardPreparation(STATISTICS), PublishedModelPreparation(STATISTICS)
    with pytest.raises(ValueError, match=r"has 3 feature rows.*needs at least 4"):
        standard.cut(standard.encode([motion(4)], 20.0), [None])
    with pytest.raises(ValueError, match="201 frames at 20 frames per second"):
        published.encode([motion(302)], 30.0)
    with pytest.raises(ValueError, match="2 frames at 120 frames per second is shorter than a frame at 20"):
        published.encode([motion(2)], 120.0)
    with pytest.raises(ValueError, match="scores whole motions"):
        published.cut(published.encode([motion(60)], 30.0), [(0, 8)])
    with pytest.raises(ValueError, match="No motions"):
        standard.encode([], 20.0)
