"""Noise sources: an item's noise depends on its own generator, length and cameras, and on nothing else."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from hmr4d.diffusion.noise import IndependentNoise, NoiseSource, WorldNoise, view_noise
from hmr4d.geometry.cameras import orbit_camera

NUM_POINTS = 22


def rig(batch: int, num_views: int = 4) -> Tensor:
    start = torch.arange(float(batch))[:, None]
    return orbit_camera(start + torch.arange(num_views) * (math.pi / 2), torch.tensor(0.1), torch.tensor(4.5))


def source(kind: str, seeds: Sequence[int], lengths: Sequence[int], T_w2c: Tensor) -> NoiseSource:
    generators = [torch.Generator().manual_seed(seed) for seed in seeds]
    if kind == "world":
        return WorldNoise(generators, torch.tensor(lengths), T_w2c, num_points=NUM_POINTS)
    return IndependentNoise(generators, torch.tensor(lengths), num_views=T_w2c.shape[1], num_features=2 * NUM_POINTS)


@pytest.fixture(params=["world", "independent"])
def kind(request: pytest.FixtureRequest) -> str:
    return request.param


def test_an_item_alone_and_in_a_batch(kind: str) -> None:
    T, seeds, lengths = rig(3), [5, 6, 7], [9, 4, 12]
    together = source(kind, seeds, lengths, T)
    alone = [source(kind, [seeds[i]], [lengths[i]], T[i : i + 1]) for i in range(3)]
    for _ in range(3):
        batch = together()
        assert batch.shape == (3, 4, 12, 2 * NUM_POINTS)
        for i in range(3):
            assert torch.allclose(batch[i, :, : lengths[i]], alone[i]()[0], atol=1e-6)


def test_order_of_items_does_not_matter(kind: str) -> None:
    T, seeds, lengths = rig(3), [5, 6, 7], [9, 4, 12]
    order = [2, 0, 1]
    first = source(kind, seeds, lengths, T)()
    second = source(kind, [seeds[i] for i in order], [lengths[i] for i in order], T[order])()
    assert torch.allclose(second, first[order], atol=1e-6)


def test_same_seed_same_noise_other_seed_other_noise(kind: str) -> None:
    T = rig(1)
    assert torch.equal(source(kind, [1], [6], T)(), source(kind, [1], [6], T)())
    assert not torch.allclose(source(kind, [1], [6], T)(), source(kind, [2], [6], T)())


def test_every_call_is_new(kind: str) -> None:
    noise = source(kind, [1], [6], rig(1))
    assert not torch.allclose(noise(), noise())


def test_global_generator_is_left_alone(kind: str) -> None:
    before = torch.get_rng_state()
    source(kind, [1], [6], rig(1))()
    assert torch.equal(torch.get_rng_state(), before)


def test_each_view_sees_standard_normal_noise(kind: str) -> None:
    x = source(kind, [0], [2000], rig(1))()[0]  # (V, L, D)
    assert x.mean((1, 2)).abs().max() < 0.02
    assert (x.std((1, 2)) - 1).abs().max() < 0.02
    channels = torch.corrcoef(x[0].T)
    assert (channels - torch.eye(len(channels))).abs().max() < 0.12, "channels of one view are independent"


def test_padding_of_noise_is_zero(kind: str) -> None:
    x = source(kind, [1, 2], [3, 8], rig(2))()
    shift = x[0, 0, -1] if kind == "world" else torch.zeros(())  # the origin, where the cameras see it
    assert shift.abs().max() < 1e-6 and (x[0, :, 3:] - shift).abs().max() < 1e-6
    assert x[1].all()


def test_world_noise_is_one_cloud_seen_from_all_sides() -> None:
    x = source("world", [0], [50], rig(1))().unflatten(-1, (NUM_POINTS, 2))
    front, back = x[0, 0], x[0, 2]
    # Cameras on opposite sides at one elevation see mirrored x.
    assert torch.allclose(front[..., 0], -back[..., 0], atol=1e-5)
    independent = source("independent", [0], [50], rig(1))().unflatten(-1, (NUM_POINTS, 2))
    assert not torch.allclose(independent[0, 0, ..., 0], -independent[0, 2, ..., 0], atol=0.5)


def test_view_noise_is_rotation_then_dropping_depth() -> None:
    T = rig(2)
    noise3d = torch.randn(2, 5, NUM_POINTS, 3, generator=torch.Generator().manual_seed(0))
    got = view_noise(noise3d, T).unflatten(-1, (NUM_POINTS, 2))
    for view in range(4):
        expected = torch.einsum("bci,blpi->blpc", T[:, view, :2, :3], noise3d)
        assert torch.allclose(got[:, view], expected + T[:, view, None, None, :2, 3], atol=1e-6)


def test_as_many_generators_as_items(kind: str) -> None:
    with pytest.raises(ValueError, match="zip"):
        source(kind, [1], [3, 4], rig(2))()
