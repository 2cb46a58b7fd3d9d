"""How far a motion that starts from a reference stays with it, and how often it does what the sentence says.

Pairs of a test clip and a caption of another content are drawn; each pair is generated at every strength.

    python benchmarks/reference_strength.py --store inputs/everyday --pairs 24
"""

from __future__ import annotations

import argparse
from pathlib import Path
from statistics import median

import torch

from hmr4d import load_pipeline
from hmr4d.data.action_labels import labeled_clips
from hmr4d.data.store import MotionStore
from hmr4d.evaluation.action_recognition import LabeledMotion, obtain_classifier, training_for
from hmr4d.metrics.physical import to_neutral_height
from hmr4d.motion.canonical import align_to_floor, face_first_frame
from hmr4d.motion.motion import Motion
from hmr4d.motion.tracks import resample_motion
from hmr4d.utils.places import outputs_folder
from hmr4d.utils.progress import progress
from hmr4d.utils.randomness import ItemRandom

STRENGTHS = (0.1, 0.2, 0.4, 0.5, 0.6, 0.7, 1.0)
LEAST_PATH = 1.0  # meters; of shorter ones it means little how much is kept


def draw_pairs(store: MotionStore, count: int, seconds: tuple[float, float], seed: int) -> list[tuple[int, int]]:
    """(clip, clip whose caption is asked for) of the test split; contents are drawn evenly and differ in a pair."""
    contents = store.labels["content"]
    clips = [c for c in labeled_clips(store, "test").tolist() if seconds[0] <= store.lengths[c] / store.fps]
    by_content: dict[str, list[int]] = {}
    for clip in clips:
        by_content.setdefault(contents[clip], []).append(clip)
    rng, names = ItemRandom.from_seed(seed), sorted(by_content)
    pairs = []
    while len(pairs) < count:
        one, other = (names[rng.integer(len(names))] for _ in range(2))
        if one != other:
            pairs.append(tuple(by_content[name][rng.integer(len(by_content[name]))] for name in (one, other)))
    return pairs  # type: ignore[return-value]


def placed(joints3d: torch.Tensor) -> torch.Tensor:
    """(L, J, 3) facing +z at first, of neutral height, on the floor: what two motions are compared in."""
    whole = to_neutral_height(face_first_frame(joints3d)[None], torch.tensor([len(joints3d)]))
    return align_to_floor(whole)[0]


def path_length(joints3d: torch.Tensor) -> float:
    """Meters that the root of a motion (L, J, 3) moves over the floor."""
    return float(joints3d[:, 0, [0, 2]].diff(dim=0).norm(dim=-1).sum())


def main() -> None:
    known = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    known.add_argument("--store", type=Path, default=Path("inputs/everyday"))
    known.add_argument("--model", default="motion2to3-everyday")
    known.add_argument("--pairs", type=int, default=24)
    known.add_argument("--seed", type=int, default=0)
    known.add_argument("--classifier", type=Path, help="folder of a trained classifier, else made for the store")
    args = known.parse_args()
    store, model = MotionStore.open(args.store), load_pipeline(args.model)
    folder = args.classifier or outputs_folder() / "content_classifier" / store.name
    classifier, _ = obtain_classifier(folder, store, training_for(store))
    contents = store.labels["content"]
    pairs = draw_pairs(store, args.pairs, (model.min_seconds, model.max_seconds), args.seed)
    print("| strength | shows the sentence | shows the reference | to the reference, mm, root aligned | path kept |")
    print("| --- | --- | --- | --- | --- |")
    for strength in STRENGTHS:
        made, gaps, paths = [], [], []
        for clip, asked in progress(pairs, f"strength {strength}"):
            reference = Motion(torch.tensor(store.joints3d(clip)), store.fps)
            text = store.caption_texts[store.clip_captions(asked)[0].caption]
            out = model.follow(reference, text, strength=strength, seed=args.seed)[0].joints3d
            made.append(out)
            start = resample_motion(reference.joints3d[None], store.fps, model.fps, len(out))[0]
            pose, wanted = (x - x[:, :1] for x in (placed(out), placed(start)))
            gaps.append(float((pose - wanted).norm(dim=-1).mean()))
            if (length := path_length(placed(start))) > LEAST_PATH:
                paths.append(path_length(placed(out)) / length)
        labels = [contents[asked] for _, asked in pairs]
        seen = classifier.predict(LabeledMotion(made, labels, model.fps))
        follows = sum(s == contents[asked] for s, (_, asked) in zip(seen, pairs, strict=True)) / len(pairs)
        stays = sum(s == contents[clip] for s, (clip, _) in zip(seen, pairs, strict=True)) / len(pairs)
        gap, path = 1000 * sum(gaps) / len(gaps), median(paths) if paths else float("nan")
        print(f"| {strength:g} | {follows:.2f} | {stays:.2f} | {gap:.0f} | {path:.2f} |", flush=True)


if __name__ == "__main__":
    main()
