"""Readers of lens calibrations of other programs: OpenCV, ROS, EasyMocap, Pose2Sim, Kalibr and COLMAP.

They do not contain the floor, so they are not camera files: `intrinsics: FILE` in a camera file reads size, K and
    distortion from one, and the camera file adds the pose.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hmr4d.utils.text_files import load_unique_yaml, printable
from hmr4d.utils.yaml_section import load_text

_OPENCV = re.compile(r"^\s*%YAML[: ]1\.0")
_NO_TEXT = {".npz": "NumPy", ".npy": "NumPy", ".mat": "MATLAB", ".pkl": "Python's pickle", ".h5": "HDF5"}
_TAG = re.compile(r"!!opencv-(nd-)?matrix")
_COLMAP_LINE = re.compile(r"^\s*(\d+)\s+([A-Z_]{3,})\s+(\d+)\s+(\d+)((?:\s+[-+.\deE]+)+)\s*$", re.MULTILINE)
# COLMAP's models: number of focal lengths, and its coefficients in OpenCV's order.
_COLMAP: Mapping[str, tuple[int, int]] = {
    "SIMPLE_PINHOLE": (1, 0),
    "PINHOLE": (2, 0),
    "SIMPLE_RADIAL": (1, 1),
    "RADIAL": (1, 2),
    "OPENCV": (2, 4),
    "FULL_OPENCV": (2, 8),
}
_WIDTH = ("image_width", "imageWidth", "image_Width", "width", "w")
_HEIGHT = ("image_height", "imageHeight", "image_Height", "height", "h")
_SIZE = ("size", "image_size", "imageSize", "img_size", "resolution")
_MATRIX = (
    "camera_matrix",
    "cameraMatrix",
    "Camera_Matrix",
    "CameraMatrix",
    "matrix",
    "intrinsic_matrix",
    "mtx",
    "K",
    "k",
)
_DISTORTION = (
    "distortion_coefficients", "Distortion_Coefficients", "distCoeffs", "dist_coeffs", "distortion_coeffs",
    "distortions", "dist_coefs", "dist", "D", "d",
)  # fmt: skip
_STRAIGHT_MODELS = ("", "plumb_bob", "rational_polynomial", "radtan", "pinhole", "opencv", "none")


@dataclass(frozen=True)
class LensCalibration:
    """One lens of a file.

    Attributes:
        program: program that writes such files. size: width and height in pixels, if the file contains them.
        K: 3 x 3 matrix, pixels.
        distortion: OpenCV's coefficients.
    """

    program: str
    size: tuple[float, float] | None
    K: list[list[float]]
    distortion: list[float]

    @property
    def values(self) -> dict[str, Any]:
        """As a camera file has them."""
        size = {} if self.size is None else {"size": [_short(side) for side in self.size]}
        return {**size, "K": self.K, **({"distortion": self.distortion} if any(self.distortion) else {})}

    def lines(self) -> str:
        """The lines of a camera file, on one."""
        (fx, _, cx), (_, fy, cy) = self.K[0], self.K[1]
        size = "[width, height]" if self.size is None else f"[{_short(self.size[0])}, {_short(self.size[1])}]"
        bent = f"; distortion: [{', '.join(f'{k:g}' for k in self.distortion)}]" if any(self.distortion) else ""
        return f"size: {size}; K: {{fx: {fx:g}, fy: {fy:g}, cx: {cx:g}, cy: {cy:g}}}{bent}"


def read_lenses(path: Path, what: str = "Calibration") -> dict[str, LensCalibration]:
    """The lenses of a file by name; empty for a file of an unknown program.

    Raises:
        FileNotFoundError: the file does not exist. ValueError: it is damaged, or its lens model is not supported by
            OpenCV's model.
    """
    if path.suffix.lower() == ".bin":
        raise ValueError(
            "it is a binary file, as COLMAP's cameras.bin. Convert it (colmap model_converter --output_type TXT)."
        )
    if path.suffix.lower() in _NO_TEXT and path.is_file():
        raise ValueError(f"it is a file of {_NO_TEXT[path.suffix.lower()]}. Write its numbers into a camera file.")
    text = load_text(path, what)
    if text.lstrip().startswith("<"):
        kind = "a calibration of OpenCV as XML; save it as .yml, or" if "opencv" in text else "an XML or HTML file;"
        raise ValueError(f"it is {kind} write its numbers into a camera file.")
    if path.suffix.lower() == ".toml":
        return _mapped(_toml(text), "Pose2Sim")
    if (lines := _COLMAP_LINE.findall(text)) and not _OPENCV.match(text):
        return {
            number: _colmap(model, (float(w), float(h)), [float(v) for v in rest.split()])
            for number, model, w, h, rest in lines
        }
    if _OPENCV.match(text):
        body = _TAG.sub("", "\n".join(line for line in text.splitlines() if not line.startswith(("%", "---", "..."))))
        return _mapped(load_unique_yaml(body, path.name), "OpenCV")
    try:
        content = load_unique_yaml(text, path.name)
    except ValueError:
        return {}
    return _mapped(content, "ROS") if _is_other(content) else {}


def other_camera(path: Path, what: str) -> str | None:
    """Advice for a file of another program that was passed as the camera file; None for other files.

    Raises:
        FileNotFoundError: the file does not exist. ValueError: as `read_lenses`.
    """
    lenses = read_lenses(path, what)
    if not lenses:
        return None
    name, lens = next(iter(lenses.items()))
    file = printable(path.name)
    reference = file if len(lenses) == 1 else f"{{file: {file}, camera: {printable(name)}}}"
    several = "" if len(lenses) == 1 else f" (of camera {printable(name)}; it has {_listed(lenses)})"
    return (
        f"it is a calibration of a lens by {lens.program}, which does not contain the floor. Write a camera file with "
        f"'intrinsics: {reference}' or with its numbers, {lens.lines()}{several}; and with the camera pose: pose: "
        "{pitch_deg: ..., roll_deg: ..., height_m: ...}."
    )


def with_intrinsics(values: Any, folder: Path) -> Any:
    """Values of a camera file, with `intrinsics` replaced by the content of the named file.

    Args:
        values: content of the file.
        folder: folder of the file; paths are relative to it.

    Raises:
        ValueError: the named file is missing, of an unknown program, or has values that the camera file also has.
    """
    if not isinstance(values, Mapping) or "intrinsics" not in values:
        return values
    asked = values["intrinsics"]
    given = asked if isinstance(asked, Mapping) else {"file": asked}
    if not isinstance(given.get("file"), str) or set(given) - {"file", "camera"}:
        raise ValueError("'intrinsics' is not understood; expected the name of a file, or {file: NAME, camera: NAME}.")
    path = folder / given["file"]
    try:
        lenses = read_lenses(path)
    except OSError as error:
        reason = f"which cannot be read ({error.strerror or 'no such file'})"
        raise ValueError(f"'intrinsics' names {printable(given['file'])[:80]}, {reason}.") from error
    except ValueError as error:
        raise ValueError(f"intrinsics: {printable(given['file'])[:80]}: {error}") from error
    if not lenses:
        raise ValueError(
            f"'intrinsics' names {printable(given['file'])[:80]}, which is no calibration of OpenCV, ROS, EasyMocap, "
            "Pose2Sim, Kalibr or COLMAP."
        )
    name = str(given["camera"]) if given.get("camera") is not None else next(iter(lenses))
    if name not in lenses or (len(lenses) > 1 and "camera" not in given):
        raise ValueError(
            f"'intrinsics' has cameras {_listed(lenses)}; select one: {{file: {given['file']}, camera: ...}}."
        )
    known = lenses[name].values
    rest = {key: value for key, value in values.items() if key != "intrinsics"}
    if "size" in rest and "size" in known and rest["size"] == known["size"]:
        del known["size"]
    if twice := [key for key in (*known, "fov_deg", "vfov_deg") if key in rest]:
        raise ValueError(f"it has {twice[0]} in addition to intrinsics, which already contains it. Remove one of them.")
    return {**known, **rest}


def _listed(lenses: Mapping[str, Any]) -> str:
    return ", ".join(printable(name)[:40] for name in list(lenses)[:8])


def _toml(text: str) -> Any:
    try:
        import tomllib  # new in Python 3.11
    except ModuleNotFoundError as error:
        raise ValueError(
            "TOML is read with Python 3.11 or later. Copy size, matrix and distortions to a camera file: "
            "size: [...], K: [[...], ...], distortion: [...]."
        ) from error
    try:
        return tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError, ValueError) as error:
        raise ValueError(f"it is no TOML file ({printable(str(error))}).") from error


def _is_other(content: Any) -> bool:
    """Whether a mapping is of ROS, Kalibr or EasyMocap rather than of a camera file."""
    if not isinstance(content, Mapping):
        return False
    if any(isinstance(v, Mapping) and {"intrinsics", "distortion_coeffs"} <= v.keys() for v in content.values()):
        return True
    has_matrix = any(k in content for k in _MATRIX if k != "K") or any(str(k).startswith("K_") for k in content)
    return has_matrix or ("K" in content and any(k in content for k in (*_WIDTH, *_DISTORTION)))


def _mapped(content: Any, program: str) -> dict[str, LensCalibration]:
    """The lenses in a mapping: of one camera, of several by name, or EasyMocap's K_1, dist_1 ..."""
    if not isinstance(content, Mapping):
        return {}
    if any(k in content for k in _MATRIX):
        name = str(content.get("camera_name") or content.get("name") or "camera")
        return {name: _lens(content, program)}
    names = [str(k)[2:] for k in content if str(k).startswith("K_")]
    if names:
        return {n: _lens({"K": content[f"K_{n}"], "D": content.get(f"dist_{n}", content.get(f"D_{n}")),
                          "height": content.get(f"H_{n}"), "width": content.get(f"W_{n}")}, "EasyMocap")
                for n in names}  # fmt: skip
    if any(str(k).startswith(("R_", "Rot_", "T_")) for k in content):
        raise ValueError("it has EasyMocap's poses of cameras (extri.yml); the lenses are in intri.yml.")
    lenses: dict[str, LensCalibration] = {}
    for name, inner in content.items():
        if isinstance(inner, Mapping) and any(k in inner for k in _MATRIX):
            lenses[str(name)] = _lens(inner, program)
        elif isinstance(inner, Mapping) and isinstance(inner.get("intrinsics"), list) and "resolution" in inner:
            numbers = _numbers(inner["intrinsics"], "intrinsics")
            if len(numbers) != 4 or inner.get("camera_model") != "pinhole":
                raise ValueError("it has a camera of Kalibr that is no pinhole; undistort the video.")
            K = [[numbers[0], 0.0, numbers[2]], [0.0, numbers[1], numbers[3]], [0.0, 0.0, 1.0]]
            model = {"distortion_model": inner.get("distortion_model", "")}
            lenses[str(name)] = _lens({**inner, **model, "K": K}, "Kalibr")
    return lenses


