"""A body that follows a motion."""

import math

import pytest
import torch

from hmr4d.body.body_model import load_body
from hmr4d.body.posed_body import FRAMES_OF_MESH, PosedBody, pose_after, sinking


def motion(num_frames: int = 5, turn: float = 0.0) -> torch.Tensor:
    """(L, 22, 3) of a body of other proportions whose joints turn by random amounts, far from the origin."""
    generator = torch.Generator().manual_seed(3)
    body = load_body()
    body = body.with_bone_lengths(body.bone_lengths * (0.9 + 0.2 * torch.rand(22, generator=generator)))
    axis_angle = 0.3 * torch.randn(num_frames, 22, 3, generator=generator)
    skew = torch.zeros(num_frames, 22, 3, 3)
    for i, j, k in ((0, 1, 2), (1, 2, 0), (2, 0, 1)):
        skew[..., j, k], skew[..., k, j] = -axis_angle[..., i], axis_angle[..., i]
    rotations = torch.matrix_exp(skew)
    heading = torch.tensor([[math.cos(turn), 0, math.sin(turn)], [0, 1, 0], [-math.sin(turn), 0, math.cos(turn)]])
    rotations[:, 0] = heading @ rotations[:, 0]
    return body.pose(rotations, torch.tensor([3.0, 0.5, -2.0]).expand(num_frames, 3))


@pytest.mark.parametrize("turn", [0.0, math.pi, -2.0])
def test_joints_are_those_of_the_motion(turn: float) -> None:
    joints3d = motion(turn=turn)
    posed = pose_after(joints3d)
    assert float((posed.joints22() - joints3d).norm(dim=-1).max()) < 2e-3


def test_meshes_come_one_by_one_as_the_body_makes_them() -> None:
    posed = pose_after(motion(FRAMES_OF_MESH + 2))
    meshes = list(posed.meshes())
    assert len(meshes) == posed.num_frames == FRAMES_OF_MESH + 2
    last = posed.body.vertices(posed.rotations[-1], posed.translation[-1])
    torch.testing.assert_close(meshes[-1], last, atol=1e-5, rtol=0)
    torch.testing.assert_close(posed.bounds()[-1], torch.stack([last.amin(0), last.amax(0)]), atol=1e-5, rtol=0)


def test_a_sinking_body_is_raised_by_what_is_missing_and_a_floating_one_is_left() -> None:
    body = load_body()
    still = torch.eye(3).expand(40, 22, 3, 3)
    height = -0.03 - body.rest_vertices[:, 1].min()
    translation = torch.zeros(40, 3)
    translation[:, 1] = height
    translation[7, 1] -= 0.5  # one bad frame
    posed = PosedBody(body, still, translation)
    missing = sinking(posed.bounds())
    assert missing == pytest.approx(0.03, abs=1e-4)
    assert float(posed.raised(missing).bounds()[0, 0, 1]) == pytest.approx(0, abs=1e-4)
    assert sinking(posed.raised(1.0).bounds()) == 0.0


def test_a_motion_that_is_not_finite_is_refused() -> None:
    joints3d = motion()
    joints3d[1, 2] = float("nan")
    with pytest.raises(ValueError, match="finite"):
        pose_after(joints3d)
