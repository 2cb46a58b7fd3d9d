"""ASF/AMC reader: positions equal an independent computation; broken files are named with their line."""

import logging
import re

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from hmr4d.motion_files.asf_amc import AsfAmcError, read_amc, read_asf

# name, direction, length, axis angles, order, dofs, parent; in the order of the hierarchy
BONES = [
    ("hip", (1.0, 2.0, -2.0), 2.5, (0.0, 0.0, 0.0), "XYZ", "", "root"),
    ("clavicle", (-0.9, 0.3, 0.0), 3.5, (0.0, 50.0, 0.0), "YZX", "ry rz", "root"),
    ("thigh", (0.3, -0.9, 0.1), 7.25, (10.0, -30.0, 20.0), "XYZ", "rx ry rz", "hip"),
    ("shin", (0.0, -1.0, 0.0), 7.0, (-90.0, 5.0, 40.0), "XYZ", "rx", "thigh"),
    ("foot", (0.1, -0.2, 0.9), 2.0, (15.0, 25.0, 35.0), "ZYX", "rz rx", "shin"),
]
ROOT_ORDER = "TX TY TZ RX RY RZ"
LENGTH = 0.45


def asf(bones=BONES, *, order=ROOT_ORDER, root_axes=(0.0, 0.0, 0.0), angle="deg", position=(0.0, 0.0, 0.0)):
    scale = 1.0 if angle == "deg" else np.pi / 180
    lines = ["# a comment", ":version 1.10", ":name TEST", ":units", "  mass 1.0", f"  length {LENGTH}"]
    lines += [f"  angle {angle}", ":documentation", "  any : words", ":root", f"   order {order}", "   axis XYZ"]
    lines += [f"   position {position[0]} {position[1]} {position[2]}"]
    lines += ["   orientation " + " ".join(str(a * scale) for a in root_axes), ":bonedata"]
    for number, (name, direction, length, axis, axis_order, dofs, _) in enumerate(bones, start=1):
        lines += [
            "  begin",
            f"     id {number}",
            f"     name {name}",
            f"     direction {' '.join(map(str, direction))}",
        ]
        lines += [f"     length {length}", f"     axis {' '.join(str(a * scale) for a in axis)}  {axis_order}"]
        if dofs:
            lines += [f"    dof {dofs}", "    limits (-1.0 1.0)", *["           (-inf inf)"] * (len(dofs.split()) - 1)]
        lines.append("  end")
    lines += [":hierarchy", "  begin"]
    for parent in ("root", *(bone[0] for bone in bones)):
        if children := [bone[0] for bone in bones if bone[6] == parent]:
            lines.append(f"    {parent} {' '.join(children)}")
    return "\n".join([*lines, "  end", ""])


def motion(num_frames, *, seed=0, order=ROOT_ORDER):
    """Frame -> bone -> values, far beyond the limits in the skeleton."""
    rng = np.random.default_rng(seed)
    sizes = {"root": len(order.split())} | {bone[0]: len(bone[5].split()) for bone in BONES if bone[5]}
    return [{name: rng.uniform(-170, 170, size) for name, size in sizes.items()} for _ in range(num_frames)]


def amc(frames, *, header=":FULLY-SPECIFIED\n:DEGREES"):
    lines = ["#!OML:ASF C:\\somewhere.ASF", header]
    for number, frame in enumerate(frames, start=1):
        lines += [str(number), *(f"{name} {' '.join(f'{v:.10g}' for v in values)}" for name, values in frame.items())]
    return "\n".join(lines) + "\n"


def expected_positions(frames, *, order=ROOT_ORDER, root_axes=(0.0, 0.0, 0.0), position=(0.0, 0.0, 0.0)):
    """(T, 1 + bones, 3) meters, by SciPy's rotations, bone by bone and frame by frame."""
    unit = 0.0254 / LENGTH
    result = np.zeros((len(frames), 1 + len(BONES), 3))
    for t, frame in enumerate(frames):
        words = dict(zip(order.split(), frame["root"], strict=True))
        turns = [word for word in order.split() if word[0] == "R"]
        axes = Rotation.from_euler("xyz", root_axes, degrees=True)
        local = Rotation.from_euler("".join(w[1].lower() for w in turns), [words[w] for w in turns], degrees=True)
        at = {"root": np.array([words.get(f"T{a}", 0.0) for a in "XYZ"]) + position}
        turned = {"root": axes * local * axes.inv()}
        for name, direction, length, axis, axis_order, dofs, parent in BONES:
            angles = [axis["XYZ".index(a)] for a in axis_order]
            axes = Rotation.from_euler(axis_order.lower(), angles, degrees=True)
            local = Rotation.identity()
            if name in frame:
                local = Rotation.from_euler(dofs.replace("r", "").replace(" ", ""), frame[name], degrees=True)
            turned[name] = turned[parent] * axes * local * axes.inv()
            offset = np.array(direction) / np.linalg.norm(direction) * length
            at[name] = at[parent] + turned[name].apply(offset)
        result[t] = np.stack([at[name] for name in ("root", *(bone[0] for bone in BONES))]) * unit
    return result


