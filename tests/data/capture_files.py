"""Made-up recordings in the true layouts of RICH and AIST++."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import roma
import torch

from hmr4d.body.joint_conversion import smpl_to_coco17
from hmr4d.motion.procedural import synthetic_joints

CLOTH = ("left_hand_pose", "right_hand_pose")


def walker(num_frames: int, seed: int = 0, content: str = "walk") -> np.ndarray:
    """(L, 22, 3) meters, y up, feet on the floor y = 0: the toes of standing feet lie 2 cm above it."""
    joints3d = synthetic_joints(content, num_frames, np.random.default_rng(seed)).astype(np.float64)
    return joints3d + np.array([0.0, 0.02, 0.0])


def look_at(center: np.ndarray, target: np.ndarray) -> np.ndarray:
    """T_w2c (4, 4) of a level camera in a y-up world."""
    forward = (target - center) / np.linalg.norm(target - center)
    right = np.cross(forward, [0.0, 1.0, 0.0])
    right /= np.linalg.norm(right)
    T = np.eye(4)
    T[:3, :3] = np.stack([right, np.cross(forward, right), forward])
    T[:3, 3] = -T[:3, :3] @ center
    return T


def turn(rotvec: list[float]) -> np.ndarray:
    return roma.rotvec_to_rotmat(torch.tensor(rotvec, dtype=torch.float64)).numpy()


def rigid(R: np.ndarray, t: np.ndarray) -> np.ndarray:
    T = np.eye(4)
    T[:3, :3], T[:3, 3] = R, t
    return T


# --- RICH -------------------------------------------------------------------------------------------------------------

RICH_K = (3000.0, 3010.0, 2056.0, 1500.0)
RICH_PORTRAIT_K = (3000.0, 3010.0, 1500.0, 2056.0)
CAPTURES = ("Pavallion", "LectureHall")
TILTED = rigid(turn([2.2, 0.4, -0.7]), np.array([0.3, -1.0, 4.0]))  # y-up world -> frame of the calibration
RICH_SEQUENCES = ("Pavallion_003_plankjack", "LectureHall_021_sidebalancerun")


class StubBody:
    """Joints of pickles whose pose says which frame they are: `transl` moves, `body_pose[0]` numbers."""

    def __init__(self, motions: dict[int, np.ndarray]) -> None:
        self.motions = motions
        self.genders: list[str] = []

    def __call__(self, parameters: Any, gender: str) -> np.ndarray:
        self.genders.append(gender)
        frames = parameters["body_pose"][:, 0].round().astype(int)
        motion = self.motions[int(parameters["betas"][0, 0])]
        return motion[frames] + parameters["transl"][:, None]


def write_camera_xml(path: Path, T: np.ndarray, K4: tuple[float, ...]) -> None:
    """OpenCV storage: exponents, lines broken after three numbers."""

    def node(name: str, values: np.ndarray, rows: int) -> str:
        words = [f"{v:.16e}" for v in values.reshape(-1)]
        lines = "\n    ".join(" ".join(words[i : i + 3]) for i in range(0, len(words), 3))
        cols = len(words) // rows
        return (
            f'<{name} type_id="opencv-matrix">\n  <rows>{rows}</rows>\n  <cols>{cols}</cols>\n  <dt>d</dt>\n'
            f"  <data>\n    {lines}</data></{name}>"
        )

    fx, fy, cx, cy = K4
    K = np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1.0]])
    content = "\n".join(
        [
            '<?xml version="1.0"?>',
            "<opencv_storage>",
            node("CameraMatrix", T[:3], 3),
            node("Intrinsics", K, 3),
            node("Distortion", np.array([-0.08, 0.09, 0.0, 0.0]), 4),
            "</opencv_storage>",
        ]
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content + "\n", encoding="utf-8")


def write_rich(root: Path, *, num_frames: int = 40) -> StubBody:
    """Two captures with six cameras each, one sequence each and one of two people. Returns the body of the pickles."""
    body = StubBody({})
    for number, (name, capture) in enumerate(zip(RICH_SEQUENCES, CAPTURES, strict=True)):
        subject = int(name.split("_")[1])
        motion = walker(num_frames, seed=number)
        middle = motion.mean((0, 1))
        body.motions[number] = motion @ TILTED[:3, :3].T + TILTED[:3, 3]
        for camera in range(6):
            angle = camera * 1.0
            center = np.array([middle[0] + 6 * np.cos(angle), 2.0, middle[2] + 6 * np.sin(angle)])
            T = look_at(center, np.array([middle[0], 1.0, middle[2]])) @ np.linalg.inv(TILTED)
            portrait = capture.startswith("Pavallion") and camera == 3
            xml = root / "scan_calibration" / capture / "calibration" / f"{camera:03d}.xml"
            write_camera_xml(xml, T, RICH_PORTRAIT_K if portrait else RICH_K)
        for frame in range(num_frames):
            parameters = {
                "betas": np.full((1, 10), float(number), np.float32),
                "global_orient": np.zeros((1, 3), np.float32),
                "body_pose": np.full((1, 63), float(frame), np.float32),
                "transl": np.zeros((1, 3), np.float32),
                **{hand: np.zeros((1, 12), np.float32) for hand in CLOTH},
                "expression": np.zeros((1, 10), np.float32),
            }
            path = root / "bodies" / "test" / name / f"{frame:05d}" / f"{subject:03d}.pkl"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(pickle.dumps(parameters))
    resource = root / "resource"
    (resource / "meta").mkdir(parents=True)
    (resource / "gender.json").write_text(json.dumps({"3": "male", "21": "female", "9": "male"}))
    header = "sequence_name capture_name scan_name id moving_cam gender scene action/scene-interaction subjects view_id"
    rows = [
        f"{RICH_SEQUENCES[0]}\tPavallion\tscan_camcoord\t003\tV\tmale\toutdoor\tplank\t3\t0,2,3",
        f"{RICH_SEQUENCES[1]}\tLectureHall\tscan_yoga\t021\tX\tfemale\tindoor\tside balance\t21\t1,4",
        "LectureHall_009_021_reparingprojector1\tLectureHall\tscan_a\t009\tX\tmale\tindoor\trepair\t9,21\t0,1",
    ]
    (resource / "meta" / "test.txt").write_text("\n".join([header, *rows]) + "\n")
    return body


# --- AIST++ -----------------------------------------------------------------------------------------------------------

SETTINGS = ("setting1", "setting2")
AIST_TILT = rigid(turn([np.radians(1.2), 0.0, np.radians(-1.6)]), np.array([0.0, 0.07, 0.0]))  # 2 degrees, 7 cm
AIST_SEQUENCES = {
    "gBR_sBM_cAll_d04_mBR0_ch01": "setting1",
    "gHO_sBM_cAll_d19_mHO0_ch02": "setting1",
    "gJB_sBM_cAll_d07_mJB3_ch05": "setting2",
    "gPO_sBM_cAll_d10_mPO1_ch01": "setting2",
}
AIST_IGNORED = "gPO_sBM_cAll_d10_mPO1_ch01"
DISTORTION = np.array([-0.05, 0.02, 0.0005, -0.0003, 0.0])


def dancer(num_frames: int, seed: int) -> np.ndarray:
    """(N, 17, 3) meters, y up over the floor y = 0, COCO keypoints that wander about the stage."""
    parts = []
    for k in range(4):
        motion = walker(num_frames // 4, seed=10 * seed + k)
        angle = 0.5 * np.pi * k
        c, s = np.cos(angle), np.sin(angle)
        motion = (motion - motion.mean((0, 1)) * [1, 0, 1]) @ np.array([[c, 0, -s], [0, 1, 0], [s, 0, c]])
        parts.append(motion + np.array([1.2 * c, 0.0, 1.2 * s]))
    ankles = smpl_to_coco17(torch.from_numpy(np.concatenate(parts))).numpy()
    return ankles - [0, np.quantile(ankles[:, 15:, 1], 0.01) - 0.09, 0]


def write_aistpp(root: Path, *, num_frames: int = 320, distorted: bool = True) -> dict[str, np.ndarray]:
    """Two settings of nine cameras, four sequences, one of them ignored. Returns true joints in meters by sequence."""
    rng = np.random.default_rng(5)
    for folder in ("keypoints3d", "keypoints2d", "cameras", "splits"):
        (root / folder).mkdir(parents=True)
    cameras = [
        look_at(np.array([5 * np.sin(a), 1.8, 5 * np.cos(a)]), np.array([0.0, 1.0, 0.0])) @ np.linalg.inv(AIST_TILT)
        for a in np.arange(9) * 2 * np.pi / 9
    ]
    for setting in SETTINGS:
        entries = [
            _camera_entry(k, T, (640, 480) if (setting, k) == ("setting2", 6) else (1920, 1080), distorted)
            for k, T in enumerate(cameras)
        ]
        (root / "cameras" / f"{setting}.json").write_text(json.dumps(entries))
    (root / "cameras" / "mapping.txt").write_text("".join(f"{n} {s}\n" for n, s in AIST_SEQUENCES.items()))
    (root / "splits" / "pose_test.txt").write_text("\n".join(AIST_SEQUENCES) + "\n")
    (root / "ignore_list.txt").write_text(AIST_IGNORED + "\n")
    truth = {}
    for seed, name in enumerate(AIST_SEQUENCES):
        joints3d = dancer(num_frames, seed)
        truth[name] = joints3d
        written = 100 * (joints3d @ AIST_TILT[:3, :3].T + AIST_TILT[:3, 3])
        missing = rng.random(written.shape[:2]) < 0.03
        optim = np.where(missing[..., None], np.nan, written)
        content: dict[str, Any] = {"keypoints3d": optim, "keypoints3d_optim": optim}
        (root / "keypoints3d" / f"{name}.pkl").write_bytes(pickle.dumps(content))
        kp2d = np.stack([_seen(written / 100, T, distorted) for T in cameras])
        conf = rng.uniform(0.3, 1.0, kp2d.shape[:3])
        packed = np.concatenate([kp2d, conf[..., None]], -1)
        packed[rng.random(packed.shape[:3]) < 0.1] = np.nan
        content = {"keypoints2d": packed, "det_scores": np.ones(packed.shape[:2]), "timestamps": np.arange(num_frames)}
        (root / "keypoints2d" / f"{name}.pkl").write_bytes(pickle.dumps(content))
    return truth


def _camera_entry(number: int, T: np.ndarray, size: tuple[int, int], distorted: bool) -> dict[str, Any]:
    rotvec = roma.rotmat_to_rotvec(torch.from_numpy(T[:3, :3])).tolist()
    return {
        "name": f"c{number + 1:02d}",
        "size": list(size),
        "matrix": [[1500.0, 0, 960.0], [0, 1510.0, 540.0], [0, 0, 1.0]],
        "rotation": rotvec,
        "translation": (100 * T[:3, 3]).tolist(),
        "distortions": DISTORTION.tolist() if distorted else [0.0] * 5,
    }


def _seen(joints3d: np.ndarray, T: np.ndarray, distorted: bool) -> np.ndarray:
    """(N, J, 2) pixels of the raw image by OpenCV's formula, written out."""
    points = joints3d @ T[:3, :3].T + T[:3, 3]
    x, y = points[..., 0] / points[..., 2], points[..., 1] / points[..., 2]
    if distorted:
        k1, k2, p1, p2, _ = DISTORTION
        r2 = x * x + y * y
        radial = 1 + k1 * r2 + k2 * r2 * r2
        x, y = (
            x * radial + 2 * p1 * x * y + p2 * (r2 + 2 * x * x),
            y * radial + p1 * (r2 + 2 * y * y) + 2 * p2 * x * y,
        )
    return np.stack([1500.0 * x + 960.0, 1510.0 * y + 540.0], -1)
