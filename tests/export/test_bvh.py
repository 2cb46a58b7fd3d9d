"""BVH files, read back by three readers: the project's, a plain one below, and one from elsewhere."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from hmr4d.body import inverse_kinematics
from hmr4d.body.retarget import bone_lengths
from hmr4d.body.skeleton import SMPL22, Skeleton
from hmr4d.export import bvh
from hmr4d.export.bvh import write_bvh
from hmr4d.motion_files.bone_names import bone_names, known_bone_names
from hmr4d.motion_files.bvh import read_bvh
from hmr4d.motion_files.side_files import side_file
from tests.export.motions import HEADINGS, heading, right_hand_raised, rigid_motion, turn
from tests.motions import as_motion

MILLIMETER = 1e-3
LYING = turn("x", -90.0)


def read_plainly(path: Path) -> dict[str, np.ndarray]:
    """Joint name -> (L, 3) positions, by 4x4 matrices and nothing shared with the package."""
    head, body = path.read_text("utf-8").split("MOTION\n")
    names, offsets, parents, stack = [], [], [], []
    for line in head.splitlines():
        words = line.split()
        if words[0] in ("ROOT", "JOINT", "End"):
            parents.append(stack[-1] if stack else -1)
            names.append(words[1] if words[0] != "End" else "")
            stack.append(len(names) - 1)
        elif words[0] == "OFFSET":
            offsets.append([float(w) for w in words[1:]])
        elif words[0] == "CHANNELS":
            positions = ["Xposition", "Yposition", "Zposition"] if words[1] == "6" else []
            assert words[2:] == [*positions, "Zrotation", "Xrotation", "Yrotation"]
        elif words[0] == "}":
            stack.pop()
    result: dict[str, list[np.ndarray]] = {name: [] for name in names if name}
    for line in body.splitlines()[2:]:
        numbers = [float(w) for w in line.split()]
        root, angles, world = numbers[:3], iter(np.reshape(numbers[3:], (-1, 3))), []
        for name, offset, parent in zip(names, offsets, parents, strict=True):
            local = np.eye(4)
            local[:3, 3] = np.add(offset, root if parent < 0 else 0)
            if name:
                local[:3, :3] = Rotation.from_euler("ZXY", next(angles), degrees=True).as_matrix()
            world.append(local if parent < 0 else world[parent] @ local)
            if name:
                result[name].append(world[-1][:3, 3])
    return {name: np.array(places) for name, places in result.items()}


def positions(path: Path, bones: str = "smpl") -> np.ndarray:
    """(L, 22, 3) by the project's reader."""
    clip = read_bvh(path)
    return clip.forward_kinematics()[:, [clip.joint_names.index(n) for n in bone_names(bones)]]


@pytest.mark.parametrize("degrees", HEADINGS)
def test_positions_are_restored_in_every_heading(tmp_path: Path, degrees: float) -> None:
    motion = rigid_motion(root=heading(degrees))
    done = write_bvh(tmp_path / "m.bvh", as_motion(motion, fps=30, text="sways"))
    assert np.abs(positions(tmp_path / "m.bvh") - motion).max() < 0.1 * MILLIMETER
    plainly = read_plainly(tmp_path / "m.bvh")
    assert np.abs(np.stack([plainly[n] for n in SMPL22.joint_names], 1) - motion).max() < 0.1 * MILLIMETER
    assert done.largest < 0.1 * MILLIMETER


@pytest.mark.parametrize("root", [LYING, LYING.inv(), turn("z", 180.0)])
def test_lying_and_standing_on_the_head(tmp_path: Path, root: Rotation) -> None:
    motion = rigid_motion(root=root)
    write_bvh(tmp_path / "m.bvh", as_motion(motion, fps=30))
    assert np.abs(positions(tmp_path / "m.bvh") - motion).max() < 0.1 * MILLIMETER


