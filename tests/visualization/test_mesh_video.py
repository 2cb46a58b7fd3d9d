"""Videos of bodies: every frame, both sides, feet on the floor, several figures."""

import math

import numpy as np
import pytest
from PIL import Image

from hmr4d.body.loading import load_body
from hmr4d.motion.skinning import drive_body
from hmr4d.visualization.mesh_video import mesh_frames, write_mesh_video
from hmr4d.visualization.pixels import to_image
from hmr4d.visualization.video_file import write_webp
from tests.motions import as_motion
from tests.visualization.test_stick_video import colored, read_video


def first_picture(joints3d: np.ndarray, azimuth: float = 0.0) -> np.ndarray:
    posed = drive_body(as_motion(joints3d[:1]))
    return np.asarray(to_image(next(mesh_frames(posed, fps=20, azimuth=azimuth, size=(256, 256)))))[:-24]


def test_all_frames_of_both_figures_are_drawn_and_the_shorter_one_holds_its_last_pose(tmp_path, walk) -> None:
    path = tmp_path / "walk.mp4"
    write_mesh_video(path, [as_motion(walk[:6], text="a walk"), as_motion(walk[:3], text="short")], size=(128, 128))
    meta, frames = read_video(path)
    assert (meta["size"], meta["fps"], len(frames)) == ((256, 128), 20, 6)
    left, right = frames[:, :110, :128].astype(int), frames[:, :110, 128:].astype(int)
    assert np.abs(left[5] - left[3]).mean() > 1 and np.abs(right[5] - right[3]).mean() < 0.5
    assert [p.name for p in tmp_path.iterdir()] == ["walk.mp4"]


def test_a_webp_name_gives_a_looping_image_with_correct_frame_times(tmp_path, walk) -> None:
    path = tmp_path / "walk.webp"
    write_mesh_video(path, [as_motion(walk[:4], text="a walk")], size=(128, 128))
    with Image.open(path) as picture:
        assert (picture.format, picture.size, picture.n_frames, picture.info["loop"]) == ("WEBP", (128, 128), 4, 0)
        frames = []
        for number in range(4):
            picture.seek(number)
            frames.append(np.asarray(picture.convert("RGB"), int))
            assert picture.info["duration"] == 50 and picture.info["timestamp"] == 50 * number
    assert all(np.abs(a - b).mean() > 0.2 for a, b in zip(frames, frames[1:], strict=False))
    assert [p.name for p in tmp_path.iterdir()] == ["walk.webp"]
    with pytest.raises(ValueError, match="no image to write"):
        write_webp(path, [], fps=20)


@pytest.mark.parametrize("degrees", [0, 180, -110])
def test_left_is_on_the_right_of_the_image_when_the_figure_faces_the_camera(walk, degrees) -> None:
    angle = math.radians(degrees)
    turn = np.array([[math.cos(angle), 0, math.sin(angle)], [0, 1, 0], [-math.sin(angle), 0, math.cos(angle)]])
    turned = (walk @ turn.T).astype(np.float32)
    front, back, side = (first_picture(turned, a) for a in (0.0, math.pi, math.pi / 2))
    means = [[np.nonzero(colored(p, s))[1].mean() for s in ("left", "right")] for p in (front, back)]
    assert means[0][0] > means[0][1] + 5 and means[1][0] < means[1][1] - 5
    assert colored(side, "left").sum() > 1.5 * colored(side, "right").sum()


def test_the_whole_mesh_stays_in_the_frame_and_the_feet_on_the_floor(walk) -> None:
    posed = drive_body(as_motion(walk))
    pictures = [to_image(p) for p in mesh_frames(posed, fps=20, size=(128, 128))]
    assert len(pictures) == len(walk)
    for picture in pictures[::10]:
        limbs = colored(np.asarray(picture), "left") | colored(np.asarray(picture), "right")
        assert not limbs[:2].any() and not limbs[118:122].any() and not limbs[:100, [0, 1, -2, -1]].any()


def test_bodies_other_than_the_default(tmp_path, walk) -> None:
    write_mesh_video(tmp_path / "a.mp4", [as_motion(walk[:1])], body=load_body("stick"), size=(64, 64))
    assert len(read_video(tmp_path / "a.mp4")[1]) == 1


def test_the_convention_of_the_source_changes_the_image(tmp_path, walk) -> None:
    for convention in (None, "bandai_namco"):
        path = tmp_path / f"{convention}.mp4"
        write_mesh_video(path, [as_motion(walk[:1], metadata={"joint_convention": convention})], size=(128, 128))
    plain, known = (np.asarray(read_video(tmp_path / f"{c}.mp4")[1][0], int) for c in (None, "bandai_namco"))
    assert np.abs(plain - known).max() > 50, "the head is turned"


def test_bad_input_names_the_motion_and_leaves_no_file(tmp_path, walk) -> None:
    broken = walk.copy()
    broken[2, 3] = np.nan
    with pytest.raises(ValueError, match=r"Motion 1 \('b'\).*frame 2, joint 3"):
        write_mesh_video(tmp_path / "a.mp4", [as_motion(walk, text="a"), as_motion(broken, text="b")])
    with pytest.raises(ValueError, match="empty"):
        write_mesh_video(tmp_path / "a.mp4", [])
    with pytest.raises(ValueError, match="known: bandai_namco"):
        write_mesh_video(tmp_path / "a.mp4", [as_motion(walk, metadata={"joint_convention": "mars"})])
    with pytest.raises(ValueError, match="even width"):
        write_mesh_video(tmp_path / "a.mp4", [as_motion(walk)], size=(127, 128))
    assert not list(tmp_path.iterdir())
