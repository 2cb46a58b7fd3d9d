"""Means and intervals of pose errors over clips, and the card that they are printed on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.stats import t as student_t

from hmr4d.evaluation.cards import GROUND_TRUTH, LiftingCard, ResultCard
from hmr4d.evaluation.lifting_scores import averaged
from hmr4d.metrics.intervals import Value
from hmr4d.metrics.pose_errors import PoseErrorMetric

SHIFTS, FRAMES = (0.01, 0.03, 0.04, 0.08), (5, 20, 10, 8)  # meters


def metric() -> PoseErrorMetric:
    """Clips that lie beside the truth by known distances."""
    found = PoseErrorMetric(20.0, root_joints=(1, 2), foot_joints=(3,))
    for number, (shift, frames) in enumerate(zip(SHIFTS, FRAMES, strict=True)):
        true = torch.randn(frames, 6, 3, generator=torch.Generator().manual_seed(number))
        found.update(true + torch.tensor([0.0, shift, 0.0]), true, index=number)
    return found


def test_means_and_intervals_of_clips_that_are_sequences() -> None:
    mm = 1000 * np.array(SHIFTS)
    clips = averaged(metric(), list("abcd"), "clips")["abs_mpjpe"]
    half = student_t.ppf(0.975, 3) * mm.std(ddof=1) / 2
    assert (clips.mean, clips.interval, clips.repeats) == (pytest.approx(mm.mean()), pytest.approx(half), 4)
    frames = averaged(metric(), list("abcd"), "frames")["abs_mpjpe"]
    assert frames.mean == pytest.approx(np.average(mm, weights=FRAMES))


def test_cameras_of_one_motion_are_one_sample() -> None:
    """The same clips twice make the mean no surer if they are of the same sequences."""
    twice = PoseErrorMetric(20.0, root_joints=(1, 2))
    for number in range(8):
        true = torch.zeros(10, 6, 3) + torch.arange(6.0)[:, None]
        twice.update(true + SHIFTS[number % 4], true, index=number)
    once = averaged(twice, list("abcdabcd"), "frames")["abs_mpjpe"]
    naive = averaged(twice, list("abcdefgh"), "frames")["abs_mpjpe"]
    values = 1000 * np.sqrt(3) * np.array(SHIFTS)
    half = student_t.ppf(0.975, 3) * values.std(ddof=1) / 2
    assert once.interval == pytest.approx(half, rel=1e-4) and once.repeats == 4
    assert naive.interval is not None and once.interval is not None and naive.interval < 0.7 * once.interval
    assert averaged(twice, ["a"] * 8, "frames")["abs_mpjpe"].interval is None


def test_metrics_without_a_value_are_none() -> None:
    found = averaged(metric(), list("abcd"), "clips")
    assert found["foot_sliding"] == Value(None, None, 0)  # random feet never stand
    with pytest.raises(ValueError, match="'median' with 4 sequences for 4 clips"):
        averaged(metric(), list("abcd"), "median")
    with pytest.raises(ValueError, match="3 sequences for 4 clips"):
        averaged(metric(), list("abc"), "clips")


def test_unknown_feet_do_not_count_as_standing() -> None:
    found = PoseErrorMetric(20.0, root_joints=(1, 2), foot_joints=(3,))
    true = torch.randn(6, 6, 3, generator=torch.Generator().manual_seed(0))
    valid = torch.ones(6, 6, dtype=torch.bool)
    valid[1:4, 3] = False
    true[1:4, 3] = 0.0  # as readers leave what is missing
    found.update(true + 1.0, true, valid=valid)
    assert found.sums_and_counts()[1][0, found.names.index("foot_sliding")] == 0


def card() -> LiftingCard:
    rows = {GROUND_TRUTH: {"foot_sliding": Value(1.0, None, 1)}, "model": {"abs_mpjpe": Value(152.49, 3.06, 51)}}
    return LiftingCard(
        rows=rows,
        other_rows=rows,
        average="frames",
        set_name="rich/test",
        set_size=191,
        num_sequences=51,
        num_frames=9000,
        num_views=4,
        fps=30.0,
        joints="22 of 'smpl22'",
        settings={"2D": "true"},
        weights={"model": "last.ckpt, sha256 ab"},
        seed=1,
        protocol="RICH",
        command="python x",
        date="2026-11-21",
    )


def test_a_lifting_card_reads_back_equal_and_contains_all_metadata(tmp_path: Path) -> None:
    path = card().write(tmp_path)
    assert LiftingCard.read(path) == card()
    text = path.with_suffix(".md").read_text("utf-8")
    for fact in (
        "152.5 ± 3.1",
        "191 clips of 51 sequences, 9000 frames at 30 per second; rigs of 4 cameras",
        "model by: last.ckpt, sha256 ab",
        "2D: true",
        "`python x`",
    ):
        assert fact in text
    assert text.index("Mean over all frames") < text.index("Mean over clips")
    other = replace(card(), average="clips").table()
    assert other.index("Mean over clips") < other.index("Mean over all frames")
    with pytest.raises(ValueError, match="'hmr4d-lifting-card' version 1; expected 'hmr4d-result-card'"):
        ResultCard.read(path)


def test_a_lifting_card_without_its_sources_is_refused() -> None:
    with pytest.raises(ValueError, match="names no source for model"):
        replace(card(), weights={})
    with pytest.raises(ValueError, match="average is 'median'"):
        replace(card(), average="median")
    with pytest.raises(ValueError, match="lacks command, date"):
        replace(card(), command="", date="")
    with pytest.raises(ValueError, match="no rows"):
        replace(card(), rows={})
