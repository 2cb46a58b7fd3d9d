"""Estimates body parameters of a person in a video with SMPLest-X and writes a file for `hmr4d reference`.

Written by `hmr4d reference install-exporter` to main/export_parameters.py of a folder of SMPLest-X. It runs there
without
the package hmr4d and needs only the requirements of SMPLest-X and ffmpeg.

The file <name>_params.pt contains global_orient (T, 3), body_pose (T, 63), transl (T, 3), betas (T, 10), focal_length,
width and height (T, 1), focal_length_xy and princpt (T, 2), frame_index (T,) of the images at fps, and fps. Images
without the person have no row, which is visible in frame_index. All rows have the camera of the first image, see
`retarget_camera`, unless --keep_crop_cameras is given; `*_raw` contain the output of the network.
"""

from __future__ import annotations

import argparse
import importlib
import logging
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

logger = logging.getLogger("export_parameters")

LEAST_FOCAL = 1e-6
LEAST_OVERLAP = 0.1  # smallest intersection over union of consecutive boxes of a person
LONGEST_LOST = 2.0  # seconds; after a longer gap it may be another person
PARAMETERS = {  # name in the file: name in the network
    "global_orient": "smplx_root_pose",
    "body_pose": "smplx_body_pose",
    "transl": "cam_trans",
    "betas": "smplx_shape",
}


def retarget_camera(
    transl: np.ndarray, focal_xy: np.ndarray, princpt: np.ndarray, width: float, height: float
) -> tuple[np.ndarray, np.ndarray]:
    """Translations for one fixed camera, from translations for the cameras of crops.

    With fx, fy of at least LEAST_FOCAL, fx0 of the first row, and the principal point at the image center:
    z' = z fx0 / fx, x' = x + (cx - W / 2) z / fx, y' = y + (cy - H / 2) z / fy.

    Args:
        transl: (T, 3) metres.
        focal_xy, princpt: (T, 2) pixels, focal lengths and principal points of the crops.
        width, height: image size, pixels.

    Returns:
        (T, 3) metres, and (2,) the focal length in pixels.

    Raises:
        ValueError: the shapes do not match.
    """
    transl, focal_xy, princpt = (np.asarray(a, np.float64) for a in (transl, focal_xy, princpt))
    count = len(transl)
    if transl.shape != (count, 3) or focal_xy.shape != (count, 2) or princpt.shape != (count, 2) or not count:
        raise ValueError(
            f"transl {transl.shape}, focal_xy {focal_xy.shape} and princpt {princpt.shape}; expected (T, 3), (T, 2) "
            "and (T, 2), at least one row."
        )
    focal = np.maximum(focal_xy, LEAST_FOCAL)
    depth = transl[:, 2:]
    away = transl[:, :2] + (princpt - np.array([width, height]) / 2) * depth / focal
    return np.concatenate([away, depth * focal[0, 0] / focal[:, :1]], 1).astype(np.float32), focal[0]


