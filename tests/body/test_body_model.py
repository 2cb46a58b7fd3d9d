"""Bodies: kinematics and skinning against joint-by-joint composition, invariances, other lengths, files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from hmr4d.body.body_model import Body
from hmr4d.body.kinematics import forward_kinematics
from hmr4d.body.light_body import LIGHT_BODY, read_body, save_body
from hmr4d.body.loading import load_body
from hmr4d.body.retarget import smpl_mean_bone_lengths
from hmr4d.body.skeleton import SMPL22

BODIES = ["anny", "stick"]


def random_rotations(*shape: int, seed: int = 0, spread: float = 0.6) -> torch.Tensor:
    vectors = spread * np.random.default_rng(seed).normal(size=(int(np.prod(shape)), 3))
    return torch.from_numpy(Rotation.from_rotvec(vectors).as_matrix()).reshape(*shape, 3, 3).float()


@pytest.fixture(params=BODIES)
def body(request: pytest.FixtureRequest) -> Body:
    return load_body(request.param)


def composed(body: Body, rotations: np.ndarray) -> list[np.ndarray]:
    """4x4 world transforms of the joints of one pose, joint by joint."""
    rest, world = body.rest_joints.double().numpy(), []
    for j, parent in enumerate(body.parents):
        local = np.eye(4)
        local[:3, :3] = rotations[j]
        local[:3, 3] = rest[j] - (rest[parent] if parent >= 0 else 0)
        world.append(local if parent < 0 else world[parent] @ local)
    return world


def test_joints_and_vertices_follow_the_chains(body: Body) -> None:
    rotations, translation = random_rotations(body.num_joints), torch.tensor([0.3, -1.0, 2.0])
    world = composed(body, rotations.double().numpy())
    expected = np.stack([T[:3, 3] for T in world]) + translation.numpy()
    np.testing.assert_allclose(body.pose(rotations, translation).numpy(), expected, atol=2e-6)
    moves = np.stack(
        [T @ np.linalg.inv(R) for T, R in zip(world, composed(body, np.eye(3)[None].repeat(22, 0)), strict=True)]
    )
    picked = np.random.default_rng(0).choice(body.num_vertices, 100)
    vertices = body.vertices(rotations, translation)
    for v in picked:
        rest = np.append(body.rest_vertices[v].double().numpy(), 1)
        blended = sum(
            float(w) * moves[j] @ rest for j, w in zip(body.skin_indices[v], body.skin_weights[v], strict=True)
        )
        np.testing.assert_allclose(vertices[v].numpy(), blended[:3] + translation.numpy(), atol=5e-6)


def test_the_rest_pose_is_the_identity(body: Body) -> None:
    still = torch.eye(3).repeat(body.num_joints, 1, 1)
    torch.testing.assert_close(body.pose(still), body.rest_joints, atol=1e-6, rtol=0)
    torch.testing.assert_close(body.vertices(still), body.rest_vertices, atol=2e-6, rtol=0)
    shift = torch.tensor([1.0, 2.0, -3.0])
    torch.testing.assert_close(body.vertices(still, shift), body.rest_vertices + shift, atol=2e-6, rtol=0)


def test_a_turn_of_the_root_moves_the_mesh_as_one_piece(body: Body) -> None:
    rotations = random_rotations(body.num_joints)
    turn = random_rotations(1, seed=1, spread=2.0)[0]
    turned = rotations.clone()
    turned[0] = turn @ rotations[0]
    root = body.rest_joints[0]
    for points in (body.vertices, body.pose, body.coco17):
        torch.testing.assert_close(points(turned), (points(rotations) - root) @ turn.mT + root, atol=5e-6, rtol=0)


def test_weights_are_few_positive_and_sum_to_one(body: Body) -> None:
    assert body.skin_weights.shape == body.skin_indices.shape == (body.num_vertices, 4)
    assert (body.skin_weights >= 0).all() and (body.skin_weights.diff(dim=1) <= 0).all()
    torch.testing.assert_close(body.skin_weights.sum(1), torch.ones(body.num_vertices), atol=1e-6, rtol=0)
    assert body.skin_indices.min() >= 0 and body.skin_indices.max() < body.num_joints
    assert (body.skin_indices[body.skin_weights == 0] == 0).all()


def test_any_leading_axes_and_dtypes(body: Body) -> None:
    rotations, translation = random_rotations(2, 3, body.num_joints), torch.randn(2, 3, 3)
    vertices, joints = body.vertices(rotations, translation), body.pose(rotations, translation)
    assert vertices.shape == (2, 3, body.num_vertices, 3) and joints.shape == (2, 3, 22, 3)
    assert body.coco17(rotations, translation).shape == (2, 3, 17, 3)
    torch.testing.assert_close(vertices[1, 2], body.vertices(rotations[1, 2], translation[1, 2]), atol=2e-6, rtol=0)
    assert body.vertices(rotations[:0], translation[:0]).shape == (0, 3, body.num_vertices, 3)
    double = body.to(torch.float64)
    exact = double.vertices(rotations.double(), translation.double())
    assert exact.dtype == torch.float64 and double.skin_indices.dtype == torch.int64
    torch.testing.assert_close(exact.float(), vertices, atol=5e-6, rtol=0)


def test_gradients_reach_rotations_and_translation(body: Body) -> None:
    vectors = torch.zeros(4, body.num_joints, 3, dtype=torch.float64, requires_grad=True)
    translation = torch.zeros(4, 3, dtype=torch.float64, requires_grad=True)
    import roma

    double = body.to(torch.float64)
    double.vertices(roma.rotvec_to_rotmat(vectors), translation).square().mean().backward()
    assert vectors.grad is not None and translation.grad is not None
    assert vectors.grad.isfinite().all() and translation.grad.isfinite().all() and vectors.grad.abs().sum() > 0
    one = torch.from_numpy(0.3 * np.random.default_rng(0).normal(size=(body.num_joints, 3))).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: double.pose(roma.rotvec_to_rotmat(x)), (one,))


def test_sides_and_directions(body: Body) -> None:
    joints = dict(zip(SMPL22.joint_names, body.rest_joints[list(body.smpl22)], strict=True))
    for name, place in joints.items():
        if name.startswith("left"):
            mirrored = joints["right" + name[4:]] * torch.tensor([-1.0, 1.0, 1.0])
            assert place[0] > 0.03
            torch.testing.assert_close(place, mirrored, atol=5e-3, rtol=0)
    assert joints["head"][1] > joints["pelvis"][1] > joints["left_knee"][1] > joints["left_ankle"][1] > 0
    assert joints["left_foot"][2] > joints["left_ankle"][2] + 0.05, "toes point forward"
    assert joints["left_wrist"][0] > 0.6 and abs(joints["left_wrist"][1] - joints["left_shoulder"][1]) < 0.02
    coco = dict(
        zip(
            ("nose", "left_eye", "right_eye", "left_ear", "right_ear"),
            body.coco17(torch.eye(3).repeat(body.num_joints, 1, 1)),
            strict=False,
        )
    )
    assert coco["nose"][2] > coco["left_ear"][2] + 0.05 and coco["left_ear"][0] > 0.03 > -0.03 > coco["right_ear"][0]


def test_faces_look_outward(body: Body) -> None:
    corners = body.rest_vertices[body.faces]
    volume = (corners[:, 0] * torch.linalg.cross(corners[:, 1], corners[:, 2])).sum() / 6
    assert volume > 0.001, "cubic meters, positive when faces are counter-clockwise from outside"


def test_proportions_are_near_the_mean_smpl_skeleton() -> None:
    ratios = load_body("anny").bone_lengths[1:].double() / torch.from_numpy(smpl_mean_bone_lengths()[1:])
    assert float(ratios.min()) > 0.75 and float(ratios.max()) < 1.25
    np.testing.assert_allclose(load_body("stick").bone_lengths[1:].numpy(), smpl_mean_bone_lengths()[1:], atol=1e-4)


def test_other_bone_lengths_keep_joints_exact(body: Body) -> None:
    factors = torch.from_numpy(np.random.default_rng(0).uniform(0.8, 1.25, 22)).float()
    lengths = body.bone_lengths * factors
    other = body.with_bone_lengths(lengths)
    rotations = random_rotations(5, 22)
    joints = other.pose(rotations)
    for parent, child in SMPL22.bones:
        torch.testing.assert_close(
            (joints[:, child] - joints[:, parent]).norm(dim=-1), lengths[child].expand(5), atol=2e-6, rtol=0
        )
    same = torch.nn.functional.cosine_similarity(other.offsets[1:], body.offsets[1:], dim=-1)
    torch.testing.assert_close(same, torch.ones(21))
    torch.testing.assert_close(other.rest_vertices[:, 1].min(), body.rest_vertices[:, 1].min(), atol=1e-5, rtol=0)


def test_scaling_all_bones_scales_the_mesh(body: Body) -> None:
    other = body.with_bone_lengths(1.2 * body.bone_lengths)
    size, other_size = (b.rest_vertices.amax(0) - b.rest_vertices.amin(0) for b in (body, other))
    torch.testing.assert_close(other_size, 1.2 * size, atol=1e-4, rtol=0)
    torch.testing.assert_close(
        body.with_bone_lengths(body.bone_lengths).rest_vertices, body.rest_vertices, atol=1e-5, rtol=0
    )


def test_a_longer_forearm_is_not_thicker() -> None:
    body = load_body("anny")
    lengths = body.bone_lengths.clone()
    wrist = SMPL22.index("left_wrist")
    lengths[wrist] *= 1.3
    other = body.with_bone_lengths(lengths)
    elbow = SMPL22.index("left_elbow")
    owned = (body.skin_indices[:, 0] == elbow) & (body.skin_weights[:, 0] > 0.99)
    size, other_size = (b.rest_vertices[owned].amax(0) - b.rest_vertices[owned].amin(0) for b in (body, other))
    assert 1.25 < float(other_size[0] / size[0]) < 1.35
    assert float(other_size[1] / size[1]) < 1.06 and float(other_size[2] / size[2]) < 1.06


def test_other_rest_joints_are_reached_and_the_mesh_goes_along(body: Body) -> None:
    noise = 0.02 * torch.from_numpy(np.random.default_rng(0).normal(size=(22, 3))).float()
    wanted = body.rest_joints[list(body.smpl22)] + noise
    other = body.with_rest_joints(wanted)
    joints = other.rest_joints[list(body.smpl22)]
    torch.testing.assert_close(joints - joints[0], wanted - wanted[0], atol=2e-6, rtol=0)
    assert float((other.rest_vertices - body.rest_vertices).norm(dim=-1).max()) < 0.15
    same = body.with_rest_joints(body.rest_joints[list(body.smpl22)] + 1.0)
    torch.testing.assert_close(same.rest_vertices, body.rest_vertices, atol=2e-5, rtol=0)


def test_rest_joints_in_one_place_are_refused(body: Body) -> None:
    with pytest.raises(ValueError, match=r"joints has shape \(24, 3\), expected \(22, 3\)"):
        body.with_rest_joints(torch.zeros(24, 3))
    joints = body.rest_joints[list(body.smpl22)].clone()
    joints[SMPL22.index("left_wrist")] = joints[SMPL22.index("left_elbow")]
    with pytest.raises(ValueError, match="those to left_wrist are not"):
        body.with_rest_joints(joints)


def test_wrong_lengths_are_refused(body: Body) -> None:
    with pytest.raises(ValueError, match=r"lengths has shape \(5,\), body '\w+' needs \(22,\)"):
        body.with_bone_lengths(torch.ones(5))
    lengths = torch.ones(22)
    lengths[[4, 7]] = torch.tensor([0.0, float("nan")])
    with pytest.raises(ValueError, match="those to left_knee, left_ankle are not"):
        body.with_bone_lengths(lengths)


def test_wrong_shapes_are_refused(body: Body) -> None:
    with pytest.raises(ValueError, match=r"rotations has shape \(24, 3, 3\), body '\w+' needs \(\.\.\., 22, 3, 3\)"):
        body.pose(torch.eye(3).repeat(24, 1, 1))
    with pytest.raises(ValueError, match=r"translation has shape \(2, 3\), expected \(4, 3\)"):
        body.vertices(torch.eye(3).repeat(4, 22, 1, 1), torch.zeros(2, 3))
    with pytest.raises(ValueError, match="Unknown body 'barbie'; known: anny, stick"):
        load_body("barbie")


def test_a_file_gives_the_body_back(tmp_path: Path, body: Body) -> None:
    save_body(tmp_path / "body.npz", body)
    other = read_body(tmp_path / "body.npz")
    assert (other.name, other.joint_names, other.parents, other.smpl22, other.drivers, other.licence) == (
        body.name,
        body.joint_names,
        body.parents,
        body.smpl22,
        body.drivers,
        body.licence,
    )
    rotations = random_rotations(3, 22)
    torch.testing.assert_close(other.vertices(rotations), body.vertices(rotations), atol=1e-4, rtol=0)
    torch.testing.assert_close(other.coco17(rotations), body.coco17(rotations), atol=1e-4, rtol=0)
    assert torch.equal(other.faces, body.faces)


def test_files_that_are_no_body_are_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="Body not found"):
        read_body(tmp_path / "none.npz")
    np.savez(tmp_path / "other.npz", a=np.zeros(3))
    (tmp_path / "text.npz").write_bytes(b"hello")
    for name in ("other.npz", "text.npz"):
        with pytest.raises(ValueError, match=f"{name} is no body file"):
            read_body(tmp_path / name)


def test_the_shipped_file_is_small() -> None:
    assert LIGHT_BODY.stat().st_size < 1_000_000
    assert (LIGHT_BODY.parent / "NOTICE.md").is_file()


def test_rotations_of_other_skeletons_find_their_joints() -> None:
    body = load_body("anny")
    rotations = random_rotations(2, 22)
    torch.testing.assert_close(body.from_smpl22(rotations), rotations)


def test_kinematics_broadcast_over_offsets() -> None:
    offsets, rotations = torch.randn(3, 1, 22, 3), random_rotations(3, 5, 22)
    world, joints = forward_kinematics(rotations, offsets, SMPL22.parents)
    assert world.shape == (3, 5, 22, 3, 3) and joints.shape == (3, 5, 22, 3)
    _, one = forward_kinematics(rotations[1, 2], offsets[1, 0], SMPL22.parents)
    torch.testing.assert_close(joints[1, 2], one)
