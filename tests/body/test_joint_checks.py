"""What joints must be before they are turned into anything else, and when their axes are doubted."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import roma
import torch

from hmr4d.body.joint_checks import axes_doubt, check_bones, check_finite, check_size
from hmr4d.body.loading import load_body
from hmr4d.body.skeleton import COCO17, SKELETONS, SMPL22
from tests.body.true_motions import true_motions

BODY = load_body("anny")
MOTIONS = {name: BODY.pose(rotations) for name, rotations in true_motions(40).items()}


def over_floor(joints3d: torch.Tensor) -> torch.Tensor:
    """The same with the lowest joint of the clip at y = 0."""
    return joints3d - joints3d[..., 1].min() * torch.tensor([0.0, 1.0, 0.0])


def z_up(joints3d: torch.Tensor) -> torch.Tensor:
    x, y, z = joints3d.unbind(-1)
    return torch.stack([x, -z, y], -1)


@pytest.mark.parametrize("name", MOTIONS)
def test_no_motion_over_the_floor_is_rated_doubtful(name: str) -> None:
    """Lying, rolling over, cartwheels: whichever way they go, and also where the floor is a little off."""
    for heading in torch.arange(8) * torch.pi / 4:
        turn = roma.rotvec_to_rotmat(torch.tensor([0.0, float(heading), 0.0]))
        clip = over_floor(MOTIONS[name] @ turn.mT)
        for height in (-0.05, 0.0, 0.5):
            assert axes_doubt(clip + torch.tensor([1.0, height, 0.0]), SMPL22) is None


@pytest.mark.parametrize("axis", range(3))
@pytest.mark.parametrize("sign", [-1, 1])
def test_nobody_who_lies_still_is_rated_doubtful(axis: int, sign: int) -> None:
    """The rest pose laid down on the floor, along each axis, on back, front and sides."""
    rest = BODY.rest_joints.repeat(5, 1, 1)
    for roll in torch.arange(4) * torch.pi / 2:
        vector = torch.zeros(3)
        vector[axis] = sign * torch.pi / 2
        turn = roma.rotvec_to_rotmat(vector) @ roma.rotvec_to_rotmat(torch.tensor([0.0, float(roll), 0.0]))
        assert axes_doubt(over_floor(rest @ turn.mT), SMPL22) is None


def test_somebody_upright_with_z_up_is_rated_doubtful() -> None:
    stands = BODY.rest_joints.repeat(5, 1, 1)[..., [2, 1, 0]] * torch.tensor([1.0, 1.0, -1.0])  # arms along z
    assert "The body stands along z; is z up?" in (axes_doubt(z_up(over_floor(stands)), SMPL22) or "")
    for clip in (stands, MOTIONS["two turns"], MOTIONS["bow"]):
        turned = z_up(over_floor(clip))
        assert "is z up?" in (axes_doubt(turned, SMPL22) or "")
        x, y, z = turned.unbind(-1)
        assert axes_doubt(torch.stack([x, z, -y], -1), SMPL22) is None  # as the sentence says


@pytest.mark.parametrize("y", [-3.0, -0.2, 1.1, 2.4])
def test_somebody_upright_with_z_up_is_rated_doubtful_wherever_the_walk_goes(y: float) -> None:
    turned = z_up(over_floor(BODY.rest_joints.repeat(40, 1, 1)))
    clip = turned - turned[..., 1].min() * torch.tensor([0.0, 1.0, 0.0]) + torch.tensor([0.0, y, 0.0])
    assert "is z up?" in (axes_doubt(clip, SMPL22) or "")
    walk = (
        clip - torch.tensor([0.0, y, 0.0]) + torch.linspace(0, 2, len(clip))[:, None, None] * torch.tensor([0, 1.0, 0])
    )
    assert "is z up?" in (axes_doubt(walk, SMPL22) or "")  # from the floor y = 0 upwards


def test_joints_below_the_floor_are_rated_doubtful_but_not_a_few_bad_frames() -> None:
    clip = over_floor(MOTIONS["bow"])
    assert "reaches 0.90 m below the floor" in (axes_doubt(clip - torch.tensor([0.0, 0.9, 0.0]), SMPL22) or "")
    clip = clip.repeat(2, 1, 1)
    clip[7] -= 3.0
    assert axes_doubt(clip, SMPL22) is None


@pytest.mark.parametrize("name", SKELETONS)
def test_every_skeleton_is_looked_at(name: str) -> None:
    skeleton = SKELETONS[name]
    joints3d = torch.rand(4, skeleton.num_joints, 3)
    assert axes_doubt(joints3d, skeleton) is None
    assert axes_doubt(joints3d - 2.0, skeleton) is not None
    check_size(joints3d, skeleton)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda j: 1000 * j, "Give joints in meters"),
        (lambda j: 0.001 * j, "Give joints in meters"),
        (lambda j: 0 * j, "The bones to left_hip, .* have no length"),
        (lambda j: j[:1].index_copy(1, torch.tensor([15]), j[:1, [12]]), "The bone to head has no length"),
        (lambda j: j[:, :21], r"expected \(L, 22, 3\)"),
        (lambda j: j[:0], "at least one frame"),
    ],
)
def test_bones_that_nobody_has(change: Callable[[torch.Tensor], torch.Tensor], message: str) -> None:
    clip = MOTIONS["bow"]
    check_bones(clip, SMPL22)
    with pytest.raises(ValueError, match=message):
        check_bones(change(clip), SMPL22)


@pytest.mark.parametrize(("count", "words"), [(1, "1 point in all"), (2, "2 points in all")])
def test_one_and_many(count: int, words: str) -> None:
    joints3d = torch.zeros(3, 17, 3)
    joints3d[2, :count, 0] = torch.nan
    with pytest.raises(ValueError, match=rf"frame 2, joint 0 \(nose\); {words}"):
        check_finite(joints3d, COCO17)
