"""How fast reference motions are drawn and gated: python benchmarks/reference_gate.py [--entries N] prints a table.

Seconds of this process's processors are told beside those of the clock, for a busy machine slows the clock alone. The
encoder of videos runs in a process of its own and is in the clock only.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from hmr4d.motion.motion import Motion
from hmr4d.motion.procedural import synthetic_joints
from hmr4d.reference_motion.archive_file import read_archive
from hmr4d.reference_motion.checker import CheckOptions, write_checks
from hmr4d.reference_motion.clip import ReferenceClip
from hmr4d.reference_motion.content_cache import ContentCache
from hmr4d.reference_motion.convert import convert
from hmr4d.reference_motion.gate import GateOptions, gate_archive
from hmr4d.reference_motion.gate_render import RenderOptions, render_motion
from hmr4d.reference_motion.reference_file import ReferenceMotion, save_reference

SIZE = (1280, 720)
FRAMES = 201  # 10 s at 20 a second


def walk() -> ReferenceMotion:
    """Ten seconds of a walk."""
    joints = synthetic_joints("walk", FRAMES, np.random.default_rng(0)).astype(np.float32)
    return convert(ReferenceClip(Motion(torch.from_numpy(joints), 20.0)), fps=None)


def timed(name: str, work: Callable[[], object], count: int, unit: str) -> None:
    """Runs work and prints a row."""
    clock, processors = time.perf_counter(), time.process_time()
    work()
    clock, processors = time.perf_counter() - clock, time.process_time() - processors
    print(
        f"{name:<34}{clock:9.2f} s{processors:9.2f} s{count / clock:10.1f}{count / processors:10.1f}  {unit} a second"
    )


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--entries", type=int, default=1000, help="of the archive that is gated (1000)")
    entries = parser.parse_args().entries
    reference = walk()
    count = len(reference.features)
    print(f"{'':<34}{'clock':>11}{'processors':>11}{'per clock':>10}{'per proc.':>10}")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for kind in ("turntable", "depth"):
            options = CheckOptions(kinds=(kind,), size=SIZE)
            timed(f"{kind}, 720p", lambda o=options: write_checks(reference, folder, "a", o), count, "pictures")
        for style in ("depth", "shaded"):
            options = CheckOptions(kinds=("overlay",), style=style, video=folder / "a_turntable.mp4")
            timed(
                f"overlay, {style}, 720p", lambda o=options: write_checks(reference, folder, "a", o), count, "pictures"
            )
        clip, numbers = folder / "a.mp4", folder / "a.pt"
        options = RenderOptions()
        timed(
            "clip for the judge, 960 x 960", lambda: render_motion(reference, clip, numbers, options), count, "pictures"
        )
        for number in range(entries):
            features = reference.features.clone()
            features[0, 0] += 1e-6 * number
            save_reference(folder / f"{number}.pt", replace(reference, features=features))
        rows = [{"id": number, "prompt": "a person walks", "motion_path": f"{number}.pt"} for number in range(entries)]
        (folder / "a.json").write_text(json.dumps(rows))
        archive, cache = read_archive(folder / "a.json"), ContentCache(folder / "cache")
        for run in ("first time", "resumed"):
            timed(f"gate, {run}", lambda: gate_archive(archive, GateOptions(), cache), entries, "motions")


if __name__ == "__main__":
    main()
