import imageio_ffmpeg
import numpy as np
import pytest
import torch

from hmr4d.body.skeleton import SMPL22
from hmr4d.visualization.figure_style import SIDE_COLORS, facing_angle
from hmr4d.visualization.pixels import load_font, to_image
from hmr4d.visualization.stick_video import fit_motion_camera, video_frames, write_stick_video
from hmr4d.visualization.video_page import wrap_caption
from hmr4d.visualization.view_camera import smooth_follow
from tests.motions import as_motion


def read_video(path):
    reader = imageio_ffmpeg.read_frames(str(path))
    meta = next(reader)
    width, height = meta["size"]
    return meta, np.stack([np.frombuffer(f, np.uint8).reshape(height, width, 3) for f in reader])


def colored(picture: np.ndarray, side: str) -> np.ndarray:
    """(H, W) pixels that show a limb of one side: strong color, in the right channel."""
    wide = picture.astype(int)
    spread = wide.max(axis=-1) - wide.min(axis=-1) > 70
    channel = 2 if SIDE_COLORS[side][2] > SIDE_COLORS[side][0] else 0
    return spread & (wide.argmax(axis=-1) == channel)


@pytest.mark.parametrize("fps", [20, 30])
def test_video_has_every_frame_and_the_figure_moves(tmp_path, walk, fps):
    path = tmp_path / "walk.mp4"
    write_stick_video(path, as_motion(walk, fps=fps, text="a person walks"), size=(320, 256))
    meta, frames = read_video(path)
    assert (meta["codec"], meta["size"], meta["fps"]) == ("h264", (320, 256), fps)
    assert "yuv420p" in meta["pix_fmt"]
    assert len(frames) == len(walk)
    assert all(colored(f[:-10], "left").sum() > 150 and colored(f, "right").sum() > 150 for f in frames)
    middle = frames[:, 60:220, 80:240].astype(int)
    assert np.abs(middle[5] - middle[15]).mean() > 2
    assert [p.name for p in tmp_path.iterdir()] == ["walk.mp4"]


def test_tensor_and_single_frame(tmp_path, walk):
    path = tmp_path / "one.mp4"
    write_stick_video(path, as_motion(torch.from_numpy(walk[:1]), fps=20), size=(128, 128))
    assert len(read_video(path)[1]) == 1


def test_motion_that_is_not_finite_is_refused_and_no_file_remains(tmp_path, walk):
    walk[7, 15, 0] = np.inf
    with pytest.raises(ValueError, match=r"frame 7, joint 15 \(head\)"):
        write_stick_video(tmp_path / "walk.mp4", as_motion(walk, fps=20))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("size", [(511, 512), (512, 511), (32, 32)])
def test_sizes_that_the_codec_does_not_support_are_refused(tmp_path, walk, size):
    with pytest.raises(ValueError, match="even width and height"):
        write_stick_video(tmp_path / "walk.mp4", as_motion(walk, fps=20), size=size)


def test_left_is_on_the_right_of_the_image_when_the_figure_faces_the_camera(walk):
    picture = np.asarray(to_image(next(video_frames(walk[:1], fps=20, skeleton=SMPL22))))[:-40]
    left, right = (np.nonzero(colored(picture, side))[1].mean() for side in ("left", "right"))
    assert left > right + 5


@pytest.mark.parametrize("degrees", [0, 90, 180, -120])
def test_facing_follows_a_turn(walk, degrees):
    angle = np.radians(degrees)
    turn = np.array([[np.cos(angle), 0, np.sin(angle)], [0, 1, 0], [-np.sin(angle), 0, np.cos(angle)]])
    found = facing_angle(walk @ turn.T, SMPL22)
    assert np.cos(found - angle) == pytest.approx(1, abs=1e-2)


@pytest.mark.parametrize("scale", [1.0, 4.0])
def test_figure_stays_in_the_frame(walk, scale):
    joints = walk * scale
    follow = smooth_follow(joints[:, 0], 20)
    camera = fit_motion_camera(joints, follow, SMPL22, frame=(10, 40, 310, 220))
    for pose, at in zip(joints, follow, strict=True):
        u, v, depth = camera.project(pose, at).T
        assert u.min() >= 10 and u.max() <= 310 and v.min() >= 40 and v.max() <= 220 and depth.min() > 0.5


def test_floor_map_is_where_floor_points_project():
    joints = np.zeros((1, 22, 3)) + np.array([0, 1.0, 0])
    camera = fit_motion_camera(joints, np.zeros((1, 2)), SMPL22, frame=(0, 0, 100, 100))
    x, z = camera.floor_map((100, 100))
    u, v, _ = camera.project(np.array([x[80, 30], 0, z[80, 30]]), np.zeros(2))
    assert (u, v) == (pytest.approx(30.5, abs=1e-2), pytest.approx(80.5, abs=1e-2))


@pytest.mark.parametrize("caption", ["", "short", "word " * 60, "x" * 400, "line\nbreak\ttab\x00"])
def test_captions_fit(caption):
    font = load_font(16)
    lines = wrap_caption(caption, font, 300, 3)
    assert len(lines) <= 3
    assert all(font.getlength(line) <= 300 and line.isprintable() for line in lines)


def test_fast_and_large_motion_is_drawn(walk):
    """A figure far away, below the floor, or collapsed to a point gives pictures rather than errors."""
    for joints in (walk + 1e4, walk - np.array([0, 5, 0], np.float32), walk * 0, walk * 100):
        frames = list(video_frames(joints.astype(np.float32)[:2], fps=20, skeleton=SMPL22, size=(128, 128)))
        assert len(frames) == 2
