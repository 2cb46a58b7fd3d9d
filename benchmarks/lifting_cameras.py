"""Lifting before nine cameras, some of them unusual, with several kinds of 2D: errors, bones, contacts, uncertainty.

python benchmarks/lifting_cameras.py --store inputs/bandai_namco --lifters ray-lifting mocap2to3-bandai ground_ray
python benchmarks/lifting_cameras.py --lifters ray-lifting ray-lifting+mocap2to3-bandai --observations hidden
python benchmarks/lifting_cameras.py --drawn inputs/everyday=0.45 inputs/bandai_namco=0.45 inputs/cmu=0.1 --tracks 200

"a+b" is a model b that begins from what the model a has lifted. --drawn takes cameras, bodies and errors of the 2D from
the distributions of the training of ray-lifting, for clips of another split.
"""

from __future__ import annotations

import argparse
import json
import logging
import math
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import spearmanr
from torch import Tensor

from hmr4d.body.joint_conversion import convert_joints
from hmr4d.body.skeleton import COCO17, SMPL22
from hmr4d.camera.rig_samplers import feet_place, virtual_rig
from hmr4d.data.lifting.corruptions import NO_CORRUPTION, KeypointCorruption
from hmr4d.data.store import MotionStore
from hmr4d.export.lift_npz import SIGMAS
from hmr4d.geometry.rigs import Rig, camera_pose, project
from hmr4d.keypoint_files.gaps import bridge_gaps, drop_unsure
from hmr4d.keypoint_files.smpl_joints import observed_joints
from hmr4d.lifting.lifter import MODEL, NO_GUESS, load_lifter, usable_untrained
from hmr4d.methods.base import Pipeline
from hmr4d.methods.ray_lifting.data import RayData
from hmr4d.methods.ray_lifting.motions import MotionSource
from hmr4d.motion.ground_contact import standing_joints
from hmr4d.utils.files import write_json
from hmr4d.utils.randomness import ItemRandom

DRAWN, DRAWN_SEED, DRAWN_FRAMES = "drawn", 77, 80  # name, seed and frames of --drawn tracks
SHORTEST, SPARE = 30, 1.5  # frames of a clip; meters between camera and person at least
NINETY = 1.645  # times sigma
DRAWS = 20  # sets of errors that are drawn from the sigmas
LAPLACE_90, GAMMA_90 = 2.303, 3.890  # 90 % of Laplace errors, and of sizes with the density r exp(-r), are smaller
WALKS = ("walk", "run", "dash", "walk-left", "walk-right", "walk-back")  # contents, where the store has such labels


@dataclass(frozen=True)
class Camera:
    """Size in pixels, focal length in pixels, height in meters, pitch and roll in degrees, meters to the person."""

    size: tuple[int, int]
    focal: float
    height: float
    pitch: float
    roll: float
    distance: float

    @property
    def rig(self) -> Rig:
        pitch, roll, yaw = (torch.tensor(math.radians(angle)) for angle in (self.pitch, self.roll, 0.0))
        T_w2c = camera_pose(pitch, roll, yaw, torch.tensor([0.0, self.height, 0.0]))
        K4 = torch.tensor([[self.focal, self.focal, self.size[0] / 2, self.size[1] / 2]])
        return Rig(torch.tensor([self.size]).float(), K4, T_w2c[None])


WIDE, TALL = (1920, 1080), (1080, 1920)
CAMERAS = {
    "level": Camera(WIDE, 1400, 1.6, 0, 0, 5),
    "pitch 15": Camera(WIDE, 1200, 2.4, 15, 0, 6),
    "pitch 35": Camera(WIDE, 1300, 4.6, 35, 0, 6),
    "roll 10": Camera(WIDE, 1300, 1.5, 5, 10, 5.5),
    "roll -10": Camera(WIDE, 1300, 1.5, 5, -10, 5.5),
    "portrait": Camera(TALL, 1500, 1.4, 3, 0, 6),
    "110 degrees": Camera(WIDE, 672, 1.8, 12, 0, 3.5),
    "knee height": Camera(WIDE, 1300, 0.5, -3, 0, 5),
    "10 m": Camera(WIDE, 1800, 1.7, 5, 0, 10),
}


