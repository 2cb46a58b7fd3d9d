"""The feature codec and its statistics."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from hmr4d.representation.motion2d import MIN_STD, STATISTICS_FOLDER, Motion2DCodec, Statistics

PACKAGED = sorted(path.stem for path in STATISTICS_FOLDER.glob("*.npz"))
OF_MOTION2D = [name for name in PACKAGED if Statistics.load(name).representation == "motion2d"]


@pytest.mark.parametrize("name", OF_MOTION2D)
@pytest.mark.parametrize("leading", [(7,), (2, 7), (2, 4, 7)])
def test_round_trip(name: str, leading: tuple[int, ...]) -> None:
    codec = Motion2DCodec(name)
    shape = (*leading, codec.num_features // 2, 2)
    points = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    x = codec.encode(points)
    assert x.shape == (*leading, codec.num_features)
    assert torch.allclose(codec.decode(x), points, atol=1e-6)


@pytest.mark.parametrize("name", PACKAGED)
def test_packaged_statistics_are_complete(name: str) -> None:
    statistics = Statistics.load(name)
    assert statistics.mean.shape == statistics.std.shape
    assert np.isfinite(statistics.mean).all()
    assert (statistics.std > 0).all()
    assert statistics.mean.dtype == np.float32
    assert statistics.skeleton
    assert statistics.representation


def test_the_root_point_is_always_zero() -> None:
    codec = Motion2DCodec("all_200h_nr")
    x = torch.randn(2, 5, 44, generator=torch.Generator().manual_seed(0))
    points = codec.decode_with_root(x)
    assert points.shape == (2, 5, 23, 2)
    assert not points[..., 0, :].any()
    assert torch.allclose(codec.encode_with_root(points), x, atol=1e-5)
    moved = points.clone()
    moved[..., 0, :] = 9.0
    assert torch.equal(codec.encode_with_root(moved), codec.encode_with_root(points))


def test_channels_are_points_then_coordinates() -> None:
    statistics = Statistics("plain", np.zeros(44, np.float32), np.ones(44, np.float32))
    points = torch.arange(44.0).reshape(1, 22, 2)
    assert torch.equal(Motion2DCodec(statistics).encode(points)[0], torch.arange(44.0))


def test_statistics_are_not_in_the_state_dict_but_move_along() -> None:
    codec = Motion2DCodec("all_200h_nr")
    assert codec.state_dict() == {}
    assert codec.double().mean.dtype == torch.float64


def test_measured_statistics_standardise(tmp_path: Path) -> None:
    frames = np.random.default_rng(0).normal(3.0, 0.5, (500, 44)).astype(np.float32)
    frames[:, 7] = 1.25
    statistics = Statistics.measure(frames, name="mine", fps=20.0)
    codec = Motion2DCodec(statistics)
    x = codec.encode(torch.from_numpy(frames).unflatten(-1, (22, 2)))
    varying = [i for i in range(44) if i != 7]
    assert x.mean(0).abs().max() < 1e-5
    assert torch.allclose(x.std(0, correction=0)[varying], torch.ones(43), atol=1e-4)
    assert statistics.std[7] == 1.0, f"a deviation under {MIN_STD} is left unscaled"
    statistics.save(tmp_path / "mine.npz")
    again = Statistics.load(tmp_path / "mine.npz")
    assert (again.name, again.fps, again.skeleton) == ("mine", 20.0, "smpl22")
    assert np.array_equal(again.mean, statistics.mean)
    assert np.array_equal(again.std, statistics.std)


def test_wrong_number_of_points_names_both() -> None:
    with pytest.raises(ValueError, match=r"23 points.*'all_200h_nr'.*22"):
        Motion2DCodec("all_200h_nr").encode(torch.zeros(3, 23, 2))


def test_unknown_statistics_list_the_known() -> None:
    with pytest.raises(FileNotFoundError, match=r"No statistics 'nowhere'.*all_200h_nr"):
        Motion2DCodec("nowhere")


def test_statistics_of_another_representation_are_refused() -> None:
    (other, *_) = set(PACKAGED) - set(OF_MOTION2D)
    with pytest.raises(ValueError, match="expected 'motion2d'"):
        Motion2DCodec(other)