def _lens(content: Mapping[str, Any], program: str) -> LensCalibration:
    model = str(content.get("distortion_model") or content.get("camera_model") or "").lower()
    if model not in _STRAIGHT_MODELS or content.get("fisheye") is True:
        raise ValueError(
            f"its lens model is {printable(model)[:40] or 'fisheye'}, which is not read; expected OpenCV's pinhole "
            "model (plumb_bob, rational_polynomial). Undistort the video, and calibrate that."
        )
    K = _numbers(next(content[k] for k in _MATRIX if k in content), "the camera matrix")
    if len(K) != 9:
        raise ValueError(f"its camera matrix has {len(K)} numbers; expected 3 x 3.")
    bent = next((content[k] for k in _DISTORTION if content.get(k) is not None), [])
    distortion = _numbers(bent, "the distortion")
    while len(distortion) > 8 and distortion[-1] == 0:  # OpenCV's thin prisms and tilted sensors, unused
        distortion.pop()
    for length in (4, 5, 8):
        if len(distortion) < length:
            distortion += [0.0] * (length - len(distortion)) if distortion else []
            break
        if len(distortion) == length:
            break
    return LensCalibration(program, _size(content), [K[0:3], K[3:6], K[6:9]], distortion)


def _size(content: Mapping[str, Any]) -> tuple[float, float] | None:
    sides = next((content[k] for k in _SIZE if content.get(k) is not None), None)
    if sides is None:
        sides = [next((content[k] for k in keys if content.get(k) is not None), None) for keys in (_WIDTH, _HEIGHT)]
        if None in sides:
            return None
    numbers = _numbers(sides, "the size of the image")
    if len(numbers) != 2:
        raise ValueError(f"the size of the image has {len(numbers)} numbers; expected width and height.")
    return numbers[0], numbers[1]