@pytest.mark.parametrize("order", [ROOT_ORDER, "RZ RX RY TZ TX TY", "TX TY TZ RZ RY"])
@pytest.mark.parametrize("root_axes", [(0.0, 0.0, 0.0), (20.0, -40.0, 60.0)])
def test_positions_equal_an_independent_computation(order, root_axes):
    frames = motion(7, order=order)
    skeleton = read_asf(asf(order=order, root_axes=root_axes, position=(1.0, 2.0, 3.0)).encode())
    clip = read_amc(amc(frames).encode(), skeleton)
    positions = clip.forward_kinematics()
    wanted = expected_positions(frames, order=order, root_axes=root_axes, position=(1.0, 2.0, 3.0))
    assert skeleton.joint_names == ("root", *(bone[0] for bone in BONES))
    assert np.abs(positions - wanted).max() < 1e-6  # meters


def test_unit_of_length_is_a_share_of_an_inch():
    skeleton = read_asf(asf().encode())
    assert skeleton.meters_per_unit == pytest.approx(0.0254 / 0.45)
    positions = read_amc(amc(motion(1)).encode(), skeleton).forward_kinematics()[0]
    names = skeleton.joint_names
    shin = np.linalg.norm(positions[names.index("shin")] - positions[names.index("thigh")])
    assert shin == pytest.approx(7.0 * 0.0254 / 0.45)


def test_radians_in_both_files_give_the_positions_of_degrees():
    frames = motion(3)
    is_place = np.array([word[0] == "T" for word in ROOT_ORDER.split()])
    turned = [{name: np.radians(values) for name, values in frame.items()} for frame in frames]
    for frame, given in zip(turned, frames, strict=True):
        frame["root"][is_place] = given["root"][is_place]
    clip = read_amc(amc(turned, header=":RADIANS").encode(), read_asf(asf(angle="rad").encode()))
    assert np.abs(clip.forward_kinematics() - expected_positions(frames)).max() < 1e-6


def test_bone_without_values_stays_in_its_rest_pose_and_is_named(caplog):
    frames = motion(4)
    for frame in frames:
        del frame["shin"]
    with caplog.at_level(logging.WARNING):
        clip = read_amc(amc(frames).encode(), read_asf(asf().encode()))
    assert "no values of shin" in caplog.text
    assert np.abs(clip.forward_kinematics() - expected_positions(frames)).max() < 1e-6


def test_rate_comes_from_the_file_where_it_says_so():
    skeleton = read_asf(asf().encode())
    assert read_amc(amc(motion(1)).encode(), skeleton).fps is None
    assert read_amc(amc(motion(1), header=":SAMPLES-PER-SECOND 60").encode(), skeleton).fps == 60.0


@pytest.mark.parametrize("keep", ["shin", "foot"])
def test_cut_last_frame_is_skipped_with_a_warning(keep, caplog):
    frames = motion(5)
    text = amc(frames)
    cut = text[: text.rindex(keep) + len(keep) + 5]  # within the values of that bone
    with caplog.at_level(logging.WARNING):
        clip = read_amc(cut.encode(), read_asf(asf().encode()), name="a.amc")
    assert clip.num_frames == 4
    assert "a.amc" in caplog.text and "truncated" in caplog.text
    assert np.abs(clip.forward_kinematics() - expected_positions(frames[:4])).max() < 1e-6


def test_files_on_disk_carriage_returns_and_missing_files(tmp_path):
    (tmp_path / "a.asf").write_bytes(asf().replace("\n", "\r\n").encode())
    (tmp_path / "a_01.amc").write_bytes(amc(motion(2)).replace("\n", "\r\n").encode())
    assert read_amc(tmp_path / "a_01.amc", read_asf(tmp_path / "a.asf")).num_frames == 2
    with pytest.raises(FileNotFoundError, match="b.asf"):
        read_asf(tmp_path / "b.asf")


