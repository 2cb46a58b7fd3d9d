"""Units, up axes and rates of files: what was taken wrongly is told with the option that mends it."""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np
import pytest

from hmr4d.body.skeleton import SMPL22
from hmr4d.cli.prepare import main
from hmr4d.data.importers.conversion import BvhSource, Conversion, convert_batch
from hmr4d.data.store import MotionStore
from hmr4d.motion_files.bvh import BvhError, read_bvh
from hmr4d.motion_files.joint_maps import BANDAI_NAMCO, JointMap
from hmr4d.motion_files.source_frame import METERS_PER_UNIT, UP_AXES, likely_unit, source_fps, turned_y_up
from hmr4d.visualization.shown_motions import read_motion


def scaled(content: bytes, scale: float) -> bytes:
    """The same file with other lengths: offsets and positions, which are the first three of six channels."""
    head, motion = content.decode().split("MOTION")
    head = re.sub(r"OFFSET (.*)", lambda m: "OFFSET " + " ".join(str(scale * float(v)) for v in m[1].split()), head)
    lines = motion.split("\n")
    for i, line in enumerate(lines[3:], start=3):
        values = np.array(line.split(), float)
        values[np.arange(len(values)) % 6 < 3] *= scale
        lines[i] = " ".join(map(str, values))
    return f"{head}MOTION{chr(10).join(lines)}".encode()


def converted(content: bytes, **options: object):
    (result,) = convert_batch([BvhSource("clip", "clip.bvh", content)], Conversion(BANDAI_NAMCO, **options))  # type: ignore[arg-type]
    return result


def lying(joints3d: np.ndarray, up: str) -> np.ndarray:
    """Joints with y up as a file writes them whose `up` points up."""
    rows = turned_y_up(np.eye(3), up)  # images of the axes
    return joints3d @ np.linalg.inv(rows)


@pytest.mark.parametrize("unit", METERS_PER_UNIT)
def test_people_of_every_unit_are_refused_with_the_one_that_fits(bandai_bvh, unit):
    content = scaled(bandai_bvh(31), 0.01 / METERS_PER_UNIT[unit])
    for taken, scale in METERS_PER_UNIT.items():
        result = converted(content, meters_per_unit=scale)
        if taken == unit:
            assert isinstance(result.joints, np.ndarray) and not result.remarks
            continue
        told = str(result.joints) if isinstance(result.joints, BvhError) else result.remarks[0].words
        assert f"with lengths in {taken} the body is" in told and f"(--unit {unit})" in told
    assert likely_unit(1.5 / METERS_PER_UNIT[unit]) == unit


def test_a_body_that_no_unit_fits_is_refused_without_one(bandai_bvh):
    result = converted(scaled(bandai_bvh(31), 1e-7))
    assert isinstance(result.joints, BvhError) and "in no known unit the size of a person" in str(result.joints)


def test_a_store_never_gets_people_of_a_centimeter(tmp_path, bandai_bvh, capsys, caplog):
    (tmp_path / "clips").mkdir()
    for i in range(3):
        (tmp_path / "clips" / f"{i}.bvh").write_bytes(scaled(bandai_bvh(31, seed=i), 0.01))
    words = ["bvh", "--root", str(tmp_path / "clips"), "--map", "bandai_namco", "--out", str(tmp_path / "out")]
    assert main([*words, "--jobs", "1"]) == 2
    said = capsys.readouterr().err
    assert said.count("error:") == 1 and "(--unit m)" in said and not (tmp_path / "out").exists()
    assert main([*words, "--jobs", "1", "--unit", "m"]) == 0
    assert len(MotionStore.open(tmp_path / "out")) == 3 and "tall" not in caplog.text


@pytest.mark.parametrize("up", UP_AXES)
def test_every_up_axis_turns_to_y(up):
    image = turned_y_up(np.eye(3), up)
    column = np.zeros(3)
    column["xyz".index(up[-1])] = -1.0 if up.startswith("-") else 1.0
    np.testing.assert_array_equal(turned_y_up(column, up), [0, 1, 0])
    assert np.linalg.det(image) == pytest.approx(1)