def test_an_independent_reader_agrees(tmp_path: Path) -> None:
    bvhio = pytest.importorskip("bvhio", reason="bvhio is not installed (requirements_dev.txt)")
    motion = rigid_motion(5, root=heading(180))
    write_bvh(tmp_path / "m.bvh", as_motion(motion, fps=30), bones="mixamo")
    root = bvhio.readAsHierarchy(str(tmp_path / "m.bvh"))
    for frame in range(5):
        root.loadPose(frame)
        found = {joint.Name: np.array(joint.PositionWorld) for joint, _, _ in root.layout()}
        read = np.stack([found[name] for name in bone_names("mixamo")])
        assert np.abs(read - motion[frame]).max() < 0.1 * MILLIMETER


def test_left_and_right_are_preserved(tmp_path: Path) -> None:
    write_bvh(tmp_path / "m.bvh", as_motion(right_hand_raised(), fps=20), bones="unity")
    read = read_plainly(tmp_path / "m.bvh")
    head, right, left = (read[n][0] for n in ("Head", "RightHand", "LeftHand"))
    assert right[0] < -0.1 < 0.1 < left[0]
    assert right[1] > head[1] > left[1]
    assert read["RightToes"][0, 2] > read["RightFoot"][0, 2] + 0.05, "it faces +z"


@pytest.mark.parametrize("bones", known_bone_names())
def test_names_change_and_nothing_else(tmp_path: Path, bones: str) -> None:
    motion = rigid_motion(3)
    write_bvh(tmp_path / "own.bvh", as_motion(motion, fps=20))
    write_bvh(tmp_path / "other.bvh", as_motion(motion, fps=20), bones=bones)
    assert set(read_bvh(tmp_path / "other.bvh").joint_names) == set(bone_names(bones))
    np.testing.assert_array_equal(positions(tmp_path / "other.bvh", bones), positions(tmp_path / "own.bvh"))


def test_centimeters(tmp_path: Path) -> None:
    motion = rigid_motion(3)
    write_bvh(tmp_path / "m.bvh", as_motion(motion, fps=20), units="cm")
    assert np.abs(positions(tmp_path / "m.bvh") / 100 - motion).max() < 0.1 * MILLIMETER
    assert json.loads(side_file(tmp_path / "m.bvh").read_text())["units"] == "centimetres"


@pytest.mark.parametrize("fps", [20, 29.97, 120])
def test_rate_and_metadata(tmp_path: Path, fps: float) -> None:
    write_bvh(
        tmp_path / "m.bvh", as_motion(rigid_motion(2), fps=fps, text="läuft", metadata={"licence": "CC0", "seed": 3})
    )
    assert read_bvh(tmp_path / "m.bvh").fps == pytest.approx(fps, rel=1e-6)
    facts = json.loads((tmp_path / "m.bvh.json").read_text("utf-8"))
    assert facts["residual"].pop("largest_mm") < 0.1
    assert facts == {
        "fps": fps,
        "num_frames": 2,
        "units": "metres",
        "axes": "right-handed, y up",
        "skeleton": "smpl22",
        "text": "läuft",
        "licence": "CC0",
        "metadata": {"licence": "CC0", "seed": 3},
        "bones": "smpl",
        "residual": facts["residual"],
    }


def test_one_frame(tmp_path: Path) -> None:
    motion = rigid_motion(5)[2:3]
    write_bvh(tmp_path / "m.bvh", as_motion(motion, fps=20))
    assert np.abs(positions(tmp_path / "m.bvh") - motion).max() < 0.1 * MILLIMETER


