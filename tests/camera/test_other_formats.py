"""Calibrations of other programs: named when they are given as a camera file, read where one names them."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from hmr4d.camera.camera_files import CameraFile, read_camera
from hmr4d.camera.other_formats import read_lenses
from hmr4d.cli.calibrate import main as calibrate

POSE = "pose: {pitch_deg: 8, height_m: 1.6}\n"
K4, BENT = [1000.0, 990.0, 645.0, 355.0], [-0.1, 0.02, 0.001, -0.002]


def matrix(name: str, rows: int, cols: int, data: list[float], tag: str = "") -> str:
    return f"{name}: {tag}\n   rows: {rows}\n   cols: {cols}\n   dt: d\n   data: {data}\n"


def opencv(tag: str, names: tuple[str, str], head: str = "") -> str:
    fx, fy, cx, cy = K4
    K = [fx, 0.0, cx, 0.0, fy, cy, 0.0, 0.0, 1.0]
    return head + matrix(names[0], 3, 3, K, tag) + matrix(names[1], 1, 5, [*BENT, 0.0], tag)


HEAD, SIZE, TAG = "%YAML:1.0\n---\n", "image_width: 1280\nimage_height: 720\n", "!!opencv-matrix"
FILES: dict[str, tuple[str, str]] = {
    "OpenCV": ("o.yml", opencv(TAG, ("camera_matrix", "distortion_coefficients"), HEAD + SIZE)),
    "OpenCV, again": ("o.yml", opencv(TAG, ("cameraMatrix", "distCoeffs"), HEAD + SIZE)),
    "ROS": (
        "r.yaml",
        SIZE
        + "camera_name: c\ndistortion_model: plumb_bob\n"
        + opencv("", ("camera_matrix", "distortion_coefficients")),
    ),
    "ROS, message": (
        "r.yaml",
        "height: 720\nwidth: 1280\ndistortion_model: plumb_bob\n"
        "D: [-0.1, 0.02, 0.001, -0.002, 0]\nK: [1000, 0, 645, 0, 990, 355, 0, 0, 1]\n",
    ),
    "EasyMocap": ("intri.yml", opencv(TAG, ("K_01", "dist_01"), HEAD) + "H_01: 720\nW_01: 1280\n"),
    "Pose2Sim": (
        "Calib.toml",
        "[cam]\nname = 'cam'\nsize = [1280.0, 720.0]\nmatrix = [[1000.0, 0.0, 645.0], "
        f"[0.0, 990.0, 355.0], [0.0, 0.0, 1.0]]\ndistortions = {BENT}\nfisheye = false\n"
        "[metadata]\nerror = 0.2\n",
    ),
    "Kalibr": (
        "k.yaml",
        f"cam0: {{camera_model: pinhole, intrinsics: {K4}, distortion_model: radtan, "
        f"distortion_coeffs: {BENT}, resolution: [1280, 720]}}\n",
    ),
    "another program, a list": (
        "c.json",
        '{"cameras": [{"name": "hd", "resolution": [1280, 720], "K": [[1000, 0, 645], [0, 990, 355], [0, 0, 1]], '
        f'"distCoef": {[*BENT, 0]}, "R": [], "t": []}}]}}',
    ),
    "OpenCV, other spellings": ("o.yml", opencv(TAG, ("Camera-Matrix", "dist_coeff"), HEAD + SIZE)),
    "OpenCV, plain distortion": ("o.yml", opencv(TAG, ("mtx", "lens_distortion"), HEAD + SIZE)),
    "another program, a key for each coefficient": (
        "o.json",
        '{"camera_matrix": [[1000, 0, 645], [0, 990, 355], [0, 0, 1]], "image_size": [1280, 720], '
        '"k1": -0.1, "k2": 0.02, "p1": 0.001, "p2": -0.002}',
    ),
    "COLMAP": ("cameras.txt", f"# Camera list\n1 OPENCV 1280 720 {' '.join(map(str, [*K4, *BENT]))}\n"),
}


def saved(folder: Path, name: str, text: str) -> Path:
    (folder / name).write_text(text, encoding="utf-8")
    return folder / name


def check(camera: CameraFile) -> None:
    assert camera.size == (1280, 720)
    np.testing.assert_allclose(camera.K4, K4)
    np.testing.assert_allclose(camera.distortion[:4], BENT)
    assert not camera.distortion[4:].any() and camera.height == pytest.approx(1.6)


@pytest.mark.parametrize("program", FILES)
def test_a_camera_file_takes_the_lens_of_another_file(tmp_path: Path, program: str) -> None:
    name, text = FILES[program]
    saved(tmp_path, name, text)
    check(read_camera(saved(tmp_path, "camera.yaml", f"intrinsics: {name}\n{POSE}")))


@pytest.mark.parametrize("program", FILES)
def test_lens_data_make_a_camera_file(tmp_path: Path, program: str) -> None:
    """The message that names another program's file has numbers to copy."""
    name, text = FILES[program]
    writer = program.partition(",")[0]
    with pytest.raises(ValueError, match=rf"of a lens by {writer}.*does not contain the floor") as e:
        read_camera(saved(tmp_path, name, text))
    assert f"intrinsics: {name}" in str(e.value)
    numbers = str(e.value).partition("with its numbers, ")[2].partition("; and with")[0].replace("; ", "\n")
    check(read_camera(saved(tmp_path, "camera.yaml", f"{numbers}\n{POSE}")))


