"""How fast keypoint files pass through curation: filter, trim, statistics, pack.

python benchmarks/curation.py --clips 2000 --format npz --jobs 2 --out outputs/benchmarks/curation

Prints clips, core-seconds, wall-clock seconds and the largest memory of a process, extrapolated to 100,000 clips, and
writes them as JSON. Files are made first and not counted.
"""

from __future__ import annotations

import argparse
import json
import resource
import shutil
import sys
import time
from pathlib import Path

import numpy as np

from hmr4d.curation.run import curate
from hmr4d.curation.stages import Settings
from hmr4d.utils.files import write_json
from hmr4d.utils.places import outputs_folder

STANDING = np.array(
    [(0, 0.08), (0.02, 0.06), (-0.02, 0.06), (0.05, 0.07), (-0.05, 0.07), (0.12, 0.2), (-0.12, 0.2), (0.15, 0.35),
     (-0.15, 0.35), (0.16, 0.5), (-0.16, 0.5), (0.08, 0.5), (-0.08, 0.5), (0.09, 0.75), (-0.09, 0.75), (0.09, 1.0),
     (-0.09, 1.0)]
)  # fmt: skip  # COCO-17 in heights of the person, from the top middle
FULL = 100_000


def make_track(rng: np.random.Generator) -> np.ndarray:
    """(F, 17, 3) somebody who crosses the image and swings, 2 to 10 seconds; one in ten stands still."""
    frames = int(rng.integers(60, 301))
    time_s = np.arange(frames)[:, None] / 30
    height, speed = rng.uniform(300, 600), 0.0 if rng.random() < 0.1 else rng.uniform(0.15, 0.6)
    swing = 0.05 * np.sin(2 * np.pi * time_s + rng.uniform(0, 6, 17)) if speed else 0.0
    points = STANDING[None] + np.stack([speed * time_s + swing, 0 * time_s + swing], -1)
    points = points * height + [rng.uniform(200, 400), rng.uniform(20, 80)] + rng.normal(0, 0.5, (frames, 17, 2))
    return np.concatenate([points, rng.uniform(0.7, 1.0, (frames, 17, 1))], -1)


def write_file(path: Path, track: np.ndarray, form: str) -> None:
    """A file of arrays, or a COCO result."""
    if form == "npz":
        kp2d, conf = track[..., :2].astype(np.float32), track[..., 2].astype(np.float32)
        np.savez(path, kp2d=kp2d, conf=conf, fps=30.0, skeleton="coco17", width=1280, height=720)
        return
    people = [
        {"image_id": t, "category_id": 1, "keypoints": frame.ravel().round(2).tolist(), "score": 0.9}
        for t, frame in enumerate(track)
    ]
    images = [{"id": t, "file_name": f"{t:06d}.jpg", "width": 1280, "height": 720} for t in range(len(track))]
    path.write_text(json.dumps({"fps": 30, "images": images, "annotations": people}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=2000)
    parser.add_argument("--format", choices=("npz", "json"), default="npz")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--out", type=Path, default=outputs_folder() / "benchmarks" / "curation")
    args = parser.parse_args()
    shutil.rmtree(args.out, ignore_errors=True)
    root, rng = args.out / "files", np.random.default_rng(0)
    root.mkdir(parents=True)
    for number in range(args.clips):
        write_file(root / f"{number:06d}.{args.format}", make_track(rng), args.format)
    before, begin = core_seconds(), time.monotonic()
    packed = curate(Settings(str(root), captioner="template"), args.out / "data", jobs=args.jobs)
    wall, cores = time.monotonic() - begin, core_seconds() - before
    memory = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)) / 2**20
    table = {
        "files": args.clips,
        "format": args.format,
        "jobs": args.jobs,
        "clips": packed.statistics["clips"],
        "left_out": len(packed.dead),
        "core_seconds": round(cores, 1),
        "wall_seconds": round(wall, 1),
        "ms_per_file": round(1000 * cores / args.clips, 2),
        "peak_gb_of_a_process": round(memory, 2),
        "minutes_on_two_cores_for_100000": round(cores / args.clips * FULL / 2 / 60, 1),
    }
    write_json(args.out / "benchmark.json", table)
    sys.stdout.write("".join(f"{name:32} {value}\n" for name, value in table.items()))


def core_seconds() -> float:
    """Seconds of computing of this process and of those that it started and that have ended."""
    uses = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(use.ru_utime + use.ru_stime for use in uses)


if __name__ == "__main__":
    main()
