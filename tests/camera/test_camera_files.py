"""Camera files: poses and calibrations give the same world, every mistake one sentence, written files read back."""

from __future__ import annotations

import logging
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from scipy.spatial.transform import Rotation

from hmr4d.body.skeleton import get_skeleton
from hmr4d.camera.camera_files import (
    CameraFile,
    check_keypoints_fit,
    read_camera,
    read_rig,
    undistorted,
    write_camera,
)
from hmr4d.geometry.distortion import distort
from hmr4d.geometry.rigs import project
from hmr4d.keypoint_files.reading import KeypointTrack

POSE = {"pitch_deg": 12.0, "roll_deg": -3.0, "height_m": 1.6}
GOOD: dict[str, Any] = {"size": [1920, 1080], "K": {"fx": 1500, "fy": 1490, "cx": 950, "cy": 545}, "pose": POSE}
# Level camera 1.5 m over the floor of a calibration with z up, looking along +y: image right is +x, image down is -z.
LEVEL = {
    "extrinsic": {"R": [[1, 0, 0], [0, 0, -1], [0, 1, 0]], "t": [0.0, 1.5, 0.0]},
    "ground": {"normal": [0, 0, 1], "d": 0.0},
}


def saved(folder: Path, values: Any, name: str = "camera.yaml") -> Path:
    path = folder / name
    path.write_text(values if isinstance(values, str) else yaml.safe_dump(values), encoding="utf-8")
    return path


def changed(**values: Any) -> dict[str, Any]:
    """GOOD with other values; None takes a key out."""
    return {key: value for key, value in {**GOOD, **values}.items() if value is not None}


def track_of(points: np.ndarray) -> KeypointTrack:
    kp2d = np.asarray(points, np.float32).reshape(-1, 17, 2)
    return KeypointTrack(
        kp2d, np.ones(kp2d.shape[:2], np.float32), get_skeleton("coco17"), np.arange(len(kp2d)), None, "0"
    )


def test_pose_gives_the_angles_and_height_that_were_written(tmp_path: Path) -> None:
    camera = read_camera(saved(tmp_path, GOOD))
    np.testing.assert_allclose(np.degrees(camera.angles), (12, -3, 0), atol=1e-10)
    assert camera.height == pytest.approx(1.6) and camera.size == (1920, 1080)
    assert camera.K4.tolist() == [1500, 1490, 950, 545]
    foot = camera.T_w2c[:3, :3] @ torch.tensor([0, 1.6, 0], dtype=torch.float64) + camera.T_w2c[:3, 3]
    assert foot.abs().max() < 1e-12  # the optical center is 1.6 m above the origin
    ahead = torch.tensor([[[0.0, 0.0, -5.0], [0.2, 0.0, -5.0]]]).double()
    (near, right), depth = project(camera.rig, ahead)[0][0, 0], project(camera.rig, ahead)[1]
    assert (depth > 0).all() and right[0] > near[0] and near[1] > 545  # in front, +x to the right, below the middle


def test_level_calibration_with_z_up(tmp_path: Path) -> None:
    camera = read_camera(saved(tmp_path, changed(pose=None, **LEVEL)))
    np.testing.assert_allclose(camera.angles, 0, atol=1e-12)
    assert camera.height == pytest.approx(1.5)
    assert camera.T_cal2world is not None
    ahead = camera.T_cal2world @ torch.tensor([1.0, 5.0, 0.3, 1.0]).double()  # 5 m ahead, 1 m right, 0.3 m up
    np.testing.assert_allclose(ahead[:3], (1.0, 0.3, -5.0), atol=1e-12)


def tilted(camera: CameraFile, seed: int = 0) -> dict[str, Any]:
    """The camera as an extrinsic in a randomly turned and shifted frame."""
    R = Rotation.random(random_state=seed).as_matrix()
    origin = np.random.default_rng(seed).normal(0, 3, 3)  # X_cal = R X_world + origin
    T = camera.T_w2c.numpy()
    R_cal2c = T[:3, :3] @ R.T
    t = T[:3, 3] - R_cal2c @ origin
    normal = R @ (0, 1, 0)
    return {
        "extrinsic": {"R": R_cal2c.tolist(), "t": t.tolist()},
        "ground": {"normal": normal.tolist(), "d": float(-normal @ origin)},
    }


