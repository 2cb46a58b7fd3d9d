"""GLB files read back by a reader written after the specification, by packages, and in all headings."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import roma
import torch

from hmr4d.body.body_model import Body
from hmr4d.body.joint_conventions import METADATA_KEY, rest_in_convention
from hmr4d.body.light_body import stick_body
from hmr4d.body.loading import load_body
from hmr4d.body.pose import Pose
from hmr4d.body.skeleton import SMPL22, Skeleton
from hmr4d.body.smpl_bodies import load_smpl_body
from hmr4d.export.glb import continued_quats, vertex_normals, write_glb
from hmr4d.motion.motion import Motion
from hmr4d.motion_files.bone_names import bone_names
from tests.body.smpl_models import write_model
from tests.export.gltf_reader import Glb
from tests.motions import as_motion
from tests.visualization.conftest import walking_joints

FPS = 30.0
LEFT_RIGHT = [(SMPL22.index(n), SMPL22.index("right" + n[4:])) for n in SMPL22.joint_names if n.startswith("left")]


def turned(joints3d: np.ndarray, degrees: float) -> np.ndarray:
    """The motion turned about the vertical axis."""
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return (joints3d @ np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]]).T).astype(np.float32)


def moving(body: Body, num_frames: int = 12, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Smooth rotations (L, J, 3, 3) of all joints, the root turning more than once, and translations (L, 3)."""
    rng = np.random.default_rng(seed)
    phase = np.linspace(0, 2 * np.pi, num_frames)[:, None, None] + rng.uniform(0, 6, (1, body.num_joints, 3))
    vectors = rng.uniform(0, 0.7, (1, body.num_joints, 3)) * np.sin(phase)
    rotations = roma.rotvec_to_rotmat(torch.from_numpy(vectors).float())
    turn = torch.zeros(num_frames, 3)
    turn[:, 1] = torch.linspace(0, 9.0, num_frames)
    rotations[:, 0] = roma.rotvec_to_rotmat(turn) @ rotations[:, 0]
    return rotations, torch.from_numpy(rng.normal(size=(num_frames, 3))).float()


@pytest.mark.parametrize("heading", range(0, 360, 45))
def test_joints_are_restored_in_every_heading_and_on_their_sides(tmp_path: Path, heading: int) -> None:
    joints3d = turned(walking_joints(10), heading)
    write_glb(tmp_path / "walk.glb", as_motion(joints3d, fps=FPS))
    glb = Glb(tmp_path / "walk.glb")
    assert glb.joint_names == list(SMPL22.joint_names)
    for frame in range(10):
        np.testing.assert_allclose(glb.joints(frame / FPS), joints3d[frame], atol=1e-4)
    left = np.array([np.cos(np.radians(heading)), 0, -np.sin(np.radians(heading))])  # of a figure turned that way
    vertices, mesh = glb.vertices(0.0), glb.primitive
    for joint, twin in LEFT_RIGHT:
        weights = [(mesh["WEIGHTS_0"] * (mesh["JOINTS_0"] == j)).sum(1) for j in (joint, twin)]
        ours, theirs = (w @ (vertices @ left) / w.sum() for w in weights)
        assert ours > theirs + 0.05, SMPL22.joint_names[joint]
    toes, ankle = (glb.joints(0.0)[SMPL22.index(f"left_{n}")] for n in ("foot", "ankle"))
    assert (toes - ankle) @ np.cross(left, [0, 1, 0]) > 0.05, "toes point forward"


@pytest.mark.parametrize("name", ["anny", "stick"])
def test_mesh_and_joints_are_those_of_the_body(tmp_path: Path, name: str) -> None:
    body = load_body(name)
    rotations, translation = moving(body)
    pose = Pose(name, rotations, translation, body.rest_joints)
    write_glb(tmp_path / "body.glb", Motion(pose.joints(), FPS, pose=pose), body=body)
    glb = Glb(tmp_path / "body.glb")
    for frame in range(len(rotations)):
        expected = body.pose(rotations[frame], translation[frame])
        np.testing.assert_allclose(glb.joints(frame / FPS), expected, atol=2e-5)
    for frame in (0, 7):
        expected = body.vertices(rotations[frame], translation[frame])
        np.testing.assert_allclose(glb.vertices(frame / FPS), expected, atol=2e-5)
    np.testing.assert_array_equal(glb.primitive["faces"], body.faces)


