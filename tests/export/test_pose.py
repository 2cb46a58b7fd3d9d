"""A motion with a pose reaches files as it is: with twists that no joints show, and without inverse kinematics."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import roma
import torch
from scipy.spatial.transform import Rotation
from torch import Tensor

from hmr4d.body.loading import load_body
from hmr4d.body.pose import Pose
from hmr4d.body.skeleton import SMPL22
from hmr4d.export.amass_npz import save_amass_npz
from hmr4d.export.bvh import write_bvh
from hmr4d.export.glb import write_glb
from hmr4d.export.motion_npz import load_motion_npz, save_motion_npz
from hmr4d.motion import rigid_motion
from hmr4d.motion.canonical import facing_transform, transformed
from hmr4d.motion.motion import Motion
from hmr4d.motion.rigid_motion import follow_joints
from hmr4d.motion.skinning import drive_body
from hmr4d.motion_files.bvh import read_bvh
from hmr4d.visualization.motion_files import write_motion_files
from tests.export.gltf_reader import Glb

FPS = 25.0
TWISTED = SMPL22.indices("head", "left_wrist", "right_foot", "left_elbow", "neck")


def posed_motion(*, body: str = "smplh", num_frames: int = 9) -> Motion:
    """All joints sway; ends of chains and straight limbs are turned about their bones, which moves no joint."""
    rng = np.random.default_rng(3)
    time = np.linspace(0, 3, num_frames)[:, None, None]
    vectors = 0.4 * rng.normal(size=(1, 22, 3)) * np.sin(time + rng.uniform(0, 6, (1, 22, 3)))
    rotations = roma.rotvec_to_rotmat(torch.from_numpy(vectors).float())
    rest = 1.1 * load_body().rest_joints
    for joint in TWISTED:
        children = [child for child, parent in enumerate(SMPL22.parents) if parent == joint]
        axis = rest[children[0]] - rest[joint] if children else torch.tensor([0.3, 0.8, -0.5])
        rotations[:, joint] = rotations[:, joint] @ roma.rotvec_to_rotmat(1.2 * axis / axis.norm())
    path = torch.stack([torch.linspace(0, 2, num_frames), torch.full((num_frames,), 0.1), torch.zeros(num_frames)], -1)
    pose = Pose(body, rotations, path, rest, torch.linspace(-1, 1, 10), "female")
    return Motion(pose.joints(), FPS, text="sways", pose=pose)


def read_bvh_pose(path: Path) -> tuple[Tensor, Tensor]:
    """Rotations (L, 22, 3, 3) and roots (L, 3) of a BVH file whose angles are in degrees, z x y."""
    clip = read_bvh(path)
    angles = clip.motion[:, 3:].reshape(len(clip.motion), -1, 3)
    matrices = Rotation.from_euler("ZXY", angles.reshape(-1, 3), degrees=True).as_matrix().reshape(*angles.shape, 3)
    order = [clip.joint_names.index(name) for name in SMPL22.joint_names]
    return torch.from_numpy(matrices[:, order]), torch.from_numpy(clip.motion[:, :3])


def read_glb_pose(path: Path) -> tuple[Tensor, Tensor]:
    glb = Glb(path)
    nodes = [1 + glb.joint_names.index(name) for name in SMPL22.joint_names]
    quats = torch.stack([torch.from_numpy(np.array(glb.tracks[node, "rotation"][1])) for node in nodes], 1)
    return roma.unitquat_to_rotmat(quats.double()), torch.from_numpy(np.array(glb.tracks[nodes[0], "translation"][1]))


def read_amass_pose(path: Path) -> tuple[Tensor, Tensor]:
    with np.load(path) as file:
        rotations = roma.rotvec_to_rotmat(torch.from_numpy(file["poses"][:, :66]).double().unflatten(-1, (22, 3)))
        roots = torch.from_numpy(file["trans"] + file["rest_joints"][0])
    y_up = torch.tensor([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0], [0.0, -1.0, 0.0]], dtype=torch.float64)
    return torch.cat([y_up @ rotations[:, :1], rotations[:, 1:]], 1), roots @ y_up.mT


WRITERS: dict[str, tuple[Callable[..., object], Callable[[Path], tuple[Tensor, Tensor]], float]] = {
    "bvh": (write_bvh, read_bvh_pose, 2e-6),  # four decimals of a degree
    "glb": (write_glb, read_glb_pose, 1e-6),
    "amass.npz": (save_amass_npz, read_amass_pose, 1e-6),
}


@pytest.fixture
def no_solver(monkeypatch: pytest.MonkeyPatch) -> None:
    def solve(*_: object, **__: object) -> None:
        raise AssertionError("a pose was solved for")

    for name in ("solve_pose", "follow_joints"):
        monkeypatch.setattr(rigid_motion, name, solve)


@pytest.mark.usefixtures("no_solver")
@pytest.mark.parametrize("ending", WRITERS)
def test_the_pose_of_a_motion_reaches_the_file_without_inverse_kinematics(tmp_path: Path, ending: str) -> None:
    motion = posed_motion()
    assert motion.pose is not None
    write, read, tolerance = WRITERS[ending]
    write(tmp_path / f"m.{ending}", motion)
    rotations, roots = read(tmp_path / f"m.{ending}")
    torch.testing.assert_close(rotations.float(), motion.pose.rotations, atol=tolerance, rtol=0)
    torch.testing.assert_close(roots.float(), motion.joints3d[:, 0], atol=1e-5, rtol=0)


def test_joints_alone_do_not_determine_twists(tmp_path: Path) -> None:
    """So the test above cannot pass by solving for rotations."""
    motion = posed_motion()
    assert motion.pose is not None
    solved = follow_joints(motion.joints3d, motion.pose.rest_joints, fps=FPS).pose.rotations
    off = roma.rotmat_geodesic_distance(solved, motion.pose.rotations)[:, list(TWISTED)]
    assert off.amax(0).min() > 0.5  # radians
    write_bvh(tmp_path / "m.bvh", replace(motion, pose=None))
    assert (read_bvh_pose(tmp_path / "m.bvh")[0] - motion.pose.rotations).abs().max() > 0.3


@pytest.mark.usefixtures("no_solver")
def test_an_amass_file_has_the_shape_of_the_body(tmp_path: Path) -> None:
    motion = posed_motion()
    save_amass_npz(tmp_path / "m.npz", motion)
    with np.load(tmp_path / "m.npz") as file:
        np.testing.assert_allclose(file["betas"], [*np.linspace(-1, 1, 10), *[0.0] * 6], atol=1e-6)
        assert str(file["gender"]) == "female"
        np.testing.assert_allclose(file["rest_joints"], motion.pose.rest_joints, atol=1e-6)  # type: ignore[union-attr]


def test_only_a_pose_of_the_smpl_family_is_applied_to_another_body_of_the_family(tmp_path: Path) -> None:
    model = load_body().rest_joints + torch.tensor([0.0, 0.2, 0.0])
    for body, is_kept in (("smplx", True), ("anny", False)):
        motion = posed_motion(body=body)
        save_amass_npz(tmp_path / "m.npz", motion, rest_joints=model)
        rotations, roots = read_amass_pose(tmp_path / "m.npz")
        assert motion.pose is not None
        assert bool((rotations.float() - motion.pose.rotations).abs().max() < 1e-5) == is_kept
        torch.testing.assert_close(roots.float(), motion.joints3d[:, 0], atol=1e-5, rtol=0)
        with np.load(tmp_path / "m.npz") as file:
            assert not file["betas"].any()


@pytest.mark.parametrize("betas", [None, torch.linspace(0, 1, 16)])
def test_a_motion_file_keeps_pose_and_uncertainty(tmp_path: Path, betas: Tensor | None) -> None:
    motion = posed_motion()
    assert motion.pose is not None
    motion = replace(motion, pose=replace(motion.pose, betas=betas), uncertainty=torch.rand(9, 22))
    save_motion_npz(tmp_path / "m.npz", motion)
    read = load_motion_npz(tmp_path / "m.npz")
    assert read.pose is not None and motion.pose is not None and motion.uncertainty is not None
    assert (read.pose.body, read.pose.gender) == ("smplh", "female")
    for name in ("rotations", "translation", "rest_joints"):
        assert torch.equal(getattr(read.pose, name), getattr(motion.pose, name))
    assert (read.pose.betas is None) if betas is None else torch.equal(read.pose.betas, betas)  # type: ignore[arg-type]
    assert torch.equal(read.uncertainty, motion.uncertainty)  # type: ignore[arg-type]


def test_half_a_pose_in_a_file_is_named(tmp_path: Path) -> None:
    save_motion_npz(tmp_path / "m.npz", posed_motion())
    with np.load(tmp_path / "m.npz") as file:
        content = {key: file[key] for key in file.files if key != "pose_translation"}
    np.savez(tmp_path / "m.npz", **content)
    with pytest.raises(ValueError, match="the pose lacks pose_translation"):
        load_motion_npz(tmp_path / "m.npz")
    content["pose_translation"] = np.zeros((8, 3), np.float32)
    np.savez(tmp_path / "m.npz", **content)
    with pytest.raises(ValueError, match=r"translation of a pose has shape \(8, 3\)"):
        load_motion_npz(tmp_path / "m.npz")


@pytest.mark.usefixtures("no_solver")
def test_meshes_and_pages_use_the_pose(tmp_path: Path) -> None:
    motion = posed_motion()
    posed = drive_body(motion)
    assert motion.pose is not None
    torch.testing.assert_close(posed.rotations, motion.pose.rotations)
    torch.testing.assert_close(posed.joints22(), motion.joints3d, atol=1e-5, rtol=0)
    written = write_motion_files(motion, tmp_path, "m", ["html", "csv", "npz"])
    assert [path.name for path in written] == ["m.html", "m.csv", "m.npz"]


@pytest.mark.usefixtures("no_solver")
def test_rotating_a_motion_rotates_its_pose() -> None:
    motion = posed_motion()
    turned = transformed(motion, facing_transform(motion.joints3d[0]))
    assert turned.pose is not None and motion.pose is not None
    torch.testing.assert_close(turned.pose.joints(), turned.joints3d, atol=1e-5, rtol=0)
    assert torch.equal(turned.pose.rotations[:, 1:], motion.pose.rotations[:, 1:])


def test_a_pose_that_differs_from_the_joints_is_reported(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    motion = posed_motion()
    write_bvh(tmp_path / "m.bvh", replace(motion, joints3d=motion.joints3d + torch.tensor([0.1, 0.0, 0.0])))
    assert "joints3d and pose of this motion differ, the file has the pose: joints are 100.0 mm off" in caplog.text
