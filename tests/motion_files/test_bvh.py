"""BVH reading: layout variants, kinematics, and one clear sentence for every kind of broken file."""

import re

import numpy as np
import pytest

from hmr4d.motion_files.bvh import BvhError, read_bvh

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
        lambda t: "# by my tool\n  // and another\n" + t.replace("MOTION\n", "MOTION\n# frames\n\n"),
        lambda t: t.replace("5 100", "# second row\n5 100"),
        lambda t: t.replace("Base\n{", "Base{").replace("Tip\n  {", "Tip{").replace("5 0\n    }", "5 0}"),
        lambda t: t.replace("End Site", "End_Site"),
        lambda t: t.replace("5 0\n    }", "5 0\n CHANNELS 0\n    }"),
        lambda t: t.replace("End Site\n    {", "EndSite {").replace("MOTION", "Motion"),
        lambda t: t.replace("Frames: 2", "FRAMES : 2").replace("Frame Time:", "FrameTime:"),
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
        ("0 100 0 0 0 0 0 0 0", "0 100 0 0 0 0 0", 19, "expected 9 numbers in frame 1, found 7"),
        ("5 100 0 90 0 0 0 0 0", "5 100 0 90 0 0 0 0 0 1", 20, "expected 9 numbers in frame 2, found 10"),
        ("5 100 0 90", "5 100 x 90", 20, "'x' is not a finite number"),
        ("5 100 0 90", "5 100 nan 90", 20, "'nan' is not a finite number"),
        ("5 100 0 90", "5e12 100 0 90", 20, "'5e12' is too large for a length or an angle"),
        ("5 100 0 90", "5 100 0,0 90", 20, "'0,0' has a decimal comma; replace the commas of all numbers by points"),
        ("OFFSET 0 10 0", "OFFSET 0,00 10,50 0", 8, "'0,00' has a decimal comma"),
        ("OFFSET 0 10 0", "OFFSET 0, 10, 0", 8, "'0,' ends with a comma; separate numbers by blanks alone"),
        ("Frame Time: 0.0333333", "Frame Time: 0,033", 18, "needs a positive number, but '0,033' has a decimal comma"),
        ("0 100 0 0 0 0 0 0 0\n5 100 0 90 0 0 0 0 0\n", "", 18, "expected 2 frames, found no complete one"),
        ("CHANNELS 3 Zrotation", "CHANNELS ² Zrotation", 9, "needs a count"),
        ("JOINT Tip\n", "JOINT\n", 7, "joint name '' is empty"),
        ("JOINT Tip", "JOINT Tip }", 6, "no '{' follows JOINT"),
        ("HIERARCHY", "\x00\x05HIERARCHY", 1, "expected HIERARCHY, found '\\x00\\x05HIERARCHY'"),
        ("Frames: 2", "Frames: two", 17, "'Frames:' needs a positive number, found 'two'"),
        ("Frames: 2\n", "", 17, "expected 'Frames:'"),
        ("Frame Time: 0.0333333", "Frame Time: 0", 18, "'Frame Time:' needs a positive number, found '0'"),
        ("HIERARCHY", "<html>", 1, "expected HIERARCHY, found '<html>'; this is a web page, not a BVH file"),
        ("HIERARCHY", "Kaydara FBX Binary", 1, "this is an FBX file; import it in Blender and export BVH"),
        ("HIERARCHY", "; FBX 7.4.0 project file", 1, "this is an FBX file"),
        ("HIERARCHY", "version https://git-lfs.github.com/spec/v1", 1, "a pointer of Git LFS"),
        ("HIERARCHY", "\x1f\x8b", 1, "this is a gzip archive; unpack it"),
        ("HIERARCHY", "PK\x03\x04", 1, "this is a zip archive; unpack it"),
        ("CHANNELS 3 Zrotation Xrotation", "CHANNELS 3 Zrotation Zrotation", 9, "has the channel Zrotation twice"),
        ("HIERARCHY", "{", 1, "this is not a BVH file"),
        ("CHANNELS 3 Zrotation", "CHANNELS 3 Wrotation", 9, "number 1 is 'Wrotation'"),
        ("CHANNELS 3 Z", "CHANNELS three Z", 9, "needs a count"),
        ("OFFSET 0 10 0", "OFFSET 0 ten 0", 8, "OFFSET needs 3 numbers, found 1 and then 'ten'"),
        ("    OFFSET 0 10 0\n", "", 13, "joint 'Tip' has no OFFSET"),
        ("  }\n}\nMOTION", "  }\nMOTION", 14, "the header ends where '}' was expected"),
        ("CHANNELS 3 Zrotation", "CHANNELS 4 Zscale", 9, "known are Xposition to Zposition and Xrotation to Zrotation"),
        ("5 0\n    }", "5 0\nCHANNELS 1 Zrotation\n    }", 13, "an End Site has no channels, found '1'"),
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