@pytest.mark.parametrize("seed", range(3))
def test_extrinsic_in_any_frame_is_the_same_camera(tmp_path: Path, seed: int, caplog: pytest.LogCaptureFixture) -> None:
    expected = read_camera(saved(tmp_path, GOOD))
    values = changed(pose=None, **tilted(expected, seed))
    camera = read_camera(saved(tmp_path, values))
    torch.testing.assert_close(camera.T_w2c, expected.T_w2c, atol=1e-9, rtol=0)
    ground = values["ground"]  # the same plane, its normal pointing down
    values["ground"] = {"normal": [-n for n in ground["normal"]], "d": -ground["d"]}
    flipped = read_camera(saved(tmp_path, values))
    torch.testing.assert_close(flipped.T_w2c, expected.T_w2c, atol=1e-9, rtol=0)
    assert "it is inverted" in caplog.text


def test_intrinsics_in_other_words(tmp_path: Path) -> None:
    camera = read_camera(saved(tmp_path, changed(K=None, fov_deg=90)))
    assert camera.K4.tolist() == pytest.approx([960, 960, 960, 540])
    matrix = [[1500, 0, 950], [0, 1490, 545], [0, 0, 1]]
    assert read_camera(saved(tmp_path, changed(K=matrix))).K4.tolist() == [1500, 1490, 950, 545]
    assert read_camera(saved(tmp_path, changed(K={"fx": 1500}))).K4.tolist() == [1500, 1500, 960, 540]


def test_written_camera_reads_back(tmp_path: Path) -> None:
    camera = read_camera(saved(tmp_path, changed(distortion=[-0.1, 0.02, 0.001, -0.002, 0.003])))
    write_camera(tmp_path / "again.yaml", camera, note="made by a test\nwith two lines")
    again = read_camera(tmp_path / "again.yaml")
    assert again.size == camera.size
    torch.testing.assert_close(again.K4, camera.K4)
    torch.testing.assert_close(again.distortion, camera.distortion)
    torch.testing.assert_close(again.T_w2c, camera.T_w2c, atol=1e-6, rtol=0)
    assert (tmp_path / "again.yaml").read_text().startswith("# made by a test\n# with two lines\n")


def placed(R: list[list[float]], t: list[float]) -> dict[str, Any]:
    return changed(pose=None, ground=LEVEL["ground"], extrinsic={"R": R, "t": t})


WRONG: dict[str, tuple[Any, str]] = {
    "no yaml": ("size: [1, 2", "no YAML"),
    "a list": ([1, 2], "expected size"),
    "empty": ("", "expected size"),
    "no size": (changed(size=None), "'size' is missing"),
    "no pose": (changed(pose=None), "does not contain the camera position"),
    "no intrinsics": (changed(K=None), "neither K nor fov_deg"),
    "two intrinsics": (changed(fov_deg=60), "both K and fov_deg"),
    "two poses": (changed(**LEVEL), "both pose and extrinsic"),
    "ground and pose": (changed(ground=LEVEL["ground"]), "both ground and pose"),
    "no ground": (changed(pose=None, extrinsic=LEVEL["extrinsic"]), "'ground' is missing"),
    "no height": (changed(pose={"pitch_deg": 3}), "'pose.height_m' is missing"),
    "typing error": (changed(distorsion=[0.1]), "unknown key 'distorsion'. Did you mean 'distortion'"),
    "inner typing error": (changed(pose={**POSE, "hight_m": 2}), "'pose.hight_m'. Did you mean 'height_m'"),
    "radians by name": (changed(pose={"pitch_rad": 0.2, "height_m": 2}), "Did you mean 'pitch_deg'"),
    "strange key": (changed(color="red"), "Known are size"),
    "pose is no mapping": (changed(pose=[12, 0, 1.6]), "pose is .* expected pitch_deg"),
    "words": (changed(pose={**POSE, "height_m": "1,6"}), "'pose.height_m' is '1,6'; expected a number"),
    "size of words": (changed(size=["a", "b"]), "'size' is .* expected numbers"),
    "size of one": (changed(size=[1920]), "expected 2 numbers"),
    "broken pixels": (changed(size=[1920.5, 1080]), "whole pixels"),
    "under the floor": (changed(pose={**POSE, "height_m": -1.6}), "more than 0"),
    "on the floor": (changed(pose={**POSE, "height_m": 0}), "more than 0"),
    "centimetres": (changed(pose={**POSE, "height_m": 160}), r"meters \(not cm or mm\)"),
    "above the horizon": (changed(pose={**POSE, "pitch_deg": -40}), "only looks above the horizon"),
    "pitch": (changed(pose={**POSE, "pitch_deg": 120}), "straight down"),
    "roll": (changed(pose={**POSE, "roll_deg": 270}), "from -180 to 180"),
    "principal point": (changed(K={"fx": 1500, "cx": 2000}), "outside the image"),
    "principal point swapped": (changed(K={"fx": 1500, "cx": 540, "cy": 960}), "seem to be swapped"),
    "of an image twice as large": (changed(size=[960, 540], K={"fx": 1500, "cx": 960, "cy": 540}), "outside the image"),
    "of an image half as large": (changed(K={"fx": 750, "cx": 480, "cy": 270}), "middle of an image of 960 x 540"),
    "of a larger image": (changed(K={"fx": 1500, "cx": 1280, "cy": 720}), "middle of an image of 2560 x 1440"),
    "micrometres": (changed(K={"fx": 1.5e6}), "focal length is 1.5e.06 pixels"),
    "millimetres": (changed(K={"fx": 35}), "expected pixels, not mm"),
    "negative focal": (changed(K={"fx": -1500}), "similar positive"),
    "unlike focals": (changed(K={"fx": 1500, "fy": 500}), "similar positive"),
    "radians": (changed(K=None, fov_deg=1.1), "not radians"),
    "transposed K": (changed(K=[[1500, 0, 0], [0, 1500, 0], [950, 545, 1]]), r"expected \[\[fx"),
    "distortion": (changed(distortion=[0.1, 0.2]), "has 2 numbers"),
    "scaled R": (placed([[2, 0, 0], [0, 0, -2], [0, 2, 0]], [0, 1.5, 0]), "'extrinsic.R' is no rotation"),
    "mirror": (placed([[-1, 0, 0], [0, 0, -1], [0, 1, 0]], [0, 1.5, 0]), "reflection"),
    "millimeter t": (placed(LEVEL["extrinsic"]["R"], [0, 1500, 0]), r"meters \(not cm or mm\)"),
    "long normal": (changed(pose=None, **{**LEVEL, "ground": {"normal": [0, 0, 2], "d": 0}}), "expected a unit vector"),
    "normal down": (
        changed(pose=None, extrinsic={"R": np.eye(3).tolist(), "t": [0, 0, 0]}, ground={"normal": [0, 1, 0], "d": 1.6}),
        "upside down",
    ),
    "on the plane": (changed(pose=None, **{**LEVEL, "ground": {"normal": [0, 0, 1], "d": -1.5}}), "more than 0"),
}


