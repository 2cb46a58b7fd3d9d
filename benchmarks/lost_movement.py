"""Where the movement of generated motion is lost: in the network, in the stages of cleaning, at which frequencies.

python benchmarks/lost_movement.py --store inputs/everyday --guided 0 1 0.1

Generates motion for captions of a split. Prints physical measures relative to the real clips of these captions, after
each stage, by group of contents; and the amplitude of the joints' speed by frequency, in windows of a second.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hmr4d import load_pipeline
from hmr4d.data.store import MotionStore
from hmr4d.evaluation.prompt_sets import PromptSet, caption_set, real_motion
from hmr4d.methods.motion2to3.pipeline import Motion2to3Pipeline
from hmr4d.metrics.physical import physical_metrics, to_neutral_height
from hmr4d.motion.canonical import align_to_floor
from hmr4d.motion.cleaning import on_rigid_bones
from hmr4d.motion.foot_lock import plant_feet
from hmr4d.motion.temporal_smoothing import smooth_motion
from hmr4d.utils.randomness import mix_seed

MEASURES = {"foot_skating": "skating", "jitter": "jitter", "root_speed": "root speed"}
GROUPS = {"walk-turn": "turn", "walk": "walk", "run": "run", "wave": "wave", "raise-up": "raise"}  # content begins with
BATCH = 32


def group_of(content: str) -> str:
    return next((group for start, group in GROUPS.items() if content.startswith(start)), "other")


def generated(model: Motion2to3Pipeline, prompts: PromptSet) -> list[Tensor]:
    """Motions (L, 22, 3) before cleaning."""
    motions: dict[int, Tensor] = {}
    order = sorted(range(len(prompts)), key=lambda i: prompts.seconds[i])
    for part in (order[start : start + BATCH] for start in range(0, len(order), BATCH)):
        out = model.sample(
            [prompts.prompts[i][0] for i in part],
            seconds=[prompts.seconds[i] for i in part],
            seed=[mix_seed(0, prompts.numbers[i]) for i in part],
        )
        joints3d = out.extras["camera_joints3d"]
        motions |= {i: joints3d[k, : int(out.lengths[k])] for k, i in enumerate(part)}
    return [motions[i] for i in range(len(prompts))]


def stages(fps: float) -> dict[str, Callable[[Tensor], Tensor]]:
    """The stages of cleaning in their order."""
    return {
        "network": lambda clip: clip,
        "smoothed": lambda clip: torch.from_numpy(smooth_motion(clip.double().numpy(), fps=fps)),
        "constant bones": on_rigid_bones,
        "planted feet": lambda clip: torch.from_numpy(plant_feet(clip.double().numpy(), fps=fps)),
    }


def measured(clips: Iterable[Tensor], fps: float) -> dict[str, list[float]]:
    """Measures of motions, one value per clip."""
    rows = []
    for clip in clips:
        length = torch.tensor([len(clip)])
        rows.append(
            physical_metrics(to_neutral_height(align_to_floor(clip.float()[None], length), length), length, fps)
        )
    return {name: [float(row[name]) for row in rows] for name in MEASURES}


def spectrum(clips: Iterable[Tensor], fps: float) -> NDArray[np.float64]:
    """Mean amplitude of the speed of all joints at 1 Hz and its multiples up to half the frame rate."""
    size, power = round(fps), []
    for clip in clips:
        speed = np.diff(clip.double().numpy(), axis=0)
        windows = [speed[start : start + size] for start in range(0, len(speed) - size + 1, size // 4)]
        bent = [(w - w.mean(0)) * np.hanning(size)[:, None, None] for w in windows]
        power += [np.mean([(np.abs(np.fft.rfft(w, axis=0)) ** 2).sum(-1).mean(1) for w in bent], 0)] if bent else []
    return np.sqrt(np.mean(power, 0))[1:]


def main() -> None:
    known = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    known.add_argument("--store", type=Path, required=True)
    known.add_argument("--split", default="test")
    known.add_argument("--limit", type=int, default=96)
    known.add_argument("--weights", default="motion2to3-everyday")
    known.add_argument("--guided", type=float, nargs="+", default=[0.1], help="shares of the steps with guidance")
    args = known.parse_args()
    store = MotionStore.open(args.store)
    model: Any = load_pipeline(args.weights)
    model.sampling = replace(model.sampling, max_draws=1, smooth=False, rigid_bones=False, plant_feet=False)
    prompts = caption_set(store, args.split, (model.min_seconds, model.max_seconds), args.limit)
    real = real_motion(store, args.split, prompts).clips
    groups = [group_of(content) for content in prompts.contents]
    wanted, fps = measured(real, store.fps), store.fps
    rows = {name: [i for i, group in enumerate(groups) if group == name] for name in (*GROUPS.values(), "other")}
    rows = {name: found for name, found in rows.items() if found} | {"all": list(range(len(groups)))}
    print(f"| guided share | stage | {' | '.join(f'{name} ({len(found)})' for name, found in rows.items())} |")
    print("| --- " * (len(rows) + 2) + "|")
    for share in args.guided:
        model.sampling = replace(model.sampling, guided_share=share)
        clips, spectra = generated(model, prompts), {}
        for stage, clean in stages(fps).items():
            clips = [clean(clip) for clip in clips]
            spectra[stage] = {n: spectrum([clips[i] for i in r], fps) for n, r in rows.items()}
            found = measured(clips, fps)
            cells = [
                " / ".join(f"{mean(found[m], r) / mean(wanted[m], r):.2f}" for m in MEASURES) for r in rows.values()
            ]
            print(f"| {share:g} | {stage} | {' | '.join(cells)} |", flush=True)
        print(f"\nEach cell: {', '.join(MEASURES.values())}, relative to real motion. Amplitude by Hz:\n")
        for stage, by_group in spectra.items():
            for name, amplitude in by_group.items():
                ratio = amplitude / spectrum([real[i] for i in rows[name]], fps)
                print(f"| {share:g} | {stage} | {name} | {' | '.join(f'{r:.2f}' for r in ratio)} |", flush=True)


def mean(values: list[float], rows: list[int]) -> float:
    """Mean over rows, without values that are not defined."""
    return float(np.nanmean([values[i] for i in rows]))


if __name__ == "__main__":
    main()
