"""From real videos to 3D with one camera, beside the triangulation of all four cameras that saw the same.

The package pose2sim (BSD-3) carries videos of calibrated, synchronized cameras. Get and unpack it, and name a trial:

pip download pose2sim==0.10.49 --no-deps && python -m zipfile -e pose2sim-*.whl pose2sim
python benchmarks/lift_videos.py pose2sim/Pose2Sim/Demo_SinglePerson --method ground_ray optimization model

For each camera people are detected, those whom all cameras see are lifted through each camera alone, and the joints are
compared with those that the detections of all cameras give together. What is wrong in all cameras alike, such as where
the detector takes a hip to be, is not seen by this.
"""

from __future__ import annotations

import argparse
import itertools
import json
import logging
import math
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import torch
import yaml
from torch import Tensor

from hmr4d.body.skeleton import MEDIAPIPE33
from hmr4d.camera.camera_files import CameraFile, read_camera, undistorted
from hmr4d.detection.networks import MODELS
from hmr4d.detection.people_in_video import detect_people
from hmr4d.geometry.cameras import remove_intrinsics
from hmr4d.geometry.rigs import intrinsics
from hmr4d.geometry.triangulation import triangulate_robust
from hmr4d.keypoint_files.reading import KeypointTrack
from hmr4d.keypoint_files.smpl_joints import observed_joints
from hmr4d.lifting.lifter import load_lifter
from hmr4d.lifting.person import lift_track
from hmr4d.lifting.request import LiftRequest
from hmr4d.methods.defaults import LIFTING_MODEL
from hmr4d.metrics.pose_errors import abs_mpjpe, mpjpe, pa_mpjpe
from hmr4d.utils.places import outputs_folder

_PIXEL = 64.0  # units of the calibration file in a pixel
_FARTHEST = 45.0  # pixels in the median by which rays of one person may pass each other
_KEPT = ("kp2d", "kp2d_conf", "frame_ids", "depth")  # of a track, in the file of what was found
_LIMBS = tuple(
    f"{side}_{part}" for part in ("shoulder", "elbow", "wrist", "hip", "knee", "ankle") for side in ("left", "right")
)


@dataclass(frozen=True)
class View:
    """One camera: what it is, and the person it saw."""

    name: str
    camera: CameraFile
    track: KeypointTrack


def read_qca(path: Path, folder: Path) -> dict[str, Path]:
    """Camera files of a Qualisys calibration, floor z = 0, millimetres: name -> file in `folder`."""
    files: dict[str, Path] = {}
    for node in ElementTree.parse(path).getroot().iter("camera"):
        lens, pose, view = node.find("intrinsic"), node.find("transform"), node.find("fov_video")
        assert lens is not None and pose is not None and view is not None
        axes = np.array([[float(pose.get(f"r{i}{j}", "nan")) for j in (1, 2, 3)] for i in (1, 2, 3)])
        R = np.diag([1.0, -1.0, -1.0]) @ axes  # the file's cameras look along their own -z, with y up
        place = np.array([float(pose.get(axis, "nan")) for axis in "xyz"]) / 1000
        number = {key: float(value) for key, value in lens.items()}
        camera = {
            "size": [int(view.get("right", "0")) + 1, int(view.get("bottom", "0")) + 1],
            "K": {
                "fx": number["focalLengthU"] / _PIXEL,
                "fy": number["focalLengthV"] / _PIXEL,
                "cx": number["centerPointU"] / _PIXEL,
                "cy": number["centerPointV"] / _PIXEL,
            },
            "distortion": [
                number["radialDistortion1"],
                number["radialDistortion2"],
                number["tangentalDistortion1"],
                number["tangentalDistortion2"],
                number["radialDistortion3"],
            ],
            "extrinsic": {"R": R.tolist(), "t": (-R @ place).tolist()},
            "ground": {"normal": [0.0, 0.0, 1.0], "d": 0.0},
        }
        name = str(node.get("serial"))
        files[name] = folder / f"{name}.yaml"
        files[name].write_text(yaml.safe_dump(camera), encoding="utf-8")
    return files


def find_people(video: Path, kept: Path, model: str) -> list[KeypointTrack]:
    """Everybody in a video for half of it or more; what was found is kept in a file, from which it is read again."""
    if not kept.is_file():
        found = detect_people(video, model=model)
        parts: dict[str, Any] = {"fps": found.fps, "pictures": len(found.times)}
        for track in found.tracks:
            for name in _KEPT:
                parts[f"{track.person}/{name}"] = getattr(track, name)
        np.savez_compressed(kept, **parts)
    with np.load(kept) as file:
        fps, pictures = float(file["fps"]), int(file["pictures"])
        people = sorted({name.split("/")[0] for name in file.files if "/" in name}, key=int)
        tracks = [{name: file[f"{person}/{name}"] for name in _KEPT} for person in people]
    made = [
        KeypointTrack(skeleton=MEDIAPIPE33, fps=fps, person=person, **track)
        for person, track in zip(people, tracks, strict=True)
    ]
    return [track for track in made if track.num_seen >= pictures / 2]


def read_people(trial: Path, kept: Path, model: str) -> list[list[View]]:
    """Everybody whom all cameras of a trial see, with their views, who is seen most alike first.

    Of all ways to choose one track of each camera, those count whose rays meet.
    """
    with tempfile.TemporaryDirectory() as folder:
        files = read_qca(next((trial / "calibration").glob("*.qca.txt")), Path(folder))
        cameras = {name: read_camera(path) for name, path in files.items()}
    seen: list[list[View]] = []
    for name, camera in sorted(cameras.items()):
        tracks = find_people(trial / "videos" / f"{name}.mp4", kept / f"{trial.name}_{name}_{model}.npz", model)
        seen.append([View(name, camera, undistorted(track, camera)) for track in tracks])
    ways = [list(way) for way in itertools.product(*seen)]
    order = sorted(((triangulated(way)[2], number) for number, way in enumerate(ways)), key=lambda pair: pair[0])
    people: list[list[View]] = []
    for off, number in order:
        is_new = not any(a is b for known in people for a, b in zip(known, ways[number], strict=True))
        if off < _FARTHEST and is_new:
            people.append(ways[number])
    return people


