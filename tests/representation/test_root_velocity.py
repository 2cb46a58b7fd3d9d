"""Root-frame motion with the next root: round trip, heights."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from hmr4d.body.skeleton import SMPL22
from hmr4d.representation.root_velocity import (
    MAX_HEIGHT_SCALE,
    NEUTRAL_HEIGHT,
    body_height,
    from_root_velocity,
    normalize_height,
    to_root_velocity,
)


def motion(*leading: int, seed: int = 0) -> Tensor:
    return torch.randn(*leading, 22, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("leading", [(9,), (3, 9), (2, 3, 1)])
def test_round_trip_but_for_the_start(leading: tuple[int, ...]) -> None:
    joints = motion(*leading)
    start = joints[..., :1, :1, :]
    assert torch.allclose(from_root_velocity(to_root_velocity(joints)), joints - start, atol=1e-12)


def test_points_of_a_local_motion() -> None:
    joints = motion(5)
    local = to_root_velocity(joints)
    assert local.shape == (5, 23, 3)
    assert not local[:, 0].any()
    assert torch.allclose(local[:-1, 22], joints[1:, 0] - joints[:-1, 0])
    assert not local[-1, 22].any()
    for t in range(5):
        assert torch.allclose(local[t, 1:22], joints[t, 1:] - joints[t, 0])


def test_last_step_is_not_used() -> None:
    local = to_root_velocity(motion(6))
    changed = local.clone()
    changed[-1, 22] = 5.0
    assert torch.allclose(from_root_velocity(changed), from_root_velocity(local), atol=1e-12)


def test_local_motion_forgets_where_the_person_stands() -> None:
    joints = motion(2, 6)
    assert torch.allclose(
        to_root_velocity(joints + torch.tensor([3.0, -1.0, 2.0])), to_root_velocity(joints), atol=1e-12
    )


def test_two_dimensional_points_work_alike() -> None:
    local = to_root_velocity(motion(6))
    assert torch.equal(from_root_velocity(local[..., :2]), from_root_velocity(local)[..., :2])


def test_height_of_a_stick() -> None:
    """Bones of the legs 1 long, those of the spine 0.5: four and five bones."""
    joints = torch.zeros(1, 22, 3)
    for chain, bone in (("left_leg", -1.0), ("right_leg", -1.0), ("spine", 0.5)):
        for depth, joint in enumerate(SMPL22.chain(chain)):
            joints[0, joint, 1] = depth * bone
    assert float(body_height(joints)) == pytest.approx(4 + 2.5)


def test_height_does_not_depend_on_place_or_heading() -> None:
    joints = motion(2, 4)
    Q = torch.linalg.qr(torch.randn(3, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64))[0]
    assert torch.allclose(body_height(joints @ Q + 2.0), body_height(joints), atol=1e-12)
    assert torch.allclose(body_height(3.0 * joints), 3.0 * body_height(joints), atol=1e-12)


def test_per_frame_heights_are_neutral() -> None:
    local = to_root_velocity(motion(2, 5))
    scaled = normalize_height(local)
    assert torch.allclose(body_height(scaled), torch.full((2, 5), NEUTRAL_HEIGHT).double(), atol=1e-6)
    ratio = scaled[..., 1:22, :] / local[..., 1:22, :]
    assert torch.allclose(ratio, ratio[..., :1, :1].expand_as(ratio)), "one scale for the points of a frame"


def test_per_clip_height_is_one_scale_over_valid_frames() -> None:
    local, lengths = to_root_velocity(motion(2, 6)), torch.tensor([6, 3])
    local[1, 3:] *= 100.0
    scaled = normalize_height(local, lengths=lengths, per_frame=False)
    for b, n in enumerate(lengths.tolist()):
        assert float(body_height(scaled[b, :n]).mean()) == pytest.approx(NEUTRAL_HEIGHT, abs=1e-6)
        factor = scaled[b, 0, 5, 1] / local[b, 0, 5, 1]
        assert torch.allclose(scaled[b], local[b] * factor)


def test_a_collapsed_body_is_not_blown_up_beyond_the_limit() -> None:
    local = 1e-3 * to_root_velocity(motion(1, 4))
    assert torch.allclose(normalize_height(local), local * MAX_HEIGHT_SCALE)
    assert torch.isfinite(normalize_height(torch.zeros(1, 4, 23, 3))).all()