def test_several_cameras_are_chosen_by_name(tmp_path: Path) -> None:
    one = FILES["Pose2Sim"][1]
    saved(
        tmp_path,
        "c.toml",
        one + one.replace("[cam]", "[side]").replace("1000.0", "1100.0").replace("[metadata]", "[m]"),
    )
    with pytest.raises(ValueError, match=r"cameras cam, side; select one"):
        read_camera(saved(tmp_path, "camera.yaml", f"intrinsics: c.toml\n{POSE}"))
    camera = read_camera(saved(tmp_path, "camera.yaml", f"intrinsics: {{file: c.toml, camera: side}}\n{POSE}"))
    assert float(camera.K4[0]) == 1100


def test_a_camera_that_a_number_names_is_found_and_an_unknown_one_named(tmp_path: Path) -> None:
    saved(tmp_path, "intri.yml", opencv(TAG, ("K_01", "dist_01"), HEAD) + opencv(TAG, ("K_02", "dist_02")))
    size = f"size: [1280, 720]\n{POSE}"
    check(read_camera(saved(tmp_path, "camera.yaml", f"intrinsics: {{file: intri.yml, camera: 02}}\n{size}")))
    with pytest.raises(ValueError, match="has no camera 03; it has cameras 01, 02"):
        read_camera(saved(tmp_path, "camera.yaml", f"intrinsics: {{file: intri.yml, camera: '03'}}\n{size}"))


def test_a_size_that_the_calibration_lacks_is_given_next_to_it(tmp_path: Path) -> None:
    saved(tmp_path, "intri.yml", opencv(TAG, ("K_1", "dist_1"), HEAD))
    with pytest.raises(ValueError, match="'size' is missing"):
        read_camera(saved(tmp_path, "camera.yaml", f"intrinsics: intri.yml\n{POSE}"))
    check(read_camera(saved(tmp_path, "camera.yaml", f"size: [1280, 720]\nintrinsics: intri.yml\n{POSE}")))


@pytest.mark.parametrize(
    ("model", "numbers", "distortion"),
    [
        ("SIMPLE_PINHOLE", [900, 640, 360], []),
        ("SIMPLE_RADIAL", [900, 640, 360, 0.1], [0.1, 0, 0, 0]),
        ("RADIAL", [900, 640, 360, 0.1, 0.2], [0.1, 0.2, 0, 0]),
        ("PINHOLE", [900, 900, 640, 360], []),
    ],
)
def test_models_of_colmap(tmp_path: Path, model: str, numbers: list[float], distortion: list[float]) -> None:
    path = saved(tmp_path, "cameras.txt", f"1 {model} 1280 720 {' '.join(map(str, numbers))}\n")
    (lens,) = read_lenses(path).values()
    assert lens.K == [[900, 0, 640], [0, 900, 360], [0, 0, 1]] and lens.distortion == distortion


def _fisheye(folder: Path) -> Path:
    return saved(folder, "r.yaml", FILES["ROS"][1].replace("plumb_bob", "equidistant"))


def _extri(folder: Path) -> Path:
    return saved(folder, "extri.yml", HEAD + matrix("R_1", 3, 1, [0.0] * 3, TAG) + matrix("T_1", 3, 1, [0.0] * 3, TAG))