@pytest.mark.parametrize(("in_file", "taken"), [(a, b) for a in UP_AXES for b in ("y", "z", "-z") if a != b])
def test_lying_worlds_are_reported_with_the_axis_that_is_up(bandai_bvh, monkeypatch, in_file, taken):
    clip = read_bvh(bandai_bvh(31))
    positions = lying(clip.forward_kinematics(end_sites=True), in_file)
    monkeypatch.setattr(type(clip), "forward_kinematics", lambda self, **_: positions)
    (remark,) = converted(bandai_bvh(31), up=taken).remarks
    assert remark.kind == "up" and remark.words.endswith(f"--up{'=' if in_file[0] == '-' else ' '}{in_file}.")
    assert not converted(bandai_bvh(31), up=in_file).remarks


@pytest.mark.parametrize(
    ("written", "advice"),
    [
        ("33.3333", "as milliseconds it is 30 frames per second (--source-fps 30), as a rate 33.3333"),
        ("8.33333", "as milliseconds it is 120 frames"),
        ("120", "as a rate 120 frames per second (--source-fps 120)"),
        ("33333", "as microseconds 30.0003 frames"),
        ("1", "as milliseconds it is 1000 frames per second"),
        ("0.00001", "give the frames per second with --source-fps"),
    ],
)
def test_frame_times_of_no_recording_are_refused(bandai_bvh, written, advice):
    content = bandai_bvh(31).replace(b"0.0333333", written.encode())
    result = converted(content)
    assert isinstance(result.joints, BvhError)
    assert f"'Frame Time: {float(written):g}' would be" in str(result.joints) and advice in str(result.joints).replace(
        "Give", "give"
    )
    mended = converted(content, source_fps=30.0)
    assert isinstance(mended.joints, np.ndarray) and len(mended.joints) == 21


def test_a_single_frame_needs_no_rate(bandai_bvh):
    clip = read_bvh(bandai_bvh(1).replace(b"0.0333333", b"1"))
    assert source_fps(clip, None) == 1.0 and Conversion(BANDAI_NAMCO)(clip).shape == (1, 22, 3)


def test_speeds_of_nobody_are_reported(bandai_bvh):
    (remark,) = converted(bandai_bvh(60, step_cm=50.0)).remarks
    assert "15 m/s" in remark.words and "--source-fps" in remark.words


def changed_rows(content: bytes, change: Callable[[np.ndarray], None]) -> bytes:
    """The same file with other channel values; `change` gets them as (frames, joints, 6)."""
    head, motion = content.decode().split("MOTION")
    lines = motion.strip().split("\n")
    values = np.array([line.split() for line in lines[2:]], float)
    change(values.reshape(len(values), -1, 6))
    return "\n".join([f"{head}MOTION", *lines[:2], *(" ".join(map(str, row)) for row in values), ""]).encode()


def test_a_root_in_another_unit_than_the_bones_is_reported_as_such(bandai_bvh):
    def change(values: np.ndarray) -> None:
        values[:, 1, :3] *= 100  # the hips

    (remark,) = converted(changed_rows(bandai_bvh(60, step_cm=3.0), change)).remarks
    assert remark.kind == "speed" and "positions of the root in another unit than the bones" in remark.words


def test_positions_that_count_from_offset_keep_the_body_whole(bandai_bvh):
    def change(values: np.ndarray) -> None:
        values[:, 2:, :3] = 0.0

    content = bandai_bvh(31)
    result = converted(changed_rows(content, change))
    (remark,) = result.remarks
    assert remark.kind == "offsets" and "OFFSET is added" in remark.words
    plain = converted(content)
    assert isinstance(result.joints, np.ndarray) and isinstance(plain.joints, np.ndarray) and not plain.remarks
    found, expected = (joints - joints[:, :1] for joints in (result.joints, plain.joints))
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_a_pose_that_never_changes_is_reported(bandai_bvh):
    def change(values: np.ndarray) -> None:
        values[:, 2:] = values[:1, 2:]
        values[:, :2, 3:] = 0.0

    (remark,) = converted(changed_rows(bandai_bvh(31, step_cm=3.0), change)).remarks
    assert remark.kind == "still" and "the pose never changes in 21 frames" in remark.words