def test_the_mesh_stays_on_the_joints_of_a_motion(tmp_path: Path) -> None:
    joints3d = turned(walking_joints(6), 180)
    write_glb(tmp_path / "walk.glb", as_motion(joints3d, fps=FPS))
    glb = Glb(tmp_path / "walk.glb")
    vertices, mesh = glb.vertices(3 / FPS), glb.primitive
    for joint, name in enumerate(SMPL22.joint_names):
        around = vertices[(mesh["JOINTS_0"] == joint).any(1)]
        assert np.linalg.norm(around - joints3d[3, joint], axis=1).min() < 0.12, name
    assert abs(vertices[:, 1].min()) < 0.02, "soles are near the floor"


def test_the_rest_pose_of_a_known_source_is_respected(tmp_path: Path) -> None:
    """Joints are the same; the neck of somebody who stands is not bent, and soles are on the floor."""
    rest = rest_in_convention(load_body().rest_joints, "bandai_namco")
    joints3d = (rest - rest[SMPL22.index("left_foot")] * torch.tensor([0.0, 1.0, 0.0])).repeat(5, 1, 1).numpy()
    bent = {}
    for name, metadata in (("as_such", {}), ("known", {METADATA_KEY: "bandai_namco"})):
        write_glb(tmp_path / f"{name}.glb", as_motion(joints3d, fps=FPS, metadata=metadata))
        glb = Glb(tmp_path / f"{name}.glb")
        np.testing.assert_allclose(glb.joints(2 / FPS), joints3d[2], atol=1e-4)
        assert abs(glb.vertices(0.0)[:, 1].min()) < 0.01
        node = glb.json["nodes"][1 + SMPL22.index("neck")]
        bent[name] = np.degrees(2 * np.arccos(min(1.0, abs(node["rotation"][3]))))
    assert bent["known"] < 0.5 and bent["as_such"] > 10


def test_a_body_with_more_joints_than_the_motion(tmp_path: Path) -> None:
    write_model(tmp_path, "smplh")
    body = load_smpl_body("smplh", folder=tmp_path)
    joints3d = walking_joints(4)
    write_glb(tmp_path / "walk.glb", as_motion(joints3d, fps=FPS), body=body, bones="mixamo")
    glb = Glb(tmp_path / "walk.glb")
    assert len(glb.joint_names) == 52
    assert [glb.joint_names[j] for j in body.smpl22] == list(bone_names("mixamo"))
    for frame in range(4):
        np.testing.assert_allclose(glb.joints(frame / FPS)[list(body.smpl22)], joints3d[frame], atol=1e-4)


def test_skin_follows_the_rules_of_the_format(tmp_path: Path) -> None:
    write_glb(tmp_path / "walk.glb", as_motion(walking_joints(3), fps=FPS))
    glb = Glb(tmp_path / "walk.glb")
    mesh = glb.primitive
    np.testing.assert_allclose(mesh["WEIGHTS_0"].sum(1), 1, atol=1e-6)
    assert (mesh["JOINTS_0"][mesh["WEIGHTS_0"] == 0] == 0).all()
    np.testing.assert_allclose(np.linalg.norm(mesh["NORMAL"], axis=1), 1, atol=1e-5)
    outside = (mesh["NORMAL"] * (mesh["POSITION"] - mesh["POSITION"].mean(0))).sum(1)
    assert (outside > 0).mean() > 0.6, "normals point outward"
    root, figure = glb.json["skins"][0]["skeleton"], glb.json["nodes"][0]
    assert figure["children"] == [root] and glb.json["nodes"][root]["name"] == "pelvis"
    paths = [path for _, path in glb.tracks]
    assert paths.count("translation") == 1 and paths.count("rotation") == 22


def test_quaternion_tracks_interpolate_the_short_way(tmp_path: Path) -> None:
    body = stick_body()
    rotations, translation = moving(body, 40)
    pose = Pose("stick", rotations, translation, body.rest_joints)
    write_glb(tmp_path / "turns.glb", Motion(pose.joints(), FPS, pose=pose), body=body)
    glb = Glb(tmp_path / "turns.glb")
    for (_, path), (times, values) in glb.tracks.items():
        np.testing.assert_allclose(times, np.arange(40) / FPS, atol=1e-6)
        if path == "rotation":
            assert ((values[1:] * values[:-1]).sum(1) > 0).all()
    middle = (glb.joints(20 / FPS) + glb.joints(21 / FPS)) / 2
    np.testing.assert_allclose(glb.joints(20.5 / FPS), middle, atol=0.02)


def test_signs_are_continued_through_many_turns() -> None:
    angles = torch.linspace(0, 40, 200)[:, None]
    quats = roma.rotmat_to_unitquat(roma.rotvec_to_rotmat(angles[..., None] * torch.tensor([0.0, 1.0, 0.0])))
    continued = continued_quats(quats)
    torch.testing.assert_close(continued[:, 0, 1], (angles[:, 0] / 2).sin(), atol=1e-5, rtol=0)
    torch.testing.assert_close(continued[:, 0, 3], (angles[:, 0] / 2).cos(), atol=1e-5, rtol=0)