@dataclass(frozen=True)
class Observation:
    """Errors of the 2D, and whether COCO keypoints are seen instead of SMPL joints."""

    corruption: KeypointCorruption
    as_coco: bool = False


_PIXELS = KeypointCorruption(0.0, 0.0, 0.0, 0.0, 0.0, 0.0, hide_outside=False, noise_px=5.0)
OBSERVATIONS = {
    "exact": Observation(NO_CORRUPTION),
    "5 px": Observation(_PIXELS),
    "COCO, 5 px": Observation(_PIXELS, as_coco=True),
    "detector": Observation(KeypointCorruption()),
    "COCO, detector": Observation(KeypointCorruption(), as_coco=True),
    "hidden": Observation(KeypointCorruption(limb_prob=0.5, dropout_prob=0.5)),
}
USUAL = [kind for kind in OBSERVATIONS if kind != "hidden"]  # calibration is measured on these


@dataclass(frozen=True)
class Track:
    """What a camera sees of a clip, and the truth (L, 22, 3)."""

    name: str
    camera: str
    kp2d: Tensor
    conf: Tensor
    rig: Rig
    truth: Tensor
    fps: float


def tracks(store: MotionStore, split: str, count: int, observation: Observation, *, walks: bool) -> Iterator[Track]:
    """`count` clips of a split, evenly spread, each turned by chance before the next camera."""
    clips = [int(i) for i in store.indices(split) if store.lengths[i] >= SHORTEST]
    if walks:
        clips = [i for i in clips if store.labels["content"][i] in WALKS]
    for number in range(count):
        clip, rng = clips[number * len(clips) // count], ItemRandom.from_seed(7000 + number)
        name = list(CAMERAS)[number % len(CAMERAS)]
        truth = turned(torch.from_numpy(store.joints3d(clip).copy()).float(), CAMERAS[name].distance, rng)
        rig = CAMERAS[name].rig
        skeleton = COCO17 if observation.as_coco else SMPL22
        shown = convert_joints(truth, SMPL22, COCO17) if observation.as_coco else truth
        pixels = project(rig, shown)[0][0]
        side = (pixels.amax(1) - pixels.amin(1)).amax(-1, keepdim=True).expand(-1, 2)
        kp2d, visible = observation.corruption.apply(pixels, side, rig.size[0], skeleton, rng)
        kp2d, conf = bridge_gaps(*drop_unsure(kp2d, visible.float()), store.fps)
        yield Track(
            store.names[clip], name, *observed_joints(kp2d, conf, skeleton, SMPL22), rig=rig, truth=truth, fps=store.fps
        )


def drawn_tracks(sources: Sequence[str], split: str, count: int) -> list[Track]:
    """Random windows of clips of `sources` ("store=share"), seen and detected as in the training of ray lifting."""
    pairs = [source.rpartition("=") for source in sources]
    motions = [MotionSource(store, float(share)) for store, _, share in pairs]
    fps = MotionStore.open(motions[0].store).fps
    data = RayData(motions, fps=fps, num_frames=DRAWN_FRAMES, batch_size=count, batches_per_epoch=1)
    batch, found = data.batches(split)[DRAWN_SEED], []
    for row, length in enumerate(batch["lengths"].tolist()):
        kp2d, conf, truth = (batch[key][row, :length] for key in ("kp2d_obs", "conf", "joints3d"))
        rig = Rig(*(batch[key][row] for key in ("size", "K4", "T_w2c")))
        if length >= SHORTEST:
            found.append(Track(f"window {row}", DRAWN, kp2d, conf, rig, truth, fps))
    return found


def turned(joints3d: Tensor, distance: float, rng: ItemRandom) -> Tensor:
    """The motion (L, 22, 3) turned by any angle and put before a camera, no frame nearer than SPARE meters."""
    angle = 2 * math.pi * float(rng.uniform(1))
    c, s = math.cos(angle), math.sin(angle)
    middle = joints3d[:, 0].mean(0) * torch.tensor([1.0, 0.0, 1.0])
    joints3d = (joints3d - middle) @ torch.tensor([[c, 0.0, s], [0.0, 1.0, 0.0], [-s, 0.0, c]]).T
    return joints3d - torch.tensor([0.0, 0.0, max(distance, float(joints3d[..., 2].max()) + SPARE)])


def lift(lifter: Pipeline, track: Track, samples: int = 1) -> tuple[Tensor, dict[str, Tensor]]:
    """Joints (L, 22, 3), how far samples lie from them, "spread" (L, 22), and the lifter's sigmas (L, 22) by name."""
    rig = track.rig
    if lifter.uses_virtual_views:
        place = feet_place(rig.to(torch.float64), track.kp2d.double(), track.conf > 0, SMPL22, lifter.foot_heights)
        rig = virtual_rig(rig, float(place[0]), float(place[1]))
    output = lifter.lift(track.kp2d[None], track.conf[None], rig, fps=track.fps, num_samples=samples)
    assert output.joints3d is not None
    return output.joints3d[0], {name: output.extras[name][0] for name in (*SIGMAS, "spread") if name in output.extras}


def parts(error: Tensor, track: Track) -> dict[str, Tensor]:
    """What the sigmas speak of: sizes (L, 22) of errors (L, 22, 3) in all, along the ray, and across it."""
    rays = track.truth - track.rig.centers[0]
    rays = rays / rays.norm(dim=-1, keepdim=True)
    along = (error * rays).sum(-1)
    return dict(
        zip(SIGMAS, (error.norm(dim=-1), along.abs(), (error - along[..., None] * rays).norm(dim=-1)), strict=True)
    )


def scores(found: Tensor, track: Track) -> dict[str, float]:
    """Numbers of a track; errors in millimeters, shares from 0 to 1."""
    error, hips = found - track.truth, list(SMPL22.indices("left_hip", "right_hip"))
    own = error - error[:, hips].mean(1, keepdim=True)
    parents, children = map(list, zip(*SMPL22.bones, strict=True))
    bones = (found[:, children] - found[:, parents]).norm(dim=-1)
    true, stands = (standing_joints(x, fps=track.fps, skeleton=SMPL22) for x in (track.truth, found))
    numbers = {
        "Abs-MPJPE": 1e3 * error.norm(dim=-1).mean(),
        "MPJPE": 1e3 * own.norm(dim=-1).mean(),
        "root": 1e3 * error[:, hips].mean(1).norm(dim=-1).mean(),
        "bones": (bones.std(0) / bones.mean(0)).max(),
        "contact recall": (true & stands).sum() / true.sum().clamp(min=1),
        "contact precision": (true & stands).sum() / stands.sum().clamp(min=1),
        "hidden": 1e3 * error.norm(dim=-1)[track.conf == 0].mean(),
    }
    return {name: float(value) for name, value in numbers.items()}


def ranks(one: Tensor, other: Tensor) -> float:
    """Spearman's rank correlation of two tensors of the same size."""
    return float(spearmanr(one.flatten(), other.flatten())[0])  # type: ignore[arg-type]


def attainable(sigmas: Sequence[dict[str, Tensor]]) -> dict[str, float]:
    """Rank correlations of errors that are drawn from the sigmas (L, 22) of tracks with their expected sizes.

    "attainable" is the mean of DRAWS sets of normal errors. "attainable, own likelihood" has the distributions for
    which the sigmas were trained: Laplace along the ray, and the density r exp(-r) across it. "attainable by chance" is
    the standard deviation of the rank correlation if the normal error of a joint is constant during its track. The
    errors are ranked against the root of the summed squares of both sigmas, not against "sigma", an output of its own.
    """
    tracks = torch.cat([torch.full(one["sigma_along"].shape, k).flatten() for k, one in enumerate(sigmas)])
    joints = torch.cat([torch.arange(one["sigma_along"][0].numel()).repeat(len(one["sigma_along"])) for one in sigmas])
    same = tracks * (int(joints.max()) + 1) + joints  # one number for each joint of each track
    along, across = (torch.cat([one[name].flatten() for one in sigmas]) for name in ("sigma_along", "sigma_across"))
    expected, generator = torch.hypot(along, across), torch.Generator().manual_seed(0)

    def normal(count: int) -> Tensor:
        drawn = torch.randn(3, count, generator=generator)
        return torch.stack([drawn[0], drawn[1:].norm(dim=0) / 2**0.5])

    def laplace(count: int) -> Tensor:
        drawn = -torch.rand(3, count, generator=generator).clamp(min=1e-9).log()
        return NINETY * torch.stack([drawn[0] / LAPLACE_90, drawn[1:].sum(0) / GAMMA_90])

    def correlations(draw: Callable[[], Tensor]) -> NDArray[np.float64]:
        sizes = torch.stack([along, across])
        return np.array([ranks((draw() * sizes).norm(dim=0), expected) for _ in range(DRAWS)])

    constant = correlations(lambda: normal(int(same.max()) + 1)[:, same])
    return {
        "attainable": float(correlations(lambda: normal(len(along))).mean()),
        "attainable, own likelihood": float(correlations(lambda: laplace(len(along))).mean()),
        "attainable by chance": float(constant.std()),
    }


@dataclass
class Uncertainty:
    """Errors of tracks, and their sigmas; each (L, 22) by name in SIGMAS."""

    errors: list[dict[str, Tensor]]
    sigmas: list[dict[str, Tensor]]

    def numbers(self) -> dict[str, float]:
        """Calibration, and rank correlations over all joints and frames.

        For those of errors drawn with exactly these sizes, see `attainable`. "hindsight" are those of two things that
        nobody can know: the mean error of the track, and that of each joint of the track. "within" a track or a joint
        is the mean over tracks or joints of the rank correlations over the rest. "means" are those between mean sigmas
        and mean errors.
        """
        error, sigma = (
            {name: torch.cat([one[name].flatten() for one in rows]) for name in SIGMAS}
            for rows in (self.errors, self.sigmas)
        )
        total = [one["sigma"] for one in self.errors]
        sigmas = [one["sigma"] for one in self.sigmas]
        found = {f"{name}: rank correlation": ranks(error[name], sigma[name]) for name in SIGMAS}
        found |= attainable(self.sigmas)
        found["within tracks"] = float(np.nanmean([ranks(*pair) for pair in zip(sigmas, total, strict=True)]))
        whole = torch.cat(sigmas), torch.cat(total)
        found["within joints"] = float(np.nanmean([ranks(*pair) for pair in zip(*(x.T for x in whole), strict=True)]))
        for name, dims in (("frames", (1,)), ("joints of tracks", (0,)), ("tracks", (0, 1))):
            pair = (torch.cat([x.mean(dims).flatten() for x in rows]) for rows in (sigmas, total))
            found[f"means of {name}"] = ranks(*pair)
        for name, dims in (("track", (0, 1)), ("track and joint", (0,))):
            told = torch.cat([x.mean(dims, keepdim=True).expand_as(x).flatten() for x in total])
            found[f"hindsight of {name}"] = ranks(error["sigma"], told)
        for name in SIGMAS:
            ratio = error[name] / sigma[name] / NINETY
            found[f"{name}: share within 90 %"] = float((ratio < 1).float().mean())
            found[f"{name}: factor to 90 %"] = float(np.quantile(ratio.numpy(), 0.9))
        return found


def means(rows: Sequence[dict[str, float]]) -> dict[str, float]:
    """Of every number over the tracks that have it."""
    known = {key: [row[key] for row in rows if math.isfinite(row[key])] for key in rows[0]}
    return {key: float(np.mean(values)) for key, values in known.items() if values}


def measure(
    lifter: Pipeline, seen: Sequence[Track], samples: int = 1
) -> tuple[dict[str, dict[str, float]], Uncertainty]:
    """Means of the scores over all tracks ("all") and over those of each camera, and the uncertainty of the tracks."""
    rows: list[dict[str, float]] = []
    told = Uncertainty([], [])
    started = time.process_time()
    for track in seen:
        found, sigmas = lift(lifter, track, samples)
        spread = 1e3 * sigmas.pop("spread")
        rows.append(scores(found, track))
        if samples > 1:
            rows[-1] |= {"spread": float(spread.mean()), "hidden spread": float(spread[track.conf == 0].mean())}
        if sigmas:
            told.errors.append(parts(found - track.truth, track))
            told.sigmas.append(sigmas)
    table = {"all": means(rows)}
    table["all"]["seconds a track"] = (time.process_time() - started) / len(seen)
    if told.errors:
        table["all"] |= told.numbers()
    for name in CAMERAS:
        own = [row for row, track in zip(rows, seen, strict=True) if track.camera == name]
        if own:
            table[name] = means(own)
    return table, told


def show(numbers: dict[str, float]) -> str:
    """Numbers in a line."""
    return ", ".join(f"{key} {value:.3g}" for key, value in numbers.items())


def main() -> None:
    """Prints a table for each kind of 2D and writes all numbers."""
    known = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    known.add_argument("--store", default="inputs/bandai_namco", help="motion store of SMPL joints")
    known.add_argument("--split", default="test")
    known.add_argument("--tracks", type=int, default=45, help="clips, in turn before the cameras")
    known.add_argument("--drawn", nargs="+", default=[], metavar="STORE=SHARE", help="tracks as in the training")
    known.add_argument("--walks", action="store_true", help="walks and runs alone")
    known.add_argument("--lifters", nargs="+", default=["ray-lifting"], help="models, a+b, and methods without one")
    known.add_argument("--observations", nargs="+", default=USUAL, choices=list(OBSERVATIONS))
    known.add_argument("--samples", type=int, default=1, help="drawn of each track, for their spread")
    known.add_argument("--prior", type=Path, help="poses for the methods without a network")
    known.add_argument("--json", type=Path, help="file for all numbers")
    args = known.parse_args()
    logging.basicConfig(level=logging.WARNING)
    if args.drawn:
        sets = {DRAWN: drawn_tracks(args.drawn, args.split, args.tracks)}
    else:
        store = MotionStore.open(args.store)
        chosen = {kind: OBSERVATIONS[kind] for kind in args.observations}
        sets = {kind: list(tracks(store, args.split, args.tracks, o, walks=args.walks)) for kind, o in chosen.items()}
    numbers: dict[str, Any] = {}
    for name in args.lifters:
        method = name if name in usable_untrained() else MODEL
        guess, _, model = name.rpartition("+")
        options: dict[str, Any] = {"prior": args.prior, "guess": guess or NO_GUESS}
        lifter = load_lifter(method, model, device="cpu", keypoints=SMPL22, **options)
        whole = Uncertainty([], [])
        for kind, seen in sets.items():
            table, told = measure(lifter, seen, args.samples)
            whole.errors.extend(told.errors)
            whole.sigmas.extend(told.sigmas)
            numbers[f"{kind} / {name}"] = table
            print(f"{kind:15s} {name:18s} {show(table['all'])}", flush=True)
            print("    " + ", ".join(f"{camera} {row['Abs-MPJPE']:.0f}" for camera, row in table.items()), flush=True)
        if whole.errors and len(sets) > 1:
            numbers[f"together / {name}"] = {"all": whole.numbers()}
            print(f"together        {name:18s} {show(whole.numbers())}", flush=True)
    if args.json:
        write_json(args.json, {"command": " ".join(sys.argv), **numbers})
        print(json.dumps({key: round(table["all"].get("Abs-MPJPE", math.nan), 1) for key, table in numbers.items()}))


if __name__ == "__main__":
    main()