def test_rotations_in_radians_are_reported(bandai_bvh):
    head, motion = bandai_bvh(31).decode().split("MOTION")
    lines = motion.split("\n")
    for i, line in enumerate(lines[3:], start=3):
        values = np.array(line.split(), float)
        values[np.arange(len(values)) % 6 > 2] *= 4 * np.pi / 180  # larger, since radians of small turns tell nothing
        lines[i] = " ".join(map(str, values))
    (remark,) = converted(f"{head}MOTION{chr(10).join(lines)}".encode()).remarks
    assert remark.kind == "angles" and "are they radians?" in remark.words
    assert converted(bandai_bvh(31)).remarks == ()


@pytest.mark.parametrize("name", ["Foot_L_End", "Foot_L/End Site", "Foot_L End Site", "Foot_L: end site", "Foot_L.end"])
def test_toes_may_be_end_sites(bandai_bvh, name):
    content = bandai_bvh(31)
    for side in (b"L", b"R"):  # the toe joint becomes an end site
        start = content.index(b"JOINT Toes_" + side)
        end = content.index(b"}\n}\n", start) + 4
        content = content[:start] + b"End Site\n{\nOFFSET 0 -7 10\n}\n" + content[end:]
    lines = content.decode().split("\n")
    first = next(i for i, line in enumerate(lines) if line.startswith("Frame Time")) + 1
    joints = [line.split()[1] for line in bandai_bvh(1).decode().split("\n") if line.startswith(("ROOT", "JOINT"))]
    kept = [c for j, joint in enumerate(joints) if "Toes" not in joint for c in range(6 * j, 6 * j + 6)]
    lines[first:] = [" ".join(np.array(line.split())[kept]) if line else "" for line in lines[first:]]
    names = {"left_foot": name, "right_foot": name.replace("_L", "_R")}
    rules = JointMap("mine", {**BANDAI_NAMCO.rules, **names})
    toes = SMPL22.indices("left_foot", "right_foot")
    found = Conversion(rules)(read_bvh("\n".join(lines).encode()))
    np.testing.assert_allclose(found[:, toes], Conversion(BANDAI_NAMCO)(read_bvh(bandai_bvh(31)))[:, toes], atol=1e-5)
    with pytest.raises(BvhError, match=r"\['Toes_L', 'Toes_R'\].* and the end sites \['Head_End', .*'Foot_L_End'"):
        Conversion(BANDAI_NAMCO)(read_bvh("\n".join(lines).encode()))


def test_the_viewer_measures_by_the_same_function(tmp_path, bandai_bvh, caplog):
    path = tmp_path / "a.bvh"
    path.write_bytes(scaled(bandai_bvh(31), 10))
    with caplog.at_level("INFO"):
        assert np.ptp(read_motion(path).joints3d[0, :, 1]) == pytest.approx(1.3, abs=0.5)
    assert "assumed to be in mm" in caplog.text and "tall" not in caplog.text
    read_motion(path, unit="cm")
    assert "with lengths in cm the body is 13 m tall" in caplog.text and "(--unit mm)" in caplog.text
    caplog.clear()
    read_motion(path, up="z")
    assert "if y points up in the file: --up y" in caplog.text
    path.write_bytes(bandai_bvh(31).replace(b"0.0333333", b"33.3333"))
    with pytest.raises(BvhError, match="--source-fps 30"):
        read_motion(path)
    assert read_motion(path, bvh_fps=30.0).fps == 30.0
