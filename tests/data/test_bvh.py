"""BVH reading: layout variants, kinematics, and one clear sentence for every kind of broken file."""

import numpy as np
import pytest

from hmr4d.data.bvh import BvhError, read_bvh

TWO_BONES = """HIERARCHY
ROOT Base
{
  OFFSET 1.0 2.0 3.0
  CHANNELS 6 Xposition Yposition Zposition Zrotation Xrotation Yrotation
  JOINT Tip
  {
    OFFSET 0 10 0
    CHANNELS 3 Zrotation Xrotation Yrotation
    End Site
    {
      OFFSET 0 5 0
    }
  }
}
MOTION
Frames: 2
Frame Time: 0.0333333
0 100 0 0 0 0 0 0 0
5 100 0 90 0 0 0 0 0
"""


def join_rows(text, rows) -> bytes:
    """`text` with other motion rows."""
    head = text[: text.index("0 100 0")]
    return (head + "\n".join(rows) + "\n").encode()


def test_reads_header_and_motion():
    clip = read_bvh(TWO_BONES.encode())
    assert clip.joint_names == ("Base", "Tip")
    assert clip.parents == (-1, 0)
    assert clip.channels[1] == ("Zrotation", "Xrotation", "Yrotation")
    assert clip.motion.shape == (2, 9)
    assert clip.fps == 30.0


def test_kinematics_by_hand():
    positions = read_bvh(TWO_BONES.encode()).forward_kinematics()
    # The root's position channels replace its OFFSET; 90 degrees about z take the bone from +y to -x.
    np.testing.assert_allclose(positions[0], [[0, 100, 0], [0, 110, 0]], atol=1e-9)
    np.testing.assert_allclose(positions[1], [[5, 100, 0], [-5, 100, 0]], atol=1e-9)


def test_end_sites_come_last_as_joints_where_they_are_asked_for():
    clip = read_bvh(TWO_BONES.encode(), end_sites=True)
    assert clip.joint_names == ("Base", "Tip", "Tip_end")
    assert clip.parents == (-1, 0, 1)
    np.testing.assert_allclose(clip.forward_kinematics()[1, 2], [-10, 100, 0], atol=1e-9)


def test_positions_can_add_to_offset():
    positions = read_bvh(TWO_BONES.encode()).forward_kinematics(add_offset_to_positions=True)
    np.testing.assert_allclose(positions[0, 0], [1, 102, 3])


@pytest.mark.parametrize("order", ["XYZ", "XZY", "YXZ", "YZX", "ZXY", "ZYX"])
def test_rotation_order_follows_the_header(order):
    from scipy.spatial.transform import Rotation

    text = TWO_BONES.replace(
        "Zrotation Xrotation Yrotation\n  JOINT", " ".join(f"{a}rotation" for a in order) + "\n  JOINT"
    )
    angles = [20.0, -35.0, 50.0]
    content = join_rows(text.replace("Frames: 2", "Frames: 1"), ["0 0 0 20 -35 50 0 0 0"])
    tip = read_bvh(content).forward_kinematics()[0, 1]
    np.testing.assert_allclose(tip, Rotation.from_euler(order, angles, degrees=True).apply([0, 10, 0]), atol=1e-9)


def test_inner_positions_replace_offsets_so_bones_keep_their_length(bandai_bvh):
    clip = read_bvh(bandai_bvh(5))
    positions = clip.forward_kinematics()
    for joint, parent in enumerate(clip.parents):
        if parent > 0:
            length = np.linalg.norm(positions[:, joint] - positions[:, parent], axis=-1)
            np.testing.assert_allclose(length, np.linalg.norm(clip.offsets[joint]), rtol=1e-6)


