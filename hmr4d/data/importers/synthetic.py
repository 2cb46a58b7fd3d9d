"""Procedural motion: walks, turns, waves, bows. For tests, and for trying every command without a download."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from hmr4d.data.captions import caption_pool
from hmr4d.data.mirrored_text import mirror_text
from hmr4d.data.part_of_speech import pos_tokens
from hmr4d.data.store_writer import Caption, ClipRecord, StoreSummary, StoreWriter
from hmr4d.motion.procedural import CONTENTS, FPS, synthetic_joints

NAME = "synthetic"
STYLE = "normal"
NOTICE = """# Synthetic motion

Procedural motion, made by this package from formulas and a seed. No rights attached: use it as you like. It moves like
a puppet; it is there to try commands and to test code, not to train a model worth keeping.
"""
_CAPTIONS_PER_CONTENT = 24


def import_synthetic(out: str | Path, *, num_clips: int = 24, seed: int = 0, overwrite: bool = False) -> StoreSummary:
    """Builds a store of short procedural clips: 2 to 5 s, all contents in turn, every fourth clip held out."""
    if num_clips < 1:
        raise ValueError(f"num_clips is {num_clips}; expected 1 or more.")
    writer = StoreWriter(
        Path(out),
        name=NAME,
        source="procedural",
        licence="none",
        notice=NOTICE,
        settings={"num_clips": num_clips, "seed": seed},
        fps=FPS,
        overwrite=overwrite,
    )
    for number in range(num_clips):
        content, take = CONTENTS[number % len(CONTENTS)], number // len(CONTENTS) + 1
        name = f"synthetic_{content}_{STYLE}_{take:03d}"
        if writer.is_done(name):
            continue
        rng = np.random.default_rng([seed, number])
        joints = synthetic_joints(content, int(rng.integers(40, 101)), rng)
        held_out = number % 4 == 3
        split = ("test" if number % 8 == 3 else "val") if held_out else "train"
        writer.add(name, joints, split=split, labels={"content": content, "style": STYLE})
    pools = {
        c: [Caption(t, tuple(pos_tokens(t))) for t in caption_pool(c, STYLE, _CAPTIONS_PER_CONTENT, seed)]
        for c in CONTENTS
    }

    def annotate(clip: ClipRecord) -> list[Caption]:
        pool = pools[clip.labels["content"]]
        return pool if clip.split == "train" else pool[:3]

    return writer.finish(annotate=annotate, mirror_text=mirror_text, tokenize=pos_tokens)
