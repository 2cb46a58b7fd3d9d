"""Camera distributions and the seeds behind them."""

from __future__ import annotations

import math
import random

import pytest
import torch

from hmr4d.camera.orbit_rigs import DISTANCE, RANDOM_ELEVATION, RIG_ELEVATION, OrbitRig, SingleCamera
from hmr4d.geometry.cameras import camera_position_spherical, invert_rigid
from hmr4d.utils.randomness import ItemRandom, mix_seed


def azimuths(T_w2c: torch.Tensor) -> torch.Tensor:
    """Orbit angles in [0, 2 pi) of cameras."""
    x, _, z = invert_rigid(T_w2c)[..., :3, 3].unbind(-1)
    return torch.atan2(-x, -z) % (2 * math.pi)


def test_even_rig_stands_every_quarter() -> None:
    T, elevation = OrbitRig().draw(ItemRandom.from_seed(0))
    steps = azimuths(T).diff() % (2 * math.pi)
    assert torch.allclose(steps, torch.full((3,), math.pi / 2), atol=1e-5)
    polar, _, radius = camera_position_spherical(T)
    assert torch.allclose(radius, torch.full((4,), DISTANCE))
    assert torch.allclose(math.pi / 2 - polar, torch.full((4,), math.radians(RIG_ELEVATION)), atol=1e-6)
    assert math.degrees(float(elevation)) == pytest.approx(RIG_ELEVATION)


@pytest.mark.parametrize("num_views", [1, 2, 3, 6])
def test_any_number_of_views(num_views: int) -> None:
    T, _ = OrbitRig(num_views=num_views).draw(ItemRandom.from_seed(0))
    assert T.shape == (num_views, 4, 4)


def test_narrow_arc() -> None:
    T, _ = OrbitRig(num_views=2, max_angle=90.0, azimuth=30.0).draw(ItemRandom.from_seed(0))
    assert torch.allclose(azimuths(T), torch.tensor([30.0, 120.0]).deg2rad(), atol=1e-5)


def test_random_rig_fills_its_arc() -> None:
    rig = OrbitRig(num_views=400, is_uniform=False, max_angle=45.0, azimuth=0.0)
    drawn = azimuths(rig.draw(ItemRandom.from_seed(0))[0])
    assert drawn.min() < 0.05
    assert math.pi / 2 - 0.05 < drawn.max() < math.pi / 2


def test_random_starts_and_elevations_fill_their_range() -> None:
    camera = SingleCamera()
    drawn = [camera.draw(ItemRandom.from_seed(seed)) for seed in range(400)]
    angles = torch.stack([azimuths(T)[0] for T, _ in drawn])
    elevations = torch.cat([elevation for _, elevation in drawn]).rad2deg()
    counts = torch.histc(angles, 8, 0, 2 * math.pi)
    assert counts.min() > 25
    assert elevations.abs().max() <= RANDOM_ELEVATION
    assert torch.histc(elevations, 4, -RANDOM_ELEVATION, RANDOM_ELEVATION).min() > 70


def test_fixed_values_are_not_drawn() -> None:
    T, elevation = SingleCamera(elevation=12.0, distance=3.0).draw(ItemRandom.from_seed(0))
    polar, _, radius = camera_position_spherical(T)
    assert math.degrees(float(elevation)) == pytest.approx(12.0)
    assert math.degrees(math.pi / 2 - float(polar)) == pytest.approx(12.0, abs=1e-4)
    assert float(radius) == pytest.approx(3.0)
    rig = OrbitRig(azimuth=10.0)
    first, second = (rig.draw(ItemRandom.from_seed(seed))[0] for seed in (1, 2))
    assert torch.equal(first, second)


def test_one_seed_one_rig() -> None:
    draw = [OrbitRig().draw(ItemRandom.from_seed(seed))[0] for seed in (1, 1, 2)]
    assert torch.equal(draw[0], draw[1])
    assert not torch.allclose(draw[0], draw[2])


def test_item_streams_are_those_of_their_seed() -> None:
    rng = ItemRandom.from_seed(9)
    assert rng.choices.random() == random.Random(9).random()
    expected = torch.Generator().manual_seed(9)
    assert torch.equal(rng.uniform(3), torch.rand(3, generator=expected))
    assert rng.integer(1000) == int(torch.randint(0, 1000, (1,), generator=expected))


def test_mixed_seeds_spread() -> None:
    seeds = {mix_seed(a, b) for a in range(60) for b in range(60)}
    assert len(seeds) == 3600
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert mix_seed(1, 2) != mix_seed(2, 1)
    assert mix_seed(0) != mix_seed(0, 0)
    assert mix_seed(-5, 3) == mix_seed(-5, 3)
    bits = sum(bin(mix_seed(7, i) ^ mix_seed(7, i + 1)).count("1") for i in range(200)) / 200
    assert 28 < bits < 35, "neighbors differ in half of their bits"