WRONG: dict[str, tuple[Callable[[Path], Path], str]] = {
    "fisheye": (_fisheye, "lens model is equidistant, which is not read"),
    "fisheye flag": (
        lambda f: saved(f, "o.yml", FILES["OpenCV"][1].replace("image_width", "fisheye_model: 1\nimage_width")),
        "lens model is fisheye, which is not read",
    ),
    "two distortions": (
        lambda f: saved(f, "o.yml", FILES["OpenCV"][1] + "dist: [0.1, 0, 0, 0]\n"),
        "it has distortion_coefficients and dist; expected one list",
    ),
    "poses": (_extri, r"poses of cameras \(extri.yml\); the lenses are in intri.yml"),
    "binary": (lambda f: saved(f, "cameras.bin", "x"), "Convert it"),
    "numpy": (lambda f: saved(f, "c.npz", "PK"), "a file of NumPy. Write its numbers into a camera file"),
    "xml": (lambda f: saved(f, "c.xml", '<?xml version="1.0"?><opencv_storage/>'), "calibration of OpenCV as XML"),
    "html": (lambda f: saved(f, "c.yaml", "<html>"), "an XML or HTML file; write"),
    "empty": (lambda f: saved(f, "c.yaml", ""), "it is empty; expected size, K"),
    "broken toml": (lambda f: saved(f, "c.toml", "[cam"), "no TOML file"),
    "colmap fisheye": (lambda f: saved(f, "cameras.txt", "1 FOV 8 8 1 1 4 4 0.1\n"), "lens model is FOV"),
    "colmap numbers": (lambda f: saved(f, "cameras.txt", "1 PINHOLE 8 8 1 1 4\n"), "has 3 numbers; expected 4"),
    "twice": (
        lambda f: saved(f, "c.yaml", f"size: [9, 9]\nfov_deg: 60\n{POSE}fov_deg: 90\n"),
        r"line 4: key 'fov_deg' is given twice, in lines 2 and 4",
    ),
    "comma in braces": (
        lambda f: saved(f, "c.yaml", "size: [9, 9]\nfov_deg: 60\npose: {pitch_deg: 8, height_m: 1,6}"),
        "numbers take a point: 1.6, not 1,6",
    ),
    "comma": (lambda f: saved(f, "c.yaml", f"size: [9, 9]\nfov_deg: 65,2\n{POSE}"), "Use a decimal point: 65.2"),
    "no such lens": (lambda f: saved(f, "c.yaml", f"intrinsics: none.yml\n{POSE}"), "none.yml, which cannot be read"),
    "no lens": (lambda f: saved(f, "c.yaml", f"intrinsics: c.yaml\n{POSE}"), "no calibration of OpenCV"),
    "beside": (
        lambda f: saved(f, "c.yaml", f"intrinsics: {saved(f, *FILES['COLMAP']).name}\nfov_deg: 60\n{POSE}"),
        "fov_deg in addition to intrinsics",
    ),
    "control": (lambda f: saved(f, "c.yaml", f'"\\e[2J": 1\n{POSE}'), "unknown key"),
}


@pytest.mark.parametrize("case", WRONG)
def test_mistakes_are_one_sentence(tmp_path: Path, case: str) -> None:
    make, words = WRONG[case]
    with pytest.raises(ValueError, match=words) as caught:
        read_camera(make(tmp_path))
    assert str(caught.value).isprintable()


def test_the_vertical_field_of_view(tmp_path: Path) -> None:
    wide = read_camera(saved(tmp_path, "a.yaml", f"size: [1280, 720]\nvfov_deg: 39.6\n{POSE}"))
    assert wide.K4.tolist() == pytest.approx([360 / np.tan(np.radians(19.8))] * 2 + [640, 360])
    with pytest.raises(ValueError, match="both fov_deg and vfov_deg"):
        read_camera(saved(tmp_path, "a.yaml", f"size: [1280, 720]\nvfov_deg: 39.6\nfov_deg: 65\n{POSE}"))


def test_measurements_take_a_lens_too(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "hmr4d")
    saved(tmp_path, *FILES["COLMAP"])
    measured = (
        "intrinsics: cameras.txt\n"
        "phone: {accelerometer: [9.7, 0.2, 1.3], hold: landscape_left, sensor: android, height_m: 1.6}\n"
    )
    out = tmp_path / "camera.yaml"
    assert calibrate([str(saved(tmp_path, "m.yaml", measured)), "--out", str(out)]) == 0
    check(read_camera(out))


def lens(folder: Path, more: str) -> Path:
    matrix = '{"camera_matrix": [[1000, 0, 645], [0, 990, 355], [0, 0, 1]], "image_size": [1280, 720], '
    return saved(folder, "lens.json", matrix + more + "}")


def test_one_number_is_the_first_coefficient_and_text_is_refused(tmp_path: Path) -> None:
    (known,) = read_lenses(lens(tmp_path, '"dist": -0.12')).values()
    assert known.values["distortion"][0] == -0.12 and not any(known.values["distortion"][1:])
    with pytest.raises(ValueError, match="distortion"):
        read_lenses(lens(tmp_path, '"dist_coeffs": "-0.1 0.02 0 0"'))


def test_coefficients_of_a_possible_fisheye_lens_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="coefficients k4 with keys of their own, .*fisheye"):
        read_lenses(lens(tmp_path, '"k1": -0.1, "k2": 0.02, "k3": 0.01, "k4": 0.001'))
