"""Files in the layouts of the systems that recover people from video, made of a body whose motion is known."""

from __future__ import annotations

import collections
import pickle
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import torch
from torch import Tensor

from hmr4d.body.pose import Pose
from hmr4d.reference_motion.rest_joints import derived_rest_joints
from hmr4d.utils import lazy_roma as roma

SIZE, FOCAL = (640, 480), 900.0


class Person:
    """Somebody upright before a level camera (x right, y down, z forward), who turns and moves every joint.

    Attributes:
        rotations: (F, 24, 3, 3) float64, the root's in the camera.
        pelvis: (F, 3) in the camera, meters.
        R_w, t_w: a world with y up, along gravity, in which the camera moves.
    """

    def __init__(self, num_frames: int = 20, *, side: float = 0.0) -> None:
        time = torch.arange(num_frames, dtype=torch.float64)[:, None, None] / 30
        phase = torch.arange(24)[None, :, None] + torch.tensor([0.0, 1.0, 2.0]) + side
        self.rotations = roma.rotvec_to_rotmat(0.2 * (4 * time + phase).sin())
        upright = torch.diag(torch.tensor([1.0, -1.0, -1.0], dtype=torch.float64))
        self.rotations[:, 0] = upright @ self.rotations[:, 0]
        t = time[:, 0]
        self.pelvis = torch.cat([side + 0.5 * t, 0.1 + 0.02 * (6 * t).sin(), 4 + 0.2 * t], -1)
        turn = roma.rotvec_to_rotmat(torch.cat([0 * t, 0.3 + 0.1 * t, 0 * t], -1))
        self.R_w = turn @ upright
        self.t_w = torch.cat([0.1 * t, 1.5 + 0 * t, -0.2 * t], -1)

    @property
    def num_frames(self) -> int:
        return len(self.pelvis)

    def joints(self, family: str = "smplx", *, world: bool = False) -> Tensor:
        """(F, 22, 3) meters, y up: in the axes of the camera, or in the world."""
        rest = derived_rest_joints(family).double()
        joints = Pose(family, self.rotations[:, :22], self.pelvis - rest[0], rest).joints()
        if world:
            return joints @ self.R_w.mT + self.t_w[:, None]
        return joints * torch.tensor([1.0, -1.0, -1.0])

    def root(self, *, world: bool = False) -> Tensor:
        return self.R_w @ self.rotations[:, 0] if world else self.rotations[:, 0]

    def transl(self, family: str, *, world: bool = False) -> Tensor:
        pelvis = (self.R_w @ self.pelvis[..., None])[..., 0] + self.t_w if world else self.pelvis
        return pelvis - derived_rest_joints(family)[0]

    def vectors(self, num_joints: int, *, world: bool = False) -> Tensor:
        """(F, 3 J) axis-angle, the root first."""
        rotations = torch.cat([self.root(world=world)[:, None], self.rotations[:, 1:num_joints]], 1)
        return roma.rotmat_to_rotvec(rotations).flatten(1)


def parameters(
    person: Person, family: str = "smplx", num_joints: int = 22, *, world: bool = False
) -> dict[str, Tensor]:
    vectors = person.vectors(num_joints, world=world)
    return {
        "global_orient": vectors[:, :3].float(),
        "body_pose": vectors[:, 3:].float(),
        "transl": person.transl(family, world=world).float(),
    }


def smplestx(folder: Path, person: Person, **changes: Any) -> Path:
    full = {
        name: torch.full((person.num_frames, 1), value)
        for name, value in (("focal_length", FOCAL), ("width", float(SIZE[0])), ("height", float(SIZE[1])))
    }
    content = {**parameters(person), **full, **changes}
    torch.save({k: v for k, v in content.items() if v is not None}, folder / "clip_params.pt")
    return folder / "clip_params.pt"


