"""Readers of lens calibrations of other programs: OpenCV, ROS, EasyMocap, Pose2Sim, Kalibr and COLMAP.

They do not contain the floor, so they are not camera files: `intrinsics: FILE` in a camera file reads size, K and
    distortion from one, and the camera file adds the pose.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hmr4d.utils.text_files import load_unique_yaml, plain_key, printable
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
# Keys in lower case without signs, see `plain_key`.
_WIDTH = ("imagewidth", "width", "w")
_HEIGHT = ("imageheight", "height", "h")
_SIZE = ("size", "imagesize", "imgsize", "resolution")
_MATRIX = ("cameramatrix", "matrix", "intrinsicmatrix", "mtx", "k")
_DISTORTION = re.compile(
    r"d|(?:lens|camera)?dist(?!ance|ribution)(?!.*(?:model|type)$).*"
)  # distCoef, dist_coeffs, lens_distortion ...
_SEPARATE = ("k1", "k2", "p1", "p2", "k3")  # coefficients with a key each
_FISHEYE = ("fisheye", "fisheyemodel", "isfisheye")
_UNKNOWN = "another program"
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
    return _mapped(content, _UNKNOWN) if _is_other(content) else {}


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
    wanted = given.get("camera")
    name = next(iter(lenses)) if wanted is None and len(lenses) == 1 else _named(wanted, lenses)
    if name is None:
        asked_for = "" if wanted is None else f" has no camera {printable(str(wanted))[:40]}; it"
        raise ValueError(
            f"'intrinsics'{asked_for} has cameras {_listed(lenses)}; select one: "
            f"{{file: {given['file']}, camera: ...}}."
        )
    known = lenses[name].values
    rest = {key: value for key, value in values.items() if key != "intrinsics"}
    if "size" in rest and "size" in known and rest["size"] == known["size"]:
        del known["size"]
    if twice := [key for key in (*known, "fov_deg", "vfov_deg") if key in rest]:
        raise ValueError(f"it has {twice[0]} in addition to intrinsics, which already contains it. Remove one of them.")
    return {**known, **rest}


def _named(wanted: Any, lenses: Mapping[str, Any]) -> str | None:
    """The name of the wanted camera; YAML reads the name 01 as the number 1."""
    if wanted is None or str(wanted) in lenses:
        return None if wanted is None else str(wanted)
    same = [name for name in lenses if isinstance(wanted, int) and name.isdecimal() and int(name) == wanted]
    return same[0] if len(same) == 1 else None


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


def _value(content: Mapping[str, Any], keys: Sequence[str]) -> Any:
    """The first value that is not null under one of the keys, in any spelling; None without one."""
    plain = {plain_key(key): value for key, value in content.items()}
    return next((plain[key] for key in keys if plain.get(key) is not None), None)


def _distortions(content: Mapping[str, Any]) -> dict[str, Any]:
    """The values of a camera that are coefficients of its distortion, by their keys as written."""
    return {
        str(key): value for key, value in content.items() if value is not None and _DISTORTION.fullmatch(plain_key(key))
    }


def _is_other(content: Any) -> bool:
    """Whether a mapping is of ROS, Kalibr, EasyMocap ... rather than of a camera file."""
    if not isinstance(content, Mapping):
        return False
    if any(isinstance(v, Mapping) and {"intrinsics", "distortion_coeffs"} <= v.keys() for v in content.values()):
        return True
    if any(str(k).startswith("K_") for k in content) or isinstance(content.get("cameras"), list):
        return True
    names = {plain_key(key) for key in content}
    return bool(names & {*_MATRIX} - {"k"}) or ("k" in names and bool(names & {*_WIDTH, "d", "distcoef"}))


def _mapped(content: Any, program: str) -> dict[str, LensCalibration]:
    """The lenses in a mapping: of one camera, of several by name or in a list, or EasyMocap's K_1, dist_1 ..."""
    if isinstance(content, Mapping) and isinstance(content.get("cameras"), list):
        listed = [camera for camera in content["cameras"] if isinstance(camera, Mapping)]
        content = {str(camera.get("name", number)): camera for number, camera in enumerate(listed)}
    if not isinstance(content, Mapping):
        return {}
    if _value(content, _MATRIX) is not None:
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
        if isinstance(inner, Mapping) and _value(inner, _MATRIX) is not None:
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
    if model not in _STRAIGHT_MODELS or _value(content, _FISHEYE) in (True, 1):
        raise ValueError(
            f"its lens model is {printable(model)[:40] or 'fisheye'}, which is not read; expected OpenCV's pinhole "
            "model (plumb_bob, rational_polynomial). Undistort the video, and calibrate that."
        )
    K = _numbers(_value(content, _MATRIX), "the camera matrix")
    if len(K) != 9:
        raise ValueError(f"its camera matrix has {len(K)} numbers; expected 3 x 3.")
    bent = _distortions(content)
    if len(bent) > 1:
        raise ValueError(f"it has {' and '.join(map(printable, bent))}; expected one list of distortion coefficients.")
    if not bent and (more := [key for key in ("k4", "k5", "k6") if _value(content, (key,))]):
        raise ValueError(
            f"it has the coefficients {', '.join(more)} with keys of their own, which are not read: k1 to k4 may be "
            "those of a fisheye lens. Write one list of OpenCV's pinhole model: [k1, k2, p1, p2, k3, k4, k5, k6]."
        )
    separate = [value if (value := _value(content, (key,))) is not None else 0.0 for key in _SEPARATE]
    distortion = _numbers(next(iter(bent.values()), separate if any(separate) else []), "the distortion")
    while len(distortion) > 8 and distortion[-1] == 0:  # OpenCV's thin prisms and tilted sensors, unused
        distortion.pop()
    for length in (4, 5, 8):
        if len(distortion) < length:
            distortion += [0.0] * (length - len(distortion)) if distortion else []
            break
        if len(distortion) == length:
            break
    program = "ROS" if program == _UNKNOWN and "distortion_model" in content else program
    return LensCalibration(program, _size(content), [K[0:3], K[3:6], K[6:9]], distortion)


def _size(content: Mapping[str, Any]) -> tuple[float, float] | None:
    sides = _value(content, _SIZE)
    if sides is None:
        sides = [_value(content, keys) for keys in (_WIDTH, _HEIGHT)]
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