def test_bones_that_stretch_are_reported(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    motion = rigid_motion(41) + np.random.default_rng(0).normal(scale=0.006, size=(41, 22, 3)).astype(np.float32)
    done = write_bvh(tmp_path / "m.bvh", as_motion(motion, fps=20))
    distance = np.linalg.norm(positions(tmp_path / "m.bvh") - motion, axis=-1)
    assert distance.max() == pytest.approx(done.largest, abs=1e-4) and done.largest > 10 * MILLIMETER
    assert distance.mean() == pytest.approx(done.mean, abs=1e-4)
    assert "change their length" in caplog.text
    made = bone_lengths(positions(tmp_path / "m.bvh"))
    np.testing.assert_allclose(made, bone_lengths(motion), atol=1e-5)


@pytest.mark.parametrize("axis", ["x", "y", "z"])
def test_angle_curves_are_continuous_through_full_turns(tmp_path: Path, axis: str) -> None:
    """Twice round: no angle may jump by half or full turns, whatever axis the figure turns about."""
    still = np.repeat(rigid_motion(1), 90, 0)
    turns = turn(axis, np.linspace(0, 720, 90)).as_matrix()
    motion = np.einsum("lij,lkj->lki", turns, still - still[:, :1]).astype(np.float32)
    write_bvh(tmp_path / "m.bvh", as_motion(motion, fps=20))
    clip = read_bvh(tmp_path / "m.bvh")
    below = clip.motion[:, 6:]
    assert np.abs(np.diff(below, axis=0)).max() < 0.1, "only the root turns"
    assert np.abs(positions(tmp_path / "m.bvh") - motion).max() < 0.1 * MILLIMETER
    assert np.abs(np.diff(clip.motion[:, 3:6], axis=0)).max() < 100


def test_angles_at_gimbal_lock_are_exact() -> None:
    import torch

    angles = np.array([[30.0, 90.0, -50.0], [10.0, -90.0, 170.0], [0.0, 90.0 - 1e-9, 0.0], [-20.0, 89.999999, 3.0]])
    wanted = Rotation.from_euler("ZXY", angles, degrees=True).as_matrix()
    found = bvh.euler_zxy(torch.from_numpy(wanted)).numpy()
    np.testing.assert_allclose(Rotation.from_euler("ZXY", found).as_matrix(), wanted, atol=1e-12)


def test_continued_angles_are_the_same_rotations() -> None:
    rng = np.random.default_rng(0)
    true = np.cumsum(rng.normal(scale=0.2, size=(400, 5, 3)), 0)  # wanders over many turns
    wrapped = bvh._wrapped(true)
    flip = np.stack([true[..., 0] + np.pi, np.pi - true[..., 1], true[..., 2] + np.pi], -1)
    given = np.where(rng.random((400, 5, 1)) < 0.5, wrapped, bvh._wrapped(flip))
    given[0] = true[0]
    found = np.concatenate([bvh.continued(given[:150]), np.empty((0, 5, 3))])
    found = np.concatenate([found, bvh.continued(given[150:], found[-1])])
    np.testing.assert_allclose(found, true, atol=1e-9)


def test_blocks_join_without_seams(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    motion = rigid_motion(23, root=turn("y", np.linspace(0, 900, 23)))
    write_bvh(tmp_path / "whole.bvh", as_motion(motion, fps=20))
    monkeypatch.setattr(bvh, "FRAMES_PER_BLOCK", 5)
    monkeypatch.setattr(inverse_kinematics, "FRAMES_AT_ONCE", 4)
    write_bvh(tmp_path / "blocks.bvh", as_motion(motion, fps=20))
    whole, blocks = (read_bvh(tmp_path / f"{n}.bvh").motion for n in ("whole", "blocks"))
    np.testing.assert_allclose(blocks, whole, atol=2e-4)


def test_invalid_motion_is_refused_and_no_file_remains(tmp_path: Path) -> None:
    broken = rigid_motion(4)
    broken[2, 20] = np.nan
    dog = Skeleton("dog", ("root", "tail"), (-1, 0), ())
    for wrong, message in (
        ({"joints3d": broken}, r"frame 2, joint 20 \(left_wrist\)"),
        ({"joints3d": np.zeros((4, 2, 3)), "skeleton": dog}, "skeleton 'dog' has none"),
        ({"fps": 0}, "fps is 0"),
        ({"units": "inch"}, "known: m, cm"),
        ({"bones": "maya"}, "mixamo, unreal, unity"),
        ({"metadata": {"a": object()}}, "JSON"),
    ):
        with pytest.raises(ValueError, match=message):
            options = {name: wrong[name] for name in ("units", "bones") if name in wrong}
            about = {name: value for name, value in wrong.items() if name not in options}
            write_bvh(tmp_path / "m.bvh", as_motion(**{"joints3d": rigid_motion(2), **about}), **options)
        assert not list(tmp_path.iterdir())


def test_an_interrupted_writer_leaves_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(bvh, "write_rows", stop)
    with pytest.raises(KeyboardInterrupt):
        write_bvh(tmp_path / "m.bvh", as_motion(rigid_motion(2), fps=20))
    assert not list(tmp_path.iterdir())
