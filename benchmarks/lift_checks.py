"""How often lifting doubts good input, and which mistakes it finds, on made-up views of real motion.

python benchmarks/lift_checks.py --store inputs/bandai_namco --good 200 --each 30 --json outputs/lift_checks.json
"""

from __future__ import annotations

import argparse
import json
import logging
import math
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hmr4d.body.joint_conversion import convert_joints
from hmr4d.body.skeleton import COCO17, H36M17, OPENPOSE18, SMPL22, Skeleton, get_skeleton
from hmr4d.camera.camera_files import CameraFile, check_keypoints_fit
from hmr4d.camera.rig_samplers import CameraRanges
from hmr4d.data.store import MotionStore
from hmr4d.geometry.rigs import camera_pose, project
from hmr4d.keypoint_files.reading import KeypointTrack
from hmr4d.lifting.lifter import MODEL, load_lifter, usable_untrained
from hmr4d.lifting.person import lift_track
from hmr4d.lifting.request import LiftRequest
from hmr4d.methods.base import Pipeline
from hmr4d.methods.defaults import LIFTING_MODEL
from hmr4d.utils.randomness import ItemRandom

FPS, FRAMES = 20.0, 120
SETS = ("smpl22", "coco17", "halpe26", "openpose25", "openpose18")
NOISE = (0.0, 2.0, 5.0, 8.0)  # pixels of a picture whose shorter side has 1080