@pytest.mark.parametrize("case", WRONG)
def test_mistakes_are_named_in_one_sentence(tmp_path: Path, case: str) -> None:
    values, words = WRONG[case]
    path = saved(tmp_path, values)
    with pytest.raises(ValueError, match=words) as caught:
        read_camera(path)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


def test_content_of_other_files_is_not_repeated_whole(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"its content is .* \.\.\.; expected size, K") as caught:
        read_camera(saved(tmp_path, [{"keypoints": list(range(1000))}] * 100))
    assert len(str(caught.value)) < len(str(tmp_path)) + 300


def test_missing_file_and_suspicious_angles(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(FileNotFoundError, match="docs/calibrate.md"):
        read_camera(tmp_path / "none.yaml")
    caplog.set_level(logging.WARNING, "hmr4d")
    read_camera(saved(tmp_path, changed(pose={**POSE, "pitch_deg": 0.35, "roll_deg": 0})))
    assert "write 20.05" in caplog.text
    read_camera(saved(tmp_path, changed(K={"fx": 1500, "fy": 1125, "cx": 480})))
    assert "principal point (480, 540) is far from the middle" in caplog.text
    assert "fx = 1500 and fy = 1125 differ by 33 %" in caplog.text


def test_distortion_is_taken_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    camera = read_camera(saved(tmp_path, changed(distortion=[-0.2, 0.05, 0.001, -0.002, 0.0])))
    points = torch.rand(40, 17, 2, generator=torch.manual_seed(0)).double() * torch.tensor([1900.0, 1060.0])
    seen = distort(points.reshape(-1, 2), camera.K4, camera.distortion).reshape(40, 17, 2)
    track = track_of(seen.numpy())
    track.kp2d_conf[3, 4], track.kp2d[3, 4] = 0, 0
    straight = undistorted(track, camera)
    expected = points.numpy().copy()
    expected[3, 4] = 0
    np.testing.assert_allclose(straight.kp2d, expected, atol=2e-3)
    assert straight.kp2d_conf[3, 4] == 0 and straight.kp2d_conf.sum() == 40 * 17 - 1
    assert np.abs(track.kp2d - expected).max() > 10  # there was something to take out
    folded = read_camera(saved(tmp_path, changed(distortion=[-1.5, 0.0, 0.0, 0.0])))
    far = undistorted(track_of(np.full((1, 17, 2), (1910.0, 1070.0))), folded)
    assert not far.kp2d_conf.any() and not far.kp2d.any() and "17 joints" in caplog.text
    plain = read_camera(saved(tmp_path, GOOD))
    assert undistorted(track, plain) is track


def test_image_size_must_fit_the_keypoints(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    camera = read_camera(saved(tmp_path, GOOD))
    points = np.random.default_rng(0).uniform((0, 0), (1900, 1060), (30, 17, 2))
    check_keypoints_fit(track_of(points), camera)
    check_keypoints_fit(track_of(points[..., ::-1] * (0.9, 0.5)), camera)
    assert not caplog.text
    low = np.random.default_rng(0).uniform((700, 600), (1200, 1180), (30, 17, 2))  # as of a person in a larger image
    check_keypoints_fit(track_of(low), camera)
    assert "to 1177, but the camera's image is 1920 x 1080" in caplog.text
    caplog.clear()
    check_keypoints_fit(replace(track_of(np.full((17, 2), 300.0)), image_sizes=((1280, 720),)), camera)
    assert "of images of 1280 x 720 pixels, the camera file of 1920 x 1080" in caplog.text
    with pytest.raises(ValueError, match="swapped: expected 1080 x 1920 pixels"):
        check_keypoints_fit(track_of(points[..., ::-1]), camera)
    with pytest.raises(ValueError, match="size of the images in which the keypoints were detected"):
        check_keypoints_fit(track_of(points * 2), camera)


def test_rig_file_with_poses_and_with_extrinsics(tmp_path: Path) -> None:
    camera = read_camera(saved(tmp_path, GOOD))
    view = {"pose": {"pitch_deg": 10, "height_m": 2.0, "yaw_deg": 90, "position_m": [4.0, -4.0]}}
    other = {
        "size": [640, 480],
        "fov_deg": 60,
        "pose": {"pitch_deg": 20, "height_m": 3.0, "yaw_deg": 180, "position_m": [0.0, -8.0]},
    }
    rig = read_rig(saved(tmp_path, {"views": [view, other]}, "rig.yaml"), camera)
    assert rig.num_views == 3 and rig.size.tolist() == [[1920, 1080], [1920, 1080], [640, 480]]
    torch.testing.assert_close(rig.T_w2c[0], camera.T_w2c)
    np.testing.assert_allclose(rig.centers[1:], [[4, 2, -4], [0, 3, -8]], atol=1e-12)
    pixels, depth = project(rig, torch.tensor([[[0.0, 1.0, -4.0]]]).double())
    assert (depth > 0).all()  # yaw 90 heads to -x, yaw 180 to +z: both look at the middle
    np.testing.assert_allclose(pixels[1:, 0, 0, 0], [950, 320], atol=1e-9)

    frame = tilted(camera)
    calibrated = read_camera(saved(tmp_path, changed(pose=None, **frame)))
    assert calibrated.T_cal2world is not None
    T_cal2c = (rig.T_w2c @ calibrated.T_cal2world)[1:]
    views = [{"extrinsic": {"R": T[:3, :3].tolist(), "t": T[:3, 3].tolist()}} for T in T_cal2c]
    again = read_rig(saved(tmp_path, {"views": views}, "rig.yaml"), calibrated)
    torch.testing.assert_close(again.T_w2c, rig.T_w2c, atol=1e-9, rtol=0)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"cameras": []}, "unknown key 'cameras'"),
        ({"views": []}, "expected a list of cameras"),
        ({"views": [{}]}, r"'views\[0\]' needs one of pose and extrinsic"),
        ({"views": [{"pose": {"pitch_deg": 3, "height_m": 1, "yow_deg": 3}}]}, r"'views\[0\].pose.yow_deg'. Did you"),
        ({"views": [{"extrinsic": LEVEL["extrinsic"]}]}, "no common frame"),
        ({"views": [{"fov_deg": 60, "pose": POSE}]}, r"'views\[0\].size' is missing"),
        ({"views": [{"pose": {"pitch_deg": -80, "height_m": 1}}]}, "above the horizon"),
    ],
)
def test_mistakes_in_rig_files(tmp_path: Path, values: Any, words: str) -> None:
    camera = read_camera(saved(tmp_path, GOOD))
    with pytest.raises(ValueError, match=words):
        read_rig(saved(tmp_path, values, "rig.yaml"), camera)


def test_field_of_view_is_that_of_the_image(tmp_path: Path) -> None:
    camera = read_camera(saved(tmp_path, changed(K=None, fov_deg=60, pose={"pitch_deg": 0, "height_m": 1})))
    edge = torch.tensor([[[math.tan(math.radians(30)) * 4, 1.0, -4.0]]]).double()
    assert project(camera.rig, edge)[0][0, 0, 0].tolist() == pytest.approx([1920, 540])
