"""Quality and cost of generated motion by the number of sampling steps.

python benchmarks/sampling_steps.py --store inputs/everyday --steps 5 10 20 50

Generates motion for captions of a split, one seed. Prints how many motions show the action of their caption, physical
measures, and processor seconds of one motion from the prompt to cleaned joints, with one thread and 16 prompts at once.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from pathlib import Path

import torch

from hmr4d.data.store import MotionStore
from hmr4d.evaluation.action_recognition import LabeledMotion, obtain_classifier, training_for
from hmr4d.evaluation.motion_quality import score_motion
from hmr4d.evaluation.prompt_sets import caption_set, real_motion
from hmr4d.evaluation.quality_models import load_model
from hmr4d.utils.places import outputs_folder
from hmr4d.utils.randomness import mix_seed

COLUMNS = {"jitter": "jitter m/s³", "root_speed": "root speed m/s", "foot_skating": "skating m/s"}
BATCH = 16


def main() -> None:
    known = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    known.add_argument("--store", type=Path, required=True)
    known.add_argument("--split", default="test")
    known.add_argument("--limit", type=int, default=48)
    known.add_argument("--weights", default="motion2to3-everyday")
    known.add_argument("--classifier", type=Path, help="folder; trained if missing")
    known.add_argument("--steps", type=int, nargs="+", default=[5, 10, 20, 50])
    args = known.parse_args()
    torch.set_num_threads(1)
    store, model = MotionStore.open(args.store), load_model(args.weights, torch.device("cpu")).sampler
    model.sampling = replace(model.sampling, max_draws=1)
    folder = args.classifier or outputs_folder() / "content_classifier" / store.name
    classifier, _ = obtain_classifier(folder, store, training_for(store))
    prompts = caption_set(store, args.split, (model.min_seconds, model.max_seconds), args.limit)
    order = sorted(range(len(prompts)), key=lambda i: prompts.seconds[i])

    def row(name: str, motion: LabeledMotion, seconds: float | None) -> str:
        scores = score_motion(classifier, motion)
        right = sum(a == b for a, b in zip(scores.wanted, scores.predicted, strict=True)) / len(scores.wanted)
        values = [f"{float(scores.physical[key].nanmean()):.2f}" for key in COLUMNS]
        return " | ".join([f"| {name}", f"{right:.2f}", *values, "" if seconds is None else f"{seconds:.2f}"]) + " |"

    print(f"| steps | actions right | {' | '.join(COLUMNS.values())} | processor seconds a motion |")
    print("| --- " * (len(COLUMNS) + 3) + "|")
    print(row("real", real_motion(store, args.split, prompts), None), flush=True)
    for steps in args.steps:
        clips, start = {}, time.process_time()
        for part in (order[first : first + BATCH] for first in range(0, len(order), BATCH)):
            out = model.sample(
                [prompts.prompts[i][0] for i in part],
                seconds=[prompts.seconds[i] for i in part],
                seed=[mix_seed(0, prompts.numbers[i]) for i in part],
                num_inference_steps=steps,
            )
            clips |= {i: motion.joints3d for i, motion in zip(part, out, strict=True)}
        spent = (time.process_time() - start) / len(prompts)
        made = LabeledMotion([clips[i] for i in range(len(prompts))], prompts.contents, model.fps)
        print(row(str(steps), made, spent), flush=True)


if __name__ == "__main__":
    main()