def _numbers(value: Any, what: str) -> list[float]:
    """Flat numbers of a list, of lists, or of OpenCV's and ROS's {rows, cols, data}."""
    if isinstance(value, Mapping):
        value = value.get("data")
    try:
        array = np.asarray(value if isinstance(value, list) else [value], dtype=np.float64).reshape(-1)
    except (TypeError, ValueError, OverflowError) as error:
        raise ValueError(f"{what} has no numbers; expected them as OpenCV writes them.") from error
    if not np.isfinite(array).all() or len(array) > 100:
        raise ValueError(f"{what} has numbers that are not finite, or too many.")
    return array.tolist()


def _colmap(model: str, size: tuple[float, float], numbers: list[float]) -> LensCalibration:
    if model not in _COLMAP:
        raise ValueError(
            f"its lens model is {model}, which is not read; expected {', '.join(_COLMAP)}. Undistort the images."
        )
    focals, bends = _COLMAP[model]
    if len(numbers) != focals + 2 + bends:
        raise ValueError(f"a {model} camera has {len(numbers)} numbers; expected {focals + 2 + bends}.")
    fx, fy = numbers[0], numbers[focals - 1]
    (cx, cy), bent = numbers[focals : focals + 2], numbers[focals + 2 :]
    distortion = [*bent, 0.0, 0.0, 0.0][:4] if 0 < bends < 4 else bent
    return LensCalibration("COLMAP", size, [[fx, 0.0, cx], [0.0, fy, cy], [0.0, 0.0, 1.0]], distortion)


def _short(value: float) -> float | int:
    return int(value) if math.isfinite(value) and value == int(value) else value