def triangulated(views: Sequence[View]) -> tuple[Tensor, Tensor, float]:
    """Joints (L, 33, 3) in the frame of the calibration, where they are seen by three cameras (L, 33), pixels off."""
    length = min(int(view.track.frame_ids[-1]) + 1 for view in views)
    points, weights, poses = [], [], []
    for view in views:
        kp2d, conf = torch.zeros(length, 33, 2, dtype=torch.float64), torch.zeros(length, 33, dtype=torch.float64)
        ids = view.track.frame_ids[view.track.frame_ids < length]
        kp2d[ids] = torch.from_numpy(view.track.kp2d[: len(ids)]).double()
        conf[ids] = torch.from_numpy(view.track.kp2d_conf[: len(ids)]).double()
        assert view.camera.T_cal2world is not None
        points.append(remove_intrinsics(kp2d, intrinsics(view.camera.K4)))
        weights.append(conf**2)
        poses.append(view.camera.T_w2c @ view.camera.T_cal2world)
    scale = torch.full((length, len(views), 1), 0.35, dtype=torch.float64)
    found = triangulate_robust(
        torch.stack(points, 1), torch.stack(poses).expand(length, -1, -1, -1), torch.stack(weights, 1), scale=scale
    )
    seen = (torch.stack(weights, 1) > 0.09).sum(1) >= 3
    focal = float(np.mean([float(view.camera.K4[0]) for view in views]))
    ok = found.ok & seen
    residual = torch.where(ok, found.residual, torch.inf)  # rays that do not meet are no better than those that miss
    return found.points, ok, float(residual.median()) * focal


def score(view: View, target: Tensor, seen: Tensor, options: LiftRequest) -> dict[str, float]:
    """Errors in millimeters of one camera against joints (L, 33, 3) of the calibration's frame."""
    lifter = load_lifter(options.method, options.model, device="cpu", keypoints=view.track.skeleton)
    lifted = lift_track(view.track, view.camera, lifter, options).motion
    transform = view.camera.T_cal2world
    assert transform is not None
    world = target @ transform[:3, :3].T + transform[:3, 3]
    joints, conf = observed_joints(world, seen.double(), MEDIAPIPE33, lifter.skeleton)
    first = int(view.track.frame_ids[0])
    length = min(lifted.num_frames, len(joints) - first)
    columns = list(lifter.skeleton.indices(*_LIMBS))
    made = lifted.joints3d[:length, columns].double()
    truth, known = joints[first : first + length, columns], conf[first : first + length, columns] > 0
    whole = known.all(-1)
    made, truth = made[whole], truth[whole]
    hips = [_LIMBS.index("left_hip"), _LIMBS.index("right_hip")]
    return {
        "frames": int(whole.sum()),
        "Abs-MPJPE": float(abs_mpjpe(made, truth).mean()),
        "MPJPE": float(mpjpe(made, truth, hips).mean()),
        "PA-MPJPE": float(pa_mpjpe(made, truth).mean()),
    }


def main(argv: Sequence[str] | None = None) -> int:
    """Prints a table; the exit status."""
    known = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    known.add_argument("trial", type=Path, help="folder with calibration/ and videos/")
    known.add_argument("--method", nargs="+", default=["model"], help="as of hmr4d lift")
    known.add_argument("--model", nargs="+", default=[], help="released models for the method 'model'")
    known.add_argument("--detector", choices=MODELS, default=MODELS[0])
    known.add_argument("--keypoints", type=Path, default=outputs_folder() / "lift_videos", help="where they are kept")
    known.add_argument("--json", type=Path, help="file to write")
    args = known.parse_args(argv)
    logging.basicConfig(level=logging.WARNING)
    args.keypoints.mkdir(parents=True, exist_ok=True)
    people = read_people(args.trial, args.keypoints, args.detector)
    print("| person | method | camera | frames | Abs-MPJPE | MPJPE | PA-MPJPE |\n|---|---|---|---|---|---|---|")
    rows: list[dict[str, Any]] = []
    chosen = [(m, None) for m in args.method if m != "model"]
    if "model" in args.method:
        chosen += [("model", name) for name in args.model or [None]]
    told: list[str] = []
    for person, views in enumerate(people):
        target, seen, off = triangulated(views)
        feet = MEDIAPIPE33.indices("left_heel", "right_heel", "left_foot_index", "right_foot_index")
        lowest = target[:, list(feet), 2][seen[:, list(feet)]].quantile(0.05)
        told.append(f"person {person}: cameras agree to {off:.1f} pixels, feet at {1000 * float(lowest):.0f} mm")
        for method, model in chosen:
            options = LiftRequest(args.trial, method=method, model=model or LIFTING_MODEL)
            for view in views:
                errors = score(view, target, seen, options)
                name = method if method != "model" else str(options.model)
                rows.append({"person": person, "method": name, "camera": view.name, **errors})
                numbers = " | ".join("-" if math.isnan(v) else f"{v:.0f}" for v in errors.values())
                print(f"| {person} | {name} | {view.name} | {numbers} |", flush=True)
    print(f"{args.trial.name}, {args.detector}; {'; '.join(told)}")
    if args.json:
        args.json.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
