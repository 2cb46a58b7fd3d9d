"""Statistics of the 263 features: measured, saved, applied."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from hmr4d.representation.hml263 import (
    NUM_FEATURES,
    SLICES,
    Hml263Statistics,
    fit_statistics,
    load_statistics,
    with_evaluator_bias,
)
from hmr4d.representation.motion2d import Statistics


def clips(*lengths: int) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    scale = rng.uniform(0.1, 3, NUM_FEATURES)
    return [(rng.normal(5, 1, (n, NUM_FEATURES)) * scale).astype(np.float32) for n in lengths]


def test_fit_is_the_mean_and_deviation_of_all_rows() -> None:
    parts = clips(7, 1, 40, 12)
    statistics = fit_statistics(parts, name="mine", variant="corrected_hips", fps=30.0)
    rows = np.concatenate(parts).astype(np.float64)
    assert np.allclose(statistics.mean, rows.mean(0), rtol=1e-6)
    for part in SLICES.values():
        assert np.allclose(statistics.std[part], rows.std(0)[part].mean(), rtol=1e-6)
    assert (statistics.name, statistics.variant, statistics.fps) == ("mine", "corrected_hips", 30.0)
    assert (statistics.num_rows, statistics.num_skipped) == (60, 0)


def test_many_rows_far_from_zero_keep_their_digits() -> None:
    rows = np.full((300, NUM_FEATURES), 1e4, dtype=np.float32)
    rows[::2] += 1
    statistics = fit_statistics([rows] * 50)
    assert np.allclose(statistics.std, 0.5, atol=1e-7) and np.allclose(statistics.mean, 10_000.5, rtol=1e-7)


def test_clips_with_nan_are_skipped_counted_and_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    good, broken = clips(9, 9)
    broken[3, 100] = np.nan
    paths = [tmp_path / "000001.npy", tmp_path / "007975.npy"]
    for path, rows in zip(paths, (good, broken), strict=True):
        np.save(path, rows)
    with caplog.at_level(logging.WARNING):
        statistics = fit_statistics(paths)
    assert statistics.num_skipped == 1 and "007975.npy" in caplog.text
    assert statistics.hash == fit_statistics([good]).hash
    with pytest.raises(ValueError, match="no feature rows to measure"):
        fit_statistics([broken])
    with pytest.raises(ValueError, match=r"Clip 1 has shape \(9, 262\), expected \(F, 263\)"):
        fit_statistics([good, good[:, 1:]])


def test_channels_that_do_not_vary_stay_unscaled() -> None:
    rows = clips(20)[0]
    rows[:, SLICES["contacts"]] = 1
    assert (fit_statistics([rows]).std[SLICES["contacts"]] == 1).all()


def test_saved_statistics_are_restored_with_their_hash(tmp_path: Path) -> None:
    statistics = fit_statistics(clips(30), name="mine", variant="corrected_hips", source="made up")
    statistics.save(tmp_path / "mine.npz")
    loaded = Hml263Statistics.load(tmp_path / "mine.npz")
    assert np.array_equal(loaded.mean, statistics.mean) and np.array_equal(loaded.std, statistics.std)
    assert (loaded.variant, loaded.source, loaded.num_rows) == ("corrected_hips", "made up", 30)
    assert loaded.hash == statistics.hash == replace(loaded, name="other").hash
    changed = loaded.std.copy()
    changed[262] *= 1.0001
    others = [replace(loaded, std=changed), replace(loaded, variant="humanml3d"), replace(loaded, fps=30.0)]
    assert len({loaded.hash, *(other.hash for other in others)}) == 4


def test_normalized_features_have_no_mean_and_give_the_features_again() -> None:
    rows = clips(500)[0]
    statistics = fit_statistics([rows])
    x = torch.from_numpy(rows).double()
    normalized = statistics.normalize(x)
    assert normalized.dtype == torch.float64 and normalized.mean(0).abs().max() < 1e-5
    assert torch.allclose(normalized * torch.from_numpy(statistics.std) + torch.from_numpy(statistics.mean), x)


def test_packaged_statistics_belong_together() -> None:
    evaluator, dataset = load_statistics("hml263_evaluator"), load_statistics("hml263_dataset")
    ratio = with_evaluator_bias(dataset.std) / evaluator.std
    assert np.allclose(ratio, 1, atol=0.02), "the evaluators' deviations are the data set's, some divided by 25"
    assert np.abs(evaluator.mean - dataset.mean).max() < 0.03
    assert evaluator.variant == dataset.variant == "humanml3d" and evaluator.fps == 20


def test_other_statistics_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="are of representation 'motion2d'"):
        Hml263Statistics.load("bandai_namco_20fps")
    short = np.ones(262, dtype=np.float32)
    with pytest.raises(ValueError, match=r"shapes \(\(262,\), \(262,\)\)"):
        Hml263Statistics(name="short", mean=short, std=short)
    Statistics(name="short", mean=short, std=short, representation="hml263").save(tmp_path / "short.npz")
    with pytest.raises(ValueError, match="no readable statistics file"):
        Hml263Statistics.load(tmp_path / "short.npz")
    with pytest.raises(FileNotFoundError, match="hml263_evaluator"):
        load_statistics("unheard_of")