def gvhmr(folder: Path, person: Person) -> Path:
    K = torch.tensor([[FOCAL, 0, SIZE[0] / 2], [0, FOCAL, SIZE[1] / 2], [0, 0, 1]])
    betas = torch.zeros(person.num_frames, 10)
    content = {
        "smpl_params_global": {**parameters(person, world=True), "betas": betas},
        "smpl_params_incam": {**parameters(person), "betas": betas},
        "K_fullimg": K.expand(person.num_frames, 3, 3).clone(),
        "net_outputs": {"big": [torch.zeros(2)]},
    }
    torch.save(content, folder / "hmr4d_results.pt")
    return folder / "hmr4d_results.pt"


def wham(folder: Path, people: dict[int, Person], frames: dict[int, np.ndarray] | None = None) -> Path:
    results: dict[int, dict[str, Any]] = collections.defaultdict(dict)
    for name, person in people.items():
        results[name] = {
            "pose": person.vectors(24).float().numpy(),
            "trans": person.transl("smpl").float().numpy(),
            "pose_world": person.vectors(24, world=True).float().numpy(),
            "trans_world": person.transl("smpl", world=True).float().numpy(),
            "betas": np.zeros((person.num_frames, 10), np.float32),
            "verts": np.zeros((person.num_frames, 5, 3), np.float32),
            "frame_ids": (frames or {}).get(name, np.arange(person.num_frames)),
        }
    joblib.dump(results, folder / "wham_output.pkl")
    return folder / "wham_output.pkl"


def phalp(folder: Path, people: dict[int, Person], *, lost: tuple[int, ...] = ()) -> Path:
    """Everybody in every frame; in `lost` frames the tracker only guesses person 1."""
    tree: dict[str, dict[str, Any]] = {}
    for number in range(max(person.num_frames for person in people.values())):
        frame: dict[str, Any] = {"time": number, "shot": 0, "tracked_ids": [], "frame_path": "x.jpg"}
        frame |= {key: [] for key in ("tid", "tracked_time", "smpl", "camera", "size", "bbox", "conf")}
        for name, person in people.items():
            if number >= person.num_frames:
                continue
            guessed = name == 1 and number in lost
            rotations = person.rotations[number].float().numpy()
            transl = person.transl("smpl")[number].float().numpy() + (5.0 if guessed else 0.0)
            smpl = {"global_orient": rotations[None, 0], "body_pose": rotations[1:], "betas": np.zeros(10, np.float32)}
            values = (name, int(guessed), smpl, transl, [SIZE[1], SIZE[0]], np.zeros(4), 0.9)
            for key, value in zip(
                ("tid", "tracked_time", "smpl", "camera", "size", "bbox", "conf"), values, strict=True
            ):
                frame[key].append(value)
        tree[f"frames/{number + 1:06d}.jpg"] = frame
    joblib.dump(tree, folder / "demo.pkl", compress=3)
    return folder / "demo.pkl"


def tram(folder: Path, person: Person, *, with_camera: bool = True, track: int = 0) -> Path:
    (folder / "hps").mkdir(exist_ok=True)
    path = folder / "hps" / f"hps_track_{track}.npy"
    content: Any = {
        "pred_rotmat": person.rotations.float(),
        "pred_trans": person.transl("smpl").float()[:, None],
        "pred_shape": torch.zeros(person.num_frames, 10),
        "frame": torch.arange(person.num_frames),
        "pred_cam": torch.zeros(person.num_frames, 3),
    }
    np.save(path, content, allow_pickle=True)
    if with_camera:
        flip = torch.diag(torch.tensor([1.0, -1.0, -1.0])).double()  # its world has the axes of the first camera
        camera: Any = {
            "pred_cam_R": (flip @ person.R_w).float().numpy(),
            "pred_cam_T": (person.t_w @ flip).float().numpy(),
            "img_focal": np.float64(FOCAL),
            "img_center": np.array(SIZE) / 2,
        }
        np.save(folder / "camera.npy", camera, allow_pickle=True)
    return path