def test_every_truncation_gives_one_sentence_or_the_whole_rows(bandai_bvh):
    content = bandai_bvh(3)
    whole = read_bvh(content)
    kept = set()
    for cut in [*range(0, 600, 37), *range(600, len(content) - 10, 97)]:
        try:
            clip = read_bvh(content[:cut], name="cut.bvh")
        except BvhError as error:
            assert re.fullmatch(r"cut\.bvh, line \d+: .*\.", str(error)), str(error)
            continue
        kept.add(clip.num_frames)
        np.testing.assert_array_equal(clip.motion, whole.motion[: clip.num_frames])
        assert clip.remarks[0].words.startswith(f"the header announces 3 frames, {clip.num_frames} whole row")
    assert kept == {1, 2}


@pytest.mark.parametrize(
    ("announced", "rows", "end", "told"),
    [
        (1, 2, "\n", "the header announces 1 frames, 2 whole rows follow; these 2 are read."),
        (5, 2, "\n", "the header announces 5 frames, 2 whole rows follow; these 2 are read."),
        (3, 2, "\n7 100", "the header announces 3 frames, 2 whole rows follow and the last row, line 21, is cut off"),
        (3, 2, "\n7 100 0 0 0 0 0 0 -", "2 whole rows follow and the last row, line 21, is cut off"),
    ],
)
def test_another_number_of_rows_than_announced_is_read_with_both_numbers(announced, rows, end, told):
    text = TWO_BONES.replace("Frames: 2", f"Frames: {announced}").rstrip("\n") + end
    clip = read_bvh(text.encode())
    assert clip.num_frames == rows and told in clip.remarks[0].words
    np.testing.assert_array_equal(clip.motion, read_bvh(TWO_BONES.encode()).motion)
    assert read_bvh(TWO_BONES.encode()).remarks == ()


def test_the_second_joint_of_a_name_is_called_as_in_blender():
    clip = read_bvh(TWO_BONES.replace("JOINT Tip", "JOINT Base").encode())
    assert clip.joint_names == ("Base", "Base.001")
    assert "'Base' occurs twice; the second is named 'Base.001'" in clip.remarks[0].words


def test_a_second_figure_is_reported():
    head, motion = TWO_BONES.split("MOTION")
    second = head.removeprefix("HIERARCHY\n").replace("Base", "Other").replace("Tip", "OtherTip")
    rows = motion.split("\n")
    rows[3:5] = [f"{row} {row}" for row in rows[3:5]]
    clip = read_bvh(f"{head}{second}MOTION{chr(10).join(rows)}".encode())
    assert [remark.kind for remark in clip.remarks] == ["figures"]
    assert "the file has 2 figures, 'Base', 'Other'" in clip.remarks[0].words


@pytest.mark.parametrize(
    ("encoding", "names", "told"),
    [
        ("cp932", ("センター", "左足首"), "Shift-JIS (cp932)"),
        ("cp932", ("首", "頭"), "Shift-JIS (cp932)"),
        ("cp1252", ("Hüfte", "Tête"), "cp1252"),
        ("utf-16", ("Hüfte", "走る"), None),
        ("utf-8", ("Hüfte", "走る"), None),
    ],
)
def test_names_in_other_code_pages_stay_what_they_are(encoding, names, told):
    text = TWO_BONES.replace("Base", names[0]).replace("Tip", names[1])
    clip = read_bvh(text.encode(encoding))
    assert clip.joint_names == names
    assert [told in remark.words for remark in clip.remarks] == ([True] if told else [])


def test_different_names_in_an_unknown_code_page_stay_different():
    clip = read_bvh(TWO_BONES.encode().replace(b"Base", b"A\x81\xff").replace(b"Tip", b"A\x8d\xfe"))
    assert len(set(clip.joint_names)) == 2 and clip.remarks[0].kind == "encoding"


def test_end_sites_move_with_their_joints():
    clip = read_bvh(TWO_BONES.encode())
    assert (clip.end_names, clip.end_parents, clip.end_offsets.tolist()) == (("Tip_End",), (1,), [[0, 5, 0]])
    positions = clip.forward_kinematics(end_sites=True)
    np.testing.assert_allclose(positions[:, 2], [[0, 115, 0], [-10, 100, 0]], atol=1e-9)
    named = TWO_BONES.replace("ROOT Base", "ROOT Tip_End")  # a joint of that name comes first
    assert read_bvh(named.encode()).end_names == ("Tip_End.001",)


def test_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError, match="BVH file not found"):
        read_bvh(tmp_path / "nothing.bvh")


def test_a_frame_time_of_nothing_is_refused(bandai_bvh):
    content = bandai_bvh(2).replace(b"Frame Time: 0.0333333", b"Frame Time: 1e-320")
    with pytest.raises(BvhError, match="'Frame Time:' needs a positive number, found '1e-320'"):
        read_bvh(content)