@pytest.mark.parametrize(
    ("old", "new", "cause"),
    [
        ("length 7.25", "length long", "length needs 1 finite number"),
        ("dof rx ry rz", "dof rx tx", "dof is 'rx tx'"),
        ("20.0  XYZ", "20.0  XXZ", "order of axes is 'XXZ'"),
        ("20.0  XYZ", "20.0", "order of axes is ''"),
        ("direction 0.3 -0.9 0.1", "direction 0.3 -0.9", "direction needs 3 finite numbers"),
        ("direction 0.3 -0.9 0.1", "direction 0 0 0", "has a length but no direction"),
        ("name thigh", "name hip", "'hip' is given twice"),
        ("hip thigh", "hip thigh thigh", "has two parents"),
        ("shin foot", "shin foot toe", "'toe' of the hierarchy is not in :bonedata"),
        ("    shin foot\n", "", "lacks foot"),
        (":units", ":unite", "unknown section ':unite'"),
        ("length 0.45", "length 0", "must be between 1e-06 and 1e\\+06, found 0"),
        ("length 0.45", "length 1e-309", "must be between 1e-06 and 1e\\+06, found 1e-309"),
        ("order TX TY TZ RX RY RZ", "order TX TX", "order of the root is"),
        ("     id 2\n", "     color red\n", "unknown word 'color'"),
    ],
)
def test_broken_skeleton_is_named_with_its_line(old, new, cause):
    text = asf()
    assert old in text
    with pytest.raises(AsfAmcError, match=rf"x\.asf, line \d+: .*{cause.replace('(', '.')}"):
        read_asf(text.replace(old, new, 1).encode(), name="x.asf")


@pytest.mark.parametrize(
    ("old", "new", "cause"),
    [
        ("length 7.25", "length 7,25", "has a decimal comma"),
        ("length 7.25", "length 7_25", "is not a finite number"),
        ("length 7.25", "length 1e300", "too large for a length"),
        ("name thigh", "nam\x1b\x00 thigh", r"unknown word 'nam\\x1b\\x00'"),
    ],
)
def test_numbers_and_words_of_no_file_are_told(old, new, cause):
    with pytest.raises(AsfAmcError, match=cause) as told:
        read_asf(asf().replace(old, new, 1).encode(), name="x.asf")
    assert str(told.value).isprintable()


@pytest.mark.parametrize(("number", "cause"), [("0,5", "decimal comma"), ("1e30", "too large"), ("1_0", "finite")])
def test_a_value_that_is_no_angle_is_told(number, cause):
    text = re.sub(r"(?m)^shin .*$", f"shin {number}", amc(motion(3)), count=1)
    with pytest.raises(AsfAmcError, match=rf"x\.amc, line \d+: .*{cause}"):
        read_amc(text.encode(), read_asf(asf().encode()), name="x.amc")


def test_marked_utf16_is_read():
    assert read_asf(asf().encode("utf-16")).joint_names == read_asf(asf().encode()).joint_names
    with pytest.raises(AsfAmcError, match="starts as UTF-16 text but has other bytes later"):
        read_asf(b"\xff\xfe:", name="x.asf")


@pytest.mark.parametrize("text", ["", "HIERARCHY\nROOT hips", ":version 1.1\n:units\n length 1\n", asf()[:600]])
def test_what_is_no_whole_skeleton_is_refused(text):
    with pytest.raises(AsfAmcError, match="x.asf, line"):
        read_asf(text.encode(), name="x.asf")


def replaced(frame, bone, line):
    """AMC text of three frames in which the line of a bone is another, or gone."""
    lines = amc(motion(3)).splitlines()
    at = [i for i, text in enumerate(lines) if text.split()[0] == bone][frame]
    lines[at : at + 1] = [] if line is None else line.split("\n")
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("", "no frame with a root"),
        (replaced(1, "shin", "shin 1 2"), "'shin' needs 1 values, found 2"),
        (replaced(1, "shin", "shin"), "'shin' needs 1 values, found 0"),
        (replaced(1, "shin", "shin nan"), "'shin' is 'nan', no finite numbers"),
        (replaced(1, "shin", "shin ten"), "'shin' is 'ten', no finite numbers"),
        (replaced(1, "shin", "shin 1\nshin 1"), "'shin' is given twice in frame 2"),
        (replaced(1, "shin", "calf 1"), "bone 'calf' is not in"),
        (replaced(1, "shin", None), "'shin' is given in frame 3, but not in frame 2"),
        (amc(motion(3)).replace("1\nroot", "root", 1), "expected the number of a frame before 'root'"),
    ],
)
def test_broken_motion_is_named_with_its_line(text, cause):
    with pytest.raises(AsfAmcError, match=rf"x\.amc, line \d+: .*{cause}"):
        read_amc(text.encode(), read_asf(asf().encode()), name="x.amc")