@pytest.mark.parametrize(
    "change",
    [
        lambda t: t.replace("\n", "\r\n"),
        lambda t: t.replace("\n", "\r"),
        lambda t: t.replace("  ", "\t").replace("Frames: 2", "Frames:\t2"),
        lambda t: t.replace("5 100 0 90", "5e0 1.0E+02 -0 9e1"),
        lambda t: t.replace("0.0333333", ".0333333"),
        lambda t: t.replace("End Site", "End Site_of_Tip"),
        lambda t: t.replace("{\n", "{ \n\n").replace("Yrotation\n", "Yrotation \n"),
        lambda t: t.replace("ROOT Base\n{", "ROOT Base {"),
        lambda t: t.rstrip("\n"),
        lambda t: "\ufeff" + t,
        lambda t: t + "\n\n \n",
    ],
)
def test_layout_variants_read_the_same(change):
    expected = read_bvh(TWO_BONES.encode())
    clip = read_bvh(change(TWO_BONES).encode())
    np.testing.assert_array_equal(clip.motion, expected.motion)
    assert clip.joint_names == expected.joint_names
    assert clip.fps == 30.0


@pytest.mark.parametrize(
    ("written", "fps"), [(".0083333", 120), ("0.00833333", 120), ("0.04", 25), ("0.0333667", 29.97)]
)
def test_frame_rates(written, fps):
    assert read_bvh(TWO_BONES.replace("0.0333333", written).encode()).fps == pytest.approx(fps, abs=2e-3)


@pytest.mark.parametrize(
    ("old", "new", "line", "cause"),
    [
        ("5 100 0 90 0 0 0 0 0", "5 100 0 90 0 0 0", 20, "expected 9 numbers in frame 2, found 7"),
        ("5 100 0 90 0 0 0 0 0", "5 100 0 90 0 0 0 0 0 1", 20, "expected 9 numbers in frame 2, found 10"),
        ("5 100 0 90", "5 100 x 90", 20, "'x' is not a finite number"),
        ("5 100 0 90", "5 100 nan 90", 20, "'nan' is not a finite number"),
        ("Frames: 2", "Frames: 3", 20, "expected 3 frames, found 2"),
        ("Frames: 2", "Frames: two", 17, "'Frames:' needs a positive number, found 'two'"),
        ("Frames: 2\n", "", 17, "expected 'Frames:'"),
        ("Frame Time: 0.0333333", "Frame Time: 0", 18, "'Frame Time:' needs a positive number, found '0'"),
        ("HIERARCHY", "<html>", 1, "expected HIERARCHY"),
        ("CHANNELS 3 Zrotation", "CHANNELS 3 Wrotation", 9, "number 1 is 'Wrotation'"),
        ("CHANNELS 3 Z", "CHANNELS three Z", 9, "needs a count"),
        ("OFFSET 0 10 0", "OFFSET 0 ten 0", 8, "OFFSET needs 3 numbers, found 1 and then 'ten'"),
        ("    OFFSET 0 10 0\n", "", 13, "joint 'Tip' has no OFFSET"),
        ("JOINT Tip", "JOINT Base", 7, "given twice"),
        ("  }\n}\nMOTION", "  }\nMOTION", 14, "the header ends where '}' was expected"),
        ("MOTION", "MOVES", 16, "unexpected 'MOVES'"),
    ],
)
def test_broken_files_name_file_line_and_cause(old, new, line, cause):
    broken = TWO_BONES.replace(old, new)
    assert broken != TWO_BONES
    with pytest.raises(BvhError) as error:
        read_bvh(broken.encode(), name="clip.bvh")
    message = str(error.value)
    assert message.startswith(f"clip.bvh, line {line}: "), message
    assert cause in message
    assert "\n" not in message


def test_every_truncation_gives_one_sentence(bandai_bvh):
    content = bandai_bvh(3)
    for cut in [*range(0, 600, 37), *range(600, len(content) - 10, 311)]:
        with pytest.raises(BvhError, match=r"^cut\.bvh, line \d+: .*\.$"):
            read_bvh(content[:cut], name="cut.bvh")


def test_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError, match="BVH file not found"):
        read_bvh(tmp_path / "nothing.bvh")