def test_metadata_are_inside(tmp_path: Path) -> None:
    text, about = "läuft </b> 走る", {"seed": 3, "licence": "MIT", "by": ["a"]}
    blocks = write_glb(tmp_path / "walk.glb", as_motion(walking_joints(5), fps=29.97, text=text, metadata=about))
    document = Glb(tmp_path / "walk.glb").json
    facts = document["asset"]["extras"]
    assert (facts["fps"], facts["num_frames"], facts["units"], facts["skeleton"]) == (29.97, 5, "metres", "smpl22")
    assert (facts["text"], facts["licence"], facts["metadata"]) == (text, "MIT", about)
    assert facts["axes"].startswith("right-handed, y up") and facts["body"] == "anny" and "CC0" in facts["body_licence"]
    assert document["animations"][0]["name"] == text and document["nodes"][0]["extras"] == facts
    assert blocks.largest < 1e-4


def test_one_frame_is_a_pose(tmp_path: Path) -> None:
    joints3d = walking_joints(1)
    write_glb(tmp_path / "pose.glb", as_motion(joints3d, fps=FPS))
    np.testing.assert_allclose(Glb(tmp_path / "pose.glb").joints(0.0), joints3d[0], atol=1e-4)


def test_size_of_five_seconds(tmp_path: Path) -> None:
    write_glb(tmp_path / "walk.glb", as_motion(walking_joints(150, FPS), fps=FPS))
    assert (tmp_path / "walk.glb").stat().st_size < 900_000


@pytest.mark.parametrize(
    ("change", "options", "expected"),
    [
        (lambda j: j[:0], {}, "no frames"),
        (lambda j: np.where(np.arange(22)[:, None] == 20, np.nan, j), {}, r"frame 0, joint 20 \(left_wrist\)"),
        (lambda j: j[:, [*range(20), 18, 21]], {}, "bone to left_wrist has no length"),
        (lambda j: j, {"fps": 0}, "fps"),
        (lambda j: j, {"bones": "maya"}, "Unknown bone names 'maya'"),
        (lambda j: j, {"metadata": {"a": object()}}, "JSON"),
        (lambda j: j[:, :2], {"skeleton": Skeleton("pair", ("a", "b"), (-1, 0), ())}, "skeleton 'pair' has none"),
    ],
)
def test_invalid_motion_is_refused(tmp_path: Path, change, options: dict, expected: str) -> None:
    with pytest.raises(ValueError, match=expected):
        names = {name: options.pop(name) for name in ("bones",) if name in options}
        write_glb(tmp_path / "m.glb", as_motion(change(walking_joints(3)), **{"fps": FPS, **options}), **names)
    assert not list(tmp_path.iterdir())


def test_a_pose_that_is_not_finite_is_refused(tmp_path: Path) -> None:
    body = stick_body()
    rotations, translation = moving(body)
    pose = Pose("stick", rotations, translation * float("nan"), body.rest_joints)
    with pytest.raises(ValueError, match="translation of the pose are not finite"):
        write_glb(tmp_path / "m.glb", Motion(torch.zeros(len(rotations), 22, 3), FPS, pose=pose), body=body)
    assert not list(tmp_path.iterdir())


def test_normals_of_a_box_point_out_of_its_corners() -> None:
    corners = torch.tensor([[x, y, z] for x in (-1.0, 1) for y in (-1.0, 1) for z in (-1.0, 1)] + [[0, 0, 5.0]])
    quads = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)]
    faces = torch.tensor([f for a, b, c, d in quads for f in ((a, b, c), (a, c, d))])
    normals = vertex_normals(corners, faces)
    assert ((normals[:8] * corners[:8]).sum(1) > 1.5).all()
    assert normals[8].tolist() == [0, 1, 0], "a vertex without faces"


def test_other_packages_can_read_the_file(tmp_path: Path) -> None:
    pygltflib, trimesh = pytest.importorskip("pygltflib"), pytest.importorskip("trimesh")
    write_glb(tmp_path / "walk.glb", as_motion(walking_joints(3), fps=FPS, text="walks"))
    document = pygltflib.GLTF2().load(str(tmp_path / "walk.glb"))
    assert document.asset.extras["text"] == "walks" and len(document.skins[0].joints) == 22
    scene = trimesh.load(tmp_path / "walk.glb")
    (mesh,) = scene.geometry.values()
    assert mesh.faces.shape == (27420, 3) and mesh.is_winding_consistent
    assert json.dumps(document.asset.extras)
