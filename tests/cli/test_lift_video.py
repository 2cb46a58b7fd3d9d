"""One command from a video to 3D: people found, a camera read or guessed, every output there."""

from __future__ import annotations

import logging
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml

from hmr4d.camera.camera_files import read_camera
from hmr4d.cli.detect import main as detect_main
from hmr4d.cli.lift import main
from hmr4d.export.motion_npz import load_motion_npz, save_motion_npz
from hmr4d.keypoint_files.reading import KeypointTrack, read_keypoints
from hmr4d.motion.procedural import synthetic_joints
from hmr4d.visualization.pixels import to_pixels
from hmr4d.visualization.video_file import write_mp4
from tests.detection.pictures import draw_person, room, to_picture
from tests.motions import as_motion

SIZE, FRAMES = (320, 240), 8


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path, pictures = tmp_path_factory.mktemp("video") / "walk.mp4", []
    for frame in range(FRAMES):
        values = room(SIZE)
        draw_person(values, (140.0 + 4 * frame, 40.0), 160.0)
        pictures.append(to_picture(values))
    write_mp4(path, map(to_pixels, pictures), fps=10, size=SIZE)
    return path


def test_a_video_alone_becomes_motion_with_a_guessed_camera(
    video: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    out = tmp_path / "out"
    words = [str(video), "--out", str(out), "--method", "ground_ray", "--overlay", "sheet", "--stature", "1.8"]
    with caplog.at_level(logging.INFO, logger="hmr4d"):
        assert main(words) == 0
    assert "The camera is a guess" in caplog.text and "person of 1.80 +- 0.01 m" in caplog.text
    names = {"walk.npz", "walk.html", "walk_plan.png", "walk_overlay.png", "walk_keypoints.json", "walk_camera.yaml"}
    assert {p.name for p in out.iterdir()} == names
    motion = load_motion_npz(out / "walk.npz")
    assert motion.num_frames == FRAMES and motion.fps == 10 and motion.metadata["camera"] == "guessed"
    assert read_camera(out / "walk_camera.yaml").size == SIZE
    track = read_keypoints(out / "walk_keypoints.json")
    assert isinstance(track, KeypointTrack) and track.num_seen == FRAMES


def test_a_camera_file_of_another_size_of_the_image_is_used(video: Path, tmp_path: Path) -> None:
    camera = tmp_path / "camera.yaml"
    about = {"size": [1280, 960], "fov_deg": 60, "pose": {"pitch_deg": 5, "height_m": 1.5}}
    words = [str(video), "--camera", str(camera), "--method", "ground_ray", "--overlay", "none"]
    camera.write_text(yaml.safe_dump(about), "utf-8")
    assert main([*words, "--out", str(tmp_path / "out")]) == 0
    assert 3 < -np.median(load_motion_npz(tmp_path / "out" / "walk.npz").joints3d[:, 0, 2]) < 9
    camera.write_text(yaml.safe_dump(about | {"size": [960, 1280]}), "utf-8")
    assert main([*words, "--out", str(tmp_path / "other")]) == 2


def test_videos_of_one_name_never_take_each_others_files(
    video: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one, twin, other = (tmp_path / name for name in ("a/walk.mp4", "a/walk.mov", "b/walk.mp4"))
    for place in (one, twin, other):
        place.parent.mkdir(exist_ok=True)
        shutil.copy(video, place)
    out = tmp_path / "out"
    words = ["--out", str(out), "--method", "ground_ray", "--overlay", "none"]
    lifted = as_motion(synthetic_joints("walk", 8, np.random.default_rng(0)))
    lifted = replace(lifted, provenance=lifted.provenance.updated(keypoints=str(one.resolve())))
    save_motion_npz(out / "walk.npz", lifted)
    (out / "walk_keypoints.json").write_text("{}")
    kept = {p: p.read_bytes() for p in out.iterdir()}
    assert main([str(other), *words]) == 2
    assert f"is the result of {one}" in capsys.readouterr().err
    assert main([str(twin), *words]) == 0
    assert (out / "walk_mov_keypoints.json").is_file() and (out / "walk_mov_camera.yaml").is_file()
    assert {p: p.read_bytes() for p in kept} == kept


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--stature", "175"], "from 0.5 to 2.6"),
        (["--fps", "0"], "fps is 0"),
        (["--fps", "nan"], "fps is nan"),
        (["--video", "other.mp4"], "this is a video already"),
    ],
)
def test_options_that_cannot_be_meant_end_in_one_sentence(
    video: Path, tmp_path: Path, words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(video), "--out", str(tmp_path / "out"), *words]) == 2
    assert said in capsys.readouterr().err and not (tmp_path / "out").exists()


def test_a_camera_that_pans_is_refused_with_advice(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rng = np.random.default_rng(0)
    wide = room((560, 240))
    for _ in range(40):
        u, v = rng.uniform(0, 520), rng.uniform(0, 200)
        wide[int(v) : int(v) + 30, int(u) : int(u) + 30] += rng.uniform(-60, 60)
    for frame in range(6):
        values = wide[:, 20 * frame : 20 * frame + 320].copy()
        draw_person(values, (160.0, 50.0), 150.0)
        to_picture(values).save(tmp_path / f"{frame}.png")
    assert main([str(tmp_path), "--fps", "5", "--out", str(tmp_path / "out")]) == 2
    told = capsys.readouterr().err
    assert "The camera moves" in told and "tripod" in told and "--camera-stands" in told


@pytest.mark.parametrize(
    ("name", "said"), [("", "a folder. Name the file, such as"), ("k.csv", "written as JSON. Name it k.json")]
)
def test_a_place_where_no_keypoint_file_can_be_is_reported_before_the_video_is_read(
    tmp_path: Path, name: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "no video.mp4").touch()
    assert detect_main([str(tmp_path / "no video.mp4"), "--out", str(tmp_path / name)]) == 2
    assert said in capsys.readouterr().err


def test_a_file_of_another_kind_is_reported_as_a_keypoint_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "sound.mp3").touch()
    assert main([str(tmp_path / "sound.mp3")]) == 2
    assert "sound.mp3 is read as a keypoint file" in capsys.readouterr().err
    assert main([str(tmp_path / "gone.flv")]) == 2
    assert "Not found" in capsys.readouterr().err