@dataclass(frozen=True)
class Scene:
    """Somebody in front of a camera: joints (L, 22, 3), the camera, and what draws the errors."""

    joints3d: Tensor
    camera: CameraFile
    rng: np.random.Generator
    number: int

    @property
    def noise(self) -> float:
        return NOISE[self.number % len(NOISE)] * min(self.camera.size) / 1080

    @property
    def skeleton(self) -> Skeleton:
        return get_skeleton(SETS[self.number // len(NOISE) % len(SETS)])

    def track(self, joints3d: Tensor | None = None, skeleton: Skeleton | None = None, yaw: Tensor | None = None) -> Any:
        """What a detector says, with errors; `yaw` (L,) radians by which the camera has turned."""
        skeleton = skeleton or self.skeleton
        points = detected(self.joints3d if joints3d is None else joints3d, skeleton)
        if yaw is not None:
            cos, sin, zero, one = yaw.cos(), yaw.sin(), torch.zeros_like(yaw), torch.ones_like(yaw)
            turn = torch.stack([cos, zero, sin, zero, one, zero, -sin, zero, cos], -1).unflatten(-1, (3, 3))
            points = points @ turn.mT
        pixels, depth = (x[0].numpy() for x in project(self.camera.rig, points))
        pixels = pixels + self.noise * self.rng.standard_normal(pixels.shape)
        inside = ((pixels >= 0) & (pixels <= np.array(self.camera.size) - 1)).all(-1) & (depth > 0.1)
        conf = (inside * self.rng.uniform(0.5, 1.0, inside.shape)).astype(np.float32)
        kp2d = np.where(inside[..., None], pixels, 0).astype(np.float32)
        return KeypointTrack(kp2d, conf, skeleton, np.arange(len(kp2d)), FPS, "0")


def detected(joints3d: Tensor, skeleton: Skeleton) -> Tensor:
    """Joints (L, K, 3) of a detector's set; toes lie at the foot joint, heels under the ankle."""
    if skeleton.name == SMPL22.name:
        return joints3d
    places = {}
    for known in (OPENPOSE18, COCO17):
        places |= dict(zip(known.joint_names, convert_joints(joints3d, SMPL22, known).unbind(1), strict=True))
    places["pelvis"] = (places["left_hip"] + places["right_hip"]) / 2
    places["head"] = joints3d[:, SMPL22.index("head")] + joints3d.new_tensor([0.0, 0.12, 0.0])
    for side in ("left", "right"):
        ankle, foot = SMPL22.indices(f"{side}_ankle", f"{side}_foot")
        places[f"{side}_big_toe"] = places[f"{side}_small_toe"] = joints3d[:, foot]
        places[f"{side}_heel"] = joints3d[:, ankle] - joints3d.new_tensor([0.0, 0.06, 0.0])
    return torch.stack([places[name] for name in skeleton.joint_names], 1)


def scene(store: MotionStore, number: int, seed: int) -> Scene:
    """A clip of the test split before a random camera."""
    rng = np.random.default_rng([seed, number])
    clips = store.indices("test")
    joints3d = torch.from_numpy(np.array(store.joints3d(int(clips[rng.integers(len(clips))])))).double()
    start = int(rng.integers(0, max(len(joints3d) - FRAMES, 0) + 1))
    joints3d = joints3d[start : start + FRAMES] * float(rng.uniform(0.88, 1.12))
    cameras, zero = CameraRanges().draw(1, ItemRandom.from_seed(seed * 100_003 + number)), torch.zeros(1).double()
    center = torch.stack([zero, cameras.height.double(), zero], -1)
    T_w2c = camera_pose(cameras.pitch.double(), cameras.roll.double(), zero, center)[0]
    width, height = cameras.size[0].tolist()
    camera = CameraFile((int(width), int(height)), cameras.K4[0].double(), torch.zeros(0).double(), T_w2c)
    angle = float(rng.uniform(0, 2 * np.pi))
    turn = torch.tensor([[math.cos(angle), 0, math.sin(angle)], [0, 1, 0], [-math.sin(angle), 0, math.cos(angle)]])
    joints3d = joints3d @ turn.double().mT
    middle = joints3d[:, 0].mean(0) * joints3d.new_tensor([1.0, 0.0, 1.0])
    away = max(float(cameras.distance[0]), float((joints3d[:, 0, 2] - middle[2]).max()) + 2.0)
    place = joints3d.new_tensor([float(rng.uniform(-0.1, 0.1)) * away, 0.0, -away])
    return Scene(joints3d - middle + place, camera, rng, number)


Mistake = Callable[[Scene], tuple[KeypointTrack, CameraFile]]


def good(made: Scene) -> tuple[KeypointTrack, CameraFile]:
    return made.track(), made.camera


def wrong_order(other: Skeleton, told: Skeleton) -> Mistake:
    """Keypoints of one set that are told to be of another."""

    def make(made: Scene) -> tuple[KeypointTrack, CameraFile]:
        if other.name == H36M17.name:
            points = convert_joints(made.joints3d, SMPL22, H36M17)
            pixels = project(made.camera.rig, points)[0][0].numpy()
            pixels = pixels + made.noise * made.rng.standard_normal(pixels.shape)
            track = made.track(skeleton=COCO17)
            track = replace(track, kp2d=pixels.astype(np.float32), kp2d_conf=np.ones_like(track.kp2d_conf))
            return track, made.camera
        track, count = made.track(skeleton=other), told.num_joints
        track = replace(track, kp2d=track.kp2d[:, :count], kp2d_conf=track.kp2d_conf[:, :count], skeleton=told)
        return track, made.camera

    return make


def mixed_people(made: Scene) -> tuple[KeypointTrack, CameraFile]:
    """Every 1.5 s the id is somebody else's, a meter aside, who does the same backwards."""
    other = made.joints3d.flip(0) + made.joints3d.new_tensor([1.0, 0.0, 0.0])
    is_other = torch.arange(len(other)) // int(1.5 * FPS) % 2 == 1
    return made.track(torch.where(is_other[:, None, None], other, made.joints3d)), made.camera


def pitched(degrees: float) -> Mistake:
    """The camera file's pitch is off."""

    def make(made: Scene) -> tuple[KeypointTrack, CameraFile]:
        pitch, roll, yaw = (torch.tensor(a, dtype=torch.float64) for a in made.camera.angles)
        off = math.radians(degrees) * (-1) ** made.number
        T_w2c = camera_pose(pitch + off, roll, yaw, made.camera.rig.centers[0])
        return made.track(), replace(made.camera, T_w2c=T_w2c)

    return make


def refocused(made: Scene) -> tuple[KeypointTrack, CameraFile]:
    """The camera file's focal length is 30 % too long or too short."""
    K4 = made.camera.K4.clone()
    K4[:2] *= 1.3 ** (-1) ** made.number
    return made.track(), replace(made.camera, K4=K4)


def resized(share: float, *, width_only: bool = False) -> Mistake:
    """The camera file is for pictures of another size, or narrower ones of the same height."""

    def make(made: Scene) -> tuple[KeypointTrack, CameraFile]:
        width, height = made.camera.size
        K4 = made.camera.K4.clone()
        if width_only:
            K4[2] *= share
            return made.track(), replace(made.camera, size=(round(width * share), height), K4=K4)
        return made.track(), replace(made.camera, size=(round(width * share), round(height * share)), K4=K4 * share)

    return make


def panned(degrees: float) -> Mistake:
    """The camera turns by so many degrees a second."""

    def make(made: Scene) -> tuple[KeypointTrack, CameraFile]:
        time = torch.arange(len(made.joints3d)).double() / FPS
        time = time - time.mean()
        return made.track(yaw=math.radians(degrees) * (-1) ** made.number * time), made.camera

    return make


def exchanged_sides(made: Scene) -> tuple[KeypointTrack, CameraFile]:
    """Left and right are exchanged in every frame, as by a wrong order or a mirrored picture."""
    track = made.track()
    order = list(track.skeleton.mirror_order)
    return replace(track, kp2d=track.kp2d[:, order], kp2d_conf=track.kp2d_conf[:, order]), made.camera


def trembling(made: Scene) -> tuple[KeypointTrack, CameraFile]:
    """The distance trembles: every frame's keypoints are 8 % larger or smaller, about their middle."""
    track = made.track()
    seen = track.kp2d_conf > 0
    middle = (track.kp2d * seen[..., None]).sum(1) / seen.sum(1, keepdims=True).clip(min=1)
    scale = 1 + 0.08 * made.rng.standard_normal(len(middle))
    kp2d = middle[:, None] + scale[:, None, None] * (track.kp2d - middle[:, None])
    return replace(track, kp2d=np.where(seen[..., None], kp2d, 0).astype(np.float32)), made.camera


MISTAKES: dict[str, Mistake] = {
    "Human3.6M joints as COCO": wrong_order(H36M17, COCO17),
    "OpenPose joints as COCO": wrong_order(OPENPOSE18, COCO17),
    "left and right exchanged": exchanged_sides,
    "two people under one id": mixed_people,
    "pitch off by 2 degrees": pitched(2),
    "pitch off by 5 degrees": pitched(5),
    "pitch off by 10 degrees": pitched(10),
    "focal length off by 30 %": refocused,
    "camera file of 4:3 for 16:9": resized(0.75, width_only=True),
    "camera file of twice the size": resized(2.0),
    "camera file of half the size": resized(0.5),
    "camera pans 3 degrees a second": panned(3),
    "camera pans 6 degrees a second": panned(6),
    "distance trembles": trembling,
}


def judged(made: Scene, mistake: Mistake, lifter: Pipeline, request: LiftRequest) -> dict[str, Any] | None:
    """Values of the checks and the names of those that are not fine; None where too little of the person is seen."""
    track, camera = mistake(made)
    if (track.kp2d_conf > 0).mean() < 0.5:
        return None
    try:
        check_keypoints_fit(track, camera)
        lifted = lift_track(track, camera, lifter, request)
    except ValueError as error:
        return {"values": {}, "doubts": ["refused"], "error": str(error)}
    off = float(np.linalg.norm(lifted.root - made.joints3d[:, 0].numpy(), axis=-1).mean()) if len(lifted.root) else 0.0
    values = {check.name: check.value for check in lifted.checks}
    return {
        "values": values,
        "doubts": [check.name for check in lifted.checks if not check.is_fine],
        "root_error": off,
        "noise": made.noise,
        "set": made.skeleton.name,
    }


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--store", type=Path, default=Path("inputs/bandai_namco"), help="motion (inputs/bandai_namco)")
    parser.add_argument("--good", type=int, default=200, help="good inputs (200)")
    parser.add_argument("--each", type=int, default=30, help="inputs with each mistake (30)")
    parser.add_argument("--mistakes", nargs="*", choices=MISTAKES, default=list(MISTAKES), help="which; default: all")
    parser.add_argument("--seed", type=int, default=0, help="of the views (0)")
    parser.add_argument("--method", default=MODEL, choices=[MODEL, *usable_untrained()])
    parser.add_argument("--model", default=LIFTING_MODEL)
    parser.add_argument("--json", type=Path, help="where to write every value")
    args = parser.parse_args(argv)
    request = LiftRequest(args.store, method=args.method, model=args.model, seed=args.seed)
    logging.getLogger("hmr4d").setLevel(logging.ERROR)
    torch.set_num_threads(1)
    store = MotionStore.open(args.store)

    @cache
    def load(skeleton: Skeleton) -> Pipeline:
        return load_lifter(args.method, args.model, device="cpu", keypoints=skeleton)

    found: dict[str, list[dict[str, Any]]] = {}
    for name, mistake, count in [("none", good, args.good), *((n, MISTAKES[n], args.each) for n in args.mistakes)]:
        rows = []
        for number in range(count):
            made = scene(store, number, args.seed)
            row = judged(made, mistake, load(made.skeleton), request)
            rows += [] if row is None else [row]
        found[name] = rows
        which = sorted({d for row in rows for d in row["doubts"]})
        share = np.mean([bool(row["doubts"]) for row in rows])
        each = ", ".join(f"{d} {np.mean([d in row['doubts'] for row in rows]):.0%}" for d in which)
        sys.stdout.write(f"{name:32s} {share:6.1%} of {len(rows)} doubted  ({each})\n")
        sys.stdout.flush()
        if args.json:
            args.json.parent.mkdir(parents=True, exist_ok=True)
            args.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
