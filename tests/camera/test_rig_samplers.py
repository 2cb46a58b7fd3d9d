"""Rigs for lifting: V0 as the origin, cameras that look at people, virtual copies around a person."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from hmr4d.body.light_body import load_light_body
from hmr4d.body.skeleton import SMPL22
from hmr4d.camera.rig_samplers import (
    CameraPool,
    CameraRanges,
    CapturedRigs,
    SurroundingRigs,
    complete,
    feet_place,
    virtual_rig,
)
from hmr4d.geometry.cameras import invert_rigid
from hmr4d.geometry.ground_pointmap import meet_floor
from hmr4d.geometry.rigs import Rig, camera_angles, camera_pose, project
from hmr4d.utils.randomness import ItemRandom

RANGES = SurroundingRigs(virtual_share=0.0)


def draws(source: SurroundingRigs | CapturedRigs, count: int = 60) -> list[Rig]:
    return [source.draw(ItemRandom.from_seed(seed)) for seed in range(count)]


def v0(pitch: float = 0.2, roll: float = 0.0, height: float = 1.6, focal: float = 1000.0) -> Rig:
    angles = (torch.tensor([a]) for a in (pitch, roll, 0.0))
    T = camera_pose(*angles, torch.tensor([[0.0, height, 0.0]]))
    return Rig(torch.tensor([[1280.0, 960.0]]), torch.tensor([[focal, focal, 640.0, 480.0]]), T)


def angles(rig: Rig) -> tuple[Tensor, Tensor, Tensor]:
    return camera_angles(rig.T_w2c[..., :3, :3])


def middle_of_axes(rig: Rig) -> Tensor:
    """(2,) the point of the floor nearest to all axes as seen from above."""
    ahead = rig.T_w2c[:, 2, [0, 2]]
    ahead = ahead / ahead.norm(dim=-1, keepdim=True)
    across = torch.eye(2) - ahead[:, :, None] * ahead[:, None]
    where = rig.centers[:, [0, 2]]
    return torch.linalg.solve(across.sum(0), (across @ where[..., None]).sum(0)[:, 0])


def test_drawn_rigs_keep_to_their_ranges() -> None:
    for rig in draws(RANGES):
        pitch, roll, yaw = (a.rad2deg() for a in angles(rig))
        assert rig.num_views == 4
        assert yaw[0].abs() < 1e-3
        assert rig.centers[0, [0, 2]].abs().max() < 1e-5
        assert (rig.centers[:, 1] >= 0.8 - 1e-5).all()
        assert (rig.centers[:, 1] <= 4.0 + 1e-5).all()
        assert (pitch >= -1e-3).all()
        assert (pitch <= 35 + 1e-3).all()
        assert (roll.abs() <= 5.001).all()
        gaps = [abs((a - b + 180) % 360 - 180) for i, a in enumerate(yaw.tolist()) for b in yaw[:i].tolist()]
        assert min(gaps) >= 30 - 1e-2
        assert (rig.K4[:, 0] <= 1.8 * rig.size.amax(-1) + 1e-2).all()
        middle = middle_of_axes(rig)
        assert 2 < -middle[1] < 10
        ahead = rig.T_w2c[:, 2, [0, 2]]
        away = middle - rig.centers[:, [0, 2]]
        beside = (away[:, 0] * ahead[:, 1] - away[:, 1] * ahead[:, 0]) / ahead.norm(dim=-1)
        assert beside.abs().max() < 3.0  # twice the spread: the middle is itself estimated
        assert ((away * ahead).sum(-1) > 0).all()  # all look towards it


def test_a_body_fits_the_image_of_every_drawn_camera_at_its_distance() -> None:
    for seed in range(20):
        cameras = CameraRanges().draw(8, ItemRandom.from_seed(seed))
        assert (cameras.size[:, 1] / cameras.K4[:, 1] * cameras.distance >= 2.4 - 1e-4).all()


def test_rigs_are_drawn_anew_and_again_the_same() -> None:
    first, second = draws(RANGES, 2)
    assert not torch.allclose(first.T_w2c, second.T_w2c)
    assert torch.equal(RANGES.draw(ItemRandom.from_seed(0)).T_w2c, first.T_w2c)


def test_the_virtual_share_is_v0_alone() -> None:
    counts = [rig.num_views for rig in draws(SurroundingRigs(virtual_share=0.5), 200)]
    assert set(counts) == {1, 4}
    assert 70 < counts.count(1) < 130


def test_pooled_cameras_keep_their_own_numbers() -> None:
    pool = draws(RANGES, 1)[0]
    own = {(round(float(k), 3), round(float(p), 4)) for k, p in zip(pool.K4[:, 0], angles(pool)[0], strict=True)}
    heights = pool.centers[:, 1]
    for rig in draws(SurroundingRigs(cameras=CameraPool(pool), virtual_share=0.0), 20):
        for k, p, h in zip(rig.K4[:, 0], angles(rig)[0], rig.centers[:, 1], strict=True):
            assert (round(float(k), 3), round(float(p), 4)) in own
            assert (heights - h).abs().min() < 1e-4
        assert angles(rig)[2][0].abs() < 1e-4


def test_captured_rigs_take_every_camera_as_the_first() -> None:
    capture = draws(SurroundingRigs(num_views=5, virtual_share=0.0), 1)[0]
    turned = Rig(
        capture.size,
        capture.K4,
        capture.T_w2c
        @ invert_rigid(camera_pose(*(torch.tensor(a) for a in (math.pi, 0.0, 0.7)), torch.tensor([4.0, 0.0, -3.0]))),
    )
    source = CapturedRigs([turned])
    seen = set()
    for rig in draws(source, 60):
        assert rig.num_views == 4
        assert rig.centers[0, [0, 2]].abs().max() < 1e-4
        assert angles(rig)[2][0].abs() < 1e-4
        for k, height in zip(rig.K4, rig.centers[:, 1], strict=True):
            match = ((capture.K4 - k).abs().amax(-1) < 1e-3).nonzero()[0, 0]
            assert height == pytest.approx(float(capture.centers[match, 1]), abs=1e-4)
        seen.add(round(float(rig.K4[0, 0]), 2))
    assert len(seen) == 5


def test_captures_with_few_cameras_are_completed() -> None:
    pair = draws(RANGES, 1)[0].select([0, 2])
    rig = CapturedRigs([pair]).draw(ItemRandom.from_seed(0))
    assert rig.num_views == 2
    whole = complete(rig, 4, 4.0, 0.5)
    assert whole.num_views == 4
    assert torch.equal(whole.T_w2c[:2], rig.T_w2c)
    assert torch.allclose(whole.T_w2c[2:], virtual_rig(rig.select([0]), 4.0, 0.5).T_w2c[1:3])
    assert complete(whole, 4, 9.0, 0.0) is whole


def test_the_virtual_rig_stands_around_the_person() -> None:
    camera = v0(pitch=0.15)
    rig = virtual_rig(camera, 5.0)
    assert rig.num_views == 4
    assert torch.equal(rig.T_w2c[:1], camera.T_w2c)
    assert torch.allclose(rig.K4, camera.K4.expand(4, 4))
    yaw = angles(rig)[2].rad2deg() % 360
    assert torch.allclose(yaw, torch.tensor([0.0, 90.0, 180.0, 270.0]), atol=1e-3)
    assert torch.allclose(rig.centers[:, 1], torch.full((4,), 1.6), atol=1e-5)
    expected = torch.tensor([[0.0, 0.0], [5.0, -5.0], [0.0, -10.0], [-5.0, -5.0]])
    assert torch.allclose(rig.centers[:, [0, 2]], expected, atol=1e-4)
    center = torch.tensor([0.0, 1.6 - 5 * math.tan(0.15), -5.0])  # on V0's axis
    pixels, depth = project(rig, center[None, None])
    assert torch.allclose(pixels[:, 0, 0], rig.K4[:, 2:], atol=0.05)
    assert (depth > 0).all()


def test_the_virtual_rig_of_a_camera_that_looks_past_people_looks_at_them() -> None:
    rig = virtual_rig(v0(pitch=0.0, height=3.0), torch.tensor(6.0), torch.tensor(2.0))
    around = torch.tensor([2.0, 1.5, -6.0])
    pixels, _ = project(rig, around[None, None])
    assert torch.allclose(pixels[1:, 0, 0], rig.K4[1:, 2:], atol=0.05)


def test_virtual_rigs_in_batches() -> None:
    cameras = [v0(0.1), v0(0.3, 0.05, 2.0)]
    both = Rig(*(torch.stack([getattr(c, n) for c in cameras]) for n in ("size", "K4", "T_w2c")))
    rigs = virtual_rig(both, torch.tensor([3.0, 6.0]), torch.tensor([0.5, -1.0]), num_views=3)
    for i, camera in enumerate(cameras):
        one = virtual_rig(camera, (3.0, 6.0)[i], (0.5, -1.0)[i], num_views=3)
        assert torch.allclose(rigs.T_w2c[i], one.T_w2c, atol=1e-6)
        assert torch.allclose(rigs.K4[i], one.K4)


def standing(x: float, z: float, frames: int = 9) -> Tensor:
    """(L, 22, 3) a body at rest with its feet on the floor."""
    body = load_light_body().rest_joints
    return (body + torch.tensor([x, 0.0, z])).expand(frames, 22, 3).clone()


def test_pixels_meet_the_level_they_come_from() -> None:
    rig = draws(RANGES, 1)[0]
    points = torch.tensor([[[0.3, 0.25, -4.0], [-0.6, 0.25, -3.0]]])
    pixels, depth = project(rig, points)
    met, valid = meet_floor(rig, pixels, 0.25)
    front = depth > 0
    assert front.any()
    assert valid[front].all()
    assert torch.allclose(met[front], points.expand(4, 1, 2, 3)[front], atol=1e-3)
    above = torch.stack([rig.K4[:, 2], rig.K4[:, 3] - 1e5], -1)[:, None, None]
    assert not meet_floor(rig, above)[1].any()


@pytest.mark.parametrize(("x", "z"), [(0.0, -4.0), (1.2, -6.0), (-0.8, -3.0)])
def test_where_feet_stand(x: float, z: float) -> None:
    camera = v0(0.2, 0.03)
    motion = standing(x, z)
    pixels = project(camera, motion)[0][0]
    visible = torch.ones(9, 22, dtype=torch.bool)
    distance, lateral = feet_place(camera, pixels, visible, SMPL22)
    assert float(distance) == pytest.approx(-z, abs=0.25)  # the lowest joint is a toe
    assert float(lateral) == pytest.approx(x, abs=0.2)
    hidden = visible.clone()
    hidden[:, list(SMPL22.contact_joints)] = False
    broken = pixels.masked_fill(~hidden[..., None], torch.nan)
    assert float(feet_place(camera, broken, hidden, SMPL22)[0]) == pytest.approx(-z, rel=0.2)


def test_feet_in_the_air_for_a_while_do_not_count() -> None:
    camera, motion = v0(), standing(0.0, -4.0)
    motion[:3, :, 1] += 0.8
    pixels = project(camera, motion)[0][0]
    distance, _ = feet_place(camera, pixels, torch.ones(9, 22, dtype=torch.bool), SMPL22)
    assert float(distance) == pytest.approx(4.0, abs=0.25)


def test_people_too_far_away_are_looked_for_in_their_direction() -> None:
    camera = v0(0.1, height=2.5)
    pixels = project(camera, standing(8.0, -20.0))[0][0]
    distance, lateral = feet_place(camera, pixels, torch.ones(9, 22, dtype=torch.bool), SMPL22)
    assert float(distance) == 12.0
    assert float(lateral / distance) == pytest.approx(8.0 / 20.0, abs=0.02)


def test_places_in_batches() -> None:
    cameras = [v0(0.1), v0(0.3, 0.05, 2.0)]
    both = Rig(*(torch.stack([getattr(c, n) for c in cameras]) for n in ("size", "K4", "T_w2c")))
    pixels = torch.stack([project(c, standing(0.0, -4.0 - i))[0][0] for i, c in enumerate(cameras)])
    visible = torch.ones(2, 9, 22, dtype=torch.bool)
    together = feet_place(both, pixels, visible, SMPL22)
    for i, camera in enumerate(cameras):
        for a, b in zip(together, feet_place(camera, pixels[i], visible[i], SMPL22), strict=True):
            assert torch.allclose(a[i], b, atol=1e-5)


def test_errors_say_what_to_do() -> None:
    with pytest.raises(ValueError, match="4 views cannot stand 100 degrees apart"):
        SurroundingRigs(min_gap=100)
    with pytest.raises(ValueError, match="No captures"):
        CapturedRigs([])
    camera = v0(pitch=-1.0)
    with pytest.raises(ValueError, match="No frame shows feet or hips below the horizon"):
        feet_place(camera, torch.full((5, 22, 2), 480.0), torch.ones(5, 22, dtype=torch.bool), SMPL22)