def overlap(box: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """Intersection over union (N,) of a box (4,) with boxes (N, 4): left, top, right, bottom."""
    low, high = np.maximum(box[:2], boxes[:, :2]), np.minimum(box[2:], boxes[:, 2:])
    shared = np.prod(np.maximum(high - low, 0), 1)
    areas = np.prod(boxes[:, 2:] - boxes[:, :2], 1)
    return shared / np.maximum(np.prod(box[2:] - box[:2]) + areas - shared, 1e-9)


class Follower:
    """Tracks one person: the one with the given size rank in the first image with people, then the box with the largest
    overlap.

    Args:
        rank: rank by size; 0 is the largest.
        patience: largest number of images without the person.
    """

    def __init__(self, rank: int, patience: int) -> None:
        self.rank, self.patience = rank, patience
        self.last: np.ndarray | None = None
        self.lost = 0

    def choose(self, boxes: np.ndarray) -> np.ndarray | None:
        """The box (4,) of the person among the boxes (N, 4) of an image; None if the person is not visible."""
        found = None
        if self.last is None:
            order = np.argsort(-np.prod(boxes[:, 2:] - boxes[:, :2], 1)) if len(boxes) else []
            found = boxes[order[self.rank]] if len(order) > self.rank else None
        elif self.lost <= self.patience and len(boxes):
            shares = overlap(self.last, boxes)
            found = boxes[shares.argmax()] if shares.max() >= LEAST_OVERLAP else None
        if found is None:
            self.lost += self.last is not None
            return None
        self.last, self.lost = found, 0
        return found


def ffmpeg() -> str:
    """Path of ffmpeg; the environment variable FFMPEG overrides it."""
    program = os.environ.get("FFMPEG") or shutil.which("ffmpeg")
    if program is None:
        sys.exit("error: ffmpeg is not installed or not on the PATH. Install it, or set FFMPEG to its path.")
    return program


def extract(video: Path, folder: Path, fps: float | None) -> tuple[list[Path], float]:
    """Extracts the images of a video at a frame rate (None: that of the video) to a folder; returns the files and
    the rate."""
    output = subprocess.run([ffmpeg(), "-i", str(video)], capture_output=True, text=True, check=False).stderr
    rate = re.search(r"([\d.]+) fps", output)
    if fps is None:
        if rate is None:
            sys.exit(f"error: {video} has no frame rate. Give it with --fps.")
        fps = float(rate.group(1))
    filters = ["-vf", f"fps={fps:g}"]
    command = [ffmpeg(), "-v", "error", "-i", str(video), *filters, "-qscale:v", "2", str(folder / "%06d.jpg")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    pictures = sorted(folder.glob("*.jpg"))
    if done.returncode or not pictures:
        sys.exit(f"error: ffmpeg extracted no images of {video}: {done.stderr.strip() or 'unknown reason'}")
    return pictures, fps


class Network:
    """SMPLest-X and its detector, loaded as its own scripts load them."""

    def __init__(self, checkpoint: str, device: str | None) -> None:
        import torch

        def load(module: str, name: str) -> Any:
            return getattr(importlib.import_module(module), name)

        folder = Path("pretrained_models") / checkpoint
        self.config = load("main.config", "Config").load_config(str(folder / "config_base.py"))
        name = f"export_{checkpoint}"
        self.config.update_config(
            {
                "model": {"pretrained_model_path": str(folder / f"{checkpoint}.pth.tar")},
                "log": {"exp_name": name, "log_dir": str(Path("outputs") / name / "log")},
            }
        )
        self.config.prepare_log()
        self.human_model = load("human_models.human_models", "SMPLX")(self.config.model.human_model_path)
        self.tester = load("main.base", "Tester")(self.config)
        self.tester._make_model()
        detection = getattr(getattr(self.config, "inference", None), "detection", None)
        self.detector = load("ultralytics", "YOLO")(getattr(detection, "model_path", "./pretrained_models/yolov8x.pt"))
        self.least_confidence = getattr(detection, "conf", 0.5)
        self.device = device or ("cuda" if torch.cuda.is_available() else "cpu")

    def boxes(self, picture: np.ndarray) -> np.ndarray:
        """Boxes (N, 4) of people in an image: left, top, right, bottom."""
        found = self.detector.predict(
            picture, device=self.device, classes=0, conf=self.least_confidence, save=False, verbose=False
        )
        return found[0].boxes.xyxy.detach().cpu().numpy().reshape(-1, 4)

    def parameters(self, picture: np.ndarray, box: np.ndarray) -> dict[str, np.ndarray] | None:
        """Body and camera of the person in a box; None if the box lies outside the image."""
        import torch

        tools = importlib.import_module("utils.data_utils")
        model, (height, width) = self.config.model, picture.shape[:2]
        square = tools.process_bbox(
            bbox=np.array([*box[:2], *(box[2:] - box[:2])]),
            img_width=width,
            img_height=height,
            input_img_shape=model.input_img_shape,
            ratio=getattr(self.config.data, "bbox_ratio", 1.25),
        )
        if square is None:
            return None
        patch = tools.generate_patch_image(
            cvimg=picture, bbox=square, scale=1.0, rot=0.0, do_flip=False, out_shape=model.input_img_shape
        )[0]
        image = torch.from_numpy(np.ascontiguousarray(patch.transpose(2, 0, 1), np.float32))[None].to(self.device) / 255
        with torch.no_grad():
            out = self.tester.model({"img": image}, {}, {}, "test")
        values = {ours: out[theirs].detach().cpu().numpy()[0] for ours, theirs in PARAMETERS.items()}
        share = np.array([square[2] / model.input_body_shape[1], square[3] / model.input_body_shape[0]])
        values["focal_length_xy"] = np.array(model.focal) * share
        values["princpt"] = np.array(model.princpt) * share + np.array(square[:2])
        return values


def parameters_of(
    pictures: list[Path], network: Any, follower: Follower
) -> tuple[dict[str, np.ndarray], tuple[int, int]]:
    """Rows of all images with the person, and width and height."""
    load_img = importlib.import_module("utils.data_utils").load_img
    rows: dict[str, list[Any]] = {}
    size = (0, 0)
    for number, path in enumerate(pictures):
        picture = load_img(str(path))
        size = (picture.shape[1], picture.shape[0])
        box = follower.choose(network.boxes(picture))
        values = None if box is None else network.parameters(picture, box)
        if values is not None:
            for name, value in {**values, "frame_index": number, "box": box}.items():
                rows.setdefault(name, []).append(value)
        if number % 50 == 0:
            logger.info("Image %d of %d.", number + 1, len(pictures))
    return {name: np.stack(values) for name, values in rows.items()}, size


def content_of(rows: dict[str, np.ndarray], size: tuple[int, int], fps: float, *, retarget: bool) -> dict[str, Any]:
    """The content of the file: name -> tensor, see the docstring of this module."""
    import torch

    count = len(rows["frame_index"])
    content: dict[str, np.ndarray] = {
        name: np.asarray(rows[name], np.float32) for name in (*PARAMETERS, "focal_length_xy", "princpt", "box")
    }
    content["focal_length"] = content["focal_length_xy"][:, :1]
    if retarget:
        raw = {f"{name}_raw": content[name] for name in ("transl", "focal_length", "focal_length_xy", "princpt")}
        transl, focal = retarget_camera(rows["transl"], rows["focal_length_xy"], rows["princpt"], *size)
        fixed = {
            "transl": transl,
            "focal_length": np.full((count, 1), focal[0]),
            "focal_length_xy": np.tile(focal, (count, 1)),
            "princpt": np.tile(np.array(size) / 2, (count, 1)),
        }
        content.update({**raw, **{name: np.asarray(value, np.float32) for name, value in fixed.items()}})
        content["retargeted_cam"] = np.ones(1, np.uint8)
    content["width"], content["height"] = (np.full((count, 1), float(pixels), np.float32) for pixels in size)
    content["frame_index"] = np.asarray(rows["frame_index"], np.int64)
    tensors = {name: torch.from_numpy(np.ascontiguousarray(value)) for name, value in content.items()}
    return {**tensors, "fps": torch.tensor([fps], dtype=torch.float32)}


def save(content: dict[str, Any], path: Path) -> None:
    """Writes the file atomically."""
    import torch

    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        torch.save(content, temporary)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def main() -> None:
    """Entry point; exit status 1 if no person is found."""
    known = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    known.add_argument("--ckpt_name", default="smplest_x_h", help="folder in pretrained_models")
    known.add_argument("--video", type=Path, required=True)
    known.add_argument("--fps", type=float, help="images per second (default: those of the video)")
    known.add_argument("--out", type=Path, help="file to write (default: <video>_params.pt next to the video)")
    known.add_argument("--person", type=int, default=0, help="rank by size in the first image with people (default: 0)")
    known.add_argument("--keep_crop_cameras", action="store_true", help="keep the camera of each crop")
    known.add_argument("--device", help="cuda or cpu (default: cuda if available)")
    args = known.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    if not args.video.is_file():
        sys.exit(f"error: video not found: {args.video}")
    with tempfile.TemporaryDirectory(prefix="export_parameters_") as folder:  # so that runs do not share images
        pictures, fps = extract(args.video, Path(folder), args.fps)
        follower = Follower(args.person, round(LONGEST_LOST * fps))
        rows, size = parameters_of(pictures, Network(args.ckpt_name, args.device), follower)
    if not rows:
        sys.exit(
            f"error: {args.video} shows no person, or none of rank {args.person}. Nothing was written. Try "
            "another --person."
        )
    path = args.out or args.video.with_name(f"{args.video.stem}_params.pt")
    save(content_of(rows, size, fps, retarget=not args.keep_crop_cameras), path)
    logger.info("%s: the person is in %d of %d images, %g per second.", path, len(rows["box"]), len(pictures), fps)


if __name__ == "__main__":
    main()
