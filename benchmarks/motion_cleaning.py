"""What cleaning does to real, corrupted and generated motion.

python benchmarks/motion_cleaning.py --store FOLDER [--weights NAME]

Prints a table and writes it as JSON. Real: clips of a prepared store, cut to 5 s, by content. Spoilt: the same with a
body that slides by 0.18 m/s and rises by 0.03 m/s, bones that change by about a centimeter, and seams every 4 frames of
4 mm. Generated: motions of a released model for captions of those clips, with and without cleaning.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from hmr4d import load_pipeline
from hmr4d.data.store import MotionStore
from hmr4d.methods.motion2to3.pipeline import Motion2to3Pipeline
from hmr4d.metrics.physical import physical_metrics
from hmr4d.motion.canonical import align_to_floor
from hmr4d.motion.cleaning import clean_motion
from hmr4d.utils.places import outputs_folder

COLUMNS = ("foot_skating", "jitter", "bone_length_variation", "root_speed", "floor_clearance")
DRIFT = (0.15, 0.03, -0.1)  # meters per second
BONES, SEAMS = 0.01, 0.004  # meters
MAX_SECONDS = 5.0


def corrupt(joints3d: Tensor, fps: float, rng: np.random.Generator) -> Tensor:
    """(L, J, 3) with faults."""
    num_frames = len(joints3d)
    knots = rng.normal(scale=BONES, size=(num_frames // 10 + 2, *joints3d.shape[1:]))
    at = np.linspace(0, len(knots) - 1.001, num_frames)
    first, share = at.astype(int), (at % 1)[:, None, None]
    seams = np.repeat(rng.normal(scale=SEAMS, size=(num_frames // 4 + 1, *joints3d.shape[1:])), 4, 0)[:num_frames]
    drift = np.arange(num_frames)[:, None, None] / fps * np.array(DRIFT)
    return joints3d + torch.from_numpy(drift + knots[first] * (1 - share) + knots[first + 1] * share + seams).float()


def measured(motions: Sequence[Tensor], fps: float) -> dict[str, float]:
    """Means of the physical measures over motions (L, J, 3), each put on the floor."""
    rows = [physical_metrics(align_to_floor(m)[None], torch.tensor([len(m)]), fps) for m in motions]
    return {name: float(torch.stack([row[name][0] for row in rows]).nanmean()) for name in COLUMNS}


def distance(some: Sequence[Tensor], others: Sequence[Tensor]) -> float:
    """Millimeters between joints, the root over the same place of the floor, mean over frames."""

    def posed(motion: Tensor) -> Tensor:
        return align_to_floor(motion) - motion[:, :1] * torch.tensor([1.0, 0.0, 1.0])

    return 1e3 * float(np.mean([(posed(a) - posed(b)).norm(dim=-1).mean() for a, b in zip(some, others, strict=True)]))


def generated(model: Motion2to3Pipeline, texts: list[str], seconds: list[float]) -> dict[str, list[Tensor]]:
    """Motions without and with cleaning, from the same noise."""
    made = {}
    for name, switch in (("generated", False), ("generated, cleaned", True)):
        model.sampling = replace(model.sampling, smooth=switch, rigid_bones=switch, plant_feet=switch)
        out = model.sample(texts, seconds=seconds, seed=list(range(len(texts))))
        made[name] = [out[i].joints3d for i in range(len(texts))]
    return made


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--store", type=Path, required=True)
    parser.add_argument("--split", default="test")
    parser.add_argument("--weights", help="a released model, such as motion2to3-everyday")
    parser.add_argument("--contents", nargs="+", default=["walk", "walk-turn-left", "run", "wave-both-hands"])
    parser.add_argument("--clips", type=int, default=12, help="of each content at most")
    parser.add_argument("--out", type=Path, default=outputs_folder() / "motion_cleaning.json")
    args = parser.parse_args()
    store = MotionStore(args.store)
    model = load_pipeline(args.weights) if args.weights else None
    rng, rows = np.random.default_rng(0), []
    spent, frames = 0.0, 0

    def clean(motions: Sequence[Tensor]) -> list[Tensor]:
        nonlocal spent, frames
        start = time.perf_counter()
        done = [clean_motion(m[None], fps=store.fps)[0] for m in motions]
        spent, frames = spent + time.perf_counter() - start, frames + sum(map(len, motions))
        return done

    for content in args.contents:
        chosen = [int(i) for i in store.indices(args.split) if store.labels["content"][i] == content][: args.clips]
        true = [torch.from_numpy(np.array(store.joints3d(i)[: round(MAX_SECONDS * store.fps)])) for i in chosen]
        bad = [corrupt(m, store.fps, rng) for m in true]
        sets: dict[str, tuple[list[Tensor], float | None]] = {"real": (true, None)}
        sets["real, cleaned"] = (done := clean(true)), distance(done, true)
        sets["corrupted"] = bad, distance(bad, true)
        sets["corrupted, cleaned"] = (done := clean(bad)), distance(done, true)
        if model is not None:
            texts = [store.caption_texts[store.clip_captions(i)[0].caption] for i in chosen]
            seconds = [max(len(m) / store.fps, model.min_seconds) for m in true]
            sets |= {name: (motions, None) for name, motions in generated(model, texts, seconds).items()}
        for name, (motions, off) in sets.items():
            rows.append(
                {"content": content, "motion": name, "n": len(motions), "off_mm": off} | measured(motions, store.fps)
            )
    print("| content | motion | n | off mm | skating m/s | jitter m/s³ | bones % | root m/s | clearance mm |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- | --- |")
    for row in rows:
        off = "" if row["off_mm"] is None else f"{row['off_mm']:.1f}"
        skating, jitter, bones, speed, clearance = (row[name] for name in COLUMNS)
        print(
            f"| {row['content']} | {row['motion']} | {row['n']} | {off} | {skating:.3f} | {jitter:.0f} | {bones:.2f} | "
            f"{speed:.2f} | {1e3 * clearance:.0f} |"
        )
    print(f"\n{spent / frames * MAX_SECONDS * store.fps:.3f} s for {MAX_SECONDS:g} s of motion")
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(json.dumps(rows, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