def prompthmr(folder: Path, people: dict[int, Person]) -> Path:
    def whole(person: Person, world: bool) -> np.ndarray:
        return np.pad(person.vectors(22, world=world).float().numpy(), ((0, 0), (0, 99)))

    tree = {
        "camera_world": {"img_focal": FOCAL, "img_center": np.array(SIZE) / 2, "Rwc": np.zeros((2, 3, 3))},
        "people": {
            name: {
                "frames": np.arange(person.num_frames),
                "track_id": name,
                "smplx_cam": {
                    "rotmat": np.pad(person.rotations[:, :22].float().numpy(), ((0, 0), (0, 33), (0, 0), (0, 0)))
                    + np.eye(3, dtype=np.float32) * (np.arange(55) > 21)[None, :, None, None],
                    "shape": np.zeros((person.num_frames, 10)),
                    "trans": person.transl("smplx").float().numpy(),
                },
                "smplx_world": {
                    "pose": whole(person, True),
                    "shape": np.zeros((person.num_frames, 10)),
                    "trans": person.transl("smplx", world=True).float().numpy(),
                },
            }
            for name, person in people.items()
        },
        "has_tracks": True,
        "masks": None,
    }
    joblib.dump(tree, folder / "results.pkl")
    return folder / "results.pkl"


def camerahmr(folder: Path, person: Person) -> Path:
    """The outputs of the model for each crop, gathered by the user."""
    transl = person.transl("smpl").numpy()
    box, center = np.full(person.num_frames, 200.0), np.array(SIZE) / 2 + np.array([30.0, -20.0])
    scale = 2 * FOCAL / (box * transl[:, 2])
    weak = np.stack([scale, *(transl[:, :2] - 2 * np.array([30.0, -20.0]) / (scale * box)[:, None]).T], 1)
    rotations = person.rotations.float().numpy()
    tree = {
        "global_orient": rotations[:, :1],
        "body_pose": rotations[:, 1:],
        "betas": np.zeros((person.num_frames, 10)),
        "pred_cam": weak,
        "box_size": box,
        "box_center": np.tile(center, (person.num_frames, 1)),
        "focal_length": FOCAL,
        "img_size": np.array([SIZE[1], SIZE[0]]),
        "fps": 25.0,
    }
    joblib.dump(tree, folder / "camerahmr.pkl")
    return folder / "camerahmr.pkl"


def amass(folder: Path, person: Person, family: str = "smplh", key: str = "mocap_framerate") -> Path:
    """With z up."""
    to_z = torch.tensor([[-1.0, 0, 0], [0, 0, 1], [0, 1, 0]]).double()
    vectors = person.vectors(22, world=True).reshape(-1, 22, 3)
    rest = derived_rest_joints(family)[0].double()
    vectors[:, 0] = roma.rotmat_to_rotvec(to_z @ person.root(world=True))
    trans = (person.transl(family, world=True) + rest) @ to_z.mT - rest
    width = {"smplh": 156, "smplx": 165}[family]
    poses = np.pad(vectors.flatten(1).numpy(), ((0, 0), (0, width - 66)))
    np.savez(
        folder / "walk_poses.npz",
        poses=poses,
        trans=trans.numpy(),
        betas=np.zeros(16),
        gender=np.array("male"),
        **{key: np.array(120.0)},
    )  # pyright: ignore[reportArgumentType]
    return folder / "walk_poses.npz"


def aistpp(folder: Path, person: Person, scaling: float = 93.0) -> Path:
    """With the place of the body in the unit of its cameras."""
    vectors = person.vectors(24, world=True).reshape(-1, 72).numpy()
    trans = scaling * person.transl("smpl", world=True).numpy()
    content = {"smpl_poses": vectors, "smpl_trans": trans, "smpl_scaling": np.array([scaling]), "smpl_loss": 0.1}
    (folder / "dance.pkl").write_bytes(pickle.dumps(content))
    return folder / "dance.pkl"
